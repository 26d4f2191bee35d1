"""The data messages of one link: requests and their replies, and primaries of the peer.

They do not go through the charts, and pass only while the session is selected. A message that fits
nowhere is counted or reported, never dropped silently.

* Only a secondary can be the reply to an open request, by system bytes, stream and function, but
  for what is tolerated (``replies``). A primary with the system bytes of an open request is still
  a primary: each end numbers its own.
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
    StreamNineError,
)
from hsms_engine.events import UnexpectedSecondary
from hsms_engine.message import Message
from hsms_engine.protocol.causes import Cause, lost_request, reject_name
from hsms_engine.protocol.context import Context
from hsms_engine.protocol.entity import Entity
from hsms_engine.protocol.epoch import Epoch, Primary, Secondary
from hsms_engine.protocol.not_taken import in_words
from hsms_engine.protocol.replies import deviations
from hsms_engine.protocol.stream_nine import (
    FAULTS,
    header_of,
    report,
    reported_header,
    with_other_direction,
)
from hsms_engine.protocol.timers import Timers
from hsms_engine.protocol.traffic import (
    FOREIGN,
    FOREIGN_CONTROL,
    NO_ROOM,
    NOT_ALLOWED,
    UNEXPECTED,
)
from hsms_engine.protocol.transactions import Transaction
from hsms_engine.tolerances import DIRECTION, DIRECTION_BIT, Tolerance
from hsms_engine.wire import HEADER_LENGTH, PREFIX_BYTES, SECS_II, WAIT, Frame, SType, data_prefix

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

    __slots__ = ("_context", "_entity", "_timers", "_waiting_bytes", "waiting")

    def __init__(self, context: Context, timers: Timers, entity: Entity | None) -> None:
        self._context = context
        self._timers = timers
        self._entity = entity
        # The primaries that the program has not taken: see ``inbox_size`` and ``inbox_bytes``.
        self.waiting = 0
        self._waiting_bytes = 0

    # From the program

    def request(self, epoch: Epoch, message: Message) -> Transaction:
        """Queue a primary with W and open its transaction.

        Here and below, raises ``LocalProtocolError`` for a message that is too long.
        """
        transactions, outbox = epoch.transactions, epoch.outbox
        number, before = transactions.take_system_bytes(), outbox.queued
        session_id = self._session_id_for(message)
        outbox.put_message(self._encode(message, number, session_id))
        transaction = Transaction(
            number,
            message._stream,
            message._function,
            session_id,
            before,
            outbox.queued,
            epoch.not_taken.count,
        )
        transactions.open(transaction)
        return transaction

    def send(self, epoch: Epoch, message: Message) -> None:
        """Queue a primary that opens no transaction."""
        number, session_id = epoch.transactions.take_system_bytes(), self._session_id_for(message)
        epoch.outbox.put_message(self._encode(message, number, session_id))

    def reply(self, epoch: Epoch, primary: Primary, reply: Message) -> None:
        """Queue the reply to a primary of this connection.

        Raises ``LocalProtocolError`` when it does not answer that primary.
        """
        if not primary._wait or primary.answered:
            why = "was answered already" if primary.answered else "does not want a reply"
            raise LocalProtocolError(f"{primary.name} {why}")
        answers = reply._function == primary._function + 1 or not reply._function
        if not answers or reply._stream != primary._stream:
            raise LocalProtocolError(
                f"{reply.name} does not answer {primary.name}: "
                f"S{primary.stream}F{primary.function + 1} or S{primary.stream}F0 does"
            )
        number = primary._system_bytes
        assert number is not None
        session_id = self._session_id_for(primary)
        epoch.outbox.put_message(self._encode(reply, number, session_id, primary.received_at))
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
            size = primary.size
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
        count = self._context.counters.get("primaries_dropped", 0)
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
        epoch.not_taken.give_up(transaction, "which was cancelled", self._context.clock())
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
        tolerated: tuple[Tolerance, ...] = ()
        direction = 0
        if session_id != settings.session_id:
            session_id = settings.device_id(session_id)
            if session_id != settings.session_id and settings.check_session_id:
                return self._receive_foreign(epoch, frame, FOREIGN)
            if session_id != frame.session_id:
                direction, tolerated = DIRECTION, (DIRECTION_BIT,)
        if context.session_ids is not None and session_id not in context.session_ids:
            return self._receive_foreign(epoch, frame, NOT_ALLOWED)
        stream, wait = byte2 & 0x7F, byte2 > 0x7F
        if function & 1:
            if stream == 9:
                tolerated = self._receive_report(epoch, frame) or tolerated
            primary = Primary.received(
                stream, function, wait, body, session_id, system_bytes, settings.text_encoding
            )
            primary.epoch = epoch
            primary.size = len(body)
            primary.received_at = epoch.last_received
            primary.answered = primary.taken = primary.told = False
            primary.direction = direction
            problem = self._receive_primary(primary)
            if context.watching or tolerated:
                why = NO_ROOM if problem else None
                context.note_read(epoch, frame, primary, tolerated, passed_over=why)
            return problem
        message = Secondary.received(
            stream, function, wait, body, session_id, system_bytes, settings.text_encoding
        )
        message.unreadable = epoch.unreadable
        message.direction = direction
        transaction = epoch.transactions.find(system_bytes)
        if transaction is not None and (
            wait or function != transaction.function + 1 or stream != transaction.stream
        ):
            found = deviations(frame, transaction.stream, transaction.function, settings)
            if found is None:
                transaction = None
            else:
                tolerated += found
        if transaction is None:
            self._receive_unexpected(epoch, frame, message, tolerated)
            return None
        if function:
            self._settle(epoch, transaction, "reply_received", message)
        else:
            aborted = AbortedError(
                f"{context.peer}: aborted {transaction.name} with {message.name}"
            )
            self._settle(epoch, transaction, "abort_received", aborted)
        if context.watching or tolerated:
            context.note_read(epoch, frame, message, tolerated, since=transaction.started_at)
        return None

    def receive_reject(
        self,
        epoch: Epoch,
        frame: Frame,
        transaction: Transaction,
        tolerated: tuple[Tolerance, ...],
    ) -> None:
        """A Reject.req of an open request has come, which fails."""
        reason = reject_name(frame.byte3)
        rejected = RejectedError(
            f"{self._context.peer}: rejected {transaction.name}, reason {reason}", frame.byte3
        )
        self._settle(epoch, transaction, "reject_received", rejected)
        if self._context.watching or tolerated:
            since = transaction.started_at
            self._context.note_read(epoch, frame, None, tolerated, since=since)

    def pass_over_control(self, epoch: Epoch, frame: Frame) -> None:
        """A control message with another session id has come, which is not tolerated."""
        self._context.counters["foreign_session_id"] += 1
        self._context.note_read(epoch, frame, None, (), passed_over=FOREIGN_CONTROL)
        if (named := epoch.transactions.find(frame.system_bytes)) is not None:
            epoch.not_taken.add(frame, named)

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
                self._report(epoch, 7, header_of(header))
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
                self._report(epoch, 9, late.header)
            not_taken = epoch.not_taken.of(late)
            error = ReplyTimeoutError(
                f"{context.peer}: no reply to {late.name} within T3 = {settings.t3:g} s; "
                f"the connection stays{in_words(late, not_taken, settings)}",
                not_taken,
            )
            self._settle(epoch, late, "t3_expired", error)
            epoch.not_taken.give_up(late, "whose T3 expired", now)

    def lose(self, epoch: Epoch, cause: Cause) -> None:
        """The session is over: every open request fails."""
        for transaction in epoch.transactions.all_open():
            lost = lost_request(transaction.name, cause)
            self._settle(epoch, transaction, "connection_ended", lost)

    # Inside

    def _report(self, epoch: Epoch, function: int, header: bytes) -> None:
        """Queue an equipment's report about a message, S9F1 or another of stream 9."""
        context, number = self._context, epoch.transactions.take_system_bytes()
        session_id = context.written_session_id
        if not context.settings.check_session_id and function != 1:
            # It comes from the device that the message was for.
            device_id = context.settings.device_id(int.from_bytes(header[:2]))
            session_id = device_id | context.written_direction
        size = self._encode(report(function, header), number, session_id, is_report=True)
        epoch.outbox.put_answer(size)

    def _session_id_for(self, message: Message) -> int:
        """The session id that goes out with a primary, or with the reply to one that has come.

        It is that of the settings, unless ``check_session_id`` is off: then that of the message, if
        it has one. Raises ``LocalProtocolError`` for one that is none.
        """
        context, chosen = self._context, message._session_id
        if chosen is None or context.settings.check_session_id:
            return context.written_session_id
        if not 0 <= chosen <= 0xFFFF:
            raise LocalProtocolError(
                f"{message.name}: session_id={chosen} is not in 0..65535: nothing is sent"
            )
        return chosen | context.written_direction

    def _encode(
        self,
        message: Message,
        system_bytes: int,
        session_id: int,
        asked_at: float | None = None,
        *,
        is_report: bool = False,
    ) -> int:
        """Put out the frame of ``message``. Returns its size in bytes.

        Raises ``LocalProtocolError``, and nothing is put out, when it is longer than ``max_frame``.
        No report of ours is told that: its sender is the peer.
        """
        context, body = self._context, message.body
        settings, function = context.settings, message._function
        if len(body) > settings.max_frame - HEADER_LENGTH and not is_report:
            raise LocalProtocolError(
                f"{message.name} with a body of {len(body)} bytes is a frame of "
                f"{len(body) + HEADER_LENGTH}, and max_frame is {settings.max_frame}: nothing is "
                "sent; when the peer takes such a frame, set max_frame higher"
            )
        byte2 = message._stream | WAIT if message._wait else message._stream
        pieces = context.outputs.pieces
        if not pieces:
            context.watching = context.watched()
        pieces.append(data_prefix(session_id, byte2, function, system_bytes, len(body)))
        if body:
            pieces.append(body)
        context.counters["messages_sent"] += 1
        if context.watching:
            frame = Frame(session_id, byte2, function, SECS_II, SType.DATA, system_bytes, body)
            context.note(frame, message, sent=True, since=asked_at)
        return PREFIX_BYTES + len(body)

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
        size = self._waiting_bytes + primary.size
        if waiting >= settings.inbox_size or (waiting and size > settings.inbox_bytes):
            context.counters["primaries_without_room"] += 1
            return (
                f"the inbox is full: {waiting} primaries of {self._waiting_bytes} bytes wait and "
                f"nobody takes them (inbox_size, inbox_bytes); {primary.name} did not fit"
            )
        if (shared := self._entity) is not None:
            more = primary.size + OVERHEAD
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

    def _receive_report(self, epoch: Epoch, frame: Frame) -> tuple[Tolerance, ...] | None:
        """A primary of stream 9 has come. The open request that it names fails.

        Returns what was tolerated for that, None when it names no open request.
        """
        settings = self._context.settings
        meaning = FAULTS.get(frame.byte3)
        header = reported_header(frame.body) if meaning is not None else None
        if header is None:
            return None
        transaction = epoch.transactions.find(int.from_bytes(header[-4:]))
        if transaction is None:
            return None
        tolerated: tuple[Tolerance, ...] = ()
        if header != transaction.header:
            is_near = header == with_other_direction(transaction.header)
            if not (is_near and settings.tolerate_direction_bit):
                return None
            tolerated = (DIRECTION_BIT,)
        about_ids = ""
        if frame.byte3 == 1:
            about_ids = _about_ids(transaction.device_id, frame.session_id & ~DIRECTION)
        faulted = StreamNineError(
            f"{self._context.peer}: reported {transaction.name} with S9F{frame.byte3}, "
            f"{meaning}{about_ids}",
            frame.byte3,
        )
        self._settle(epoch, transaction, "error_report_received", faulted)
        return tolerated

    def _receive_unexpected(
        self, epoch: Epoch, frame: Frame, message: Message, tolerated: tuple[Tolerance, ...]
    ) -> None:
        context = self._context
        late = epoch.not_taken.late(frame, context.clock(), context.settings)
        named = epoch.transactions.find(frame.system_bytes)
        epoch.not_taken.add(self._with_device_id(frame), named, late)
        if context.watching or tolerated:
            why = late or UNEXPECTED
            context.note_read(epoch, frame, message, tolerated, passed_over=why)
        context.counters["unexpected_secondaries"] += 1
        context.outputs.put(UnexpectedSecondary(context.clock(), epoch.number, message))

    def _receive_foreign(self, epoch: Epoch, frame: Frame, why: str) -> str | None:
        self._context.counters["foreign_session_id"] += 1
        is_primary = frame.byte3 & 1
        is_report = is_primary and frame.stream == 9
        tolerated = self._receive_report(epoch, frame) if is_report else None
        self._context.note_read(epoch, frame, None, tolerated or (), passed_over=why)
        if tolerated is not None:
            # It has told what it was for. A report about it would be answered in the same way.
            return None
        named = None if is_primary else epoch.transactions.find(frame.system_bytes)
        epoch.not_taken.add(self._with_device_id(frame), named)
        if self._context.settings.is_equipment and (frame.stream, frame.function) != (9, 1):
            self._report(epoch, 1, header_of(frame))
        return self.overdrawn(epoch)

    def _with_device_id(self, frame: Frame) -> Frame:
        """A data message as people compare it: only with the device id."""
        return frame._replace(session_id=self._context.settings.device_id(frame.session_id))


def _about_ids(ours: int, reported: int) -> str:
    """What to look at when an equipment does not know the session id of a request."""
    if ours == reported:
        return (
            f"; both have session id {ours}: this port may be that of another equipment, or it "
            "knows no device now"
        )
    return (
        f"; it was sent with session id {ours}, and this report came with session id {reported}: "
        "compare session_id at both ends"
    )
