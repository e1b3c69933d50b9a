"""Read what a period's report tells beside risk: moves by tier, revenue kept, cohorts, upsell, promises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

import pandas as pd

from features.core.safe_line import to_safe_line
from features.core.timestamps import from_micros
from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from monitoring.binding.account_records import AccountRecord, read_records
from monitoring.reports.kept_promises import (
    BrokenPromise,
    PromiseCount,
    UpsellCount,
    count_promises,
    count_upsell,
)
from monitoring.reports.recurring_revenue import DEFINITIONS, RevenueMove, RevenueMovement, follow_revenue
from monitoring.reports.retention_cohorts import ArrivalCohort, follow_cohorts
from monitoring.reports.service_parts import ServicePart, read_service
from serving.scoring import score_table

# Accounts named of each tier and way.
_SHOWN = 5
UNKNOWN = "?"


@dataclass(frozen=True)
class TierMove:
    """One account that rose, fell, came or left: its risk at both ends, None where it was not a customer then."""

    account_id: str
    before: float | None
    now: float | None
    value: float | None
    name: str | None = None
    owner: str | None = None


@dataclass(frozen=True)
class TierMoves:
    """The accounts of one tier that moved one way, the largest first; value is money that all of them bring."""

    tier: str
    accounts: int
    value: float
    top: tuple[TierMove, ...]


@dataclass(frozen=True)
class PeriodParts:
    """What a report tells of a period beside risk.

    Args:
        by_tier: Of each way (rose, fell, came, left) the tiers, A first, "?" for not known.
        revenue: None where nothing is bought.
        definition: What NRR and GRR are of here; "" without revenue.
        cohorts: By month of arrival, the earliest first.
        upsell: None where purchases don't say what is an expansion.
        promises: None where nobody records any.
        service: None without tickets.
    """

    by_tier: Mapping[str, tuple[TierMoves, ...]]
    revenue: RevenueMovement | None
    definition: str
    cohorts: tuple[ArrivalCohort, ...]
    upsell: UpsellCount | None
    promises: PromiseCount | None
    service: ServicePart | None = None

    def lines(self, currency: str) -> Iterator[str]:
        """Yield the lines for the terminal."""
        for way, tiers in self.by_tier.items():
            if tiers:
                told = ", ".join(f"{t.tier} {t.accounts:,} ({currency} {t.value:,.0f})" for t in tiers)
                yield f"By tier, {way}: {told}"
        if self.revenue and self.revenue.nrr is not None and self.revenue.grr is not None:
            revenue, sums = self.revenue, {way: group.amount for way, group in self.revenue.groups.items()}
            yield f"NRR {self.revenue.nrr:.1%}, GRR {self.revenue.grr:.1%} of {currency} {revenue.before:,.0f} a year"
            yield "  " + ", ".join(f"{way} {currency} {amount:,.0f}" for way, amount in sums.items())
            yield f"  {self.definition}"
        if self.upsell:
            sold = self.upsell
            yield f"Upsell: {sold.accounts:,} accounts bought more for {currency} {sold.amount:,.0f}"
            yield f"  offered {sold.offered:,}, of these {sold.bought:,} bought"
        if self.promises:
            due = self.promises
            yield f"Promises due: {due.due:,}; kept in time {due.kept:,}, late {due.late:,}, not yet {due.broken:,}"
        if self.service:
            yield from self.service.lines(currency)


def read_parts(  # noqa: PLR0913  # all named: what is compared
    settings: Settings,
    store: Store,
    history: History,
    *,
    since: datetime,
    until: datetime,
    moves: Mapping[str, pd.DataFrame],
) -> PeriodParts:
    """Read the parts of a period.

    Args:
        settings: The company's.
        store: Its state database.
        history: Its history.
        since: Begin.
        until: End.
        moves: Accounts by way: score_before, score_now, value_before, value_now by account id; their attrs name the
            instants (µs) of both scores, `as_ofs`.
    """
    revenue = follow_revenue(history, since, until)
    promises = count_promises(history, store, since, until)
    tiers = _read_tiers(settings, moves)
    by_tier = {way: tuple(_divide_by_tier(rows, tiers)) for way, rows in moves.items()}
    parts = PeriodParts(
        by_tier,
        revenue,
        DEFINITIONS[revenue.basis] if revenue else "",
        follow_cohorts(history, settings.churn.cohort, until),
        count_upsell(history, store, since, until),
        promises,
        read_service(settings, store, history, since, until),
    )
    return _add_names(parts, history)


def _read_tiers(settings: Settings, moves: Mapping[str, pd.DataFrame]) -> Mapping[str, str]:
    """Return the tier of each account at the beginning, of those that came later at the end."""
    found: dict[str, str] = {}
    instants = next(iter(moves.values())).attrs.get("as_ofs", ())
    for at in reversed(instants):
        stored = score_table.read_tiers(settings, from_micros(int(at)))
        if stored is not None:
            found |= {str(account): tier for account, tier in stored.items() if tier}
    return found


def _divide_by_tier(rows: pd.DataFrame, tiers: Mapping[str, str]) -> Iterator[TierMoves]:
    value = rows["value_now"].fillna(rows["value_before"]).astype("float64")
    risks = rows[["score_before", "score_now"]].astype("float64")
    names = rows.index.map(lambda account: tiers.get(account, UNKNOWN))
    for tier in sorted(set(names), key=lambda name: (name == UNKNOWN, name)):
        mine = value[names == tier]
        order = mine.fillna(-1.0).sort_values(ascending=False, kind="stable").index[:_SHOWN]
        top = tuple(
            TierMove(
                str(a),
                before=_to_float(risks.loc[a, "score_before"]),
                now=_to_float(risks.loc[a, "score_now"]),
                value=_to_float(mine[a]),
            )
            for a in order
        )
        yield TierMoves(tier, len(mine), float(mine.sum()), top)


Named = TypeVar("Named", TierMove, RevenueMove, BrokenPromise)


def _add_names(parts: PeriodParts, history: History) -> PeriodParts:
    """Return the parts with the accounts' names in their lists."""
    revenue, promises = parts.revenue, parts.promises
    listed = {m.account_id for tiers in parts.by_tier.values() for tier in tiers for m in tier.top}
    listed |= {m.account_id for group in revenue.groups.values() for m in group.top} if revenue else set()
    listed |= {m.account_id for m in promises.top} if promises else set()
    known = read_records(history, listed) if listed else {}

    def find(account_id: str) -> AccountRecord:
        return known.get(account_id, AccountRecord())

    def name_all(rows: tuple[Named, ...]) -> tuple[Named, ...]:
        return tuple(replace(row, name=_tidy(find(row.account_id).name)) for row in rows)

    by_tier = {
        way: tuple(
            replace(
                tier,
                top=tuple(replace(m, owner=_tidy(find(m.account_id).owner)) for m in name_all(tier.top)),
            )
            for tier in tiers
        )
        for way, tiers in parts.by_tier.items()
    }
    if revenue:
        groups = {way: replace(group, top=name_all(group.top)) for way, group in revenue.groups.items()}
        revenue = replace(revenue, groups=groups)
    if promises:
        promises = replace(promises, top=name_all(promises.top))
    return replace(parts, by_tier=by_tier, revenue=revenue, promises=promises)


def _tidy(text: str | None) -> str | None:
    return to_safe_line(text, 200) if text else None


def _to_float(number: float) -> float | None:
    return None if pd.isna(number) else float(number)
