"""What a raw column holds, found from a sample of its values: numbers, times with their format, flags, addresses."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import duckdb

Holds = Literal["empty", "time", "number", "flag", "email", "text"]
_ISO = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}([T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?)?( ?(Z|z|UTC|GMT|[+-]\d{2}(:?\d{2})?))?", re.ASCII
)
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d+)?|\d{1,3}([., '\u00a0\u202f\u2019]\d{3})+([.,]\d+)?)([eE][+-]?\d+)?", re.ASCII)
_COMMA = re.compile(r"[+-]?(\d{1,3}([. '\u00a0\u202f\u2019]\d{3})+|\d+),\d+", re.ASCII)
_POINT = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)\.\d+|[+-]?\d{1,3}(,\d{3}){2,}", re.ASCII)
_MONEY = re.compile(r"[€$£¥] ?[+-]?[\d.,]+|[+-]?[\d.,]+ ?[€$£¥]")
_DATED = re.compile(r".*\d.*[-/. :].*\d.*|\w{3,9} \d{1,2}, \d{4}.*")
_LONGEST_TIME = 40  # characters
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}")
_FLAGS = frozenset({"true", "false", "t", "f", "yes", "no", "y", "n"})
_TIME_NAME = re.compile(
    r"(at|on|date|time|timestamp|created|updated|datum|day|start|end|since|closed|ts)$|date|time", re.IGNORECASE
)
_NOTHING = ("-", "--", "N/A", "n/a", "#N/A", "NULL", "null", "None", "\\N", "NaN", "nan", "nil", "(null)", "k.A.", "?")
# These stand for nothing wherever they stand.
_SURELY_NOTHING = frozenset({"\\N", "NULL", "#N/A", "N/A", "n/a", "(null)"})
_ENOUGH = 0.95  # share of the values that a kind must fit
_FORMATS = (
    "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y", "%d.%m.%y",
    "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y", "%d/%m/%y",
    "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p", "%d/%m/%Y %I:%M %p", "%m/%d/%Y, %I:%M %p",
    "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y", "%m/%d/%y %H:%M", "%m/%d/%y",
    "%d-%m-%Y %H:%M:%S", "%d-%m-%Y %H:%M", "%d-%m-%Y", "%d-%b-%Y %H:%M:%S", "%d-%b-%Y", "%d-%b-%y",
    "%d %b %Y %H:%M:%S", "%d %b %Y %H:%M", "%d %b %Y", "%d %B %Y", "%b %d, %Y %I:%M:%S %p", "%b %d, %Y %I:%M %p",
    "%b %d, %Y", "%B %d, %Y", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y%m%d", "%Y%m%dT%H%M%SZ",
    "%a, %d %b %Y %H:%M:%S %z", "%a %b %d %H:%M:%S %Y", "%Y-%m-%d %I:%M:%S %p", "%Y-%m-%d %I:%M %p", "%Y.%m.%d",
)  # fmt: skip


@dataclass(frozen=True)
class ColumnSample:
    """A raw column as its sample shows it.

    Args:
        name: Of the raw column.
        holds: The kind of its values.
        filled: Share of rows with a value, 0 to 1.
        distinct: Distinct values in the sample.
        values: The commonest values with their counts.
        format: strptime format, epoch, epoch_ms or epoch_us of a time; None for ISO.
        other_format: A second format that fits as well, as day and month are both below 13.
        is_money_text: Whether numbers have a currency sign.
        comma: How many numbers have a decimal comma, less those with a decimal point.
        words: Words in it that stand for nothing.
        is_naive: Whether its times have no offset and a time of day.
    """

    name: str
    holds: Holds
    filled: float
    distinct: int
    values: Counter[str]
    format: str | None = None
    other_format: str | None = None
    is_money_text: bool = False
    comma: int = 0
    words: tuple[str, ...] = ()
    is_naive: bool = False

    @property
    def shown(self) -> str:
        """Return a few values for a comment; of an address only its domain."""
        some = [re.sub(r"^[^@]+@", "…@", v)[:24] for v, _ in self.values.most_common(3)]
        return ", ".join(some)


def describe_column(name: str, values: list[Any], kind: str, connection: duckdb.DuckDBPyConnection) -> ColumnSample:
    """Return what a raw column holds.

    Args:
        name: Of the column.
        values: A sample of its rows, None where empty.
        kind: Its DuckDB type.
        connection: To DuckDB, whose own parser decides which formats of times fit.
    """
    present = [v for v in values if v is not None and str(v).strip() not in {"", "nan"}]
    texts = Counter(str(v).strip() for v in present)
    filled = len(present) / len(values) if values else 0.0
    words = tuple(w for w in _NOTHING if w in texts)
    real = Counter({v: n for v, n in texts.items() if v not in words}) if words else texts
    described = ColumnSample(name, "empty", filled, len(real), real or texts, words=words)
    if not real:
        return described
    if kind.startswith(("TIMESTAMP", "DATE")):
        naive = not kind.startswith("TIMESTAMP WITH") and kind != "DATE"
        return _replace(described, holds="time", is_naive=naive)
    if kind == "BOOLEAN":
        return _replace(described, holds="flag")
    is_number = kind != "VARCHAR" and not kind.startswith(("STRUCT", "MAP")) and not kind.endswith("]")
    return _describe_text(described, is_number=is_number, connection=connection)


def _replace(described: ColumnSample, **changes: Any) -> ColumnSample:
    return ColumnSample(**{**vars(described), **changes})


def _describe_text(d: ColumnSample, *, is_number: bool, connection: duckdb.DuckDBPyConnection) -> ColumnSample:
    if is_number or _share(d, _NUMBER) >= _ENOUGH:
        return _describe_number(d)
    if _share(d, _ISO) >= _ENOUGH:
        return _replace(d, holds="time", is_naive=sum(map(_is_local, d.values)) > len(d.values) / 2)
    if all(v.lower() in _FLAGS for v in d.values):
        return _replace(d, holds="flag")
    if _share(d, _EMAIL) >= _ENOUGH / 2:
        return _replace(d, holds="email")
    if _share(d, _MONEY) >= _ENOUGH:
        return _replace(d, holds="number", is_money_text=True)
    return _describe_time(d, connection)


def _share(d: ColumnSample, pattern: re.Pattern[str]) -> float:
    """Return the share of filled rows whose whole value fits a pattern."""
    return sum(n for v, n in d.values.items() if pattern.fullmatch(v)) / sum(d.values.values())


def _is_local(time: str) -> bool:
    """Return whether an ISO time has a time of day and no offset."""
    return bool(re.search(r":\d\d", time)) and not re.search(r"(Z|z|UTC|GMT|[+-]\d{2}:?\d{2})$", time)


def _describe_number(d: ColumnSample) -> ColumnSample:
    epoch = _find_epoch(d)
    if epoch:
        return _replace(d, holds="time", format=epoch)
    is_day = re.search("date|datum|day", d.name, re.IGNORECASE)
    if is_day and all(re.fullmatch(r"(19|20)\d{6}", v) for v in d.values):
        return _replace(d, holds="time", format="%Y%m%d")
    comma = sum(n for v, n in d.values.items() if _COMMA.fullmatch(v))
    comma -= sum(n for v, n in d.values.items() if _POINT.fullmatch(v))
    return _replace(d, holds="number", comma=comma)


def _describe_time(d: ColumnSample, connection: duckdb.DuckDBPyConnection) -> ColumnSample:
    """Describe text that may be a time in another form than ISO's."""
    if _share(d, _DATED) < _ENOUGH or max(map(len, d.values)) > _LONGEST_TIME:
        return _replace(d, holds="text")
    formats = _find_formats(list(d.values), connection)
    if not formats:
        return _replace(d, holds="text")
    other = formats[1] if len(formats) > 1 else None
    return _replace(d, holds="time", format=formats[0], other_format=other, is_naive="%z" not in formats[0])


def _find_epoch(d: ColumnSample) -> str | None:
    """Return the unit of numbers since 1970, where the name speaks of a time and the values lie in 2000 to 2040."""
    if not _TIME_NAME.search(d.name):
        return None
    for form, unit in (("epoch", 1), ("epoch_ms", 1_000), ("epoch_us", 1_000_000)):
        first, last = (datetime(year, 1, 1, tzinfo=UTC).timestamp() * unit for year in (2000, 2040))
        try:
            if all(first <= float(v) <= last for v in d.values):
                return form
        except ValueError:
            return None
    return None


def _find_formats(values: list[str], connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the formats that fit nearly all values, the best first."""
    counted = ", ".join(f"count(try_strptime(v, '{form}'))" for form in _FORMATS)
    counts = connection.execute(f"SELECT {counted} FROM unnest(?) AS t(v)", [values]).fetchone()
    assert counts
    best = max(counts)
    if best < _ENOUGH * len(values):
        return []
    return [form for form, n in zip(_FORMATS, counts, strict=True) if n == best]


def find_value_keys(columns: list[ColumnSample]) -> dict[str, Any]:
    """Return the keys of a source that say how its numbers and its words for nothing are written."""
    keys: dict[str, Any] = {}
    numbers = [c for c in columns if c.holds == "number"]
    if sum(c.comma for c in numbers) > 0:
        keys["decimal"] = ","
    elif any(re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", v) for c in numbers for v in c.values):
        keys["thousands"] = ","
    words = {w for c in columns for w in c.words if w in _SURELY_NOTHING or c.holds in {"number", "time", "flag"}}
    if words:
        keys["nothing"] = sorted(words)
    return keys
