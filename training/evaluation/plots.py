"""Draws an evaluation: calibration, lift, precision-recall, and stability over the cutoffs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve

from training.evaluation.calibration_error import compute_reliability
from training.evaluation.holdout import HoldoutResult
from training.evaluation.segments import SegmentFigures


def draw_figures(name: str, outcome: HoldoutResult) -> Iterator[tuple[str, Any]]:
    """Yield (file name, matplotlib Figure) for each picture of one target and horizon, such as churn_90d."""
    for kind, draw in (
        ("calibration", _draw_calibration),
        ("lift", _draw_lift),
        ("precision_recall", _draw_precision_recall),
    ):
        figure, axes = _create_figure(f"{name}: {kind.replace('_', '-')}")
        draw(axes, outcome)
        yield f"{name}_{kind}.png", figure
    yield f"{name}_stability.png", draw_over_time(f"{name}: stability", outcome.evaluation.by_cutoff)


def draw_over_time(title: str, cutoffs: tuple[SegmentFigures, ...]) -> Any:
    """Draw AUC with its interval and base rate at each cutoff, as a matplotlib Figure; some have no AUC."""
    figure, axes = _create_figure(title)
    days = [date.fromisoformat(p.value) for p in cutoffs]
    known = [(d, p.auc, p.auc_low, p.auc_high) for d, p in zip(days, cutoffs, strict=True) if p.auc is not None]
    if known:
        at, auc, low, high = (np.array(column) for column in zip(*known, strict=True))
        axes.errorbar(at, auc, yerr=_compute_error_bars(auc, low, high), marker="o", capsize=3, label="AUC, 95 %")
    axes.plot(days, [p.base_rate for p in cutoffs], marker="s", color="tab:orange", label="base rate")
    axes.plot(days, [p.score for p in cutoffs], color="tab:orange", linestyle=":", label="mean score")
    axes.axhline(0.5, color="grey", linestyle=":", label="by chance")
    axes.set(xlabel="cutoff", ylim=(0, 1))
    axes.tick_params(axis="x", rotation=30)
    axes.legend()
    return figure


def _create_figure(title: str) -> tuple[Any, Any]:
    # Figure without pyplot: no display, no global state, nothing to close.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    axes.grid(visible=True, alpha=0.3)
    return figure, axes


def _compute_error_bars(middle: np.ndarray, low: np.ndarray, high: np.ndarray) -> list[np.ndarray]:
    """Return the lengths of error bars; an end that noise put past the middle has none."""
    return [np.maximum(middle - low, 0), np.maximum(high - middle, 0)]


def _draw_calibration(axes: Any, outcome: HoldoutResult) -> None:
    bins = compute_reliability(*(outcome.test[c].to_numpy() for c in ("label", "score", "account_id")))
    top = max(bins["score"].max(), bins["high"].max()) * 1.05
    axes.plot([0, top], [0, top], color="grey", linestyle=":", label="as often as it says")
    bars = _compute_error_bars(bins["share"].to_numpy(), bins["low"].to_numpy(), bins["high"].to_numpy())
    legend = f"test, 95 %; ECE {outcome.evaluation.ece:.3f}, noise to {outcome.evaluation.ece_noise:.3f}"
    axes.errorbar(bins["score"], bins["share"], yerr=bars, marker="o", capsize=3, label=legend)
    axes.set(xlabel="mean score of a tenth of the rows", ylabel="share that came true")
    axes.legend()


def _draw_lift(axes: Any, outcome: HoldoutResult) -> None:
    labels = outcome.test["label"].to_numpy()[np.argsort(-outcome.test["score"].to_numpy(), kind="stable")]
    shares = np.arange(1, len(labels) + 1) / len(labels)
    axes.plot(shares, np.cumsum(labels) / labels.sum(), label=f"lift at 10 %: {outcome.evaluation.lift_10:.1f}")
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="by chance")
    axes.set(xlabel="share of accounts, highest score first", ylabel="share of positives found")
    axes.legend()


def _draw_precision_recall(axes: Any, outcome: HoldoutResult) -> None:
    precision, recall, _ = precision_recall_curve(outcome.test["label"], outcome.test["score"])
    axes.plot(recall, precision, label=f"average precision {outcome.evaluation.ap:.3f}")
    axes.axhline(outcome.evaluation.base_rate, color="grey", linestyle=":", label="base rate")
    axes.set(xlabel="recall", ylabel="precision", ylim=(0, 1))
    axes.legend()
