"""Check that lots fell as they should: the sizes of both arms at every look, and what was known of them at the draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
# How far the odds of being drawn are thought to be off where something else chose too, as a standard deviation of
# their logarithm; and the points that this is averaged over.
_SPREAD, _POINTS = 0.5, 41
# Below it the arms are named. An experiment asks three questions at most, so sound lots are named falsely in at most
# 3 % of experiments, however often one looks; at 0.001 a fifth of the control moved would be missed in every sixth.
SUSPICIOUS = 0.01


@dataclass(frozen=True)
class BalanceRow:
    """One thing known at the draw, in both arms.

    Args:
        name: Of it.
        treated: Its mean, or share.
        control: The same.
        difference: Between both, in standard deviations; None where it does not vary.
        is_share: Whether the figures are shares.
    """

    name: str
    treated: float
    control: float
    difference: float | None
    is_share: bool = False


@dataclass(frozen=True)
class Balance:
    """Whether lots alone chose.

    Args:
        expected: Families that should be in the treated arm, by the probabilities drawn with.
        treated: Families that are.
        p_value: The chance of sizes at least so unlikely at any look so far if lots alone chose.
        rows: What was known at the draw, in both arms.
    """

    expected: float
    treated: int
    p_value: float
    rows: tuple[BalanceRow, ...]

    @property
    def is_suspicious(self) -> bool:
        """Return whether something else than lots chose too."""
        return self.p_value < SUSPICIOUS


def compare_arms(draws: pd.DataFrame) -> Balance:
    """Compare the arms of all draws so far.

    Args:
        draws: as_of (µs), treated (bool), probability, score, value, tier; a row a family, in the order of draws.
    """
    treated, chance = draws["treated"].to_numpy(dtype=bool), draws["probability"].to_numpy(dtype=float)
    rows = []
    if treated.any() and not treated.all():
        log_value = np.log1p(draws["value"].astype(float).clip(lower=0))
        named = [("score", draws["score"].astype(float), False), ("value (logarithm)", log_value, False)]
        tiers = [tier for tier in "ABCDE" if (draws["tier"] == tier).any()]
        named += [(f"tier {tier}", (draws["tier"] == tier).astype(float), True) for tier in tiers]
        rows = [_compare(name, column, treated, is_share=is_share) for name, column, is_share in named]
    p_value = compute_size_p_value(treated, chance, draws["as_of"].to_numpy())
    return Balance(float(chance.sum()), int(treated.sum()), p_value, tuple(r for r in rows if r is not None))


def compute_size_p_value(treated: npt.NDArray[np.bool_], chance: Floats, as_of: npt.NDArray[np.int64]) -> float:
    """Test the sizes of the arms against the probabilities drawn with, at all looks together.

    The likelihood of the draws under other odds, averaged over how far off these may be, over that under the odds drawn
    with is a martingale (for draws within one band, of which a fixed number wins, a supermartingale), which exceeds 1/p
    at any look with a chance of at most p. So the test may be read at every look.

    Args:
        treated: (n,) flags, in the order of draws.
        chance: (n,) probabilities.
        as_of: (n,) instants of the draws, ascending: the looks.

    Returns:
        p-value; 1 without draws.

    Source: Lindon and Malek, Anytime-valid inference for multinomial count data, NeurIPS 2022, for the test of sizes;
    Ville's inequality for the looks.
    """
    if not len(treated):
        return 1.0
    nodes, weights = np.polynomial.hermite_e.hermegauss(_POINTS)
    # Below: the log-likelihood ratio of each draw at each of the odds, summed up to each look.
    shift = _SPREAD * nodes[:, None]
    normaliser = np.logaddexp(np.log(chance) + shift, np.log1p(-chance))
    ratios = np.cumsum(np.where(treated, shift, 0.0) - normaliser, axis=1)
    ends = np.flatnonzero(np.diff(as_of, append=as_of[-1] + 1))
    evidence = np.logaddexp.reduce(ratios[:, ends] + np.log(weights / weights.sum())[:, None], axis=0)
    return float(min(1.0, np.exp(-evidence.max())))


def _compare(name: str, column: pd.Series, treated: npt.NDArray[np.bool_], *, is_share: bool) -> BalanceRow | None:
    one, other = column[treated].dropna(), column[~treated].dropna()
    if one.empty or other.empty:
        return None
    spread = float(np.sqrt((one.var(ddof=0) + other.var(ddof=0)) / 2))
    difference = float(one.mean() - other.mean()) / spread if spread > 0 else None
    return BalanceRow(name, float(one.mean()), float(other.mean()), difference, is_share)
