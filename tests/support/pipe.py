"""A connection in memory as ``DirectStream`` has it: sends that never wait, and bounded buffers."""

from __future__ import annotations

import trio


class PipeEnd(trio.abc.HalfCloseableStream):
    """One end. ``room`` is how many bytes more it takes; what the other end reads makes room.

    ``wire`` has every byte that was sent. ``acknowledges``: what was read is acknowledged.
    """

    other: PipeEnd

    def __init__(self, room: int) -> None:
        self.room = room
        self.wire = bytearray()
        self._received = bytearray()
        self._moved = trio.lowlevel.ParkingLot()
        self._unacknowledged = 0
        self.acknowledges = True
        self.at_end = self.is_closed = self.is_broken = self.was_reset = False
        # The most bytes that one send takes, and that one receive gives.
        self.slice = self.most = 2**40

    def send_nowait(self, data: bytes | memoryview) -> int:
        if self.is_closed or self.is_broken or self.other.is_closed:
            raise trio.BrokenResourceError("Broken pipe")
        piece = bytes(data[: min(self.room, self.slice)])
        self.room -= len(piece)
        self.wire += piece
        self._unacknowledged += len(piece)
        self.other._received += piece
        self.other._moved.unpark_all()
        return len(piece)

    def unacknowledged(self) -> int | None:
        return self._unacknowledged

    async def send_some(self, data: memoryview) -> int:
        await self.wait_send_all_might_not_block()
        return self.send_nowait(data)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[await self.send_some(rest) :]

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()
        while not (self.room or self.is_closed or self.is_broken or self.other.is_closed):
            await self._moved.park()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        while not (self._received or self.at_end or self.is_broken or self.is_closed):
            await self._moved.park()
        if self.is_broken:
            raise trio.BrokenResourceError("Connection reset by peer")
        if self.is_closed:
            raise trio.ClosedResourceError
        most = self.most if max_bytes is None else min(max_bytes, self.most)
        data = bytes(self._received[:most])
        del self._received[: len(data)]
        self.other.give_room(len(data))
        return data

    def give_room(self, count: int) -> None:
        self.room += count
        if self.acknowledges:
            self._unacknowledged -= count
        self._moved.unpark_all()

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        self._end()

    def _end(self) -> None:
        self.other.at_end = True
        self.other._moved.unpark_all()

    def close(self) -> None:
        self.is_closed = True
        self._end()
        self._moved.unpark_all()

    def reset(self) -> None:
        self.close()
        self.was_reset = self.other.is_broken = True

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()


def pipe(room: int = 1_000_000) -> tuple[PipeEnd, PipeEnd]:
    """The two ends of a connection, each of which takes ``room`` bytes that are not read."""
    one, other = PipeEnd(room), PipeEnd(room)
    one.other, other.other = other, one
    return one, other
