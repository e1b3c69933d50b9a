"""Find the scores at which an account is at risk or a sale is likely, from the champions and the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from features.core.errors import GarrisonError
from features.settings import Settings
from monitoring.alerts import kinds
from training.decisions.levels import find_churn_levels, find_upsell_levels
from training.decisions.value import Uplift


@dataclass(frozen=True)
class Thresholds:
    """The scores at which an episode opens (`enter` or above) and closes (below `leave`).

    Args:
        model: Version of the model.
        enter: A probability.
        leave: A probability.
        base_rate: The share of accounts that left in its training; None where it is not known.
    """

    model: str
    enter: float
    leave: float
    base_rate: float | None = None


@dataclass(frozen=True)
class SaleLimits:
    """The scores at which a chance of a sale opens and ends, and what a sale brings.

    Args:
        model: Version of the upsell champion.
        horizon: In days.
        enter: A probability.
        leave: A probability.
        uplift: Gain of a sale in training; None where it is not known.
    """

    model: str
    horizon: int
    enter: float
    leave: float
    uplift: Uplift | None


class Champion(Protocol):
    """The part of a `training.models.model.Model` that alerts use; that class takes long to import."""

    @property
    def version(self) -> str:
        """Return the version, such as churn-3."""

    @property
    def horizons(self) -> tuple[int, ...]:
        """Return the horizons in days, ascending."""

    @property
    def base_rates(self) -> dict[int, float]:
        """Return the share of positives in training, by horizon."""

    @property
    def horizon_models(self) -> tuple[HorizonModel, ...]:
        """Return the models of the horizons, in their order."""


class HorizonModel(Protocol):
    """The part of a `training.models.horizon_model.HorizonModel` that alerts use."""

    @property
    def uplift(self) -> Uplift | None:
        """Return what a sale brought in training; None where that is not known."""


def find_thresholds(champions: Mapping[str, Champion], settings: Settings) -> Thresholds:
    """Return the scores at which episodes open and close, from the champion's base rate.

    Raises:
        GarrisonError: There is no champion, or it has no score over the alerts' horizon.
    """
    bundle, horizon = champions.get(kinds.CHURN), settings.alert_horizon
    if bundle is None:
        do = "Run `python -m training fit`, then `python -m training promote RUN`"
        raise GarrisonError(f"no model is champion for {kinds.CHURN}", hint=do)
    if horizon not in bundle.horizons:
        raise GarrisonError(
            f"the champion {bundle.version} gives no score over {horizon} days",
            found=f"horizons {', '.join(map(str, bundle.horizons))}",
            hint="Set alerts.horizon to one of them, or train again",
        )
    levels = find_churn_levels(settings, bundle.base_rates[horizon])
    return Thresholds(bundle.version, levels.enter, levels.leave, bundle.base_rates[horizon])


def find_sale_limits(champions: Mapping[str, Champion], settings: Settings) -> SaleLimits | None:
    """Return the scores at which a chance of a sale opens and ends; None without an upsell champion."""
    model = champions.get(kinds.UPSELL)
    if model is None or settings.upsell is None:
        return None
    horizon = model.horizons[-1]
    levels = find_upsell_levels(settings.upsell, model.base_rates[horizon])
    uplift = model.horizon_models[-1].uplift
    return SaleLimits(model.version, horizon, levels.enter, levels.leave, uplift)
