from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from features.state import database
from features.state.tables import DELIVERIES, DELIVERY_JOBS, DELIVERY_QUARANTINE, DELIVERY_RUNS
from serving.delivery.destination import OutgoingRecord, compute_digest
from serving.delivery.ledger import Ledger
from tests.support.state_settings import make_state_settings


def row(account_id: str, score: float = 0.5) -> OutgoingRecord:
    content = {"churn": score, "why": "Rückgang"}
    return OutgoingRecord(account_id, content, compute_digest(content))


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[database.Store]:
    url = f"sqlite:///{tmp_path}/s.db" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    with database.open(make_state_settings(url, tmp_path)) as found:
        yield found


def test_the_migration_makes_the_tables_as_they_are_defined(opened: database.Store) -> None:
    there = sa.inspect(opened.engine)
    for table in (DELIVERIES, DELIVERY_JOBS, DELIVERY_QUARANTINE, DELIVERY_RUNS):
        columns = {c["name"]: c for c in there.get_columns(table.name)}
        assert list(columns) == [c.name for c in table.columns]
        assert [columns[c.name]["nullable"] for c in table.columns] == [c.nullable for c in table.columns]
        assert there.get_pk_constraint(table.name)["constrained_columns"] == [c.name for c in table.primary_key]


def test_it_holds_what_was_confirmed_last_for_each_destination(opened: database.Store) -> None:
    mine, other = Ledger(opened, "one"), Ledger(opened, "other")
    mine.settle([row("a"), row("b")], confirmed=[row("a"), row("b")], quarantined={})
    mine.settle([row("a", 0.75)], confirmed=[row("a", 0.75)], quarantined={})
    assert mine.read_digests(["a", "b", "c"]) == {"a": row("a", 0.75).digest, "b": row("b").digest}
    assert mine.read_record("a") == {"churn": 0.75, "why": "Rückgang"}
    assert (other.read_digests(["a"]), other.read_record("a")) == ({}, None)


def test_more_accounts_than_a_query_takes_are_found(opened: database.Store) -> None:
    mine, rows = Ledger(opened, "one"), [row(f"{i}") for i in range(2_500)]
    mine.settle(rows, confirmed=rows, quarantined={})
    assert len(mine.read_digests([r.account_id for r in rows])) == 2_500


def test_a_job_is_under_way_until_its_rows_are_settled(opened: database.Store) -> None:
    mine = Ledger(opened, "one")
    mine.begin_job("job 1", [row("a"), row("b")])
    mine.begin_job("job 2", [row("b", 0.25)])  # the row is sent again
    assert mine.read_unfinished_jobs() == {"job 1": [row("a")], "job 2": [row("b", 0.25)]}
    assert Ledger(opened, "other").read_unfinished_jobs() == {}
    assert mine.read_digests(["a", "b"]) == {}
    mine.settle([row("a")], confirmed=[], quarantined={"a": ("no name", 3)})
    assert list(mine.read_unfinished_jobs()) == ["job 2"]


def test_a_row_leaves_quarantine_when_it_is_taken(opened: database.Store) -> None:
    mine = Ledger(opened, "one")
    mine.settle([row("a")], confirmed=[], quarantined={"a": ("no name", 3)})
    with opened.reading() as connection:
        found = connection.execute(sa.select(DELIVERY_QUARANTINE)).mappings().all()
    assert [(r["account_id"], r["reason"], r["tries"]) for r in found] == [("a", "no name", 3)]
    mine.settle([row("a")], confirmed=[row("a")], quarantined={})
    with opened.reading() as connection:
        assert connection.execute(sa.select(DELIVERY_QUARANTINE)).all() == []


def test_the_digest_leaves_out_what_it_is_told_to() -> None:
    first, later = {"churn": 0.5, "as_of": "2024-01-01"}, {"churn": 0.5, "as_of": "2024-02-01"}
    assert compute_digest(first, without=["as_of"]) == compute_digest(later, without=["as_of"])
    assert compute_digest(first) != compute_digest(later)
    assert compute_digest({"a": 1, "b": None}) == compute_digest({"b": None, "a": 1})
    assert compute_digest({"a": 1}) != compute_digest({"a": "1"})
