"""A reader of events for asyncio."""

from __future__ import annotations

from hsms_engine.aio.wait import wait_for
from hsms_engine.doors.held import HeldReader
from hsms_engine.driver.event_reader import E
from hsms_engine.errors import ClosedError
from hsms_engine.events import Missed


class EventReader(HeldReader[E]):
    """``async for event in link.events()``: ordered and bounded; it ends when the link is over."""

    async def receive(self) -> E | Missed:
        """The next event. Raises ``ClosedError`` when there will be no more."""
        reader = self._reader
        return await wait_for(
            self._thread,
            lambda: reader.get().receive(),
            lambda event: reader.get()._put_back(event),
        )

    def __aiter__(self) -> EventReader[E]:
        return self

    async def __anext__(self) -> E | Missed:
        try:
            return await self.receive()
        except ClosedError:
            raise StopAsyncIteration from None
