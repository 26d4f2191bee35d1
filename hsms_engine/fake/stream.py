"""The byte stream of a fake equipment: where bytes are delayed, cut, changed and lost.

Invariants:

* The engine above sees an ordinary stream. When a connection falls silent, the engine is told that
  TCP broke; the equipment keeps the socket open.
* ``_unsent`` counts the bytes still to be sent of the frame in progress, so that only whole frames
  are changed, also when behaviours change in the middle of a frame.
* Without a behaviour that touches frames nothing is copied and ``send_nowait`` sends at once.
"""

from __future__ import annotations

import math
from typing import Final, Protocol

import trio

from hsms_engine.fake.behaviours import Behaviours
from hsms_engine.wire import Decoder, Frame, FrameLengthError, SType, control_frame, encode

GARBAGE: Final = b"HTTP/1.1 400 Bad Request\r\n\r\n"
"""The answer of a web server: its first four bytes, read as a length, are more than a gigabyte."""

_STYPE_AT = 9
_SYSTEM_BYTES = slice(10, 14)
_STOPPED = "stopped reading"
_DEAF = "went deaf"
_STALLED = "stalled in mid-frame"
_KINDS = {SType.SELECT_RSP: "select", SType.LINKTEST_RSP: "linktest"}


class Socket(Protocol):
    """A connection, with or without TLS, or one in memory."""

    def send_nowait(self, data: bytes | memoryview, /) -> int: ...

    async def send_some(self, data: memoryview, /) -> int: ...

    async def send_all(self, data: bytes | bytearray | memoryview) -> None: ...

    async def wait_send_all_might_not_block(self) -> None: ...

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray: ...

    async def send_eof(self) -> None: ...

    def close(self) -> None: ...


class Equipment(Protocol):
    """What a stream needs of its equipment."""

    behaviours: Behaviours
    streams: set[FakeStream]

    def hold(self, stream: Socket, *, drain: bool) -> None: ...

    def tell(self, event: str, /, **details: object) -> None: ...


def kind_of(frame: memoryview) -> str | None:
    """The name of a frame in behaviours; None when no behaviour is for such a frame."""
    stype = frame[_STYPE_AT]
    if stype == SType.DATA:
        function = frame[7]
        return "reply" if function % 2 == 0 else None
    return _KINDS.get(SType(stype))


class FakeStream(trio.abc.HalfCloseableStream):
    """An accepted connection, with the behaviours in force between it and the engine."""

    def __init__(self, equipment: Equipment, socket: Socket, peer: str) -> None:
        self._equipment = equipment
        self._socket = socket
        self.peer = peer
        self._unsent = 0
        # How the next frame is spoilt, if it is.
        self._spoilt: str | None = None
        # When Select.rsp was sent; the silence of a behaviour is counted from here.
        self._selected_at = math.inf
        self._receiving = trio.CancelScope()
        self._is_silent = False
        # Whether it has sent half of a frame, and will send no more.
        self._is_stalled = False
        # Decodes the requests, so that Select.req can be removed. Decided once for the connection,
        # because a decoder cannot begin in the middle of a frame.
        refuses = bool(equipment.behaviours.refuse_select)
        self._requests = Decoder() if refuses else None
        equipment.streams.add(self)

    # Silence

    def reconsider(self) -> None:
        """Behaviours have changed, or Select.rsp was sent."""
        self._receiving.deadline, _ = self._silence()

    def _silence(self) -> tuple[float, str]:
        """The time at which this connection falls silent, and why."""
        behaviours = self._equipment.behaviours
        choices = [(behaviours.stop_reading, _STOPPED), (behaviours.deaf_after, _DEAF)]
        return min(
            ((self._selected_at + after, how) for after, how in choices if after is not None),
            default=(math.inf, ""),
        )

    def _swallows(self) -> bool:
        return self._is_silent or trio.current_time() >= self._silence()[0]

    def _fall_silent(self, why: str, *, drain: bool) -> trio.BrokenResourceError:
        """Give the socket to the equipment. Returns the error for the engine."""
        self._is_silent = True
        self._equipment.hold(self._socket, drain=drain)
        self._equipment.tell("fell silent", peer=self.peer, why=why)
        return trio.BrokenResourceError(f"the fake equipment {why}")

    def spoil(self, behaviour: str) -> None:
        """Spoil the next frame: one of ``ONCE``."""
        self._spoilt = behaviour

    @property
    def _touches_frames(self) -> bool:
        return self._spoilt is not None or self._equipment.behaviours.touches_frames

    # Receiving

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while True:
            if self._is_stalled:
                raise self._fall_silent(_STALLED, drain=True)
            data = b""
            silent_at, _ = self._silence()
            with trio.CancelScope(deadline=silent_at) as self._receiving:
                data = bytes(await self._socket.receive_some(max_bytes))
            silent_at, how = self._silence()
            if trio.current_time() >= silent_at:
                raise self._fall_silent(how, drain=how == _DEAF)
            if self._receiving.cancelled_caught:
                # The behaviours have changed in the meantime, and it does not fall silent.
                continue
            if not data or self._requests is None:
                return data
            if rest := self._without_select(self._requests, data):
                return rest

    def _without_select(self, requests: Decoder, data: bytes) -> bytes:
        """Answer every Select.req with the status that refuses it; returns the other frames."""
        try:
            frames, bad = requests.feed(data), b""
        except FrameLengthError as error:
            frames, bad = list(error.frames), error.raw
        return b"".join(encode(each) for each in frames if not self._refused(each)) + bad

    def _refused(self, frame: Frame) -> bool:
        status = self._equipment.behaviours.refuse_select
        if frame.stype != SType.SELECT_REQ or not status:
            return False
        response = control_frame(SType.SELECT_RSP, frame.system_bytes, byte3=status)
        # A peer whose buffers have no room for 14 bytes does not read, so it misses no status.
        self._socket.send_nowait(encode(response))
        self._equipment.tell("select refused", peer=self.peer, status=status)
        return True

    # Sending

    def send_nowait(self, data: bytes | memoryview) -> int:
        if self._swallows():
            return len(data)
        if self._touches_frames:
            return 0
        count = self._socket.send_nowait(data)
        self._sent(memoryview(data), count)
        return count

    async def send_some(self, data: memoryview) -> int:
        if self._swallows():
            await trio.lowlevel.checkpoint()
            return len(data)
        if self._unsent:
            count = await self._socket.send_some(data[: self._unsent])
            self._unsent -= count
            return count
        if not self._touches_frames:
            count = await self._socket.send_some(data)
            self._sent(data, count)
            return count
        frame = data[: 4 + int.from_bytes(data[:4])]
        await self._send_touched(frame)
        return len(frame)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[await self.send_some(rest) :]

    async def _send_touched(self, frame: memoryview) -> None:
        kind = kind_of(frame)
        if kind == "select":
            await trio.sleep(self._equipment.behaviours.delay_select)
        behaviours = self._equipment.behaviours
        spoilt, self._spoilt = self._spoilt, None
        if spoilt == "send-garbage" or (kind is not None and kind == behaviours.send_garbage):
            await self._socket.send_all(GARBAGE)
            return
        if spoilt == "cut-mid-frame" or (kind is not None and kind == behaviours.cut_mid_frame):
            await self._socket.send_all(frame[: len(frame) // 2])
            # The engine closes the connection after this error.
            raise trio.BrokenResourceError("the fake equipment closed it in mid-frame")
        if spoilt == "stall-mid-frame" or (kind is not None and kind == behaviours.stall_mid_frame):
            await self._socket.send_all(frame[: len(frame) // 2])
            # Nobody else may read the socket before the engine has stopped reading it.
            self._is_stalled = True
            self._receiving.cancel()
            raise trio.BrokenResourceError(f"the fake equipment {_STALLED}")
        if kind is not None and kind == behaviours.wrong_system_bytes:
            wrong = bytearray(frame)
            number = int.from_bytes(wrong[_SYSTEM_BYTES]) + 1
            wrong[_SYSTEM_BYTES] = (number % 2**32).to_bytes(4)
            frame = memoryview(wrong)
        await self._socket.send_all(frame)
        self._sent(frame, len(frame))

    def _sent(self, data: memoryview, count: int) -> None:
        """The first ``count`` bytes of ``data`` are sent. ``data`` ends with a whole frame."""
        begin = self._unsent
        while begin < count:
            if data[begin + _STYPE_AT] == SType.SELECT_RSP:
                self._selected_at = trio.current_time()
                self.reconsider()
            begin += 4 + int.from_bytes(data[begin : begin + 4])
        self._unsent = begin - count

    async def wait_send_all_might_not_block(self) -> None:
        await self._socket.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._socket.send_eof()

    def close(self) -> None:
        self._equipment.streams.discard(self)
        if self._is_stalled and not self._is_silent:
            self._fall_silent(_STALLED, drain=True)
        if not self._is_silent:
            self._socket.close()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()
