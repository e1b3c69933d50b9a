"""Tell whether a problem's rate fell after its fix: tickets per active account before and after, with an interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import sqlalchemy as sa

from features.core.timestamps import DAY, from_micros
from features.sources.history import History
from features.state.problem_tables import PROBLEM_TICKETS

Verdict = Literal["fell", "did not fall", "came back", "too early", "too few"]
# Days that are compared at most, on each side of a fix, and days after which a comparison may say something.
_SPAN, _EARLIEST = 90, 30
# Days of the newest comparison, which shows that a problem came back.
_NEWEST = 30
# Tickets that would have come at the old rate: below this many a comparison says nothing.
_FEWEST = 10
# A rate that fell by less than half, and not for sure, did not fall.
_HALF = 0.5
_LEVEL = 0.95
# An account counts as active in a span of 30 days in which something happened to it, or in the two after it.
_BUCKET = 30 * DAY
_LASTS = {"usage": 3, "tickets": 3, "touches": 3, "purchases": 13}
_TIMES = {"usage": "used_at", "tickets": "opened_at", "touches": "touched_at", "purchases": "purchased_at"}


@dataclass(frozen=True)
class FixEffect:
    """A problem's tickets before and after its fix.

    Args:
        fixed_at: When it was fixed (µs).
        before: Accounts hit before; an account that comes again within the return days counts once.
        after: The same after.
        days: Days compared, before and after.
        exposure: Active account-years, before and after.
        ratio: Of the rates, after to before; None where there was none before.
        low: Lower end of its 95 % interval.
        high: Upper end; None without an end.
        verdict: What it says.
    """

    fixed_at: int
    before: int
    after: int
    days: tuple[float, float]
    exposure: tuple[float, float]
    ratio: float | None
    low: float
    high: float | None
    verdict: Verdict

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self) | {"fixed_at": from_micros(self.fixed_at).isoformat()}

    def __str__(self) -> str:
        if self.ratio is None:
            return f"{self.verdict}: {self.before} accounts hit before, {self.after} after"
        end = "…" if self.high is None else f"{self.high:.2f}"
        return f"{self.verdict}: rate after to before {self.ratio:.2f} ({self.low:.2f} to {end})"


@dataclass(frozen=True)
class ActiveAccounts:
    """Numbers of active accounts by 30 days.

    Args:
        counts: By the number of the span since 1970.
    """

    counts: Mapping[int, int]

    @classmethod
    def read(cls, history: History) -> ActiveAccounts:
        """Read them from the company's events."""
        parts = [
            f"SELECT DISTINCT account_id, {_TIMES[t]} // {_BUCKET} + unnest(range({_LASTS[t]})) AS span FROM {t}"  # noqa: S608  # constants
            for t in history.sources
        ]
        if not parts:
            return cls({})
        sql = f"SELECT span, count(DISTINCT account_id) AS n FROM ({' UNION ALL '.join(parts)}) GROUP BY span"  # noqa: S608  # likewise
        frame = history.query(sql)
        return cls({int(span): int(n) for span, n in zip(frame["span"], frame["n"], strict=True)})

    def measure_exposure(self, begin: int, end: int) -> float:
        """Return the active account-years in [begin, end), both in µs."""
        spans = range(begin // _BUCKET, (end - 1) // _BUCKET + 1) if end > begin else range(0)
        days = (
            self.counts.get(span, 0) * (min(end, (span + 1) * _BUCKET) - max(begin, span * _BUCKET)) / DAY
            for span in spans
        )
        return sum(days) / 365


def measure_effect(  # noqa: PLR0913  # all but the first three named
    connection: sa.Connection,
    problem_id: str,
    active: ActiveAccounts,
    *,
    fixed_at: int,
    now: int,
    return_days: int,
    has_fallen: bool = False,
) -> FixEffect:
    """Measure the effect of a fix.

    The ratio's interval is exact: given their sum, the later of two Poisson counts is binomial. Przyborowski and
    Wilenski, "Homogeneity of results in testing samples from Poisson series", Biometrika 31, 1940.

    Args:
        connection: To the state database.
        problem_id: Of the problem.
        active: The company's active accounts.
        fixed_at: When it was fixed (µs).
        now: Until when tickets are known (µs).
        return_days: An account's tickets within so many days are one.
        has_fallen: Whether the rate was once seen to have fallen: then the newest 30 days are compared.
    """
    from scipy import stats  # slow to import

    begin = fixed_at - _SPAN * DAY
    start = max(fixed_at, now - _NEWEST * DAY) if has_fallen else fixed_at
    end = now if has_fallen else min(now, fixed_at + _SPAN * DAY)
    before = _count_hits(connection, problem_id, begin, fixed_at, return_days)
    after = _count_hits(connection, problem_id, start, end, return_days)
    exposure = active.measure_exposure(begin, fixed_at), active.measure_exposure(start, end)
    days = (fixed_at - begin) / DAY, max(0.0, (end - start) / DAY)
    if not before or not all(exposure):
        verdict: Verdict = "too early" if days[1] < _EARLIEST else "too few"
        return FixEffect(fixed_at, before, after, days, exposure, None, 0.0, None, verdict)
    scale = exposure[0] / exposure[1]
    tail, total = (1 - _LEVEL) / 2, before + after
    low = float(stats.beta.ppf(tail, after, before + 1)) if after else 0.0
    high = float(stats.beta.ppf(1 - tail, after + 1, before)) if total else 1.0
    ends = low / (1 - low) * scale, high / (1 - high) * scale
    ratio, expected = after / before * scale, before / scale
    verdict = _judge(ratio, ends[1], expected=expected, days=days[1], has_fallen=has_fallen)
    return FixEffect(fixed_at, before, after, days, exposure, ratio, ends[0], ends[1], verdict)


def _judge(ratio: float, high: float, *, expected: float, days: float, has_fallen: bool) -> Verdict:
    if high < 1:
        return "fell"
    if days < _EARLIEST:
        return "too early"
    if expected < _FEWEST or ratio <= _HALF:
        return "too few"
    return "came back" if has_fallen else "did not fall"


def _count_hits(connection: sa.Connection, problem_id: str, begin: int, end: int, days: int) -> int:
    """Count the tickets of a problem in [begin, end) whose account had none of it in the days before."""
    c = PROBLEM_TICKETS.c
    inside = (c.problem_id == problem_id) & (c.opened_at >= begin - days * DAY) & (c.opened_at < end)
    query = sa.select(c.account_id, c.opened_at).where(inside).order_by(c.account_id, c.opened_at)
    return _count_first([tuple(row) for row in connection.execute(query)], begin, days * DAY)


def _count_first(rows: Sequence[tuple[str, int]], begin: int, span: int) -> int:
    last: dict[str, int] = {}
    hits = 0
    for account, at in rows:
        is_first = account not in last or at - last[account] > span
        hits += is_first and at >= begin
        last[account] = at
    return hits
