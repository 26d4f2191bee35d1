"""The calls that a connection and a link of the blocking door share.

Each is the call of the same name in the trio API, and raises the same errors. ``timeout`` is in
seconds; when it is over, ``TimeoutError`` is raised. That abandons this call only, as Ctrl-C does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from hsms_engine.blocking.events import EventReader
from hsms_engine.blocking.wait import now, wait, wait_for
from hsms_engine.doors.call import Call
from hsms_engine.doors.contained import contained
from hsms_engine.doors.held import Held, M
from hsms_engine.events import LinkEvent
from hsms_engine.message import Message
from hsms_engine.protocol.epoch import Primary
from hsms_engine.protocol.outputs import Step
from hsms_engine.protocol.traffic import Traffic

T = TypeVar("T")


class Messaging(Held[M]):
    """The part of the API that needs a selected session. Any number of threads may call it."""

    def request(self, message: Message, timeout: float | None = None) -> Message:
        """Send a primary with W and return its reply. T3 belongs to the protocol."""
        what = f"{self.peer}: request of {message.name}"

        def begin(call: Call[Message]) -> None:
            self._thread.submit(call, partial(self._request, message))

        return wait(self._thread, begin, what, timeout)

    def send(self, message: Message, timeout: float | None = None) -> None:
        """Send a primary that wants no reply. Returns when it is queued, not when it is read."""
        what = f"{self.peer}: send of {message.name}"

        def begin(call: Call[None]) -> None:
            self._thread.submit(call, partial(self._send, message))

        wait(self._thread, begin, what, timeout)

    def reply(self, primary: Message, reply: Message, timeout: float | None = None) -> None:
        """Answer a primary that was received here with W, once."""
        what = f"{self.peer}: reply to {primary.name}"

        def begin(call: Call[None]) -> None:
            self._thread.submit(call, partial(self._reply, primary, reply))

        wait(self._thread, begin, what, timeout)

    def receive(self, timeout: float | None = None) -> Primary:
        """The next primary. Raises why there will be no more."""
        return self._next(self._receive, timeout)

    def __next__(self) -> Primary:
        try:
            return self._next(self._iterate, None)
        except StopAsyncIteration:
            raise StopIteration from None

    def events(self) -> EventReader[LinkEvent]:
        """A new reader of the events, from the present state on."""
        return EventReader(self._thread, self, self._held.events)

    def on_step(self, recorder: Callable[[Step], None]) -> None:
        """Call ``recorder`` for every step of the charts, in the trio thread.

        It must not wait, and no call of this door is possible in it.
        """
        now(self._thread, partial(self._held.on_step, contained(recorder)))

    def on_message(self, callback: Callable[[Traffic], None]) -> None:
        """Call ``callback`` for every message that comes or is queued, as ``on_step`` does."""
        now(self._thread, partial(self._held.on_message, contained(callback)))

    def linktest(self, timeout: float | None = None) -> None:
        """Send Linktest.req and wait for its response."""
        self._wait(self._held.linktest, "linktest", timeout)

    def deselect(self, timeout: float | None = None) -> None:
        """Close the session and keep TCP (Deselect.req)."""
        self._wait(self._held.deselect, "deselect", timeout)

    def select(self, timeout: float | None = None) -> None:
        """Select again after a Deselect (Select.req). Only for the end that dials."""
        self._wait(self._held.select, "select", timeout)

    def close(self, timeout: float | None = None) -> None:
        """Close: Separate.req if selected, then TCP. Any number of threads may call it."""
        wait(self._thread, self._close, f"{self.peer}: close", timeout)

    def _next(self, receive: Callable[[Call[Primary]], None], timeout: float | None) -> Primary:
        def begin(call: Call[Primary]) -> None:
            self._thread.submit(call, receive)

        what = f"{self.peer}: the next primary"
        return wait(self._thread, begin, what, timeout, self._held._put_back)

    def _wait(self, call: Callable[[], Awaitable[T]], what: str, timeout: float | None) -> T:
        return wait_for(self._thread, call, f"{self.peer}: {what}", timeout)
