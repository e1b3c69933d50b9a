"""Runs the demo, each of its commands in a fork of a process that has imported everything: seconds less for each.

`python -m tests.support.forked_demo tidewater --accounts 600` prints what `python -m monitoring demo …` prints. Its
servers are processes of their own, as ever.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from typing import IO

from features.settings import cli
from monitoring.demo import run
from tests.support.night_process import IMPORTS

_IMPORTS = (
    *IMPORTS,
    "features.__main__",
    "training.__main__",
    "serving.__main__",
    "mlflow.lightgbm",
    "matplotlib.figure",
)


class _Forking:
    """What the demo knows of `subprocess`."""

    PIPE = subprocess.PIPE
    CompletedProcess = subprocess.CompletedProcess

    @staticmethod
    def run(
        command: Sequence[str], *, env: Mapping[str, str], check: bool, text: bool, stdout: int | None
    ) -> subprocess.CompletedProcess[str]:
        assert (command[:2], check, text) == ([sys.executable, "-m"], False, True)
        with tempfile.TemporaryFile("w+") as output:
            sys.stdout.flush()
            assert threading.active_count() == 1, "a fork would lose these threads"
            child = os.fork()
            if child == 0:
                _run_child(command[2], command[3:], env, output if stdout == subprocess.PIPE else None)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            output.seek(0)
            return subprocess.CompletedProcess(command, status, output.read())


def _run_child(folder: str, words: Sequence[str], env: Mapping[str, str], output: IO[str] | None) -> None:
    """Run the command as its own process would; does not return."""
    os.environ.clear()
    os.environ.update(env)
    if output is not None:
        os.dup2(output.fileno(), 1)
    status = 1
    try:
        app = importlib.import_module(f"{folder}.__main__").app
        cli.run(lambda: app([*words], prog_name=f"python -m {folder}"))
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    for name in _IMPORTS:
        importlib.import_module(name)
    run.subprocess = _Forking  # type: ignore[assignment, misc]
    app = importlib.import_module("monitoring.__main__").app
    cli.run(lambda: app(["demo", *sys.argv[1:]], prog_name="python -m monitoring"))


if __name__ == "__main__":
    main()
