from __future__ import annotations

import json
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from features import catalog
from features.core.errors import GarrisonError
from features.engine import snapshots
from features.engine import spark as engine_spark
from features.settings import Engine, Settings
from features.settings.load import load_settings
from features.sources.history import History
from features.state import database
from serving.batch import run, spark
from serving.batch.run import BatchRun
from serving.batch.spark import SparkScoring
from serving.scoring import score_table
from serving.scoring.score_table import Explain, PreviousScores
from serving.scoring.scorer import WANTED, load_champions
from serving.scoring.snapshot_store import StoredSnapshot
from serving.tiers import course
from tests.support.small_catalog import build_small_catalog
from tests.support.spark import JVM, LOCAL, java, spark_java  # noqa: F401  # a fixture
from training.decisions import tier_sides
from training.models.model import Model

EXECUTORS = {"spark.executor.memory": "512m", "spark.executor.extraJavaOptions": JVM}
pytestmark = pytest.mark.usefixtures("spark_java")
OWN = """
from features.definition import feature
from features.streams import USAGE

@feature(unit="uses", family="own", says="{value:,.0f} is our own word for uses in {w} days", windows=(30,))
def own_uses(at, w):
    '''Uses in the last {w} days.'''
    return at(USAGE.count(), w)

FEATURES = own_uses
"""
# The first comes before the second by code point, after it in UTF-16.
RENAMED = {"A-011": "\uff5e", "A-012": "😀", "A-013": 'O\'Brien & "Söhne"', "A-014": "a"}


def elsewhere(harbour: Any, folder: Path) -> Path:
    """The small company in another folder, some of its accounts called what sorts badly; its TOML."""
    here = harbour.config.parent
    shutil.copytree(here, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.db*", "scores", "snapshots"))
    for file in folder.glob("*.csv"):
        text = file.read_text(encoding="utf-8")
        for old, new in RENAMED.items():
            quoted = new.replace('"', '""')
            text = text.replace(f"{old},", f'"{quoted}",')
        file.write_text(text, encoding="utf-8")
    toml = folder / "garrison.toml"
    text = harbour.config.read_text(encoding="utf-8").replace(str(here), str(folder))
    # So that some are in upsell's cohort and some are not.
    toml.write_text(text.replace("within_days = 400", "within_days = 250"), encoding="utf-8")
    return toml


@pytest.fixture(scope="module", autouse=True)
def _small_catalog() -> Iterator[None]:
    """Some 20 features and those that scoring reads itself; all of them on Spark are tested with the engines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "BUILT_IN", build_small_catalog("usage_events_30d", *WANTED, *tier_sides.WANTED))
        yield


@pytest.fixture(scope="module")
def settings(
    harbour: Any, learn: Callable[[Settings, str], Model], tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """The small company in another folder, its champions learnt from some 20 features."""
    found = load_settings(elsewhere(harbour, tmp_path_factory.mktemp("distributed")))
    for target in found.targets:
        place = found.paths.mlruns / "artifacts" / target
        shutil.rmtree(place)
        learn(found, target).save(place)
    return found


@dataclass(frozen=True)
class Twice:
    """One company's batch with each engine; the snapshot is the one that Spark gave."""

    here: BatchRun
    there: BatchRun
    snapshot: StoredSnapshot
    previous: PreviousScores | None
    stored: tuple[list[Any], list[Any]]
    left: list[Path]


@pytest.fixture(scope="module")
def twice(settings: Settings, now: datetime, tmp_path_factory: pytest.TempPathFactory) -> Twice:
    shared = tmp_path_factory.mktemp("shared")
    run.score_accounts(settings, None, as_of=now - timedelta(days=30), explain=Explain.NONE)
    here = run.score_accounts(settings, None, as_of=now, explain=Explain.ALL)
    stored = scores(settings, now)
    engine = Engine(kind="spark", master="local[2]", folder=shared, options=LOCAL)
    there = run.score_accounts(settings.model_copy(update={"engine": engine}), None, as_of=now, explain=Explain.ALL)
    snapshot, previous = (
        StoredSnapshot.load_newest(settings),
        PreviousScores.load(score_table.scores_folder(settings), now),
    )
    assert snapshot
    assert snapshot.run == there.scores.run
    return Twice(here, there, snapshot, previous, (stored, scores(settings, now)), list(shared.iterdir()))


def scores(settings: Settings, now: datetime) -> list[Any]:
    """Those of one target and horizon in the store, without when they were made."""
    with database.open(settings) as opened:
        return [{k: v for k, v in row.items() if k != "scored_at"} for row in opened.latest_scores(now, "churn", 90)]


@java
def test_spark_scores_the_same_snapshot_to_the_same_bits(settings: Settings, twice: Twice) -> None:
    scorer = twice.there.scorer
    rows = twice.snapshot.prepare(scorer)
    wanted = score_table.build_table(settings, scorer, rows, explain=Explain.ALL, previous=twice.previous)
    assert twice.there.scores.table.drop_columns([*course.COLUMNS]).equals(wanted)


@java
def test_a_batch_on_spark_says_what_the_default_engine_s_says(twice: Twice) -> None:
    here, there = twice.here.scores, twice.there.scores
    assert alike(there.table, here.table) == []
    assert there.table.num_rows == 80
    assert replace(there, table=None, previous=None, run="") == replace(here, table=None, previous=None, run="")
    assert twice.there.summary()["targets"].keys() == {"churn_30d", "churn_90d", "upsell_90d"}


@java
def test_accounts_come_back_in_the_order_of_code_points(twice: Twice) -> None:
    account_ids = twice.there.scores.table["account_id"].to_pylist()
    assert account_ids == sorted(account_ids) == twice.snapshot.frame["account_id"].tolist()
    assert set(RENAMED.values()) < set(account_ids)


@java
def test_last_scores_cohorts_and_drivers_are_there(twice: Twice) -> None:
    table = twice.there.scores.table
    assert table["churn_90d_before"].null_count == 0
    assert [{*table[f"in_cohort_{target}"].to_pylist()} for target in ("churn", "upsell")] == [{True}, {True, False}]
    assert table["churn_90d_drivers"].null_count == 0


@java
def test_the_store_gets_what_it_gets_of_the_default_engine(twice: Twice) -> None:
    here, there = (pd.DataFrame(rows).drop(columns="drivers") for rows in twice.stored)
    pd.testing.assert_frame_equal(there, here, rtol=1e-9, atol=1e-9)


@java
def test_nothing_stays_in_the_shared_folder(twice: Twice) -> None:
    assert twice.left == []


@pytest.fixture
def few(settings: Settings) -> Iterator[History]:
    """A few accounts and their tickets alone: what Spark plans in seconds."""
    with History.open(settings) as whole:
        account_ids = whole.read_accounts(0, 19)["account_id"].to_pylist()
        rows = {t: [row for i in account_ids for row in whole.read_rows(t, i)] for t in ("accounts", "tickets")}
    with History.from_rows(settings, rows) as history:
        yield history


@java
def test_executors_of_their_own_score_what_lacks_sources(
    settings: Settings, few: History, now: datetime, tmp_path: Path
) -> None:
    scorer = load_champions(settings)
    few.engine = Engine(kind="spark", master="local-cluster[1,2,512]", folder=tmp_path, options=LOCAL | EXECUTORS)
    [(part, told)] = spark.score_parts(settings, few, scorer, as_of=now, explain=Explain.ABOVE, previous=None)
    assert told.equals(score_table.build_table(settings, scorer, part.prepare(scorer), explain=Explain.ABOVE))
    assert told.num_rows == 20
    assert 0 < told["churn_90d_drivers"].null_count < 20
    assert {part.sources, scorer.find_missing_sources("churn", part.sources)} == {("tickets",), ("usage", "purchases")}


@java
def test_workers_without_the_libraries_are_told_in_one_line(
    settings: Settings, few: History, now: datetime, tmp_path: Path
) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n', encoding="utf-8")
    bare.chmod(0o755)
    options = LOCAL | {"spark.pyspark.python": str(bare)}
    few.engine = Engine(kind="spark", master="local[1]", folder=tmp_path, options=options)
    parts = spark.score_parts(settings, few, load_champions(settings), as_of=now, explain=Explain.NONE, previous=None)
    with pytest.raises(GarrisonError, match="Python failed on Spark's workers") as told:
        next(parts)
    assert "No module named" in str(told.value)
    assert "\n" not in str(told.value)


@java
def test_a_model_that_the_snapshots_do_not_serve_is_told_before_spark_starts(
    settings: Settings, few: History, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    champions = load_champions(settings)
    wrong = replace(champions.models["churn"], features=("region", "colour"))
    scorer = replace(champions, models={"churn": wrong})
    few.engine = Engine(kind="spark")
    monkeypatch.setattr(engine_spark, "_started", None)
    with pytest.raises(GarrisonError, match="colour"):
        next(spark.score_parts(settings, few, scorer, as_of=now, explain=Explain.NONE, previous=None))


def scoring(settings: Settings, explain: Explain = Explain.ALL) -> SparkScoring:
    scorer = load_champions(settings)
    sources = ("tickets", "usage", "purchases")
    return SparkScoring(settings, scorer.models, scorer.catalog.files, sources, explain)


def test_what_is_sent_to_workers_holds_no_password_and_no_data(settings: Settings, now: datetime) -> None:
    engine = Engine(kind="postgres", url="postgresql://ann:hidden@db/x")
    secret = settings.model_copy(update={"engine": engine, "state_url": "postgresql://ann:hidden@db/y"})
    with History.open(settings) as history:
        frame = snapshots.build(history, [now])
    job = scoring(secret)
    wanted = job(frame)
    sent = pickle.dumps(job)
    assert b"hidden" not in sent
    texts = sum(len(head.text) for bundle in job.models.values() for head in bundle.horizon_models)
    assert len(sent) < 1.2 * texts + 200_000
    again = pickle.loads(sent)  # noqa: S301  # our own bytes
    assert all("booster" not in vars(head) for bundle in again.models.values() for head in bundle.horizon_models)
    # Of the training rows only their medians go along, which drivers are held against.
    assert all(len(bundle.reference) == 1 for bundle in again.models.values())
    assert again(frame).equals(wanted)


def test_workers_know_a_company_s_own_features(own_harbour: Any, now: datetime) -> None:
    (own_harbour.config.parent / "own.py").write_text(OWN, encoding="utf-8")
    text = own_harbour.config.read_text(encoding="utf-8") + '[catalog]\nfeatures = ["own.py"]\n'
    own_harbour.config.write_text(text, encoding="utf-8")
    settings = load_settings(own_harbour.config)
    job = scoring(settings)
    # The model reads the company's own feature in place of the one that it learned from.
    churn = job.models["churn"]
    taught = tuple("own_uses_30d" if f == "usage_events_30d" else f for f in churn.features)
    job = replace(job, models={"churn": replace(churn, features=taught)})
    with History.open(settings) as history:
        frame = snapshots.build(history, [now])
    sent = pickle.dumps(job)
    (own_harbour.config.parent / "own.py").unlink()
    told = pickle.loads(sent)(frame)  # noqa: S301  # our own bytes
    assert any("our own word for" in drivers for drivers in told["churn_90d_drivers"].to_pylist())
    assert told.equals(job(frame))


def alike(found: pa.Table, wanted: pa.Table) -> list[str]:
    """The columns that differ: numbers by more than 1e-9, anything else at all."""
    assert found.schema == wanted.schema
    return [name for name in wanted.column_names if not same(found[name].to_pylist(), wanted[name].to_pylist())]


def same(found: list[Any], wanted: list[Any]) -> bool:
    if any(isinstance(value, str) and value.startswith("[{") for value in wanted):
        found, wanted = ([driver for text in side for driver in json.loads(text or "[]")] for side in (found, wanted))
        numbers = [[driver.pop("contribution") for driver in side] for side in (found, wanted)]
        return found == wanted and numbers[0] == pytest.approx(numbers[1], rel=1e-9, abs=1e-9)
    if any(isinstance(value, float) for value in wanted):
        nothing = [[value is None for value in side] for side in (found, wanted)]
        known = [[value for value in side if value is not None] for side in (found, wanted)]
        return nothing[0] == nothing[1] and known[0] == pytest.approx(known[1], rel=1e-9, abs=1e-9)
    return found == wanted
