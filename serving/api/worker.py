"""Runs one worker process: its state, limits, access log and metrics, and what it refreshes every second."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from features.core.tracing import SpanRecorder
from serving.api import access_log, environment
from serving.api.access_log import AccessLog
from serving.api.body_room import BodyRoom, make_busy_error
from serving.api.metrics import Metrics, ParityStatus
from serving.api.rate_limit import RateLimiter
from serving.api.state import AppState
from serving.pacing import DueTimer

_log = logging.getLogger("bentoml.garrison")
WORK_SECONDS = 7  # that work in a thread may take
REFRESH_SECONDS = 1.0  # between looks at what has changed

Result = TypeVar("Result")


class Worker:
    """What one server process holds, from its start to its end.

    Args:
        config: The settings file.
    """

    def __init__(self, config: str) -> None:
        self.metrics = Metrics.open()
        self.parity = ParityStatus()
        # None unless the environment names a collector.
        self.spans = SpanRecorder.open("garrison-serving")
        self.rate_limiter: RateLimiter | None = None
        self.access_log: AccessLog | None = None
        # The OpenAPI document, made when it is first asked for.
        self.document: bytes | None = None
        self.state = AppState.open(config)
        self._open_limits()
        self.body_room = BodyRoom()
        # More threads than processors would only make everyone wait; whoever waits too long gets the error `busy`. Work
        # that nobody waits for any more keeps its thread to its end, so that no more than these ever run.
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, "garrison-work")
        self._task: asyncio.Task[None] | None = None
        self._supervisor = os.getppid()

    async def start(self) -> None:
        """Begin to look for what has changed, every second."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop, with the access log written to its end; call it after the last answer."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await anyio.to_thread.run_sync(self._close_files)

    async def run_in_thread(self, work: Callable[..., Result], *args: Any) -> Result:
        """Run a function in a thread, so that other requests go on meanwhile.

        Raises:
            ApiError: It took too long.
        """
        try:
            async with asyncio.timeout(WORK_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
        except TimeoutError:
            raise make_busy_error() from None

    async def refresh(self) -> None:
        """Load new keys, models, snapshots and events, if it is time to look."""
        if self.state.timer.is_due:
            self.state = await anyio.to_thread.run_sync(self.state.refresh)
            self._open_limits()
        rescorer = self.state.scoring and self.state.scoring.score_service.rescorer
        if rescorer:
            # Here, so that a request pays for it only if there are new events.
            await anyio.to_thread.run_sync(rescorer.refresh)

    async def _run(self) -> None:
        is_warm, timer = False, DueTimer(REFRESH_SECONDS)
        while True:
            timer.restart()
            if os.getppid() != self._supervisor:
                # Nobody would stop this process any more, and it would keep the port from the service's next start.
                _log.warning("the supervisor is gone: this worker ends too")
                os.kill(os.getpid(), signal.SIGTERM)
                return
            try:
                if self.state.scoring is not None and not is_warm:
                    # Beside the first requests, so that none of them waits for it.
                    is_warm = True
                    await anyio.to_thread.run_sync(self.state.scoring.score_service.warm_up)
                await self.refresh()
                await anyio.to_thread.run_sync(self.metrics.save)
            except Exception as error:  # noqa: BLE001  # whatever it is, the next turn may go well
                _log.warning("refresh failed with %s, trying again in %s s", type(error).__name__, REFRESH_SECONDS)
            await asyncio.sleep(timer.seconds_left)

    def _open_limits(self) -> None:
        """Open the rate limiter and the access log, once the settings have been read."""
        settings = self.state.settings
        if settings is not None and self.rate_limiter is None:
            self.rate_limiter = RateLimiter(settings.serving.per_minute, environment.worker_count())
            self.access_log = AccessLog(access_log.access_log_folder(settings))

    def _close_files(self) -> None:
        if self.access_log is not None:
            self.access_log.close()
        self.state.close()
        self.metrics.save()
        if self.spans is not None:
            self.spans.close()
