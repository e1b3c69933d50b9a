"""Who is eligible at `as_of`: only these accounts are learned from, scored for alerts, and counted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache

import ibis
import ibis.expr.types as ir
import pandas as pd

from features.definition import DAY
from features.expression import canonical
from features.history import History
from features.instants import ascending, aware
from features.settings import Cohort
from features.streams import PURCHASES, TERMS, USAGE


def eligible(history: History, cohort: Cohort, as_ofs: Sequence[datetime]) -> pd.DataFrame:
    """The cohort at each instant.

    Returns:
        account_id, as_of (datetime64[us, UTC]); sorted by as_of and account_id, no row twice.
    """
    cutoffs = pd.DataFrame({"as_of": ascending(as_ofs)}, dtype="int64")
    frame = history.query(_query(cohort), cutoffs=cutoffs)
    return frame.assign(as_of=aware(frame["as_of"]))


@cache
def _query(cohort: Cohort) -> str:
    """Compiled once: a service asks for each posted account."""
    instants = ibis.table({"as_of": "int64"}, name="cutoffs")
    members = _MEMBERS[cohort.kind](cohort, instants)
    # Created by then and not yet merged, as every snapshot is: a purchase may be older than its account's record.
    accounts = canonical("accounts")
    there = [members.account_id == accounts.account_id, members.as_of > accounts.created_at]
    members = members.semi_join(accounts, [*there, accounts.merged_at.isnull() | (members.as_of < accounts.merged_at)])
    rows = members.select("account_id", "as_of").distinct().order_by("as_of", "account_id")
    return ibis.to_sql(rows, dialect="duckdb")


def of_products(rows: ir.Table, products: Sequence[str]) -> ir.Table:
    """Only the rows of some products; of all where none are named."""
    return rows.filter(rows["product"].isin(list(products))) if products else rows


def bought() -> ir.Table:
    """Purchases in the plain sense: refunds and negative amounts are none, a purchase for nothing is one."""
    purchases = canonical("purchases")
    return purchases.filter((purchases.kind != "refund") | purchases.kind.isnull(), purchases.amount >= 0)


def used() -> ir.Table:
    """Usage in the plain sense, with `t` and `known`: a row that counts 0 uses is none."""
    usage = USAGE.rows(canonical("usage"))
    return usage.filter(usage["count"] > 0)


def _in_force(cohort: Cohort, cutoffs: ir.Table) -> ir.Table:
    terms = of_products(TERMS.rows(canonical("purchases")), cohort.products)
    return terms.join(cutoffs, [terms.t < cutoffs.as_of, terms.known <= cutoffs.as_of, terms.until >= cutoffs.as_of])


def _active(cohort: Cohort, cutoffs: ir.Table) -> ir.Table:
    bought = of_products(PURCHASES.rows(canonical("purchases")), cohort.products)
    since = cutoffs.as_of - cohort.within_days * DAY
    return bought.join(cutoffs, [bought.t < cutoffs.as_of, bought.known <= cutoffs.as_of, bought.t >= since])


def _lifetime(_: Cohort, cutoffs: ir.Table) -> ir.Table:
    lives = canonical("lifetimes")
    still = lives.ended_at.isnull() | (lives.ended_at >= cutoffs.as_of)
    return lives.join(cutoffs, [lives.started_at < cutoffs.as_of, still])


def _using(cohort: Cohort, cutoffs: ir.Table) -> ir.Table:
    uses = used()
    since = cutoffs.as_of - cohort.within_days * DAY
    return uses.join(cutoffs, [uses.t < cutoffs.as_of, uses.known <= cutoffs.as_of, uses.t >= since])


_MEMBERS = {"in_force": _in_force, "active": _active, "lifetime": _lifetime, "using": _using}
