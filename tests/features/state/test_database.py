from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.timestamps import to_micros
from features.state import database
from features.state.tables import API_KEYS, SCORES
from tests.support.state_settings import make_state_settings

DAY = datetime(2024, 1, 1, tzinfo=UTC)


def at(url: str) -> Any:
    return make_state_settings(url, Path("/nowhere"))


def row(account_id: str, *, as_of: datetime = DAY, score: float = 0.1, horizon: int = 90) -> tuple[Any, ...]:
    drivers = '[{"feature": "seats", "contribution": 0.25}]'
    fixed = ("churn-1", "c", "usage", None, True, drivers, 1)
    return (account_id, to_micros(as_of), "churn", horizon, score, *fixed)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/deep/state.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def opened(url: str) -> Iterator[database.Store]:
    with database.open(at(url)) as found:
        yield found


def test_an_empty_database_gets_all_tables_of_the_metadata(opened: database.Store) -> None:
    there = sa.inspect(opened.engine)
    for table in (SCORES, API_KEYS):
        columns = {c["name"]: c for c in there.get_columns(table.name)}
        assert list(columns) == [c.name for c in table.columns]
        assert [columns[c.name]["nullable"] for c in table.columns] == [c.nullable for c in table.columns]
        assert there.get_pk_constraint(table.name)["constrained_columns"] == [c.name for c in table.primary_key]


def test_scores_written_again_replace_those_before(opened: database.Store) -> None:
    assert opened.write_scores([row("a"), row("b")]) == 2
    opened.write_scores([row("a", score=0.9)])
    found = opened.latest_scores(DAY, "churn", 90)
    assert [(r["account_id"], r["score"]) for r in found] == [("a", 0.9), ("b", 0.1)]
    assert found[0]["drivers"] == [{"feature": "seats", "contribution": 0.25}]


def test_an_instant_scored_again_holds_the_last_run_alone(opened: database.Store) -> None:
    later = datetime(2024, 2, 1, tzinfo=UTC)
    opened.write_scores([row("gone"), row("a"), row("a", horizon=30), row("gone", as_of=later)])
    opened.write_scores([row("a", score=0.9)], replacing=DAY)
    assert [(r["account_id"], r["score"]) for r in opened.latest_scores(DAY, "churn", 90)] == [("a", 0.9)]
    assert opened.latest_scores(DAY, "churn", 30) == []
    assert [r["account_id"] for r in opened.latest_scores(later, "churn", 90)] == ["gone"]


def test_a_score_comes_back_to_the_last_bit(opened: database.Store) -> None:
    scores = [0.1 + 0.2, 1 / 3, 5e-324, 0.9999999999999999]
    opened.write_scores([row(str(i), score=score) for i, score in enumerate(scores)])
    assert [r["score"] for r in opened.latest_scores(DAY, "churn", 90)] == scores


def test_the_latest_scores_are_those_at_or_before_the_instant(opened: database.Store) -> None:
    later = datetime(2024, 2, 1, tzinfo=UTC)
    opened.write_scores([row("a"), row("b"), row("a", as_of=later, score=0.7)])
    between = datetime(2024, 1, 31, tzinfo=UTC)
    assert [r["account_id"] for r in opened.latest_scores(between, "churn", 90)] == ["a", "b"]
    assert [r["score"] for r in opened.latest_scores(later, "churn", 90)] == [0.7]
    assert opened.latest_scores(datetime(2023, 1, 1, tzinfo=UTC), "churn", 90) == []
    assert opened.latest_scores(later, "churn", 30) == []


def test_an_accounts_scores_come_newest_first(opened: database.Store) -> None:
    later = datetime(2024, 2, 1, tzinfo=UTC)
    opened.write_scores([row("a"), row("a", as_of=later), row("a", as_of=later, horizon=30), row("b")])
    found = [(r["as_of"], r["horizon"]) for r in opened.account_scores("a")]
    assert found == [(to_micros(later), 30), (to_micros(later), 90), (to_micros(DAY), 90)]


def test_a_write_that_fails_half_way_leaves_nothing(opened: database.Store) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        for i in range(database.CHUNK + 1):
            yield row(str(i))
        message = "half way"
        raise ValueError(message)

    with pytest.raises(ValueError, match="half way"):
        opened.write_scores(rows())
    assert opened.latest_scores(DAY, "churn", 90) == []


def _open_and_write(url: str, name: str) -> None:
    with database.open(at(url)) as opened:
        opened.write_scores([row(name)])


def test_processes_that_open_an_empty_database_at_once_all_get_it(url: str) -> None:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["features.state.database"])  # so that they do come at once
    openers = [processes.Process(target=_open_and_write, args=(url, str(i))) for i in range(3)]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join(60)
    assert [opener.exitcode for opener in openers] == [0, 0, 0]
    with database.open(at(url)) as opened:
        assert len(opened.latest_scores(DAY, "churn", 90)) == 3


def test_a_locked_database_is_said_to_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PATIENCE", 0.1)
    with database.open(at(f"sqlite:///{tmp_path}/state.db")) as opened:
        other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(GarrisonError, match=r"state\.db is locked by another process.*Wait"):
            opened.write_scores([row("a")])
        assert opened.latest_scores(DAY, "churn", 90) == []  # reading goes on
        other.close()


def test_an_unreachable_database_is_told_without_its_password() -> None:
    with pytest.raises(GarrisonError, match="can't be used") as caught:
        database.open(at("postgresql://someone:s3cret@127.0.0.1:1/none"))
    assert "s3cret" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)


@pytest.mark.parametrize("wrong", ["not a url", "mysql://host/name"])
def test_another_database_is_refused(wrong: str) -> None:
    with pytest.raises(GarrisonError, match=r"sqlite:///file\.db or postgresql://"):
        database.open(at(wrong))


def test_an_empty_file_is_opened_by_many_at_the_same_moment(tmp_path: Path) -> None:
    # SQLite refuses some of those that switch it to WAL at once, without waiting: about one of 15 files.
    for i in range(40):
        engines = [database.connect(f"sqlite:///{tmp_path}/{i}.db") for _ in range(4)]
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(_read_journal_mode, engines)) == ["wal"] * 4


def _read_journal_mode(engine: sa.Engine) -> str:
    with engine.connect() as connection:
        mode = str(connection.exec_driver_sql("PRAGMA journal_mode").scalar())
    engine.dispose()
    return mode
