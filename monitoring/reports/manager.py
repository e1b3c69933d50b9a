"""Report on a period to a manager: risks that rose or fell, new and lost accounts, value at stake, episodes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.html import render_template, write_page
from features.core.safe_line import to_safe_line
from features.core.timestamps import from_micros
from features.settings import Settings
from features.settings.periods import find_fiscal_quarter
from features.sources.history import History
from features.state import database
from features.state.database import Store
from features.state.tables import EPISODES
from monitoring.alerts.kinds import LEFT, RECOVERED
from monitoring.alerts.queries import TARGET
from monitoring.binding.account_records import AccountRecord, read_records
from monitoring.reports.breakdown import Breakdown, divide_by_owner, read_course
from monitoring.reports.period_parts import PeriodParts, read_parts
from monitoring.reports.stored_reports import locate_reports, write_report
from training.models.dataset import find_data_until

_TEMPLATE = Path(__file__).parent / "templates" / "report.html"
# A change of risk by so much (5 percentage points) is a rise or a fall; less is noise.
MOVED = 0.05
# Accounts named in each list; the counts are of all.
_SHOWN = 15

Names = Callable[[Collection[str]], Mapping[str, AccountRecord]]


@dataclass(frozen=True)
class RiskMove:
    """One account's risk at both ends of the period; None if it was not in the cohort then."""

    account_id: str
    before: float | None
    now: float | None
    value: float | None
    name: str | None = None

    @property
    def shown(self) -> str:
        """Return the account's name, or its id if its record has none; safe to print."""
        return to_safe_line(self.name or self.account_id)


@dataclass(frozen=True)
class MoveGroup:
    """The accounts that moved one way: their number, and those with the most value at risk."""

    count: int
    top: tuple[RiskMove, ...]


@dataclass(frozen=True)
class EpisodeCounts:
    """Numbers of episodes in the period: opened, closed by outcome, and open at its end."""

    opened: int
    recovered: int
    left: int
    open: int


@dataclass(frozen=True)
class ManagerReport:
    """A period in figures.

    Args:
        since: `as_of` of the scores it begins with.
        until: `as_of` of those it ends with.
        horizon: Of the risk, in days.
        lead: Days that the target leaves before the horizon begins.
        accounts: In the cohort, at the beginning and at the end.
        at_stake: Sum of risk times value over them, at both; accounts without a known value count as 0.
        groups: rose and fell (risk, by 5 points or more), came (new in the cohort), left (no longer in it).
        episodes: Of risk.
        note: What the reader should know about the data behind the scores; "" where all is well.
        breakdown: By owner, and from scores to scores.
        period: That was asked for, such as 2026-04; "" for a span between two dates.
        fiscal: The fiscal year and quarter that it is of, such as "2026-Q1"; "" likewise.
        parts: Tiers, revenue, cohorts, upsell and promises; None in the report of a night.
    """

    since: datetime
    until: datetime
    horizon: int
    lead: int
    accounts: tuple[int, int]
    at_stake: tuple[float, float]
    groups: Mapping[str, MoveGroup]
    episodes: EpisodeCounts
    note: str = ""
    breakdown: Breakdown = field(default_factory=Breakdown)
    period: str = ""
    fiscal: str = ""
    parts: PeriodParts | None = None

    @property
    def days(self) -> int:
        """Return the days from `as_of` to the horizon's end."""
        return self.lead + self.horizon

    def lines(self, currency: str) -> Iterator[str]:
        """Yield the lines for the terminal."""
        if self.note:
            yield f"Note: {self.note}"
        yield f"{self.since:%Y-%m-%d} to {self.until:%Y-%m-%d}, risk of leaving within {self.days} days"
        yield f"Accounts: {self.accounts[0]:,} -> {self.accounts[1]:,}"
        yield f"Value at risk: {currency} {self.at_stake[0]:,.0f} -> {currency} {self.at_stake[1]:,.0f} a year"
        rose, fell, came, left = (self.groups[way].count for way in ("rose", "fell", "came", "left"))
        yield f"Risk rose for {rose:,} accounts, fell for {fell:,}; {came:,} are new, {left:,} left"
        e = self.episodes
        yield f"Episodes: {e.opened:,} opened, {e.recovered:,} recovered, {e.left:,} left, {e.open:,} open now"
        for move in self.groups["rose"].top[:5]:
            money = "" if move.value is None else f", {currency} {move.value:,.0f} a year"
            yield f"  {move.shown} ({to_safe_line(move.account_id)}): risk {move.before:.0%} -> {move.now:.0%}{money}"
        if self.parts:
            yield from self.parts.lines(currency)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        ends = {"since": self.since.isoformat(), "until": self.until.isoformat()}
        return asdict(self) | ends | {"breakdown": self.breakdown.as_dict()}


def run(  # noqa: PLR0913  # all but the first named
    settings: Settings,
    *,
    since: datetime,
    until: datetime | None = None,
    note: str = "",
    period: str = "",
    is_whole: bool = False,
) -> tuple[ManagerReport, Path]:
    """Report on the period between the newest scores at `since` and those at `until`, and write its page.

    Args:
        settings: The company's.
        since: Beginning; the newest scores that are not after it are taken.
        until: End, likewise; by default the newest scores there are.
        note: What the reader should know about the data behind the scores; "" where all is well.
        period: That these are the ends of, such as 2026-04: then the console shows the report under this name.
        is_whole: Whether to tell of tiers, revenue, cohorts, upsell and promises too.

    Raises:
        GarrisonError: There are no scores at the beginning, or none since then.
    """
    horizon = settings.alert_horizon
    with database.open(settings) as state:
        before = state.latest_scores(since, TARGET, horizon)
        now = state.latest_scores(until or datetime.max.replace(tzinfo=UTC), TARGET, horizon)
        if not before or before[0]["as_of"] == now[0]["as_of"]:
            raise GarrisonError(
                f"there are no two sets of {TARGET} scores to compare",
                found=f"{'none' if not before else 'no newer than'} at {since:%Y-%m-%d}",
                hint="Name an earlier --since, or score again later",
            )
        ends = before[0]["as_of"], now[0]["as_of"]
        episodes = _count_episodes(state, *ends)
        course = read_course(state, TARGET, horizon, ends[1])
    lead = settings.churn.lead_days
    scores = pd.DataFrame(before), pd.DataFrame(now)
    report = compare_scores(*scores, episodes=episodes, horizon=horizon, lead=lead)
    with database.open(settings) as state, History.open(settings) as history:
        if is_whole:
            span = {"since": since, "until": min(until or report.until, find_data_until(history, settings))}
            parts = read_parts(settings, state, history, **span, moves=split_moves(*scores)[0])
            report = replace(report, parts=parts, period=period, fiscal=period and name_fiscal_period(settings, since))
        owners, others = divide_by_owner(*scores, history, moved=MOVED)
        report = replace(report, breakdown=Breakdown(owners, others, course))
        report = add_names(replace(report, note=note), lambda accounts: read_records(history, accounts))
    file = locate_reports(settings) / f"{report.since:%Y-%m-%d}-{report.until:%Y-%m-%d}.html"
    if period:
        write_report(locate_reports(settings) / f"{period}.json", report.as_dict())
    return report, write_report_page(report, file, company=settings.company.name, currency=settings.company.currency)


def compare_scores(
    before: pd.DataFrame, now: pd.DataFrame, *, episodes: EpisodeCounts, horizon: int, lead: int = 0
) -> ManagerReport:
    """Compare two sets of scores of one target and horizon.

    Args:
        before: account_id, as_of (µs), score, value, in_cohort; a row an account, one row or more.
        now: The same, later.
        episodes: Of the period.
        horizon: Of the scores, in days.
        lead: Of their target, in days.
    """
    moves, ends = split_moves(before, now)
    at_stake = [float((end["score"] * end["value"].fillna(0)).sum()) for end in ends]
    return ManagerReport(
        since=from_micros(before["as_of"].iloc[0]),
        until=from_micros(now["as_of"].iloc[0]),
        horizon=horizon,
        lead=lead,
        accounts=(len(ends[0]), len(ends[1])),
        at_stake=(at_stake[0], at_stake[1]),
        groups={way: _group(rows) for way, rows in moves.items()},
        episodes=episodes,
    )


def split_moves(before: pd.DataFrame, now: pd.DataFrame) -> tuple[dict[str, pd.DataFrame], list[pd.DataFrame]]:
    """Split the accounts of two sets of scores by the way that they moved.

    Returns:
        By way (rose, fell, came, left) score and value, each `_before` and `_now`, by account id; and the customers of
        both sets, by account id.
    """
    ends = [frame[frame["in_cohort"].ne(False)].set_index("account_id") for frame in (before, now)]
    both = ends[0][["score", "value"]].join(ends[1][["score", "value"]], how="outer", lsuffix="_before", rsuffix="_now")
    change = both["score_now"] - both["score_before"]
    masks = {
        "rose": change >= MOVED,
        "fell": change <= -MOVED,
        "came": both["score_before"].isna(),
        "left": both["score_now"].isna(),
    }
    moves = {way: both[mask] for way, mask in masks.items()}
    for rows in moves.values():
        rows.attrs["as_ofs"] = [int(frame["as_of"].iloc[0]) for frame in (before, now)]
    return moves, ends


def name_fiscal_period(settings: Settings, begin: datetime) -> str:
    """Name the quarter of the fiscal year that a day is in, such as 2026-Q1."""
    return find_fiscal_quarter(begin, starts=settings.company.fiscal_year_starts)


def add_names(report: ManagerReport, names: Names) -> ManagerReport:
    """Return the report with the accounts' names in its lists."""
    listed = {move.account_id for group in report.groups.values() for move in group.top}
    known = names(listed) if listed else {}
    groups = {
        way: replace(group, top=tuple(replace(m, name=_find_name(known, m.account_id)) for m in group.top))
        for way, group in report.groups.items()
    }
    return replace(report, groups=groups)


def write_report_page(report: ManagerReport, file: Path, *, company: str, currency: str) -> Path:
    """Write the report as one HTML file that needs no network; names are escaped."""
    heading = f"{company}: {report.since:%Y-%m-%d} to {report.until:%Y-%m-%d}"
    return write_page(file, render_template(_TEMPLATE, report=report, heading=heading, currency=currency))


def _group(rows: pd.DataFrame) -> MoveGroup:
    """Group accounts, the most money first: value times change of risk, or times risk if there is no change."""
    change = rows["score_now"] - rows["score_before"]
    value = rows["value_now"].fillna(rows["value_before"]).astype("float64")
    risk = change.abs().fillna(rows["score_now"]).fillna(rows["score_before"])
    order = (value.fillna(0) * risk).sort_values(ascending=False, kind="stable").index[:_SHOWN]
    before, now = rows["score_before"], rows["score_now"]
    moves = (RiskMove(str(a), _to_float(before[a]), _to_float(now[a]), _to_float(value[a])) for a in order)
    return MoveGroup(len(rows), tuple(moves))


def _to_float(number: float) -> float | None:
    return None if pd.isna(number) else float(number)


def _find_name(known: Mapping[str, AccountRecord], account_id: str) -> str | None:
    return known[account_id].name if account_id in known else None


def _count_episodes(state: Store, since: int, until: int) -> EpisodeCounts:
    """Count the episodes opened and closed after `since` (µs) until `until`."""
    table = EPISODES.c
    query = sa.select(table.opened_as_of, table.closed_as_of, table.outcome).where(table.kind == TARGET)
    with state.reading() as connection:
        episodes = connection.execute(query.where(table.opened_as_of <= until)).all()
    closed = [outcome for _, end, outcome in episodes if end is not None and since < end <= until]
    return EpisodeCounts(
        opened=sum(start > since for start, _, _ in episodes),
        recovered=closed.count(RECOVERED),
        left=closed.count(LEFT),
        open=sum(end is None or end > until for _, end, _ in episodes),
    )
