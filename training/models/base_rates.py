"""Base rates of the training's cutoffs: whether they differ beyond chance, and which rule foretells the next ones.

A base rate moves with the season and with growth, and no feature of a single account says by how much.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import chdtrc, expit, logit

YEAR = 365.0
SAME_SEASON = 20.0  # days that a cutoff may lie beside the same day of another year
RULES = ("mean", "latest", "year ago", "year ago and growth")
_FEWEST_CUTOFFS = 4
_CHANCE = 0.01
# What a rule is chosen on: so many cutoffs that it could have foretold, over so many days.
_FEWEST_WITNESSES = 3
_WITNESS_DAYS = 59.0


@dataclass(frozen=True)
class BaseRates:
    """Base rates by cutoff.

    Args:
        days: (k,) cutoffs in days since 1970, ascending.
        log_odds: (k,) of the base rates.
        variances: (k,) of the log-odds, by sampling alone.
        span: Days from a cutoff until its labels are mature.
    """

    days: np.ndarray
    log_odds: np.ndarray
    variances: np.ndarray
    span: float

    @classmethod
    def from_labels(cls, labels: np.ndarray, days: np.ndarray, *, span: float) -> BaseRates:
        """Count the base rate of each cutoff.

        Args:
            labels: (n,) of 0 and 1; or how much each positive counts.
            days: (n,) the rows' cutoffs, in days since 1970.
            span: Days from a cutoff until its labels are mature.
        """
        cutoffs, codes = np.unique(days, return_inverse=True)
        rows, positives = (np.bincount(codes, weights, minlength=len(cutoffs)) for weights in (None, labels))
        share = (np.minimum(positives, rows) + 0.5) / (rows + 1)
        return cls(cutoffs, logit(share), 1 / (rows * share * (1 - share) + 0.5), span)

    @cached_property
    def spread(self) -> _Spread:
        """Return mean and variance of the log-odds over cutoffs whose labels share no day."""
        chosen = [len(self.days) - 1]
        for i in range(len(self.days) - 2, -1, -1):
            if self.days[chosen[-1]] - self.days[i] >= self.span:
                chosen.append(i)
        return _estimate_spread(self.log_odds[chosen], self.variances[chosen])

    @property
    def is_moving(self) -> bool:
        """Return whether the base rates differ by more than sampling explains."""
        return len(self.days) >= _FEWEST_CUTOFFS <= self.spread.cutoffs and self.spread.chance < _CHANCE

    @property
    def latest_mean(self) -> float:
        """Return the mean log-odds of the latest quarter of the cutoffs, by their precision; NaN without any."""
        latest = slice(-self._count_latest(), None)
        return (
            float(np.average(self.log_odds[latest], weights=1 / self.variances[latest])) if len(self.days) else np.nan
        )

    @property
    def latest_variance(self) -> float:
        """Return the variance of that mean by sampling: labels of cutoffs nearer than `span` are of the same events."""
        latest = slice(-self._count_latest(), None)
        periods = 1 + (self.days[-1] - self.days[latest][0]) / self.span
        return float(self.variances[latest].mean() / periods)

    def choose_rule(self) -> str:
        """Return the rule that would have foretold the company's own base rates best, each from what was known then.

        Without enough witnesses: a year ago.
        """
        for rules in (RULES, RULES[:-1]):
            forecasts = np.array([[self._known_at(day).forecast(rule, day) for rule in rules] for day in self.days])
            witnesses = ~np.isnan(forecasts).any(axis=1)
            days = self.days[witnesses]
            if len(days) >= _FEWEST_WITNESSES and days[-1] - days[0] >= _WITNESS_DAYS:
                errors = np.abs(expit(forecasts[witnesses]) - expit(self.log_odds[witnesses])[:, None])
                return rules[int(errors.mean(axis=0).argmin())]
        return "year ago"

    def judge(self, rule: str | None) -> tuple[np.ndarray, np.ndarray]:
        """Return by how much a rule's forecasts missed the log-odds of cutoffs, each from what was known then.

        Args:
            rule: One of RULES; None for the mean of the latest quarter, which stands where the rates do not move.

        Returns:
            Errors, and the variances of what came by sampling alone, (m,) each: of cutoffs that could be foretold.
        """
        pasts = [self._known_at(day) for day in self.days]
        forecasts = [p.forecast(rule, d) if rule else p.latest_mean for p, d in zip(pasts, self.days, strict=True)]
        errors = self.log_odds - np.array(forecasts)
        is_foretold = ~np.isnan(errors)
        return errors[is_foretold], self.variances[is_foretold]

    def forecast(self, rule: str, day: float) -> float:
        """Return the log-odds of the base rate on a day after the cutoffs; NaN if they don't reach back far enough.

        Args:
            rule: One of RULES.
            day: In days since 1970.
        """
        if len(self.days) < 2:
            return float("nan")
        if rule == "mean":
            return self.spread.mean
        if rule == "latest":
            return self._shrink(self.log_odds[-1])
        years = int(np.ceil((day - self.days[-1] - SAME_SEASON) / YEAR))
        season = self._find(day - YEAR * max(years, 1))
        if rule == "year ago":
            return self._shrink(season)
        growth = self.log_odds[-1] - self._find(self.days[-1] - YEAR)
        return self._shrink(season + growth * max(years, 1))

    def _count_latest(self) -> int:
        return -(-len(self.days) // 4)

    def _shrink(self, log_odds: float) -> float:
        """Return log-odds drawn to the mean by as much as sampling explains of their distance."""
        return float(self.spread.mean + self.spread.weight * (log_odds - self.spread.mean))

    def _find(self, day: float) -> float:
        """Return the log-odds of the nearest cutoff in the same season; NaN if there is none."""
        nearest = int(np.abs(self.days - day).argmin())
        return float(self.log_odds[nearest]) if abs(self.days[nearest] - day) <= SAME_SEASON else float("nan")

    def _known_at(self, day: float) -> BaseRates:
        is_mature = self.days + self.span <= day
        return BaseRates(self.days[is_mature], self.log_odds[is_mature], self.variances[is_mature], self.span)


@dataclass(frozen=True)
class _Spread:
    """How log-odds of base rates vary.

    Args:
        cutoffs: Their number.
        mean: Weighted by precision.
        chance: p value of Cochran's Q: of so much variation by sampling alone.
        weight: Share of a distance from the mean that is no sampling, 0 to 1.
    """

    cutoffs: int
    mean: float
    chance: float
    weight: float


def _estimate_spread(log_odds: np.ndarray, variances: np.ndarray) -> _Spread:
    """Estimate the spread.

    Source: DerSimonian and Laird, "Meta-analysis in clinical trials", Controlled Clinical Trials 7 (1986).
    """
    weights = 1 / variances
    mean = float(weights @ log_odds / weights.sum())
    freedom = len(weights) - 1
    if not freedom:
        return _Spread(1, mean, 1.0, 0.0)
    q = float(weights @ (log_odds - mean) ** 2)
    between = max(0.0, (q - freedom) / (weights.sum() - (weights**2).sum() / weights.sum()))
    return _Spread(len(weights), mean, float(chdtrc(freedom, q)), between / (between + float(variances.mean())))
