"""Write the overview page: whether the newest scores can be believed, and the course of all verdicts so far."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from features.core.html import render_template, write_page
from features.settings import Settings
from features.state import database
from monitoring.drift.drift_page import find_drift_pages
from monitoring.drift.drift_report import drift_folder
from serving.gate.verdict import State
from serving.gate.verdict_store import JudgedRun, read_history

_TEMPLATE = Path(__file__).parent / "templates" / "overview.html"
# Runs that are drawn and listed, the newest.
SHOWN = 60
# Of the drawings, in their own units; text in them stays readable where a phone shows them at this width.
_WIDTH, _HEIGHT, _MARGIN = 360, 130, 16
# A PSI below this is small: the scale of the drawing goes up to it at least.
_SMALL = 0.1
_PSI = "psi "


@dataclass(frozen=True)
class DriftLink:
    """A drift page of a run: of which target, what it says, and its address beside the overview."""

    target: str
    state: State | None
    address: str


@dataclass(frozen=True)
class RunMark:
    """One run in the drawings and the table; `x` is its place in the drawing."""

    judged: JudgedRun
    x: float
    drift: tuple[DriftLink, ...]

    @property
    def state(self) -> State:
        """Return the verdict's state."""
        return self.judged.verdict.state

    @property
    def scores(self) -> dict[str, float]:
        """Return the PSI of each score against the run that it was compared with, by the score's name."""
        figures = self.judged.verdict.figures.items()
        return {name.removeprefix(_PSI): value for name, value in figures if name.startswith(_PSI)}


@dataclass(frozen=True)
class ScoreCourse:
    """The course of one score's PSI over the runs.

    Args:
        name: Of the score, such as churn_90d.
        points: (x, y) in the drawing, the oldest first.
        marks: The runs and the PSI of these points.
        top: The PSI at the top of the drawing.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    marks: tuple[tuple[RunMark, float], ...]
    top: float


def write_overview(settings: Settings) -> Path:
    """Write the page `monitoring.html` into the company's folder of results, and return its file."""
    with database.open(settings) as state:
        runs = read_history(state)
    file = settings.var / "monitoring.html"
    marks = place_runs(runs[:SHOWN], drift_folder(settings), beside=file.parent)
    text = render_template(
        _TEMPLATE,
        heading=f"{settings.company.name}: monitoring",
        company=settings.company.name,
        marks=marks,
        total=len(runs),
        courses=list(draw_scores(marks)),
        size=(_WIDTH, _HEIGHT, _MARGIN),
    )
    return write_page(file, text)


def place_runs(runs: Sequence[JudgedRun], folder: Path, *, beside: Path) -> tuple[RunMark, ...]:
    """Place runs in the drawings, the newest at the right.

    Args:
        runs: The newest first.
        folder: Of the drift pages.
        beside: The folder of the overview page, for the addresses in it.
    """
    step = (_WIDTH - 2 * _MARGIN) / max(1, len(runs) - 1)
    return tuple(
        RunMark(judged, round(_WIDTH - _MARGIN - at * step, 1), tuple(_link_drift(judged, folder, beside)))
        for at, judged in enumerate(runs)
    )


def draw_scores(marks: Sequence[RunMark]) -> Iterator[ScoreCourse]:
    """Yield the course of each score that was compared with an earlier run, by name.

    Args:
        marks: The newest first.
    """
    for name in sorted({name for mark in marks for name in mark.scores}):
        runs = tuple((mark, mark.scores[name]) for mark in reversed(marks) if name in mark.scores)
        top = max(_SMALL, *(psi for _, psi in runs)) * 1.1
        points = tuple(
            (mark.x, round(_HEIGHT - _MARGIN - psi / top * (_HEIGHT - 2 * _MARGIN), 1)) for mark, psi in runs
        )
        yield ScoreCourse(name, points, runs, top)


def _link_drift(judged: JudgedRun, folder: Path, beside: Path) -> Iterator[DriftLink]:
    for target, page in find_drift_pages(folder, judged.verdict.as_of).items():
        yield DriftLink(target, _read_state(page.with_suffix(".json")), Path(os.path.relpath(page, beside)).as_posix())


def _read_state(file: Path) -> State | None:
    """Return the state in the JSON beside a drift page; None where there is none, as earlier versions wrote none."""
    try:
        state: State = json.loads(file.read_text(encoding="utf-8"))["verdict"]["state"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return state
