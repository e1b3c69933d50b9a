"""Run the demo's commands in forks of one process that has imported them all: each saves seconds of imports.

`python -m monitoring.demo.warm_process NUMBER` is that process. It reads one JSON object a line and answers each at
once with one on the pipe of this number, so that commands can run side by side. It opens no database and starts no
thread, so that its forks are as good as new. A command does in a fork what it does as a process of its own.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from features.core.errors import GarrisonError
from features.settings import cli

# What takes long to import and more than one command needs, or a server.
_IMPORTS = (
    "features.__main__",
    "training.__main__",
    "serving.__main__",
    "monitoring.__main__",
    "alembic.command",
    "babel.dates",
    "features.diagnostics.data_report",
    "features.diagnostics.leak_tests",
    "ibis.backends.sql.compilers",
    "matplotlib.figure",
    "mlflow.pyfunc",
    "monitoring.alerts.run_alerts",
    "monitoring.console.app",
    "monitoring.drift.drift_report",
    "monitoring.experiments.status",
    "monitoring.notifications.outbox",
    "monitoring.replay.replay",
    "monitoring.reports.manager",
    "pyarrow.dataset",
    "serving.batch.run",
    "sqlalchemy.dialects.sqlite",
    "training.registry.mlflow_runs",
    "uvicorn",
)
# How often the demo looks whether a command has ended.
_POLL_S = 0.02


class WarmProcess:
    """Starts the process and hands it commands; a `with` statement ends it."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        self._process = subprocess.Popen(  # noqa: S603  # our own command
            [sys.executable, "-m", "monitoring.demo.warm_process", str(writing)],
            stdin=subprocess.PIPE,
            text=True,
            pass_fds=[writing],
        )
        os.close(writing)
        self._answers = os.fdopen(reading, encoding="utf-8")
        self._asking = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        self._answers.close()

    def run(
        self, words: Sequence[str], environment: Mapping[str, str], *, is_captured: bool, with_errors: bool = False
    ) -> tuple[int, str]:
        """Run a command to its end; return its exit status, and what it printed if that is captured.

        Args:
            words: The folder, such as training, and what follows it on the command line.
            environment: Its environment variables, all of them.
            is_captured: Whether what it prints is returned, and not shown.
            with_errors: Whether what it prints on standard error is captured too.
        """
        with tempfile.TemporaryDirectory(prefix="garrison-demo-") as folder:
            output = Path(folder) / "output" if is_captured else None
            process = self._ask(start=words, env=environment, output=output, with_errors=with_errors)
            return self._wait(process), output.read_text(encoding="utf-8") if output else ""

    @contextlib.contextmanager
    def run_in_background(self, words: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[None]:
        """Run a server in the background with its output in a file, and end it with all that it started."""
        log.parent.mkdir(parents=True, exist_ok=True)
        process = self._ask(start=words, env=environment, output=log, with_errors=True, is_server=True)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process, signal.SIGTERM)
            self._wait(process)

    def _wait(self, process: int) -> int:
        """Wait for a command's end; return its exit status."""
        while (status := self._ask(end=process)) is None:
            time.sleep(_POLL_S)
        return status

    def _ask(self, **question: Any) -> Any:
        """Ask the process; return its answer.

        Raises:
            GarrisonError: It has ended.
        """
        assert self._process.stdin is not None
        with self._asking:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps(question, default=str) + "\n")
                self._process.stdin.flush()
            answer = self._answers.readline()
        if not answer:
            raise GarrisonError("the process that runs the demo's commands has ended", hint="Run the demo again")
        return json.loads(answer)


def _serve(answers: int) -> None:
    """Answer each line on standard input: a command with its process id, the question for its end with its status."""
    for name in _IMPORTS:
        with contextlib.suppress(ModuleNotFoundError):  # of an extra: the command that needs it says so
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is there stays shared with the forks
    with os.fdopen(answers, "w", encoding="utf-8") as pipe:
        for line in iter(sys.stdin.readline, ""):
            asked = json.loads(line)
            if "start" in asked:
                answer: int | None = os.fork()
                if answer == 0:
                    pipe.close()
                    _run_command(asked)
            else:
                ended, status = os.waitpid(asked["end"], os.WNOHANG)
                answer = os.waitstatus_to_exitcode(status) if ended else None
            pipe.write(json.dumps(answer) + "\n")
            pipe.flush()


def _run_command(asked: Mapping[str, Any]) -> None:
    """Run a command as its own process would; does not return."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(asked["env"])
    if asked["output"]:
        output = os.open(asked["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        if asked["with_errors"]:
            os.dup2(output, 2)
    if asked.get("is_server"):
        os.setsid()
    folder, *words = asked["start"]
    status = 1
    try:
        app = importlib.import_module(f"{folder}.__main__").app
        cli.run(lambda: app(words, prog_name=f"python -m {folder}"))
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  # said as a process of its own would say it, before this one ends
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        _serve(int(sys.argv[1]))
    os._exit(0)  # an end in order would complain of what is frozen
