"""Checks that the steps a driver recorded are what the charts do, on fresh machines."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import cache
from operator import le

from hsms_engine.protocol.outputs import Step
from hsms_engine.protocol.saving import RESTORED
from statecharts import ADOPTED, Effect, Hop, Machine, Snapshot, System, Tell
from statecharts import Step as ChartStep
from statecharts.hsms.world import World, after_all


@cache
def _machine(system: System, chart: str, parameters: tuple[tuple[str, int], ...]) -> Machine:
    return Machine(system.chart(chart), **dict(parameters))


_Where = tuple[tuple[str, ...], tuple[int, ...]]


@cache
def _step(
    system: System, chart: str, parameters: tuple[tuple[str, int], ...], where: _Where, event: str
) -> ChartStep:
    machine = _machine(system, chart, parameters)
    return machine.step(machine.snapshot(*where), event)


def _again(system: System, hop: Hop) -> ChartStep:
    """The step as it is decided by a machine that no driver has used."""
    before, after = hop.before, tuple(hop.after.machine.parameters.items())
    if hop.event == ADOPTED:
        return _machine(system, hop.chart, after).adopt(before)
    return _step(system, hop.chart, after, (before.states, before.values), hop.event)


@cache
def _beginning(system: System) -> tuple[tuple[str, Snapshot], ...]:
    return tuple((chart.id, Machine(chart).initial) for chart in system.charts)


class Replay:
    """Follows one driver's records. ``take`` raises ``AssertionError`` at the first false one."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._owner = {event: chart.id for chart in system.charts for event in chart.events}
        self._now = dict(_beginning(system))
        self._world = World()
        # The charts whose values new settings may have cut since their last hop: no hop tells it.
        self._cut: set[str] = set()
        self._at = float("-inf")

    @property
    def world(self) -> World:
        """The world after the records so far."""
        return self._world

    def begin(self, now: dict[str, Snapshot], world: World) -> None:
        """Begin where an end is, and not at its beginning."""
        self._now, self._world = dict(now), world

    def take(self, record: Step) -> None:
        """One more record, in order."""
        assert record.at >= self._at, f"{record} is earlier than the one before it"
        self._at = record.at
        if record.event == RESTORED:
            # From outside: nothing told it, and no transition leads there.
            for hop in record.hops:
                self._follows(hop)
                self._now[hop.chart] = hop.after
            self._world = after_all(self._world, record.event, record.effects)
            return
        told: deque[tuple[str, str]] = deque()
        if record.event == ADOPTED:
            self._cut = set(self._now)
        else:
            told.append((self._owner[record.event], record.event))
        effects: list[Effect] = []
        for hop in record.hops:
            if hop.event == ADOPTED:
                told.append((hop.chart, ADOPTED))
            assert told, f"{record.event}: nobody told {hop.chart} {hop.event}"
            assert (hop.chart, hop.event) == told.popleft()
            self._follows(hop)
            step = _again(self._system, hop)
            assert step.snapshot == hop.after
            assert step.taken == hop.taken
            self._now[hop.chart] = hop.after
            for effect in step.effects:
                match effect:
                    case Tell(event) if event in self._owner:
                        told.append((self._owner[event], event))
                    case _:
                        effects.append(effect)
        assert not told, f"{record.event}: {told} was never told"
        assert record.effects == tuple(effects)
        self._world = after_all(self._world, record.event, effects)

    def _follows(self, hop: Hop) -> None:
        """The hop begins where its chart is."""
        was = self._now[hop.chart]
        assert hop.before.states == was.states, f"{hop.chart} jumped from {was} to {hop.before}"
        if hop.chart in self._cut:
            self._cut.remove(hop.chart)
            assert all(map(le, hop.before.values, was.values))
        else:
            assert hop.before.values == was.values


def conforms(system: System, records: Iterable[Step]) -> None:
    """Raise ``AssertionError`` unless the charts of ``system`` do what was recorded."""
    replay = Replay(system)
    for record in records:
        replay.take(record)
