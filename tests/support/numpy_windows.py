"""The reference of the compiled windows: measures in windows, for many accounts at many instants at once, on NumPy.

Facts are sorted by account and instant, so that an account's window is a slice between two positions: a sum is
the difference of two running sums, however many windows and instants ask for it. All is done in whole numbers:
a measure has one value in any order of rows, over one account alone as over all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np

from features.definitions.feature import DAY, WindowedMeasure
from features.definitions.visibility_rule import ARRAYS, is_visible, visible_from
from features.engine.facts import NOTHING, Facts

_EVER = -(2**30)  # a day before any fact
_NO_DAY = 2**20  # what days are counted from where they are values: none is below it
_Window = tuple[int, int]


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
    found = {a.column: np.empty((len(as_ofs), accounts)) for a in asks}
    seen = _lasting if facts.until is None else _standing
    # Days are counted back from `as_of`: only instants of one time of day share their days.
    for clock in np.unique(as_ofs % DAY):
        places = np.flatnonzero(as_ofs % DAY == clock)
        for column, values in seen(facts, asks, as_ofs[places], accounts).items():
            found[column][places] = values
    for ask in asks:
        if scale := facts.scale.get(ask.measure.name):
            found[ask.column] /= scale
    return found


def _standing(
    facts: Facts, asks: Sequence[WindowedMeasure], as_ofs: np.ndarray, accounts: int
) -> dict[str, np.ndarray]:
    """Measure facts that end, such as open tickets: each instant sees other ones."""
    assert facts.until is not None
    each = []
    for as_of in as_ofs:
        visible = is_visible(facts.t, facts.known, as_of, facts.until)
        slices = _Slices(facts[np.flatnonzero(visible)], asks, np.array([as_of]), accounts)
        each.append({a.column: slices.value(a) for a in asks})
    return {a.column: np.concatenate([values[a.column] for values in each]) for a in asks}


def _lasting(facts: Facts, asks: Sequence[WindowedMeasure], as_ofs: np.ndarray, accounts: int) -> dict[str, np.ndarray]:
    """Measure facts that stay: the timely ones for all instants at once, the late ones for one instant after another.

    The visibility rule holds here by sorting. A fact is visible from the instant `visible_from` on. It is timely if
    that is no later than the first instant after its `t`: then a window that ends at an instant before or at `as_of`
    holds exactly the visible facts, and `_Slices` cuts it by `t` alone.
    """
    after = np.searchsorted(as_ofs, facts.t, side="right")
    first = np.searchsorted(as_ofs, visible_from(facts.t, facts.known, ARRAYS), side="left")
    late = np.flatnonzero((first > after) & (first < len(as_ofs)))
    timely = first <= after
    slices = _Slices(facts if timely.all() else facts[np.flatnonzero(timely)], asks, as_ofs, accounts)
    found = {a.column: slices.value(a) for a in asks}
    for k in range(len(as_ofs) if len(late) else 0):
        more = _Slices(facts[late[first[late] <= k]], asks, as_ofs[k : k + 1], accounts)
        for ask in asks:
            _join(found[ask.column][k], ask, slices, more)
    return found


def _join(into: np.ndarray, ask: WindowedMeasure, slices: _Slices, more: _Slices) -> None:
    """Add to one instant's values those of facts that were late."""
    match ask.measure.how:
        case "distinct":
            into += more.new_values(ask, slices)
        case "min":
            np.fmin(into, more.value(ask)[0], out=into)
        case "max":
            np.fmax(into, more.value(ask)[0], out=into)
        case _:
            into += more.value(ask)[0]


class _Slices:
    """Facts that every instant after them sees, cut at the edges of all the windows asked for."""

    def __init__(self, facts: Facts, asks: Sequence[WindowedMeasure], as_ofs: np.ndarray, accounts: int) -> None:
        self._facts, self._asks, self._accounts = facts, asks, accounts
        clock = as_ofs[0] % DAY
        self._day = (facts.t - clock) // DAY
        self._today = (as_ofs - clock) // DAY
        windows = {(a.days, a.before): a for a in asks}.values()
        self._edges = np.unique(np.concatenate([days for a in windows for days in self._window(a)]))
        self._cuts: dict[tuple[int | None, int], tuple[np.ndarray, np.ndarray]] = {}
        self._running: dict[str, np.ndarray] = {}
        self._values: dict[str, _Values] = {}
        self._counted: dict[str, dict[_Window, np.ndarray]] = {}

    def value(self, ask: WindowedMeasure) -> np.ndarray:
        """Return one measure in its window, not scaled yet, (k, accounts): int64, or float64 if nullable."""
        if ask.measure.how in {"min", "max"}:
            return self._extremes(ask)
        if ask.measure.how == "distinct" and ask.measure.column != "day":
            return self._different(ask)
        return self._sums(ask)

    def new_values(self, ask: WindowedMeasure, known: _Slices) -> np.ndarray:
        """Count the different values in the window, at one instant, that are not in `known`: (accounts,)."""
        ((first, end),) = zip(*self._window(ask), strict=True)
        account, code = self._valued(ask).inside(first, end)
        new = ~known._valued(ask).holds(account, code, first, end)  # of the same class
        return np.bincount(account[new], minlength=self._accounts)

    def _window(self, ask: WindowedMeasure) -> tuple[np.ndarray, np.ndarray]:
        """Return the first day of the window and the day that ends it, at each instant: (k,) each."""
        end = self._today - ask.before
        return (np.full_like(end, _EVER) if ask.days is None else end - ask.days), end

    @cached_property
    def _positions(self) -> np.ndarray:
        """Return where an account's facts on and after an edge's day begin: (edges, accounts)."""
        width = len(self._edges) + 1
        cells = self._facts.account * width + _passed(self._edges, self._day)
        ends = np.cumsum(np.bincount(cells, minlength=self._accounts * width)).reshape(self._accounts, width)
        return np.ascontiguousarray(ends[:, :-1].T)

    def _between(self, table: np.ndarray, ask: WindowedMeasure) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of the table at the beginning and at the end of the window, (k, accounts) each."""
        if (ask.days, ask.before) not in self._cuts:
            first, end = (self._edges.searchsorted(days) for days in self._window(ask))
            self._cuts[ask.days, ask.before] = first, end
        first, end = self._cuts[ask.days, ask.before]
        return table[first], table[end]

    def _sums(self, ask: WindowedMeasure) -> np.ndarray:
        name = ask.measure.name
        if ask.measure.how == "count" and name not in self._facts.values:
            begin, end = self._between(self._positions, ask)
            return end - begin
        if name not in self._running:
            each = self._first_of_day() if ask.measure.how == "distinct" else self._facts.values[name]
            running = np.zeros(len(each) + 1, dtype="int64")
            np.cumsum(each, out=running[1:])
            self._running[name] = running[self._positions]
        begin, end = self._between(self._running[name], ask)
        return end - begin

    def _first_of_day(self) -> np.ndarray:
        """Return 1 for the first fact of an account's day, so that a sum counts days."""
        account, day = self._facts.account, self._day
        first = np.ones(len(day), dtype="int64")
        first[1:] = (account[1:] != account[:-1]) | (day[1:] != day[:-1])
        return first

    def _extremes(self, ask: WindowedMeasure) -> np.ndarray:
        begin, end = self._between(self._positions, ask)
        least, nothing = ask.measure.how == "min", NOTHING[ask.measure.how]
        if ask.measure.name in self._facts.values:
            reduce = np.minimum if least else np.maximum
            bounds = np.stack([begin, end], axis=-1).reshape(-1)
            padded = np.append(self._facts.values[ask.measure.name], nothing)
            found = reduce.reduceat(padded, bounds)[::2].reshape(begin.shape)
        else:  # of the instants themselves, which ascend
            padded = np.append(self._facts.t, nothing)
            found = padded[begin] if least else padded[end - 1]
        return np.where((begin == end) | (found == nothing), np.nan, found.astype("float64"))

    def _different(self, ask: WindowedMeasure) -> np.ndarray:
        name = ask.measure.name
        if name not in self._counted:
            windows = {w for a in self._asks if a.measure.name == name for w in zip(*self._window(a), strict=True)}
            self._counted[name] = self._valued(ask).counts(windows, self._accounts)
        return np.stack([self._counted[name][w] for w in zip(*self._window(ask), strict=True)])

    def _valued(self, ask: WindowedMeasure) -> _Values:
        name = ask.measure.name
        if name not in self._values:
            codes = self._day + _NO_DAY if ask.measure.column == "day" else self._facts.values[name]
            self._values[name] = _Values(self._facts.account, codes, self._day)
        return self._values[name]


class _Values:
    """The days on which each account had each value, as sorted whole numbers."""

    def __init__(self, account: np.ndarray, code: np.ndarray, day: np.ndarray) -> None:
        there = np.flatnonzero(code >= 0)
        self._first = int(day.min(initial=0))
        # Bits: the account's above the code's above the day's.
        self._day_bits = int(day.max(initial=0) - self._first + 1).bit_length()
        self._code_bits = int(code.max(initial=0) + 1).bit_length()
        keys = np.sort(self._pairs(account[there], code[there]) << self._day_bits | (day[there] - self._first))
        self._keys = keys[np.append(True, keys[1:] != keys[:-1])] if len(keys) else keys

    def counts(self, windows: Iterable[_Window], accounts: int) -> dict[_Window, np.ndarray]:
        """Count different values in each window, (accounts,): those whose last day before its end is inside."""
        windows = sorted(windows)
        ends = np.unique([end for _, end in windows])
        pair, day = self._keys >> self._day_bits, (self._keys & ((1 << self._day_bits) - 1)) + self._first
        passed = _passed(ends, day)
        # Only the last day before each end can count.
        same = pair[1:] == pair[:-1]
        last = np.flatnonzero(np.append(~same | (passed[1:] != passed[:-1]), True)[: len(pair)])
        pair, day, passed = pair[last], day[last], passed[last]
        account = pair >> self._code_bits
        following = np.full(len(last), len(ends) + 1)
        following[:-1] = np.where(pair[1:] == pair[:-1], passed[1:], len(ends) + 1)
        found = {}
        for place, end in enumerate(ends):
            latest = np.flatnonzero((passed <= place) & (following > place))
            for first, its_end in windows:
                if its_end == end:
                    inside = account[latest[day[latest] >= first]]
                    found[first, its_end] = np.bincount(inside, minlength=accounts)
        return found

    def inside(self, first: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Return account and code of each different value in a window."""
        day = (self._keys & ((1 << self._day_bits) - 1)) + self._first
        pairs = np.unique(self._keys[(day >= first) & (day < end)] >> self._day_bits)
        return pairs >> self._code_bits, pairs & ((1 << self._code_bits) - 1)

    def holds(self, account: np.ndarray, code: np.ndarray, first: int, end: int) -> np.ndarray:
        """Return whether accounts had values on a day of a window."""
        if not len(self._keys):
            return np.zeros(len(account), dtype=bool)
        known = code < 1 << self._code_bits
        pairs = self._pairs(account, np.where(known, code, 0))
        begin, stop = (np.clip(d - self._first, 0, 1 << self._day_bits) for d in (first, end))
        found = [np.searchsorted(self._keys, (pairs << self._day_bits) + d) for d in (begin, stop)]
        return known & (found[1] > found[0])

    def _pairs(self, account: np.ndarray, code: np.ndarray) -> np.ndarray:
        return account.astype("int64") << self._code_bits | code


def _passed(edges: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Count the edges on or before each day; edges ascend."""
    if not len(day):
        return day
    least, most = int(day.min()), int(day.max())
    if most - least > len(day):
        return np.searchsorted(edges, day, side="right")
    # Looked up by the day: many times faster than a search for every fact.
    return np.searchsorted(edges, np.arange(least, most + 1), side="right")[day - least]
