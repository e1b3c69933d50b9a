from datetime import date

import numpy as np
import pandas as pd
import pytest

from features.samples import causes
from features.samples.causes import PLANS, State
from features.samples.terms import TERMS
from features.samples.truth import HORIZONS, compute_chances

TARGETS = (("churned", "p_churn"), ("expanded", "p_upsell"))


def number(day):
    return (day - date(1970, 1, 1)).days


def chance(traits, state, as_of, horizon):
    found = compute_chances(traits, np.array([state]), number(as_of), horizon)
    return found.churn[0], found.upsell[0]


def forward(traits, state, as_of, horizon):
    """The same chances by pushing the distribution over states forwards: an independent calculation."""
    plan, term = traits.plan[0], TERMS.index(traits.terms.length[0])
    here = np.eye(len(State))[state]
    idle = here.copy()  # of being in a state, in force, and having bought nothing
    lapsed = idle_lapsed = 0.0
    for day in range(number(as_of), number(as_of) + horizon):
        if traits.terms.ends(day)[0]:
            leave = causes.LEAVE[:, term, plan]
            lapsed, idle_lapsed = lapsed + here @ leave, idle_lapsed + idle @ leave
            here, idle = here * (1 - leave), idle * (1 - leave)
        move = causes.NEAR if traits.terms.nearing(day)[0] else causes.CALM
        here, idle = here @ move, (idle @ move) * (1 - causes.EXPAND[:, plan])
    return lapsed, 1 - idle.sum() - idle_lapsed


@pytest.mark.parametrize("months", TERMS)
@pytest.mark.parametrize("plan", PLANS)
def test_backward_and_forward_calculation_agree(contract, months, plan):
    traits = contract(date(2023, 8, 30), months=months, plan=plan, indexed=True)
    for state in State:
        for as_of in (date(2024, 2, 1), date(2024, 6, 20)):
            assert chance(traits, state, as_of, 90) == pytest.approx(forward(traits, state, as_of, 90), abs=1e-12)


def test_the_horizon_is_half_open_at_both_ends(contract):
    traits = contract(date(2024, 3, 10), months=12)
    leave = causes.LEAVE[State.DORMANT, 2, 1]
    assert chance(traits, State.DORMANT, date(2025, 2, 8), 30)[0] == 0  # ends on the day after the horizon
    assert chance(traits, State.DORMANT, date(2025, 2, 9), 30)[0] > 0.2  # ends on its last day
    assert chance(traits, State.DORMANT, date(2025, 3, 10), 1)[0] == pytest.approx(leave)  # ends at as_of
    assert chance(traits, State.DORMANT, date(2025, 3, 11), 90)[0] == 0  # ended the day before


def test_every_state_is_a_probability_of_going_somewhere():
    for matrix in (causes.CALM, causes.NEAR):
        assert (matrix >= 0).all()
        assert matrix.sum(axis=1) == pytest.approx(np.ones(len(State)))
    assert ((causes.LEAVE > 0) & (causes.LEAVE < 1)).all()


@pytest.fixture(scope="module")
def known(silent):
    return silent(4500, 24, 11).truth()


def surprise(rows, outcome, p):
    """How many standard deviations the number of outcomes is away from what was promised."""
    return (rows[outcome].astype(float) - rows[p]).sum() / np.sqrt((rows[p] * (1 - rows[p])).sum())


def test_truth_is_calibrated_in_every_tenth_and_every_state(known):
    for horizon in HORIZONS:
        # Horizons that do not overlap, so that rows of one account are uncorrelated surprises.
        rows = known[known[f"churned_{horizon}d"].notna() & (known["month"] % (horizon // 30) == 0)]
        for name, chance_name in TARGETS:
            outcome, p = f"{name}_{horizon}d", f"{chance_name}_{horizon}d"
            open_rows = rows[rows[p] > 0]
            tenths = pd.qcut(open_rows[p], 10, duplicates="drop")
            parts = [part for by in (tenths, open_rows["state"]) for _, part in open_rows.groupby(by, observed=True)]
            found = np.array([surprise(part, outcome, p) for part in parts])
            assert len(found) >= 15
            assert np.abs(found).max() < 3.5
            assert abs(surprise(open_rows, outcome, p)) < 2.6
            wrong = open_rows.assign(**{p: open_rows[p] * 1.2})
            assert abs(surprise(wrong, outcome, p)) > 2.6  # so a fifth too much would be seen


def test_what_cannot_happen_does_not(known):
    for horizon in HORIZONS:
        rows = known[known[f"churned_{horizon}d"].notna()]
        impossible = rows[f"p_churn_{horizon}d"] == 0
        assert impossible.sum() > 1000
        assert not rows.loc[impossible, f"churned_{horizon}d"].any()
        last_day = rows[rows["days_to_term_end"] == horizon - 1]
        assert (last_day[f"p_churn_{horizon}d"] > 0).all()
    ends_now = known[known["days_to_term_end"] == 0]
    assert len(ends_now) > 100
    assert ends_now["churned_30d"].any()


def test_outcomes_are_unknown_where_the_data_end_first(known):
    last = known.groupby("as_of").first()
    until = last.index.max()
    for horizon in HORIZONS:
        assert (last[f"churned_{horizon}d"].isna() == (last.index + horizon > until)).all()
        assert (last[f"expanded_{horizon}d"].isna() == (last.index + horizon > until)).all()


def test_base_rates_and_the_oracle_are_as_intended(known):
    rows = known[known["churned_90d"].notna()]
    assert rows["churned_90d"].astype(float).mean() == pytest.approx(0.10, abs=0.02)
    assert rows["expanded_90d"].astype(float).mean() == pytest.approx(0.08, abs=0.02)
    lost = rows[rows["churned_90d"].astype(bool)]
    shares = lost["state"].value_counts(normalize=True)
    assert shares.max() < 0.4  # many causes
    assert 0.82 < _auc(rows["churned_90d"], rows["p_churn_90d"]) < 0.90
    assert 0.75 < _auc(rows["expanded_90d"], rows["p_upsell_90d"]) < 0.85


def _auc(label, score):
    from sklearn.metrics import roc_auc_score

    return roc_auc_score(label.astype(bool), score)
