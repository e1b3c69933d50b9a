from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from features.core.errors import DeliveryError
from features.settings import Crm
from features.state import database
from serving.delivery import destinations
from serving.delivery.deliver import deliver
from serving.delivery.hubspot import HubSpotDestination
from serving.delivery.report import DeliveryReport
from tests.support.fake_hubspot import TOKEN, FakeHubSpot, refusal
from tests.support.fake_server import Answer, Trap
from tests.support.state_settings import make_state_settings

COLUMNS = {"as_of": "instant", "churn_90d": "share", "value": "money", "drivers": "long", "in_cohort": "flag"}
UPSERT = "batch/upsert"
SLOW_DOWN = refusal("You have reached your secondly limit.", 429, "RATE_LIMITS")


def frame(n: int = 3, *, score: float = 0.25) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "account_id": [f"h{i:03}" for i in range(n)],
            "as_of": pd.to_datetime(["2024-01-01"] * n, utc=True).astype("datetime64[us, UTC]"),
            "churn_90d": [score] * n,
            "value": [12.5, *[None] * (n - 1)],
            "drivers": ["usage fell", *[""] * (n - 1)],
            "in_cohort": pd.array([False, *[None] * (n - 1)], dtype="boolean"),
        }
    )


@pytest.fixture
def portal(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHubSpot]:
    monkeypatch.setenv("HUBSPOT_TOKEN", TOKEN)
    with FakeHubSpot() as made:
        yield made


@pytest.fixture
def settings(portal: FakeHubSpot, tmp_path: Path) -> Any:
    crm = Crm.model_validate({"wait_s": 0.01, "tries": 3, "hubspot": {"url": portal.url}})
    return make_state_settings(f"sqlite:///{tmp_path}/state.db", tmp_path, crm=crm, targets={})


@pytest.fixture
def ready(portal: FakeHubSpot, settings: Any) -> FakeHubSpot:
    destination = HubSpotDestination(settings)
    destination.list_fields(COLUMNS, create=True)  # type: ignore[arg-type]
    destination.close()
    portal.asked.clear()
    return portal


@pytest.fixture
def send(settings: Any) -> Iterator[Callable[..., DeliveryReport]]:
    with database.open(settings) as opened:
        yield lambda *chunks, **more: deliver(settings, opened, chunks, "hubspot", **more)


def test_rows_arrive_a_hundred_at_a_time_and_then_only_what_changed(
    ready: FakeHubSpot, send: Callable[..., DeliveryReport]
) -> None:
    assert send(frame(250)).counts == {"sent": 250}
    assert ready.count(UPSERT) == 3
    assert ready.records["h000"] == {
        "name": "Boatyard h000",
        "garrison_as_of": "2024-01-01T00:00:00.000Z",
        "garrison_churn_90d": "0.25",
        "garrison_value": "12.5",
        "garrison_drivers": "usage fell",
        "garrison_in_cohort": "false",
    }
    assert ready.records["h001"]["garrison_value"] == ""
    later = frame(250)
    later.loc[7, "churn_90d"] = 0.75
    assert send(later).counts == {"unchanged": 249, "sent": 1}
    assert [a for a, n in ready.writes.items() if n > 1] == ["h007"]


@pytest.mark.parametrize("traced", [True, False])
def test_partial_failures_are_found_row_by_row(
    ready: FakeHubSpot, send: Callable[..., DeliveryReport], tmp_path: Path, *, traced: bool
) -> None:
    ready.traced = traced
    ready.errors = {
        "h001": [("VALIDATION_ERROR", "not a valid number")] * 9,
        "h002": [("TRANSIENT", "try again")],
        "h003": [("TRANSIENT", "try again")] * 9,
    }
    delivered = send(frame(6), result=tmp_path / "fates.csv")
    assert delivered.counts == {"sent": 4, "quarantined": 2}
    fates = pd.read_csv(tmp_path / "fates.csv", index_col="account_id")
    assert fates["tries"].to_dict() == {"h000": 1, "h001": 1, "h002": 2, "h003": 3, "h004": 1, "h005": 1}
    assert fates.loc["h001", "reason"] == "not a valid number"
    assert ready.writes == {"h000": 1, "h002": 1, "h004": 1, "h005": 1}


def test_a_row_that_spoils_its_batch_is_found_and_the_others_arrive(
    ready: FakeHubSpot, send: Callable[..., DeliveryReport], tmp_path: Path
) -> None:
    ready.spoilers = {"h003", "h077"}
    assert send(frame(100), result=tmp_path / "fates.csv").counts == {"sent": 98, "quarantined": 2}
    fates = pd.read_csv(tmp_path / "fates.csv", index_col="account_id")
    assert set(fates.index[fates["fate"] == "quarantined"]) == {"h003", "h077"}
    assert "not valid: h003" in fates.loc["h003", "reason"]
    assert set(ready.writes.values()) == {1}


def test_a_row_that_the_answer_leaves_out_is_not_taken_for_sent(
    ready: FakeHubSpot, send: Callable[..., DeliveryReport]
) -> None:
    ready.forgotten = {"h001"}
    assert send(frame()).counts == {"sent": 2, "quarantined": 1}
    ready.forgotten = set()
    assert send(frame()).counts == {"unchanged": 2, "sent": 1}


def test_a_429_is_waited_out_as_long_as_it_says(
    ready: FakeHubSpot, send: Callable[..., DeliveryReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=slept.append))
    ready.traps = [Trap(UPSERT, Answer(429, SLOW_DOWN.body, {"Retry-After": "10"}), after=1, times=2)]
    assert send(frame(300)).counts == {"sent": 300}
    assert slept == [10.0, 10.0]
    assert set(ready.writes.values()) == {1}


def test_a_cloud_that_stays_away_ends_the_delivery_and_the_next_takes_the_rest(
    ready: FakeHubSpot, send: Callable[..., DeliveryReport], tmp_path: Path
) -> None:
    ready.traps = [Trap(UPSERT, refusal("down", 503, "DOWN"), after=1, times=3)]
    delivered = send(frame(300), result=tmp_path / "fates.csv")
    assert delivered.counts == {"sent": 100, "failed": 200}
    assert "HubSpot did not answer in 3 tries" in delivered.stopped
    assert ready.count(UPSERT) == 4  # and no more, for the third hundred
    assert pd.read_csv(tmp_path / "fates.csv")["fate"].value_counts().to_dict() == {"failed": 200, "sent": 100}
    assert send(frame(300)).counts == {"unchanged": 100, "sent": 200}
    assert set(ready.writes.values()) == {1}


def test_being_told_to_stay_away_for_hours_ends_the_delivery(
    ready: FakeHubSpot, send: Callable[..., DeliveryReport]
) -> None:
    ready.traps = [Trap(UPSERT, Answer(429, SLOW_DOWN.body, {"Retry-After": "40000"}))]
    delivered = send(frame())
    assert delivered.counts == {"failed": 3}
    assert "left alone for 40000 s" in delivered.stopped


def test_a_token_that_is_refused_is_told_without_it(
    ready: FakeHubSpot, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUBSPOT_TOKEN", "pat-old")
    with pytest.raises(DeliveryError, match=r"HTTP 401.*Check the token in HUBSPOT_TOKEN") as caught:
        destinations.check_destination("hubspot", settings)
    assert "pat-old" not in str(caught.value)
    assert ready.writes == {}


def test_a_number_is_never_put_into_a_text_property(ready: FakeHubSpot, send: Callable[..., DeliveryReport]) -> None:
    ready.properties["garrison_churn_90d"]["type"] = "string"
    with pytest.raises(DeliveryError, match="garrison_churn_90d is a string"):
        send(frame())
    assert ready.writes == {}


def test_a_property_of_hubspots_own_is_refused(ready: FakeHubSpot, send: Callable[..., DeliveryReport]) -> None:
    ready.properties["garrison_value"]["hubspotDefined"] = True
    with pytest.raises(DeliveryError, match="garrison_value is a number or HubSpot's own"):
        send(frame())


def test_the_properties_are_made_once(portal: FakeHubSpot, settings: Any) -> None:
    assert not any(need.exists for need in destinations.list_fields("hubspot", settings))
    destinations.list_fields("hubspot", settings, create=True)
    assert all(need.exists for need in destinations.list_fields("hubspot", settings))
    assert portal.properties["garrison_account_id"]["hasUniqueValue"]
    assert portal.properties["garrison_as_of"]["type"] == "datetime"
    assert [option["value"] for option in portal.properties["garrison_in_cohort"]["options"]] == ["true", "false"]
    posted = portal.count("POST /crm/v3/properties/companies$")
    destinations.list_fields("hubspot", settings, create=True)
    assert portal.count("POST /crm/v3/properties/companies$") == posted
    destinations.check_destination("hubspot", settings)


def test_the_commands_make_the_properties_score_into_them_and_tell_what_failed(
    portal: FakeHubSpot, own_harbour: Any, serving: Any, tmp_path: Path
) -> None:
    with own_harbour.config.open("a") as toml:
        toml.write(f'\n[crm]\ntries = 2\nwait_s = 0.01\nhubspot = {{ url = "{portal.url}" }}\n')
    words = ["--to", "hubspot", "--config", own_harbour.config]
    score = ["score", *words, "--as-of", "2024-01-01", "--drivers", "none", "--even-if-held"]
    unready = serving(*score)
    assert (unready.returncode, unready.stderr.count("\n")) == (1, 1)
    assert "no property garrison_churn_30d" in unready.stderr
    made = serving("fields", *words, "--create", "--json", tmp_path / "fields.json")
    assert made.returncode == 0, made.stderr
    assert "garrison_churn_30d" in made.stdout
    looked = serving(*score, "--dry-run")
    assert (looked.returncode, portal.records) == (0, {})
    assert "Dry run, nothing was sent to hubspot: 80 new" in looked.stdout
    portal.spoilers = {"A-003"}
    first = serving(*score, "--result", tmp_path / "fates.csv")
    assert (first.returncode, first.stderr.count("\n")) == (1, 1)
    assert "hubspot did not take every row: 1 quarantined" in first.stderr
    portal.spoilers = set()
    again = serving(*score, "--json", tmp_path / "run.json")
    assert again.returncode == 0, again.stderr
    assert "1 sent" in again.stdout
    assert "79 unchanged" in again.stdout
    assert set(portal.writes.values()) == {1}
    assert serving("score", "--dry-run", "--config", own_harbour.config).returncode == 2
