"""How many examples Hypothesis draws for a property test."""

from __future__ import annotations

from typing import Any

from hypothesis import settings

NIGHTLY_FACTOR = 20


def examples(count: int, **rest: Any) -> settings:
    """Return settings of so many examples, the same each time; nightly of twenty times as many, new each time."""
    if settings.get_current_profile_name() == "nightly":
        count *= NIGHTLY_FACTOR
    return settings(max_examples=count, **rest)
