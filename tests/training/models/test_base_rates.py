"""Base rates by cutoff: whether they move, and the rule that would have foretold them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from training.models.base_rates import BaseRates

MONTH = 365 / 12


def count(log_odds, *, rows=1000, span=60.0):
    """Base rates of monthly cutoffs with these log-odds, so many rows each."""
    positives = np.round(expit(np.array(log_odds)) * rows).astype(int)
    labels = np.concatenate([np.arange(rows) < n for n in positives]).astype("float64")
    return BaseRates.from_labels(labels, np.repeat(np.arange(len(log_odds)) * MONTH, rows), span=span)


def season(months, growth=0.0):
    months = np.arange(months)
    return np.sin(2 * np.pi * months / 12) + growth * months


def test_the_base_rate_of_each_cutoff_is_counted():
    rates = count([-1.0, 0.5], rows=10_000)
    assert rates.log_odds == pytest.approx([-1.0, 0.5], abs=0.01)
    assert rates.days.tolist() == [0.0, MONTH]
    assert rates.variances == pytest.approx(1 / (10_000 * expit(rates.log_odds) * expit(-rates.log_odds)), rel=0.01)


def test_they_move_where_cutoffs_apart_differ_beyond_sampling():
    assert count(season(12)).is_moving
    assert not count(np.zeros(12)).is_moving
    few = np.random.default_rng(2).binomial(40, 0.3, 12)
    assert not count(logit(few / 40), rows=40).is_moving


def test_three_cutoffs_apart_are_too_few_to_say():
    assert count(season(8)).is_moving
    assert not count(season(6)).is_moving


def test_without_a_second_year_the_rule_is_a_year_ago():
    rates = count(season(11))
    assert rates.choose_rule() == "year ago"
    assert rates.forecast("year ago", 13 * MONTH) == pytest.approx(season(2)[1], abs=0.05)
    assert np.isnan(rates.forecast("year ago and growth", 13 * MONTH))


@pytest.mark.parametrize(
    ("log_odds", "rule"),
    [
        (season(30), "year ago"),
        (season(30, growth=-0.05), "year ago and growth"),
        (np.where(np.arange(30) < 8, 0.0, 1.5), "latest"),
    ],
)
def test_the_rule_is_the_one_that_would_have_foretold_the_companys_own_base_rates(log_odds, rule):
    assert count(log_odds).choose_rule() == rule


def test_growth_goes_on_into_the_years_to_come():
    rates = count(season(24, growth=-0.05))
    for month in (25, 30, 40):
        forecast = rates.forecast("year ago and growth", month * MONTH)
        assert forecast == pytest.approx(season(41, growth=-0.05)[month], abs=0.1)


def test_a_forecast_is_drawn_to_the_mean_by_as_much_as_sampling_explains():
    many, few = count(season(14)), count(season(14), rows=15)
    mean = few.spread.mean
    assert many.spread.weight > 0.95 > few.spread.weight
    assert abs(few.forecast("latest", 500) - mean) < abs(few.log_odds[-1] - mean)
