"""What a fleet asks of a store beside leases: streams of entries, and who is there.

``Streams`` is all of it, so another store is another implementation of its calls. ``MemoryStreams``
is that of one machine and of tests; ``hsms_engine.fleet.redis`` has that of Redis and Valkey.

A stream is a list of entries that only grows at its end, and is cut at its beginning. Its entries
have ids, which grow. Whoever may write in the store may have written them: nothing in an entry is
trusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Protocol

import trio

from hsms_engine.errors import LeaseError

__all__ = [
    "BEGINNING", "Attendance", "Entry", "MemoryStreams", "Member", "NewEntry", "Streams",
]  # fmt: skip

BEGINNING: Final = "0-0"
"""The id before all others."""

Fields = Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Entry:
    """What is in a stream. Nothing of it is trusted, but ``id`` is one."""

    id: str
    fields: Fields

    @property
    def written_at(self) -> float:
        """When, by the store's clock, in seconds."""
        return int(self.id.partition("-")[0]) / 1000


@dataclass(frozen=True, slots=True)
class NewEntry:
    """What is to be appended to ``stream``, which then keeps about ``longest`` entries.

    ``lasts``: the stream is removed when so many seconds have passed without another entry.
    """

    stream: str
    fields: Fields
    longest: int
    lasts: float | None = None

    @property
    def size(self) -> int:
        """In bytes, about."""
        return _OVERHEAD + sum(len(key) + len(value) for key, value in self.fields.items())


@dataclass(frozen=True, slots=True)
class Member:
    """A process of a fleet. ``life`` is another for each that has had its name.

    ``limit``: the most tools that it takes. ``digest``: of the names of the tools that it knows.
    """

    name: str
    life: str
    limit: int | None = None
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Attendance:
    """Who is there, by name, and what the store's clock says, in seconds.

    ``is_taken``: a process of another life has the name, and we are not there yet.
    """

    now: float
    members: tuple[Member, ...]
    is_taken: bool = False


class Streams(Protocol):
    """Streams, and a list of those that are there. A call may be cancelled, and then may be done.

    Each call raises ``LeaseError`` when the store does not answer, or answers what it cannot mean.
    Calls may run side by side.
    """

    @property
    def prefix(self) -> str:
        """What the names of all streams of a fleet begin with."""
        ...

    async def now(self) -> float:
        """What the clock says that gives the ids, in seconds."""
        ...

    async def append(self, entries: Sequence[NewEntry]) -> Sequence[str | LeaseError]:
        """Append each to its stream, in order: its id, or why this one was not.

        When the call raises, some may be appended.
        """
        ...

    async def read(
        self, after: Mapping[str, str], most: int, patience: float
    ) -> Mapping[str, Sequence[Entry]]:
        """What follows these ids in their streams: of each at most ``most`` entries.

        Waits at most ``patience`` seconds until there is one in one of them.
        """
        ...

    async def latest(self, stream: str) -> Entry | None:
        """The last entry of a stream, if there is one."""
        ...

    async def remove(self, stream: str, entry: str) -> None:
        """Remove an entry by its id, if it is there."""
        ...

    async def attend(self, member: Member, lasts: float) -> Attendance:
        """Be there for ``lasts`` seconds from now, unless another life has the name."""
        ...

    async def leave(self, member: Member) -> None:
        """Be there no more."""
        ...


# What an entry takes in a store beside its fields, in bytes, about.
_OVERHEAD: Final = 64


@dataclass(slots=True)
class _Stream:
    entries: dict[str, Entry] = field(default_factory=dict)
    ends_at: float | None = None


class MemoryStreams:
    """Streams in the memory of one process, in one event loop; time is trio's."""

    def __init__(self, prefix: str = "hsms") -> None:
        self._prefix = prefix
        self._streams: dict[str, _Stream] = {}
        # Milliseconds, and a number within one.
        self._last = (0, 0)
        self._members: dict[str, tuple[Member, float]] = {}
        self._news = trio.Event()

    @property
    def prefix(self) -> str:
        """What the names of all streams begin with."""
        return self._prefix

    async def now(self) -> float:
        """Trio's clock, in seconds."""
        await trio.lowlevel.checkpoint()
        return trio.current_time()

    async def append(self, entries: Sequence[NewEntry]) -> Sequence[str | LeaseError]:
        """Append each to its stream: its id. It never fails."""
        await trio.lowlevel.checkpoint()
        now = trio.current_time()
        ids: list[str] = []
        for new in entries:
            self._last = max((int(now * 1000), 0), (self._last[0], self._last[1] + 1))
            given = f"{self._last[0]}-{self._last[1]}"
            if (stream := self._stream(new.stream, now)) is None:
                stream = self._streams[new.stream] = _Stream()
            stream.entries[given] = Entry(given, dict(new.fields))
            for oldest in [*islice(stream.entries, max(0, len(stream.entries) - new.longest))]:
                del stream.entries[oldest]
            if new.lasts is not None:
                stream.ends_at = now + new.lasts
            ids.append(given)
        self._news.set()
        self._news = trio.Event()
        return ids

    async def read(
        self, after: Mapping[str, str], most: int, patience: float
    ) -> Mapping[str, Sequence[Entry]]:
        """What follows these ids; waits at most ``patience`` seconds until there is one."""
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(patience):
            while not (found := self._after(after, most)):
                await self._news.wait()
        return found

    def _after(self, after: Mapping[str, str], most: int) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = {}
        for name, last in after.items():
            stream = self._stream(name, trio.current_time())
            entries = [] if stream is None else stream.entries.values()
            newer = [each for each in entries if _order(each.id) > _order(last)]
            if newer:
                found[name] = newer[:most]
        return found

    async def latest(self, stream: str) -> Entry | None:
        """The last entry of a stream, if there is one."""
        await trio.lowlevel.checkpoint()
        found = self._stream(stream, trio.current_time())
        return None if found is None else next(reversed(found.entries.values()), None)

    async def remove(self, stream: str, entry: str) -> None:
        """Remove an entry by its id, if it is there."""
        await trio.lowlevel.checkpoint()
        found = self._stream(stream, trio.current_time())
        if found is not None:
            found.entries.pop(entry, None)

    async def attend(self, member: Member, lasts: float) -> Attendance:
        """Be there for ``lasts`` seconds from now, unless another life has the name."""
        await trio.lowlevel.checkpoint()
        now = trio.current_time()
        self._members = {
            name: (each, until) for name, (each, until) in self._members.items() if until > now
        }
        there = self._members.get(member.name)
        is_taken = there is not None and there[0].life != member.life
        if not is_taken:
            self._members[member.name] = member, now + lasts
        return Attendance(now, tuple(each for each, _ in self._members.values()), is_taken)

    async def leave(self, member: Member) -> None:
        """Be there no more."""
        await trio.lowlevel.checkpoint()
        there = self._members.get(member.name)
        if there is not None and there[0].life == member.life:
            del self._members[member.name]

    def _stream(self, name: str, now: float) -> _Stream | None:
        stream = self._streams.get(name)
        if stream is not None and stream.ends_at is not None and stream.ends_at <= now:
            del self._streams[name]
            return None
        return stream


def _order(entry: str) -> tuple[int, int]:
    milliseconds, _, number = entry.partition("-")
    return int(milliseconds), int(number)
