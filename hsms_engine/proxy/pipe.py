"""One direction of one connection: what comes from one end goes to the other, faults applied.

Two tasks: ``read`` takes bytes from the source and queues them, ``write`` sends what is due.

Invariants:

* Bytes leave in the order in which they came. Only faults of frames change that, and they send
  whole frames between whole frames.
* At most ``ROOM`` bytes wait, and beyond that what one read has brought and the frames that a fault
  needs whole: the source is not read while there is no room, so a slow sink slows its source.
* Who is told nothing more (``sink_done``) is sent nothing, and the source is read on and dropped.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Protocol, TypeVar

import trio

from hsms_engine.driver.tcp import BROKEN, RECEIVE_SIZE, Stream
from hsms_engine.proxy.armed import ROOM, Bell, InForce
from hsms_engine.proxy.cutter import Cutter
from hsms_engine.proxy.faults import (
    BlackHole,
    CutAfter,
    Direction,
    ForgetfulFirewall,
    ForgetfulNat,
    FrameFault,
    HalfClose,
    Jitter,
    Latency,
    LostFin,
    Rate,
    Slice,
    Stall,
)
from hsms_engine.proxy.treatment import Acting, Out, Treatment

F = TypeVar("F")

# The most bytes that are written at once, and the longest that a rate waits for one write.
_PIECE: Final = 65_536
_TICK: Final = 0.05


class Connection(Protocol):
    """What a pipe needs of its connection."""

    number: int
    bell: Bell
    # When something last came, from either end.
    heard_at: float
    # Those that are set for each direction, whether in force or not.
    faults: dict[Direction, list[InForce]]

    def not_hsms(self, direction: Direction, why: str) -> None: ...

    def check(self) -> None: ...

    def forget(self) -> None: ...

    async def reset_one(self, direction: Direction) -> None: ...

    async def sink_is_broken(self, direction: Direction) -> None: ...

    def end(self, why: str, *, with_reset: bool = False) -> None: ...


@dataclass(slots=True)
class _Waiting:
    """Bytes that are to be sent. They are due at ``since``, and latency is added to it."""

    data: memoryview
    ends: bool
    since: float


class Pipe:
    """From ``source`` to ``sink``."""

    def __init__(
        self,
        connection: Connection,
        direction: Direction,
        source: Stream,
        sink: Stream,
        max_frame: int,
    ) -> None:
        self._connection = connection
        self._bell = connection.bell
        self.direction = direction
        self.source = source
        self.sink = sink
        self._cutter = Cutter(max_frame)
        self._treatment = Treatment(connection.number, direction)
        self._queue: deque[_Waiting] = deque()
        # Whole frames for a time of their own: when, a number that keeps their order, the bytes.
        self._late: list[tuple[float, int, bytes]] = []
        self._number = 0
        # The bytes in both.
        self._held = 0
        # Whether the sink has whole frames only, so that another one may be put in.
        self._is_between = True
        # When a rate lets the next byte begin.
        self._free_at = -math.inf
        # When the end of the stream came.
        self._ended_at: float | None = None
        # Whether the sink never hears of the end of the source.
        self.is_cut_off = False
        # Whether the sink is being reset, which may take its time.
        self.is_resetting = False
        self.source_ended = False
        self.sink_done = False
        self.passed = 0

    # What is in force

    def now(self, kind: type[F]) -> list[tuple[InForce, F]]:
        """The faults of a kind that are in force now."""
        now = trio.current_time()
        return [
            (each, each.fault)
            for each in self._connection.faults[self.direction]
            if isinstance(each.fault, kind) and each.is_now(now)
        ]

    def _acts(self, kind: type[F], what: str = "acts from here on") -> list[F]:
        """Like ``now``, when they act: that is told once."""
        found = self.now(kind)
        for each, _ in found:
            each.tell_once(what)
        return [fault for _, fault in found]

    def _acts_no_more(self, kind: type[F], what: str) -> None:
        """None of the kind is in force now: that is told of those that have acted."""
        for each in self._connection.faults[self.direction]:
            if isinstance(each.fault, kind):
                each.tell_over(what)

    def _next_change(self) -> float:
        """When a fault begins or ends. To be asked before ``now`` is, which may be later."""
        now = trio.current_time()
        faults = self._connection.faults[self.direction]
        return min((each.next_change(now) for each in faults), default=math.inf)

    async def until_open(self, what: str) -> None:
        """Wait for the end of a black hole."""
        change = self._next_change()
        while self._acts(BlackHole, what):
            await self._bell.wait(change)
            change = self._next_change()
        self._acts_no_more(BlackHole, "passes on again")

    @property
    def is_over(self) -> bool:
        """Whether the source has ended, and the sink was told what it is to be told."""
        return self.source_ended and self.sink_done and not self.is_resetting

    def cut_off(self) -> None:
        """Never again tell the sink anything."""
        self.is_cut_off = True
        self.stop_sending()

    def stop_sending(self) -> None:
        """Send nothing more, and drop what comes."""
        self.sink_done = True
        self._queue.clear()
        self._late.clear()
        self._held = 0
        self._bell.ring()
        self._connection.check()

    # Reading

    async def read(self) -> None:
        """Read until the source ends."""
        while not self.source_ended:
            await self._until_not_stalled()
            if self._held > ROOM:
                await self._bell.wait(self._next_change())
                continue
            try:
                data = bytes(await self.source.receive_some(RECEIVE_SIZE))
            except BROKEN:
                # Otherwise it was closed here.
                if not self.source_ended:
                    self.source_ended = self.is_resetting = True
                    await self._heard()
                    await self.pass_reset()
                return
            # It may have begun meanwhile.
            await self._until_not_stalled()
            await self._heard()
            if data:
                self.take(data)
            else:
                self._end()

    async def _until_not_stalled(self) -> None:
        change = self._next_change()
        while self._acts(Stall, "is not read"):
            await self._bell.wait(change)
            change = self._next_change()
        self._acts_no_more(Stall, "is read again")

    async def _heard(self) -> None:
        """Something came. What is between the ends may have forgotten the connection."""
        connection, now = self._connection, trio.current_time()
        idle, connection.heard_at = now - connection.heard_at, now
        for each, firewall in self.now(ForgetfulFirewall):
            if idle >= firewall.seconds and not self.is_cut_off:
                each.tell(f"has forgotten it after {idle:.3g} s of silence")
                connection.forget()
        for each, nat in self.now(ForgetfulNat):
            if idle >= nat.seconds and not self.is_cut_off:
                each.tell(f"has forgotten it after {idle:.3g} s of silence, and resets the sender")
                await connection.reset_one(other_way(self.direction))

    def take(self, data: bytes) -> None:
        """What the source has sent."""
        if self.sink_done:
            return
        faults = self._connection.faults[self.direction]
        now = trio.current_time()
        of_frames: list[Acting] = [
            (each, each.fault) for each in faults if isinstance(each.fault, FrameFault)
        ]
        acting = [each for each in of_frames if each[0].is_now(now)]
        was_lost = self._cutter.lost
        parts = self._cutter.feed(data, heads=bool(of_frames))
        self._put([out for part in parts for out in self._treatment.take(part, acting)])
        if self._cutter.lost is not None and was_lost is None:
            self._connection.not_hsms(self.direction, self._cutter.lost)

    def _end(self) -> None:
        self.source_ended = True
        if not self.sink_done:
            self._put([Out(self._cutter.rest(), True), *self._treatment.rest()])
            self._ended_at = trio.current_time()
        self._bell.ring()
        self._connection.check()

    def _put(self, outs: list[Out]) -> None:
        jitters = self.now(Jitter)
        for out in _joined(outs):
            since = trio.current_time() + out.by
            for each, fault in jitters:
                since += each.random.uniform(0, fault.seconds)
                each.tell_once("acts from here on")
            self._held += len(out.data)
            if out.by:
                self._number += 1
                heapq.heappush(self._late, (since, self._number, out.data))
            else:
                self._queue.append(_Waiting(memoryview(out.data), out.ends, since))
        self._bell.ring()

    async def pass_reset(self) -> None:
        """The source has reset its connection: so is the sink, when it may be."""
        since = trio.current_time()
        while not self.is_cut_off:
            await self.until_open("passes nothing on")
            change = self._next_change()
            due = since + sum(fault.seconds for _, fault in self.now(Latency))
            if due <= trio.current_time():
                self._connection.end("reset", with_reset=True)
                return
            await self._bell.wait(min(due, change))
        self.is_resetting = False
        self._connection.check()

    # Writing

    async def write(self) -> None:
        """Send what is due, until the sink is told no more."""
        while not self.sink_done:
            await self.until_open("passes nothing on")
            change = self._next_change()
            if self._acts(HalfClose, "the stream has ended"):
                await self._send_end()
                return
            now = trio.current_time()
            latency = sum(fault.seconds for _, fault in self.now(Latency))
            late = self._late[0][0] + latency if self._late and self._is_between else math.inf
            if late <= now:
                since, _, frame = heapq.heappop(self._late)
                self._queue.appendleft(_Waiting(memoryview(frame), True, since))
            due = math.inf
            if self._queue:
                due = self._queue[0].since + latency
            elif self._ended_at is not None and not self._late:
                due = self._ended_at + latency
            if due > now:
                await self._bell.wait(min(due, late, change))
            elif self._queue:
                self._acts(Latency)
                await self._send(self._queue[0])
            elif self._acts(LostFin, "the end of the stream is lost"):
                self.stop_sending()
            else:
                await self._send_end()

    async def _send(self, first: _Waiting) -> None:
        """Send some of the first bytes that wait, and close the connection when they are enough."""
        if self._is_cut():
            return
        slices = [each.size for each in self._acts(Slice)]
        cuts = [cut.size - self.passed for _, cut in self.now(CutAfter)]
        size = min(len(first.data), _PIECE, *slices, *cuts)
        if rates := self._acts(Rate):
            rate = min(each.bytes_per_second for each in rates)
            size = min(size, max(1, int(rate * _TICK)))
            self._free_at = max(trio.current_time(), self._free_at) + size / rate
            await trio.sleep_until(self._free_at)
        if self.sink_done:
            return
        try:
            await self.sink.send_all(first.data[:size])
        except BROKEN:
            await self._sink_is_broken()
            return
        self.passed += size
        if self._is_cut() or not self._queue:
            # Or meanwhile all that waited was dropped.
            return
        self._held -= size
        first.data = first.data[size:]
        self._is_between = first.ends and not first.data
        if not first.data:
            self._queue.popleft()
        self._bell.ring()

    def _is_cut(self) -> bool:
        """Close the connection if so many bytes have been sent."""
        for each, cut in self.now(CutAfter):
            if self.passed >= cut.size:
                each.tell(f"closed after {self.passed} bytes")
                self.stop_sending()
                self._connection.end("cut")
                return True
        return False

    async def _send_end(self) -> None:
        try:
            match self.sink:
                case trio.abc.HalfCloseableStream():
                    await self.sink.send_eof()
                case _:
                    # It cannot tell the end of one direction.
                    pass
        except BROKEN:
            await self._sink_is_broken()
        else:
            self.stop_sending()

    async def _sink_is_broken(self) -> None:
        # Otherwise it was closed here.
        if not self.sink_done:
            await self._connection.sink_is_broken(self.direction)


def _joined(outs: list[Out]) -> Iterator[Out]:
    """The same bytes, those that are for now in as few pieces as may be: each is one write."""
    for by, several in groupby(outs, key=lambda out: out.by):
        if by:
            yield from several
        else:
            group = list(several)
            yield Out(b"".join(each.data for each in group), group[-1].ends)


def other_way(direction: Direction) -> Direction:
    """The opposite direction."""
    return "to-host" if direction == "to-equipment" else "to-equipment"
