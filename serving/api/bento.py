"""The HTTP service as BentoML runs it: its workers, their lifecycle, the health checks. Here BentoML is met.

What is answered is in `api.app`, which stands before BentoML's own application. What that needs is imported when a
worker starts: BentoML's supervisor reads this file too, and needs none of it.
"""

from __future__ import annotations

import gc
import importlib
import logging
import sys
from typing import Any

import bentoml

from serving.api import environment


def _light() -> None:
    """Import LightGBM without scikit-learn: a second of every start, for wrappers that scoring has no use for."""
    if "lightgbm" in sys.modules or "sklearn" in sys.modules:
        return
    # How Python is told that a module is not there; LightGBM does without.
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    try:
        importlib.import_module("lightgbm")
    finally:
        del sys.modules["sklearn"]


class _Fronted(bentoml.Service):
    """Asked before BentoML's middlewares: its spans and its timer a request cost more than an answer does."""

    def to_asgi(self, is_main: bool = True) -> Any:  # noqa: FBT001, FBT002  # BentoML's signature
        _light()
        from serving.api.app import HttpApp

        return HttpApp(super().to_asgi(is_main))


@bentoml.service(
    name="garrison",
    service_class=_Fronted,
    workers=environment.worker_count(),
    # What happens is in our own /metrics and in the audit log.
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
    tracing={"excluded_urls": ".*"},
)
class Garrison:
    """Churn and upsell scores, with their reasons."""

    def __init__(self) -> None:
        from serving.api.app import HttpApp
        from serving.api.worker import Worker

        # Nobody reads uvicorn's access log, but it is worked out as long as there is a handler above it.
        logging.getLogger("uvicorn.access").propagate = False
        self._worker = HttpApp.worker = Worker(environment.config_path())
        # What is loaded now stays for good: the collector need not walk it at every turn.
        gc.collect()
        gc.freeze()

    @bentoml.on_startup
    async def start(self) -> None:
        """Before the first request."""
        await self._worker.start()

    @bentoml.on_shutdown
    async def close(self) -> None:
        """After the last answer."""
        await self._worker.close()

    def __is_ready__(self) -> bool:
        """Whether there is a model to score with; BentoML answers /readyz by it."""
        return self._worker.state.scoring is not None
