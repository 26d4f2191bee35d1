"""The preconditions of the effects of the HSMS charts, and what each effect changes.

``World`` is the smallest picture of the outside that gives every effect a precondition: whether TCP
is closed, opening or open, whether the gate is open, which timers run. The engine and the checker
apply the same function to the same effects. An effect that does not fit is a defect of a chart: it
raises ``ImpossibleEffectError`` and is never ignored.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from statecharts.declare import Effect, Start, Stop

from .vocabulary import (
    AbandonTcp,
    AskStore,
    CloseGate,
    CloseTcp,
    FinishTcp,
    OpenGate,
    OpenTcp,
    Outgoing,
    ReleaseLease,
    ResetTcp,
    Send,
    StopAsking,
    StoreCall,
)


class Tcp(Enum):
    """TCP as seen from one end."""

    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"


class ImpossibleEffectError(Exception):
    """A chart asked for an effect that cannot be done."""


class World(NamedTuple):
    """The outside of one end.

    ``separated``: Separate.req is queued, so no frame may follow it. ``finished``: the peer has
    been told that no more bytes follow. ``asking``: what the store of leases is asked.
    """

    tcp: Tcp = Tcp.CLOSED
    gate: bool = False
    timers: frozenset[str] = frozenset()
    separated: bool = False
    finished: bool = False
    asking: StoreCall | None = None


# For each report about TCP: what TCP was before, and what it is now.
_TCP_AFTER = {"tcp_opened": Tcp.OPEN, "tcp_accepted": Tcp.OPEN, "tcp_failed": Tcp.CLOSED}
_TCP_BEFORE = {"tcp_opened": Tcp.OPENING, "tcp_accepted": Tcp.CLOSED, "tcp_failed": Tcp.OPENING}


# All links together have a few sets of timers, and one set is larger than all the rest of a world.
_SETS: dict[frozenset[str], frozenset[str]] = {}


def _one(timers: frozenset[str]) -> frozenset[str]:
    return _SETS.setdefault(timers, timers)


def informed(world: World, event: str) -> World:
    """The world after ``event``. Raises ``ImpossibleEffectError`` when it cannot have happened."""
    if event not in _TCP_AFTER:
        return world
    if world.tcp is not _TCP_BEFORE[event]:
        raise ImpossibleEffectError(f"{event} was reported while TCP was {world.tcp.value}")
    return world._replace(tcp=_TCP_AFTER[event])


def _need(condition: bool, effect: Effect, what: str, world: World) -> None:
    if not condition:
        timers = ", ".join(sorted(world.timers)) or "none"
        raise ImpossibleEffectError(
            f"{effect} needs {what}; TCP is {world.tcp.value}, the gate is "
            f"{'open' if world.gate else 'closed'}, timers running: {timers}"
        )


def after(world: World, effect: Effect) -> World:
    """The world after ``effect``. Raises ``ImpossibleEffectError`` when it cannot be done."""
    match effect:
        case Start(timer):
            _need(timer.id not in world.timers, effect, "the timer stopped", world)
            return world._replace(timers=_one(world.timers | {timer.id}))
        case Stop(timer):
            _need(timer.id in world.timers, effect, "the timer running", world)
            return world._replace(timers=_one(world.timers - {timer.id}))
        case Send(frame):
            _need(world.tcp is Tcp.OPEN, effect, "TCP open", world)
            _need(not world.separated, effect, "nothing sent after Separate.req", world)
            _need(not world.finished, effect, "TCP open in this direction", world)
            return world._replace(separated=True) if frame is Outgoing.SEPARATE_REQ else world
        case OpenTcp():
            _need(world.tcp is Tcp.CLOSED, effect, "TCP closed", world)
            return world._replace(tcp=Tcp.OPENING)
        case AbandonTcp():
            _need(world.tcp is Tcp.OPENING, effect, "TCP opening", world)
            return world._replace(tcp=Tcp.CLOSED)
        case FinishTcp():
            _need(world.tcp is Tcp.OPEN, effect, "TCP open", world)
            _need(not world.finished, effect, "TCP open in this direction", world)
            return world._replace(finished=True)
        case CloseTcp():
            _need(world.tcp is Tcp.OPEN, effect, "TCP open", world)
            _need(not world.gate, effect, "the gate closed", world)
            return world._replace(tcp=Tcp.CLOSED, separated=False, finished=False)
        case ResetTcp():
            _need(world.tcp is Tcp.CLOSED, effect, "TCP closed", world)
            return world
        case OpenGate():
            _need(world.tcp is Tcp.OPEN, effect, "TCP open", world)
            _need(not world.gate, effect, "the gate closed", world)
            return world._replace(gate=True)
        case CloseGate():
            _need(world.gate, effect, "the gate open", world)
            return world._replace(gate=False)
        case AskStore(call):
            _need(world.asking is None, effect, "a store that is asked nothing", world)
            return world._replace(asking=call)
        case StopAsking():
            _need(world.asking is not None, effect, "a store that is asked something", world)
            return world._replace(asking=None)
        case ReleaseLease():
            _need(world.asking is None, effect, "a store that is asked nothing", world)
            _need(world.tcp is Tcp.CLOSED, effect, "TCP closed", world)
            return world
        case _:
            return world


def after_all(world: World, event: str, effects: Iterable[Effect]) -> World:
    """The world after ``event`` and then all ``effects``, in order. Raises as they do."""
    world = informed(world, event)
    for effect in effects:
        world = after(world, effect)
    return world
