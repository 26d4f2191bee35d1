"""TCP connections out of segments, and what each of them said.

The passive end of a connection is the one that SYN was sent to; where SYN was not captured, the one
whose port is among those that were given, or else the one with the lower port.

Invariants:

* A new SYN between the same two ports is a new connection; one that comes twice is none.
* At most ``MOST_CONNECTIONS`` are followed, and their bytes that wait are at most ``MOST_BYTES``:
  the one that was silent for the longest time ends first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from hsms_engine.capture.framing import Framed, Framer
from hsms_engine.capture.layers import Segment
from hsms_engine.capture.packets import ACK, SYN, Address, Place
from hsms_engine.capture.streams import Flow, Part, difference

__all__ = ["MOST_BYTES", "MOST_CONNECTIONS", "Conversations", "Heard", "Over", "Pair"]

MOST_CONNECTIONS: Final = 4_096
MOST_BYTES: Final = 128 << 20

# SYN that comes after data is so near to the first byte that was seen.
_NEAR: Final = 1 << 20


@dataclass(slots=True)
class Pair:
    """An active end that connects, again and again, to a passive one."""

    number: int
    active: Address
    passive: Place
    connections: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """A frame, in connection ``epoch`` of a pair, from the end that is or is not active."""

    pair: Pair
    epoch: int
    active: Place
    is_from_active: bool
    framed: Framed


@dataclass(frozen=True, slots=True)
class Over:
    """A connection is followed no more.

    ``frames`` came out, ``cut`` of them without their body; ``passed_over`` has the bytes that
    are in no frame, by what they are.
    """

    source: Place
    target: Place
    frames: int
    cut: int
    passed_over: Counter[str]


@dataclass(slots=True)
class _Direction:
    flow: Flow
    framer: Framer

    def frames(self, parts: Iterator[Part]) -> Iterator[Framed]:
        for part in parts:
            yield from self.framer.take(part)

    def end(self) -> Iterator[Framed]:
        yield from self.frames(self.flow.end())
        yield from self.framer.end()

    @property
    def size(self) -> int:
        return self.flow.held_bytes + self.framer.size


@dataclass(slots=True)
class _Connection:
    first: Place
    second: Place
    # Who has sent SYN, if that was seen.
    opened_by: Place | None = None
    directions: dict[Place, _Direction] = field(default_factory=dict)
    size: int = 0
    # Once a frame has come.
    pair: Pair | None = None
    active: Place | None = None
    epoch: int = 0


class Conversations:
    """All connections of a capture. ``ports``: those of passive ends; none stands for all."""

    def __init__(self, ports: Collection[int], max_frame: int) -> None:
        self._ports = frozenset(ports)
        self._max_frame = max_frame
        # The one that was heard last is the last.
        self._connections: dict[tuple[Place, Place], _Connection] = {}
        self._pairs: dict[tuple[Address, Place], Pair] = {}
        self._size = 0

    def take(self, segment: Segment) -> Iterator[Heard | Over]:
        """One more segment, and what it brings."""
        source, target = segment.source, segment.target
        if self._ports and source.port not in self._ports and target.port not in self._ports:
            return
        key = (source, target) if (target, source) not in self._connections else (target, source)
        connection = self._connections.pop(key, None)
        if connection is not None and _is_new(connection, segment):
            yield from self._end(connection)
            connection = None
        if connection is None:
            connection = _Connection(source, target)
        self._connections[key] = connection
        yield from self._take(connection, segment)
        self._count(connection)
        while len(self._connections) > MOST_CONNECTIONS or self._size > MOST_BYTES:
            yield from self._end(self._connections.pop(next(iter(self._connections))))

    def end(self) -> Iterator[Heard | Over]:
        """Nothing more comes."""
        while self._connections:
            yield from self._end(self._connections.pop(next(iter(self._connections))))

    def _count(self, connection: _Connection) -> None:
        size = sum(each.size for each in connection.directions.values())
        self._size += size - connection.size
        connection.size = size

    def _take(self, connection: _Connection, segment: Segment) -> Iterator[Heard]:
        source = segment.source
        is_syn = bool(segment.flags & SYN)
        if is_syn:
            is_answer = bool(segment.flags & ACK)
            connection.opened_by = segment.target if is_answer else source
        # Of SYN itself there is one number.
        sequence = (segment.sequence + is_syn) % 0x1_0000_0000
        direction = connection.directions.get(source)
        if direction is None:
            if not (is_syn or segment.length):
                return
            framer = Framer(self._max_frame, is_start=is_syn, is_hsms=bool(self._ports))
            direction = _Direction(Flow(sequence, is_whole=is_syn), framer)
            connection.directions[source] = direction
        parts = direction.flow.take(segment.at, sequence, segment.payload, segment.length)
        yield from self._heard(connection, source, direction.frames(parts))
        for place, each in connection.directions.items():
            if place != source and segment.flags & ACK:
                each.flow.received(segment.acknowledged)
            waited = each.frames(each.flow.wait_until(segment.at))
            yield from self._heard(connection, place, waited)

    def _heard(
        self, connection: _Connection, source: Place, frames: Iterator[Framed]
    ) -> Iterator[Heard]:
        for framed in frames:
            if connection.pair is None or connection.active is None:
                active, passive = self._ends(connection)
                known = (active.address, passive)
                pair = self._pairs.setdefault(known, Pair(len(self._pairs) + 1, *known))
                pair.connections += 1
                connection.pair, connection.active = pair, active
                connection.epoch = pair.connections
            is_from_active = source == connection.active
            yield Heard(
                connection.pair, connection.epoch, connection.active, is_from_active, framed
            )

    def _ends(self, connection: _Connection) -> tuple[Place, Place]:
        first, second = connection.first, connection.second
        if connection.opened_by is not None:
            is_first_active = connection.opened_by == first
        elif (first.port in self._ports) != (second.port in self._ports):
            is_first_active = second.port in self._ports
        else:
            is_first_active = first.port >= second.port
        return (first, second) if is_first_active else (second, first)

    def _end(self, connection: _Connection) -> Iterator[Heard | Over]:
        for place, each in connection.directions.items():
            yield from self._heard(connection, place, each.end())
        self._size -= connection.size
        framers = [each.framer for each in connection.directions.values()]
        active, passive = self._ends(connection)
        yield Over(
            active,
            passive,
            sum(each.frames for each in framers),
            sum(each.cut for each in framers),
            sum((each.passed_over for each in framers), Counter()),
        )


def _is_new(connection: _Connection, segment: Segment) -> bool:
    """Whether a segment begins a connection in the place of the one that is known."""
    direction = connection.directions.get(segment.source)
    if not segment.flags & SYN or direction is None:
        return False
    before = difference(direction.flow.start, (segment.sequence + 1) % 0x1_0000_0000)
    return before != 0 and (direction.flow.is_whole or not 0 < before < _NEAR)
