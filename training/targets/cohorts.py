"""Who is eligible at `as_of`: only these accounts are learned from, scored for alerts, and counted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from features.arrays.kernels import Beyond
from features.arrays.tables import Rows
from features.core.timestamps import sort_unique_micros, to_datetimes, to_micros
from features.definitions.feature import DAY
from features.definitions.sql_expression import canonical, numbered
from features.definitions.streams import NEVER, PURCHASES, TERMS, USAGE
from features.settings import Cohort
from features.sources.history import History


def eligible(history: History, cohort: Cohort, as_ofs: Sequence[datetime]) -> pd.DataFrame:
    """The cohort at each instant.

    Returns:
        account_id, as_of (datetime64[us, UTC]); sorted by as_of and account_id, no row twice.
    """
    cutoffs = pd.DataFrame({"as_of": sort_unique_micros(as_ofs)}, dtype="int64")
    frame = history.query(_query(cohort), cutoffs=cutoffs)
    return frame.assign(as_of=to_datetimes(frame["as_of"]))


def ids(history: History, cohort: Cohort, as_of: datetime) -> np.ndarray:
    """The accounts in the cohort at one instant: (n,) text as objects, each once."""
    found = _on_arrays(history, cohort, to_micros(as_of)) if history.arrays else None
    return eligible(history, cohort, [as_of])["account_id"].to_numpy(dtype=object) if found is None else found


def _on_arrays(history: History, cohort: Cohort, as_of: int) -> np.ndarray | None:
    """The same of posted accounts without the database; None where it must be asked."""
    rows, tables = _rows(cohort), history.arrays
    if rows is None or tables is None:
        return None
    try:
        found = rows.run(tables)
        created, merged, number = (tables.column("accounts", c) for c in ("created_at", "merged_at", "account_id"))
    except Beyond:
        return None
    stands = (found["t"] < as_of) & (found["known"] <= as_of) & (found["until"] >= as_of)
    there = (created < as_of) & ~(merged <= as_of) & np.isin(number, found["account_id"][stands])
    return tables.tables["accounts"]["account_id"].to_numpy()[there]


@cache
def _rows(cohort: Cohort) -> Rows | None:
    members = _MEMBERS[cohort.kind](cohort, numbered(cohort.table))
    try:
        return Rows(members.select("account_id", "t", "known", "until"))
    except Beyond:
        return None


@cache
def _query(cohort: Cohort) -> str:
    """Compiled once: a service asks for each posted account."""
    instants = ibis.table({"as_of": "int64"}, name="cutoffs")
    facts = _MEMBERS[cohort.kind](cohort, canonical(cohort.table))
    stands = [facts.t < instants.as_of, facts.known <= instants.as_of, facts.until >= instants.as_of]
    members = facts.join(instants, stands)
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
    return _uses(canonical("usage"))


def _uses(usage: ir.Table) -> ir.Table:
    rows = USAGE.rows(usage)
    return rows.filter(rows["count"] > 0)


# Each gives facts with `t`, `known` and `until`: at `as_of` an account is in with one that stands then, as in
# `features.engine.window_aggregates`.


def _in_force(cohort: Cohort, purchases: ir.Table) -> ir.Table:
    return of_products(TERMS.rows(purchases), cohort.products)


def _active(cohort: Cohort, purchases: ir.Table) -> ir.Table:
    rows = of_products(PURCHASES.rows(purchases), cohort.products)
    return rows.mutate(until=rows.t + cohort.within_days * DAY)


def _lifetime(_: Cohort, lifetimes: ir.Table) -> ir.Table:
    started = lifetimes.started_at
    return lifetimes.mutate(t=started, known=started, until=lifetimes.ended_at.fill_null(NEVER))


def _using(cohort: Cohort, usage: ir.Table) -> ir.Table:
    rows = _uses(usage)
    return rows.mutate(until=rows.t + cohort.within_days * DAY)


_MEMBERS = {"in_force": _in_force, "active": _active, "lifetime": _lifetime, "using": _using}
