"""The product features that the TOML names for shares of use, held against the rows of usage."""

from __future__ import annotations

from collections.abc import Iterator

from features.settings import Settings
from features.sources.history import History

_SHOWN = 12


def list_product_feature_remarks(history: History, settings: Settings) -> Iterator[str]:
    """Yield a sentence if a product feature is named that no row of usage has."""
    named = settings.catalog.shares_of_use
    if not named:
        return
    counts = history.query(
        "SELECT feature, count(*) AS n FROM usage WHERE feature IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
    )
    known = counts["feature"].tolist()
    unknown = [name for name in named if name not in set(known)]
    if unknown:
        common = ", ".join(map(repr, known[:_SHOWN])) or "none: usage.feature is empty"
        absent = ", ".join(map(repr, unknown))
        yield f"usage: no row is of {absent}, which catalog.shares_of_use names; the commonest are {common}"
