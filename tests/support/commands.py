"""Run `python -m features …` and the like in this process: what a command does, without seconds of imports each time.

That the commands start as processes is tested by those that kill or serve them, and by the installed `garrison`.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from features.settings import cli


@dataclass(frozen=True)
class FinishedCommand:
    returncode: int
    stdout: str
    stderr: str


def run_command(
    folder: str, *words: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> FinishedCommand:
    """Run a command of a folder to its end, as on a terminal of 80 columns that its output does not go to."""
    app = importlib.import_module(f"{folder}.__main__").app
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        contextlib.chdir(cwd or Path.cwd()),
        mock.patch.dict(os.environ, {"COLUMNS": "80", **(env or {})}),
    ):
        try:
            cli.run(lambda: app([str(word) for word in words], prog_name=f"python -m {folder}"))
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    return FinishedCommand(status, out.getvalue(), err.getvalue())
