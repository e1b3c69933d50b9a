"""Lay out charts of figures over time, with an axis from zero or between shares: numbers alone, for a template."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

WIDTH, HEIGHT = 640, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 12, 28
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_LABELS = 4


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
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    bottom: int = HEIGHT - _BOTTOM


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
    low, high = (0.0 if from_zero else min(values)), max(values)
    step = _choose_step((high - low) or abs(high) or 1.0)
    floor, ceiling = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    ceiling = max(ceiling, floor + step)
    first, span = instants[0], (instants[-1] - instants[0]).total_seconds() or 1.0

    def place(at: datetime) -> float:
        return round(_LEFT + 8 + (WIDTH - _LEFT - _RIGHT - 16) * (at - first).total_seconds() / span, 1)

    def height(value: float) -> float:
        return round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * (value - floor) / (ceiling - floor), 1)

    dots = []
    for n, (at, (_, value)) in enumerate(zip(instants, points, strict=True)):
        if value is not None:
            ends = [None if e is None else height(e) for e in intervals[n]] if intervals else [None, None]
            dots.append(ChartDot(place(at), height(value), *ends))
    known = [(at, *e) for at, e in zip(instants, expected, strict=False) if None not in e]
    upper = [f"{place(at)} {height(top)}" for at, _, _, top in known]  # type: ignore[arg-type]  # known
    lower = [f"{place(at)} {height(end)}" for at, _, end, _ in reversed(known)]  # type: ignore[arg-type]
    middle = [f"{place(at)} {height(value)}" for at, value, _, _ in known]  # type: ignore[arg-type]
    every = max(1, -(-len(instants) // _LABELS))
    labelled = instants[::-1][::every][::-1]
    return CourseChart(
        _join(f"{dot.x} {dot.y}" for dot in dots),
        tuple(dots),
        f"{_join([*upper, *lower])}Z" if len(known) > 1 else "",
        _join(middle) if len(known) > 1 else "",
        tuple(GridLine(height(floor + n * step), floor + n * step) for n in range(round((ceiling - floor) / step) + 1)),
        tuple(
            (place(at), at, "end" if at == instants[-1] else "start" if at == instants[0] else "middle")
            for at in labelled
        ),
    )


def _choose_step(span: float) -> float:
    """Choose a round step that divides a span into at most five."""
    scale = 10.0 ** math.floor(math.log10(span / 4))
    return next(step * scale for step in _STEPS if span / (step * scale) <= 4)


def _join(points: object) -> str:
    listed = list(points)  # type: ignore[call-overload]  # an iterable of texts
    return f"M{'L'.join(listed)}" if listed else ""
