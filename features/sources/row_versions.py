"""Rows of one key: repeats, versions of which the newest counts, and contradictions, which no order settles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb

from features.core.contract import TABLES, TIME, VERSIONS
from features.settings import Settings
from features.sources.mapping import quote_identifier, quote_literal

# Reasons that drop a row without a fault: it says what another one says, or said before.
REPEATED, SUPERSEDED = "=repeated", "=superseded"
VERSION = '"=version"'


def list_key(settings: Settings, table: str) -> tuple[str, ...]:
    """Return the columns that no two rows of a table may share; () where rows are known by nothing."""
    if "event_id" in settings.tables[table].columns:
        return ("event_id",)
    if table == "accounts" and settings.are_attributes_dated:
        return (*TABLES[table].key, "valid_from")
    return TABLES[table].key


def describe_contradiction(key: Sequence[str]) -> str:
    """Return the reason of a row that says otherwise than another one of its key."""
    return f"another row of this {', '.join(key)} says otherwise"


def flag_versions(staged: str, settings: Settings, table: str) -> str:
    """Return SQL of staged rows with `why`: of the good rows of one key one has none.

    With `version` the newest row counts. Equal rows are repeats. Rows that differ without a version, or within one,
    contradict each other: the first in time stays, for `empty_contested` to take what is in doubt out of it; where
    they contradict each other in what a row must have, all of them are bad.
    """
    key, spec = list_key(settings, table), settings.tables[table]
    if not key:
        return f"SELECT *, why_one AS why FROM ({staged})"
    columns = list_compared(settings, table)
    quoted = [quote_identifier(column) for column in columns]
    same_key = f"PARTITION BY {', '.join(map(quote_identifier, key))}, why_one IS NULL"
    newest = [f"{VERSION} DESC NULLS LAST"] if spec.version else []
    in_time = [quote_identifier(str(TABLES[table].time))] if TABLES[table].time else []
    order = ", ".join([*newest, *in_time, *quoted])
    ordered = f"OVER ({same_key} ORDER BY {order})"
    content = f"hash({', '.join(quoted)})"
    is_newest = f"first_value({VERSION}) {ordered} IS NOT DISTINCT FROM {VERSION}" if spec.version else "true"
    ranked = (
        f'SELECT *, row_number() {ordered} AS "=nth", lag({content}) {ordered} IS NOT DISTINCT FROM {content} '
        f'AS "=same", {is_newest} AS "=newest" FROM ({staged})'
    )
    told, otherwise = "", quote_literal(describe_contradiction(key))
    for column in _list_undoubted(settings, table):
        of_newest = f'CASE WHEN "=newest" THEN {quote_identifier(column)} END'
        apart = f"min({of_newest}) OVER ({same_key}) <> max({of_newest}) OVER ({same_key})"
        reason = quote_literal(f"rows of this {', '.join(key)} contradict each other in {column}")
        told += f'WHEN "=newest" AND {apart} THEN {reason} '
    folded = _fold_known(settings, table, same_key)
    return (
        f'SELECT * EXCLUDE ("=nth", "=same", "=newest"){folded}, CASE WHEN why_one IS NOT NULL THEN why_one '
        f'WHEN NOT "=newest" THEN \'{SUPERSEDED}\' {told}WHEN "=nth" = 1 THEN NULL '
        f"WHEN \"=same\" THEN '{REPEATED}' ELSE {otherwise} END AS why FROM ({ranked})"
    )


def list_compared(settings: Settings, table: str) -> list[str]:
    """Return the mapped columns, in the order of the contract."""
    mapped, contract = settings.tables[table].columns, TABLES[table]
    own = [c for c in mapped if c not in contract.columns] if contract.open else []
    return [*(c for c in contract.columns if c in mapped), *own]


def _list_undoubted(settings: Settings, table: str) -> list[str]:
    """Return the needed columns, beside the key and times, that rows of one key must agree on."""
    columns, key = TABLES[table].columns, list_key(settings, table)
    return [c for c, column in columns.items() if column.needed and column.kind != TIME and c not in key]


def _fold_known(settings: Settings, table: str, same_key: str) -> str:
    """Return a REPLACE clause that dates the facts of a ticket by the first version that has each."""
    spec = settings.tables[table]
    if table != "tickets" or not spec.version or "known_at" not in spec.columns:
        return ""
    dated = {"known_at": f"min(known_at) OVER ({same_key})"}
    for column in ("first_response_at", "resolved_at"):
        known = f"CASE WHEN {column} IS NOT NULL THEN known_at END"
        dated[column.replace("_at", "_known_at")] = f"min({known}) OVER ({same_key})"
    return " REPLACE (" + ", ".join(f"{sql} AS {column}" for column, sql in dated.items()) + ")"


def empty_contested(
    connection: duckdb.DuckDBPyConnection, settings: Settings, table: str, staged: str
) -> dict[str, int]:
    """Empty the cells of a canonical table that rows of one key contradict each other in; return their number.

    A value that some rows have and others lack is not in doubt. Of times that a row must have the first one stays.
    """
    key, columns = list_key(settings, table), TABLES[table].columns
    free = [c for c in list_compared(settings, table) if c not in key and not (c in columns and columns[c].needed)]
    by = ", ".join(map(quote_identifier, key))
    names = [quote_identifier(c) for c in free]
    agreed = ", ".join(f"CASE WHEN min({c}) = max({c}) THEN min({c}) END AS {c}" for c in names)
    doubted = ", ".join(f"min({c}) <> max({c}) AS {quote_identifier('?' + free[n])}" for n, c in enumerate(names))
    of_key = f"why IS NULL OR why = {quote_literal(describe_contradiction(key))}"
    connection.execute(
        f'CREATE OR REPLACE TEMP TABLE "=contested" AS SELECT {by}, {agreed}, {doubted} '
        f"FROM ({staged}) WHERE {of_key} GROUP BY {by} HAVING count(*) > 1"
    )
    same = " AND ".join(f"t.{quote_identifier(k)} = d.{quote_identifier(k)}" for k in key)
    assigned = ", ".join(f"{c} = d.{c}" for c in names)
    for changed in (table, VERSIONS) if "valid_from" in key and table == "accounts" else (table,):
        connection.execute(f'UPDATE main.{changed} AS t SET {assigned} FROM "=contested" d WHERE {same}')
    counted = ", ".join(f"count_if({quote_identifier('?' + c)})" for c in free)
    (counts,) = connection.execute(f'SELECT {counted} FROM "=contested"').fetchall()
    connection.execute('DROP TABLE "=contested"')
    return {c: int(n) for c, n in zip(free, counts, strict=True) if n}


def has_equal_rows(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    """Return whether two rows of a canonical table are equal: of one account and instant, which lie side by side."""
    time = quote_identifier(str(TABLES[table].time))
    # Neighbours in the order in which the table was made: no sorting, and no hash of every row.
    before = f"account_no, {time} AS t, lag(account_no) OVER () AS account_before, lag({time}) OVER () AS before"
    same = "account_no = account_before AND t = before"
    ties = f"SELECT DISTINCT account_no, t FROM (SELECT {before} FROM main.{table}) WHERE {same}"
    tied = f"SELECT * FROM main.{table} WHERE (account_no, {time}) IN ({ties})"
    return bool(_fetch(connection, f"SELECT 1 FROM ({tied}) r GROUP BY hash(r) HAVING count(*) > 1 LIMIT 1"))


def _fetch(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
    return rows


def judge_repeats(connection: duckdb.DuckDBPyConnection, rows: str, columns: Sequence[str]) -> tuple[int, bool]:
    """Judge rows that came several times, equal to the last character.

    They are one event that was delivered again if all rows came again, or if without them some column tells every row
    from the others, as an id does. Otherwise, as with lines of an invoice that lack the product, they may be several.

    Returns:
        The number of rows that repeat another one, and whether they are deliveries of the same.
    """
    content = f"hash({', '.join(f'raw.{quote_identifier(column)}' for column in columns)})"
    counted = f"SELECT count(*) AS n FROM ({rows}) GROUP BY {content}"
    ((total, distinct, again),) = _fetch(connection, f"SELECT sum(n), count(*), count_if(n > 1) FROM ({counted})")
    repeated = int(total) - distinct
    if not repeated or again >= _ALL * distinct:
        return repeated, True
    estimates = ", ".join(f"approx_count_distinct(raw.{quote_identifier(column)})" for column in columns)
    (about,) = _fetch(connection, f"SELECT {estimates} FROM ({rows})")
    candidates = [column for column, n in zip(columns, about, strict=True) if n > _ABOUT * distinct]
    return repeated, any(
        _fetch(connection, f"SELECT count(DISTINCT raw.{quote_identifier(c)}) FROM ({rows})")[0][0] == distinct
        for c in candidates
    )


# The share of rows that came again in a whole copy; what an estimate of distinct values is trusted to.
_ALL, _ABOUT = 0.95, 0.8


def drop_repeats(rows: str, table: str, columns: Sequence[str]) -> str:
    """Return SQL of staged rows; of those that came equal to the last character of all columns the first alone."""
    content = ", ".join(f"raw.{quote_identifier(column)}" for column in columns)
    same = f"PARTITION BY account_id, {TABLES[table].time}, hash({content})"
    numbered = f'SELECT *, row_number() OVER ({same}) AS "=nth" FROM ({rows})'
    return f'SELECT * EXCLUDE ("=nth") FROM ({numbered}) WHERE "=nth" = 1'
