"""Measures in windows of one account's facts at one instant, in plain Python.

The same as the walk of `features.engine.window_kernels`, which takes longer to call than a few hundred facts take here.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, Self

from features.core.timestamps import DAY
from features.definitions.feature import WindowedMeasure
from features.definitions.visibility_rule import is_visible
from features.rows.kinds import NotComputable

_MOST = 2**63  # sums of whole numbers stay below it in batch, too
Values = list[Any]


@dataclass(frozen=True)
class WindowPlan:
    """What is measured on a stream's facts.

    Args:
        windows: Each days, or None for all the past, and days before `as_of`.
        asks: Of each windowed measure how, the name of its values, whether it counts days, the place of its window, and
            what its value is divided by.
    """

    windows: tuple[tuple[int | None, int], ...]
    asks: tuple[tuple[str, str, bool, int, int], ...]

    @classmethod
    def of(cls, asks: Sequence[WindowedMeasure], scale: Mapping[str, int]) -> Self:
        """Plan windowed measures of one stream.

        Args:
            asks: The measures.
            scale: What a measure's whole numbers are divided by, by its name, where that isn't 1.
        """
        windows = list(dict.fromkeys((ask.days, ask.before) for ask in asks))
        places = {window: place for place, window in enumerate(windows)}
        return cls(
            tuple(windows),
            tuple(
                (m.how, m.name, m.column == "day", places[ask.days, ask.before], scale.get(m.name, 1))
                for ask in asks
                for m in [ask.measure]
            ),
        )

    def aggregate(self, columns: Mapping[str, Values], as_of: int) -> list[float]:
        """Return the measures' values, NaN for null, in their order.

        Args:
            columns: Of one account's facts in any order: `t`, `known` and where they end `until`, µs; and by name the
                values of measures, null as None.
            as_of: The instant, µs.

        Raises:
            NotComputable: A sum leaves 64 bits.
        """
        facts = _VisibleFacts(columns, as_of)
        edges = [facts.find_edges(days, before) for days, before in self.windows]
        measured: list[float] = []
        for how, name, is_day, window, scale in self.asks:
            begin, end = edges[window]
            value = facts.count_days(begin, end) if is_day else _MEASURES[how](facts, name, begin, end)
            measured.append(math.nan if value is None else float(value) / scale)
        return measured


class _VisibleFacts:
    """The facts of one account that can be seen at an instant, in the order of their own instants."""

    def __init__(self, columns: Mapping[str, Values], as_of: int) -> None:
        t, known, until = columns["t"], columns["known"], columns.get("until")
        ends = [None] * len(t) if until is None else until
        seen = [i for i, fact in enumerate(zip(t, known, ends, strict=True)) if is_visible(*fact[:2], as_of, fact[2])]
        seen.sort(key=t.__getitem__)
        self._columns, self._as_of, self._seen = columns, as_of, seen
        self._read: dict[str, Values] = {}
        self._running: dict[str, list[int]] = {}
        self._t = [t[i] for i in seen]

    def find_edges(self, days: int | None, before: int) -> tuple[int, int]:
        """Return the places of a window's first fact, and of the first after it."""
        end = self._as_of - before * DAY
        return 0 if days is None else bisect_left(self._t, end - days * DAY), bisect_left(self._t, end)

    def add_up(self, name: str, begin: int, end: int) -> int:
        """Return the sum of a measure's values, or the number of facts where it has none."""
        if name not in self._columns:
            return end - begin
        if name not in self._running:
            values = [value or 0 for value in self._read_values(name)]
            if max(map(abs, values), default=0) * len(values) >= _MOST:
                raise NotComputable
            self._running[name] = [0, *accumulate(values)]
        return self._running[name][end] - self._running[name][begin]

    def count_days(self, begin: int, end: int) -> int:
        """Return the number of days with a fact, counted back from `as_of`."""
        return self._days[end - 1] - self._days[begin] + 1 if begin < end else 0

    def count_different(self, name: str, begin: int, end: int) -> int:
        """Return the number of different values that are not null."""
        different = set(self._read_values(name)[begin:end])
        return len(different) - (None in different)

    def find_least(self, name: str, begin: int, end: int) -> int | None:
        """Return the least value, or the first instant where the measure has none; None for null."""
        return min(self._list_values(name, begin, end), default=None)

    def find_largest(self, name: str, begin: int, end: int) -> int | None:
        """Return the largest value, or the last instant where the measure has none; None for null."""
        return max(self._list_values(name, begin, end), default=None)

    @cached_property
    def _days(self) -> list[int]:
        """Number the days with a fact; each fact has its day's number."""
        days = [(t - self._as_of) // DAY for t in self._t]
        numbers = {day: number for number, day in enumerate(dict.fromkeys(days))}
        return [numbers[day] for day in days]

    def _list_values(self, name: str, begin: int, end: int) -> Values:
        if name not in self._columns:
            return [self._t[begin], self._t[end - 1]] if begin < end else []
        return [value for value in self._read_values(name)[begin:end] if value is not None]

    def _read_values(self, name: str) -> Values:
        if name not in self._read:
            column = self._columns[name]
            self._read[name] = [column[i] for i in self._seen]
        return self._read[name]


_MEASURES: Mapping[str, Callable[[_VisibleFacts, str, int, int], int | None]] = {
    "sum": _VisibleFacts.add_up,
    "count": _VisibleFacts.add_up,
    "distinct": _VisibleFacts.count_different,
    "min": _VisibleFacts.find_least,
    "max": _VisibleFacts.find_largest,
}
