"""Freeze for a quarter what tiers are cut by, so that an account's tier moves with the account and not with others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from features.settings.tiers import TIER_NAMES, Tiers
from training.decisions.tier_sides import measure_sides

_POINTS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Cuts:
    """The scale of each side and the cuts of the worth, as they stood at the beginning of a quarter.

    Args:
        quarter: Such as 2026-Q1.
        scales: By side, the values at the 101 percentiles of the accounts, ascending.
        weights: By side.
        cuts: The least worth of tiers A, B, C and D, descending.
    """

    quarter: str
    scales: Mapping[str, tuple[float, ...]]
    weights: Mapping[str, float]
    cuts: tuple[float, ...]

    @classmethod
    def freeze(cls, quarter: str, sides: pd.DataFrame, settings: Tiers) -> Self:
        """Freeze the scales and cuts of accounts measured by `tier_sides.measure_sides`."""
        scales = {
            str(side): tuple(np.quantile(values.dropna(), _POINTS, method="inverted_cdf").tolist())
            for side, values in sides.items()
        }
        weights = {side: settings.weights.get(side, 1.0) for side in scales}
        unfinished = cls(quarter, scales, weights, ())
        worth = unfinished.compute_worth(unfinished.rank(sides)).dropna()
        above = np.cumsum(settings.shares)[:-1]
        cuts = np.quantile(worth, 1 - above, method="higher") if len(worth) else np.full(4, np.nan)
        return cls(quarter, scales, weights, tuple(float(cut) for cut in cuts))

    def rank(self, sides: pd.DataFrame) -> pd.DataFrame:
        """Return each account's rank in each side, 0 (worst) to 1 (best); NaN where a value is not known.

        A value that accounts had when the scale was frozen has the middle of their places; one between two such values
        lies between their ranks, so that a small change moves a rank by little.
        """
        ranks = {}
        for side in (side for side in self.scales if side in sides):
            scale, values = np.asarray(self.scales[side]), sides[side].to_numpy(dtype=float)
            known = np.unique(scale)
            places = (np.searchsorted(scale, known, "left") + np.searchsorted(scale, known, "right")) / (2 * len(scale))
            ranks[side] = np.where(np.isnan(values), np.nan, np.interp(values, known, places))
        return pd.DataFrame(ranks, index=sides.index)

    def compute_worth(self, ranks: pd.DataFrame) -> pd.Series:
        """Return the weighted mean of each account's known ranks; NaN where none is known."""
        weights = pd.Series({side: self.weights[side] for side in ranks}, dtype=float)
        known = ranks.notna().mul(weights, axis=1).sum(axis=1)
        return ranks.mul(weights, axis=1).sum(axis=1).div(known).where(known > 0)

    def find_tier(self, worth: pd.Series) -> pd.Series:
        """Return the tier (A to E) of each worth; None where it is not known."""
        place = sum((worth.to_numpy() < cut).astype(int) for cut in self.cuts)
        tiers = np.array(TIER_NAMES, dtype=object)[place]
        return pd.Series(np.where(worth.isna(), None, tiers), index=worth.index, dtype=object)

    def get_bounds(self, tier: str) -> tuple[float, float]:
        """Return the worth from which and below which a tier lies."""
        place = TIER_NAMES.index(tier)
        return (*self.cuts, 0.0)[place], (float("inf"), *self.cuts)[place]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "quarter": self.quarter,
            "scales": {side: list(scale) for side, scale in self.scales.items()},
            "weights": dict(self.weights),
            "cuts": list(self.cuts),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Return what `as_dict` returned."""
        scales = {side: tuple(scale) for side, scale in plain["scales"].items()}
        return cls(plain["quarter"], scales, plain["weights"], tuple(plain["cuts"]))


def class_accounts(frame: pd.DataFrame, settings: Tiers) -> pd.Series:
    """Return the tier of each row, (n,), cut among the rows of its own `as_of`; None where nothing is known.

    Args:
        frame: n snapshots with `as_of` and the columns `tier_sides.WANTED` as far as they are there.
        settings: The company's.
    """
    tiers = pd.Series(None, index=frame.index, dtype=object)
    for as_of, rows in frame.groupby("as_of"):
        sides, _ = measure_sides(rows)
        if len(sides.columns):
            cuts = Cuts.freeze(f"{as_of:%Y-%m-%d}", sides, settings)
            tiers[rows.index] = cuts.find_tier(cuts.compute_worth(cuts.rank(sides)))
    return tiers
