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
    run.run(own_harbour.settings, None, as_of=EARLIER, explain=Explain.NONE)
    return AppState.open(str(own_harbour.config))


def as_of(room: AppState) -> datetime:
    assert room.desk is not None
    return room.desk.answers.model()["snapshot"]["as_of"]


def version(room: AppState) -> str:
    assert room.desk is not None
    return room.desk.model(room.fallbacks)["models"]["churn"]["version"]


def test_a_room_with_nothing_new_stays_as_it_is(room: AppState) -> None:
    assert room.renewed().desk is room.desk


def test_a_new_snapshot_is_in_force_without_a_restart(room: AppState, own_harbour: Any, now: datetime) -> None:
    assert as_of(room) == EARLIER
    run.run(own_harbour.settings, None, as_of=now, explain=Explain.NONE)
    assert as_of(room.renewed()) == now
    assert as_of(room) == EARLIER  # requests under way end as they began


def test_a_new_champion_is_in_force_without_a_restart(room: AppState, own_harbour: Any) -> None:
    made = Promotion(promotion_log.now(), "promote", "churn", "churn-2", "run-2", "artifacts/churn", "a test")
    promotion_log.append(own_harbour.settings, made)
    assert version(room) == "churn-1"
    assert version(room.renewed()) == "churn-2"


def test_what_can_not_be_read_leaves_what_was_read_before(room: AppState, own_harbour: Any) -> None:
    (score_table.folder(own_harbour.settings) / "2030.parquet").write_text("half a file")
    renewed = room.renewed()
    assert (as_of(renewed), renewed.trouble) == (EARLIER, None)


def test_a_champion_that_can_not_be_read_leaves_its_place_to_the_one_before(own_harbour: Any, room: AppState) -> None:
    made = Promotion(promotion_log.now(), "promote", "churn", "churn-2", "run-2", "artifacts/none", "a test")
    promotion_log.append(own_harbour.settings, made)
    for found in (room.renewed(), AppState.open(str(own_harbour.config))):
        assert found.desk is not None
        assert (version(found), found.trouble) == ("churn-1", None)
        assert set(found.fallbacks) == {"churn"}
        assert (
            "churn-2 can't be read, churn-1 serves" in found.desk.model(found.fallbacks)["models"]["churn"]["fallback"]
        )


def test_without_a_champion_that_can_be_read_nothing_is_scored_and_it_is_said(own_harbour: Any) -> None:
    folder = own_harbour.settings.paths.mlruns / "artifacts" / "churn"
    folder.rename(folder.with_name("away"))
    room = AppState.open(str(own_harbour.config))
    assert room.desk is None
    assert "is not a whole model" in str(room.trouble)
    folder.with_name("away").rename(folder)
    assert room.renewed().trouble is None


def test_a_champion_is_back_once_its_files_are(own_harbour: Any, room: AppState) -> None:
    artifacts = own_harbour.settings.paths.mlruns / "artifacts"
    made = Promotion(promotion_log.now(), "promote", "churn", "churn-2", "run-2", "artifacts/late", "a test")
    promotion_log.append(own_harbour.settings, made)
    fallen = room.renewed()
    assert set(fallen.fallbacks) == {"churn"}
    shutil.copytree(artifacts / "churn", artifacts / "late")
    mended = fallen.renewed()
    assert (version(mended), mended.fallbacks) == ("churn-2", {})


def test_trouble_is_over_once_its_cause_is(own_harbour: Any) -> None:
    log = promotion_log.file(own_harbour.settings)
    kept = log.read_text()
    log.unlink()
    room = AppState.open(str(own_harbour.config))
    assert "no model of Small Harbour is champion yet" in str(room.trouble)
    assert room.renewed().trouble == room.trouble
    log.write_text(kept)
    assert room.renewed().trouble is None


def test_settings_that_are_not_there_are_trouble_and_no_crash(own_harbour: Any) -> None:
    room = AppState.open(str(own_harbour.config.with_name("none.toml")))
    assert "there is no settings file" in str(room.trouble)
    assert room.keyring is None


def test_a_room_is_stale_after_some_seconds(room: AppState, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not room.stale
    monkeypatch.setattr("serving.api.state.time.monotonic", lambda: room.looked_at + REFRESH_SECONDS + 0.1)
    assert room.stale


def test_keys_made_since_are_known_after_the_next_look(room: AppState) -> None:
    assert room.desk is not None
    assert room.keyring is not None
    header = f"Bearer {auth.create_key(room.desk.store, 'new')}"
    assert room.keyring.holder(header) is None
    room.renewed()
    assert room.keyring.holder(header) is not None
