"""The sending side of one TCP connection: bytes in one order, at once when the stream takes them.

Bytes that the stream does not take at once, and all bytes after them, are for the one writer task,
until all are written. The engine is told how many bytes the stream has taken; the transmitter chart
decides about a peer that takes none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import trio

from hsms_engine.driver.loop import Loop
from hsms_engine.driver.tcp import BROKEN, Resettable, Stream, system_error
from hsms_engine.protocol.engine import Engine

# Some streams cannot tell how many bytes of a write they have taken. A write to such a stream is
# cut into pieces of this many bytes, so that the write timeout watches each piece.
_PIECE = 65_536


class Transport:
    """One stream and the bytes that are to be written to it."""

    __slots__ = (
        "_broken",
        "_engine",
        "_finished",
        "_finishing",
        "_loop",
        "_pieces",
        "_send_nowait",
        "_send_pieces",
        "_send_some",
        "_stream",
        "_waiting",
        "_wanted",
    )

    def __init__(self, engine: Engine, stream: Stream, loop: Loop) -> None:
        self._engine = engine
        self._loop = loop
        self._stream = stream
        self._send_nowait: Callable[[bytes | memoryview], int] | None = getattr(
            stream, "send_nowait", None
        )
        self._send_pieces: Callable[[list[bytes]], int] | None = getattr(
            stream, "send_pieces_nowait", None
        )
        send_some: Callable[[memoryview], Awaitable[int]] | None = getattr(
            stream, "send_some", None
        )
        self._send_some = send_some or self._send_piece
        # What is to be sent with what comes next; and what the stream has not taken, in order. None
        # when that is nothing: a deque is 0.7 kB.
        self._pieces: list[bytes] = []
        self._waiting: deque[memoryview] | None = None
        self._finishing = False
        # Whether the peer was told that no more bytes follow, which some systems count as a byte.
        self._finished = False
        # Why a write has failed: no more is written then.
        self._broken: Exception | None = None
        # Set when there is something to do for the writer task.
        self._wanted = trio.Event()

    def write(self, data: bytes, *, more: bool) -> None:
        """Send as much of ``data`` as the stream takes now; the writer task sends the rest.

        ``more``: other bytes follow at once, which are sent together with these.
        """
        self._pieces.append(data)
        if more:
            return
        pieces, self._pieces, send_pieces = self._pieces, [], None
        if len(pieces) > 1:
            send_pieces = self._send_pieces
            if send_pieces is None:
                data = b"".join(pieces)
                pieces = [data]
        count = 0
        if self._send_nowait is not None and self._waiting is None and self._broken is None:
            try:
                count = send_pieces(pieces) if send_pieces is not None else self._send_nowait(data)
            except BROKEN as error:
                self._broken = error
        taken = count
        for piece in pieces:
            if taken < len(piece):
                if self._waiting is None:
                    self._waiting = deque()
                self._waiting.append(memoryview(piece)[taken:])
                self._wanted.set()
            taken = max(taken - len(piece), 0)
        self._engine.wrote(count)

    def wake(self) -> None:
        """Let the writer task have a turn after this one."""
        self._wanted.set()

    def wake_from_anywhere(self) -> None:
        """``wake``, to be called in any thread."""
        self._loop.soon(self.wake, once=True)

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
                while self._waiting is not None and self._broken is None:
                    self._took(await self._send_some(self._waiting[0]), self._waiting)
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

    def _took(self, count: int, waiting: deque[memoryview]) -> None:
        if count == len(waiting[0]):
            waiting.popleft()
            if not waiting:
                self._waiting = None
        else:
            waiting[0] = waiting[0][count:]
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
