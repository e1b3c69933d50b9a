"""Lay out the chart of a confidence sequence over time, in SVG units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from features.core.timestamps import from_micros

# Of the drawing; text in it stays readable where a phone shows it at this width.
WIDTH, HEIGHT = 340, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 28
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
# Early intervals are very wide: the drawing shows so many times the last one's width, and cuts off what is beyond.
_ZOOM = 2.5

Look = tuple[int, float, float, float]


@dataclass(frozen=True)
class AxisMark:
    """A mark on an axis: its place, and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class SequenceChart:
    """The laid out chart of a sequence.

    Args:
        band: Outline of the interval, as the points of an SVG polygon.
        line: The estimate, as the points of an SVG polyline.
        last: x and y of the newest estimate.
        zero: y of no effect.
        y_marks: Of the vertical axis, in points.
        x_marks: Of the horizontal axis.
        is_cut: Whether early intervals reach beyond the drawing.
    """

    band: str
    line: str
    last: tuple[float, float]
    zero: float
    y_marks: tuple[AxisMark, ...]
    x_marks: tuple[AxisMark, ...]
    is_cut: bool
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


def lay_out_sequence(looks: Sequence[Look]) -> SequenceChart | None:
    """Lay out the looks that say something; None before there are two.

    Args:
        looks: as_of (µs), effect, low and high of each, ascending.
    """
    bounded = [look for look in looks if math.isfinite(look[2])]
    if len(bounded) < 2:
        return None
    _, effect, low, high = bounded[-1]
    reach = _ZOOM * (high - low) / 2
    floor, ceiling = min(effect - reach, 0.0), max(effect + reach, 0.0)
    # Nothing is lost or kept beyond all accounts.
    floor, ceiling = max(floor, -1.0), min(ceiling, 1.0)
    step = next((s for s in _STEPS if (ceiling - floor) / s <= 6), _STEPS[-1])
    floor, ceiling = math.floor(floor / step) * step, math.ceil(ceiling / step) * step
    begin, end = bounded[0][0], bounded[-1][0]

    def place_x(at: int) -> float:
        return _LEFT + (at - begin) / (end - begin) * (WIDTH - _LEFT - _RIGHT)

    def place_y(value: float) -> float:
        inside = min(max(value, floor), ceiling)
        return HEIGHT - _BOTTOM - (inside - floor) / (ceiling - floor) * (HEIGHT - _BOTTOM - _TOP)

    upper = [(place_x(at), place_y(top)) for at, _, _, top in bounded]
    lower = [(place_x(at), place_y(bottom)) for at, _, bottom, _ in bounded]
    middle = [(place_x(at), place_y(guess)) for at, guess, _, _ in bounded]
    marks = [floor + step * n for n in range(round((ceiling - floor) / step) + 1)]
    thirds = [begin, begin + (end - begin) // 2, end]
    return SequenceChart(
        band=_join([*upper, *reversed(lower)]),
        line=_join(middle),
        last=middle[-1],
        zero=place_y(0.0),
        y_marks=tuple(AxisMark(place_y(mark), f"{100 * mark:+.0f}" if abs(mark) > step / 2 else "0") for mark in marks),
        x_marks=tuple(AxisMark(place_x(at), f"{from_micros(at):%b %Y}") for at in thirds),
        is_cut=any(bottom < floor or top > ceiling for _, _, bottom, top in bounded),
    )


def thin_out(looks: Sequence[Look]) -> tuple[Look, ...]:
    """Return the last look of each month, newest first, for the table behind the chart."""
    by_month = {f"{from_micros(look[0]):%Y-%m}": look for look in looks}
    return tuple(reversed(by_month.values()))


def _join(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
