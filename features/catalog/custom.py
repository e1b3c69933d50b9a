"""Features of a company's own: a Python file that its TOML names, run and checked.

The file has the company's rights and this process's: whoever may write it may do whatever the process may. It is
never taken from a request.
"""

from __future__ import annotations

import hashlib
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import ibis
import ibis.expr.datatypes as dt

from features.arrays.formulas import Program
from features.core.contract import EVENTS
from features.core.errors import FeatureError, GarrisonError, nearest
from features.definitions.feature import Feature, FeatureContext, Measure, Stream
from features.definitions.sql_expression import declare_table

_KEYS = ("account_id", "as_of")


@dataclass(frozen=True)
class File:
    """A file of features.

    Args:
        path: Where it is.
        text: What is in it.
    """

    path: Path
    text: str


def text(path: Path) -> File:
    """The file as it is now.

    Raises:
        FeatureError: It can't be read.
    """
    try:
        return File(path, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        do = "Correct catalog.features in the TOML, whose folder it starts at"
        raise FeatureError(f"the features in {path} can't be read", found=_said(error), hint=do) from error


def read(file: File, known: Mapping[str, Feature], attributes: Mapping[str, str]) -> dict[str, Feature]:
    """The features that a file defines, by column name. The file is run.

    Args:
        file: Of the company.
        known: The features that there are already.
        attributes: The mapped columns of accounts, each with its stored type.

    Raises:
        FeatureError: The file fails, or defines what can't be a feature beside those; it names file and feature.
    """
    found: dict[str, Feature] = {}
    for one in _defined(file):
        if not isinstance(one, Feature):
            do = "@feature makes a tuple, one feature a window: write FEATURES = (*first, *second)"
            raise FeatureError(f"{file.path}: FEATURES holds what is no feature", found=type(one).__name__, hint=do)
        problem = _problem(one, {**known, **found}, attributes)
        if problem:
            raise FeatureError(f"{file.path}: the feature {one.name} can't be used: {problem}")
        found[one.name] = one
    return found


def _defined(file: File) -> tuple[Any, ...]:
    """What the file's FEATURES holds."""
    name = f"own_features_{hashlib.sha256(repr(file).encode()).hexdigest()[:12]}"
    module = ModuleType(name)
    module.__file__ = str(file.path)
    sys.modules[name] = module  # where dataclasses look for their own module
    try:
        exec(compile(file.text, str(file.path), "exec"), module.__dict__)  # noqa: S102  # the company's own code, as its TOML asks
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise FeatureError(f"{file.path} failed{_line(file, error)}", found=_said(error), hint="Correct it") from error
    features = getattr(module, "FEATURES", None)
    if not isinstance(features, tuple | list):
        do = "End it with FEATURES = (*first, *second), the features that it defines"
        raise FeatureError(f"{file.path} defines no FEATURES", hint=do)
    return tuple(features)


def _problem(one: Feature, known: Mapping[str, Feature], attributes: Mapping[str, str]) -> str:
    """Why a feature can't be used, in words; empty if it can."""
    wrong = {
        f"{one.name!r} is not a name of a column": not one.name.isidentifier(),
        "the catalog has a feature of this name": one.name in known,
        "snapshots have a column of this name, mapped in the TOML or their own": one.name in {*attributes, *_KEYS},
        "it is made of other accounts' rows, which the built-in ones alone are": bool(one.scope),
    }
    if any(wrong.values()):
        return next(said for said, is_so in wrong.items() if is_so)
    try:
        measures = [a.measure for a in one.windowed_measures.values()]
        return next(_of_measures(measures, known), "") or _of_formula(one, attributes)
    except GarrisonError as error:
        return " ".join(str(error).split()).rstrip(".")
    except Exception as error:  # noqa: BLE001  # the company's own code: whatever fails in it is told with its name
        return _said(error)


def _of_formula(one: Feature, attributes: Mapping[str, str]) -> str:
    """What is wrong with the formula or the wording; raises what they raise."""
    numeric = [name for name, kind in attributes.items() if kind != "string"]
    columns = dict.fromkeys(["created_at", "as_of", *numeric, *one.windowed_measures], "float64")
    Program({one.name: one.formula(FeatureContext(ibis.table(columns, name="measured")))})
    return "" if isinstance(one.describe(1.0), str) else "its wording is no text"


def _of_measures(measures: Iterable[Measure], known: Mapping[str, Feature]) -> Iterator[str]:
    """What is wrong with the measures that a feature asks for."""
    others = [a.measure for f in known.values() for a in f.windowed_measures.values()]
    named = {m.name: m for m in others}
    streams = {m.stream.name: m.stream for m in others}
    for measure in measures:
        name, stream = measure.name, measure.stream
        # Measures and streams are told apart by their names alone.
        if named.setdefault(name, measure) != measure:
            yield f"another measure is called {name}: give this one a name of its own"
        if streams.setdefault(stream.name, stream) != stream:
            yield f"another stream is called {stream.name}: give this one a name of its own"
        if stream.table not in EVENTS:
            yield f"the stream {stream.name} reads {stream.table}: a feature can read {', '.join(EVENTS)}"
        else:
            yield from _of_columns(measure, stream)


def _of_columns(measure: Measure, stream: Stream) -> Iterator[str]:
    """What is wrong with the columns that a measure reads."""
    rows = stream.rows(declare_table(stream.table))
    kinds = dict(rows.schema().items())
    for column in ("account_id", "t", "known"):
        if column not in kinds:
            yield f"the rows of the stream {stream.name} have no {column}"
    for column in {"t", "known", "until"} & kinds.keys():
        if not kinds[column].is_integer():
            yield f"{column} of the stream {stream.name} is {kinds[column]}: instants are whole microseconds"
    column = measure.column
    if column not in kinds and (column, measure.how) != ("day", "distinct"):
        yield f"the rows of the stream {stream.name} have no {column}. {nearest(column, kinds)}"
    elif measure.how in {"sum", "min", "max"} and not _exact(kinds[column]):
        # A sum of floats depends on the order of rows.
        yield f"{column} is {kinds[column]}: a {measure.how} is of whole numbers or decimal(18, 4); cast it"
    if measure.where is not None and not measure.where(rows).type().is_boolean():
        yield f"what the measure {measure.name} counts by is no condition"


def _exact(kind: dt.DataType) -> bool:
    return bool(kind.is_integer() or (kind.is_decimal() and kind.scale == 4))


def _line(file: File, error: BaseException) -> str:
    """Where in the file, as far as it can be told."""
    if isinstance(error, SyntaxError):
        return f" at line {error.lineno}" if error.lineno else ""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file.path)]
    return f" at line {lines[-1]}" if lines else ""


def _said(error: BaseException) -> str:
    """The error in one line."""
    told: Iterable[str] = str(error).split()
    return f"{type(error).__name__}: {' '.join(told)}".rstrip(": ")
