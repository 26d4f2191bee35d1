"""The protocol of one link without I/O: one door in, one door out.

What happens goes in: what TCP did, bytes, the passing of time, calls, messages. What follows comes
out of ``next_output``, in order, until it gives None; ``next_due`` says when ``tick`` is to be
called. Nothing else is to be looked at, so a ``for`` loop can drive an engine::

    engine.receive(data)
    while (output := engine.next_output()) is not None:
        ...  # bytes to write, what to do about TCP, events, primaries, settled transactions

Invariants:

* Every decision about the lifecycle is the charts' (``lifecycle``). Data messages pass by them,
  exactly while the session is selected (``exchange``).
* What concerns a connection that is over changes nothing any more: a report about it may come late.
* Whatever is dropped is counted.

Diagram: ``diagrams/lifecycle.svg``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from hsms_engine.errors import ClosedError, HsmsError
from hsms_engine.message import Message
from hsms_engine.protocol.classify import classify
from hsms_engine.protocol.context import Context
from hsms_engine.protocol.control import (
    DESELECT,
    LINKTEST,
    SELECT,
    ControlRequest,
    ControlTransaction,
)
from hsms_engine.protocol.entity import Entity
from hsms_engine.protocol.epoch import Epoch, Primary
from hsms_engine.protocol.lifecycle import Lifecycle
from hsms_engine.protocol.outputs import Output
from hsms_engine.protocol.phases import Phase
from hsms_engine.protocol.refusals import misplaced, refused, unusable
from hsms_engine.protocol.statistics import COUNTERS, Statistics
from hsms_engine.protocol.transactions import Transaction
from hsms_engine.settings import Settings
from hsms_engine.wire import SECS_II, Frame, FrameLengthError, SType
from statecharts import System

_DATA = int(SType.DATA)


class Engine:
    """One link, active or passive. Times are seconds of ``clock``, which never goes backwards.

    ``peer`` is how messages to people name the other end; asked again when an attempt begins, so
    that a changed address names the connection it led to. ``entity`` has the sessions that a
    passive engine shares with others; ``single_use``: an active one makes one connection.
    """

    def __init__(
        self,
        system: System,
        settings: Settings,
        *,
        clock: Callable[[], float],
        random: Random,
        peer: Callable[[Settings], str],
        entity: Entity | None = None,
        single_use: bool = False,
    ) -> None:
        self._entity = entity
        self._context = Context(settings, clock, random, peer)
        self._life = Lifecycle(system, self._context, entity=entity, single_use=single_use)
        self._exchange = self._life.exchange
        # Bound, not wrapped: they are called for every message.
        self.next_output = self._context.outputs.next
        self.take = self._exchange.take

    # What comes out

    next_output: Callable[[], Output | None]
    """What follows next from what has gone in; None when that is all."""

    def next_due(self) -> float:
        """When ``tick`` is to be called, perhaps earlier than need be; infinite when never."""
        return self._life.timers.next_due()

    # What happens: TCP, bytes, time

    def tcp_opened(self) -> None:
        """The dial that ``OpenTcp`` asked for has come up."""
        self._life.tell("tcp_opened")

    def tcp_failed(self, error: Exception) -> None:
        """The dial that ``OpenTcp`` asked for has failed."""
        self._life.tell("tcp_failed", error)

    def tcp_accepted(self) -> None:
        """Passive: this is the connection."""
        self._life.tell("tcp_accepted")

    def tcp_closed(self, error: Exception | None = None) -> None:
        """The peer has closed TCP, or it broke with ``error``."""
        if self._context.epoch is not None:
            self._life.tell("tcp_closed", error)

    def wrote(self, count: int) -> None:
        """The stream has taken ``count`` more of the bytes that came out, perhaps 0 of them."""
        context, life = self._context, self._life
        context.counters["bytes_sent"] += count
        if (epoch := context.epoch) is None:
            return
        epoch.written += count
        now = context.clock()
        if epoch.transactions.written(epoch.written, now):
            life.timers.expect(now + context.settings.t3)
        was_blocked = "backlogged" in life.snapshot
        if epoch.backlog:
            if count and was_blocked:
                life.tell("write_progressed")
            elif not was_blocked:
                life.tell("write_blocked")
            return
        if was_blocked:
            life.tell("write_drained")
        if count:
            life.mention("flushed")

    def receive(self, data: bytes) -> int:
        """Bytes have come, in order. How many frames they completed."""
        context, life = self._context, self._life
        context.counters["bytes_received"] += len(data)
        if (epoch := context.epoch) is None:
            context.counters["bytes_after_the_end"] += len(data)
            return 0
        epoch.last_received = context.clock()
        life.mention("traffic_seen")
        bad_length: FrameLengthError | None = None
        frames: Sequence[Frame]
        try:
            frames = epoch.decoder.feed(data)
        except FrameLengthError as error:
            frames = error.frames
            # Made anew: who keeps the error keeps neither these frames nor this call.
            bad_length = FrameLengthError(error.length, error.raw, error.limit)
        context.counters["frames_received"] += len(frames)
        selected = self.is_selected
        for index, frame in enumerate(frames):
            if selected and frame.stype == _DATA and frame.ptype == SECS_II:
                problem = self._exchange.receive(epoch, frame)
            else:
                problem = self._receive_control(epoch, frame)
                selected = self.is_selected
            if problem is not None:
                life.tell("communication_failed", problem)
            if context.epoch is not epoch:
                context.counters["frames_after_the_end"] += len(frames) - index - 1
                return len(frames)
        if bad_length is not None:
            life.tell("communication_failed", bad_length)
        else:
            self._tell_receiver(epoch, completed=bool(frames))
        return len(frames)

    def tick(self) -> None:
        """Time has passed: end every timer that is due."""
        life, timers = self._life, self._life.timers
        now = self._context.clock()
        timers.retime()
        if self._context.epoch is not None:
            self._exchange.expire(self._context.epoch)
        for timer in timers.expired():
            # An earlier one of these may have stopped it, or stopped it and started it anew.
            if timer in timers.started and timers.due(timer) <= now:
                life.tell(f"{timer}_expired")

    # Calls

    def enable(self) -> None:
        """Begin to connect, and keep at it. Raises ``LocalProtocolError`` when it is enabled."""
        self._call("enable_requested")

    def disable(self) -> None:
        """End what there is and begin no other. Raises ``LocalProtocolError`` when disabled."""
        self._call("disable_requested")

    def close(self) -> None:
        """End it for good: Separate.req if selected. Nothing happens where it ends already."""
        if not self._life.is_closing:
            self._call("close_requested")

    def stop(self) -> None:
        """Nobody runs this any more: end it now, so that all who wait are told."""
        self.close()
        self.tcp_closed()

    def isolate(self) -> None:
        """Open the breaker by hand, until ``release``."""
        self._call("isolate_requested")

    def release(self) -> None:
        """Close the breaker again. Raises ``LocalProtocolError`` when it is not isolated."""
        self._call("release_requested")

    def reset_breaker(self) -> None:
        """Close the breaker, whatever its state, and forget its failures."""
        self._call("reset_requested")

    def linktest(self) -> ControlTransaction:
        """Send Linktest.req, or wait for the one that is unanswered."""
        return self._ask(LINKTEST)

    def deselect(self) -> ControlTransaction:
        """Send Deselect.req. Raises ``LocalProtocolError`` when it is not possible now."""
        return self._ask(DESELECT)

    def select(self) -> ControlTransaction:
        """Send Select.req after a Deselect. Raises ``LocalProtocolError`` when not possible."""
        return self._ask(SELECT)

    def configure(self, settings: Settings) -> None:
        """Other settings, from now on. Raises ``ClosedError`` when it is closed."""
        if self._life.is_closing:
            raise ClosedError(f"{self.peer}: configure after close; open another one")
        self._life.configure(settings)
        if (epoch := self._context.epoch) is not None:
            epoch.decoder.max_frame = settings.max_frame

    # Messages; each raises what ``unusable`` says while the session is not selected

    def request(self, message: Message) -> Transaction:
        """Queue a primary with W. The transaction comes out when it is settled."""
        return self._exchange.request(self._selected_epoch(), message)

    def send(self, message: Message) -> None:
        """Queue a primary that wants no reply."""
        self._exchange.send(self._selected_epoch(), message)

    def reply(self, primary: Message, reply: Message) -> None:
        """Queue the reply to a primary.

        Raises ``LocalProtocolError`` when it is no answer to it, ``ConnectionLostError`` when the
        connection over which the primary came is gone, whether or not there is another, and
        ``ClosedError`` when the link is closed.
        """
        life = self._life
        if not isinstance(primary, Primary) or primary.epoch is not self._context.epoch:
            raise self.unusable() if life.is_closing else self._exchange.unanswerable(primary)
        self._exchange.reply(self._selected_epoch(), primary, reply)

    take: Callable[[Primary], None]
    """The program has this primary: it no longer counts against ``inbox_size``."""

    def abandon(self, transaction: Transaction | ControlTransaction) -> None:
        """Nobody waits for this transaction any more; nothing is sent.

        One that is settled already stays so, and comes out if it has not yet.
        """
        match transaction:
            case Transaction():
                self._exchange.cancel(transaction)
            case ControlTransaction():
                self._life.forget(transaction)

    # What it is now

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._context.settings

    @property
    def peer(self) -> str:
        """The other end, as messages to people name it."""
        return self._context.peer

    @property
    def phase(self) -> Phase:
        """The connection's state as people name it."""
        return self._life.phase

    @property
    def is_selected(self) -> bool:
        """Whether data messages may pass (E37: SELECTED)."""
        return "selected" in self._life.snapshot

    @property
    def is_closed(self) -> bool:
        """Whether it is over: nothing more will come of it."""
        return "closed" in self._life.snapshot

    @property
    def times_selected(self) -> int:
        """How often SELECTED was entered."""
        return self._life.times_selected

    @property
    def failed_attempts(self) -> int:
        """Attempts that ended unasked before they were selected."""
        return self._life.failed_attempts

    @property
    def last_error(self) -> HsmsError | None:
        """Of the latest attempt or connection that ended unasked, since it was last selected."""
        return self._life.last_error

    @property
    def session_ended_by(self) -> str:
        """The event by which SELECTED was left last; empty before that."""
        return self._life.session_ended_by

    @property
    def is_full(self) -> bool:
        """Whether so much is queued (``outbox_size``) that senders are to wait."""
        context = self._context
        epoch = context.epoch
        return epoch is not None and epoch.queued - epoch.written > context.settings.outbox_size

    def unusable(self) -> HsmsError:
        """Why no message can be sent now: an error to be raised."""
        return unusable(self._life, self._context)

    def refused(self) -> HsmsError | None:
        """Why the breaker lets no attempt begin, as an error; None when it lets one."""
        return refused(self._life, self._context)

    def statistics(self) -> Statistics:
        """A consistent picture of all counts, made now."""
        life, context = self._life, self._context
        epoch = context.epoch
        return Statistics(
            phase=self.phase,
            state=life.connection.leaves,
            breaker_state=life.breaker.leaves if life.breaker else None,
            breaker_failures=life.failures,
            breaker_threshold=self.settings.breaker_threshold,
            retry_after=life.retry_after(),
            epoch=context.epochs,
            attempts=life.attempts,
            failed_attempts=life.failed_attempts,
            times_selected=life.times_selected,
            open_transactions=len(epoch.transactions) if epoch else 0,
            waiting_primaries=self._exchange.waiting,
            queued_bytes=epoch.backlog if epoch else 0,
            counts={name: context.counters[name] for name in COUNTERS},
        )

    # Inside

    def _selected_epoch(self) -> Epoch:
        epoch = self._context.epoch
        if epoch is None or "selected" not in self._life.snapshot:
            raise self.unusable()
        return epoch

    def _ask(self, request: ControlRequest) -> ControlTransaction:
        if not self.is_selected and request is not SELECT:
            raise self.unusable()
        self._check(request.call)
        return self._life.ask(request)

    def _call(self, event: str) -> None:
        self._check(event)
        self._life.tell(event)

    def _check(self, event: str) -> None:
        if (error := misplaced(self._life, self._context, event)) is not None:
            raise error

    def _tell_receiver(self, epoch: Epoch, *, completed: bool) -> None:
        was_partial = "in_frame" in self._life.snapshot
        is_partial = epoch.decoder.partial
        if was_partial and completed:
            self._life.tell("frame_completed")
        elif was_partial:
            self._life.tell("frame_progressed")
            return
        if is_partial:
            self._life.tell("frame_began")

    def _receive_control(self, epoch: Epoch, frame: Frame) -> str | None:
        """A frame for the charts, or a Reject.req of an open request. Why it cannot go on after."""
        is_reject = frame.stype == SType.REJECT_REQ and frame.ptype == SECS_II
        if is_reject and self._exchange.receive_reject(epoch, frame):
            return None
        taken = self._entity is not None and self._entity.taken_for(self._life)
        self._life.tell(classify(frame, epoch.own, entity_taken=taken), frame)
        return self._exchange.overdrawn(epoch) if self._context.epoch is epoch else None
