from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from serving.api import auth
from serving.api.state import REFRESH_SECONDS, AppState
from serving.batch import run
from serving.scoring import score_table
from serving.scoring.score_table import Explain
from training.registry import promotion_log
from training.registry.promotion_log import Promotion

EARLIER = datetime(2023, 12, 1, tzinfo=UTC)


@pytest.fixture
def state(own_harbour: Any) -> AppState:
    run.score_accounts(own_harbour.settings, None, as_of=EARLIER, explain=Explain.NONE)
    return AppState.open(str(own_harbour.config))


def as_of(state: AppState) -> datetime:
    assert state.scoring is not None
    return state.scoring.score_service.describe_models()["snapshot"]["as_of"]


def version(state: AppState) -> str:
    assert state.scoring is not None
    return state.scoring.describe_models(state.fallbacks)["models"]["churn"]["version"]


def test_refresh_without_anything_new_keeps_the_scoring_context(state: AppState) -> None:
    assert state.refresh().scoring is state.scoring


def test_refresh_loads_a_new_snapshot(state: AppState, own_harbour: Any, now: datetime) -> None:
    assert as_of(state) == EARLIER
    run.score_accounts(own_harbour.settings, None, as_of=now, explain=Explain.NONE)
    assert as_of(state.refresh()) == now
    assert as_of(state) == EARLIER  # requests under way end as they began


def test_refresh_loads_a_new_champion(state: AppState, own_harbour: Any) -> None:
    made = Promotion(promotion_log.format_now(), "promote", "churn", "churn-2", "run-2", "artifacts/churn", "a test")
    promotion_log.append_promotion(own_harbour.settings, made)
    assert version(state) == "churn-1"
    assert version(state.refresh()) == "churn-2"


def test_refresh_keeps_the_previous_snapshot_if_the_new_one_is_broken(state: AppState, own_harbour: Any) -> None:
    (score_table.scores_folder(own_harbour.settings) / "2030.parquet").write_text("half a file")
    refreshed = state.refresh()
    assert (as_of(refreshed), refreshed.problem) == (EARLIER, None)


def test_an_unreadable_champion_is_replaced_by_the_model_before(own_harbour: Any, state: AppState) -> None:
    made = Promotion(promotion_log.format_now(), "promote", "churn", "churn-2", "run-2", "artifacts/none", "a test")
    promotion_log.append_promotion(own_harbour.settings, made)
    for opened in (state.refresh(), AppState.open(str(own_harbour.config))):
        assert opened.scoring is not None
        assert (version(opened), opened.problem) == ("churn-1", None)
        assert set(opened.fallbacks) == {"churn"}
        assert (
            "churn-2 can't be read, churn-1 serves"
            in opened.scoring.describe_models(opened.fallbacks)["models"]["churn"]["fallback"]
        )


def test_without_a_readable_model_there_is_a_problem_and_no_scoring(own_harbour: Any) -> None:
    folder = own_harbour.settings.paths.mlruns / "artifacts" / "churn"
    folder.rename(folder.with_name("away"))
    state = AppState.open(str(own_harbour.config))
    assert state.scoring is None
    assert "is not a whole model" in str(state.problem)
    folder.with_name("away").rename(folder)
    assert state.refresh().problem is None


def test_a_champion_returns_once_its_files_do(own_harbour: Any, state: AppState) -> None:
    artifacts = own_harbour.settings.paths.mlruns / "artifacts"
    made = Promotion(promotion_log.format_now(), "promote", "churn", "churn-2", "run-2", "artifacts/late", "a test")
    promotion_log.append_promotion(own_harbour.settings, made)
    fallen = state.refresh()
    assert set(fallen.fallbacks) == {"churn"}
    shutil.copytree(artifacts / "churn", artifacts / "late")
    mended = fallen.refresh()
    assert (version(mended), mended.fallbacks) == ("churn-2", {})


def test_a_problem_ends_once_its_cause_is_gone(own_harbour: Any) -> None:
    log = promotion_log.locate_log(own_harbour.settings)
    kept = log.read_text()
    log.unlink()
    state = AppState.open(str(own_harbour.config))
    assert "no model of Small Harbour is champion yet" in str(state.problem)
    assert state.refresh().problem == state.problem
    log.write_text(kept)
    assert state.refresh().problem is None


def test_missing_settings_are_a_problem_and_no_crash(own_harbour: Any) -> None:
    state = AppState.open(str(own_harbour.config.with_name("none.toml")))
    assert "there is no settings file" in str(state.problem)
    assert state.keyring is None


def test_refresh_is_due_after_some_seconds(state: AppState, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not state.timer.is_due
    later = time.monotonic() + REFRESH_SECONDS + 0.1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert state.timer.is_due


def test_refresh_loads_new_keys(state: AppState) -> None:
    assert state.scoring is not None
    assert state.keyring is not None
    header = f"Bearer {auth.create_key(state.scoring.store, 'new')}"
    assert state.keyring.find_key(header) is None
    state.refresh()
    assert state.keyring.find_key(header) is not None
