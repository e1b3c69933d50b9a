"""Why a validated table must not be used, with the values at fault and what would make them readable."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import ibis

from features.settings import Settings
from features.sources.mapping import ROWS, TableMapping, list_sources, quote_identifier, quote_literal
from features.sources.staging import BETWEEN, UNREAD
from features.sources.validated_table import ValidatedTable

_SHOWN, _LONGEST = 3, 30
# A column of which most values can't be read is mapped wrongly.
_MOSTLY = 0.5
# Words that exports write for nothing.
_NOTHING = {"null", "\\n", "n/a", "na", "none", "nan", "-", "--", "#n/a", "nil", "undefined", "unknown", "?"}
_COMMA = r"^[+-]?[0-9.' ]*,[0-9]{1,2}$"


def add_values(
    backend: ibis.BaseBackend, settings: Settings, checked: ValidatedTable, mapping: TableMapping, staged: str
) -> ValidatedTable:
    """Return the result with the commonest values that could not be read, and what would make them readable."""
    values, hints = dict[str, list[str]](), dict[str, str]()
    for reason in checked.reasons:
        column, is_about, kind = reason.partition(" is not ")
        if is_about and column in mapping.raw_values and not kind.startswith(("in ", "among ")):
            rows = f"SELECT raw AS {ROWS} FROM read_parquet({quote_literal(str(checked.quarantine))}) WHERE why = ?"
            values[reason], hints[reason] = _read_values(
                backend, settings, checked.table, mapping, column, rows, reason
            )
    for column in checked.unread:
        rows = f"SELECT raw AS {ROWS} FROM ({staged}) WHERE why IS NULL AND contains({UNREAD} || '{BETWEEN}', ?)"
        word = f"{BETWEEN}{column}{BETWEEN}"
        values[column], hints[column] = _read_values(backend, settings, checked.table, mapping, column, rows, word)
    return replace(checked, values=values, hints={key: hint for key, hint in hints.items() if hint})


def _read_values(  # noqa: PLR0913, PLR0917  # one for each part of the query
    backend: ibis.BaseBackend,
    settings: Settings,
    table: str,
    mapping: TableMapping,
    column: str,
    rows: str,
    parameter: str,
) -> tuple[list[str], str]:
    value = f"CAST({mapping.raw_values[column]} AS VARCHAR)"
    counted = f"SELECT {value} AS v, count(*) AS n FROM ({rows}) GROUP BY v"
    sql = f"SELECT v, n FROM ({counted}) WHERE v IS NOT NULL ORDER BY n DESC, v LIMIT 1000"
    found = backend.con.execute(sql, [parameter]).fetchall()
    if not found:
        return [], ""
    shown = [value[:_LONGEST] for value, _ in found[:_SHOWN]]
    sources, kind = list_sources(settings, settings.tables[table]), mapping.kinds[column].kind
    with_comma = sum(n for value, n in found if re.search(_COMMA, value))
    if not sources:
        hint = ""
    elif kind in {"decimal", "rate", "whole"} and 2 * with_comma > sum(n for _, n in found):
        hint = f'If the comma is a decimal sign: sources.{sources[0]}.decimal = ","'
    elif found[0][0].casefold() in _NOTHING:
        hint = f"If such words stand for nothing: sources.{sources[0]}.nothing = {json.dumps([found[0][0]])}"
    else:
        hint = ""
    return shown, hint


def judge_table(backend: ibis.BaseBackend, checked: ValidatedTable, settings: Settings) -> ValidatedTable:
    """Return the result with its faults: what was wrong, what was found, what to do."""
    most, faults = settings.quality.max_quarantine, list[tuple[str, str, str]]()
    if checked.bad > most * checked.rows:
        reason, count = next(iter(checked.reasons.items()))
        share = f"{checked.bad:,} of {checked.rows:,} rows of {checked.table} are bad"
        found = f"{count:,} times: {reason}{_show_values(checked, reason)}"
        hint = f"{checked.hints[reason]}. " if reason in checked.hints else ""
        place = f"{hint}The rows and reasons are in {checked.quarantine}"
        faults.append((f"{share}, more than quality.max_quarantine allows", found, place))
    for column, count in checked.unread.items():
        sql = f"SELECT count({quote_identifier(column)}) FROM main.{checked.table}"
        present = backend.con.execute(sql).fetchall()[0][0] + count
        if count > max(most, _MOSTLY) * present:
            problem = f"{count:,} of {present:,} values of {checked.table}.{column} can't be read"
            hint = checked.hints.get(column) or f"Correct tables.{checked.table}.columns.{column}"
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
    return [(f"money of purchases is not all in company.currency {settings.company.currency}", found, hint)]
