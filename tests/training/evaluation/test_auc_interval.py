"""The AUC's interval in closed form: that of the bootstrap by account, and of chance where there is no signal."""

import numpy as np
import pytest

from features.core.auc import auc
from training.evaluation import bootstrap
from training.evaluation.auc_interval import compute_auc_interval
from training.evaluation.metrics import RankedScores


def sample(seed, accounts=200, rows=3):
    random = np.random.default_rng(seed)
    risk = np.repeat(random.normal(size=accounts), rows)
    labels = (risk + random.normal(size=len(risk)) > 1).astype(float)
    return labels, (risk + random.normal(size=len(risk))).round(1), np.repeat(np.arange(accounts), rows)


def test_it_is_close_to_the_bootstrap_by_account():
    labels, scores, accounts = sample(1)
    area, low, high = compute_auc_interval(labels, scores, accounts)
    ranked = RankedScores(labels, scores)
    drawn = bootstrap.bootstrap_figures(labels, accounts, lambda w: [ranked.compute_auc(w)], seed=3)
    assert area == pytest.approx(auc(labels, scores))
    assert (low, high) == pytest.approx(bootstrap.compute_interval(drawn[:, 0]), abs=0.012)


def test_rows_of_one_account_are_no_independent_witnesses():
    labels, scores, accounts = sample(2)
    _, low, high = compute_auc_interval(labels, scores, accounts)
    _, closer, nearer = compute_auc_interval(labels, scores, np.arange(len(labels)))
    assert high - low > 1.05 * (nearer - closer)


def test_it_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(4)
    inside = 0
    for _ in range(300):
        labels = (random.random(150) < 0.2).astype(float)
        _, low, high = compute_auc_interval(labels, random.normal(size=150), np.arange(150))
        inside += low <= 0.5 <= high
    assert 0.91 <= inside / 300 <= 0.98
