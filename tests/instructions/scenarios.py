"""The program that callgrind runs: small pieces of work, with a mark before and after each.

Both ends are in this process and talk over loopback, so a count is for both ends. A mark is a call
of ``getppid``, at which callgrind writes down what it has counted and begins again.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Awaitable, Callable

import trio
import trio._core._run as trio_run
from trio.testing import MockClock

from benchmarks.events import our_event
from hsms_engine import HsmsConnection, Message, open_hsms, serve_hsms
from hsms_engine.secs2 import decode, encode

_ANSWER = Message(1, 2)
_MEGABYTE = bytes(1_000_000)


async def _answer(connection: HsmsConnection) -> None:
    async for primary in connection:
        await connection.reply(primary, Message(7, 4) if primary.body else _ANSWER)


async def _ask(connection: HsmsConnection, count: int) -> None:
    for _ in range(count):
        await connection.request(Message(1, 1, wait=True))


async def sequential(connection: HsmsConnection, count: int) -> None:
    """S1F1 and its reply, one after the other."""
    await _ask(connection, count)


async def in_flight(connection: HsmsConnection, count: int) -> None:
    """S1F1 and its reply, 64 at a time."""
    async with trio.open_nursery() as nursery:
        for _ in range(64):
            nursery.start_soon(_ask, connection, count // 64)


async def megabyte(connection: HsmsConnection, count: int) -> None:
    """A message of 1 MB and a short reply."""
    for _ in range(count):
        await connection.request(Message(7, 3, wait=True, body=_MEGABYTE))


async def items(_connection: HsmsConnection, count: int) -> None:
    """The items of an S6F11 built and encoded, decoded, and every value read."""
    for _ in range(count):
        decode(encode(our_event())).to_python()


async def echo(_connection: HsmsConnection, count: int) -> None:
    """14 bytes there and back through streams of trio alone."""
    near, far = await open_pair()
    async with near, far, trio.open_nursery() as nursery:
        nursery.start_soon(_send_back, far)
        for _ in range(count):
            await near.send_all(bytes(14))
            await near.receive_some()
        nursery.cancel_scope.cancel()


async def _send_back(stream: trio.SocketStream) -> None:
    async for piece in stream:
        await stream.send_all(piece)


async def open_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Two ends of a connection over loopback."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        near = await trio.testing.open_stream_to_socket_listener(listener)
        return near, await listener.accept()


Work = Callable[[HsmsConnection, int], Awaitable[None]]

# That by which counts of other Pythons and trios are made comparable.
YARDSTICK = "bare echo"
# What is done, and how often: a multiple of 64.
SCENARIOS: dict[str, tuple[Work, int]] = {
    YARDSTICK: (echo, 128),
    "sequential": (sequential, 128),
    "in flight": (in_flight, 640),
    "megabyte": (megabyte, 4),
    "items": (items, 64),
}


async def main(clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_hsms, _answer, "127.0.0.1", 0)
        async with open_hsms("127.0.0.1", server.port) as connection:
            for work, count in SCENARIOS.values():
                # What is made only once is not counted.
                await work(connection, count)
                gc.collect()
                # No connection had little to do lately.
                clock.jump(1)
                os.getppid()
                await work(connection, count)
                os.getppid()
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    # The collector would run after a number of objects that anything may change.
    gc.disable()
    # So the order of tasks is the same in each run, and no slice of time ends because this is slow.
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # as pytest-trio does
    trio_run._r.seed(0)
    standing = MockClock()
    trio.run(main, standing, clock=standing)
