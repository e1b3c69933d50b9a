"""Show whether the newest scores can be believed: sources, verdicts, drift, the night's steps; decide on a hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from features.core.errors import GarrisonError
from features.state.tables import RUN_DECISIONS
from monitoring.console.act_transaction import begin_act
from monitoring.console.audit import record_act
from monitoring.console.charts.course_chart import lay_out_course
from monitoring.console.context import ConsoleContext
from monitoring.console.kept_reads import count_time
from monitoring.console.security_headers import SANDBOXED_PAGE
from monitoring.console.sign_in.access import current_person, require
from monitoring.console.sign_in.person import Person, Role
from monitoring.drift.drift_page import find_drift_pages
from monitoring.drift.drift_report import drift_folder
from monitoring.night import night_log
from monitoring.night.night_log import STEPS, NightLog
from serving.gate import verdict_store
from serving.gate.verdict_store import Choice, JudgedRun

PATH = "/watch"
_SEES = (Role.DATA_SCIENTIST, Role.ADMIN)
_RUNS, _LINKED = 20, 60
_PSI = "psi "
_CHOICES = {"release": "released", "discard": "discarded"}


def routes(context: ConsoleContext) -> list[Route]:
    """Return the routes."""
    page = _Watch(context)
    return [
        Route(PATH, page.show, methods=["GET"]),
        Route(PATH + "/drift/{page}", page.show_drift, methods=["GET"]),
        Route(PATH + "/runs/{run}/{choice}", page.decide, methods=["POST"]),
    ]


@dataclass(frozen=True)
class _Watch:
    """The handlers."""

    context: ConsoleContext

    @require(*_SEES)
    async def show(self, request: Request) -> Response:
        done = request.query_params.get("done", "")
        return await self.context.make_page(request, "watch.html", self._keep, done=done)

    @require(*_SEES)
    async def show_drift(self, request: Request) -> Response:
        pages = await run_in_threadpool(self._list_drift)
        name = request.path_params["page"]
        if name not in pages:
            raise HTTPException(404)
        # The page has Evidently's scripts in it: it runs in a world of its own, without our cookies or address.
        return FileResponse(pages[name], media_type="text/html", headers={"Content-Security-Policy": SANDBOXED_PAGE})

    @require(*_SEES)
    async def decide(self, request: Request) -> Response:
        run, choice = request.path_params["run"], request.path_params["choice"]
        if choice not in _CHOICES:
            raise HTTPException(404)
        reason = (await request.form()).get("reason", "")
        decided = cast("Choice", _CHOICES[choice])
        await run_in_threadpool(
            self._decide, current_person(request), run, decided, reason if isinstance(reason, str) else ""
        )
        return RedirectResponse(f"{PATH}?done={choice}", status_code=303)

    def _decide(self, person: Person, run: str, choice: Choice, reason: str) -> None:
        with begin_act(self.context.store) as store:
            known = {judged.verdict.run: judged for judged in verdict_store.read_history(store, limit=_LINKED)}
            judged = known.get(run)
            if judged is None:
                raise HTTPException(404)
            if judged.decision is not None:
                raise GarrisonError(
                    f"run {judged.verdict.name} is {judged.decision.decision} already",
                    found=f"by {judged.decision.decided_by}: {judged.decision.reason}",
                    hint="Nothing was changed",
                )
            decision = verdict_store.write_decision(
                store, judged.verdict, choice, reason=reason[:500], by=person.address
            )
            details = {"decision": choice, "reason": decision.reason}
            record_act(store.connection, person, "decide_run", RUN_DECISIONS.name, run, details)

    def _read_runs(self) -> tuple[JudgedRun, ...]:
        store = self.context.store
        return self.context.kept.get("judged runs", lambda: verdict_store.read_history(store, limit=_LINKED))

    def _list_drift(self) -> dict[str, Any]:
        """Return the drift pages of the judged runs by name: no other file is served."""
        folder, found = drift_folder(self.context.settings), {}
        for judged in self._read_runs():
            for target, file in find_drift_pages(folder, judged.verdict.as_of).items():
                found[f"{judged.verdict.as_of:%Y-%m-%d}-{target}"] = file
        return found

    def _keep(self) -> dict[str, Any]:
        # Pages of drift are files: they are looked for now and then.
        return self.context.kept.get(("watch", count_time()), self._read)

    def _read(self) -> dict[str, Any]:
        store, runs = self.context.store, self._read_runs()
        newest = night_log.find_previous(store, datetime.max.replace(tzinfo=UTC))
        steps = NightLog(store, newest).read() if newest else {}
        checked = steps["check"].figures if "check" in steps else {}
        pages = self._list_drift()
        shown = [
            (judged, [name for name in pages if name[:10] == f"{judged.verdict.as_of:%Y-%m-%d}"]) for judged in runs
        ]
        return {
            "runs": shown[:_RUNS],
            "newest": runs[0] if runs else None,
            "held": [judged for judged in runs[:_RUNS] if judged.verdict.state == "hold" and judged.decision is None],
            "night": newest,
            "steps": [steps.get(name) for name in STEPS],
            "step_names": STEPS,
            "ages": checked.get("ages", {}),
            "volumes": checked.get("volumes", {}),
            "faults": checked.get("faults", ()),
            "courses": _lay_out_courses(runs),
        }


def _lay_out_courses(runs: tuple[JudgedRun, ...]) -> list[dict[str, Any]]:
    """Lay out how each score's distribution shifted from run to run, the oldest first."""
    ordered = runs[::-1]
    names = dict.fromkeys(n for judged in ordered for n in judged.verdict.figures if n.startswith(_PSI))
    courses = []
    for name in names:
        points = [
            (judged.verdict.as_of.isoformat(), judged.verdict.figures[name])
            for judged in ordered
            if name in judged.verdict.figures
        ]
        chart = lay_out_course(points)
        if chart:
            courses.append({"name": name.removeprefix(_PSI), "chart": chart, "points": points[::-1][:12]})
    return courses
