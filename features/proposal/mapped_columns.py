"""The mapping of one raw column to a canonical one: format of times, value map, signs of money, what is unsure."""

from __future__ import annotations

import re
from typing import Any

from features.core.contract import DECIMAL, FLAG, RATE, TABLES, TIME, WHOLE, Column
from features.proposal.column_kinds import ColumnSample
from features.proposal.model import ProposedColumn
from features.proposal.vocabulary import KINDS, PAID, PRIORITIES, SURVEY_KINDS, find_map
from features.sources.mapping import quote_identifier

_MAPS = {
    ("tickets", "priority"): PRIORITIES,
    ("purchases", "kind"): KINDS,
    ("purchases", "paid"): PAID,
    ("surveys", "kind"): SURVEY_KINDS,
}
_MOST_VALUES = 40  # distinct values of a column that has a value map


def fits(table: str, canonical: str, sample: ColumnSample) -> bool:
    """Return whether a raw column holds what a canonical one wants."""
    column = TABLES[table].columns.get(canonical, Column("text"))
    if (words := _MAPS.get((table, canonical))) is not None:
        known = any(v in words or find_map([v], words) for v in sample.values)
        is_flag = column.kind == FLAG and sample.holds == "flag"
        return sample.distinct <= _MOST_VALUES and sample.holds != "empty" and (known or is_flag)
    if column.kind == FLAG:
        return sample.holds == "flag" or (sample.holds == "number" and set(sample.values) <= {"0", "1"})
    wanted = {TIME: {"time"}, DECIMAL: {"number"}, RATE: {"number"}, WHOLE: {"number"}}
    return sample.holds in wanted.get(column.kind, {"number", "flag", "email", "text", "time"})


def map_column(table: str, canonical: str, sample: ColumnSample, given: dict[str, Any] | None = None) -> ProposedColumn:
    """Propose how a raw column becomes a canonical one.

    Args:
        table: The canonical table.
        canonical: The canonical column.
        sample: The raw column.
        given: Keys that a recipe has said already, such as map.
    """
    origin: dict[str, Any] = {"column": sample.name} | (given or {})
    column = TABLES[table].columns.get(canonical, Column("text"))
    confirm = ""
    if column.kind == TIME and sample.format:
        origin["format"] = sample.format
        if sample.other_format:
            confirm = f"which is the day and which the month: {sample.format} or {sample.other_format}"
    if sample.is_money_text and column.kind in {DECIMAL, RATE}:
        origin.pop("column")
        # The sign of the currency is no part of the number.
        origin["sql"] = f"regexp_replace({quote_identifier(sample.name)}, '[^-+0-9.,]', '', 'g')"
    words = _MAPS.get((table, canonical))
    if words and "column" in origin:
        allowed = set(words)
        known = find_map(list(sample.values), words)
        if table == "tickets" and set(sample.values) <= set("12345") and sample.values:
            confirm = "whether 1 is the most urgent, as is usual"
        mapped = known | origin.get("map", {})
        # What the words do not know must not cost the row.
        unknown = [v for v in sample.values if v not in mapped and v not in allowed]
        if column.kind == FLAG:
            unknown = [
                v for v in unknown if v.lower() not in {"true", "false", "t", "f", "yes", "no", "y", "n", "0", "1"}
            ]
        mapped |= dict.fromkeys(unknown, "")
        if unknown:
            confirm = f"what these mean: {', '.join(unknown[:6])} (they count as nothing)"
        used = {v: c for v, c in mapped.items() if v in sample.values or v in origin.get("map", {})}
        if used:
            origin["map"] = used
    if column.prose:
        return ProposedColumn(origin, "redacted before it is stored", confirm)
    of_person = canonical == "name" or table in {"people", "staff"}
    return ProposedColumn(origin, "" if of_person else _describe(sample), confirm)


def _describe(sample: ColumnSample) -> str:
    filled = "" if sample.filled > 0.995 else f"{sample.filled:.0%} filled: "  # shown as 100 %
    return re.sub(r"[\r\n\t\x00-\x1f\x7f]", " ", f"{filled}{sample.shown}")


def as_timestamp(column: str, sample: ColumnSample, kind: str) -> str:
    """Return SQL of a raw time as a TIMESTAMP, for a query of the TOML."""
    quoted = quote_identifier(column)
    if sample.format and sample.format.startswith("epoch"):
        unit = {"epoch": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}[sample.format]
        return f"make_timestamp(TRY_CAST({quoted} AS BIGINT) * {unit})"
    if sample.format:
        return f"try_strptime(CAST({quoted} AS VARCHAR), '{sample.format}')"
    if kind.startswith("TIMESTAMP") and "TIME ZONE" not in kind:
        return quoted
    return f"TRY_CAST({quoted} AS TIMESTAMP)"
