"""What would make a column's values readable, from the values that can't be read."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime

from features.core.contract import Column
from features.settings import Settings
from features.sources.mapping import list_sources, quote_identifier

# Words that exports write for nothing.
_NOTHING = {"null", "\\n", "n/a", "na", "none", "nan", "-", "--", "#n/a", "nil", "undefined", "unknown", "?"}
_COMMA = r"^[+-]?[0-9.' ]*,[0-9]{1,2}$"
_DATES = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y/%m/%d", "%Y%m%d", "%d %b %Y", "%b %d, %Y", "%d.%m.%y")
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", ", %H:%M", ", %I:%M %p")
_FORMATS = tuple(date + clock for date in _DATES for clock in _CLOCKS)


def suggest(settings: Settings, table: str, column: str, spec: Column, values: Sequence[tuple[str, int]]) -> str:
    """Return what to write into the TOML for values that can't be read; "" where they suggest nothing.

    Args:
        settings: The company's.
        table: Name of the canonical table.
        column: Of the contract, or an attribute.
        spec: What the column takes.
        values: Raw values that can't be read and their number, the commonest first.
    """
    sources, key = list_sources(settings, settings.tables[table]), f"tables.{table}.columns.{column}"
    mapped = settings.tables[table].columns[column]
    if sources and values[0][0].casefold() in _NOTHING:
        return f"If such words stand for nothing: sources.{sources[0]}.nothing = {json.dumps([values[0][0]])}"
    if spec.kind == "time":
        return _suggest_format(key, mapped.format, mapped.column, [value for value, _ in values])
    if spec.kind in {"decimal", "rate", "whole"}:
        return _suggest_number(key, mapped.column or "COLUMN", sources[0] if sources else "", values)
    if spec.among:
        words = ", ".join(spec.among)
        return f'Map each such value to one of {words}, or to "" for nothing: {key}.map'
    return ""


def _suggest_number(key: str, column: str, source: str, values: Sequence[tuple[str, int]]) -> str:
    with_comma = sum(n for value, n in values if re.search(_COMMA, value))
    if source and 2 * with_comma > sum(n for _, n in values):
        return f'If the comma is a decimal sign: sources.{source}.decimal = ","'
    if source and all(re.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d+)?", value) for value, _ in values):
        return f'If the comma stands between groups of digits: sources.{source}.thousands = ","'
    if all(
        re.fullmatch(r"\D{1,4}-?\d+(\.\d+)?|-?\d+(\.\d+)?[^\d%]{1,4}", value) and "(" not in value
        for value, _ in values
    ):
        sql = f"regexp_replace({quote_identifier(column)}, '[^-0-9.]', '', 'g')"
        return f"If only signs are in the way: {key}.sql = {json.dumps(sql)}"
    return f"Correct {key}"


def _suggest_format(key: str, given: str | None, column: str | None, values: Sequence[str]) -> str:
    """Return which format the values have, or what to look up."""
    fitting = [form for form in _FORMATS if all(_fits(value, form) for value in values)]
    name = json.dumps(column or "…")
    if given and "%" not in given and not given.startswith("epoch"):
        return f"format {given!r} of {key} has no % codes: write it as strptime does, such as %d.%m.%Y"
    if given and all(re.match(r"\d{4}-\d\d-\d\d", value) for value in values):
        return f"Take out the format {given!r} of {key}: these times are ISO"
    if fitting:
        either = " or ".join(f'"{form}"' for form in fitting[:2])
        return f"If that is its form: {key} = {{ column = {name}, format = {either} }}"
    return _suggest_count(key, column or "…", values)


def _suggest_count(key: str, column: str, values: Sequence[str]) -> str:
    """Return what times are that are written as a number."""
    if all(re.fullmatch(r"\d{9,10}(\.\d+)?|\d{12,13}|\d{15,16}", value) for value in values):
        digits = len(values[0].split(".")[0])
        epoch = "epoch" if digits <= 10 else "epoch_ms" if digits <= 13 else "epoch_us"
        return f'If these count since 1970: {key} = {{ column = "{column}", format = "{epoch}" }}'
    if all(re.fullmatch(r"[2-6]\d{4}(\.\d+)?", value) for value in values):
        sql = f"DATE '1899-12-30' + TRY_CAST({column} AS INTEGER)"
        return f'If these are days of Excel: {key} = {{ sql = "{sql}" }}'
    return f"Say how such times are written: format of {key}"


def _fits(value: str, form: str) -> bool:
    try:
        datetime.strptime(value, form)  # noqa: DTZ007  # only its form is asked
    except ValueError:
        return False
    return True
