"""The program that callgrind runs: small pieces of work, with a mark before and after each.

Both ends are in this process, so a count is for both ends. They talk over a pair of sockets without
TCP: when TCP delivers what was sent depends on the time and on the load of the machine. A mark is a
call of ``getppid``, at which callgrind writes down what it has counted and begins again.
"""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import trio
import trio._core._run as trio_run
from trio.testing import MockClock

from benchmarks.events import our_event
from hsms_engine import HsmsConnection, HsmsServer, Message, open_hsms, serve_hsms
from hsms_engine.driver.tcp import DirectStream
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
    near, far = pair()
    async with near, far, trio.open_nursery() as nursery:
        nursery.start_soon(_send_back, far)
        for _ in range(count):
            await near.send_all(bytes(14))
            await near.receive_some()
        nursery.cancel_scope.cancel()


async def _send_back(stream: trio.SocketStream) -> None:
    async for piece in stream:
        await stream.send_all(piece)


def pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Two ends of a connection."""
    near, far = map(trio.socket.from_stdlib_socket, socket.socketpair())
    return trio.SocketStream(near), trio.SocketStream(far)


class One:
    """A listener to which one peer has connected."""

    address, port = "127.0.0.1:5000", 5000

    def __init__(self, stream: DirectStream) -> None:
        self._stream: DirectStream | None = stream

    async def accept(self) -> tuple[DirectStream, str]:
        stream, self._stream = self._stream, None
        if stream is None:
            await trio.sleep_forever()
            raise AssertionError("nothing ends for ever")
        return stream, "127.0.0.1:5001"

    def close(self) -> None:
        """There is nothing to close."""


Work = Callable[[HsmsConnection, int], Awaitable[None]]

# That by which counts of other Pythons and trios are made comparable.
YARDSTICK = "bare echo"
# The last one, because what is added to a collector stays in it.
COLLECTED = "collected"
# What is done, and how often: a multiple of 64.
SCENARIOS: dict[str, tuple[Work, int]] = {
    YARDSTICK: (echo, 128),
    "sequential": (sequential, 128),
    "in flight": (in_flight, 640),
    "megabyte": (megabyte, 4),
    "items": (items, 64),
    COLLECTED: (sequential, 128),
}


def _collect(server: HsmsServer, connection: HsmsConnection) -> None:
    """From now on both ends have metrics."""
    from hsms_engine.metrics import Collector

    collector = Collector()
    collector.add(server)
    collector.add(connection, "dialling")


async def main(clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        near, far = map(DirectStream, pair())
        server = await nursery.start(partial(serve_hsms, _answer, listener=One(far)))

        async def dial() -> DirectStream:
            return near

        async with open_hsms("127.0.0.1", 5000, dial=dial) as connection:
            for name, (work, count) in SCENARIOS.items():
                if name == COLLECTED:
                    _collect(server, connection)
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
