"""A network in memory, for runs on a virtual clock: streams with a delay.

What is sent arrives ``delay`` seconds later, in order; a dial takes the way there and back. When
the cable is cut, nothing arrives any more. A machine may forget a connection without a word: what
still comes on it is answered by a reset, or by nothing at all, as behind a firewall.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

import trio

from hsms_engine.wire import Decoder, Frame


@dataclass(frozen=True, slots=True)
class _Bytes:
    data: bytes


@dataclass(frozen=True, slots=True)
class _Fin:
    """No more bytes follow."""


@dataclass(frozen=True, slots=True)
class _Reset:
    """The connection is over at once."""


@dataclass(frozen=True, slots=True)
class _Acknowledged:
    """The other end's system has received so many bytes more."""

    count: int


_Item = _Bytes | _Fin | _Reset | _Acknowledged
Sent = Callable[[str, str, Frame], None]


class Network:
    """The cable. ``nursery`` carries what is on its way.

    ``sent`` is told of each frame: who sends it, to whom, and the frame.
    """

    def __init__(self, nursery: trio.Nursery, delay: float, sent: Sent) -> None:
        self.nursery = nursery
        self.delay = delay
        self.sent = sent
        self.is_cut = False

    async def cross(self, sent: float) -> None:
        """Wait until what was sent at ``sent`` arrives."""
        await trio.sleep_until(sent + self.delay)
        if self.is_cut:
            await trio.sleep_forever()


class Post:
    """A listener on this network."""

    def __init__(self, network: Network, name: str) -> None:
        self._network = network
        self._name = name
        self._give, self._take = trio.open_memory_channel[tuple[trio.abc.Stream, str]](math.inf)
        self._dials = 0

    @property
    def address(self) -> str:
        return self._name

    @property
    def port(self) -> int:
        return 0

    async def accept(self) -> tuple[trio.abc.Stream, str]:
        return await self._take.receive()

    def close(self) -> None:
        self._take.close()

    async def dial(self, caller: str) -> Plug:
        """Dial this listener: the stream of ``caller``, after the way there and back.

        Raises ``ConnectionRefusedError`` when it is closed.
        """
        network = self._network
        await network.cross(trio.current_time())
        self._dials += 1
        ours, theirs = Plug(network, caller), Plug(network, self._name)
        ours.joins(theirs)
        theirs.joins(ours)
        try:
            self._give.send_nowait((theirs, f"{caller} {self._dials}"))
        except trio.BrokenResourceError:
            raise ConnectionRefusedError("nobody listens") from None
        await network.cross(trio.current_time())
        return ours


class Plug(trio.abc.HalfCloseableStream):
    """One end of a connection. It takes all that is written at once, as a system's buffer does.

    ``is_full``: the buffer takes nothing more.
    ``other`` is the other end, set by ``joins`` before the first use.
    """

    other: Plug

    def __init__(self, network: Network, name: str) -> None:
        self.name = name
        self._network = network
        self._out: deque[tuple[float, _Item]] = deque()
        self._wanted = trio.Event()
        self._received = bytearray()
        self._news = trio.lowlevel.ParkingLot()
        self._unacknowledged = 0
        self.is_full = False
        self._at_end = self._is_broken = self._is_closed = False
        self._decoder = Decoder(max_frame=0xFFFF_FFFF)
        self._has_vanished = self._resets = False

    def joins(self, other: Plug) -> None:
        """What is written here goes to ``other``."""
        self.other = other
        self._network.nursery.start_soon(self._carry, other)

    def vanish(self, *, resets: bool) -> None:
        """The machine of this end has forgotten the connection, and sends nothing more on it.

        ``resets``: it answers with a reset what still comes.
        """
        self._has_vanished, self._resets = True, resets

    def break_off(self) -> None:
        """The connection is over, for this end."""
        self._is_broken = True
        self._news.unpark_all()

    # What trio and the engine's driver call

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Take all bytes, or none. Raises ``trio.BrokenResourceError`` after a reset."""
        if self._is_broken or self._is_closed:
            raise trio.BrokenResourceError
        if self.is_full:
            return 0
        piece = bytes(data)
        self._unacknowledged += len(piece)
        self._put(_Bytes(piece))
        if not self._has_vanished:
            for frame in self._decoder.feed(piece):
                self._network.sent(self.name, self.other.name, frame)
        return len(piece)

    def unacknowledged(self) -> int:
        """How many of the bytes taken the other end's system has not acknowledged."""
        return self._unacknowledged

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if not self.send_nowait(memoryview(data)):
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        self._put(_Fin())

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        while not (self._received or self._at_end or self._is_broken):
            await self._news.park()
        if self._is_broken:
            raise trio.BrokenResourceError
        data = bytes(self._received[:max_bytes])
        del self._received[:max_bytes]
        return data

    async def aclose(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._put(_Fin())
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        self._is_closed = True
        self._put(_Reset())

    # On the way

    def _put(self, item: _Item) -> None:
        if not self._has_vanished:
            self._post(item)

    def _post(self, item: _Item) -> None:
        self._out.append((trio.current_time(), item))
        self._wanted.set()

    async def _carry(self, other: Plug) -> None:
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            while self._out:
                sent, item = self._out.popleft()
                await self._network.cross(sent)
                other._take(item)

    def _take(self, item: _Item) -> None:
        match item:
            case _Bytes() if self._has_vanished and self._resets:
                self._post(_Reset())
            case _ if self._has_vanished:
                pass
            case _Bytes() if self._is_closed:
                # There is no connection: TCP answers with a reset.
                self._put(_Reset())
            case _Bytes(data):
                self._received += data
                self._put(_Acknowledged(len(data)))
            case _Fin():
                self._at_end = True
            case _Acknowledged(count):
                self._unacknowledged -= count
            case _Reset():
                self.break_off()
            case _:
                assert_never(item)
        self._news.unpark_all()
