"""Define the shares of use by product feature, for the product features that the company's TOML names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from features.core.language import Phrase
from features.definitions.feature import Feature, FeatureContext, feature, ratio
from features.definitions.streams import USAGE

FAMILY = "use by product feature"
FEWEST_ACCOUNTS = 1_000  # to learn from, below which so many columns are more noise than signal
_WINDOWS = (14, 30)
_ROWS = USAGE.count()


@lru_cache(maxsize=8)
def create_features(product_features: tuple[str, ...]) -> Mapping[str, Feature]:
    """Create the features of these product features, values of `usage.feature`, by column name."""
    columns = _name_columns(product_features)
    return MappingProxyType({f.name: f for value in product_features for f in _create_shares(value, columns[value])})


def _create_shares(value: str, column: str) -> tuple[Feature, ...]:
    rows = USAGE.count(lambda row: row.feature == value, name=f"usage_of_{column}")

    def share(at: FeatureContext, w: int) -> Any:
        return ratio(at(rows, w), at(_ROWS, w))

    share.__name__ = f"share_of_{column}"
    # Braces in the company's word would be read as names of values.
    named = value.replace("{", "(").replace("}", ")")
    share.__doc__ = f"Share of the usage rows of the last {{w}} days that are of {named}."

    def say(number: float, w: int) -> Phrase:
        return Phrase("{value:.0%} of the use in {w} days was of {name}", {"value": number, "w": w, "name": value})

    defined = feature(windows=_WINDOWS, unit="share of rows", family=FAMILY, says=say, missing="no usage in the window")
    # Beside what is typical: by itself such a share says neither high nor low.
    return tuple(replace(one, number=_format_share) for one in defined(share))


def _format_share(number: float) -> str:
    return f"{number:.0%}"


def _name_columns(values: Sequence[str]) -> dict[str, str]:
    """Return a name for each value that a column may have; values that differ have names that differ."""
    plain = {value: re.sub(r"[^a-z0-9]+", "_", value.lower()).strip("_") for value in values}
    names = list(plain.values())
    return {
        value: name if name and names.count(name) == 1 else f"{name}_{_digest(value)}".lstrip("_")
        for value, name in plain.items()
    }


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:6]
