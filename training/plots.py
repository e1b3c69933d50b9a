"""The pictures of an evaluation: calibration, lift and precision-recall."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve

from training import evaluate
from training.fit import Outcome


def figures(name: str, outcome: Outcome) -> Iterator[tuple[str, Any]]:
    """(file name, matplotlib Figure) for each picture of one target and horizon, such as churn_90d."""
    # Figure without pyplot: no display, no global state, nothing to close.
    from matplotlib.figure import Figure

    for kind, draw in (("calibration", _calibration), ("lift", _lift), ("precision_recall", _precision_recall)):
        figure = Figure(figsize=(5, 4), layout="constrained")
        axes = figure.subplots()
        draw(axes, outcome)
        axes.set_title(f"{name}: {kind.replace('_', '-')}")
        axes.grid(visible=True, alpha=0.3)
        yield f"{name}_{kind}.png", figure


def _calibration(axes: Any, outcome: Outcome) -> None:
    bins = evaluate.reliability(outcome.test["label"].to_numpy(), outcome.test["score"].to_numpy())
    top = max(bins["score"].max(), bins["share"].max()) * 1.05
    axes.plot([0, top], [0, top], color="grey", linestyle=":", label="as often as it says")
    axes.plot(bins["score"], bins["share"], marker="o", label=f"test, ECE {outcome.evaluation.ece:.3f}")
    axes.set(xlabel="mean score of a tenth of the rows", ylabel="share that came true")
    axes.legend()


def _lift(axes: Any, outcome: Outcome) -> None:
    labels = outcome.test["label"].to_numpy()[np.argsort(-outcome.test["score"].to_numpy(), kind="stable")]
    shares = np.arange(1, len(labels) + 1) / len(labels)
    axes.plot(shares, np.cumsum(labels) / labels.sum(), label=f"lift at 10 %: {outcome.evaluation.lift_10:.1f}")
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="by chance")
    axes.set(xlabel="share of accounts, highest score first", ylabel="share of positives found")
    axes.legend()


def _precision_recall(axes: Any, outcome: Outcome) -> None:
    precision, recall, _ = precision_recall_curve(outcome.test["label"], outcome.test["score"])
    axes.plot(recall, precision, label=f"average precision {outcome.evaluation.ap:.3f}")
    axes.axhline(outcome.evaluation.base_rate, color="grey", linestyle=":", label="base rate")
    axes.set(xlabel="recall", ylabel="precision", ylim=(0, 1))
    axes.legend()
