"""What is older than `[retention]` says goes, all else stays; and a second run finds nothing."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import ValidationError

from features.core.timestamps import to_micros
from features.settings.retention import Retention
from features.state import database
from features.state.experiment_tables import EXPERIMENTS
from features.state.tables import DELIVERY_QUARANTINE, EVENT_LOG, METADATA, OUTBOX
from tests.support.commands import run_command
from tests.support.scored_company import write_company, write_scores

MORE = """
[retention]
events = "1100d"
results = "50d"
snapshots = "40d"
"""
DAYS = ("2024-01-01", "2024-11-01", "2024-11-20", "2024-12-31", "2025-01-01")
LONG_AGO = to_micros(datetime.now(UTC) - timedelta(days=1_200))


def _fill(table: sa.Table, **values: Any) -> dict[str, Any]:
    """A row of a table with something in each column that must have it."""
    kinds = {
        c.name: 0 if isinstance(c.type, sa.Integer) else {} if isinstance(c.type, sa.JSON) else "x" for c in table.c
    }
    return {c.name: None if c.nullable else kinds[c.name] for c in table.c} | values


def _write_rows(settings: Any) -> None:
    events = [
        _fill(EVENT_LOG, seq=seq, event_id=str(seq), received_at=at)
        for seq, at in ((1, LONG_AGO), (2, to_micros(datetime.now(UTC))), (3, LONG_AGO))
    ]
    letters = [
        _fill(OUTBOX, id=f"{state} {episode}", episode_id=episode, state=state, created_at=LONG_AGO, body="Dear Ann")
        for state in ("sent", "pending")
        for episode in ("e", None)
    ]
    with database.open(settings) as store, store.writing() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        connection.execute(sa.insert(METADATA.tables["episodes"]), [_fill(METADATA.tables["episodes"], id="e")])
        connection.execute(sa.insert(EVENT_LOG), events)
        connection.execute(sa.insert(OUTBOX), letters)
        connection.execute(sa.insert(DELIVERY_QUARANTINE), [_fill(DELIVERY_QUARANTINE, at=LONG_AGO)])


def _age(file: Path, days: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("x")
    os.utime(file, (time.time() - days * 86_400,) * 2)


def test_what_is_too_old_goes_and_all_else_stays(tmp_path: Path) -> None:
    settings = write_company(tmp_path, [{"id": "A"}], MORE)
    for day in DAYS:
        write_scores(settings, [{"account_id": "A", "risk": 0.1}], as_of=day)
        _age(settings.var / "snapshots" / f"{day}T000000Z.parquet", 0)
        _age(settings.var / "audit" / f"{day}.17.jsonl", 0)
    _age(settings.var / "drift" / "2023-01-01-churn.html", 0)
    _age(settings.var / "features" / "2020-01-01-abc.parquet", 1)
    for name in ("quarantine/usage.parquet", "scores/b.parquet.harmed", "features/c.parquet.7.part"):
        _age(settings.var / name, 91)
    _write_rows(settings)
    words = ("retain", "--config", settings.file, "--json", tmp_path / "retain.json")

    counted = run_command("monitoring", *words, "--dry-run")
    assert counted.returncode == 0, counted.stderr
    assert counted.stdout.startswith("Would remove: 2 results, 3 snapshots, 1 drift, ")
    expected = json.loads((tmp_path / "retain.json").read_text())
    assert len(list((settings.var / "scores").glob("*.parquet"))) == len(DAYS)

    assert run_command("monitoring", *words).returncode == 0
    removed = json.loads((tmp_path / "retain.json").read_text())
    assert removed == expected | {"dry_run": False}
    of_audit = sum((datetime.now(UTC) - datetime.fromisoformat(f"{day}T00:00Z")).days > 400 for day in DAYS)
    assert {k: v for k, v in removed.items() if k not in {"bytes", "dry_run"}} == {
        "results": 2,
        "snapshots": 3,
        "drift": 1,
        "audit": of_audit,
        "quarantine": 2,
        "leftovers": 2,
        "events": 1,
        "messages": 1,
    }
    assert [f.name[:10] for f in sorted((settings.var / "scores").glob("*.parquet"))] == list(DAYS[2:])
    assert [f.name[:10] for f in sorted((settings.var / "snapshots").iterdir())] == list(DAYS[3:])
    with database.open(settings) as store, store.reading() as connection:
        assert connection.execute(sa.select(EVENT_LOG.c.seq).order_by(EVENT_LOG.c.seq)).scalars().all() == [2, 3]
        bodies = dict(connection.execute(sa.select(OUTBOX.c.id, OUTBOX.c.body)).all())
    assert bodies.pop("sent e") == "(removed: older than retention.messages)"
    assert set(bodies.values()) == {"Dear Ann"}  # what is due, and what is about no account
    assert run_command("monitoring", *words).stdout == "Removed: nothing.\n"


def test_an_open_experiment_keeps_what_it_may_be_read_from(tmp_path: Path) -> None:
    settings = write_company(tmp_path, [{"id": "A"}], MORE)
    for day in DAYS:
        write_scores(settings, [{"account_id": "A", "risk": 0.1}], as_of=day)
    started = to_micros(datetime(2024, 6, 1, tzinfo=UTC))
    with database.open(settings) as store, store.writing() as connection:
        connection.execute(sa.insert(EXPERIMENTS), [_fill(EXPERIMENTS, name="holdout", started_as_of=started)])
    assert run_command("monitoring", "retain", "--config", settings.file).returncode == 0
    assert [f.name[:10] for f in sorted((settings.var / "scores").glob("*.parquet"))] == list(DAYS[1:])


def test_a_span_that_would_cost_training_its_history_is_refused() -> None:
    for wrong in ({"events": "365d"}, {"results": "20d"}, {"snapshots": "1d"}):
        with pytest.raises(ValidationError, match="at least"):
            Retention.model_validate(wrong)
