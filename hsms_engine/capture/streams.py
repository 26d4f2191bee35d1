"""The bytes of one direction of a TCP connection, in order, out of the segments that were captured.

Segments may come in any order, twice, overlapping, cut by the capture, or not at all; sequence
numbers wrap. Of bytes that came twice the first ones count.

Invariants:

* What comes out is in the order of the stream, and each byte of it once.
* What is known to be missing comes out as a number of bytes, at its place.
* Segments that wait for one before them are at most ``MOST_HELD`` bytes, with what Python needs for
  each.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Final

__all__ = ["CUT", "JUMP", "LOST", "MOST_HELD", "OVERHEAD", "Flow", "Part", "difference"]

MOST_HELD: Final = 4 << 20
OVERHEAD: Final = 256
"""The bytes of memory that a piece of the stream takes beside its own, or fewer."""

LOST: Final = "not captured"
CUT: Final = "cut by the capture's length limit"
JUMP: Final = "sequence numbers that jump"

# No window of TCP is as large as this; beyond it a number belongs to nothing that was seen.
_FAR: Final = 1 << 26
_NANOSECONDS: Final = 1_000_000_000
# How long a segment is waited for whose receiver has it, and one whose receiver may lack it.
_WHEN_RECEIVED: Final = 1 * _NANOSECONDS
_WHEN_OPEN: Final = 60 * _NANOSECONDS

_OFFSET: Final = attrgetter("offset")


def difference(one: int, other: int) -> int:
    """How far sequence number ``one`` is after ``other``; negative when it is before."""
    return (one - other + 0x8000_0000) % 0x1_0000_0000 - 0x8000_0000


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the stream: ``data``, and after it ``missing`` bytes, and ``why`` they are.

    ``at`` is when it came, in nanoseconds since 1970. ``begins`` says that a segment began with it.
    ``is_break``: what follows is at no known distance.
    """

    at: int
    data: bytes
    missing: int = 0
    why: str = ""
    begins: bool = False
    is_break: bool = False


@dataclass(frozen=True, slots=True)
class _Held:
    """A segment from ``offset`` of the stream on."""

    offset: int
    at: int
    data: bytes
    length: int


class Flow:
    """One direction. ``start`` is the sequence number of its first byte.

    ``is_whole`` says whether that is where the connection began.
    """

    def __init__(self, start: int, *, is_whole: bool) -> None:
        self.start = start
        self.is_whole = is_whole
        # The sequence number that ``_next`` has, the place of the next byte in the stream.
        self._sequence = start
        self._next = 0
        self._held: list[_Held] = []
        self._waits_since = 0
        self._is_received = False
        self.held_bytes = 0

    def take(self, at: int, sequence: int, data: bytes, length: int) -> Iterator[Part]:
        """A segment of ``length`` bytes, of which ``data`` was captured, and what it completes."""
        if not length:
            return
        ahead = difference(sequence, self._sequence)
        if not -_FAR < ahead < _FAR:
            yield from self.end()
            yield Part(at, b"", why=JUMP, is_break=True)
            self._sequence, ahead = sequence, 0
        segment = _Held(self._next + ahead, at, data, length)
        if ahead > 0:
            self._hold(segment)
        else:
            yield from self._pass_on(segment)
            yield from self._pass_on_held(at)
        while self.held_bytes > MOST_HELD:
            yield from self._give_up()

    def received(self, acknowledged: int) -> None:
        """The receiver says that it has all before this sequence number."""
        if self._held and difference(acknowledged, self._sequence) > 0:
            self._is_received = True

    def wait_until(self, now: int) -> Iterator[Part]:
        """What is waited for in vain is missing from now on."""
        patience = _WHEN_RECEIVED if self._is_received else _WHEN_OPEN
        if self._held and now - self._waits_since > patience:
            yield from self._give_up()

    def end(self) -> Iterator[Part]:
        """Nothing more comes."""
        while self._held:
            yield from self._give_up()

    def _hold(self, segment: _Held) -> None:
        if not self._held:
            self._waits_since, self._is_received = segment.at, False
        place = bisect_left(self._held, segment.offset, key=_OFFSET)
        if place < len(self._held):
            other = self._held[place]
            if other.offset == segment.offset and len(other.data) >= len(segment.data):
                return
        self._held.insert(place, segment)
        self.held_bytes += len(segment.data) + OVERHEAD

    def _give_up(self) -> Iterator[Part]:
        """What stands before the first held segment is missing."""
        first = self._held[0]
        gap = first.offset - self._next
        self._advance(gap)
        yield Part(first.at, b"", gap, LOST)
        yield from self._pass_on_held(first.at)
        if self._held:
            self._waits_since, self._is_received = self._held[0].at, False

    def _pass_on_held(self, at: int) -> Iterator[Part]:
        done = 0
        for each in self._held:
            if each.offset > self._next:
                break
            done += 1
            self.held_bytes -= len(each.data) + OVERHEAD
            yield from self._pass_on(replace(each, at=max(at, each.at)))
        del self._held[:done]

    def _pass_on(self, segment: _Held) -> Iterator[Part]:
        known = self._next - segment.offset
        if segment.length <= known:
            return
        data = segment.data[known:]
        missing = segment.length - known - len(data)
        self._advance(segment.length - known)
        yield Part(segment.at, data, missing, CUT if missing else "", begins=not known)

    def _advance(self, count: int) -> None:
        self._next += count
        self._sequence = (self._sequence + count) % 0x1_0000_0000
