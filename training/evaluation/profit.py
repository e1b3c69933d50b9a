"""Computes the maximum profit of a campaign led by the scores, per account, at its best threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import betainc

from features.settings.stakes import Stakes


def select_stakes(stakes: Stakes, target: str) -> Stakes:
    """Return the stakes of a target: an upsell offers nothing for free, so that only the contact can be lost."""
    return stakes if target == "churn" else stakes.model_copy(update={"offer": 0.0})


@dataclass(frozen=True)
class MaximumProfit:
    """The most that a campaign led by a ranking can earn.

    Args:
        profit: Expected maximum profit, a row of the test, in the currency of the stakes; at least 0.
        share: Of the rows that would be contacted for it.
    """

    profit: float
    share: float


def compute_maximum_profit(positives: np.ndarray, rows: np.ndarray, stakes: Stakes) -> MaximumProfit:
    """Compute the expected maximum profit measure for churn (EMPC).

    A positive that is contacted says yes with a probability that is itself uncertain: Beta(alpha, beta). It then
    earns `value` less `offer`. A negative that is contacted takes the offer all the same.

    For one chance of a yes, g, contacting an account that is a positive with probability p earns
    `p * (g * (value - offer) - contact) - (1 - p) * (offer + contact)`. The best threshold contacts those for
    whom it is above 0, along the convex hull of the ROC curve; the measure is its mean over g. The hull's
    probabilities p are those of an isotonic regression of the labels on the scores, and the mean over g is two
    incomplete beta functions for each piece of the hull: nothing is approximated.

    Source: Verbraken, Verbeke and Baesens, "A novel profit maximizing metric for measuring classification
    performance of customer churn prediction models", IEEE TKDE 25 (2013), equations 12 to 15. The hull by
    isotonic regression: Fawcett and Niculescu-Mizil, "PAV and the ROC convex hull", Machine Learning 68 (2007).

    Args:
        positives: (n,) positives at each score, from the lowest score to the highest.
        rows: (n,) all rows there; more than 0 in all.
        stakes: Of the campaign.
    """
    has_rows = rows > 0
    positives, rows = positives[has_rows], rows[has_rows]
    hull = isotonic_regression(positives / rows, weights=rows)
    starts = hull.blocks[:-1]
    share = np.add.reduceat(rows, starts) / rows.sum()
    chance = hull.x[starts].clip(0.0, 1.0)
    gain = stakes.value - stakes.offer
    lost = stakes.contact + (1.0 - chance) * stakes.offer
    # The least chance of a yes at which this piece is worth contacting; without positives there is none.
    least = np.divide(lost, chance * gain, out=np.ones_like(chance), where=chance > 0).clip(0.0, 1.0)
    worth = 1.0 - betainc(stakes.alpha, stakes.beta, least)
    mean = stakes.alpha / (stakes.alpha + stakes.beta)
    yes = mean * (1.0 - betainc(stakes.alpha + 1.0, stakes.beta, least))
    return MaximumProfit(float(share @ (gain * chance * yes - lost * worth)), float(share @ worth))
