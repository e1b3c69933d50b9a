"""Bootstraps by account: all figures are taken on the same draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

ROUNDS = 200

Statistic = Callable[[np.ndarray], list[float]]


def draw_weights(accounts: np.ndarray, *, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each row counts in each of 200 draws of accounts, each drawn with all its rows.

    An account's rows are no independent witnesses; that rows of one cutoff share a season is not in the draws.
    Source: the cluster bootstrap, Field and Welsh, "Bootstrapping clustered data", JRSS B 69 (2007).

    Args:
        accounts: (n,) account ids.
        seed: The same seed and accounts give the same draws.

    Returns:
        (n,) float64, one draw at a time: all figures are taken on a draw before the next is made.
    """
    generator = np.random.default_rng(seed)
    codes, names = pd.factorize(accounts)
    for _ in range(ROUNDS):
        drawn = np.bincount(generator.integers(0, len(names), len(names)), minlength=len(names))
        yield drawn.astype("float64")[codes]


def bootstrap_figures(labels: np.ndarray, accounts: np.ndarray, measure: Statistic, *, seed: int) -> np.ndarray:
    """Return the figures of a statistic on each draw; draws in which one class is missing are left out.

    Returns:
        (draws, figures).
    """
    return np.array([measure(w) for w in draw_weights(accounts, seed=seed) if 0 < w @ labels < w.sum()])


def compute_interval(drawn: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of one figure's draws; NaN draws are left out, and all NaN gives NaN."""
    known = drawn[~np.isnan(drawn)]
    low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
    return float(low), float(high)
