"""What data scientists call from Python, in one place; docs/python.md shows it at work.

It is what the commands call, with the same checks and results. Instants may be dates or ISO texts such as 2026-01-01.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import TypeAlias

import numpy as np
import pandas as pd

from features.core.plot import Plot
from features.core.progress import Progress
from features.engine import snapshots
from features.settings import Settings, parse_instant
from features.settings.load import load_settings
from features.sources.history import History
from training.estimators.classifier import GarrisonClassifier
from training.estimators.estimator_comparison import EstimatorComparison, compare_estimator
from training.estimators.labelled_rows import LabelledRows, load_labelled_rows
from training.evaluation import plots
from training.fitting import backtest as backtests
from training.fitting import fit as training
from training.fitting.backtest import Backtest
from training.fitting.fit import FittedTarget
from training.models.model import Model

__all__ = [
    "EstimatorComparison",
    "FittedTarget",
    "GarrisonClassifier",
    "History",
    "LabelledRows",
    "backtest",
    "build_snapshots",
    "compare_estimator",
    "explain",
    "fit",
    "load_labelled_rows",
    "load_settings",
    "plot_backtest",
    "plot_importance",
    "plot_result",
    "summarise",
]

InstantLike: TypeAlias = datetime | date | str


def build_snapshots(history: History, as_ofs: Sequence[InstantLike]) -> pd.DataFrame:
    """Build a row for each account and instant, of what had happened and was known by then.

    Returns:
        account_id, as_of, features: see `features.engine.snapshots.build`.
    """
    return snapshots.build(history, [parse_instant(as_of) for as_of in as_ofs])


def fit(
    history: History, settings: Settings, *, as_of: InstantLike | None = None, progress: Progress = print
) -> dict[str, FittedTarget]:
    """Train every target that the settings ask for, and evaluate it on later cutoffs beside baselines.

    Nothing is registered: `python -m training fit` does that.

    Args:
        history: Of the company.
        settings: Of the company.
        as_of: As if it were then: no label looks past it. Default: all the data.
        progress: Called as each step begins.

    Raises:
        LabelError: Too short a history for the time plan, or an empty cohort.
    """
    return training.fit(history, settings, as_of=_parse(as_of), progress=progress)


def backtest(
    history: History, settings: Settings, *, origins: int = 12, as_of: InstantLike | None = None
) -> dict[str, Backtest]:
    """Train at each of the newest past cutoffs as one would have then, and compare the scores with what came.

    Args:
        history: Of the company.
        settings: Of the company.
        origins: How many cutoffs.
        as_of: As if it were then. Default: all the data.

    Returns:
        By target and horizon, such as churn_90d.

    Raises:
        LabelError: No cutoff at which a model could be trained and evaluated.
    """
    return backtests.backtest(history, settings, origins=origins, as_of=_parse(as_of))


def summarise(fitted: dict[str, FittedTarget]) -> pd.DataFrame:
    """Return a row for each target and horizon: rows, base rate, AUC with its interval, best baseline, ECE, verdict."""
    rows = {}
    for name, target in fitted.items():
        for horizon, result in target.results.items():
            e = result.evaluation
            best = max(b.auc for rival, b in e.baselines.items() if rival != "champion")
            rows[f"{name}_{horizon}d"] = (e.rows, e.base_rate, e.auc, e.auc_low, e.auc_high, best, e.ece, e.verdict)
    columns = ["rows", "base_rate", "auc", "auc_low", "auc_high", "best_baseline_auc", "ece", "verdict"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def explain(model: Model, snapshots: pd.DataFrame, horizon: int) -> pd.DataFrame:
    """Return each feature's part of each snapshot's log-odds, (n, features), on the snapshots' index."""
    parts = model.contributions(model.matrix(snapshots), horizon)
    return pd.DataFrame(parts, columns=list(model.features), index=snapshots.index)


def plot_result(fitted: FittedTarget, horizon: int) -> dict[str, Plot]:
    """Draw a horizon's evaluation: calibration, lift, precision_recall, ranking and rates over the cutoffs."""
    name = f"{fitted.model.target}_{horizon}d"
    return {plot.name.removeprefix(f"{name}_"): plot for plot in plots.draw_plots(name, fitted.results[horizon])}


def plot_importance(fitted: FittedTarget, horizon: int) -> Plot:
    """Draw the features that move a horizon's scores most, on rows of the training."""
    strengths = explain(fitted.model, fitted.model.reference, horizon).abs().mean()
    return plots.draw_importance(f"{fitted.model.target}_{horizon}d", list(strengths.index), np.asarray(strengths))


def plot_backtest(result: Backtest) -> dict[str, Plot]:
    """Draw a backtest: ranking and rates over its origins."""
    drawn = plots.draw_course("backtest", result.pooled.evaluation.by_cutoff)
    return {plot.name.removeprefix("backtest_"): plot for plot in drawn}


def _parse(as_of: InstantLike | None) -> datetime | None:
    return None if as_of is None else parse_instant(as_of)
