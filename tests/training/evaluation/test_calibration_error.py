"""Probabilities held against what came true, and how far chance alone would take them apart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from training.evaluation.calibration_error import compute_reliability, make_bins


def drawn(accounts, *, each=1, seed=1):
    """Labels that come true as often as the scores say; the rows of an account share both."""
    random = np.random.default_rng(seed)
    scores = expit(-1.5 + random.normal(size=accounts))
    labels = (random.random(accounts) < scores).astype(float)
    return np.repeat(labels, each), np.repeat(scores, each), np.repeat(np.arange(accounts), each)


def test_calibration_error_of_scores_that_come_true_is_nothing():
    labels = np.tile([1.0, 0.0, 0.0, 0.0, 0.0], 200)
    assert make_bins(labels, np.full(1000, 0.2)).compute_error() == pytest.approx(0.0, abs=1e-12)


def test_calibration_error_is_how_far_the_scores_are_off():
    labels = np.tile([1.0, 0.0, 0.0, 0.0, 0.0], 200)
    assert make_bins(labels, np.full(1000, 0.5)).compute_error() == pytest.approx(0.3)
    parted = np.repeat([1.0, 0.0], 500)
    assert make_bins(parted, np.repeat([0.9, 0.2], 500)).compute_error() == pytest.approx((0.1 + 0.2) / 2)
    assert make_bins(parted, parted).compute_error() == 0.0


def test_weights_count_as_rows_would():
    labels, scores, _ = drawn(50)
    weights = np.random.default_rng(2).integers(0, 3, 50).astype(float)
    found, residuals = make_bins(labels, scores), weights * (scores - labels)
    parts = np.split(np.argsort(scores, kind="stable"), found.edges[1:])
    assert found.compute_error(weights) == pytest.approx(sum(abs(residuals[p].sum()) for p in parts) / weights.sum())


def test_reliability_has_ten_bins_of_equal_size_from_low_to_high():
    labels, scores, accounts = drawn(1005)
    found = compute_reliability(labels, scores, accounts)
    assert sorted(found["rows"]) == [100] * 5 + [101] * 5
    assert found["score"].is_monotonic_increasing
    assert np.average(found["share"], weights=found["rows"]) == pytest.approx(labels.mean())


def test_reliability_of_fewer_rows_than_bins_has_a_bin_a_row():
    found = compute_reliability(np.array([0.0, 1.0]), np.array([0.1, 0.9]), np.arange(2))
    assert found[["rows", "score", "share"]].to_dict("list") == {
        "rows": [1, 1],
        "score": [0.1, 0.9],
        "share": [0.0, 1.0],
    }


def test_the_interval_of_a_bin_is_wilsons():
    labels = np.tile([1.0, 0.0, 0.0, 0.0], 250)
    found = compute_reliability(labels, np.linspace(0, 1, 1000), np.arange(1000))
    # 25 of 100: 17.5 % to 34.3 %, by Wilson's formula.
    assert found.loc[0, ["low", "high"]].tolist() == pytest.approx([0.1755, 0.3430], abs=1e-4)


def test_rows_that_are_copies_of_each_other_narrow_no_interval():
    labels, scores, accounts = drawn(1000)
    once = compute_reliability(labels, scores, accounts)
    again = compute_reliability(*(np.repeat(x, 4) for x in (labels, scores, accounts)))
    assert again["rows"].tolist() == [400] * 10
    assert again[["low", "high"]].to_numpy() == pytest.approx(once[["low", "high"]].to_numpy())


def test_a_bin_without_positives_has_an_interval_all_the_same():
    found = compute_reliability(np.zeros(100), np.linspace(0, 1, 100), np.arange(100))
    assert (found["low"] == 0).all()
    assert found["high"].between(0.2, 0.4).all()


def test_a_calibrated_models_error_exceeds_the_noise_about_once_in_twenty():
    beyond = 0
    for seed in range(200):
        labels, scores, accounts = drawn(400, each=3, seed=seed)
        beyond += make_bins(labels, scores).compute_error() > make_bins(labels, scores).estimate_noise(
            accounts, seed=seed
        )
    assert 2 <= beyond <= 20  # of 200, 10 expected: outside comes by chance once in five hundred times


def test_a_model_that_is_off_exceeds_the_noise():
    labels, scores, accounts = drawn(2000)
    found = make_bins(labels, scores**0.8)
    assert found.compute_error() > found.estimate_noise(accounts, seed=1)


def test_of_independent_rows_the_noise_is_that_of_labels_drawn_by_the_scores():
    labels, scores, accounts = drawn(5000)
    found, random = make_bins(labels, scores), np.random.default_rng(8)
    errors = [make_bins((random.random(5000) < scores).astype(float), scores).compute_error() for _ in range(400)]
    assert found.estimate_noise(accounts, seed=1) == pytest.approx(np.quantile(errors, 0.95), rel=0.12)


def test_the_noise_is_that_of_accounts_not_of_rows():
    labels, scores, accounts = drawn(1000, each=4)
    found = make_bins(labels, scores)
    assert found.estimate_noise(accounts, seed=1) > 1.6 * found.estimate_noise(np.arange(4000), seed=1)
