from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from features.core.errors import DeliveryError
from features.settings import Crm
from features.state import database
from features.state.tables import DELIVERY_RUNS
from serving.delivery import destinations
from serving.delivery.deliver import check_not_running, deliver
from tests.support.fake_hubspot import TOKEN, FakeHubSpot
from tests.support.fake_salesforce import FakeSalesforce
from tests.support.fake_server import FakeServer, Trap
from tests.support.state_settings import make_state_settings

# A delivery in a process of its own, which the stand-in kills.
DELIVERY = """
import json, sys
from pathlib import Path
import pandas as pd
from features.settings import Crm
from features.state import database
from serving.delivery.deliver import deliver
from tests.support.state_settings import make_state_settings
given = json.loads(sys.argv[1])
crm = Crm.model_validate(given["crm"])
settings = make_state_settings(given["state"], Path("/nowhere"), crm=crm, targets={})
chunks = (pd.DataFrame({"account_id": ids, "churn_90d": 0.25}) for ids in given["chunks"])
with database.open(settings) as opened:
    deliver(settings, opened, chunks, given["to"])
"""
# A delivery that says when it has begun, and ends when its standard input does.
WAITING = """
def wait(chunks):
    for chunk in chunks:
        print("begun", flush=True)
        sys.stdin.read()
        yield chunk
"""
WAITING = DELIVERY.replace("with database", WAITING + "chunks = wait(chunks)\nwith database")
ACCOUNTS = [[f"k{i:03}" for i in range(start, start + 150)] for start in (0, 150)]


@pytest.fixture
def cloud(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, FakeServer, Crm]]:
    monkeypatch.setenv("SALESFORCE_CLIENT_ID", "an id")
    monkeypatch.setenv("SALESFORCE_CLIENT_SECRET", "a secret")
    monkeypatch.setenv("HUBSPOT_TOKEN", TOKEN)
    with FakeSalesforce() if request.param == "salesforce" else FakeHubSpot() as server:
        place = {"instance_url": server.url} if request.param == "salesforce" else {"url": server.url}
        crm = Crm.model_validate({"wait_s": 0.01, "tries": 3, "columns": ["churn_90d"], request.param: place})
        destinations.list_fields(request.param, _settings(crm), create=True)
        yield request.param, server, crm


def _settings(crm: Crm, state: str = "", targets: Any = None) -> Any:
    horizons = {"churn": SimpleNamespace(horizons=(90,))}
    return make_state_settings(state, Path("/nowhere"), crm=crm, targets=horizons if targets is None else targets)


KILLS = [
    ("salesforce", Trap("POST .*ingest$", kill="after")),  # the job is made, its id is lost
    ("salesforce", Trap("PUT .*batches", kill="before")),  # the job is known, and empty
    ("salesforce", Trap("PUT .*batches", kill="after")),  # full, and not closed
    ("salesforce", Trap("PATCH", kill="after")),  # done, and nobody has asked
    ("salesforce", Trap("GET .*successfulResults", kill="before")),  # half of the answer
    ("hubspot", Trap("batch/upsert", kill="before", after=1)),
    ("hubspot", Trap("batch/upsert", kill="after", after=1)),
]


@pytest.mark.parametrize(("cloud", "trap"), KILLS, indirect=["cloud"])
def test_a_killed_delivery_is_finished_by_the_next(cloud: tuple[str, Any, Crm], trap: Trap, tmp_path: Path) -> None:
    to, server, crm = cloud
    server.traps = [replace(trap)]
    state = f"sqlite:///{tmp_path}/state.db"
    given = {"crm": crm.model_dump(mode="json"), "state": state, "to": to, "chunks": ACCOUNTS}
    line = [sys.executable, "-c", DELIVERY, json.dumps(given)]
    with subprocess.Popen(line, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        server.victim = process.pid
        said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, said
    settings = _settings(crm, state, targets={})
    chunks = [pd.DataFrame({"account_id": ids, "churn_90d": 0.25}) for ids in ACCOUNTS]
    with database.open(settings) as opened:
        finished = deliver(settings, opened, chunks, to)
        assert (finished.stopped, sum(finished.counts.values())) == ("", 300)
        assert set(finished.counts) <= {"sent", "unchanged"}
        assert deliver(settings, opened, chunks, to).counts == {"unchanged": 300}
    assert sorted(server.records) == [account for chunk in ACCOUNTS for account in chunk]
    # Only an upsert whose answer nobody heard is sent a second time; it changes nothing.
    twice = [account for account, n in server.writes.items() if n > 1]
    assert len(twice) == (100 if to == "hubspot" and trap.kill == "after" else 0)


def frame(**more: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "account_id": ["a", "b"],
            "as_of": pd.to_datetime(["2024-01-01", "2024-01-01"], utc=True).astype("datetime64[us, UTC]"),
            "churn_90d": [1 / 3, 0.5],
            "drivers": ["usage fell", ""],
        }
        | more
    )


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    return _settings(Crm(wait_s=0.01), f"sqlite:///{tmp_path}/state.db")


@pytest.fixture
def opened(settings: Any) -> Iterator[database.Store]:
    with database.open(settings) as found:
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/crm.db" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


def test_a_database_is_asked_itself_what_it_holds(settings: Any, opened: database.Store, url: str) -> None:
    def send(**more: Any) -> Any:
        return deliver(settings, opened, [frame(**more)], url)

    assert send().counts == {"sent": 2}
    later = pd.to_datetime(["2024-02-01"] * 2, utc=True)
    assert send(as_of=later).counts == {"unchanged": 2}
    assert send(as_of=later, churn_90d=[1 / 3, 0.75]).counts == {"unchanged": 1, "sent": 1}
    engine = database.connect(url)
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM garrison_scores WHERE account_id = 'a'"))
    engine.dispose()
    assert send(as_of=later, churn_90d=[1 / 3, 0.75]).counts == {"sent": 1, "unchanged": 1}


def test_a_dry_run_on_a_database_makes_no_table(settings: Any, opened: database.Store, url: str) -> None:
    looked = deliver(settings, opened, [frame()], url, dry_run=True)
    assert looked.counts == {"new": 2}
    engine = database.connect(url)
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()
    deliver(settings, opened, [frame()], url)
    later = pd.to_datetime(["2024-02-01"] * 2, utc=True)
    looked = deliver(settings, opened, [frame(churn_90d=[0.25, 0.5], as_of=later)], url, dry_run=True)
    assert looked.counts == {"changed": 1, "unchanged": 1}
    (change,) = looked.changes
    assert change.fields["churn_90d"] == (1 / 3, 0.25)
    assert set(change.fields) == {"churn_90d", "as_of"}


def test_a_row_that_a_database_refuses_does_not_keep_the_others_out(
    settings: Any, opened: database.Store, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/crm.db"
    engine = database.connect(url)
    with engine.begin() as connection:
        connection.execute(
            sa.text("CREATE TABLE t (account_id TEXT PRIMARY KEY, churn_90d DOUBLE CHECK (churn_90d < 0.4))")
        )
    engine.dispose()
    delivered = deliver(settings, opened, [frame()], f"{url}#t", result=tmp_path / "fates.csv")
    assert delivered.counts == {"sent": 1, "quarantined": 1}
    with (tmp_path / "fates.csv").open(newline="") as file:
        fates = {row["account_id"]: row for row in csv.DictReader(file)}
    assert fates["a"]["fate"] == "sent"
    assert "CHECK constraint" in fates["b"]["reason"]
    with pytest.raises(DeliveryError, match="1 quarantined"):
        delivered.raise_for_failures()


def test_no_text_of_the_result_is_a_formula(settings: Any, opened: database.Store, tmp_path: Path) -> None:
    rows = frame(account_id=["=cmd|' /C calc'!A0", "\uff1d1+1"])
    deliver(settings, opened, [rows], str(tmp_path / "s.parquet"), result=tmp_path / "fates.csv")
    with (tmp_path / "fates.csv").open(newline="", encoding="utf-8") as file:
        assert [row["account_id"] for row in csv.DictReader(file)] == ["'=cmd|' /C calc'!A0", "'\uff1d1+1"]


def test_chunks_are_read_one_at_a_time(settings: Any, opened: database.Store, tmp_path: Path) -> None:
    held = 0

    def chunks() -> Iterator[pd.DataFrame]:
        nonlocal held
        for i in range(5):
            held += 1
            yield frame(account_id=[f"{i}a", f"{i}b"])

    progress: list[int] = []
    url = f"sqlite:///{tmp_path}/crm.db"
    delivered = deliver(
        settings, opened, chunks(), url, progress=lambda _step, done=0, _total=0, /: progress.append(done)
    )
    assert (delivered.counts, held) == ({"sent": 10}, 5)
    assert progress[-1] == 10


def test_each_run_is_noted_with_the_fates_of_its_rows(settings: Any, opened: database.Store, tmp_path: Path) -> None:
    for _ in range(2):
        deliver(settings, opened, [frame()], f"sqlite:///{tmp_path}/crm.db")
    with opened.reading() as connection:
        runs = connection.execute(sa.select(DELIVERY_RUNS).order_by(DELIVERY_RUNS.c.began_at)).mappings().all()
    assert [(run["sent"], run["unchanged"], run["quarantined"]) for run in runs] == [(2, 0, 0), (0, 2, 0)]


def test_a_file_is_written_whole_each_time(settings: Any, opened: database.Store, tmp_path: Path) -> None:
    to = str(tmp_path / "s.csv")
    looked = deliver(settings, opened, [frame()], to, dry_run=True)
    assert (looked.counts, (tmp_path / "s.csv").exists()) == ({"new": 2}, False)
    for _ in range(2):
        delivered = deliver(settings, opened, [frame(), frame(account_id=["c", "d"])], to, result=tmp_path / "f.csv")
        assert delivered.counts == {"sent": 4}
    assert pd.read_csv(to)["account_id"].tolist() == pd.read_csv(tmp_path / "f.csv")["account_id"].tolist()
    delivered.raise_for_failures()


@pytest.mark.parametrize("state", ["sqlite", "postgresql"])
@pytest.mark.parametrize("cloud", ["hubspot"], indirect=True)
def test_a_second_delivery_to_one_crm_is_refused_while_the_first_runs(
    cloud: tuple[str, FakeServer, Crm], state: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    to, _, crm = cloud
    url = f"sqlite:///{tmp_path}/state.db" if state == "sqlite" else str(request.getfixturevalue("postgres_url"))
    given = {"crm": crm.model_dump(mode="json"), "state": url, "to": to, "chunks": ACCOUNTS}
    line = [sys.executable, "-c", WAITING, json.dumps(given)]
    chunks = [pd.DataFrame({"account_id": ids, "churn_90d": 0.25}) for ids in ACCOUNTS]
    settings = _settings(crm, url, targets={})
    with (
        subprocess.Popen(line, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first,
        database.open(settings) as opened,
    ):
        assert first.stdout is not None
        assert first.stdout.readline() == "begun\n"
        refused = r"another delivery to hubspot .* companies is running.*Wait until it has ended"
        with pytest.raises(DeliveryError, match=refused):
            deliver(settings, opened, chunks, to)
        with pytest.raises(DeliveryError, match=refused):
            check_not_running(settings, opened, to)
        assert deliver(settings, opened, chunks, to, dry_run=True).counts == {"new": 300}
        first.communicate(timeout=60)
        assert first.returncode == 0
        check_not_running(settings, opened, to)
        assert deliver(settings, opened, chunks, to).counts == {"unchanged": 300}
