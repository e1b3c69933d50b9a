"""What is kept of the state database: until another connection or process has written, and read once for many."""

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pyarrow as pa
import pytest
import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool

from features.core.errors import GarrisonError
from features.core.sorted_ids import SortedIds
from features.state.console_tables import CONSOLE_CHOICES
from features.state.tables import EPISODES
from monitoring.console.accounts.open_episodes import OpenEpisodes
from monitoring.console.context import ConsoleContext
from monitoring.console.kept_reads import KeptReads

WRITE = (
    "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
    "c.execute(\"INSERT INTO console_choices (address, changed_at) VALUES ('other', 1)\"); c.commit()"
)


@pytest.fixture
def kept(house):
    made = KeptReads(house.state)
    yield made
    made.close()


def test_open_episodes_are_those_read_before_until_one_of_them_changes(house):
    first = OpenEpisodes.read(house.settings, house.state)
    episode = house.open_episode("C", owner="c@owners.test", cause="usage")
    opened = OpenEpisodes.read(house.settings, house.state, first)
    assert len(opened.rows) == len(first.rows) + 1
    with house.state.writing() as connection:
        connection.execute(sa.insert(CONSOLE_CHOICES), {"address": "z", "changed_at": 1})
    assert OpenEpisodes.read(house.settings, house.state, opened) is opened
    with house.state.writing() as connection:
        changed = {"version": EPISODES.c.version + 1, "owner": "d@owners.test"}
        connection.execute(sa.update(EPISODES).where(EPISODES.c.id == episode).values(changed))
    found = OpenEpisodes.read(house.settings, house.state, opened)
    assert "d@owners.test" in found.owners
    assert "d@owners.test" not in opened.owners


def test_it_is_read_anew_after_every_write_and_only_then(house, kept):
    def count():
        return len(house.rows(CONSOLE_CHOICES))

    reads = []

    def read():
        reads.append(1)
        return count()

    assert [kept.get("choices", read) for _ in range(3)] == [0, 0, 0]
    assert len(reads) == 1
    with house.state.writing() as connection:
        connection.execute(sa.insert(CONSOLE_CHOICES), {"address": "a", "changed_at": 1})
    assert kept.get("choices", read) == 1
    file = house.state.engine.url.database
    subprocess.run([sys.executable, "-c", WRITE, file], check=True)  # another process
    assert kept.get("choices", read) == 2
    assert kept.get("of another key", read) == 2
    assert len(reads) == 4


def test_what_could_not_be_read_is_not_kept(kept):
    def fail():
        raise GarrisonError("locked")

    with pytest.raises(GarrisonError, match="locked"):
        kept.get("key", fail)
    assert kept.get("key", lambda: "read") == "read"


def test_many_who_ask_at_once_wait_for_one_read(kept):
    begun, reads = threading.Event(), []

    def read():
        reads.append(1)
        begun.wait(10)
        return "read"

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(kept.get, "key", read) for _ in range(8)]
        begun.set()
        assert [one.result(10) for one in asked] == ["read"] * 8
    assert len(reads) == 1


def test_ids_are_found_in_the_order_of_their_characters():
    ids = sorted(["", "A", "a", "A\u0301", "é", "客户", "\U0001f600", "B/1", "B 1"])
    found = SortedIds(pa.array(ids))
    assert [found.find(one) for one in ids] == list(range(len(ids)))
    assert found.find_all([*reversed(ids), "nobody"]).tolist() == [*reversed(range(len(ids))), -1]
    assert [found.find(other) for other in ("nobody", "客", "\udc80")] == [None, None, None]


def test_pages_are_made_one_after_the_other_in_the_order_asked_for_while_acts_go_on(house):
    context, order, begun, may_end = ConsoleContext(house.settings, house.state, None, None), [], Event(), Event()

    def read_first():
        begun.set()
        may_end.wait(30)
        order.append("first")

    async def ask():
        pages = [asyncio.ensure_future(context.read_in_turn(read_first))]
        pages += [asyncio.ensure_future(context.read_in_turn(order.append, name)) for name in ("second", "third")]
        await run_in_threadpool(begun.wait, 30)
        await run_in_threadpool(order.append, "act")
        may_end.set()
        await asyncio.gather(*pages)

    asyncio.run(ask())
    assert order == ["act", "first", "second", "third"]
