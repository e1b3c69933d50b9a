"""What a feature is made of: streams of dated facts, measures over them in windows, and formulas over measures.

A feature never sees an event: its formula asks for measures, and only the engine (`features.engine.snapshots`)
turns a measure into a query. So the time rules are kept in one place, for every feature there will ever be.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import ibis
import ibis.expr.types as ir

DAY = 86_400_000_000  # microseconds

How = Literal["sum", "count", "min", "max", "distinct"]
Row = Callable[[ir.Table], ir.Value]


@dataclass(frozen=True)
class Stream:
    """One kind of dated fact, drawn from one canonical table.

    Args:
        name: Of the stream; stands in measures' names.
        table: The canonical table it comes from: without it, the stream's features are absent.
        rows: Canonical table to rows with account_id, `t` (the fact's instant, µs) and `known` (µs); rows
            with an `until` (µs) count only at an `as_of` before it, such as an open ticket until resolved.
    """

    name: str
    table: str
    rows: Callable[[ir.Table], ir.Table]

    def sum(self, column: str, where: Row | None = None, *, name: str | None = None) -> Measure:
        """Sum of a whole or decimal column; 0 without rows."""
        return Measure(self, "sum", column, where, name)

    def count(self, where: Row | None = None, *, name: str | None = None) -> Measure:
        """Number of facts; 0 without rows."""
        return Measure(self, "count", "t", where, name)

    def distinct(self, column: str, where: Row | None = None, *, name: str | None = None) -> Measure:
        """Number of different values that are not null; 0 without rows."""
        return Measure(self, "distinct", column, where, name)

    def first(self, column: str = "t", where: Row | None = None, *, name: str | None = None) -> Measure:
        """Smallest value, by default the instant of the earliest fact; null without rows."""
        return Measure(self, "min", column, where, name)

    def last(self, column: str = "t", where: Row | None = None, *, name: str | None = None) -> Measure:
        """Largest value, by default the instant of the latest fact; null without rows."""
        return Measure(self, "max", column, where, name)


@dataclass(frozen=True)
class Measure:
    """One aggregate over the facts of a stream; its window is chosen where it is used."""

    stream: Stream
    how: How
    column: str
    where: Row | None = None
    label: str | None = None

    @property
    def name(self) -> str:
        """Unique among measures: a filtered one must be given its own name."""
        if self.where is not None and self.label is None:
            message = f"the filtered {self.how} of {self.stream.name}.{self.column} needs a name"
            raise ValueError(message)
        return self.label or f"{self.stream.name}_{self.how}_{self.column}"


@dataclass(frozen=True)
class Ask:
    """A measure in the window `[as_of - before - days, as_of - before)`; days None: all the past."""

    measure: Measure
    days: int | None
    before: int

    @property
    def column(self) -> str:
        """Its column in the engine's working table."""
        return f"{self.measure.name}__{'all' if self.days is None else self.days}_{self.before}"


@dataclass
class At:
    """What a formula speaks to: measures in windows, the account's columns, and `as_of`.

    All values are float64 Ibis columns (instants in µs), so that formulas are plain arithmetic.
    """

    table: ir.Table | None = None
    asks: dict[str, Ask] = field(default_factory=dict)

    def __call__(self, measure: Measure, days: int | None = None, before: int = 0) -> ir.FloatingColumn:
        """The measure in the window `[as_of - before - days, as_of - before)`, or over all the past."""
        ask = Ask(measure, days, before)
        if self.asks.setdefault(ask.column, ask) != ask:
            message = f"two measures are called {measure.name}"
            raise ValueError(message)
        value = self._column(ask.column)
        return value.fill_null(0.0) if measure.how in {"sum", "count", "distinct"} else value

    def age_days(self, measure: Measure, days: int | None = None) -> ir.FloatingColumn:
        """Days from the instant that a `first` or `last` measures until `as_of`; negative for one to come."""
        return (self._column("as_of") - self(measure, days)) / DAY

    def account(self, column: str) -> ir.FloatingColumn:
        """A numeric or instant column of the account itself."""
        return self._column(column)

    @property
    def as_of(self) -> ir.FloatingColumn:
        """The instant looked from, in µs."""
        return self._column("as_of")

    def _column(self, name: str) -> ir.FloatingColumn:
        # While the engine is only asking what a formula needs, any number will do.
        return ibis.literal(1.0) if self.table is None else self.table[name].cast("float64")


Formula = Callable[..., Any]


@dataclass(frozen=True)
class Feature:
    """One column of a snapshot: its meaning, its formula, and its words as a driver.

    Args:
        name: The column.
        sentence: What it is, in one sentence.
        formula: Called with an `At`, gives a float64 Ibis value.
        window: Days of its window, None without one.
        unit: Such as events, days, share.
        missing: What a null means.
        family: Features that say much the same share it; an explanation names one of a family.
        direction: +1 if more of it can only raise churn risk, -1 if only lower it, 0 if neither is sure.
        play: Key of the next step when it drives a risk; None marks context that nobody can act on.
        wording: Value to words.
        beside: Whose rows it needs beside the account's own: its peers' or its parent's; None for most.
        of: With `beside`, the feature whose column it is made of.
    """

    name: str
    sentence: str
    formula: Callable[[At], Any]
    window: int | None
    unit: str
    missing: str
    family: str
    direction: int
    play: str | None
    wording: Callable[[float], str]
    beside: Literal["peers", "parent"] | None = None
    of: str | None = None

    @property
    def actionable(self) -> bool:
        """Whether the owner can do something about it."""
        return self.play is not None

    @cached_property
    def asks(self) -> Mapping[str, Ask]:
        """The measures and windows it needs."""
        at = At()
        self.formula(at)
        return at.asks

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The canonical tables it needs; () for one of the account alone."""
        return tuple(sorted({ask.measure.stream.table for ask in self.asks.values()}))

    def as_dict(self) -> dict[str, Any]:
        """For machines: all but the formula and the wording."""
        plain = {k: v for k, v in vars(self).items() if k != "asks" and not callable(v)}
        return plain | {"sources": self.sources, "actionable": self.actionable}

    def says(self, value: float) -> str:
        """The driver in words, with the number."""
        return "nothing known: " + self.missing if value != value else self.wording(value)  # noqa: PLR0124  # NaN


def feature(  # noqa: PLR0913  # a definition has as many parts as it has, all named
    *,
    unit: str,
    family: str,
    says: str | Callable[[float, int], str],
    windows: tuple[int, ...] = (),
    missing: str = "never happened yet",
    direction: int = 0,
    play: str | None = None,
) -> Callable[[Formula], tuple[Feature, ...]]:
    """Make features, one for each window, out of one formula.

    The function's name becomes the column (`usage_events` with window 30: `usage_events_30d`), its docstring
    the sentence.

    Args:
        unit: Such as events, days, share.
        family: Features of much the same meaning share it; an explanation names one of a family.
        says: The driver in words: a template with {value} and {w}, or a function of the value and the window.
        windows: Days of each window; () for one feature without a window.
        missing: The meaning of a null.
        direction: +1 if more of it can only raise churn risk, -1 if only lower it, 0 if neither is certain.
        play: Key of the next step when the feature drives a risk; None marks context that nobody can act on.

    Examples:
        >>> from features.definitions.streams import USAGE
        >>> @feature(windows=(7, 30), unit="exports", family="exports", says="{value:.0f} exports in {w} days")
        ... def exports(at, w):
        ...     "Exports in the last {w} days."
        ...     return at(USAGE.count(lambda row: row.feature == "export", name="exports"), w)
        >>> week, month = exports
        >>> month.name, month.sentence, month.sources
        ('exports_30d', 'Exports in the last 30 days.', ('usage',))
        >>> week.says(3)
        '3 exports in 7 days'
    """

    def define(formula: Formula) -> tuple[Feature, ...]:
        return tuple(_one(formula, w) for w in windows or (None,))

    def _one(formula: Formula, w: int | None) -> Feature:
        sentence = " ".join((inspect.getdoc(formula) or "").split()).format(w=w)

        def words(value: float) -> str:
            return says.format(value=value, w=w) if isinstance(says, str) else says(value, w or 0)

        return Feature(
            name=formula.__name__ if w is None else f"{formula.__name__}_{w}d",
            sentence=sentence,
            formula=formula if w is None else lambda at: formula(at, w),
            window=w,
            unit=unit,
            missing=missing,
            family=family,
            direction=direction,
            play=play,
            wording=words,
        )

    return define


def ratio(part: Any, whole: Any) -> Any:
    """Part / whole; null where the whole is 0."""
    return part / whole.nullif(0.0)


def change(now: Any, then: Any) -> Any:
    """Change between two amounts that are not negative: (now - then) / (now + then), from -1 (gone) to 1 (new).

    Null where both are 0. Bounded, so that a rise from 1 to 20 does not dwarf all else.
    """
    return (now - then) / (now + then).nullif(0.0)


def change_in_words(what: str) -> Callable[[float, int], str]:
    """Words for a `change`: 'usage fell 62 % against the 30 days before'."""

    def words(value: float, w: int) -> str:
        before = f"against the {w} days before"
        if value >= 1:
            return f"{what} began: none in the {w} days before"
        percent = 100 * ((1 + value) / (1 - value) - 1)
        if abs(percent) < 0.5:
            return f"{what} stayed level {before}"
        return f"{what} {'fell' if percent < 0 else 'rose'} {abs(percent):,.0f} % {before}"

    return words
