"""Computes snapshots on Spark: on this machine's cores, or on a cluster that shares a folder with it."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from zipfile import ZipFile

import ibis
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from features.core.errors import GarrisonError
from features.core.timestamps import sort_unique_micros
from features.engine.sql_engine import CUTOFFS, SnapshotQuery
from features.settings import Engine
from features.sources.history import History

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Function = Callable[[pd.DataFrame], pa.Table]

REACH_S = 5.0  # for a master to answer
WORKERS_S = 60.0  # for a worker to take a first task
_ACCOUNTS = 10_000  # that a worker, or this process, has in memory
# What results depend on: a number too large is an error, never a wrong number.
_RESULTS = {
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parser.escapedStringLiterals": "false",
    "spark.sql.execution.arrow.maxRecordsPerBatch": str(_ACCOUNTS),
}
_QUIET = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "OFF"}


def build_table(engine: Engine, history: History, as_ofs: Sequence[datetime]) -> pa.Table:
    """Compute snapshots as `snapshots.build_table` does, on Spark.

    Tables go out and snapshots come back as Parquet files in a folder that driver and workers share.

    Raises:
        GarrisonError: Spark or Java is missing, no master or worker answers, or Spark failed.
    """
    handover = _handover(engine, history)
    with (
        tempfile.TemporaryDirectory(prefix="garrison-", dir=engine.folder) as place,
        _session(engine, place) as session,
    ):
        folder = Path(place).resolve()
        _snapshots(session, folder, handover, history, as_ofs).write.parquet(f"file://{folder / 'snapshots'}")
        return handover.snapshots(parquet.read_table(folder / "snapshots"))


@contextmanager
def map_snapshots(
    engine: Engine, history: History, as_of: datetime, function: Function, *, packages: Sequence[ModuleType]
) -> Iterator[tuple[Iterator[pa.Table], pa.Table]]:
    """Yield one instant's snapshots, and the results of a function of them on Spark's workers.

    Args:
        engine: Where.
        history: Of the company.
        as_of: Where to look from.
        function: Takes snapshots as `snapshots.build` gives them, of some accounts, and gives a row for each,
            with its account_id; the columns are the same whatever the rows. It is sent to the workers, by pickle.
        packages: Those that it is from; the workers get their code from here.

    Yields:
        The snapshots, some accounts at a time, and all that the function made of them; both in the order of ids.

    Raises:
        GarrisonError: As `table` does; or the workers have no Python that can run the function.
    """
    handover = _handover(engine, history)
    # What is wrong with the function itself is found here, before anything starts.
    schema = function(handover.blank(as_of).to_pandas()).schema
    with tempfile.TemporaryDirectory(prefix="garrison-", dir=engine.folder) as place:
        folder = Path(place).resolve()
        with _session(engine, place) as session:
            # Text is ordered by its bytes in UTF-8, as everywhere here; the files' names tell their order.
            ordered = _snapshots(session, folder, handover, history, [as_of]).orderBy("account_id")
            ordered.write.parquet(f"file://{folder / 'snapshots'}")
            _map(session, folder, function, schema, packages)
        told = pa.concat_tables([parquet.read_table(file) for file in _files(folder / "told")])
        yield _parts(folder / "snapshots", handover), told.cast(schema)


def _handover(engine: Engine, history: History) -> SnapshotQuery:
    _refuse_without(engine)
    _ = ibis.pyspark  # its dialect's options are known only once it is loaded
    return SnapshotQuery.to("pyspark", history)


def _snapshots(
    session: SparkSession, folder: Path, handover: SnapshotQuery, history: History, as_ofs: Sequence[datetime]
) -> DataFrame:
    """Write the tables into the folder, and return the query of their snapshots; nothing is computed yet."""
    cutoffs = pa.table({"as_of": pa.array(sort_unique_micros(as_ofs), pa.int64())})
    parquet.write_table(cutoffs, folder / f"{CUTOFFS}.parquet")
    for name in handover.tables:
        handover.write(history, name, folder / f"{name}.parquet", form="FORMAT parquet")
    for name in (*handover.tables, CUTOFFS):
        session.read.parquet(f"file://{folder / name}.parquet").createOrReplaceTempView(name)
    return session.sql(handover.sql)


def _map(
    session: SparkSession, folder: Path, function: Function, schema: pa.Schema, packages: Sequence[ModuleType]
) -> None:
    """Apply the function to the snapshots in the folder."""
    from pyspark.sql.pandas.types import from_arrow_schema

    # A session that goes on may meet another version of it: hence a name of its own.
    code = folder / f"{folder.name}.zip"
    _pack(packages, code)
    session.sparkContext.addPyFile(f"file://{code}")
    shared = session.sparkContext.broadcast(function)

    def told(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            yield shared.value(frame.astype({"as_of": "datetime64[us, UTC]"})).to_pandas()

    snapshots = session.read.parquet(f"file://{folder / 'snapshots'}")
    snapshots.mapInPandas(told, from_arrow_schema(schema)).write.parquet(f"file://{folder / 'mixed'}")
    # Sorted once it lies there: to find the ranges Spark would run the function a second time. And not sorted by Arrow,
    # which has no more than 2 GiB of text in a column that it takes rows of.
    session.read.parquet(f"file://{folder / 'mixed'}").orderBy("account_id").write.parquet(f"file://{folder / 'told'}")


def _pack(packages: Sequence[ModuleType], file: Path) -> None:
    """Write the packages' code into a file that Python imports from."""
    with ZipFile(file, "w", strict_timestamps=False) as archive:
        for package in packages:
            root = Path(package.__path__[0])
            for source in sorted(root.rglob("*.py")):
                archive.write(source, source.relative_to(root.parent))


def _files(folder: Path) -> list[Path]:
    """Return the files that Spark wrote, in its order."""
    return sorted(folder.glob("part-*.parquet"))


def _parts(folder: Path, handover: SnapshotQuery) -> Iterator[pa.Table]:
    for file in _files(folder):
        with parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(_ACCOUNTS):
                yield handover.snapshots(pa.Table.from_batches([batch]))


def _refuse_without(engine: Engine) -> None:
    """Raise a short error for what Spark would fail for in many lines, or wait for without an end."""
    try:
        import pyspark  # noqa: F401  # only whether it is there
    except ImportError:
        raise GarrisonError(
            "engine.kind is spark, and pyspark is not installed", hint="pip install 'garrison[spark]'"
        ) from None
    home = os.environ.get("JAVA_HOME")
    if not (shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")):
        raise GarrisonError(
            "Spark needs Java, and there is none",
            found=f"JAVA_HOME={home}" if home else "no java on the PATH",
            hint="Install Java 17 or 21, such as openjdk-17-jre-headless",
        )
    if engine.folder is not None and not engine.folder.is_dir():
        raise GarrisonError("engine.folder is no folder", found=str(engine.folder), hint="Make it, or mount it")
    if engine.master.startswith("spark://") and not any(_answers(m) for m in _masters(engine.master)):
        raise GarrisonError(
            f"no Spark master answers at engine.master within {REACH_S:.0f} seconds",
            found=engine.master,
            hint="Start it, or correct the address",
        )


def _masters(master: str) -> list[tuple[str, int]]:
    """Return host and port of each master; commas separate several."""
    split = (urlsplit(f"spark://{one}") for one in master.removeprefix("spark://").split(","))
    return [(one.hostname or "", one.port or 7077) for one in split]


def _answers(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=REACH_S):
            return True
    except OSError:
        return False


@contextmanager
def _session(engine: Engine, folder: str) -> Iterator[SparkSession]:
    """Yield a session of our own, in the Spark that already runs in this process or in one that ends with it."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException, PythonException
    from pyspark.sql import SparkSession

    # What goes wrong is said once, in the error: not in a hundred lines of Java before it.
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)
    running = SparkSession.getActiveSession()
    try:
        session = (running or _started(engine, folder)).newSession()
        try:
            for key, value in _RESULTS.items():
                session.conf.set(key, value)
            _await_worker(engine, session)
            yield session
        finally:
            if running is None:
                session.stop()
    except PythonException as error:
        raise GarrisonError(
            "Python failed on Spark's workers",
            found=_raised(error),
            hint="If they lack a library, see docs/engines.md, Scoring on Spark",
        ) from error
    except (PySparkException, Py4JError) as error:
        raise GarrisonError("Spark could not compute the snapshots", found=_sentence(error)) from error


def _started(engine: Engine, folder: str) -> SparkSession:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(engine.master).appName("garrison")
    # Nobody else is to talk to a Spark that lives in this process alone.
    local = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    settings = _QUIET | (local if engine.master.startswith("local") else {}) | engine.options
    for key, value in {"spark.sql.warehouse.dir": folder, **settings}.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    # As spark-submit reads it; Spark itself would start whatever is called python3.
    here = os.environ.get("PYSPARK_PYTHON", sys.executable)
    session.sparkContext.pythonExec = engine.options.get("spark.pyspark.python", here)
    return session


def _await_worker(engine: Engine, session: SparkSession) -> None:
    """Run a first task with a time limit: Spark itself waits without an end for a worker with enough memory."""
    if engine.master.startswith("local"):
        return
    context, group = session.sparkContext, "garrison: is there a worker?"
    context.setJobGroup(group, group, interruptOnCancel=True)
    late, done = threading.Event(), threading.Event()

    def give_up() -> None:
        done.wait(WORKERS_S)
        # Again and again: what is cancelled is only what has been submitted by then.
        while not done.wait(0.5):
            late.set()
            context.cancelJobGroup(group)

    watch = threading.Thread(target=give_up)
    watch.start()
    try:
        session.range(1).count()
    except Exception as error:
        if not late.is_set():
            raise
        raise GarrisonError(
            f"no Spark worker took a task within {WORKERS_S:.0f} seconds",
            found=engine.master,
            hint="Start workers, or ask for less: spark.executor.memory and spark.executor.cores in [engine.options]",
        ) from error
    finally:
        done.set()
        watch.join()


def _raised(error: Exception) -> str:
    """Return the error that a worker's Python raised: it stands below the traceback, at the margin."""
    lines = str(error).rpartition("Traceback")[2].splitlines()[1:]
    return next((line for line in lines if line and not line[0].isspace()), type(error).__name__)[:500]


def _sentence(error: Exception) -> str:
    """Return the first line with content: a Java error begins with where it was called."""
    lines = [line.strip(": ") for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "An error occurred while calling" not in line), type(error).__name__)[:500]
