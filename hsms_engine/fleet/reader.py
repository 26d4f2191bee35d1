"""Reading what a fleet publishes of a tool: in order, once, with the gaps told.

Invariants:

* What an owner has published in one epoch comes in the order of its numbers, each once.
* Where a number is missing, or may be missing because an owner has not said that it had published
  all, a ``Gap`` comes before what follows.
* Nothing that is read ends the reading: what is no entry of a fleet is ``Unreadable``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import trio

from hsms_engine.driver.loop import expect_trio
from hsms_engine.errors import LeaseError, LeaseSetupError
from hsms_engine.fleet.forms import (
    Mark,
    UnreadableError,
    read_event,
    read_mark,
    read_message,
)
from hsms_engine.fleet.store import FleetStore, open_streams
from hsms_engine.fleet.streams import BEGINNING, Entry, Streams
from hsms_engine.fleet.tools import expect_name
from hsms_engine.message import Message
from hsms_engine.protocol.leasing import LeaseTimes
from statecharts.hsms.timers import RENEWAL_RETRY

__all__ = [
    "FleetStream",
    "Gap",
    "Published",
    "PublishedEvent",
    "Unreadable",
    "fleet_stream",
    "stream_name",
]

Of = Literal["primary", "event"]

# How many entries are asked for at once.
_MOST: Final = 100
# How long one call waits for them, in seconds.
_PATIENCE: Final = 5.0
# How many epochs are known, the latest ones: owners that are over publish what waited.
_EPOCHS: Final = 16


@dataclass(frozen=True, slots=True)
class At:
    """The base of all that is read. ``id`` is that of its entry: to go on ``after`` it."""

    id: str
    tool: str


@dataclass(frozen=True, slots=True)
class Published(At):
    """A primary of the tool. ``number`` counts what its owner has published in this ``epoch``."""

    epoch: int
    number: int
    owner: str
    message: Message


@dataclass(frozen=True, slots=True)
class PublishedEvent(At):
    """An event of the link of the tool: the name of its class, and what it has.

    An error is its text, a message its name; a time is of the owner's own clock.
    """

    epoch: int
    number: int
    owner: str
    event: str
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Gap(At):
    """Before what comes next, ``missing`` entries were lost. None: perhaps some.

    That is so when the stream was cut at its beginning, when the outbox of the owner was full, or
    when the owner before this ``epoch`` has not said that it had published all.
    """

    epoch: int
    missing: int | None


@dataclass(frozen=True, slots=True)
class Unreadable(At):
    """Somebody has written this entry that is none of a fleet: ``why``."""

    why: str


Read = Published | PublishedEvent | Gap | Unreadable


def stream_name(prefix: str, tool: str, of: Of | Literal["request", "reply"]) -> str:
    """``hsms.ETCHER-1.primary``."""
    return f"{prefix}.{tool}.{of}"


class Order:
    """What follows from each entry of one stream, in order, after ``last``. Pure."""

    def __init__(self, tool: str, last: Published | PublishedEvent | None = None) -> None:
        self._tool = tool
        # By epoch, the latest number, and whether its owner had published all.
        self._epochs: dict[int, tuple[int, bool]] = {}
        if last is not None:
            self._epochs[last.epoch] = last.number, False
        self.repeats = 0
        """How many entries came that had been read."""

    def take(self, entry: Entry) -> Iterator[Read]:
        try:
            yield from self._take(entry)
        except UnreadableError as error:
            yield Unreadable(entry.id, self._tool, str(error))

    def _take(self, entry: Entry) -> Iterator[Read]:
        mark = read_mark(entry.fields)
        read = self._content(entry, mark)
        last, _ = self._epochs.get(mark.epoch, (0, False))
        if read is not None and mark.number <= last:
            self.repeats += 1
            return
        yield from self._gaps(entry.id, mark, last)
        self._epochs[mark.epoch] = max(last, mark.number), mark.kind == "over"
        # By when each was first seen, not by its number: anybody may have written a high one.
        for oldest in [*self._epochs][:-_EPOCHS]:
            del self._epochs[oldest]
        if read is not None:
            yield read

    def _content(self, entry: Entry, mark: Mark) -> Published | PublishedEvent | None:
        at = entry.id, self._tool, mark.epoch, mark.number, mark.owner
        match mark.kind:
            case "primary":
                return Published(*at, read_message(entry.fields))
            case "event":
                return PublishedEvent(*at, *read_event(entry.fields))
            case _:
                return None

    def _gaps(self, entry: str, mark: Mark, last: int) -> Iterator[Gap]:
        epoch = mark.epoch
        if mark.epoch not in self._epochs and self._epochs:
            newest = max(self._epochs)
            _, is_over = self._epochs[newest]
            if epoch != newest + 1 or not is_over:
                yield Gap(entry, self._tool, epoch, None)
        # Of ``over`` its number is that of the last one before.
        missing = mark.number - last - (mark.kind != "over")
        if missing > 0:
            # The first one that is read may be in the midst of an epoch.
            known = missing if epoch in self._epochs or self._epochs else None
            yield Gap(entry, self._tool, epoch, known)


class FleetStream:
    """``async for read in FleetStream(streams, "ETCHER-1")``: the primaries of a tool, and gaps.

    ``of="event"`` reads the events of its link. What follows ``after`` is read: that is what was
    read last, or the id of an entry, and then it is not known what is missing before the first one.
    ``"0-0"``: all that the stream has; None: what is appended from now on.

    It never ends by itself. While the store does not answer it is asked again each ``pause``
    seconds, and ``error`` says why; raises ``LeaseSetupError`` when somebody must change something.
    """

    def __init__(
        self,
        streams: Streams,
        tool: str,
        of: Of = "primary",
        *,
        after: Published | PublishedEvent | str | None = BEGINNING,
        pause: float = 1.0,
    ) -> None:
        expect_name("a tool", tool)
        self._streams = streams
        self._name = stream_name(streams.prefix, tool, of)
        self._pause = pause
        match after:
            case Published() | PublishedEvent():
                self._after: str | None = after.id
                self._order = Order(tool, after)
            case _:
                self._after, self._order = after, Order(tool)
        self._waiting: deque[Read] = deque()
        self.error: LeaseError | None = None
        """Why the store did not answer last; None: it did."""

    @property
    def repeats(self) -> int:
        """How many entries came again, and were passed over."""
        return self._order.repeats

    def __aiter__(self) -> FleetStream:
        return self

    async def __anext__(self) -> Read:
        """The next one. When cancelled, none is lost."""
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            try:
                await self._more()
                self.error = None
            except LeaseSetupError:
                raise
            except LeaseError as error:
                self.error = error
                await trio.sleep(self._pause)
        return self._waiting.popleft()

    async def _more(self) -> None:
        after = self._after
        if after is None:
            latest = await self._streams.latest(self._name)
            after = self._after = BEGINNING if latest is None else latest.id
        found = await self._streams.read({self._name: after}, _MOST, _PATIENCE)
        for entry in found.get(self._name, ()):
            self._waiting.extend(self._order.take(entry))
            self._after = entry.id


@asynccontextmanager
async def fleet_stream(
    store: FleetStore,
    tool: str,
    of: Of = "primary",
    *,
    after: Published | PublishedEvent | str | None = BEGINNING,
    streams: Streams | None = None,
) -> AsyncIterator[FleetStream]:
    """Read what the fleet that has this store publishes of a tool, in any process.

    ::

        async with fleet_stream(store, "ETCHER-1") as stream:
            async for read in stream:
                match read: ...

    The words are those of ``FleetStream``.
    """
    expect_trio("fleet_stream()", has_others=False)
    async with open_streams(store, streams, has_leases=False) as opened:
        pause = LeaseTimes(store.duration).seconds(RENEWAL_RETRY.id)
        yield FleetStream(opened, tool, of, after=after, pause=pause)
