"""One worker process: its room, limits, audit log and figures, and what it does every second besides answering."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from serving.api import access_log, environment
from serving.api.access_log import AccessLog
from serving.api.metrics import Metrics, ParityStatus
from serving.api.rate_limit import RateLimiter
from serving.api.state import AppState
from serving.schemas.errors import ApiError

_log = logging.getLogger("bentoml.garrison")
WORK_SECONDS = 7  # seconds that work in a thread may take
REFRESH_SECONDS = 1.0  # seconds between looks at what has changed

Result = TypeVar("Result")


class Worker:
    """What one server process holds, from its start to its end.

    Args:
        config: The settings file.
    """

    def __init__(self, config: str) -> None:
        self.metrics = Metrics.shared()
        self.parity = ParityStatus()
        self.rate_limiter: RateLimiter | None = None
        self.access_log: AccessLog | None = None
        # The OpenAPI document, once somebody has asked for it.
        self.document: bytes | None = None
        self.state = self._settled(AppState.open(config))
        # More threads than processors would only make everyone wait; who waits too long is told so.
        self._turns = anyio.CapacityLimiter(os.cpu_count() or 1)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look for what has changed, every second."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop, with the audit log written to its end; called after the last answer."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await anyio.to_thread.run_sync(self._leave)

    async def run_in_thread(self, work: Callable[..., Result], *given: Any) -> Result:
        """Work done in a thread, so that other requests go on meanwhile.

        Raises:
            Refusal: It took too long.
        """
        try:
            async with asyncio.timeout(WORK_SECONDS):
                return await anyio.to_thread.run_sync(
                    partial(work, *given), abandon_on_cancel=True, limiter=self._turns
                )
        except TimeoutError:
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "busy",
                "too much to do at once: send fewer accounts, or try again",
                headers={"retry-after": "1"},
            ) from None

    async def refresh(self) -> None:
        """Take in new keys, models and snapshots, where it is time to look."""
        if self.state.is_stale:
            self.state = self._settled(await anyio.to_thread.run_sync(self.state.refreshed))
        fresh = self.state.scoring and self.state.scoring.score_service.rescorer
        if fresh:
            # Here, so that a request pays for it only where something has come.
            await anyio.to_thread.run_sync(fresh.refresh)

    async def _run(self) -> None:
        warm = False
        while True:
            began = time.monotonic()
            try:
                if self.state.scoring is not None and not warm:
                    # Beside the first requests, so that none of them waits for it.
                    warm = True
                    await anyio.to_thread.run_sync(self.state.scoring.score_service.warm_up)
                await self.refresh()
                await anyio.to_thread.run_sync(self.metrics.save)
            except Exception as error:  # noqa: BLE001  # whatever it is, the next look may go well
                _log.warning("what has changed could not be looked at: %s", type(error).__name__)
            await asyncio.sleep(max(0.0, REFRESH_SECONDS - (time.monotonic() - began)))

    def _settled(self, room: AppState) -> AppState:
        if room.settings is not None and self.rate_limiter is None:
            self.rate_limiter = RateLimiter(room.settings.serving.per_minute, environment.worker_count())
            self.access_log = AccessLog(access_log.access_log_folder(room.settings))
        return room

    def _leave(self) -> None:
        if self.access_log is not None:
            self.access_log.close()
        self.state.close()
        self.metrics.save()
