"""What an engine is handed: the query, the tables that it reads and the instants. And what it hands back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import ibis
import ibis.expr.operations as ops
import pandas as pd
import pyarrow as pa

from features.expression import expression, query
from features.history import History
from features.instants import aware, micros
from features.sources import quoted, text

CUTOFFS = "cutoffs"


@dataclass(frozen=True)
class Handover:
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
    def to(cls, dialect: str, history: History) -> Handover:
        """Compile the one expression for an engine."""
        snapshots = expression(history.features, history.attributes)
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
        """Arrow types of what comes back."""
        kinds = {"as_of": pa.int64()} | dict.fromkeys(self.texts, pa.string())
        return pa.schema([(name, kinds.get(name, pa.float64())) for name in self.columns])

    def write(self, history: History, table: str, file: Path, *, form: str) -> None:
        """Write a table's columns to a file in a form that DuckDB's COPY knows, such as 'FORMAT parquet'."""
        columns = ", ".join(quoted(c) for c in self.tables[table])
        history.arrow(f"COPY (SELECT {columns} FROM {table}) TO {text(str(file))} ({form})")  # noqa: S608  # quoted

    def frame(self, table: pa.Table) -> pd.DataFrame:
        """What came back, as `features.snapshots.build` gives it.

        Sorted here: engines collate text each in a way of its own.
        """
        ordered = (
            table.select(self.columns).cast(self.schema).sort_by([("as_of", "ascending"), ("account_id", "ascending")])
        )
        frame = ordered.to_pandas()
        return frame.assign(as_of=aware(frame["as_of"]))


def instants(as_ofs: Sequence[datetime]) -> list[int]:
    """The different instants in µs, ascending: the rows of the table `cutoffs`."""
    return sorted({micros(a) for a in as_ofs})


def embedded(history: History, as_ofs: Sequence[datetime]) -> pd.DataFrame:
    """The same query in the history's own DuckDB."""
    cutoffs = pd.DataFrame({"as_of": instants(as_ofs)}, dtype="int64")
    frame = history.query(query(history.features, history.attributes), cutoffs=cutoffs)
    return frame.assign(as_of=aware(frame["as_of"]))
