"""Probabilities that come true as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from training.models import calibration
from training.models.calibration import Calibrator, Fold


def drawn(slope, intercept, *, rows=20_000, seed=1):
    """Log-odds of a model, and labels that come true by another slope and intercept."""
    random = np.random.default_rng(seed)
    log_odds = random.normal(-1, 1.5, rows)
    return log_odds, (random.random(rows) < expit(slope * log_odds + intercept)).astype(float)


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.4, -0.5), (2.0, 1.0)])
def test_it_finds_by_how_much_the_log_odds_can_be_believed(slope, intercept):
    found = calibration.fit_calibrator(*drawn(slope, intercept))
    assert found.slope == pytest.approx(slope, rel=0.06)
    assert found.intercept == pytest.approx(intercept, abs=0.06)


def test_what_is_calibrated_comes_true_as_often_as_it_says():
    log_odds, labels = drawn(0.4, -0.5)
    probabilities = calibration.fit_calibrator(log_odds, labels)(log_odds)
    assert probabilities.mean() == pytest.approx(labels.mean(), abs=1e-4)
    top = probabilities > 0.5
    assert labels[top].mean() == pytest.approx(probabilities[top].mean(), abs=0.03)
    assert expit(log_odds)[top].mean() > labels[top].mean() + 0.1


def test_no_other_slope_and_intercept_are_likelier():
    log_odds, labels = drawn(0.7, -0.2, rows=500)
    best = calibration.fit_calibrator(log_odds, labels)

    def loss(slope, intercept):
        z = slope * log_odds + intercept
        return np.mean(np.logaddexp(0, z) - labels * z)

    least = loss(best.slope, best.intercept)
    assert all(least <= loss(best.slope + s, best.intercept + i) for s in (-0.05, 0, 0.05) for i in (-0.05, 0, 0.05))


def test_ranks_are_kept_even_where_the_model_was_upside_down():
    log_odds, labels = drawn(-1.0, 0.0)
    calibrator = calibration.fit_calibrator(log_odds, labels)
    assert calibrator.slope > 0
    assert (np.diff(calibrator(np.sort(log_odds))) > 0).all()


def test_perfectly_parted_labels_give_finite_numbers():
    calibrator = calibration.fit_calibrator(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    assert np.isfinite([calibrator.slope, calibrator.intercept]).all()
    assert ((calibrator(np.array([-2.0, 2.0])) > 0) & (calibrator(np.array([-2.0, 2.0])) < 1)).all()


def test_a_model_that_says_the_same_of_all_is_brought_to_the_base_rate():
    labels = np.array([1.0] * 30 + [0.0] * 70)
    assert calibration.fit_calibrator(np.full(100, -3.0), labels)(np.array([-3.0]))[0] == pytest.approx(0.3, abs=1e-3)


@pytest.mark.parametrize("rate", [0.001, 0.07, 0.5, 0.97])
def test_centred_keeps_the_slope_and_brings_the_mean_to_the_rate(rate):
    log_odds, _ = drawn(1, 0)
    found = calibration.recentre(Calibrator(0.6, 5.0), log_odds, rate)
    assert found.slope == 0.6
    assert found(log_odds).mean() == pytest.approx(rate, rel=1e-9)


def test_probabilities_keep_the_shape_of_the_log_odds():
    log_odds = np.array([[0.0, 1.0], [2.0, -50.0]])
    assert np.array_equal(Calibrator(1.0, 0.0)(log_odds), expit(log_odds))
    assert logit(Calibrator(2.0, 1.0)(np.array([0.5]))) == pytest.approx([2.0])


def test_the_share_goes_to_the_model_that_tells_and_is_even_between_two_as_good():
    truth, labels = drawn(1.0, 0.0)
    noise = np.random.default_rng(5).normal(0, 1, (2, len(truth)))

    def choose(*pairs):
        return calibration.choose_linear_weight([Fold(*pair, labels, np.zeros(len(labels))) for pair in pairs])

    assert choose((truth, noise[0])) == 0.0
    assert choose((noise[0], truth)) == 1.0
    assert 0.3 <= choose((truth + noise[0], truth + noise[1])) <= 0.7
    assert choose((truth, truth)) == 0.5
    assert 0.0 < choose((truth, noise[0]), (noise[1], truth)) < 1.0


def test_the_slope_is_of_the_scores_within_a_group_and_not_of_the_groups():
    log_odds, labels = drawn(0.7, 0.0)
    groups = np.arange(len(labels)) % 3
    moved = log_odds + np.array([-3.0, 0.0, 3.0])[groups]
    assert calibration.fit_slope(moved, labels, groups) == pytest.approx(0.7, rel=0.06)
    assert calibration.fit_calibrator(moved, labels).slope < 0.5
    one = calibration.fit_slope(log_odds, labels, np.zeros(len(labels)))
    assert one == pytest.approx(calibration.fit_calibrator(log_odds, labels).slope, rel=1e-3)
