"""One reader of events: a bounded queue that reports how many events were dropped."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

import trio

from hsms_engine.driver.loop import HasSettings, Loop
from hsms_engine.driver.lot import Lot
from hsms_engine.errors import ClosedError
from hsms_engine.events import Happened, Missed, UnexpectedSecondary

E = TypeVar("E", bound=Happened)


class Told(HasSettings, Protocol):
    """What events are told of. ``peer`` is its name, for people."""

    @property
    def peer(self) -> str: ...


def _bytes_in(event: Happened) -> int:
    return len(event.message.body) if isinstance(event, UnexpectedSecondary) else 0


class EventReader(Generic[E]):
    """One reader of events: ordered and bounded; ``Missed`` says how many were dropped.

    At most ``events_size`` events wait, with ``inbox_bytes`` bytes of messages in them, by the
    settings in force at that time. Beyond that the oldest are dropped. ``of`` is whose events they
    are.
    """

    __slots__ = (
        "__weakref__",
        "_ended",
        "_held",
        "_loop",
        "_missed",
        "_news",
        "_of",
        "_present",
        "_returned",
        "_waiting",
    )

    def __init__(self, loop: Loop, of: Told) -> None:
        self._loop = loop
        self._of = of
        self._waiting: deque[E] = deque()
        # How many events of these told the present state when it began.
        self._present = 0
        # What was taken and put back, the earliest first.
        self._returned: list[E | Missed] = []
        # The bytes of messages in the events that wait.
        self._held = 0
        self._missed = 0
        self._news = Lot()
        self._ended = False

    def __repr__(self) -> str:
        return f"<EventReader {self._of.peer}>"

    def _begin(self, present: Iterable[E]) -> None:
        """Queue the events that tell the present state."""
        for event in present:
            self.put(event)
        self._present = len(self._waiting)

    def _skip_present(self) -> None:
        """Drop the present state with which it began. To be called before the first ``receive``."""
        for _ in range(self._present):
            self._take()

    def put(self, event: E) -> None:
        """Queue an event that has happened."""
        self._held += _bytes_in(event)
        self._waiting.append(event)
        settings = self._of.settings
        while len(self._waiting) > settings.events_size or (
            self._held > settings.inbox_bytes and len(self._waiting) > 1
        ):
            self._take()
            self._missed += 1
        self._news.unpark_all()

    def _put_back(self, event: E | Missed) -> None:
        """The program could not take this one, which comes again before all that wait."""
        earlier = sum(each.at <= event.at for each in self._returned)
        self._returned.insert(earlier, event)
        self._news.unpark_all()

    def _take(self) -> E:
        event = self._waiting.popleft()
        self._held -= _bytes_in(event)
        return event

    def miss(self) -> None:
        """Count an event that was not queued."""
        self._missed += 1

    def close(self) -> None:
        """No more events will come; those that wait can still be read."""
        self._ended = True
        self._news.unpark_all()

    def __aiter__(self) -> EventReader[E]:
        return self

    async def __anext__(self) -> E | Missed:
        try:
            return await self.receive()
        except ClosedError:
            raise StopAsyncIteration from None

    async def receive(self) -> E | Missed:
        """The next event. When cancelled, none is lost.

        Raises ``ClosedError`` when there will be no more.
        """
        self._loop.check_task(self, "receive()")
        await trio.lowlevel.checkpoint()
        while not (self._waiting or self._returned):
            if self._ended:
                raise ClosedError(f"{self._of.peer}: there are no more events: it is closed")
            await self._news.park()
        if self._returned:
            return self._returned.pop(0)
        if self._missed:
            first, missed = self._waiting[0], self._missed
            self._missed = 0
            return Missed(first.at, first.epoch, missed)
        return self._take()
