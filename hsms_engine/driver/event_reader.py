"""One reader of a link's events: a bounded queue that reports how many events were dropped."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

from hsms_engine.events import LinkEvent, Missed, UnexpectedSecondary
from hsms_engine.settings import Settings


def _bytes_in(event: LinkEvent) -> int:
    return len(event.message.body) if isinstance(event, UnexpectedSecondary) else 0


class EventReader:
    """One reader of a link's events: ordered and bounded; ``Missed`` says how many were dropped.

    At most ``events_size`` events wait, with ``inbox_bytes`` bytes of messages in them, by the
    settings in force at that time. Beyond that the oldest are dropped.
    """

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._waiting: deque[LinkEvent] = deque()
        # The bytes of messages in the events that wait.
        self._held = 0
        self._missed = 0
        self._news = trio.lowlevel.ParkingLot()
        self._ended = False

    def put(self, event: LinkEvent) -> None:
        """Queue an event that has happened."""
        self._held += _bytes_in(event)
        self._waiting.append(event)
        settings = self._settings()
        while len(self._waiting) > settings.events_size or (
            self._held > settings.inbox_bytes and len(self._waiting) > 1
        ):
            self._take()
            self._missed += 1
        self._news.unpark_all()

    def _take(self) -> LinkEvent:
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

    def __aiter__(self) -> EventReader:
        return self

    async def __anext__(self) -> LinkEvent:
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            if self._ended:
                raise StopAsyncIteration
            await self._news.park()
        if self._missed:
            first, missed = self._waiting[0], self._missed
            self._missed = 0
            return Missed(first.at, first.epoch, missed)
        return self._take()
