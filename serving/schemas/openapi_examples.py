"""Builds the examples of the OpenAPI document from the response models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

from features.settings import Settings
from serving.schemas.errors import ErrorBody, ErrorDetail, ErrorResponse
from serving.schemas.responses import (
    AccountResponse,
    AccountScores,
    AccountsResponse,
    EventsResponse,
    EventStatus,
    ExpectedSale,
    FailedAccount,
    ListedAccount,
    ModelCard,
    ModelsResponse,
    Recommendation,
    ResponseDriver,
    ScoreResponse,
    ScoreTrend,
    SnapshotInfo,
    StoredScore,
    TargetScore,
)

NamedExamples = Mapping[str, Any]
_AS_OF = datetime(2026, 1, 1, tzinfo=UTC)
_BEFORE = datetime(2025, 12, 1, tzinfo=UTC)
_SOURCES = ("tickets", "usage", "purchases")


@dataclass(frozen=True)
class OpenApiExamples:
    """By operation, examples of requests and responses with their names."""

    requests: Mapping[str, NamedExamples]
    answers: Mapping[str, NamedExamples]


def build_examples(settings: Settings) -> OpenApiExamples:
    """Return examples with the targets and horizons of one company."""
    horizons = {target: max(target_settings.horizons) for target, target_settings in settings.targets.items()}
    whole = _example_scores(horizons)
    plain = {name: TargetScore(score=s.score, model=s.model) for name, s in whole.scores.items()}
    brief = _example_scores(horizons, scores=plain, value=None, tier=None, recommendation=None, next_sale=None)
    error = ErrorBody(code="unknown_account", message="there is no such account in the newest snapshot")
    failed = FailedAccount(account_id="A-1002", error=error)
    return OpenApiExamples(
        requests={
            "score": {
                "by_id": {"accounts": ["A-1001", "A-1002"]},
                "scores_alone": {"accounts": ["A-1001"], "detail": "scores"},
                "posted": {"accounts": [_POSTED], "as_of": "2026-01-01", "detail": "drivers"},
            },
            "events": {"all_tables": _EVENTS},
        },
        answers={
            "score": {
                "drivers": _to_json(ScoreResponse(results=(whole, failed))),
                "scores_alone": _to_json(ScoreResponse(results=(brief,))),
            },
            "events": {"fates": _to_json(_example_events_response())},
            "accounts": {"most_at_risk": _to_json(_example_list(horizons))},
            "account": {"account": _to_json(_example_account(whole, horizons))},
            "model": {"models": _to_json(_example_models(horizons))},
        },
    )


def _example_list(horizons: Mapping[str, int]) -> AccountsResponse:
    figures = {"risk": 0.31, "change": 0.12, "value": 24_000.0, "value_at_risk": 7_440.0}
    row = ListedAccount(account_id="A-1001", **figures, tier="A", recommendation="act")
    score = f"churn_{horizons['churn']}d"
    return AccountsResponse(as_of=_AS_OF, score=score, total=812, accounts=(row,), after="Wzc0NDAuMCwgIkEtMTAwMSJd")


_POSTED = {
    "account": {"account_id": "A-1001", "created_at": "2024-03-01", "plan": "team", "seats": 40},
    "tickets": [
        {
            "ticket_id": "T-1",
            "opened_at": "2025-12-03T09:12:00Z",
            "resolved_at": "2025-12-05T16:40:00+01:00",
            "priority": "high",
            "csat": 2,
        }
    ],
    "usage": [{"used_at": "2025-11-28T08:00:00Z", "user_id": "U-7", "feature": "reports", "count": 3}],
    "purchases": [
        {
            "purchased_at": "2025-03-01",
            "amount": "12000.00",
            "kind": "renewal",
            "term_starts_at": "2025-03-01",
            "term_ends_at": "2026-03-01",
        }
    ],
}


_EVENTS = {
    "tickets": [
        {"account_id": "A-1001", "ticket_id": "T-2", "opened_at": "2026-01-02T10:00:00Z", "priority": "urgent"}
    ],
    "usage": [{"account_id": "A-1001", "event_id": "U-91", "used_at": "2026-01-02T10:05:00Z", "count": 3}],
    "purchases": [
        {"account_id": "A-1001", "event_id": "P-17", "purchased_at": "2026-01-02", "amount": "250.00", "kind": "refund"}
    ],
}


def _example_events_response() -> EventsResponse:
    fault = ErrorDetail(at="amount", message="is not what was posted before")
    conflict = ErrorBody(code="conflict", message="amount: is not what was posted before", details=(fault,))
    return EventsResponse(
        received_at=datetime(2026, 1, 2, 10, 5, 1, tzinfo=UTC),
        tickets=(EventStatus(event_id="T-2", fate="accepted", error=None),),
        usage=(EventStatus(event_id="U-91", fate="duplicate", error=None),),
        purchases=(EventStatus(event_id="P-17", fate="conflict", error=conflict),),
    )


def _example_scores(horizons: Mapping[str, int], **changes: Any) -> AccountScores:
    fields: dict[str, Any] = {
        "account_id": "A-1001",
        "as_of": _AS_OF,
        "age_s": 21_600.0,
        "scores": {f"{t}_{h}d": _example_score(t, (0.41, 0.12)[n % 2]) for n, (t, h) in enumerate(horizons.items())},
        "value": 12_000.0,
        "tier": "B",
        "recommendation": Recommendation(do="act", withheld=False, why="the risk of leaving is high"),
        "next_sale": ExpectedSale(days=31.0, overdue=False),
        "catalog": "7d1f0c2a",
        "sources_seen": _SOURCES,
        "sources_missing": (),
    }
    return AccountScores(**fields | changes)


def _example_score(target: str, score: float) -> TargetScore:
    driver = ResponseDriver(
        feature="usage_trend_30d",
        text="usage fell 62% against the month before",
        contribution=0.8,
        actionable=True,
        play="revive_usage",
    )
    return TargetScore(
        score=score,
        model=f"{target}-3",
        low=round(0.7 * score, 3),
        high=round(1 - 0.7 * (1 - score), 3),
        base_rate=0.1,
        in_cohort=True,
        level_unsure=False,
        value=round(12_000 * score, 2),
        trend=ScoreTrend(as_of=_BEFORE, score=score - 0.1, change=0.1, model=f"{target}-3"),
        drivers=(driver,),
    )


def _example_account(scores: AccountScores, horizons: Mapping[str, int]) -> AccountResponse:
    past = tuple(
        StoredScore(as_of=as_of, target=target, horizon=horizon, score=0.31, model=f"{target}-3")
        for as_of in (_AS_OF, _BEFORE)
        for target, horizon in horizons.items()
    )
    return AccountResponse(**vars(scores), history=past)


def _example_models(horizons: Mapping[str, int]) -> ModelsResponse:
    cards = {
        target: ModelCard(
            version=f"{target}-3",
            run_id="4f6d8a1c",
            trained_at=datetime(2025, 12, 20, 3, tzinfo=UTC),
            horizons=(horizon,),
            base_rates={f"{horizon}d": 0.1},
            sources=_SOURCES,
            catalog="7d1f0c2a",
            features=("usage_events_30d", "tickets_urgent_90d"),
        )
        for target, horizon in horizons.items()
    }
    return ModelsResponse(
        models=cards, catalog="7d1f0c2a", snapshot=SnapshotInfo(as_of=_AS_OF, accounts=1_204, sources=_SOURCES)
    )


def _to_json(response: BaseModel) -> Any:
    return response.model_dump(mode="json")


def _example_error(code: str, message: str, at: str | None = None) -> NamedExamples:
    details = () if at is None else (ErrorDetail(at=at, message=message),)
    whole = f"{at}: {message}" if at else message
    return {code: _to_json(ErrorResponse(error=ErrorBody(code=code, message=whole, details=details)))}


_BUSY = "too much to do at once: send fewer accounts, or try again"
_NO_CHAMPION = "no model of Small Harbour is champion yet"
ERROR_EXAMPLES: Mapping[HTTPStatus, NamedExamples] = {
    HTTPStatus.BAD_REQUEST: _example_error("no_json", "Invalid JSON: EOF while parsing a value at line 1 column 13"),
    HTTPStatus.UNAUTHORIZED: _example_error("no_key", "a valid key is needed, as the header Authorization: Bearer …"),
    HTTPStatus.FORBIDDEN: _example_error("no_scope", "this needs a key with the scope read"),
    HTTPStatus.NOT_FOUND: _example_error("unknown_account", "there is no such account in the newest snapshot"),
    HTTPStatus.METHOD_NOT_ALLOWED: _example_error("method_not_allowed", "this path takes POST"),
    HTTPStatus.REQUEST_TIMEOUT: _example_error("too_slow", "the request's body did not arrive within 3 s"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: _example_error(
        "too_large", "a request may be 8 MiB long: send fewer accounts"
    ),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: _example_error("no_json", "send JSON, as Content-Type: application/json"),
    HTTPStatus.UNPROCESSABLE_ENTITY: _example_error("invalid", "this key is unknown", at="acounts"),
    HTTPStatus.TOO_MANY_REQUESTS: _example_error("too_many", "too many requests with this key: wait 3 s"),
    HTTPStatus.SERVICE_UNAVAILABLE: {**_example_error("busy", _BUSY), **_example_error("not_ready", _NO_CHAMPION)},
}
