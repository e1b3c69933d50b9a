"""What came true inside the horizon `[as_of, as_of + h)`.

A label is 1 or 0, or null: immature where the data end before it could have come true, or not asked (spend_up
of an account without spend). Null labels are never trained or tested on.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from features.definition import DAY
from features.expression import canonical
from features.history import History
from features.instants import micros, whole
from features.settings import Churn, ChurnLabel, Upsell, UpsellLabel
from features.streams import BILLED, TERMS
from training.cohorts import of_products


def labels(
    history: History, target: Churn | Upsell, horizon: int, rows: pd.DataFrame, *, data_until: datetime
) -> pd.Series:
    """The label of each row.

    Args:
        history: Of the company.
        target: Its label says what counts.
        horizon: In days.
        rows: account_id, as_of (datetime64[us, UTC]); any index.
        data_until: The instant the data are complete until.

    Returns:
        float64 on the index of `rows`: 1.0, 0.0 or NaN.
    """
    asked = pd.DataFrame({"row": range(len(rows)), "account_id": rows["account_id"].to_numpy()})
    asked["as_of"] = whole(rows["as_of"]).to_numpy()
    table = ibis.table({"row": "int64", "account_id": "string", "as_of": "int64"}, name="asked")
    answered = _ANSWERS[target.label.kind](table, target.label, horizon * DAY).select("row", "label")
    found = history.query(ibis.to_sql(answered, dialect="duckdb"), asked=asked)
    values = found.set_index("row")["label"].reindex(asked["row"]).to_numpy(dtype="float64", copy=True)
    values[asked["as_of"].to_numpy() + micros_needed(target, horizon) > micros(data_until)] = float("nan")
    return pd.Series(values, index=rows.index)


# What a longer horizon does to the chance: +1 what happens in 30 days happens in 90 too; -1 who buys nothing in 90
# days buys nothing in 30 either; 0 the two ask different questions.
_ORDER = {"ended": 1, "lapse": 1, "expansion": 1, "no_purchase": -1, "spend_up": 0, "recurring_up": 0}


def order(target: Churn | Upsell) -> int:
    """How the chance moves with a longer horizon: +1 never falls, -1 never rises, 0 neither."""
    return _ORDER[target.label.kind]


def micros_needed(target: Churn | Upsell, horizon: int) -> int:
    """How long after `as_of` the data must reach for the label to be mature, in µs."""
    return days_needed(target, horizon) * DAY


def days_needed(target: Churn | Upsell, horizon: int) -> int:
    """The horizon, and with it the grace in which a lapsed account may come back, in days."""
    grace = target.label.grace_days if isinstance(target.label, ChurnLabel) and target.label.kind == "lapse" else 0
    return horizon + grace


def mature_until(target: Churn | Upsell, horizon: int, data_until: datetime) -> datetime:
    """The last `as_of` whose labels are mature."""
    return data_until - timedelta(days=days_needed(target, horizon))


def _within(asked: ir.Table, facts: ir.Table, instant: str, span: int) -> ir.Table:
    """Asked joined to the account's facts in `[as_of, as_of + span)`."""
    return asked.join(
        facts,
        [
            asked.account_id == facts.account_id,
            facts[instant] >= asked.as_of,
            facts[instant] < asked.as_of + span,
        ],
    )


def _any(asked: ir.Table, facts: ir.Table, instant: str, span: int) -> ir.Table:
    """(row, label): 1 where the account has a fact inside the horizon."""
    hit = _within(asked, facts, instant, span).select("row").distinct().mutate(hit=1.0)
    joined = asked.left_join(hit, "row")
    return joined.select(joined.row, label=joined.hit.fill_null(0.0))


def _no_purchase(asked: ir.Table, label: ChurnLabel, span: int) -> ir.Table:
    bought = of_products(canonical("purchases"), label.products)
    bought = bought.filter((bought.kind != "refund") | bought.kind.isnull(), bought.amount >= 0)
    found = _any(asked, bought, "purchased_at", span)
    return found.mutate(label=1.0 - found.label)


def _ended(asked: ir.Table, _: ChurnLabel, span: int) -> ir.Table:
    return _any(asked, canonical("lifetimes"), "ended_at", span)


def _lapse(asked: ir.Table, label: ChurnLabel, span: int) -> ir.Table:
    return _any(asked, lapses(label), "lapsed_at", span)


def lapses(label: ChurnLabel) -> ir.Table:
    """(account_id, lapsed_at): each end of coverage by terms that no term follows within the grace."""
    terms = of_products(TERMS.rows(canonical("purchases")), label.products)
    starts = terms.term_starts_at.fill_null(terms.purchased_at)
    terms = terms.select("account_id", starts=starts, ends=terms.term_ends_at)
    past = ibis.window(group_by="account_id", order_by=["starts", "ends"], preceding=None, following=0)
    covered = terms.ends.max().over(past)
    after = terms.starts.lead().over(ibis.window(group_by="account_id", order_by=["starts", "ends"]))
    spans = terms.mutate(lapsed_at=covered, after=after)
    gone = spans.after.isnull() | (spans.after > spans.lapsed_at + label.grace_days * DAY)
    return spans.filter(gone).select("account_id", "lapsed_at")


def _expansion(asked: ir.Table, _: UpsellLabel, span: int) -> ir.Table:
    purchases = canonical("purchases")
    return _any(asked, purchases.filter(purchases.kind == "expansion"), "purchased_at", span)


def _spend_up(asked: ir.Table, label: UpsellLabel, span: int) -> ir.Table:
    purchases = canonical("purchases")
    facts = asked.join(
        purchases,
        [
            asked.account_id == purchases.account_id,
            purchases.purchased_at >= asked.as_of - span,
            purchases.purchased_at < asked.as_of + span,
        ],
    )
    ahead = facts.purchased_at >= facts.as_of
    spent = facts.group_by("row").agg(
        before=facts.amount.sum(where=~ahead).cast("float64").fill_null(0.0),
        after=facts.amount.sum(where=ahead).cast("float64").fill_null(0.0),
    )
    asked_of = spent.filter(spent.before > 0)
    return asked_of.mutate(label=(asked_of.after > label.ratio * asked_of.before).cast("float64"))


def _recurring_up(asked: ir.Table, label: UpsellLabel, span: int) -> ir.Table:
    billed = BILLED.rows(canonical("purchases"))
    now, then = asked.as_of, asked.as_of + span
    facts = asked.join(billed, [asked.account_id == billed.account_id, billed.t < then, billed.until >= now])
    ends = facts.as_of + span
    revenue = facts.group_by("row").agg(
        before=facts.monthly.sum(where=facts.t < facts.as_of).fill_null(0),
        after=facts.monthly.sum(where=facts.until >= ends).fill_null(0),
    )
    return revenue.mutate(label=(revenue.after > label.ratio * revenue.before).cast("float64"))


_ANSWERS: dict[str, Callable[[ir.Table, Any, int], ir.Table]] = {
    "no_purchase": _no_purchase,
    "ended": _ended,
    "lapse": _lapse,
    "expansion": _expansion,
    "spend_up": _spend_up,
    "recurring_up": _recurring_up,
}
