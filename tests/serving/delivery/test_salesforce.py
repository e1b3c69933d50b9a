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
from serving.delivery.ledger import Ledger
from serving.delivery.report import DeliveryReport
from serving.delivery.salesforce import SalesforceDestination
from tests.support.fake_salesforce import EXPIRED, FakeSalesforce
from tests.support.fake_server import Answer, Trap
from tests.support.state_settings import make_state_settings

BUSY = Answer(503, [{"errorCode": "SERVER_UNAVAILABLE", "message": "busy"}])
COLUMNS = {"as_of": "instant", "churn_90d": "share", "value": "money", "drivers": "long", "in_cohort": "flag"}


def frame(n: int = 3, *, score: float = 0.25, as_of: str = "2024-01-01") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "account_id": [f"Ä-{i}" for i in range(n)],
            "as_of": pd.to_datetime([as_of] * n, utc=True).astype("datetime64[us, UTC]"),
            "churn_90d": [score] * n,
            "value": [1234.567, *[None] * (n - 1)],
            "drivers": ['Nutzung fiel um 62 %,\n"stark"', *[""] * (n - 1)],
            "in_cohort": pd.array([True, *[None] * (n - 1)], dtype="boolean"),
        }
    )


@pytest.fixture
def org(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSalesforce]:
    monkeypatch.setenv("SALESFORCE_CLIENT_ID", "an id")
    monkeypatch.setenv("SALESFORCE_CLIENT_SECRET", "a secret")
    with FakeSalesforce() as made:
        yield made


@pytest.fixture
def settings(org: FakeSalesforce, tmp_path: Path) -> Any:
    crm = Crm.model_validate({"wait_s": 0.01, "tries": 3, "salesforce": {"instance_url": org.url}})
    return make_state_settings(f"sqlite:///{tmp_path}/state.db", tmp_path, crm=crm, targets={})


@pytest.fixture
def ready(org: FakeSalesforce, settings: Any) -> FakeSalesforce:
    destination = SalesforceDestination(settings)
    destination.list_fields(COLUMNS, create=True)  # type: ignore[arg-type]
    destination.close()
    org.asked.clear()
    return org


@pytest.fixture
def send(settings: Any) -> Iterator[Callable[..., DeliveryReport]]:
    with database.open(settings) as opened:
        yield lambda *chunks, **more: deliver(settings, opened, chunks, "salesforce", **more)


def test_rows_arrive_and_the_next_time_only_what_changed(
    ready: FakeSalesforce, send: Callable[..., DeliveryReport]
) -> None:
    assert send(frame()).counts == {"sent": 3}
    assert ready.records["Ä-0"] == {
        "Name": "Boatyard Ä-0",
        "Garrison_Account_Id__c": "Ä-0",
        "Garrison_As_Of__c": "2024-01-01T00:00:00.000Z",
        "Garrison_Churn_90d__c": "0.25",
        "Garrison_Value__c": "1234.57",
        "Garrison_Drivers__c": 'Nutzung fiel um 62 %,\n"stark"',
        "Garrison_In_Cohort__c": "true",
    }
    assert "Garrison_Value__c" not in ready.records["Ä-1"]
    later = frame(as_of="2024-02-01")
    later.loc[2, "churn_90d"] = 0.5
    assert send(later).counts == {"unchanged": 2, "sent": 1}
    assert ready.writes == {"Ä-0": 1, "Ä-1": 1, "Ä-2": 2}
    assert ready.records["Ä-2"]["Garrison_As_Of__c"] == "2024-02-01T00:00:00.000Z"
    assert len(ready.jobs) == 2
    assert send(later, everything=True).counts == {"sent": 3}


def test_a_value_that_is_gone_is_emptied(ready: FakeSalesforce, send: Callable[..., DeliveryReport]) -> None:
    send(frame(1))
    gone = frame(1)
    gone["value"] = [float("nan")]
    send(gone)
    assert "Garrison_Value__c" not in ready.records["Ä-0"]


def test_the_external_id_stands_once_in_what_is_sent(
    ready: FakeSalesforce, send: Callable[..., DeliveryReport]
) -> None:
    send(frame())
    header = next(iter(ready.jobs.values()))["csv"].splitlines()[0].split(",")
    assert header.count("Garrison_Account_Id__c") == 1


def test_rows_that_failed_in_silence_are_found_and_tried_again(
    ready: FakeSalesforce, send: Callable[..., DeliveryReport], tmp_path: Path
) -> None:
    ready.errors = {
        "Ä-0": ["UNABLE_TO_LOCK_ROW:unable to obtain exclusive access"],
        "Ä-1": ["REQUIRED_FIELD_MISSING:Required fields are missing: [Name]:Name --"] * 9,
        "Ä-2": ["UNABLE_TO_LOCK_ROW:locked"] * 9,
    }
    ready.without_id = {"Ä-3"}
    ready.forgotten = {"Ä-4"}
    delivered = send(frame(6), result=tmp_path / "fates.csv")
    assert delivered.counts == {"sent": 2, "quarantined": 4}
    fates = pd.read_csv(tmp_path / "fates.csv", index_col="account_id")
    assert fates["fate"].to_dict() == {f"Ä-{i}": "sent" if i in {0, 5} else "quarantined" for i in range(6)}
    assert fates["tries"].to_dict() == {"Ä-0": 2, "Ä-1": 1, "Ä-2": 3, "Ä-3": 3, "Ä-4": 3, "Ä-5": 1}
    assert fates.loc["Ä-1", "reason"].startswith("REQUIRED_FIELD_MISSING")
    assert "not processed" in fates.loc["Ä-4", "reason"]
    with pytest.raises(DeliveryError, match=r"did not take every row: 4 quarantined.*fates\.csv"):
        delivered.raise_for_failures()
    ready.errors, ready.without_id, ready.forgotten = {}, set(), set()
    assert send(frame(6)).counts == {"unchanged": 2, "sent": 4}


@pytest.mark.parametrize(
    "where", ["POST .*ingest$", "PUT .*batches", "PATCH", r"GET .*ingest/\w+$", "GET .*Results", "describe", "token"]
)
def test_a_503_in_the_middle_is_waited_out(
    ready: FakeSalesforce, send: Callable[..., DeliveryReport], where: str
) -> None:
    ready.traps = [Trap(where, BUSY, times=2)]
    assert send(frame()).counts == {"sent": 3}
    assert set(ready.writes.values()) == {1}


def test_retry_after_is_kept_to(
    ready: FakeSalesforce, send: Callable[..., DeliveryReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=slept.append))
    ready.traps = [Trap("PUT", Answer(429, [], {"Retry-After": "7"}))]
    assert send(frame()).counts == {"sent": 3}
    assert slept == [7.0]


def test_an_expired_token_costs_one_new_login(ready: FakeSalesforce, send: Callable[..., DeliveryReport]) -> None:
    ready.traps = [Trap("PUT", EXPIRED)]
    assert send(frame()).counts == {"sent": 3}
    assert ready.count("oauth2/token") == 2


def test_a_token_that_stays_refused_ends_the_delivery(
    ready: FakeSalesforce, send: Callable[..., DeliveryReport], tmp_path: Path
) -> None:
    ready.traps = [Trap("POST .*ingest$", EXPIRED, times=99)]
    delivered = send(frame(), frame(5), result=tmp_path / "fates.csv")
    assert delivered.counts == {"failed": 8}
    assert ready.count("oauth2/token") == 2
    assert "INVALID_SESSION_ID" in delivered.stopped
    with pytest.raises(DeliveryError, match="8 failed"):
        delivered.raise_for_failures()
    assert len(pd.read_csv(tmp_path / "fates.csv")) == 8


def test_a_lost_answer_to_the_close_does_no_harm(ready: FakeSalesforce, send: Callable[..., DeliveryReport]) -> None:
    ready.traps = [Trap("PATCH", BUSY, deaf=True)]
    assert send(frame()).counts == {"sent": 3}
    assert set(ready.writes.values()) == {1}


def test_a_job_that_salesforce_fails_is_told_with_its_reason(
    ready: FakeSalesforce, send: Callable[..., DeliveryReport], tmp_path: Path
) -> None:
    ready.on("PUT", lambda: ready.fields.pop("Garrison_Value__c", None))  # gone since we looked
    assert send(frame(), result=tmp_path / "fates.csv").counts == {"quarantined": 3}
    assert pd.read_csv(tmp_path / "fates.csv")["reason"].str.contains("Field name not found").all()
    assert ready.records == {}


def test_a_job_cut_off_before_its_upload_is_given_up(
    ready: FakeSalesforce, send: Callable[..., DeliveryReport], settings: Any
) -> None:
    ready.traps = [Trap("PUT", BUSY, times=3)]
    assert send(frame()).counts == {"failed": 3}
    assert [job["state"] for job in ready.jobs.values()] == ["Open"]
    delivered = send(frame())
    assert (delivered.counts, delivered.recovered) == ({"sent": 3}, 0)
    assert [job["state"] for job in ready.jobs.values()] == ["Aborted", "JobComplete"]
    with database.open(settings) as opened:
        assert Ledger(opened, SalesforceDestination(settings).key).read_unfinished_jobs() == {}


def test_a_job_cut_off_after_its_upload_is_found_again(
    ready: FakeSalesforce, send: Callable[..., DeliveryReport]
) -> None:
    ready.errors = {"Ä-1": ["UNABLE_TO_LOCK_ROW:locked"]}
    ready.traps = [Trap(r"GET .*ingest/\w+$", BUSY, times=3)]
    assert send(frame()).counts == {"failed": 3}
    delivered = send(frame())
    assert (delivered.counts, delivered.recovered) == ({"unchanged": 2, "sent": 1}, 2)
    assert set(ready.writes.values()) == {1}


def test_missing_and_wrong_fields_are_named_before_anything_is_sent(
    ready: FakeSalesforce, send: Callable[..., DeliveryReport], settings: Any
) -> None:
    del ready.fields["Garrison_Drivers__c"]
    ready.fields["Garrison_Value__c"]["type"] = "string"
    with pytest.raises(DeliveryError, match=r"no field Garrison_Drivers__c; Garrison_Value__c is a string.*--create"):
        send(frame())
    with pytest.raises(
        DeliveryError, match=r"no field Garrison_Drivers__c.*no field Garrison_Tier__c|Garrison_Tier__c"
    ):
        destinations.check_destination("salesforce", settings)
    assert ready.jobs == {}


def test_a_shorter_field_gets_a_shorter_text(ready: FakeSalesforce, send: Callable[..., DeliveryReport]) -> None:
    ready.fields["Garrison_Drivers__c"]["length"] = 10
    send(frame(1))
    assert ready.records["Ä-0"]["Garrison_Drivers__c"] == "Nutzung f…"


def test_the_fields_are_made_with_their_types(org: FakeSalesforce, settings: Any) -> None:
    before = destinations.list_fields("salesforce", settings)
    assert not any(need.exists for need in before)
    destinations.list_fields("salesforce", settings, create=True)
    assert all(need.exists for need in destinations.list_fields("salesforce", settings))
    made = {name: field["metadata"] for name, field in org.fields.items() if "metadata" in field}
    assert made["Garrison_Account_Id__c"]["externalId"]
    assert made["Garrison_Account_Id__c"]["unique"]
    assert made["Garrison_Value__c"] == {
        "type": "Number",
        "precision": 18,
        "scale": 2,
        "label": "Garrison value",
        "required": False,
    }
    posts = org.count("CustomField")
    destinations.list_fields("salesforce", settings, create=True)
    assert org.count("CustomField") == posts  # nothing is made twice
    destinations.check_destination("salesforce", settings)


def test_a_dry_run_sends_nothing_and_shows_what_would_change(
    ready: FakeSalesforce, send: Callable[..., DeliveryReport]
) -> None:
    send(frame())
    jobs = len(ready.jobs)
    later = frame(4)
    later.loc[1, "churn_90d"] = 0.75
    looked = send(later, dry_run=True)
    assert looked.counts == {"unchanged": 2, "changed": 1, "new": 1}
    assert looked.changes[0].fields == {"Garrison_Churn_90d__c": (0.25, 0.75)}
    assert any("Ä-1: Garrison_Churn_90d__c 0.25 -> 0.75" in line for line in looked.lines())
    assert len(ready.jobs) == jobs
    assert send(later).counts == {"unchanged": 2, "sent": 2}


def test_wrong_credentials_are_told_without_the_secret(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALESFORCE_CLIENT_SECRET", "hunter2")
    with pytest.raises(DeliveryError, match=r"does not let us in.*invalid client credentials") as caught:
        destinations.check_destination("salesforce", settings)
    assert "hunter2" not in str(caught.value)
    monkeypatch.delenv("SALESFORCE_CLIENT_SECRET")
    with pytest.raises(DeliveryError, match="SALESFORCE_CLIENT_SECRET is not set"):
        destinations.check_destination("salesforce", settings)


def test_without_an_address_there_is_nothing_to_deliver_to() -> None:
    bare = SimpleNamespace(crm=Crm(), targets={})
    with pytest.raises(DeliveryError, match="instance_url"):
        destinations.check_destination("salesforce", bare)  # type: ignore[arg-type]
