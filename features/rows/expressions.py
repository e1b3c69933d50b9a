"""Ibis expressions of streams as Python statements over one row: each gives exactly what DuckDB gives.

Where it may not, translating or running raises `NotComputable`. `features.rows.kinds` says how values are held.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import reduce
from typing import Any

import ibis.expr.operations as ops

from features.arrays.formulas import list_operands
from features.core.timestamps import to_micros
from features.rows import values
from features.rows.kinds import MONEY, Kind, NotComputable, find_kind

_PLAIN = re.compile(r"[A-Za-z0-9_ |]+")  # means the same in every dialect of regular expressions
_DIGITS = 15  # significant digits that a float and the decimal that it is written as have in common

# What the statements may name.
FUNCTIONS: Mapping[str, Any] = {
    **{name: value for name, value in vars(values).items() if not name.startswith("_")},
    "floor": math.floor,
    "inf": math.inf,
}


class Statements:
    """Python statements that compute expressions over `row`, a dict; what they have in common is computed once.

    Args:
        base: The relation that rows are of.
        is_table: Whether rows are those of a canonical table, with decimals as Decimal.
        through: The types of relations between an expression and its base, whose fields are looked through.

    Attributes:
        lines: The statements so far.
    """

    def __init__(self, base: ops.Node, through: tuple[type, ...], *, is_table: bool) -> None:
        self._base, self._through, self._is_table = base, through, is_table
        self.lines: list[str] = []
        self._names: dict[ops.Node, str] = {}

    def write(self, node: ops.Node) -> str:
        """Write the statements of an expression; return the name or the literal that holds its value.

        Raises:
            NotComputable: It has an operation, or operands of a kind, whose value may be another in the database.
        """
        while isinstance(node, ops.Field) and isinstance(node.rel, self._through):
            relation: Any = node.rel
            node = relation.values[node.name]
        if node not in self._names:
            self._names[node] = self._write(node)
        return self._names[node]

    def _write(self, node: ops.Node) -> str:
        match node:
            case ops.Literal():
                return _write_literal(node)
            case ops.Field():
                return self._assign(self._write_field(node))
            case ops.Cast():
                return self._cast(node)
            case ops.TimestampAdd(right=ops.IntervalFromInteger()):
                function, operands = _name_interval(node.right), [self.write(node.left), self.write(node.right.arg)]
            case ops.RegexSearch():
                function, operands = "has_word", [self.write(node.arg), repr(_split_pattern(node))]
            case ops.Lowercase():
                function, operands = "lower_text", [self.write(node.arg)]
            case ops.ExtractEpochSeconds() if node.arg.dtype.is_timestamp():
                function, operands = "to_seconds", [self.write(node.arg)]
            case _:
                return self._operate(node)
        return self._unless_null(f"{function}({', '.join(operands)})", operands)

    def _write_field(self, node: ops.Field) -> str:
        kind = find_kind(node)
        if node.rel != self._base or kind == Kind.OTHER:
            raise NotComputable
        if node.name == "account_id" and self._is_table:
            return "0"  # all rows are one account's
        value = f"row.get({node.name!r})"
        return f"to_whole({value})" if kind == Kind.DECIMAL and self._is_table else value

    def _cast(self, node: ops.Cast) -> str:
        kind, to, value = find_kind(node.arg), node.to, self.write(node.arg)
        match kind:
            case Kind.FLAG if to.is_integer():
                return self._unless_null(f"int({value})", [value])
            case Kind.FLAG | Kind.WHOLE if to.is_float64():
                return self._unless_null(f"float({value})", [value])
            case Kind.DECIMAL if to.is_float64():
                return self._unless_null(f"{value} / {MONEY}", [value])
        stays = {
            Kind.NULL: True,
            Kind.FLAG: to.is_boolean(),
            Kind.WHOLE: to.is_int64(),
            Kind.FLOAT: to.is_float64(),
            Kind.TEXT: to.is_string(),
        }
        if not stays.get(kind):
            raise NotComputable
        return value

    def _operate(self, node: ops.Node) -> str:
        """Write an operation whose value comes from its operands' values alone."""
        operation, operands = type(node), list_operands(node)
        alike = operands[1:] if operation is ops.IfElse else operands
        kinds = {find_kind(operand) for operand in alike} - {Kind.NULL}
        is_mixed = len(kinds) > 1 and kinds not in ({Kind.WHOLE, Kind.FLOAT}, {Kind.WHOLE, Kind.DECIMAL})
        if is_mixed or not kinds <= _TAKES.get(operation, frozenset()):
            raise NotComputable
        if operation is ops.IfElse and find_kind(operands[0]) != Kind.FLAG:
            raise NotComputable
        floats = [isinstance(operand, ops.Literal) for operand in alike if find_kind(operand) == Kind.FLOAT]
        if operation is not ops.Divide and floats and all(floats):
            raise NotComputable  # SQL reads these literals as decimals
        names = [self.write(operand) for operand in operands[: len(operands) - len(alike)]]
        names += [self._convert(operand, kinds) for operand in alike]
        if operation in _FOLDED or operation in _WITH_NULLS:
            names = [name if name.isidentifier() else self._assign(name) for name in names]
        if operation in _FOLDED:
            return reduce(lambda first, other: self._assign(_FOLDED[operation].format(first, other)), names)
        if operation in _WITH_NULLS:
            return self._assign(_WITH_NULLS[operation](*names))
        name = self._unless_null(_OPERATORS[operation].format(*names), names)
        if operation in _GROW:
            inside = f"{-(2**63)} <= {name} < {2**63}" if find_kind(node) == Kind.WHOLE else f"-inf < {name} < inf"
            self.lines.append(f"if {name} is not None and not {inside}: raise NotComputable")
        return name

    def _convert(self, operand: ops.Node, kinds: set[Kind]) -> str:
        """Write an operand, a whole one as its fellows are held: as ten-thousandths, or a float."""
        name = self.write(operand)
        if len(kinds) > 1 and find_kind(operand) == Kind.WHOLE:
            return self._unless_null(f"{name} * {MONEY}" if Kind.DECIMAL in kinds else f"float({name})", [name])
        return name

    def _unless_null(self, value: str, operands: Sequence[str]) -> str:
        nulls = [f"{name} is None" for name in dict.fromkeys(operands) if name.isidentifier()]
        return self._assign(f"None if {' or '.join(nulls)} else {value}" if nulls else value)

    def _assign(self, value: str) -> str:
        name = f"v{len(self.lines)}"
        self.lines.append(f"{name} = {value}")
        return name


def _write_literal(node: ops.Literal) -> str:
    value = node.value
    if value is None or isinstance(value, str | bool):
        return repr(value)
    if isinstance(value, datetime) and value.tzinfo is None:
        return str(to_micros(value.replace(tzinfo=UTC)))
    if not isinstance(value, int | float):
        raise NotComputable
    # SQL reads 0.1 as a decimal, which equals the float only if it is short.
    is_long = isinstance(value, float) and sum(map(str.isdigit, repr(value))) > _DIGITS
    if is_long or not math.isfinite(value) or float(value) != value:
        raise NotComputable
    # A negative number is no operand of a power or an attribute here, but of a minus it may be.
    return f"({value!r})"


def _name_interval(added: ops.IntervalFromInteger) -> str:
    unit = str(added.unit.value)
    if unit not in _INTERVALS or find_kind(added.arg) != Kind.WHOLE:
        raise NotComputable
    return _INTERVALS[unit]


def _split_pattern(node: ops.RegexSearch) -> tuple[str, ...]:
    """Return the words of which a pattern finds one."""
    if not (isinstance(node.pattern, ops.Literal) and _PLAIN.fullmatch(str(node.pattern.value))):
        raise NotComputable
    return tuple(str(node.pattern.value).split("|"))


_INTERVALS = {"D": "add_days", "M": "add_months"}
_NUMBER = frozenset({Kind.WHOLE, Kind.FLOAT})
_AMOUNT = _NUMBER | {Kind.DECIMAL}
_ANY = _AMOUNT | {Kind.FLAG, Kind.TEXT}
# Operations whose result may be too large.
_GROW = frozenset({ops.Add, ops.Subtract, ops.Multiply, ops.Divide, ops.FloorDivide, ops.Floor})
# The kinds of operands that each operation may have.
_TAKES: dict[type, frozenset[Kind]] = {
    **dict.fromkeys((ops.Add, ops.Subtract, ops.Multiply, ops.Divide), _NUMBER),
    **dict.fromkeys((ops.FloorDivide, ops.Modulus), frozenset({Kind.WHOLE})),
    ops.Floor: frozenset({Kind.FLOAT}),
    **dict.fromkeys((ops.Negate, ops.Abs, ops.Greatest, ops.Least), _AMOUNT),
    **dict.fromkeys((ops.Greater, ops.GreaterEqual, ops.Less, ops.LessEqual), _AMOUNT),
    **dict.fromkeys((ops.Equals, ops.NotEquals, ops.InValues, ops.IsNull, ops.NotNull), _ANY),
    **dict.fromkeys((ops.Coalesce, ops.IfElse, ops.NullIf), _ANY),
    **dict.fromkeys((ops.And, ops.Or, ops.Not), frozenset({Kind.FLAG})),
}
# Operations that are null where an operand is.
_OPERATORS: dict[type, str] = {
    ops.Add: "{} + {}",
    ops.Subtract: "{} - {}",
    ops.Multiply: "{} * {}",
    ops.Divide: "divide({}, {})",
    ops.FloorDivide: "floor(divide({}, {}))",
    ops.Modulus: "find_remainder({}, {})",
    ops.Floor: "floor({})",
    ops.Negate: "-{}",
    ops.Abs: "abs({})",
    ops.Greater: "{} > {}",
    ops.GreaterEqual: "{} >= {}",
    ops.Less: "{} < {}",
    ops.LessEqual: "{} <= {}",
    ops.Equals: "{} == {}",
    ops.NotEquals: "{} != {}",
    ops.Not: "not {}",
}
# Operations of any number of operands, folded from the left; null is passed over.
_FOLDED: dict[type, str] = {
    ops.Coalesce: "{1} if {0} is None else {0}",
    ops.Greatest: "{0} if {1} is None or {0} is not None and {0} > {1} else {1}",
    ops.Least: "{0} if {1} is None or {0} is not None and {0} < {1} else {1}",
}
_WITH_NULLS: dict[type, Callable[..., str]] = {
    ops.IsNull: "{} is None".format,
    ops.NotNull: "{} is not None".format,
    ops.NullIf: "None if {0} == {1} else {0}".format,
    ops.IfElse: "{1} if {0} else {2}".format,
    ops.And: "False if {0} is False or {1} is False else None if {0} is None or {1} is None else True".format,
    ops.Or: "True if {0} is True or {1} is True else None if {0} is None or {1} is None else False".format,
    ops.InValues: lambda *names: f"is_among({', '.join(names)})",
}
