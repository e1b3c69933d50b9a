"""Two companies in one installation, with the same account ids: what one does neither changes nor shows the other."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import sqlalchemy as sa

from features.erasure.erase import erase
from features.settings import Settings
from features.settings.load import load_settings
from features.sources.history import History
from features.state import database
from features.state.database import Store
from features.state.locks import Lock, try_lock
from features.state.tables import METADATA, SCORES
from serving.api.app import HttpApp
from serving.api.auth import Keyring, create_key
from serving.api.worker import Worker
from serving.batch import run
from serving.events import log
from serving.schemas.event_requests import EventRequestReader
from serving.scoring.score_table import Explain
from tests.support.command_faults import read_folder
from tests.support.harbour import NOW, Harbour, make_harbour
from tests.support.scored_company import write_company, write_scores

IDS = [f"A-{n}" for n in range(1, 7)]


@dataclass
class Tenant:
    """A company; its name is in all that it writes."""

    name: str
    settings: Settings
    store: Store
    draw: random.Random
    keys: list[str] = field(default_factory=list)
    erased: set[str] = field(default_factory=set)

    def read_tables(self) -> None:
        with History.open(self.settings):
            pass

    def score(self) -> None:
        risk, left = self.draw.random(), [i for i in IDS if i not in self.erased]
        write_scores(self.settings, [{"account_id": i, "risk": risk, "why": self.name} for i in left])
        values = {"as_of": 1, "target": "churn", "horizon": 90, "score": risk, "model": self.name, "catalog": "c"}
        values |= {"sources": "s", "drivers": "[]", "scored_at": 1}
        self.store.write_scores(tuple((values | {"account_id": i}).get(c.name) for c in SCORES.c) for i in left)

    def make_key(self) -> None:
        self.keys.append(create_key(self.store, f"{self.name} {len(self.keys)}"))

    def post(self) -> None:
        # The same ids in both companies: neither is a duplicate of the other's.
        row = {"account_id": self.draw.choice(IDS), "event_id": f"p{self.draw.randrange(9)}", "amount": "7"}
        body = {"purchases": [row | {"purchased_at": "2024-06-01", "product": self.name}]}
        log.store_events(self.settings, self.store, EventRequestReader(self.settings).read(json.dumps(body).encode()))

    def erase(self) -> None:
        if len(self.erased) < 3:
            account_id = self.draw.choice(IDS)
            erase(self.settings, "account", account_id, reason="asked")
            self.erased.add(account_id)

    def read_state(self) -> dict[str, str]:
        """All rows of its state, by table, as text."""
        with self.store.reading() as connection:
            return {t.name: repr(sorted(map(repr, connection.execute(sa.select(t))))) for t in METADATA.sorted_tables}


ACTIONS: tuple[Callable[[Tenant], None], ...] = (
    Tenant.read_tables,
    Tenant.score,
    Tenant.make_key,
    Tenant.post,
    Tenant.erase,
)


def make_tenant(root: Path, name: str, url: str, seed: int) -> Tenant:
    """Write a company into a folder of its own, its outputs below the root that both share."""
    (root / name).mkdir()
    more = "[quality]\nmax_quarantine = 1.0\n"
    settings = write_company(root / name, [{"id": i, "name": f"{name} {i}"} for i in IDS], more)
    rows = "".join(f"{i},2024-01-02,10\n{i},bad {name},1\n" for i in IDS)
    (root / name / "purchases.csv").write_text(f"id,at,amount\n{rows}")
    text = settings.file.read_text().replace('name = "Harbour"', f'name = "{name}"', 1)
    text = text.replace(f'"{root / name}/var"', f'"{root}/var"')
    if url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        schema = sa.make_url(url).update_query_dict({"options": f"-csearch_path={name}"})
        text = f'state_url = "{schema.render_as_string(hide_password=False)}"\n{text}'
    settings.file.write_text(text)
    settings = load_settings(settings.file)
    return Tenant(name, settings, database.open(settings), random.Random(seed))  # noqa: S311  # nothing secret here


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_whatever_one_company_does_the_others_state_files_and_keys_stay_and_hold_nothing_of_it(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    url = request.getfixturevalue("postgres_url") if kind == "postgresql" else ""
    tenants = [make_tenant(tmp_path, name, url, seed) for seed, name in enumerate(("amber", "birch"))]
    draw = random.Random(7)  # noqa: S311  # nothing secret here
    for action in draw.sample(ACTIONS * 2, k=len(ACTIONS) * 2):
        one, other = draw.sample(tenants, k=2)
        before = other.read_state(), read_folder(other.settings.var)
        action(one)
        assert (other.read_state(), read_folder(other.settings.var)) == before, action
    for one, other in (tenants, tenants[::-1]):
        assert {key for key in one.keys if Keyring(one.store).find_key(f"Bearer {key}")} == {*one.keys}
        assert not any(Keyring(other.store).find_key(f"Bearer {key}") for key in one.keys)
        assert one.name in str(one.read_state())
        assert other.name not in str(one.read_state())
        files = [file for file in one.settings.var.rglob("*") if file.is_file()]
        assert files
        assert [file for file in files if other.name.encode() in file.read_bytes()] == []
        # Nor does one wait for the other.
        with try_lock(one.store.engine, Lock.NIGHT) as is_mine, try_lock(other.store.engine, Lock.NIGHT) as is_its:
            assert is_mine
            assert is_its
    for one in tenants:
        one.store.close()


async def healthy(_scope: Any, _receive: Any, send: Any) -> None:
    """Where BentoML would answer."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def make_served(folder: Path, like: Harbour, letter: str) -> tuple[HttpApp, str]:
    """Score a company whose ids begin with a letter; return its service, and a key for all that it does."""
    rows = {
        table: [
            {k: v.replace("A-", f"{letter}-") if isinstance(v, str) else v for k, v in row.items()} for row in given
        ]
        for table, given in like.rows.items()
    }
    harbour = make_harbour(folder, like, rows)
    run.score_accounts(harbour.settings, None, as_of=NOW, explain=Explain.NONE)
    with database.open(harbour.settings) as store:
        key = create_key(store, letter, "score,read,ingest")
    service = HttpApp(healthy)
    service.worker = Worker(str(harbour.config))  # of this one alone
    return service, key


def test_no_answer_of_a_service_has_a_row_of_the_other_company(tmp_path: Path, harbour: Harbour) -> None:
    """Two companies of the same name, each in a folder of its own."""
    served = {letter: make_served(tmp_path / letter, harbour, letter) for letter in "AB"}
    draw = random.Random(3)  # noqa: S311  # nothing secret here

    def make_request(letter: str) -> tuple[str, str, dict[str, Any] | None]:
        ids = [f"{letter}-{n:03}" for n in draw.sample(range(80), 3)]
        use = {"account_id": ids[0], "event_id": "u1", "used_at": "2023-12-30T10:00:00Z"}
        return draw.choice(
            (
                ("POST", "/v1/score", {"accounts": ids, "detail": "scores"}),
                ("GET", f"/v1/accounts/{ids[0]}", None),
                ("GET", f"/v1/accounts?limit={draw.randrange(1, 200)}&order={draw.choice(('risk', '-value'))}", None),
                ("GET", "/v1/model", None),
                ("POST", "/v1/events", {"usage": [use]}),
                ("GET", "/metrics", None),
            )
        )

    async def ask(at: str, key_of: str, about: str) -> tuple[int, str]:
        service, (method, path, body) = served[at][0], make_request(about)
        headers = {"authorization": f"Bearer {served[key_of][1]}"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(service), base_url="http://s") as client:
            answer = await client.request(method, path, json=body, headers=headers)
        return answer.status_code, answer.text

    async def ask_all() -> None:
        for _ in range(60):
            at, other = draw.sample("AB", k=2)
            status, text = await ask(at, at, at)
            assert status in {200, 202}, text
            assert f"{other}-0" not in text
            status, text = await ask(at, other, draw.choice("AB"))
            assert status == 401
            assert not re.search(r"[AB]-0", text)
            # Of the other's accounts nothing is known: their ids come back as they were sent, without a score.
            _, text = await ask(at, at, other)
            assert not re.search(rf'{other}-0[^{{]*"scores"', text)

    asyncio.run(ask_all())
    for service, _ in served.values():
        asyncio.run(service.worker.close())
