"""Serve the console by one process, or by several that share the port, each with the accounts in memory.

What reads and shows accounts is imported by the processes that do: one that looks after them stays small.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from filelock import FileLock
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from features.core.errors import GarrisonError
from features.settings import Settings
from features.settings.load import load_settings
from serving.api.guarded_http import GuardedHttpProtocol

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from monitoring.console.context import ConsoleContext

_GRACE = 10  # seconds that requests under way have when the process is told to end
# A process that answers its supervisor no more after so long is replaced: longer than any call that reads the accounts.
_HANGS = 60


def serve(config: Path, origin: str, host: str, port: int, workers: int, **options: Any) -> None:
    """Serve until the process is told to end.

    Args:
        config: The settings file.
        origin: Where people reach the console.
        host: To listen on.
        port: To listen on.
        workers: Processes that share the port; each reads the accounts.
        options: Of uvicorn, for TLS and proxies.

    Raises:
        GarrisonError: The accounts or scores can't be read.
    """
    options |= {
        "factory": True,
        "http": GuardedHttpProtocol,
        "host": host,
        "port": port,
        # Addresses of pages are signed links: they stand in no log.
        "access_log": False,
        "log_level": "warning",
        "server_header": False,
        "timeout_graceful_shutdown": _GRACE,
        "timeout_keep_alive": 5,
        "timeout_worker_healthcheck": _HANGS,
        "limit_concurrency": 200,
    }
    if workers == 1:
        uvicorn.run(partial(open_app, config, origin), **options)
        return
    # uvloop, and so what shares connections, is not there for Windows.
    loop = "auto" if sys.platform == "win32" else "monitoring.console.sharing_loop:SharingLoop"
    server = uvicorn.Config(partial(open_worker, config, origin), workers=workers, loop=loop, **options)
    supervisor = Multiprocess(server, [server.bind_socket()])
    supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise GarrisonError("the console's processes can't start", hint="The lines above say why")


def open_context(settings: Settings, origin: str) -> ConsoleContext:
    """Open what a process has one of: the state database, and the accounts at the newest scores.

    Raises:
        GarrisonError: They can't be read.
    """
    from features.state import database
    from monitoring.console.accounts.account_index import AccountIndex
    from monitoring.console.context import ConsoleContext
    from monitoring.console.sign_in.oidc import open_provider
    from monitoring.letters.links import open_signer

    state = database.open(settings)
    signer, provider = open_signer(settings.alerts.links), open_provider(settings.console.oidc, origin)
    return ConsoleContext(settings, state, signer, AccountIndex.open(settings, state), origin, provider)


def open_app(config: Path, origin: str) -> Starlette:
    """Open the application, with all in memory that its pages share.

    Raises:
        GarrisonError: It can't be read.
    """
    from training.models.lightgbm_import import import_lightgbm

    import_lightgbm()
    from monitoring.console.app import create_app

    settings = load_settings(config)
    # Reading takes twice the memory of what is read: processes that start together read one after the other.
    settings.var.mkdir(parents=True, exist_ok=True)
    with FileLock(settings.var / "console.lock"):
        context = open_context(settings, origin)
        atexit.register(context.store.close)
        context.warm()
    return create_app(context)


def open_worker(config: Path, origin: str) -> Starlette:
    """Open the application in one of several processes, which ends when its supervisor does."""
    threading.Thread(target=_end_with_supervisor, name="supervisor", daemon=True).start()
    try:
        return open_app(config, origin)
    except GarrisonError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(STARTUP_FAILURE)


def _end_with_supervisor() -> None:
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        supervisor.join()
        # Nobody would stop this process any more, and it would keep the port from the console's next start.
        os.kill(os.getpid(), signal.SIGTERM)
