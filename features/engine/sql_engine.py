"""The query and the tables that a SQL engine gets, and the snapshots that it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import ibis
import ibis.expr.operations as ops
import pyarrow as pa

from features.core.timestamps import sort_unique_micros, to_micros
from features.definitions.sql_expression import build_expression
from features.sources.history import History
from features.sources.mapping import quote_identifier, quote_literal

CUTOFFS = "cutoffs"


@dataclass(frozen=True)
class SnapshotQuery:
    """One catalog over one history, for an engine that speaks SQL.

    Args:
        sql: The snapshots, in the engine's dialect; rows in no order.
        columns: Of the snapshots, in order: account_id, as_of, features, attributes.
        texts: Those of them that are text; the others are float64, `as_of` int64.
        tables: By name of a table that the query reads, its columns with their stored types.
    """

    sql: str
    columns: tuple[str, ...]
    texts: frozenset[str]
    tables: Mapping[str, Mapping[str, str]]

    @classmethod
    def to(cls, dialect: str, history: History) -> SnapshotQuery:
        """Compile the one expression for an engine."""
        snapshots = build_expression(history.features, history.attributes, dated=history.dated)
        tables = {
            node.name: {name: str(kind.copy(nullable=True)) for name, kind in node.schema.items()}
            for node in snapshots.op().find(ops.UnboundTable)
            if node.name != CUTOFFS
        }
        kinds = snapshots.schema()
        texts = frozenset(name for name, kind in kinds.items() if kind.is_string())
        return cls(str(ibis.to_sql(snapshots, dialect=dialect)), tuple(kinds), texts, tables)

    @property
    def schema(self) -> pa.Schema:
        """Return the Arrow types of the result."""
        kinds = {"as_of": pa.int64()} | dict.fromkeys(self.texts, pa.string())
        return pa.schema([(name, kinds.get(name, pa.float64())) for name in self.columns])

    def write(self, history: History, table: str, file: Path, *, form: str) -> None:
        """Write a table's columns to a file in a form that DuckDB's COPY knows, such as 'FORMAT parquet'."""
        columns = ", ".join(quote_identifier(c) for c in self.tables[table])
        history.query_arrow(f"COPY (SELECT {columns} FROM {table}) TO {quote_literal(str(file))} ({form})")  # noqa: S608  # quoted

    def snapshots(self, rows: pa.Table) -> pa.Table:
        """Return the result as `snapshots.build_table` does.

        Sorted here: engines collate text each in a way of its own.
        """
        order = [("as_of", "ascending"), ("account_id", "ascending")]
        ordered = rows.select(self.columns).cast(self.schema).sort_by(order)
        place = ordered.column_names.index("as_of")
        return ordered.set_column(place, "as_of", ordered["as_of"].cast(pa.timestamp("us", "UTC")))

    def blank(self, as_of: datetime) -> pa.Table:
        """Return the snapshot of an account of which nothing is known."""
        known = {"account_id": pa.array([""]), "as_of": pa.array([to_micros(as_of)])}
        return self.snapshots(pa.table({f.name: known.get(f.name, pa.nulls(1, f.type)) for f in self.schema}))


def build_on_duckdb(history: History, as_ofs: Sequence[datetime]) -> pa.Table:
    """Run the query in the history's own DuckDB."""
    handover = SnapshotQuery.to("duckdb", history)
    cutoffs = ", ".join(f"({i}::BIGINT)" for i in sort_unique_micros(as_ofs))
    sql = f"WITH {CUTOFFS}(as_of) AS (VALUES {cutoffs}) SELECT * FROM ({handover.sql})"  # noqa: S608  # numbers
    return handover.snapshots(history.query_arrow(sql))
