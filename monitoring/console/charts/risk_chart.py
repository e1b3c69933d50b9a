"""Lay out the course of an account's risk as a chart: numbers alone, which a template draws."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from monitoring.lifetime.risk_course import RiskCourse, RiskPoint

WIDTH, HEIGHT = 640, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 10, 24
# Where the axis may end.
_ENDS = (0.06, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)


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
        tops = [*(p.high if p.high is not None else p.score for p in points), course.base_rate or 0.0]
        end = next(e for e in _ENDS if e >= min(max(tops), 1.0))
        first, span = points[0].as_of, points[-1].as_of - points[0].as_of

        def place(point: RiskPoint) -> float:
            return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * ((point.as_of - first) / span), 1)

        def height(share: float) -> float:
            return round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * share / end, 1)

        line = "L".join(f"{place(p)} {height(p.score)}" for p in points)
        known = [p for p in points if p.low is not None and p.high is not None]
        band = ""
        if len(known) > 1:
            upper = [f"{place(p)} {height(p.high or 0)}" for p in known]
            lower = [f"{place(p)} {height(p.low or 0)}" for p in reversed(known)]
            band = f"M{'L'.join([*upper, *lower])}Z"
        return cls(
            f"M{line}",
            band,
            (place(points[-1]), height(points[-1].score)),
            None if course.base_rate is None or course.base_rate > end else height(course.base_rate),
            tuple((height(share), share) for share in (0.0, end / 2, end)),
            first,
            points[-1].as_of,
        )
