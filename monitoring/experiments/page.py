"""Write the page of an experiment: the sequence over time, power, balance, contamination, saved revenue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.core.html import render_template, write_page
from features.core.language import Phrase
from features.core.timestamps import from_micros
from monitoring.experiments.chart import SequenceChart, lay_out_sequence, thin_out
from monitoring.experiments.experiment_status import Comparison, ExperimentStatus

_TEMPLATE = Path(__file__).parent / "templates" / "experiment.html"
_COLOURS = {"saves": "good", "harms": "bad", "open": "warn"}


@dataclass(frozen=True)
class LookRow:
    """One look of the table behind the chart: its day, and the effect with its interval in points."""

    day: str
    effect: str
    interval: str


@dataclass(frozen=True)
class Section:
    """The part of the page on one comparison.

    Args:
        found: The comparison.
        chart: Of its sequence; None before it says anything.
        looks: The last of each month, newest first.
        colour: good, bad or warn; a class of the page.
        warnings: What speaks against the figures.
    """

    found: Comparison
    chart: SequenceChart | None
    looks: tuple[LookRow, ...]
    colour: str
    warnings: tuple[Phrase, ...]


def write_experiment_page(file: Path, status: ExperimentStatus) -> Path:
    """Write the page; it needs no network, and names are escaped."""
    return write_page(file, render_template(_TEMPLATE, **build_page(status)))


def build_page(status: ExperimentStatus) -> dict[str, Any]:
    """Return the values that the template shows: heading, status, sections."""
    return {
        "heading": f"{status.company}: do alerts save accounts?",
        "status": status,
        "sections": [_build_section(comparison) for comparison in status.comparisons],
    }


def _build_section(found: Comparison) -> Section:
    warnings = tuple(found.list_warnings())
    return Section(
        found=found,
        chart=lay_out_sequence(found.estimate.looks),
        looks=tuple(_build_row(*look) for look in thin_out(found.estimate.looks)),
        colour="bad" if found.balance.is_suspicious else _COLOURS[found.estimate.verdict],
        warnings=warnings,
    )


def _build_row(at: int, effect: float, low: float, high: float) -> LookRow:
    interval = f"{100 * low:+.1f} to {100 * high:+.1f}" if abs(low) < float("inf") else "says nothing yet"
    return LookRow(f"{from_micros(at):%Y-%m-%d}", f"{100 * effect:+.1f}", interval)
