"""A company's canonical tables in an embedded DuckDB, ordered by account and time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

import duckdb
import pandas as pd
import pyarrow as pa

from features.catalog import Catalog
from features.catalog.account import list_attributes
from features.core.contract import EVENTS, RECORDS, TABLES, VERSIONS
from features.core.errors import SourceError
from features.core.progress import Progress
from features.core.timestamps import to_micros
from features.definitions.feature import DAY, Feature
from features.settings import Engine, Settings
from features.sources import table_cache
from features.sources.account_rows import AccountRows
from features.sources.mapping import quote_identifier
from features.sources.table_cache import CachedTables
from features.sources.validated_table import ValidatedTable

# Events before a gap of so many days are no history if they are no more than this share.
_YEARS_APART, _FEW = 5 * 365, 0.01


class History:
    """The canonical tables of a company, or of a few posted accounts; close it, or use it in a `with` statement.

    Attributes:
        sources: The event tables that it has, in contract order.
        measured: The tables that features measure: events, and records of people, contracts, surveys and promises.
        attributes: The mapped columns that describe an account, each with its stored type.
        catalog: The features to compute.
        checked: The result of validating each table; empty for posted rows, which are checked before.
        engine: The engine that computes snapshots.
        cache: The file that holds the tables; None for posted rows.
        rows: The rows of a few accounts, for work that needs no database; None for a company.
        dated: Whether the attributes are those of versions by time, in the table `account_versions`.
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
        rows: AccountRows | None = None,
        *,
        dated: bool = False,
    ) -> None:
        self._connect = connect
        self.tables = tuple(tables)
        self.sources = tuple(t for t in EVENTS if t in tables)
        self.measured = tuple(t for t in (*EVENTS, *RECORDS) if t in tables)
        self.attributes = attributes
        self.catalog = catalog
        self.checked = checked
        self.engine = engine
        self.cache = cache
        self.rows = rows
        self.dated = dated

    @classmethod
    def open(cls, settings: Settings, progress: Progress | None = None, *, refuse: bool = True) -> Self:
        """Open the tables that the settings map; read and validate the sources if any has changed since the last time.

        Args:
            settings: The company's.
            progress: Called as each table is read.
            refuse: Whether to refuse tables with faults, which only the check looks at.

        Raises:
            SourceError: A source can't be read, lacks a column, or is empty.
            QualityError: Too many of a table's rows are bad, or its money is in several currencies.
            FeatureError: The company's own features can't be used.

        Examples:
            >>> import tempfile
            >>> from pathlib import Path
            >>> from features.settings.load import load_settings
            >>> toml = '''
            ... company.name = "Harbour Ltd"
            ... paths.var = "var"
            ... sources.customers.path = "customers.csv"
            ... sources.orders.path = "orders.csv"
            ... tables.accounts = { source = "customers", columns = { account_id = "id", created_at = "since" } }
            ... tables.purchases.source = "orders"
            ... tables.purchases.columns = { account_id = "customer", purchased_at = "date", amount = "total" }
            ... churn.cohort.kind = "active"
            ... churn.label.kind = "no_purchase"
            ... '''
            >>> with tempfile.TemporaryDirectory() as name:
            ...     folder = Path(name)
            ...     _ = (folder / "garrison.toml").write_text(toml)
            ...     pd.DataFrame({"id": ["A", "B"], "since": "2023-01-01"}).to_csv(folder / "customers.csv")
            ...     orders = pd.DataFrame({"customer": ["A", "B", "A"], "date": "2024-01-05", "total": [10, 20, 30]})
            ...     orders.to_csv(folder / "orders.csv")
            ...     with History.open(load_settings(folder / "garrison.toml")) as history:
            ...         totals = history.query("SELECT account_id, sum(amount) AS total FROM purchases GROUP BY ALL")
            ...         sources = history.sources
            >>> sources
            ('purchases',)
            >>> {row.account_id: float(row.total) for row in totals.sort_values("account_id").itertuples()}
            {'A': 40.0, 'B': 20.0}
        """
        catalog = Catalog.for_company(settings)
        return cls._of(settings, table_cache.open_cache(settings, progress, refuse=refuse), catalog)

    @classmethod
    def reopen(cls, settings: Settings, key: str) -> Self | None:
        """Open the tables of the cached file with that key, even if sources have changed; None where it was removed.

        Raises:
            FeatureError: The company's own features can't be used.
        """
        cache = table_cache.reopen_cache(settings, key)
        return None if cache is None else cls._of(settings, cache, Catalog.for_company(settings))

    @classmethod
    def _of(cls, settings: Settings, cache: CachedTables, catalog: Catalog) -> Self:
        connection = duckdb.connect(cache.file, read_only=True, config=table_cache.LIMITS)
        connection.execute("SET TimeZone = 'UTC'")
        tables = [c.table for c in cache.checked]
        return cls(
            lambda: connection,
            tables,
            list_attributes(settings),
            catalog,
            cache.checked,
            settings.engine,
            cache,
            dated=settings.are_attributes_dated,
        )

    @classmethod
    def from_rows(
        cls, settings: Settings, tables: Mapping[str, Sequence[Mapping[str, Any]]], catalog: Catalog | None = None
    ) -> Self:
        """Build the history of a few accounts from their rows.

        Args:
            settings: The company's, for the attributes of accounts.
            tables: Canonical rows by table: instants in whole µs, decimals as Decimal. A missing
                table is a missing source; one with no rows is a source without events.
            catalog: By default the company's; its own code then runs if it has changed.
        """
        attributes = list_attributes(settings)
        rows = AccountRows(tables, attributes)
        return cls(rows.load, list(tables), attributes, catalog or Catalog.for_company(settings), rows=rows)

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        """Return the connection, opened at first use: posted rows seldom need a database."""
        return self._connect()

    def query(self, sql: str, **frames: pd.DataFrame) -> pd.DataFrame:
        """Run SQL over the canonical tables, with the given frames as further tables."""
        for name, frame in frames.items():
            self._connection.register(name, frame)
        try:
            return self._connection.sql(sql).to_arrow_table().to_pandas()
        finally:
            for name in frames:
                self._connection.unregister(name)

    def query_arrow(self, sql: str, **parameters: int) -> pa.Table:
        """Run SQL with named parameters over the canonical tables; safe from several threads at once.

        Rows come in the order of the table that they are read from.
        """
        with self._connection.cursor() as cursor:
            return cursor.sql(sql, params=parameters).to_arrow_table()

    def read_accounts(self, first: int, last: int) -> pa.Table:
        """Read the accounts whose numbers, places in the order of their ids, are from `first` to `last`."""
        if self.rows:
            return self.rows.read_arrow("accounts").slice(first, last - first + 1).drop_columns("account_no")
        sql = "SELECT * EXCLUDE account_no FROM accounts WHERE account_no BETWEEN $first AND $last ORDER BY account_no"
        return self.query_arrow(sql, first=first, last=last)

    def read_versions(self, first: int, last: int) -> pa.Table:
        """Read the versions of the accounts with these numbers that are ever in force, in [since, until)."""
        sql = f"SELECT * FROM {VERSIONS} WHERE account_no BETWEEN $first AND $last AND since < until"
        return self.query_arrow(sql, first=first, last=last)

    def split_accounts(self, events: int, accounts: int) -> list[tuple[int, int]]:
        """Split the accounts into ranges of numbers (first, last) with about so many events or accounts each."""
        count = self.count_rows()
        number = max(1, -(-sum(map(self.count_rows, self.sources)) // events), -(-count // accounts))
        edges = [count * n // number for n in range(number + 1)]
        return [(first, after - 1) for first, after in pairwise(edges)]

    def count_rows(self, table: str = "accounts") -> int:
        """Count the rows of a canonical table."""
        if self.rows:
            return len(self.rows.tables[table])
        return int(self._connection.table(table).count("*").fetchall()[0][0])

    def read_rows(self, table: str, account_id: str, as_of: datetime | None = None) -> list[dict[str, Any]]:
        """Read the canonical rows of one account, in the form that `from_rows` takes.

        With `as_of` the account itself is described as it was known to be then. A table of nobody's, such as staff, has
        none.
        """
        if "account_id" not in TABLES[table].columns:
            return []
        sql = f"SELECT * FROM {table} WHERE account_id = ?"
        rows: list[dict[str, Any]] = self._connection.sql(sql, params=[account_id]).to_arrow_table().to_pylist()
        if table == "accounts" and self.dated and as_of:
            names = ", ".join(quote_identifier(name) for name, _ in self.attributes)
            at = to_micros(as_of)
            sql = f"SELECT {names} FROM {VERSIONS} WHERE account_id = ? AND since <= {at} AND until > {at}"
            versions = self._connection.sql(sql, params=[account_id]).to_arrow_table().to_pylist()
            described = versions[0] if versions else dict.fromkeys(name for name, _ in self.attributes)
            return [row | described for row in rows]
        return rows

    def open_cursor(self) -> duckdb.DuckDBPyConnection:
        """Open a connection to the canonical tables for one thread; the caller closes it."""
        return self._connection.cursor()

    @property
    def features(self) -> tuple[Feature, ...]:
        """Return the features of the catalog whose sources it has."""
        return self.catalog.select_account_features(self.measured)

    @property
    def all_began(self) -> int:
        """Return the instant from which every source has events, in µs: the latest of their first ones.

        A few events that lie years before all others, such as a mistyped date, are not where a source begins.
        """
        self._require_events()
        return max(self._find_beginning(table) for table in self.sources if self.count_rows(table))

    def _find_beginning(self, table: str) -> int:
        """Return the first event after the last gap of years that has hardly an event before it."""
        time = TABLES[table].time
        days = f"SELECT {time} // {DAY} AS day, min({time}) AS first, count(*) AS n FROM {table} GROUP BY day"
        before = "day - lag(day) OVER (ORDER BY day) AS gap, sum(n) OVER (ORDER BY day) - n AS before"
        few = f"before <= {_FEW} * (SELECT count(*) FROM {table})"
        begins = f"gap IS NULL OR (gap > {_YEARS_APART} AND {few})"
        rows = self.query(f"SELECT max(first) AS t FROM (SELECT *, {before} FROM ({days})) WHERE {begins}")
        return int(rows["t"].iloc[0])

    @property
    def last_event(self) -> int:
        """Return the latest event's instant, in µs."""
        self._require_events()
        times = " UNION ALL ".join(f"SELECT max({TABLES[t].time}) AS t FROM {t}" for t in self.sources)
        return int(self.query(times)["t"].max())

    def _require_events(self) -> None:
        if not self.sources:
            raise SourceError("no event table is mapped", hint="Map at least one of tickets, usage and purchases")
        if no_event := self.explain_no_event():
            raise no_event

    def explain_no_event(self) -> SourceError | None:
        """Return the error that no event is left, with the commonest reason; None where there is one."""
        if self.has_events or not self.sources:
            return None
        reasons = [(n, f"{n:,} rows of {c.table}: {why}") for c in self.checked for why, n in c.reasons.items()]
        found = max(reasons)[1] if reasons else None
        return SourceError("no event is left", found=found, hint="Correct the TOML or the data: see features check")

    @property
    def has_events(self) -> bool:
        """Return whether it has any event."""
        return any(self.count_rows(table) for table in self.sources)

    def compute_fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change with any row of any table, but not with the order of rows."""
        checksums = [
            self.query(f"SELECT count(*) AS n, sum(hash(r)::HUGEINT)::VARCHAR AS h FROM {t} AS r") for t in self.tables
        ]
        text = "|".join(f"{t}:{f['n'].iloc[0]}:{f['h'].iloc[0]}" for t, f in zip(self.tables, checksums, strict=True))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def read_fingerprints(self, as_of: datetime) -> dict[str, str] | None:
        """Return, by table, a checksum of the facts visible at `as_of`; None if that is no midnight UTC."""
        if not self.checked or to_micros(as_of) % DAY:
            return None
        sql = "SELECT source, sum(hashes)::VARCHAR FROM days WHERE day < ? GROUP BY source"
        return dict(self._connection.execute(sql, [to_micros(as_of) // DAY]).fetchall())

    def __repr__(self) -> str:
        tables = ", ".join(f"{table} {self.count_rows(table):,}" for table in ("accounts", *self.sources))
        return f"History({tables} rows; {len(self.features)} features)"

    def _repr_html_(self) -> str:
        columns = ["table", "rows", "kept", "first", "last"]
        read = [(c.table, c.rows, c.kept, *(day and day.date() for day in (c.first, c.last))) for c in self.checked]
        rows = pd.DataFrame(read, columns=columns)
        return f"<p>{self!r}</p>{rows.to_html(index=False, border=0)}"

    def close(self) -> None:
        """Close the connection and free its memory."""
        if self.rows is None or "_connection" in vars(self):
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
