"""Computes measures in windows, for many accounts at many instants at once, by one compiled walk over sorted facts.

Facts are sorted by account and instant, so that an account's window is a slice between two positions. One walk finds
the positions of all edges of all windows; then each measure's values are read once, however many windows and instants
ask for them. All is done in whole numbers: a measure has one value in any order of rows, over one account alone as
over all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from features.core.timestamps import EVER, NEVER
from features.definitions.feature import DAY, Measure, WindowedMeasure
from features.definitions.visibility_rule import ARRAYS, visible_from
from features.engine import window_kernels
from features.engine.facts import NOTHING, Facts
from features.engine.native_code import load_kernels

_CELLS = 2**17  # positions in memory at once: they and the results of a block of accounts fit the cache
_ALWAYS = np.array([NEVER], dtype="int64")


def aggregate_windows(
    facts: Facts, asks: Sequence[WindowedMeasure], as_ofs: np.ndarray, accounts: int
) -> dict[str, np.ndarray]:
    """Return the measures asked for, of the facts that `definitions.visibility_rule` lets each instant see.

    Args:
        facts: Of one stream.
        asks: Measures of that stream, in their windows.
        as_ofs: (k,) instants in µs, ascending.
        accounts: How many accounts there are.

    Returns:
        By ask's column, (k, accounts) float64, NaN for null.
    """
    if not asks:
        return {}
    starts = np.searchsorted(facts.account, np.arange(accounts + 1))
    # The visibility rule as the first and the last instant that sees a fact.
    seen_from = visible_from(facts.t, facts.known, ARRAYS)
    found = np.empty((len(asks), len(as_ofs), accounts))
    # Days are counted back from `as_of`: only instants of one time of day share their days.
    for clock in np.unique(as_ofs % DAY):
        places = np.flatnonzero(as_ofs % DAY == clock)
        plan = _plan(tuple(asks), tuple(((as_ofs[places] - as_ofs[places[0]]) // DAY).tolist()))
        walk = _Walk(facts, starts, seen_from, as_ofs[places], plan)
        part = found if len(places) == len(as_ofs) else np.empty((len(asks), len(places), accounts))
        walk.fill(part)
        if part is not found:
            found[:, places] = part
    return {ask.column: found[row] for ask, row in zip(asks, plan.rows, strict=True)}


@dataclass(frozen=True)
class _Group:
    """The asks of one measure, which lie side by side in the result.

    Args:
        measure: Which.
        first: Its first row in the result.
        windows: (w, 2, k) int64, places in the plan's edges.
        by_end: (w * k,) int64, the windows in the order of their ends.
    """

    measure: Measure
    first: int
    windows: np.ndarray
    by_end: np.ndarray

    @cached_property
    def size(self) -> int:
        """Return how many asks there are."""
        return len(self.windows)

    @cached_property
    def windows_at(self) -> int:
        """Return the address of the windows."""
        return _at(self.windows)

    @cached_property
    def by_end_at(self) -> int:
        """Return the address of their order."""
        return _at(self.by_end)


@dataclass(frozen=True)
class _Plan:
    """What a walk does for some asks at instants that lie some days apart.

    Args:
        edges: (e,) int64, days from the first instant, ascending.
        groups: The asks by measure.
        rows: Each ask's row in the result.
    """

    edges: np.ndarray
    groups: tuple[_Group, ...]
    rows: tuple[int, ...]


_SINCE_EVER = -(2**40)  # days


@lru_cache(maxsize=256)
def _plan(asks: tuple[WindowedMeasure, ...], days: tuple[int, ...]) -> _Plan:
    today = np.array(days, dtype="int64")

    def window(ask: WindowedMeasure) -> np.ndarray:
        end = today - ask.before
        return np.stack([np.full_like(end, _SINCE_EVER) if ask.days is None else end - ask.days, end])

    edges = np.unique(np.concatenate([window(ask).reshape(-1) for ask in asks]))
    groups, rows, first = [], dict[str, int](), 0
    for name in dict.fromkeys(ask.measure.name for ask in asks):
        mine = [ask for ask in asks if ask.measure.name == name]
        windows = np.ascontiguousarray(np.searchsorted(edges, np.stack([window(ask) for ask in mine])), dtype="int64")
        by_end = np.argsort(windows[:, 1].reshape(-1), kind="stable").astype("int64")
        groups.append(_Group(mine[0].measure, first, windows, by_end))
        rows |= {ask.column: first + place for place, ask in enumerate(mine)}
        first += len(mine)
    return _Plan(edges, tuple(groups), tuple(rows[ask.column] for ask in asks))


class _Walk:
    """One walk over the facts of all accounts, for instants of one time of day."""

    def __init__(
        self, facts: Facts, starts: np.ndarray, seen_from: np.ndarray, as_ofs: np.ndarray, plan: _Plan
    ) -> None:
        self._facts, self._starts, self._as_ofs, self._plan = facts, starts, as_ofs, plan
        self._kernels, self._tables = load_kernels(window_kernels), dict[str, np.ndarray]()
        self._t = _contiguous(facts.t)
        self._clock = int(as_ofs[0] % DAY)
        since_ever = plan.edges == _SINCE_EVER
        self._edges = np.where(since_ever, EVER, as_ofs[0] + np.where(since_ever, 0, plan.edges) * DAY)
        self._seen_from = _contiguous(seen_from)
        self._seen_until = _ALWAYS if facts.until is None else _contiguous(facts.until)
        self._seen = (_at(self._seen_from), _at(self._seen_until), int(facts.until is not None))

    def fill(self, found: np.ndarray) -> None:
        """Fill in the result, (asks, k, accounts), some accounts at a time."""
        accounts, edges, instants = found.shape[2], len(self._edges), len(self._as_ofs)
        step = max(1, _CELLS // edges)
        positions = np.empty((min(step, accounts), edges), dtype="int64")
        unsure = np.empty((min(step, accounts), instants), dtype="int64")
        starts, t, ends_at = _contiguous(self._starts), _at(self._t), _at(self._as_ofs)
        for first in range(0, accounts, step):
            count, begins = min(step, accounts - first), _at(starts) + first * starts.itemsize
            self._kernels["find_positions"](begins, t, _at(self._edges), count, edges, _at(positions))
            self._kernels["find_unsure"](begins, t, *self._seen, ends_at, count, instants, _at(unsure))
            seen = (*self._seen, _at(unsure), ends_at)
            for group in self._plan.groups:
                sizes = (group.windows_at, count, edges, instants, group.size)
                into = (accounts, _at(found) + (group.first * instants * accounts + first) * found.itemsize)
                self._measure(group, _at(positions), seen, sizes, into)

    def _measure(
        self, group: _Group, positions: int, seen: tuple[int, ...], sizes: tuple[int, ...], into: tuple[int, int]
    ) -> None:
        measure, kernels = group.measure, self._kernels
        values, scale = self._values.get(measure.name), float(self._facts.scale.get(measure.name, 1))
        if measure.how in {"min", "max"}:
            kind = (int(values is None), int(measure.how == "min"), NOTHING[measure.how])
            values = self._t if values is None else values
            kernels["find_extremes"](positions, _at(values), *kind, *seen, *sizes, scale, *into)
        elif measure.how != "distinct":
            given = (_at(_ALWAYS), 1) if values is None else (_at(values), 0)
            kernels["sum_windows"](positions, *given, *seen, *sizes, _at(self._running), scale, *into)
        elif measure.column == "day":
            kernels["count_days"](positions, _at(self._t), self._clock, *seen, *sizes, _at(self._running), *into)
        elif values is not None:
            scratch = self._scratch(measure.name, values)
            kernels["count_values"](positions, _at(values), *seen, *sizes, group.by_end_at, *scratch, *into)

    @cached_property
    def _values(self) -> dict[str, np.ndarray]:
        return {name: _contiguous(values) for name, values in self._facts.values.items()}

    @cached_property
    def _running(self) -> np.ndarray:
        return np.empty(len(self._edges), dtype="int64")

    def _scratch(self, name: str, codes: np.ndarray) -> tuple[int, int, int]:
        if name not in self._tables:
            self._tables[name] = np.zeros((3, int(codes.max(initial=-1)) + 1), dtype="int64")
        place, mine, last = self._tables[name]
        return _at(place), _at(mine), _at(last)


def _contiguous(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, dtype="int64")


def _at(values: np.ndarray) -> int:
    """Return the address of an array's first value."""
    return int(values.__array_interface__["data"][0])
