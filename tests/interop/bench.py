"""Our end, the other engine's process, and what is seen of both while a case runs."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Literal, assert_never

import trio

from hsms_engine import (
    HsmsConnection,
    HsmsError,
    HsmsLink,
    Message,
    Settings,
    Traffic,
    events,
    open_link,
    serve_hsms,
)
from hsms_engine.secs2 import A, B, Item, L
from statecharts.nursery import open_bare_nursery
from tests.interop.engines import ROOT, Engine

# Who dials.
Direction = Literal["we dial", "they dial"]
DIRECTIONS: tuple[Direction, ...] = ("we dial", "they dial")

# Seconds: more than T3, which some peers have as E37 gives it. A bound, never a measurement.
PATIENCE = 90.0

# Those of two runs that begin together are far apart.
_PORTS = (20_000 + number % 10_000 for number in count(97 * os.getpid()))

Ours = HsmsLink | HsmsConnection


class PeerError(Exception):
    """What the other engine's process said, or that it said nothing."""


class DisagreedError(Exception):
    """Something went another way than the case says."""


def reply_to(primary: Message, name: str) -> Message:
    """What the end called ``name`` answers; the programs in ``peers/`` do the same."""
    item: Item
    match primary.stream, primary.function:
        case 1, 1:
            item = L(name, "1")
        case 1, 13:
            item = L(B(b"\0"), L(name, "1"))
        case 2, 25:
            return Message(2, 26, body=primary.body)
        case 2, 41:
            match primary.item:
                case L(_, L() as params):
                    item = L(B(b"\0"), L(*map(_acknowledged, params)))
                case _:
                    raise DisagreedError(f"{primary} has no list of parameters")
        case _:
            raise DisagreedError(f"no case asks {primary}")
    return Message(primary.stream, primary.function + 1, item=item)


def _acknowledged(param: Item) -> Item:
    match param:
        case L(A(name), _):
            return L(name, B(b"\0"))
        case _:
            raise DisagreedError(f"{param} is no name with a value")


class Peer:
    """The other engine's process."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout
        # What it has written on its standard error; known when it is over.
        self.said = ""
        self._numbers = count(1)
        self._answers: dict[str, str] = {}
        self._waiting: dict[str, trio.Event] = {}
        self._has_ended = False
        # A long line is sent in pieces.
        self._sending = trio.Lock()

    async def read(self) -> None:
        """Take its answers until it ends."""
        buffer = bytearray()
        while data := await self._stdout.receive_some():
            buffer += data
            *lines, rest = buffer.split(b"\n")
            buffer = rest
            for line in lines:
                number, _, said = line.decode().partition(" ")
                self._answers[number] = said
                if number in self._waiting:
                    self._waiting[number].set()
        self._has_ended = True
        for event in self._waiting.values():
            event.set()

    async def call(self, *words: object) -> str:
        """Give it a command, and return the words of its answer. Raises ``PeerError``."""
        number = str(next(self._numbers))
        self._waiting[number] = trio.Event()
        line = " ".join(map(str, (number, *words)))
        command = line[:40]
        with trio.move_on_after(PATIENCE) as scope:
            try:
                async with self._sending:
                    await self._stdin.send_all(f"{line}\n".encode())
            except trio.BrokenResourceError as error:
                raise PeerError(f"{command}: its process has ended") from error
            if not self._has_ended:
                await self._waiting[number].wait()
        if scope.cancelled_caught:
            raise PeerError(f"{command}: it said nothing in {PATIENCE:g} s")
        del self._waiting[number]
        said = self._answers.pop(number, "")
        result, _, rest = said.partition(" ")
        if result != "ok":
            raise PeerError(f"{command}: {rest or 'its process has ended'}")
        return rest

    async def kill(self) -> None:
        """SIGKILL: its sockets are closed by the system."""
        self._process.kill()
        with trio.CancelScope(shield=True):
            await self._process.wait()


@asynccontextmanager
async def run_peer(engine: Engine) -> AsyncIterator[Peer]:
    """The process of an engine, killed at the end."""
    with tempfile.TemporaryFile() as errors:
        process = await trio.lowlevel.open_process(
            engine.command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
            env=engine.environment(),
        )
        peer = Peer(process)
        try:
            async with open_bare_nursery() as nursery:
                nursery.start_soon(peer.read)
                yield peer
                nursery.cancel_scope.cancel()
        finally:
            await peer.kill()
            errors.seek(0)
            peer.said = errors.read().decode(errors="replace")


@dataclass(slots=True)
class Bench:
    """One case in one direction: ``ours`` is our end while ``opened``.

    ``wire`` has every message of the case, in order: ``> S1F1`` was sent by us, ``< S1F2`` came.
    """

    engine: Engine
    direction: Direction
    peer: Peer
    wire: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def mode(self) -> str:
        """What the peer is."""
        return "passive" if self.direction == "we dial" else "active"

    def note(self, traffic: Traffic) -> None:
        self.wire.append(f"{'>' if traffic.sent else '<'} {traffic.name}")

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Opened]:
        """A new connection, selected as we see it."""
        match self.direction:
            case "we dial":
                async with self._dialled() as opened:
                    yield opened
            case "they dial":
                async with self._accepted() as opened:
                    yield opened
            case _:
                assert_never(self.direction)

    @asynccontextmanager
    async def _dialled(self) -> AsyncIterator[Opened]:
        self.port = free_port()
        await self.peer.call("start", self.mode, self.port)
        # Peers listen a moment after they say so: refused attempts before that are no news.
        settings = Settings(
            port=self.port, t5=0.02, breaker_threshold=1_000, allow_short_timers=True
        )
        async with open_link(settings) as link, open_bare_nursery() as nursery:
            link.on_message(self.note)
            nursery.start_soon(_answer, link)

            async def selected() -> Ours:
                await link.wait_selected()
                return link

            opened = Opened(await selected(), selected)
            yield opened
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def _accepted(self) -> AsyncIterator[Opened]:
        send, receive = trio.open_memory_channel[HsmsConnection](1_000)

        async def handle(connection: HsmsConnection) -> None:
            send.send_nowait(connection)
            await _answer(connection)

        async with open_bare_nursery() as nursery:
            server = await nursery.start(serve_hsms, handle, Settings(port=0))
            server.on_message(self.note)
            self.port = server.port
            await self.peer.call("start", self.mode, self.port)
            opened = Opened(await receive.receive(), receive.receive)
            yield opened
            nursery.cancel_scope.cancel()


@dataclass(frozen=True, slots=True)
class Opened:
    """Our end of a connection, and how the next one is got when this one is over."""

    ours: Ours
    next_selected: Callable[[], Awaitable[Ours]]

    async def until_gone(self) -> None:
        """Wait until we see that the connection is over."""
        async for event in self.ours.events():
            if isinstance(event, (events.Waiting, events.Blocked, events.Closed)):
                return


async def _answer(ours: Ours) -> None:
    with suppress(HsmsError):
        async for primary in ours:
            await ours.reply(primary, reply_to(primary, "OURS"))


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens, and that the system gives to nobody.

    Those that it gives away are above: another listener of this program, or the dialling socket
    itself, could get one of them before the peer listens.
    """
    return next(filter(_is_free, _PORTS))


def _is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False
