"""What data scientists call from Python, in one place; docs/python.md shows it at work.

Everything here is what the commands call, with the same checks and the same results.
"""

from __future__ import annotations

from features.engine.snapshots import build as build_snapshots
from features.settings.load import load_settings
from features.sources.history import History
from training.estimators.classifier import GarrisonClassifier
from training.estimators.estimator_comparison import EstimatorComparison, compare_estimator
from training.estimators.labelled_rows import LabelledRows, load_labelled_rows
from training.evaluation.plots import draw_course, draw_importance, draw_plots
from training.fitting.backtest import backtest
from training.fitting.fit import FittedTarget, fit

__all__ = [
    "EstimatorComparison",
    "FittedTarget",
    "GarrisonClassifier",
    "History",
    "LabelledRows",
    "backtest",
    "build_snapshots",
    "compare_estimator",
    "draw_course",
    "draw_importance",
    "draw_plots",
    "fit",
    "load_labelled_rows",
    "load_settings",
]
