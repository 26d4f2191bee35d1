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
    ClosedError,
    HsmsError,
    LinkDownError,
    LocalProtocolError,
)
from hsms_engine.protocol.classify import classify
from hsms_engine.protocol.clockwork import Clockwork
from hsms_engine.protocol.endings import Detail, Ending
from hsms_engine.protocol.entity import Entity
from hsms_engine.protocol.epoch import Epoch
from hsms_engine.protocol.exchange import Exchange
from hsms_engine.protocol.frames import control
from hsms_engine.protocol.history import LOCAL_ENDS, History
from hsms_engine.protocol.phases import PHASES, Moment, breaker_event, link_event
from hsms_engine.protocol.routers import connection_of, router_for
from hsms_engine.protocol.statistics import COUNTERS, Statistics
from hsms_engine.settings import Settings
from hsms_engine.wire import Frame, FrameLengthError, SType, encode
from statecharts import Effect, Hop, NotAllowedError, Snapshot, Start, Stop, System
from statecharts.hsms import ACTIVE, BREAKER
from statecharts.hsms.timers import OPEN_TIME
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


class Record(NamedTuple):
    """One step of the charts as it happened: for logs, and for holding a run against the charts."""

    at: float
    epoch: int
    event: str
    hops: tuple[Hop, ...]
    effects: tuple[Effect, ...]


class Engine:
    """One link, active or passive.

    ``peer`` is how messages to people name the other end; asked again when an attempt begins, so
    that a changed address names the connection it led to.
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
        self.history = History()
        self.clockwork = Clockwork(settings, clock, random, self.history)
        # The TCP connection, exactly while ``world.tcp`` is open.
        self.epoch: Epoch | None = None
        self.epochs = 0
        self.counters: Counter[str] = Counter()
        self.exchange = Exchange(self.clockwork, self.counters, peer(settings))
        self._name_peer = peer
        # What the driver is to do about TCP, in order; it takes them out.
        self.wishes: deque[Wish] = deque()
        self.record: Callable[[Record], None] = _ignore_record
        # The frame whose answer the charts are asked for, while they are.
        self._answering: Frame | None = None
        # When the latest linktest went unanswered.
        self._missed_at = -math.inf

    # What it is now

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.clockwork.settings

    @property
    def peer(self) -> str:
        """The other end, as messages to people name it."""
        return self.exchange.peer

    @property
    def phase(self) -> str:
        """The connection's state as people name it: ``"selected"``, ``"connecting"`` …"""
        return PHASES[self._connection_snapshot.leaves]

    @property
    def _connection_snapshot(self) -> Snapshot:
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

    # What goes in

    def tell(self, event: str, detail: Detail = None) -> None:
        """Give the charts one event and do what they ask for.

        Raises ``NotAllowedError`` when no chart takes it, ``ImpossibleEffectError`` when a chart
        asks for what cannot be done: both are defects, unless the event is a local call.
        """
        before = self.snapshot
        step = self.router.step(before, event)
        ending = self._ending(event, detail)
        self.world = informed(self.world, event)
        self.snapshot = step.snapshot
        if event in ("tcp_opened", "tcp_accepted"):
            self._begin_epoch()
        for effect in step.effects:
            self.world = after(self.world, effect)
            self._do(effect, ending)
        self._settle(step.hops, ending)
        number = self.epochs
        self.record(Record(self.clock(), number, event, step.hops, step.effects))

    def call(self, event: str) -> None:
        """A local call. Raises ``LocalProtocolError`` when it does not fit the state."""
        what = event.removesuffix("_requested").replace("_", " ")
        if event not in self.router.owner:
            raise LocalProtocolError(f"{self.peer}: {what} is for the end that dials")
        if self.is_closing:
            raise ClosedError(f"{self.peer}: {what} after close; open another one")
        try:
            self.tell(event)
        except NotAllowedError as error:
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
            self.exchange.expire(epoch)
        for timer in self.clockwork.expired(epoch):
            # An earlier one of these may have stopped it, or stopped it and started it anew.
            if timer in self.clockwork.started and self.clockwork.due(timer, self.epoch) <= now:
                self._expire(timer)

    def receive(self, data: bytes) -> FrameLengthError | None:
        """Bytes have come on the connection, in order.

        A bad length among them is returned, to be told as ``communication_failed`` when the
        answers to the frames before it have been sent.
        """
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
                self._fail_if(self.exchange.receive(epoch, frame))
            else:
                self._receive_control(epoch, frame)
            if self.epoch is not epoch:
                self.counters["frames after the end"] += len(frames) - index - 1
                return None
        if bad is None:
            self._tell_receiver(epoch, completed=bool(frames))
        return bad

    def wrote(self, epoch: Epoch, count: int) -> None:
        """``count`` more bytes have been handed to the transport."""
        epoch.written += count
        self.counters["bytes sent"] += count
        now = self.clock()
        if epoch.transactions.written(epoch.written, now):
            self.clockwork.expect(now + self.settings.t3)
        if epoch.backlog == 0 and "leaving" in self.snapshot and not self.world.finished:
            self.tell("flushed")

    def configure(self, settings: Settings) -> None:
        """Other settings, from now on. Counts and running timers keep their history."""
        self.clockwork.settings = settings
        router = router_for(self.router.system, settings, single_use=self._single_use)
        self.snapshot = router.adopt(self.snapshot)
        self.router = router
        if self.epoch is not None:
            self.epoch.decoder.max_frame = settings.max_frame
        self.tell("linktest_reconfigured")
        if "reconfigured" in router.owner:
            self.tell("reconfigured")

    # Messages

    def open_epoch(self) -> Epoch:
        """The connection that data messages may go over now.

        Raises what ``unusable`` says when there is none.
        """
        if self.epoch is None or not self.world.gate:
            raise self.unusable()
        return self.epoch

    def unusable(self) -> HsmsError:
        """Why no message can be sent now."""
        if self.is_closing:
            return ClosedError(f"{self.peer}: closed by a call; open another one")
        if self.epoch is not None and not self._reconnects:
            return LocalProtocolError(
                f"{self.peer}: not allowed in {self.phase}, only while selected; nothing was sent"
            )
        retry_after = self.retry_after()
        follows = (
            f"next attempt in {retry_after:.1f} s"
            if math.isfinite(retry_after)
            else "no attempt will be made until it is enabled or released"
        )
        why = f" ({self.history.last_error})" if self.history.last_error else ""
        return LinkDownError(
            f"{self.peer}: the link is {self.phase}, not selected; {follows}{why}", retry_after
        )

    def statistics(self) -> Statistics:
        """A consistent picture of all counts, made now."""
        epoch = self.epoch
        breaker = self.snapshot["breaker"] if "breaker" in self.router.machines else None
        return Statistics(
            phase=self.phase,
            state=self._connection_snapshot.leaves,
            breaker_state=breaker.leaves if breaker else None,
            breaker_failures=self._breaker_failures(),
            breaker_threshold=self.settings.breaker_threshold,
            retry_after=self.retry_after(),
            epoch=self.epochs,
            attempts=self.history.attempts,
            failed_attempts=self.history.failed_attempts,
            times_selected=self.history.times_selected,
            open_transactions=len(epoch.transactions) if epoch else 0,
            waiting_primaries=len(self.exchange.inbox),
            queued_bytes=epoch.backlog if epoch else 0,
            counts={name: self.counters[name] for name in COUNTERS},
        )

    # Inside

    def _breaker_failures(self) -> int:
        machine = self.router.machines.get(BREAKER.id)
        return machine.values(self.snapshot[BREAKER.id])["failures"] if machine else 0

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
                self.history.attempts += 1
                self.clockwork.begin_attempt()
                self.exchange.peer = self._name_peer(self.settings)
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
        self.history.last_end = ending.event
        self.exchange.end_all(self.epoch, ending)

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

    def _settle(self, hops: tuple[Hop, ...], ending: Ending) -> None:
        """Turn the states entered in a step into events and errors."""
        for hop in hops:
            leaf = hop.before.leaves
            if leaf == hop.after.leaves:
                continue
            self.history.note_leaving(hop, ending)
            if hop.chart == self._connection:
                self.history.note_connection(hop, ending)
                happened = link_event(leaf, hop.after.leaves, self._moment(ending))
            elif hop.chart == BREAKER.id:
                happened = breaker_event(hop.after.leaves, self._moment(ending))
            else:
                continue
            if happened is not None:
                self.exchange.report(happened)

    def _moment(self, ending: Ending) -> Moment:
        is_open = OPEN_TIME.id in self.clockwork.started
        return Moment(
            at=self.clock(),
            epoch=self.epochs,
            attempts=self.history.attempts,
            retry_after=self.retry_after(),
            error=None if ending.event in LOCAL_ENDS else self.history.last_error,
            failures=self._breaker_failures(),
            threshold=self.settings.breaker_threshold,
            open_for=self.clockwork.due(OPEN_TIME.id, None) - self.clock() if is_open else 0.0,
        )

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
        is_reject = frame.stype == _REJECT and frame.ptype == 0
        if is_reject and self.exchange.receive_reject(epoch, frame):
            return
        taken = self._entity is not None and self._entity.taken_for(self)
        event = classify(frame, epoch.own, entity_taken=taken)
        self._answering = frame
        try:
            self.tell(event, frame)
        finally:
            self._answering = None
        if self.epoch is epoch:
            self._fail_if(self.exchange.overdrawn(epoch))

    def _fail_if(self, problem: str | None) -> None:
        if problem is not None:
            self.tell("communication_failed", problem)


def _ignore_record(_: Record) -> None:
    """Nobody records."""
