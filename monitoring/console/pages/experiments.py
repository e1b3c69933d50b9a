"""Show what the lots have shown: design, balance, power, the effect over time, saved revenue; stop by a rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

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

PATH = "/experiments"
_SEES = (Role.DATA_SCIENTIST, Role.MANAGER, Role.ADMIN)
# Outcomes come with a night: a look is kept for so many seconds, since it reads the history and simulates power.
_KEPT = 600.0


def routes(context: ConsoleContext) -> list[Route]:
    """Return the routes."""
    page = _Experiments(context, _Looks(context))
    return [
        Route(PATH, page.show, methods=["GET"]),
        Route(PATH + "/stop", page.stop, methods=["POST"]),
    ]


@dataclass
class _Looks:
    """The last look at the experiment, shared by all readers."""

    context: ConsoleContext
    last: ExperimentStatus | None = None
    taken: float = 0.0
    lock: Lock = field(default_factory=Lock)

    def take(self, *, anew: bool = False) -> ExperimentStatus:
        """Return the last look; take one if it is too old."""
        with self.lock:
            if anew or self.last is None or monotonic() - self.taken > _KEPT:
                with History.open(self.context.settings) as history:
                    self.last = read_status(self.context.settings, self.context.store, history)
                self.taken = monotonic()
            return self.last


@dataclass(frozen=True)
class _Experiments:
    """The handlers."""

    context: ConsoleContext
    looks: _Looks

    @require(*_SEES)
    async def show(self, request: Request) -> Response:
        values = await run_in_threadpool(self._read)
        person = current_person(request)
        may_stop = person.has(Role.DATA_SCIENTIST, Role.ADMIN)
        stopped = request.query_params.get("stopped", "")
        return self.context.render(request, "experiments.html", stopped=stopped, may_stop=may_stop, **values)

    @require(Role.DATA_SCIENTIST, Role.ADMIN)
    async def stop(self, request: Request) -> Response:
        reason = (await request.form()).get("reason", "")
        await run_in_threadpool(self._stop, current_person(request), reason if isinstance(reason, str) else "")
        return RedirectResponse(f"{PATH}?stopped=yes", status_code=303)

    def _stop(self, person: Person, reason: str) -> None:
        status = self.looks.take(anew=True)
        with begin_act(self.context.store) as store:
            rule = stop_experiment(store, status, reason=reason, by=person.address)
            details = {"rule": rule, "reason": reason[:500]}
            record_act(store.connection, person, "stop_experiment", EXPERIMENTS.name, status.name, details)
        self.looks.take(anew=True)

    def _read(self) -> dict[str, Any]:
        status = self.looks.take()
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
