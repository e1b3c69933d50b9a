"""What a night leaves behind, in a form that two nights can be compared by: times and ids of runs apart."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from features.state import database
from features.state.tables import (
    ALERT_CHOICES,
    ALERT_RUNS,
    EPISODE_EVENTS,
    EPISODES,
    NIGHT_STEPS,
    OUTBOX,
    RUN_VERDICTS,
    SCORES,
)
from tests.support.night_company import NightCompany

_COLUMNS = {
    SCORES: ("account_id", "as_of", "target", "horizon", "score", "model", "value", "in_cohort", "drivers"),
    ALERT_RUNS: ("target", "as_of", "horizon", "model", "enter", "leave"),
    EPISODES: tuple(column.name for column in EPISODES.c if column.name != "closed_at"),
    EPISODE_EVENTS: ("episode_id", "seq", "as_of", "event", "by", "details"),
    ALERT_CHOICES: tuple(column.name for column in ALERT_CHOICES.c),
    OUTBOX: ("id", "episode_id", "kind", "recipient", "subject", "body", "state", "attempts", "position"),
    NIGHT_STEPS: ("night", "step", "position", "state"),
}


def read_state(company: NightCompany) -> dict[str, Any]:
    """Return all that a night leaves in the state database and in files, times and ids of runs apart."""
    state: dict[str, Any] = {}
    with database.open(company.settings) as store, store.reading() as connection:
        for table, columns in _COLUMNS.items():
            rows = connection.execute(sa.select(*(table.c[c] for c in columns)))
            state[table.name] = sorted(map(repr, rows))
        # A run that was scored again before it was acted on has left a verdict on the first run too.
        verdicts = connection.execute(sa.select(RUN_VERDICTS.c.as_of, RUN_VERDICTS.c.state).distinct())
        state["verdicts"] = sorted(map(tuple, verdicts))
    state["scores.csv"] = (company.folder / "scores.csv").read_text(encoding="utf-8")
    with closing(sqlite3.connect(company.folder / "crm.db")) as connection:
        state["crm.db"] = sorted(map(repr, connection.execute("SELECT * FROM scores")))
    reports = sorted((company.settings.var / "reports").glob("*.html"))
    state["reports"] = {file.name: file.read_text(encoding="utf-8") for file in reports}
    return state


def find_difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return the names of the parts in which two states differ."""
    return [name for name in first if first[name] != second[name]]


def count_mails(folder: Path) -> Counter[tuple[str, str]]:
    """Count the mails that arrived, by recipient and Message-ID."""
    mails = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in folder.glob("*.eml")]
    return Counter((str(mail["To"]), str(mail["Message-ID"])) for mail in mails)
