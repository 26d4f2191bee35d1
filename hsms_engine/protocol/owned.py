"""The engine of a link that a lease decides about: it is enabled while this process owns its tool.

Whatever is given to it, it first judges the deadlines of its lease. So a process that was stopped
for any time, and goes on, does nothing for a tool that it may not own any more. That is the one
exception to the rule that who wakes late reads first and then judges: nothing that has come
meanwhile can make a lease longer.

Diagram: ``diagrams/lease.svg``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from random import Random
from typing import Concatenate, ParamSpec, TypeVar

from hsms_engine.errors import LeaseError
from hsms_engine.protocol.causes import Detail
from hsms_engine.protocol.engine import Engine
from hsms_engine.protocol.leasing import DEADLINES, LeaseTimes, Leasing, Ownership
from hsms_engine.protocol.saving import Kept
from hsms_engine.settings import Settings
from statecharts.hsms import LEASE, OWNED_LINK

_P = ParamSpec("_P")
_T = TypeVar("_T")
_E = TypeVar("_E", bound=Engine)


def _on_time(
    call: Callable[Concatenate[_E, _P], _T],
) -> Callable[Concatenate[_E, _P], _T]:
    """``call``, but the deadlines of the lease are judged before it."""

    @wraps(call)
    def judged(engine: _E, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        engine.judge_lease()
        return call(engine, *args, **kwargs)

    return judged


class OwnedEngine(Engine):
    """One active link, and the lease of its tool. ``enable`` is to want it, ``disable`` not to.

    ``lease_clock`` counts also while the system is suspended, and never goes backwards; times of
    the lease are seconds of it. All else is as in ``Engine``.

    What the store of leases is to be asked comes out as ``AskStore``, ``StopAsking`` and
    ``ReleaseLease``. The lease may be given back when the sockets of the connections that were
    closed before are closed, too.
    """

    __slots__ = ("_lease",)

    def __init__(
        self,
        settings: Settings,
        *,
        lease: LeaseTimes,
        lease_clock: Callable[[], float],
        clock: Callable[[], float],
        random: Random,
        peer: Callable[[Settings], str],
        kept: Kept | None = None,
    ) -> None:
        self._lease = Leasing(lease, clock, lease_clock, self._leaf)
        super().__init__(
            OWNED_LINK,
            settings,
            clock=clock,
            random=random,
            peer=peer,
            kept=kept,
            lease=self._lease,
        )

    # The lease

    def _leaf(self) -> str:
        return self._life.snapshot[LEASE.id].leaves

    def judge_lease(self) -> None:
        """Judge a deadline of the lease that is over: to be called before anything is read or run.

        Every call begins with it.
        """
        timers = self._life.timers
        for timer in DEADLINES:
            if timer in timers.started and timers.due(timer) <= self._context.clock():
                self._life.tell(f"{timer}_expired", self._expiry(timer))

    def may_send(self) -> bool:
        """Whether bytes may be handed to the system now: to be asked right before each time.

        When they may not, ``judge_lease`` is to be called.
        """
        return self._lease.may_send()

    @property
    def ownership(self) -> Ownership:
        """Who owns the tool, as far as it is known here."""
        return self._lease.ownership

    @property
    def store_error(self) -> LeaseError | None:
        """The latest failure of the store of leases; None when it has answered since."""
        return self._lease.error

    @property
    def is_ready_standby(self) -> bool:
        """Whether another process owns the tool, and this one would take over from it."""
        return self._lease.is_ready_standby

    @property
    def standby_unchanged_for(self) -> float:
        """For how many seconds ``is_ready_standby`` is as it is."""
        return self._context.clock() - self._lease.ready_since

    # What the store has answered; ignored when it is not asked for that now

    @_on_time
    def lease_granted(self, epoch: int, asked_at: float, kept: Kept | None = None) -> None:
        """The store has given the lease, or has renewed it. It was asked at ``asked_at``.

        ``kept`` is what the latest owner has left; it counts when the lease was not ours. A grant
        that comes after its own deadline is an answer that the store has failed to give.
        """
        life, lease = self._life, self._lease
        if not life.takes("lease_granted"):
            return
        if lease.is_too_late(asked_at):
            self._fail(
                LeaseError("the store of leases has given the lease, but its answer came too late")
            )
            return
        if kept is not None and "acquiring" in life.snapshot:
            life.inherit(kept)
        lease.granted(epoch, asked_at)
        life.tell("lease_granted")

    @_on_time
    def lease_refused(self, owner: str, epoch: int, remaining: float) -> None:
        """``owner`` has the lease for ``remaining`` more seconds, unless it renews it.

        Empty: it is not known who, or nobody, but the lease is not ours.
        """
        if self._life.takes("lease_refused"):
            self._lease.held(owner, epoch, remaining)
            self._life.tell("lease_refused", self._lease.lost())

    @_on_time
    def lease_freed(self, epoch: int) -> None:
        """Nobody has the lease: a watch, or an answer to a renewal. ``epoch``: the latest one."""
        if self._life.takes("lease_freed"):
            self._lease.held("", epoch, 0)
            self._life.tell("lease_freed", self._lease.lost())

    @_on_time
    def lease_news(self, owner: str, epoch: int, remaining: float) -> None:
        """A watch: ``owner`` has the lease, for ``remaining`` more seconds unless it renews it."""
        if "standby" in self._life.snapshot:
            self._lease.held(owner, epoch, remaining)
            self._lease.answered("lease_refused")
            self._life.tell_standby()

    @_on_time
    def store_failed(self, error: LeaseError) -> None:
        """The store has not answered, or not what it can mean."""
        self._fail(error)

    def _fail(self, error: LeaseError) -> None:
        if self._life.takes("store_failed"):
            self._life.tell("store_failed", error)

    # Calls

    @_on_time
    def enable(self) -> None:
        """Want the lease, and connect while it is ours. Raises ``LocalProtocolError`` when so."""
        self._call("contend_requested")

    @_on_time
    def disable(self) -> None:
        """Close what is open, give the lease back, and want it no more.

        Raises ``LocalProtocolError`` when it is disabled.
        """
        self._call("withdraw_requested")

    # All that can make a step of the charts, or send something

    dial_began = _on_time(Engine.dial_began)
    tcp_opened = _on_time(Engine.tcp_opened)
    tcp_failed = _on_time(Engine.tcp_failed)
    tcp_closed = _on_time(Engine.tcp_closed)
    wrote = _on_time(Engine.wrote)
    receive = _on_time(Engine.receive)
    tick = _on_time(Engine.tick)
    close = _on_time(Engine.close)
    fail = _on_time(Engine.fail)
    isolate = _on_time(Engine.isolate)
    release = _on_time(Engine.release)
    reset_breaker = _on_time(Engine.reset_breaker)
    linktest = _on_time(Engine.linktest)
    deselect = _on_time(Engine.deselect)
    select = _on_time(Engine.select)
    configure = _on_time(Engine.configure)
    request = _on_time(Engine.request)
    send = _on_time(Engine.send)
    reply = _on_time(Engine.reply)
    report_unreadable = _on_time(Engine.report_unreadable)

    def _expiry(self, timer: str) -> Detail:
        return self._lease.expired(timer) or super()._expiry(timer)
