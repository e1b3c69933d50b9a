"""Runs the HTTP service under BentoML: its workers, their lifecycle, the health checks. Only this file uses BentoML.

`api.app` answers the requests; it stands before BentoML's own application. Its imports wait until a worker starts:
BentoML's supervisor reads this file too, and needs none of them.
"""

from __future__ import annotations

import gc
import logging
import shutil
from pathlib import Path
from typing import Any

import bentoml

from serving.api import environment


class _FrontedService(bentoml.Service):
    """A service whose requests skip BentoML's middlewares: spans and timers cost more than an answer does."""

    def to_asgi(self, is_main: bool = True) -> Any:  # noqa: FBT001, FBT002  # BentoML's signature
        from training.models.lightgbm_import import import_lightgbm

        import_lightgbm()
        from uvicorn import config

        from serving.api.app import HttpApp

        # BentoML leaves the reader of connections to uvicorn's default; the worker sets its server up after this.
        config.HTTP_PROTOCOLS["auto"] = "serving.api.guarded_http:GuardedHttpProtocol"

        return HttpApp(super().to_asgi(is_main))


@bentoml.service(
    name="garrison",
    service_class=_FrontedService,
    workers=environment.worker_count(),
    # Our own /metrics and access log have what BentoML would log.
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
    tracing={"excluded_urls": ".*"},
)
class Garrison:
    """Churn and upsell scores, with their reasons."""

    def __init__(self) -> None:
        from serving.api.app import HttpApp
        from serving.api.worker import Worker

        # Nobody reads uvicorn's access log, but it is formatted as long as a handler above it exists.
        logging.getLogger("uvicorn.access").propagate = False
        self._worker = HttpApp.worker = Worker(environment.config_path())
        # All that is loaded now stays for good: the collector need not walk it each time.
        gc.collect()
        gc.freeze()

    @bentoml.on_startup
    async def start(self) -> None:
        """Start the worker, before the first request."""
        await self._worker.start()

    @bentoml.on_shutdown
    async def close(self) -> None:
        """Stop the worker, after the last answer."""
        await self._worker.close()

    def __is_ready__(self) -> bool:
        """Return whether there is a model to score with; BentoML answers /readyz by it."""
        return self._worker.state.scoring is not None


def build_bento(context: Path, folder: Path, *, lock: str) -> str:
    """Build a Bento of all files of a folder, and copy it to another one; return its tag.

    Args:
        context: The files; their code is that of this process.
        folder: To be made.
        lock: Name of the file of its requirements.
    """
    python = {"requirements_txt": lock, "lock_packages": False}
    bento = bentoml.build(f"{__name__}:Garrison", build_ctx=str(context), python=python)
    shutil.copytree(bento.path, folder)
    return str(bento.tag)
