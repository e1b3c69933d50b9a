"""Check each source against its own past: whether it is late, and whether its rows look as they always did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np

from features.diagnostics.profile_reader import read_profile
from features.diagnostics.source_checks import check_profile
from features.diagnostics.source_findings import Severity, SourceFinding
from features.diagnostics.source_profile import SourceProfile, format_days, format_span
from features.settings import Settings
from features.sources.history import History

# A silence of so many days is held against no table: an export that comes once a week is as old, and holidays.
LEAST_DAYS = 7
# Silences of a source vary: one this much longer than any before is still usual.
_ALLOWED = 1.5
# A silence holds a run only where so many rows are missing, or where it is this much longer than what is allowed: few
# accounts may have nothing to buy for a week.
_LEAST_MISSING, _FAR_LONGER = 30, 2
_RATE_DAYS = 56


@dataclass(frozen=True)
class TableSilence:
    """How long an event table has had no event.

    Args:
        table: Its name in the contract.
        until: The day it is looked at from.
        last: The day of its last event; None where it has none.
        longest: Whole days without an event, the most that an earlier night found.
        lag: Days that its events take to become known.
        past: Days that its events cover.
        rate: Rows a day in the eight weeks until its last event.
    """

    table: str
    until: date
    last: date | None
    longest: int = 0
    lag: int = 0
    past: int = 0
    rate: float = np.inf

    @property
    def days(self) -> int:
        """Return the whole days without an event until now."""
        return max(0, (self.until - self.last).days - 1) if self.last else 0

    @property
    def finding(self) -> SourceFinding | None:
        """Return the finding that holds a run, or is to be watched; None if events come as often as they always did."""
        if self.last is None:
            return SourceFinding(self.table, "silent", "hold", f"has no event before {self.until}")
        watched = int(_ALLOWED * self.longest) + 2
        allowed = max(LEAST_DAYS + self.lag, watched)
        if self.days <= watched:
            return None
        usual = f"never silent for {f'more than {self.longest}' if self.longest else 'a whole day'}"
        text = f"last event {self.last}, silent for {format_days(self.days)}; in {format_span(self.past)} {usual}"
        is_certain = self.rate * self.days >= _LEAST_MISSING or self.days > _FAR_LONGER * allowed
        severity: Severity = "hold" if self.days > allowed and is_certain else "watch"
        figures = {"days": self.days, "longest": self.longest, "allowed": allowed}
        return SourceFinding(self.table, "silent", severity, text, figures)


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
    profiles = {table: read_profile(settings, history, table, as_of=as_of) for table in history.sources}
    for table, profile in profiles.items():
        if profile is None:
            yield from _find_silence(TableSilence(table, as_of.date(), None))
        else:
            others = [other for other in profiles.values() if other and other is not profile]
            lag = -(-settings.tables[table].lag // timedelta(days=1))
            yield from check_source(profile, others, lag=lag)


def check_source(
    profile: SourceProfile, others: Sequence[SourceProfile] = (), *, lag: int = 0
) -> Iterator[SourceFinding]:
    """Yield what is wrong with one source; a silence is not reported where unknown accounts are its cause.

    Args:
        profile: Of the source.
        others: Of the company's other sources.
        lag: Days that its events take to become known.
    """
    findings = list(check_profile(profile, others))
    if not any(finding.kind == "ids" for finding in findings):
        yield from _find_silence(measure_silence(profile, lag))
    yield from findings


def measure_silence(profile: SourceProfile, lag: int) -> TableSilence:
    """Return how long a source has had no event."""
    newest = profile.newest - profile.first
    return TableSilence(
        profile.table,
        until=profile.date_of(len(profile.rows)),
        last=profile.date_of(newest),
        longest=profile.longest,
        lag=lag,
        past=newest + 1,
        rate=float(profile.rows[: newest + 1][-_RATE_DAYS:].mean()),
    )


def _find_silence(silence: TableSilence) -> Iterator[SourceFinding]:
    finding = silence.finding
    if finding:
        yield finding
