"""The catalog as a page to read: every feature, by source and family, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby

import ibis
import numpy as np

from features.arrays.formulas import Program
from features.definitions.feature import Feature, FeatureContext

HEADING = "## The catalog"
_COLUMNS = ("family", "feature", "days", "what it is", "unit", "null means", "churn risk", "next step")
_LEGEND = """They are grouped by the sources they need: where one of those isn't mapped, they are absent.
A window of so many days ends at `as_of`. Churn risk says what more of it does, where that is beyond doubt. The next
step is the play that an alert names when the feature drives a risk; without one it is context, which nobody can act
on."""
_RISK = {-1: "only lowers", 0: "", 1: "only raises"}


def renewed(page: str, features: Mapping[str, Feature]) -> str:
    """A page whose catalog, from its heading on, is that of these features; what stands above the heading is kept."""
    above = page.split(f"{HEADING}\n", 1)[0].rstrip()
    return "\n".join([*([above, ""] if above else []), *_lines(features)]) + "\n"


def _lines(features: Mapping[str, Feature]) -> Iterator[str]:
    yield HEADING
    yield ""
    yield f"{len(features)} features. {_LEGEND}"
    never = _never_null(features)
    ordered = sorted(features.values(), key=lambda f: len(f.sources))
    groups: dict[tuple[str, ...], list[Feature]] = {}
    for f in ordered:
        groups.setdefault(f.sources, []).append(f)
    for sources, members in groups.items():
        yield ""
        yield f"### {' and '.join(sources).capitalize() or 'The account itself'} ({len(members)})"
        yield ""
        yield _row(*_COLUMNS)
        yield _row(*("---" for _ in _COLUMNS))
        families = list(dict.fromkeys(f.family for f in members))
        by_family = sorted(members, key=lambda f: families.index(f.family))
        for family, same in groupby(by_family, key=lambda f: f.family):
            for n, f in enumerate(same):
                yield _feature("" if n else family, f, never_null=f.name in never)


def _feature(family: str, f: Feature, *, never_null: bool) -> str:
    missing = "" if never_null else f.missing
    window = "" if f.window is None else str(f.window)
    return _row(family, f"`{f.name}`", window, f.sentence, f.unit, missing, _RISK[f.direction], f.play or "")


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _never_null(features: Mapping[str, Feature]) -> set[str]:
    """The features that have a value even for an account of which nothing is known."""
    asks = {column for f in features.values() for column in f.windowed_measures}
    table = ibis.table({"as_of": "float64", "created_at": "float64", **dict.fromkeys(asks, "float64")}, name="nothing")
    nothing = {column: np.array([np.nan]) for column in asks} | {
        "as_of": np.array([1.0]),
        "created_at": np.array([0.0]),
    }
    found = Program({f.name: f.formula(FeatureContext(table)) for f in features.values()}).run(nothing)
    return {name for name, value in found.items() if not np.isnan(value).any()}
