"""Make the sheet of what serving costs: by window, team and topic, by quarter of accounts, and whom to look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from features.core.timestamps import DAY, to_micros
from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from monitoring.cost_to_serve.account_costs import PLAYS, WINDOWS, build_accounts
from monitoring.cost_to_serve.service_tickets import list_missing, read_service_tickets
from monitoring.cost_to_serve.ticket_topics import name_topics
from monitoring.journey.ticket_costs import TicketCosts, cost_tickets, read_staff
from training.targets.cohorts import find_eligible_ids

_YEAR = 365


@dataclass(frozen=True)
class CostSum:
    """What some tickets cost.

    Args:
        name: Of a team, a topic, or a window.
        tickets: Their number.
        hours: Of work on them.
        cost: Money; None where no rate is known.
        error: Standard error of the cost: 0 where all is measured.
        measured: Share of the tickets that are measured.
        escalated: Tickets that were escalated.
    """

    name: str
    tickets: int
    hours: float
    cost: float | None
    error: float
    measured: float
    escalated: int


@dataclass(frozen=True)
class QuarterSum:
    """One of the four quarters: its play, its accounts, and what all of them brought and cost in 365 days."""

    play: str
    is_valuable: bool
    is_costly: bool
    accounts: int
    revenue: float
    cost: float


@dataclass(frozen=True)
class CostSheet:
    """What serving cost until an instant.

    Args:
        as_of: The instant.
        currency: Of all money.
        windows: All tickets of the last 30, 90 and 365 days.
        teams: Of the last 365 days, the costliest first; "" for not known.
        topics: Likewise.
        quarters: Of accounts; () where no rate is known.
        revenue: Of 365 days.
        flagged: Accounts above the share of revenue.
        flag_share: That share.
        has_margin: Whether net is of margins, or of revenue.
        notes: What the reader should know.
        accounts: A row an account, as of `build_accounts`.
    """

    as_of: datetime
    currency: str
    windows: tuple[CostSum, ...]
    teams: tuple[CostSum, ...]
    topics: tuple[CostSum, ...]
    quarters: tuple[QuarterSum, ...]
    revenue: float
    flagged: int
    flag_share: float
    has_margin: bool
    notes: tuple[str, ...]
    accounts: pd.DataFrame

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, without the accounts."""
        parts = {name: [asdict(row) for row in getattr(self, name)] for name in ("windows", "teams", "topics")}
        rest = {name: getattr(self, name) for name in ("currency", "revenue", "flagged", "flag_share", "has_margin")}
        quarters = [asdict(row) for row in self.quarters]
        return {"as_of": self.as_of.isoformat(), **rest, **parts, "quarters": quarters, "notes": list(self.notes)}

    def lines(self) -> Iterator[str]:
        """Yield the lines for the terminal."""
        yield f"Cost to serve as of {self.as_of:%Y-%m-%d}"
        for row in self.windows:
            yield f"  last {row.name} days: {self._describe(row)}"
        if self.quarters:
            kind = "margin" if self.has_margin else "revenue"
            yield f"Accounts by {kind} and cost of 365 days:"
            for quarter in self.quarters:
                money = f"{self.currency} {quarter.revenue:,.0f} in, {quarter.cost:,.0f} to serve"
                yield f"  {quarter.play}: {quarter.accounts:,} accounts, {money}"
            yield f"{self.flagged:,} customers cost more than {self.flag_share:.0%} of their revenue"
        yield from self.notes

    def _describe(self, row: CostSum) -> str:
        if row.cost is None:
            return f"{row.tickets:,} tickets; no rate is known"
        error = f" ± {1.96 * row.error:,.0f}" if row.error else ""
        return f"{self.currency} {row.cost:,.0f}{error} for {row.tickets:,} tickets, {row.hours:,.0f} hours"


def make_sheet(settings: Settings, store: Store, history: History, as_of: datetime) -> CostSheet:
    """Make the sheet of the 365 days before `as_of`, and keep it for the console's pages.

    Raises:
        GarrisonError: The company has no tickets.
    """
    tickets = read_service_tickets(history, as_of, days=_YEAR)
    tickets["topic_name"] = name_topics(settings, store, tickets)
    costs = cost_tickets(settings, tickets, read_staff(history))
    customers = find_eligible_ids(history, settings.churn.cohort, as_of)
    accounts = build_accounts(settings, history, costs, customers, as_of)
    frame, at = costs.frame, to_micros(as_of)
    inside = {days: frame[frame["opened_at"] >= at - days * DAY] for days in WINDOWS}
    sheet = CostSheet(
        as_of,
        settings.company.currency,
        tuple(_sum_tickets(costs, str(days), rows) for days, rows in inside.items()),
        _sum_by(costs, "team"),
        _sum_by(costs, "topic_name"),
        tuple(_sum_quarters(accounts)) if costs.has_costs else (),
        float(accounts["revenue_365"].sum()),
        int(accounts["is_flagged"].sum()),
        settings.cost_to_serve.flag_share,
        "margin_365" in accounts,
        (*list_missing(tickets), *costs.notes),
        accounts,
    )
    _keep_accounts(settings, accounts)
    return sheet


def locate_costs(settings: Settings) -> Path:
    """Return the folder of costs."""
    return settings.var / "cost_to_serve"


def read_accounts(settings: Settings) -> pd.DataFrame | None:
    """Read the table of accounts of the last sheet; None before the first."""
    file = locate_costs(settings) / "accounts.parquet"
    return pd.read_parquet(file) if file.exists() else None


def _keep_accounts(settings: Settings, accounts: pd.DataFrame) -> None:
    from features.core.atomic_write import write_atomically

    locate_costs(settings).mkdir(parents=True, exist_ok=True)
    with write_atomically(locate_costs(settings) / "accounts.parquet") as part:
        accounts.to_parquet(part)


def _sum_tickets(costs: TicketCosts, name: str, rows: pd.DataFrame) -> CostSum:
    cost = float(rows["cost"].sum()) if costs.has_costs else None
    measured = float(rows["is_measured"].mean()) if len(rows) else 1.0
    hours = float(rows["hours"].sum())
    return CostSum(name, len(rows), hours, cost, costs.find_error(rows), measured, int(rows["escalated"].sum()))


def _sum_by(costs: TicketCosts, column: str) -> tuple[CostSum, ...]:
    sums = [_sum_tickets(costs, str(name), rows) for name, rows in costs.frame.groupby(column)]
    return tuple(sorted(sums, key=lambda s: (-(s.cost or 0), -s.hours, s.name)))


def _sum_quarters(accounts: pd.DataFrame) -> Iterator[QuarterSum]:
    for (is_valuable, is_costly), play in PLAYS.items():
        rows = accounts[accounts["play"] == play]
        money = (float(rows[column].sum()) for column in ("revenue_365", "cost_365"))
        yield QuarterSum(play, is_valuable, is_costly, len(rows), *money)


def list_accounts(
    accounts: pd.DataFrame, *, play: str | None = None, is_flagged: bool = False, limit: int = 50
) -> Sequence[Mapping[str, Any]]:
    """List accounts, the costliest first, as plain rows.

    Args:
        accounts: As of `build_accounts`.
        play: Of this quarter alone.
        is_flagged: Those flagged alone.
        limit: At most so many.
    """
    rows = accounts[accounts["play"] == play] if play else accounts
    rows = rows[rows["is_flagged"]] if is_flagged else rows
    plain = rows.head(limit).reset_index().to_dict("records")
    return [{k: None if isinstance(v, float) and pd.isna(v) else v for k, v in row.items()} for row in plain]
