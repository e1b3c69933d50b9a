"""Define the settings of sources, of how tables are mapped from them, and of the engine."""

from __future__ import annotations

import codecs
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from features.core.contract import Kind
from features.settings.values import SettingsSection, Share, Span, Zone

# Formats of times that are numbers since 1970: their µs a unit.
EPOCHS = {"epoch": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}


def _several(given: object) -> object:
    return (given,) if isinstance(given, str) else given


def _encoding(name: str) -> str:
    try:
        codecs.lookup(name)
        "".encode(name)  # not every codec is one of text
    except LookupError:
        message = f"{name!r} is no encoding of text such as utf-8, windows-1252 or utf-16"
        raise ValueError(message) from None
    return name


def _mark(text: str) -> str:
    text = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";"}.get(text, text)
    if len(text) > 1:
        message = f"{text!r} is not one character"
        raise ValueError(message)
    return text


Mark = Annotated[str, AfterValidator(_mark)]


class Source(SettingsSection):
    """A place of raw rows: files (CSV, JSON lines, Parquet, Excel; folders, globs) or a table in a database."""

    # A file, a folder or a glob, from the TOML's folder on; ** stands for any folders.
    path: str | None = None
    # A database, as postgresql://… or sqlite:///FILE, and its table.
    url: str | None = None
    table: str | None = None
    # Of text files. By default UTF-8, or what the byte-order mark says.
    encoding: Annotated[str, AfterValidator(_encoding)] | None = None
    # Between two fields of a CSV file; by default found from its header.
    delimiter: Mark | None = None
    # Around a field of a CSV file, by default "; "" for none. In it a quote is doubled, or comes after `escape`.
    quote: Mark | None = None
    # Before a quote inside quotes; by default the quote itself.
    escape: Mark | None = None
    # Lines of a text file, or rows of a sheet, before the header.
    skip: int = Field(default=0, ge=0)
    # In numbers that are text: the decimal sign, and what stands between groups of three digits.
    decimal: Literal[".", ","] = "."
    # What stands between groups of three digits; by default any usual sign where `decimal` is a comma.
    thousands: Mark | None = None
    # Words that stand for nothing, such as "N/A" or "-".
    nothing: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.url is None) or (self.url is None) != (self.table is None):
            message = "give either path, or url and table"
            raise ValueError(message)
        of_files = {"encoding", "delimiter", "quote", "escape", "skip"} & self.model_fields_set
        if self.url is not None and of_files:
            message = f"{', '.join(sorted(of_files))} can be said of files alone, not of a database"
            raise ValueError(message)
        if self.thousands is not None and self.thousands == self.decimal:
            message = f"decimal and thousands are both {self.decimal!r}"
            raise ValueError(message)
        if self.thousands is not None and (self.thousands == "" or self.thousands.isalnum()):
            message = f"thousands {self.thousands!r} is no sign between digits"
            raise ValueError(message)
        return self


class Value(SettingsSection):
    """The origin of a canonical column: a column, a constant, or a SQL expression."""

    # The raw column.
    column: str | None = None
    # A constant for all rows.
    value: str | int | float | bool | None = None
    # DuckDB SQL over the raw row; use TRY_CAST, since a failing CAST stops the run.
    sql: str | None = None
    # Raw value to canonical value, e.g. P1 = "urgent"; values not named here stay as they are.
    map: dict[str, str] = {}
    # strptime format of a text time, where it is not ISO; epoch, epoch_ms or epoch_us of numbers since 1970.
    format: str | None = None
    # Of the end of a term or of a life: whether the date is the last day, as in most contracts, and not the day after.
    inclusive: bool = False
    # What an attribute of accounts beyond the contract's columns holds.
    kind: Kind = "text"

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if sum(x is not None for x in (self.column, self.value, self.sql)) != 1:
            message = "give exactly one of column, value and sql"
            raise ValueError(message)
        return self


def _value(given: object) -> object:
    return {"column": given} if isinstance(given, str) else given


class TableMap(SettingsSection):
    """The mapping of a canonical table from the sources.

    `query` is SQL over the sources by their names; `source` is short for all rows of one of them.
    """

    # The source whose rows it has.
    source: str | None = None
    # SQL over the sources by their names, in place of `source`.
    query: str | None = None
    # Of its times without an offset; by default the company's.
    timezone: Zone | None = None
    # How long after it happens an event is known to us; used where known_at is not mapped.
    lag: Span = timedelta(0)
    # The system whose ids stand in account_id, to be looked up in identities.
    system: str | None = None
    # How such an id is looked up: as it is, or by the domain of the e-mail address (or domain) that it is.
    match: Literal["exact", "email_domain"] = "exact"
    # The raw column, a time or a number, whose largest value marks the newest of several rows of one key.
    version: str | None = None
    # What becomes of events that came twice, equal to the last character: they count once, or each. By default they
    # count once where a column tells all events apart, or where everything came again.
    repeats: Literal["auto", "drop", "keep"] = "auto"
    # Canonical column to raw column, or to a table with the keys below.
    columns: dict[str, Annotated[Value, BeforeValidator(_value)]]

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.source is None) == (self.query is None):
            message = "give either source or query"
            raise ValueError(message)
        return self


def _differ(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        message = "each product feature is named once"
        raise ValueError(message)
    return values


class OwnFeatures(SettingsSection):
    """Features of the company's own, beside the built-in ones."""

    # Python files, from this file's folder, such as "own_features.py". Every command runs the code in them.
    features: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()
    # Values of usage.feature whose shares of all use are features, the commonest of the company; `init` names them.
    shares_of_use: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=100)], ...], Field(max_length=12), AfterValidator(_differ)
    ] = ()


class Quality(SettingsSection):
    """The share of bad rows above which a run stops."""

    # A share from 0 to 1 of each table; 1 lets any number of rows go.
    max_quarantine: Share = 0.05


class Engine(SettingsSection):
    """The engine that computes snapshots of the whole company; those of a posted account need none."""

    # What computes.
    kind: Literal["duckdb", "spark", "postgres"] = "duckdb"
    # Spark's: local[*] is this machine, spark://HOST:PORT a standalone cluster.
    master: str = "local[*]"
    # Spark's, on a cluster: a folder that this machine and all workers see at the same path.
    folder: Path | None = None
    # Spark's own settings, such as "spark.executor.memory" = "4g".
    options: dict[str, str] = {}
    # PostgreSQL's: postgresql://USER:PASSWORD@HOST:PORT/DATABASE, out of the environment through ${NAME}.
    url: str | None = Field(default=None, repr=False)

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.kind == "postgres" and not re.match(r"postgres(ql)?(\+\w+)?://", self.url or ""):
            message = "kind postgres needs a url that begins with postgresql://"
            raise ValueError(message)
        return self
