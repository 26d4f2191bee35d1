"""The same scripts over the network in memory and over the system's own TCP: the same comes out."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Protocol

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine.driver.tcp import DirectStream, Listener, connect_tcp, listen_tcp
from hsms_engine.virtual import Kernel, Network, Post, Socket
from tests.support.network import run_patiently
from tests.support.virtual import run_virtually

Stream = Socket | DirectStream
# More than all buffers of a connection take.
MUCH = bytes(20_000_000)


class World(Protocol):
    """Two programs and what is between them."""

    @property
    def post(self) -> Post | Listener: ...

    async def dial(self) -> Stream: ...

    async def accept(self) -> Stream: ...

    async def comes(self, stream: Stream) -> None:
        """Wait until something has come: data, the end, or a reset."""


class Virtual:
    def __init__(self, network: Network) -> None:
        self._from, to = network.machine("host"), network.machine("tool")
        self._to, self.post = to, to.listen()

    async def dial(self) -> Socket:
        return await self._from.dial(self._to)

    async def accept(self) -> Socket:
        return (await self.post.accept())[0]

    async def comes(self, _: Stream) -> None:
        await wait_all_tasks_blocked()


class System:
    def __init__(self, post: Listener) -> None:
        self.post = post

        self.streams: list[DirectStream] = []

    async def dial(self) -> DirectStream:
        self.streams.append(await connect_tcp("127.0.0.1", self.post.port))
        return self.streams[-1]

    async def accept(self) -> DirectStream:
        self.streams.append((await self.post.accept())[0])
        return self.streams[-1]

    async def comes(self, stream: Stream) -> None:
        assert isinstance(stream, DirectStream)
        await trio.lowlevel.wait_readable(stream._socket)


async def pair(world: World) -> tuple[Stream, Stream]:
    return await world.dial(), await world.accept()


async def tried(call: Callable[..., Awaitable[object]], *given: object) -> object:
    try:
        return await call(*given)
    except trio.BrokenResourceError:
        return "broken"
    except trio.ClosedResourceError:
        return "closed"


async def half_close(world: World) -> AsyncIterator[object]:
    one, other = await pair(world)
    yield await tried(one.send_all, b"x")
    yield await tried(one.send_eof)
    await world.comes(other)
    yield [await tried(other.receive_some, 10) for _ in range(3)]
    yield await tried(other.send_all, b"yz")
    await world.comes(one)
    yield await tried(one.receive_some, 10)
    yield await tried(one.send_eof)
    yield await tried(other.send_eof)
    yield await tried(one.receive_some, 10)


async def close_with_data_unread(world: World) -> AsyncIterator[object]:
    one, other = await pair(world)
    await other.send_all(b"12345")
    await world.comes(one)
    one.close()
    await world.comes(other)
    yield [await tried(other.receive_some, 10) for _ in range(3)]
    yield [await tried(other.send_all, b"1") for _ in range(2)]


async def reset_after_data(world: World) -> AsyncIterator[object]:
    one, other = await pair(world)
    await one.send_all(b"12345")
    await world.comes(other)
    one.reset()
    yield await tried(other.receive_some, 10)


async def reset_seen_by_a_send(world: World) -> AsyncIterator[object]:
    one, other = await pair(world)
    one.reset()
    await world.comes(other)
    yield [await tried(other.send_all, b"1") for _ in range(2)]
    yield [await tried(other.receive_some, 10) for _ in range(2)]


async def write_after_the_close_of_the_peer(world: World) -> AsyncIterator[object]:
    one, other = await pair(world)
    await one.send_all(b"abc")
    one.close()
    await world.comes(other)
    # What has come stays, and a reset that comes after the end is no error of a reader.
    yield await tried(other.send_all, b"1")
    yield await tried(other.receive_some, 3)
    yield [await tried(other.receive_some, 10) for _ in range(2)]


async def end_and_reset(world: World) -> AsyncIterator[object]:
    one, other = await pair(world)
    await one.send_eof()
    await world.comes(other)
    one.reset()
    yield await tried(other.receive_some, 10)


async def closed_before_it_is_accepted(world: World) -> AsyncIterator[object]:
    one = await world.dial()
    await one.send_all(b"hi")
    one.close()
    other = await world.accept()
    yield other.is_over()
    yield [await tried(other.receive_some, 10) for _ in range(2)]
    yield other.is_over()


async def reset_before_it_is_accepted(world: World) -> AsyncIterator[object]:
    one = await world.dial()
    one.reset()
    second = await world.dial()
    await second.send_all(b"second")
    first, other = await world.accept(), await world.accept()
    yield [await tried(each.receive_some, 10) for each in (first, other)]
    yield first.is_over(), other.is_over()
    third = await world.dial()
    await third.send_all(b"third")
    third.reset()
    last = await world.accept()
    yield last.is_over()
    yield await tried(last.receive_some, 10)


async def listener_closed_while_one_waits(world: World) -> AsyncIterator[object]:
    one = await world.dial()
    world.post.close()
    yield [await tried(one.receive_some, 10) for _ in range(2)]
    try:
        await world.dial()
    except ConnectionRefusedError:
        yield "refused"


async def full_reader_closes(world: World) -> AsyncIterator[object]:
    one, other = await pair(world)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.send_all, MUCH)
            await world.comes(other)
            scope.cancel()
    other.close()
    await world.comes(one)
    yield [await tried(one.receive_some, 10) for _ in range(2)]


async def close_with_a_full_reader(world: World) -> AsyncIterator[object]:
    one, other = await pair(world)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.send_all, MUCH)
            await world.comes(other)
            scope.cancel()
    one.close()
    while await other.receive_some(65_536):
        pass
    yield "the end, after all of it"


SCRIPTS = (
    half_close,
    close_with_data_unread,
    reset_after_data,
    reset_seen_by_a_send,
    write_after_the_close_of_the_peer,
    end_and_reset,
    closed_before_it_is_accepted,
    reset_before_it_is_accepted,
    listener_closed_while_one_waits,
    full_reader_closes,
    close_with_a_full_reader,
)
Script = Callable[[World], AsyncIterator[object]]


async def over_memory(script: Script) -> list[object]:
    kernel = Kernel(send_buffer=100_000, receive_buffer=100_000)
    with trio.fail_after(100_000):
        async with trio.open_nursery() as nursery:
            network = Network(Random(1), kernel)
            nursery.start_soon(network.run)
            seen = [each async for each in script(Virtual(network))]
            nursery.cancel_scope.cancel()
    return seen


async def over_the_system(script: Script) -> list[object]:
    world = System(await listen_tcp("127.0.0.1", 0))
    try:
        return [each async for each in script(world)]
    finally:
        world.post.close()
        for each in world.streams:
            each.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems differ in details")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_the_network_in_memory_does_as_the_system(script: Script) -> None:
    seen = run_virtually(over_memory, script)
    assert seen == run_patiently(over_the_system, script)
    assert seen
