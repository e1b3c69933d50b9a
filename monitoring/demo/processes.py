"""Run the demo's commands and servers as processes, and wait until the servers answer."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, Self

import httpx

from features.core.errors import GarrisonError
from monitoring.demo.warm_process import WarmProcess


class Processes(Protocol):
    """Runs commands, each given as the folder, such as training, and what follows it on the command line."""

    def run(
        self, words: Sequence[str], environment: Mapping[str, str], *, is_captured: bool, with_errors: bool = False
    ) -> tuple[int, str]:
        """Run a command to its end; return its exit status, and what it printed, errors too, if that is captured."""
        ...

    def run_in_background(
        self, words: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> AbstractContextManager[None]:
        """Run a server in the background with its output in a file, and end it with all that it started."""
        ...


def open_processes() -> AbstractContextManager[Processes]:
    """Return what runs commands: in forks of one process where the system forks safely, else each from its start."""
    if platform.system() == "Linux":
        return WarmProcess()
    return NewProcesses()


class NewProcesses:
    """Starts a Python for each command."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(
        self, words: Sequence[str], environment: Mapping[str, str], *, is_captured: bool, with_errors: bool = False
    ) -> tuple[int, str]:
        """Run a command as `Processes` has it."""
        command, output = [sys.executable, "-m", *words], subprocess.PIPE if is_captured else None
        errors = subprocess.STDOUT if with_errors else None
        done = subprocess.run(  # noqa: S603  # our own commands
            command, env=dict(environment), check=False, text=True, stdout=output, stderr=errors
        )
        return done.returncode, done.stdout or ""

    @contextlib.contextmanager
    def run_in_background(self, words: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[None]:
        """Run a server as `Processes` has it."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w", encoding="utf-8") as output:
            process = subprocess.Popen(  # noqa: S603  # our own commands
                [sys.executable, "-m", *words],
                env=dict(environment),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                yield
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                process.wait(timeout=30)


def wait_until_ready(http: httpx.Client, log: Path) -> None:
    """Wait until the service is ready, and print how long that took.

    Raises:
        GarrisonError: It is not ready within a minute.
    """
    began = time.monotonic()
    while time.monotonic() - began < 60:
        with contextlib.suppress(httpx.TransportError):
            if http.get("/readyz").status_code == httpx.codes.OK:
                print(f"The service was ready after {time.monotonic() - began:.1f} seconds.", flush=True)
                return
        time.sleep(0.1)
    raise GarrisonError("the service did not become ready within a minute", found=f"see {log}")


def wait_until_listening(port: int) -> None:
    """Wait until a server listens on this port.

    Raises:
        GarrisonError: None does within half a minute.
    """
    for _ in range(300):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise GarrisonError(f"the demo's mail server does not listen on port {port}")


def find_free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
