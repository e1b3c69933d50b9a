"""Estimate what alerts do to retention, adjusted for what was known at the draw, with bounds valid at every look."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from monitoring.experiments.confidence_sequence import FIRST, ConfidenceSequence, bound_mean

Floats = npt.NDArray[np.float64]
# Units of each arm that must have come before the outcomes are adjusted: a regression on fewer adds noise.
LEAST_FOR_FIT = 40
# Units of each arm before which nothing is said: the variance of an arm is not known from fewer.
LEAST_PER_ARM = 20


@dataclass(frozen=True)
class EffectEstimate:
    """The effect of being alerted on, on the share of accounts kept.

    Args:
        treated: Units drawn to be alerted on whose outcome is known; `control` those drawn not to be.
        control: See treated.
        kept_treated: Share of the treated that were kept; None without one.
        kept_control: The same of the control.
        effect: Adjusted difference; None before there are both.
        low: Lower end of the sequence's interval now; None before it says anything.
        high: Upper end.
        looks: Of each look (as_of, µs): effect, low, high; inf where it says nothing.
        variance: Of a unit's value; None before there are both arms.
    """

    treated: int
    control: int
    kept_treated: float | None
    kept_control: float | None
    effect: float | None
    low: float | None
    high: float | None
    looks: tuple[tuple[int, float, float, float], ...]
    variance: float | None

    @property
    def verdict(self) -> str:
        """Return 'saves', 'harms' or 'open': what may be said at this look."""
        if self.low is None or self.high is None:
            return "open"
        return "saves" if self.low > 0 else "harms" if self.high < 0 else "open"


def estimate_effect(draws: pd.DataFrame, *, alpha: float = 0.05) -> EffectEstimate:
    """Estimate the effect from units in the order of their draws.

    Each unit's value is that of the augmented inverse-propensity estimator: the difference of two regressions on what
    was known at its draw, fitted on earlier draws alone, corrected by its own outcome over its probability. Its mean is
    unbiased whatever the regressions are worth, since the probabilities are those of the draw.

    Args:
        draws: as_of (µs), treated (bool), probability (of being treated), kept (0 to 1; a unit without an outcome is
            left out before), score, value, tier; a row a unit.
        alpha: 1 - confidence.

    Source: Robins, Rotnitzky and Zhao, JASA 89 (1994), for the estimator; `confidence_sequence` for the bounds.
    """
    ordered = draws.sort_values(["as_of", "unit"], kind="stable").reset_index(drop=True)
    treated = ordered["treated"].to_numpy(dtype=bool)
    kept, chance = ordered["kept"].to_numpy(dtype=float), ordered["probability"].to_numpy(dtype=float)
    arms = (int(treated.sum()), int((~treated).sum()))
    with_alert, without = (float(kept[arm].mean()) if arm.any() else None for arm in (treated, ~treated))
    if not all(arms):
        return EffectEstimate(*arms, with_alert, without, None, None, None, (), None)
    values = compute_unit_values(build_covariates(ordered), treated, kept, chance, ordered["as_of"].to_numpy())
    sequence = bound_mean(values, alpha=alpha, first=max(FIRST, _find_first(treated)))
    looks = tuple(_iterate_looks(ordered["as_of"].to_numpy(), sequence))
    _, effect, low, high = looks[-1]
    is_bounded = math.isfinite(low)
    return EffectEstimate(
        treated=arms[0],
        control=arms[1],
        kept_treated=with_alert,
        kept_control=without,
        effect=effect,
        low=low if is_bounded else None,
        high=high if is_bounded else None,
        looks=looks,
        variance=float(values.var(ddof=1)),
    )


def compute_unit_values(covariates: Floats, treated: np.ndarray, kept: Floats, chance: Floats, as_of: Floats) -> Floats:
    """Return each unit's unbiased guess of the effect, regressions learned from earlier draws alone.

    Args:
        covariates: (n, k) known at the draw.
        treated: (n,) flags.
        kept: (n,) outcomes.
        chance: (n,) probability of being treated.
        as_of: (n,) ascending; units of one instant are predicted from those before it.
    """
    rows = np.column_stack([np.ones(len(kept)), covariates])
    # A little shrinkage, so that a column that never varies does no harm.
    penalty = np.eye(rows.shape[1])
    penalty[0, 0] = 0.0
    expected = {arm: np.full(len(kept), np.nan) for arm in (True, False)}
    squares = {arm: np.zeros_like(penalty) for arm in expected}
    products = {arm: np.zeros(rows.shape[1]) for arm in expected}
    starts = np.flatnonzero(np.diff(as_of, prepend=as_of[0] - 1))
    for start, end in zip(starts, [*starts[1:], len(kept)], strict=True):
        prior = kept[:start].mean() if start else 0.5
        for arm, guess in expected.items():
            # The first column is of ones, so that their square is the number of units.
            if squares[arm][0, 0] >= LEAST_FOR_FIT:
                weights = np.linalg.solve(squares[arm] + penalty, products[arm])
                guess[start:end] = np.clip(rows[start:end] @ weights, 0, 1)
            else:
                guess[start:end] = prior
            mine = start + np.flatnonzero(treated[start:end] == arm)
            squares[arm] += rows[mine].T @ rows[mine]
            products[arm] += rows[mine].T @ kept[mine]
    correction = np.where(treated, (kept - expected[True]) / chance, -(kept - expected[False]) / (1 - chance))
    return expected[True] - expected[False] + correction


def build_covariates(draws: pd.DataFrame) -> Floats:
    """Return what was known at the draw as numbers: log-odds of the score, log of the value, tier."""
    score = draws["score"].astype(float).fillna(draws["score"].astype(float).mean()).fillna(0.5).clip(1e-4, 1 - 1e-4)
    value = np.log1p(draws["value"].astype(float).clip(lower=0).fillna(0.0))
    tiers = [(draws["tier"] == tier).astype(float) for tier in "ABCD"]
    return np.column_stack([np.log(score / (1 - score)), value, *tiers])


def _find_first(treated: np.ndarray) -> int:
    """Return the number of units after which both arms have enough; one more than there are if they never do."""
    smaller = np.minimum(np.cumsum(treated), np.cumsum(~treated))
    return int(np.searchsorted(smaller, LEAST_PER_ARM)) + 1


def _iterate_looks(as_of: Floats, sequence: ConfidenceSequence) -> list[tuple[int, float, float, float]]:
    ends = np.flatnonzero(np.diff(as_of, append=as_of[-1] + 1))
    return [(int(as_of[i]), float(sequence.mean[i]), float(sequence.low[i]), float(sequence.high[i])) for i in ends]
