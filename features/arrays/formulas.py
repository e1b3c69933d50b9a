"""Formulas computed on arrays: the same Ibis expressions that other engines turn into SQL, without a database.

Null is NaN. A condition is 1, 0 or NaN, so that it has SQL's three values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ibis.expr.operations as ops
import ibis.expr.types as ir
import numpy as np

from features.core.errors import GarrisonError

Kernel = Callable[..., Any]
Step = tuple[Kernel, tuple[int, ...]]


class Program:
    """Several formulas over the same columns, compiled to steps; what they have in common is computed once.

    Args:
        formulas: By name, expressions over the fields of one unbound table.

    Raises:
        GarrisonError: A formula uses an operation that has no kernel.
    """

    def __init__(self, formulas: Mapping[str, ir.Value]) -> None:
        self._steps: list[Step | str] = []
        places: dict[ops.Node | str, int] = {}
        self._results = {name: self._place(value.op(), places, name) for name, value in formulas.items()}
        self._last_uses = self._find_last_uses()

    def run(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the formulas' values, float64.

        Args:
            columns: By field; float64 of shapes that broadcast together.
        """
        values: list[Any] = []
        with np.errstate(all="ignore"):  # formulas turn a divisor of 0 into null themselves
            for place, step in enumerate(self._steps):
                if isinstance(step, str):
                    values.append(columns[step])
                    continue
                kernel, operands = step
                values.append(kernel(*[values[p] for p in operands]))
                for used in self._last_uses[place]:
                    values[used] = None
        return {name: values[place] for name, place in self._results.items()}

    def _place(self, node: ops.Node | str, places: dict[ops.Node | str, int], name: str) -> int:
        """Return the place of a node's step; the steps of its operands come before it."""
        if node not in places:
            kernel, operands = self._find_kernel(node, name)
            parts = tuple(self._place(operand, places, name) for operand in operands)
            step: Step | str = kernel if isinstance(kernel, str) else (kernel, parts)
            self._steps.append(step)
            places[node] = len(self._steps) - 1
        return places[node]

    def _find_kernel(self, node: ops.Node | str, name: str) -> tuple[Kernel | str, Sequence[ops.Node | str]]:
        """Return a node's kernel and its operands; or the name of the column that it is."""
        if isinstance(node, str):
            return node, ()
        if isinstance(node, ops.Field):
            return str(node.name), ()
        if isinstance(node, ops.Literal):
            value = np.float64(np.nan if node.value is None else node.value)
            return lambda: value, ()
        return _find_kernel(node, name), list_operands(node)

    def _find_last_uses(self) -> list[list[int]]:
        """Return for each step the places that no later step needs: their memory is given back."""
        last = {p: place for place, step in enumerate(self._steps) if not isinstance(step, str) for p in step[1]}
        uses: list[list[int]] = [[] for _ in self._steps]
        results = set(self._results.values())
        for p, place in last.items():
            if p not in results:
                uses[place].append(p)
        return uses


def list_operands(node: ops.Node) -> list[ops.Node]:
    """Return the nodes that a node is computed from."""
    arguments: list[Any] = []
    for arg in node.args:
        arguments += arg if isinstance(arg, tuple) else [arg]
    return [a for a in arguments if isinstance(a, ops.Node)]


def is_passed_on(node: ops.Node) -> bool:
    """Return whether a node's value is its operand's: numbers and conditions are floats already."""
    return isinstance(node, ops.Cast) and bool(node.to.is_floating() or node.to.is_boolean())


def refuse_operation(node: ops.Node, name: str) -> GarrisonError:
    """Return the error that a feature's formula uses an operation without a kernel."""
    return GarrisonError(
        f"the formula of {name} can't be computed on arrays",
        found=f"the operation {type(node).__name__}",
        hint=f"Make it of these: {', '.join(sorted(known.__name__ for known in KERNELS))}",
    )


def _find_kernel(node: ops.Node, name: str) -> Kernel:
    if is_passed_on(node):
        return lambda x: x
    if isinstance(node, ops.Clip):
        bounds = [node.lower is not None, node.upper is not None]
        return lambda x, *rest: _clip(x, rest, bounds)
    kernel = KERNELS.get(type(node))
    if kernel is None:
        raise refuse_operation(node, name)
    return kernel


def _clip(x: Any, rest: Sequence[Any], bounds: Sequence[bool]) -> Any:
    left = iter(rest)
    lower, upper = (next(left) if is_given else None for is_given in bounds)
    return np.clip(x, lower, upper)


def _null_aware(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda x, y: np.where(np.isnan(x) | np.isnan(y), np.nan, compare(x, y))


def _coalesce(first: Any, *others: Any) -> Any:
    for other in others:
        first = np.where(np.isnan(first), other, first)
    return first


def _reduce(choose: Any) -> Callable[..., Any]:
    def reduce(first: Any, *others: Any) -> Any:
        for other in others:
            first = choose(first, other)  # fmax and fmin pass over null, as SQL does
        return first

    return reduce


def _and(x: Any, y: Any) -> Any:
    return np.where((x == 0) | (y == 0), 0.0, x * y)


def _or(x: Any, y: Any) -> Any:
    return np.where((x == 1) | (y == 1), 1.0, x + y)


KERNELS: dict[type, Callable[..., Any]] = {
    ops.Add: np.add,
    ops.Subtract: np.subtract,
    ops.Multiply: np.multiply,
    ops.Divide: np.divide,
    ops.Negate: np.negative,
    ops.Abs: np.abs,
    ops.Sqrt: np.sqrt,
    ops.NullIf: lambda x, y: np.where(x == y, np.nan, x),
    ops.Coalesce: _coalesce,
    ops.IfElse: lambda condition, x, y: np.where(condition == 1, x, y),
    ops.Greatest: _reduce(np.fmax),
    ops.Least: _reduce(np.fmin),
    ops.Greater: _null_aware(np.greater),
    ops.GreaterEqual: _null_aware(np.greater_equal),
    ops.Less: _null_aware(np.less),
    ops.LessEqual: _null_aware(np.less_equal),
    ops.Equals: _null_aware(np.equal),
    ops.NotEquals: _null_aware(np.not_equal),
    ops.IsNull: lambda x: np.isnan(x) * 1.0,
    ops.NotNull: lambda x: ~np.isnan(x) * 1.0,
    ops.And: _and,
    ops.Or: _or,
    ops.Not: lambda x: 1.0 - x,
}
