"""Faults below all libraries: the n-th write, sync, rename or send of the process fails, DuckDB's and SQLite's too.

A small C library, preloaded, does it: start the program by `start_again_preloaded`.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

KINDS = ("error", "disk full", "kill")
# Names the file in which a run notes its calls.
LOG = "FAILING_CALLS_LOG"
_SOURCE = Path(__file__).with_name("failing_calls.c")
_NEVER = 2**60


class FailingCalls:
    """Makes the n-th call fail while the `with` statement lasts; `steps` counts those that were taken.

    Args:
        at: Number of the call that fails, from 1 on; 0 for none.
        kind: Of `KINDS`.
    """

    def __init__(self, at: int, kind: str) -> None:
        self.steps, self._at, self._kind = 0, at or _NEVER, KINDS.index(kind)
        self._calls = ctypes.CDLL(os.environ["LD_PRELOAD"])
        self._calls.failing_calls_arm.argtypes = [ctypes.c_long, ctypes.c_int]
        self._calls.failing_calls_taken.restype = ctypes.c_long

    def __enter__(self) -> Self:
        self._calls.failing_calls_arm(self._at, self._kind)
        return self

    def __exit__(self, *_: object) -> None:
        self.steps = self._calls.failing_calls_taken()
        self._calls.failing_calls_arm(0, 0)


def start_again_preloaded() -> None:
    """Start this program again with the library that makes calls fail, where there is a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None or "LD_PRELOAD" in os.environ:
        return
    with tempfile.TemporaryDirectory() as folder:
        library = f"{folder}/failing_calls.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, _SOURCE, "-ldl"], check=True)
        again = [sys.executable, *sys.argv]
        sys.exit(subprocess.run(again, env={**os.environ, "LD_PRELOAD": library}, check=False).returncode)
