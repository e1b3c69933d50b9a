"""Drivers: what in an account's history moved its score, in words.

From the model's contributions in log-odds (TreeSHAP: Lundberg et al., "From local explanations to global
understanding with explainable AI for trees", 2020).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.scoring.scorer import PreparedSnapshots
from training.decisions.value import Floats
from training.models.model import Model

Indices = npt.NDArray[np.intp]

MOST = 3


@dataclass(frozen=True)
class ScoreDriver:
    """One family's part in one score, told by the feature in it that did most.

    Args:
        feature: The snapshot's column that the text speaks of.
        family: Features that say much the same.
        text: In words, with the number.
        contribution: Of the whole family, in log-odds; above 0 raises the score.
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


def find_drivers(bundle: Model, rows: PreparedSnapshots, scores: Floats, horizon: int) -> list[tuple[ScoreDriver, ...]]:
    """At most `MOST` drivers of each row's score, the strongest first, one of a family.

    A family's contribution is the sum of its features': where two of them cancel out, neither is a reason. Drivers
    speak for the side that the score is on: what raises it where it is above the base rate, what lowers it otherwise.

    Args:
        bundle: The model.
        rows: n rows.
        scores: The model's probabilities of them, shape (n, horizons).
        horizon: Days, one of the model's.
    """
    contributions = bundle.contributions(rows.matrices[bundle.target], horizon)
    above = scores[:, bundle.horizons.index(horizon)] > bundle.base_rates[horizon]
    # Turned so that above 0 is the score's side.
    towards = np.where(above[:, None], contributions, -contributions)
    families = _families(bundle, rows)
    joint = _folded(towards, families)
    order = np.argsort(-joint, axis=1, kind="stable")[:, :MOST]
    return [
        tuple(
            _driver(bundle, rows, i, families[k], towards[i], joint[i, k] if above[i] else -joint[i, k])
            for k in order[i]
            if joint[i, k] > 0
        )
        for i in range(len(rows))
    ]


def _families(bundle: Model, rows: PreparedSnapshots) -> list[Indices]:
    """The places of each family's features."""
    found: dict[str, list[int]] = {}
    for place, name in enumerate(bundle.features):
        found.setdefault(rows.catalog.find_feature(name).family, []).append(place)
    return [np.array(places, dtype=np.intp) for places in found.values()]


def _folded(parts: Floats, families: list[Indices]) -> Floats:
    """Sums over each family, (n, families): in one order whatever n, so that a row's are the same bits alone."""
    return np.column_stack([np.add.accumulate(parts[:, places], axis=1)[:, -1] for places in families])


def _driver(  # noqa: PLR0913, PLR0917  # a row's family, and all that is known of it
    bundle: Model, rows: PreparedSnapshots, i: int, places: Indices, towards: Floats, contribution: float
) -> ScoreDriver:
    """Row i's family, in the words of the feature that did most for the score's side."""
    j = int(places[np.argmax(towards[places])])
    feature = rows.catalog.find_feature(bundle.features[j])
    return ScoreDriver(
        feature=bundle.features[j],
        family=feature.family,
        text=feature.describe(_value(bundle, rows, i, j)),
        contribution=float(contribution),
        actionable=feature.actionable,
        play=feature.play,
    )


def _value(bundle: Model, rows: PreparedSnapshots, i: int, j: int) -> Any:
    """Feature j of row i as the snapshot had it: for text, that is not the number that the model reads."""
    name = bundle.features[j]
    if name not in rows.texts:
        return rows.matrices[bundle.target][i, j]
    text = rows.texts[name][i]
    return float("nan") if text is None else text
