from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from features.core.errors import GarrisonError
from features.core.timestamps import from_micros, to_micros
from features.sources.history import History
from features.state import database
from features.state.database import Store
from serving.batch import run
from serving.events import log, rescoring
from serving.events.rescoring import RescoredAccount, Rescorer
from serving.schemas import event_requests
from serving.scoring.scorer import PreparedSnapshots, Scorer, load_champions
from serving.scoring.snapshot_store import StoredSnapshot

AS_OF = datetime(2024, 1, 1, tzinfo=UTC)
RECEIPT = AS_OF + timedelta(hours=9)


@dataclass
class Quay:
    """A company whose newest snapshot is taken, with its log of events."""

    harbour: Any
    opened: Store
    scorer: Scorer
    key: str

    def post(self, *, at: datetime = RECEIPT, **body: Any) -> list[str]:
        """Post events; gives their fates."""
        settings = self.harbour.settings
        events = event_requests.EventRequestReader(settings).read(json.dumps(body).encode())
        answer = log.store_events(settings, self.opened, events, now=at)
        return [item["fate"] for table in events for item in answer[table]]

    def rescorer(self) -> Rescorer:
        found = Rescorer.open(self.harbour.settings, self.opened, self.key, AS_OF)
        assert found is not None
        return found

    def offline(self, as_of: datetime) -> PreparedSnapshots:
        """The whole company as batch sees it now."""
        with History.open(self.harbour.settings) as history:
            return StoredSnapshot.build(self.harbour.settings, history, as_of).prepare(self.scorer)


@pytest.fixture
def quay(own_harbour: Any) -> Iterator[Quay]:
    run.score_accounts(own_harbour.settings, None, as_of=AS_OF)
    with History.open(own_harbour.settings) as history, database.open(own_harbour.settings) as opened:
        assert history.cache is not None
        yield Quay(own_harbour, opened, load_champions(own_harbour.settings), history.cache.key)


@pytest.fixture
def alike(quay: Quay) -> Callable[[Rescorer, str], PreparedSnapshots]:
    """An account worked out anew, once it is found to be as batch has it at the same instant, bit for bit."""

    def compared(found: Rescorer, account_id: str) -> PreparedSnapshots:
        anew = worked_out(found, quay, account_id)
        whole = quay.offline(from_micros(int(anew.rows.as_of[0])))
        place = list(whole.account_ids).index(account_id)
        for target, matrix in anew.rows.matrices.items():
            names = quay.scorer.models[target].features
            pairs = zip(names, matrix[0], whole.matrices[target][place], strict=True)
            assert {name: (a, b) for name, a, b in pairs if a.tobytes() != b.tobytes()} == {}
            assert anew.rows.in_cohort[target][0] == whole.in_cohort[target][place]
        ours, theirs = (quay.scorer.score(rows) for rows in (anew.rows, whole.take([place])))
        assert {t: s.tobytes() for t, s in ours.items()} == {t: s.tobytes() for t, s in theirs.items()}
        assert anew.rows.value[0].tobytes() == whole.value[place].tobytes()
        return anew.rows

    return compared


def worked_out(found: Rescorer, quay: Quay, account_id: str) -> RescoredAccount:
    assert found.has_new_events([account_id])
    anew = found.rescore(quay.scorer, account_id)
    assert anew is not None
    return anew


def use(event_id: str, account_id: str = "A-003", at: str = "2023-12-31T10:00:00Z", **more: Any) -> dict[str, Any]:
    return {"event_id": event_id, "account_id": account_id, "used_at": at, **more}


def test_an_account_without_new_events_is_left_to_the_snapshot(quay: Quay) -> None:
    found = quay.rescorer()
    assert not found.has_new_events(["A-003"])
    quay.post(usage=[use("u", "A-004")])
    assert not found.has_new_events(["A-003", "nobody"])
    assert found.has_new_events(["A-003", "A-004"])
    assert found.rescore(quay.scorer, "A-003") is None


def test_a_score_by_id_sees_what_was_just_posted_and_batch_gives_the_same_bits(
    quay: Quay, alike: Callable[[Rescorer, str], PreparedSnapshots]
) -> None:
    found = quay.rescorer()
    ticket = {"ticket_id": "N", "account_id": "A-003", "opened_at": "2023-12-30T10:00:00Z", "priority": "urgent"}
    purchase = {"event_id": "p", "account_id": "A-003", "purchased_at": "2023-12-31", "amount": "12.5", "kind": "new"}
    quay.post(tickets=[ticket], usage=[use("u", user_id="new", count=3, duration_s="7.125")], purchases=[purchase])
    rows = alike(found, "A-003")
    assert from_micros(int(rows.as_of[0])) == RECEIPT
    before = quay.offline(AS_OF)
    place = list(before.account_ids).index("A-003")
    assert not np.array_equal(rows.matrices["churn"][0], before.matrices["churn"][place], equal_nan=True)


def test_a_ticket_of_the_table_is_resolved_by_a_post(
    quay: Quay, alike: Callable[[Rescorer, str], PreparedSnapshots]
) -> None:
    unresolved = next(t for t in quay.harbour.rows["tickets"] if not t["resolved_at"] and t["opened_at"] < "2023-12")
    post = {k: unresolved[k] for k in ("ticket_id", "account_id", "opened_at", "first_response_at")}
    found = quay.rescorer()
    assert quay.post(tickets=[post | {"resolved_at": "2024-01-01T08:00:00Z", "csat": "2"}]) == ["accepted"]
    alike(found, post["account_id"])


def test_events_posted_before_the_snapshot_are_in_it_and_those_after_come_on_top(
    quay: Quay, alike: Callable[[Rescorer, str], PreparedSnapshots]
) -> None:
    ticket = {"ticket_id": "N", "account_id": "A-003", "opened_at": "2023-12-30T10:00:00Z", "escalated": False}
    bought = {"account_id": "A-003", "purchased_at": "2023-12-31", "amount": "12.5"}
    quay.post(tickets=[ticket], usage=[use("u", count=3)], purchases=[bought | {"event_id": "p1"}])
    run.score_accounts(quay.harbour.settings, None, as_of=AS_OF + timedelta(days=1))
    with History.open(quay.harbour.settings) as history:
        assert history.cache is not None
        quay.key = history.cache.key
    found = quay.rescorer()
    assert not found.has_new_events(["A-003"])
    later = RECEIPT + timedelta(hours=1)
    more = ticket | {"resolved_at": "2024-01-01T09:00:00Z", "escalated": True}
    quay.post(tickets=[more], usage=[use("again", count=3)], purchases=[bought | {"event_id": "p2"}], at=later)
    assert from_micros(int(alike(found, "A-003").as_of[0])) == later


def test_late_and_disordered_events_make_the_same_score_in_whatever_order_they_come(quay: Quay) -> None:
    events = [use(f"u{n}", at=f"2023-1{n % 3}-0{n + 1}T10:00:00Z", count=n) for n in range(6)]
    for n, event in enumerate(events[::2] + events[1::2]):
        quay.post(usage=[event], at=RECEIPT + timedelta(minutes=n))
    other = [event | {"account_id": "A-004"} for event in events]
    assert quay.post(usage=other, at=RECEIPT + timedelta(minutes=5)) == ["conflict"] * 6
    found = worked_out(quay.rescorer(), quay, "A-003")
    again = worked_out(quay.rescorer(), quay, "A-003")
    for target, matrix in found.rows.matrices.items():
        assert matrix.tobytes() == again.rows.matrices[target].tobytes()
    assert from_micros(int(found.rows.as_of[0])) == RECEIPT + timedelta(minutes=5)


def test_it_looks_from_the_first_instant_that_sees_all_and_not_before_the_snapshot(quay: Quay) -> None:
    found = quay.rescorer()
    early = AS_OF - timedelta(hours=2)
    quay.post(usage=[use("a")], at=early)
    assert from_micros(int(worked_out(found, quay, "A-003").rows.as_of[0])) == AS_OF
    quay.post(usage=[use("b", at="2024-01-01T09:00:00.000005Z")])
    assert from_micros(int(worked_out(found, quay, "A-003").rows.as_of[0])) == RECEIPT + timedelta(microseconds=6)


def test_what_was_worked_out_is_remembered_until_more_comes(quay: Quay) -> None:
    found = quay.rescorer()
    quay.post(usage=[use("a")])
    first = worked_out(found, quay, "A-003")
    quay.post(usage=[use("b", "A-004")])
    assert worked_out(found, quay, "A-003") is first
    quay.post(usage=[use("c")])
    assert worked_out(found, quay, "A-003") is not first


def test_an_account_that_is_newer_than_the_snapshot_is_scored_and_an_unknown_one_is_not(own_harbour: Any) -> None:
    old = datetime(2023, 6, 1, tzinfo=UTC)
    run.score_accounts(own_harbour.settings, None, as_of=old)
    young = next(a["account_id"] for a in own_harbour.rows["accounts"] if a["created_at"] > "2023-06-02")
    with History.open(own_harbour.settings) as history, database.open(own_harbour.settings) as opened:
        assert history.cache is not None
        quay = Quay(own_harbour, opened, load_champions(own_harbour.settings), history.cache.key)
        found = Rescorer.open(own_harbour.settings, opened, quay.key, old)
        assert found is not None
        assert quay.post(usage=[use("a", young), use("b", "nobody")]) == ["accepted", "accepted"]
        assert worked_out(found, quay, young).rows.account_ids.tolist() == [young]
        assert found.has_new_events(["nobody"])
        assert found.rescore(quay.scorer, "nobody") is None


POST = """
import json, sys
from features.settings.load import load_settings
from features.state import database
from serving.events.log import store_events
from serving.schemas.event_requests import EventRequestReader
settings = load_settings(sys.argv[1])
with database.open(settings) as store:
    row = {"event_id": "other", "account_id": "A-003", "used_at": "2023-12-31"}
    events = EventRequestReader(settings).read(json.dumps({"usage": [row]}).encode())
    store_events(settings, store, events)
"""


def pass_seconds(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Move the monotonic clock forward."""
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + seconds)


def test_what_another_process_took_in_is_seen_at_once(quay: Quay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescoring, "POLL_SECONDS", 1e9)  # so that only the changed mark can make it stale
    found = quay.rescorer()
    assert not found.is_stale
    subprocess.run([sys.executable, "-c", POST, str(quay.harbour.config)], check=True, timeout=120)
    assert found.is_stale
    assert found.has_new_events(["A-003"])


def test_events_without_a_changed_mark_are_found_by_polling(quay: Quay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescoring, "POLL_SECONDS", 1e6)
    monkeypatch.setattr(rescoring, "notify_workers", lambda _: None)
    found = quay.rescorer()
    quay.post(usage=[use("a")])
    assert not found.has_new_events(["A-003"])
    pass_seconds(monkeypatch, 2e6)
    assert found.has_new_events(["A-003"])


def test_a_state_database_that_can_not_be_read_costs_no_score_by_id(
    quay: Quay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = quay.rescorer()
    quay.post(usage=[use("a")])
    first = worked_out(found, quay, "A-003")
    quay.post(usage=[use("b")])
    with monkeypatch.context() as patch:
        patch.setattr(Store, "reading", broken)
        assert found.has_new_events(["A-003"])
        assert found.rescore(quay.scorer, "A-003") is first
        assert "reading new events failed" in caplog.text
        assert not found.is_stale  # the next look is a second away
    pass_seconds(monkeypatch, 2 * rescoring.POLL_SECONDS)
    assert worked_out(found, quay, "A-003") is not first


def broken(_: Store) -> Any:
    message = "the database is locked"
    raise GarrisonError(message)


def test_events_of_a_merged_account_reach_the_survivor(
    own_harbour: Any, alike: Callable[[Rescorer, str], PreparedSnapshots], quay: Quay
) -> None:
    config, rows = own_harbour.config, own_harbour.rows
    merged = (AS_OF - timedelta(days=3)).isoformat()
    lines = ["account_id,created_at,name,owner_email,region,seats,rank,into,at"]
    for row in rows["accounts"]:
        into = f"A-003,{merged}" if row["account_id"] == "A-005" else ","
        lines.append(",".join([*map(str, row.values()), into]))
    (config.parent / "accounts.csv").write_text("\n".join(lines) + "\n")
    text = config.read_text().replace("rank = {", 'merged_into = "into", merged_at = "at", rank = {')
    config.write_text(text)
    from features.settings.load import load_settings

    quay.harbour = type(own_harbour)(config, load_settings(config), rows)
    run.score_accounts(quay.harbour.settings, None, as_of=AS_OF)
    with History.open(quay.harbour.settings) as history:
        assert history.cache is not None
        quay.key = history.cache.key
    found = quay.rescorer()
    quay.post(usage=[use("before", "A-005", "2023-12-20"), use("after", "A-005", "2023-12-30")])
    alike(found, "A-003")
    assert found.has_new_events(["A-005"])
    assert found.rescore(quay.scorer, "A-005") is None  # it is no account any more


def test_without_the_history_behind_the_snapshot_there_is_nothing_fresh(quay: Quay) -> None:
    settings = quay.harbour.settings
    assert Rescorer.open(settings, quay.opened, None, AS_OF) is None
    assert Rescorer.open(settings, quay.opened, "0123456789abcdef", AS_OF) is None


def test_nothing_that_was_seen_at_an_instant_comes_after_it(quay: Quay) -> None:
    """The instants of receipt ascend with the log: a score looks from one that no later event precedes."""
    found = quay.rescorer()
    quay.post(usage=[use("a")])
    first = worked_out(found, quay, "A-003")
    quay.post(usage=[use("b")], at=RECEIPT - timedelta(days=1))
    assert int(worked_out(found, quay, "A-003").rows.as_of[0]) > int(first.rows.as_of[0]) == to_micros(RECEIPT)


def test_the_history_behind_the_newest_snapshot_is_kept_whatever_comes_after(quay: Quay) -> None:
    run.score_accounts(quay.harbour.settings, None, as_of=AS_OF - timedelta(days=30))  # an older one is not the newest
    for n in range(2):
        quay.post(usage=[use(f"u{n}")])
        for file in (quay.harbour.settings.var / "history").glob("*.duckdb"):
            os.utime(file, (1, 1))
        quay.offline(AS_OF)
    assert quay.rescorer().has_new_events(["A-003"])
