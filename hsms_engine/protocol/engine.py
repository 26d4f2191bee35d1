"""The protocol engine of one link: runs the charts, does their effects, carries the messages.

Sans-IO. What goes in: reports about TCP, bytes, local calls, and the passing of time (``tick``).
What comes out: bytes (``epoch.take``), wishes about TCP (``wishes``), events (``report``) and
outcomes of transactions.

Invariants:

* Every decision about the lifecycle is the router's; ``tell`` is the only way to it. Each effect is
  checked against ``world`` before it is done, by the function the model checker applies.
* Data messages pass by the charts: they are taken exactly while ``world.gate`` is open.
* Whatever is dropped is counted (``counters``).

Diagram: ``diagrams/lifecycle.svg``.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple, assert_never

from hsms_engine.errors import (
    AbortedError,
    ClosedError,
    HsmsError,
    LinkDownError,
    LocalProtocolError,
    RejectedError,
    ReplyTimeoutError,
)
from hsms_engine.message import Message
from hsms_engine.protocol.classify import classify
from hsms_engine.protocol.clockwork import Clockwork
from hsms_engine.protocol.endings import Detail, Ending, lost_request, reject_name
from hsms_engine.protocol.entity import Entity
from hsms_engine.protocol.epoch import Epoch, Primary
from hsms_engine.protocol.events import Happened, UnexpectedSecondary
from hsms_engine.protocol.frames import control, stream_nine
from hsms_engine.protocol.phases import PHASES, breaker_event, link_event
from hsms_engine.protocol.routers import connection_of, router_for
from hsms_engine.protocol.statistics import Statistics
from hsms_engine.protocol.transactions import Transaction
from hsms_engine.settings import Settings
from hsms_engine.wire import Frame, FrameLengthError, SType, encode, encode_data
from statecharts import Effect, Hop, NotAllowedError, Snapshot, Start, Stop, System
from statecharts.hsms import ACTIVE
from statecharts.hsms.vocabulary import (
    AbandonTcp,
    CloseGate,
    CloseTcp,
    Count,
    DriverEffect,
    FinishTcp,
    OpenGate,
    OpenTcp,
    Outgoing,
    Send,
)
from statecharts.hsms.world import World, after, informed

Wish = OpenTcp | AbandonTcp | FinishTcp | CloseTcp

_DATA = int(SType.DATA)
_REJECT = int(SType.REJECT_REQ)
# Control frames are answered even while senders wait; a peer that floods requests and reads none
# of the answers is cut off at this many bytes above ``outbox_size``.
_CONTROL_RESERVE = 1_048_576
# Ends that the user asked for: no error.
_LOCAL_ENDS = frozenset(
    {"close_requested", "disable_requested", "isolate_requested", "reset_requested"}
)


class Record(NamedTuple):
    """One step of the charts as it happened: for logs, and for holding a run against the charts."""

    at: float
    epoch: int
    event: str
    hops: tuple[Hop, ...]
    effects: tuple[Effect, ...]


class Left(NamedTuple):
    """How often a state was left, and the last time by which event and with what."""

    times: int
    event: str
    detail: Detail


_NEVER = Left(0, "", None)


class Engine:
    """One link, active or passive. ``peer`` is how messages to people name the other end."""

    def __init__(
        self,
        system: System,
        settings: Settings,
        *,
        clock: Callable[[], float],
        random: Random,
        peer: str,
        entity: Entity | None = None,
        single_use: bool = False,
    ) -> None:
        self.peer = peer
        self.settings = settings
        self.clock = clock
        self._random = random
        self._entity = entity
        self._connection = connection_of(system)
        self._single_use = single_use
        # Whether another connection may follow the one there is.
        self._reconnects = self._connection == ACTIVE.id and not single_use
        self.router = router_for(system, settings, single_use=single_use)
        self.snapshot = self.router.initial
        self.world = World()
        self.clockwork = Clockwork(settings, clock, random)
        # The TCP connection, exactly while ``world.tcp`` is open.
        self.epoch: Epoch | None = None
        self.epochs = 0
        self.attempts = 0
        self.times_selected = 0
        self.failed_attempts = 0
        self.counters: Counter[str] = Counter()
        # Primaries not yet taken by the program, oldest first; bounded by ``inbox_size``. They
        # outlive their connection: received is received.
        self.inbox: deque[Primary] = deque()
        # The event by which TCP, or a session on it, ended last; empty before that.
        self.last_end = ""
        # How each state was last left.
        self.left: dict[str, Left] = {}
        # What the driver is to do about TCP, in order; it takes them out.
        self.wishes: deque[Wish] = deque()
        # The error of the latest attempt or connection that ended, for who comes too late.
        self.last_error: HsmsError | None = None
        self.report: Callable[[Happened], None] = _ignore
        self.record: Callable[[Record], None] = _ignore
        self.on_primary: Callable[[], None] = _nothing
        # The frame whose answer the charts are asked for, while they are.
        self._answering: Frame | None = None
        # When the latest linktest went unanswered.
        self._missed_at = -math.inf

    # What it is now

    @property
    def phase(self) -> str:
        """The connection's state as people name it: ``"selected"``, ``"connecting"`` …"""
        return PHASES[self.connection_snapshot.leaves]

    @property
    def connection_snapshot(self) -> Snapshot:
        """Where the connection chart is."""
        return self.snapshot[self._connection]

    @property
    def selected(self) -> bool:
        """Whether data messages may pass."""
        return self.world.gate

    @property
    def is_closing(self) -> bool:
        """Whether it was closed by a call, be it that the last frame is still on its way."""
        return self.phase == "closed" or "closing" in self.snapshot

    def times_left(self, state: str) -> int:
        """How often a state was left so far."""
        return self.left.get(state, _NEVER).times

    def retry_after(self) -> float:
        """Seconds until an attempt may begin; 0 when one is running, infinite when none will."""
        now = self.clock()
        if "isolated" in self.snapshot or self.phase in ("idle", "closed"):
            return math.inf
        running = [timer for timer in ("t5", "open_time") if timer in self.clockwork.started]
        return max((0.0, *(self.clockwork.due(timer, self.epoch) - now for timer in running)))

    def next_due(self) -> float:
        """When ``tick`` is to be called next, in the clock's seconds."""
        return self.clockwork.next_due(self.epoch)

    @property
    def is_busy(self) -> bool:
        """Whether more messages are likely to be queued soon, and better sent together."""
        epoch = self.epoch
        return bool(self.inbox) or (epoch is not None and len(epoch.transactions) > 1)

    # What goes in

    def tell(self, event: str, detail: Detail = None) -> None:
        """Give the charts one event and do what they ask for.

        Raises ``NotAllowedError`` when no chart takes it, ``ImpossibleEffectError`` when a chart
        asks for what cannot be done: both are defects, unless the event is a local call.
        """
        before = self.snapshot
        step = self.router.step(before, event)
        ending = self._ending(event, detail)
        was_selecting = "selecting" in before
        self.world = informed(self.world, event)
        self.snapshot = step.snapshot
        if event in ("tcp_opened", "tcp_accepted"):
            self._begin_epoch()
        for effect in step.effects:
            self.world = after(self.world, effect)
            self._do(effect, ending)
        self._settle(step.hops, ending, was_selecting=was_selecting)
        number = self.epochs
        self.record(Record(self.clock(), number, event, step.hops, step.effects))

    def call(self, event: str) -> None:
        """A local call. Raises ``LocalProtocolError`` when it does not fit the state."""
        what = event.removesuffix("_requested").replace("_", " ")
        if event not in self.router.owner:
            raise LocalProtocolError(f"{self.peer}: {what} is for the end that dials")
        try:
            self.tell(event)
        except NotAllowedError as error:
            if self.is_closing:
                raise ClosedError(f"{self.peer}: {what} after close; open another one") from None
            raise LocalProtocolError(
                f"{self.peer}: {what} is not possible in {error.snapshot.leaves}"
            ) from None

    def end(self) -> None:
        """Nobody runs this link any more: whatever still waits for it is to be told."""
        if self.router.takes(self.snapshot, "close_requested"):
            self.tell("close_requested")
        if self.epoch is not None:
            self.tell("tcp_closed")

    def tick(self) -> None:
        """Time has passed: end every timer that is due."""
        now = self.clock()
        epoch = self.epoch
        if epoch is not None:
            epoch.transactions.expire(now, self.settings.t3, self._t3_error)
        for timer in self.clockwork.expired(epoch):
            # An earlier one of these may have stopped it, or stopped it and started it anew.
            if timer in self.clockwork.started and self.clockwork.due(timer, self.epoch) <= now:
                self._expire(timer)

    def receive(self, data: bytes) -> None:
        """Bytes have come on the connection, in order."""
        epoch = self.epoch
        assert epoch is not None
        epoch.last_received = self.clock()
        self.counters["bytes received"] += len(data)
        bad: FrameLengthError | None = None
        frames: Sequence[Frame]
        try:
            frames = epoch.decoder.feed(data)
        except FrameLengthError as error:
            bad, frames = error, error.frames
        self.counters["frames received"] += len(frames)
        for index, frame in enumerate(frames):
            if frame.stype == _DATA and frame.ptype == 0 and self.world.gate:
                self._receive_data(epoch, frame)
            else:
                self._receive_control(epoch, frame)
            if self.epoch is not epoch:
                self.counters["frames after the end"] += len(frames) - index - 1
                return
        if bad is not None:
            self.tell("communication_failed", bad)
        else:
            self._tell_receiver(epoch, completed=bool(frames))

    def wrote(self, epoch: Epoch, count: int) -> None:
        """``count`` more bytes have been handed to the transport."""
        if epoch is not self.epoch:
            return
        epoch.written += count
        self.counters["bytes sent"] += count
        now = self.clock()
        if epoch.transactions.written(epoch.written, now):
            self.clockwork.expect(now + self.settings.t3)
        if epoch.backlog == 0 and "leaving" in self.snapshot and not self.world.finished:
            self.tell("flushed")

    def configure(self, settings: Settings) -> None:
        """Other settings, from now on. Counts and running timers keep their history."""
        self.settings = self.clockwork.settings = settings
        router = router_for(self.router.system, settings, single_use=self._single_use)
        self.snapshot = router.adopt(self.snapshot)
        self.router = router
        if self.epoch is not None:
            self.epoch.decoder.max_frame = settings.max_frame
        self.tell("linktest_reconfigured")
        if "reconfigured" in router.owner:
            self.tell("reconfigured")

    # Messages

    def request(self, message: Message) -> Transaction:
        """Queue a primary with W and open its transaction. The gate is open."""
        epoch = self._open_epoch()
        number = epoch.transactions.take_system_bytes()
        self._queue_data(epoch, message, number)
        return epoch.transactions.open(message.stream, message.function, epoch.queued, number)

    def send(self, message: Message, system_bytes: int | None = None) -> None:
        """Queue a message that opens no transaction. The gate is open."""
        epoch = self._open_epoch()
        if system_bytes is None:
            system_bytes = epoch.transactions.take_system_bytes()
        self._queue_data(epoch, message, system_bytes)

    def reply(self, primary: Message, reply: Message) -> None:
        """Queue the reply to a primary of this connection.

        Raises ``LocalProtocolError`` when there is nothing to answer.
        """
        if not isinstance(primary, Primary):
            raise LocalProtocolError(f"{primary!r} was not received on a connection")
        if primary.epoch is not self.epoch:
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
        self.send(reply, primary.system_bytes)
        primary.answered = True

    def cancel(self, transaction: Transaction) -> None:
        """The caller no longer waits. Sends nothing, and does not un-send."""
        if transaction.outcome is None and self.epoch is not None:
            cancelled = ClosedError(f"{transaction.name} was cancelled")
            self._end_transaction(self.epoch, transaction, "request_cancelled", cancelled)

    def unusable(self) -> HsmsError:
        """Why no message can be sent now."""
        if self.is_closing:
            return ClosedError(f"{self.peer}: closed by a call; open another one")
        if self.epoch is not None and not self._reconnects:
            return LocalProtocolError(
                f"{self.peer}: a data message is not allowed in {self.phase}; nothing was sent"
            )
        after_text = f"; next attempt in {self.retry_after():.1f} s"
        why = f" ({self.last_error})" if self.last_error else ""
        return LinkDownError(
            f"{self.peer}: the link is {self.phase}, not selected{after_text}{why}",
            self.retry_after(),
        )

    def statistics(self) -> Statistics:
        """A consistent picture of all counts, made now."""
        return Statistics.of(self)

    # Inside

    def _open_epoch(self) -> Epoch:
        if self.epoch is None or not self.world.gate:
            raise self.unusable()
        return self.epoch

    def _queue_data(self, epoch: Epoch, message: Message, system_bytes: int) -> None:
        epoch.queue(
            encode_data(
                self.settings.session_id,
                message.stream,
                message.function,
                message.wait,
                system_bytes,
                message.body,
            )
        )
        epoch.last_sent = self.clock()
        self.counters["messages sent"] += 1

    def _end_transaction(
        self, epoch: Epoch, transaction: Transaction, event: str, outcome: Message | HsmsError
    ) -> None:
        epoch.transactions.end(transaction, event, outcome)
        if not epoch.transactions and self.settings.linktest_interval is not None:
            # T3 no longer watches the link: a linktest may be due earlier than it was.
            self.clockwork.expect(epoch.last_sent + self.settings.linktest_interval)

    def _begin_epoch(self) -> None:
        self.epochs += 1
        self.epoch = Epoch(
            self.epochs,
            self.clock(),
            max_frame=self.settings.max_frame,
            first_system_bytes=self._random.getrandbits(32),
        )

    def _ending(self, event: str, detail: Detail) -> Ending:
        epoch = self.epoch
        silent = self.clock() - epoch.last_received if epoch else 0.0
        return Ending(event, detail, self.peer, self.settings, epoch, silent)

    def _do(self, effect: Effect, ending: Ending) -> None:
        known: DriverEffect = effect  # type: ignore[assignment]  # the wires leave no other effect
        match known:
            case Start(timer):
                self.clockwork.start(timer.id)
            case Stop(timer):
                self.clockwork.stop(timer.id)
            case Send(frame):
                self._send_control(frame)
            case Count(counter):
                self.counters[counter.value] += 1
            case OpenGate():
                if self._entity is not None:
                    self._entity.take(self)
            case CloseGate():
                self._close_gate(ending)
            case OpenTcp():
                self.attempts += 1
                self.clockwork.begin_attempt()
                self.wishes.append(known)
            case AbandonTcp() | FinishTcp():
                self.wishes.append(known)
            case CloseTcp():
                self.epoch = None
                self.wishes.append(known)
            case _:
                assert_never(known)

    def _close_gate(self, ending: Ending) -> None:
        assert self.epoch is not None
        if self._entity is not None:
            self._entity.give_back(self)
        self.last_end = ending.event
        loss = ending.loss_error()
        closed_here = ending.event == "close_requested"

        def outcome(transaction: Transaction) -> HsmsError:
            if closed_here:
                return ClosedError(f"{transaction.name} got no reply: the connection was closed")
            return lost_request(transaction.name, loss)

        self.epoch.transactions.end_all("connection_ended", outcome)

    def _send_control(self, kind: Outgoing) -> None:
        epoch = self.epoch
        assert epoch is not None
        frame = control(kind, self._answering, epoch.transactions.take_system_bytes)
        match kind:
            case Outgoing.SELECT_REQ:
                epoch.own.select = frame.system_bytes
            case Outgoing.DESELECT_REQ:
                epoch.own.deselect = frame.system_bytes
            case Outgoing.LINKTEST_REQ:
                epoch.own.linktest = frame.system_bytes
            case _:
                pass
        epoch.queue(encode(frame))
        epoch.last_sent = self.clock()
        self.counters["control frames sent"] += 1
        if frame.stype == _REJECT:
            self.counters["rejects sent"] += 1

    def _settle(self, hops: tuple[Hop, ...], ending: Ending, *, was_selecting: bool) -> None:
        """Turn the states entered in a step into events and errors."""
        number = self.epochs
        for hop in hops:
            if hop.before is hop.after:
                continue
            if hop.before.leaves != hop.after.leaves:
                leaf = hop.before.leaves
                self.left[leaf] = Left(self.times_left(leaf) + 1, ending.event, ending.detail)
            if hop.chart == "breaker":
                happened = breaker_event(self, hop, number)
            elif hop.chart == self._connection:
                self._note_ending(hop, ending, was_selecting=was_selecting)
                happened = link_event(self, hop, number)
            else:
                continue
            if happened is not None:
                self.report(happened)

    def _note_ending(self, hop: Hop, ending: Ending, *, was_selecting: bool) -> None:
        old, new = PHASES[hop.before.leaves], PHASES[hop.after.leaves]
        if new == "selected" != old:
            self.times_selected += 1
            self.clockwork.failures_in_row = 0
            self.last_error = None
        elif ending.event not in _LOCAL_ENDS and new in ("waiting", "listening", "closed"):
            if old in ("connecting", "selecting"):
                self.failed_attempts += 1
                self.clockwork.failures_in_row += 1
                self.last_error = ending.attempt_error(selecting=was_selecting)
            elif old in ("selected", "not selected"):
                self.last_error = ending.loss_error()

    def _expire(self, timer: str) -> None:
        epoch = self.epoch
        if timer == "t6_linktest" and epoch is not None:
            if epoch.last_received > self.clockwork.started[timer]:
                self.tell("t6_linktest_excused")
                return
            self._missed_at = self.clock()
            self.counters["linktests unanswered"] += 1
        alive_since = epoch is not None and epoch.last_received > self._missed_at
        if timer == "linktest_interval" and alive_since:
            self.tell("traffic_seen")
        self.tell(f"{timer}_expired")

    def _tell_receiver(self, epoch: Epoch, *, completed: bool) -> None:
        was_partial = "in_frame" in self.snapshot["receiver"]
        is_partial = epoch.decoder.partial
        if was_partial and completed:
            self.tell("frame_completed")
        elif was_partial:
            self.tell("frame_progressed")
            return
        if is_partial:
            self.tell("frame_began")

    def _receive_control(self, epoch: Epoch, frame: Frame) -> None:
        if frame.stype == _REJECT and frame.ptype == 0:
            transaction = epoch.transactions.find(frame.system_bytes)
            if transaction is not None:
                rejected = self._rejected(frame)
                self._end_transaction(epoch, transaction, "reject_received", rejected)
                return
        taken = self._entity is not None and self._entity.taken_for(self)
        event = classify(frame, epoch.own, entity_taken=taken)
        self._answering = frame
        try:
            self.tell(event, frame)
        finally:
            self._answering = None
        self._check_reserve(epoch)

    def _check_reserve(self, epoch: Epoch) -> None:
        """Answers are queued whether or not the peer reads; there is an end to it."""
        if self.epoch is epoch and epoch.backlog > self.settings.outbox_size + _CONTROL_RESERVE:
            self.tell(
                "communication_failed",
                f"the peer sends requests and reads no answers: {epoch.backlog} bytes are queued",
            )

    def _receive_data(self, epoch: Epoch, frame: Frame) -> None:
        counters = self.counters
        counters["messages received"] += 1
        session_id, byte2, function, _, _, system_bytes, body = frame
        if session_id != self.settings.session_id and self.settings.check_session_id:
            self._foreign(epoch, frame)
            return
        stream = byte2 & 0x7F
        if function & 1:
            primary = Primary.received(
                stream, function, byte2 > 0x7F, body, session_id, system_bytes
            )
            primary.epoch = epoch
            primary.answered = False
            if len(self.inbox) >= self.settings.inbox_size:
                counters["primaries without room"] += 1
                self.tell(
                    "communication_failed",
                    f"the inbox is full: {len(self.inbox)} primaries wait and nobody takes them "
                    f"(inbox_size); {primary.name} did not fit",
                )
                return
            self.inbox.append(primary)
            self.on_primary()
            return
        message = Message.received(stream, function, byte2 > 0x7F, body, session_id, system_bytes)
        transaction = epoch.transactions.find(system_bytes)
        if transaction is not None and byte2 <= 0x7F:
            if function == transaction.function + 1 and stream == transaction.stream:
                self._end_transaction(epoch, transaction, "reply_received", message)
                return
            if function == 0:
                aborted = AbortedError(
                    f"{self.peer}: aborted {transaction.name} with {message.name}"
                )
                self._end_transaction(epoch, transaction, "abort_received", aborted)
                return
        counters["unexpected secondaries"] += 1
        self.report(UnexpectedSecondary(self.clock(), epoch.number, message))

    def _foreign(self, epoch: Epoch, frame: Frame) -> None:
        self.counters["foreign session id"] += 1
        if self.settings.is_equipment and (frame.stream, frame.function) != (9, 1):
            self._queue_data(epoch, stream_nine(1, frame), epoch.transactions.take_system_bytes())
            self._check_reserve(epoch)

    def _rejected(self, frame: Frame) -> RejectedError:
        return RejectedError(
            f"{self.peer}: rejected with reason {reject_name(frame.byte3)}", frame.byte3
        )

    def _t3_error(self, transaction: Transaction) -> ReplyTimeoutError:
        self.counters["replies timed out"] += 1
        if self.settings.is_equipment and self.epoch is not None:
            primary = Frame(
                self.settings.session_id,
                transaction.stream | 0x80,
                transaction.function,
                0,
                _DATA,
                transaction.system_bytes,
                b"",
            )
            self._queue_data(
                self.epoch, stream_nine(9, primary), self.epoch.transactions.take_system_bytes()
            )
        return ReplyTimeoutError(
            f"{self.peer}: no reply to {transaction.name} within T3 = {self.settings.t3:g} s; "
            "the connection stays"
        )


def _ignore(_: object) -> None:
    """Nobody listens."""


def _nothing() -> None:
    """Nobody waits."""
