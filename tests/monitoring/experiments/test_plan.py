"""The planned power against simulated experiments and against statsmodels."""

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import power_proportions_2indep

from monitoring.experiments.confidence_sequence import compute_width
from monitoring.experiments.plan import compute_power, compute_unit_variance
from tests.support.lots import simulate_power


@pytest.mark.parametrize(("units", "effect"), [(400, 0.2), (2_000, 0.1), (3_000, 0.06)])
def test_one_look_has_the_power_that_statsmodels_computes(units, effect):
    # About one half: what a first look expects.
    retention = 0.5 - effect / 2
    variance = compute_unit_variance(retention, effect, 0.5)
    critical = compute_width(np.array([float(units)]), np.array([variance]))[0] / np.sqrt(variance / units)
    alpha = 2 * norm.sf(critical)
    planned = compute_power(units, retention=retention, effect=effect, months=1).power[0]
    # The same as a test of two means whose common variance is a quarter of a unit's.
    z_test = NormalIndPower().power(effect / np.sqrt(variance / 4), units / 2, alpha, ratio=1.0)
    assert planned == pytest.approx(z_test, abs=0.015)
    assert planned == pytest.approx(power_proportions_2indep(effect, retention, units / 2, alpha=alpha).power, abs=0.02)


def test_looking_at_every_time_costs_power_that_one_look_has():
    planned = compute_power(50, retention=0.7, effect=0.1, months=24)
    once = power_proportions_2indep(0.1, 0.7, 600).power
    assert planned.power[-1] < once
    assert list(planned.power) == sorted(planned.power)


def test_power_grows_with_the_effect_and_falls_with_an_uneven_share():
    small, large = (compute_power(60, retention=0.7, effect=e, months=24) for e in (0.05, 0.2))
    assert large.power[-1] > 0.95 > small.power[-1]
    assert large.find_month() < 12
    assert small.find_month() is None
    uneven = compute_power(60, retention=0.7, effect=0.2, months=24, probability=0.95)
    assert uneven.power[-1] < large.power[-1]


def test_no_effect_is_claimed_falsely_by_fewer_than_one_in_twenty():
    assert compute_power(40, retention=0.7, effect=0.0, months=60).power[-1] < 0.05


@pytest.mark.parametrize(("units", "effect", "chance"), [(30, 0.2, 0.5), (100, 0.2, 0.95)])
def test_power_is_that_of_simulated_experiments(units, effect, chance):
    planned = np.array(compute_power(units, retention=0.7, effect=effect, probability=chance, months=24).power)
    simulated = simulate_power(units, effect=effect, chance=chance, months=24, runs=150)
    assert np.abs(planned - simulated).max() < 0.12
