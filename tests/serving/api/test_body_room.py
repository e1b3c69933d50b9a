"""Room for large bodies goes to who came first, and who waits in vain is told to come again."""

from __future__ import annotations

import asyncio

import pytest

from serving.api import body_room
from serving.api.body_room import ROOM_BYTES, BodyRoom
from serving.schemas.errors import ApiError


async def wait_a_turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def test_who_came_first_gets_the_room_even_if_less_would_do_for_the_next() -> None:
    async def run() -> list[str]:
        room, order = BodyRoom(), []

        async def hold(name: str, size: int) -> None:
            await room.take(size)
            order.append(name)

        await hold("first", ROOM_BYTES - 10)
        waiting = [asyncio.create_task(hold(name, size)) for name, size in (("big", 20), ("small", 5))]
        await wait_a_turn()
        assert order == ["first"]
        room.give_back(ROOM_BYTES - 10)
        await asyncio.gather(*waiting)
        return order

    assert asyncio.run(run()) == ["first", "big", "small"]


def test_who_waits_in_vain_is_told_so_and_whoever_leaves_makes_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        room = BodyRoom()
        await room.take(ROOM_BYTES)
        monkeypatch.setattr(body_room, "WAIT_SECONDS", 0.01)
        with pytest.raises(ApiError) as caught:
            await room.take(1)
        assert (caught.value.error.code, caught.value.headers["retry-after"]) == ("busy", "1")
        monkeypatch.setattr(body_room, "WAIT_SECONDS", 60)
        leaving, staying = (asyncio.create_task(room.take(size)) for size in (ROOM_BYTES, 1))
        await wait_a_turn()
        monkeypatch.setattr(body_room, "MAX_WAITING", 2)
        with pytest.raises(ApiError):
            await room.take(1)
        room.give_back(1)
        leaving.cancel()
        await asyncio.wait([staying], timeout=20)
        assert staying.done()
        # One that is cancelled in the turn in which it was let in gives its room back.
        late = asyncio.create_task(room.take(2))
        await wait_a_turn()
        room.give_back(2)
        late.cancel()
        await asyncio.wait([late])
        await room.take(2)

    asyncio.run(run())


def test_waiters_whose_time_is_up_at_once_are_all_told_so_and_take_nothing_with_them() -> None:
    async def run() -> None:
        room = BodyRoom()
        await room.take(ROOM_BYTES - 10)
        # Whoever goes first lets the next one in, who would find room, and whose time is up as well.
        waiting = [asyncio.create_task(room.take(size)) for size in (20, 5)]
        await wait_a_turn()
        for waiter in waiting:
            waiter.cancel()
        gone = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(error) for error in gone] == [asyncio.CancelledError] * 2
        room.give_back(ROOM_BYTES - 10)
        await asyncio.wait_for(room.take(ROOM_BYTES), timeout=20)

    asyncio.run(run())
