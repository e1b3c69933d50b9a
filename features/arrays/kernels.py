"""Kernels of Ibis operations on arrays: each gives exactly what DuckDB gives, or raises `NotVectorizable`.

`features.arrays.kinds` says how values are held.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import ibis.expr.operations as ops
import numpy as np

from features.arrays.formulas import KERNELS, Kernel, list_operands
from features.arrays.kinds import MONEY, Kind, NotVectorizable, check_exact, find_kind
from features.core.timestamps import DAY, to_micros

TEXTS = "/texts"  # the operand for which kernels get the `TextCodes`; no column's name has a slash
_ALIKE = "\u0530"  # below lie Latin, Greek and Cyrillic, whose small letters are the same everywhere
_PLAIN = re.compile(r"[A-Za-z0-9_ |]+")  # means the same in every dialect of regular expressions
_DIGITS = 15  # significant digits that a float and the decimal that it is written as have in common
_MONTHS = 12_000


def find_kernel(node: ops.Node) -> tuple[Kernel, Sequence[ops.Node | str]]:
    """Return the kernel of an operation and its operands: other nodes, or `TEXTS`.

    Raises:
        NotVectorizable: There is none; a kernel raises it too, for values that it can't compute exactly.
    """
    if isinstance(node, ops.Literal):
        return _literal_kernel(node)
    if isinstance(node, ops.Cast):
        return _cast_kernel(node), (node.arg,)
    if isinstance(node, ops.Lowercase | ops.RegexSearch):
        return _text_kernel(node), (TEXTS, node.arg)
    if isinstance(node, ops.ExtractEpochSeconds) and node.arg.dtype.is_timestamp():
        return _to_seconds, (node.arg,)
    if isinstance(node, ops.TimestampAdd) and isinstance(node.right, ops.IntervalFromInteger):
        return _interval_kernel(node.right), (node.left, node.right.arg)
    return _operation_kernel(node)


def lower_text(text: str) -> str:
    """Return the text in small letters.

    Raises:
        NotVectorizable: Databases disagree on them.
    """
    if text.isascii():
        return text.lower()
    if max(text) >= _ALIKE or "\u0130" in text:  # the one letter whose small form is two characters
        raise NotVectorizable
    return "".join(map(str.lower, text))


def _text_kernel(node: ops.Lowercase | ops.RegexSearch) -> Kernel:
    if isinstance(node, ops.Lowercase):
        return lambda texts, codes: texts.apply(codes, lambda text: texts.encode(lower_text(text)))
    if not (isinstance(node.pattern, ops.Literal) and _PLAIN.fullmatch(str(node.pattern.value))):
        raise NotVectorizable
    words = str(node.pattern.value).split("|")
    return lambda texts, codes: texts.apply(codes, lambda text: any(word in text for word in words))


def _literal_kernel(node: ops.Literal) -> tuple[Kernel, Sequence[str]]:
    value = node.value
    if isinstance(value, str):
        return (lambda texts: np.float64(texts.encode(value))), (TEXTS,)
    if isinstance(value, datetime) and value.tzinfo is None:
        value = to_micros(value.replace(tzinfo=UTC))
    elif not (value is None or isinstance(value, bool | int | float)):
        raise NotVectorizable
    constant = np.float64(np.nan if value is None else value)
    # SQL reads 0.1 as a decimal, which equals the float only if it is short.
    is_long = isinstance(value, float) and sum(map(str.isdigit, repr(value))) > _DIGITS
    if value is not None and (is_long or float(constant) != value or np.isinf(constant)):
        raise NotVectorizable
    return (lambda: constant), ()


def _cast_kernel(node: ops.Cast) -> Kernel:
    to = node.to
    match find_kind(node.arg):
        case Kind.NULL:
            return _same
        case Kind.FLAG if to.is_boolean() or to.is_integer() or to.is_float64():
            return _same
        case Kind.WHOLE if to.is_int64() or to.is_float64():
            return _same
        case Kind.DECIMAL if to.is_float64():
            return lambda x: x / MONEY
        case Kind.FLOAT if to.is_float64():
            return _same
        case Kind.TEXT if to.is_string():
            return _same
    raise NotVectorizable


def _operation_kernel(node: ops.Node) -> tuple[Kernel, Sequence[ops.Node]]:
    """Return the kernel of an operation whose values come from its operands' values alone."""
    operation, operands = type(node), list_operands(node)
    alike = operands[1:] if operation is ops.IfElse else operands
    kinds = {find_kind(operand) for operand in alike} - {Kind.NULL}
    is_mixed = len(kinds) > 1 and kinds not in ({Kind.WHOLE, Kind.FLOAT}, {Kind.WHOLE, Kind.DECIMAL})
    if is_mixed or not kinds <= _TAKES.get(operation, frozenset()):
        raise NotVectorizable
    if operation is ops.IfElse and find_kind(operands[0]) != Kind.FLAG:
        raise NotVectorizable
    floats = [isinstance(operand, ops.Literal) for operand in alike if find_kind(operand) == Kind.FLOAT]
    if operation is not ops.Divide and floats and all(floats):
        raise NotVectorizable  # SQL reads these literals as decimals
    kernel = _KERNELS[operation]
    if kinds == {Kind.WHOLE, Kind.DECIMAL}:
        kernel = _scale_operands(kernel, [MONEY if find_kind(operand) == Kind.WHOLE else 1 for operand in operands])
    if operation in _DIVIDE:
        kernel = _refuse_zero_divisors(kernel)
    if operation in _GROW:
        kernel = _check_result(kernel, check_exact if find_kind(node) == Kind.WHOLE else _check_finite)
    return kernel, operands


def _check_result(kernel: Kernel, check: Callable[[Any], Any]) -> Kernel:
    return lambda *values: check(kernel(*values))


def _scale_operands(kernel: Kernel, scales: Sequence[int]) -> Kernel:
    return lambda *values: kernel(*(check_exact(v * s) if s > 1 else v for v, s in zip(values, scales, strict=True)))


def _refuse_zero_divisors(kernel: Kernel) -> Kernel:
    def divide(x: Any, y: Any) -> Any:
        if (y == 0).any():
            raise NotVectorizable
        return kernel(x, y)

    return divide


def _check_finite(values: Any) -> Any:
    if np.isinf(values).any():
        raise NotVectorizable
    return values


def _same(x: Any) -> Any:
    return x


def _is_in(x: Any, *values: Any) -> Any:
    """Return SQL's IN: null where no value matches and one of them, or x, is null."""
    matches, is_unknown = np.False_, np.isnan(x)
    for value in values:
        matches, is_unknown = matches | (x == value), is_unknown | np.isnan(value)
    return np.where(matches, 1.0, np.where(is_unknown, np.nan, 0.0))


def _to_seconds(instant: Any) -> Any:
    if np.nansum(np.abs(np.fmod(instant, 1_000_000))):
        raise NotVectorizable
    return instant / 1_000_000


def _interval_kernel(added: ops.IntervalFromInteger) -> Kernel:
    unit = str(added.unit.value)
    if unit not in _INTERVALS or find_kind(added.arg) != Kind.WHOLE:
        raise NotVectorizable
    return _INTERVALS[unit]


def _add_days(instant: Any, days: Any) -> Any:
    return check_exact(instant + check_exact(days * DAY))


def _add_months(instant: Any, months: Any) -> Any:
    """Return the same day and time some calendar months later, or that month's last day."""
    is_present = ~(np.isnan(instant) | np.isnan(months))
    if (np.abs(np.where(is_present, months, 0)) > _MONTHS).any():
        raise NotVectorizable
    day, clock = np.divmod(np.where(is_present, check_exact(instant), 0).astype("int64"), DAY)
    date = day.astype("datetime64[D]")
    month = date.astype("datetime64[M]")
    later = month + np.where(is_present, months, 0).astype("int64")
    first, after = later.astype("datetime64[D]"), (later + 1).astype("datetime64[D]")
    days = np.minimum(first + (date - month.astype("datetime64[D]")), after - 1).astype("int64")
    return check_exact(np.where(is_present, days * DAY + clock.astype("float64"), np.nan))


_INTERVALS: dict[str, Kernel] = {"D": _add_days, "M": _add_months}
_NUMBER = frozenset({Kind.WHOLE, Kind.FLOAT})
_AMOUNT = _NUMBER | {Kind.DECIMAL}
_ANY = _AMOUNT | {Kind.FLAG, Kind.TEXT}
_DIVIDE = frozenset({ops.Divide, ops.FloorDivide, ops.Modulus})
_GROW = frozenset({ops.Add, ops.Subtract, ops.Multiply, ops.Divide, ops.FloorDivide, ops.Floor})
# The kinds of operands that each operation may have.
_TAKES: dict[type, frozenset[str]] = {
    **dict.fromkeys((ops.Add, ops.Subtract, ops.Multiply, ops.Divide), _NUMBER),
    **dict.fromkeys((ops.FloorDivide, ops.Modulus), frozenset({Kind.WHOLE})),
    ops.Floor: frozenset({Kind.FLOAT}),
    **dict.fromkeys((ops.Negate, ops.Abs, ops.Greatest, ops.Least), _AMOUNT),
    **dict.fromkeys((ops.Greater, ops.GreaterEqual, ops.Less, ops.LessEqual), _AMOUNT),
    **dict.fromkeys((ops.Equals, ops.NotEquals, ops.InValues, ops.IsNull, ops.NotNull), _ANY),
    **dict.fromkeys((ops.Coalesce, ops.IfElse, ops.NullIf), _ANY),
    **dict.fromkeys((ops.And, ops.Or, ops.Not), frozenset({Kind.FLAG})),
}
_KERNELS: dict[type, Kernel] = KERNELS | {
    ops.FloorDivide: lambda x, y: np.floor(x / y),
    ops.Modulus: np.fmod,
    ops.Floor: np.floor,
    ops.InValues: _is_in,
}
