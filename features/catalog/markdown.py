"""Write the catalog as Markdown: every feature, by source and family."""

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


def replace_catalog(page: str, features: Mapping[str, Feature]) -> str:
    """Return the page with its catalog, from the heading to the end, replaced by one of these features."""
    above = page.split(f"{HEADING}\n", 1)[0].rstrip()
    return "\n".join([*([above, ""] if above else []), *_lines(features)]) + "\n"


def _lines(features: Mapping[str, Feature]) -> Iterator[str]:
    yield HEADING
    yield ""
    yield f"{len(features)} features. {_LEGEND}"
    never_null = _find_never_null(features)
    ordered = sorted(features.values(), key=lambda f: len(f.sources))
    groups: dict[tuple[str, ...], list[Feature]] = {}
    for f in ordered:
        groups.setdefault(f.sources, []).append(f)
    for sources, members in groups.items():
        yield ""
        yield f"### {' and '.join(sources).capitalize() or 'The account itself'} ({len(members)})"
        yield ""
        yield _format_row(*_COLUMNS)
        yield _format_row(*("---" for _ in _COLUMNS))
        families = list(dict.fromkeys(f.family for f in members))
        by_family = sorted(members, key=lambda f: families.index(f.family))
        for family, siblings in groupby(by_family, key=lambda f: f.family):
            for n, f in enumerate(siblings):
                yield _format_feature("" if n else family, f, never_null=f.name in never_null)


def _format_feature(family: str, f: Feature, *, never_null: bool) -> str:
    missing = "" if never_null else f.missing
    window = "" if f.window is None else str(f.window)
    return _format_row(family, f"`{f.name}`", window, f.sentence, f.unit, missing, _RISK[f.direction], f.play or "")


def _format_row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _find_never_null(features: Mapping[str, Feature]) -> set[str]:
    """Return the features that have a value even for an account without any rows."""
    columns = {column for f in features.values() for column in f.windowed_measures}
    table = ibis.table(
        {"as_of": "float64", "created_at": "float64", **dict.fromkeys(columns, "float64")}, name="nothing"
    )
    empty_account = {column: np.array([np.nan]) for column in columns} | {
        "as_of": np.array([1.0]),
        "created_at": np.array([0.0]),
    }
    values = Program({f.name: f.formula(FeatureContext(table)) for f in features.values()}).run(empty_account)
    return {name for name, value in values.items() if not np.isnan(value).any()}
