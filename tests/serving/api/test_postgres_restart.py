"""PostgreSQL is killed and started anew under load: the service says when to come again, goes on, and loses nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from features.settings.load import load_settings
from features.state import database
from features.state.tables import EVENT_LOG
from serving.api import auth
from serving.api.app import HttpApp
from serving.api.worker import Worker
from serving.batch import run
from tests.support.postgres import PostgresServer

EVENTS, POSTERS = 60, 4


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that no other test uses."""
    server = PostgresServer(f"restart-{os.getpid()}")
    yield server
    server.stop()


async def refuse_health(_scope: Any, _receive: Any, _send: Any) -> None:
    """Stand where BentoML would answer: nobody asks."""
    raise AssertionError


def test_requests_beside_a_restart_of_postgresql_are_answered_or_told_to_come_again(
    own_harbour: Any, own_server: PostgresServer, now: Any
) -> None:
    config: Path = own_harbour.config
    config.write_text(f'state_url = "{own_server.create_database()}"\n{config.read_text()}')
    settings = load_settings(config)
    run.score_accounts(settings, None, as_of=now)
    with database.open(settings) as store:
        key = auth.create_key(store, "test", "score,read,ingest")
    HttpApp.worker = worker = Worker(str(config))
    statuses: list[int] = []

    async def use_until_done() -> None:
        transport = httpx.ASGITransport(HttpApp(refuse_health))
        outage = asyncio.Event()
        headers = {"authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://s", headers=headers, timeout=60) as http:

            async def post(first: int) -> None:
                for n in range(first, EVENTS, POSTERS):
                    use = {"event_id": f"u{n}", "account_id": "A-003", "used_at": "2023-12-30T10:00:00Z"}
                    while await ask("POST", "/v1/events", json={"usage": [use]}) != 200:
                        await outage.wait()
                        await asyncio.sleep(0.05)
                    await ask("GET", "/v1/accounts/A-003")

            async def ask(method: str, path: str, **rest: Any) -> int:
                response = await http.request(method, path, **rest)
                assert response.status_code == 200 or (
                    response.status_code == 503 and int(response.headers["retry-after"]) > 0
                ), response.text
                statuses.append(response.status_code)
                if response.status_code == 200 and statuses.count(200) == EVENTS // 4:
                    own_server.kill()
                if statuses.count(503) == POSTERS:
                    outage.set()
                return response.status_code

            async def restart() -> None:
                await outage.wait()
                await asyncio.to_thread(own_server.start)

            await asyncio.gather(restart(), *(post(n) for n in range(POSTERS)))
            await worker.refresh()
            assert await ask("GET", "/v1/accounts/A-003") == 200

    asyncio.run(use_until_done())
    with database.open(settings) as store, store.reading() as connection:
        stored = connection.execute(sa.select(EVENT_LOG.c.event_id)).scalars().all()
    assert sorted(stored) == sorted(f"u{n}" for n in range(EVENTS))
    asyncio.run(worker.close())
