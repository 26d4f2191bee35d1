"""Runs the charts of one link and does what they ask for.

The charts make every decision about the lifecycle, and only ``tell`` gives them events. Before an
effect is done, ``World`` checks it, by the same function that the model checker uses.

Diagram: ``diagrams/lifecycle.svg``.
"""

from __future__ import annotations

import math
from typing import assert_never

from hsms_engine.errors import ConnectionLostError, HsmsError
from hsms_engine.events import Unsent
from hsms_engine.protocol.causes import Cause, Detail
from hsms_engine.protocol.context import Context
from hsms_engine.protocol.control import ControlRequest, ControlTransaction
from hsms_engine.protocol.entity import Entity
from hsms_engine.protocol.epoch import Epoch
from hsms_engine.protocol.exchange import Exchange
from hsms_engine.protocol.frames import control
from hsms_engine.protocol.outputs import Step
from hsms_engine.protocol.phases import PHASES, Moment, Phase, breaker_event, link_event
from hsms_engine.protocol.routers import CALLS, connection_of, router_for
from hsms_engine.protocol.timers import Timers
from hsms_engine.settings import Settings
from hsms_engine.wire import SType, encode
from statecharts import Effect, Hop, Snapshot, Start, Stop, System
from statecharts.hsms import ACTIVE, BREAKER
from statecharts.hsms.timers import LINGER, OPEN_TIME, T5, T6, T6_LINKTEST
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
    ResetTcp,
    Send,
)
from statecharts.hsms.world import World, after, informed

# Events by which a user closes a connection or abandons an attempt, which is no error. The last one
# is for a lowered threshold: when it opens the breaker, the running attempt is withdrawn.
_ASKED_FOR = CALLS | {"reconfigured"}
# The timers that run from the moment a frame of ours is handed on.
_TIMED = {
    Outgoing.SELECT_REQ: T6.id,
    Outgoing.DESELECT_REQ: T6.id,
    Outgoing.LINKTEST_REQ: T6_LINKTEST.id,
    Outgoing.SEPARATE_REQ: LINGER.id,
    Outgoing.SELECT_RSP_EXHAUSTED: LINGER.id,
}


class Lifecycle:
    """The charts of one link, their snapshot, and what they have asked for."""

    def __init__(
        self,
        system: System,
        context: Context,
        *,
        entity: Entity | None,
        single_use: bool,
    ) -> None:
        self._context = context
        self._entity = entity
        self._connection = connection_of(system)
        self._single_use = single_use
        self.router = router_for(system, context.settings, single_use=single_use)
        self.snapshot = self.router.initial
        # Only checks that an effect can be done; the state is read from the snapshot.
        self._world = World()
        self.timers = Timers(context, lambda: self.failures)
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

    def retry_after(self) -> float:
        """Seconds until an attempt may begin; 0 when one runs, infinite when none will."""
        if self.phase in ("idle", "closed") or (self.breaker and "isolated" in self.breaker):
            return math.inf
        running = [each.id for each in (T5, OPEN_TIME) if each.id in self.timers.started]
        latest = max((self.timers.due(timer) for timer in running), default=0.0)
        return max(0.0, latest - self._context.clock())

    def tell(self, event: str, detail: Detail = None) -> None:
        """Give the charts one event and do what they ask for.

        Raises ``NotAllowedError`` when the chart does not take it: a defect, unless the event is a
        local call. Raises ``ImpossibleEffectError`` when a chart asks for an effect that cannot be
        done: always a defect.
        """
        context = self._context
        before = self.snapshot
        step = self.router.step(before, event)
        now = context.clock()
        cause = Cause(event, detail, context.peer, context.settings, before, context.epoch, now)
        self._world = informed(self._world, event)
        self.snapshot = step.snapshot
        if event in ("tcp_opened", "tcp_accepted"):
            context.begin_epoch()
        for effect in step.effects:
            self._world = after(self._world, effect)
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
        context.outputs.put(Step(now, context.epochs, event, step.hops, step.effects))

    def takes(self, event: str) -> bool:
        """Whether a chart takes ``event`` now. Raises ``KeyError`` for an event of no chart."""
        return self.router.takes(self.snapshot, event)

    def mention(self, event: str) -> None:
        """``tell``, for an event of every turn: a step that changes nothing is not recorded."""
        step = self.router.step(self.snapshot, event)
        if step.snapshot is not self.snapshot or step.effects:
            self.tell(event)

    def ask(self, request: ControlRequest) -> ControlTransaction:
        """Make the call of ``request``. When this returns, the state of ``request`` is active."""
        self.tell(request.call)
        transaction = ControlTransaction(request)
        self._asked.append(transaction)
        return transaction

    def forget(self, transaction: ControlTransaction) -> None:
        """The caller does not wait for it any more; it may be settled already."""
        self._asked = [each for each in self._asked if each is not transaction]

    def configure(self, settings: Settings) -> None:
        """Use these settings from now on. Counts stay, and running timers keep their start."""
        self._context.settings = settings
        router = router_for(self.router.system, settings, single_use=self._single_use)
        self.snapshot = router.adopt(self.snapshot)
        self.router = router
        self.timers.retime()
        self.tell("linktest_reconfigured")
        if "reconfigured" in router.owner:
            self.tell("reconfigured")

    # Inside

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
            case AbandonTcp() | FinishTcp() | ResetTcp():
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
        self._context.outputs.frames.append(encoded)
        if (timer := _TIMED.get(kind)) is not None:
            epoch.outbox.put_marked(len(encoded), timer)
        else:
            epoch.outbox.put_answer(len(encoded))
        self._context.counters["control_frames_sent"] += 1
        if frame.stype == SType.REJECT_REQ:
            self._context.counters["rejects_sent"] += 1

    def _follow(self, hop: Hop, cause: Cause) -> None:
        """Report that one chart has changed its state."""
        for transaction in [each for each in self._asked if _settles(hop, each)]:
            self._asked.remove(transaction)
            transaction.settle(hop, cause)
            self._context.outputs.put(transaction)
        if hop.chart == self._connection:
            happened = link_event(hop.before.leaves, hop.after.leaves, self._moment(cause))
        elif hop.chart == BREAKER.id:
            happened = breaker_event(hop.after.leaves, self._moment(cause))
        else:
            return
        if happened is not None:
            self._context.outputs.put(happened)

    def _moment(self, cause: Cause) -> Moment:
        now = self._context.clock()
        is_open = OPEN_TIME.id in self.timers.started
        return Moment(
            at=now,
            epoch=self._context.epochs,
            attempts=self.attempts,
            retry_after=self.retry_after(),
            error=None if cause.event in _ASKED_FOR else self.last_error,
            failures=self.failures,
            threshold=self._context.settings.breaker_threshold,
            open_for=self.timers.due(OPEN_TIME.id) - now if is_open else 0.0,
        )


def _settles(hop: Hop, transaction: ControlTransaction) -> bool:
    """Whether the hop exits the state in which the transaction waits."""
    state = transaction.request.state
    return state in hop.before.states and state not in hop.after.states
