"""The data messages of one link: requests and their replies, primaries and the inbox.

They pass by the charts, while the gate is open. What finds no taker is counted or reported, never
dropped silently.

* Only secondaries are offered to open requests, by system bytes, stream and function; a primary
  with the system bytes of an open request is a primary: both ends count from where they like.
* A primary waits in the inbox, which is bounded. It outlives its connection (received is received)
  but can only be answered over it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

from hsms_engine.errors import (
    AbortedError,
    ClosedError,
    HsmsError,
    LocalProtocolError,
    RejectedError,
    ReplyTimeoutError,
)
from hsms_engine.message import Message
from hsms_engine.protocol.clockwork import Clockwork
from hsms_engine.protocol.endings import Ending, lost_request, reject_name
from hsms_engine.protocol.epoch import Epoch, Primary
from hsms_engine.protocol.events import Happened, UnexpectedSecondary
from hsms_engine.protocol.frames import stream_nine
from hsms_engine.protocol.transactions import Transaction
from hsms_engine.wire import Frame, SType, data_frame, encode_data

_DATA = int(SType.DATA)
# Answers are queued even while senders wait; a peer that asks and reads none of the answers is cut
# off at this many bytes above ``outbox_size``.
_RESERVE = 1_048_576


def _ignore(_: Happened) -> None:
    """Nobody listens."""


def _nothing() -> None:
    """Nobody waits."""


class Exchange:
    """Carries data messages between the program and the epoch it is given with each call."""

    def __init__(self, clockwork: Clockwork, counters: Counter[str], peer: str) -> None:
        self.peer = peer
        self._clockwork = clockwork
        self._counters = counters
        # Primaries not yet taken by the program, oldest first; bounded by ``inbox_size``.
        self.inbox: deque[Primary] = deque()
        # The bytes of their bodies; bounded by ``inbox_bytes``.
        self.inbox_bytes = 0
        self.on_primary: Callable[[], None] = _nothing
        self.report: Callable[[Happened], None] = _ignore

    # From the program

    def request(self, epoch: Epoch, message: Message) -> Transaction:
        """Queue a primary with W and open its transaction."""
        number = epoch.transactions.take_system_bytes()
        self._queue(epoch, message, number)
        return epoch.transactions.open(message.stream, message.function, epoch.queued, number)

    def send(self, epoch: Epoch, message: Message) -> None:
        """Queue a primary that opens no transaction."""
        self._queue(epoch, message, epoch.transactions.take_system_bytes())

    def reply(self, epoch: Epoch, primary: Message, reply: Message) -> None:
        """Queue the reply to a primary of this connection.

        Raises ``LocalProtocolError`` when there is nothing to answer.
        """
        if not isinstance(primary, Primary):
            raise LocalProtocolError(f"{primary!r} was not received on a connection")
        if primary.epoch is not epoch:
            raise LocalProtocolError(
                f"{primary.name} came over connection {primary.epoch.number}, which is gone: its "
                "reply cannot be sent over another"
            )
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

    def take(self) -> Primary:
        """The oldest primary of the inbox, which has one."""
        primary = self.inbox.popleft()
        self.inbox_bytes -= len(primary.body)
        return primary

    def cancel(self, epoch: Epoch, transaction: Transaction) -> None:
        """The caller no longer waits. Sends nothing, and does not un-send."""
        cancelled = ClosedError(f"{transaction.name} was cancelled")
        self._end(epoch, transaction, "request_cancelled", cancelled)

    def is_busy(self, epoch: Epoch) -> bool:
        """Whether more messages are likely to be queued soon, and better sent together."""
        return bool(self.inbox) or len(epoch.transactions) > 1

    # From the peer

    def receive(self, epoch: Epoch, frame: Frame) -> str | None:
        """A data message has come. If the connection cannot go on after it: why, in words."""
        self._counters["messages received"] += 1
        session_id, byte2, function, _, _, system_bytes, body = frame
        settings = self._clockwork.settings
        if session_id != settings.session_id and settings.check_session_id:
            return self._receive_foreign(epoch, frame)
        stream, wait = byte2 & 0x7F, byte2 > 0x7F
        if function & 1:
            primary = Primary.received(stream, function, wait, body, session_id, system_bytes)
            primary.epoch = epoch
            primary.answered = False
            return self._receive_primary(primary)
        message = Message.received(stream, function, wait, body, session_id, system_bytes)
        transaction = None if wait else epoch.transactions.find(system_bytes)
        if transaction is None:
            self._receive_unexpected(epoch, message)
        elif function == transaction.function + 1 and stream == transaction.stream:
            self._end(epoch, transaction, "reply_received", message)
        elif function == 0:
            aborted = AbortedError(f"{self.peer}: aborted {transaction.name} with {message.name}")
            self._end(epoch, transaction, "abort_received", aborted)
        else:
            self._receive_unexpected(epoch, message)
        return None

    def receive_reject(self, epoch: Epoch, frame: Frame) -> bool:
        """A Reject.req has come. Whether it was of an open request, which fails."""
        transaction = epoch.transactions.find(frame.system_bytes)
        if transaction is None:
            return False
        rejected = RejectedError(
            f"{self.peer}: rejected {transaction.name}, reason {reject_name(frame.byte3)}",
            frame.byte3,
        )
        self._end(epoch, transaction, "reject_received", rejected)
        return True

    def overdrawn(self, epoch: Epoch) -> str | None:
        """Why the connection cannot go on, if so much is queued that the peer must have stopped."""
        if epoch.backlog <= self._clockwork.settings.outbox_size + _RESERVE:
            return None
        return f"the peer asks and reads no answers: {epoch.backlog} bytes are queued"

    # From time, and at the end

    def expire(self, epoch: Epoch) -> None:
        """End every request whose T3 is over."""
        settings = self._clockwork.settings

        def timed_out(transaction: Transaction) -> ReplyTimeoutError:
            self._counters["replies timed out"] += 1
            if settings.is_equipment:
                primary = data_frame(
                    settings.session_id,
                    transaction.stream,
                    transaction.function,
                    True,
                    transaction.system_bytes,
                    b"",
                )
                self.send(epoch, stream_nine(9, primary))
            return ReplyTimeoutError(
                f"{self.peer}: no reply to {transaction.name} within T3 = {settings.t3:g} s; "
                "the connection stays"
            )

        epoch.transactions.expire(self._clockwork.clock(), settings.t3, timed_out)

    def end_all(self, epoch: Epoch, ending: Ending) -> None:
        """The session is over, and with it every open request."""
        loss = ending.loss_error()
        closed_here = ending.event == "close_requested"

        def outcome(transaction: Transaction) -> HsmsError:
            if closed_here:
                name = transaction.name
                return ClosedError(f"{self.peer}: {name} got no reply: it was closed by a call")
            return lost_request(transaction.name, loss)

        epoch.transactions.end_all("connection_ended", outcome)

    # Inside

    def _queue(self, epoch: Epoch, message: Message, system_bytes: int) -> None:
        epoch.queue(
            encode_data(
                self._clockwork.settings.session_id,
                message.stream,
                message.function,
                message.wait,
                system_bytes,
                message.body,
            )
        )
        epoch.last_sent = self._clockwork.clock()
        self._counters["messages sent"] += 1

    def _end(
        self, epoch: Epoch, transaction: Transaction, event: str, outcome: Message | HsmsError
    ) -> None:
        epoch.transactions.end(transaction, event, outcome)
        interval = self._clockwork.settings.linktest_interval
        if not epoch.transactions and interval is not None:
            # T3 no longer watches the link: a linktest may be due earlier than it was.
            self._clockwork.expect(epoch.last_sent + interval)

    def _receive_primary(self, primary: Primary) -> str | None:
        settings = self._clockwork.settings
        waiting, size = len(self.inbox), self.inbox_bytes + len(primary.body)
        if waiting >= settings.inbox_size or (waiting and size > settings.inbox_bytes):
            self._counters["primaries without room"] += 1
            return (
                f"the inbox is full: {waiting} primaries of {self.inbox_bytes} bytes wait and "
                f"nobody takes them (inbox_size, inbox_bytes); {primary.name} did not fit"
            )
        self.inbox.append(primary)
        self.inbox_bytes = size
        self.on_primary()
        return None

    def _receive_unexpected(self, epoch: Epoch, message: Message) -> None:
        self._counters["unexpected secondaries"] += 1
        self.report(UnexpectedSecondary(self._clockwork.clock(), epoch.number, message))

    def _receive_foreign(self, epoch: Epoch, frame: Frame) -> str | None:
        self._counters["foreign session id"] += 1
        if self._clockwork.settings.is_equipment and (frame.stream, frame.function) != (9, 1):
            self.send(epoch, stream_nine(1, frame))
        return self.overdrawn(epoch)
