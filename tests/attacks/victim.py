"""The server under attack, in a process of its own, and the honest host beside the attackers.

A request of the honest host has the time at which it was sent as its body. Its reply tells how many
frames of all connections the server has decoded since, and how many connections it has accepted:
fairness as a count.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import trio

from benchmarks.faults.processes import Child, child, heard, wait_until
from hsms_engine import (
    ConnectionLostError,
    HsmsConnection,
    HsmsError,
    Message,
    Settings,
    open_link,
    serve_hsms,
)
from hsms_engine.driver.tcp import DirectStream, Listener
from hsms_engine.secs2 import DecodeError
from hsms_engine.server_statistics import ServerStatistics
from hsms_engine.wire import Decoder, Frame
from tests.support.raw_peer import data, select_req

HONEST = (1, 1)
# What is asked of the victim.
Ask = tuple[Literal["report"]] | tuple[Literal["step"], float] | tuple[Literal["dial"], int]
_TIME = time.time
_CALLS = 16_384


@dataclass(frozen=True, slots=True)
class Report:
    """How the victim is now. ``lines`` of its logs; memory in bytes; ``link``: what its own link
    to a hostile listener is in, or nothing."""

    statistics: ServerStatistics
    tasks: int
    files: int
    lines: int
    link: str


class Count:
    """How many of something there were, and when. The memory of this is taken at once."""

    def __init__(self) -> None:
        self.total = 0
        self._calls = 0
        # The latest calls of ``add``, in a ring: the time in ns, and the total after it.
        self._times, self._totals = array("q", bytes(8 * _CALLS)), array("q", bytes(8 * _CALLS))

    def add(self, number: int) -> None:
        """So many more, now."""
        self.total += number
        at = self._calls % _CALLS
        self._times[at], self._totals[at] = time.monotonic_ns(), self.total
        self._calls += 1

    def since(self, moment: int) -> int:
        """How many since this moment, in ns of the monotonic clock."""
        for back in range(1, min(self._calls, _CALLS) + 1):
            at = (self._calls - back) % _CALLS
            if self._times[at] < moment:
                return self.total - self._totals[at]
        return self.total


def count_frames() -> Count:
    """How many frames are decoded in this process."""
    count, real = Count(), Decoder.take

    def take(self: Decoder, data: bytes, start: int, most: int) -> tuple[list[Frame], int]:
        found = real(self, data, start, most)
        count.add(len(found[0]))
        return found

    Decoder.take = take  # type: ignore[method-assign]  # in this process only
    return count


def count_connections() -> Count:
    """How many connections are accepted in this process, and handed to the server."""
    count, real = Count(), Listener.accept

    async def accept(self: Listener) -> tuple[DirectStream, str]:
        found = await real(self)
        count.add(1)
        return found

    Listener.accept = accept  # type: ignore[method-assign]  # in this process only
    return count


class Lines(logging.Handler):
    """Formats each record, as a file would have it, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += len(self.format(record).splitlines())


class Handler:
    """Answers honest requests with the counts; reads the item of every other primary.

    What is no SECS-II is answered with SxF0, but S2F45 makes it raise. S7F1 makes it stop taking
    primaries, S2F43 makes it ask 100 requests.
    """

    def __init__(self, *counts: Count) -> None:
        self._counts = counts

    async def __call__(self, connection: HsmsConnection) -> None:
        try:
            await self._answer(connection)
        except* ConnectionLostError:
            # As of every peer that is gone without Separate.req.
            pass

    async def _answer(self, connection: HsmsConnection) -> None:
        async with trio.open_nursery() as nursery:
            async for primary in connection:
                function = primary.function + 1
                body = b""
                match primary.stream, primary.function:
                    case 1, 1:
                        if len(primary.body) == 8:
                            begun = int.from_bytes(primary.body)
                            body = b"".join(each.since(begun).to_bytes(8) for each in self._counts)
                    case 7, 1:
                        await trio.sleep_forever()
                    case 7, 5:
                        body = bytes(100_000)
                    case 2, 45:
                        # As a program does that expects nothing bad.
                        repr(primary.item)
                    case 2, 43:
                        for _ in range(100):
                            nursery.start_soon(_ask, connection)
                    case _:
                        try:
                            repr(primary.item)
                        except DecodeError:
                            function = 0
                if primary.wait:
                    await connection.reply(primary, Message(primary.stream, function, body=body))
            nursery.cancel_scope.cancel()


async def _ask(connection: HsmsConnection) -> None:
    with suppress(HsmsError):
        await connection.request(Message(1, 3, wait=True))


class Victim:
    """The running server process, as an attack sees it."""

    def __init__(self, process: Child, port: int) -> None:
        self.process = process
        self.port = port

    def report(self) -> Report:
        report = self.process.ask(("report",))
        assert isinstance(report, Report)
        return report

    def step_clock(self, seconds: float) -> None:
        """From now on ``time.time`` gives so many seconds more, in its process."""
        self.process.ask(("step", seconds))

    def dial(self, port: int) -> None:
        """It opens a link of its own to this port."""
        self.process.ask(("dial", port))

    def forget_highest(self) -> None:
        """Measure the most memory anew."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5", "ascii")

    def highest(self) -> int:
        """The most memory that it has had, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        (line,) = (each for each in status.splitlines() if each.startswith("VmHWM"))
        return int(line.split()[1]) * 1_024

    def wait_for(self, *, connections: int, within: float = 10.0) -> bool:
        """Whether it came to have so many connections within so many seconds."""
        return wait_until(lambda: self.report().statistics.connections == connections, within)


@contextmanager
def running(settings: Settings, level: int) -> Iterator[Victim]:
    """A victim for as long as the block, with logs of this level."""
    with child(_main, settings, level) as process:
        yield Victim(process, process.hear())


def _main(pipe: Connection, settings: Settings, level: int) -> None:
    trio.run(_serve, pipe, settings, level)


async def _serve(pipe: Connection, settings: Settings, level: int) -> None:
    handler, lines = Handler(count_frames(), count_connections()), Lines()
    logging.getLogger("hsms_engine").addHandler(lines)
    # The log of messages has a line for each, as it says: it is on for what is hard to print.
    logging.getLogger("hsms_engine.link").setLevel(logging.INFO)
    logging.getLogger("hsms_engine.traffic").setLevel(level)
    link = ""

    async def dial(port: int) -> None:
        nonlocal link
        async with open_link(settings, host="127.0.0.1", port=port) as opened:
            opened.enable() if opened.phase == "idle" else None
            async with trio.open_nursery() as nursery:

                async def take() -> None:
                    with suppress(HsmsError):
                        while True:
                            primary = await opened.receive()
                            with suppress(DecodeError):
                                repr(primary.item)

                nursery.start_soon(take)
                async for event in opened.events():
                    link = type(event).__name__

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_hsms, handler, settings)
        pipe.send(server.port)
        while True:
            asked: Ask = await heard(pipe)
            match asked:
                case ("dial", port):
                    nursery.start_soon(dial, port)
                case ("step", seconds):
                    time.time = partial(_later, seconds)
                case _:
                    pass
            tasks = trio.lowlevel.current_statistics().tasks_living
            files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
            pipe.send(Report(server.statistics(), tasks, files, lines.count, link))


def _later(seconds: float) -> float:
    return _TIME() + seconds


# The honest host


@dataclass(frozen=True, slots=True)
class Trips:
    """The round trips of the honest host, in seconds.

    The server decoded so many ``frames``, and accepted so many ``connections``, during each.
    """

    seconds: list[float]
    frames: list[int]
    connections: list[int]
    error: str


def honest(pipe: Connection, port: int) -> None:
    """Ask one request after the other, from each ``None`` until the next, and tell the trips."""
    peer = socket.create_connection(("127.0.0.1", port), timeout=20)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.sendall(select_req(1))
    _exactly(peer, 14)
    pipe.send(None)
    number, error = 0, ""
    while True:
        pipe.recv()
        seconds: list[float] = []
        frames: list[int] = []
        connections: list[int] = []
        while not pipe.poll():
            number += 1
            begun = time.monotonic_ns()
            try:
                peer.sendall(data(*HONEST, number, wait=True, body=begun.to_bytes(8)))
                reply = _exactly(peer, 30)
            except OSError as lost:
                error = f"request {number}: {lost}"
                break
            seconds.append((time.monotonic_ns() - begun) / 1e9)
            if int.from_bytes(reply[10:14]) != number:
                error = f"the reply to {number} has other system bytes: {reply.hex(' ')}"
            frames.append(int.from_bytes(reply[14:22]))
            connections.append(int.from_bytes(reply[22:]))
        pipe.recv()
        pipe.send(Trips(seconds, frames, connections, error))


def _exactly(peer: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        more = peer.recv(count - len(got))
        if not more:
            raise ConnectionResetError("the server has closed")
        got += more
    return got
