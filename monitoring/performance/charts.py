"""Lay out the chart of one figure by cutoff: expected as a band, measured as points with whiskers, in SVG units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from features.core.course_layout import AxisMark, ChartSize, CourseLayout, choose_labels

# Of the drawing; text in it stays readable where a phone shows it at this width.
_SIZE = ChartSize(340, 210, 40, 12, inset=10)


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
class Chart:
    """The laid out chart.

    Args:
        title: The figure that it shows.
        expected: Points of the estimate, ascending in time.
        measured: Points of what came true.
        y_marks: Of the vertical axis.
        x_marks: Of the horizontal axis.
        band: Path around the expected interval.
        line: Path of the expected values.
    """

    title: str
    expected: tuple[ChartPoint, ...]
    measured: tuple[ChartPoint, ...]
    y_marks: tuple[AxisMark, ...]
    x_marks: tuple[AxisMark, ...]
    band: str
    line: str
    width: int = _SIZE.width
    height: int = _SIZE.height
    left: int = _SIZE.left
    right: int = _SIZE.width - _SIZE.right
    bottom: int = _SIZE.height - _SIZE.bottom


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
    layout = CourseLayout.fit(_SIZE, [figure.as_of for figure in figures], values)

    def build_points(name: str) -> tuple[ChartPoint, ...]:
        points = []
        for figure in figures:
            triple = figure.expected if name == "expected" else figure.measured
            if triple:
                value, low, high = (f"{v:.0%}" if is_share else f"{v:.3f}" for v in triple)
                text = f"{figure.as_of:%Y-%m-%d}: {name} {value} ({low} to {high})"
                middle, top, bottom = (layout.place_y(v) for v in triple)
                points.append(ChartPoint(layout.place_x(figure.as_of), middle, top, bottom, text))
        return tuple(points)

    expected = [(figure.as_of, *figure.expected) for figure in figures if figure.expected]
    marks = layout.list_marks()
    digits = 2 if not is_share and layout.step >= 0.01 else 3
    return Chart(
        title=title,
        expected=build_points("expected"),
        measured=build_points("measured"),
        y_marks=tuple(AxisMark(layout.place_y(m), f"{100 * m:.3g}%" if is_share else f"{m:.{digits}f}") for m in marks),
        x_marks=tuple(
            AxisMark(layout.place_x(at), f"{at:%b %Y}") for at in choose_labels([figure.as_of for figure in figures])
        ),
        band=layout.draw_band([(at, low, high) for at, _, low, high in expected]),
        line=layout.draw_line([(at, value) for at, value, _, _ in expected]),
    )
