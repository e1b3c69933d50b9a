"""The level of a model's probabilities where the base rate moves: an intercept for each time of the year to come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Self

import numpy as np
from scipy.special import expit

from training.models.base_rates import SAME_SEASON, YEAR, BaseRates
from training.models.calibration import find_intercept

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEARS = 3  # ahead of the last cutoff
_RULE_WORDS = {
    "mean": "the mean of all training",
    "latest": "the latest base rate known in training",
    "year ago": "the base rate of the same season a year before",
    "year ago and growth": "the base rate of the same season a year before and its change within a year",
}


@dataclass(frozen=True)
class Level:
    """Intercepts by `as_of`, straight lines between the days given.

    Args:
        rule: One of `base_rates.RULES`: how the base rates to come are foretold.
        days: (k,) in days since 1970, ascending.
        intercepts: (k,) on these days.
        otherwise: The intercept farther than 20 days from all of them: that of the latest base rate.
    """

    rule: str
    days: tuple[float, ...]
    intercepts: tuple[float, ...]
    otherwise: float

    def describe(self) -> str:
        """Describe in a sentence how the mean of the scores is set, and where it is unsure."""
        sentence = f"The base rate moves beyond chance: the mean score follows {_RULE_WORDS[self.rule]}."
        if not self.days:
            return sentence
        return (
            f"{sentence} From {_format(self.days[0])} on; in a season that training has not seen the level is unsure."
        )

    def find_intercepts(self, days: np.ndarray) -> np.ndarray:
        """Return the intercepts at instants, in days since 1970; both (n,). NaN stands for an unknown instant."""
        if not self.days:
            return np.full(len(days), self.otherwise)
        known, intercepts = self._arrays
        return np.where(self._is_known(days), np.interp(days, known, intercepts), self.otherwise)

    def is_unsure(self, day: float) -> bool:
        """Return whether the base rate at an instant is foretold by no cutoff of the same season."""
        return bool(self.find_unsure(np.array([day]))[0])

    def find_unsure(self, days: np.ndarray) -> np.ndarray:
        """Return `is_unsure` of (n,) instants."""
        return ~self._is_known(days) if self.days else np.zeros(len(days), dtype=bool)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Read a level from its numbers as JSON holds them."""
        return cls(fields["rule"], tuple(fields["days"]), tuple(fields["intercepts"]), fields["otherwise"])

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array(self.days), np.array(self.intercepts)

    def _is_known(self, days: np.ndarray) -> np.ndarray:
        known, _ = self._arrays
        after = np.searchsorted(known, days)
        nearest = [np.abs(known[np.clip(i, 0, len(known) - 1)] - days) for i in (after - 1, after)]
        return np.minimum(*nearest) <= SAME_SEASON


def _format(day: float) -> str:
    return f"{_EPOCH + timedelta(days=day):%Y-%m-%d}"


def fit_level(rates: BaseRates, log_odds: np.ndarray) -> Level:
    """Fit the level: the mean probability of a cohort shall be the base rate foretold for its time.

    The cohort is the latest one whose snapshots are known, so that what has changed in all accounts since the rates
    were counted changes no score.

    Args:
        rates: Of the cutoffs learned from; they move.
        log_odds: (m,) of the latest cohort, times the calibrator's slope.
    """
    rule = rates.choose_rule()
    ahead = np.unique([rates.days + YEAR * year for year in range(1, _YEARS + 1)])
    ahead = ahead[ahead > rates.days[-1] + SAME_SEASON] if rule.startswith("year") else ahead[:0]
    forecasts = {day: rates.forecast(rule, day) for day in ahead}
    known = {day: expit(forecast) for day, forecast in forecasts.items() if not np.isnan(forecast)}
    otherwise = expit(rates.forecast("latest" if rule.startswith("year") else rule, rates.days[-1] + rates.span))
    return Level(
        rule,
        tuple(float(day) for day in known),
        tuple(find_intercept(log_odds, rate) for rate in known.values()),
        find_intercept(log_odds, otherwise),
    )
