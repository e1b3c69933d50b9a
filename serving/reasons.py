"""Drivers: what in an account's history moved its score, in words.

From the model's contributions in log-odds (TreeSHAP: Lundberg et al., "From local explanations to global
understanding with explainable AI for trees", 2020).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features import catalog
from serving.scorer import Floats, Rows
from training.bundle import Bundle

Indices = npt.NDArray[np.intp]

MOST = 3


@dataclass(frozen=True)
class Driver:
    """One feature's part in one score.

    Args:
        feature: The snapshot's column.
        family: What it says much the same as; an explanation names one of a family.
        text: In words, with the number.
        contribution: In log-odds; above 0 raises the score.
        actionable: Whether the owner can do something about it.
        play: Key of the next step, None for context.
    """

    feature: str
    family: str
    text: str
    contribution: float
    actionable: bool
    play: str | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def drivers(bundle: Bundle, rows: Rows, scores: Floats, horizon: int) -> list[tuple[Driver, ...]]:
    """At most `MOST` drivers of each row's score, the strongest first, one of a family.

    They speak for the side that the score is on: what raises it where it is above the base rate, what lowers it
    otherwise.

    Args:
        bundle: The model.
        rows: n rows.
        scores: The model's probabilities of them, shape (n, horizons).
        horizon: Days, one of the model's.
    """
    matrix = rows.matrices[bundle.target]
    contributions = bundle.contributions(matrix, horizon)
    above = scores[:, bundle.horizons.index(horizon)] > bundle.base_rates[horizon]
    towards = np.where(above[:, None], contributions, -contributions)
    order = np.argsort(-towards, axis=1, kind="stable")
    return [_strongest(bundle, rows, i, order[i], contributions[i] * (towards[i] > 0)) for i in range(len(rows))]


def _strongest(bundle: Bundle, rows: Rows, i: int, order: Indices, parts: Floats) -> tuple[Driver, ...]:
    """Row i's drivers, out of its features in `order`; parts of 0 speak for the other side."""
    found: dict[str, Driver] = {}
    for j in order:
        if len(found) == MOST or not parts[j]:
            break
        name = bundle.features[j]
        feature = catalog.feature(name)
        if feature.family not in found:
            found[feature.family] = Driver(
                feature=name,
                family=feature.family,
                text=feature.says(_value(bundle, rows, i, j)),
                contribution=float(parts[j]),
                actionable=feature.actionable,
                play=feature.play,
            )
    return tuple(found.values())


def _value(bundle: Bundle, rows: Rows, i: int, j: int) -> Any:
    """Feature j of row i as the snapshot had it: for text, that is not the number that the model reads."""
    name = bundle.features[j]
    if name not in rows.texts:
        return rows.matrices[bundle.target][i, j]
    text = rows.texts[name][i]
    return float("nan") if text is None else text
