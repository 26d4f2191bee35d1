"""The streams of a link that a lease allows: when that is over, nothing is given to them any more.

The lease is asked about right before each dial, and right before each piece of bytes is handed on,
below TLS. So all that this end sends passes here: messages, what the writer task sends later,
handshakes, the end. After the lease a stream is broken for who sends, and it is closed by a reset.

What a stream itself holds back is beyond this: the bytes that a kernel has taken, and of a stream
that cannot send without waiting, the rest of one piece.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from hsms_engine.driver.dialling import GiveBack
from hsms_engine.driver.lot import Lot
from hsms_engine.driver.reading import Readable
from hsms_engine.driver.tcp import DirectStream, Resettable, Stream, addresses_of

_OVER = "the lease of this process is over: nothing is sent any more"


class Fence:
    """What stands before the streams of one link. ``may_send``: whether its lease is in force."""

    __slots__ = ("_cleared", "_open", "may_send")

    def __init__(self, may_send: Callable[[], bool]) -> None:
        self.may_send = may_send
        # How many dials and streams there are.
        self._open = 0
        self._cleared = Lot()

    async def around(
        self, dial: Callable[[], Awaitable[tuple[Stream, GiveBack]]]
    ) -> tuple[Stream, GiveBack]:
        """What ``dial`` gives, its stream behind this fence. Raises what ``dial`` raises."""
        self._open += 1
        try:
            stream, give_back = await dial()
        except BaseException:
            # Cancelled too: no stream has come of it.
            self.closed()
            raise
        return self._fenced(stream), give_back

    def _fenced(self, stream: Stream) -> FencedStream:
        match stream:
            case trio.SocketStream():
                # Trio's own sends the rest of a piece later, and nobody is asked before that.
                return _ReadableStream(direct := DirectStream(stream), self, direct)
            case Readable() as readable:
                return _ReadableStream(stream, self, readable)
            case _:
                return FencedStream(stream, self)

    def closed(self) -> None:
        """A dial has failed, or a stream is closed."""
        self._open -= 1
        self._cleared.unpark_all()

    async def until_clear(self) -> None:
        """Wait until no stream is open, and none will be before the next dial."""
        while self._open:
            await self._cleared.park()


class FencedStream(trio.abc.HalfCloseableStream):
    """A stream over another one, which it owns."""

    def __init__(self, stream: Stream, fence: Fence) -> None:
        self._stream = stream
        self._fence = fence
        self._may_send = fence.may_send
        # Whether the peer was told that no more follows.
        self._has_ended = self._is_closed = False
        self._send_nowait: Callable[[bytes | memoryview], int] | None = getattr(
            stream, "send_nowait", None
        )
        self._send_pieces: Callable[[list[bytes]], int] | None = getattr(
            stream, "send_pieces_nowait", None
        )

    @property
    def local_address(self) -> str:
        """That of this end of the stream below; empty when it is not known."""
        return addresses_of(self._stream)[0]

    @property
    def remote_address(self) -> str:
        """That of the peer."""
        return addresses_of(self._stream)[1]

    # Sending. What the stream below cannot do, this one cannot.

    @property
    def send_nowait(self) -> Callable[[bytes | memoryview], int] | None:
        """Send what the stream below takes now, as ``DirectStream`` does."""
        return None if self._send_nowait is None else self._send_now

    @property
    def send_pieces_nowait(self) -> Callable[[list[bytes]], int] | None:
        """The same for several pieces."""
        return None if self._send_pieces is None else self._send_pieces_now

    @property
    def send_some(self) -> Callable[[memoryview], Awaitable[int]] | None:
        """Wait until the stream below takes some."""
        return None if self._send_nowait is None else self._wait_and_send

    def _send_now(self, data: bytes | memoryview) -> int:
        assert self._send_nowait is not None
        self._expect_lease()
        return self._send_nowait(data)

    def _send_pieces_now(self, pieces: list[bytes]) -> int:
        assert self._send_pieces is not None
        self._expect_lease()
        return self._send_pieces(pieces)

    async def _wait_and_send(self, data: memoryview) -> int:
        await self._stream.wait_send_all_might_not_block()
        return self._send_now(data)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._send_nowait is None:
            self._expect_lease()
            await self._stream.send_all(data)
            return
        await trio.lowlevel.checkpoint()
        rest = memoryview(data)
        while rest:
            rest = rest[await self._wait_and_send(rest) :]

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    def unacknowledged(self) -> int | None:
        """How many bytes the peer's system has not acknowledged; None when that is not known."""
        ask: Callable[[], int | None] | None = getattr(self._stream, "unacknowledged", None)
        return ask() if ask is not None else None

    async def send_eof(self) -> None:
        """Tell the peer that no more follows, where the stream below can."""
        self._expect_lease()
        send_eof: Callable[[], Awaitable[None]] | None = getattr(self._stream, "send_eof", None)
        if send_eof is not None:
            await send_eof()
            self._has_ended = True

    def _expect_lease(self) -> None:
        if not self._may_send():
            raise trio.BrokenResourceError(_OVER)

    # Receiving

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    # Ending

    def reset(self) -> None:
        """Close, and tell the peer by a reset, where the stream below can."""
        match self._stream:
            case Resettable():
                self._stream.reset()
            case _:
                # Who owns it closes it.
                pass

    async def aclose(self) -> None:
        if not (self._has_ended or self._may_send()):
            # To close it would send an end.
            self.reset()
        try:
            await self._stream.aclose()
        finally:
            if not self._is_closed:
                self._is_closed = True
                self._fence.closed()


class _ReadableStream(FencedStream):
    """The same over a stream on which waiting for bytes and taking them are two calls."""

    def __init__(self, stream: Stream, fence: Fence, readable: Readable) -> None:
        super().__init__(stream, fence)
        # The methods themselves: reading is not fenced, and costs nothing.
        self.wait_readable = readable.wait_readable
        self.stop_waiting = readable.stop_waiting
        self.receive_nowait = readable.receive_nowait
        self.receive_into_nowait = readable.receive_into_nowait
