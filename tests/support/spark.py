"""Spark for tests: one Java for all files that need it, which takes half a minute of CPU time to warm up."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.scheduling import SPARK

java = pytest.mark.skipif(
    os.environ.get("CI") != "true" and shutil.which("java") is None, reason="there is no java for Spark to run on"
)
# For minutes of work the compiler that makes less of it is the faster one; and Spark's classes are as released.
JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
LOCAL = {"spark.driver.memory": "1g", "spark.driver.extraJavaOptions": JVM, "spark.sql.shuffle.partitions": "2"}


@pytest.fixture(scope="module")
def spark_java(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let Spark's Java start away from here, and end it after the last file that needs it.

    It would otherwise live as long as this process.
    """
    import pyspark

    # Executors write their logs beside Spark: so Spark is had from a folder of the test's.
    home = tmp_path_factory.mktemp("spark")
    for path in Path(pyspark.__file__).parent.iterdir():
        (home / path.name).symlink_to(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_HOME", str(home))
        # Workers start here: Garrison's own code reaches them from the driver alone.
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        yield
    root = request.config.rootpath
    users = [item.path for item in request.session.items if str(item.path.relative_to(root)) in SPARK]
    if request.path == users[-1]:
        _end_java()


def _end_java() -> None:
    context = getattr(sys.modules.get("pyspark"), "SparkContext", None)
    if context and context._gateway:
        context._gateway.shutdown()
        context._gateway.proc.stdin.close()
        context._gateway.proc.wait(30)
        context._gateway = context._jvm = None
