"""Draws an evaluation as SVG: calibration, who is found, precision, and the course over the cutoffs.

Text stays text and colours are few, so that a page can set both in its own type and tokens.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve

from training.evaluation.calibration_error import compute_reliability
from training.evaluation.holdout import HoldoutResult
from training.evaluation.segments import SegmentFigures

# Grey enough for text to be read on white and on black.
TEXT, GRID, MODEL, REFERENCE = "#6b7686", "#d8dee6", "#1f6fb8", "#98a4b3"
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "garrison",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.edgecolor": GRID,
    "axes.labelcolor": TEXT,
    "axes.titlecolor": TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "text.color": TEXT,
}
_SIZE = (4.4, 3.3)  # inches


@dataclass(frozen=True)
class Plot:
    """A drawing; a notebook shows it.

    Args:
        name: Of its file, without a suffix.
        title: What it answers.
        svg: The element, without a background.
    """

    name: str
    title: str
    svg: str

    def __repr__(self) -> str:
        return f"Plot({self.name}: {self.title})"

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, file: Path) -> Path:
        """Write it to a file, whose suffix is .svg."""
        file.write_text(self.svg, encoding="utf-8")
        return file


def draw_plots(name: str, outcome: HoldoutResult) -> Iterator[Plot]:
    """Yield the plots of one target and horizon, such as churn_90d."""
    yield _draw(f"{name}_calibration", "Does a score come true as often as it says?", _draw_calibration, outcome)
    yield _draw(f"{name}_lift", "How many does one find who looks at the highest scores first?", _draw_lift, outcome)
    yield _draw(
        f"{name}_precision_recall", "How many alarms are right, the more one wants to find?", _draw_precision, outcome
    )
    yield from draw_course(name, outcome.evaluation.by_cutoff)


def draw_course(name: str, cutoffs: Sequence[SegmentFigures]) -> tuple[Plot, Plot]:
    """Draw how well each cutoff's accounts were ranked, and what share was expected and came true."""
    return (
        _draw(f"{name}_ranking", "Does it rank as well from day to day?", _draw_ranking, cutoffs),
        _draw(f"{name}_rates", "Does it expect as many as came true?", _draw_rates, cutoffs),
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
    return _draw(f"{name}_importance", "What moves its scores most?", _draw_bars, shown)


def _draw(name: str, title: str, draw: Any, content: Any) -> Plot:
    import matplotlib as mpl

    # Figure without pyplot: no display, no global state, nothing to close.
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.subplots()
        axes.grid(visible=True, linewidth=0.6)
        axes.set_axisbelow(True)
        draw(axes, content)
        written = io.BytesIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = written.getvalue().decode("utf-8")
    # Only the element: a page has one document type and no addresses of others.
    element = text[text.index("<svg") :].replace("'DejaVu Sans', ", "").rstrip()
    begin, end = element.find("<metadata>"), element.find("</metadata>")
    return Plot(name, title, element[:begin] + element[end + len("</metadata>") :] if begin >= 0 else element)


def _draw_calibration(axes: Any, outcome: HoldoutResult) -> None:
    bins = compute_reliability(*(outcome.test[c].to_numpy() for c in ("label", "score", "account_id")))
    top = max(bins["score"].max(), bins["high"].max()) * 1.05
    axes.plot([0, top], [0, top], color=REFERENCE, linestyle=(0, (2, 2)))
    axes.annotate("as often as it says", (top, top), (-4, -2), textcoords="offset points", ha="right", va="top")
    bars = _compute_error_bars(bins["share"].to_numpy(), bins["low"].to_numpy(), bins["high"].to_numpy())
    axes.errorbar(bins["score"], bins["share"], yerr=bars, marker="o", markersize=4, linewidth=1.2, color=MODEL)
    axes.set(xlabel="mean score of a tenth of the rows", ylabel="share that came true", xlim=(0, None), ylim=(0, None))
    _mark_percent(axes.xaxis, axes.yaxis)


def _draw_lift(axes: Any, outcome: HoldoutResult) -> None:
    labels = outcome.test["label"].to_numpy()[np.argsort(-outcome.test["score"].to_numpy(), kind="stable")]
    shares, found = np.arange(1, len(labels) + 1) / len(labels), np.cumsum(labels) / labels.sum()
    some = np.unique(np.linspace(0, len(labels) - 1, 200).astype(int))
    axes.plot([0, *shares[some]], [0, *found[some]], color=MODEL, linewidth=1.6)
    axes.plot([0, 1], [0, 1], color=REFERENCE, linestyle=(0, (2, 2)))
    axes.annotate("by chance", (0.75, 0.75), (4, -4), textcoords="offset points", va="top")
    tenth = float(found[max(0, round(len(found) * 0.1) - 1)])
    axes.plot([0.1], [tenth], marker="o", markersize=5, color=MODEL)
    axes.annotate(f"the highest tenth: {tenth:.0%}", (0.1, tenth), (8, -4), textcoords="offset points", va="top")
    axes.set(xlabel="share of accounts, highest score first", ylabel="share of positives found", xlim=(0, 1))
    axes.set(ylim=(0, 1.02))
    _mark_percent(axes.xaxis, axes.yaxis)


def _draw_precision(axes: Any, outcome: HoldoutResult) -> None:
    precision, recall, _ = precision_recall_curve(outcome.test["label"], outcome.test["score"])
    some = np.unique(np.linspace(0, len(recall) - 1, 300).astype(int))
    axes.plot(recall[some], precision[some], color=MODEL, linewidth=1.4)
    rate = outcome.evaluation.base_rate
    axes.axhline(rate, color=REFERENCE, linestyle=(0, (2, 2)))
    axes.annotate("by chance", (0, rate), (4, 3), textcoords="offset points")
    axes.set(xlabel="share of positives found", ylabel="share of alarms that are right", xlim=(0, 1), ylim=(0, 1.02))
    _mark_percent(axes.xaxis, axes.yaxis)


def _draw_ranking(axes: Any, cutoffs: Sequence[SegmentFigures]) -> None:
    known = [(date.fromisoformat(p.value), p.auc, p.auc_low, p.auc_high) for p in cutoffs if p.auc is not None]
    if known:
        at, auc, low, high = (np.array(column) for column in zip(*known, strict=True))
        bars = _compute_error_bars(auc, low, high)
        axes.errorbar(at, auc, yerr=bars, marker="o", markersize=4, linewidth=1.2, color=MODEL)
        axes.annotate("by chance", (at[-1], 0.5), (0, 3), textcoords="offset points", ha="right")
        axes.set(ylim=(min(0.45, float(low.min()) - 0.02), 1))
    axes.axhline(0.5, color=REFERENCE, linestyle=(0, (2, 2)))
    axes.set(ylabel="AUC, with its 95 % interval")
    _mark_months(axes)


def _draw_rates(axes: Any, cutoffs: Sequence[SegmentFigures]) -> None:
    days = [date.fromisoformat(p.value) for p in cutoffs]
    for values, colour, label, style in (
        ([p.score for p in cutoffs], REFERENCE, "expected", (0, (2, 2))),
        ([p.base_rate for p in cutoffs], MODEL, "came true", "-"),
    ):
        axes.plot(days, values, marker="o", markersize=4, linewidth=1.4, color=colour, linestyle=style, label=label)
    axes.set(ylabel="share of accounts", ylim=(0, None))
    axes.legend(frameon=False, loc="lower left", labelcolor=TEXT)
    _mark_percent(axes.yaxis)
    _mark_months(axes)


def _draw_bars(axes: Any, shown: Sequence[tuple[str, float]]) -> None:
    axes.barh([name for name, _ in shown], [strength for _, strength in shown], color=MODEL, height=0.6)
    axes.set(xlabel="mean size of the contribution, in log-odds")
    axes.grid(visible=False, axis="y")


def _mark_percent(*of: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    for axis in of:
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(lambda share, _: f"{share * 100:.3g} %")


def _mark_months(axes: Any) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=2, maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _compute_error_bars(middle: np.ndarray, low: np.ndarray, high: np.ndarray) -> list[np.ndarray]:
    """Return the lengths of error bars; an end that noise put past the middle has none."""
    return [np.maximum(middle - low, 0), np.maximum(high - middle, 0)]
