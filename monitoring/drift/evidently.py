"""Run Evidently's own report on the columns that moved. No other file imports Evidently, and only its public names.

Evidently gets columns already cut into bins (`serving.gate.binning`), with the method and the thresholds of our own
verdict: each bin holds enough rows, missing values count, and no raw value of an account gets into a page.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import pandas as pd

from serving.gate.binning import BinnedColumn

# Evidently guesses the type of each column that these lists leave out.
_OTHER_KINDS = ("numerical", "text", "datetime", "unknown", "list")
# Evidently writes names into a script element as they are.
_SAFE = {ord("<"): "\u2039", ord(">"): "\u203a", ord("&"): "+"}


@dataclass(frozen=True)
class EvidentlyReport:
    """Evidently's report on some columns.

    Args:
        html: Its page: a whole document that needs no network, some 4 MB.
        figures: Its result as plain data for JSON.
        psi: The PSI that it computed, by column.
    """

    html: str
    figures: Mapping[str, Any]
    psi: Mapping[str, float]


def is_installed() -> bool:
    """Return whether Evidently is there; the verdict does not need it."""
    return find_spec("evidently") is not None


def run_evidently(columns: Mapping[str, BinnedColumn], thresholds: Mapping[str, float]) -> EvidentlyReport:
    """Run Evidently's report with one drift figure a column, in the order given.

    Args:
        columns: One or more by name.
        thresholds: The PSI from which each counts as moved.
    """
    with _without_telemetry():
        from evidently import DataDefinition, Dataset, Report
        from evidently.metrics import ValueDrift

        names = {name: name.translate(_SAFE) for name in columns}
        nothing: dict[str, list[str]] = {f"{kind}_columns": [] for kind in _OTHER_KINDS}
        definition = DataDefinition(categorical_columns=list(names.values()), **nothing)
        sides = [
            Dataset.from_pandas(pd.DataFrame({names[n]: _label(c, side) for n, c in columns.items()}), definition)
            for side in (1, 0)
        ]
        metrics = [ValueDrift(column=names[n], method="psi", threshold=thresholds[n]) for n in columns]
        result = Report(metrics).run(*sides)
        figures = json.loads(result.json())
        values = (float(metric["value"]) for metric in figures["metrics"])
        return EvidentlyReport(result.get_html_str(as_iframe=False), figures, dict(zip(columns, values, strict=True)))


def _label(column: BinnedColumn, side: int) -> pd.Categorical:
    """Return the label of each row's bin in one sample: the reference's if 0, else the current one's."""
    return pd.Categorical.from_codes(column.codes[side], [label.translate(_SAFE) for label in column.labels])


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Switch off Evidently's usage reports, and its libraries' warnings."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
