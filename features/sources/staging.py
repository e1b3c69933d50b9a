"""The SQL of a table's raw rows beside their canonical columns, with the reason why a row is bad."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from features.core.contract import EVENTS, TABLES, TIME, Column, describe_kind, duckdb_type
from features.core.timestamps import to_micros
from features.definitions.feature import DAY
from features.settings import Settings
from features.sources import erased, identity, money, pseudonyms, row_versions
from features.sources.mapping import ROWS, TableMapping, name_raw, quote_identifier, quote_literal

# The reason of a row whose account_id names no account.
UNKNOWN_ACCOUNT = "account_id is not in accounts"
# The names of a row's cells that could not be read, each after `BETWEEN`; null where all could.
UNREAD, BETWEEN = '"=unread"', "\x1f"

# A row in which the first is before the second is bad.
ORDERED = (
    ("resolved_at", "opened_at"),
    ("first_response_at", "opened_at"),
    ("term_ends_at", "term_starts_at"),
    ("ended_at", "started_at"),
    ("ends", "starts"),
    ("until", "since"),
    ("valid_until", "valid_from"),
)
# Dates that systems write where there is none: the zeros of Unix, Excel, Windows and SQL Server, the ends of calendars.
STAND_INS = (
    "0001-01-01",
    "1601-01-01",
    "1753-01-01",
    "1899-12-30",
    "1900-01-01",
    "1970-01-01",
    "9999-12-31",
)
_HALF = DAY // 2  # no time zone is further from UTC, but for two hours


def list_columns(settings: Settings, table: str) -> dict[str, Column]:
    """Return the columns of a canonical table by name: the attributes that its company maps, and the contract's."""
    extra = {c: Column(v.kind) for c, v in settings.tables[table].columns.items()}
    return extra | dict(TABLES[table].columns)


def stage_rows(settings: Settings, table: str, mapping: TableMapping, *, has_erased: bool = False) -> str:
    """Return SQL of the raw rows, their canonical columns, `UNREAD`, and `why` a row is bad, or dropped.

    Args:
        settings: The company's.
        table: A canonical table.
        mapping: Of the table.
        has_erased: Whether ids were found that were erased.
    """
    spec = settings.tables[table]
    columns = list_columns(settings, table)
    typed, allowed = {}, {}
    for name, column in columns.items():
        typed[name] = f"CAST({mapping.columns.get(name, 'NULL')} AS {duckdb_type(column)})"
        plain = allowed[name] = quote_identifier("." + name)
        if name in mapping.columns and not costs_row(column):
            allowed[name] = _limit(plain, column, table)
        if has_erased and name in mapping.columns and name in TABLES[table].columns:
            allowed[name] = erased.empty_reference(allowed[name], table, name)
        allowed[name] = pseudonyms.hash_user(allowed[name], table, name, settings)
    if table == "identities":
        allowed["external_id"] = identity.fold_domain(allowed["external_id"], allowed["system"], settings)
    if table in {"rates", "contracts", "staff"}:
        allowed["currency"] = f"upper({allowed['currency']})"
    inner = ", ".join(f"{sql} AS {quote_identifier('.' + c)}" for c, sql in typed.items())
    presence = ", ".join(f"{name_raw(c)} IS NOT NULL AS {quote_identifier('?' + c)}" for c in mapping.raw_values)
    version = (
        f'{mapping.version or "NULL"} AS {row_versions.VERSION}, {name_raw("=version")} IS NOT NULL AS "?=version"'
    )
    # Keep the raw row as one struct, since its column names may equal those of the contract.
    selected = f"SELECT {ROWS} AS raw, {inner}, {presence}, {version} FROM {mapping.origin}"
    # What is done to a value is a query of its own as well: with the SQL that casts it in each place that names it,
    # DuckDB takes longer to plan than to read a small company.
    changed = {c: sql for c, sql in allowed.items() if sql != quote_identifier("." + c)}
    if changed:
        replaced = ", ".join(f"{sql} AS {quote_identifier('.' + c)}" for c, sql in changed.items())
        selected = f"SELECT * REPLACE ({replaced}) FROM ({selected})"
    selected = money.convert(selected, settings, table)
    selected = identity.resolve_ids(selected, spec, str(TABLES[table].time))
    gone = erased.list_faults(table) if has_erased else ()
    faults = " ".join([*gone, *_list_row_faults(settings, table, mapping)])
    plain = f"SELECT *, CASE {faults} END AS why_one, {_list_unread(mapping)} AS {UNREAD} FROM ({selected})"
    renamed = ", ".join(f"{_select_column(c)} AS {quote_identifier(c)}" for c in columns)
    staged = f"SELECT raw, {renamed}, {row_versions.VERSION}, {UNREAD}, why_one FROM ({plain})"
    return identity.flag_conflicts(row_versions.flag_versions(staged, settings, table), table, settings)


def _select_column(column: str) -> str:
    """Return SQL of a staged value; an account that was merged into an erased one is not merged."""
    if column == "merged_at":
        return 'CASE WHEN ".merged_into" IS NOT NULL THEN ".merged_at" END'
    return quote_identifier("." + column)


def costs_row(column: Column) -> bool:
    """Return whether a value that can't be read costs the row; otherwise it costs its cell."""
    return column.needed or column.vital


def _limit(sql: str, column: Column, table: str) -> str:
    """Return SQL of a value that costs its cell: null where the contract does not allow it."""
    if column.among:
        sql = f"CASE WHEN {sql} IN ({', '.join(quote_literal(v) for v in column.among)}) THEN {sql} END"
    if column.least is not None:
        sql = f"CASE WHEN {sql} >= {column.least} THEN {sql} END"
    if column.kind == TIME and table in EVENTS:
        is_stand_in = " OR ".join(_is_around(sql, day) for day in STAND_INS if day < "2000")
        sql = f"CASE WHEN {is_stand_in} THEN NULL ELSE {sql} END"
    return sql


def _is_around(instant: str, day: str) -> str:
    """Return SQL that is true on a day of any time zone."""
    midnight = to_micros(datetime.fromisoformat(day).replace(tzinfo=UTC))
    return f"{instant} BETWEEN {midnight - _HALF} AND {midnight + DAY + _HALF}"


def list_unreadable(mapping: TableMapping) -> list[str]:
    """Return the mapped columns of which a value that can't be read costs its cell."""
    return [c for c, k in mapping.kinds.items() if c in mapping.raw_values and not costs_row(k) and _is_typed(k)]


def _is_typed(column: Column) -> bool:
    return bool(column.kind != "text" or column.among)


def _list_unread(mapping: TableMapping) -> str:
    """Return SQL of `UNREAD`."""
    unread = {
        c: f"{quote_identifier('?' + c)} AND {quote_identifier('.' + c)} IS NULL" for c in list_unreadable(mapping)
    }
    if not unread:
        return "CAST(NULL AS VARCHAR)"
    names = " || ".join(f"CASE WHEN {sql} THEN {quote_literal(BETWEEN + c)} ELSE '' END" for c, sql in unread.items())
    return f"CASE WHEN {' OR '.join(f'({sql})' for sql in unread.values())} THEN {names} END"


def _list_row_faults(settings: Settings, table: str, mapping: TableMapping) -> Iterator[str]:
    """Yield WHEN clauses; the first that holds gives the reason why a row is bad."""
    system, kinds = settings.tables[table].system, mapping.kinds
    if mapping.version:
        yield f"WHEN \"?=version\" AND {row_versions.VERSION} IS NULL THEN 'version is not a time or a number'"
    if system:
        # The columns that the look-up needs come first, so that the report can count the ids looked up.
        kinds = {c: kinds[c] for c in (str(TABLES[table].time), "account_id", *kinds)}
    if table in money.MONEY:
        rate = f"'there is no rate of ' || upper({quote_identifier('.currency')}) || ' at its day'"
        dated = f"AND {quote_identifier(f'.{TABLES[table].time}')} IS NOT NULL " if TABLES[table].time else ""
        yield f"WHEN {money.UNRATED} {dated}THEN {rate}"
    for name, column in kinds.items():
        typed, is_present = quote_identifier("." + name), quote_identifier("?" + name)
        is_mapped = name in mapping.raw_values
        if name == "account_id" and system:
            yield f"WHEN {identity.EXTERNAL} IS NULL THEN 'account_id is missing'"
            conflict, orphan = identity.describe_conflict(system), identity.describe_orphan(system)
            yield f"WHEN {typed} IS NULL AND {identity.DOUBTED} THEN {quote_literal(conflict)}"
            yield f"WHEN {typed} IS NULL THEN {quote_literal(orphan)}"
        elif is_mapped and costs_row(column):
            reason = f"{name} is not a {describe_kind(column)}"
            yield f"WHEN {is_present} AND {typed} IS NULL THEN {quote_literal(reason)}"
        if column.needed:
            yield f"WHEN {typed} IS NULL THEN {quote_literal(f'{name} is missing')}"
        if is_mapped and costs_row(column):
            yield from _list_limits(name, column)
    if table == "identities":
        yield f"WHEN {identity.is_address(settings)} THEN 'external_id is an address, not a domain'"
    yield from _list_cross_faults(table, mapping)
    yield "WHEN false THEN ''"


def _list_limits(name: str, column: Column) -> Iterator[str]:
    typed = quote_identifier("." + name)
    if column.among:
        allowed = ", ".join(quote_literal(v) for v in column.among)
        reason = f"{name} is not one of {', '.join(column.among)}"
        yield f"WHEN {typed} NOT IN ({allowed}) THEN {quote_literal(reason)}"
    if column.least is not None:
        yield f"WHEN {typed} < {column.least} THEN {quote_literal(f'{name} is below {column.least:g}')}"


def _list_cross_faults(table: str, mapping: TableMapping) -> Iterator[str]:
    """Yield WHEN clauses that involve several columns or other tables."""
    for later, earlier in ORDERED:
        if {later, earlier} <= mapping.raw_values.keys():
            end, start = quote_identifier(f".{later}"), quote_identifier(f".{earlier}")
            yield f"WHEN {end} < {start} THEN '{later} is before {earlier}'"
    if table == "accounts" and "merged_into" in mapping.raw_values:
        for filled, absent_column in (("merged_into", "merged_at"), ("merged_at", "merged_into")):
            absent = f"{quote_identifier('.' + filled)} IS NOT NULL AND NOT {quote_identifier('?' + absent_column)}"
            yield f"WHEN {absent} THEN '{filled} is without {absent_column}'"
    if "account_id" in TABLES[table].columns and table != "accounts":
        known = f"{quote_identifier('.account_id')} IN (SELECT account_id FROM main.accounts)"
        yield f"WHEN NOT ({known}) THEN '{UNKNOWN_ACCOUNT}'"
    if table in EVENTS:
        event = TABLES[table].time
        at = quote_identifier("." + str(event))
        for day in STAND_INS:
            yield f"WHEN {_is_around(at, day)} THEN '{event} is the stand-in date {day}'"
        # A future event would make immature labels look mature. One day of grace allows for clocks and time zones.
        yield f"WHEN {at} > epoch_us(now()) + {DAY} THEN '{event} is in the future'"
