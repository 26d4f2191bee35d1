"""The data messages of one link: requests and their replies, and primaries of the peer.

They do not go through the charts, and pass only while the session is selected. A message that fits
nowhere is counted or reported, never dropped silently.

* Only a secondary can be the reply to an open request, by system bytes, stream and function. A
  primary with the system bytes of an open request is still a primary: each end numbers its own.
* The primaries that the program has not taken are bounded in number and bytes. They can be read
  when their connection is over, but can only be answered over that connection.
"""

from __future__ import annotations

from hsms_engine.errors import (
    AbortedError,
    ClosedError,
    ConnectionLostError,
    HsmsError,
    LocalProtocolError,
    RejectedError,
    ReplyTimeoutError,
)
from hsms_engine.events import UnexpectedSecondary
from hsms_engine.message import Message
from hsms_engine.protocol.causes import Cause, lost_request, reject_name
from hsms_engine.protocol.context import Context
from hsms_engine.protocol.epoch import Epoch, Primary
from hsms_engine.protocol.frames import stream_nine
from hsms_engine.protocol.timers import Timers
from hsms_engine.protocol.transactions import Transaction
from hsms_engine.wire import Frame, data_frame, encode_data

# Answers are queued even while senders wait. When a peer asks and does not read the answers, its
# connection is closed at this many bytes above ``outbox_size``.
RESERVE = 1_048_576


class Exchange:
    """Carries data messages between the program and the open connection."""

    def __init__(self, context: Context, timers: Timers) -> None:
        self._context = context
        self._timers = timers
        # The primaries that the program has not taken: see ``inbox_size`` and ``inbox_bytes``.
        self.waiting = 0
        self._waiting_bytes = 0

    # From the program

    def request(self, epoch: Epoch, message: Message) -> Transaction:
        """Queue a primary with W and open its transaction."""
        number = epoch.transactions.take_system_bytes()
        self._queue(epoch, message, number)
        return epoch.transactions.open(message.stream, message.function, epoch.queued, number)

    def send(self, epoch: Epoch, message: Message) -> None:
        """Queue a primary that opens no transaction."""
        self._queue(epoch, message, epoch.transactions.take_system_bytes())

    def reply(self, epoch: Epoch, primary: Primary, reply: Message) -> None:
        """Queue the reply to a primary of this connection.

        Raises ``LocalProtocolError`` when it does not answer that primary.
        """
        if not primary.wait or primary.answered:
            why = "was answered already" if primary.answered else "does not want a reply"
            raise LocalProtocolError(f"{primary.name} {why}")
        if reply.function not in (primary.function + 1, 0) or reply.stream != primary.stream:
            raise LocalProtocolError(
                f"{reply.name} does not answer {primary.name}: "
                f"S{primary.stream}F{primary.function + 1} or S{primary.stream}F0 does"
            )
        assert primary.system_bytes is not None
        self._queue(epoch, reply, primary.system_bytes)
        primary.answered = True
        if not primary.taken:
            self.take(primary)

    def unanswerable(self, primary: Message) -> HsmsError:
        """Why a primary that did not come over the open connection cannot be answered."""
        if not isinstance(primary, Primary):
            return LocalProtocolError(f"{primary!r} was not received on a connection")
        reason = f"{primary.name} came over connection {primary.epoch.number}, which is over"
        return ConnectionLostError(
            f"{self._context.peer}: {reason}: its reply cannot be sent over another", reason
        )

    def take(self, primary: Primary) -> None:
        """The program has this primary now. Taking it again changes nothing."""
        if not primary.taken:
            primary.taken = True
            self.waiting -= 1
            self._waiting_bytes -= len(primary.body)

    def cancel(self, transaction: Transaction) -> None:
        """The caller does not wait any more. Nothing is sent, and a queued primary stays queued."""
        if transaction.is_settled:
            return
        epoch = self._context.epoch
        # A transaction without an outcome always belongs to the open connection.
        assert epoch is not None
        cancelled = ClosedError(f"{transaction.name} was cancelled")
        epoch.transactions.settle(transaction, "request_cancelled", cancelled)
        if not epoch.transactions:
            self._let_linktest_watch(epoch)

    # From the peer

    def receive(self, epoch: Epoch, frame: Frame) -> str | None:
        """A data message has come. Returns why the connection cannot go on, if so."""
        context = self._context
        context.counters["messages_received"] += 1
        session_id, byte2, function, _, _, system_bytes, body = frame
        settings = context.settings
        if session_id != settings.session_id and settings.check_session_id:
            return self._receive_foreign(epoch, frame)
        stream, wait = byte2 & 0x7F, byte2 > 0x7F
        if function & 1:
            primary = Primary.received(stream, function, wait, body, session_id, system_bytes)
            primary.epoch = epoch
            primary.answered = primary.taken = False
            return self._receive_primary(primary)
        message = Message.received(stream, function, wait, body, session_id, system_bytes)
        transaction = None if wait else epoch.transactions.find(system_bytes)
        if transaction is None:
            self._receive_unexpected(epoch, message)
        elif function == transaction.function + 1 and stream == transaction.stream:
            self._settle(epoch, transaction, "reply_received", message)
        elif function == 0:
            aborted = AbortedError(
                f"{context.peer}: aborted {transaction.name} with {message.name}"
            )
            self._settle(epoch, transaction, "abort_received", aborted)
        else:
            self._receive_unexpected(epoch, message)
        return None

    def receive_reject(self, epoch: Epoch, frame: Frame) -> bool:
        """A Reject.req has come. Returns whether it names an open request, which then fails."""
        transaction = epoch.transactions.find(frame.system_bytes)
        if transaction is None:
            return False
        reason = reject_name(frame.byte3)
        rejected = RejectedError(
            f"{self._context.peer}: rejected {transaction.name}, reason {reason}", frame.byte3
        )
        self._settle(epoch, transaction, "reject_received", rejected)
        return True

    def overdrawn(self, epoch: Epoch) -> str | None:
        """Why the connection cannot go on: too much is queued, so the peer does not read."""
        if epoch.backlog <= self._context.settings.outbox_size + RESERVE:
            return None
        return f"the peer asks and reads no answers: {epoch.backlog} bytes are queued"

    # When time has passed, and when the session is over

    def expire(self, epoch: Epoch) -> None:
        """T3 expires for every request that has waited that long."""
        context = self._context
        settings, now = context.settings, context.clock()
        while (late := epoch.transactions.expired(now, settings.t3)) is not None:
            context.counters["replies_timed_out"] += 1
            if settings.is_equipment:
                primary = data_frame(
                    settings.session_id, late.stream, late.function, True, late.system_bytes, b""
                )
                self.send(epoch, stream_nine(9, primary))
            error = ReplyTimeoutError(
                f"{context.peer}: no reply to {late.name} within T3 = {settings.t3:g} s; "
                "the connection stays"
            )
            self._settle(epoch, late, "t3_expired", error)

    def lose(self, epoch: Epoch, cause: Cause) -> None:
        """The session is over: every open request fails."""
        for transaction in epoch.transactions.all_open():
            lost = lost_request(transaction.name, cause)
            self._settle(epoch, transaction, "connection_ended", lost)

    # Inside

    def _queue(self, epoch: Epoch, message: Message, system_bytes: int) -> None:
        context = self._context
        frame = encode_data(
            context.settings.session_id,
            message.stream,
            message.function,
            message.wait,
            system_bytes,
            message.body,
        )
        context.write(epoch, frame)
        context.counters["messages_sent"] += 1

    def _settle(
        self, epoch: Epoch, transaction: Transaction, event: str, outcome: Message | HsmsError
    ) -> None:
        epoch.transactions.settle(transaction, event, outcome)
        self._context.outputs.put(transaction)
        if not epoch.transactions:
            self._let_linktest_watch(epoch)

    def _let_linktest_watch(self, epoch: Epoch) -> None:
        interval = self._context.settings.linktest_interval
        if interval is not None:
            # T3 does not watch the link any more, so a linktest may be due earlier than before.
            self._timers.expect(epoch.last_sent + interval)

    def _receive_primary(self, primary: Primary) -> str | None:
        context = self._context
        settings, waiting = context.settings, self.waiting
        size = self._waiting_bytes + len(primary.body)
        if waiting >= settings.inbox_size or (waiting and size > settings.inbox_bytes):
            context.counters["primaries_without_room"] += 1
            return (
                f"the inbox is full: {waiting} primaries of {self._waiting_bytes} bytes wait and "
                f"nobody takes them (inbox_size, inbox_bytes); {primary.name} did not fit"
            )
        self.waiting = waiting + 1
        self._waiting_bytes = size
        context.outputs.put(primary)
        return None

    def _receive_unexpected(self, epoch: Epoch, message: Message) -> None:
        context = self._context
        context.counters["unexpected_secondaries"] += 1
        context.outputs.put(UnexpectedSecondary(context.clock(), epoch.number, message))

    def _receive_foreign(self, epoch: Epoch, frame: Frame) -> str | None:
        self._context.counters["foreign_session_id"] += 1
        if self._context.settings.is_equipment and (frame.stream, frame.function) != (9, 1):
            self.send(epoch, stream_nine(1, frame))
        return self.overdrawn(epoch)
