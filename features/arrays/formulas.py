"""Formulas worked out on arrays: the same Ibis expressions that other engines turn into SQL, without a database.

Null is NaN. A condition is 1, 0 or NaN, so that it knows null as SQL does.
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
    """Several formulas over the same columns; what they have in common is worked out once.

    Args:
        formulas: By name, expressions over the fields of one unbound table.

    Raises:
        GarrisonError: A formula uses an operation that isn't known here.
    """

    def __init__(self, formulas: Mapping[str, ir.Value]) -> None:
        self._steps: list[Step | str] = []
        places: dict[ops.Node | str, int] = {}
        self._results = {name: self._place(value.op(), places, name) for name, value in formulas.items()}
        self._last_uses = self._uses()

    def run(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The formulas' values, float64.

        Args:
            columns: By field; float64 of shapes that broadcast together.
        """
        held: list[Any] = []
        with np.errstate(all="ignore"):  # what divides by nothing is null already
            for place, step in enumerate(self._steps):
                if isinstance(step, str):
                    held.append(columns[step])
                    continue
                work, places = step
                held.append(work(*[held[p] for p in places]))
                for used in self._last_uses[place]:
                    held[used] = None
        return {name: held[place] for name, place in self._results.items()}

    def _place(self, node: ops.Node | str, places: dict[ops.Node | str, int], name: str) -> int:
        """Where a node's value will be; its own parts come before it."""
        if node not in places:
            work, of = self._work(node, name)
            step = work if isinstance(work, str) else (work, tuple(self._place(part, places, name) for part in of))
            self._steps.append(step)
            places[node] = len(self._steps) - 1
        return places[node]

    def _work(self, node: ops.Node | str, name: str) -> tuple[Kernel | str, Sequence[ops.Node | str]]:
        """What works a node out and what of; or the column that it is."""
        if isinstance(node, str):
            return node, ()
        if isinstance(node, ops.Field):
            return str(node.name), ()
        if isinstance(node, ops.Literal):
            value = np.float64(np.nan if node.value is None else node.value)
            return lambda: value, ()
        return _work(node, name), list_operands(node)

    def _uses(self) -> list[list[int]]:
        """By step, what no later one needs."""
        last = {p: place for place, step in enumerate(self._steps) if not isinstance(step, str) for p in step[1]}
        uses: list[list[int]] = [[] for _ in self._steps]
        results = set(self._results.values())
        for p, place in last.items():
            if p not in results:
                uses[place].append(p)
        return uses


def list_operands(node: ops.Node) -> list[ops.Node]:
    """What a node is made of."""
    found: list[Any] = []
    for arg in node.args:
        found += arg if isinstance(arg, tuple) else [arg]
    return [p for p in found if isinstance(p, ops.Node)]


def _work(node: ops.Node, name: str) -> Kernel:
    if isinstance(node, ops.Cast) and (node.to.is_floating() or node.to.is_boolean()):
        return lambda x: x
    if isinstance(node, ops.Clip):
        bounds = [node.lower is not None, node.upper is not None]
        return lambda x, *rest: _clipped(x, rest, bounds)
    work = KERNELS.get(type(node))
    if work is None:
        raise GarrisonError(
            f"the formula of {name} can't be worked out on arrays",
            found=f"the operation {type(node).__name__}",
            hint=f"Make it of these: {', '.join(sorted(known.__name__ for known in KERNELS))}",
        )
    return work


def _clipped(x: Any, rest: Sequence[Any], bounds: Sequence[bool]) -> Any:
    left = iter(rest)
    lower, upper = (next(left) if there else None for there in bounds)
    return np.clip(x, lower, upper)


def _compared(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda x, y: np.where(np.isnan(x) | np.isnan(y), np.nan, compare(x, y))


def _coalesced(first: Any, *others: Any) -> Any:
    for other in others:
        first = np.where(np.isnan(first), other, first)
    return first


def _furthest(choose: Any) -> Callable[..., Any]:
    def of(first: Any, *others: Any) -> Any:
        for other in others:
            first = choose(first, other)  # fmax and fmin pass over null, as SQL does
        return first

    return of


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
    ops.Coalesce: _coalesced,
    ops.IfElse: lambda condition, x, y: np.where(condition == 1, x, y),
    ops.Greatest: _furthest(np.fmax),
    ops.Least: _furthest(np.fmin),
    ops.Greater: _compared(np.greater),
    ops.GreaterEqual: _compared(np.greater_equal),
    ops.Less: _compared(np.less),
    ops.LessEqual: _compared(np.less_equal),
    ops.Equals: _compared(np.equal),
    ops.NotEquals: _compared(np.not_equal),
    ops.IsNull: lambda x: np.isnan(x) * 1.0,
    ops.NotNull: lambda x: ~np.isnan(x) * 1.0,
    ops.And: _and,
    ops.Or: _or,
    ops.Not: lambda x: 1.0 - x,
}
