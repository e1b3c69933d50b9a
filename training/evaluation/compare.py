"""Compares two models on the same later rows: their differences, with intervals on the same draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from features.core.errors import LabelError
from features.settings import Settings
from features.settings.stakes import Stakes
from features.sources.history import History
from training.evaluation import bootstrap, calibration_error
from training.evaluation.holdout import describe_accounts
from training.evaluation.metrics import FIGURES, RankedScores
from training.evaluation.profit import select_stakes
from training.evaluation.segments import FEWEST_ROWS, average_aucs, iterate_segments
from training.evaluation.top_overlap import TopOverlap, compute_top_overlap
from training.models import dataset
from training.models.dataset import Dataset
from training.models.model import Model
from training.targets.labels import compute_days_needed, compute_labels
from training.targets.time_splits import select_test_cutoffs

_FIGURES = ("auc", "ap", "brier", "profit")
_WITHIN = "auc_within"
# Less is better.
_LOSSES = frozenset({"brier"})


@dataclass(frozen=True)
class FigureDifference:
    """One figure of two models.

    Args:
        figure: auc, auc_within (the mean AUC within a cutoff), ap, brier or profit; auc alone for a segment.
        a: Of the first model.
        b: Of the second.
        low: Lower end of the 95 % interval of b - a, both on the same draws of accounts.
        high: Upper end.
    """

    figure: str
    a: float
    b: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """Return b - a."""
        return self.b - self.a

    @property
    def better(self) -> str:
        """Return the one that is better beyond chance, a or b; else an empty text."""
        if not (self.low > 0 or self.high < 0):
            return ""
        return "b" if (self.low > 0) != (self.figure in _LOSSES) else "a"

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON fields."""
        return {**vars(self), "difference": self.difference, "better": self.better}


@dataclass(frozen=True)
class SegmentDifference:
    """The AUCs of two models on some rows.

    Args:
        by: The attribute.
        value: Theirs.
        rows: Their number.
        positives: Those that came true.
        auc: None where either class has fewer than ten rows.
    """

    by: str
    value: str
    rows: int
    positives: int
    auc: FigureDifference | None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON fields."""
        return {**vars(self), "auc": self.auc.as_dict() if self.auc else None}


@dataclass(frozen=True)
class ModelComparison:
    """Differences of two models on one target and horizon.

    Args:
        rows: Test rows.
        base_rate: Share of positives.
        cutoffs: Ascending; no label that either model learned from ends after the first.
        differences: Of each figure.
        ece: Expected calibration error of a and of b.
        ece_noise: What each would exceed in one sample of twenty if it were perfectly calibrated.
        segments: Each value of the attributes that have few.
        top: What their rankings share at the top, at the last cutoff.
    """

    rows: int
    base_rate: float
    cutoffs: tuple[datetime, ...]
    differences: tuple[FigureDifference, ...]
    ece: tuple[float, float]
    ece_noise: tuple[float, float]
    segments: tuple[SegmentDifference, ...]
    top: TopOverlap | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON fields."""
        return {
            **vars(self),
            "cutoffs": [c.isoformat() for c in self.cutoffs],
            "differences": {d.figure: d.as_dict() for d in self.differences},
            "ece": [*self.ece],
            "ece_noise": [*self.ece_noise],
            "segments": [s.as_dict() for s in self.segments],
            "top": self.top.as_dict() if self.top else None,
        }


def compare(
    history: History,
    settings: Settings,
    a: Mapping[str, Model],
    b: Mapping[str, Model],
    *,
    as_of: datetime | None = None,
) -> dict[str, ModelComparison]:
    """Compare two runs' models on every cutoff that is later than all that either learned from.

    Args:
        history: Of the company.
        settings: Of the company.
        a: Models by target.
        b: Models by target.
        as_of: As if it were then. Default: all the data.

    Returns:
        By target and horizon, such as churn_90d; those that both have.

    Raises:
        LabelError: They have nothing in common, or there are no labels later than what they learned from.
    """
    until = dataset.find_data_until(history, settings, as_of)
    shared = [name for name in settings.targets if name in a and name in b]
    cutoffs = {name: _find_later_cutoffs(settings, name, history, (a[name], b[name]), until) for name in shared}
    every = tuple(sorted({c for found in cutoffs.values() for c in found}))
    results: dict[str, ModelComparison] = {}
    frames = dict(dataset.load_datasets(history, settings, every, until)) if every else {}
    for name, data in frames.items():
        if name in shared:
            results |= _compare_target(history, settings, name, data, (a[name], b[name]), cutoffs[name])
    if not results:
        raise LabelError(
            "the two models can't be compared: there is no horizon of theirs with labels later than both learned from",
            found=f"data until {until:%Y-%m-%d}; {_describe_learned_until(a, b, shared)}",
            hint="Train both with --as-of an earlier day, or wait for more labels",
        )
    return results


def compare_scores(  # noqa: PLR0913  # all that two models' test is made of
    target: str,
    test: pd.DataFrame,
    a: np.ndarray,
    b: np.ndarray,
    *,
    attributes: pd.DataFrame,
    seed: int,
    stakes: Stakes | None = None,
) -> ModelComparison:
    """Compare two models' scores of the same rows.

    Args:
        target: churn or upsell.
        test: account_id, as_of, label; both classes there.
        a: (n,) probabilities.
        b: (n,) probabilities.
        attributes: n rows of `holdout.describe_accounts`.
        seed: Of the bootstrap.
        stakes: The company's, for the profit; by default those of the measure as published.
    """
    labels, accounts = test["label"].to_numpy(), test["account_id"].to_numpy()
    chosen = select_stakes(stakes or Stakes(), target)
    rankings = [RankedScores(labels, scores, stakes=chosen) for scores in (a, b)]
    parts = [_SegmentPair(*part, labels, a, b) for part in iterate_segments(attributes)]
    segment_pairs = [p for p in parts if p.by != "as_of"]
    cutoff_pairs = [p for p in parts if p.by == "as_of"]

    def measure(weights: np.ndarray) -> list[float]:
        first, second = (np.array(r.compute_figures(weights)) for r in rankings)
        return [*(second - first), *(p.compute_lead(weights) for p in [*segment_pairs, *cutoff_pairs])]

    drawn = bootstrap.bootstrap_figures(labels, accounts, measure, seed=seed)
    figures_a, figures_b = (dict(zip(FIGURES, r.compute_figures(), strict=True)) for r in rankings)
    ends = {name: bootstrap.compute_interval(drawn[:, i]) for i, name in enumerate(FIGURES)}
    differences = [FigureDifference(name, figures_a[name], figures_b[name], *ends[name]) for name in _FIGURES]
    by_segment, by_cutoff = np.split(drawn[:, len(FIGURES) :], [len(segment_pairs)], axis=1)
    within = _compare_within(cutoff_pairs, by_cutoff)
    bins = [calibration_error.make_bins(labels, scores) for scores in (a, b)]
    is_last = (test["as_of"] == test["as_of"].max()).to_numpy()
    return ModelComparison(
        rows=len(test),
        base_rate=float(labels.mean()),
        cutoffs=tuple(c.to_pydatetime() for c in sorted(test["as_of"].unique())),
        differences=(differences[0], *([within] if within else []), *differences[1:]),
        ece=(bins[0].compute_error(), bins[1].compute_error()),
        ece_noise=(bins[0].estimate_noise(accounts, seed=seed), bins[1].estimate_noise(accounts, seed=seed)),
        segments=tuple(p.summarise(column) for p, column in zip(segment_pairs, by_segment.T, strict=True)),
        top=compute_top_overlap(accounts[is_last], a[is_last], b[is_last]),
    )


class _SegmentPair:
    """Both models' scores of one segment."""

    def __init__(  # noqa: PLR0913, PLR0917  # an attribute's value, its rows, and all that is known of them
        self, by: str, value: str, indices: np.ndarray, labels: np.ndarray, a: np.ndarray, b: np.ndarray
    ) -> None:
        self.by, self._value, self._places = by, value, indices
        segment_labels = labels[indices]
        self._positives = int(segment_labels.sum())
        self._pair: tuple[RankedScores, RankedScores] | None = None
        if min(self._positives, len(indices) - self._positives) >= FEWEST_ROWS:
            self._pair = (RankedScores(segment_labels, a[indices]), RankedScores(segment_labels, b[indices]))

    def compute_lead(self, weights: np.ndarray) -> float:
        """Return b's AUC minus a's on one draw; NaN with too few rows of either class."""
        if not self._pair:
            return float("nan")
        first, second = (r.compute_auc(weights[self._places]) for r in self._pair)
        return second - first

    def summarise(self, drawn: np.ndarray) -> SegmentDifference:
        """Return the difference of the AUCs with the interval of its draws."""
        difference = None
        if self._pair:
            first, second = (r.compute_auc() for r in self._pair)
            difference = FigureDifference("auc", first, second, *bootstrap.compute_interval(drawn))
        return SegmentDifference(self.by, self._value, len(self._places), self._positives, difference)


def _compare_within(pairs: list[_SegmentPair], drawn: np.ndarray) -> FigureDifference | None:
    """Return the difference of the mean AUCs within cutoffs; None where no cutoff has enough of either class.

    Args:
        pairs: Of the cutoffs.
        drawn: (draws, cutoffs) differences of their AUCs.
    """
    differences = [p.summarise(column) for p, column in zip(pairs, drawn.T, strict=True)]
    rows = [d.rows for d in differences]
    known = [i for i, d in enumerate(differences) if d.auc]
    if not known:
        return None
    means = [
        sum(rows[i] * auc for i, auc in zip(known, aucs, strict=True)) / sum(rows[i] for i in known)
        for aucs in zip(*((d.auc.a, d.auc.b) for d in differences if d.auc), strict=True)
    ]
    return FigureDifference(_WITHIN, means[0], means[1], *bootstrap.compute_interval(average_aucs(drawn, rows)))


def _compare_target(  # noqa: PLR0913, PLR0917  # the whole of what a target is made of
    history: History,
    settings: Settings,
    name: str,
    data: Dataset,
    pair: tuple[Model, Model],
    cutoffs: tuple[datetime, ...],
) -> dict[str, ModelComparison]:
    frame = data.frame[data.frame["as_of"].isin(cutoffs)]
    scores = [model.probabilities(model.matrix(frame)) for model in pair]
    results = {}
    for horizon in sorted(set(pair[0].horizons) & set(pair[1].horizons)):
        target = settings.targets[name]
        labels = compute_labels(history, target, horizon, frame, data_until=data.data_until).to_numpy()
        known = ~np.isnan(labels)
        if not 0 < labels[known].sum() < known.sum():
            continue
        test = frame.loc[known, ["account_id", "as_of"]].assign(label=labels[known])
        a, b = (s[known, model.horizons.index(horizon)] for s, model in zip(scores, pair, strict=True))
        attributes = describe_accounts(frame[known])
        results[f"{name}_{horizon}d"] = compare_scores(
            name, test, a, b, attributes=attributes, seed=settings.training.seed, stakes=settings.stakes
        )
    return results


def _find_later_cutoffs(
    settings: Settings, name: str, history: History, pair: tuple[Model, Model], until: datetime
) -> tuple[datetime, ...]:
    """Return the cutoffs later than all labels that either model learned from, with mature labels of one horizon."""
    ends = [b.learned_until for b in pair]
    horizons = {*pair[0].horizons} & {*pair[1].horizons}
    if None in ends or not horizons:
        return ()
    learned = max(e for e in ends if e)
    days = min(compute_days_needed(settings.targets[name], h) for h in horizons)
    cutoffs = dataset.list_cutoffs(history, settings, until)
    return select_test_cutoffs(cutoffs, days=days, start=learned, data_until=until)


def _describe_learned_until(a: Mapping[str, Model], b: Mapping[str, Model], shared: list[str]) -> str:
    """Describe until when the models learned, or which targets they have if they share none."""
    if not shared:
        return f"targets {', '.join(a) or 'none'} and {', '.join(b) or 'none'}"
    days = [str(model.learned_until or "unknown")[:10] for name in shared for model in (a[name], b[name])]
    return f"learned until {', '.join(days)}"
