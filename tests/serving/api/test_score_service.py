"""What is told of accounts by id and with posted histories, held against what the batch said of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from pydantic_core import to_json

from serving.api.score_service import ScoreService
from serving.batch import run
from serving.schemas.responses import AccountResponse, ModelsResponse, ResponseDriver, ScoreResponse
from serving.schemas.score_requests import ScoreRequest, ScoreRequestReader
from serving.scoring.score_table import Explain

EARLIER = datetime(2023, 12, 1, tzinfo=UTC)
IDS = ["A-003", "A-007", "A-011", "A-042", "A-079"]


@pytest.fixture(scope="module")
def company(harbour: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The small company after two batches, a month apart; the last explained those above the base rate."""
    settings = harbour.settings.model_copy(
        update={"paths": harbour.settings.paths.model_copy(update={"var": tmp_path_factory.mktemp("var")})}
    )
    run.score_accounts(settings, None, as_of=EARLIER, explain=Explain.NONE)
    return settings, run.score_accounts(settings, None, as_of=EARLIER + timedelta(days=31))


@pytest.fixture(scope="module")
def service(company: Any) -> ScoreService:
    return ScoreService.load(company[0])


def ask(
    service: ScoreService, *items: Any, as_of: datetime | None = None, detail: Any = "drivers"
) -> list[dict[str, Any]]:
    told = service.score(ScoreRequest(as_of, detail, items))
    ScoreResponse.model_validate_json(to_json(told), strict=True)
    return json.loads(to_json(told))["results"]


@pytest.mark.parametrize("detail", ["scores", "advice", "drivers"])
def test_scores_by_id_are_the_batchs_to_the_last_bit(company: Any, service: ScoreService, detail: str) -> None:
    table = company[1].scores.table.to_pandas().set_index("account_id")
    for item in ask(service, *IDS, detail=detail):
        for name, told in item["scores"].items():
            assert told["score"] == table.loc[item["account_id"], name]
            assert ("drivers" in told) == (detail != "scores")


def test_what_is_told_by_id_is_what_went_to_the_crm(company: Any, service: ScoreService) -> None:
    settings, scored = company
    sent = pd.concat(list(run.build_frames(settings, scored.scores))).set_index("account_id")
    for item in ask(service, *IDS):
        row = sent.loc[item["account_id"]]
        assert (item["tier"], item["recommendation"]["do"]) == (row["tier"], row["recommendation"])
        assert item["recommendation"]["why"] == row["why"]
        assert item["value"] == pytest.approx(row["value"], nan_ok=True)
        assert item["scores"]["churn_90d"]["value"] == pytest.approx(row["value_at_risk"])
        assert item["scores"]["churn_90d"]["trend"]["change"] == row["churn_90d_trend"]
        for name, told in item["scores"].items():
            assert (told["low"], told["high"]) == (row[f"{name}_low"], row[f"{name}_high"])
            assert told["low"] < told["score"] < told["high"]
        assert item["scores"]["churn_90d"]["trend"]["as_of"] == "2023-12-01T00:00:00Z"
        if row["drivers"]:
            assert "; ".join(d["text"] for d in item["scores"]["churn_90d"]["drivers"]) == row["drivers"]


def test_what_the_batch_said_is_what_would_be_worked_out_now(company: Any, service: ScoreService) -> None:
    settings, _ = company
    stored = ask(service, *IDS)
    assert service.snapshot.scores is not None
    bare = ScoreService(
        settings, service.scorer, service.snapshot.__class__(**{**vars(service.snapshot), "scores": None})
    )
    for before, now in zip(stored, ask(bare, *IDS), strict=True):
        for name, told in before["scores"].items():
            assert told["drivers"]
            assert told["drivers"] == now["scores"][name]["drivers"]
            assert {key for d in told["drivers"] for key in d} == set(ResponseDriver.model_fields)
            assert (told["score"], told["value"]) == (now["scores"][name]["score"], now["scores"][name]["value"])
        same = ("value", "recommendation", "next_sale", "leaves_in_days")
        assert [before[key] for key in same] == [now[key] for key in same]
        assert (now["tier"], now["scores"]["churn_90d"]["trend"]) == (None, None)
    for before, now in zip(ask(service, *IDS, detail="scores"), ask(bare, *IDS, detail="scores"), strict=True):
        assert before["scores"] == now["scores"]


def test_a_posted_history_scores_as_its_id_does(harbour: Any, company: Any, service: ScoreService) -> None:
    reader, as_of = ScoreRequestReader(company[0]), company[1].scores.as_of
    many = list(service.snapshot.index)[:20]  # more than are computed one by one
    for detail, ids in (("scores", IDS), ("advice", IDS), ("drivers", IDS), ("advice", many)):
        items = [harbour.posted(i) for i in ids]
        body = {"accounts": items, "as_of": as_of.isoformat(), "detail": detail}
        asked = reader.read(json.dumps(body).encode())
        told = json.loads(to_json(service.score(asked)))["results"]
        for by_id, posted in zip(ask(service, *ids, detail=detail), told, strict=True):
            # What hangs on the stored scores is known of ids alone, unless the history is newer than they are.
            for item in (by_id, posted):
                item.pop("age_s")
                item.pop("tier", None)
                for score in item["scores"].values():
                    score.pop("trend", None)
            assert by_id == posted


def test_a_history_newer_than_the_batch_is_told_how_its_score_has_moved(harbour: Any, service: ScoreService) -> None:
    as_of = datetime(2024, 1, 11, tzinfo=UTC)
    reader = ScoreRequestReader(service.settings)
    body = json.dumps({"accounts": [harbour.posted("A-003")], "as_of": as_of.isoformat()}).encode()
    (item,) = service.score(reader.read(body))["results"]
    (before,) = ask(service, "A-003")
    trend = item["scores"]["churn_90d"]["trend"]
    assert trend["score"] == before["scores"]["churn_90d"]["score"]
    assert trend["change"] == item["scores"]["churn_90d"]["score"] - trend["score"]
    assert item["tier"] == before["tier"]


def test_an_account_and_the_models_have_the_shapes_that_are_documented(service: ScoreService) -> None:
    AccountResponse.model_validate_json(to_json(service.score_account("A-003") | {"history": []}), strict=True)
    ModelsResponse.model_validate_json(to_json(service.describe_models()), strict=True)


def test_what_takes_long_the_first_time_is_done_when_the_service_is_warm(company: Any) -> None:
    cold = ScoreService.load(company[0])
    cold.warm_up()
    models = [m for model in cold.scorer.models.values() for m in model.horizon_models]
    assert models
    assert all("_explainer" in vars(model) for model in models)
