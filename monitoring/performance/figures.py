"""The figures of scores: expected from the scores alone, and measured against labels; both with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import brier_score_loss

from features.core.auc import auc, rank
from training.decisions.value import Floats
from training.evaluation.auc_interval import compute_auc_interval
from training.evaluation.calibration_error import compute_share_interval, make_bins

_DRAWS, _CHUNK = 400, 20


@dataclass(frozen=True)
class EstimatedPerformance:
    """The performance to expect of calibrated scores, before any label is known.

    All intervals hold 95 % of what comes of calibrated scores.

    Args:
        accounts: Number of rows: one an account and cutoff.
        positives: Expected number of positives.
        low: Lower end of the interval of their number, 0 or more.
        high: Its upper end.
        auc: Expected area under the ROC curve; None if the scores leave no doubt about any account.
        brier: Expected mean squared error of the probability.
        auc_low: Lower end of the interval of the AUC; None where that is.
        auc_high: Its upper end.
        above: Number of rows at or above the alert threshold; None where that is not known.
        precision: Expected share of positives among them; None without any.
        precision_low: Lower end of its interval.
        precision_high: Its upper end.
        ece_high: Calibration error that calibrated scores exceed in one of twenty cases.
    """

    accounts: int
    positives: float
    low: float
    high: float
    auc: float | None
    brier: float
    auc_low: float | None = None
    auc_high: float | None = None
    above: int | None = None
    precision: float | None = None
    precision_low: float | None = None
    precision_high: float | None = None
    ece_high: float | None = None


@dataclass(frozen=True)
class RealisedPerformance:
    """The measured performance over the rows whose labels matured; intervals of 95 %, an account's rows together.

    Args:
        accounts: Number of rows: one an account and cutoff.
        positives: Number of those whose label came true.
        auc: Area under the ROC curve; None if all labels came true or none.
        brier: Mean squared error of the probability.
        auc_low: Lower end of the interval of the AUC; None where that is.
        auc_high: Its upper end.
        above: Number of rows at or above the alert threshold; None where that is not known.
        precision: Share of positives among them; None without any.
        precision_low: Lower end of its interval.
        precision_high: Its upper end.
        ece: Expected calibration error over ten bins.
    """

    accounts: int
    positives: int
    auc: float | None
    brier: float
    auc_low: float | None = None
    auc_high: float | None = None
    above: int | None = None
    precision: float | None = None
    precision_low: float | None = None
    precision_high: float | None = None
    ece: float | None = None


def estimate_performance(
    scores: Floats, *, is_above: np.ndarray | None = None, accounts: np.ndarray | None = None
) -> EstimatedPerformance:
    """Estimate the performance of calibrated scores, before any label is known.

    If each score `p` is the account's true chance, the positives number `sum(p)`, the Brier score is
    `mean(p (1 - p))`, the precision is the mean of `p` above the threshold, and of the pairs of a positive and a
    negative, each pair (i, j) is met with weight `p_i (1 - p_j)` and is in order where `p_i > p_j`. The intervals are
    of labels drawn from the scores. The estimate can't see that the model has gone wrong; the difference from the
    measured performance shows by how much.

    Source: confidence-based performance estimation (CBPE), as in NannyML.

    Args:
        scores: (n,) probabilities, n > 0.
        is_above: (n,) whether each reached the alert threshold.
        accounts: (n,) account ids where an account may have several rows: their labels are drawn with one number, so
            that they come true together.
    """
    doubt = scores * (1 - scores)
    drawn = _draw_figures(scores, is_above, accounts)
    (low, high), auc_ends, precision_ends = (_find_ends(drawn[name]) for name in ("positives", "auc", "precision"))
    area = estimate_auc(scores)
    above = None if is_above is None else int(is_above.sum())
    return EstimatedPerformance(
        accounts=len(scores),
        positives=float(scores.sum()),
        low=float(low or 0.0),
        high=float(high or 0.0),
        auc=area,
        brier=float(doubt.mean()),
        auc_low=None if area is None else auc_ends[0],
        auc_high=None if area is None else auc_ends[1],
        above=above,
        precision=float(scores[is_above].mean()) if above else None,
        precision_low=precision_ends[0] if above else None,
        precision_high=precision_ends[1] if above else None,
        ece_high=float(np.quantile(drawn["ece"], 0.95)),
    )


def estimate_auc(scores: Floats, weights: Floats | None = None) -> float | None:
    """Return the AUC to expect of calibrated scores; None if they leave no doubt about any account.

    Args:
        scores: (n,) probabilities.
        weights: (n,) how often each row counts; by default once. A row makes no pair with itself.
    """
    weight = np.ones(len(scores)) if weights is None else weights
    own = weight**2 * scores * (1 - scores)
    expected, rest = weight * scores, weight * (1 - scores)
    pairs = expected.sum() * rest.sum()
    if pairs - own.sum() <= 1e-9:
        return None
    outcomes = np.repeat([1, 0], len(scores))
    ordered = auc(outcomes, np.tile(scores, 2), np.concatenate([expected, rest])) * pairs - own.sum() / 2
    return float(ordered / (pairs - own.sum()))


def measure_performance(
    scores: Floats, labels: Floats, *, is_above: np.ndarray | None = None, accounts: np.ndarray | None = None
) -> RealisedPerformance:
    """Measure the performance of scores against their labels.

    Accounts that owners acted on after an alert are included: if alerts save accounts, the model looks worse than it
    is. Only a holdout separates the two (`monitoring.experiments`).

    Args:
        scores: (n,) probabilities, n > 0.
        labels: (n,) of 0 and 1.
        is_above: (n,) whether each reached the alert threshold.
        accounts: (n,) account ids where an account may have several rows.
    """
    accounts = np.arange(len(scores)) if accounts is None else accounts
    positives = int(labels.sum())
    is_ranked = 0 < positives < len(labels)
    area, low, high = compute_auc_interval(labels, scores, accounts) if is_ranked else (None, None, None)
    above = None if is_above is None else int(is_above.sum())
    precision = compute_share_interval(labels[is_above], accounts[is_above]) if above else (None, None, None)
    return RealisedPerformance(
        accounts=len(labels),
        positives=positives,
        auc=area,
        brier=float(brier_score_loss(labels, scores)),
        auc_low=low,
        auc_high=high,
        above=above,
        precision=precision[0],
        precision_low=precision[1],
        precision_high=precision[2],
        ece=make_bins(labels, scores).compute_error(),
    )


def _draw_figures(scores: Floats, is_above: np.ndarray | None, accounts: np.ndarray | None) -> dict[str, Floats]:
    """Draw labels from the scores many times, and return the figures of each draw; NaN where one has no meaning."""
    codes, names = (None, scores) if accounts is None else pd.factorize(accounts)
    ranks, bins = rank(scores), make_bins(scores, scores)
    generator, parts = np.random.default_rng(0), []
    for _ in range(_DRAWS // _CHUNK):
        numbers = generator.random((_CHUNK, len(names)))
        labels = ((numbers if codes is None else numbers[:, codes]) < scores).astype("float64")
        good = labels.sum(axis=1)
        pairs = good * (len(scores) - good)
        ordered = labels @ ranks - good * (good + 1) / 2
        gaps = np.add.reduceat((scores - labels)[:, bins.order], bins.edges, axis=1)
        hits = np.full(_CHUNK, np.nan) if is_above is None or not is_above.any() else labels[:, is_above].mean(axis=1)
        area = np.divide(ordered, pairs, out=np.full(_CHUNK, np.nan), where=pairs > 0)
        parts.append((good, area, hits, np.abs(gaps).sum(axis=1) / len(scores)))
    return dict(
        zip(("positives", "auc", "precision", "ece"), map(np.concatenate, zip(*parts, strict=True)), strict=True)
    )


def _find_ends(drawn: Floats) -> tuple[float | None, float | None]:
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return None, None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)
