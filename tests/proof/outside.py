"""The surroundings of one HSMS end whose peer may do anything.

``HsmsOutside`` is used when a link is searched alone: while TCP is open, every frame may arrive at
any time, in any order and number, and bytes may stop anywhere; users may make every allowed call;
a store that is asked may answer anything; every running timer may fire. It uses the same ``World``
as the engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from statecharts.declare import Effect
from statecharts.explore.alone import Alone, May, TimersOnly
from statecharts.hsms.vocabulary import StoreCall
from statecharts.hsms.world import ImpossibleEffectError, Tcp, World, after_all
from statecharts.router import System, told_by

from .binding import Bind, Parameters, bound, machine

# Reports about an open connection. The driver promises some of them only where they fit (a second
# frame does not begin inside the first); these do not occur where no transition takes them.
_WHILE_OPEN = {
    "tcp_closed": May.ALWAYS,
    "communication_failed": May.ALWAYS,
    "flushed": May.ALWAYS,
    "traffic_seen": May.ALWAYS,
}
_TRAFFIC = dict.fromkeys(
    (
        "frame_began",
        "frame_completed",
        "write_blocked",
        "write_caught_up",
        "write_drained",
    ),
    May.IF_TAKEN,
)
_AT_ANY_TIME = frozenset({"stale_result_reported"})
# What the store may answer, and to which calls. The engine passes over an answer that comes later.
_ANSWERS = {
    "lease_granted": (StoreCall.ACQUIRE, StoreCall.RENEW),
    "lease_refused": (StoreCall.ACQUIRE, StoreCall.RENEW),
    "lease_freed": (StoreCall.WATCH, StoreCall.RENEW),
    "store_failed": tuple(StoreCall),
}


class HsmsOutside:
    """The surroundings of a link: they cause all events that its own charts do not tell."""

    initial = World()
    misfits: tuple[type[Exception], ...] = (ImpossibleEffectError,)

    def __init__(self, system: System, *, traffic: bool = True) -> None:
        self._while_open = _WHILE_OPEN | (
            _TRAFFIC if traffic else dict.fromkeys(_TRAFFIC, May.NEVER)
        )
        self._frames = {event for chart in system.charts for event in chart.received}
        self._local = {event for chart in system.charts for event in chart.local}
        self._expiries = {timer.expired: timer.id for c in system.charts for timer in c.timers}
        told = {event for chart in system.charts for event in told_by(chart)}
        # Not only receiver and transmitter report that the connection cannot go on.
        self._told = told - {"communication_failed"}

    def may(self, world: World, event: str) -> May:
        """Whether a driver could see this event now."""
        if event in self._told:
            return May.NEVER
        if event in self._local:
            return May.IF_TAKEN
        if event in _AT_ANY_TIME:
            return May.ALWAYS
        if event in _ANSWERS:
            return May.ALWAYS if world.asking in _ANSWERS[event] else May.NEVER
        match event:
            case "tcp_opened" | "tcp_failed":
                return May.ALWAYS if world.tcp is Tcp.OPENING else May.NEVER
            case "tcp_accepted":
                return May.IF_TAKEN if world.tcp is Tcp.CLOSED else May.NEVER
            case "data_received" if world.gate:
                return May.NEVER
            case "session_wanted":
                return May.ALWAYS if world.gate else May.NEVER
            case "probe_wanted":
                return May.NEVER
            case "flushed" if world.finished:
                return May.NEVER
        if (timer := self._expiries.get(event)) is not None:
            return May.ALWAYS if timer in world.timers else May.NEVER
        if world.tcp is not Tcp.OPEN:
            return May.NEVER
        return May.ALWAYS if event in self._frames else self._while_open[event]

    def after(self, world: World, event: str, effects: Iterable[Effect]) -> World:
        """The world after a step, by the function that the engine uses."""
        return after_all(world, event, effects)

    def describe(self, world: World) -> dict[str, str]:
        """The parts of the world, for people."""
        return {
            "tcp": world.tcp.value,
            "gate": "open" if world.gate else "closed",
            "timers": ", ".join(sorted(world.timers)) or "none",
        }


Settings = Sequence[Mapping[str, Parameters]]


def link_alone(
    system: System,
    parameters: Mapping[str, Parameters],
    bind: Bind = machine,
    *,
    traffic: bool = True,
    others: Settings = (),
) -> Alone[World]:
    """A link with a peer that does anything. Without ``traffic`` no byte is read or written.

    ``others``: the parameters to which its user may change.
    """
    router, *more = (bound(system, each, bind) for each in (parameters, *others))
    return Alone(router, HsmsOutside(system, traffic=traffic), more)


def chart_alone(
    system: System, parameters: Parameters, bind: Bind = machine, others: Sequence[Parameters] = ()
) -> Alone[frozenset[str]]:
    """The one chart of ``system``: every event may occur, and its running timers may fire."""
    (chart,) = system.charts
    router, *more = (bound(system, {chart.id: each}, bind) for each in (parameters, *others))
    return Alone(router, TimersOnly(*router.system.charts[0].events), more)
