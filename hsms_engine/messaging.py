"""The calls that a connection and a link share: requests, replies, primaries, and a graceful close.

Errors are sorted by what the caller can still do, see ``hsms_engine.errors``. The caller chooses
how long to wait, with trio's cancel scopes. Cancelling a request abandons only that transaction.

Every call but those that only read raises ``WrongLoopError`` in another thread or event loop.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from hsms_engine.driver.driver import Driver
from hsms_engine.driver.event_reader import EventReader
from hsms_engine.driver.tls import PeerCertificate
from hsms_engine.errors import LocalProtocolError
from hsms_engine.events import LinkEvent
from hsms_engine.logs import Teller
from hsms_engine.message import Message
from hsms_engine.protocol.control import ControlTransaction
from hsms_engine.protocol.engine import Engine
from hsms_engine.protocol.epoch import Primary
from hsms_engine.protocol.outputs import Step
from hsms_engine.protocol.phases import Phase
from hsms_engine.protocol.statistics import Statistics
from hsms_engine.protocol.traffic import Traffic
from hsms_engine.protocol.transactions import Transaction
from hsms_engine.protocol.transfers import Transfers
from hsms_engine.settings import Settings


class Messaging:
    """The part of the API that needs a selected session."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._loop = driver.loop
        self._engine = driver.engine
        # Whether a call of ``aclose`` has raised because messages were lost.
        self._told = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.peer} {self._state_text}>"

    @property
    def _state_text(self) -> str:
        """What it is doing, for people."""
        return self.phase

    @property
    def peer(self) -> str:
        """The peer's name in messages to people."""
        return self._engine.peer

    @property
    def local_address(self) -> str:
        """That of this end of the latest connection, as ``host:port``; empty when not known."""
        return self._engine.addresses[0]

    @property
    def remote_address(self) -> str:
        """That of the peer, also when the link was given a name."""
        return self._engine.addresses[1]

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

    @property
    def peer_certificate(self) -> PeerCertificate | None:
        """What the peer of the latest connection has proved to be; None without TLS, or unasked."""
        return self._driver.certificate

    @property
    def _teller(self) -> Teller:
        """For the doors: what writes in ``hsms_engine.link`` about this, in any thread."""
        return self._driver.teller

    def statistics(self) -> Statistics:
        """All counts, taken at the same moment; from another thread, at nearly the same."""
        return self._engine.statistics()

    def transfers(self) -> Transfers:
        """How far the bytes are that take their time: to show the progress of long messages.

        Asked for as often as it is shown. For any thread.
        """
        return self._engine.transfers()

    def events(self) -> EventReader[LinkEvent]:
        """The events in order: ``async for event in link.events()``.

        Each reader begins with the present state: the first one with everything from the first
        attempt on, each later one with the latest event of the phase and, while the breaker is not
        closed, its latest event, with the times at which they happened. A reader that is more than
        ``events_size`` events behind gets ``Missed`` with the number of dropped events. The loop
        ends when the link is over.
        """
        self._loop.check(self, "events()")
        return self._driver.events()

    def on_step(self, recorder: Callable[[Step], None]) -> None:
        """Call ``recorder`` with a ``hsms_engine.protocol.Step`` for every step of the charts.

        It is called at once, in the task of the step, and the link waits for it. One that raises is
        removed, which ``hsms_engine.link`` logs at ERROR, and the link lives on.
        """
        self._loop.check(self, "on_step()")
        self._driver.recorders.append(recorder)

    def on_message(self, callback: Callable[[Traffic], None]) -> None:
        """Call ``callback`` for every message, data or control, that comes or is queued to be sent.

        It is called in the thread of the event loop, in order, and the link waits for it: put slow
        work elsewhere. One that raises is removed, as for ``on_step``.
        """
        self._loop.check(self, "on_message()")
        self._driver.watchers.append(callback)
        self._driver.watch()

    def _forget_callback(self, callback: Callable[[Traffic], None]) -> None:
        """``callback`` of ``on_message`` is called no more. It has not raised."""
        self._driver.watchers.remove(callback)
        self._driver.watch()

    @property
    def _source(self) -> Engine:
        """For metrics: what has its counts, in any thread."""
        return self._engine

    def _observe(self, attach: Callable[[Driver], None]) -> None:
        """For what counts or records this: call ``attach`` with what runs it."""
        self._loop.check(self, "add()")
        attach(self._driver)

    # Messages

    async def request(self, message: Message) -> Message:
        """Send a primary with W and return its reply.

        T3 starts when the primary is wholly written. Raises ``ReplyTimeoutError`` (T3),
        ``RejectedError``, ``AbortedError`` and ``StreamNineError`` when only this transaction fails
        and the connection stays, ``LocalProtocolError`` when the message cannot be sent (nothing is
        sent), and the error of the connection when it is not selected, or is lost before the reply.
        """
        self._loop.check_task(self, "request()")
        _expect_request(message)
        await self._room()
        transaction = self._engine.request(message)
        self._driver.turn_soon()
        await self._driver.until_settled(transaction)
        return transaction.reply()

    async def send(self, message: Message) -> None:
        """Send a primary that wants no reply. Returns when it is queued, not when it is read.

        Waits while more than ``outbox_size`` bytes are queued. Raises like ``request``.
        """
        self._loop.check_task(self, "send()")
        _expect_event(message)
        await self._room()
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
        self._loop.check_task(self, "reply()")
        await self._room()
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
        self._loop.check_task(self, "linktest()")
        await self._ask(self._engine.linktest)

    async def deselect(self) -> None:
        """Close the session and keep TCP (Deselect.req). T7 runs until it is selected again.

        Raises ``TransactionError`` when the peer stays selected, ``LocalProtocolError`` when this
        is not possible now, or the error of the connection.
        """
        self._loop.check_task(self, "deselect()")
        await self._ask(self._engine.deselect)

    async def select(self) -> None:
        """Select again after a Deselect (Select.req). Only for the end that dials.

        Raises ``LocalProtocolError`` when this is not possible now, or the error of the connection.
        """
        self._loop.check_task(self, "select()")
        await self._ask(self._engine.select)

    async def aclose(self) -> None:
        """Close: Separate.req if selected, then TCP. Any number of tasks may call it, repeatedly.

        What was accepted for sending is written first, as long as the peer takes it
        (``write_timeout``, ``frame_deadline``); then it waits at most ``linger`` seconds for the
        peer. Raises ``ConnectionLostError`` when accepted messages could not be written, with the
        number of bytes. When cancelled, it closes without waiting.
        """
        self._loop.check_task(self, "aclose()")
        told_already = self._told and self._engine.is_closed
        await self.until_closed()
        if (unsent := self._engine.unsent) is not None and not told_already:
            self._told = True
            # An exception carries the traceback of one raise: each caller gets its own.
            raise copy.copy(unsent)

    async def until_closed(self) -> None:
        """Like ``aclose``, for a caller who does not want to know whether all was written."""
        self._loop.check_task(self, "until_closed()")
        self.close_soon()
        try:
            await self._driver.until(lambda: self._engine.is_closed)
        except trio.Cancelled:
            self._close_at_once()
            raise

    def close_soon(self) -> None:
        """Begin to close, without waiting; ``aclose`` also waits until it is closed."""
        self._loop.check(self, "close_soon()")
        self._call(self._engine.close)

    # For the doors, which have no task of trio for these

    def _request_now(
        self, message: Message, settled: Callable[[Transaction], object]
    ) -> Callable[[], None] | None:
        """``request``; ``settled`` is called with its transaction. Returns what abandons it.

        None, and nothing is sent, when ``request`` would wait because too much is queued.
        """
        _expect_request(message)
        if self._engine.is_full:
            return None
        transaction = self._engine.request(message)
        self._driver.turn_soon()
        told = partial(settled, transaction)
        # It may have failed already, with its connection.
        told() if transaction.is_settled else self._driver.when_settled(transaction, told)
        return partial(self._driver.abandon, transaction)

    def _send_now(self, message: Message) -> bool:
        """``send``. False, and nothing is sent, when it would wait because too much is queued."""
        _expect_event(message)
        if self._engine.is_full:
            return False
        self._engine.send(message)
        self._driver.turn_soon()
        return True

    def _reply_now(self, primary: Message, reply: Message) -> bool:
        """``reply``, as ``_send_now`` is ``send``."""
        if self._engine.is_full:
            return False
        self._engine.reply(primary, reply)
        self._driver.turn_soon()
        return True

    def _next_now(self, taker: Callable[[Primary | None], object]) -> Callable[[], None]:
        """``receive``; ``taker`` gets the primary, or None. Returns what abandons it."""
        return self._driver.give_next(taker)

    def _put_back(self, primary: Primary) -> None:
        """Its caller could not take this primary, which waits in its place again."""
        self._driver.put_back(primary)

    def _close_at_once(self) -> None:
        """Close, and do not wait for what is not written; with Separate.req if possible."""
        self.close_soon()
        self._call(self._engine.tcp_closed)

    # Inside

    def _room(self) -> Awaitable[None]:
        """Wait while too much is queued, in a way that costs a message no coroutine of its own."""
        if self._engine.is_full:
            return self._driver.until_room()
        return trio.lowlevel.checkpoint_if_cancelled()  # noqa: ASYNC105  # its caller awaits it

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


def _expect_request(message: Message) -> None:
    if not message._wait or not message._function & 1:
        raise LocalProtocolError(
            f"{message.name} {'without W' if message.is_primary else 'is a secondary'}: only a "
            "primary with W has a reply; use send() or reply()"
        )


def _expect_event(message: Message) -> None:
    if message._wait or not message._function & 1:
        raise LocalProtocolError(
            f"{message.name} {'asks for a reply' if message.wait else 'is a secondary'}: use "
            "request() or reply()"
        )
