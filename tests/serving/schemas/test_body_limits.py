"""Bodies that are small and hold too much are refused before anything is made of them."""

import json
import tracemalloc

import pytest

from serving.schemas.body_limits import check_body
from serving.schemas.errors import ApiError

ROW = {"account_id": "A", "used_at": "2024-01-01", "event_id": "1", "feature": 'a "{[,]}" \\'}


@pytest.mark.parametrize("rows", [0, 1, 1_000])
def test_rows_within_the_limit_pass_whatever_their_texts_hold(rows):
    check_body(json.dumps({"usage": [ROW] * rows, "note": "{[," * 100_000}).encode(), rows=1_000)


@pytest.mark.parametrize(
    "body",
    [
        b'{"usage": [' + b"{}," * 600_000 + b"{}]}",
        b'{"usage": [' + b"1," * 4_000_000 + b"1]}",
        b'{"usage": [' + b"[]," * 2_000_000 + b"[]]}",
        b"[" * 8_000_000,
        b"{" * 8_000_000,
        b'{"usage": [{' + b",".join(b'"k%d":1' % n for n in range(700_000)) + b"}]}",
        b'{"a": "' + b"\\" * 1_000_000 + b'"' + b"{" * 1_000_000,
    ],
    ids=["objects", "numbers", "lists", "open lists", "open objects", "keys", "escapes"],
)
def test_a_body_that_holds_too_much_is_refused_and_takes_no_memory(body):
    tracemalloc.start()
    try:
        with pytest.raises(ApiError, match="may have 1,000 rows"):
            check_body(body, rows=1_000)
        assert tracemalloc.get_traced_memory()[1] <= 2**20
    finally:
        tracemalloc.stop()


def test_a_string_that_never_ends_is_gone_through_once():
    # Each quote could begin a string of its own: gone through anew from each, this would take hours.
    check_body(b'{"a": "' + b'\\"' * 2_000_000 + b"{" * 5_000 + b"\\", rows=1_000)
