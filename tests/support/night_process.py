"""Runs nights in processes that really die: one process imports everything once, and forks a child for each night.

`python -m tests.support.night_process` is that process. It reads one JSON object a line and answers with one. It
never opens a database or a thread pool itself, so its children are as good as new.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]
# Where a step can be killed: after its begin is stored, when its work is done, after its end is stored.
POINTS = ("begun", "worked", "ended")
# All that a night loads; what is missing here each of its processes would load anew.
IMPORTS = (
    "evidently",
    "monitoring.__main__",
    "monitoring.alerts.run_alerts",
    "monitoring.cost_to_serve.cost_report",
    "monitoring.drift.drift_report",
    "monitoring.gate.check",
    "monitoring.journey.nightly",
    "monitoring.journey.texts.grouping",
    "monitoring.night.night",
    "monitoring.night.retention",
    "monitoring.notifications.held_run",
    "monitoring.notifications.outbox",
    "monitoring.problems.library_update",
    "monitoring.reports.manager",
    "monitoring.reports.month_report",
    "monitoring.reports.overview",
    "features.core.local_formats",
    "features.diagnostics.data_report",
    "features.diagnostics.leak_tests",
    "serving.api.access_log",
    "serving.batch.run",
    "alembic.command",
    "babel.dates",
    "holidays.registry",
    "ibis.backends.sql.compilers",
    "pyarrow.dataset",
    "sqlalchemy.dialects.sqlite",
)


@dataclass(frozen=True)
class EndedNight:
    """How one night's process ended.

    Args:
        status: Its exit status; None if it was killed.
        seconds: That it ran.
        out: What it printed.
        err: What it printed on standard error.
    """

    status: int | None
    seconds: float
    out: str
    err: str


class NightProcesses:
    """Starts nights as processes; a `with` statement ends what is left."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.support.night_process"],
            cwd=ROOT,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._parent.communicate(timeout=60)

    def run(
        self,
        folder: Path,
        *words: str,
        kill_at: tuple[str, str] | None = None,
        kill_after: float | None = None,
        env: Mapping[str, str] | None = None,
    ) -> EndedNight:
        """Run `python -m monitoring …` in a process of its own, to its end or until it is killed.

        Args:
            folder: The working folder, with garrison.toml.
            words: The command and its options; --config is added.
            kill_at: A step and a point of `POINTS` at which the process kills itself with SIGKILL.
            kill_after: Seconds after which it is killed, unless it has ended.
            env: Further environment variables.
        """
        asked = {"folder": str(folder), "words": words, "kill_at": kill_at, "kill_after": kill_after, "env": env or {}}
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(json.dumps(asked) + "\n")
        self._parent.stdin.flush()
        answer = json.loads(self._parent.stdout.readline())
        out, err = ((folder / name).read_text() for name in ("out.txt", "err.txt"))
        return EndedNight(answer["status"], answer["seconds"], out, err)


def serve() -> None:
    """Answer each line on standard input with how its night ended."""
    for name in IMPORTS:
        importlib.import_module(name)
    assert threading.active_count() == 1, "a fork would lose these threads"
    for line in sys.stdin:
        asked = json.loads(line)
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            _run_child(asked)
        status = _wait(child, asked["kill_after"])
        code = None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        print(json.dumps({"status": code, "seconds": time.monotonic() - began}), flush=True)


def _wait(child: int, seconds: float | None) -> int:
    """Wait for a child, and kill it once its time is up."""
    if seconds is not None:
        timer = threading.Timer(seconds, os.kill, (child, signal.SIGKILL))
        timer.start()
        _, status = os.waitpid(child, 0)
        timer.cancel()
        timer.join()
        return status
    return os.waitpid(child, 0)[1]


def _run_child(asked: Mapping[str, Any]) -> None:
    """Run the command as its own process would; does not return."""
    from features.settings import cli
    from monitoring.__main__ import app

    os.chdir(asked["folder"])
    for name, number in (("out.txt", 1), ("err.txt", 2)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.update(asked["env"])
    if asked["kill_at"]:
        _arm(*asked["kill_at"])
    status = 1
    try:
        cli.run(lambda: app([*asked["words"], "--config", "garrison.toml"], prog_name="python -m monitoring"))
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _arm(step: str, point: str) -> None:
    """Make the process kill itself when its log comes to this point of this step."""
    from monitoring.night.night_log import NightLog

    def die(at: str, now: str) -> None:
        if (at, now) == (step, point):
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(write: Callable[..., None], before: str, after: str) -> Callable[..., None]:
        def written(self: NightLog, name: str, *rest: Any) -> None:
            die(name, before)
            write(self, name, *rest)
            die(name, after)

        return written

    NightLog.begin = wrap(NightLog.begin, "", "begun")  # type: ignore[method-assign]
    NightLog.end = wrap(NightLog.end, "worked", "ended")  # type: ignore[method-assign]


if __name__ == "__main__":
    serve()
