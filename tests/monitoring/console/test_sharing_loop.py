"""Processes that listen on one socket share its connections evenly: two listeners stand for them."""

import asyncio
import socket

import pytest
import uvloop

from monitoring.console.sharing_loop import SharingLoop


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport):
        """Remember where to."""
        self.transport = transport

    def data_received(self, data):
        """Send it back."""
        self.transport.write(data)


@pytest.fixture
def socks():
    """One bound socket, as each of two processes has it."""
    with socket.create_server(("127.0.0.1", 0)) as bound, bound.dup() as another:
        yield bound, another


async def connect(sock):
    """Open a connection, and wait until something listens to it."""
    reader, writer = await asyncio.open_connection(*sock.getsockname())
    writer.write(b"1")
    assert await reader.readexactly(1) == b"1"
    return writer


async def close(writers):
    """Close connections."""
    for writer in writers:
        writer.close()
        await writer.wait_closed()


async def listen(sock):
    """Listen as a process of its own would."""
    return await asyncio.get_running_loop().create_server(Echo, sock=sock)


def run(task):
    """Run in the loop of the console's processes, for 30 seconds at most."""
    uvloop.run(asyncio.wait_for(task, 30), loop_factory=SharingLoop)


def test_connections_that_come_at_once_are_shared_evenly(socks):
    async def check():
        listeners = [await listen(sock) for sock in socks]
        writers = await asyncio.gather(*(connect(socks[0]) for _ in range(8)))
        assert [one.count_open() for one in listeners] == [4, 4]
        await close(writers)

    run(check())


def test_who_has_fewer_connections_gets_the_next_and_alone_gets_all(socks):
    async def check():
        first = await listen(socks[0])
        writers = [await connect(socks[0]) for _ in range(3)]
        second = await listen(socks[1])
        later = [await connect(socks[0]) for _ in range(2)]
        assert (first.count_open(), second.count_open()) == (3, 2)
        await close(writers)
        while first.count_open():  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.001)
        later.append(await connect(socks[0]))
        assert (first.count_open(), second.count_open()) == (1, 2)
        await close(later)

    run(check())


def test_a_closed_listener_takes_no_connection_and_leaves_it_to_the_others(socks):
    async def check():
        first, second = [await listen(sock) for sock in socks]
        first.close()
        await first.wait_closed()
        writer = await connect(socks[0])
        assert (first.count_open(), second.count_open()) == (0, 1)
        await close([writer])

    run(check())
