"""What a model is worth on cutoffs it has never seen, with intervals, beside simple baselines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

_ROUNDS = 200
_BINS = 10


@dataclass(frozen=True)
class Baseline:
    """A simple rival's figures on the same rows."""

    auc: float
    ap: float


@dataclass(frozen=True)
class Evaluation:
    """Figures of one target and horizon on the test.

    Args:
        rows: Test rows, one per account and cutoff.
        base_rate: Share of positives.
        auc: Area under the ROC curve.
        auc_low: Lower end of its 95 % interval, bootstrapped by account.
        auc_high: Upper end.
        lead_low: Lower end of the 95 % interval of its AUC's lead over the best baseline, on the same draws.
        ap: Average precision.
        brier: Mean squared error of the probability.
        ece: Expected calibration error over ten bins of equal size.
        lift_10: Share of positives among the highest tenth, against the base rate.
        baselines: By name.
        verdict: signal (it leads the best baseline, beyond chance), no_signal or insufficient.
        reasons: Why, in sentences.
    """

    rows: int
    base_rate: float
    auc: float
    auc_low: float
    auc_high: float
    lead_low: float
    ap: float
    brier: float
    ece: float
    lift_10: float
    baselines: dict[str, Baseline]
    verdict: str
    reasons: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """For machines, by the names of the command contract."""
        return {**vars(self), "baselines": {n: vars(b) for n, b in self.baselines.items()}, "reasons": [*self.reasons]}


def evaluate(
    labels: np.ndarray, scores: np.ndarray, accounts: np.ndarray, rivals: dict[str, np.ndarray], *, seed: int
) -> Evaluation:
    """Figures of scores on test rows.

    Args:
        labels: (n,) of 0 and 1, both there.
        scores: (n,) probabilities.
        accounts: (n,) account ids, the clusters of the bootstrap: an account's rows are no independent witnesses.
        rivals: Baselines' scores by name, (n,) each.
        seed: Of the bootstrap.
    """
    baselines = {n: Baseline(_auc(labels, s), float(average_precision_score(labels, s))) for n, s in rivals.items()}
    auc = _auc(labels, scores)
    draws = auc_draws(labels, [scores, *rivals.values()], accounts, seed=seed)
    low, high = np.quantile(draws[:, 0], [0.025, 0.975])
    base = float(labels.mean())
    best = max(baselines, key=lambda name: baselines[name].auc)
    lead = float(np.quantile(draws[:, 0] - draws[:, 1 + list(rivals).index(best)], 0.025))
    verdict, reason = _verdict(float(low), lead, best, positives=int(labels.sum()))
    return Evaluation(
        rows=len(labels),
        base_rate=base,
        auc=auc,
        auc_low=float(low),
        auc_high=float(high),
        lead_low=lead,
        ap=float(average_precision_score(labels, scores)),
        brier=float(np.mean((scores - labels) ** 2)),
        ece=calibration_error(labels, scores),
        lift_10=float(labels[np.argsort(-scores, kind="stable")[: max(1, len(labels) // 10)]].mean() / base),
        baselines=baselines,
        verdict=verdict,
        reasons=(reason,),
    )


def _verdict(low: float, lead: float, best: str, *, positives: int) -> tuple[str, str]:
    if positives < 30:
        return "insufficient", f"only {positives} positives in the test: no figure on them can be trusted"
    if low <= 0.5:
        return "no_signal", f"the AUC's interval begins at {low:.3f}: it may be chance"
    if lead <= 0:
        return "no_signal", f"no better than the baseline {best}: the lead's interval begins at {lead:+.3f}"
    return "signal", f"better than the best baseline, {best}: the AUC leads it by {lead:.3f} or more"


def _auc(labels: np.ndarray, scores: np.ndarray) -> float:
    return float(roc_auc_score(labels, scores))


def auc_draws(labels: np.ndarray, scores: list[np.ndarray], accounts: np.ndarray, *, seed: int) -> np.ndarray:
    """AUCs of several scores over 200 draws of accounts, each drawn with all its rows; all scores on the same draws.

    Source: the cluster bootstrap, Field and Welsh, "Bootstrapping clustered data", JRSS B 69 (2007).

    Returns:
        (draws, scores); draws in which one class is missing are left out.
    """
    generator = np.random.default_rng(seed)
    codes, names = pd.factorize(accounts)
    drawn = [
        np.bincount(generator.integers(0, len(names), len(names)), minlength=len(names))[codes] for _ in range(_ROUNDS)
    ]
    both = [w for w in drawn if 0 < w @ labels < w.sum()]
    return np.column_stack([_weighted_aucs(labels, s, both) for s in scores])


def _weighted_aucs(labels: np.ndarray, scores: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    order = np.argsort(scores, kind="stable")
    # Rows of one score are a tie: they count half.
    groups = np.concatenate([[0], np.cumsum(np.diff(scores[order]) > 0)])
    positive = labels[order].astype(bool)
    found = []
    for weight in weights:
        good = np.bincount(groups, weight[order] * positive)
        bad = np.bincount(groups, weight[order] * ~positive)
        found.append(float((good * (np.cumsum(bad) - bad / 2)).sum() / (good.sum() * bad.sum())))
    return np.array(found)


def reliability(labels: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    """Bins of equal size: rows, mean score, share of positives."""
    order = np.argsort(scores, kind="stable")
    bins = [b for b in np.array_split(order, _BINS) if len(b)]
    return pd.DataFrame(
        {
            "rows": [len(b) for b in bins],
            "score": [float(scores[b].mean()) for b in bins],
            "share": [float(labels[b].mean()) for b in bins],
        }
    )


def calibration_error(labels: np.ndarray, scores: np.ndarray) -> float:
    """Expected calibration error: mean distance of score and share over the bins, weighted by rows."""
    bins = reliability(labels, scores)
    return float(np.average((bins["score"] - bins["share"]).abs(), weights=bins["rows"]))
