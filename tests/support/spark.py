"""Spark in tests: one Java for all of them, and settings that suit minutes of work."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

# For minutes of work the compiler that makes less of it is the faster one.
JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
LOCAL = {"spark.driver.memory": "1g", "spark.driver.extraJavaOptions": JVM, "spark.sql.shuffle.partitions": "2"}
# Spark's other way to compute, by no code of its own: the quicker one where there is little to compute.
INTERPRETED = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}


def needs_java(test: Any) -> Any:
    """Mark a test that runs on Spark: it shares the Java of the others, and is skipped where there is none."""
    missing = os.environ.get("CI") != "true" and shutil.which("java") is None
    return pytest.mark.skipif(missing, reason="there is no java for Spark to run on")(
        pytest.mark.usefixtures("spark_jvm")(test)
    )


def start_jvm(home: Path, folder: Path) -> None:
    """Start Spark's Java, for every session of this process.

    Args:
        home: Empty; executors write their logs beside Spark, so Spark is read from this folder.
        folder: Where workers start: Garrison's own code must reach them from the driver alone.
    """
    import pyspark

    for path in Path(pyspark.__file__).parent.iterdir():
        (home / path.name).symlink_to(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_HOME", str(home))
        patch.chdir(folder)
        pyspark.SparkContext._ensure_initialized(conf=pyspark.SparkConf().setAll(LOCAL.items()))


def stop_jvm() -> None:
    """End Spark's Java, which would otherwise live as long as this process."""
    context = getattr(sys.modules.get("pyspark"), "SparkContext", None)
    if context and context._gateway:
        context._gateway.shutdown()
        context._gateway.proc.stdin.close()
        context._gateway.proc.wait(30)
        context._gateway = context._jvm = None
