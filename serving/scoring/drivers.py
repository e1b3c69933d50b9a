"""Find drivers: the features of an account that moved its score, in words.

From the model's contributions in log-odds (TreeSHAP: Lundberg et al., "From local explanations to global
understanding with explainable AI for trees", 2020).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from features.catalog import Catalog
from features.definitions.feature import Feature
from features.definitions.plays import PLAYS
from features.definitions.streams import ORDERS, PURCHASES
from serving.scoring.harmful_side import find_plausible_sides
from serving.scoring.scorer import PreparedSnapshots
from training.decisions.value import Floats
from training.models.model import Model

Indices = npt.NDArray[np.intp]

# Causes, and beside them what says when or in what circumstances.
MOST, MOST_CONTEXT = 3, 1
# A cause with less than this share of what moved the score is no reason to name.
_LEAST_SHARE = 0.05
_CHURN = "churn"
_PURCHASES, _RENEWAL, _CONTEXT = "purchases", "renewal", "context"
# Facts of these streams are invoices: under a contract term they tell of billing, not of the customer.
_INVOICES = frozenset({PURCHASES.name, ORDERS.name})


@dataclass(frozen=True)
class ScoreDriver:
    """One cause of a score, described by the feature in it that contributed most.

    Args:
        feature: The snapshot's column that the text describes.
        family: A group of features that measure much the same.
        text: A sentence with the feature's value, and beside it what is typical of like accounts.
        contribution: Of all features of the cause, in log-odds; a value above 0 raises the score.
        actionable: Whether the account's owner can do something about it.
        play: Key of the next step, None for context.
        value: Of the feature: a number or a text; None where missing.
        typical: Of like accounts; None where it is not known.
    """

    feature: str
    family: str
    text: str
    contribution: float
    actionable: bool
    play: str | None
    value: float | str | None
    typical: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return the driver ready for JSON, as it is stored."""
        return vars(self).copy()


@dataclass(frozen=True)
class _Group:
    """The columns of a model that count as one driver: those of one cause, or of one family that is context.

    Args:
        columns: Their places in the model.
        is_cause: Whether someone can act on it; the end of a term only says when.
        is_billing: Whether it measures invoices.
    """

    columns: Indices
    is_cause: bool
    is_billing: bool


def find_drivers(model: Model, rows: PreparedSnapshots, scores: Floats, horizon: int) -> list[tuple[ScoreDriver, ...]]:
    """Find each row's drivers: at most `MOST` causes, the strongest first, then at most `MOST_CONTEXT` of context.

    A cause's contribution is the sum of its features' contributions, so features that cancel out are no driver.
    Drivers are features that raise the score if it is above the base rate, else features that lower it. While a
    contract term is in force, invoices are no driver: an annual payer buys nothing between two invoices.

    Args:
        model: The target's model.
        rows: n rows.
        scores: The model's probabilities of the rows, shape (n, horizons).
        horizon: Days, one of the model's.
    """
    contributions = model.contributions(rows.matrices[model.target], horizon)
    is_above = scores[:, model.horizons.index(horizon)] > model.base_rates[horizon]
    # With the sign that is above 0 for the side of the score.
    signed = np.where(is_above[:, None], contributions, -contributions)
    groups = _group_columns(model.features, rows.catalog)
    sums = _sum_groups(signed, [group.columns for group in groups])
    has_term = ~np.isnan(rows.about["recurring_revenue_year"])
    sums = np.where(has_term[:, None] & np.array([group.is_billing for group in groups]), 0.0, sums)
    if model.target == _CHURN:
        signed, sums = _drop_implausible(model, rows, signed, sums, [g.columns for g in groups], is_above)
    chosen = _choose(sums, np.array([group.is_cause for group in groups]))
    # Of each group, the feature that contributed most to the score's side.
    strongest = np.column_stack([g.columns[np.argmax(signed[:, g.columns], axis=1)] for g in groups]).tolist()
    contributed = np.where(is_above[:, None], sums, -sums).tolist()
    return [
        tuple(_build_driver(model, rows, i, strongest[i][k], contributed[i][k]) for k in of_row)
        for i, of_row in enumerate(chosen)
    ]


def _drop_implausible(  # noqa: PLR0913, PLR0917  # what the drivers of some rows are found from
    model: Model, rows: PreparedSnapshots, signed: Floats, sums: Floats, groups: list[Indices], is_above: np.ndarray
) -> tuple[Floats, Floats]:
    """Take from the reasons for a high risk what contradicts it; a group without any other reason is none.

    The contribution of a group stays that of all its features: only which of them speaks for it changes.
    """
    typical = tuple(model.typical.get(name) for name in model.features)
    sides, middles = _find_sides(model.features, typical, rows.catalog)
    # What is missing, or has no side, may always be named: no comparison with NaN holds.
    values = rows.matrices[model.target][:, : len(sides)]  # behind the features may stand the day
    is_wrong = is_above[:, None] & (sides * (values - middles) <= 0)
    told = np.where(is_wrong & (signed > 0), -np.inf, signed)
    speaks = np.column_stack([(told[:, places] > 0).any(axis=1) for places in groups])
    return told, np.where(is_above[:, None] & ~speaks & (sums > 0), 0.0, sums)


def _choose(sums: Floats, is_cause: np.ndarray) -> list[list[int]]:
    """Return the groups that each row's drivers come from, causes first."""
    order = np.argsort(-sums, axis=1, kind="stable")
    ranked, is_cause = np.take_along_axis(sums, order, axis=1), is_cause[order]
    # Added up in one order for any number of rows.
    least = _LEAST_SHARE * np.add.accumulate(np.maximum(sums, 0.0), axis=1)[:, -1:]
    causes = is_cause & (ranked > 0) & (ranked >= least)
    context = ~is_cause & (ranked > 0)
    causes &= np.cumsum(causes, axis=1) <= MOST
    context &= np.cumsum(context, axis=1) <= MOST_CONTEXT
    causes_first = np.argsort(np.where(causes, 0, np.where(context, 1, 2)), axis=1, kind="stable")
    chosen, counts = np.take_along_axis(order, causes_first, axis=1), (causes | context).sum(axis=1)
    return [groups[:count] for groups, count in zip(chosen.tolist(), counts.tolist(), strict=True)]


@lru_cache(maxsize=32)  # a service asks for each posted account
def _find_sides(
    features: tuple[str, ...], typical: tuple[float | None, ...], catalog: Catalog
) -> tuple[Floats, Floats]:
    return find_plausible_sides([catalog.find_feature(name) for name in features], typical)


@lru_cache(maxsize=32)
def _group_columns(features: tuple[str, ...], catalog: Catalog) -> tuple[_Group, ...]:
    """Group a model's columns by cause, and those that nobody can act on by family."""
    columns: dict[tuple[str, bool, bool], list[int]] = {}
    for place, name in enumerate(features):
        feature = catalog.find_feature(name)
        cause = PLAYS[feature.play].cause if feature.play else _CONTEXT
        is_cause = cause not in {_CONTEXT, _RENEWAL}
        is_billing = cause in {_PURCHASES, _CONTEXT} and _measures_invoices(feature)
        columns.setdefault((cause if is_cause else feature.family, is_cause, is_billing), []).append(place)
    return tuple(
        _Group(np.array(places, dtype=np.intp), is_cause, is_billing)
        for (_, is_cause, is_billing), places in columns.items()
    )


def _measures_invoices(feature: Feature) -> bool:
    return any(windowed.measure.stream.name in _INVOICES for windowed in feature.windowed_measures.values())


def _sum_groups(parts: Floats, groups: list[Indices]) -> Floats:
    """Return the sum of each group, (n, groups), added in one order for any n: a row alone gets the same bits."""
    return np.column_stack([np.add.accumulate(parts[:, places], axis=1)[:, -1] for places in groups])


def _build_driver(model: Model, rows: PreparedSnapshots, i: int, j: int, contribution: float) -> ScoreDriver:
    """Build the driver of one of row i's groups, described by feature j of it."""
    name = model.features[j]
    feature, value, typical = rows.catalog.find_feature(name), _value(model, rows, i, j), model.typical.get(name)
    return ScoreDriver(
        feature=name,
        family=feature.family,
        text=feature.describe(value, typical),
        contribution=contribution,
        actionable=feature.actionable,
        play=feature.play,
        value=value if isinstance(value, str) else _number_or_none(value),
        typical=_number_or_none(typical),
    )


def _number_or_none(value: float | None) -> float | None:
    """Return a number as JSON holds it; None for NaN."""
    return None if value is None or math.isnan(value) else value


def _value(model: Model, rows: PreparedSnapshots, i: int, j: int) -> Any:
    """Return feature j of row i as in the snapshot: the text of a text attribute, not the code that the model reads."""
    name = model.features[j]
    if name not in rows.texts:
        return float(rows.matrices[model.target][i, j])
    text = rows.texts[name][i]
    return float("nan") if text is None else text
