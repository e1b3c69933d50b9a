"""Faults at every step of a program: the n-th statement, commit, send, connection, write or sync fails.

By an error before the step or after it, by a disk that is full, or by a kill. The step counts in one thread alone, so
that servers of the test in the same process go on.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from unittest import mock

import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect

# Killed after a step is killed before the next one.
KINDS = ("error", "error after", "disk full", "kill")
_FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Fault:
    """Makes the n-th step fail while the `with` statement lasts; `steps` counts those that were taken.

    Args:
        engine: Whose statements and commits are steps; None for those of all engines.
        at: Number of the step that fails, from 1 on; 0 for none.
        kind: Of `KINDS`.
    """

    def __init__(self, engine: sa.Engine | None, at: int = 0, kind: str = "error") -> None:
        self.steps, self._at, self._kind = 0, at, kind
        self._thread = threading.get_ident()
        dialect: Any = DefaultDialect if engine is None else engine.dialect
        self._patches = [
            mock.patch.object(dialect, "do_execute", self._wrap(dialect.do_execute, _break_database)),
            mock.patch.object(dialect, "do_executemany", self._wrap(dialect.do_executemany, _break_database)),
            mock.patch.object(dialect, "do_commit", self._wrap(dialect.do_commit, _break_database)),
            mock.patch.object(socket, "create_connection", self._wrap(socket.create_connection, _break_line)),
            mock.patch.object(socket.socket, "sendall", self._wrap(socket.socket.sendall, _break_line)),
            mock.patch.object(os, "fsync", self._wrap(os.fsync, _break_disk)),
            mock.patch.object(Path, "replace", self._wrap(Path.replace, _break_disk)),
        ]

    def __enter__(self) -> Self:
        for patch in self._patches:
            patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        for patch in reversed(self._patches):
            patch.stop()

    def _wrap(self, do: Callable[..., Any], error: Callable[[str], Exception]) -> Callable[..., Any]:
        def step(*args: Any, **named: Any) -> Any:
            if threading.get_ident() != self._thread:
                return do(*args, **named)
            self.steps += 1
            if self.steps != self._at:
                return do(*args, **named)
            if self._kind == "error after":
                _do_in_vain(do, args, named)
            if self._kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise error(self._kind)

        return step


def _do_in_vain(do: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Take the step whose answer is lost. Of a send, half: what left whole is no error."""
    if args and isinstance(args[0], socket.socket):
        args = (args[0], args[1][: len(args[1]) // 2], *args[2:])
    made = do(*args, **named)
    if isinstance(made, socket.socket):
        made.close()


def _break_database(kind: str) -> Exception:
    return sqlite3.OperationalError("database or disk is full" if kind == "disk full" else "disk I/O error")


def _break_line(_kind: str) -> Exception:
    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))


def _break_disk(kind: str) -> Exception:
    return _FULL if kind == "disk full" else OSError(errno.EIO, os.strerror(errno.EIO))


def run_forked(do: Callable[[], object]) -> int | None:
    """Run a function in a forked process, and return its exit status; None if it was killed."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            do()
            status = 0
        finally:
            os._exit(status)
    status = os.waitpid(child, 0)[1]
    return None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
