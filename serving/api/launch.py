"""Starts the HTTP service: checks settings and port, then replaces this process with BentoML's."""

from __future__ import annotations

import errno
import os
import socket
import sys
import tempfile
from pathlib import Path

from features.core.errors import GarrisonError
from features.settings.load import load_settings
from serving.api import environment

SERVICE = "serving.api.bento:Garrison"


def serve(config: Path, host: str, port: int, workers: int | None = None) -> None:
    """Check settings and port, then become `bentoml serve`.

    Args:
        config: The company's TOML file.
        host: Address to listen at.
        port: Port to listen at.
        workers: Processes that share the port; None for the number in the settings.

    Raises:
        GarrisonError: The settings are wrong, or the port is taken.
    """
    settings = load_settings(config)
    check_port_free(host, port)
    os.environ[environment.CONFIG] = str(config)
    os.environ[environment.WORKERS] = str(workers or settings.serving.workers)
    # BentoML must not report usage, nor write into the user's home.
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    home = os.environ.setdefault("BENTOML_HOME", str((settings.var / "bentoml").absolute()))
    _make_writable(Path(home))
    sys.stdout.flush()
    arguments = ["-m", "bentoml", "serve", SERVICE, "--host", host, "--port", str(port)]
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606  # our own interpreter, fixed words


def _make_writable(folder: Path) -> None:
    """Make the folder that BentoML writes to, before it fails there in its own words.

    Raises:
        GarrisonError: It can't be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise GarrisonError(
            f"the service can't write to {folder}",
            found=error.strerror,
            hint="Give this user the right to it, or name another folder: BENTOML_HOME=/tmp/bentoml",
        ) from error


def check_port_free(host: str, port: int) -> None:
    """Check that a port can be listened on.

    Raises:
        GarrisonError: It is taken, or can't be used.
    """
    try:
        family = socket.getaddrinfo(host, port)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            hint = f"Stop what listens there, or take another: --port {port + 1 if port < 65535 else 3000}"
            raise GarrisonError(f"port {port} on {host} is taken", hint=hint) from error
        raise GarrisonError(f"{host} port {port} can't be listened on", found=str(error.strerror)) from error
