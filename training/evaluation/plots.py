"""Draws an evaluation: calibration, who is found, precision, and the course over the cutoffs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from functools import partial
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve

from features.core.plot import DASHED, REFERENCE, SERIES, TEXT, Plot, draw_plot, mark_months, mark_percent
from training.evaluation.calibration_error import compute_reliability
from training.evaluation.holdout import HoldoutResult
from training.evaluation.segments import SegmentFigures


def draw_plots(name: str, outcome: HoldoutResult) -> Iterator[Plot]:
    """Yield the plots of one target and horizon, such as churn_90d."""
    yield draw_plot(
        f"{name}_calibration", "Does a score come true as often as it says?", partial(_draw_calibration, outcome)
    )
    yield draw_plot(
        f"{name}_lift", "How many does one find who looks at the highest scores first?", partial(_draw_lift, outcome)
    )
    title = "How many alarms are right, the more one wants to find?"
    yield draw_plot(f"{name}_precision_recall", title, partial(_draw_precision, outcome))
    yield from draw_course(name, outcome.evaluation.by_cutoff)


def draw_course(name: str, cutoffs: Sequence[SegmentFigures]) -> tuple[Plot, Plot]:
    """Draw how well each cutoff's accounts were ranked, and what share was expected and came true."""
    return (
        draw_plot(f"{name}_ranking", "Does it rank as well from day to day?", partial(_draw_ranking, cutoffs)),
        draw_plot(f"{name}_rates", "Does it expect as many as came true?", partial(_draw_rates, cutoffs)),
    )


def draw_importance(name: str, features: Sequence[str], strengths: np.ndarray) -> Plot:
    """Draw the strongest features as bars.

    Args:
        name: Of the model.
        features: The model's.
        strengths: (features,) mean size of each one's contribution to the log-odds.
    """
    strongest = np.argsort(-strengths, kind="stable")[:12][::-1]
    shown = [(features[i], float(strengths[i])) for i in strongest]
    return draw_plot(f"{name}_importance", "What moves its scores most?", partial(_draw_bars, shown))


def _draw_calibration(outcome: HoldoutResult, axes: Any) -> None:
    bins = compute_reliability(*(outcome.test[c].to_numpy() for c in ("label", "score", "account_id")))
    top = max(bins["score"].max(), bins["high"].max()) * 1.05
    axes.plot([0, top], [0, top], color=REFERENCE, linestyle=DASHED)
    axes.annotate("as often as it says", (top, top), (-4, -2), textcoords="offset points", ha="right", va="top")
    bars = _compute_error_bars(bins["share"].to_numpy(), bins["low"].to_numpy(), bins["high"].to_numpy())
    axes.errorbar(bins["score"], bins["share"], yerr=bars, marker="o", markersize=4, linewidth=1.2, color=SERIES)
    axes.set(xlabel="mean score of a tenth of the rows", ylabel="share that came true", xlim=(0, None), ylim=(0, None))
    mark_percent(axes.xaxis, axes.yaxis)


def _draw_lift(outcome: HoldoutResult, axes: Any) -> None:
    labels = outcome.test["label"].to_numpy()[np.argsort(-outcome.test["score"].to_numpy(), kind="stable")]
    shares, found = np.arange(1, len(labels) + 1) / len(labels), np.cumsum(labels) / labels.sum()
    some = np.unique(np.linspace(0, len(labels) - 1, 200).astype(int))
    axes.plot([0, *shares[some]], [0, *found[some]], color=SERIES, linewidth=1.6)
    axes.plot([0, 1], [0, 1], color=REFERENCE, linestyle=DASHED)
    axes.annotate("by chance", (0.75, 0.75), (4, -4), textcoords="offset points", va="top")
    tenth = float(found[max(0, round(len(found) * 0.1) - 1)])
    axes.plot([0.1], [tenth], marker="o", markersize=5, color=SERIES)
    axes.annotate(f"the highest tenth: {tenth:.0%}", (0.1, tenth), (8, -4), textcoords="offset points", va="top")
    axes.set(xlabel="share of accounts, highest score first", ylabel="share of positives found", xlim=(0, 1))
    axes.set(ylim=(0, 1.02))
    mark_percent(axes.xaxis, axes.yaxis)


def _draw_precision(outcome: HoldoutResult, axes: Any) -> None:
    precision, recall, _ = precision_recall_curve(outcome.test["label"], outcome.test["score"])
    some = np.unique(np.linspace(0, len(recall) - 1, 300).astype(int))
    axes.plot(recall[some], precision[some], color=SERIES, linewidth=1.4)
    rate = outcome.evaluation.base_rate
    axes.axhline(rate, color=REFERENCE, linestyle=DASHED)
    axes.annotate("by chance", (0, rate), (4, 3), textcoords="offset points")
    axes.set(xlabel="share of positives found", ylabel="share of alarms that are right", xlim=(0, 1), ylim=(0, 1.02))
    mark_percent(axes.xaxis, axes.yaxis)


def _draw_ranking(cutoffs: Sequence[SegmentFigures], axes: Any) -> None:
    known = [(date.fromisoformat(p.value), p.auc, p.auc_low, p.auc_high) for p in cutoffs if p.auc is not None]
    if known:
        at, auc, low, high = (np.array(column) for column in zip(*known, strict=True))
        bars = _compute_error_bars(auc, low, high)
        axes.errorbar(at, auc, yerr=bars, marker="o", markersize=4, linewidth=1.2, color=SERIES)
        axes.annotate("by chance", (at[-1], 0.5), (0, 3), textcoords="offset points", ha="right")
        axes.set(ylim=(min(0.45, float(low.min()) - 0.02), 1))
    axes.axhline(0.5, color=REFERENCE, linestyle=DASHED)
    axes.set(ylabel="AUC, with its 95 % interval")
    mark_months(axes)


def _draw_rates(cutoffs: Sequence[SegmentFigures], axes: Any) -> None:
    days = [date.fromisoformat(p.value) for p in cutoffs]
    for values, colour, label, style in (
        ([p.score for p in cutoffs], REFERENCE, "expected", DASHED),
        ([p.base_rate for p in cutoffs], SERIES, "came true", "-"),
    ):
        axes.plot(days, values, marker="o", markersize=4, linewidth=1.4, color=colour, linestyle=style, label=label)
    axes.set(ylabel="share of accounts", ylim=(0, None))
    axes.legend(frameon=False, loc="lower left", labelcolor=TEXT)
    mark_percent(axes.yaxis)
    mark_months(axes)


def _draw_bars(shown: Sequence[tuple[str, float]], axes: Any) -> None:
    axes.barh([name for name, _ in shown], [strength for _, strength in shown], color=SERIES, height=0.6)
    axes.set(xlabel="mean size of the contribution, in log-odds")
    axes.grid(visible=False, axis="y")


def _compute_error_bars(middle: np.ndarray, low: np.ndarray, high: np.ndarray) -> list[np.ndarray]:
    """Return the lengths of error bars; an end that noise put past the middle has none."""
    return [np.maximum(middle - low, 0), np.maximum(high - middle, 0)]
