"""What each kind of label says at its exact boundaries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import isnan

import numpy as np
import pandas as pd
import pytest

from features.settings import Churn, ChurnLabel, Cohort, Upsell, UpsellLabel
from training.labels import labels, mature_until, order

NOW = datetime(2024, 3, 1, tzinfo=UTC)
H = 30
END = NOW + timedelta(days=H)
US = timedelta(microseconds=1)
LATE = NOW + timedelta(days=1000)
ANYONE = Cohort(kind="lifetime")


def days(number):
    return timedelta(days=number)


def churn(kind, **rest):
    return Churn(cohort=ANYONE, label=ChurnLabel(kind=kind, **rest), horizons=(H,))


def upsell(kind, **rest):
    return Upsell(cohort=ANYONE, label=UpsellLabel(kind=kind, **rest), horizons=(H,))


def told(history, target, accounts, *, data_until=LATE):
    rows = pd.DataFrame({"account_id": [*accounts]})
    rows["as_of"] = pd.Series([NOW] * len(rows)).astype("datetime64[us, UTC]")
    return labels(history, target, H, rows, data_until=data_until).tolist()


def label(history, target, *, data_until=LATE):
    return told(history, target, "A", data_until=data_until)[0]


def term(starts, ends, *, account="A", **rest):
    return (account, starts, {"term_starts_at": starts, "term_ends_at": ends, **rest})


# Just before, at, just before the end of, and at the end of the horizon.
EDGES = {"A": NOW - US, "B": NOW, "C": END - US, "D": END}
INSIDE = [0.0, 1.0, 1.0, 0.0]


def test_a_purchase_counts_from_as_of_until_just_before_the_horizon_ends(posted):
    history = posted(purchases=[*EDGES.items()])
    assert told(history, churn("no_purchase"), EDGES) == [1 - x for x in INSIDE]


def test_an_expansion_counts_from_as_of_until_just_before_the_horizon_ends(posted):
    history = posted(purchases=[(a, at, {"kind": "expansion"}) for a, at in EDGES.items()])
    assert told(history, upsell("expansion"), EDGES) == INSIDE


def test_an_end_counts_from_as_of_until_just_before_the_horizon_ends(posted):
    history = posted(lifetimes=[(a, NOW - days(90), {"ended_at": at}) for a, at in EDGES.items()])
    assert told(history, churn("ended"), EDGES) == INSIDE


def test_a_term_end_counts_from_as_of_until_just_before_the_horizon_ends(posted):
    history = posted(purchases=[term(NOW - days(90), at, account=a) for a, at in EDGES.items()])
    assert told(history, churn("lapse"), EDGES) == INSIDE


def test_a_refund_is_no_purchase(posted):
    refunds = [{"kind": "refund"}, {"kind": "refund", "amount": -5}, {"amount": -5}, {"kind": "renewal", "amount": -5}]
    history = posted(purchases=[(a, NOW, row) for a, row in zip("ABCD", refunds, strict=True)])
    assert told(history, churn("no_purchase"), "ABCD") == [1.0] * 4


def test_a_purchase_for_nothing_is_a_purchase(posted):
    assert label(posted(purchases=[("A", NOW, {"amount": 0})]), churn("no_purchase")) == 0.0


def test_another_accounts_purchase_does_not_count(posted):
    assert label(posted(purchases=[("B", NOW)]), churn("no_purchase")) == 1.0


def test_only_purchases_of_the_named_products_count(posted):
    history = posted(purchases=[("A", NOW, {"product": "addon"}), ("B", NOW, {"product": "base"}), ("C", NOW)])
    assert told(history, churn("no_purchase", products=("base",)), "ABC") == [1.0, 0.0, 1.0]


def test_only_terms_of_the_named_products_keep_an_account(posted):
    base = term(NOW - days(90), NOW, product="base")
    addon = term(NOW, NOW + days(90), product="addon")
    history = posted(purchases=[base, addon])
    assert label(history, churn("lapse", products=("base",))) == 1.0
    assert label(history, churn("lapse")) == 0.0


def test_no_other_kind_of_purchase_is_an_expansion(posted):
    kinds = ["new", "renewal", "contraction", "refund", None]
    history = posted(purchases=[(a, NOW, {"kind": kind}) for a, kind in zip("ABCDE", kinds, strict=True)])
    assert told(history, upsell("expansion"), "ABCDE") == [0.0] * 5


def test_who_comes_back_within_the_grace_has_not_left(posted):
    ended = NOW + days(10)
    back = {"A": days(-1), "B": days(0), "C": days(14), "D": days(14) + US}
    first = [term(NOW - days(90), ended, account=a) for a in back]
    again = [term(ended + late, ended + late + days(90), account=a) for a, late in back.items()]
    assert told(posted(purchases=[*first, *again]), churn("lapse", grace_days=14), back) == [0.0, 0.0, 0.0, 1.0]


def test_a_short_term_inside_a_longer_one_ends_nothing(posted):
    history = posted(
        purchases=[
            term(NOW - days(90), NOW + days(300)),
            term(NOW - days(10), NOW + days(10)),
            term(NOW, NOW + days(5)),
        ]
    )
    assert label(history, churn("lapse", grace_days=0)) == 0.0


def test_a_term_without_a_start_starts_when_it_is_bought(posted):
    renewal = ("A", NOW + days(10), {"term_ends_at": NOW + days(100)})
    history = posted(purchases=[term(NOW - days(90), NOW + days(10)), renewal])
    assert label(history, churn("lapse", grace_days=0)) == 0.0


def test_lapses_of_random_terms_are_the_gaps_longer_than_the_grace(posted):
    random = np.random.default_rng(3)
    grace = 10
    spans = {
        f"A{i}": sorted(
            (int(s), int(s + d)) for s, d in random.integers([-120, 1], [60, 50], (random.integers(1, 6), 2))
        )
        for i in range(150)
    }
    bought = [
        (a, NOW + days(s), {"term_starts_at": NOW + days(s), "term_ends_at": NOW + days(e)})
        for a, terms in spans.items()
        for s, e in terms
    ]
    found = told(posted(purchases=bought), churn("lapse", grace_days=grace), spans)

    def left(terms):
        ends = {max(e for s, e in terms if s <= start) for start, _ in terms}
        return any(
            0 <= end < H and not any(s <= end + grace < e or end < s <= end + grace for s, e in terms) for end in ends
        )

    assert found == [float(left(terms)) for terms in spans.values()]
    assert 0.1 < np.mean(found) < 0.9


@pytest.mark.parametrize(
    ("target", "needed"),
    [
        (churn("no_purchase"), H),
        (churn("ended"), H),
        (churn("no_purchase", grace_days=14), H),
        (churn("lapse", grace_days=14), H + 14),
        (churn("lapse", grace_days=0), H),
        (upsell("expansion"), H),
        (upsell("spend_up"), H),
        (upsell("recurring_up"), H),
    ],
    ids=lambda x: x.label.kind if hasattr(x, "label") else str(x),
)
def test_a_label_is_mature_when_the_data_reach_its_horizon_and_grace(posted, target, needed):
    bought = [("A", NOW - days(1)), term(NOW - days(1), NOW + days(1))]
    history = posted(purchases=bought, lifetimes=[("A", NOW - days(1), {"ended_at": NOW + days(1)})])
    until = NOW + days(needed)
    assert not isnan(label(history, target, data_until=until))
    assert isnan(label(history, target, data_until=until - US))
    assert mature_until(target, H, until) == NOW


def test_an_immature_label_is_not_told_even_when_the_event_is_there(posted):
    history = posted(lifetimes=[("A", NOW - days(9), {"ended_at": NOW})])
    assert isnan(label(history, churn("ended"), data_until=NOW + days(H - 1)))


def test_spend_is_up_when_it_is_above_the_ratio_inside_the_horizon(posted):
    ahead = {"A": (NOW, 151), "B": (NOW, 150), "C": (END - US, 151), "D": (END, 151), "E": (NOW - US, 151)}
    before = [(a, NOW - days(5)) for a in ahead]
    history = posted(purchases=[*before, *((a, at, {"amount": money}) for a, (at, money) in ahead.items())])
    assert told(history, upsell("spend_up", ratio=1.5), ahead) == [1.0, 0.0, 1.0, 0.0, 0.0]


def test_spend_up_is_asked_only_with_spend_in_as_long_a_time_before(posted):
    before = {"A": NOW - days(H), "B": NOW - US, "C": NOW - days(H) - US}
    history = posted(purchases=[*before.items(), *((a, NOW, {"amount": 500}) for a in before)])
    found = told(history, upsell("spend_up"), before)
    assert found[:2] == [1.0, 1.0]
    assert isnan(found[2])


def test_spend_up_is_not_asked_where_refunds_ate_the_spend_before(posted):
    before = [("A", NOW - days(9)), ("A", NOW - days(8), {"amount": -100})]
    assert isnan(label(posted(purchases=[*before, ("A", NOW)]), upsell("spend_up")))


def test_refunds_lower_the_spend_ahead(posted):
    ahead = [("A", NOW, {"amount": 160}), ("A", NOW + days(1), {"amount": -20})]
    assert label(posted(purchases=[("A", NOW - days(5)), *ahead]), upsell("spend_up", ratio=1.5)) == 0.0


def test_recurring_revenue_is_up_by_what_is_added_and_still_in_force_at_the_horizons_end(posted):
    more = {"A": (NOW, LATE), "B": (END - US, END), "C": (NOW, END - US), "D": (END, LATE), "E": (NOW - US, LATE)}
    little = [term(NOW - days(5), LATE, account=a, amount=1) for a in more]
    history = posted(purchases=[*little, *(term(*when, account=a, amount=1000) for a, when in more.items())])
    assert told(history, upsell("recurring_up", ratio=1.05), more) == [1.0, 1.0, 0.0, 0.0, 0.0]


def test_recurring_revenue_that_is_only_renewed_is_not_up(posted):
    year = days(365)
    history = posted(purchases=[term(NOW - year, NOW + days(9)), term(NOW + days(9), NOW + days(9) + year)])
    assert label(history, upsell("recurring_up", ratio=1.0)) == 0.0


def test_recurring_revenue_counts_one_months_invoice_at_a_time(posted):
    invoice = {"term_ends_at": NOW + days(300), "billing_months": 1}
    monthly = [("A", NOW + days(n), invoice) for n in (-20, 11)]
    assert label(posted(purchases=monthly), upsell("recurring_up", ratio=1.0)) == 0.0


def test_recurring_up_is_not_asked_of_an_account_that_never_had_terms(posted):
    assert isnan(label(posted(purchases=[("A", NOW)]), upsell("recurring_up")))


@pytest.mark.parametrize(
    "target",
    [
        *(churn(kind) for kind in ("ended", "lapse", "no_purchase")),
        *(upsell(kind, ratio=1.1) for kind in ("expansion", "spend_up", "recurring_up")),
    ],
    ids=lambda t: t.label.kind,
)
def test_the_order_of_horizons_is_what_labels_of_random_histories_show(posted, target):
    random = np.random.default_rng(5)
    at = [NOW + days(float(d)) for d in random.uniform(-100, 120, 1000)]
    kinds = ["new", "expansion"]
    bought = [
        term(t, t + days(int(random.integers(20, 60))), account=f"A{i % 130}", kind=kinds[i % 2], amount=i % 7 * 10)
        for i, t in enumerate(at)
    ]
    history = posted(
        purchases=bought, lifetimes=[(f"A{i}", NOW - days(200), {"ended_at": t}) for i, t in enumerate(at[:130])]
    )
    rows = pd.DataFrame({"account_id": [f"A{i}" for i in range(130)], "as_of": pd.Timestamp(NOW)})
    short, long = (labels(history, target, h, rows, data_until=LATE) for h in (20, 90))
    steps = set((long - short).dropna())
    assert steps == {1: {0.0, 1.0}, -1: {0.0, -1.0}, 0: {-1.0, 0.0, 1.0}}[order(target)]


def test_labels_stand_on_the_index_and_in_the_order_of_the_rows(posted):
    history = posted(purchases=[("B", NOW)])
    rows = pd.DataFrame({"account_id": ["A", "B", "A"], "as_of": [NOW, NOW, LATE]}, index=[7, 3, 5])
    rows["as_of"] = rows["as_of"].astype("datetime64[us, UTC]")
    found = labels(history, churn("no_purchase"), H, rows, data_until=NOW + days(H))
    assert found.dtype == "float64"
    pd.testing.assert_series_equal(found, pd.Series([1.0, 0.0, np.nan], index=[7, 3, 5]))
