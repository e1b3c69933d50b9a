"""Collect every feature by column name. To add one, define it in its subject's file in this folder.

`features.catalog.custom` adds a company's own features from the Python files that its TOML names.
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
    own_windows,
    peers,
    profitability,
    purchases,
    relations,
    rhythm,
    service,
    spend_trends,
    terms,
    tickets,
    touches,
    usage,
    usage_mix,
    usage_trends,
)
from features.catalog.custom import FeatureFile
from features.core.code_fingerprint import fingerprint_packages
from features.core.contract import EVENTS
from features.core.errors import SettingsError
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
    relations,
    own_windows,
    peers,
)
FEATURES: Mapping[str, Feature] = MappingProxyType({f.name: f for file in FILES for f in file.FEATURES})


@dataclass(frozen=True, eq=False)
class Catalog:
    """The features of a company; `BUILT_IN` where it has none of its own.

    Args:
        features: By column name, the built-in ones first.
        files: The files that define the company's own.
        shares: The product features whose shares of use are features.
    """

    features: Mapping[str, Feature]
    files: tuple[FeatureFile, ...] = ()
    shares: tuple[str, ...] = ()

    @staticmethod
    def for_company(settings: Settings, files: tuple[FeatureFile, ...] | None = None) -> Catalog:
        """Return a company's catalog. Its own files are run, unless the same texts were run before.

        Args:
            settings: The company's.
            files: Its own files, if they have been read already.

        Raises:
            FeatureError: A file that the settings name can't be read or run, or a feature in it can't be used.
            SettingsError: An attribute of accounts is named like a feature or a column of snapshots.
        """
        _refuse_taken_names(settings)
        if files is None:
            files = tuple(custom.read_file(settings.folder / name) for name in settings.catalog.features)
        shares = settings.catalog.shares_of_use
        return _extend(files, shares, account.list_attributes(settings)) if files or shares else BUILT_IN

    def select_account_features(self, sources: Iterable[str]) -> tuple[Feature, ...]:
        """Return the features of single accounts whose sources are all mapped: those that models learn from."""
        return tuple(f for f in self._available(sources) if f.scope is None)

    def select_peer_features(self, sources: Iterable[str]) -> tuple[Feature, ...]:
        """Return the features that need other accounts' rows and have all their sources mapped."""
        return tuple(f for f in self._available(sources) if f.scope)

    def _available(self, sources: Iterable[str]) -> Iterator[Feature]:
        mapped = set(sources)
        return (f for f in self.features.values() if mapped.issuperset(f.sources))

    def find_feature(self, name: str) -> Feature:
        """Return the feature of a snapshot's column; if the catalog has none, of a mapped attribute of accounts."""
        return self.features.get(name) or account.create_attribute_feature(name)

    @property
    def custom_features(self) -> tuple[Feature, ...]:
        """Return the features that the company's own files define."""
        return tuple(
            f for name, f in self.features.items() if FEATURES.get(name) is not f and f.family != usage_mix.FAMILY
        )

    def list_shares_of_use(self) -> tuple[str, ...]:
        """Return the columns of the shares of use by product feature."""
        return tuple(name for name, f in self.features.items() if f.family == usage_mix.FAMILY)

    @cached_property
    def version(self) -> str:
        """Return a fingerprint of all that defines the features: 12 hexadecimal digits."""
        texts = [
            fingerprint_packages("features.catalog", "features.definitions"),
            *(f.text for f in self.files),
            *self.shares,
        ]
        return hashlib.sha256("".join(texts).encode()).hexdigest()[:12]


BUILT_IN = Catalog(FEATURES)
# Columns of snapshots beside features, and names that the checks of a company give its tables.
_TAKEN = frozenset({"account_id", "as_of", "account_no", "gone", *EVENTS})


def _refuse_taken_names(settings: Settings) -> None:
    shares = usage_mix.create_features(settings.catalog.shares_of_use)
    names = {name.casefold() for name in (*FEATURES, *shares)} | _TAKEN
    taken = [name for name in settings.attributes() if name.casefold() in names]
    if taken:
        keys = ", ".join(f"tables.accounts.columns.{name}" for name in taken)
        raise SettingsError(
            f"{settings.file} has attributes whose names are taken: {keys}",
            found="a feature or a column of snapshots has that name",
            hint=f'Map it by another name, such as crm_{taken[0]} = "…"',
        )


@lru_cache(maxsize=8)
def _extend(
    files: tuple[FeatureFile, ...], shares: tuple[str, ...], attributes: tuple[tuple[str, str], ...]
) -> Catalog:
    features = {**FEATURES, **usage_mix.create_features(shares)}
    for file in files:
        features |= custom.load_features(file, features, dict(attributes))
    return Catalog(MappingProxyType(features), files, shares)
