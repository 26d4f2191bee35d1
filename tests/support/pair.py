"""Ends of a connection for tests: an engine and a peer of bytes, or two engines, no network."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

import trio
from trio.testing import (
    MemoryReceiveStream,
    MemorySendStream,
    memory_stream_one_way_pair,
    memory_stream_pair,
)

from hsms_engine import (
    HsmsConnection,
    HsmsLink,
    HsmsServer,
    Message,
    Settings,
    open_hsms,
    open_link,
    serve_hsms,
)
from hsms_engine.driver.event_reader import EventReader
from hsms_engine.driver.tls_files import Tls
from hsms_engine.errors import TransactionError
from hsms_engine.events import Happened, LinkEvent
from hsms_engine.messaging import Messaging
from hsms_engine.protocol.outputs import Step
from hsms_engine.protocol.traffic import Traffic
from tests.support.one_way import OneWay
from tests.support.raw_peer import RawPeer

E = TypeVar("E", bound=Happened)

Handler = Callable[[HsmsConnection], Awaitable[object]]
# What makes the two ends of a stream; those of trio.testing's lockstep take a byte when it is read.
Pair = Callable[[], tuple[trio.abc.Stream, trio.abc.Stream]]


class _Direct(OneWay):
    """A memory stream that can also send without waiting, as TCP can."""

    def __init__(
        self, send: MemorySendStream, receive: MemoryReceiveStream, arrive: MemoryReceiveStream
    ) -> None:
        super().__init__(trio.StapledStream(send, receive))
        self._arrive = arrive

    def send_nowait(self, data: bytes | memoryview) -> int:
        """The other end has it. Raises ``trio.BrokenResourceError`` when that is closed."""
        try:
            self._arrive.put_data(data)
        except trio.ClosedResourceError as error:
            raise trio.BrokenResourceError from error
        return len(data)


def direct_pair() -> tuple[trio.abc.Stream, trio.abc.Stream]:
    """Like ``memory_stream_pair``, and the engine need not wait to send."""
    here, there = memory_stream_one_way_pair()
    back, home = memory_stream_one_way_pair()
    return _Direct(here, home, there), _Direct(back, there, home)


@dataclass
class Told:
    """What a reader of events is made for."""

    settings: Settings
    peer: str


class _Failing:
    def __init__(self, record: Callable[[Step], None]) -> None:
        self.stepped = record

    def happened(self, event: LinkEvent) -> None:
        pass

    def passed(self, traffic: Traffic) -> None:
        pass

    def failed(self, error: TransactionError) -> None:
        pass


def failing(messaging: Messaging, record: Callable[[Step], None]) -> None:
    """From now on the driver itself calls ``record`` for each step: what that raises is a defect of
    the driver, where what a callback raises is contained.
    """
    driver = messaging._driver
    driver._observers.append(_Failing(record))
    driver._wants_steps = lambda: True


class MemoryListener:
    """A listener that peers of the same process dial; every dial is counted."""

    def __init__(self, pair: Pair = memory_stream_pair) -> None:
        self._pair = pair
        self._give, self._take = trio.open_memory_channel[tuple[trio.abc.Stream, str]](math.inf)
        self.dialled = 0
        self.closed = False

    @property
    def address(self) -> str:
        return "memory"

    @property
    def port(self) -> int:
        return 0

    async def accept(self) -> tuple[trio.abc.Stream, str]:
        try:
            return await self._take.receive()
        except trio.EndOfChannel:
            raise trio.ClosedResourceError from None

    def close(self) -> None:
        self.closed = True
        self._give.close()

    async def dial(self, peer: str | None = None) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.dialled += 1
        ours, theirs = self._pair()
        try:
            self._give.send_nowait((theirs, peer or f"memory peer {self.dialled}"))
        except trio.ClosedResourceError:
            raise ConnectionRefusedError("nobody listens") from None
        return ours

    async def raw(self, peer: str | None = None) -> RawPeer:
        """A peer of bytes that has just connected, from this address."""
        return RawPeer(await self.dial(peer))


class Switchboard:
    """The network of a dialling engine: peers of bytes, refusals, or silence, one after another."""

    def __init__(self, pair: Pair = memory_stream_pair) -> None:
        self._pair = pair
        self._give, self._take = trio.open_memory_channel[RawPeer](math.inf)
        self.dialled = 0
        self.dialled_at: list[float] = []
        # None: TCP comes up. An exception: it is refused with that.
        self.refusal: OSError | None = None
        # Unset: connecting hangs.
        self.answers = trio.Event()
        self.answers.set()

    async def dial(self) -> trio.abc.Stream:
        self.dialled += 1
        self.dialled_at.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        await self.answers.wait()
        if self.refusal is not None:
            raise self.refusal
        ours, theirs = self._pair()
        self._give.send_nowait(RawPeer(theirs))
        return ours

    async def peer(self) -> RawPeer:
        """The peer of the next connection."""
        return await self._take.receive()

    def hang(self) -> None:
        self.answers = trio.Event()

    def refuse(self, reason: str = "Connection refused") -> None:
        self.refusal = ConnectionRefusedError(111, reason)


async def first(reader: EventReader[Any], kind: type[E]) -> E:
    """The next event of this kind; those before it are skipped."""
    async for event in reader:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind.__name__} came")


async def nothing(_: HsmsConnection) -> None:
    """A handler that waits until it is cancelled."""
    await trio.sleep_forever()


async def echo(connection: HsmsConnection) -> None:
    """A handler that answers every primary with its own body."""
    async for primary in connection:
        if primary.wait:
            reply = Message(primary.stream, primary.function + 1, body=primary.body)
            await connection.reply(primary, reply)


@asynccontextmanager
async def active_end(**changes: Any) -> AsyncIterator[tuple[HsmsConnection, RawPeer]]:
    """A selected connection of the dialling end, and its peer of bytes."""
    board = Switchboard()
    async with trio.open_nursery() as nursery:

        async def answer() -> None:
            peers.append(await board.peer())
            await peers[0].select_by_answering()

        peers: list[RawPeer] = []
        nursery.start_soon(answer)
        async with open_hsms("tool", 5000, dial=board.dial, random=Random(1), **changes) as opened:
            yield opened, peers[0]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def passive_end(**changes: Any) -> AsyncIterator[tuple[HsmsConnection, RawPeer]]:
    """A selected connection of the listening end, and its peer of bytes."""
    send, receive = trio.open_memory_channel[HsmsConnection](math.inf)

    async def handler(connection: HsmsConnection) -> None:
        send.send_nowait(connection)
        await trio.sleep_forever()

    async with server_end(handler, **changes) as (_, listener):
        peer = await listener.raw()
        await peer.select()
        yield await receive.receive(), peer


@asynccontextmanager
async def server_end(
    handler: Handler = nothing,
    handler_room: Callable[[], int] | None = None,
    tls: Tls | None = None,
    pair: Pair = memory_stream_pair,
    **changes: Any,
) -> AsyncIterator[tuple[HsmsServer, MemoryListener]]:
    """A server in this process, cancelled after the block."""
    listener = MemoryListener(pair)
    settings = Settings().replace(**changes)
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[HsmsServer]) -> None:
            await serve_hsms(
                handler,
                settings,
                listener=listener,
                random=Random(2),
                handler_room=handler_room,
                tls=tls,
                task_status=task_status,
            )

        server: HsmsServer = await nursery.start(serve)
        yield server, listener
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def link_end(board: Switchboard, *, seed: int = 1, **changes: Any) -> AsyncIterator[HsmsLink]:
    """A link that dials a switchboard, without jitter unless ``changes`` say so."""
    changes = {"backoff_jitter": 0.0, **changes}
    async with open_link(dial=board.dial, random=Random(seed), host="tool", **changes) as link:
        yield link
