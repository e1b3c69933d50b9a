"""The kinds of values that Python computes exactly as the database, and the exception for all others.

Null is None. Whole numbers and instants (µs) are ints, decimals are held as whole ten-thousandths, flags as bools.
"""

from __future__ import annotations

from enum import StrEnum

import ibis.expr.operations as ops

MONEY = 10_000  # decimals have four places


class NotComputable(Exception):  # noqa: N818  # no error: the database computes it instead
    """Python may give another value than the database."""


class Kind(StrEnum):
    """What the values of an expression stand for."""

    WHOLE = "whole"
    DECIMAL = "decimal"
    FLOAT = "float"
    FLAG = "flag"
    TEXT = "text"
    NULL = "null"
    OTHER = "other"  # Python does not compute it


def find_kind(node: ops.Node) -> Kind:
    """Return the kind of an expression's values."""
    dtype = getattr(node, "dtype", None)
    if isinstance(node, ops.Literal) and node.value is None:
        return Kind.NULL
    if dtype is None:
        return Kind.OTHER
    tests = {
        Kind.WHOLE: dtype.is_integer(),
        Kind.DECIMAL: dtype.is_decimal() and dtype.scale == 4,
        Kind.FLOAT: dtype.is_float64(),
        Kind.FLAG: dtype.is_boolean(),
        Kind.TEXT: dtype.is_string(),
    }
    return next((kind for kind, is_kind in tests.items() if is_kind), Kind.OTHER)
