"""Lay out the chart of one figure by cutoff: expected as a band, measured as points with whiskers, in SVG units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

# Of the drawing; text in it stays readable where a phone shows it at this width.
WIDTH, HEIGHT = 340, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 12, 12, 28
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_LABELS = 4


@dataclass(frozen=True)
class ExpectedAndMeasured:
    """One figure at one cutoff: (value, low, high) of each; None where it has no meaning or is not known yet."""

    as_of: datetime
    expected: tuple[float, float, float] | None
    measured: tuple[float, float, float] | None


@dataclass(frozen=True)
class ChartPoint:
    """A value with its interval as drawn: x, and y of the value and of both ends; `text` is shown on hovering."""

    x: float
    y: float
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class AxisMark:
    """A mark on an axis: its place, and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """The laid out chart.

    Args:
        title: The figure that it shows.
        expected: Points of the estimate, ascending in time.
        measured: Points of what came true.
        y_marks: Of the vertical axis.
        x_marks: Of the horizontal axis.
    """

    title: str
    expected: tuple[ChartPoint, ...]
    measured: tuple[ChartPoint, ...]
    y_marks: tuple[AxisMark, ...]
    x_marks: tuple[AxisMark, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    bottom: int = HEIGHT - _BOTTOM

    @property
    def band(self) -> str:
        """Return the outline of the expected interval, as the points of an SVG polygon."""
        points = self.expected
        outline = [(p.x, p.high) for p in points] + [(p.x, p.low) for p in reversed(points)]
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in outline)

    @property
    def line(self) -> str:
        """Return the expected values, as the points of an SVG polyline."""
        return " ".join(f"{p.x:.1f},{p.y:.1f}" for p in self.expected)


def lay_out(title: str, figures: Sequence[ExpectedAndMeasured], *, is_share: bool = False) -> Chart | None:
    """Lay out a chart; None where there is nothing to draw.

    Args:
        title: The figure's name.
        figures: By cutoff, ascending.
        is_share: Whether labels are in percent.
    """
    values = [v for f in figures for triple in (f.expected, f.measured) if triple for v in triple]
    if not values:
        return None
    step = next((s for s in _STEPS if (max(values) - min(values)) / s <= 5), _STEPS[-1])
    first, last = int(min(values) / step), -int(-max(values) / step // 1)
    floor, ceiling = first * step, max(last, first + 1) * step
    begin, end = figures[0].as_of.timestamp(), figures[-1].as_of.timestamp()

    def place_x(at: datetime) -> float:
        inset = 10
        if begin == end:
            return (_LEFT + WIDTH - _RIGHT) / 2
        return _LEFT + inset + (at.timestamp() - begin) / (end - begin) * (WIDTH - _LEFT - _RIGHT - 2 * inset)

    def place_y(value: float) -> float:
        return HEIGHT - _BOTTOM - (value - floor) / (ceiling - floor) * (HEIGHT - _BOTTOM - _TOP)

    def build_points(name: str) -> tuple[ChartPoint, ...]:
        points = []
        for figure in figures:
            triple = figure.expected if name == "expected" else figure.measured
            if triple:
                value, low, high = (f"{v:.0%}" if is_share else f"{v:.3f}" for v in triple)
                text = f"{figure.as_of:%Y-%m-%d}: {name} {value} ({low} to {high})"
                middle, top, bottom = (place_y(v) for v in triple)
                points.append(ChartPoint(place_x(figure.as_of), middle, top, bottom, text))
        return tuple(points)

    every = max(1, -(-len(figures) // _LABELS))
    labelled = figures[::-1][::every][::-1]
    marks = [floor + step * n for n in range(round((ceiling - floor) / step) + 1)]
    return Chart(
        title=title,
        expected=build_points("expected"),
        measured=build_points("measured"),
        y_marks=tuple(AxisMark(place_y(m), f"{m:.0%}" if is_share else f"{m:.2f}") for m in marks),
        x_marks=tuple(AxisMark(place_x(f.as_of), f"{f.as_of:%b %Y}") for f in labelled),
    )
