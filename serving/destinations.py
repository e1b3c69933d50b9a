"""Where batch scores go besides the store: a CSV file, a Parquet file, or a table of a database."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from features.errors import DeliveryError, GarrisonError
from features.files import replacing
from serving import store

TABLE = "garrison_scores"
KEY = "account_id"
# A spreadsheet takes a cell that begins with one of these for a formula, and runs it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def check(to: str) -> None:
    """Whether there is such a destination; said before the work, not after it.

    Raises:
        GarrisonError: It is none of those there are.
    """
    if "://" in to:
        store.connect(to.partition("#")[0]).dispose()
    elif Path(to).suffix.lower() not in {".csv", ".parquet"}:
        raise GarrisonError(
            f"--to {to} is no destination",
            do="Name a file that ends in .csv or .parquet, or a database: sqlite:///file.db#table, postgresql://…#table",
        )


def write(frame: pd.DataFrame, to: str) -> None:
    """Write one row an account: a file whole or not at all, a table in one transaction.

    Args:
        frame: account_id and whatever is to stand beside it.
        to: FILE.csv, FILE.parquet, or a SQLAlchemy URL of SQLite or PostgreSQL, `#table` behind it
            (default `garrison_scores`).

    Raises:
        GarrisonError: There is no such destination, or it can't be written.
    """
    check(to)
    if "://" in to:
        _to_database(frame, to)
    elif to.lower().endswith(".csv"):
        _to_csv(frame, Path(to))
    else:
        _whole(Path(to), lambda part: frame.to_parquet(part, index=False))


def _to_csv(frame: pd.DataFrame, file: Path) -> None:
    shown = frame.copy()
    for column in _texts(frame):
        dangerous = shown[column].str.startswith(_FORMULA, na=False)
        shown[column] = shown[column].where(~dangerous, "'" + shown[column])
    for column in shown.select_dtypes("datetimetz"):
        shown[column] = shown[column].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    # All text quoted: a carriage return within would end the row otherwise.
    _whole(file, lambda part: shown.to_csv(part, index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n"))


def _whole(file: Path, save: Any) -> None:
    try:
        with replacing(file) as part:
            save(part)
    except OSError as error:
        raise DeliveryError(f"{file} can't be written", there=str(error.strerror or error)) from error


def _to_database(frame: pd.DataFrame, to: str) -> None:
    """Upsert by account: rows of accounts that are not scored any more stay, with the as_of they were scored at."""
    url, _, name = to.partition("#")
    with store.Store(store.connect(url)) as database, database.writing() as connection:
        table = _table(frame, name or TABLE)
        table.create(connection, checkfirst=True)
        _add_missing(connection, table)
        try:
            store.upsert(connection, table, _records(frame))
        except DBAPIError as error:
            raise DeliveryError(
                f"the table {table.name} does not take the scores",
                there=str(error.orig).splitlines()[0],
                do=f"Its key must be {KEY}: name another table behind the URL, or drop this one",
            ) from error


def _table(frame: pd.DataFrame, name: str) -> sa.Table:
    columns = [sa.Column(str(c), _kind(frame[c]), primary_key=c == KEY, nullable=c != KEY) for c in frame.columns]
    return sa.Table(name, sa.MetaData(), *columns)


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


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as Python's own values, None where there is none."""
    objects = frame.astype(object).where(frame.notna(), None)
    for column in frame.select_dtypes("datetimetz"):
        objects[column] = [at.to_pydatetime() for at in frame[column]]
    names = [str(column) for column in objects]
    return [dict(zip(names, row, strict=True)) for row in objects.itertuples(index=False, name=None)]


def _texts(frame: pd.DataFrame) -> list[str]:
    return [str(c) for c in frame.columns if pd.api.types.is_string_dtype(frame[c])]
