"""TCP in memory, as plain as it can be: bounded, with FIN and RST, and nothing ever late."""

from __future__ import annotations

import math

import trio

from hsms_engine.driver.tcp import Stream
from tests.support.raw_peer import RawPeer


class Wire(trio.abc.HalfCloseableStream):
    """One end of a connection. ``room`` is how many bytes it takes before it is read."""

    def __init__(self, room: float = math.inf) -> None:
        self.room = room
        self.taken = 0
        # How many bytes were sent at once, each time.
        self.pieces: list[int] = []
        self.peer = self
        self._got = bytearray()
        self._has_ended = self._is_broken = self._is_closed = False
        self._news = trio.Event()

    def ring(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()

    def _check(self) -> None:
        if self._is_closed:
            raise trio.ClosedResourceError
        if self._is_broken:
            raise trio.BrokenResourceError

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        rest = bytes(data)
        self.pieces.append(len(rest))
        await trio.lowlevel.checkpoint()
        while rest:
            self._is_broken |= self.peer._is_closed
            self._check()
            if room := min(len(rest), self.peer.room - len(self.peer._got)):
                self.peer._got += rest[: int(room)]
                rest = rest[int(room) :]
                self.peer.ring()
            else:
                await self._news.wait()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        while True:
            self._check()
            if self._got or self._has_ended:
                piece = bytes(self._got[:max_bytes])
                del self._got[:max_bytes]
                self.taken += len(piece)
                self.peer.ring()
                return piece
            await self._news.wait()

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        self._is_broken |= self.peer._is_closed
        self._check()
        self.peer._has_ended = True
        self.peer.ring()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        self._is_closed = self.peer._is_broken = True
        self.ring()
        self.peer.ring()

    async def aclose(self) -> None:
        self._is_closed = self.peer._has_ended = True
        self.ring()
        self.peer.ring()
        await trio.lowlevel.checkpoint()


def wires(room: float = math.inf) -> tuple[Wire, Wire]:
    """Both ends of a connection."""
    one, other = Wire(room), Wire(room)
    one.peer, other.peer = other, one
    return one, other


class WireListener:
    """A listener that can be dialled until it is closed."""

    address = "memory"

    def __init__(self, port: int, room: float = math.inf) -> None:
        self.port = port
        self.room = room
        self.dialled = 0
        self._give, self._take = trio.open_memory_channel[tuple[Stream, str]](math.inf)

    async def dial(self) -> Wire:
        await trio.lowlevel.checkpoint()
        ours, theirs = wires(self.room)
        try:
            self._give.send_nowait((theirs, f"peer {self.dialled + 1}"))
        except trio.ClosedResourceError:
            raise ConnectionRefusedError("nobody listens") from None
        self.dialled += 1
        return ours

    async def accept(self) -> tuple[Stream, str]:
        try:
            return await self._take.receive()
        except trio.EndOfChannel:
            raise trio.ClosedResourceError from None

    async def raw(self) -> RawPeer:
        """The peer that has dialled."""
        stream, _ = await self.accept()
        return RawPeer(stream)

    def close(self) -> None:
        self._give.close()
