"""Runs the charts of one link and does what they ask for.

The charts make every decision about the lifecycle, and only ``tell`` gives them events. Before an
effect is done, ``World`` checks it, by the same function that the model checker uses. When a chart
cannot take what has happened, or asks for what cannot be done, that is a defect of this package: it
ends this link, which tells it as ``DefectError``, and nothing else.

Diagram: ``diagrams/lifecycle.svg``.
"""

from __future__ import annotations

import copy
import math
from typing import assert_never

from hsms_engine.errors import ConnectionLostError, DefectError, HsmsError
from hsms_engine.events import Closed, Idle, Unsent, Withdrawn
from hsms_engine.protocol.causes import Cause, Detail
from hsms_engine.protocol.context import Context
from hsms_engine.protocol.control import ControlRequest, ControlTransaction
from hsms_engine.protocol.downtime import Downtime
from hsms_engine.protocol.entity import Entity
from hsms_engine.protocol.epoch import Epoch
from hsms_engine.protocol.exchange import Exchange
from hsms_engine.protocol.frames import control
from hsms_engine.protocol.leasing import Leasing
from hsms_engine.protocol.outputs import Step
from hsms_engine.protocol.phases import PHASES, Moment, Phase, breaker_event, link_event
from hsms_engine.protocol.routers import CALLS, connection_of, router_for
from hsms_engine.protocol.saving import RESTORED, Kept
from hsms_engine.protocol.timers import Timers
from hsms_engine.settings import Settings
from hsms_engine.wire import SType, encode
from statecharts import (
    ADOPTED,
    ChartFaultError,
    Effect,
    Hop,
    NotAllowedError,
    Router,
    Snapshot,
    Start,
    Stop,
    System,
    SystemStep,
)
from statecharts.hsms import ACTIVE, BREAKER, LEASE
from statecharts.hsms.timers import LINGER, OPEN_TIME, T5, T6, T6_LINKTEST
from statecharts.hsms.vocabulary import (
    AbandonTcp,
    AskStore,
    CloseGate,
    CloseTcp,
    ContestSession,
    Count,
    DriverEffect,
    FinishTcp,
    OpenGate,
    OpenTcp,
    Outgoing,
    ReleaseLease,
    ResetTcp,
    Send,
    StopAsking,
)
from statecharts.hsms.world import ImpossibleEffectError, Tcp, World, after_all

# Events by which a user closes a connection or abandons an attempt, which is no error. The last one
# is for a lowered threshold: when it opens the breaker, the running attempt is withdrawn.
_ASKED_FOR = CALLS | {"permit_withdrawn"}
_DEFECTS = (ChartFaultError, ImpossibleEffectError, NotAllowedError)
# The timers that run from the moment a frame of ours is handed on.
_TIMED = {
    Outgoing.SELECT_REQ: T6.id,
    Outgoing.DESELECT_REQ: T6.id,
    Outgoing.LINKTEST_REQ: T6_LINKTEST.id,
    Outgoing.SEPARATE_REQ: LINGER.id,
    Outgoing.SELECT_RSP_EXHAUSTED: LINGER.id,
}


class Lifecycle:
    """The charts of one link, their snapshot, and what they have asked for.

    ``lease``: what is known of the lease that decides about the link, if one does.
    """

    def __init__(
        self,
        system: System,
        context: Context,
        *,
        entity: Entity | None,
        single_use: bool,
        lease: Leasing | None,
    ) -> None:
        self._context = context
        self._entity = entity
        self.lease = lease
        self._connection = connection_of(system)
        self._single_use = single_use
        self.router = router_for(system, context.settings, single_use=single_use)
        self.snapshot = self.router.initial
        # Only checks that an effect can be done; the state is read from the snapshot.
        self._world = World()
        self.downtime = Downtime(context, reconnects=self.reconnects)
        self.timers = Timers(context, lambda: self.failures, self.downtime, lease)
        self.exchange = Exchange(context, self.timers, entity)
        self._asked: list[ControlTransaction] = []
        self.attempts = 0
        self.failed_attempts = 0
        self.times_selected = 0
        # The event of the latest exit of SELECTED; empty before the first.
        self.session_ended_by = ""
        # The latest failure of an attempt or a connection since the last SELECTED.
        self.last_error: HsmsError | None = None
        # The error of the close for good, when accepted messages could not be written.
        self.unsent: ConnectionLostError | None = None
        # Why it has closed itself, and what was to be kept at that time.
        self.defect: DefectError | None = None
        self._kept: tuple[float, Kept] | None = None

    @property
    def connection(self) -> Snapshot:
        """The snapshot of the connection chart."""
        return self.snapshot[self._connection]

    @property
    def phase(self) -> Phase:
        """The connection's state as people name it."""
        return PHASES[self.connection.leaves]

    @property
    def reconnects(self) -> bool:
        """Whether another connection may follow this one."""
        return self._connection == ACTIVE.id and not self._single_use

    @property
    def is_closing(self) -> bool:
        """Whether it is closed for good, or a call has begun to close it for good."""
        return "closed" in self.snapshot or "closing" in self.snapshot

    @property
    def breaker(self) -> Snapshot | None:
        """The snapshot of the breaker, if there is one."""
        return self.snapshot[BREAKER.id] if BREAKER.id in self.router.machines else None

    @property
    def failures(self) -> int:
        """The failed attempts in a row, as the breaker counts them: at most its threshold."""
        breaker = self.breaker
        return breaker.machine.values(breaker)["failures"] if breaker else 0

    def defect_again(self) -> DefectError | None:
        """The defect that has closed it, if any, for one more caller.

        An exception has the traceback of one raise: each caller gets its own.
        """
        return copy.copy(self.defect)

    def retry_after(self) -> float:
        """Seconds until an attempt may begin; 0 when one runs, infinite when none will."""
        if self.phase in ("idle", "closed") or (self.breaker and "isolated" in self.breaker):
            return math.inf
        if self.lease is not None and not self.lease.is_in_force:
            return math.inf
        # Another thread may ask while this one stops a timer.
        started = self.timers.started.get
        running = [
            (each.id, at) for each in (T5, OPEN_TIME) if (at := started(each.id)) is not None
        ]
        latest = max((self.timers.due_from(*each) for each in running), default=0.0)
        return max(0.0, latest - self._context.clock())

    def tell(self, event: str, detail: Detail = None) -> None:
        """Give the charts one event and do what they ask for. Calls are to be checked before.

        After a defect there are no charts to be told.
        """
        if self.defect is not None:
            return
        try:
            self._perform(event, detail, self.router.step(self.snapshot, event))
        except _DEFECTS as fault:
            self._break_off(event, fault)

    def _perform(self, event: str, detail: Detail, step: SystemStep) -> None:
        context, before = self._context, self.snapshot
        now = context.clock()
        happened = event
        if event == ADOPTED:
            # For the connection it is what the other charts have made of the new settings.
            mine = (hop.event for hop in step.hops if hop.chart == self._connection)
            happened = next(mine, event)
        cause = Cause(happened, detail, context.peer, context.settings, before, context.epoch, now)
        # All of it can be done, or nothing is.
        self._world = after_all(self._world, event, step.effects)
        if self.lease is not None and self.lease.answered(event, detail):
            context.counters["store_failures"] += 1
        self.snapshot = step.snapshot
        if event in ("tcp_opened", "tcp_accepted"):
            context.begin_epoch()
        for effect in step.effects:
            self._do(effect, cause)
        for hop in step.hops:
            if hop.event == "attempt_failed":
                self.failed_attempts += 1
                self.last_error = cause.attempt_error()
            if hop.chart == BREAKER.id:
                # With fewer failures in a row the next attempt may begin earlier.
                self.timers.retime()
        for hop in step.hops:
            if hop.before.leaves != hop.after.leaves:
                self._follow(hop, cause)
        if CloseGate() in step.effects and context.epoch is not None:
            # This end leaves, so nobody will be given the message that has begun to come.
            context.epoch.decoder.drop_body()
        self.tell_standby()
        context.outputs.put(Step(now, context.epochs, event, step.hops, step.effects))

    def tell_standby(self) -> None:
        """Tell what a standby knows, when it knows something new."""
        lease, context = self.lease, self._context
        if lease is not None and (news := lease.standby(context.clock(), context.epochs)):
            context.outputs.put(news)

    def takes(self, event: str) -> bool:
        """Whether a chart takes ``event`` now. Raises ``KeyError`` for an event of no chart."""
        if self.defect is not None:
            return False
        try:
            return self.router.takes(self.snapshot, event)
        except _DEFECTS as fault:
            self._break_off(event, fault)
            return False

    def mention(self, event: str) -> None:
        """``tell``, for an event of every turn: a step that changes nothing is not recorded."""
        if self.defect is not None:
            return
        snapshot = self.snapshot
        try:
            # It is known already, but for the first time.
            step = snapshot.moves.get(event) or self.router.step(snapshot, event)
        except _DEFECTS as fault:
            self._break_off(event, fault)
            return
        if step.snapshot is not snapshot or step.effects:
            self.tell(event)

    def ask(self, request: ControlRequest) -> ControlTransaction:
        """Make the call of ``request``. When this returns, the state of ``request`` is active."""
        self.tell(request.call)
        self.raise_defect()
        transaction = ControlTransaction(request)
        self._asked.append(transaction)
        return transaction

    def forget(self, transaction: ControlTransaction) -> None:
        """The caller does not wait for it any more; it may be settled already."""
        self._asked = [each for each in self._asked if each is not transaction]

    def configure(self, settings: Settings) -> None:
        """Use these settings from now on. Counts stay, and running timers keep their start."""
        self._context.use(settings)
        self.router = router_for(self.router.system, settings, single_use=self._single_use)
        self.timers.retime()
        try:
            self._perform(ADOPTED, None, self.router.adopt(self.snapshot))
        except _DEFECTS as fault:
            self._break_off(ADOPTED, fault)

    def kept(self) -> Kept:
        """What outlives this program."""
        if self._kept is not None:
            at, kept = self._kept
            return kept.aged(self._context.clock() - at)
        assert self.breaker is not None
        disable = "disable_requested" if self.lease is None else "withdraw_requested"
        return Kept(
            is_enabled=self.is_closing or self.takes(disable),
            breaker=self.breaker,
            attempt_age=self.timers.attempt_age(),
            open_age=self.timers.age(OPEN_TIME.id),
        )

    def restore(self, kept: Kept) -> None:
        """Begin, disabled, where a link was when its program ended. To be called first.

        It is recorded as a step with the event ``RESTORED``, which no chart takes.
        """
        context = self._context
        if not kept.is_enabled:
            context.outputs.put(Idle(context.clock(), context.epochs))
            if self.lease is not None:
                context.outputs.put(Withdrawn(context.clock(), context.epochs))
        self._go_on_from(kept)

    def inherit(self, kept: Kept) -> None:
        """Go on where the latest owner of the tool has left off. The link is at rest, disabled.

        Whoever has made the later attempt knows the tool better: that breaker holds, and T5 runs
        from that attempt. But a breaker that somebody has isolated, here or there, stays isolated.
        """
        assert self.breaker is not None
        ours, theirs = self.timers.attempt_age(), kept.attempt_age
        is_later = ours is None or (theirs is not None and theirs <= ours)
        if "isolated" not in self.breaker and (is_later or "isolated" in kept.breaker):
            breaker, open_age = kept.breaker, kept.open_age
        else:
            breaker, open_age = self.breaker, self.timers.age(OPEN_TIME.id)
        age = theirs if is_later else ours
        self._go_on_from(Kept(kept.is_enabled, breaker, age, open_age))

    def _go_on_from(self, kept: Kept) -> None:
        """Put the charts of a link that makes no attempt where ``kept`` says."""
        context, router, before = self._context, self.router, self.snapshot
        # Its attempt is over, and nobody is to blame: the breaker gets its permit back.
        breaker = kept.breaker.machine.step(kept.breaker, "attempt_cancelled").snapshot
        connection = self.connection
        if kept.attempt_age is not None:
            resting = (each.id for each in ACTIVE.path("resting"))
            connection = connection.machine.snapshot(resting)
        begun = {ACTIVE.id: connection, BREAKER.id: breaker}
        hops = tuple(Hop(id, RESTORED, before[id], after, ()) for id, after in begun.items())
        # The charts under the threshold that was in force.
        charts = Router(router.system, {**router.machines, BREAKER.id: breaker.machine})
        self.router = charts
        self.snapshot = charts.snapshot(tuple(begun.get(id, before[id]) for id in charts.machines))
        ran, run = (
            [timer for each in parts for timer in each.machine.timers(each)]
            for parts in ([before[id] for id in begun], begun.values())
        )
        effects = (*map(Stop, ran), *map(Start, run))
        self._world = after_all(self._world, RESTORED, effects)
        self.timers.restore(kept.attempt_age, kept.open_age)
        if before[BREAKER.id].leaves != breaker.leaves:
            context.outputs.put(breaker_event(breaker.leaves, self._moment(None)))
        context.outputs.put(Step(context.clock(), context.epochs, RESTORED, hops, effects))
        self.configure(context.settings)

    def raise_defect(self) -> None:
        """Raise why it has closed itself, if it has."""
        if (defect := self.defect_again()) is not None:
            raise defect

    # Inside

    def _break_off(self, event: str, fault: Exception) -> None:
        """The charts cannot go on: close for good without them, and say so to everybody."""
        context, router = self._context, self.router
        # The error is kept, and its tracebacks would keep the engine.
        behind: BaseException | None = fault
        while behind is not None:
            behind.__traceback__ = behind.__context__ = None
            behind = behind.__cause__
        self.defect = DefectError(
            f"{context.peer}: it has closed itself, because its charts failed in {self.snapshot} "
            f"on {event}: {fault}; this is a defect of hsms_engine: please report it"
        )
        self.defect.__cause__ = fault
        if self.breaker is not None:
            # As after every close, the next program goes on with this breaker.
            kept = Kept(
                True, self.breaker, self.timers.attempt_age(), self.timers.age(OPEN_TIME.id)
            )
            self._kept = (context.clock(), kept)
        world, self._world = self._world, World()
        cause = Cause(
            "communication_failed",
            self.defect,
            context.peer,
            context.settings,
            self.snapshot,
            context.epoch,
            context.clock(),
        )
        self.downtime.moved(self.phase, "closed")
        closed = router.machines[self._connection].snapshot(["closed"])
        ended = {self._connection: closed}
        if self.lease is not None:
            values = self.snapshot[LEASE.id].values
            ended[LEASE.id] = router.machines[LEASE.id].snapshot(["ended"], values)
        self.snapshot = router.snapshot(
            tuple(ended.get(id, machine.initial) for id, machine in router.machines.items())
        )
        self.timers.started.clear()
        self.timers.retime()
        if self._entity is not None:
            self._entity.give_back(self)
        for transaction in self._asked:
            transaction.fail(self.defect)
            context.outputs.put(transaction)
        self._asked.clear()
        if context.epoch is not None:
            self.session_ended_by = cause.event
            self.exchange.lose(context.epoch, cause)
            self._lose(context.epoch, cause)
            context.end_epoch()
        if world.asking:
            context.outputs.put(StopAsking())
        match world.tcp:
            case Tcp.OPEN:
                context.outputs.put(CloseTcp())
                context.outputs.put(ResetTcp())
            case Tcp.OPENING:
                context.outputs.put(AbandonTcp())
            case Tcp.CLOSED:
                pass
            case _:
                assert_never(world.tcp)
        if self.lease is not None:
            self._end_lease(self.lease, cause)
        context.outputs.put(Closed(cause.now, context.epochs, self.defect))

    def _end_lease(self, lease: Leasing, cause: Cause) -> None:
        """The lease is given back, if it may be ours."""
        may_have_it = not {"withdrawn", "standby", "ended"} & cause.before.states
        before = cause.before[LEASE.id].leaves
        lease.moved(before, "ended", cause.event, cause.now, self._context.epochs)
        if may_have_it:
            self._context.outputs.put(ReleaseLease())

    def _do(self, effect: Effect, cause: Cause) -> None:
        known: DriverEffect = effect  # type: ignore[assignment]  # a system lets no other out
        context = self._context
        match known:
            case Start(timer):
                self.timers.start(timer.id)
            case Stop(timer):
                self.timers.stop(timer.id)
            case Send(frame):
                self._send(frame, cause.detail)
            case Count(counter):
                context.counters[counter.value] += 1
            case OpenGate():
                assert context.epoch is not None
                context.epoch.was_selected = True
                self.times_selected += 1
                self.last_error = None
                if self._entity is not None:
                    self._entity.take(self)
            case CloseGate():
                if self._entity is not None:
                    self._entity.give_back(self)
                self.session_ended_by = cause.event
                assert context.epoch is not None
                self.exchange.lose(context.epoch, cause)
            case OpenTcp():
                self.attempts += 1
                self.timers.begin_attempt()
                context.begin_attempt()
                context.outputs.put(known)
            case AbandonTcp() | FinishTcp() | ResetTcp() | ContestSession():
                context.outputs.put(known)
            case AskStore() | StopAsking() | ReleaseLease():
                context.outputs.put(known)
            case CloseTcp():
                assert context.epoch is not None
                self._lose(context.epoch, cause)
                context.end_epoch()
                context.outputs.put(known)
            case _:
                assert_never(known)

    def _lose(self, epoch: Epoch, cause: Cause) -> None:
        """TCP closes: say why, and what is lost with it."""
        context, outbox = self._context, epoch.outbox
        context.counters["bytes_unsent"] += outbox.backlog
        if (count := outbox.messages_end - outbox.written) > 0:
            context.outputs.put(Unsent(cause.now, epoch.number, count))
            if "closing" in cause.before or cause.event == "close_requested":
                self.unsent = cause.unsent_error(count)
        if not (cause.event in _ASKED_FOR or "leaving" in cause.before):
            self.last_error = cause.loss_error()

    def _send(self, kind: Outgoing, answered: Detail) -> None:
        epoch = self._context.epoch
        assert epoch is not None
        frame = control(kind, answered, epoch.transactions.take_system_bytes)
        match kind:
            case Outgoing.SELECT_REQ:
                epoch.own.select = frame.system_bytes
            case Outgoing.DESELECT_REQ:
                epoch.own.deselect = frame.system_bytes
            case Outgoing.LINKTEST_REQ:
                epoch.own.linktest = frame.system_bytes
            case _:
                pass
        encoded = encode(frame)
        self._context.outputs.pieces.append(encoded)
        if (timer := _TIMED.get(kind)) is not None:
            epoch.outbox.put_marked(len(encoded), timer)
        else:
            epoch.outbox.put_answer(len(encoded))
        self._context.counters["control_frames_sent"] += 1
        if frame.stype == SType.REJECT_REQ:
            self._context.counters["rejects_sent"] += 1
        if self._context.watched():
            self._context.note(frame, sent=True)

    def _follow(self, hop: Hop, cause: Cause) -> None:
        """Report that one chart has changed its state."""
        for transaction in [each for each in self._asked if _settles(hop, each)]:
            self._asked.remove(transaction)
            transaction.settle(hop, cause)
            self._context.outputs.put(transaction)
        error = None if cause.event in _ASKED_FOR else self.last_error
        if hop.chart == self._connection:
            self._follow_phase(PHASES[hop.before.leaves], PHASES[hop.after.leaves])
            happened = link_event(hop.before.leaves, hop.after.leaves, self._moment(error))
        elif hop.chart == BREAKER.id:
            happened = breaker_event(hop.after.leaves, self._moment(error))
        elif self.lease is not None and hop.chart == LEASE.id:
            moved, now = (hop.before.leaves, hop.after.leaves), self._context.clock()
            happened = self.lease.moved(*moved, cause.event, now, self._context.epochs)
        else:
            return
        if happened is not None:
            self._context.outputs.put(happened)

    def _follow_phase(self, before: Phase, after: Phase) -> None:
        if before != after:
            self.downtime.moved(before, after)
            # Perhaps no timer starts or stops in this step.
            self.timers.expect(self.downtime.due())

    def _moment(self, error: HsmsError | None) -> Moment:
        now = self._context.clock()
        local, remote = self._context.addresses
        is_open = OPEN_TIME.id in self.timers.started
        return Moment(
            at=now,
            epoch=self._context.epochs,
            attempts=self.attempts,
            retry_after=self.retry_after(),
            error=error,
            failures=self.failures,
            threshold=self._context.settings.breaker_threshold,
            # An open time that was restored may be over.
            open_for=max(0.0, self.timers.due(OPEN_TIME.id) - now) if is_open else 0.0,
            local=local,
            remote=remote,
        )


def _settles(hop: Hop, transaction: ControlTransaction) -> bool:
    """Whether the hop exits the state in which the transaction waits."""
    state = transaction.request.state
    return state in hop.before.states and state not in hop.after.states
