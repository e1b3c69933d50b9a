"""Operations of Ibis on arrays, each exactly as DuckDB does it or not at all.

All values are float64, null is NaN. Whole numbers are exact there below 2**53, and so are decimals, held in whole
ten-thousandths; a flag is 1 or 0, an instant whole microseconds, and text a number for each different one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

import ibis.expr.operations as ops
import numpy as np

from features.arrays.formulas import KERNELS, Kernel, list_operands
from features.core.timestamps import to_micros
from features.definitions.feature import DAY

MONEY = 10_000  # decimals have four places
TEXTS = "/texts"  # where works are given the `Texts`; no column's name has a slash
_MOST = 2.0**53  # below it float64 holds every whole number
_ALIKE = "\u0530"  # before it lie Latin, Greek and Cyrillic, whose small letters nobody disputes
_PLAIN = re.compile(r"[A-Za-z0-9_ |]+")  # means the same in any language of patterns
_DIGITS = 15  # that a float has in common with the decimal that it is written as
_MONTHS = 12_000


class NotVectorizable(Exception):  # noqa: N818  # no error: the database is asked instead
    """Arrays would not tell this exactly as the database does."""


class TextCodes:
    """A number for each different text."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._texts: dict[int, str] = {}
        self._next = count()

    def code(self, text: str) -> int:
        """The text's number; several threads are told the same."""
        code = self._codes.setdefault(text, next(self._next))
        self._texts[code] = text
        return code

    def mapped(self, codes: Any, of: Callable[[str], float]) -> np.ndarray:
        """Something of each text, asked once of each different one; null of null."""
        codes = np.asarray(codes)
        there = ~np.isnan(codes)
        each, place = np.unique(codes[there], return_inverse=True)
        found = np.full(codes.shape, np.nan)
        found[there] = np.array([of(self._texts[int(code)]) for code in each], dtype="float64")[place]
        return found


def find_kind(node: ops.Node) -> str:
    """whole, decimal, float, flag, text or null; "other" for what arrays don't hold."""
    of = getattr(node, "dtype", None)
    if isinstance(node, ops.Literal) and node.value is None:
        return "null"
    if of is None:
        return "other"
    tests = {
        "whole": of.is_integer(),
        "decimal": of.is_decimal() and of.scale == 4,
        "float": of.is_float64(),
        "flag": of.is_boolean(),
        "text": of.is_string(),
    }
    return next((name for name, true in tests.items() if true), "other")


def find_kernel(node: ops.Node) -> tuple[Kernel, Sequence[ops.Node | str]]:
    """What works a node out, and what of: other nodes, or `TEXTS`.

    Raises:
        Beyond: Arrays can't; the work raises it too where it is given what they can't tell exactly.
    """
    if isinstance(node, ops.Literal):
        return _literal(node)
    if isinstance(node, ops.Cast):
        return _cast(node), (node.arg,)
    if isinstance(node, ops.Lowercase | ops.RegexSearch):
        return _of_text(node), (TEXTS, node.arg)
    if isinstance(node, ops.ExtractEpochSeconds) and node.arg.dtype.is_timestamp():
        return _seconds, (node.arg,)
    if isinstance(node, ops.TimestampAdd) and isinstance(node.right, ops.IntervalFromInteger):
        return _later(node.right), (node.left, node.right.arg)
    return _operation(node)


def check_exact(values: Any) -> Any:
    """The same whole numbers.

    Raises:
        Beyond: float64 may not hold one of them.
    """
    if np.fmax.reduce(np.abs(values), axis=None, initial=0.0) >= _MOST:
        raise NotVectorizable
    return values


def lower_text(text: str) -> str:
    """The text in small letters.

    Raises:
        Beyond: Databases disagree on them.
    """
    if text.isascii():
        return text.lower()
    if max(text) >= _ALIKE or "\u0130" in text:  # the one letter whose small form is two characters
        raise NotVectorizable
    return "".join(map(str.lower, text))


def _of_text(node: ops.Lowercase | ops.RegexSearch) -> Kernel:
    if isinstance(node, ops.Lowercase):
        return lambda texts, codes: texts.mapped(codes, lambda text: texts.code(lower_text(text)))
    if not (isinstance(node.pattern, ops.Literal) and _PLAIN.fullmatch(str(node.pattern.value))):
        raise NotVectorizable
    words = str(node.pattern.value).split("|")
    return lambda texts, codes: texts.mapped(codes, lambda text: any(word in text for word in words))


def _literal(node: ops.Literal) -> tuple[Kernel, Sequence[str]]:
    value = node.value
    if isinstance(value, str):
        return (lambda texts: np.float64(texts.code(value))), (TEXTS,)
    if isinstance(value, datetime) and value.tzinfo is None:
        value = to_micros(value.replace(tzinfo=UTC))
    elif not (value is None or isinstance(value, bool | int | float)):
        raise NotVectorizable
    found = np.float64(np.nan if value is None else value)
    # SQL reads 0.1 as a decimal: the same as the float if it is short.
    long = isinstance(value, float) and sum(map(str.isdigit, repr(value))) > _DIGITS
    if value is not None and (long or float(found) != value or np.isinf(found)):
        raise NotVectorizable
    return (lambda: found), ()


def _cast(node: ops.Cast) -> Kernel:
    to = node.to
    match find_kind(node.arg):
        case "null":
            return _same
        case "flag" if to.is_boolean() or to.is_integer() or to.is_float64():
            return _same
        case "whole" if to.is_int64() or to.is_float64():
            return _same
        case "decimal" if to.is_float64():
            return lambda x: x / MONEY
        case "float" if to.is_float64():
            return _same
        case "text" if to.is_string():
            return _same
    raise NotVectorizable


def _operation(node: ops.Node) -> tuple[Kernel, Sequence[ops.Node]]:
    """One whose values come from its parts' values alone."""
    operation, of = type(node), list_operands(node)
    alike = of[1:] if operation is ops.IfElse else of
    kinds = {find_kind(part) for part in alike} - {"null"}
    mixed = len(kinds) > 1 and kinds not in ({"whole", "float"}, {"whole", "decimal"})
    if mixed or not kinds <= _TAKES.get(operation, frozenset()) or (alike is not of and find_kind(of[0]) != "flag"):
        raise NotVectorizable
    floats = [isinstance(part, ops.Literal) for part in alike if find_kind(part) == "float"]
    if operation is not ops.Divide and floats and all(floats):
        raise NotVectorizable  # to SQL they are decimals
    found = _WORKS[operation]
    if kinds == {"whole", "decimal"}:
        found = _in_tenths(found, [MONEY if find_kind(part) == "whole" else 1 for part in of])
    if operation in _DIVIDE:
        found = _divided(found)
    if operation in _GROW:
        found = _checked(found, check_exact if find_kind(node) == "whole" else _finite)
    return found, of


def _checked(found: Kernel, check: Callable[[Any], Any]) -> Kernel:
    return lambda *values: check(found(*values))


def _in_tenths(found: Kernel, scales: Sequence[int]) -> Kernel:
    return lambda *values: found(*(check_exact(v * s) if s > 1 else v for v, s in zip(values, scales, strict=True)))


def _divided(found: Kernel) -> Kernel:
    def by(x: Any, y: Any) -> Any:
        if (y == 0).any():
            raise NotVectorizable
        return found(x, y)

    return by


def _finite(values: Any) -> Any:
    if np.isinf(values).any():
        raise NotVectorizable
    return values


def _same(x: Any) -> Any:
    return x


def _among(x: Any, *values: Any) -> Any:
    """SQL's IN: null where only a null could be the one."""
    found, unknown = np.False_, np.isnan(x)
    for value in values:
        found, unknown = found | (x == value), unknown | np.isnan(value)
    return np.where(found, 1.0, np.where(unknown, np.nan, 0.0))


def _seconds(instant: Any) -> Any:
    if np.nansum(np.abs(np.fmod(instant, 1_000_000))):
        raise NotVectorizable
    return instant / 1_000_000


def _later(added: ops.IntervalFromInteger) -> Kernel:
    unit = str(added.unit.value)
    if unit not in _LATER or find_kind(added.arg) != "whole":
        raise NotVectorizable
    return _LATER[unit]


def _days_later(instant: Any, days: Any) -> Any:
    return check_exact(instant + check_exact(days * DAY))


def _months_later(instant: Any, months: Any) -> Any:
    """The same day and time some calendar months later, or that month's last day."""
    there = ~(np.isnan(instant) | np.isnan(months))
    if (np.abs(np.where(there, months, 0)) > _MONTHS).any():
        raise NotVectorizable
    day, clock = np.divmod(np.where(there, check_exact(instant), 0).astype("int64"), DAY)
    date = day.astype("datetime64[D]")
    month = date.astype("datetime64[M]")
    later = month + np.where(there, months, 0).astype("int64")
    first, after = later.astype("datetime64[D]"), (later + 1).astype("datetime64[D]")
    found = np.minimum(first + (date - month.astype("datetime64[D]")), after - 1).astype("int64")
    return check_exact(np.where(there, found * DAY + clock.astype("float64"), np.nan))


_LATER: dict[str, Kernel] = {"D": _days_later, "M": _months_later}
_NUMBER = frozenset({"whole", "float"})
_AMOUNT = _NUMBER | {"decimal"}
_ANY = _AMOUNT | {"flag", "text"}
_DIVIDE = frozenset({ops.Divide, ops.FloorDivide, ops.Modulus})
_GROW = frozenset({ops.Add, ops.Subtract, ops.Multiply, ops.Divide, ops.FloorDivide, ops.Floor})
# What kinds of values each takes.
_TAKES: dict[type, frozenset[str]] = {
    **dict.fromkeys((ops.Add, ops.Subtract, ops.Multiply, ops.Divide), _NUMBER),
    **dict.fromkeys((ops.FloorDivide, ops.Modulus), frozenset({"whole"})),
    ops.Floor: frozenset({"float"}),
    **dict.fromkeys((ops.Negate, ops.Abs, ops.Greatest, ops.Least), _AMOUNT),
    **dict.fromkeys((ops.Greater, ops.GreaterEqual, ops.Less, ops.LessEqual), _AMOUNT),
    **dict.fromkeys((ops.Equals, ops.NotEquals, ops.InValues, ops.IsNull, ops.NotNull), _ANY),
    **dict.fromkeys((ops.Coalesce, ops.IfElse, ops.NullIf), _ANY),
    **dict.fromkeys((ops.And, ops.Or, ops.Not), frozenset({"flag"})),
}
_WORKS: dict[type, Kernel] = KERNELS | {
    ops.FloorDivide: lambda x, y: np.floor(x / y),
    ops.Modulus: np.fmod,
    ops.Floor: np.floor,
    ops.InValues: _among,
}
