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
from hsms_engine.protocol.entity import Entity
from hsms_engine.protocol.epoch import Epoch, Primary, Secondary
from hsms_engine.protocol.frames import stream_nine
from hsms_engine.protocol.timers import Timers
from hsms_engine.protocol.transactions import Transaction
from hsms_engine.wire import Frame, data_frame, encode_data

# The most bytes of answers to what a peer asks that wait for it to read them. No program waits for
# these, so a peer that asks and does not read would take memory without end. Before the session is
# selected, a peer may take little memory of any kind.
RESERVE = 1_048_576
RESERVE_UNSELECTED = 16_384
# A waiting primary takes about this much more memory than its body, which counts for
# ``server_inbox_bytes``: otherwise headers alone would be free.
OVERHEAD = 200


class Exchange:
    """Carries data messages between the program and the open connection."""

    def __init__(self, context: Context, timers: Timers, entity: Entity | None) -> None:
        self._context = context
        self._timers = timers
        self._entity = entity
        # The primaries that the program has not taken: see ``inbox_size`` and ``inbox_bytes``.
        self.waiting = 0
        self._waiting_bytes = 0

    # From the program

    def request(self, epoch: Epoch, message: Message) -> Transaction:
        """Queue a primary with W and open its transaction."""
        number, before = epoch.transactions.take_system_bytes(), epoch.outbox.queued
        self._queue(epoch, message, number)
        return epoch.transactions.open(
            message.stream, message.function, before, epoch.outbox.queued, number
        )

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
            size = len(primary.body)
            self._waiting_bytes -= size
            if self._entity is not None:
                self._entity.waiting_bytes -= size + OVERHEAD

    def may_overflow(self, size: int) -> bool:
        """Whether one of the primaries that ``size`` bytes complete may not fit."""
        settings, epoch = self._context.settings, self._context.epoch
        assert epoch is not None
        begun = epoch.decoder.pending_length or 0
        held = self._waiting_bytes + begun
        too_long = self.waiting > 0 and held + size > settings.inbox_bytes
        return self.waiting >= settings.inbox_size or too_long

    @property
    def held_bytes(self) -> int:
        """Bytes of the primaries that wait, as ``server_inbox_bytes`` counts them."""
        return self._waiting_bytes + self.waiting * OVERHEAD

    def dropped(self) -> HsmsError | None:
        """The error of a reader whose primaries were dropped; None when none were."""
        count = self._context.counters["primaries_dropped"]
        if not count:
            return None
        reason = (
            f"the connection is over, and {count} primaries that waited were dropped: the server "
            "needed their room (server_inbox_bytes), or the handler had ended"
        )
        return ConnectionLostError(f"{self._context.peer}: {reason}", reason)

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
            # T3 does not watch the link any more, so a linktest may be due earlier than before.
            self._timers.expect_linktest(epoch)

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
            primary.answered = primary.taken = primary.told = False
            return self._receive_primary(primary)
        message = Secondary.received(stream, function, wait, body, session_id, system_bytes)
        message.unreadable = epoch.unreadable
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
        """Why the connection cannot go on: the peer asks and does not read the answers."""
        answers = epoch.outbox.answers
        if answers <= (RESERVE if epoch.was_selected else RESERVE_UNSELECTED):
            return None
        return f"the peer asks and reads no answers: {answers} bytes of them are queued"

    def room(self, size: int) -> int:
        """How many frames, of those in ``size`` bytes, fit before half of the inbox is taken.

        0 while more than half is taken, or while the frame in progress does not fit.
        """
        settings, waiting, held = self._context.settings, self.waiting, self._waiting_bytes
        if not waiting:
            # The sizes of these frames are not known yet.
            return settings.inbox_size // 2 + 1 if size * 2 <= settings.inbox_bytes else 1
        epoch = self._context.epoch
        assert epoch is not None
        if epoch.decoder.missing > size:
            # They complete no frame.
            return 1
        begun = epoch.decoder.pending_length or 0
        if held * 2 > settings.inbox_bytes or held + begun > settings.inbox_bytes:
            return 0
        room = max(settings.inbox_size // 2 + 1 - waiting, 0)
        return room if (held + size) * 2 <= settings.inbox_bytes else min(room, 1)

    def report_unreadable(self, epoch: Epoch, *, selected: bool) -> str | None:
        """Count what the program could not read; while selected, an equipment sends S9F7 for it.

        Returns why the connection cannot go on, if so.
        """
        context = self._context
        while (header := epoch.unreadable.next()) is not None:
            context.counters["unreadable_bodies"] += 1
            reports = context.settings.is_equipment and selected
            if reports and (header.stream, header.function) != (9, 7):
                self._report(epoch, 7, header)
                if (problem := self.overdrawn(epoch)) is not None:
                    return problem
        return None

    # When time has passed, and when the session is over

    def expire(self, epoch: Epoch) -> None:
        """T3 expires for every request that has waited that long."""
        context = self._context
        settings, now = context.settings, context.clock()
        outbox = epoch.outbox
        while (late := epoch.transactions.expired(now, settings.t3)) is not None:
            assert late.started_at is not None
            if outbox.moved_at > late.started_at and late.queued_at_mark > outbox.acknowledged:
                epoch.transactions.postpone(late, now)
                continue
            context.counters["replies_timed_out"] += 1
            if settings.is_equipment:
                primary = data_frame(
                    settings.session_id, late.stream, late.function, True, late.system_bytes, b""
                )
                self._report(epoch, 9, primary)
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

    def _report(self, epoch: Epoch, function: int, of: Frame) -> None:
        """Queue an equipment's report about a message, S9F1 or another of stream 9."""
        frame = self._encode(stream_nine(function, of), epoch.transactions.take_system_bytes())
        epoch.outbox.put_answer(len(frame))

    def _queue(self, epoch: Epoch, message: Message, system_bytes: int) -> None:
        epoch.outbox.put_message(len(self._encode(message, system_bytes)))

    def _encode(self, message: Message, system_bytes: int) -> bytes:
        context = self._context
        frame = encode_data(
            context.settings.session_id,
            message.stream,
            message.function,
            message.wait,
            system_bytes,
            message.body,
        )
        context.outputs.frames.append(frame)
        context.counters["messages_sent"] += 1
        return frame

    def _settle(
        self, epoch: Epoch, transaction: Transaction, event: str, outcome: Message | HsmsError
    ) -> None:
        epoch.transactions.settle(transaction, event, outcome)
        self._context.outputs.put(transaction)
        if not epoch.transactions:
            # T3 does not watch the link any more, so a linktest may be due earlier than before.
            self._timers.expect_linktest(epoch)

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
        if (shared := self._entity) is not None:
            more = len(primary.body) + OVERHEAD
            if not shared.make_room(more, settings.server_inbox_bytes, self.held_bytes):
                context.counters["primaries_without_room"] += 1
                return (
                    f"the inboxes of the server are full: {shared.waiting_bytes} bytes wait on all "
                    "its connections together and nobody takes them (server_inbox_bytes); "
                    f"{primary.name} did not fit"
                )
            shared.waiting_bytes += more
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
            self._report(epoch, 1, frame)
        return self.overdrawn(epoch)
