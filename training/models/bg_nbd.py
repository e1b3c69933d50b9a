"""BG/NBD, a model of buying that needs only how often, how recently and for how long an account has bought.

While alive, an account buys at random at its own rate (gamma over accounts); after each order it may leave for
good with its own chance (beta over accounts).
Source: Fader, Hardie and Lee, "Counting your customers the easy way: an alternative to the Pareto/NBD model",
Marketing Science 24 (2005); the equations' numbers are those of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import betaln, expit, gammaln, hyp2f1

COLUMNS = ("orders_in_all", "days_since_first_purchase", "days_since_purchase")
_BOUND = 10.0  # of the parameters' logarithms
# Pulls a parameter that the data leave open, as the dropout's where nobody orders twice, back to 1.
_PENALTY = 1e-3


@dataclass(frozen=True)
class Buyers:
    """Purchase histories of n accounts.

    Args:
        repeats: (n,) orders after the first, x in the paper.
        last: (n,) days from the first order to the last, t_x.
        age: (n,) days from the first order to `as_of`, T; at least `last`.
    """

    repeats: np.ndarray
    last: np.ndarray
    age: np.ndarray

    @classmethod
    def from_snapshots(cls, frame: pd.DataFrame) -> Self:
        """Read buyers from snapshots with the columns COLUMNS of accounts that have ordered."""
        orders, age, since = (frame[c].to_numpy(dtype="float64") for c in COLUMNS)
        # Two orders in one instant are one visit to the model: without any time between them nothing was repeated.
        repeats = np.where(age > since, np.maximum(orders - 1, 0), 0.0)
        return cls(repeats, np.maximum(age - since, 0.0), age)


@dataclass(frozen=True)
class BgNbd:
    """The four parameters of BG/NBD, all above 0.

    Args:
        r: Shape of the rates' gamma.
        alpha: Its rate, in days.
        a: First of the dropout's beta.
        b: Second.
    """

    r: float
    alpha: float
    a: float
    b: float

    def estimate_alive(self, buyers: Buyers) -> np.ndarray:
        """Return the (n,) probability of being alive at `as_of` (equation 11 of the authors' note of 2008)."""
        return expit(-self._odds_gone(buyers))

    def estimate_silence(self, buyers: Buyers, days: float, *, lead: float = 0.0) -> np.ndarray:
        """Return the (n,) probability of no order in `days` after `lead` days: gone by then, or alive and late.

        With rate l and dropout p, who is alive is so after the lead too with chance exp(-l p lead), and then orders
        with chance 1 - exp(-l days). Its mean over the l and p that the account has shown is a difference of two
        hypergeometrics, 1 and 1 without a lead.
        """
        age = self.alpha + buyers.age
        late = np.exp((self.r + buyers.repeats) * np.log(age / (age + days)))
        stays, stays_later = (self._stays(buyers, lead / t) if lead else 1.0 for t in (age, age + days))
        return 1.0 - self.estimate_alive(buyers) * (stays - late * stays_later).clip(0.0, 1.0)

    def _stays(self, buyers: Buyers, ratio: np.ndarray) -> np.ndarray:
        """Return the (n,) mean of (1 + p ratio) ** -(r + x) over the dropout p after x chances to leave."""
        b, power = self.b + buyers.repeats, self.r + buyers.repeats
        whole = self.a + b
        # Of the two forms of the function that which has no large number in it, however often the account ordered.
        with np.errstate(over="ignore", invalid="ignore"):
            exact = (1 + ratio) ** -self.a * hyp2f1(whole - power, self.a, whole, ratio / (1 + ratio))
        approximate = np.exp(-power * np.log1p(ratio * self.a / whole))
        return np.where(np.isfinite(exact), exact, approximate)

    def estimate_orders(self, buyers: Buyers, days: float, *, lead: float = 0.0) -> np.ndarray:
        """Return the (n,) expected number of orders in `days` that begin after `lead` days."""
        early = self._expected(buyers, lead) if lead else 0.0
        return (self._expected(buyers, lead + days) - early).clip(0.0)

    def _expected(self, buyers: Buyers, days: float) -> np.ndarray:
        """Return the (n,) expected number of orders in `days` from `as_of` on (equation 10)."""
        x, age = buyers.repeats, self.alpha + buyers.age
        c = self.a + self.b + x - 1.0
        # Equation 10 divides by a - 1: so near to 1 the limit is as good from its side.
        a = self.a if abs(self.a - 1.0) > 1e-6 else 1.0 + 1e-6
        still = np.exp((self.r + x) * np.log(age / (age + days)))
        # Hundreds of orders overflow the hypergeometric; by then the account's own rate is known.
        with np.errstate(over="ignore", invalid="ignore"):
            grown = still * hyp2f1(self.r + x, self.b + x, c, days / (age + days))
            exact = c / (a - 1.0) * (1.0 - grown)
        approximate = (self.r + x) / age * days
        return np.where(np.isfinite(exact), exact, approximate).clip(0.0) * self.estimate_alive(buyers)

    def _odds_gone(self, buyers: Buyers) -> np.ndarray:
        """Return the logarithm of the odds of having left; minus infinity for an account that never ordered again."""
        x = buyers.repeats
        with np.errstate(divide="ignore", invalid="ignore"):
            log = np.log(self.a / (self.b + x - 1.0)) + (self.r + x) * np.log(
                (self.alpha + buyers.age) / (self.alpha + buyers.last)
            )
        return np.where(x > 0, log, -np.inf)


def fit_bg_nbd(buyers: Buyers) -> BgNbd:
    """Fit the parameters by maximum likelihood (equation 6), with a penalty too small to matter where data decide.

    Args:
        buyers: At least one account.
    """
    scale = max(1.0, float(np.median(buyers.age)))
    x, last, age = buyers.repeats, buyers.last / scale, buyers.age / scale

    def loss(logs: np.ndarray) -> float:
        return _compute_penalised_loss(logs, x, last, age)

    best = minimize(loss, np.zeros(4), method="L-BFGS-B", bounds=[(-_BOUND, _BOUND)] * 4)
    r, alpha, a, b = np.exp(best.x)
    return BgNbd(float(r), float(alpha) * scale, float(a), float(b))


def _compute_penalised_loss(logs: np.ndarray, x: np.ndarray, last: np.ndarray, age: np.ndarray) -> float:
    r, alpha, a, b = np.exp(logs)
    bought = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    stayed = betaln(a, b + x) - betaln(a, b) - (r + x) * np.log(alpha + age)
    # Who has left did so right after the last order; there was one only among those who ordered again.
    again = np.maximum(x, 1.0)
    left = betaln(a + 1.0, b + again - 1.0) - betaln(a, b) - (r + x) * np.log(alpha + last)
    likelihood = bought + np.where(x > 0, np.logaddexp(stayed, left), stayed)
    return float(-likelihood.mean() + _PENALTY * (logs**2).sum())
