"""The product's one AUC agrees with scikit-learn, with ties, weights and infinities."""

import math

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from features.core.auc import auc


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("decimals", [0, 1, 12])
def test_it_is_scikit_learns_on_random_ties(seed, decimals):
    random = np.random.default_rng(seed)
    count = int(random.integers(5, 400))
    labels = np.concatenate([[0.0, 1.0], (random.random(count) < 0.3).astype(float)])
    scores = random.random(count + 2).round(decimals)
    weights = random.exponential(size=count + 2)
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert auc(labels, scores, weights) == pytest.approx(
        roc_auc_score(labels, scores, sample_weight=weights), abs=1e-12
    )


@pytest.mark.parametrize("decimals", [1, 12])
def test_it_is_the_rank_sum_to_the_last_bit(decimals):
    random = np.random.default_rng(3)
    labels, scores = random.integers(0, 2, 5000), random.random(5000).round(decimals)
    n, m = labels.sum(), (1 - labels).sum()
    assert auc(labels, scores) == (rankdata(scores)[labels == 1].sum() - n * (n + 1) / 2) / (n * m)


def test_equal_infinities_are_a_tie():
    assert auc(np.array([0, 1, 1, 0]), np.array([-np.inf, -np.inf, np.inf, 3.0])) == (0.5 + 0 + 1 + 1) / 4


@pytest.mark.parametrize("labels", [np.zeros(3), np.ones(3), np.zeros(0)])
def test_with_one_class_alone_it_is_undefined(labels):
    scores = np.arange(len(labels), dtype=float)
    assert math.isnan(auc(labels, scores))
    assert auc(labels, scores, undefined=0.5) == 0.5
