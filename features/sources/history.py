"""One company's clean history: its canonical tables in an embedded DuckDB, in the order of account and time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from operator import itemgetter
from types import TracebackType
from typing import Any, Self

import duckdb
import pandas as pd
import pyarrow as pa

from features.arrays.tables import ArrayTables
from features.catalog import Catalog
from features.catalog.account import list_attributes
from features.core.contract import EVENTS, TABLES, arrow_type, arrow_type_of
from features.core.errors import SourceError
from features.core.progress import Progress
from features.core.timestamps import to_micros
from features.definitions.feature import DAY, Feature
from features.settings import Engine, Settings
from features.sources import table_cache
from features.sources.table_cache import CachedTables
from features.sources.validation import ValidatedTable


class History:
    """The tables of a company, or of a few posted accounts; close it, or use it as a context.

    Attributes:
        sources: The event tables that are there, in contract order.
        attributes: The mapped columns of accounts that describe it, each with its stored type.
        catalog: The features that are made of it.
        checked: What came of each table; empty for posted rows, which are checked before they get here.
        engine: Where its snapshots are computed.
        cache: The file that holds it; None for posted rows.
        arrays: Posted rows, for what needs no database; None for a company's.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # one for each attribute
        self,
        connect: Callable[[], duckdb.DuckDBPyConnection],
        tables: Sequence[str],
        attributes: tuple[tuple[str, str], ...],
        catalog: Catalog,
        checked: tuple[ValidatedTable, ...] = (),
        engine: Engine = Engine(),  # noqa: B008  # read-only
        cache: CachedTables | None = None,
        arrays: ArrayTables | None = None,
    ) -> None:
        self._connect = connect
        self.tables = tuple(tables)
        self.sources = tuple(t for t in EVENTS if t in tables)
        self.attributes = attributes
        self.catalog = catalog
        self.checked = checked
        self.engine = engine
        self.cache = cache
        self.arrays = arrays

    @classmethod
    def open(cls, settings: Settings, progress: Progress | None = None) -> Self:
        """The tables that the settings map: read and checked, unless they were and no source has changed since.

        Raises:
            SourceError: A source can't be read, lacks a column, or is empty.
            QualityError: Too many of a table's rows are bad.
            FeatureError: The company's own features can't be used.
        """
        catalog = Catalog.for_company(settings)
        return cls._of(settings, table_cache.open_cache(settings, progress), catalog)

    @classmethod
    def reopen(cls, settings: Settings, key: str) -> Self | None:
        """The tables as they were when a file of that key was made, whatever came since; None where it is gone.

        Raises:
            FeatureError: The company's own features can't be used.
        """
        found = table_cache.reopen_cache(settings, key)
        return None if found is None else cls._of(settings, found, Catalog.for_company(settings))

    @classmethod
    def _of(cls, settings: Settings, found: CachedTables, catalog: Catalog) -> Self:
        connection = duckdb.connect(found.file, read_only=True, config=table_cache.LIMITS)
        connection.execute("SET TimeZone = 'UTC'")
        tables = [c.table for c in found.checked]
        return cls(
            lambda: connection, tables, list_attributes(settings), catalog, found.checked, settings.engine, found
        )

    @classmethod
    def from_rows(
        cls, settings: Settings, tables: Mapping[str, Sequence[Mapping[str, Any]]], catalog: Catalog | None = None
    ) -> Self:
        """The history of posted accounts.

        Args:
            settings: The company's, for the attributes that its accounts have.
            tables: Canonical rows by table: instants in whole µs, decimals as Decimal. A table that is not
                given is a missing source; one with no rows is a source that has seen nothing.
            catalog: By default the company's, whose own code then runs if it has changed.
        """
        described = list_attributes(settings)
        accounts = sorted(tables["accounts"], key=itemgetter("account_id"))
        numbers = {row["account_id"]: n for n, row in enumerate(accounts)}
        found = {}
        for table, rows in {**tables, "accounts": accounts}.items():
            kinds = {c: arrow_type(column) for c, column in TABLES[table].columns.items()}
            kinds |= {c: arrow_type_of(kind) for c, kind in described} if table == "accounts" else {}
            columns = {c: pa.array([row.get(c) for row in rows], kind) for c, kind in kinds.items()}
            columns["account_no"] = pa.array([numbers.get(row["account_id"]) for row in rows], pa.int32())
            found[table] = pa.table(columns)
        return cls(
            lambda: _load_tables(found),
            list(tables),
            described,
            catalog or Catalog.for_company(settings),
            arrays=ArrayTables(found),
        )

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        """Opened when something first asks for it: posted rows seldom need a database."""
        return self._connect()

    def query(self, sql: str, **frames: pd.DataFrame) -> pd.DataFrame:
        """Run SQL over the canonical tables, with frames as tables beside them."""
        for name, frame in frames.items():
            self._connection.register(name, frame)
        try:
            return self._connection.sql(sql).to_arrow_table().to_pandas()
        finally:
            for name in frames:
                self._connection.unregister(name)

    def query_arrow(self, sql: str, **parameters: int) -> pa.Table:
        """Run SQL with named parameters over the canonical tables; several threads may at once.

        Rows come in the order of the table that they are read from.
        """
        with self._connection.cursor() as cursor:
            return cursor.sql(sql, params=parameters).to_arrow_table()

    def read_accounts(self, first: int, last: int) -> pa.Table:
        """The accounts with these numbers, which are places in the order of their ids."""
        if self.arrays:
            return self.arrays.tables["accounts"].slice(first, last - first + 1).drop_columns("account_no")
        sql = "SELECT * EXCLUDE account_no FROM accounts WHERE account_no BETWEEN $first AND $last ORDER BY account_no"
        return self.query_arrow(sql, first=first, last=last)

    def split_accounts(self, events: int, accounts: int) -> list[tuple[int, int]]:
        """First and last numbers of accounts that divide the company in parts of about so many events or accounts."""
        count = self.count_rows()
        number = max(1, -(-sum(map(self.count_rows, self.sources)) // events), -(-count // accounts))
        edges = [count * n // number for n in range(number + 1)]
        return [(first, after - 1) for first, after in pairwise(edges)]

    def count_rows(self, table: str = "accounts") -> int:
        """The number of rows of a canonical table."""
        if self.arrays:
            return int(self.arrays.tables[table].num_rows)
        return int(self._connection.table(table).count("*").fetchall()[0][0])

    def read_rows(self, table: str, account_id: str) -> list[dict[str, Any]]:
        """The canonical rows of one account, in the form that `posted` takes."""
        rows = self._connection.sql(f"SELECT * FROM {table} WHERE account_id = ?", params=[account_id])
        return rows.to_arrow_table().to_pylist()

    def open_cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection to the canonical tables for one thread alone, to be closed."""
        return self._connection.cursor()

    @property
    def features(self) -> tuple[Feature, ...]:
        """Those of the catalog whose sources are there."""
        return self.catalog.select_account_features(self.sources)

    @property
    def all_began(self) -> int:
        """The instant from which every source has events, in µs: the latest of their first ones."""
        return max(self._extremes("min"))

    @property
    def last_event(self) -> int:
        """The latest event's instant, in µs."""
        return max(self._extremes("max"))

    def _extremes(self, which: str) -> list[int]:
        if not self.sources:
            raise SourceError("no event table is mapped", hint="Map at least one of tickets, usage and purchases")
        each = " UNION ALL ".join(f"SELECT {which}({TABLES[t].time}) AS t FROM {t}" for t in self.sources)
        return [int(t) for t in self.query(each)["t"].dropna()]

    def compute_fingerprint(self) -> str:
        """16 hexadecimal digits that change when any row of any table does, whatever the order of rows."""
        each = [
            self.query(f"SELECT count(*) AS n, sum(hash(r)::HUGEINT)::VARCHAR AS h FROM {t} AS r") for t in self.tables
        ]
        text = "|".join(f"{t}:{f['n'].iloc[0]}:{f['h'].iloc[0]}" for t, f in zip(self.tables, each, strict=True))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def read_fingerprints(self, as_of: datetime) -> dict[str, str] | None:
        """By table, a number that changes with what could be seen at `as_of`; None if that isn't a midnight UTC."""
        if not self.checked or to_micros(as_of) % DAY:
            return None
        sql = "SELECT source, sum(hashes)::VARCHAR FROM days WHERE day < ? GROUP BY source"
        return dict(self._connection.execute(sql, [to_micros(as_of) // DAY]).fetchall())

    def close(self) -> None:
        """Give the memory back."""
        if self.arrays is None or "_connection" in vars(self):
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _load_tables(tables: Mapping[str, pa.Table]) -> duckdb.DuckDBPyConnection:
    """A database in memory with a few rows."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
    for table, rows in tables.items():
        connection.register("posted", rows)
        order = TABLES[table].time or "account_id"
        connection.execute(f"CREATE TABLE {table} AS SELECT * FROM posted ORDER BY account_no, {order}")
    connection.unregister("posted")
    return connection
