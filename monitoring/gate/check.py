"""The gate: check whether alerts may go out on this run. Late or broken data must not wake anybody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from features.core.contract import TABLES
from features.core.sql_text import SqlText
from features.core.timestamps import from_micros, to_micros
from features.definitions.feature import DAY
from features.definitions.visibility_rule import is_visible
from features.settings import Settings
from features.sources.history import History
from monitoring.drift.drift_report import select_model_columns
from monitoring.drift.schema_checks import Finding, check_schema
from serving.scoring import score_table, snapshot_store
from serving.scoring.snapshot_store import StoredSnapshot
from training.models.model import Model

# A silence of so many days closes the gate for no table: weekends and holidays are as long.
LEAST_DAYS = 7


@dataclass(frozen=True)
class Gate:
    """Open when nothing speaks against alerts; otherwise each reason, in words."""

    reasons: tuple[str, ...]

    @property
    def state(self) -> Literal["open", "closed"]:
        """Return whether alerts may go out."""
        return "closed" if self.reasons else "open"

    def lines(self) -> tuple[str, ...]:
        """Return the lines for the terminal."""
        if not self.reasons:
            return ("Alerts may go out.",)
        return ("No alerts may go out:", *(f"  {reason}" for reason in self.reasons))

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"state": self.state, **asdict(self)}


@dataclass(frozen=True)
class TableSilence:
    """How long an event table has had no event.

    Args:
        table: Its name in the contract.
        until: The day it is looked at from.
        last: The day of its last event; None where it has none.
        longest: Days between two of its events, the most there were before.
        lag: Days that its events take to become known.
    """

    table: str
    until: date
    last: date | None
    longest: int = 0
    lag: int = 0

    @property
    def reason(self) -> str | None:
        """Return why the table closes the gate, in words; None if it does not."""
        if self.last is None:
            return f"{self.table} has no event before {self.until}"
        days, allowed = (self.until - self.last).days, max(LEAST_DAYS, self.longest) + self.lag
        if days <= allowed:
            return None
        usual = f"its longest silence before was {self.longest} day{'s' * (self.longest != 1)}, {allowed} are allowed"
        return f"{self.table} is stale: its last event is of {self.last}, {days} days before {self.until}; {usual}"


def check_gate(
    settings: Settings, history: History, *, model: Model, scored: datetime, as_of: datetime | None = None
) -> Gate:
    """Open or close the gate for one run, after the history and the snapshot that was scored.

    Args:
        settings: The company's.
        history: Its history.
        model: The champion that gave the scores.
        scored: The `as_of` of the scores.
        as_of: The instant at which the data should be up to date; None for now.
    """
    now = as_of or datetime.now(UTC)
    silences = [_read_silence(settings, history, table, now) for table in history.sources]
    return decide_gate(
        silences, check_schema(*select_model_columns(model, _load_snapshot(settings, history, model, scored))).findings
    )


def decide_gate(silences: Sequence[TableSilence], findings: Sequence[Finding]) -> Gate:
    """Open or close the gate. Drift alone does not close it, since a moved column may be the business itself.

    Args:
        silences: Of each event table.
        findings: About the columns that the champion reads; only those that break its scores count.
    """
    return Gate(tuple(_reasons(silences, findings)))


def _reasons(silences: Sequence[TableSilence], findings: Sequence[Finding]) -> Iterator[str]:
    if not silences:
        yield "no event table is mapped"
    for silence in silences:
        if silence.reason:
            yield silence.reason
    yield from (f"the snapshot is broken: {finding}" for finding in findings if finding.breaks)


def _read_silence(settings: Settings, history: History, table: str, now: datetime) -> TableSilence:
    """Read when a table last had an event that is visible now, and its longest silence until then."""
    time = str(TABLES[table].time)
    visible = is_visible(SqlText(time), SqlText("known_at"), to_micros(now))
    sql = f"""
        WITH days AS (SELECT DISTINCT {time} // {DAY} AS day FROM {table} WHERE {visible}),
        gaps AS (SELECT day, day - lag(day) OVER (ORDER BY day) AS gap FROM days)
        SELECT max(day) AS last, max(gap) AS longest FROM gaps
    """  # noqa: S608  # the contract's own names
    rows = history.query(sql)
    last, longest = rows["last"].iloc[0], rows["longest"].fillna(0).iloc[0]
    lag = settings.tables[table].lag
    return TableSilence(
        table,
        until=now.date(),
        last=None if rows["last"].isna().iloc[0] else from_micros(int(last) * DAY).date(),
        longest=int(longest),
        lag=-(-lag // timedelta(days=1)),
    )


def _load_snapshot(settings: Settings, history: History, model: Model, scored: datetime) -> StoredSnapshot:
    """Load the snapshot behind the scores; if it is not stored here, take it again."""
    file = score_table.file_at(snapshot_store.snapshots_folder(settings), scored)
    if file.exists():
        return StoredSnapshot.read(file, model.features)
    return StoredSnapshot.build(settings, history, scored)
