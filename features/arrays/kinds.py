"""The kinds of values that arrays hold exactly, and the exception for all others.

All values are float64, null is NaN. Whole numbers are exact below 2**53, and so are decimals, held as whole
ten-thousandths. A flag is 1 or 0, an instant whole microseconds, and a text its code (see `TextCodes`).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from itertools import count
from typing import Any

import ibis.expr.operations as ops
import numpy as np

MONEY = 10_000  # decimals have four places
_MOST = 2.0**53  # below it float64 holds every whole number


class NotVectorizable(Exception):  # noqa: N818  # no error: the database computes it instead
    """Arrays may give another value than the database."""


class Kind(StrEnum):
    """What the float64 values of an expression stand for."""

    WHOLE = "whole"
    DECIMAL = "decimal"
    FLOAT = "float"
    FLAG = "flag"
    TEXT = "text"
    NULL = "null"
    OTHER = "other"  # arrays don't hold it


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


def check_exact(values: Any) -> Any:
    """Return the same whole numbers.

    Raises:
        NotVectorizable: One of them is 2**53 or more, and float64 may not hold it.
    """
    if np.fmax.reduce(np.abs(values), axis=None, initial=0.0) >= _MOST:
        raise NotVectorizable
    return values


class TextCodes:
    """A number for each different text; equal texts have equal numbers, their order means nothing."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._texts: dict[int, str] = {}
        self._next = count()

    def encode(self, text: str) -> int:
        """Return the text's number; several threads get the same one."""
        code = self._codes.setdefault(text, next(self._next))
        self._texts[code] = text
        return code

    def apply(self, codes: Any, function: Callable[[str], float]) -> np.ndarray:
        """Return a function's value of each text, float64, NaN where the code is; each different text is asked once."""
        codes = np.asarray(codes)
        is_present = ~np.isnan(codes)
        different, places = np.unique(codes[is_present], return_inverse=True)
        values = np.full(codes.shape, np.nan)
        values[is_present] = np.array([function(self._texts[int(c)]) for c in different], dtype="float64")[places]
        return values
