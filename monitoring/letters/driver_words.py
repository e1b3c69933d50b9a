"""Say the drivers of a stored score in the reader's language."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from features.catalog import Catalog
from features.core.language import ENGLISH, Language


def describe_driver(driver: Mapping[str, Any], catalog: Catalog, language: Language) -> str:
    """Return a driver in words of a language; in English, as it is stored, where it cannot be said anew.

    A feature that is gone, or means something else by now, does not give the stored text from the stored value.

    Args:
        driver: As the score stored it; one of an earlier version has no `value`.
        catalog: Of the company's features.
        language: Of the reader.
    """
    text = str(driver["text"])
    if language == ENGLISH or "value" not in driver:
        return text
    feature = catalog.find_feature(driver["feature"])
    value = math.nan if driver["value"] is None else driver["value"]
    try:
        is_same = feature.describe(value, driver["typical"]) == text
    except (TypeError, ValueError):  # a feature of numbers where the stored one was of texts
        return text
    return feature.describe(value, driver["typical"], language) if is_same else text
