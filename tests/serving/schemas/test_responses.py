"""The JSON that the service writes has every field of the response models, and no other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import to_json

from features.state import database
from serving.api.state import AppState, ScoringContext
from serving.batch import run
from serving.events import log
from serving.schemas import responses
from serving.schemas.event_requests import EventRequestReader
from serving.schemas.responses import (
    AccountResponse,
    AccountScores,
    EventsResponse,
    EventStatus,
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
from serving.scoring.score_table import Explain

JSON = dict[str, Any]


@pytest.fixture(scope="module")
def scoring(copied: Any, now: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScoringContext]:
    """A company after two batches, so that each score has a trend."""
    harbour = copied(tmp_path_factory.mktemp("responses") / "harbour")
    for as_of in (now - timedelta(days=31), now):
        run.score_accounts(harbour.settings, None, as_of=as_of, explain=Explain.NONE)
    state = AppState.open(str(harbour.config))
    assert state.scoring is not None
    yield state.scoring
    state.close()


def written(response: Any, model: type[BaseModel]) -> JSON:
    """The response as JSON, once the model takes it strictly and loses nothing of it."""
    text = to_json(response)
    parsed = model.model_validate_json(text, strict=True)
    assert parsed.model_dump(mode="json", exclude_unset=True) == json.loads(text)
    return json.loads(text)


def fields(model: type[BaseModel]) -> set[str]:
    return set(model.model_fields)


def score(scoring: ScoringContext, detail: str) -> JSON:
    accounts = [f"A-{i:03}" for i in range(80)] + ["nobody"]
    request = scoring.reader.read(json.dumps({"accounts": accounts, "detail": detail}).encode())
    return written(scoring.score_service.score(request), ScoreResponse)


def test_a_score_with_drivers_has_every_field(scoring: ScoringContext) -> None:
    response = score(scoring, "drivers")
    assert set(response) == fields(ScoreResponse)
    *items, failed = response["results"]
    assert set(failed) == fields(responses.FailedAccount)
    scores = [target_score for item in items for target_score in item["scores"].values()]
    check_fields(items, AccountScores)
    check_fields(scores, TargetScore)
    check_fields([item["recommendation"] for item in items], Recommendation)
    check_fields([score["trend"] for score in scores if score["trend"]], ScoreTrend)
    check_fields([item["next_sale"] for item in items if item["next_sale"]], responses.ExpectedSale, may_be_empty=True)
    check_fields([driver for score in scores for driver in score["drivers"]], ResponseDriver)


def check_fields(parts: list[JSON], model: type[BaseModel], *, may_be_empty: bool = False) -> None:
    assert parts or may_be_empty, model
    for part in parts:
        assert set(part) == fields(model), model


def test_less_detail_leaves_out_optional_fields_alone(scoring: ScoringContext) -> None:
    *items, _ = score(scoring, "scores")["results"]
    required = {name for name, field in AccountScores.model_fields.items() if field.is_required()}
    assert all(set(item) == required for item in items)
    (target_score,) = {frozenset(target_score) for item in items for target_score in item["scores"].values()}
    assert target_score == {name for name, field in TargetScore.model_fields.items() if field.is_required()}
    *items, _ = score(scoring, "advice")["results"]
    check_fields(items, AccountScores)
    assert all(target_score["drivers"] is None for item in items for target_score in item["scores"].values())


def test_an_account_has_every_field(scoring: ScoringContext) -> None:
    response = written(scoring.get_account("A-003"), AccountResponse)
    assert set(response) == fields(AccountResponse)
    check_fields(response["history"], StoredScore)


def test_models_have_every_field(scoring: ScoringContext) -> None:
    response = written(scoring.describe_models({"churn": "a reason"}), ModelsResponse)
    assert set(response) == fields(ModelsResponse)
    assert set(response["snapshot"]) == fields(SnapshotInfo)
    assert set(response["models"]["churn"]) == fields(ModelCard)
    assert set(response["models"]["upsell"]) == fields(ModelCard) - {"fallback"}


def test_the_status_of_events_has_every_field(scoring: ScoringContext) -> None:
    settings = scoring.score_service.settings
    use = {"account_id": "A-003", "event_id": "r-1", "used_at": "2023-06-01T00:00:00Z"}
    rows: Mapping[str, Any] = {
        "tickets": [{"account_id": "A-003", "ticket_id": "r-1", "opened_at": "2023-06-01"}],
        "usage": [use, use, use | {"count": 7}, use | {"event_id": ""}],
        "purchases": [],
    }
    events = EventRequestReader(settings).read(json.dumps(rows).encode())
    with database.open(settings) as store:
        response = written(log.store_events(settings, store, events), EventsResponse)
    assert set(response) == fields(EventsResponse)
    statuses = [status for table in rows for status in response[table]]
    check_fields(statuses, EventStatus)
    assert [status["fate"] for status in statuses] == ["accepted", "accepted", "duplicate", "conflict", "rejected"]
