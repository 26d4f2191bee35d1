"""The way out of one TCP connection: bytes leave in one order, at once where the transport allows.

A transport belongs to one epoch. A lone message is sent from the task that queued it, with no task
switch; where more are likely to follow, the one writer task sends what the tasks of the same turn
have queued in one piece. As soon as something is left over, all goes through the writer; the
transmitter chart says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from hsms_engine.driver.tcp import Stream
from hsms_engine.protocol.engine import Engine
from hsms_engine.protocol.epoch import Epoch

BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)

# A write to a stream that cannot tell how far it came is cut into pieces of this many bytes, so
# that the write timeout watches each of them.
_PIECE = 65_536


class _Driver(Protocol):
    engine: Engine

    def tell(self, event: str, detail: Exception | None = None) -> None: ...

    def follow_up(self) -> None: ...

    def wake_senders(self) -> None: ...


class Transport:
    """One stream and the bytes on their way into it."""

    def __init__(self, driver: _Driver, stream: Stream, epoch: Epoch) -> None:
        self._driver = driver
        self._stream = stream
        self._epoch = epoch
        self._send_nowait: Callable[[bytes], int] | None = getattr(stream, "send_nowait", None)
        self._send_some: Callable[[memoryview], Awaitable[int]] | None = getattr(
            stream, "send_some", None
        )
        self._send_eof: Callable[[], Awaitable[None]] | None = getattr(stream, "send_eof", None)
        # What the stream has not taken yet of what was taken from the epoch.
        self._rest = memoryview(b"")
        # Set when there is something to do for the writer task.
        self._wanted = trio.Event()
        self._finishing = trio.Event()

    def flush(self) -> None:
        """Send what is queued, as far as the stream takes it now; leave the rest to the writer."""
        engine, epoch = self._driver.engine, self._epoch
        if not epoch.has_chunks or "drained" not in engine.snapshot["transmitter"]:
            return
        data = epoch.take()
        count = 0
        if self._send_nowait is not None:
            try:
                count = self._send_nowait(data)
            except BROKEN as error:
                self._end(error)
                return
        if count < len(data):
            self._rest = memoryview(data)[count:]
            engine.tell("write_blocked")
            self._wanted.set()
        engine.wrote(epoch, count)

    def flush_soon(self) -> None:
        """Send what is queued at the end of this turn, with what other tasks queue in it."""
        self._wanted.set()

    async def write(self) -> None:
        """The writer task: what could not be sent at once, in order."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            if self._is_over():
                return
            self.flush()
            self._driver.follow_up()
            if not self._rest:
                continue
            try:
                while self._rest:
                    await self._write_some()
            except BROKEN as error:
                self._end(error)
                return
            if self._is_over():
                return
            self._driver.tell("write_drained")

    async def _write_some(self) -> None:
        rest = self._rest
        if self._send_some is not None:
            count = await self._send_some(rest)
        else:
            count = min(len(rest), _PIECE)
            await self._stream.send_all(bytes(rest[:count]))
        self._rest = rest[count:]
        # Another task may have ended the epoch between the wake-up and this line.
        if self._is_over():
            self._rest = memoryview(b"")
            return
        if count:
            self._driver.engine.wrote(self._epoch, count)
            self._driver.tell("write_progressed")
            self._driver.wake_senders()
        if not self._rest and self._epoch.has_chunks and not self._is_over():
            self._rest = memoryview(self._epoch.take())

    def finish(self) -> None:
        """Let ``say_end`` tell the peer that no more bytes follow."""
        self._finishing.set()

    async def say_end(self) -> None:
        """The task that half-closes the stream, where the stream can."""
        await self._finishing.wait()
        if self._send_eof is not None:
            try:
                await self._send_eof()
            except BROKEN:
                # The reader meets the same end and tells the charts.
                return

    def _is_over(self) -> bool:
        return self._driver.engine.epoch is not self._epoch

    def _end(self, error: Exception) -> None:
        if not self._is_over():
            self._driver.tell("tcp_closed", error)
