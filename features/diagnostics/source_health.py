"""Check each source against its own past: whether it is late, and whether its rows look as they always did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from features.core.contract import TABLES
from features.core.sql_text import SqlText
from features.core.timestamps import from_micros, to_micros
from features.definitions.feature import DAY
from features.definitions.visibility_rule import is_visible
from features.diagnostics.source_findings import SourceFinding
from features.settings import Settings
from features.sources.history import History

# A silence of so many days is held against no table: weekends and holidays are as long.
LEAST_DAYS = 7


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
    def finding(self) -> SourceFinding | None:
        """Return the finding that holds a run; None if the table speaks as often as it always did."""
        if self.last is None:
            return SourceFinding(self.table, "silent", "hold", f"has no event before {self.until}")
        days, allowed = (self.until - self.last).days, max(LEAST_DAYS, self.longest) + self.lag
        if days <= allowed:
            return None
        usual = f"its longest silence before was {self.longest} day{'s' * (self.longest != 1)}, {allowed} are allowed"
        text = f"is stale: its last event is of {self.last}, {days} days before {self.until}; {usual}"
        return SourceFinding(self.table, "silent", "hold", text, {"days": days, "allowed": allowed})


def check_sources(settings: Settings, history: History, *, as_of: datetime) -> tuple[SourceFinding, ...]:
    """Find what is wrong with the event tables of a history, worst first.

    Args:
        settings: The company's.
        history: Its history.
        as_of: The instant at which the data should be up to date; only what was visible then is looked at.
    """
    findings = tuple(_find_faults(settings, history, as_of))
    return tuple(sorted(findings, key=lambda finding: finding.severity != "hold"))


def _find_faults(settings: Settings, history: History, as_of: datetime) -> Iterator[SourceFinding]:
    if not history.sources:
        yield SourceFinding("company", "silent", "hold", "has no event table")
    for table in history.sources:
        finding = read_silence(settings, history, table, as_of).finding
        if finding:
            yield finding


def read_silence(settings: Settings, history: History, table: str, as_of: datetime) -> TableSilence:
    """Read when a table last had an event that is visible at `as_of`, and its longest silence until then."""
    time = str(TABLES[table].time)
    visible = is_visible(SqlText(time), SqlText("known_at"), to_micros(as_of))
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
        until=as_of.date(),
        last=None if rows["last"].isna().iloc[0] else from_micros(int(last) * DAY).date(),
        longest=int(longest),
        lag=-(-lag // timedelta(days=1)),
    )
