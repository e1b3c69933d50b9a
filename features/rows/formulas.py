"""Formulas of one account compiled to one plain Python function: the same expressions that batch runs on arrays.

Null is NaN. A condition is 1, 0 or NaN, so that it has SQL's three values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import ibis.expr.operations as ops
import ibis.expr.types as ir

from features.arrays.formulas import KERNELS, is_passed_on, list_operands, refuse_operation

Formulas = Callable[[Sequence[float]], list[float]]


def compile_formulas(formulas: Mapping[str, ir.Value], columns: Sequence[str]) -> Formulas:
    """Compile formulas to a function from the values of columns to the formulas' values.

    Args:
        formulas: By name, expressions over the fields of one unbound table.
        columns: The fields, in the order of the function's argument.

    Raises:
        GarrisonError: A formula uses an operation that has no kernel.
    """
    writer = _Writer({column: place for place, column in enumerate(columns)})
    names = [writer.write(formula.op(), name) for name, formula in formulas.items()]
    lines = ["def compute(x):", *(f"    {line}" for line in writer.lines), f"    return [{', '.join(names)}]"]
    made: dict[str, Any] = dict(_FUNCTIONS)
    exec("\n".join(lines), made)  # noqa: S102  # our own text, where names are places and literals are numbers
    compiled: Formulas = made["compute"]
    return compiled


class _Writer:
    """Writes the statements of formulas; what they have in common is computed once.

    Args:
        places: Of the columns.
    """

    def __init__(self, places: Mapping[str, int]) -> None:
        self._places = places
        self.lines: list[str] = []
        self._names: dict[ops.Node, str] = {}

    def write(self, node: ops.Node, name: str) -> str:
        """Write the statements of an expression of a formula; return the name of its value."""
        if node not in self._names:
            self._names[node] = self._write(node, name)
        return self._names[node]

    def _write(self, node: ops.Node, name: str) -> str:
        if isinstance(node, ops.Literal):
            return repr(float("nan" if node.value is None else node.value))
        if isinstance(node, ops.Field):
            return self._assign(f"x[{self._places[str(node.name)]}]")
        operands = [self.write(operand, name) for operand in list_operands(node)]
        if is_passed_on(node):
            return operands[0]
        if isinstance(node, ops.Clip):
            value, bounds = operands[0], iter(operands[1:])
            for bound, template in ((node.lower, _AT_LEAST), (node.upper, _AT_MOST)):
                value = value if bound is None else self._assign(template.format(value, next(bounds)))
            return value
        if type(node) not in KERNELS:
            raise refuse_operation(node, name)
        if type(node) in _FOLDED:
            return reduce(lambda first, other: self._assign(_FOLDED[type(node)].format(first, other)), operands)
        return self._assign(_TEMPLATES[type(node)].format(*operands))

    def _assign(self, value: str) -> str:
        name = f"v{len(self.lines)}"
        self.lines.append(f"{name} = {value}")
        return name


def _divide_by_0(x: float, y: float) -> float:
    """Return what arrays give for a quotient by 0 or -0."""
    return math.nan if x == 0 or math.isnan(x) else math.copysign(math.inf, x) * math.copysign(1.0, y)


def _compare(operator: str) -> str:
    return f"nan if {{0}} != {{0}} or {{1}} != {{1}} else 1.0 if {{0}} {operator} {{1}} else 0.0"


_FUNCTIONS = {"nan": math.nan, "inf": math.inf, "sqrt": math.sqrt, "divide_by_0": _divide_by_0}
# NaN stays NaN.
_AT_LEAST, _AT_MOST = "{0} if {0} >= {1} or {0} != {0} else {1}", "{0} if {0} <= {1} or {0} != {0} else {1}"
# Operations of any number of operands, folded from the left; NaN is passed over.
_FOLDED: dict[type, str] = {
    ops.Coalesce: "{0} if {0} == {0} else {1}",
    ops.Greatest: "{0} if {0} >= {1} or {1} != {1} else {1}",
    ops.Least: "{0} if {0} <= {1} or {1} != {1} else {1}",
}
_TEMPLATES: dict[type, str] = {
    ops.Add: "{0} + {1}",
    ops.Subtract: "{0} - {1}",
    ops.Multiply: "{0} * {1}",
    ops.Divide: "{0} / {1} if {1} else divide_by_0({0}, {1})",
    ops.Negate: "-{0}",
    ops.Abs: "abs({0})",
    ops.Sqrt: "sqrt({0}) if {0} >= 0.0 else nan",
    ops.NullIf: "nan if {0} == {1} else {0}",
    ops.IfElse: "{1} if {0} == 1.0 else {2}",
    ops.Greater: _compare(">"),
    ops.GreaterEqual: _compare(">="),
    ops.Less: _compare("<"),
    ops.LessEqual: _compare("<="),
    ops.Equals: _compare("=="),
    ops.NotEquals: _compare("!="),
    ops.IsNull: "1.0 if {0} != {0} else 0.0",
    ops.NotNull: "0.0 if {0} != {0} else 1.0",
    ops.And: "0.0 if {0} == 0.0 or {1} == 0.0 else {0} * {1}",
    ops.Or: "1.0 if {0} == 1.0 or {1} == 1.0 else {0} + {1}",
    ops.Not: "1.0 - {0}",
}
