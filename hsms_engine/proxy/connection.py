"""One connection that passes through a proxy: two ends, a pipe each way, and when it is over."""

from __future__ import annotations

import math
from functools import partial
from random import Random
from typing import Protocol

import trio

from hsms_engine.driver.tcp import BROKEN, RECEIVE_SIZE, Dial, Resettable, Stream
from hsms_engine.proxy.armed import Armed, Bell, InForce
from hsms_engine.proxy.events import Accepted, Acted, Ended, NotDialled, NotHsms, ProxyEvent
from hsms_engine.proxy.faults import (
    DIRECTIONS,
    AcceptAndSayNothing,
    BlackHole,
    Direction,
    Fault,
    Refuse,
    Reset,
)
from hsms_engine.proxy.pipe import Pipe, other_way


class Owner(Protocol):
    """What a connection needs of its proxy."""

    seed: int
    armed: list[Armed]
    max_frame: int
    dial: Dial
    # The address that it dials.
    to: str

    def now(self) -> float: ...

    def tell(self, event: ProxyEvent) -> None: ...


class Connection:
    """From its accept until it is over."""

    def __init__(self, owner: Owner, number: int, stream: Stream, peer: str) -> None:
        self._owner = owner
        self.number = number
        self._peer = peer
        self._host = stream
        self._equipment: Stream | None = None
        self.bell = Bell()
        self.accepted_at = self.heard_at = trio.current_time()
        self.faults: dict[Direction, list[InForce]] = {}
        # Those about both ends.
        self._of_both: list[InForce] = []
        self._pipes: dict[Direction, Pipe] = {}
        self._scope = trio.CancelScope()
        # Why it is over.
        self._why: str | None = None
        self._resets = False
        self.arm()

    # What happens to it

    def arm(self) -> None:
        """The faults of the proxy are others now."""
        self.faults = {each: [] for each in DIRECTIONS}
        self._of_both = []
        for armed in self._owner.armed:
            if not armed.covers(self.number):
                continue
            match armed.fault:
                case Refuse():
                    continue
                case AcceptAndSayNothing() | Reset(direction=None):
                    self._of_both.append(self._in_force(armed, None))
                case fault:
                    for each in DIRECTIONS:
                        if fault.direction in (None, each):
                            self.faults[each].append(self._in_force(armed, each))
        self.bell.ring()

    def _in_force(self, armed: Armed, direction: Direction | None) -> InForce:
        # For each fault, connection and direction its own, so that no order of tasks matters.
        random = Random(f"{self._owner.seed} {armed.index} {self.number} {direction}")
        return InForce(armed, self.accepted_at, random, partial(self._acted, direction))

    def _acted(
        self, direction: Direction | None, fault: Fault, what: str, frame: str | None
    ) -> None:
        at = self._owner.now()
        self._owner.tell(Acted(at, self.number, direction, frame, what, fault))

    def not_hsms(self, direction: Direction, why: str) -> None:
        """What goes this way is no HSMS."""
        self._owner.tell(NotHsms(self._owner.now(), self.number, direction, why))

    def forget(self) -> None:
        """Drop all that comes from either end, and tell them nothing."""
        for pipe in self._pipes.values():
            pipe.cut_off()

    async def reset_one(self, direction: Direction) -> None:
        """Reset one end, and let the other one know nothing of it."""
        way, back = self._pipes[direction], self._pipes[other_way(direction)]
        back.source_ended = True
        for pipe in (way, back):
            pipe.cut_off()
        await _close(way.sink, with_reset=True)

    async def sink_is_broken(self, direction: Direction) -> None:
        """The end that is reached this way has reset its connection."""
        back = self._pipes[other_way(direction)]
        back.is_resetting = True
        self._pipes[direction].stop_sending()
        await back.pass_reset()

    def check(self) -> None:
        """It is over when both ends have ended and know it of each other."""
        if all(each.is_over for each in self._pipes.values()):
            self.end("closed")

    def end(self, why: str, *, with_reset: bool = False) -> None:
        """It is over, unless it was already."""
        if self._why is None:
            self._why, self._resets = why, with_reset
            self._scope.cancel()

    # Its life

    async def run(self, why_not: str = "") -> None:
        """Be the connection until it is over; at once with a reason ``why_not`` to dial.

        Raises nothing.
        """
        self._owner.tell(Accepted(self._owner.now(), self.number, self._peer))
        try:
            with self._scope:
                if why_not:
                    self._not_dialled(why_not)
                else:
                    await self._live()
        finally:
            with trio.CancelScope(shield=True):
                for stream in (self._host, self._equipment):
                    if stream is not None:
                        await _close(stream, with_reset=self._resets)
            passed = [self._pipes[each].passed if self._pipes else 0 for each in DIRECTIONS]
            why = self._why or "the proxy ends"
            self._owner.tell(Ended(self._owner.now(), self.number, why, *passed))

    async def _live(self) -> None:
        now = trio.current_time()
        for each in self._of_both:
            if isinstance(each.fault, AcceptAndSayNothing) and each.is_now(now):
                each.tell("accepted, and nothing is said")
                await self._say_nothing()
        early = await self._until_open()
        try:
            self._equipment = await self._owner.dial()
        except OSError as error:
            self._not_dialled(f"{self._owner.to}: {error.strerror or error}")
            return
        self.heard_at = trio.current_time()
        ends = {
            "to-equipment": (self._host, self._equipment),
            "to-host": (self._equipment, self._host),
        }
        for direction in DIRECTIONS:
            source, sink = ends[direction]
            self._pipes[direction] = Pipe(self, direction, source, sink, self._owner.max_frame)
        self._pipes["to-equipment"].take(early)
        async with trio.open_nursery() as nursery:
            for pipe in self._pipes.values():
                nursery.start_soon(pipe.read)
                nursery.start_soon(pipe.write)
            nursery.start_soon(self._reset_in_time)

    def _not_dialled(self, why: str) -> None:
        self._owner.tell(NotDialled(self._owner.now(), self.number, why))
        self.end("not dialled", with_reset=True)

    async def _say_nothing(self) -> None:
        """Read until the host ends or is reset: that cancels this, so it does not return."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._reset_in_time)
            try:
                while await self._host.receive_some():
                    pass
            except BROKEN:
                self.end("reset")
            self.end("closed")

    async def _until_open(self) -> bytes:
        """Nobody is reached through a black hole. What the host has sent meanwhile."""
        early = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hear, early)
            nursery.start_soon(self._reset_in_time)
            now = trio.current_time()
            while acting := [each for each in self._holes() if each.is_now(now)]:
                for each in acting:
                    each.tell_once("nobody is dialled")
                await self.bell.wait(min(each.next_change(now) for each in self._holes()))
                now = trio.current_time()
            nursery.cancel_scope.cancel()
        return bytes(early)

    def _holes(self) -> list[InForce]:
        faults = self.faults["to-equipment"]
        return [each for each in faults if isinstance(each.fault, BlackHole)]

    async def _hear(self, early: bytearray) -> None:
        """It is over when the host gives up before anybody is dialled for it."""
        try:
            while len(early) < RECEIVE_SIZE:
                if not (data := await self._host.receive_some(RECEIVE_SIZE)):
                    self.end("given up by the host")
                early += data
        except BROKEN:
            self.end("reset")

    async def _reset_in_time(self) -> None:
        while True:
            now, change = trio.current_time(), math.inf
            for direction in DIRECTIONS:
                for each in self.faults[direction]:
                    match each.fault:
                        case Reset() if each.is_now(now) and self._can_reset(direction):
                            each.tell("this end is reset")
                            if self._pipes:
                                await self.reset_one(direction)
                            else:
                                self.end("reset", with_reset=True)
                        case Reset():
                            change = min(change, each.next_change(now))
                        case _:
                            pass
            for each in self._of_both:
                if isinstance(each.fault, Reset) and each.is_now(now):
                    each.tell("both ends are reset" if self._pipes else "the host is reset")
                    self.end("reset", with_reset=True)
                change = min(change, each.next_change(now))
            await self.bell.wait(change)

    def _can_reset(self, direction: Direction) -> bool:
        """Whether the end that is reached this way is there: until it is dialled, only the host."""
        if self._pipes:
            return not self._pipes[direction].is_cut_off
        return direction == "to-host"


async def _close(stream: Stream, *, with_reset: bool) -> None:
    match stream:
        case Resettable() if with_reset:
            stream.reset()
        case _:
            await trio.aclose_forcefully(stream)
