"""Daily figures of healthy companies, simulated without their rows: for the checks of sources.

A company has weekends, public holidays that move, a quiet Christmas and August, days that are better or worse than
others, campaigns, new product features, accounts that differ a hundredfold, and grows, has seasons, or is young.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from features.diagnostics.source_profile import SourceProfile, measure_longest_gap

EPOCH = date(1970, 1, 1)
EASTER = {2022: (4, 17), 2023: (4, 9), 2024: (3, 31), 2025: (4, 20), 2026: (4, 5)}
FIRST = date(2023, 1, 2)


@dataclass(frozen=True)
class DailyCompany:
    """What a simulated company is like.

    Args:
        growth: Factor on its accounts from the first day to the last.
        season: Half of the swing over the year, as a share.
        holidays: Whether it has public holidays, a Christmas and an August.
        round_the_clock: Whether its week has no weekend and its day no night.
    """

    growth: float = 1.3
    season: float = 0.0
    holidays: bool = True
    round_the_clock: bool = False


COMPANIES = {
    "steady": DailyCompany(),
    "growing": DailyCompany(growth=6.0),
    "seasonal": DailyCompany(season=0.5),
    "always open": DailyCompany(holidays=False, round_the_clock=True),
}
# Rows a day and account, and the columns with numbers and with values.
TABLES = {
    "usage": (0.55, ("count", "duration_s"), {"feature": 6}),
    "tickets": (0.03, (), {"topic": 7, "priority": 4, "channel": 4}),
    "purchases": (0.035, ("amount", "quantity"), {"product": 3, "kind": 4}),
}


def simulate_company(
    company: DailyCompany, *, accounts: int, days: int, seed: int, first: date = FIRST
) -> dict[str, SourceProfile]:
    """Simulate the profile of each event table over all days.

    Args:
        company: What it is like.
        accounts: Accounts in force on the last day, about.
        days: Days of history.
        seed: The same gives the same.
        first: The first day.
    """
    rng = np.random.default_rng([seed, accounts, days])
    calendar = [first + timedelta(days=n) for n in range(days)]
    shared = _measure_days(company, calendar) * np.exp(_wander(rng, days, 0.04))
    growth = np.linspace(0, np.log(company.growth), days)
    in_force = np.exp(growth - growth[-1])
    start = np.searchsorted(in_force, rng.random(accounts))
    return {table: _simulate_table(rng, company, table, shared, start, calendar) for table in TABLES}


def _measure_days(company: DailyCompany, calendar: list[date]) -> np.ndarray:
    """Return (days,) the factor of weekday, season and holidays."""
    weekday = np.array([d.weekday() for d in calendar])
    week = np.ones(7) if company.round_the_clock else np.array([1.25, 1.3, 1.3, 1.25, 1.15, 0.35, 0.3])
    of_year = np.array([d.timetuple().tm_yday for d in calendar])
    factor = week[weekday] * (1 + company.season * np.cos(2 * np.pi * (of_year - 330) / 365))
    if company.holidays:
        factor *= np.array([_holiday(d) for d in calendar])
    return factor


def _holiday(day: date) -> float:
    easter = date(day.year, *EASTER[day.year])
    if (day - easter).days in {-2, 0, 1, 39, 50} or (day.month, day.day) in {(5, 1), (10, 3), (11, 1)}:
        return 0.35
    if (day.month, day.day) >= (12, 24) or (day.month, day.day) <= (1, 2):
        return 0.2
    return 0.75 if day.month == 8 else 1.0


def _wander(rng: np.random.Generator, days: int, spread: float) -> np.ndarray:
    """Return (days,) a level that wanders around 0 over weeks, and jumps a little each day."""
    steps = rng.normal(0, spread / 3, days)
    level = np.zeros(days)
    for day in range(1, days):
        level[day] = 0.95 * level[day - 1] + steps[day]
    return level + rng.normal(0, spread, days)


def _simulate_table(  # noqa: PLR0913, PLR0917
    rng: np.random.Generator,
    company: DailyCompany,
    table: str,
    shared: np.ndarray,
    start: np.ndarray,
    calendar: list[date],
) -> SourceProfile:
    rate, numbers, texts = TABLES[table]
    days = len(calendar)
    level = shared * np.exp(_wander(rng, days, 0.05)) * _run_campaigns(rng, days)
    total, active = np.zeros(days, np.int64), np.zeros(days, np.int64)
    for chunk in np.array_split(start, max(1, len(start) // 2000)):
        rates = rate * rng.standard_gamma(1.2, len(chunk)) / 1.2
        moods = rng.standard_gamma(3, (len(chunk), -(-days // 14))) / 3
        expected = rates[:, None] * np.repeat(moods, 14, axis=1)[:, :days] * level
        rows = rng.poisson(expected * (np.arange(days) >= chunk[:, None])).astype(np.int64)
        total += rows.sum(axis=0)
        active += (rows > 0).sum(axis=0)
    n = total.astype(float)
    logs = {}
    for column in numbers:
        mean = 2 + _wander(rng, days, 0.06) + rng.normal(0, 1, days) * 0.9 / np.sqrt(np.maximum(n / 3, 1))
        logs[column] = np.stack([mean * n, n])
    rise = 0.03 * (np.array([d.year for d in calendar]) - FIRST.year) + 0.04 * np.arange(days) / 365
    price = rise + rng.normal(0, 1, days) * 0.2 / np.sqrt(np.maximum(n, 1))
    missing = 1 / (1 + np.exp(2.5 - _wander(rng, days, 0.3)))
    return SourceProfile(
        table,
        first=(calendar[0] - EPOCH).days,
        today=(calendar[0] - EPOCH).days + days,
        newest=(calendar[0] - EPOCH).days + int(np.flatnonzero(total)[-1]),
        hours=_spread_hours(rng, company, total, calendar),
        accounts=active,
        repeats=rng.binomial(total, 0.003),
        content=rng.integers(0, 2**60, days),
        filled={"optional": total - rng.binomial(total, missing), "feature": total},
        logs=logs,
        prices=np.stack([price * n, n]) if table == "purchases" else np.zeros((2, days)),
        values={column: _mix_values(rng, total, kinds) for column, kinds in texts.items()},
        unknown=rng.binomial(total, 0.004 * np.exp(_wander(rng, days, 0.5))),
        delays=np.zeros((2, days)),
        longest=measure_longest_gap(np.flatnonzero(total)),
    )


def _run_campaigns(rng: np.random.Generator, days: int) -> np.ndarray:
    """Return (days,) a factor: some days a year are far better than others."""
    factor = np.ones(days)
    for begin in rng.integers(0, days, max(1, days // 200)):
        factor[begin : begin + 3] = 1.6
    return factor


def _spread_hours(
    rng: np.random.Generator, company: DailyCompany, total: np.ndarray, calendar: list[date]
) -> np.ndarray:
    hour = np.arange(24)
    office = np.exp(-0.5 * ((hour - 10) / 2.2) ** 2) + 0.9 * np.exp(-0.5 * ((hour - 15) / 2.2) ** 2) + 0.02
    shares = np.ones((len(total), 24)) if company.round_the_clock else np.tile(office, (len(total), 1))
    # Summer time moves the day by an hour.
    summer = np.array([(3, 27) <= (d.month, d.day) < (10, 27) for d in calendar])
    shares[summer] = np.roll(shares[summer], -1, axis=1)
    shares *= rng.standard_gamma(20, shares.shape)
    return np.stack(
        [rng.multinomial(n, p) for n, p in zip(total, shares / shares.sum(axis=1, keepdims=True), strict=True)]
    )


def _mix_values(rng: np.random.Generator, total: np.ndarray, kinds: int) -> dict[str, np.ndarray]:
    """Return rows by value: their shares wander, and one value is launched on the way."""
    days = len(total)
    leaning = rng.normal(0, 0.7, kinds)[None] + np.cumsum(rng.normal(0, 0.01, (days, kinds)), axis=0)
    weight = np.exp(leaning)
    launch = int(rng.integers(0, days))
    weight[:, -1] *= np.clip((np.arange(days) - launch) / 60, 0, 1)
    counts = [rng.multinomial(n, w / w.sum()) for n, w in zip(total, weight, strict=True)]
    return {f"value {k}": column for k, column in enumerate(np.stack(counts).T)}
