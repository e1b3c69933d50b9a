"""A company's raw tables in DuckDB: their rows and columns, and how well one finds its values in another."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from features.core.errors import SourceError
from features.proposal.column_kinds import ColumnSample, describe_column
from features.settings import Settings
from features.sources.mapping import quote_identifier, summarize_error
from features.sources.source_views import BAD_LINES, attach_sources

_SAMPLED = 3_000  # rows of a table that its columns are described by
_LOOKED_UP = 20_000  # distinct values of a column that are looked up in another
# Ids that went through floats are the whole number again, as the mapping has it.
_KEY = "regexp_replace(trim(CAST({} AS VARCHAR)), '^(-?[0-9]+)\\.0+$', '\\1')"


@dataclass
class RawRows:
    """Rows of a source or query, each column described when it is first asked for.

    Args:
        sql: What stands after FROM.
        types: Column to DuckDB type.
        count: Number of rows.
        sample: Some of its rows.
        connection: To DuckDB.
    """

    sql: str
    types: dict[str, str]
    count: int
    sample: list[tuple[Any, ...]]
    connection: duckdb.DuckDBPyConnection = field(repr=False)

    def __post_init__(self) -> None:
        self._described: dict[str, ColumnSample] = {}

    def column(self, name: str) -> ColumnSample:
        """Return what a column holds."""
        if name not in self._described:
            place = list(self.types).index(name)
            values = [row[place] for row in self.sample]
            self._described[name] = describe_column(name, values, self.types[name], self.connection)
        return self._described[name]

    @cached_property
    def columns(self) -> dict[str, ColumnSample]:
        """Return all columns, described."""
        return {name: self.column(name) for name in self.types}

    def is_unique(self, name: str, least: float = 0.98) -> bool:
        """Return whether nearly every filled row has a value of its own in a column."""
        sample = self.column(name)
        if sample.filled == 0 or sample.distinct < least * sample.filled * len(self.sample):
            return False
        column = quote_identifier(name)
        (distinct, filled), *_ = self.connection.execute(
            f"SELECT count(DISTINCT {column}), count({column}) FROM {self.sql}"
        ).fetchall()
        return bool(distinct >= least * filled)


class Workspace:
    """The attached sources of a company."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, sources: dict[str, dict[str, Any]]) -> None:
        self.connection = connection
        self.sources = sources
        self._tables: dict[str, RawRows] = {}

    def read(self, sql: str) -> RawRows:
        """Read a sample of rows.

        Args:
            sql: What stands after FROM: a source's quoted name, or a query in brackets.

        Raises:
            SourceError: The query is wrong.
        """
        if sql not in self._tables:
            try:
                described = self.connection.execute(f"DESCRIBE SELECT * FROM {sql}").fetchall()
                ((count,),) = self.connection.execute(f"SELECT count(*) FROM {sql}").fetchall()
                picked = f" USING SAMPLE reservoir({_SAMPLED} ROWS) REPEATABLE (7)" if count > _SAMPLED else ""
                rows = self.connection.execute(f"SELECT * FROM {sql}{picked}").fetchall()
            except duckdb.Error as error:
                raise SourceError(f"{sql} can't be read", found=summarize_error(error)) from error
            types = {row[0]: str(row[1]) for row in described}
            self._tables[sql] = RawRows(sql, types, count, rows, self.connection)
        return self._tables[sql]

    def source(self, name: str) -> RawRows:
        """Read a sample of a source's rows."""
        return self.read(quote_identifier(name))

    def list_bad_lines(self) -> list[str]:
        """Return, for each source with lines that can't be read, how many there are and what is wrong first."""
        counted = f"SELECT source, count(*), min(line), arg_min(why, line) FROM {BAD_LINES} GROUP BY source ORDER BY 1"
        return [
            f"{name}: {n:,} line{'s' * (n > 1)} can't be read, the first is line {line}: {why}"
            for name, n, line, why in self.connection.execute(counted).fetchall()
        ]

    def match(self, rows: str, column: str, targets: str, target: str) -> float:
        """Return the share of filled rows whose value is among those of another column, in [0, 1].

        Args:
            rows: SQL after FROM.
            column: SQL of the value looked up.
            targets: SQL after FROM of the rows looked in.
            target: SQL of their value.
        """
        counted = (
            f"SELECT {_KEY.format(column)} AS v, count(*) AS n FROM {rows} WHERE ({column}) IS NOT NULL "
            f"GROUP BY v LIMIT {_LOOKED_UP}"
        )
        known = f"SELECT DISTINCT {_KEY.format(target)} AS v FROM {targets} WHERE ({target}) IS NOT NULL"
        try:
            ((rate,),) = self.connection.execute(
                f"SELECT sum(CASE WHEN k.v IS NULL THEN 0 ELSE n END) / sum(n) "
                f"FROM ({counted}) c LEFT JOIN ({known}) k ON c.v = k.v"
            ).fetchall()
        except duckdb.Error:
            return 0.0
        return float(rate or 0)


@contextlib.contextmanager
def open_workspace(sources: dict[str, dict[str, Any]], file: Path) -> Iterator[Workspace]:
    """Attach sources, each read once into a temporary database.

    Args:
        sources: Keys of each source.
        file: The TOML file to be; paths are relative to its folder.

    Raises:
        SourceError: A source can't be read.
    """
    settings = as_settings(sources, file)
    with TemporaryDirectory(prefix="garrison-init-") as name, duckdb.connect(Path(name) / "raw.duckdb") as connection:
        attach_sources(connection, settings, Path(name) / "rewritten")
        for source, keys in sources.items():
            quoted = quote_identifier(source)
            if not str(keys.get("path", "")).endswith((".parquet", ".pq")):
                # Read a text file once, not at each question.
                connection.execute(f"CREATE TEMP TABLE {quoted} AS SELECT * FROM source.{quoted}")
        yield Workspace(connection, sources)


def as_settings(sources: dict[str, dict[str, Any]], file: Path) -> Settings:
    """Return settings of sources alone, to read them by."""
    dummy = {"source": next(iter(sources)), "columns": {}}
    return Settings.model_validate(
        {
            "company": {"name": "init"},
            "sources": sources,
            "tables": {"accounts": dummy},
            "churn": {"cohort": {"kind": "active"}, "label": {"kind": "no_purchase"}},
            "file": file,
        }
    )
