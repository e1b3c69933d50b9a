"""Follow recurring revenue through a period, account by account: what was kept, added, cut, lost; NRR and GRR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Literal

import ibis
import pandas as pd

from features.core.timestamps import DAY, to_micros
from features.definitions.sql_expression import declare_table
from features.definitions.streams import BILLED
from features.definitions.visibility_rule import is_in_force
from features.sources.history import History

Basis = Literal["terms", "spend"]
DEFINITIONS: Mapping[Basis, str] = {
    "terms": (
        "Of the recurring revenue in force at the beginning, by the year: NRR is what the same accounts pay at the "
        "end, with what they added; GRR leaves out what they added, so it is never above 100 %. New accounts count in "
        "neither."
    ),
    "spend": (
        "No purchase has a term, so there is no recurring revenue. Shown instead is the spend of 365 days before each "
        "end: NRR is that of the same accounts at the end against the beginning; GRR leaves out what grew."
    ),
}
MOVES = ("lost", "cut", "added", "new")
_SHOWN = 10
_YEAR = 365 * DAY
# A difference below a cent is that of rounding.
_CENT = 0.01


@dataclass(frozen=True)
class RevenueMove:
    """How one account's recurring revenue moved: money a year."""

    account_id: str
    before: float
    now: float
    name: str | None = None


@dataclass(frozen=True)
class RevenueGroup:
    """The accounts whose revenue moved one way: their number, the money, and those with the most."""

    accounts: int
    amount: float
    top: tuple[RevenueMove, ...]


@dataclass(frozen=True)
class RevenueMovement:
    """The recurring revenue of a period, in the company's currency a year.

    Args:
        basis: terms; or spend, where no purchase has a term.
        before: In force at the beginning.
        now: In force at the end.
        paying: Accounts that had any at the beginning.
        groups: By `MOVES`.
        nrr: Net retention; None where there was nothing at the beginning.
        grr: Gross retention.
    """

    basis: Basis
    before: float
    now: float
    paying: int
    groups: Mapping[str, RevenueGroup]
    nrr: float | None
    grr: float | None


def follow_revenue(history: History, since: datetime, until: datetime) -> RevenueMovement | None:
    """Follow recurring revenue from one instant to another, as it is known now; None where nothing is bought.

    Args:
        history: Of the company.
        since: Begin.
        until: End.
    """
    if "purchases" not in history.tables:
        return None
    has_terms = bool(history.query("SELECT count(term_ends_at) AS n FROM purchases")["n"].iloc[0])
    basis: Basis = "terms" if has_terms else "spend"
    instants = pd.DataFrame({"end": [0, 1], "at": [to_micros(since), to_micros(until)]}, dtype="int64")
    levels = history.query(_compile_terms() if has_terms else _SPEND, instants=instants).astype({"level": "float64"})
    table = levels.pivot_table(index="account_id", columns="end", values="level", aggfunc="sum").reindex(columns=[0, 1])
    return sum_movement(table.fillna(0.0).set_axis(["before", "now"], axis=1), basis)


def sum_movement(levels: pd.DataFrame, basis: Basis) -> RevenueMovement:
    """Sum the movement of revenue.

    Args:
        levels: before and now of each account, by account id.
        basis: Of the levels.

    Example:
        >>> levels = pd.DataFrame({"before": [100.0, 100.0, 50.0, 0.0], "now": [130.0, 80.0, 0.0, 40.0]}, list("ABCD"))
        >>> found = sum_movement(levels, "terms")
        >>> found.nrr, found.grr, found.groups["new"].amount
        (0.84, 0.72, 40.0)
    """
    before, change = levels["before"], levels["now"] - levels["before"]
    had, has = before >= _CENT, levels["now"] >= _CENT
    masks = {
        "lost": had & ~has,
        "cut": had & has & (change <= -_CENT),
        "added": had & has & (change >= _CENT),
        "new": ~had & has,
    }
    groups = {way: _build_group(levels[mask], change[mask]) for way, mask in masks.items()}
    total, gone = float(before[had].sum()), groups["lost"].amount + groups["cut"].amount
    grr = (total - gone) / total if total else None
    nrr = (total - gone + groups["added"].amount) / total if total else None
    return RevenueMovement(basis, total, float(levels["now"][has].sum()), int(had.sum()), groups, nrr, grr)


def _build_group(levels: pd.DataFrame, change: pd.Series) -> RevenueGroup:
    order = change.abs().sort_values(ascending=False, kind="stable").index[:_SHOWN]
    top = tuple(RevenueMove(str(a), float(levels.loc[a, "before"]), float(levels.loc[a, "now"])) for a in order)
    return RevenueGroup(len(levels), float(change.abs().sum()), top)


@cache
def _compile_terms() -> str:
    """Compile the query of revenue in force: of each account and end, by the year."""
    instants = ibis.table({"end": "int64", "at": "int64"}, name="instants")
    billed = BILLED.rows(declare_table("purchases"))
    facts = billed.join(instants, is_in_force(billed.t, billed.until, instants.at))
    level = (facts.monthly.sum() * (12 / 10_000)).cast("float64")
    return ibis.to_sql(facts.group_by("account_id", "end").agg(level=level), dialect="duckdb")


_SPEND = f"""
SELECT account_id, "end", greatest(sum(amount), 0)::DOUBLE AS level FROM purchases, instants
WHERE purchased_at < instants.at AND purchased_at >= instants.at - {_YEAR} GROUP BY ALL
"""  # noqa: S608  # a number of our own
