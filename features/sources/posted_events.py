"""Events posted over HTTP, as further rows of the canonical tables.

The state database holds them as an append-only log: each posting of an event is a revision, with its place in the
log. This module reads the log and merges it with the same events in the company's own tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from features.core.contract import TABLES, duckdb_type
from features.core.errors import SourceError
from features.core.redaction import hide_password
from features.core.sql_text import SqlText
from features.definitions.visibility_rule import SQL, Opening, reported_at
from features.settings import Settings
from features.sources import identity, money
from features.sources.mapping import quote_identifier, quote_literal, summarize_error
from features.state.tables import EVENT_LOG

# The tables whose rows may be posted over HTTP, and those of which the log holds rows at all: people record touches.
SOURCES = ("tickets", "usage", "purchases")
LOGGED = (*SOURCES, "touches")
# The reason why a posted row is in no table yet.
WAITING = "posted, and account_id is not in accounts yet"
# Facts of a ticket after its opening: their times, and the values that come with a resolution.
LATER = ("first_response_at", "resolved_at")
OUTCOME = ("csat", "reopened", "escalated", "handled_by", "minutes", "first_contact_resolved", "first_action")
# A view of revisions in a DuckDB connection.
_VIEW = "posted_events"
_COLUMNS = ("seq", "source", "event_id", "revision", "account_id", "known_at", "content")
_KINDS = {"source": pa.string(), "event_id": pa.string(), "account_id": pa.string(), "content": pa.string()}


def read_log_position(settings: Settings) -> int:
    """Return the log's newest place; 0 where nothing was ever posted.

    Raises:
        SourceError: The state database can't be read.
    """
    with connect_state(settings) as connection:
        return 0 if connection is None else query_log_position(connection)


def query_log_position(connection: sa.Connection) -> int:
    """Return the log's newest place; 0 where it is empty."""
    return int(connection.scalar(sa.select(sa.func.max(EVENT_LOG.c.seq))) or 0)


def read_revisions(settings: Settings, until: int) -> pa.Table:
    """Read all revisions up to a place of the log.

    Raises:
        SourceError: The state database can't be read.
    """
    with connect_state(settings) as connection:
        return _to_arrow([]) if connection is None or not until else query_revisions(connection, until=until)


def query_revisions(connection: sa.Connection, accounts: Sequence[str] = (), *, after: int = 0, until: int) -> pa.Table:
    """Read revisions of events, in the order of the log.

    Args:
        connection: To the state database.
        accounts: Accounts to read; all where none is named.
        after: Only events with a revision after this place, with all their revisions.
        until: The last place to read.

    Returns:
        seq, source, event_id, revision, account_id, known_at (µs) and content (JSON).
    """
    mine = [EVENT_LOG.c.account_id.in_(accounts)] if accounts else []
    query = (
        sa.select(*(EVENT_LOG.c[c] for c in _COLUMNS)).where(*mine, EVENT_LOG.c.seq <= until).order_by(EVENT_LOG.c.seq)
    )
    if after:
        other = EVENT_LOG.alias("other")
        later = (other.c.source == EVENT_LOG.c.source) & (other.c.event_id == EVENT_LOG.c.event_id)
        query = query.where(sa.exists().where(later, other.c.seq > after, other.c.seq <= until))
    return _to_arrow(connection.execute(query).all())


def count_events(revisions: pa.Table, table: str) -> int:
    """Count the events of a table among revisions."""
    return len(
        {
            e
            for s, e in zip(revisions["source"].to_pylist(), revisions["event_id"].to_pylist(), strict=True)
            if s == table
        }
    )


def select_rows(settings: Settings, table: str, revisions: str = _VIEW) -> str:
    """Return SQL of canonical rows from revisions, assigned to survivors of merges; unknown accounts are left out."""
    known = "account_id IN (SELECT account_id FROM main.accounts)"
    rows = money.sign_refunds(_fold_revisions(table, revisions), table)
    return identity.assign_to_survivors(f"SELECT * FROM ({rows}) WHERE {known}", table, settings)


def select_waiting_count(table: str, revisions: str = _VIEW) -> str:
    """Return SQL that counts the events of unknown accounts."""
    return (
        f"SELECT count(DISTINCT event_id) FROM {revisions} WHERE source = {quote_literal(table)} "
        "AND account_id NOT IN (SELECT account_id FROM main.accounts)"
    )


def merge_rows(settings: Settings, table: str, own: str, posted: str) -> str:
    """Return SQL of a table's own rows and the posted ones.

    An event in both is one row: the table's, known at the earlier of the two times. A ticket also takes over its
    response and resolution where only the post has them.

    Args:
        settings: The company's, for the columns that its table has.
        table: One of `LOGGED`.
        own: SQL of the table's rows, assigned to survivors of merges.
        posted: SQL of the posted ones, likewise.
    """
    if table == "tickets":
        return _merge_tickets(own, posted)
    if table == "touches":
        return _merge_touches(own, posted)
    time = TABLES[table].time
    near = f"(account_id, {time}) IN (SELECT account_id, {time} FROM posted)"
    if _has_order_ids(settings, table):
        near = "account_id IN (SELECT account_id FROM posted)"
    # A row of the table has an id only if its company maps it: then the id says which event it is.
    near = f"(event_id IS NULL AND {near} OR event_id IN (SELECT event_id FROM posted))"
    pair = 'SELECT near."=n", p.event_id, p.account_id, p.known_at, p.first_known_at FROM near JOIN posted p ON '
    alike = [f"near.event_id IS NULL AND {same}" for same in _match_conditions(settings, table)]
    alike.append("near.event_id = p.event_id AND near.account_id = p.account_id")
    pairs = " UNION ALL ".join(pair + same for same in alike)
    return f"""
        WITH posted AS MATERIALIZED ({posted}),
        own AS ({own}),
        near AS MATERIALIZED (SELECT *, row_number() OVER () AS "=n" FROM own WHERE {near}),
        pairs AS MATERIALIZED ({pairs}),
        earliest AS (SELECT "=n", min(known_at) AS k, min(first_known_at) AS f FROM pairs GROUP BY "=n")
        SELECT * FROM own WHERE NOT coalesce({near}, false)
        UNION ALL BY NAME
        SELECT near.* EXCLUDE ("=n") REPLACE ({_EARLIER.format(own="near", k="earliest.k", f="earliest.f")})
        FROM near LEFT JOIN earliest ON near."=n" = earliest."=n"
        UNION ALL BY NAME
        SELECT * FROM posted WHERE (event_id, account_id) NOT IN (SELECT (event_id, account_id) FROM pairs)"""


# The copy that a survivor of a merge has is known at the merge at the earliest, in both sources.
_EARLIER = (
    "least({own}.known_at, {k}) AS known_at, "
    "CASE WHEN {own}.first_known_at IS NOT NULL THEN least({own}.first_known_at, {f}) END AS first_known_at"
)


def _merge_tickets(own: str, posted: str) -> str:
    replacements = [_EARLIER.format(own="o", k="p.known_at", f="p.first_known_at")]
    opening = Opening(*map(SqlText, ("o.opened_at", "o.known_at", "o.first_known_at")))
    for column in LATER:
        known_column = column.replace("_at", "_known_at")
        same = f"CASE WHEN p.{column} = o.{column} THEN p.{known_column} END"
        both = f"least({reported_at(opening, SqlText(f'o.{column}'), SqlText(f'o.{known_column}'), SQL)}, {same})"
        is_own = f"o.{column} IS NOT NULL"
        known_at = f"CASE WHEN p.ticket_id IS NULL THEN o.{known_column} "
        known_at += f"WHEN {is_own} THEN {both} ELSE p.{known_column} END"
        replacements.append(f"{known_at} AS {known_column}")
        replacements.append(f"coalesce(o.{column}, p.{column}) AS {column}")
    outcome = "CASE WHEN o.resolved_at IS NULL THEN coalesce(p.{0}, o.{0}) ELSE o.{0} END AS {0}"
    replacements += [outcome.format(column) for column in OUTCOME]
    return f"""
        WITH posted AS MATERIALIZED ({posted}),
        own AS ({own}),
        near AS MATERIALIZED (SELECT * FROM own WHERE ticket_id IN (SELECT ticket_id FROM posted))
        SELECT * FROM own WHERE ticket_id NOT IN (SELECT ticket_id FROM posted)
        UNION ALL BY NAME
        SELECT o.* REPLACE ({", ".join(replacements)})
        FROM near o LEFT JOIN posted p ON p.ticket_id = o.ticket_id AND p.account_id = o.account_id
        UNION ALL BY NAME
        SELECT * FROM posted WHERE ticket_id NOT IN (SELECT ticket_id FROM near)"""


def _merge_touches(own: str, posted: str) -> str:
    """Return SQL of touches: one of the same account, instant and kind in both is the same touch."""
    same = "o.account_id = p.account_id AND o.touched_at = p.touched_at AND lower(o.kind) = lower(p.kind)"
    return f"""
        WITH posted AS MATERIALIZED ({posted}),
        own AS ({own}),
        earliest AS (
            SELECT account_id, touched_at, lower(kind) AS kind, min(known_at) AS k, min(first_known_at) AS f
            FROM posted GROUP BY ALL
        )
        SELECT o.* REPLACE ({_EARLIER.format(own="o", k="p.k", f="p.f")})
        FROM own o LEFT JOIN earliest p ON {same}
        UNION ALL BY NAME
        SELECT p.* FROM posted p WHERE NOT EXISTS (SELECT 1 FROM own o WHERE {same})"""


def _has_order_ids(settings: Settings, table: str) -> bool:
    return table == "purchases" and "order_id" in settings.tables[table].columns


def _match_conditions(settings: Settings, table: str) -> Iterator[str]:
    """Yield SQL conditions under which a row of the table, `near`, and a posted one, `p`, are one event.

    With an order id: the order, product and kind agree. Otherwise all posted values agree. Columns that the table
    does not have are not compared.
    """
    mapped = settings.tables[table].columns
    columns = [c for c in TABLES[table].columns if c in mapped and c not in {"known_at", "account_id", "event_id"}]
    needed = [c for c in columns if TABLES[table].columns[c].needed]
    optional_equal = [
        f"(p.{quote_identifier(c)} IS NULL OR p.{quote_identifier(c)} = near.{quote_identifier(c)})"
        for c in columns
        if c not in needed
    ]
    all_equal = [
        "near.account_id = p.account_id",
        *(f"near.{quote_identifier(c)} = p.{quote_identifier(c)}" for c in needed),
        *optional_equal,
    ]
    if not _has_order_ids(settings, table):
        yield " AND ".join(all_equal)
        return
    yield " AND ".join(["p.order_id IS NULL", *all_equal])
    order = ["near.account_id = p.account_id", "near.order_id = p.order_id", "(near.amount < 0) = (p.amount < 0)"]
    order += [f"(p.{c} IS NULL OR p.{c} = near.{c})" for c in ("product", "kind") if c in mapped]
    yield " AND ".join(order)


def _fold_revisions(table: str, revisions: str) -> str:
    """Return SQL of canonical rows, one an event: its newest content, each fact known since it was first posted."""
    contract = TABLES[table]
    aggregates = {"known_at": "min(known_at)", "first_known_at": "NULL", "event_id": "any_value(event_id)"}
    aggregates |= {
        c.replace("_at", "_known_at"): f"min(known_at) FILTER ((content->>'$.{c}') IS NOT NULL)" for c in LATER
    }
    latest = f"(SELECT *, arg_max(content, revision) OVER (PARTITION BY event_id) AS newest FROM {revisions} "
    latest += f"WHERE source = {quote_literal(table)})"
    columns = []
    for name, column in contract.columns.items():
        value = aggregates.get(name, f"any_value(newest->>'$.{name}')")
        columns.append(f"CAST({value} AS {duckdb_type(column)}) AS {quote_identifier(name)}")
    return f"SELECT {', '.join(columns)} FROM {latest} GROUP BY event_id"


@contextmanager
def register_revisions(connection: duckdb.DuckDBPyConnection, revisions: pa.Table) -> Iterator[None]:
    """Register revisions in a connection, under the view name that the SQL of this module reads."""
    connection.register(_VIEW, revisions)
    try:
        yield
    finally:
        connection.unregister(_VIEW)


def _to_arrow(rows: Sequence[sa.Row[tuple[object, ...]]]) -> pa.Table:
    values = list(zip(*rows, strict=True)) if rows else [()] * len(_COLUMNS)
    return pa.table({c: pa.array(v, _KINDS.get(c, pa.int64())) for c, v in zip(_COLUMNS, values, strict=True)})


@contextmanager
def connect_state(settings: Settings) -> Iterator[sa.Connection | None]:
    """Yield a connection to the state database; None where there is no database or no log yet."""
    url = sa.make_url(settings.state)
    is_sqlite = url.get_backend_name() == "sqlite"
    if is_sqlite and url.database and not Path(url.database).exists():
        yield None
        return
    engine = sa.create_engine(
        url, poolclass=sa.NullPool, connect_args={"timeout": 10} if is_sqlite else {"connect_timeout": 10}
    )
    try:
        with engine.connect() as connection:
            yield connection if sa.inspect(connection).has_table(EVENT_LOG.name) else None
    except sa.exc.DBAPIError as error:
        reason = hide_password(summarize_error(error.orig or error))
        raise SourceError(f"the events in {hide_password(str(url))} can't be read", found=reason) from None
    finally:
        engine.dispose()
