"""Define features: streams of dated facts, measures over them in windows, and formulas over measures.

A formula never reads events. It names measures, and only the engine (`features.engine.snapshots`) computes them. So
one place keeps the time rules for every feature.
"""

from __future__ import annotations

import inspect
import math
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Literal

import ibis
import ibis.expr.types as ir

from features.core.language import ENGLISH, Language, Phrase, say
from features.core.timestamps import DAY as DAY  # noqa: PLC0414  # feature files import it from here
from features.definitions.plays import DEFAULT, PLAYS

Aggregation = Literal["sum", "count", "min", "max", "distinct"]
RowExpression = Callable[[ir.Table], ir.Value]


@dataclass(frozen=True)
class Stream:
    """A kind of dated fact, derived from one canonical table.

    Args:
        name: The stream's name, part of its measures' names.
        table: The canonical table. Where a company does not map it, the stream's features are absent.
        rows: Turns the canonical table into rows with account_id, `t` (the fact's instant, µs) and `known` (µs). Rows
            with an `until` (µs) count only at an `as_of` up to it: an open ticket counts until it is resolved.
    """

    name: str
    table: str
    rows: Callable[[ir.Table], ir.Table]

    def sum(self, column: str, where: RowExpression | None = None, *, name: str | None = None) -> Measure:
        """Return the sum of a whole or decimal column; 0 without rows."""
        return Measure(self, "sum", column, where, name)

    def count(self, where: RowExpression | None = None, *, name: str | None = None) -> Measure:
        """Return the number of facts; 0 without rows."""
        return Measure(self, "count", "t", where, name)

    def distinct(self, column: str, where: RowExpression | None = None, *, name: str | None = None) -> Measure:
        """Return the number of different values that are not null; 0 without rows."""
        return Measure(self, "distinct", column, where, name)

    def first(self, column: str = "t", where: RowExpression | None = None, *, name: str | None = None) -> Measure:
        """Return the smallest value, by default the instant of the earliest fact; null without rows."""
        return Measure(self, "min", column, where, name)

    def last(self, column: str = "t", where: RowExpression | None = None, *, name: str | None = None) -> Measure:
        """Return the largest value, by default the instant of the latest fact; null without rows."""
        return Measure(self, "max", column, where, name)


@dataclass(frozen=True)
class Measure:
    """An aggregate over the facts of a stream; formulas choose its window."""

    stream: Stream
    how: Aggregation
    column: str
    where: RowExpression | None = None
    label: str | None = None

    @property
    def name(self) -> str:
        """Return the name, unique among measures.

        Raises:
            ValueError: The measure is filtered and has no name of its own.
        """
        if self.where is not None and self.label is None:
            message = f"the filtered {self.how} of {self.stream.name}.{self.column} needs a name"
            raise ValueError(message)
        return self.label or f"{self.stream.name}_{self.how}_{self.column}"


@dataclass(frozen=True)
class WindowedMeasure:
    """A measure in the window `[as_of - before - days, as_of - before)`; days None: all the past."""

    measure: Measure
    days: int | None
    before: int

    @property
    def column(self) -> str:
        """Return the name of its column in the engine's working table."""
        return f"{self.measure.name}__{'all' if self.days is None else self.days}_{self.before}"


@dataclass
class FeatureContext:
    """The argument of a formula: it gives measures in windows, the account's columns, and `as_of`.

    All values are float64 Ibis columns (instants in µs), so that formulas are plain arithmetic.

    Args:
        table: The engine's working table; None to collect which measures a formula uses.
        windowed_measures: Those used so far, by column.
    """

    table: ir.Table | None = None
    windowed_measures: dict[str, WindowedMeasure] = field(default_factory=dict)

    def __call__(self, measure: Measure, days: int | None = None, before: int = 0) -> ir.FloatingColumn:
        """Return the measure in the window `[as_of - before - days, as_of - before)`, or over all the past.

        Raises:
            ValueError: Another measure has the same name.
        """
        windowed = WindowedMeasure(measure, days, before)
        if self.windowed_measures.setdefault(windowed.column, windowed) != windowed:
            message = f"two measures are called {measure.name}"
            raise ValueError(message)
        value = self._column(windowed.column)
        return value.fill_null(0.0) if measure.how in {"sum", "count", "distinct"} else value

    def age_days(self, measure: Measure, days: int | None = None) -> ir.FloatingColumn:
        """Return the days from the instant of a `first` or `last` measure to `as_of`; negative if it lies ahead."""
        return (self._column("as_of") - self(measure, days)) / DAY

    def account(self, column: str) -> ir.FloatingColumn:
        """Return a numeric or instant column of the account itself."""
        return self._column(column)

    @property
    def as_of(self) -> ir.FloatingColumn:
        """Return the instant that the snapshot looks from, in µs."""
        return self._column("as_of")

    def _column(self, name: str) -> ir.FloatingColumn:
        # Without a table only the names of the measures matter: any number will do.
        return ibis.literal(1.0) if self.table is None else self.table[name].cast("float64")


Formula = Callable[..., Any]
# The keys of `catalog --json`, which scripts read.
_JSON_NAMES = {"scope": "beside", "base": "of"}
_NOT_FOR_MACHINES = {"windowed_measures", "number", "meaning", *_JSON_NAMES}


@dataclass(frozen=True)
class Feature:
    """A column of a snapshot: its meaning, its formula, and its words as a driver.

    Args:
        name: The column.
        sentence: Its meaning in one sentence.
        formula: Turns a `FeatureContext` into a float64 Ibis value.
        window: Days of its window, None without one.
        unit: Such as events, days, share.
        missing: The meaning of a null.
        family: Features of much the same meaning share it; an explanation names one of a family.
        direction: +1 if more of it can only raise churn risk, -1 if only lower it, 0 if neither is certain.
        play: Key of the next step when it drives a risk; None marks context that nobody can act on.
        wording: Turns a value into words.
        number: Turns a value into the number that stands in its words; None where they hold a comparison already.
        scope: The other accounts whose rows it needs: "peers" or "parent"; None for a feature of one account alone.
        base: The feature that a feature with a `scope` is computed from.
        meaning: The sentence as a phrase, for other languages; None where it holds no values.
    """

    name: str
    sentence: str
    formula: Callable[[FeatureContext], Any]
    window: int | None
    unit: str
    missing: str
    family: str
    direction: int
    play: str | None
    wording: Callable[[float], str | Phrase]
    number: Callable[[float], str] | None = None
    scope: Literal["peers", "parent"] | None = None
    base: str | None = None
    meaning: Phrase | None = field(default=None, hash=False)

    @property
    def actionable(self) -> bool:
        """Return whether the owner can act on it."""
        return self.play is not None

    @cached_property
    def windowed_measures(self) -> Mapping[str, WindowedMeasure]:
        """Return the measures and windows that its formula uses, by column."""
        context = FeatureContext()
        self.formula(context)
        return context.windowed_measures

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """Return the canonical tables it needs; () for one of the account alone."""
        return tuple(sorted({windowed.measure.stream.table for windowed in self.windowed_measures.values()}))

    def as_dict(self) -> dict[str, Any]:
        """Return all but the formula and the wording, for machines."""
        kept = {k: v for k, v in vars(self).items() if k not in _NOT_FOR_MACHINES and not callable(v)}
        renamed = {name: getattr(self, key) for key, name in _JSON_NAMES.items()}
        return kept | renamed | {"sources": self.sources, "actionable": self.actionable}

    def describe(self, value: float, typical: float | None = None, language: Language = ENGLISH) -> str:
        """Return the driver in words, with its number and, where given and another, the number that is typical.

        Args:
            value: Of the account; NaN where missing.
            typical: Of like accounts, such as their median; None or NaN where there is nothing to compare with.
            language: Of the reader. What a company's own feature says is in the words of its file.
        """
        is_missing = value != value  # noqa: PLR0124  # NaN; an attribute's value may be text
        words = self._describe_missing(language) if is_missing else say(self.wording(value), language)
        if self.number is None or typical is None or math.isnan(typical):
            return words
        usual = self.number(typical)
        if not is_missing and self.number(value) == usual:
            return words
        return language.say("{words} (typical: {usual})", words=words, usual=usual)

    def _describe_missing(self, language: Language) -> str:
        sentence = self.meaning.say(language) if self.meaning else language.translate(self.sentence)
        return language.say(
            "{sentence}: {missing}", sentence=sentence.rstrip(".。"), missing=language.translate(self.missing)
        )


def feature(  # noqa: PLR0913  # a definition has as many parts as it has, all named
    *,
    unit: str,
    family: str,
    says: str | Callable[[float, int], str | Phrase],
    windows: tuple[int, ...] = (),
    missing: str = "never happened yet",
    direction: int = 0,
    play: str | None = None,
) -> Callable[[Formula], tuple[Feature, ...]]:
    """Create features, one for each window, from one formula.

    The function's name becomes the column (`usage_events` with window 30: `usage_events_30d`), its docstring
    the sentence.

    Args:
        unit: Such as events, days, share.
        family: Features of much the same meaning share it; an explanation names one of a family.
        says: The driver in words: a template with {value} and {w}, or a function of the value and the window that
            returns text, or a `Phrase` for other languages. In a template {s} is an "s" unless the number is 1, and
            {es} is one only then: "{value:.0f} ticket{s} wait{es}".
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
        >>> week.describe(3)
        '3 exports in 7 days'
    """

    def define(formula: Formula) -> tuple[Feature, ...]:
        return tuple(_create(formula, w) for w in windows or (None,))

    def _create(formula: Formula, w: int | None) -> Feature:
        meaning = Phrase(" ".join((inspect.getdoc(formula) or "").split()), {"w": w})

        # What is context, or only says when, is not measured against other accounts.
        is_compared = play is not None and PLAYS.get(play, DEFAULT).cause != "renewal"

        def words(value: float) -> str | Phrase:
            return _fill(says, value, w) if isinstance(says, str) else says(value, w or 0)

        return Feature(
            name=formula.__name__ if w is None else f"{formula.__name__}_{w}d",
            sentence=str(meaning),
            formula=formula if w is None else lambda at: formula(at, w),
            window=w,
            unit=unit,
            missing=missing,
            family=family,
            direction=direction,
            play=play,
            wording=words,
            number=_find_number(says) if isinstance(says, str) and is_compared else None,
            meaning=meaning,
        )

    return define


def _fill(template: str, value: float, w: int | None) -> Phrase:
    """Return a template's phrase, in the singular if its number is shown as 1."""
    number = _find_number(template)
    is_one = number is not None and number(value) == "1"
    return Phrase(template, {"value": value, "w": w, "s": "" if is_one else "s", "es": "s" if is_one else ""})


@cache
def _find_number(template: str) -> Callable[[float], str] | None:
    """Return how a template formats its value; None if it does not hold it."""
    formats = [form or "" for _, name, form, _ in string.Formatter().parse(template) if name == "value"]
    return (lambda value: format(value, formats[0])) if formats else None


def ratio(part: Any, whole: Any) -> Any:
    """Return part / whole; null where the whole is 0."""
    return part / whole.nullif(0.0)


def change(now: Any, then: Any) -> Any:
    """Return the change between two amounts of at least 0: (now - then) / (now + then), from -1 (gone) to 1 (new).

    It is null where both are 0, and bounded, so that a rise from 1 to 20 does not dwarf all else.
    """
    return (now - then) / (now + then).nullif(0.0)


def change_in_words(subject: str, then: str = "the {w} days before") -> Callable[[float, int], Phrase]:
    """Return the wording of a `change`: 'usage fell 62 % against the 30 days before'.

    Args:
        subject: What changed.
        then: The time that it is held against, with {w}.
    """

    def words(value: float, w: int) -> Phrase:
        percent = 100 * ((1 + value) / (1 - value) - 1) if value < 1 else math.inf
        if value >= 1:
            template = "{subject} began: none in {then}"
        elif abs(percent) < 0.5:
            template = "{subject} stayed level against {then}"
        elif percent < 0:
            template = "{subject} fell {percent:,.0f} % against {then}"
        else:
            template = "{subject} rose {percent:,.0f} % against {then}"
        return Phrase(template, {"subject": Phrase(subject), "percent": abs(percent), "then": Phrase(then, {"w": w})})

    return words
