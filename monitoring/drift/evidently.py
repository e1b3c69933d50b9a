"""Compare two samples of snapshots with Evidently, and write its page. No other file imports Evidently.

Evidently gets columns already cut into bins (`serving.gate.binning`): each bin holds enough rows, missing values count,
and no raw value of an account gets into a page.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from features.catalog import BUILT_IN, Catalog
from features.core.errors import GarrisonError
from features.core.html import render_template, write_page
from monitoring.drift.verdict import ColumnDrift, Verdict, describe_column
from serving.gate.binning import BinnedColumn, bin_column, find_noise_level
from serving.gate.schema_checks import ComparableSamples, check_schema

_TEMPLATE = Path(__file__).parent / "templates" / "drift.html"
ROWS = 20_000
# A PSI below this is small whatever the number of rows, by the rule of thumb of credit scoring.
LEAST = 0.1
# The chance that a verdict calls drift where there is none, shared by all its columns.
CHANCE = 0.01
SHOWN_DRIFTED, SHOWN_STABLE = 12, 6
_SIDES = {"reference": ("in training", {"color": "#9fb0c3"}), "current": ("now", {"color": "#d98e04"})}
# Evidently guesses the type of each column that these lists leave out.
_OTHER_KINDS = ("numerical", "text", "datetime", "unknown", "list")

# By name: the reference's scores and the current ones, row for row.
Scores = Mapping[str, tuple[ArrayLike, ArrayLike]]


def judge_drift(reference: pd.DataFrame, current: pd.DataFrame, *, seed: int, scores: Scores | None = None) -> Verdict:
    """Judge whether `current` looks like `reference`, without a page.

    Args:
        reference: Features of the training snapshots; of more than 20,000 rows a sample is taken.
        current: Features of the newest snapshot's cohort; the same.
        seed: Of the samples.
        scores: Compared like features.
    """
    sound = _prepare(reference, current, seed=seed, scores=scores)
    binned = {name: bin_column(sound.reference[name], sound.current[name]) for name in sound.reference}
    chance = CHANCE / max(1, len(binned))
    rows = len(sound.current), len(sound.reference)
    columns = []
    for name, psi in _compute_psi(binned).items():
        bins = binned[name].count
        about = describe_column(sound.reference[name], sound.current[name])
        about |= {"kind": "score"} if name in (scores or {}) else {}
        threshold = max(LEAST, find_noise_level(*rows, bins, chance=chance))
        columns.append(ColumnDrift(name, psi=psi, threshold=threshold, bins=bins, **about))
    columns.sort(key=lambda c: (-c.psi / c.threshold, c.name))
    return Verdict(tuple(columns), sound.findings, *rows)


def write_drift_page(  # noqa: PLR0913  # all named: what to show, and where
    verdict: Verdict,
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    file: Path,
    heading: str,
    seed: int,
    scores: Scores | None = None,
    catalog: Catalog = BUILT_IN,
) -> Path:
    """Write the page: the verdict in words, all columns' figures, and Evidently's view of the most moved.

    The page needs no network. It has some 4 MB, nearly all of it Evidently's program.

    Args:
        verdict: As `check` gave it for the same reference, current, seed and scores.
        reference: These four as given to `check`.
        current: The same.
        file: Written whole or not at all; its folder is made.
        heading: The model and the date, for the top of the page.
        seed: The same.
        scores: The same.
        catalog: What the columns are.
    """
    shown = verdict.drifted[:SHOWN_DRIFTED] or verdict.columns[:SHOWN_STABLE]
    features = catalog.features
    sentences = {c.name: features[c.name].sentence for c in verdict.columns if c.name in features}
    head = body = ""
    if shown:
        sound = _prepare(reference, current, seed=seed, scores=scores)
        binned = {c.name: bin_column(sound.reference[c.name], sound.current[c.name]) for c in shown}
        report = _run_report(binned, {c.name: c.threshold for c in shown})
        whole = _render(report, [f"{c.name}: PSI {c.psi:.2f}" for c in shown])
        head = whole.split("<head>", 1)[1].split("</head>", 1)[0]
        body = whole.split("<body>", 1)[1].rsplit("</body>", 1)[0]
    about: dict[str, Any] = {"verdict": verdict, "heading": heading, "sentences": sentences}
    about |= {"shown": len(shown), "leading": max(len(verdict.drifted), len(shown))}
    return write_page(file, render_template(_TEMPLATE, **about, evidently_head=head, evidently_body=body))


def _prepare(reference: pd.DataFrame, current: pd.DataFrame, *, seed: int, scores: Scores | None) -> ComparableSamples:
    """Return both frames with their scores as columns, sampled, without the columns that can't be compared."""
    sides = []
    for at, frame in enumerate((reference, current)):
        whole = frame.assign(**{name: np.asarray(pair[at]) for name, pair in (scores or {}).items()})
        sides.append(whole.sample(ROWS, random_state=seed) if len(whole) > ROWS else whole)
    return check_schema(sides[0], sides[1])


def _compute_psi(binned: Mapping[str, BinnedColumn]) -> dict[str, float]:
    """Return Evidently's PSI of each column, without the figures that its reports draw: an eighth of the time."""
    with _without_telemetry():
        from evidently.legacy.calculations.stattests import psi_stat_test
        from evidently.legacy.core import ColumnType

        kind = ColumnType.Categorical
        return {n: float(psi_stat_test(b.reference, b.current, kind, LEAST).drift_score) for n, b in binned.items()}


def _run_report(binned: Mapping[str, BinnedColumn], thresholds: Mapping[str, float]) -> Any:
    """Return Evidently's result with one drift figure a column, in the order given."""
    with _without_telemetry():
        from evidently import DataDefinition, Dataset, Report
        from evidently.metrics import ValueDrift

        names = {name: _strip_brackets(name) for name in binned}
        nothing: dict[str, list[str]] = {f"{kind}_columns": [] for kind in _OTHER_KINDS}
        definition = DataDefinition(categorical_columns=list(names.values()), **nothing)
        sides = [
            Dataset.from_pandas(
                pd.DataFrame({names[n]: getattr(b, side).map(_strip_brackets) for n, b in binned.items()}), definition
            )
            for side in ("current", "reference")
        ]
        metrics = [ValueDrift(column=names[n], method="psi", threshold=thresholds[n]) for n in binned]
        return Report(metrics).run(*sides)


def _render(report: Any, headings: list[str]) -> str:
    """Render Evidently's figures alone: two side by side, of shares instead of counts, their bins in order."""
    with _without_telemetry():
        from evidently.core.metric_types import render_widgets
        from evidently.legacy.renderers.html_widgets import group_widget

    figures = []
    for heading, result in zip(headings, report.metric_results.values(), strict=True):
        widget = result.widget[-1]
        widget.title, widget.size = _strip_brackets(heading), 1
        for figure in (tab.widget.params for tab in widget.tabs):
            for trace in figure["data"]:
                trace["visible"] = not trace["visible"]
                trace["name"], trace["marker"] = _SIDES[trace["name"]]
            layout = figure["layout"]
            order = sorted({str(label) for trace in figure["data"] for label in trace["x"]})
            layout["xaxis"] |= {"categoryorder": "array", "categoryarray": order}
            layout["yaxis"] |= {"title": {"text": "% of accounts"}, "gridcolor": "#e8ecf1"}
            layout["plot_bgcolor"] = "white"
            layout["legend"] = {"orientation": "h", "y": 1.02, "yanchor": "bottom"}
            layout["margin"] = {"l": 55, "r": 10, "t": 60, "b": 90}
            for menu in layout["updatemenus"]:
                menu["visible"] = False
        figures.append(widget)
    return str(render_widgets([group_widget(title="", widgets=figures)], as_iframe=False))


def _strip_brackets(text: str) -> str:
    """Return the text without angle brackets, since Evidently does not escape `</script>` in a script element."""
    return text.translate({ord("<"): "\u2039", ord(">"): "\u203a"})


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Switch off Evidently's usage reports, and its libraries' warnings.

    Raises:
        GarrisonError: Evidently is not installed.
    """
    if find_spec("evidently") is None:
        raise GarrisonError("Evidently is not installed", hint="Install it: pip install 'garrison[monitoring]'")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
