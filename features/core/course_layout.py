"""Lay out courses over time for drawings in SVG: where instants and values stand, axes, lines and bands; numbers alone.

All charts of a course, on pages of the console and in written reports, are laid out here: they differ in size and axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Self

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


class AxisMark(NamedTuple):
    """A mark on an axis: its place, and its label."""

    at: float
    label: str


class ChartSize(NamedTuple):
    """The size of a drawing, and the room around what is drawn in it: that of labels, and dots at the ends."""

    width: int
    height: int
    left: int
    right: int = 16
    top: int = 12
    bottom: int = 28
    inset: int = 8


@dataclass(frozen=True)
class CourseLayout:
    """Where instants and values stand in a drawing.

    Args:
        size: Of the drawing.
        begin: Of the course (s).
        end: Of the course (s).
        floor: The lowest mark of the vertical axis.
        step: Between two marks.
        marks: Their number.

    Examples:
        >>> from datetime import UTC
        >>> days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 11, 31)]
        >>> layout = CourseLayout.fit(ChartSize(100, 50, 20, 4, 5, 5, 0), days, [0.1, 0.38], from_zero=True)
        >>> layout.list_marks()
        [0.0, 0.1, 0.2, 0.3, 0.4]
        >>> layout.draw_line([(days[0], 0.0), (days[-1], 0.4)])
        'M20.0 45.0L96.0 5.0'
    """

    size: ChartSize
    begin: float
    end: float
    floor: float
    step: float
    marks: int

    @classmethod
    def fit(
        cls,
        size: ChartSize,
        instants: Sequence[datetime],
        values: Iterable[float],
        *,
        from_zero: bool = False,
        most: int = 5,
    ) -> Self:
        """Fit the axes to a course.

        Args:
            size: Of the drawing.
            instants: Ascending, at least one.
            values: All that must be seen, at least one.
            from_zero: Whether the axis begins at zero, as it must for amounts.
            most: Steps of the vertical axis.
        """
        known = list(values)
        low, high = (min(0.0, *known) if from_zero else min(known)), max(known)
        step = _choose_step((high - low) or abs(high) or 1.0, most - 1)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        begin, end = instants[0].timestamp(), instants[-1].timestamp()
        return cls(size, begin, end, first * step, step, max(last, first + 1) - first + 1)

    @property
    def ceiling(self) -> float:
        """Return the highest mark of the vertical axis."""
        return self.floor + self.step * (self.marks - 1)

    @property
    def right(self) -> int:
        """Return where the drawing ends at the right."""
        return self.size.width - self.size.right

    @property
    def bottom(self) -> int:
        """Return where the horizontal axis stands."""
        return self.size.height - self.size.bottom

    def list_marks(self) -> list[float]:
        """List the values of the marks, ascending."""
        return [round(self.floor + self.step * n, 10) for n in range(self.marks)]

    def place_x(self, at: datetime) -> float:
        """Return where an instant stands; the middle where the course has but one."""
        size, span = self.size, self.end - self.begin
        if not span:
            return round((size.left + self.right) / 2, 1)
        room = self.right - size.left - 2 * size.inset
        return round(size.left + size.inset + room * (at.timestamp() - self.begin) / span, 1)

    def place_y(self, value: float) -> float:
        """Return where a value stands; what is beyond the axis stands at its end."""
        inside = min(max(value, self.floor), self.ceiling)
        room = self.bottom - self.size.top
        return round(self.bottom - room * (inside - self.floor) / (self.ceiling - self.floor), 1)

    def draw_line(self, points: Iterable[tuple[datetime, float]]) -> str:
        """Return the path of a line; "" of no points."""
        return _join(f"{self.place_x(at)} {self.place_y(value)}" for at, value in points)

    def draw_band(self, ends: Sequence[tuple[datetime, float, float]]) -> str:
        """Return the path around intervals (instant, low, high); "" of fewer than two."""
        upper = [f"{self.place_x(at)} {self.place_y(high)}" for at, _, high in ends]
        lower = [f"{self.place_x(at)} {self.place_y(low)}" for at, low, _ in reversed(ends)]
        return f"{_join([*upper, *lower])}Z" if len(ends) > 1 else ""


def choose_labels(instants: Sequence[datetime], most: int = 4) -> list[datetime]:
    """Choose the instants that are written below a course: the last one, and others as far apart."""
    every = max(1, -(-len(instants) // most))
    return list(instants[::-1][::every][::-1])


def _choose_step(span: float, most: int) -> float:
    """Choose a round step that divides a span into at most so many."""
    scale = 10.0 ** math.floor(math.log10(span / most))
    return next(step * scale for step in _STEPS if span / (step * scale) <= most + 1e-9)


def _join(points: Iterable[str]) -> str:
    listed = list(points)
    return f"M{'L'.join(listed)}" if listed else ""
