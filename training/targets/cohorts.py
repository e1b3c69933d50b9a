"""Finds the accounts in the cohort at `as_of`: only these are learned from, scored for alerts, and counted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from features.core.timestamps import NEVER, sort_unique_micros, to_datetimes, to_micros
from features.definitions.feature import DAY
from features.definitions.sql_expression import declare_numbered_table, declare_table
from features.definitions.streams import PURCHASES, TERMS, USAGE, exclude_money_back
from features.definitions.visibility_rule import IBIS, ROWS, exists, is_visible
from features.rows.kinds import NotComputable
from features.rows.queries import RowQuery
from features.settings import Cohort
from features.sources.history import History


def find_eligible(history: History, cohort: Cohort, as_ofs: Sequence[datetime]) -> pd.DataFrame:
    """Return the cohort at each instant.

    Returns:
        account_id, as_of (datetime64[us, UTC]); sorted by as_of and account_id, no row twice.
    """
    cutoffs = pd.DataFrame({"as_of": sort_unique_micros(as_ofs)}, dtype="int64")
    frame = history.query(_compile_query(cohort), cutoffs=cutoffs)
    return frame.assign(as_of=to_datetimes(frame["as_of"]))


def find_eligible_ids(history: History, cohort: Cohort, as_of: datetime) -> np.ndarray:
    """Return the accounts in the cohort at one instant: (n,) text as objects, each once."""
    ids = _find_ids_in_python(history, cohort, to_micros(as_of))
    return find_eligible(history, cohort, [as_of])["account_id"].to_numpy(dtype=object) if ids is None else ids


def _find_ids_in_python(history: History, cohort: Cohort, as_of: int) -> np.ndarray | None:
    """Return the cohort of posted accounts without the database; None if only the database can say."""
    query = _compile_rows(cohort)
    if query is None or history.rows is None:
        return None
    ids: list[str] = []
    try:
        for rows in history.rows.by_account:
            (account,), facts = rows["accounts"], query.run(rows[cohort.table])
            created_at = NEVER if account["created_at"] is None else account["created_at"]
            moments = zip(facts["t"], facts["known"], facts["until"], strict=True)
            if exists(created_at, account.get("merged_at"), as_of, ROWS) and any(
                is_visible(t, known, as_of, until) for t, known, until in moments
            ):
                ids.append(account["account_id"])
    except NotComputable:
        return None
    return np.array(ids, dtype=object)


@cache
def _compile_rows(cohort: Cohort) -> RowQuery | None:
    """Compile a cohort for the rows of one account; None if Python can't compute it exactly."""
    members = MEMBERS[cohort.kind](cohort, declare_numbered_table(cohort.table))
    try:
        return RowQuery(members.select("t", "known", "until"))
    except NotComputable:
        return None


@cache
def _compile_query(cohort: Cohort) -> str:
    """Compile a cohort's query, once: a service asks for each posted account."""
    instants = ibis.table({"as_of": "int64"}, name="cutoffs")
    facts = MEMBERS[cohort.kind](cohort, declare_table(cohort.table))
    members = facts.join(instants, is_visible(facts.t, facts.known, instants.as_of, facts.until))
    # As for every snapshot, the account exists: a purchase may be older than its account's record.
    accounts = declare_table("accounts")
    has_row = exists(accounts.created_at, accounts.merged_at, members.as_of, IBIS)
    members = members.semi_join(accounts, [members.account_id == accounts.account_id, has_row])
    rows = members.select("account_id", "as_of").distinct().order_by("as_of", "account_id")
    return ibis.to_sql(rows, dialect="duckdb")


def filter_products(rows: ir.Table, products: Sequence[str]) -> ir.Table:
    """Return the rows of some products; all rows if none are named."""
    return rows.filter(rows["product"].isin(list(products))) if products else rows


def select_purchases() -> ir.Table:
    """Select true purchases: refunds and negative amounts are none, a purchase for nothing is one."""
    purchases = declare_table("purchases")
    return purchases.filter((purchases.kind != "refund") | purchases.kind.isnull(), purchases.amount >= 0)


def select_usage() -> ir.Table:
    """Select true usage, with `t` and `known`: a row that counts 0 uses is none."""
    return _filter_uses(declare_table("usage"))


def _filter_uses(usage: ir.Table) -> ir.Table:
    rows = USAGE.rows(usage)
    return rows.filter(rows["count"] > 0)


# Each gives facts with `t`, `known` and `until`: an account is in the cohort at `as_of` if one of them is visible then.


def _select_in_force(cohort: Cohort, purchases: ir.Table) -> ir.Table:
    return filter_products(TERMS.rows(purchases), cohort.products)


def _select_active(cohort: Cohort, purchases: ir.Table) -> ir.Table:
    rows = filter_products(PURCHASES.rows(exclude_money_back(purchases)), cohort.products)
    return rows.mutate(until=rows.t + cohort.within_days * DAY)


def _select_lifetime(_: Cohort, lifetimes: ir.Table) -> ir.Table:
    started = lifetimes.started_at
    return lifetimes.mutate(t=started, known=started, until=lifetimes.ended_at.fill_null(NEVER))


def _select_using(cohort: Cohort, usage: ir.Table) -> ir.Table:
    rows = _filter_uses(usage)
    return rows.mutate(until=rows.t + cohort.within_days * DAY)


MEMBERS = {
    "in_force": _select_in_force,
    "active": _select_active,
    "lifetime": _select_lifetime,
    "using": _select_using,
}
