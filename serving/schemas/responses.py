"""What the HTTP service answers to those whom it does not refuse."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, FiniteFloat

from serving.schemas.errors import ErrorBody

# How much to tell: the probabilities alone, what they mean besides, or why as well.
Detail = Literal["scores", "advice", "drivers"]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class ResponseDriver(_Answer):
    """One of at most three reasons of a score."""

    feature: str
    text: str
    contribution: FiniteFloat
    actionable: bool
    play: str | None


class ScoreTrend(_Answer):
    """What the last stored score before this one was, and how the score has moved since."""

    as_of: datetime
    score: FiniteFloat
    change: FiniteFloat
    # The model that gave it: a change of model moves scores as well.
    model: str


class TargetScore(_Answer):
    """A calibrated probability; with detail `scores` only `score` and `model` are told."""

    score: FiniteFloat
    model: str
    base_rate: FiniteFloat | None = None
    in_cohort: bool | None = None
    # The company's currency: revenue at risk for churn, the expected gain for upsell.
    value: FiniteFloat | None = None
    trend: ScoreTrend | None = None
    drivers: tuple[ResponseDriver, ...] | None = None


class Recommendation(_Answer):
    """What to do with the account."""

    do: Literal["act", "sell", "leave_alone"]
    # A sale is likely, and is not offered: `why` says what stands against it.
    withheld: bool
    why: str


class ExpectedSale(_Answer):
    """When the account is expected to buy again."""

    days: FiniteFloat
    overdue: bool


class AccountScores(_Answer):
    """One account's scores at one instant."""

    account_id: str
    as_of: datetime
    # Seconds that have passed since as_of.
    age_s: FiniteFloat
    # By target and horizon, such as churn_90d.
    scores: dict[str, TargetScore]
    # Revenue a year, in the company's currency.
    value: FiniteFloat | None = None
    tier: Literal["A", "B", "C", "D", "E"] | None = None
    # None for an account outside the cohort: it is no customer at this instant.
    recommendation: Recommendation | None = None
    next_sale: ExpectedSale | None = None
    # Mean days until it leaves, if it does within the longest horizon.
    leaves_in_days: FiniteFloat | None = None
    catalog: str
    sources_seen: tuple[str, ...]
    sources_missing: tuple[str, ...]


class FailedAccount(_Answer):
    """One account that could not be scored."""

    account_id: str | None
    error: ErrorBody


class ScoreResponse(_Answer):
    """The answer to a scoring request, item by item in the order asked."""

    results: tuple[AccountScores | FailedAccount, ...]


class StoredScore(_Answer):
    """One stored score."""

    as_of: datetime
    target: str
    horizon: int
    score: FiniteFloat
    model: str


class AccountResponse(AccountScores):
    """One account's scores now, and those stored of it, newest first."""

    history: tuple[StoredScore, ...]


class ModelCard(_Answer):
    """One target's model."""

    version: str
    run_id: str
    trained_at: datetime
    horizons: tuple[int, ...]
    base_rates: dict[str, FiniteFloat]
    sources: tuple[str, ...]
    catalog: str
    features: tuple[str, ...]
    # Why it is not the champion that serves, where that can't be loaded; None where all is well.
    fallback: str | None = None


class SnapshotInfo(_Answer):
    """What scores by id are made from."""

    as_of: datetime
    accounts: int
    sources: tuple[str, ...]


class ModelsResponse(_Answer):
    """The models that score now, by target, and the snapshot behind scores by id."""

    models: dict[str, ModelCard]
    catalog: str
    snapshot: SnapshotInfo | None


class EventStatus(_Answer):
    """What became of one posted event."""

    event_id: str | None
    # A duplicate was posted before; an updated ticket tells more than before; a conflict contradicts it.
    fate: Literal["accepted", "duplicate", "updated", "conflict", "rejected"]
    error: ErrorBody | None


class EventsResponse(_Answer):
    """The answer to posted events, table by table in the order sent."""

    # The instant from which scores know of them.
    received_at: datetime
    tickets: tuple[EventStatus, ...] = ()
    usage: tuple[EventStatus, ...] = ()
    purchases: tuple[EventStatus, ...] = ()
