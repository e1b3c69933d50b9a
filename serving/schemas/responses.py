"""Defines every successful JSON response of the HTTP service: the one statement of its fields."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, FiniteFloat

from serving.schemas.errors import ErrorBody

# How much a score response holds: probabilities alone, what they mean as well, or their drivers too.
Detail = Literal["scores", "advice", "drivers"]


class _ResponseModel(BaseModel):
    model_config = ConfigDict(frozen=True)


class ResponseDriver(_ResponseModel):
    """One of at most three reasons of a score."""

    feature: str
    text: str
    contribution: FiniteFloat
    actionable: bool
    play: str | None


class ScoreTrend(_ResponseModel):
    """The stored score before this one, and how the score has moved since."""

    as_of: datetime
    score: FiniteFloat
    change: FiniteFloat
    # The model that gave it: a change of model moves scores as well.
    model: str


class TargetScore(_ResponseModel):
    """A calibrated probability; detail `scores` gives only `score` and `model`."""

    score: FiniteFloat
    model: str
    # The ends of the 90 % interval: of accounts scored like this one, between which shares come true.
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    base_rate: FiniteFloat | None = None
    in_cohort: bool | None = None
    # Where the base rate moves, and training has not seen this season: the mean of the scores may be off.
    level_unsure: bool | None = None
    # The company's currency: revenue at risk for churn, the expected gain for upsell.
    value: FiniteFloat | None = None
    trend: ScoreTrend | None = None
    drivers: tuple[ResponseDriver, ...] | None = None


class Recommendation(_ResponseModel):
    """What to do with the account."""

    do: Literal["act", "sell", "leave_alone"]
    # A sale is likely but not offered: `why` gives the reason.
    withheld: bool
    why: str


class ExpectedSale(_ResponseModel):
    """When the account is expected to buy again."""

    days: FiniteFloat
    overdue: bool


class AccountScores(_ResponseModel):
    """One account's scores at one instant."""

    account_id: str
    as_of: datetime
    # Seconds since as_of.
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


class FailedAccount(_ResponseModel):
    """One account that could not be scored."""

    account_id: str | None
    error: ErrorBody


class ScoreResponse(_ResponseModel):
    """The response to a score request, one item for each account in the order of the request."""

    results: tuple[AccountScores | FailedAccount, ...]


class StoredScore(_ResponseModel):
    """One stored score."""

    as_of: datetime
    target: str
    horizon: int
    score: FiniteFloat
    model: str


class AccountResponse(AccountScores):
    """One account's scores now, and its stored scores, newest first."""

    history: tuple[StoredScore, ...]


class ListedAccount(_ResponseModel):
    """One account in a list."""

    account_id: str
    # The newest score, and how it has moved since the run before.
    risk: FiniteFloat | None
    change: FiniteFloat | None
    # The company's currency: revenue a year, and that times the risk.
    value: FiniteFloat | None
    value_at_risk: FiniteFloat | None
    tier: Literal["A", "B", "C", "D", "E"] | None
    recommendation: Literal["act", "sell", "leave_alone"] | None


class AccountsResponse(_ResponseModel):
    """Customers at the newest scores, in the order that was asked for."""

    as_of: datetime
    # What `risk` is, such as churn_90d.
    score: str | None
    # Of all pages.
    total: int
    accounts: tuple[ListedAccount, ...]
    # What the next page begins after; None on the last one.
    after: str | None


class ModelCard(_ResponseModel):
    """One target's model."""

    version: str
    run_id: str
    trained_at: datetime
    horizons: tuple[int, ...]
    base_rates: dict[str, FiniteFloat]
    sources: tuple[str, ...]
    catalog: str
    features: tuple[str, ...]
    # Why this model serves in place of the champion; None if it is the champion.
    fallback: str | None = None


class SnapshotInfo(_ResponseModel):
    """The snapshot behind scores by id."""

    as_of: datetime
    accounts: int
    sources: tuple[str, ...]


class ModelsResponse(_ResponseModel):
    """The models that score now, by target, and the snapshot behind scores by id."""

    models: dict[str, ModelCard]
    catalog: str
    snapshot: SnapshotInfo | None


class EventStatus(_ResponseModel):
    """What became of one posted event."""

    event_id: str | None
    # A duplicate was posted before; an updated ticket adds to what was known; a conflict contradicts it.
    fate: Literal["accepted", "duplicate", "updated", "conflict", "rejected"]
    error: ErrorBody | None
    # Why scores may hardly move: it happened long before it became known.
    note: str | None = None


class EventsResponse(_ResponseModel):
    """The response to posted events, table by table in the order of the request."""

    # The instant from which scores use them.
    received_at: datetime
    tickets: tuple[EventStatus, ...] = ()
    usage: tuple[EventStatus, ...] = ()
    purchases: tuple[EventStatus, ...] = ()
