"""Counts what a request's body holds before anything is made of it: a small body may hold a million faults."""

from __future__ import annotations

import re
from collections import Counter
from http import HTTPStatus
from itertools import islice

from serving.schemas.errors import ApiError

# A string with its escapes; one that never ends goes on to the end of the body. The quantifiers never give back what
# they took, so that no body takes longer than its length allows.
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\(?s:.)?[^"\\]*+)*+(?:"|\Z)')
_SIGNS = (b"{", b"[", b",")
_VALUES_A_ROW = 20  # no table has so many columns
_FEW_VALUES = 1_000  # beside rows: ids of accounts, unknown keys
_LISTS = 400  # of one hundred accounts, three each


def check_body(body: bytes, *, rows: int) -> None:
    """Check that a body has no more rows, lists and values than a request may have.

    Args:
        body: JSON, or what claims to be.
        rows: The most that a request may have; a posted account has an object of its own beside them.

    Raises:
        ApiError: It has more (422, too_many_rows).
    """
    # What stands in strings counts here: enough for nearly every request, and the fastest.
    whole = Counter({sign: body.count(sign) for sign in _SIGNS})
    if _is_small(whole, rows) or _is_small(whole - _count_in_strings(body, most=2 * _count_values(rows)), rows):
        return
    raise ApiError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "too_many_rows",
        f"a request may have {rows:,} rows of at most {_VALUES_A_ROW} values: send fewer at a time",
    )


def _is_small(signs: Counter[bytes], rows: int) -> bool:
    objects = signs[b"{"]
    return objects <= rows + _LISTS and signs[b"["] <= _LISTS and signs[b","] <= _count_values(min(objects, rows))


def _count_values(rows: int) -> int:
    return rows * _VALUES_A_ROW + _FEW_VALUES


def _count_in_strings(body: bytes, *, most: int) -> Counter[bytes]:
    """Count the signs that stand in the first strings: in so many as a request may have, a key and a text a value."""
    inside: Counter[bytes] = Counter()
    for string in islice(_STRINGS.finditer(body), most):
        for sign in _SIGNS:
            inside[sign] += body.count(sign, string.start(), string.end())
    return inside
