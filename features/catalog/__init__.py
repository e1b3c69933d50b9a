"""The feature catalog: every feature, by column name. To add one, define it in its source's file here.

A company's own features come beside these, from the Python files that its TOML names: see `features.catalog.custom`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType

from features.catalog import (
    account,
    backlog,
    custom,
    peers,
    profitability,
    purchases,
    rhythm,
    service,
    spend_trends,
    terms,
    tickets,
    touches,
    usage,
    usage_trends,
)
from features.catalog.custom import File
from features.core.code_fingerprint import fingerprint_packages
from features.definitions.feature import Feature
from features.settings import Settings

FILES = (
    account,
    usage,
    usage_trends,
    tickets,
    backlog,
    service,
    purchases,
    rhythm,
    spend_trends,
    terms,
    profitability,
    touches,
    peers,
)
FEATURES: Mapping[str, Feature] = MappingProxyType({f.name: f for file in FILES for f in file.FEATURES})


@dataclass(frozen=True, eq=False)
class Catalog:
    """What features there are: of a company, or of any without features of its own.

    Args:
        features: By column name, the built-in ones first.
        files: What the company's own were read from.
    """

    features: Mapping[str, Feature]
    files: tuple[File, ...] = ()

    @staticmethod
    def for_company(settings: Settings, files: tuple[File, ...] | None = None) -> Catalog:
        """The company's: read again where one of its files has another text.

        This runs the company's own code.

        Args:
            settings: The company's.
            files: Its own features, where they have been read already.

        Raises:
            FeatureError: A file that the settings name can't be read or run, or a feature in it can't be used.
        """
        if files is None:
            files = tuple(custom.text(settings.folder / name) for name in settings.catalog.features)
        return _with(files, account.attributes(settings)) if files else BUILT_IN

    def select_account_features(self, sources: Iterable[str]) -> tuple[Feature, ...]:
        """The features of single accounts whose sources are all there, in catalog order: what models learn from."""
        return tuple(f for f in self._there(sources) if f.scope is None)

    def select_peer_features(self, sources: Iterable[str]) -> tuple[Feature, ...]:
        """Those that need other accounts' rows as well."""
        return tuple(f for f in self._there(sources) if f.scope)

    def _there(self, sources: Iterable[str]) -> Iterator[Feature]:
        there = set(sources)
        return (f for f in self.features.values() if there.issuperset(f.sources))

    def find_feature(self, name: str) -> Feature:
        """The feature behind a snapshot's column; a mapped attribute of accounts where the catalog has none."""
        return self.features.get(name) or account.attribute(name)

    @property
    def custom_features(self) -> tuple[Feature, ...]:
        """Those that are the company's own."""
        return tuple(f for name, f in self.features.items() if FEATURES.get(name) is not f)

    @cached_property
    def version(self) -> str:
        """Return a fingerprint of all that defines the features: 12 hexadecimal digits."""
        texts = [fingerprint_packages("features.catalog", "features.definitions"), *(f.text for f in self.files)]
        return hashlib.sha256("".join(texts).encode()).hexdigest()[:12]


BUILT_IN = Catalog(FEATURES)


@lru_cache(maxsize=8)
def _with(files: tuple[File, ...], attributes: tuple[tuple[str, str], ...]) -> Catalog:
    features = dict(FEATURES)
    for file in files:
        features |= custom.read(file, features, dict(attributes))
    return Catalog(MappingProxyType(features), files)
