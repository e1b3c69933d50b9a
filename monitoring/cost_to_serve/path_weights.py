"""Weigh tickets by the inverse of the chance of what was done, so that unlike tickets compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

# No chance counts as smaller: a weight is at most the inverse.
CLIP = 0.02
_MOST_ROWS = 60_000
_Z = 1.96
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class WeightedMean:
    """A mean, or a ratio of two, with its 95 % interval."""

    mean: float
    low: float
    high: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def estimate_chances(frame: pd.DataFrame, arms: pd.Series, names: Sequence[str]) -> Floats:
    """Estimate the chance of each arm from what was known at a ticket's opening.

    Args:
        frame: Its columns `x_…` are what was known: text or numbers.
        arms: (n,) what was done.
        names: Of all arms, k.

    Returns:
        (n, k) chances of a multinomial logistic regression.
    """
    from sklearn.linear_model import LogisticRegression

    known = frame[[c for c in frame.columns if c.startswith("x_")]]
    texts = [c for c in known.columns if known[c].dtype == object]
    design = pd.get_dummies(known, columns=texts, dtype="float64")
    numbers = [c for c in known.columns if c not in texts]
    scale = design[numbers].std().replace(0, 1)
    design[numbers] = (design[numbers] - design[numbers].mean()) / scale
    if arms.nunique() < 2:
        return np.repeat((arms.iloc[:1].to_numpy()[:, None] == np.asarray(names)).astype(float), len(arms), axis=0)
    step = max(1, -(-len(frame) // _MOST_ROWS))
    model = LogisticRegression(C=1.0, max_iter=300).fit(design.to_numpy()[::step], arms.to_numpy()[::step])
    found = model.predict_proba(design.to_numpy())
    places = {name: n for n, name in enumerate(model.classes_)}
    return np.stack([found[:, places[n]] if n in places else np.zeros(len(frame)) for n in names], axis=1)


def weigh(chance: Floats) -> Floats:
    """Return the weights of tickets by the chance of what was done about them, (n,): at most 50."""
    return 1 / np.maximum(chance, CLIP)


def compute_sample_size(weights: Floats) -> float:
    """Return the effective sample size of weights. Source: Kish, Survey Sampling, 1965."""
    return float(weights.sum() ** 2 / (weights**2).sum()) if len(weights) else 0.0


def compute_mean(weights: Floats, values: Floats, accounts: npt.NDArray[np.object_]) -> WeightedMean | None:
    """Compute a weighted mean with its interval; None without values.

    The variance is that of the influence function, summed by account: an account's tickets are not independent.
    Source: Hajek's estimator; Lunceford and Davidian, Statistics in Medicine 23, 2004.

    Args:
        weights: (n,).
        values: (n,), NaN for not known.
        accounts: (n,) ids.
    """
    return compute_ratio(weights, values, np.ones(len(values)), accounts)


def compute_ratio(
    weights: Floats, values: Floats, per: Floats, accounts: npt.NDArray[np.object_]
) -> WeightedMean | None:
    """Compute the ratio of two weighted sums with its interval, by the delta method; None where it has none."""
    known = ~(np.isnan(values) | np.isnan(per))
    weights, values, per, accounts = weights[known], values[known], per[known], accounts[known]
    total = float((weights * per).sum())
    if total <= 0:
        return None
    ratio = float((weights * values).sum()) / total
    influence = pd.Series(weights * (values - ratio * per) / total).groupby(accounts).sum()
    n = len(influence)
    error = float(np.sqrt((influence**2).sum() * n / max(1, n - 1)))
    return WeightedMean(ratio, ratio - _Z * error, ratio + _Z * error)
