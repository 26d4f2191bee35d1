"""A peer made of bytes: sends exactly what it is told to and expects exactly what it says.

It does not use ``hsms_engine.wire``, so that a mistake there is noticed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import trio
from trio.testing import wait_all_tasks_blocked

CONTROL = 0xFFFF

SELECT_REQ, SELECT_RSP = 1, 2
DESELECT_REQ, DESELECT_RSP = 3, 4
LINKTEST_REQ, LINKTEST_RSP = 5, 6
REJECT_REQ, SEPARATE_REQ = 7, 9


def raw(
    stype: int,
    system: int,
    *,
    session: int = CONTROL,
    byte2: int = 0,
    byte3: int = 0,
    ptype: int = 0,
    body: bytes = b"",
    length: int | None = None,
) -> bytes:
    """The bytes of any frame, right or wrong. ``length`` lies about the length."""
    declared = 10 + len(body) if length is None else length
    head = struct.pack(">IHBBBBI", declared, session, byte2, byte3, ptype, stype, system)
    return head + body


def data(
    stream: int,
    function: int,
    system: int,
    *,
    wait: bool = False,
    body: bytes = b"",
    session: int = 0,
    ptype: int = 0,
) -> bytes:
    """The bytes of a data message."""
    byte2 = stream | (0x80 if wait else 0)
    return raw(0, system, session=session, byte2=byte2, byte3=function, ptype=ptype, body=body)


def select_req(system: int) -> bytes:
    return raw(SELECT_REQ, system)


def select_rsp(system: int, status: int = 0) -> bytes:
    return raw(SELECT_RSP, system, byte3=status)


def deselect_req(system: int) -> bytes:
    return raw(DESELECT_REQ, system)


def deselect_rsp(system: int, status: int = 0) -> bytes:
    return raw(DESELECT_RSP, system, byte3=status)


def linktest_req(system: int) -> bytes:
    return raw(LINKTEST_REQ, system)


def linktest_rsp(system: int) -> bytes:
    return raw(LINKTEST_RSP, system)


def separate_req(system: int) -> bytes:
    return raw(SEPARATE_REQ, system)


def reject_req(system: int, rejected: int, reason: int, session: int = CONTROL) -> bytes:
    return raw(REJECT_REQ, system, session=session, byte2=rejected, byte3=reason)


@dataclass(frozen=True)
class Got:
    """A frame that arrived, as numbers."""

    session: int
    byte2: int
    byte3: int
    ptype: int
    stype: int
    system: int
    body: bytes


class RawPeer:
    """The other end of one connection, over any stream."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._received = bytearray()

    async def send(self, *frames: bytes) -> None:
        """All of them in one piece, so that they arrive in one segment."""
        await self.stream.send_all(b"".join(frames))

    async def take(self, count: int) -> bytes:
        """Exactly ``count`` bytes; fails when the stream ends before."""
        while len(self._received) < count:
            more = await self.stream.receive_some(65_536)
            assert more, f"the stream ended at {bytes(self._received)!r}, {count} bytes were wanted"
            self._received += more
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken

    async def expect(self, *frames: bytes) -> None:
        """The next bytes are these."""
        for frame in frames:
            assert (await self.take(len(frame))).hex(" ") == frame.hex(" ")

    async def frame(self) -> Got:
        """The next frame, whatever it is."""
        (length,) = struct.unpack(">I", await self.take(4))
        content = await self.take(length)
        session, byte2, byte3, ptype, stype, system = struct.unpack(">HBBBBI", content[:10])
        return Got(session, byte2, byte3, ptype, stype, system, content[10:])

    async def next_frame(self) -> Got | None:
        """The next frame, or None when the stream has ended, at either end, and not within one."""
        try:
            if not self._received:
                self._received += await self.stream.receive_some(65_536)
            return await self.frame() if self._received else None
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return None

    async def control(self, stype: int) -> int:
        """The next frame is a request of this type and nothing else; its system bytes."""
        got = await self.frame()
        assert got == Got(CONTROL, 0, 0, 0, stype, got.system, b"")
        return got.system

    async def end(self) -> None:
        """The peer closes the stream, and no byte comes before that."""
        rest = bytes(self._received)
        try:
            while more := await self.stream.receive_some(65_536):
                rest += more
        except trio.BrokenResourceError:
            # It was closed with bytes of ours unread, so TCP sent a reset.
            pass
        assert rest == b""

    async def ping(self, system: int = 0xA5A5_0001) -> None:
        """Nothing was sent before the answer to this: bytes leave in order."""
        await self.send(linktest_req(system))
        await self.expect(linktest_rsp(system))

    async def select_by_answering(self) -> int:
        """The peer of a dialling end: let it select. The system bytes of its Select.req."""
        system = await self.control(SELECT_REQ)
        await self.send(select_rsp(system))
        return system

    async def select(self, system: int = 0x5E1E_C700) -> None:
        """The peer of a listening end: select it."""
        await self.send(select_req(system))
        await self.expect(select_rsp(system))

    async def close(self) -> None:
        """Close the stream."""
        await self.stream.aclose()

    async def settle(self) -> None:
        """Let everyone do what can be done now. On memory streams only."""
        await wait_all_tasks_blocked()
