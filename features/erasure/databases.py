"""Take somebody out of a database, whatever its tables, or look where it names them.

Tables are found from the database itself. Of an account the rows go whose `account_id` it is, with all that refers to
them; in every other text the id is replaced.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from features.erasure.terms import ERASED, ID_COLUMNS, REMOVED, Terms
from features.state.tables import EPISODES, EVENT_LOG, OUTBOX

ACCOUNT = "account_id"
_PATIENCE = 30
# What refers to rows of another table without a foreign key: table and column, to table and column.
_LINKS = MappingProxyType(
    {(OUTBOX.name, "copy_of"): (OUTBOX.name, "id"), ("problem_ticket_words", "number"): ("problem_tickets", "number")}
)
# Columns of what is written for people, and by them.
_PROSE = frozenset({"subject", "body", "html", "text"})
_FULL_TEXT = "problem_ticket_words"


def erase_from_database(connection: sa.Connection, terms: Terms) -> dict[str, int]:
    """Take them out of every table, in the caller's transaction; return the number of rows by table."""
    tables, counts = _reflect(connection), dict[str, int]()
    for table in tables.values():
        if ACCOUNT in table.c and _has_text(table.c[ACCOUNT]):
            _spare_newest_place(connection, table, terms)
            _delete(connection, tables, table, table.c[ACCOUNT] == terms.one, counts)
    for table in tables.values():
        for place, changed in _find_rows(connection, table, terms):
            counts[table.name] = counts.get(table.name, 0) + 1
            row = _is_at(connection, place)
            if table.name == EPISODES.name:  # a running console reads only what has another version
                changed["version"] = table.c.version + 1
            try:
                with connection.begin_nested():
                    connection.execute(sa.update(table).where(row).values(changed))
            except sa.exc.IntegrityError:  # a row without the id is there already
                connection.execute(sa.delete(table).where(row))
    return counts


def find_in_database(connection: sa.Connection, terms: Terms) -> list[str]:
    """Return the columns that name them, as table.column."""
    found = set[str]()
    for table in _reflect(connection).values():
        for _, changed in _find_rows(connection, table, terms):
            found |= {f"{table.name}.{column}" for column in changed}
    return sorted(found)


def read_rows(connection: sa.Connection, terms: Terms) -> dict[str, list[dict[str, Any]]]:
    """Read the rows about an account, by table: those with its id, and those that refer to them."""
    tables, rows = _reflect(connection), dict[str, list[dict[str, Any]]]()

    def read(table: sa.Table, condition: sa.ColumnElement[bool]) -> None:
        for child, chosen in _list_references(connection, tables, table, condition):
            read(child, chosen)
        known = rows.setdefault(table.name, [])
        known += [
            row
            for row in map(dict, connection.execute(sa.select(table).where(condition)).mappings())
            if row not in known
        ]

    for table in tables.values():
        if ACCOUNT in table.c and _has_text(table.c[ACCOUNT]):
            read(table, table.c[ACCOUNT] == terms.one)
    return {name: some for name, some in rows.items() if some}


def list_accounts(connection: sa.Connection) -> set[str]:
    """Return every account id in any table."""
    columns = [t.c[ACCOUNT] for t in _reflect(connection).values() if ACCOUNT in t.c and _has_text(t.c[ACCOUNT])]
    return {str(a) for c in columns for a in connection.execute(sa.select(c).distinct()).scalars() if a}


def list_values(connection: sa.Connection, longest: int) -> set[str]:
    """Return every text in any table of at most so many characters."""
    columns = [c for table in _reflect(connection).values() for c in table.c if isinstance(c.type, sa.String)]
    return {
        text
        for column in columns
        for text in connection.execute(sa.select(column).where(sa.func.length(column) <= longest).distinct()).scalars()
    }


@contextmanager
def open_sqlite(file: Path) -> Iterator[sa.Engine]:
    """Open a SQLite file of any program as it is."""
    engine = sa.create_engine(f"sqlite:///{file}", poolclass=sa.NullPool, connect_args={"timeout": _PATIENCE})
    try:
        yield engine
    finally:
        engine.dispose()


def erase_from_sqlite(file: Path, terms: Terms) -> int:
    """Take them out of a SQLite file, and what was deleted out of its free pages; return the number of rows."""
    with open_sqlite(file) as engine:
        with engine.begin() as connection:
            counts = erase_from_database(connection, terms)
        compact(engine)
    return max(1, sum(counts.values()))


def is_named_in_sqlite(file: Path, terms: Terms) -> bool:
    """Return whether a row of a SQLite file names them."""
    with open_sqlite(file) as engine, engine.connect() as connection:
        return bool(find_in_database(connection, terms))


def compact(engine: sa.Engine) -> None:
    """Write a database anew without what was deleted: SQLite's free pages and its log, PostgreSQL's dead rows."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if connection.dialect.name == "postgresql":
            for table in _reflect(connection).values():
                connection.exec_driver_sql(f"VACUUM FULL {table.name}")
            return
        driver = connection.connection.driver_connection
        for statement in ("PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
            driver.execute(statement)  # type: ignore[union-attr]  # sqlite3's


def _reflect(connection: sa.Connection) -> dict[str, sa.Table]:
    """Read the tables from the database, those first that others refer to; without those inside a full-text index."""
    metadata, names, virtual = sa.MetaData(), None, list[str]()
    if connection.dialect.name == "sqlite":
        listed = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
        made = {str(name): str(sql) for name, sql in listed}
        virtual = [name for name, sql in made.items() if sql.upper().startswith("CREATE VIRTUAL")]
        inside = {name for name in made for v in virtual if name.startswith(f"{v}_")}
        names = [name for name in made if name not in inside and name not in virtual and not name.startswith("sqlite_")]
    metadata.reflect(connection, only=names)
    tables = {table.name: table for table in metadata.sorted_tables}
    if _FULL_TEXT in virtual:
        tables[_FULL_TEXT] = sa.Table(_FULL_TEXT, metadata, sa.Column("rowid", sa.Integer, key="number"))
    return tables


def _has_text(column: sa.Column[Any]) -> bool:
    return isinstance(column.type, sa.String | sa.JSON | sa.types.NullType)


def _spare_newest_place(connection: sa.Connection, table: sa.Table, terms: Terms) -> None:
    """Empty the log's newest row, if it is theirs: places are counted on from it, so it can't go."""
    if table.name != EVENT_LOG.name:
        return
    newest = sa.select(sa.func.max(table.c.seq)).scalar_subquery()
    emptied = {"source": "erased", "event_id": sa.cast(table.c.seq, sa.String), ACCOUNT: ERASED, "content": "{}"}
    connection.execute(sa.update(table).where(table.c.seq == newest, table.c[ACCOUNT] == terms.one).values(emptied))


def _delete(
    connection: sa.Connection,
    tables: dict[str, sa.Table],
    table: sa.Table,
    condition: sa.ColumnElement[bool],
    counts: dict[str, int],
) -> None:
    """Delete rows, those that refer to them first."""
    for child, chosen in _list_references(connection, tables, table, condition):
        _delete(connection, tables, child, chosen, counts)
    removed = connection.execute(sa.delete(table).where(condition)).rowcount
    if removed and table.name == _FULL_TEXT and connection.dialect.name == "sqlite":
        # Otherwise the index keeps the words until it is next merged.
        connection.exec_driver_sql(f"INSERT INTO {_FULL_TEXT}({_FULL_TEXT}) VALUES ('optimize')")
    if removed:
        counts[table.name] = counts.get(table.name, 0) + removed


def _list_references(
    connection: sa.Connection, tables: dict[str, sa.Table], table: sa.Table, condition: sa.ColumnElement[bool]
) -> Iterator[tuple[sa.Table, sa.ColumnElement[bool]]]:
    """Yield the tables whose rows refer to rows of a table, and which of them."""
    for child in tables.values():
        links = {(key.parent.name, key.column.name) for key in child.foreign_keys if key.column.table is table}
        links |= {(c, to) for (name, c), (other, to) in _LINKS.items() if (name, other) == (child.name, table.name)}
        for column, to in sorted(links):
            values = connection.execute(sa.select(table.c[to]).where(condition)).scalars().all()
            if values:
                yield child, child.c[column].in_(values)


def _find_rows(connection: sa.Connection, table: sa.Table, terms: Terms) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield the place of each row that names them, and what its columns should hold."""
    if table.name == _FULL_TEXT:  # its words go with their ticket
        return
    columns = [c for c in table.columns if _has_text(c)]
    position = sa.func.strpos if connection.dialect.name == "postgresql" else sa.func.instr
    holds = [
        position(sa.cast(c, sa.Text), form) > 0
        for c in columns
        for form in terms.forms | (terms.name_forms if c.name in _PROSE else frozenset())
    ]
    if not holds:
        return
    place: sa.Label[Any] = sa.literal_column(_name_row(connection)).label("=place")
    texts = [sa.cast(c, sa.Text).label(c.name) for c in columns]
    for row in connection.execute(sa.select(place, *texts).select_from(table).where(sa.or_(*holds))).all():
        cells = {c: text for c, text in zip(columns, row[1:], strict=True) if text is not None}
        scrubbed = {c: _scrub_cell(text, c, terms) for c, text in cells.items()}
        changed = {c.name: value for c, value in scrubbed.items() if value is not cells[c]}
        if changed:
            yield row[0], changed


def _scrub_cell(text: str, column: sa.Column[Any], terms: Terms) -> Any:
    """Return what a cell should hold: the very text where it does not name them."""
    if terms.is_one(text) and (column.name in ID_COLUMNS or terms.are_in(text)):
        return None if column.nullable else ERASED
    if text[:1] in {"{", "["}:
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if value is not None:
            kept = terms.scrub_json(value)
            kept = {} if kept is REMOVED else kept
            if kept == value:
                return text
            return kept if isinstance(column.type, sa.JSON) else json.dumps(kept, ensure_ascii=False)
    scrubbed = terms.scrub(text, prose=column.name in _PROSE)
    return text if scrubbed == text else scrubbed


def _is_at(connection: sa.Connection, place: Any) -> sa.ColumnElement[bool]:
    """Return the condition of the row at a place."""
    if connection.dialect.name == "postgresql":  # it compares its places with no text
        return sa.text("ctid = CAST(:place AS tid)").bindparams(place=place)  # type: ignore[return-value]
    return sa.literal_column("rowid") == place


def _name_row(connection: sa.Connection) -> str:
    return "ctid" if connection.dialect.name == "postgresql" else "rowid"
