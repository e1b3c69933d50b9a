"""Tell on which side of what is typical a feature speaks for leaving, so that no reason contradicts its own next step.

A model may count a rise of use for risk, say because the whole company grew. An owner who reads "usage is 109 % of its
usual" and "bring usage back" is right to mute the letter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from features.definitions.feature import Feature
from features.definitions.plays import PLAYS

LESS, MORE, EITHER = -1, 1, 0
# By what a play works against: little use and few purchases are bad, and much trouble with the service.
_SIDES = {"usage": LESS, "purchases": LESS, "service": MORE}
# Of these the other side is bad: they count absence, or satisfaction.
_TURNED = (
    "idle_weeks",
    "usage_gap",
    "usage_overdue",
    "days_since_usage",
    "days_since_purchase",
    "overdue",
    "orders_missed",
    "windows_with_more",
    "csat",
    "rank_csat",
)


def find_harmful_side(feature: Feature) -> int:
    """Return LESS or MORE, the side of the typical value that speaks for leaving; EITHER where none does by itself."""
    play = PLAYS.get(feature.play or "")
    side = feature.direction or (_SIDES.get(play.cause, EITHER) if play else EITHER)
    is_turned = not feature.direction and feature.name.startswith(_TURNED)
    return -side if is_turned else side


def find_plausible_sides(
    features: Sequence[Feature], typical: Sequence[float | None]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return (n,) the side on which each feature may be a reason for leaving, NaN for either, and (n,) where it begins.

    Args:
        features: Of n columns.
        typical: Of like accounts, by column. Where it is not known, a course such as "rose 20 %" begins at no change.
    """
    sides, middles = np.full(len(features), np.nan), np.zeros(len(features))
    for j, (feature, usual) in enumerate(zip(features, typical, strict=True)):
        is_known = usual is not None and not math.isnan(usual)
        side = find_harmful_side(feature)
        if side != EITHER and (is_known or feature.number is None):
            sides[j], middles[j] = side, usual if is_known and usual is not None else 0.0
    return sides, middles
