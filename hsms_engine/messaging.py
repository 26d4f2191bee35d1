"""The calls that a connection and a link share: requests, replies, primaries, and a graceful close.

Errors are sorted by what the caller can still do, see ``hsms_engine.errors``. The caller chooses
how long to wait, with trio's cancel scopes. Cancelling a request abandons only that transaction.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import trio

from hsms_engine.driver.driver import Driver
from hsms_engine.driver.event_reader import EventReader
from hsms_engine.errors import LocalProtocolError
from hsms_engine.message import Message
from hsms_engine.protocol.control import ControlTransaction
from hsms_engine.protocol.outputs import Step
from hsms_engine.protocol.phases import Phase
from hsms_engine.protocol.statistics import Statistics
from hsms_engine.settings import Settings


class Messaging:
    """The part of the API that needs a selected session."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._engine = driver.engine
        # Whether a call of ``aclose`` has raised because messages were lost.
        self._told = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.peer} {self.phase}>"

    @property
    def peer(self) -> str:
        """The peer's name in messages to people."""
        return self._engine.peer

    @property
    def phase(self) -> Phase:
        """``"connecting"``, ``"selecting"``, ``"selected"``, ``"not selected"``, ``"closed"`` …"""
        return self._engine.phase

    @property
    def is_selected(self) -> bool:
        """Whether data messages may be sent now (E37: SELECTED)."""
        return self._engine.is_selected

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._engine.settings

    def statistics(self) -> Statistics:
        """All counts, taken at the same moment."""
        return self._engine.statistics()

    def events(self) -> EventReader:
        """The events in order: ``async for event in link.events()``.

        The first reader gets everything from the first attempt on, each later one the events from
        then on. A reader that is more than ``events_size`` events behind gets
        ``Missed`` with the number of dropped events. The loop ends when the link is over.
        """
        return self._driver.events()

    def on_step(self, recorder: Callable[[Step], None]) -> None:
        """Call ``recorder`` with a ``hsms_engine.protocol.Step`` for every step of the charts.

        It is called at once, in the task of the step. It must not raise: that would stop the link.
        """
        self._driver.recorders.append(recorder)

    # Messages

    async def request(self, message: Message) -> Message:
        """Send a primary with W and return its reply.

        T3 starts when the primary is wholly written. Raises ``ReplyTimeoutError`` (T3),
        ``RejectedError`` and ``AbortedError`` when only this transaction fails and the connection
        stays, ``LocalProtocolError`` when the message cannot be sent (nothing is sent), and the
        error of the connection when it is not selected, or is lost before the reply.
        """
        if not message.is_primary or not message.wait:
            raise LocalProtocolError(
                f"{message.name} {'without W' if message.is_primary else 'is a secondary'}: only a "
                "primary with W has a reply; use send() or reply()"
            )
        await self._until_room()
        transaction = self._engine.request(message)
        self._driver.turn_soon()
        await self._driver.until_settled(transaction)
        outcome = transaction.outcome
        if isinstance(outcome, Message):
            return outcome
        assert outcome is not None
        raise outcome

    async def send(self, message: Message) -> None:
        """Send a primary that wants no reply. Returns when it is queued, not when it is read.

        Waits while more than ``outbox_size`` bytes are queued. Raises like ``request``.
        """
        if not message.is_primary or message.wait:
            raise LocalProtocolError(
                f"{message.name} {'asks for a reply' if message.wait else 'is a secondary'}: use "
                "request() or reply()"
            )
        await self._until_room()
        self._engine.send(message)
        self._driver.turn_soon()
        # So that a program which only sends lets the reader have its turn.
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def reply(self, primary: Message, reply: Message) -> None:
        """Answer a primary that was received here with W, once.

        ``reply`` is the secondary SxF(y+1), or SxF0 to abort. Raises ``LocalProtocolError`` when
        the primary wants no reply or has had one, ``ConnectionLostError`` when the connection over
        which it came is over, whether or not there is another, ``ClosedError`` when you closed it.
        """
        await self._until_room()
        if self._driver.share.count_message():
            await self._driver.share.pause()
        self._engine.reply(primary, reply)
        self._driver.turn_soon()

    # Control

    async def linktest(self) -> None:
        """Send Linktest.req and wait for its response.

        Raises ``ReplyTimeoutError`` when none came within T6 and the link may go on
        (``linktest_threshold``), ``RejectedError``, or the error of the connection.
        """
        await self._ask(self._engine.linktest)

    async def deselect(self) -> None:
        """Close the session and keep TCP (Deselect.req). T7 runs until it is selected again.

        Raises ``TransactionError`` when the peer stays selected, ``LocalProtocolError`` when this
        is not possible now, or the error of the connection.
        """
        await self._ask(self._engine.deselect)

    async def select(self) -> None:
        """Select again after a Deselect (Select.req). Only for the end that dials.

        Raises ``LocalProtocolError`` when this is not possible now, or the error of the connection.
        """
        await self._ask(self._engine.select)

    async def aclose(self) -> None:
        """Close: Separate.req if selected, then TCP. Any number of tasks may call it, repeatedly.

        What was accepted for sending is written first, as long as the peer takes it
        (``write_timeout``, ``frame_deadline``); then it waits at most ``linger`` seconds for the
        peer. Raises ``ConnectionLostError`` when accepted messages could not be written, with the
        number of bytes. When cancelled, it closes without waiting.
        """
        told_already = self._told and self._engine.is_closed
        await self.until_closed()
        if (unsent := self._engine.unsent) is not None and not told_already:
            self._told = True
            # An exception carries the traceback of one raise: each caller gets its own.
            raise copy.copy(unsent)

    async def until_closed(self) -> None:
        """Like ``aclose``, for a caller who does not want to know whether all was written."""
        self.close_soon()
        try:
            await self._driver.until(lambda: self._engine.is_closed)
        except trio.Cancelled:
            # Nobody waits any more for what is not written.
            self._call(self._engine.tcp_closed)
            raise

    def close_soon(self) -> None:
        """Begin to close, without waiting; ``aclose`` also waits until it is closed."""
        self._call(self._engine.close)

    # Inside

    def _call(self, call: Callable[[], None]) -> None:
        """Make a local call, and do at once what the engine then asks for."""
        call()
        self._driver.turn()

    async def _ask(self, call: Callable[[], ControlTransaction]) -> None:
        """Make a call that the peer answers, and wait for the answer."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._driver.ask_handover()
        transaction = call()
        self._driver.turn()
        await self._driver.until_settled(transaction)
        if transaction.error is not None:
            raise transaction.error

    async def _until_room(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._engine.is_full:
            await self._driver.until_room()
