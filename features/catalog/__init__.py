"""The feature catalog: every feature, by column name. To add one, define it in its source's file here."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType

from features import definition, streams
from features.catalog import (
    account,
    backlog,
    course,
    purchases,
    rhythm,
    series,
    service,
    spending,
    terms,
    tickets,
    touches,
    usage,
    worth,
)
from features.definition import Feature

FILES = (account, usage, course, tickets, backlog, service, purchases, rhythm, spending, terms, worth, touches)
FEATURES: Mapping[str, Feature] = MappingProxyType({f.name: f for file in FILES for f in file.FEATURES})


def present(sources: Iterable[str]) -> tuple[Feature, ...]:
    """The features whose sources are all there, in catalog order."""
    there = set(sources)
    return tuple(f for f in FEATURES.values() if there.issuperset(f.sources))


def feature(name: str) -> Feature:
    """The feature behind a snapshot's column; a mapped attribute of accounts where the catalog has none."""
    return FEATURES.get(name) or account.attribute(name)


@cache
def version() -> str:
    """Fingerprint of all that defines the features: 12 hexadecimal digits."""
    modules = (definition, streams, series, *FILES)
    text = "".join(inspect.getsource(module) for module in modules)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
