"""A chart or a system of charts against an arbitrary environment.

Everything that may happen outside happens here, in every order: a peer sends anything, users call
anything, every running timer may fire. An ``Outside`` says what may happen: it is the smallest
picture of the world that knows which events can occur and what effects need. A property that holds
here holds with every real peer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

from ..declare import ADOPTED, Effect, Start, Stop
from ..machine import Machine, NotAllowedError
from ..native import ChartFaultError
from ..refusals import expect
from ..router import Router, System, SystemSnapshot, SystemStep, told_by
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
    def initial(self) -> WorldState:
        """The world before the first effect."""
        ...

    @property
    def misfits(self) -> tuple[type[Exception], ...]:
        """The exceptions by which ``after`` says that an effect is impossible."""
        ...

    def may(self, world: WorldState, event: str) -> May:
        """Whether the event can occur in this world."""
        ...

    def after(self, world: WorldState, event: str, effects: Iterable[Effect]) -> WorldState:
        """The world when the event has occurred and its effects are done."""
        ...

    def describe(self, world: WorldState) -> dict[str, str]:
        """The world as people read it: part to value."""
        ...


class TimersOnly:
    """A world of which only the timers are known. Its state is the ids of the running timers."""

    initial: frozenset[str] = frozenset()
    misfits: tuple[type[Exception], ...] = (MisfitError,)

    def __init__(self, *events: str) -> None:
        self._expiries = {event for event in events if event.endswith("_expired")}

    def may(self, world: frozenset[str], event: str) -> May:
        """A timer's end only while it runs, any other event whenever the chart takes it."""
        if event in self._expiries:
            return May.ALWAYS if event.removesuffix("_expired") in world else May.NEVER
        return May.IF_TAKEN

    def after(self, world: frozenset[str], event: str, effects: Iterable[Effect]) -> frozenset[str]:
        """The timers that run then. Raises ``MisfitError`` for one started or stopped twice."""
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
        """The running timers."""
        return {"timers": ", ".join(sorted(world)) or "none"}


class Here(NamedTuple, Generic[WorldState]):
    """A state of the model: the snapshot of the charts, the world, and the parameters in force.

    ``setting`` is the index in ``Alone.routers``. Equal snapshots under other parameters do not
    behave alike, so it is part of the state.
    """

    snapshot: SystemSnapshot
    world: WorldState
    setting: int = 0


class Alone(Generic[WorldState]):
    """The model of a router and its outside. The outside says what may occur in each state.

    ``others`` are routers of the same system with other parameters. A user may change to the
    parameters of each, and back, at any moment.
    """

    def __init__(
        self, router: Router, outside: Outside[WorldState], others: Iterable[Router] = ()
    ) -> None:
        self.routers = (router, *others)
        for each in self.routers:
            expect(each, Router)
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
        values = [_parameters(each) for each in self.routers]
        self._carries = [
            ", ".join(
                f"{name} {value}"
                for (chart, name), value in each.items()
                if any(other[chart, name] != value for other in values)
            )
            for each in values
        ]

    @property
    def moves(self) -> list[Move]:
        """The moves met so far, by number."""
        return self._moves.all

    @property
    def initial(self) -> tuple[Here[WorldState], ...]:
        """The one state in which it begins."""
        start = self.outside.after(self.outside.initial, "", self.router.initial_effects)
        return (Here(self.router.initial, start),)

    def actions(self, state: Here[WorldState]) -> Iterator[tuple[int, Here[WorldState]]]:
        """Each move from a state: its number, and the state after it."""
        snapshot, world, setting = state
        takes = self.routers[setting].takes
        for event in self._kinds:
            may = self.outside.may(world, event)
            if may is May.ALWAYS or (may is May.IF_TAKEN and takes(snapshot, event)):
                yield self.step(state, event)
        for other, router in enumerate(self.routers):
            if other != setting:
                yield self._made(state, ADOPTED, Kind.USER, router.adopt, other)

    def step(self, state: Here[WorldState], event: str) -> tuple[int, Here[WorldState]]:
        """One move by its event. Raises ``ImpossibleMoveError``."""
        step, kind = self.routers[state.setting].step, self._kinds[event]
        return self._made(state, event, kind, lambda here: step(here, event), state.setting)

    def _made(
        self,
        state: Here[WorldState],
        event: str,
        kind: Kind,
        ask: Callable[[SystemSnapshot], SystemStep],
        setting: int,
    ) -> tuple[int, Here[WorldState]]:
        name = self.router.system.id
        carries = self._carries[setting] if setting != state.setting else ""
        try:
            after, effects, hops = ask(state.snapshot)
            world = self.outside.after(state.world, event, effects)
        except self._impossible as error:
            move = Move(name, event, kind, carries=carries)
            raise ImpossibleMoveError(move, str(error)) from error
        taken = tuple((hop.chart, each) for hop in hops for each in hop.taken)
        number = self._moves.number(Move(name, event, kind, effects, taken, carries))
        return number, Here(after, world, setting)

    def view(self, state: Here[WorldState]) -> Here[WorldState]:
        """The state as properties read it: itself."""
        return state

    def describe(self, state: Here[WorldState]) -> dict[str, str]:
        """The state as people read it: part to value."""
        parts = {id: str(state.snapshot[id])[1:-1] for id in state.snapshot.charts}
        parts |= self.outside.describe(state.world)
        settings = {"setting": self._carries[state.setting]} if len(self.routers) > 1 else {}
        return {**parts, **settings}


def _parameters(router: Router) -> dict[tuple[str, str], int]:
    """The values of the parameters by chart and name."""
    return {
        (id, name): value
        for id, machine in router.machines.items()
        for name, value in machine.parameters.items()
    }


def alone(machine: Machine) -> Alone[frozenset[str]]:
    """One chart by itself, in a world of which only its timers are known."""
    expect(machine, Machine)
    chart = machine.chart
    system = System(chart.id, chart.title, (chart,), told_by(chart))
    return Alone(Router(system, {chart.id: machine}), TimersOnly(*chart.events))
