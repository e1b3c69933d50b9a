"""Defines the kinds of label, one function each, as queries of the canonical tables.

All look at the label's window `[start, end)`, which is `[as_of + lead, as_of + lead + horizon)`. The lead is the time
that owners have to act in. What came true for good before the window (an account gone, revenue already down or up) is
not asked, since no owner could act on it in time; what may come true again (a purchase, a use) is simply not looked
at inside the lead. Levels are compared with those at `as_of`, which a score can know.
`training.targets.merges` defines what counts of merged accounts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import ibis
import ibis.expr.types as ir

from features.definitions.feature import DAY
from features.definitions.sql_expression import declare_table
from features.definitions.streams import BILLED, TERMS
from features.definitions.visibility_rule import has_happened, is_in_force
from features.settings import ChurnLabel, UpsellLabel
from training.targets.cohorts import filter_products, select_purchases, select_usage
from training.targets.merges import build_versions, exclude_copies, is_own_or_known


@dataclass(frozen=True)
class LabelKind:
    """Kind of label, with its definition.

    Args:
        build: Builds its query. Takes (row, account_id, as_of, start, end), instants in µs, and the label's settings;
            returns (row, label, gain), of which it may leave rows out that are not asked. `gain` is there for upsell
            alone: the money that came of it.
        order: What a longer horizon does to the chance: +1 what happens in 30 days happens in 90 too; -1 who buys
            nothing in 90 days buys nothing in 30 either; 0 the two ask different questions.
    """

    build: Callable[[ir.Table, Any], ir.Table]
    order: int


def label_ended(asked: ir.Table, _: ChurnLabel) -> ir.Table:
    """Label an account as churned where the company recorded it: `ended_at` of a row in `lifetimes` is in the window.

    Lead: an account with an end inside the lead is not asked. An account that left and came back has two rows in
    `lifetimes`, and each end counts; rows of one unbroken spell are to be joined by the table's query.
    """
    return _label_first(asked, declare_table("lifetimes"), "ended_at")


def label_lapse(asked: ir.Table, label: ChurnLabel) -> ir.Table:
    """Label an account as churned where a term ends in the window and none follows within `grace_days` (`find_lapses`).

    Coming back within the grace is not churn. Lead: an account that lapsed inside the lead is not asked.
    """
    return _label_first(asked, find_lapses(label), "lapsed_at")


def label_no_purchase(asked: ir.Table, label: ChurnLabel) -> ir.Table:
    """Label an account as churned without one purchase in the window. A refund is no purchase; one for nothing is.

    Lead: purchases inside it neither save an account nor lose it; all are asked.
    """
    found = _label_any(asked, exclude_copies(filter_products(select_purchases(), label.products)), "purchased_at")
    return found.mutate(label=1.0 - found.label)


def label_no_usage(asked: ir.Table, _: ChurnLabel) -> ir.Table:
    """Label an account as churned without one use in the window. A row that counts 0 uses is none.

    Lead: uses inside it neither save an account nor lose it; all are asked.
    """
    found = _label_any(asked, exclude_copies(select_usage()), "used_at")
    return found.mutate(label=1.0 - found.label)


def label_downgrade(asked: ir.Table, label: ChurnLabel) -> ir.Table:
    """Label a downgrade: recurring revenue in force at the window's end is below `ratio` times that at `as_of`.

    Asked only of accounts with recurring revenue at `as_of`. Those with none left at the window's end are not asked
    either: they have left, which is another question (`lapse`), so that the score is the chance among those who stay.
    Lead: whose revenue is already down or gone when the lead ends is not asked.
    """
    revenue = _sum_recurring(asked, label.products)
    lower = revenue.after < label.ratio * revenue.before
    already = revenue.between < label.ratio * revenue.before
    kept = revenue.filter((revenue.before > 0) & (revenue.after > 0) & ~(already & (revenue.start > revenue.as_of)))
    return kept.select("row", label=lower.cast("float64"))


def label_expansion(asked: ir.Table, label: UpsellLabel) -> ir.Table:
    """Label a purchase of kind expansion in the window. Gain: the amount of those purchases.

    Lead: expansions inside it don't count; the account may well expand again, and is asked.
    """
    purchases = exclude_copies(filter_products(declare_table("purchases"), label.products))
    return _label_purchases(asked, purchases.filter(purchases.kind == "expansion"))


def label_new_product(asked: ir.Table, label: UpsellLabel) -> ir.Table:
    """Label a purchase in the window of a product new to the account. Gain: the amount of its purchases.

    Refunds are no purchases, and a purchase without a product is of none. Lead: what is bought inside it is had by
    the time the window starts, and so not new; the account is asked.
    """
    found = filter_products(select_purchases(), label.products)
    found = build_versions(found.filter(found["product"].notnull()))
    first = found.purchased_at.min().over(ibis.window(group_by=["account_id", "since", "product"]))
    return _label_purchases(asked, found.mutate(first=first))


def label_spend_up(asked: ir.Table, label: UpsellLabel) -> ir.Table:
    """Label higher spend: in the window above `ratio` times that of as long before `as_of`. Gain: the difference.

    Refunds lower the spend on both sides. Asked only of accounts with spend in that time before. Lead: what is spent
    inside it counts on neither side.
    """
    purchases = filter_products(declare_table("purchases"), label.products)
    since = asked.as_of - (asked.end - asked.start)
    near = [
        purchases.purchased_at >= since,
        purchases.purchased_at < asked.end,
        is_own_or_known(purchases, asked.as_of),
    ]
    facts = asked.join(purchases, [asked.account_id == purchases.account_id, *near])
    at = facts.purchased_at
    spent = facts.group_by("row").agg(
        before=facts.amount.sum(where=has_happened(at, facts.as_of)).cast("float64").fill_null(0.0),
        after=facts.amount.sum(where=at >= facts.start).cast("float64").fill_null(0.0),
    )
    asked_of = spent.filter(spent.before > 0)
    up = asked_of.after > label.ratio * asked_of.before
    return asked_of.select("row", label=up.cast("float64"), gain=asked_of.after - asked_of.before)


def label_recurring_up(asked: ir.Table, label: UpsellLabel) -> ir.Table:
    """Label higher revenue: recurring revenue in force at the window's end is above `ratio` times that at `as_of`.

    Gain: the difference, by the year. Asked only of accounts with recurring revenue at `as_of`: a first term is a
    sale, not an upsell. Lead: whose revenue is already up when the lead ends is not asked.
    """
    revenue = _sum_recurring(asked, label.products)
    up = revenue.after > label.ratio * revenue.before
    already = revenue.between > label.ratio * revenue.before
    kept = revenue.filter((revenue.before > 0) & ~(already & (revenue.start > revenue.as_of)))
    gain = (kept.after - kept.before).cast("float64") * (12 / 10_000)
    return kept.select("row", label=up.cast("float64"), gain=gain)


LABEL_KINDS: Mapping[str, LabelKind] = MappingProxyType(
    {
        "ended": LabelKind(label_ended, order=1),
        "lapse": LabelKind(label_lapse, order=1),
        "no_purchase": LabelKind(label_no_purchase, order=-1),
        "no_usage": LabelKind(label_no_usage, order=-1),
        "downgrade": LabelKind(label_downgrade, order=0),
        "expansion": LabelKind(label_expansion, order=1),
        "new_product": LabelKind(label_new_product, order=1),
        "spend_up": LabelKind(label_spend_up, order=0),
        "recurring_up": LabelKind(label_recurring_up, order=0),
    }
)


def find_lapses(label: ChurnLabel) -> ir.Table:
    """Find each end of coverage by terms that no term follows within the grace: account_id, lapsed_at, since, until.

    Ends as they look from an `as_of` in `[since, until)`, which is always but for survivors of a merge.

    A term follows once it has both started and been bought: one that is bought later and dated back comes too late,
    as it would for anyone who looked when the grace was over.
    """
    terms = filter_products(TERMS.rows(declare_table("purchases")), label.products)
    terms = terms.select("account_id", "known_at", "first_known_at", starts=terms.t, ends=terms.until)
    terms, keys, order = build_versions(terms), ["account_id", "since"], ["starts", "ends"]
    covered = terms.ends.max().over(ibis.window(group_by=keys, order_by=order, preceding=None, following=0))
    after = terms.starts.lead().over(ibis.window(group_by=keys, order_by=order))
    spans = terms.mutate(lapsed_at=covered, after=after)
    gone = spans.after.isnull() | (spans.after > spans.lapsed_at + label.grace_days * DAY)
    return spans.filter(gone).select("account_id", "lapsed_at", "since", "until")


def _join_on_version(asked: ir.Table, facts: ir.Table) -> list[ir.BooleanValue]:
    """Return the conditions that join rows with their accounts' facts, in the version in force if there are several."""
    same = asked.account_id == facts.account_id
    holds = [facts.since <= asked.as_of, facts.until > asked.as_of] if "since" in facts.columns else []
    return [same, *holds]


def _label_any(asked: ir.Table, facts: ir.Table, instant: str) -> ir.Table:
    """Return (row, label): 1 where the account has a fact in the window."""
    near = [asked.account_id == facts.account_id, facts[instant] >= asked.start, facts[instant] < asked.end]
    hit = asked.join(facts, near).select("row").distinct().mutate(hit=1.0)
    joined = asked.left_join(hit, "row")
    return joined.select(joined.row, label=joined.hit.fill_null(0.0))


def _label_first(asked: ir.Table, facts: ir.Table, instant: str) -> ir.Table:
    """Return (row, label): 1 where the account has a fact in the window, no label where it has one inside the lead."""
    near = [facts[instant] >= asked.as_of, facts[instant] < asked.end]
    found = asked.join(facts, [*_join_on_version(asked, facts), *near])
    first = found.group_by("row").agg(first=found[instant].min())
    joined = asked.left_join(first, "row")
    here = ibis.ifelse(joined.first >= joined.start, 1.0, ibis.null("float64"))
    return joined.select(joined.row, label=ibis.ifelse(joined.first.isnull(), 0.0, here))


def _label_purchases(asked: ir.Table, purchases: ir.Table) -> ir.Table:
    """Return (row, label, gain): 1 where there are purchases in the window, their `first` too if given."""
    new = [purchases.first >= asked.start] if "first" in purchases.columns else []
    near = [purchases.purchased_at >= asked.start, purchases.purchased_at < asked.end, *new]
    found = asked.join(purchases, [*_join_on_version(asked, purchases), *near])
    hit = found.group_by("row").agg(money=found.amount.sum().cast("float64"))
    joined = asked.left_join(hit, "row")
    return joined.select(joined.row, label=joined.money.notnull().cast("float64"), gain=joined.money.fill_null(0.0))


def _sum_recurring(asked: ir.Table, products: tuple[str, ...]) -> ir.Table:
    """Return each row's monthly recurring revenue in force: `before` at `as_of`, `between` at start, `after` at end."""
    billed = filter_products(BILLED.rows(declare_table("purchases")), products)
    near = [billed.t < asked.end, billed.until >= asked.as_of, is_own_or_known(billed, asked.as_of)]
    facts = asked.join(billed, [asked.account_id == billed.account_id, *near])
    levels = {
        name: facts.monthly.sum(where=is_in_force(facts.t, facts.until, facts[at])).fill_null(0)
        for name, at in (("before", "as_of"), ("between", "start"), ("after", "end"))
    }
    return facts.group_by(["row", "as_of", "start"]).agg(**levels)
