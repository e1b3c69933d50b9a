"""How many examples Hypothesis draws for a property test."""

from __future__ import annotations

from typing import Any

from hypothesis import settings

NIGHTLY_FACTOR = 20


def is_nightly() -> bool:
    """Return whether the tests run as `make test-nightly` runs them."""
    return settings.get_current_profile_name() == "nightly"


def examples(count: int, **rest: Any) -> settings:
    """Return settings of so many examples, the same each time; nightly of twenty times as many, new each time."""
    return settings(max_examples=count * NIGHTLY_FACTOR if is_nightly() else count, **rest)
