from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import features
from features import snapshots
from features.company import load
from features.engines import spark
from features.errors import GarrisonError
from features.history import History
from features.instants import micros
from features.settings import Engine, Settings
from serving import answers, batch, distributed, results, store
from serving.batch import Batch, Explain
from serving.distributed import Scoring
from serving.online import Snapshot
from serving.results import Earlier

java = pytest.mark.skipif(
    os.environ.get("CI") != "true" and shutil.which("java") is None, reason="there is no java for Spark to run on"
)
# For minutes of work the compiler that makes less of it is the faster one.
JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
LOCAL = {"spark.driver.memory": "1g", "spark.driver.extraJavaOptions": JVM, "spark.sql.shuffle.partitions": "2"}
# The first comes before the second by code point, after it in UTF-16.
RENAMED = {"A-011": "\uff5e", "A-012": "😀", "A-013": 'O\'Brien & "Söhne"', "A-014": "a"}


@pytest.fixture(scope="module", autouse=True)
def _jvm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ends Spark's Java, which would otherwise live as long as this process."""
    import pyspark

    # Executors write their logs beside Spark: so Spark is had from a folder of the test's.
    home = tmp_path_factory.mktemp("spark")
    for path in Path(pyspark.__file__).parent.iterdir():
        (home / path.name).symlink_to(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_HOME", str(home))
        # Workers start here: Garrison's own code reaches them from the driver alone.
        patch.chdir(home)
        yield
    context = getattr(sys.modules.get("pyspark"), "SparkContext", None)
    if context and context._gateway:
        context._gateway.shutdown()
        context._gateway.proc.stdin.close()
        context._gateway.proc.wait(30)
        context._gateway = context._jvm = None


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
    toml.write_text(harbour.config.read_text(encoding="utf-8").replace(str(here), str(folder)), encoding="utf-8")
    return toml


def on_spark(settings: Settings, shared: Path, **options: str) -> Settings:
    """The same company with Spark as its engine."""
    shared.mkdir(exist_ok=True)
    engine = Engine(kind="spark", master="local[2]", folder=shared, options=LOCAL | options)
    return settings.model_copy(update={"engine": engine})


@dataclass(frozen=True)
class Twice:
    """One company's batch with each engine; what follows of the snapshot, the store and the last scores is Spark's."""

    settings: Settings
    shared: Path
    here: Batch
    there: Batch
    snapshot: Snapshot
    earlier: Earlier | None
    stored: tuple[list[Any], list[Any]]


@pytest.fixture(scope="module")
def twice(harbour: Any, now: datetime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twice]:
    folder = tmp_path_factory.mktemp("distributed")
    settings, shared = load(elsewhere(harbour, folder)), folder / "shared"
    batch.run(settings, None, as_of=now - timedelta(days=30), explain=Explain.NONE)
    here = batch.run(settings, None, as_of=now, explain=Explain.ALL)
    stored = scores(settings, now)
    there = batch.run(on_spark(settings, shared), None, as_of=now, explain=Explain.ALL)
    snapshot, earlier = Snapshot.newest(settings), Earlier.than(results.folder(settings), now)
    assert snapshot
    yield Twice(settings, shared, here, there, snapshot, earlier, (stored, scores(settings, now)))


def scores(settings: Settings, now: datetime) -> list[Any]:
    """Those of one target and horizon in the store, without when they were made."""
    with store.open(settings) as opened:
        return [{k: v for k, v in row.items() if k != "scored_at"} for row in opened.latest_scores(now, "churn", 90)]


@java
def test_spark_scores_the_same_snapshot_to_the_same_bits(twice: Twice) -> None:
    scorer = twice.there.scorer
    rows = twice.snapshot.rows(scorer)
    wanted = batch.scored(twice.settings, scorer, rows, explain=Explain.ALL, earlier=twice.earlier)
    assert twice.there.results.table.drop_columns("tier").equals(wanted)


@java
def test_a_batch_on_spark_says_what_the_default_engine_s_says(twice: Twice) -> None:
    here, there = twice.here.results, twice.there.results
    assert alike(there.table, here.table) == []
    assert there.table.num_rows == 80
    assert replace(there, table=None, before=None, run="") == replace(here, table=None, before=None, run="")
    assert twice.there.summary()["targets"].keys() == {"churn_30d", "churn_90d", "upsell_90d"}


@java
def test_accounts_come_back_in_the_order_of_code_points(twice: Twice) -> None:
    account_ids = twice.there.results.table["account_id"].to_pylist()
    assert account_ids == sorted(account_ids) == twice.snapshot.frame["account_id"].tolist()
    assert set(RENAMED.values()) < set(account_ids)


@java
def test_last_scores_cohorts_and_drivers_are_there(twice: Twice) -> None:
    table = twice.there.results.table
    assert table["churn_90d_before"].null_count == 0
    assert [{*table[f"in_cohort_{target}"].to_pylist()} for target in ("churn", "upsell")] == [{True}, {True, False}]
    assert table["churn_90d_drivers"].null_count == 0


@java
def test_the_store_gets_what_it_gets_of_the_default_engine(twice: Twice) -> None:
    here, there = (pd.DataFrame(rows).drop(columns="drivers") for rows in twice.stored)
    pd.testing.assert_frame_equal(there, here, rtol=1e-9, atol=1e-9)


@java
def test_nothing_stays_in_the_shared_folder(twice: Twice) -> None:
    assert list(twice.shared.iterdir()) == []


@pytest.fixture
def few(twice: Twice, now: datetime) -> Iterator[History]:
    """A history of a few accounts and of tickets alone: Spark plans it in seconds."""
    with History.open(twice.settings) as whole:
        ids = whole.accounts(0, 19)["account_id"].to_pylist()
        rows = {table: [row for i in ids for row in whole.rows(table, i)] for table in ("accounts", "tickets")}
    with History.posted(twice.settings, rows) as history:
        yield history


@java
def test_executors_of_their_own_score_what_lacks_sources(
    twice: Twice, few: History, now: datetime, tmp_path: Path
) -> None:
    scorer, told = twice.here.scorer, []
    few.engine = Engine(kind="spark", master="local-cluster[2,1,512]", folder=tmp_path, options=LOCAL)
    for part, table in distributed.parts(
        twice.settings, few, scorer, as_of=now, explain=Explain.ABOVE, earlier=twice.earlier
    ):
        wanted = batch.scored(
            twice.settings, scorer, part.rows(scorer), explain=Explain.ABOVE, earlier=twice.earlier
        )
        assert table.equals(wanted)
        told.append(table)
    whole = pa.concat_tables(told)
    assert whole.num_rows == 20
    assert 0 < whole["churn_90d_drivers"].null_count


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
