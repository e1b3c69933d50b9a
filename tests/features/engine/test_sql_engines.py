"""The same catalog over an adversarial history, on every engine."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pytest
from pydantic import ValidationError

from features.core.errors import GarrisonError
from features.core.timestamps import to_micros
from features.engine import dispatch, snapshots, spark
from features.settings import Engine, Settings
from features.sources.history import History
from tests.support.adversarial_history import AS_OFS, generated, settings
from tests.support.ports import find_free_port
from tests.support.small_catalog import build_small_catalog
from tests.support.spark import JVM, LOCAL, java, spark_java  # noqa: F401  # a fixture

pytestmark = pytest.mark.usefixtures("spark_java")
LARGEST = 2**63 - 1


@pytest.fixture(scope="module")
def history():
    """The adversarial one, and an account whose counts are the largest there can be: its sums are beyond 64 bits."""
    rows, when = generated(7), to_micros(AS_OFS[2]) - 1
    rows["accounts"].append({"account_id": "largest", "created_at": 0})
    use = {"account_id": "largest", "used_at": when, "known_at": when, "count": LARGEST, "errors": LARGEST}
    rows["usage"] += [use] * 8
    with History.from_rows(settings(), rows) as posted:
        yield posted


@pytest.fixture(scope="module")
def wanted(history):
    """What DuckDB makes of the relational form."""
    return dispatch.build(Engine(), history, AS_OFS)


@pytest.fixture(scope="module")
def small_catalog():
    """Some 20 features: enough to see whether an engine starts, shares its work and cleans up."""
    return build_small_catalog()


@pytest.fixture
def small(small_catalog):
    """One account's history, of some features alone."""
    rows = generated(7)
    one = {t: [row for row in found if row["account_id"] == "a0"] for t, found in rows.items()}
    with History.from_rows(settings(), one, small_catalog) as posted:
        yield posted


def assert_equal(found, wanted):
    """Whole numbers exactly, the others to 1e-9."""
    assert list(found.columns) == list(wanted.columns)
    assert found.dtypes.to_dict() == wanted.dtypes.to_dict()
    keys = [c for c in wanted if wanted[c].dtype != "float64"]
    pd.testing.assert_frame_equal(found[keys], wanted[keys])
    numbers = [c for c in wanted if c not in keys]
    left, right = found[numbers].to_numpy(), wanted[numbers].to_numpy()
    whole = np.isfinite(right) & (right == np.floor(right))
    same = np.where(whole, left == right, np.isclose(left, right, rtol=1e-9, atol=1e-9, equal_nan=True))
    differ = {numbers[c]: (left[r, c], right[r, c], found.loc[r, "account_id"]) for r, c in np.argwhere(~same)}
    assert differ == {}


def refused(engine, history, reason):
    """The error, which gives this reason."""
    with pytest.raises(GarrisonError, match=reason) as told:
        dispatch.build(engine, history, AS_OFS)
    return str(told.value)


def test_the_history_moves_nearly_every_feature(wanted):
    assert set(wanted["as_of"]) == set(AS_OFS)
    assert {"busy", "empty", "before 1970"} < set(wanted["account_id"])
    assert len(set(wanted.groupby("as_of").size())) > 1
    assert wanted.query("account_id == 'busy'")["usage_events_90d"].max() > 2**53
    assert wanted["usage_events_90d"].max() == 8 * LARGEST
    assert wanted["spend_365d"].min() < 0
    features = [c for c in wanted if wanted[c].dtype == "float64"]
    # No feature that is null or one number throughout, but for a few that small histories can't move.
    assert sum(len(set(wanted[c].dropna())) > 1 for c in features) > 0.9 * len(features)


def test_the_default_engine_gives_what_the_relational_form_gives(wanted):
    # It refuses sums beyond 64 bits.
    smaller = wanted[wanted["account_id"] != "largest"].reset_index(drop=True)
    with History.from_rows(settings(), generated(7)) as history:
        assert_equal(snapshots.build(history, AS_OFS), smaller)


def test_postgres_gives_the_same_snapshots(history, wanted, postgres_url):
    assert_equal(dispatch.build(Engine(kind="postgres", url=postgres_url), history, AS_OFS), wanted)


def test_postgres_keeps_nothing_of_a_run_nor_of_a_failed_one(small, postgres_url, postgres_connection, monkeypatch):
    engine = Engine(kind="postgres", url=postgres_url)
    before = postgres_connection.execute("SELECT count(*) FROM pg_class").fetchone()
    dispatch.build(engine, small, AS_OFS)
    monkeypatch.setattr("features.engine.postgres._read", lambda *_: postgres_connection.execute("SELECT 1 / 0"))
    with pytest.raises(GarrisonError, match="division by zero"):
        dispatch.build(engine, small, AS_OFS)
    assert postgres_connection.execute("SELECT count(*) FROM pg_class").fetchone() == before


def test_no_account_yet_gives_no_snapshot_of_the_same_columns(small, postgres_url):
    found = dispatch.build(Engine(kind="postgres", url=postgres_url), small, [datetime(1960, 1, 1, tzinfo=UTC)])
    assert_equal(found, dispatch.build(Engine(), small, AS_OFS).iloc[:0])


def test_sources_that_are_missing_have_no_features_on_postgres_either(postgres_url):
    rows = {t: found for t, found in generated(7).items() if t in {"accounts", "usage"}}
    with History.from_rows(settings(), rows) as few:
        found = dispatch.build(Engine(kind="postgres", url=postgres_url), few, AS_OFS)
        assert_equal(found, dispatch.build(Engine(), few, AS_OFS))


def test_an_unreachable_postgres_is_told_without_its_password(small, free_port):
    url = f"postgresql://ann:hidden@127.0.0.1:{free_port}/x"
    with pytest.raises(GarrisonError, match="can't be reached") as told:
        dispatch.build(Engine(kind="postgres", url=url), small, AS_OFS)
    assert "hidden" not in str(told.value)
    assert "hidden" not in repr(Engine(kind="postgres", url=url))


def test_a_postgres_url_that_can_not_be_read_is_told_without_its_password(small):
    with pytest.raises(GarrisonError, match="no PostgreSQL URL") as told:
        dispatch.build(Engine(kind="postgres", url="postgresql://ann:hid%den@127.0.0.1/x"), small, AS_OFS)
    assert "hid" not in str(told.value)


def test_a_postgres_user_without_the_right_is_told_which(small, postgres_url, postgres_connection):
    user = f"{postgres_connection.info.dbname}_reader"
    postgres_connection.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'hidden'".encode())
    parts = psycopg.conninfo.conninfo_to_dict(postgres_url)
    lesser = f"postgresql://{user}:hidden@/{parts['dbname']}?host={parts['host']}"
    with pytest.raises(GarrisonError, match="GRANT CREATE ON DATABASE") as told:
        dispatch.build(Engine(kind="postgres", url=lesser), small, AS_OFS)
    assert "hidden" not in str(told.value)
    postgres_connection.execute(str(told.value)[str(told.value).index("GRANT") :].rstrip(".").encode())
    assert len(dispatch.build(Engine(kind="postgres", url=lesser), small, AS_OFS))
    postgres_connection.execute(f"DROP OWNED BY {user}; DROP ROLE {user}".encode())


def test_a_name_too_long_for_postgres_is_refused(postgres_url):
    mapped = settings().model_dump(exclude={"file"})
    mapped["tables"]["accounts"]["columns"]["ä" * 32] = {"column": "x"}
    accounts = [{"account_id": "a", "created_at": 0}]
    engine, long = Engine(kind="postgres", url=postgres_url), Settings.model_validate(mapped)
    with History.from_rows(long, {"accounts": accounts, "usage": []}) as history:
        refused(engine, history, "keeps 63 bytes")


def test_the_url_comes_out_of_the_environment(company, monkeypatch):
    monkeypatch.setenv("ENGINE_URL", "postgresql://ann:hidden@db/x")
    company.toml["engine"] = {"kind": "postgres", "url": "${ENGINE_URL}"}
    assert company.settings().engine == Engine(kind="postgres", url="postgresql://ann:hidden@db/x")


def test_a_wrong_url_is_told_without_its_password(company):
    company.toml["engine"] = {"kind": "postgres", "url": "mysql://ann:hidden@db/x"}
    with pytest.raises(GarrisonError, match="begins with postgresql://") as told:
        company.settings()
    assert "hidden" not in str(told.value)


@pytest.mark.parametrize("url", [None, "sqlite:///hidden.db"])
def test_postgres_needs_a_url_of_its_kind(url):
    with pytest.raises(ValidationError, match="begins with postgresql://"):
        Engine(kind="postgres", url=url)


@java
def test_spark_on_this_machine_gives_the_same_snapshots(history, wanted, tmp_path):
    engine = Engine(kind="spark", master="local[2]", folder=tmp_path, options=LOCAL)
    assert_equal(dispatch.build(engine, history, AS_OFS), wanted)
    assert list(tmp_path.iterdir()) == []


def test_spark_without_java_says_what_to_install(small, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(GarrisonError, match="needs Java"):
        dispatch.build(Engine(kind="spark"), small, AS_OFS)


def test_spark_without_pyspark_says_what_to_install(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(GarrisonError, match="pyspark is not installed"):
        dispatch.build(Engine(kind="spark"), small, AS_OFS)


@java
def test_a_folder_that_spark_can_not_share_is_told(small, tmp_path):
    refused(Engine(kind="spark", folder=tmp_path / "gone"), small, "engine.folder is no folder")


@java
def test_a_spark_master_that_does_not_answer_is_told_at_once(small, free_port):
    with pytest.raises(GarrisonError, match="no Spark master answers"):
        dispatch.build(Engine(kind="spark", master=f"spark://127.0.0.1:{free_port}"), small, AS_OFS)


class Cluster:
    """A standalone master on loopback, and its workers."""

    def __init__(self, folder):
        import pyspark

        self._home, self._folder, self._processes = Path(pyspark.__file__).parent, folder, []
        port = find_free_port()
        self.master = f"spark://127.0.0.1:{port}"
        self._start("master.Master", "--port", f"{port}", "--webui-port", "0")
        self.await_said("I have been elected leader")

    def work(self, count):
        for n in range(count):
            where = ["--work-dir", f"{self._folder / f'worker{n}'}", "--webui-port", "0", self.master]
            self._start("worker.Worker", "--cores", "1", "--memory", "600m", *where)
        self.await_said("Registering worker", count)

    def _start(self, what, *arguments):
        command = [
            self._home / "bin" / "spark-class",
            f"org.apache.spark.deploy.{what}",
            "--host",
            "127.0.0.1",
            *arguments,
        ]
        given = {
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_DAEMON_JAVA_OPTS": JVM,
            "SPARK_LOCAL_DIRS": f"{self._folder}",
            "SPARK_HOME": f"{self._home}",
        }
        with (self._folder / f"log{len(self._processes)}").open("wb") as log:
            # A group of its own, so that the script, the daemon and its executors end together.
            process = subprocess.Popen(command, env=os.environ | given, stdout=log, stderr=log, start_new_session=True)
        self._processes.append(process)

    def await_said(self, what, times=1):
        until = time.monotonic() + 90
        while (self._folder / "log0").read_text(errors="replace").count(what) < times:
            dead = [p.args for p in self._processes if p.poll() is not None]
            assert not dead, dead
            assert time.monotonic() < until, (self._folder / "log0").read_text()
            time.sleep(0.1)

    def end(self):
        # A worker that is told to end ends its executors.
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            process.wait(30)


@pytest.fixture
def cluster():
    folder = Path(tempfile.mkdtemp(prefix="garrison-spark-"))
    made = Cluster(folder)
    yield made
    made.end()
    shutil.rmtree(folder)


@java
def test_a_standalone_cluster_of_two_workers_gives_the_same_snapshots(small_catalog, cluster, tmp_path, monkeypatch):
    shared, log = tmp_path / "shared", tmp_path / "log"
    shared.mkdir()
    log.mkdir()
    options = {
        **LOCAL,
        "spark.driver.host": "127.0.0.1",
        "spark.executor.memory": "512m",
        "spark.executor.extraJavaOptions": JVM,
        "spark.cores.max": "2",
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.adaptive.enabled": "false",
        # Spark's other way to compute, by no code of its own: the quicker one where there is little to compute.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": f"file://{log}",
        "spark.eventLog.compress": "false",
        "spark.eventLog.rolling.enabled": "false",
    }
    engine = Engine(kind="spark", master=cluster.master, folder=shared, options=options)
    history = History.from_rows(settings(), generated(7), small_catalog)
    monkeypatch.setattr(spark, "WORKERS_S", 2.0)
    refused(engine, history, "no Spark worker took a task")
    monkeypatch.undo()
    cluster.work(2)
    # On data this small one worker would be done before the other has begun.
    both = {"spark.scheduler.minRegisteredResourcesRatio": "1.0"}
    engine = Engine(kind="spark", master=cluster.master, folder=shared, options=options | both)
    with history:
        assert_equal(dispatch.build(engine, history, AS_OFS), dispatch.build(Engine(), history, AS_OFS))
    assert list(shared.iterdir()) == []
    assert len(tasks_by_worker(max(log.iterdir(), key=lambda f: f.stat().st_size))) == 2


def tasks_by_worker(file):
    """How many tasks ended well on each worker, by the address it logs under."""
    events = [json.loads(line) for line in file.read_text().splitlines()]
    added = [e for e in events if e["Event"] == "SparkListenerExecutorAdded"]
    worker = {e["Executor ID"]: re.search(r"//([^/]+)/", e["Executor Info"]["Log Urls"]["stdout"])[1] for e in added}
    ended = [e for e in events if e["Event"] == "SparkListenerTaskEnd" and e["Task End Reason"]["Reason"] == "Success"]
    counts = pd.Series([worker[e["Task Info"]["Executor ID"]] for e in ended]).value_counts()
    return counts.to_dict()
