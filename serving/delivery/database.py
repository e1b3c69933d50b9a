"""A table of a SQLite or PostgreSQL database: real upserts by account, and its own memory of what it holds."""

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
    """One table. Rows of accounts that are not scored any more stay, with the `as_of` that they were scored at.

    Args:
        to: A SQLAlchemy URL, `#table` behind it (default `garrison_scores`).
    """

    size = database.CHUNK
    remembers = True

    def __init__(self, to: str) -> None:
        url, _, name = to.partition("#")
        self._store = database.Store(database.connect(url))
        self._name = name or TABLE
        self._table = sa.Table(self._name, sa.MetaData())
        self._there: set[str] = set()
        self.key = f"{self._store.engine.url.render_as_string(hide_password=True)}#{self._name}"

    def needs(self, columns: Mapping[str, FieldKind], *, create: bool = False) -> list[FieldStatus]:
        """The columns of the table; makes the table, or the columns that it lacks, if asked."""
        kinds: dict[FieldKind, Any] = {
            "flag": sa.Boolean,
            "instant": sa.DateTime(timezone=True),
            "text": sa.Text,
            "long": sa.Text,
        }
        types: dict[str, Any] = {KEY: sa.Text} | {name: kinds.get(kind, sa.Double) for name, kind in columns.items()}
        self._shape(types)
        there, dialect = self._columns(), self._store.engine.dialect
        if create:
            self._create()
        return [FieldStatus(c.name, c.type.compile(dialect), c.name in there) for c in self._table.columns]

    def _columns(self) -> set[str]:
        """Those of the table; none where there is no table."""
        with self._store.reading() as connection:
            inspector = sa.inspect(connection)
            if not inspector.has_table(self._name):
                return set()
            return {column["name"] for column in inspector.get_columns(self._name)}

    def _create(self) -> None:
        with self._store.writing() as connection:
            self._see_key(connection)
            self._table.create(connection, checkfirst=True)
            _add_missing(connection, self._table)

    def _shape(self, types: Mapping[str, Any]) -> None:
        columns = [sa.Column(name, kind, primary_key=name == KEY, nullable=name != KEY) for name, kind in types.items()]
        self._table = sa.Table(self._name, sa.MetaData(), *columns)

    def prepare(self, frame: pd.DataFrame, *, dry_run: bool) -> None:
        """Make the table, or the columns that it lacks; a dry run leaves it as it is.

        Raises:
            DeliveryError: The table's key is another one; it is left as it was.
        """
        self._shape({str(c): _kind(frame[c]) for c in frame.columns})
        if not dry_run:
            self._create()
        self._there = self._columns()

    def _see_key(self, connection: sa.Connection) -> None:
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

    def rows(self, frame: pd.DataFrame) -> list[OutgoingRecord]:
        """As Python's own values, None where there is none."""
        objects = frame.astype(object).where(frame.notna(), None)
        for column in frame.select_dtypes("datetimetz"):
            objects[column] = [None if pd.isna(at) else at.to_pydatetime() for at in frame[column]]
        names = [str(column) for column in objects]
        found = (dict(zip(names, row, strict=True)) for row in objects.itertuples(index=False, name=None))
        return [OutgoingRecord(str(row[KEY]), row, compute_digest(row, without=(AS_OF,))) for row in found]

    def held(self, accounts: Sequence[str]) -> Mapping[str, str]:
        """From the table itself, so that what others did to it is seen."""
        return {row[KEY]: compute_digest(row, without=(AS_OF,)) for row in self._read(accounts)}

    def before(self, account_id: str) -> Mapping[str, Any] | None:
        """The account's row."""
        return next(iter(self._read([account_id])), None)

    def _read(self, accounts: Sequence[str]) -> list[dict[str, Any]]:
        if KEY not in self._there:
            return []
        absent = {c.name: None for c in self._table.columns if c.name not in self._there}
        query = sa.select(*(c for c in self._table.columns if c.name in self._there))
        found: list[dict[str, Any]] = []
        with self._store.reading() as connection:
            for start in range(0, len(accounts), self.size):
                some = query.where(self._table.c[KEY].in_(accounts[start : start + self.size]))
                found += [
                    absent | {k: _aware(v) for k, v in row.items()} for row in connection.execute(some).mappings()
                ]
        return found

    def send(self, rows: Sequence[OutgoingRecord], job: JobCallback) -> list[RecordOutcome]:
        """In one transaction; where the database refuses a row for its values, halves of it, down to that row."""
        try:
            with self._store.writing() as connection:
                try:
                    database.upsert(connection, self._table, [row.content for row in rows])
                except (DataError, IntegrityError) as error:
                    raise _RefusedError(_said(error)) from error
                except DBAPIError as error:
                    what = f"the table {self._name} does not take the scores"
                    raise DeliveryError(what, found=_said(error)) from error
        except _RefusedError as refusal:
            if len(rows) == 1:
                return [RecordOutcome("refused", str(refusal))]
            half = len(rows) // 2
            return self.send(rows[:half], job) + self.send(rows[half:], job)
        return [SENT] * len(rows)

    def found(self, job: str, rows: Sequence[OutgoingRecord]) -> list[RecordOutcome]:  # noqa: ARG002  # as all destinations have it
        """There are no jobs here."""
        return [RecordOutcome("failed", "a database knows no jobs")] * len(rows)

    def close(self) -> None:
        """Give its connections back."""
        self._store.close()


class _RefusedError(Exception):
    """The database does not take a row for its values."""


def _aware(value: Any) -> Any:
    """SQLite gives instants back without their zone."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


def _said(error: DBAPIError) -> str:
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
    """Columns that came since the table was made, such as those of a new horizon."""
    there = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
    quoted = connection.dialect.identifier_preparer.quote
    for column in (c for c in table.columns if c.name not in there):
        kind = column.type.compile(connection.dialect)
        connection.execute(sa.DDL(f"ALTER TABLE {quoted(table.name)} ADD COLUMN {quoted(column.name)} {kind}"))
