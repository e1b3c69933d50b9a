"""Rank a score's drivers, and say them in the reader's language."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from features.catalog import Catalog
from features.core.language import ENGLISH, Language
from features.definitions import plays
from monitoring.letters.account_risk import AccountRisk


def rank_drivers(drivers: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the drivers that raise the score, the strongest first."""
    return sorted((d for d in drivers if d["contribution"] > 0), key=lambda d: -float(d["contribution"]))


def get_cause(driver: Mapping[str, Any]) -> str | None:
    """Return what a driver's play works against; None for context."""
    play = plays.PLAYS.get(str(driver["play"]))
    return play.cause if play else None


def translate_drivers(risk: AccountRisk, catalog: Catalog, language: Language) -> AccountRisk:
    """Return the facts with drivers in a language."""
    earlier = risk.earlier and replace(risk.earlier, drivers=say_drivers(risk.earlier.drivers, catalog, language))
    return replace(risk, drivers=say_drivers(risk.drivers, catalog, language), earlier=earlier)


def say_drivers(drivers: Sequence[Mapping[str, Any]], catalog: Catalog, language: Language) -> list[Mapping[str, Any]]:
    """Return drivers whose `text` is in a language, and their `bare` the same without what is typical."""
    return [
        {
            **driver,
            "text": describe_driver(driver, catalog, language),
            "bare": describe_driver(driver, catalog, language, is_bare=True),
        }
        for driver in drivers
    ]


def describe_driver(driver: Mapping[str, Any], catalog: Catalog, language: Language, *, is_bare: bool = False) -> str:
    """Return a driver in words of a language; in English, as it is stored, where it cannot be said anew.

    A feature that is gone, or means something else by now, does not give the stored text from the stored value.

    Args:
        driver: As the score stored it; one of an earlier version has no `value`.
        catalog: Of the company's features.
        language: Of the reader.
        is_bare: Leave out what is typical.
    """
    text = str(driver["text"])
    if language == ENGLISH or "value" not in driver:
        return get_bare_text(driver) if is_bare else text
    feature = catalog.find_feature(driver["feature"])
    value = math.nan if driver["value"] is None else driver["value"]
    try:
        is_same = feature.describe(value, driver["typical"]) == text
    except (TypeError, ValueError):  # a feature of numbers where the stored one was of texts
        is_same = False
    if not is_same:
        return get_bare_text(driver) if is_bare else text
    return feature.describe(value, None if is_bare else driver["typical"], language)


def get_bare_text(driver: Mapping[str, Any]) -> str:
    """Return a driver's text without what is typical."""
    return str(driver.get("bare") or str(driver["text"]).partition(" (typical: ")[0])
