"""A fault since it was set, and the times at which it is in force on one connection."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

import trio

from hsms_engine.proxy.faults import AcceptAndSayNothing as SayNothing
from hsms_engine.proxy.faults import (
    Direction,
    Drop,
    DropFrame,
    Fault,
    FrameFault,
    InsertFrame,
    Refuse,
)
from hsms_engine.proxy.patterns import matches
from hsms_engine.wire import Frame

ROOM: Final = 1_048_576
"""How many bytes may wait in one direction, and how many a fault may keep for later."""

Tell = Callable[[Fault, str, str | None], None]
"""Tells that a fault has acted: the fault, what was done, and the name of the frame."""


class Bell:
    """Wakes all that wait for a change."""

    def __init__(self) -> None:
        self._rung = trio.Event()

    def ring(self) -> None:
        """Something has changed."""
        rung, self._rung = self._rung, trio.Event()
        rung.set()

    async def wait(self, until: float = math.inf) -> None:
        """Wait for the next ring, at most until this time."""
        with trio.CancelScope(deadline=until):
            await self._rung.wait()


@dataclass(slots=True, eq=False)
class Armed:
    """One fault, from when it was set (a time of trio's clock) until others are set."""

    fault: Fault
    # Its place among the faults, which its random numbers depend on.
    index: int
    since: float
    # How many frames have matched, over all connections.
    matched: int = 0
    # Frames to be sent once more on a later connection: of each connection and each way.
    _kept: dict[tuple[int, Direction], list[bytes]] = field(default_factory=dict)
    _kept_bytes: int = 0

    def keep(self, connection: int, direction: Direction, data: bytes) -> bool:
        """Keep a frame for the next connection, if there is room for it."""
        has_room = self._kept_bytes + len(data) <= ROOM
        if has_room:
            self._kept_bytes += len(data)
            self._kept.setdefault((connection, direction), []).append(data)
        return has_room

    def take_kept(self, connection: int, direction: Direction) -> list[tuple[int, bytes]]:
        """What earlier connections have left for this one, each with its connection's number."""
        earlier = [each for each in self._kept if each[0] < connection and each[1] == direction]
        taken = [(each[0], data) for each in earlier for data in self._kept.pop(each)]
        self._kept_bytes -= sum(len(data) for _, data in taken)
        return taken

    def covers(self, connection: int) -> bool:
        """Whether it is for this connection."""
        first, last = self.fault.connections
        return first <= connection and (last is None or connection <= last)

    def window(self, accepted: float) -> tuple[float, float]:
        """From when until when it is in force on a connection that was accepted at this time."""
        begins = self.since + self.fault.at
        match self.fault:
            case Refuse() | SayNothing():
                pass
            case fault:
                begins = max(begins, max(accepted, self.since) + fault.after)
        lasting = self.fault.lasting
        return begins, math.inf if lasting is None else begins + lasting


class InForce:
    """A fault on one connection, or in one direction of it."""

    def __init__(self, armed: Armed, accepted: float, random: Random, tell: Tell) -> None:
        self.armed = armed
        self.fault = armed.fault
        self._begins, self._ends = armed.window(accepted)
        self.random = random
        self._tell = tell
        # Whether what lasts has been told.
        self._is_told = False

    def is_now(self, now: float) -> bool:
        """Whether it is in force at this time."""
        return self._begins <= now < self._ends

    def next_change(self, now: float) -> float:
        """When it comes into force or ends, after this time."""
        return min((each for each in (self._begins, self._ends) if each > now), default=math.inf)

    def tell(self, what: str, frame: str | None = None) -> None:
        """It has acted."""
        self._tell(self.fault, what, frame)

    def tell_once(self, what: str) -> None:
        """It has begun to act, and will go on."""
        if not self._is_told:
            self._is_told = True
            self.tell(what)

    def tell_over(self, what: str) -> None:
        """It does not act any more, if it did."""
        if self._is_told:
            self._is_told = False
            self.tell(what)

    def takes(self, fault: FrameFault, head: Frame) -> bool:
        """Whether it acts on the frame with this header, which is counted if it matches."""
        match fault:
            case Drop(share=share):
                return self._draws(share)
            case InsertFrame(before=pattern) | DropFrame(pattern=pattern):
                pass
            case other:
                pattern = other.pattern
        if not matches(pattern, head):
            return False
        self.armed.matched += 1
        return (
            fault.nth in (None, self.armed.matched)
            and self.armed.matched % fault.every == 0
            and self._draws(fault.chance)
        )

    def _draws(self, chance: float) -> bool:
        return chance >= 1 or self.random.random() < chance
