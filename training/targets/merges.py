"""Treats merged accounts as labels need them.

Events after a merge are the survivor's own. Of those before it the survivor has copies, which count as its past once
it knows of them (`known_at`), and never as events that lie ahead.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pandas as pd

from features.core.timestamps import EVER, NEVER
from features.definitions.visibility_rule import is_known
from features.sources.history import History


def read_merge_times(history: History) -> pd.Series:
    """Return when accounts were merged into others, in µs (float64), by account_id of those that were."""
    merged = history.query("SELECT account_id, merged_at FROM accounts WHERE merged_at IS NOT NULL")
    return merged.set_index("account_id")["merged_at"].astype("float64")


def exclude_copies(facts: ir.Table) -> ir.Table:
    """Exclude the copies: only other facts can lie ahead."""
    return facts.filter(facts.first_known_at.isnull())


def is_own_or_known(facts: ir.Table, as_of: ir.Value) -> ir.BooleanValue:
    """Return whether a fact is the account's own, or a copy that it knew of by `as_of`."""
    return facts.first_known_at.isnull() | is_known(facts.known_at, as_of)


def build_versions(facts: ir.Table) -> ir.Table:
    """Return the facts with `since` and `until`: as they are seen from any `as_of` in `[since, until)`.

    For what is made of several of an account's facts, such as by a window function. An account without copies has
    each fact once, from ever to never; a survivor has them again for each instant at which it learned of copies.
    """
    copies = facts.filter(facts.first_known_at.notnull())
    tellings = copies.select("account_id", since=copies.known_at).distinct()
    tellings = tellings.mutate(until=tellings.since.lead().over(group_by="account_id", order_by="since"))
    later = tellings.join(facts, [tellings.account_id == facts.account_id, is_own_or_known(facts, tellings.since)])
    first = tellings.group_by("account_id").agg(until=tellings.since.min())
    before = exclude_copies(facts).mutate(since=ibis.literal(EVER, "int64")).left_join(first, "account_id")
    columns = [*facts.columns, "since", "until"]
    every = before.select(columns).union(later.select(columns))
    return every.mutate(until=every.until.fill_null(NEVER))
