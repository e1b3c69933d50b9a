"""Each figure against a value by hand; weights count as rows would."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from training.evaluation.metrics import FIGURES, RankedScores

LABELS = np.array([1.0, 0, 1, 0, 0, 0, 0, 1, 0, 0])
SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])


def named(ranking, weights=None):
    return dict(zip(FIGURES, ranking.compute_figures(weights), strict=True))


def test_the_figures_by_hand():
    found = named(RankedScores(LABELS, SCORES, values=np.array([10.0, 99, 20, 99, 99, 99, 99, 70, 99, 99])))
    assert found["auc"] == pytest.approx((7 + 6 + 2) / 21)
    assert found["ap"] == pytest.approx((1 + 2 / 3 + 3 / 8) / 3)
    squares = 0.01 + 0.64 + 0.09 + 0.36 + 0.25 + 0.16 + 0.09 + 0.64 + 0.01 + 0
    assert found["brier"] == pytest.approx(squares / 10)
    assert found["brier_skill"] == pytest.approx(1 - squares / 10 / 0.21)
    assert found["ece"] == pytest.approx((0.1 + 0.8 + 0.3 + 0.6 + 0.5 + 0.4 + 0.3 + 0.8 + 0.1) / 10)
    # Of the highest half row, the highest row and the highest two.
    assert [found[f"capture_{s}"] for s in (5, 10, 20)] == pytest.approx([1 / 6, 1 / 3, 1 / 3])
    assert [found[f"lift_{s}"] for s in (5, 10, 20)] == pytest.approx([10 / 3, 10 / 3, 5 / 3])
    assert found["value_captured_10"] == pytest.approx(10 / 100)


def test_of_a_tie_its_part_is_caught():
    ranking = RankedScores(np.array([1.0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), np.repeat([0.9, 0.1], 5))
    # A fifth of the rows is two of the five that tie, which hold both positives.
    assert named(ranking)["capture_20"] == pytest.approx(2 / 5)
    assert ranking.compute_auc() == pytest.approx(1 - 3 / 8 / 2)


def test_the_order_of_rows_that_tie_matters_to_nothing_that_ranks():
    random = np.random.default_rng(1)
    labels, scores = (random.random(300) < 0.3).astype(float), random.random(300).round(1)
    mixed = random.permutation(300)
    one, other = named(RankedScores(labels, scores)), named(RankedScores(labels[mixed], scores[mixed]))
    for name in set(FIGURES) - {"ece", "value_captured_10"}:
        assert one[name] == pytest.approx(other[name]), name


@pytest.mark.parametrize("decimals", [1, 12])
def test_weights_count_as_rows_would(decimals):
    random = np.random.default_rng(2)
    labels, scores = (random.random(200) < 0.3).astype(float), random.random(200).round(decimals)
    values = random.exponential(size=200)
    weights = random.integers(0, 4, 200).astype(float)
    picked = np.repeat(np.arange(200), weights.astype(int))
    weighted = named(RankedScores(labels, scores, values=values), weights)
    repeated = named(RankedScores(labels[picked], scores[picked], values=values[picked]))
    for name in set(FIGURES) - {"ece"}:  # whose bins are those of the rows as they were given
        assert weighted[name] == pytest.approx(repeated[name]), name
    assert weighted["auc"] == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights))
    assert weighted["ap"] == pytest.approx(average_precision_score(labels, scores, sample_weight=weights))


def test_refunds_and_holes_are_worth_nothing():
    ranking = RankedScores(LABELS, SCORES, values=np.array([np.nan, 1, -50.0, 1, 1, 1, 1, 70, 1, 1]))
    assert named(ranking)["value_captured_10"] == 0.0


@pytest.mark.parametrize("values", [None, np.zeros(10), np.where(LABELS > 0, -1.0, 5.0)])
def test_without_money_among_the_positives_no_value_is_captured(values):
    assert math.isnan(named(RankedScores(LABELS, SCORES, values=values))["value_captured_10"])


def test_an_auc_of_one_class_is_nan():
    assert math.isnan(RankedScores(LABELS, SCORES).compute_auc(LABELS))
    assert math.isnan(RankedScores(LABELS, SCORES).compute_auc(1 - LABELS))
