"""Lay out the chart of a confidence sequence over time, in SVG units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from features.core.course_layout import AxisMark, ChartSize, CourseLayout
from features.core.timestamps import from_micros

# Of the drawing; text in it stays readable where a phone shows it at this width.
_SIZE = ChartSize(340, 220, 46, 12, inset=0)
# Early intervals are very wide: the drawing shows so many times the last one's width, and cuts off what is beyond.
_ZOOM = 2.5

Look = tuple[int, float, float, float]


@dataclass(frozen=True)
class SequenceChart:
    """The laid out chart of a sequence.

    Args:
        band: Path around the interval.
        line: Path of the estimate.
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
    width: int = _SIZE.width
    height: int = _SIZE.height
    left: int = _SIZE.left
    right: int = _SIZE.width - _SIZE.right
    top: int = _SIZE.top
    bottom: int = _SIZE.height - _SIZE.bottom


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
    instants = [from_micros(look[0]) for look in bounded]
    layout = CourseLayout.fit(_SIZE, instants, [floor, ceiling], most=6)
    course = list(zip(instants, bounded, strict=True))
    thirds = [instants[0], instants[0] + (instants[-1] - instants[0]) / 2, instants[-1]]
    return SequenceChart(
        band=layout.draw_band([(at, look[2], look[3]) for at, look in course]),
        line=layout.draw_line([(at, look[1]) for at, look in course]),
        last=(layout.place_x(instants[-1]), layout.place_y(effect)),
        zero=layout.place_y(0.0),
        y_marks=tuple(
            AxisMark(layout.place_y(mark), f"{100 * mark:+.3g}" if mark else "0") for mark in layout.list_marks()
        ),
        x_marks=tuple(AxisMark(layout.place_x(at), f"{at:%b %Y}") for at in thirds),
        is_cut=any(bottom < layout.floor or top > layout.ceiling for _, _, bottom, top in bounded),
    )


def thin_out(looks: Sequence[Look]) -> tuple[Look, ...]:
    """Return the last look of each month, newest first, for the table behind the chart."""
    by_month = {f"{from_micros(look[0]):%Y-%m}": look for look in looks}
    return tuple(reversed(by_month.values()))
