"""A small catalog, for tests of an engine's ways rather than of features: Spark plans all of them for minutes."""

from __future__ import annotations

from dataclasses import replace

from features.catalog import FEATURES, Catalog

STEP = 9


def build_small_catalog(*names: str) -> Catalog:
    """Return a catalog of some 20 features, from every source, of those named, and of what they are compared on."""
    kept = {name for place, name in enumerate(FEATURES) if place % STEP == 0} | set(names)
    kept |= {feature.base for name, feature in FEATURES.items() if name in kept and feature.base}
    return Catalog({name: feature for name, feature in FEATURES.items() if name in kept})


def shrink_catalog(catalog: Catalog) -> Catalog:
    """Return a company's catalog with all features of its own, and some 20 of the built-in ones."""
    own = {name: feature for name, feature in catalog.features.items() if FEATURES.get(name) is not feature}
    return replace(catalog, features={**build_small_catalog().features, **own})
