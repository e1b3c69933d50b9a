from __future__ import annotations

import shutil
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
def room(own_harbour: Any) -> AppState:
    run.score_accounts(own_harbour.settings, None, as_of=EARLIER, explain=Explain.NONE)
    return AppState.open(str(own_harbour.config))


def as_of(room: AppState) -> datetime:
    assert room.scoring is not None
    return room.scoring.score_service.model()["snapshot"]["as_of"]


def version(room: AppState) -> str:
    assert room.scoring is not None
    return room.scoring.model(room.fallbacks)["models"]["churn"]["version"]


def test_a_room_with_nothing_new_stays_as_it_is(room: AppState) -> None:
    assert room.refreshed().scoring is room.scoring


def test_a_new_snapshot_is_in_force_without_a_restart(room: AppState, own_harbour: Any, now: datetime) -> None:
    assert as_of(room) == EARLIER
    run.score_accounts(own_harbour.settings, None, as_of=now, explain=Explain.NONE)
    assert as_of(room.refreshed()) == now
    assert as_of(room) == EARLIER  # requests under way end as they began


def test_a_new_champion_is_in_force_without_a_restart(room: AppState, own_harbour: Any) -> None:
    made = Promotion(promotion_log.format_now(), "promote", "churn", "churn-2", "run-2", "artifacts/churn", "a test")
    promotion_log.append_promotion(own_harbour.settings, made)
    assert version(room) == "churn-1"
    assert version(room.refreshed()) == "churn-2"


def test_what_can_not_be_read_leaves_what_was_read_before(room: AppState, own_harbour: Any) -> None:
    (score_table.scores_folder(own_harbour.settings) / "2030.parquet").write_text("half a file")
    renewed = room.refreshed()
    assert (as_of(renewed), renewed.problem) == (EARLIER, None)


def test_a_champion_that_can_not_be_read_leaves_its_place_to_the_one_before(own_harbour: Any, room: AppState) -> None:
    made = Promotion(promotion_log.format_now(), "promote", "churn", "churn-2", "run-2", "artifacts/none", "a test")
    promotion_log.append_promotion(own_harbour.settings, made)
    for found in (room.refreshed(), AppState.open(str(own_harbour.config))):
        assert found.scoring is not None
        assert (version(found), found.problem) == ("churn-1", None)
        assert set(found.fallbacks) == {"churn"}
        assert (
            "churn-2 can't be read, churn-1 serves"
            in found.scoring.model(found.fallbacks)["models"]["churn"]["fallback"]
        )


def test_without_a_champion_that_can_be_read_nothing_is_scored_and_it_is_said(own_harbour: Any) -> None:
    folder = own_harbour.settings.paths.mlruns / "artifacts" / "churn"
    folder.rename(folder.with_name("away"))
    room = AppState.open(str(own_harbour.config))
    assert room.scoring is None
    assert "is not a whole model" in str(room.problem)
    folder.with_name("away").rename(folder)
    assert room.refreshed().problem is None


def test_a_champion_is_back_once_its_files_are(own_harbour: Any, room: AppState) -> None:
    artifacts = own_harbour.settings.paths.mlruns / "artifacts"
    made = Promotion(promotion_log.format_now(), "promote", "churn", "churn-2", "run-2", "artifacts/late", "a test")
    promotion_log.append_promotion(own_harbour.settings, made)
    fallen = room.refreshed()
    assert set(fallen.fallbacks) == {"churn"}
    shutil.copytree(artifacts / "churn", artifacts / "late")
    mended = fallen.refreshed()
    assert (version(mended), mended.fallbacks) == ("churn-2", {})


def test_trouble_is_over_once_its_cause_is(own_harbour: Any) -> None:
    log = promotion_log.locate_log(own_harbour.settings)
    kept = log.read_text()
    log.unlink()
    room = AppState.open(str(own_harbour.config))
    assert "no model of Small Harbour is champion yet" in str(room.problem)
    assert room.refreshed().problem == room.problem
    log.write_text(kept)
    assert room.refreshed().problem is None


def test_settings_that_are_not_there_are_trouble_and_no_crash(own_harbour: Any) -> None:
    room = AppState.open(str(own_harbour.config.with_name("none.toml")))
    assert "there is no settings file" in str(room.problem)
    assert room.keyring is None


def test_a_room_is_stale_after_some_seconds(room: AppState, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not room.is_stale
    monkeypatch.setattr("serving.api.state.time.monotonic", lambda: room.looked_at + REFRESH_SECONDS + 0.1)
    assert room.is_stale


def test_keys_made_since_are_known_after_the_next_look(room: AppState) -> None:
    assert room.scoring is not None
    assert room.keyring is not None
    header = f"Bearer {auth.create_key(room.scoring.store, 'new')}"
    assert room.keyring.find_key(header) is None
    room.refreshed()
    assert room.keyring.find_key(header) is not None
