"""When a link was where, and how much it said then, in a fixed amount of memory.

A time line has at most ``MOST`` equal buckets. When more are needed, each two become one, so it is
coarser the longer it is.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final, NamedTuple

MOST: Final = 512
FIRST_WIDTH: Final = 0.125
"""The seconds of a bucket of a time line that has just begun."""

# A set of states is one whole number of 64 bits; the last stands for all further states.
_BITS: Final = 64
_OTHERS: Final = "others"


class Band(NamedTuple):
    """A state from one time to another; mixed: it changed more often than can be shown."""

    begin: float
    end: float
    state: str
    is_mixed: bool


class Tick(NamedTuple):
    """How many messages there were in a bucket that begins at ``wall``."""

    wall: float
    sent: int
    received: int


class _Lane:
    """The states of one chart: in each bucket which there were, and which was the last."""

    __slots__ = ("_last", "_names", "_seen")

    def __init__(self) -> None:
        self._names: list[str] = []
        self._seen = array("Q")
        self._last = array("B")

    def put(self, bucket: int, state: str) -> None:
        names = self._names
        if state not in names:
            if len(names) >= _BITS - 1:
                state = _OTHERS
            if state not in names:
                names.append(state)
        number = names.index(state)
        self._extend(bucket)
        self._seen[bucket] |= 1 << number
        self._last[bucket] = number

    def halve(self) -> None:
        if len(self._seen) % 2:
            self._extend(len(self._seen))
        pairs = range(0, len(self._seen), 2)
        last = self._last
        self._last = array("B", (last[at + 1] if self._seen[at + 1] else last[at] for at in pairs))
        self._seen = array("Q", (self._seen[at] | self._seen[at + 1] for at in pairs))

    def bands(self, began: float, width: float, end: float) -> Iterator[Band]:
        now: Band | None = None
        for bucket, seen in enumerate(self._seen):
            if not seen:
                continue
            wall = began + bucket * width
            state = self._names[self._last[bucket]]
            is_mixed = bool(seen & (seen - 1))
            if now is not None and now.state == state and not (is_mixed or now.is_mixed):
                continue
            if now is not None:
                yield now._replace(end=wall)
            now = Band(wall, end, state, is_mixed)
            if is_mixed and wall + width < end:
                yield now._replace(end=wall + width)
                now = Band(wall + width, end, state, False)
        if now is not None:
            yield now

    def _extend(self, bucket: int) -> None:
        missing = bucket + 1 - len(self._seen)
        if missing > 0:
            self._seen.frombytes(bytes(8 * missing))
            self._last.frombytes(bytes(missing))


class Timeline:
    """The states of the connection, of the breaker and of the lease, and the messages.

    It begins at ``began`` (UTC).

    What is older than ``began`` counts as then. Times do not go back.
    """

    __slots__ = ("_breaker", "_connection", "_lease", "_messages", "began", "width")

    def __init__(self, began: float, width: float = FIRST_WIDTH) -> None:
        self.began = began
        self.width = width
        self._connection, self._breaker, self._lease = _Lane(), _Lane(), _Lane()
        # Of each direction, whether sent.
        self._messages = {True: array("L"), False: array("L")}

    def message(self, wall: float, *, sent: bool) -> None:
        """A message went over the wire."""
        bucket = self._bucket(wall)
        counts = self._messages[sent]
        missing = bucket + 1 - len(counts)
        if missing > 0:
            counts.frombytes(bytes(counts.itemsize * missing))
        counts[bucket] += 1

    def connection(self, wall: float, state: str) -> None:
        """The connection is in this state from now on."""
        self._connection.put(self._bucket(wall), state)

    def breaker(self, wall: float, state: str) -> None:
        """The breaker is in this state from now on."""
        self._breaker.put(self._bucket(wall), state)

    def lease(self, wall: float, state: str) -> None:
        """The lease of the tool is in this state from now on."""
        self._lease.put(self._bucket(wall), state)

    def connection_bands(self, end: float) -> list[Band]:
        """The states of the connection, in order, the last until ``end``."""
        return list(self._connection.bands(self.began, self.width, end))

    def breaker_bands(self, end: float) -> list[Band]:
        """The states of the breaker, in order, the last until ``end``."""
        return list(self._breaker.bands(self.began, self.width, end))

    def lease_bands(self, end: float) -> list[Band]:
        """The states of the lease, in order, the last until ``end``; none without a lease."""
        return list(self._lease.bands(self.began, self.width, end))

    def ticks(self) -> list[Tick]:
        """The messages of each bucket that has some, in order."""
        sent, received = self._messages[True], self._messages[False]
        found = []
        for bucket in range(max(len(sent), len(received))):
            counts = [each[bucket] if bucket < len(each) else 0 for each in (sent, received)]
            if any(counts):
                found.append(Tick(self.began + bucket * self.width, *counts))
        return found

    def _bucket(self, wall: float) -> int:
        while (bucket := int(max(wall - self.began, 0.0) / self.width)) >= MOST:
            self.width *= 2
            self._connection.halve()
            self._breaker.halve()
            self._lease.halve()
            for sent, counts in self._messages.items():
                odd = counts[1::2]
                odd.frombytes(bytes(odd.itemsize * (len(counts) % 2)))
                pairs = zip(counts[::2], odd, strict=True)
                self._messages[sent] = array("L", (first + second for first, second in pairs))
        return bucket
