"""The way out of one TCP connection: bytes leave in one order, at once where the stream allows.

What the stream does not take at once is left to the one writer task, and everything after it, until
all has left. The engine is told of every byte taken; what becomes of a peer that takes none is the
transmitter chart's to say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import trio

from hsms_engine.driver.tcp import BROKEN, Stream, system_error
from hsms_engine.protocol.engine import Engine

# A write to a stream that cannot tell how far it came is cut into pieces of this many bytes, so
# that the write timeout watches each of them.
_PIECE = 65_536


class Transport:
    """One stream and the bytes on their way into it."""

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
        # Set when there is something to do for the writer task.
        self._wanted = trio.Event()

    def write(self, data: bytes) -> None:
        """Send ``data``, as far as the stream takes it now; leave the rest to the writer."""
        count = 0
        if self._send_nowait is not None and not self._waiting:
            try:
                count = self._send_nowait(data)
            except BROKEN as error:
                self._engine.tcp_closed(system_error(error) or error)
                return
        if count < len(data):
            self._waiting.append(memoryview(data)[count:])
            self._wanted.set()
        self._engine.wrote(count)

    def wake(self) -> None:
        """Let the writer task have a turn, at the end of this one."""
        self._wanted.set()

    def finish(self) -> None:
        """Tell the peer that no more bytes follow, once all have left and where the stream can."""
        self._finishing = True
        self._wanted.set()

    async def run(self, turn: Callable[[], None]) -> None:
        """The writer task. ``turn`` does what follows, each time bytes have left or may leave."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            turn()
            try:
                while self._waiting:
                    self._took(await self._send_some(self._waiting[0]))
                    turn()
            except BROKEN as error:
                self._engine.tcp_closed(system_error(error) or error)
                turn()
                return
            if self._finishing:
                await self._finish()

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
            except BROKEN:
                # The reader meets the same and tells the engine.
                return
