"""Attributes of accounts of which only the value at the export is known: which are left out, and what the rest gain.

Such a value stands in every snapshot of the past. Where it counts up, as "orders so far" does, it tells what came
after a cutoff. So undated numbers and times are learned from only where `training.trusted` names them. Undated text
and flags are learned from, since most of them are plain facts such as a country, and are probed here and by purity.
"""

from __future__ import annotations

from collections.abc import Iterator

import ibis
import ibis.expr.operations as ops
import numpy as np
import pandas as pd

from features.definitions.feature import Feature, FeatureContext
from features.diagnostics import target_leakage
from features.settings import Settings
from features.sources.history import History
from training.diagnostics.small_model import cross_validate_parts, fit_booster

# What undated columns must gain in AUC to be looked at, and the share of it that must hold from early cutoffs to late.
_GAIN, _HELD = 0.03, 0.6
# The share of a small model's gain that they must have, all or one of them, to be worth the look, or to be named.
_SHARE, _NAMED = 0.05, 0.1
_FEWEST = 30  # rows of either class, early and late


def list_unused(history: History, settings: Settings) -> tuple[str, ...]:
    """Return the columns that no model learns from: undated numbers and times, and own features of them."""
    names = settings.untrusted_attributes()
    own = [f.name for f in history.catalog.custom_features if _reads(f, history, names)]
    return (*names, *(name for name in own if name not in settings.training.trusted))


def _reads(feature: Feature, history: History, names: tuple[str, ...]) -> bool:
    """Return whether the formula of a feature reads an attribute of accounts that is among the names."""
    if not names:
        return False
    measured = dict.fromkeys((*feature.windowed_measures, "created_at", "as_of"), "float64")
    numeric = {name: "float64" for name, kind in history.attributes if kind != "string"}
    formula = feature.formula(FeatureContext(ibis.table({**measured, **numeric}, name="measured")))
    return bool({field.name for field in formula.op().find(ops.Field)} & set(names))


def describe_unused(history: History, settings: Settings) -> tuple[str, ...]:
    """Describe the columns that are left out, in a sentence; nothing where there are none."""
    names = list_unused(history, settings)
    if not names:
        return ()
    subject = "are undated numbers" if len(names) > 1 else "is an undated number"
    advice = "Map valid_from in tables.accounts; or, if a value never changes, name it in training.trusted"
    return (f"not learned from, since only the value at the export is known: {', '.join(names)} {subject}. {advice}",)


def describe_suspects(history: History, used: tuple[str, ...]) -> tuple[str, ...]:
    """Describe what the check of the data suspects among the columns and sources that a model has learned from."""
    sources = {source for name in used for source in history.catalog.find_feature(name).sources}
    return tuple(
        f"features check suspects {suspect.sentence}"
        for suspect in target_leakage.find_suspects(history)
        if suspect.name in {*used, *sources}
    )


def find_unstable(
    frame: pd.DataFrame, matrix: np.ndarray, labels: np.ndarray, *, columns: dict[str, int], is_late: np.ndarray
) -> Iterator[tuple[str, str]]:
    """Yield undated columns whose gain does not hold over time, each with a sentence.

    A fact that never changes is worth as much to a model of the early cutoffs, looking at late ones, as to one of the
    late ones. The value of a count at the export means something else at each cutoff: what it gains, it gains only
    among rows of the same time.

    Args:
        frame: account_id of n rows.
        matrix: (n, columns) of a model.
        labels: (n,) of 0 and 1.
        columns: The undated columns by name, each with its place in the matrix.
        is_late: (n,) whether a row is of the test; the others are of early cutoffs.
    """
    classes = [labels[part] for part in (is_late, ~is_late)]
    if not columns or min(min(c.sum(), (1 - c).sum()) for c in classes) < _FEWEST:
        return
    gains = fit_booster(matrix[is_late], labels[is_late]).feature_importance("gain")
    share = {name: gains[place] / max(gains.sum(), 1e-9) for name, place in columns.items()}
    if sum(share.values()) < _SHARE:
        return
    rest = [place for place in range(matrix.shape[1]) if place not in columns.values()]
    accounts = frame["account_id"]

    def measure(learned: np.ndarray, places: list[int] | slice) -> float:
        return cross_validate_parts(matrix[:, places], labels, accounts, learned=learned, tested=is_late)

    with_them, without = measure(is_late, slice(None)), measure(is_late, rest)
    if with_them - without < _GAIN:
        return
    early_with, early_without = measure(~is_late, slice(None)), measure(~is_late, rest)
    if early_with - early_without >= _HELD * (with_them - without):
        return
    names = ", ".join(sorted(columns, key=lambda name: -share[name]))
    sentence = (
        f"known only as of the export: {names} raise the AUC from {without:.3f} to {with_them:.3f} among late cutoffs, "
        f"but learned at early ones from {early_without:.3f} to {early_with:.3f} alone. So the value means something "
        "else at each cutoff, as a count does"
    )
    for name in columns:
        if share[name] >= _NAMED * sum(share.values()):
            yield name, f"the account's {name} is {sentence}"
