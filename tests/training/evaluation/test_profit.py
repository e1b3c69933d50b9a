"""The expected maximum profit against the definition, integrated by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import beta

from features.settings.stakes import Stakes
from training.evaluation.profit import compute_maximum_profit, select_stakes

RETENTION = Stakes()
UPSELL = select_stakes(RETENTION, "upsell")
MILD = Stakes(value=50.0, offer=20.0, contact=5.0, alpha=2.0, beta=2.0)


def by_definition(positives, rows, stakes):
    """The mean, over the chance of a yes, of the best threshold's profit."""
    grid = (np.arange(20_000) + 0.5) / 20_000
    good = np.concatenate([[0], np.cumsum(positives[::-1])]) / rows.sum()
    bad = np.concatenate([[0], np.cumsum((rows - positives)[::-1])]) / rows.sum()
    earned = grid[:, None] * (stakes.value - stakes.offer) - stakes.contact
    profit = earned * good - (stakes.offer + stakes.contact) * bad
    best, weight = profit.argmax(axis=1), beta.pdf(grid, stakes.alpha, stakes.beta) / len(grid)
    return float(weight @ profit.max(axis=1)), float(weight @ (good + bad)[best])


@pytest.mark.parametrize("stakes", [RETENTION, UPSELL, MILD])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_is_the_mean_of_the_best_thresholds_profit(stakes, seed):
    random = np.random.default_rng(seed)
    rows = random.integers(0, 4, 80).astype(float)
    rows[0] = 1.0
    positives = np.minimum(rows, random.binomial(3, expit(np.linspace(-4, 1, 80)))).astype(float)
    found = compute_maximum_profit(positives, rows, stakes)
    profit, share = by_definition(positives, rows, stakes)
    assert found.profit == pytest.approx(profit, rel=1e-4)
    assert found.share == pytest.approx(share, abs=2e-3)


def test_a_perfect_ranking_earns_each_positive_by_hand():
    # Half are positives, and the mean chance of a yes is 0.3: half of 0.3 * (200 - 10) - 1. At next to no chance
    # of a yes nobody would be contacted, which is a billionth of the cases.
    found = compute_maximum_profit(np.array([0.0, 4.0]), np.array([4.0, 4.0]), RETENTION)
    assert found.profit == pytest.approx((0.3 * 190 - 1) / 2, rel=1e-6)
    assert found.share == pytest.approx(0.5, abs=1e-6)


def test_a_ranking_upside_down_earns_no_less_than_contacting_all_or_none():
    found = compute_maximum_profit(np.array([4.0, 0.0]), np.array([4.0, 4.0]), RETENTION)
    alike = compute_maximum_profit(np.array([4.0]), np.array([8.0]), RETENTION)
    assert found == alike


def test_without_positives_nobody_is_contacted():
    found = compute_maximum_profit(np.zeros(3), np.ones(3), RETENTION)
    assert (found.profit, found.share) == (0.0, 0.0)


def test_a_better_ranking_earns_more():
    random = np.random.default_rng(4)
    labels = (random.random(500) < 0.1).astype(float)
    better, worse = (labels[np.argsort(labels + noise * random.normal(size=500))] for noise in (0.4, 2.0))
    assert (
        compute_maximum_profit(better, np.ones(500), RETENTION).profit
        > compute_maximum_profit(worse, np.ones(500), RETENTION).profit
    )
