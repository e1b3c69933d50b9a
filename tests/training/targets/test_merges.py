"""Labels around a merge: each event is of the account that bears it, and nobody answers for the merged one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import isnan

import numpy as np
import pandas as pd
import pytest

from features.settings import Churn, ChurnLabel, Cohort, Upsell, UpsellLabel
from training.decisions.timing import compute_days_to_sale
from training.targets.cohorts import find_eligible
from training.targets.labels import compute_days_needed, compute_labels

MERGE = datetime(2024, 3, 1, tzinfo=UTC)
LONG_AGO, LATE = MERGE - timedelta(days=900), MERGE + timedelta(days=900)
US = timedelta(microseconds=1)
H, PAIRS = 30, 60
ANYONE = Cohort(kind="lifetime")


def days(number):
    return timedelta(days=number)


def churn(kind, *, lead=0, **rest):
    return Churn(cohort=ANYONE, label=ChurnLabel(kind=kind, **rest), horizons=(H,), lead_days=lead)


def upsell(kind, *, lead=0, **rest):
    return Upsell(cohort=ANYONE, label=UpsellLabel(kind=kind, **rest), horizons=(H,), lead_days=lead)


TARGETS = [
    *(churn(kind, lead=lead) for kind in ("lapse", "no_purchase", "no_usage", "downgrade") for lead in (0, 10)),
    *(upsell(k, ratio=1.1, lead=n) for k in ("expansion", "new_product", "spend_up", "recurring_up") for n in (0, 10)),
]
each = pytest.mark.parametrize("target", TARGETS, ids=lambda t: f"{t.label.kind}-{t.lead_days}")


def company(seed, name=lambda account, _: account):
    """Purchases and usage of pairs of accounts, A0 and B0 and so on; `name` tells whose an event of one is."""
    random = np.random.default_rng(seed)
    bought, used = [], []
    for i in range(14 * PAIRS):
        account, at = f"{'AB'[i % 2]}{i // 2 % PAIRS}", MERGE + days(float(random.uniform(-110, 120)))
        late, length = (days(int(n)) for n in random.integers([-5, 20], [10, 70]))
        term = {"term_starts_at": at - late, "term_ends_at": at - late + length}
        row = {"amount": i % 7 * 10, "kind": random.choice(["new", "expansion"]), "product": random.choice([*"pqrstu"])}
        bought.append((name(account, at), at, row | term))
    for i in range(4 * PAIRS):
        account, at = f"{'AB'[i % 2]}{i // 2 % PAIRS}", MERGE + days(float(random.uniform(-110, 120)))
        used.append((name(account, at), at, {"count": i % 3}))
    return {"purchases": bought, "usage": used}


def merged(tables):
    """As `sources.identity.borne` has it: copies of what was before the merge, later events passed to the survivor."""
    found = {"accounts": [(f"B{n}", LONG_AGO) for n in range(PAIRS)]}
    found["accounts"] += [(f"A{n}", LONG_AGO, {"merged_into": f"B{n}", "merged_at": MERGE}) for n in range(PAIRS)]
    for table, rows in tables.items():
        found[table] = []
        for account, at, row in rows:
            bearer = account.replace("A", "B")
            if at >= MERGE or bearer == account:
                found[table].append((bearer, at, row))
            else:
                copy = row | {"known_at": MERGE, "first_known_at": at}
                found[table] += [(account, at, row), (bearer, at, copy)]
    return found


def merged_company(seed):
    return merged(company(seed))


def company_of_survivors(seed):
    """As if all events had been of the survivors."""
    return company(seed, lambda account, _: account.replace("A", "B"))


def company_passed_on(seed):
    """As if later events alone had been of the survivors."""
    return company(seed, lambda account, at: account.replace("A", "B") if at >= MERGE else account)


def company_until_merge():
    made = company(3)
    return {
        "purchases": [r for r in made["purchases"] if r[1] < MERGE],
        "usage": [r for r in made["usage"] if r[1] < MERGE],
    }


def merged_company_until_merge():
    return merged(company_until_merge())


def told(history, target, as_of, who):
    rows = pd.DataFrame({"account_id": [f"{w}{n}" for w in who for n in range(PAIRS)]})
    rows["as_of"] = pd.Series([as_of] * len(rows)).astype("datetime64[us, UTC]")
    return compute_labels(history, target, H, rows, data_until=LATE).to_numpy()


@each
@pytest.mark.parametrize("after", [0, 5, 40])
def test_from_a_merge_on_the_survivors_label_is_as_if_all_had_been_its_own(kept, target, after):
    at = MERGE + days(after)
    found = told(kept(merged_company, 1), target, at, "B")
    assert 0 < np.nanmean(found) < 1
    np.testing.assert_array_equal(found, told(kept(company_of_survivors, 1), target, at, "B"))


@each
def test_a_label_across_a_merge_takes_no_event_from_before_it_for_the_survivors(kept, target):
    at = MERGE - days(15)
    found = told(kept(merged_company, 2), target, at, "B")
    assert 0 < np.nanmean(found) < 1
    np.testing.assert_array_equal(found, told(kept(company_passed_on, 2), target, at, "B"))


@each
def test_a_merge_after_the_window_and_its_grace_moves_no_label(kept, target):
    at = MERGE - days(compute_days_needed(target, H))
    found = told(kept(merged_company_until_merge), target, at, "AB")
    assert 0 < np.nanmean(found) < 1
    np.testing.assert_array_equal(found, told(kept(company_until_merge), target, at, "AB"))


@each
def test_a_merged_account_is_not_asked_where_its_label_would_look_past_the_merge(kept, target):
    history = kept(merged_company, 4)
    last = MERGE - days(compute_days_needed(target, H))
    assert not np.isnan(told(history, target, last, "A")).all()
    for at in (last + US, MERGE - US, MERGE, MERGE + days(20)):
        assert np.isnan(told(history, target, at, "A")).all()
        assert not np.isnan(told(history, target, at, "B")).all()


def test_a_copy_counts_only_once_the_survivor_is_told_of_it(posted):
    # Known to nobody until ten days after the merge: a purchase of q before it.
    late = {"known_at": MERGE + days(10), "first_known_at": MERGE + days(10), "product": "q"}
    accounts = [("B", LONG_AGO), ("A", LONG_AGO, {"merged_into": "B", "merged_at": MERGE})]
    bought = [("B", MERGE - days(9), late), ("B", MERGE + days(15), {"product": "q"})]
    rows = pd.DataFrame({"account_id": "B", "as_of": [MERGE + days(10) - US, MERGE + days(10)]})
    rows["as_of"] = rows["as_of"].astype("datetime64[us, UTC]")
    found = compute_labels(posted(accounts=accounts, purchases=bought), upsell("new_product"), H, rows, data_until=LATE)
    assert found.tolist() == [1.0, 0.0]


def test_copies_told_one_after_another_each_count_from_their_telling_on(posted):
    def term(starts, ends, telling=None):
        told_of = {} if telling is None else {"known_at": telling, "first_known_at": starts}
        return ("C", starts, {"term_starts_at": starts, "term_ends_at": ends} | told_of)

    # Of its own until day 100, of one merged account until day 120, of another, told at day 50, until day 140.
    zero = MERGE - days(60)
    own, first, second = (term(zero, zero + days(n)) for n in (100, 120, 140))
    first[2].update(known_at=zero + days(20), first_known_at=zero)
    second[2].update(known_at=zero + days(50), first_known_at=zero)
    history = posted(accounts=[("C", LONG_AGO)], purchases=[own, first, second])

    def lapsed(at, horizon):
        rows = pd.DataFrame({"account_id": ["C"], "as_of": pd.Series([at]).astype("datetime64[us, UTC]")})
        return compute_labels(history, churn("lapse"), horizon, rows, data_until=LATE).iloc[0]

    for at, ends in ((19, 100), (20, 120), (49, 120), (50, 140)):
        here = zero + days(at)
        assert (lapsed(here, ends - at), lapsed(here, ends - at + 1)) == (0.0, 1.0), at


def test_a_merged_account_is_in_no_cohort_from_its_merge_on(posted):
    history = posted(
        accounts=[("A", LONG_AGO, {"merged_into": "B", "merged_at": MERGE}), ("B", LONG_AGO)],
        purchases=[(a, MERGE - days(9), {"term_ends_at": MERGE + days(90)}) for a in "AB"],
        usage=[(a, MERGE - days(9)) for a in "AB"],
        lifetimes=[(a, LONG_AGO, {}) for a in "AB"],
    )
    instants = [MERGE - US, MERGE, MERGE + days(1)]
    for kind in ("in_force", "active", "using", "lifetime"):
        found = find_eligible(history, Cohort(kind=kind), instants)
        there = [set(found.loc[found["as_of"] == at, "account_id"]) for at in instants]
        assert there == [{"A", "B"}, {"B"}, {"B"}], kind


def test_days_to_a_sale_take_no_copy_for_a_sale_and_tell_nothing_of_a_merged_account(posted):
    accounts = [("B", LONG_AGO), ("A", LONG_AGO, {"merged_into": "B", "merged_at": MERGE})]
    copy = {"known_at": MERGE, "first_known_at": MERGE - days(5)}
    bought = [("A", MERGE - days(5)), ("B", MERGE - days(5), copy), ("B", MERGE + days(5))]
    rows = pd.DataFrame({"account_id": ["A", "B"], "as_of": pd.Timestamp(MERGE - days(10))})
    rows["as_of"] = rows["as_of"].astype("datetime64[us, UTC]")
    a, b = compute_days_to_sale(posted(accounts=accounts, purchases=bought), rows, within=30, data_until=LATE)
    assert isnan(a)
    assert b == 15.0
