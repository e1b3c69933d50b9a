"""Computes the maximum profit of a campaign led by the scores, per account, at its best threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import betainc


@dataclass(frozen=True)
class Stakes:
    """Costs and earnings of a campaign, in the company's currency.

    A positive that is contacted says yes with a probability that is itself uncertain: Beta(alpha, beta). It then
    earns `value` less `offer`. A negative that is contacted takes the offer all the same.

    Args:
        value: Of a positive that says yes, such as the worth of a churner who stays; above `offer`.
        offer: Cost of what is given to those who take it; at least 0.
        contact: Cost of reaching one account; above 0.
        alpha: Of the beta distribution, above 0.
        beta: Likewise.
    """

    value: float = 200.0
    offer: float = 10.0
    contact: float = 1.0
    alpha: float = 6.0
    beta: float = 14.0


# The values at which the measure was published, so that figures compare; a mean of 30 % say yes.
RETENTION = Stakes()
# An upsell offers nothing for free: only the contact is lost on who would not have bought.
UPSELL = Stakes(offer=0.0)


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
