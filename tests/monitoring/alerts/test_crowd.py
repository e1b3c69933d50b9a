"""Two alerters and three deliverers on PostgreSQL at once, all killed again and again: `make bench-delivery`, small."""

import os

import pytest

from tests.support.delivery_crowd import raise_on_postgres


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process of its own for each is made by fork")
def test_two_alerters_and_three_deliverers_lose_nothing_and_tell_nothing_twice_without_doubt(tmp_path):
    results = raise_on_postgres(tmp_path, 100, days=2, longest=8.0)
    assert (results["messages"], results["runs"]) == (100, 2)
    assert {key: results[key] for key in ("lost", "illegal", "shown_twice_without_doubt")} == {
        "lost": 0,
        "illegal": 0,
        "shown_twice_without_doubt": 0,
    }
    assert results["alerters_started"] >= 2
    assert results["arrived"] == 100
