"""Load a company's own features from the Python files that its TOML names, and check them.

A file runs with the rights of this process: whoever may write it may do whatever the process may. No request can name
or change it.
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
from features.definitions.plays import PLAYS
from features.definitions.sql_expression import declare_table

_KEYS = ("account_id", "as_of")


@dataclass(frozen=True)
class FeatureFile:
    """A Python file that defines features.

    Args:
        path: Its path.
        text: Its content.
    """

    path: Path
    text: str


def read_file(path: Path) -> FeatureFile:
    """Read the file as it is now, without running it.

    Raises:
        FeatureError: It can't be read.
    """
    try:
        return FeatureFile(path, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        hint = "Correct catalog.features in the TOML; the path starts at the TOML's folder"
        raise FeatureError(f"the features in {path} can't be read", found=_one_line(error), hint=hint) from error


def load_features(file: FeatureFile, known: Mapping[str, Feature], attributes: Mapping[str, str]) -> dict[str, Feature]:
    """Run a file and return the features that it defines, by column name.

    Args:
        file: Of the company.
        known: The features defined so far, by column name.
        attributes: The mapped columns of accounts, each with its stored type.

    Raises:
        FeatureError: The file fails, or one of its features can't be used; it names file and feature.
    """
    features: dict[str, Feature] = {}
    for one in _run(file):
        if not isinstance(one, Feature):
            hint = "@feature returns a tuple with one feature for each window: write FEATURES = (*first, *second)"
            raise FeatureError(
                f"{file.path}: FEATURES holds something that is no feature", found=type(one).__name__, hint=hint
            )
        problem = _find_problem(one, {**known, **features}, attributes)
        if problem:
            raise FeatureError(f"{file.path}: the feature {one.name} can't be used: {problem}")
        features[one.name] = one
    return features


def _run(file: FeatureFile) -> tuple[Any, ...]:
    """Run the file and return its FEATURES."""
    name = f"own_features_{hashlib.sha256(repr(file).encode()).hexdigest()[:12]}"
    module = ModuleType(name)
    module.__file__ = str(file.path)
    sys.modules[name] = module  # where dataclasses look for their own module
    try:
        exec(compile(file.text, str(file.path), "exec"), module.__dict__)  # noqa: S102  # the company's own code, as its TOML asks
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise FeatureError(
            f"{file.path} failed{_line(file, error)}", found=_one_line(error), hint="Correct it"
        ) from error
    features = getattr(module, "FEATURES", None)
    if not isinstance(features, tuple | list):
        hint = "End it with FEATURES = (*first, *second), the features that it defines"
        raise FeatureError(f"{file.path} defines no FEATURES", hint=hint)
    return tuple(features)


def _find_problem(one: Feature, known: Mapping[str, Feature], attributes: Mapping[str, str]) -> str:
    """Return why a feature can't be used, in words; empty if it can."""
    problems = {
        f"{one.name!r} is not a name of a column": not one.name.isidentifier(),
        "the catalog has a feature of this name": one.name in known,
        "snapshots have a column of this name, mapped in the TOML or their own": one.name in {*attributes, *_KEYS},
        "it uses other accounts' rows, which only built-in features may": bool(one.scope),
        f"there is no play {one.play!r}. {nearest(str(one.play), PLAYS)}": one.play is not None
        and one.play not in PLAYS,
    }
    if any(problems.values()):
        return next(problem for problem, is_so in problems.items() if is_so)
    try:
        measures = [a.measure for a in one.windowed_measures.values()]
        return next(_check_measures(measures, known), "") or _check_formula(one, attributes)
    except GarrisonError as error:
        return " ".join(str(error).split()).rstrip(".")
    except Exception as error:  # noqa: BLE001  # the company's own code: any failure in it names the feature
        return _one_line(error)


def _check_formula(one: Feature, attributes: Mapping[str, str]) -> str:
    """Return what is wrong with the formula or the wording, empty if nothing; raises what they raise."""
    numeric = [name for name, kind in attributes.items() if kind != "string"]
    columns = dict.fromkeys(["created_at", "as_of", *numeric, *one.windowed_measures], "float64")
    Program({one.name: one.formula(FeatureContext(ibis.table(columns, name="measured")))})
    return "" if isinstance(one.describe(1.0), str) else "its wording is no text"


def _check_measures(measures: Iterable[Measure], known: Mapping[str, Feature]) -> Iterator[str]:
    """Yield what is wrong with the measures of a feature."""
    others = [a.measure for f in known.values() for a in f.windowed_measures.values()]
    named = {m.name: m for m in others}
    streams = {m.stream.name: m.stream for m in others}
    for measure in measures:
        name, stream = measure.name, measure.stream
        # The engine knows measures and streams by their names alone.
        if named.setdefault(name, measure) != measure:
            yield f"another measure is called {name}: give this one a name of its own"
        if streams.setdefault(stream.name, stream) != stream:
            yield f"another stream is called {stream.name}: give this one a name of its own"
        if stream.table not in EVENTS:
            yield f"the stream {stream.name} reads {stream.table}: a feature can read {', '.join(EVENTS)}"
        else:
            yield from _check_columns(measure, stream)


def _check_columns(measure: Measure, stream: Stream) -> Iterator[str]:
    """Yield what is wrong with the columns that a measure reads."""
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
        yield f"the filter of the measure {measure.name} is no condition"


def _exact(kind: dt.DataType) -> bool:
    return bool(kind.is_integer() or (kind.is_decimal() and kind.scale == 4))


def _line(file: FeatureFile, error: BaseException) -> str:
    """Return the line of the file where the error arose, in words; empty if it is not known."""
    if isinstance(error, SyntaxError):
        return f" at line {error.lineno}" if error.lineno else ""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file.path)]
    return f" at line {lines[-1]}" if lines else ""


def _one_line(error: BaseException) -> str:
    """Return the error's type and text in one line."""
    words = str(error).split()
    return f"{type(error).__name__}: {' '.join(words)}".rstrip(": ")
