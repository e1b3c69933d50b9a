"""Deliver to a table of a SQLite or PostgreSQL database, by upserts, and read back what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from features.core.errors import DeliveryError
from features.state import database
from serving.delivery.crm_fields import FieldKind
from serving.delivery.destination import SENT, FieldStatus, JobCallback, OutgoingRecord, RecordOutcome, compute_digest

TABLE = "garrison_scores"
KEY, AS_OF = "account_id", "as_of"


class DatabaseDestination:
    """One table. Rows of accounts that are no longer scored stay, with the `as_of` that they were scored at.

    Args:
        to: A SQLAlchemy URL, with `#table` after it (default `garrison_scores`).
    """

    size = database.CHUNK
    is_readable = True

    def __init__(self, to: str) -> None:
        url, _, name = to.partition("#")
        self._store = database.Store(database.connect(url))
        self._name = name or TABLE
        self._table = sa.Table(self._name, sa.MetaData())
        self._existing: set[str] = set()  # columns of the table
        self.key = f"{self._store.engine.url.render_as_string(hide_password=True)}#{self._name}"

    def list_fields(self, columns: Mapping[str, FieldKind], *, create: bool = False) -> list[FieldStatus]:
        """Return the columns that scores need; create the table, or the columns that it lacks, if asked."""
        kinds: dict[FieldKind, Any] = {
            "flag": sa.Boolean,
            "instant": sa.DateTime(timezone=True),
            "text": sa.Text,
            "long": sa.Text,
        }
        types: dict[str, Any] = {KEY: sa.Text} | {name: kinds.get(kind, sa.Double) for name, kind in columns.items()}
        self._set_columns(types)
        existing, dialect = self._read_columns(), self._store.engine.dialect
        if create:
            self._create()
        return [FieldStatus(c.name, c.type.compile(dialect), c.name in existing) for c in self._table.columns]

    def _read_columns(self) -> set[str]:
        """Return the names of the table's columns; none where there is no table."""
        with self._store.reading() as connection:
            inspector = sa.inspect(connection)
            if not inspector.has_table(self._name):
                return set()
            return {column["name"] for column in inspector.get_columns(self._name)}

    def _create(self) -> None:
        with self._store.writing() as connection:
            self._check_key(connection)
            self._table.create(connection, checkfirst=True)
            _add_missing(connection, self._table)

    def _set_columns(self, types: Mapping[str, Any]) -> None:
        columns = [sa.Column(name, kind, primary_key=name == KEY, nullable=name != KEY) for name, kind in types.items()]
        self._table = sa.Table(self._name, sa.MetaData(), *columns)

    def prepare(self, frame: pd.DataFrame, *, dry_run: bool) -> None:
        """Create the table, or the columns that it lacks; a dry run leaves it as it is.

        Raises:
            DeliveryError: The table's key is another one; it is left as it was.
        """
        self._set_columns({str(c): _kind(frame[c]) for c in frame.columns})
        if not dry_run:
            self._create()
        self._existing = self._read_columns()

    def _check_key(self, connection: sa.Connection) -> None:
        inspector = sa.inspect(connection)
        if not inspector.has_table(self._name):
            return
        keys: list[Any] = [inspector.get_pk_constraint(self._name)["constrained_columns"]]
        keys += [unique["column_names"] for unique in inspector.get_unique_constraints(self._name)]
        keys += [index["column_names"] for index in inspector.get_indexes(self._name) if index["unique"]]
        if [KEY] not in keys:
            raise DeliveryError(
                f"the table {self._name} does not take the scores",
                found=f"its key is {', '.join(keys[0]) or 'missing'}",
                hint=f"Its key must be {KEY}: name another table behind the URL, or drop this one",
            )

    def build_records(self, frame: pd.DataFrame) -> list[OutgoingRecord]:
        """Return the rows of a frame as Python's own values, None where there is none."""
        objects = frame.astype(object).where(frame.notna(), None)
        for column in frame.select_dtypes("datetimetz"):
            objects[column] = [None if pd.isna(at) else at.to_pydatetime() for at in frame[column]]
        names = [str(column) for column in objects]
        rows = (dict(zip(names, row, strict=True)) for row in objects.itertuples(index=False, name=None))
        return [OutgoingRecord(str(row[KEY]), row, compute_digest(row, without=(AS_OF,))) for row in rows]

    def read_digests(self, accounts: Sequence[str]) -> Mapping[str, str]:
        """Return the digests of the table's rows as they are now, whoever wrote them."""
        return {row[KEY]: compute_digest(row, without=(AS_OF,)) for row in self._read(accounts)}

    def read_record(self, account_id: str) -> Mapping[str, Any] | None:
        """Return the account's row."""
        return next(iter(self._read([account_id])), None)

    def _read(self, accounts: Sequence[str]) -> list[dict[str, Any]]:
        if KEY not in self._existing:
            return []
        absent = {c.name: None for c in self._table.columns if c.name not in self._existing}
        query = sa.select(*(c for c in self._table.columns if c.name in self._existing))
        rows: list[dict[str, Any]] = []
        with self._store.reading() as connection:
            for start in range(0, len(accounts), self.size):
                chunk = query.where(self._table.c[KEY].in_(accounts[start : start + self.size]))
                rows += [
                    absent | {k: _add_zone(v) for k, v in row.items()} for row in connection.execute(chunk).mappings()
                ]
        return rows

    def send(self, records: Sequence[OutgoingRecord], on_job: JobCallback) -> list[RecordOutcome]:
        """Write records in one transaction; where the database refuses one's values, halves of them, down to that one.

        Raises:
            DeliveryError: The database refuses them for another reason.
        """
        try:
            self._write(records)
        except _RefusedError as refusal:
            if len(records) == 1:
                return [RecordOutcome("refused", str(refusal))]
            half = len(records) // 2
            return self.send(records[:half], on_job) + self.send(records[half:], on_job)
        return [SENT] * len(records)

    def _write(self, records: Sequence[OutgoingRecord]) -> None:
        with self._store.writing() as connection:
            try:
                database.upsert(connection, self._table, [record.content for record in records])
            except (DataError, IntegrityError) as error:
                raise _RefusedError(_first_line(error)) from error
            except DBAPIError as error:
                raise DeliveryError(
                    f"the table {self._name} does not take the scores", found=_first_line(error)
                ) from error

    def recover_job(
        self,
        job: str,  # noqa: ARG002  # the protocol's signature
        records: Sequence[OutgoingRecord],
    ) -> list[RecordOutcome]:
        """Return a failure each: a database has no jobs."""
        return [RecordOutcome("failed", "a database has no jobs")] * len(records)

    def close(self) -> None:
        """Close its connections."""
        self._store.close()


class _RefusedError(Exception):
    """The database refuses a row because of its values."""


def _add_zone(value: Any) -> Any:
    """Return a value with the zone of its instant: SQLite returns instants without."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).splitlines()[0]


def _kind(column: pd.Series[Any]) -> sa.types.TypeEngine[Any]:
    if pd.api.types.is_bool_dtype(column) or str(column.dtype) == "boolean":
        return sa.Boolean()
    if pd.api.types.is_float_dtype(column):
        return sa.Double()
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return sa.DateTime(timezone=True)
    return sa.Text()


def _add_missing(connection: sa.Connection, table: sa.Table) -> None:
    """Add the columns that are new since the table was created, such as those of a new horizon."""
    existing = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
    quoted = connection.dialect.identifier_preparer.quote
    for column in (c for c in table.columns if c.name not in existing):
        kind = column.type.compile(connection.dialect)
        connection.execute(sa.DDL(f"ALTER TABLE {quoted(table.name)} ADD COLUMN {quoted(column.name)} {kind}"))
