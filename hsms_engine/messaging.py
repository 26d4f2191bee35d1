"""What a connection and a link have in common: requests, replies, primaries, and a graceful end.

Calls raise by what the caller can still do, see ``hsms_engine.errors``. Patience is the caller's:
use trio's cancel scopes. Cancelling a request abandons that transaction and nothing else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import trio

from hsms_engine.driver.driver import Driver
from hsms_engine.driver.event_reader import EventReader
from hsms_engine.errors import (
    ClosedError,
    HsmsError,
    LocalProtocolError,
    RejectedError,
    ReplyTimeoutError,
    TransactionError,
)
from hsms_engine.message import Message
from hsms_engine.protocol.endings import Detail, reject_name
from hsms_engine.protocol.engine import Record
from hsms_engine.protocol.statistics import Statistics
from hsms_engine.settings import Settings
from hsms_engine.wire import Frame


class Messaging:
    """The part of the API that needs a selected session."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._engine = driver.engine

    @property
    def peer(self) -> str:
        """The other end, as messages to people name it."""
        return self._engine.peer

    @property
    def phase(self) -> str:
        """``"connecting"``, ``"selecting"``, ``"selected"``, ``"not selected"``, ``"closed"`` …"""
        return self._engine.phase

    @property
    def is_selected(self) -> bool:
        """Whether data messages may be sent now (E37: SELECTED)."""
        return self._engine.selected

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._engine.settings

    def statistics(self) -> Statistics:
        """All counts at this moment, consistent with each other."""
        return self._engine.statistics()

    def events(self) -> EventReader:
        """The events from now on, in order: ``async for event in link.events()``.

        Each reader gets all events. A reader slower than ``events_size`` events is told how many
        it missed. It ends when the link does.
        """
        return self._driver.events()

    def on_step(self, recorder: Callable[[Record], None]) -> None:
        """Have every step of the charts recorded: what ``statecharts.testgen.conforms`` reads.

        ``recorder`` is called from within the step and must not raise: that would end the link.
        """
        self._driver.recorders.append(recorder)

    # Messages

    async def request(self, message: Message) -> Message:
        """Send a primary with W and return its reply.

        T3 runs from the primary being wholly written. Raises ``ReplyTimeoutError`` (T3),
        ``RejectedError`` and ``AbortedError`` when this transaction fails and the connection
        stays, ``LocalProtocolError`` when it cannot be sent (nothing was), and the error of the
        connection when that is not selected or ends meanwhile.
        """
        if not message.is_primary or not message.wait:
            raise LocalProtocolError(
                f"{message.name} {'without W' if message.is_primary else 'is a secondary'}: only a "
                "primary with W has a reply; use send() or reply()"
            )
        await self._until_room()
        transaction = self._engine.exchange.request(self._engine.open_epoch(), message)
        self._driver.send_queued()
        return await self._driver.reply_to(transaction)

    async def send(self, message: Message) -> None:
        """Send a primary that wants no reply; returns when it is queued, not when it is read.

        Waits while more than ``outbox_size`` bytes are queued. Raises like ``request``.
        """
        if not message.is_primary or message.wait:
            raise LocalProtocolError(
                f"{message.name} {'asks for a reply' if message.wait else 'is a secondary'}: use "
                "request() or reply()"
            )
        await self._until_room()
        self._engine.exchange.send(self._engine.open_epoch(), message)
        self._driver.send_queued()
        # A program that only sends must not keep the reader from its turn.
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def reply(self, primary: Message, reply: Message) -> None:
        """Answer a primary that was received here with W, once.

        ``reply`` is the secondary SxF(y+1), or SxF0 to abort. Raises ``LocalProtocolError`` when
        the primary wants no reply, has had one, or came over a connection that is gone.
        """
        await self._until_room()
        self._engine.exchange.reply(self._engine.open_epoch(), primary, reply)
        self._driver.send_queued()

    # Control

    async def linktest(self) -> None:
        """Send Linktest.req and wait for its response.

        Raises ``ReplyTimeoutError`` when none came within T6 and the link may go on
        (``linktest_threshold``), ``RejectedError``, or the error of the connection.
        """
        event, detail = await self._ask("linktest_requested", "probing_link")
        match event:
            case "linktest_rsp_received" | "t6_linktest_excused":
                return
            case "linktest_rejected":
                raise self._rejected("Linktest.req", detail)
            case "t6_linktest_expired" if self.is_selected:
                raise ReplyTimeoutError(
                    f"{self.peer}: no Linktest.rsp within T6 = {self.settings.t6:g} s"
                )
            case _:
                raise self._gone()

    async def deselect(self) -> None:
        """End the session and keep TCP (Deselect.req). T7 runs until it is selected again.

        Raises ``TransactionError`` when the peer stays selected, ``LocalProtocolError`` when it
        is not possible now, or the error of the connection.
        """
        event, detail = await self._ask("deselect_requested", "deselecting")
        match event:
            case "deselect_rsp_ended" | "deselect_req_received":
                return
            case "deselect_rejected":
                raise self._rejected("Deselect.req", detail)
            case "deselect_rsp_busy":
                status = detail.byte3 if isinstance(detail, Frame) else None
                raise TransactionError(
                    f"{self.peer}: answered Deselect.req with status {status}; still selected"
                )
            case _:
                raise self._gone()

    async def select(self) -> None:
        """Select again after a Deselect (Select.req); the dialling end does so.

        Raises ``LocalProtocolError`` when it is not possible now, or the error of the connection.
        """
        event, _ = await self._ask("select_requested", "reselecting")
        if event not in ("select_rsp_accepted", "select_req_received"):
            raise self._gone()

    async def aclose(self) -> None:
        """End it: Separate.req if selected, then TCP. Any number of tasks may call it, repeatedly.

        Waits at most ``linger`` for the peer. Cancelled, it closes without waiting.
        """
        self.close_soon()
        await self._driver.until(
            lambda: self._engine.phase == "closed" or self._driver.over or None
        )

    def close_soon(self) -> None:
        """Begin to end it without waiting; ``aclose`` also waits until it is over."""
        # Where it is closed, or on its way there, there is nothing to do.
        with contextlib.suppress(ClosedError, LocalProtocolError):
            self._driver.call("close_requested")

    # Inside

    async def _ask(self, call: str, state: str) -> tuple[str, Detail]:
        """Make a local call and wait until the state that awaits its answer is left."""
        engine = self._engine
        await trio.lowlevel.checkpoint_if_cancelled()
        if not engine.selected and call != "select_requested":
            raise self._gone()
        before = engine.history.left(state).times
        self._driver.call(call)
        await self._driver.until(lambda: engine.history.left(state).times > before or None)
        left = engine.history.left(state)
        return left.event, left.detail

    async def _until_room(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._engine.selected:
            raise self._gone()
        if self._driver.is_full():
            await self._driver.until_room()
            if not self._engine.selected:
                raise self._gone()

    def _gone(self) -> HsmsError:
        """Why nothing can be sent now."""
        return self._engine.unusable()

    def _rejected(self, name: str, detail: Detail) -> RejectedError:
        reason = detail.byte3 if isinstance(detail, Frame) else 0
        return RejectedError(f"{self.peer}: rejected {name}, reason {reject_name(reason)}", reason)
