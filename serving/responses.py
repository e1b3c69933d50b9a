"""What the HTTP service answers to those whom it does not refuse."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, FiniteFloat

from serving.refusal import Error


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Driver(_Answer):
    """One of at most three reasons of a score."""

    feature: str
    text: str
    contribution: FiniteFloat
    actionable: bool
    play: str | None


class TargetScore(_Answer):
    """A calibrated probability."""

    score: FiniteFloat
    base_rate: FiniteFloat
    in_cohort: bool | None
    model: str
    drivers: tuple[Driver, ...] | None


class Scored(_Answer):
    """One account's scores at one instant."""

    account_id: str
    as_of: datetime
    # By target and horizon, such as churn_90d.
    scores: dict[str, TargetScore]
    value: FiniteFloat | None
    catalog: str
    sources_seen: tuple[str, ...]
    sources_missing: tuple[str, ...]


class Failed(_Answer):
    """One account that could not be scored."""

    account_id: str | None
    error: Error


class Results(_Answer):
    """The answer to a scoring request, item by item in the order asked."""

    results: tuple[Scored | Failed, ...]
