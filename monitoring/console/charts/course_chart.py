"""Lay out charts of figures over time, with an axis from zero or between shares: numbers alone, for a template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from features.core.course_layout import ChartSize, CourseLayout, choose_labels

_SIZE = ChartSize(640, 200, 64)


@dataclass(frozen=True)
class GridLine:
    """A line across the chart: its height, and the value that it marks."""

    y: float
    value: float


@dataclass(frozen=True)
class ChartDot:
    """A dot, with the ends of its interval where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class CourseChart:
    """A laid out course.

    Args:
        line: Path of the values.
        dots: Of the values, with whiskers where intervals are known.
        band: Path around the expected interval; "" without.
        expected: Path of the expected values; "" without.
        grid: Lines across.
        labels: x, instant and SVG text-anchor of days below.
    """

    line: str
    dots: tuple[ChartDot, ...]
    band: str
    expected: str
    grid: tuple[GridLine, ...]
    labels: tuple[tuple[float, datetime, str], ...]
    width: int = _SIZE.width
    height: int = _SIZE.height
    left: int = _SIZE.left
    right: int = _SIZE.width - _SIZE.right
    bottom: int = _SIZE.height - _SIZE.bottom


Triple = tuple[float | None, float | None, float | None]


def lay_out_course(
    points: Sequence[tuple[str, float | None]],
    *,
    intervals: Sequence[tuple[float | None, float | None]] = (),
    expected: Sequence[Triple] = (),
    from_zero: bool = True,
) -> CourseChart | None:
    """Lay out a course; None of fewer than two instants.

    Args:
        points: ISO instant and value of each, the oldest first; None where it is not known.
        intervals: Ends of each value's interval; () without.
        expected: What was expected at each instant, with its interval; () without.
        from_zero: Whether the axis begins at zero, as it must for amounts.
    """
    if len(points) < 2:
        return None
    instants = [datetime.fromisoformat(at) for at, _ in points]
    values = [v for _, v in points if v is not None]
    values += [v for ends in (*intervals, *expected) for v in ends if v is not None]
    if not values:
        return None
    layout = CourseLayout.fit(_SIZE, instants, values, from_zero=from_zero)
    dots = []
    for n, (at, (_, value)) in enumerate(zip(instants, points, strict=True)):
        if value is not None:
            ends = [None if e is None else layout.place_y(e) for e in intervals[n]] if intervals else [None, None]
            dots.append(ChartDot(layout.place_x(at), layout.place_y(value), *ends))
    known = [
        (at, value, low, high)
        for at, (value, low, high) in zip(instants, expected, strict=False)
        if value is not None and low is not None and high is not None
    ]
    band = layout.draw_band([(at, low, high) for at, _, low, high in known])
    anchors = {instants[0]: "start", instants[-1]: "end"}
    return CourseChart(
        layout.draw_line([(at, value) for at, (_, value) in zip(instants, points, strict=True) if value is not None]),
        tuple(dots),
        band,
        layout.draw_line([(at, value) for at, value, _, _ in known]) if band else "",
        tuple(GridLine(layout.place_y(mark), mark) for mark in layout.list_marks()),
        tuple((layout.place_x(at), at, anchors.get(at, "middle")) for at in choose_labels(instants)),
    )
