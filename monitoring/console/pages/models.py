"""Show whether the models keep their promise: champions, performance, stability, missed churners; propose to train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from features.state.tables import OUTBOX
from monitoring.console.act_transaction import begin_act
from monitoring.console.audit import record_act
from monitoring.console.charts.course_chart import CourseChart, lay_out_course
from monitoring.console.context import ConsoleContext
from monitoring.console.security_headers import STILL_PAGE
from monitoring.console.sign_in.access import current_person, require
from monitoring.console.sign_in.person import Person, Role
from monitoring.performance.page import locate_figures
from monitoring.performance.proposals import propose_retraining, read_proposals
from monitoring.reports.stored_reports import locate_reports, read_report
from training.registry import promotion_log

PATH = "/models"
_SEES = (Role.DATA_SCIENTIST, Role.MANAGER, Role.ADMIN)
_PROMOTIONS, _GROUPS = 8, 40


def routes(context: ConsoleContext) -> list[Route]:
    """Return the routes."""
    page = _Models(context)
    return [
        Route(PATH, page.show, methods=["GET"]),
        Route(PATH + "/{target}/card", page.show_card, methods=["GET"]),
        Route(PATH + "/retrain", page.propose, methods=["POST"]),
    ]


@dataclass(frozen=True)
class _Models:
    """The handlers."""

    context: ConsoleContext

    @require(*_SEES)
    async def show(self, request: Request) -> Response:
        kind = request.query_params.get("score", "")
        proposed = request.query_params.get("proposed", "")
        return await self.context.make_page(request, "models.html", self._read, kind, proposed=proposed)

    @require(*_SEES)
    async def show_card(self, request: Request) -> Response:
        settings, target = self.context.settings, request.path_params["target"]
        current = await run_in_threadpool(promotion_log.read_current, settings)
        if target not in current:
            raise HTTPException(404)
        file = settings.paths.mlruns / current[target].bundle / "card.html"
        if not file.is_file():
            raise HTTPException(404)
        return FileResponse(file, media_type="text/html", headers={"Content-Security-Policy": STILL_PAGE})

    @require(*_SEES)
    async def propose(self, request: Request) -> Response:
        form, person = await request.form(), current_person(request)
        reason = form.get("reason", "")
        await run_in_threadpool(self._propose, person, reason if isinstance(reason, str) else "")
        return RedirectResponse(f"{PATH}?proposed=yes", status_code=303)

    def _propose(self, person: Person, reason: str) -> None:
        with begin_act(self.context.store) as store:
            message = propose_retraining(self.context.settings, store, by=person.address, reason=reason)
            record_act(store.connection, person, "propose_retraining", OUTBOX.name, message, {"reason": reason[:500]})

    def _read(self, asked: str) -> dict[str, Any]:
        settings = self.context.settings
        stored = {n: read_report(locate_reports(settings) / f"{n}.json") for n in ("stability", "missed", "challenger")}
        figures = read_report(locate_figures(settings))
        promotions = promotion_log.read_promotions(settings)
        champions = promotion_log.read_current(settings)
        cards = {t for t, p in champions.items() if (settings.paths.mlruns / p.bundle / "card.html").is_file()}
        kinds = list(dict.fromkeys(f"{s['target']}_{s['horizon']}d" for s in figures["estimated"])) if figures else []
        kind = asked if asked in kinds else _choose_kind(kinds, f"churn_{settings.alert_horizon}d")
        cohorts = _select(figures, "realised", kind) + _select(figures, "estimated", kind)
        groups = _select(figures, "groups", kind)
        return {
            "champions": champions,
            "cards": cards,
            "promotions": promotions[::-1][:_PROMOTIONS],
            "kinds": kinds,
            "kind": kind,
            "cohorts": cohorts,
            "overall": next((g for g in groups if g["by"] == "all"), None),
            # An owner's address is a name: data scientists see none.
            "groups": [g for g in groups if g["by"] not in {"all", "owner"}][:_GROUPS],
            "auc": _lay_out(cohorts, "auc"),
            "shares": _lay_out_shares(cohorts),
            "proposals": self.context.kept.get("proposals", lambda: list(read_proposals(self.context.store))),
            "has_team": settings.monitoring.data_team is not None,
            **stored,
        }


def _choose_kind(kinds: list[str], wanted: str) -> str:
    return wanted if wanted in kinds else kinds[0] if kinds else ""


def _select(figures: dict[str, Any] | None, name: str, kind: str) -> list[dict[str, Any]]:
    return [row for row in (figures or {}).get(name, ()) if f"{row['target']}_{row['horizon']}d" == kind]


def _lay_out(cohorts: list[dict[str, Any]], name: str) -> CourseChart | None:
    measured = [c["realised"] or {} for c in cohorts]
    expected = [tuple(c["estimate"].get(f"{name}{end}") for end in ("", "_low", "_high")) for c in cohorts]
    return lay_out_course(
        [(c["as_of"], m.get(name)) for c, m in zip(cohorts, measured, strict=True)],
        intervals=[(m.get(f"{name}_low"), m.get(f"{name}_high")) for m in measured],
        expected=expected,
        from_zero=False,
    )


def _lay_out_shares(cohorts: list[dict[str, Any]]) -> CourseChart | None:
    """Lay out the share of accounts for which it came true, with what was expected: calibration over time."""
    rows = [(c, c["estimate"]["accounts"]) for c in cohorts]
    expected = [tuple(c["estimate"][key] / n for key in ("positives", "low", "high")) for c, n in rows]
    points = [(c["as_of"], c["realised"]["positives"] / n if c["realised"] else None) for c, n in rows]
    return lay_out_course(points, expected=expected)
