from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from features.core.timestamps import to_micros
from features.sources.history import History
from features.state import database
from features.state.database import Store
from features.state.tables import PARITY_RUNS
from serving.batch import run
from serving.events import log
from serving.events.rescoring import Rescorer
from serving.parity import check
from serving.parity.sampler import SERVED, ParitySampler
from serving.schemas import event_requests
from serving.schemas.score_requests import ScoreRequestReader
from serving.scoring import snapshot_store
from serving.scoring.scorer import PreparedSnapshots, Scorer, load_champions
from serving.scoring.snapshot_store import SnapshotStore

AS_OF = datetime(2024, 1, 1, tzinfo=UTC)
NOW = datetime(2024, 1, 2, tzinfo=UTC)


@pytest.fixture
def opened(own_harbour: Any) -> Iterator[Store]:
    run.score_accounts(own_harbour.settings, None, as_of=AS_OF)
    with database.open(own_harbour.settings) as found:
        yield found


@pytest.fixture
def scorer(own_harbour: Any) -> Scorer:
    return load_champions(own_harbour.settings)


@pytest.fixture
def history(own_harbour: Any, opened: Store) -> str:  # noqa: ARG001  # after the batch
    with History.open(own_harbour.settings) as found:
        assert found.cache is not None
        return found.cache.key


@pytest.fixture
def rows(own_harbour: Any, opened: Store, scorer: Scorer) -> PreparedSnapshots:  # noqa: ARG001  # after the batch
    found = SnapshotStore.load(own_harbour.settings, scorer).rows
    assert found is not None
    return found


def sampled(opened: Store, **what: Any) -> None:
    """Have one thing served in the sample."""
    sampler = ParitySampler(opened, 10)
    sampler.offer(what.pop("scorer"), what.pop("rows"), **what)
    sampler.close()


def served(opened: Store) -> list[dict[str, Any]]:
    with opened.reading() as connection:
        return [dict(row) for row in connection.execute(sa.select(SERVED)).mappings()]


def test_scores_by_id_and_of_posted_histories_come_out_the_same_offline(
    own_harbour: Any, opened: Store, scorer: Scorer, history: str, rows: PreparedSnapshots
) -> None:
    for place in (3, 5, 8):
        sampled(opened, scorer=scorer, rows=rows, places=[place], history=history)
    body = json.dumps({"accounts": [own_harbour.posted("A-003")], "as_of": "2023-11-05T10:00:00Z"})
    asked = ScoreRequestReader(own_harbour.settings).read(body.encode())
    assert asked.as_of is not None
    found = snapshot_store.prepare_posted(own_harbour.settings, scorer, list(asked.items), asked.as_of)  # type: ignore[arg-type]  # posted
    sampled(opened, scorer=scorer, rows=found, places=[0], posted={"A-003": asked.items[0]})
    checked = check.check_parity(own_harbour.settings, opened, now=NOW)
    assert (checked.checked, checked.skipped, checked.mismatches) == (4, {}, ())
    with opened.reading() as connection:
        assert connection.execute(sa.select(PARITY_RUNS)).all() == [(to_micros(NOW), 4, 0)]
    assert {(row["fate"], row["checked_at"]) for row in served(opened)} == {("same", to_micros(NOW))}
    assert check.check_parity(own_harbour.settings, opened).checked == 0


def test_a_score_that_saw_events_is_worked_out_with_those_that_it_saw_alone(
    own_harbour: Any, opened: Store, scorer: Scorer, history: str
) -> None:
    settings = own_harbour.settings
    found = Rescorer.open(settings, opened, history, AS_OF)
    assert found is not None
    for name in ("first", "second"):
        use = {"event_id": name, "account_id": "A-003", "used_at": "2023-12-31", "known_at": "2024-01-01T09:00:00Z"}
        events = event_requests.EventRequestReader(settings).read(json.dumps({"usage": [use]}).encode())
        log.store_events(settings, opened, events, now=AS_OF)
        if name == "first":
            assert found.has_new_events(["A-003"])
            anew = found.rescore(scorer, "A-003")
            assert anew is not None
            given = {"history": history, "position": anew.position}
            sampled(opened, scorer=scorer, rows=anew.rows, places=[0], **given)
    run.score_accounts(settings, None, as_of=NOW)  # what was held is still there: used within the hour
    checked = check.check_parity(settings, opened)
    assert (checked.checked, checked.mismatches) == (1, ())


def test_a_score_served_from_other_features_is_found_with_its_account_and_feature(
    own_harbour: Any, opened: Store, scorer: Scorer, history: str, rows: PreparedSnapshots
) -> None:
    column = scorer.models["churn"].features.index("usage_events_30d")
    wrong = rows.take([3, 4])
    wrong.matrices["churn"][0, column] += 1e-9
    for place in (0, 1):
        sampled(opened, scorer=scorer, rows=wrong, places=[place], history=history)
    checked = check.check_parity(own_harbour.settings, opened, now=NOW)
    assert (checked.checked, checked.accounts) == (2, 1)
    (mismatch,) = [m for m in checked.mismatches if m.what == "churn usage_events_30d"]
    assert mismatch.account_id == rows.account_ids[3]
    assert mismatch.served == pytest.approx(mismatch.offline)
    assert "served" in str(mismatch)
    with opened.reading() as connection:
        assert connection.execute(sa.select(PARITY_RUNS)).all() == [(to_micros(NOW), 2, 1)]


def test_the_place_of_another_account_is_found(
    own_harbour: Any, opened: Store, scorer: Scorer, history: str, rows: PreparedSnapshots
) -> None:
    shifted = replace(rows, account_ids=rows.account_ids[[1, 0, *range(2, len(rows))]])
    sampled(opened, scorer=scorer, rows=shifted, places=[0], history=history)
    found = {m.what for m in check.check_parity(own_harbour.settings, opened).mismatches}
    assert {"churn_30d", "churn seats"} <= found


def test_what_can_not_be_worked_out_again_is_told_and_is_no_mismatch(
    own_harbour: Any, opened: Store, scorer: Scorer, history: str, rows: PreparedSnapshots
) -> None:
    sampled(opened, scorer=scorer, rows=rows, places=[0], history="0123456789abcdef")
    sampled(opened, scorer=scorer, rows=rows, places=[1], history=history)
    with opened.writing() as connection:
        mine = SERVED.c.history == history
        connection.execute(sa.update(SERVED).where(mine).values(catalog="other"))
    checked = check.check_parity(own_harbour.settings, opened)
    assert checked.checked == 0
    assert checked.skipped == {
        "the features are defined otherwise since": 1,
        "the history behind it is gone": 1,
    }


def test_no_more_is_kept_than_is_asked_for_and_no_person(
    own_harbour: Any, opened: Store, scorer: Scorer, rows: PreparedSnapshots
) -> None:
    now = [0.0]
    sampler = ParitySampler(opened, 50, lambda: now[0])
    for _ in range(24 * 60):
        now[0] += 60
        sampler.offer(scorer, rows, places=[0, 1, 2], history="x")
    sampler.close()
    assert 40 <= len(served(opened)) <= 50
    with opened.writing() as connection:
        connection.execute(sa.delete(SERVED))
    asked = ScoreRequestReader(own_harbour.settings).read(
        json.dumps({"accounts": [own_harbour.posted("A-003")]}).encode()
    )
    sampled(opened, scorer=scorer, rows=rows, places=[3], posted={"A-003": asked.items[0]})
    ((text),) = [row["posted"] for row in served(opened)]
    assert "harbour.example" not in text
    assert "Boatyard" not in text
    assert "A-003-0" not in text  # a user's id


def test_what_was_checked_long_ago_is_forgotten(
    own_harbour: Any, opened: Store, scorer: Scorer, history: str, rows: PreparedSnapshots
) -> None:
    sampled(opened, scorer=scorer, rows=rows, places=[0], history=history)
    check.check_parity(own_harbour.settings, opened, now=NOW)
    assert len(served(opened)) == 1
    check.check_parity(own_harbour.settings, opened, now=NOW + timedelta(days=31))
    assert served(opened) == []


def test_the_command_tells_and_its_status_says(  # noqa: PLR0913, PLR0917  # fixtures
    own_harbour: Any, opened: Store, scorer: Scorer, history: str, rows: PreparedSnapshots, serving: Any, tmp_path: Any
) -> None:
    sampled(opened, scorer=scorer, rows=rows, places=[3], history=history)
    done = serving("parity", "--config", own_harbour.config)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 served scores were recomputed; 0 differ." in done.stdout
    wrong = replace(rows, matrices={t: m + 1 for t, m in rows.matrices.items()})
    sampled(opened, scorer=scorer, rows=wrong, places=[3], history=history)
    done = serving("parity", "--config", own_harbour.config, "--json", tmp_path / "told.json")
    assert done.returncode == 1
    assert "churn_90d of account A-003 at 2024-01-01T00:00:00+00:00: served" in done.stdout
    told = json.loads((tmp_path / "told.json").read_text())
    assert (told["checked"], told["accounts"]) == (1, 1)
    assert told["mismatches"][0]["account_id"] == "A-003"
