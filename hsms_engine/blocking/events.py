"""A reader of events for threads."""

from __future__ import annotations

from hsms_engine.blocking.wait import wait_for
from hsms_engine.doors.held import HeldReader
from hsms_engine.driver.event_reader import E
from hsms_engine.errors import ClosedError
from hsms_engine.events import Missed


class EventReader(HeldReader[E]):
    """``for event in link.events()``: ordered and bounded; the loop ends when the link is over."""

    def receive(self, timeout: float | None = None) -> E | Missed:
        """The next event. Raises ``ClosedError`` when there will be no more."""
        reader = self._reader
        return wait_for(
            self._thread,
            lambda: reader.get().receive(),
            f"{self!r}: receive",
            timeout,
            lambda event: reader.get()._put_back(event),
        )

    def __iter__(self) -> EventReader[E]:
        return self

    def __next__(self) -> E | Missed:
        try:
            return self.receive()
        except ClosedError:
            raise StopIteration from None
