"""PostgreSQL as the engine: the history is loaded into a schema of its own, and the snapshots computed there."""

from __future__ import annotations

import re
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import psycopg
import pyarrow as pa
from psycopg import conninfo
from pyarrow import csv

from features.core.contract import postgres_type
from features.core.errors import GarrisonError
from features.core.timestamps import sort_unique_micros
from features.engine.sql_engine import CUTOFFS, SnapshotQuery
from features.settings import Engine
from features.sources.history import History
from features.sources.mapping import quote_identifier, summarize_error

CONNECT_S = 10
_BLOCK = 1 << 20  # bytes handed over at a time
_NAME = 63  # bytes of a name that PostgreSQL keeps
# Whatever the database's own: text is equal if its bytes are, and has its small letters by Unicode where the server
# can. The first is there from PostgreSQL 17 on.
_COLLATIONS = ("pg_c_utf8", "und-x-icu", "C")


def build_table(engine: Engine, history: History, as_ofs: Sequence[datetime]) -> pa.Table:
    """Compute snapshots as `snapshots.build_table` does, inside the server.

    All happens in one transaction that is rolled back: even a killed run leaves nothing, and two runs don't meet.

    Raises:
        GarrisonError: The server can't be reached, or refuses.
    """
    handover = SnapshotQuery.to("postgres", history)
    _refuse_long_names(handover)
    with _connected(engine) as connection, tempfile.TemporaryDirectory(prefix="garrison-") as folder:
        collation = _prepare(connection)
        for name, columns in handover.tables.items():
            defined = ", ".join(
                f"{quote_identifier(c)} {postgres_type(kind, collation)}" for c, kind in columns.items()
            )
            connection.execute(f"CREATE UNLOGGED TABLE {name} ({defined})".encode())
            handover.write(history, name, Path(folder) / "table.csv", form="FORMAT csv, HEADER false")
            _load(connection, name, Path(folder) / "table.csv")
        connection.execute(f"CREATE UNLOGGED TABLE {CUTOFFS} (as_of bigint NOT NULL)")
        (Path(folder) / "table.csv").write_text("\n".join(map(str, sort_unique_micros(as_ofs))))
        _load(connection, CUTOFFS, Path(folder) / "table.csv")
        found = _read(connection, handover, Path(folder) / "snapshots.csv")
    return handover.snapshots(found)


@contextmanager
def _connected(engine: Engine) -> Iterator[psycopg.Connection]:
    """Yield a connection whose work is rolled back at the end; raise the server's errors without the password."""
    url = re.sub(r"^postgres(ql)?(\+\w+)?:", "postgresql:", str(engine.url))
    try:
        conninfo.conninfo_to_dict(url)
    except (psycopg.ProgrammingError, UnicodeDecodeError):
        # What it says may quote the password.
        raise GarrisonError(
            "engine.url is no PostgreSQL URL", hint="Write postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        ) from None
    try:
        connection = psycopg.connect(url, connect_timeout=CONNECT_S, client_encoding="utf8")
    except psycopg.OperationalError as error:
        there = " ".join(str(error).split())
        raise GarrisonError("PostgreSQL can't be reached at engine.url", found=there, hint="Is it up?") from None
    try:
        yield connection
    except psycopg.errors.InsufficientPrivilege as error:
        raise GarrisonError(
            "the user of engine.url may not do what the engine does",
            found=summarize_error(error),
            hint=f"GRANT CREATE ON DATABASE {connection.info.dbname} TO {connection.info.user}",
        ) from error
    except psycopg.Error as error:
        raise GarrisonError("PostgreSQL could not compute the snapshots", found=summarize_error(error)) from error
    finally:
        connection.close()


def _prepare(connection: psycopg.Connection) -> str:
    """Create a schema that only this transaction sees, set what results depend on, and return the collation of text."""
    schema = f"garrison_{uuid.uuid4().hex}"
    connection.execute(f"CREATE SCHEMA {schema}".encode())
    connection.execute(f"SET LOCAL search_path = {schema}".encode())
    # Compiling hundreds of aggregates to machine code takes longer than it saves.
    for setting in ("jit = off", "TimeZone = 'UTC'", "standard_conforming_strings = on", "extra_float_digits = 1"):
        connection.execute(f"SET LOCAL {setting}".encode())
    there = connection.execute(
        "SELECT collname FROM pg_collation WHERE collencoding IN (-1, pg_char_to_encoding(getdatabaseencoding()))"
    ).fetchall()
    return next(name for name in _COLLATIONS if (name,) in there)


def _load(connection: psycopg.Connection, table: str, file: Path) -> None:
    with file.open("rb") as rows, connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT csv)".encode()) as copy:
        while block := rows.read(_BLOCK):
            copy.write(block)
    file.unlink()
    connection.execute(f"ANALYZE {table}".encode())


def _read(connection: psycopg.Connection, handover: SnapshotQuery, file: Path) -> pa.Table:
    """Read the query's rows as Arrow; a file takes them first, so that the transaction does not wait for parsing."""
    with (
        file.open("wb") as rows,
        connection.cursor().copy(f"COPY ({handover.sql}) TO STDOUT (FORMAT csv)".encode()) as copy,
    ):
        for block in copy:
            rows.write(block)
    if not file.stat().st_size:
        return handover.schema.empty_table()
    return csv.read_csv(
        file,
        read_options=csv.ReadOptions(column_names=list(handover.columns), block_size=16 * _BLOCK),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=handover.schema,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _refuse_long_names(handover: SnapshotQuery) -> None:
    """Raise an error for names that PostgreSQL would cut: two could become one."""
    names = re.findall(r'"((?:[^"]|"")+)"', handover.sql)
    long = next((name for name in names if len(name.encode()) > _NAME), None)
    if long:
        raise GarrisonError(
            f"PostgreSQL keeps {_NAME} bytes of a name", found=long, hint="Give the feature or attribute a shorter one"
        )
