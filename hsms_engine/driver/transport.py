"""The sending side of one TCP connection: bytes in one order, at once when the stream takes them.

Bytes that the stream does not take at once, and all bytes after them, are for the one writer task,
until all are written. The engine is told how many bytes the stream has taken; the transmitter chart
decides about a peer that takes none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import trio

from hsms_engine.driver.tcp import BROKEN, Resettable, Stream, system_error
from hsms_engine.protocol.engine import Engine

# Some streams cannot tell how many bytes of a write they have taken. A write to such a stream is
# cut into pieces of this many bytes, so that the write timeout watches each piece.
_PIECE = 65_536


class Transport:
    """One stream and the bytes that are to be written to it."""

    def __init__(self, engine: Engine, stream: Stream) -> None:
        self._engine = engine
        self._stream = stream
        self._send_nowait: Callable[[bytes | memoryview], int] | None = getattr(
            stream, "send_nowait", None
        )
        send_some: Callable[[memoryview], Awaitable[int]] | None = getattr(
            stream, "send_some", None
        )
        self._send_some = send_some or self._send_piece
        # What the stream has not taken, in order.
        self._waiting: deque[memoryview] = deque()
        self._finishing = False
        # Whether the peer was told that no more bytes follow, which some systems count as a byte.
        self._finished = False
        # Why a write has failed: no more is written then.
        self._broken: Exception | None = None
        # Set when there is something to do for the writer task.
        self._wanted = trio.Event()

    def write(self, data: bytes) -> None:
        """Send as much of ``data`` as the stream takes now; the writer task sends the rest."""
        count = 0
        if self._send_nowait is not None and not self._waiting and self._broken is None:
            try:
                count = self._send_nowait(data)
            except BROKEN as error:
                self._broken = error
        if count < len(data):
            self._waiting.append(memoryview(data)[count:])
            self._wanted.set()
        self._engine.wrote(count)

    def wake(self) -> None:
        """Let the writer task have a turn after this one."""
        self._wanted.set()

    def finish(self) -> None:
        """Tell the peer, when all bytes are written, that no more follow, if the stream can."""
        self._finishing = True
        self._wanted.set()

    def unacknowledged(self) -> int | None:
        """How many written bytes the peer's system has not acknowledged; None when unknown."""
        ask: Callable[[], int | None] | None = getattr(self._stream, "unacknowledged", None)
        count = ask() if ask is not None else None
        return count - 1 if count and self._finished else count

    def reset(self) -> None:
        """Close at once and tell the peer by a reset, if the stream can."""
        match self._stream:
            case Resettable():
                self._stream.reset()
            case _:
                # It is closed when its tasks have stopped.
                pass

    async def run(self, turn: Callable[[], None], catch_up: Callable[[], Awaitable[None]]) -> None:
        """The writer task. It calls ``turn`` each time bytes have been taken or can be.

        When a write fails, it lets the reader ``catch_up`` first: the peer may have said more
        before it closed.
        """
        while self._broken is None:
            await self._wanted.wait()
            self._wanted = trio.Event()
            turn()
            try:
                while self._waiting and self._broken is None:
                    self._took(await self._send_some(self._waiting[0]))
                    turn()
            except BROKEN as error:
                self._broken = error
            if self._finishing and self._broken is None:
                await self._finish()
        await catch_up()
        self._engine.tcp_closed(system_error(self._broken) or self._broken)
        turn()

    async def _send_piece(self, data: memoryview) -> int:
        await self._stream.send_all(bytes(data[:_PIECE]))
        return min(len(data), _PIECE)

    def _took(self, count: int) -> None:
        if count == len(self._waiting[0]):
            self._waiting.popleft()
        else:
            self._waiting[0] = self._waiting[0][count:]
        self._engine.wrote(count)

    async def _finish(self) -> None:
        self._finishing = False
        send_eof: Callable[[], Awaitable[None]] | None = getattr(self._stream, "send_eof", None)
        if send_eof is not None:
            try:
                await send_eof()
                self._finished = True
            except BROKEN:
                # The reader gets the same error and tells the engine.
                return
