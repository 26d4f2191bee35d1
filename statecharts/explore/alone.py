"""A chart or a system of charts against an arbitrary environment.

Everything that may happen outside happens here, in every order: a peer sends anything, users call
anything, every running timer may fire. An ``Outside`` says what may happen: it is the smallest
picture of the world that knows which events can occur and what effects need. A property that holds
here holds with every real peer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

from ..declare import Effect, Start, Stop
from ..machine import Machine, NotAllowedError
from ..native import ChartFaultError
from ..refusals import expect
from ..router import Router, System, SystemSnapshot, told_by
from .moves import ImpossibleMoveError, Kind, Move, Moves

WorldState = TypeVar("WorldState")


class May(Enum):
    """Whether an event can occur in a world."""

    NEVER = "it cannot occur"
    IF_TAKEN = "it occurs only where a transition takes it (a call, or the driver promises it)"
    ALWAYS = "it can occur, and must then be taken"


class MisfitError(Exception):
    """An effect needs something that the world does not have."""


@runtime_checkable
class Outside(Protocol[WorldState]):
    """The world of a chart. ``after`` raises one of ``misfits`` for an impossible effect."""

    @property
    def initial(self) -> WorldState: ...

    @property
    def misfits(self) -> tuple[type[Exception], ...]: ...

    def may(self, world: WorldState, event: str) -> May: ...

    def after(self, world: WorldState, event: str, effects: Iterable[Effect]) -> WorldState: ...

    def describe(self, world: WorldState) -> dict[str, str]: ...


class TimersOnly:
    """A world of which only the timers are known. Its state is the ids of the running timers."""

    initial: frozenset[str] = frozenset()
    misfits: tuple[type[Exception], ...] = (MisfitError,)

    def __init__(self, *events: str) -> None:
        self._expiries = {event for event in events if event.endswith("_expired")}

    def may(self, world: frozenset[str], event: str) -> May:
        if event in self._expiries:
            return May.ALWAYS if event.removesuffix("_expired") in world else May.NEVER
        return May.IF_TAKEN

    def after(self, world: frozenset[str], event: str, effects: Iterable[Effect]) -> frozenset[str]:
        for effect in effects:
            match effect:
                case Start(timer) if timer.id in world:
                    raise MisfitError(f"{effect} on {event}: the timer runs already")
                case Start(timer):
                    world |= {timer.id}
                case Stop(timer) if timer.id not in world:
                    raise MisfitError(f"{effect} on {event}: the timer does not run")
                case Stop(timer):
                    world -= {timer.id}
                case _:
                    pass
        return world

    def describe(self, world: frozenset[str]) -> dict[str, str]:
        return {"timers": ", ".join(sorted(world)) or "none"}


class Here(NamedTuple, Generic[WorldState]):
    """A state of the model: the snapshot of the charts, and the state of the world."""

    snapshot: SystemSnapshot
    world: WorldState


class Alone(Generic[WorldState]):
    """The model of a router and its outside. The outside says what may occur in each state."""

    def __init__(self, router: Router, outside: Outside[WorldState]) -> None:
        expect(router, Router)
        expect(outside, Outside)
        self.router = router
        self.outside = outside
        self._moves = Moves()
        self._impossible: tuple[type[Exception], ...] = (
            NotAllowedError,
            ChartFaultError,
            *outside.misfits,
        )
        self._kinds: dict[str, Kind] = {}
        for chart in router.system.charts:
            self._kinds |= dict.fromkeys(chart.received, Kind.PEER)
            self._kinds |= dict.fromkeys(chart.local, Kind.USER)
            self._kinds |= dict.fromkeys(chart.reported, Kind.REPORT)
            self._kinds |= {timer.expired: Kind.TIMER for timer in chart.timers}

    @property
    def moves(self) -> list[Move]:
        return self._moves.all

    @property
    def initial(self) -> tuple[Here[WorldState], ...]:
        start = self.outside.after(self.outside.initial, "", self.router.initial_effects)
        return (Here(self.router.initial, start),)

    def actions(self, state: Here[WorldState]) -> Iterator[tuple[int, Here[WorldState]]]:
        snapshot, world = state
        for event, kind in self._kinds.items():
            may = self.outside.may(world, event)
            if may is May.ALWAYS or (may is May.IF_TAKEN and self.router.takes(snapshot, event)):
                yield self._step(state, event, kind)

    def _step(
        self, state: Here[WorldState], event: str, kind: Kind
    ) -> tuple[int, Here[WorldState]]:
        name = self.router.system.id
        try:
            after, effects, hops = self.router.step(state.snapshot, event)
            world = self.outside.after(state.world, event, effects)
        except self._impossible as error:
            raise ImpossibleMoveError(Move(name, event, kind), str(error)) from error
        taken = tuple((hop.chart, each) for hop in hops for each in hop.taken)
        return self._moves.number(Move(name, event, kind, effects, taken)), Here(after, world)

    def view(self, state: Here[WorldState]) -> Here[WorldState]:
        return state

    def describe(self, state: Here[WorldState]) -> dict[str, str]:
        parts = {id: str(state.snapshot[id])[1:-1] for id in state.snapshot.charts}
        return {**parts, **self.outside.describe(state.world)}


def alone(machine: Machine) -> Alone[frozenset[str]]:
    """One chart by itself, in a world of which only its timers are known."""
    expect(machine, Machine)
    chart = machine.chart
    system = System(chart.id, chart.title, (chart,), told_by(chart))
    return Alone(Router(system, {chart.id: machine}), TimersOnly(*chart.events))
