"""What scores are worth in money, by cases worked out by hand."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pandas as pd
import pytest

from features import catalog
from training.decisions import recommendation, timing, value
from training.decisions.value import (
    Uplift,
    compute_revenue_at_risk,
    compute_upsell_value,
    compute_yearly_revenue,
    fit_uplift,
)

NAN = np.nan


def snapshots(**columns):
    return pd.DataFrame(columns, dtype="float64")


def bought(spend, days, recurring=NAN):
    return snapshots(spend_365d=[spend], days_since_first_purchase=[days], recurring_revenue_year=[recurring])


@pytest.mark.parametrize(
    ("frame", "wanted"),
    [
        (bought(1000, 700, recurring=1200), 1200),  # terms go before spend
        (bought(1000, 700), 1000),
        (bought(1000, 182.5), 2000),  # a customer for half a year
        (bought(1000, 3), 1000 * 365 / 90),  # a first order is no rate yet
        (bought(-50, 700), 0),  # refunds of an earlier year's purchases
        (bought(0, 900), 0),  # bought nothing for a year
        (bought(0, NAN), NAN),  # never bought: nothing is known of its worth
    ],
)
def test_yearly_revenue_is_recurring_or_else_a_years_spend(frame, wanted):
    assert compute_yearly_revenue(frame).tolist() == pytest.approx([wanted], nan_ok=True)


def test_without_purchases_no_revenue_is_known():
    assert np.isnan(compute_yearly_revenue(snapshots(usage_events_30d=[1.0, 2.0]))).all()


def test_at_risk_is_the_chance_of_leaving_times_the_revenue_after_it():
    frame = snapshots(recurring_revenue_year=[1200, 1200, NAN])
    chance = np.array([0.5, NAN, 0.5])
    assert compute_revenue_at_risk(frame, chance).tolist() == pytest.approx([600, NAN, NAN], nan_ok=True)
    assert compute_revenue_at_risk(frame, chance, days=73)[0] == pytest.approx(120)


def test_what_is_at_risk_does_not_hang_on_how_long_the_term_still_runs():
    frame = snapshots(recurring_revenue_year=[1200, 1200], days_to_renewal=[3, 300])
    first, second = compute_revenue_at_risk(frame, np.array([0.1, 0.1]))
    assert first == second


def test_uplift_is_what_positives_gained_for_each_unit_of_their_revenue():
    frame = snapshots(recurring_revenue_year=[100, 300, 1000, 500, NAN])
    gains = np.array([10.0, 70.0, 999.0, NAN, 40.0])
    labels = np.array([1.0, 1.0, 0.0, NAN, 1.0])
    assert fit_uplift(gains, labels, frame) == Uplift(share=80 / 400, amount=(10 + 70 + 40) / 3)


def test_uplift_without_revenue_known_is_an_amount_alone_and_without_positives_nothing():
    frame = snapshots(recurring_revenue_year=[NAN])
    assert fit_uplift(np.array([5.0]), np.array([1.0]), frame) == Uplift(share=None, amount=5.0)
    assert fit_uplift(np.array([5.0]), np.array([0.0]), frame) is None


def test_expected_upsell_grows_with_the_accounts_revenue_where_that_is_known():
    frame = snapshots(recurring_revenue_year=[100, 1000, NAN])
    chance = np.array([0.5, 0.5, 0.5])
    assert compute_upsell_value(frame, chance, Uplift(share=0.2, amount=40)).tolist() == pytest.approx([10, 100, 20])
    assert compute_upsell_value(frame, chance, Uplift(share=None, amount=40)).tolist() == pytest.approx([20, 20, 20])


@pytest.mark.parametrize("module", [recommendation, timing, value])
def test_every_column_that_is_read_is_a_feature(module):
    # One that is not there counts as not known: a misspelt name would go unnoticed.
    read = set(re.findall(r'column\(frame, "(\w+)"\)', inspect.getsource(module)))
    assert read <= set(module.COLUMNS) <= set(catalog.FEATURES)
