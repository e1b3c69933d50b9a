"""Define the settings of tiers: how much each side of an account counts, and how an account moves."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import AfterValidator, Field

from features.settings.values import SettingsSection, Share

SIDES = ("revenue", "profit", "return_on_effort", "difficulty", "integrity")
TIER_NAMES = ("A", "B", "C", "D", "E")


def _check_weights(weights: dict[str, float]) -> dict[str, float]:
    if unknown := set(weights) - set(SIDES):
        message = f"{', '.join(sorted(unknown))} is no side of an account: {', '.join(SIDES)}"
        raise ValueError(message)
    if not any(weights.values()):
        message = "at least one side must count"
        raise ValueError(message)
    return weights


def _check_shares(shares: tuple[float, ...]) -> tuple[float, ...]:
    if not math.isclose(sum(shares), 1.0, abs_tol=1e-6):
        message = f"the shares of the tiers {', '.join(TIER_NAMES)} must add up to 1, not {sum(shares):g}"
        raise ValueError(message)
    return shares


Weights = Annotated[dict[str, Annotated[float, Field(ge=0)]], AfterValidator(_check_weights)]
Shares = Annotated[tuple[Share, ...], Field(min_length=5, max_length=5), AfterValidator(_check_shares)]


class Tiers(SettingsSection):
    """The classes of accounts under the 5A rule."""

    # How much each side counts; a side that is not named counts 1.
    weights: Weights = Field(default_factory=lambda: dict.fromkeys(SIDES, 1.0))
    # The shares of the accounts in tiers A to E at the beginning of a quarter; the cuts then stay until it ends.
    shares: Shares = (0.2, 0.2, 0.2, 0.2, 0.2)
    # An account moves when its worth (0 to 1) lies so far beyond a cut, in so many runs one after the other.
    margin: float = Field(default=0.02, ge=0, le=0.5)
    runs: int = Field(default=2, ge=1)
