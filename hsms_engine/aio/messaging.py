"""The calls that a connection and a link of the asyncio door share.

Each is the call of the same name in the trio API, and raises the same errors. Cancelling its task
abandons this call only: a primary or an event that was on its way is the next one again.
"""

from __future__ import annotations

from collections.abc import Callable

from hsms_engine.aio.callbacks import Callbacks, body_size
from hsms_engine.aio.events import EventReader
from hsms_engine.aio.wait import wait, wait_for
from hsms_engine.doors.call import Call
from hsms_engine.doors.held import Held, M
from hsms_engine.events import LinkEvent
from hsms_engine.message import Message
from hsms_engine.protocol.epoch import Primary
from hsms_engine.protocol.outputs import Step
from hsms_engine.protocol.traffic import Traffic


class Messaging(Held[M]):
    """The part of the API that needs a selected session."""

    async def request(self, message: Message) -> Message:
        """Send a primary with W and return its reply. T3 belongs to the protocol."""

        def begin(call: Call[Message]) -> None:
            self._thread.submit(call, lambda call: self._request(message, call))

        return await wait(self._thread, begin)

    async def send(self, message: Message) -> None:
        """Send a primary that wants no reply. Returns when it is queued, not when it is read."""

        def begin(call: Call[None]) -> None:
            self._thread.submit(call, lambda call: self._send(message, call))

        await wait(self._thread, begin)

    async def reply(self, primary: Message, reply: Message) -> None:
        """Answer a primary that was received here with W, once."""

        def begin(call: Call[None]) -> None:
            self._thread.submit(call, lambda call: self._reply(primary, reply, call))

        await wait(self._thread, begin)

    async def receive(self) -> Primary:
        """The next primary. Raises why there will be no more."""
        return await self._next(self._receive)

    async def __anext__(self) -> Primary:
        return await self._next(self._iterate)

    async def _next(self, receive: Callable[[Call[Primary]], None]) -> Primary:
        def begin(call: Call[Primary]) -> None:
            self._thread.submit(call, receive)

        return await wait(self._thread, begin, self._held._put_back)

    def events(self) -> EventReader[LinkEvent]:
        """A new reader of the events, from the present state on."""
        return EventReader(self._thread, self, self._held.events)

    def on_step(self, recorder: Callable[[Step], None]) -> None:
        """Call ``recorder`` in the running event loop for every step of the charts, in order.

        The link does not wait for it. When the loop is more than 1,000 steps behind, the oldest are
        left out, which is logged.
        """
        record = Callbacks(self._held._teller, "on_step", recorder)
        self._thread.soon(lambda: self._held.on_step(record))

    def on_message(self, callback: Callable[[Traffic], None]) -> None:
        """Call ``callback`` for every message that comes or is queued, as ``on_step`` does."""
        tell = Callbacks(
            self._held._teller, "on_message", callback, body_size, lambda: self.settings.inbox_bytes
        )
        self._thread.soon(lambda: self._held.on_message(tell))

    async def linktest(self) -> None:
        """Send Linktest.req and wait for its response."""
        await wait_for(self._thread, self._held.linktest)

    async def deselect(self) -> None:
        """Close the session and keep TCP (Deselect.req)."""
        await wait_for(self._thread, self._held.deselect)

    async def select(self) -> None:
        """Select again after a Deselect (Select.req). Only for the end that dials."""
        await wait_for(self._thread, self._held.select)

    async def aclose(self) -> None:
        """Close: Separate.req if selected, then TCP. Any number of tasks may call it."""
        await wait(self._thread, self._close)
