"""The promotion log: what it says is what serves, whatever cut a write short."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from datetime import UTC, datetime

import pandas as pd
import pytest

from features.core.errors import GarrisonError, RegistryError
from features.settings.load import load_settings
from training.models.model import Model
from training.registry import promotion_log
from training.registry.promotion_log import Promotion

FIRST = Promotion("2024-01-01T00:00:00+00:00", "promote", "churn", "churn-1", "run1", "artifacts/1", "the first")
SECOND = replace(FIRST, version="churn-2", run_id="run2", bundle="artifacts/2", reason="bessere Zahlen: +3 %, grün")
UPSELL = replace(FIRST, target="upsell", version="upsell-1", bundle="artifacts/3")


@pytest.fixture
def settings(company, tmp_path):
    return company.vary(tmp_path / "company").settings


def save(settings, promotion):
    Model(
        target=promotion.target,
        features=("a",),
        categories={},
        sources=("usage",),
        catalog="0",
        trained_at=datetime(2024, 1, 1, tzinfo=UTC),
        horizon_models=(),
        order=1,
        reference=pd.DataFrame({"a": [1.0]}),
        run_id=promotion.run_id,
    ).save(settings.paths.mlruns / promotion.bundle)


def test_what_is_appended_is_read_in_order(settings):
    for promotion in (FIRST, UPSELL, SECOND):
        promotion_log.append_promotion(settings, promotion)
    assert promotion_log.read_promotions(settings) == [FIRST, UPSELL, SECOND]
    assert promotion_log.read_current(settings) == {"churn": SECOND, "upsell": UPSELL}


def test_before_the_first_promotion_there_is_none(settings):
    assert promotion_log.read_promotions(settings) == []
    assert promotion_log.read_current(settings) == {}
    assert promotion_log.load_champions(settings) == {}


def test_the_log_is_a_json_object_a_line_and_nothing_else_is_left(settings):
    for promotion in (FIRST, SECOND):
        promotion_log.append_promotion(settings, promotion)
    file = promotion_log.locate_log(settings)
    assert file.name == "small-quay-promotions.jsonl"
    assert [json.loads(line)["version"] for line in file.read_text().splitlines()] == ["churn-1", "churn-2"]
    assert sorted(f.name for f in file.parent.iterdir()) == [file.name, "small-quay-promotions.lock"]


def _append_many(settings, writer):
    for n in range(20):
        promotion_log.append_promotion(settings, replace(FIRST, reason=f"{writer} {n}"))


def test_two_processes_that_promote_at_once_lose_nothing(settings):
    writers = [multiprocessing.get_context("fork").Process(target=_append_many, args=(settings, w)) for w in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    reasons = [p.reason for p in promotion_log.read_promotions(settings)]
    assert sorted(reasons) == sorted(f"{w} {n}" for w in range(3) for n in range(20))


def test_a_log_that_another_process_holds_for_too_long_is_a_clear_error(settings, monkeypatch):
    monkeypatch.setattr(promotion_log, "_PATIENCE_S", 0.0)
    with (
        promotion_log.hold_log(settings),
        pytest.raises(GarrisonError, match=r"promotions\.lock can't be locked.*locked"),
    ):
        promotion_log.append_promotion(settings, FIRST)


def test_a_reason_of_many_lines_is_kept_as_it_is(settings):
    odd = replace(FIRST, reason="one\ntwo\u2028three\x85four\r\n")
    promotion_log.append_promotion(settings, odd)
    promotion_log.append_promotion(settings, SECOND)
    assert promotion_log.read_promotions(settings) == [odd, SECOND]


@pytest.mark.parametrize("kept", [1, 30, -1])
def test_a_last_line_that_a_kill_cut_short_is_ignored_and_then_repaired(settings, kept):
    promotion_log.append_promotion(settings, FIRST)
    file = promotion_log.locate_log(settings)
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:-1][:kept])
    assert promotion_log.read_promotions(settings) == [FIRST]
    promotion_log.append_promotion(settings, SECOND)
    assert promotion_log.read_promotions(settings) == [FIRST, SECOND]
    assert len(file.read_text().splitlines()) == 2


def test_a_first_line_that_a_kill_cut_short_is_ignored_and_then_repaired(settings):
    promotion_log.append_promotion(settings, FIRST)
    file = promotion_log.locate_log(settings)
    file.write_bytes(file.read_bytes()[:40])
    assert promotion_log.read_promotions(settings) == []
    promotion_log.append_promotion(settings, SECOND)
    assert promotion_log.read_promotions(settings) == [SECOND]


@pytest.mark.parametrize("line", ["no json", '"text"', '{"at": "2024-01-01"}', "[]"])
def test_a_whole_line_that_is_no_promotion_is_a_clear_error(settings, line):
    promotion_log.append_promotion(settings, FIRST)
    with promotion_log.locate_log(settings).open("a") as log:
        log.write(line + "\n")
    with pytest.raises(RegistryError, match="has a line that is no promotion"):
        promotion_log.read_current(settings)


def test_a_file_that_a_kill_left_beside_the_log_does_not_matter(settings):
    promotion_log.append_promotion(settings, FIRST)
    promotion_log.locate_log(settings).with_suffix(".part").write_text("half")
    assert promotion_log.read_promotions(settings) == [FIRST]
    promotion_log.append_promotion(settings, SECOND)
    assert promotion_log.read_promotions(settings) == [FIRST, SECOND]


def test_champions_are_loaded_under_their_versions(settings):
    for promotion in (FIRST, SECOND, UPSELL):
        save(settings, promotion)
        promotion_log.append_promotion(settings, promotion)
    served = promotion_log.load_champions(settings)
    assert {target: (b.version, b.run_id) for target, b in served.items()} == {
        "churn": ("churn-2", "run2"),
        "upsell": ("upsell-1", "run1"),
    }


def test_a_target_no_longer_asked_for_has_no_champion(settings, tmp_path):
    for promotion in (FIRST, UPSELL):
        save(settings, promotion)
        promotion_log.append_promotion(settings, promotion)
    text = settings.file.read_text()
    (tmp_path / "churn_alone.toml").write_text(text[: text.index("[upsell]")])
    assert promotion_log.load_champions(load_settings(tmp_path / "churn_alone.toml")).keys() == {"churn"}


def test_a_champion_whose_folder_is_gone_is_a_clear_error(settings):
    promotion_log.append_promotion(settings, FIRST)
    with pytest.raises(RegistryError, match=r"artifacts/1 is not a whole model\. "):
        promotion_log.load_champions(settings)


def test_another_companys_log_is_another_file(settings):
    promotion_log.append_promotion(settings, FIRST)
    company = settings.company.model_copy(update={"name": "Other Quay"})
    assert promotion_log.read_promotions(settings.model_copy(update={"company": company})) == []


def test_the_champion_before_is_the_last_of_another_version(settings):
    for promotion in (FIRST, SECOND, UPSELL, replace(SECOND, reason="again")):
        promotion_log.append_promotion(settings, promotion)
    assert promotion_log.find_previous(settings, "churn") == FIRST


def test_the_champion_before_a_rollback_is_the_one_rolled_back(settings):
    for promotion in (FIRST, SECOND, replace(FIRST, action="rollback")):
        promotion_log.append_promotion(settings, promotion)
    assert promotion_log.find_previous(settings, "churn") == SECOND


def test_a_line_says_when_in_utc_to_the_second():
    told = datetime.fromisoformat(promotion_log.format_now())
    assert told.utcoffset().total_seconds() == 0
    assert told.microsecond == 0
    assert abs((datetime.now(UTC) - told).total_seconds()) < 5
