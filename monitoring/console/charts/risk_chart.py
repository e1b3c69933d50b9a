"""Lay out the course of an account's risk as a chart: numbers alone, which a template draws."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from features.core.course_layout import ChartSize, CourseLayout
from monitoring.lifetime.risk_course import RiskCourse

_SIZE = ChartSize(640, 150, 44, 12, 10, 24, 0)


@dataclass(frozen=True)
class RiskChart:
    """A chart of scores over time.

    Args:
        line: Path of the scores.
        band: Path around the intervals; "" without any.
        dot: Where the newest score is.
        average: Height of the average account; None where it is not known.
        grid: Height and share of each line.
        first: Instant of the first score.
        last: Instant of the last one.
    """

    line: str
    band: str
    dot: tuple[float, float]
    average: float | None
    grid: tuple[tuple[float, float], ...]
    first: datetime
    last: datetime

    @classmethod
    def build(cls, course: RiskCourse) -> RiskChart | None:
        """Lay out a course; None of fewer than two scores."""
        points = course.points
        if len(points) < 2:
            return None
        values = [p.high if p.high is not None else p.score for p in points]
        layout = CourseLayout.fit(
            _SIZE, [p.as_of for p in points], [*values, course.base_rate or 0.0], from_zero=True, most=3
        )
        known = [(p.as_of, p.low, p.high) for p in points if p.low is not None and p.high is not None]
        last = points[-1]
        return cls(
            layout.draw_line([(p.as_of, p.score) for p in points]),
            layout.draw_band(known),
            (layout.place_x(last.as_of), layout.place_y(last.score)),
            None if course.base_rate is None else layout.place_y(course.base_rate),
            tuple((layout.place_y(mark), mark) for mark in layout.list_marks()),
            points[0].as_of,
            last.as_of,
        )
