"""A small catalog, for tests of an engine's ways rather than of features: Spark plans all of them for minutes."""

from __future__ import annotations

from features.catalog import FEATURES, Catalog

STEP = 9


def build_small_catalog(*names: str) -> Catalog:
    """Return a catalog of some 20 features, from every source, of those named, and of what they are compared on."""
    kept = {name for place, name in enumerate(FEATURES) if place % STEP == 0} | set(names)
    kept |= {feature.base for name, feature in FEATURES.items() if name in kept and feature.base}
    return Catalog({name: feature for name, feature in FEATURES.items() if name in kept})
