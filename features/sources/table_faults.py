"""Why a validated table must not be used, with the values at fault and what would make them readable."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import duckdb

from features.settings import Settings
from features.sources import fault_places, identity
from features.sources.fault_hints import suggest
from features.sources.mapping import ROWS, TableMapping, list_sources, quote_identifier, quote_literal
from features.sources.staging import BETWEEN, UNREAD
from features.sources.validated_table import ValidatedTable

_SHOWN, _LONGEST = 3, 30
# A column of which most values can't be read is mapped wrongly.
_MOSTLY = 0.5
# What to take off two ids, in lower case, and what is said of those that are alike without it.
_FORMS = {
    (r"$^", ""): "but for the case of their letters",
    (r"^0+", ""): "without the zeros before them",
    (r"[^a-z0-9]", ""): "by their letters and digits alone",
}


def add_values(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    checked: ValidatedTable,
    mapping: TableMapping,
    staged: str,
) -> ValidatedTable:
    """Return the result with the commonest values that could not be read, and what would make them readable."""
    values, hints = dict[str, list[str]](), dict[str, str]()
    sources = list_sources(settings, settings.tables[checked.table])
    for reason in checked.reasons:
        if reason.startswith(("the line ", "a quote ")):
            values[reason] = _list_lines(connection, checked, reason)
            of = " or ".join(f"sources.{source}.{key}" for source in sources[:1] for key in ("delimiter", "quote"))
            hints[reason] = f"A field with the delimiter in it needs quotes: see these lines, and {of}"
        elif reason.startswith("there is no rate of "):
            hints[reason] = "Add rates from the first day of each currency on to the source of tables.rates"
        elif reason.startswith("version is not "):
            hints[reason] = f"Name a column with a time or a number: tables.{checked.table}.version"
        elif (column := _find_column(checked.table, reason)) in mapping.raw_values:
            rows = f"SELECT raw AS {ROWS} FROM read_parquet({quote_literal(str(checked.quarantine))}) WHERE why = ?"
            values[reason], hint = _read_values(connection, settings, checked.table, mapping, column, rows, reason)
            versions = f'If a column says which row is newest: tables.{checked.table}.version = "…"'
            hints[reason] = hint or (versions if _CONTRADICTS.match(reason) else "")
    for column in checked.unread:
        rows = f"SELECT raw AS {ROWS} FROM ({staged}) WHERE why IS NULL AND contains({UNREAD} || '{BETWEEN}', ?)"
        word = f"{BETWEEN}{column}{BETWEEN}"
        values[column], hints[column] = _read_values(connection, settings, checked.table, mapping, column, rows, word)
    return replace(checked, values=values, hints={key: hint for key, hint in hints.items() if hint})


_CONTRADICTS = re.compile(r"(?:another row|rows) of this (\w+)")


def _find_column(table: str, reason: str) -> str:
    """Return the column that a reason is about: its first word, or the first of the key."""
    if table == "identities":
        return "external_id"
    contradiction = _CONTRADICTS.match(reason)
    return contradiction[1] if contradiction else reason.split(" ", 1)[0]


def _list_lines(connection: duckdb.DuckDBPyConnection, checked: ValidatedTable, reason: str) -> list[str]:
    """Return the files and numbers of the first lines that can't be read for a reason."""
    file = quote_literal(str(checked.quarantine))
    sql = f"SELECT file, line FROM read_parquet({file}) WHERE why = ? ORDER BY file, line LIMIT {_SHOWN}"
    return [f"{file}, line {line}" for file, line in connection.execute(sql, [reason]).fetchall()]


def _read_values(  # noqa: PLR0913, PLR0917  # one for each part of the query
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    table: str,
    mapping: TableMapping,
    column: str,
    rows: str,
    parameter: str,
) -> tuple[list[str], str]:
    value = f"CAST({mapping.raw_values[column]} AS VARCHAR)"
    if mapping.kinds[column].kind == "text":
        value = identity.hide_person(value)
    counted = f"SELECT {value} AS v, count(*) AS n FROM ({rows}) GROUP BY v"
    sql = f"SELECT v, n FROM ({counted}) WHERE v IS NOT NULL ORDER BY n DESC, v LIMIT 1000"
    found = connection.execute(sql, [parameter]).fetchall()
    if not found:
        return [], ""
    shown = [value[:_LONGEST] for value, _ in found[:_SHOWN]]
    if column == "account_id" and table != "accounts":
        return shown, _compare_ids(connection, settings, table, [value for value, _ in found])
    is_unreadable = " is not " in parameter or parameter.startswith(BETWEEN)
    return shown, suggest(settings, table, column, mapping.kinds[column], found) if is_unreadable else ""


def _compare_ids(connection: duckdb.DuckDBPyConnection, settings: Settings, table: str, ids: Sequence[str]) -> str:
    """Return how ids that name no account differ from those that do, and what to write into the TOML."""
    key, system = f"tables.{table}.columns.account_id", settings.tables[table].system
    if system and not connection.execute("FROM duckdb_tables() WHERE table_name = 'identities'").fetchall():
        return "Correct tables.identities first"
    known = f"The identities of {system} are" if system else "Accounts have"
    sql = (
        "SELECT external_id FROM main.identities WHERE system = ?" if system else "SELECT account_id FROM main.accounts"
    )
    ours = [
        row[0] for row in connection.execute(f"{sql} ORDER BY 1 LIMIT 100000", [system] if system else []).fetchall()
    ]
    if not ours and system:
        systems = connection.execute("SELECT DISTINCT system FROM main.identities ORDER BY 1 LIMIT 5").fetchall()
        named = ", ".join(repr(name) for (name,) in systems)
        return f"The identities are of {named or 'no system'}: correct tables.{table}.system or [tables.identities]"
    shown = f"{known} {', '.join(repr(identity.mask_person(one)) for one in ours[:_SHOWN])}"
    for form, sql in _FORMS.items():
        found = {re.sub(*form, one.casefold()) for one in ours}
        if all(re.sub(*form, one.casefold()) in found for one in ids):
            return f"{shown}: they agree {sql}. Make them alike in {key} by sql"
    other = (
        "" if system else f', or name the system that they are of: tables.{table}.system = "…" and [tables.identities]'
    )
    return f"{shown}. Correct {key}{other}"


def judge_table(connection: duckdb.DuckDBPyConnection, checked: ValidatedTable, settings: Settings) -> ValidatedTable:
    """Return the result with its faults: what was wrong, what was found, what to do."""
    most, faults = settings.quality.max_quarantine, list[tuple[str, str, str]]()
    key = f"tables.{checked.table}.columns"
    if checked.bad > most * checked.rows:
        reason, count = next(iter(checked.reasons.items()))
        share = f"{checked.bad:,} of {checked.rows:,} rows of {checked.table} are bad"
        where = fault_places.find_place(connection, settings, checked, reason)
        found = f"{count:,} times: {reason}{_show_values(checked, reason)}{f', {where}' if where else ''}"
        column = _find_column(checked.table, reason)
        is_mapped = column in settings.tables[checked.table].columns
        hint = checked.hints.get(reason) or (f"Correct {key}.{column}" if is_mapped else f"See tables.{checked.table}")
        place = f"{hint}. The rows and reasons are in {checked.quarantine}"
        faults.append((f"{share}, more than quality.max_quarantine allows", found, place))
    for column, count in checked.unread.items():
        sql = f"SELECT count({quote_identifier(column)}) FROM main.{checked.table}"
        present = connection.execute(sql).fetchall()[0][0] + count
        if count > max(most, _MOSTLY) * present:
            problem = f"{count:,} of {present:,} values of {checked.table}.{column} can't be read"
            hint = checked.hints.get(column) or f"Correct {key}.{column}"
            faults.append((problem, _show_values(checked, column).strip(" ()"), hint))
    faults += _find_mixed_currencies(checked, settings)
    return replace(checked, faults=tuple(faults))


def _show_values(checked: ValidatedTable, key: str) -> str:
    shown = ", ".join(repr(value) for value in checked.values.get(key, ()))
    return f" ({shown})" if shown else ""


def _find_mixed_currencies(checked: ValidatedTable, settings: Settings) -> list[tuple[str, str, str]]:
    """Return the fault of money in other currencies than the company's, for which there are no rates."""
    others = [currency for currency in checked.currencies if currency != settings.company.currency.upper()]
    if not others or "rates" in settings.tables:
        return []
    found = ", ".join(f"{currency} in {n:,} rows" for currency, n in checked.currencies.items())
    if len(checked.currencies) == 1:
        hint = f'Set company.currency = "{others[0]}", or map [tables.rates] (currency, day, per_unit)'
    else:
        hint = f"Map [tables.rates] (currency, day, per_unit in {settings.company.currency}), or choose rows in a query"
    return [(f"money of {checked.table} is not all in company.currency {settings.company.currency}", found, hint)]
