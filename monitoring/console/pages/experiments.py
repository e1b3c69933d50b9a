"""Show what the lots have shown: design, balance, power, the effect over time, saved revenue; stop by a rule."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from threading import Lock, Thread
from time import monotonic
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from features.core.errors import GarrisonError
from features.sources.history import History
from features.state.experiment_tables import EXPERIMENTS
from monitoring.console.act_transaction import begin_act
from monitoring.console.audit import record_act
from monitoring.console.context import ConsoleContext
from monitoring.console.sign_in.access import current_person, require
from monitoring.console.sign_in.person import Person, Role
from monitoring.experiments.chart import lay_out_sequence, thin_out
from monitoring.experiments.experiment_status import ExperimentStatus
from monitoring.experiments.status import read_status
from monitoring.experiments.stopping import find_rule, stop_experiment
from serving.scoring import score_table

PATH = "/experiments"
_SEES = (Role.DATA_SCIENTIST, Role.MANAGER, Role.ADMIN)
# Outcomes come with a night: a look is kept for so many seconds, since it reads the history and simulates power, which
# takes a second or many.
_KEPT = 600.0
_LOG = logging.getLogger(__name__)


def routes(context: ConsoleContext) -> list[Route]:
    """Return the routes."""
    page = _Experiments(context, _Looks(context))
    return [
        Route(PATH, page.show, methods=["GET"]),
        Route(PATH + "/stop", page.stop, methods=["POST"]),
    ]


class _Looks:
    """The last look at the experiment, shared by all readers, and taken in the background: no request waits for it.

    Args:
        context: Of the process.
    """

    def __init__(self, context: ConsoleContext) -> None:
        self._context, self._lock = context, Lock()
        self._last: ExperimentStatus | None = None
        self._taken = -_KEPT
        self._of: object = self  # no run
        self._thread: Thread | None = None
        self._fault: GarrisonError | None = None

    def find(self) -> ExperimentStatus | None:
        """Return the last look, and begin another one if it is too old or of another run; None before the first.

        Raises:
            GarrisonError: The first could not be taken.
        """
        run = score_table.find_newest(self._context.settings)
        with self._lock:
            is_under_way = self._thread is not None and self._thread.is_alive()
            if not is_under_way and (run != self._of or monotonic() - self._taken > _KEPT):
                self._of, self._taken, self._fault = run, monotonic(), None
                self._thread = Thread(target=self._take, name="experiment-look", daemon=True)
                self._thread.start()
            elif not is_under_way and self._last is None and self._fault is not None:
                raise self._fault
            return self._last

    def forget(self) -> None:
        """Forget the last look: what it says is no longer so."""
        with self._lock:
            self._last, self._of = None, self

    def _take(self) -> None:
        try:
            with History.open(self._context.settings) as history:
                self._last = read_status(self._context.settings, self._context.store, history)
        except GarrisonError as error:
            _LOG.warning("the experiment can't be read: %s", error)
            self._fault = error


@dataclass(frozen=True)
class _Experiments:
    """The handlers."""

    context: ConsoleContext
    looks: _Looks

    @require(*_SEES)
    async def show(self, request: Request) -> Response:
        values = {
            "may_stop": current_person(request).has(Role.DATA_SCIENTIST, Role.ADMIN),
            "stopped": request.query_params.get("stopped", ""),
        }
        return await self.context.make_page(request, "experiments.html", self._read, **values)

    @require(Role.DATA_SCIENTIST, Role.ADMIN)
    async def stop(self, request: Request) -> Response:
        reason = (await request.form()).get("reason", "")
        await run_in_threadpool(self._stop, current_person(request), reason if isinstance(reason, str) else "")
        return RedirectResponse(f"{PATH}?stopped=yes", status_code=303)

    def _stop(self, person: Person, reason: str) -> None:
        status = self.looks.find()
        if status is None:
            raise GarrisonError("what the experiment shows is not known yet", hint="Wait a minute and try again")
        with begin_act(self.context.store) as store:
            rule = stop_experiment(store, status, reason=reason, by=person.address)
            details = {"rule": rule, "reason": reason[:500]}
            record_act(store.connection, person, "stop_experiment", EXPERIMENTS.name, status.name, details)
        self.looks.forget()

    def _read(self) -> dict[str, Any]:
        status = self.looks.find()
        if status is None:
            return {"experiment": None, "sections": [], "rule": None}
        sections = [
            {
                "found": found,
                "chart": lay_out_sequence(found.estimate.looks),
                "looks": thin_out(found.estimate.looks)[:12],
                "warnings": list(found.list_warnings()),
            }
            for found in status.comparisons
        ]
        return {"experiment": status, "sections": sections, "rule": find_rule(status)}
