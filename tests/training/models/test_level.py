"""The intercept by time: the mean probability of the latest cohort is the base rate foretold."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from scipy.special import expit

from training.models.base_rates import BaseRates
from training.models.level import Level, fit_level

MONTH = 365 / 12
LOG_ODDS = np.random.default_rng(1).normal(0.5, 1.5, 2000)


def rates(log_odds):
    count = len(log_odds)
    return BaseRates(np.arange(count) * MONTH, np.asarray(log_odds), np.full(count, 1e-6), 60.0)


@pytest.fixture(scope="module")
def level():
    return fit_level(rates(np.sin(2 * np.pi * np.arange(11) / 12)), LOG_ODDS)


def test_the_mean_probability_is_the_base_rate_of_a_year_ago(level):
    for month in (12, 15, 18):
        (intercept,) = level.find_intercepts(np.array([month * MONTH]))
        expected = expit(np.sin(2 * np.pi * month / 12))
        assert expit(LOG_ODDS + intercept).mean() == pytest.approx(expected, abs=0.01)


def test_between_two_days_it_moves_along_a_straight_line(level):
    first, middle, last = level.find_intercepts(np.array([14.0, 14.5, 15.0]) * MONTH)
    assert middle == pytest.approx((first + last) / 2)


def test_where_no_cutoff_was_in_that_season_it_is_the_latest_and_unsure(level):
    missing = 11 * MONTH
    assert level.is_unsure(missing)
    assert level.find_intercepts(np.array([missing]))[0] == level.otherwise
    assert not level.is_unsure(12 * MONTH)
    assert level.find_intercepts(np.array([np.nan]))[0] == level.otherwise


def test_it_says_how_it_is_set_and_where_it_is_unsure(level):
    sentence = level.describe()
    assert "follows the base rate of the same season a year before. From 1971-01-01 on" in sentence
    assert "the level is unsure" in sentence
    assert "unsure" not in Level("latest", (), (), 0.0).describe()


def test_a_rule_without_a_season_has_one_intercept_and_is_sure():
    level = fit_level(rates(np.where(np.arange(30) < 8, 0.0, 1.5)), LOG_ODDS)
    assert (level.rule, level.days) == ("latest", ())
    assert set(level.find_intercepts(np.array([900.0, 2000.0]))) == {level.otherwise}
    assert not level.is_unsure(900.0)


def test_a_row_alone_gets_the_same_bits_as_among_others(level):
    days = np.linspace(300, 900, 77)
    alone = [level.find_intercepts(days[i : i + 1])[0] for i in range(77)]
    assert np.array_equal(alone, level.find_intercepts(days))


def test_it_is_the_same_after_json(level):
    assert Level.from_json(json.loads(json.dumps(asdict(level)))) == level
