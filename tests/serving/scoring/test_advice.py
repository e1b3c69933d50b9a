"""Recommendations of the HTTP service for accounts that are customers and for accounts that have left."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from pydantic_core import to_json

from serving.api.score_service import ScoreService
from serving.batch import run
from serving.schemas.responses import ScoreResponse
from serving.schemas.score_requests import ScoreRequest, ScoreRequestReader
from serving.scoring.advice import NO_CUSTOMER, clear_outside_cohort
from serving.scoring.score_table import Explain
from training.models.level import Level
from training.registry import promotion_log

# Terms of a year have ended for some accounts by then, and for others not yet.
AS_OF = datetime(2024, 4, 15, tzinfo=UTC)


def test_neither_ids_nor_posted_histories_of_accounts_that_have_left_get_a_recommendation(
    own_harbour: Any, harbour: Any
) -> None:
    table = run.score_accounts(own_harbour.settings, None, as_of=AS_OF, explain=Explain.NONE).scores.table.to_pandas()
    accounts = table.groupby("in_cohort_churn")["account_id"].head(5).tolist()
    service = ScoreService.load(own_harbour.settings)
    body = {"accounts": [harbour.posted(name) for name in accounts], "as_of": AS_OF.isoformat(), "detail": "advice"}
    posted = ScoreRequestReader(own_harbour.settings).read(json.dumps(body).encode())
    for request in (ScoreRequest(None, "advice", accounts), posted):
        answer = to_json(service.score(request))
        ScoreResponse.model_validate_json(answer, strict=True)
        seen = {True: 0, False: 0}
        for item in json.loads(answer)["results"]:
            is_customer = item["scores"]["churn_90d"]["in_cohort"]
            assert (item["recommendation"] is not None) == is_customer
            seen[is_customer] += 1
        assert seen == {True: 5, False: 5}


@pytest.mark.parametrize(("days", "is_unsure"), [((19_820.0, 19_840.0), False), ((19_000.0, 19_020.0), True)])
def test_scores_of_a_level_that_moves_are_the_same_everywhere_and_say_where_it_is_unsure(
    own_harbour: Any, harbour: Any, monkeypatch: pytest.MonkeyPatch, days: tuple[float, ...], *, is_unsure: bool
) -> None:
    level = Level("year ago", days, (0.3, 0.5), -0.4)
    moved = {
        target: replace(model, horizon_models=tuple(replace(h, level=level) for h in model.horizon_models))
        for target, model in promotion_log.load_champions(own_harbour.settings).items()
    }
    monkeypatch.setattr(promotion_log, "load_champions", lambda _: moved)
    table = run.score_accounts(own_harbour.settings, None, as_of=AS_OF, explain=Explain.NONE).scores.table.to_pandas()
    accounts = table["account_id"].head(5).tolist()
    service = ScoreService.load(own_harbour.settings)
    body = {"accounts": [harbour.posted(name) for name in accounts], "as_of": AS_OF.isoformat(), "detail": "advice"}
    posted = ScoreRequestReader(own_harbour.settings).read(json.dumps(body).encode())
    for request in (ScoreRequest(None, "advice", accounts), posted):
        answer = to_json(service.score(request))
        ScoreResponse.model_validate_json(answer, strict=True)
        found = [item["scores"]["churn_90d"] for item in json.loads(answer)["results"]]
        assert [score["score"] for score in found] == table["churn_90d"].head(5).tolist()
        assert {score["level_unsure"] for score in found} == {is_unsure}


@pytest.mark.parametrize("target", ["churn", "upsell"])
def test_only_accounts_that_are_known_to_be_outside_the_cohort_lose_their_recommendation(target: str) -> None:
    columns = {
        f"in_cohort_{target}": pa.array([True, False, None]),
        "recommendation": pa.array(["act", "act", "sell"]),
        "withheld": pa.array([True, True, False]),
        "why": pa.array(["risk", "risk", "chance"]),
    }
    cleared = clear_outside_cohort(columns)
    assert cleared["recommendation"].to_pylist() == ["act", None, "sell"]
    assert cleared["withheld"].to_pylist() == [True, False, False]
    assert cleared["why"].to_pylist() == ["risk", NO_CUSTOMER, "chance"]
    del columns[f"in_cohort_{target}"]
    assert clear_outside_cohort(columns) == columns
