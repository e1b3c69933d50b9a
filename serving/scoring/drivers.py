"""Find drivers: the features of an account that moved its score, in words.

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
    """One family's part in one score, described by the feature in it that contributed most.

    Args:
        feature: The snapshot's column that the text describes.
        family: A group of features that measure much the same.
        text: A sentence with the feature's value.
        contribution: Of the whole family, in log-odds; a value above 0 raises the score.
        actionable: Whether the account's owner can do something about it.
        play: Key of the next step, None for context.
    """

    feature: str
    family: str
    text: str
    contribution: float
    actionable: bool
    play: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return the driver ready for JSON."""
        return asdict(self)


def find_drivers(model: Model, rows: PreparedSnapshots, scores: Floats, horizon: int) -> list[tuple[ScoreDriver, ...]]:
    """Find at most `MOST` drivers of each row's score, the strongest first, one of a family.

    A family's contribution is the sum of its features' contributions, so features that cancel out are no driver.
    Drivers are features that raise the score if it is above the base rate, else features that lower it.

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
    families = _families(model, rows)
    sums = _sum_families(signed, families)
    order = np.argsort(-sums, axis=1, kind="stable")[:, :MOST]
    return [
        tuple(
            _build_driver(model, rows, i, families[k], signed[i], sums[i, k] if is_above[i] else -sums[i, k])
            for k in order[i]
            if sums[i, k] > 0
        )
        for i in range(len(rows))
    ]


def _families(model: Model, rows: PreparedSnapshots) -> list[Indices]:
    """Return the columns of each family's features."""
    columns: dict[str, list[int]] = {}
    for place, name in enumerate(model.features):
        columns.setdefault(rows.catalog.find_feature(name).family, []).append(place)
    return [np.array(places, dtype=np.intp) for places in columns.values()]


def _sum_families(parts: Floats, families: list[Indices]) -> Floats:
    """Return the sum of each family, (n, families), added in one order for any n: a row alone gets the same bits."""
    return np.column_stack([np.add.accumulate(parts[:, places], axis=1)[:, -1] for places in families])


def _build_driver(  # noqa: PLR0913, PLR0917  # a row's family, and all that is known of it
    model: Model, rows: PreparedSnapshots, i: int, places: Indices, signed: Floats, contribution: float
) -> ScoreDriver:
    """Build the driver of row i's family, described by the feature that contributed most to the score's side."""
    j = int(places[np.argmax(signed[places])])
    feature = rows.catalog.find_feature(model.features[j])
    return ScoreDriver(
        feature=model.features[j],
        family=feature.family,
        text=feature.describe(_value(model, rows, i, j)),
        contribution=float(contribution),
        actionable=feature.actionable,
        play=feature.play,
    )


def _value(model: Model, rows: PreparedSnapshots, i: int, j: int) -> Any:
    """Return feature j of row i as in the snapshot: the text of a text attribute, not the code that the model reads."""
    name = model.features[j]
    if name not in rows.texts:
        return rows.matrices[model.target][i, j]
    text = rows.texts[name][i]
    return float("nan") if text is None else text
