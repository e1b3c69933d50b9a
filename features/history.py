"""One company's clean history: its canonical tables in an embedded DuckDB."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import duckdb
import ibis
import pandas as pd
import pyarrow as pa

from features import quality, sources
from features.contract import EVENTS, TABLES, Column, stored
from features.errors import SourceError
from features.quality import Checked
from features.settings import Settings

_ARROW = {"string": pa.string(), "int64": pa.int64(), "decimal(18, 4)": pa.decimal128(18, 4), "boolean": pa.bool_()}
Progress = Callable[[str], None]


class History:
    """The tables of a company, or of a few posted accounts; close it, or use it as a context.

    Attributes:
        sources: The event tables that are there, in contract order.
        attributes: The mapped columns of accounts that describe it, each with its stored type.
        checked: What came of each table; empty for posted rows, which are checked before they get here.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        tables: Sequence[str],
        attributes: tuple[tuple[str, str], ...],
        checked: tuple[Checked, ...] = (),
    ) -> None:
        self._connection = connection
        self.tables = tuple(tables)
        self.sources = tuple(t for t in EVENTS if t in tables)
        self.attributes = attributes
        self.checked = checked

    @classmethod
    def open(cls, settings: Settings, progress: Progress | None = None) -> Self:
        """Read and check all tables that the settings map.

        Raises:
            SourceError: A source can't be read, lacks a column, or is empty.
            QualityError: Too many of a table's rows are bad.
        """
        backend = ibis.duckdb.connect()
        # Sums are exact and results sorted: the order of rows means nothing here.
        backend.raw_sql("SET preserve_insertion_order = false")
        try:
            sources.attach(backend, settings)
            checked = []
            for table in (t for t in TABLES if t in settings.tables):
                if progress:
                    progress(table)
                checked.append(quality.check(backend, settings, table))
            backend.raw_sql("SET search_path = 'main'")
        except BaseException:
            backend.disconnect()
            raise
        return cls(backend.con, [c.table for c in checked], attributes(settings), tuple(checked))

    @classmethod
    def posted(cls, settings: Settings, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> Self:
        """The history of posted accounts.

        Args:
            settings: The company's, for the attributes that its accounts have.
            tables: Canonical rows by table: instants in whole µs, decimals as Decimal. A table that is not
                given is a missing source; one with no rows is a source that has seen nothing.
        """
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
        described = attributes(settings)
        for table, rows in tables.items():
            kinds = {c: stored(column) for c, column in TABLES[table].columns.items()}
            kinds |= dict(described) if table == "accounts" else {}
            columns = {c: pa.array([row.get(c) for row in rows], _ARROW[kind]) for c, kind in kinds.items()}
            connection.register(table, pa.table(columns))
        return cls(connection, list(tables), described)

    def query(self, sql: str, **frames: pd.DataFrame) -> pd.DataFrame:
        """Run SQL over the canonical tables, with frames as tables beside them."""
        for name, frame in frames.items():
            self._connection.register(name, frame)
        try:
            return self._connection.sql(sql).to_arrow_table().to_pandas()
        finally:
            for name in frames:
                self._connection.unregister(name)

    def rows(self, table: str, account_id: str) -> list[dict[str, Any]]:
        """The canonical rows of one account, in the form that `posted` takes."""
        rows = self._connection.sql(f"SELECT * FROM {table} WHERE account_id = ?", params=[account_id])
        return rows.to_arrow_table().to_pylist()

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
            raise SourceError("no event table is mapped", do="Map at least one of tickets, usage and purchases")
        each = " UNION ALL ".join(f"SELECT {which}({TABLES[t].time}) AS t FROM {t}" for t in self.sources)
        return [int(t) for t in self.query(each)["t"].dropna()]

    def fingerprint(self) -> str:
        """16 hexadecimal digits that change when any row of any table does, whatever the order of rows."""
        each = [
            self.query(f"SELECT count(*) AS n, sum(hash(r)::HUGEINT)::VARCHAR AS h FROM {t} AS r") for t in self.tables
        ]
        text = "|".join(f"{t}:{f['n'].iloc[0]}:{f['h'].iloc[0]}" for t, f in zip(self.tables, each, strict=True))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def close(self) -> None:
        """Give the memory back."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def attributes(settings: Settings) -> tuple[tuple[str, str], ...]:
    """The attributes of accounts that the settings map, each with its stored type."""
    mapped = settings.tables["accounts"].columns
    contract = TABLES["accounts"].columns
    return tuple((c, stored(contract.get(c) or Column(mapped[c].kind))) for c in settings.attributes())
