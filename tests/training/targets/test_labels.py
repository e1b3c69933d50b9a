"""What each kind of label says at its exact boundaries."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from math import isnan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.settings import Churn, ChurnLabel, Cohort, Upsell, UpsellLabel
from features.settings.load import load_settings
from features.sources.history import History
from training.targets.cohorts import find_eligible
from training.targets.labels import compute_gains, compute_labels, compute_mature_until, find_order

NOW = datetime(2024, 3, 1, tzinfo=UTC)
H = 30
END = NOW + timedelta(days=H)
US = timedelta(microseconds=1)
LATE = NOW + timedelta(days=1000)
ANYONE = Cohort(kind="lifetime")
CHURN = ("ended", "lapse", "no_purchase", "no_usage", "downgrade")
UPSELL = ("expansion", "new_product", "spend_up", "recurring_up")


def days(number):
    return timedelta(days=number)


def churn(kind, *, lead=0, **rest):
    return Churn(cohort=ANYONE, label=ChurnLabel(kind=kind, **rest), horizons=(H,), lead_days=lead)


def upsell(kind, *, lead=0, **rest):
    return Upsell(cohort=ANYONE, label=UpsellLabel(kind=kind, **rest), horizons=(H,), lead_days=lead)


def shown(answers):
    """NaN as None, so that lists compare."""
    return [None if isnan(x) else x for x in answers]


def told(history, target, accounts, *, data_until=LATE):
    rows = pd.DataFrame({"account_id": [*accounts]})
    rows["as_of"] = pd.Series([NOW] * len(rows)).astype("datetime64[us, UTC]")
    return compute_labels(history, target, H, rows, data_until=data_until).tolist()


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
        (churn("no_usage"), H),
        (churn("downgrade"), H),
        (upsell("expansion"), H),
        (upsell("new_product"), H),
        (upsell("spend_up"), H),
        (upsell("recurring_up"), H),
        (churn("no_purchase", lead=10), 10 + H),
        (churn("ended", lead=10), 10 + H),
        (churn("lapse", lead=10, grace_days=14), 10 + H + 14),
        (upsell("recurring_up", lead=10), 10 + H),
    ],
    ids=lambda x: x.label.kind if hasattr(x, "label") else str(x),
)
def test_a_label_is_mature_when_the_data_reach_its_horizon_and_grace(posted, target, needed):
    bought = [("A", NOW - days(1)), term(NOW - days(1), LATE)]
    ended = [("A", NOW - days(1), {"ended_at": NOW + days(11)})]
    history = posted(purchases=bought, usage=[("A", NOW)], lifetimes=ended)
    until = NOW + days(needed)
    assert not isnan(label(history, target, data_until=until))
    assert isnan(label(history, target, data_until=until - US))
    assert compute_mature_until(target, H, until) == NOW


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
        *(churn(kind, lead=lead) for kind in CHURN for lead in (0, 10)),
        *(upsell(kind, lead=lead, ratio=1.1) for kind in UPSELL for lead in (0, 10)),
    ],
    ids=lambda t: f"{t.label.kind}-{t.lead_days}",
)
def test_the_order_of_horizons_is_what_labels_of_random_histories_show(posted, target):
    history = posted(**random_company(5))
    rows = pd.DataFrame({"account_id": [f"A{i}" for i in range(130)], "as_of": pd.Timestamp(NOW)})
    short, long = (compute_labels(history, target, h, rows, data_until=LATE) for h in (20, 90))
    steps = set((long - short).dropna())
    assert steps == {1: {0.0, 1.0}, -1: {0.0, -1.0}, 0: {-1.0, 0.0, 1.0}}[find_order(target)]


def test_labels_stand_on_the_index_and_in_the_order_of_the_rows(posted):
    history = posted(purchases=[("B", NOW)])
    rows = pd.DataFrame({"account_id": ["A", "B", "A"], "as_of": [NOW, NOW, LATE]}, index=[7, 3, 5])
    rows["as_of"] = rows["as_of"].astype("datetime64[us, UTC]")
    found = compute_labels(history, churn("no_purchase"), H, rows, data_until=NOW + days(H))
    assert found.dtype == "float64"
    pd.testing.assert_series_equal(found, pd.Series([1.0, 0.0, np.nan], index=[7, 3, 5]))


def random_company(seed):
    """130 accounts with all that labels read, crowded around the horizon; terms bought before and after they start."""
    random = np.random.default_rng(seed)
    bought = []
    for i, at in enumerate(NOW + days(float(d)) for d in random.uniform(-100, 140, 1000)):
        late, length = (days(int(n)) for n in random.integers([-5, 20], [30, 60]))
        row = {
            "amount": i % 7 * 10,
            "kind": ["new", "expansion", "refund"][i % 3 if i % 5 else 0],
            "product": "pqrs"[i % 4],
        }
        bought.append((f"A{i % 130}", at, row | {"term_starts_at": at - late, "term_ends_at": at - late + length}))
    used = [
        (f"A{n}", NOW + days(float(d)), {"count": [None, 0, 1][i % 3]})
        for i, (n, d) in enumerate(zip(random.integers(0, 130, 500), random.uniform(-60, 140, 500), strict=True))
    ]
    lives = [
        (f"A{i}", NOW - days(200), {"ended_at": NOW + days(float(d))})
        for i, d in enumerate(random.uniform(-9, 140, 130))
    ]
    return {"purchases": bought, "usage": used, "lifetimes": lives}


def every_target(lead):
    return [*(churn(kind, lead=lead) for kind in CHURN), *(upsell(kind, lead=lead, ratio=1.1) for kind in UPSELL)]


@pytest.mark.parametrize("lead", [0, 10])
def test_nothing_at_or_after_the_end_of_the_data_or_of_the_window_changes_a_label(posted, lead):
    here, other = random_company(7), random_company(8)
    accounts = [f"A{i}" for i in range(130)]
    for target in every_target(lead):
        until = NOW + days(lead + H + (14 if target.label.kind == "lapse" else 0))
        changed = {
            table: [r for r in here[table] if r[1] < until] + [r for r in other[table] if r[1] >= until]
            for table in ("purchases", "usage")
        }
        ends = zip(here["lifetimes"], other["lifetimes"], strict=True)
        changed["lifetimes"] = [
            a if a[2]["ended_at"] < until else (*b[:2], {"ended_at": max(b[2]["ended_at"], until)}) for a, b in ends
        ]
        full, short = (told(posted(**h), target, accounts, data_until=until) for h in (here, changed))
        assert shown(full) == shown(short), target.label.kind
        assert 0 < np.nanmean(full) < 1, target.label.kind
        later = told(posted(**here), target, accounts, data_until=LATE)
        assert shown(later) == shown(full), target.label.kind


@pytest.mark.parametrize("lead", [0, 10])
def test_nothing_before_as_of_changes_a_label_that_only_looks_ahead(posted, lead):
    # The others ask what an account had: its terms, its spend, its products.
    here, other = random_company(7), random_company(8)
    changed = {
        table: [r for r in other[table] if r[1] < NOW] + [r for r in here[table] if r[1] >= NOW]
        for table in ("purchases", "usage")
    }
    changed["lifetimes"] = [r for r in here["lifetimes"] if r[2]["ended_at"] >= NOW]
    for target in every_target(lead):
        if target.label.kind in {"ended", "no_purchase", "no_usage", "expansion"}:
            before, after = (told(posted(**h), target, [f"A{i}" for i in range(130)]) for h in (here, changed))
            assert shown(before) == shown(after), target.label.kind


# With ten days of lead: just before and at as_of, inside the lead, and the edges of the window.
LEAD = days(10)
LED = {
    "A": NOW - US,
    "B": NOW,
    "C": NOW + LEAD - US,
    "D": NOW + LEAD,
    "E": NOW + LEAD + days(H) - US,
    "F": NOW + LEAD + days(H),
}
IN_WINDOW = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0]


def test_with_a_lead_only_purchases_and_uses_after_it_keep_an_account(posted):
    history = posted(purchases=[*LED.items()], usage=[*LED.items()])
    assert told(history, churn("no_purchase", lead=10), LED) == [1 - x for x in IN_WINDOW]
    assert told(history, churn("no_usage", lead=10), LED) == [1 - x for x in IN_WINDOW]


def test_with_a_lead_only_expansions_after_it_count(posted):
    history = posted(purchases=[(a, at, {"kind": "expansion"}) for a, at in LED.items()])
    assert told(history, upsell("expansion", lead=10), LED) == IN_WINDOW


def test_who_left_inside_the_lead_is_not_asked(posted):
    history = posted(
        lifetimes=[(a, NOW - days(90), {"ended_at": at}) for a, at in LED.items()],
        purchases=[term(NOW - days(90), at, account=a) for a, at in LED.items()],
    )
    wanted = [0.0, None, None, 1.0, 1.0, 0.0]
    assert shown(told(history, churn("ended", lead=10), LED)) == wanted
    assert shown(told(history, churn("lapse", lead=10), LED)) == wanted


def test_who_lapsed_inside_the_lead_and_is_back_within_the_grace_is_asked(posted):
    ended = NOW + days(3)
    history = posted(purchases=[term(NOW - days(90), ended), term(ended + days(14), NOW + days(20))])
    assert label(history, churn("lapse", lead=10, grace_days=14)) == 1.0


def test_a_term_that_is_bought_after_the_grace_and_dated_back_comes_too_late(posted):
    ended = NOW + days(10)
    dated_back = {"term_starts_at": ended, "term_ends_at": ended + days(90)}
    bought = {"A": ended + days(14), "B": ended + days(14) + US}
    first = [term(NOW - days(90), ended, account=a) for a in bought]
    history = posted(purchases=[*first, *((a, at, dated_back) for a, at in bought.items())])
    assert told(history, churn("lapse", grace_days=14), bought) == [0.0, 1.0]


def test_a_use_counts_from_as_of_until_just_before_the_horizon_ends(posted):
    history = posted(usage=[*EDGES.items()])
    assert told(history, churn("no_usage"), EDGES) == [1 - x for x in INSIDE]


def test_a_row_that_counts_no_uses_is_no_use(posted):
    history = posted(usage=[(a, NOW, {"count": n}) for a, n in {"A": 0, "B": 1, "C": None}.items()])
    assert told(history, churn("no_usage"), "ABC") == [1.0, 0.0, 0.0]


def year(amount):
    """Of terms that last for 12 months of 30.4375 days."""
    return {"amount": amount * 12}


def test_a_downgrade_is_recurring_revenue_below_the_ratio_but_not_gone(posted):
    began, later = NOW - days(100), NOW + days(265.25)
    kept = {"A": 94, "B": 95, "C": 96, "D": 0, "E": 120}
    small = [term(began, later, account=a, **year(n)) for a, n in kept.items() if n]
    # The other part of what each pays ends inside the horizon.
    ending = [term(NOW - days(355.25), NOW + days(10), account=a, **year(100 - n)) for a, n in kept.items() if n < 100]
    history = posted(purchases=[*small, *ending])
    assert shown(told(history, churn("downgrade", ratio=0.95), kept)) == [1.0, 0.0, 0.0, None, 0.0]


def test_a_downgrade_is_asked_only_with_recurring_revenue_at_as_of(posted):
    history = posted(purchases=[term(NOW, LATE), ("B", NOW - days(1))])
    assert shown(told(history, churn("downgrade"), "AB")) == [None, None]


def test_a_downgrade_looks_at_the_horizons_end(posted):
    began, later = NOW - days(100), NOW + days(265.25)
    ends = {"A": NOW - US, "B": NOW, "C": END - US, "D": END}
    base = [term(began, later, account=a, **year(50)) for a in ends]
    more = [term(at - days(365.25), at, account=a, **year(50)) for a, at in ends.items()]
    # What ends exactly at the horizon's end is still in force there, and what ends at as_of was in force at as_of.
    assert told(posted(purchases=[*base, *more]), churn("downgrade"), ends) == [0.0, 1.0, 1.0, 0.0]


def test_who_is_down_or_gone_when_the_lead_ends_is_not_asked_for_a_downgrade(posted):
    began, later = NOW - days(100), NOW + days(265.25)
    ends = {"A": NOW + days(5), "B": NOW + days(20)}
    base = [term(began, later, account=a, **year(50)) for a in ends]
    more = [term(at - days(365.25), at, account=a, **year(50)) for a, at in ends.items()]
    gone = term(began, NOW + days(5), account="C")
    history = posted(purchases=[*base, *more, gone])
    assert shown(told(history, churn("downgrade", lead=10), "ABC")) == [None, 1.0, None]


def test_only_the_named_products_revenue_is_downgraded(posted):
    began, later = NOW - days(100), NOW + days(265.25)
    base = term(began, later, product="base", **year(50))
    addon = [term(began, NOW + days(10), product="addon", **year(50)), term(began, later, product="addon", **year(50))]
    history = posted(purchases=[base, *addon])
    assert label(history, churn("downgrade", products=("addon",))) == 1.0
    assert label(history, churn("downgrade", products=("base",))) == 0.0


def test_recurring_revenue_that_is_up_when_the_lead_ends_is_not_asked(posted):
    more = {"A": NOW + days(5), "B": NOW + days(20)}
    base = [term(NOW - days(5), LATE, account=a, amount=1) for a in (*more, "C")]
    history = posted(purchases=[*base, *(term(at, LATE, account=a, amount=1000) for a, at in more.items())])
    assert shown(told(history, upsell("recurring_up", lead=10), "ABC")) == [None, 1.0, 0.0]


def test_recurring_up_is_not_asked_of_an_account_whose_first_term_is_in_the_horizon(posted):
    assert isnan(label(posted(purchases=[term(NOW, LATE)]), upsell("recurring_up")))


def test_spend_inside_the_lead_counts_on_neither_side(posted):
    before = [(a, NOW - days(H)) for a in "AB"]
    # Alone, what comes inside the lead would make A's spend rise, and as a base it would keep B's from it.
    ahead = [
        ("A", NOW + days(5), {"amount": 500}),
        ("B", NOW + days(5), {"amount": 500}),
        ("B", NOW + LEAD, {"amount": 151}),
    ]
    assert told(posted(purchases=[*before, *ahead]), upsell("spend_up", lead=10), "AB") == [0.0, 1.0]


def test_a_new_product_is_one_never_bought_before(posted):
    product = {"product": "crane"}
    history = posted(
        purchases=[
            *((a, NOW - days(300), product) for a in "AB"),
            ("A", NOW, product),
            ("B", NOW, {"product": "berth"}),
            ("C", NOW, product),
            ("D", NOW, {"product": None}),
            ("E", NOW, product | {"kind": "refund"}),
            ("F", NOW, product | {"amount": -1}),
        ]
    )
    assert told(history, upsell("new_product"), "ABCDEF") == [0.0, 1.0, 1.0, 0.0, 0.0, 0.0]


def test_a_new_product_counts_from_as_of_until_just_before_the_horizon_ends(posted):
    history = posted(purchases=[(a, at, {"product": "crane"}) for a, at in EDGES.items()])
    assert told(history, upsell("new_product"), EDGES) == INSIDE


def test_a_product_bought_inside_the_lead_is_had_by_the_window(posted):
    crane, berth = {"product": "crane"}, {"product": "berth"}
    bought = [(a, NOW + days(5), crane) for a in "AB"] + [("A", NOW + days(20), crane), ("B", NOW + days(20), berth)]
    assert told(posted(purchases=bought), upsell("new_product", lead=10), "AB") == [0.0, 1.0]


@pytest.mark.parametrize("kind", ["expansion", "new_product", "spend_up"])
def test_only_upsells_of_the_named_products_count(posted, kind):
    before = [(a, NOW - days(9), {"amount": 10, "product": "pilot"}) for a in "AB"]
    ahead = [(a, NOW, {"product": p, "kind": "expansion"}) for a, p in {"A": "crane", "B": "berth"}.items()]
    history = posted(purchases=[*before, *ahead])
    products = ("crane", "pilot")
    assert told(history, upsell(kind, products=products), "AB") == [1.0, 0.0]
    assert told(history, upsell(kind), "AB") == [1.0, 1.0]


def gained(history, target, accounts):
    rows = pd.DataFrame({"account_id": [*accounts]})
    rows["as_of"] = pd.Series([NOW] * len(rows)).astype("datetime64[us, UTC]")
    return shown(compute_gains(history, target, H, rows, data_until=LATE))


def test_the_gain_is_the_money_that_came_of_the_upsell(posted):
    kind = {"kind": "expansion", "product": "crane"}
    bought = [
        ("A", NOW - days(5), {"amount": 100, "product": "berth"}),
        ("A", NOW, kind | {"amount": 30}),
        ("A", END - US, kind | {"amount": 20.5}),
        ("A", END, kind | {"amount": 999}),
        ("A", NOW + days(1), {"amount": 70, "product": "berth"}),
    ]
    history = posted(purchases=bought)
    assert gained(history, upsell("expansion"), "AB") == [50.5, 0.0]
    assert gained(history, upsell("new_product"), "AB") == [50.5, 0.0]
    assert gained(history, upsell("spend_up"), "AB") == [20.5, None]


def test_the_gain_of_recurring_revenue_is_by_the_year(posted):
    terms = [term(NOW - days(100), NOW + days(265.25), **year(50)), term(NOW, NOW + days(365.25), **year(25))]
    assert gained(posted(purchases=terms), upsell("recurring_up"), "A") == [25 * 12]


DOCS = Path(__file__).parents[3] / "docs" / "labels.md"


def test_a_cancel_date_in_accounts_becomes_a_label_by_the_toml_of_the_docs(tmp_path):
    toml = re.search(r"```toml\n(\[company\].*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[1]
    file = tmp_path / "garrison.toml"
    file.write_text(f'{toml}\n[paths]\nvar = "{tmp_path}/var"\n', encoding="utf-8")
    (tmp_path / "exports").mkdir()
    rows = [
        "Id,Created,Country,cancel_date",
        "A,2023-01-01,NL,2024-03-10",
        "B,2023-01-01,NL,",
        "C,2023-01-01,NL,2024-02-01",
    ]
    (tmp_path / "exports" / "accounts.csv").write_text("\n".join(rows), encoding="utf-8")
    used = ["customer,at", *(f"{a},2024-01-0{n}" for n, a in enumerate("ABC", 1))]
    (tmp_path / "exports" / "usage.csv").write_text("\n".join(used), encoding="utf-8")
    settings = load_settings(file)
    with History.open(settings) as history:
        members = find_eligible(history, settings.churn.cohort, [NOW])
        assert members["account_id"].tolist() == ["A", "B"]
        assert compute_labels(history, settings.churn, H, members, data_until=LATE).tolist() == [1.0, 0.0]
        assert "cancel_date" not in dict(history.attributes)


def refunded(account, amount, when, **term_dates):
    return (account, when, {"amount": amount, "kind": "refund", **term_dates})


def test_a_refund_ends_no_term_but_takes_its_revenue_away_where_it_names_the_term(posted):
    begun, ends = NOW - days(100), NOW + days(10)
    dates = {"term_starts_at": begun, "term_ends_at": ends}
    sold = [term(begun, ends, account=a, amount=1200, kind="new") for a in ("kept", "back", "back of the term")]
    back = [refunded("back", -1200, NOW - days(5)), refunded("back of the term", -1200, NOW - days(5), **dates)]
    accounts = ["kept", "back", "back of the term", "refund alone"]
    everyone = [(account, begun) for account in accounts]
    history = posted(accounts=everyone, purchases=[*sold, *back, refunded("refund alone", -5, NOW - days(5))])
    # All three are in force until the term's end, and lapse with it: money is given back out of goodwill as well.
    in_force = find_eligible(history, Cohort(kind="in_force"), [NOW])
    assert [*in_force["account_id"]] == ["back", "back of the term", "kept"]
    assert told(history, churn("lapse", grace_days=0), accounts) == [1, 1, 1, 0]
    # Recurring revenue is that of the sale less that of the refund: where nothing is left, no downgrade is asked of.
    longer = posted(
        purchases=[
            (a, when, {**rest, **({"term_ends_at": END + days(1)} if "term_ends_at" in rest else {})})
            for a, when, rest in [*sold, *back]
        ]
    )
    assert shown(told(longer, churn("downgrade"), accounts[:3])) == [0, 0, None]
    lost = refunded("kept", -600, NOW + days(1), term_starts_at=begun, term_ends_at=END + days(1))
    sale = term(begun, END + days(1), account="kept", amount=1200, kind="new")
    assert told(posted(purchases=[sale, lost]), churn("downgrade"), ["kept"]) == [1]
