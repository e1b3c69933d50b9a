"""Lay out ratios with their intervals as rows beside a line of 1: numbers alone, for a template."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, _ROW = 640, 26
_LEFT, _RIGHT, _TOP, _BOTTOM = 150, 16, 8, 26


@dataclass(frozen=True)
class IntervalRow:
    """One row: its name, height, ends of the interval, place of the ratio, and tone of the dot."""

    name: str
    y: float
    low: float
    high: float
    at: float
    tone: str


@dataclass(frozen=True)
class IntervalChart:
    """The laid out chart: rows, the place of 1, and marks below with their values."""

    rows: tuple[IntervalRow, ...]
    one: float
    marks: tuple[tuple[float, float], ...]
    height: float
    width: int = WIDTH
    left: int = _LEFT


def lay_out_intervals(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> IntervalChart | None:
    """Lay out the ratios of some groups; None without any.

    Args:
        rows: Name, and ratio, low and high of each.
    """
    if not rows:
        return None
    top = math.ceil(max(2.0, *(min(row["high"], 3.0) for _, row in rows)) * 2) / 2

    def place(ratio: float) -> float:
        return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * min(ratio, top) / top, 1)

    def choose_tone(row: Mapping[str, Any]) -> str:
        return "good" if row["high"] < 1 else "risk" if row["low"] > 1 else ""

    laid = tuple(
        IntervalRow(
            name.partition("@")[0],
            _TOP + _ROW * (n + 0.5),
            place(row["low"]),
            place(row["high"]),
            place(row["ratio"]),
            choose_tone(row),
        )
        for n, (name, row) in enumerate(rows)
    )
    marks = tuple((place(n / 2), n / 2) for n in range(round(top * 2) + 1))
    return IntervalChart(laid, place(1.0), marks, _TOP + _ROW * len(rows) + _BOTTOM)
