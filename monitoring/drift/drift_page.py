"""Write the page of a drift verdict: the verdict, what moved as bars and figures, and Evidently's report on it."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from features.catalog import BUILT_IN, Catalog
from features.core.atomic_write import write_atomically
from features.core.html import render_template, write_page
from monitoring.drift import evidently
from monitoring.drift.comparison import Scores, prepare_samples
from monitoring.drift.verdict import MATTERS, DriftVerdict, Kind
from serving.gate.binning import BinnedColumn, bin_column

_TEMPLATE = Path(__file__).parent / "templates" / "drift.html"
_NUMBER = re.compile(r"-?\d[\d.]*(?:e[-+]?\d+)?")
_NOTHING = 1e-9
# Columns that are drawn, and that Evidently reports on.
SHOWN = 12
# Evidently's document says how high it is, so that its frame needs no scroll bar of its own.
_HEIGHT = (
    "<script>new ResizeObserver(() => parent.postMessage(document.body.scrollHeight + 40, '*'))"
    ".observe(document.body)</script></body>"
)


@dataclass(frozen=True)
class BinShares:
    """The share of rows in one bin, in training and now."""

    label: str
    before: float
    now: float


@dataclass(frozen=True)
class ColumnChart:
    """The bins of one column."""

    name: str
    bins: tuple[BinShares, ...]

    @property
    def largest(self) -> float:
        """Return the largest share."""
        return max(max(b.before, b.now) for b in self.bins)


def write_drift_page(  # noqa: PLR0913  # all named: what to show, and where
    verdict: DriftVerdict,
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    file: Path,
    heading: str,
    seed: int,
    scores: Scores | None = None,
    catalog: Catalog = BUILT_IN,
) -> Path:
    """Write the page, and beside it the same and Evidently's figures as JSON; it needs no network.

    Args:
        verdict: As `judge_drift` gave it for the same reference, current, seed and scores.
        reference: These four as given to `judge_drift`.
        current: The same.
        file: Written whole or not at all; its folder is made. The JSON has the same name and the suffix `.json`.
        heading: The model and the date, for the top of the page.
        seed: The same.
        scores: The same.
        catalog: Describes the columns.
    """
    shown = (*verdict.moved_scores, *verdict.moved_features) or tuple(c for c in verdict.columns if c.kind == "score")
    shown = shown[:SHOWN]
    binned: dict[str, BinnedColumn] = {}
    if shown:
        sound, _ = prepare_samples(reference, current, seed=seed, scores=scores)
        binned = {c.name: bin_column(*sound.columns[c.name]) for c in shown}
    report = None
    # Evidently takes seconds to import: only for what moved.
    if binned and verdict.drifted and evidently.is_installed():
        report = evidently.run_evidently(binned, {c.name: c.threshold for c in shown})
    figures = {"verdict": verdict.as_dict(), "evidently": report.figures if report else None}
    with write_atomically(file.with_suffix(".json")) as part:
        part.write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    features = catalog.features
    about: dict[str, Any] = {"verdict": verdict, "heading": heading, "matters": MATTERS}
    about["sentences"] = {
        c.name: features[c.name].sentence.replace("`", "").replace("as_of", "the day of the score")
        for c in verdict.columns
        if c.name in features
    }
    kinds = {c.name: c.kind for c in shown}
    about["charts"] = [_draw(name, column, kinds[name]) for name, column in binned.items()]
    return write_page(file, render_template(_TEMPLATE, **about, evidently=_pack(report.html) if report else ""))


def find_drift_pages(folder: Path, as_of: datetime) -> Mapping[str, Path]:
    """Return the pages of one `as_of` by target.

    Args:
        folder: The company's folder of drift pages.
        as_of: Of the snapshot.
    """
    day = f"{as_of:%Y-%m-%d}-"
    return {file.stem.removeprefix(day): file for file in sorted(folder.glob(f"{day}*.html"))}


def name_drift_page(folder: Path, as_of: datetime, target: str) -> Path:
    """Return the file of a target's page; a later verdict on the same day takes the place of an earlier one."""
    return folder / f"{as_of:%Y-%m-%d}-{target}.html"


def _draw(name: str, column: BinnedColumn, kind: Kind) -> ColumnChart:
    """Lay out a column's bins; those of chances are named in percent."""
    before, now = column.counts / column.counts.sum(axis=1, keepdims=True)
    # The number before each label keeps Evidently's bins in order; here they are.
    labels = [label.partition(" ")[2] for label in column.labels]
    if kind != "category":
        labels = [_NUMBER.sub(lambda m: _show_edge(m[0], is_chance=kind == "score"), label) for label in labels]
    return ColumnChart(
        name, tuple(BinShares(*bin_) for bin_ in zip(labels, before.tolist(), now.tolist(), strict=True))
    )


def _show_edge(number: str, *, is_chance: bool) -> str:
    """Return the edge of a bin for people: chances in percent, and what differs from nothing by rounding as 0."""
    if abs(float(number)) < _NOTHING:
        return "0"
    return f"{float(number) * 100:.2g} %" if is_chance else number


def _pack(html: str) -> str:
    """Return a document compressed, as text that no HTML parser can take for anything else: 4 MB become 1.6."""
    document = _HEIGHT.join(html.rsplit("</body>", 1))
    return base64.b64encode(gzip.compress(document.encode(), mtime=0)).decode()
