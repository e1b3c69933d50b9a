"""Run the demo's servers in the background, and wait until they answer."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx

from features.core.errors import GarrisonError


@contextlib.contextmanager
def run_in_background(command: list[str], environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """Run a server in the background with its output in a file, and end it with all that it started."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(  # noqa: S603  # our own commands
            command, env=dict(environment), stdout=output, stderr=output, start_new_session=True
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
