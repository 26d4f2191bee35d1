"""Joins charts: what one asks becomes an event of another. Driver and checker use the same one.

A system is a set of charts and of wires. A step gives one event to the chart that declares it; each
effect with a wire becomes an event of the chart at the other end, first in, first out, until none
is left; all other effects come out in the order in which they were asked for. The whole is again a
pure, memoised function, so that running a system costs one dictionary look-up a step.

Invariants of a system, checked when it is made:

* a chart id, an event and a state belong to one chart, so that each can be named without it;
* every wire leads from an effect that its chart asks for to an event that its target declares;
* a timer starts, stops and ends outside: no wire touches it.

Diagram: ``diagrams/lifecycle.svg``.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from .declare import Action, Chart, Effect
from .machine import Machine, NotAllowedError, Snapshot
from .native import ChartFaultError

# More steps than this for one event: the charts answer each other for ever.
FUSE = 100


@dataclass(frozen=True, slots=True)
class Wire:
    """``effect`` of chart ``source`` is ``event`` of chart ``target``."""

    source: str
    effect: Effect
    target: str
    event: str

    def __str__(self) -> str:
        return f"{self.source}: {self.effect} -> {self.target}.{self.event}"


def _asked(chart: Chart) -> Iterator[Action]:
    """What a chart asks for, the starts and stops of its timers aside."""
    for state in chart.walk():
        yield from state.enter
        yield from state.exit
    for on in chart.transitions:
        yield from on.do


@dataclass(frozen=True, slots=True)
class System:
    """Charts joined by wires, as data. Raises ``ValueError`` where they do not hold together."""

    id: str
    title: str
    charts: tuple[Chart, ...]
    wires: tuple[Wire, ...]

    def __post_init__(self) -> None:
        for problem in (*self._shared_names(), *self._loose_wires()):
            raise ValueError(f"system {self.id}: {problem}")

    def _shared_names(self) -> Iterator[str]:
        for id, times in Counter(chart.id for chart in self.charts).items():
            if times > 1:
                yield f"two charts are called {id}"
        owners: dict[tuple[str, str], str] = {}
        for chart in self.charts:
            events = [("event", event) for event in chart.events]
            for kind, name in (*events, *(("state", state.id) for state in chart.walk())):
                if (owner := owners.setdefault((kind, name), chart.id)) != chart.id:
                    yield (
                        f"{kind} {name!r} belongs to {owner} and {chart.id}; "
                        f"a name belongs to one chart"
                    )

    def _loose_wires(self) -> Iterator[str]:
        known = {chart.id: chart for chart in self.charts}
        for wire, times in Counter(self.wires).items():
            if wire.source not in known or wire.target not in known:
                yield f"{wire} names a chart that is not in it"
                continue
            target = known[wire.target]
            if wire.event not in target.events:
                yield f"{wire}: {wire.target} has no event {wire.event!r}"
            if any(wire.event == timer.expired for timer in target.timers):
                yield f"{wire}: only its timer may report {wire.event!r}"
            if wire.effect not in _asked(known[wire.source]):
                yield f"{wire}: {wire.source} never asks for {wire.effect}"
            if times > 1:
                yield f"{wire} is there twice"

    def chart(self, id: str) -> Chart:
        """The chart with this id. Raises ``KeyError`` when there is none."""
        for chart in self.charts:
            if chart.id == id:
                return chart
        raise KeyError(f"system {self.id} has no chart {id!r}")


class Hop(NamedTuple):
    """One chart's part in a step: what it was given, where it was, where it is, what it took."""

    chart: str
    event: str
    before: Snapshot
    after: Snapshot
    taken: tuple[int, ...]


class SystemStep(NamedTuple):
    """What a system answers: where it is, what its driver is asked for, and how it came to that."""

    snapshot: SystemSnapshot
    effects: tuple[Effect, ...]
    hops: tuple[Hop, ...]


class SystemSnapshot:
    """The snapshots of all charts of a system, in its order.

    Made by a router and never changed. Equal when all parts are, also across routers.
    """

    __slots__ = ("_hash", "charts", "moves", "parts")

    def __init__(self, charts: Mapping[str, int], parts: tuple[Snapshot, ...]) -> None:
        # Chart id to index in ``parts``; one object for each router, by which it knows its own.
        self.charts = charts
        self.parts = parts
        self.moves: dict[str, SystemStep] = {}
        self._hash = hash(parts)

    def __getitem__(self, chart: str) -> Snapshot:
        return self.parts[self.charts[chart]]

    def __contains__(self, state: str) -> bool:
        return any(state in part for part in self.parts)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, SystemSnapshot):
            return NotImplemented
        return self.parts == other.parts

    def __repr__(self) -> str:
        return "<" + ", ".join(f"{id}={self[id].leaves}" for id in self.charts) + ">"


class Router:
    """A system bound to machines: ``step(snapshot, event) -> SystemStep``.

    ``machines`` is for the charts that are not to run with their default parameters; raises
    ``KeyError`` for a chart that is not in the system and ``ValueError`` for the machine of another
    chart. ``initial_effects`` is what the charts ask for when they begin.
    """

    def __init__(self, system: System, machines: Mapping[str, Machine] | None = None) -> None:
        self.system = system
        given = machines or {}
        for id, machine in given.items():
            if system.chart(id) != machine.chart:
                raise ValueError(f"system {system.id}: {id} is given another chart's machine")
        self.machines = {
            chart.id: given[chart.id] if chart.id in given else Machine(chart)
            for chart in system.charts
        }
        self._index = {chart.id: index for index, chart in enumerate(system.charts)}
        self.owner = {event: chart.id for chart in system.charts for event in chart.events}
        self._wires: dict[tuple[str, Effect], tuple[tuple[str, str], ...]] = {}
        for wire in system.wires:
            key = (wire.source, wire.effect)
            self._wires[key] = (*self._wires.get(key, ()), (wire.target, wire.event))
        self._interned: dict[tuple[Snapshot, ...], SystemSnapshot] = {}
        told: deque[tuple[str, str]] = deque()
        out: list[Effect] = []
        for id, machine in self.machines.items():
            self._sort(id, machine.initial_effects, told, out)
        begun = self._run([each.initial for each in self.machines.values()], told, out)
        self.initial, self.initial_effects = begun.snapshot, begun.effects

    def snapshot(self, parts: tuple[Snapshot, ...]) -> SystemSnapshot:
        """The one system snapshot made of these parts, in the order of the system's charts."""
        if (known := self._interned.get(parts)) is None:
            known = self._interned[parts] = SystemSnapshot(self._index, parts)
        return known

    def adopt(self, other: SystemSnapshot) -> SystemSnapshot:
        """A snapshot of the same system under other parameters. See ``Machine.adopt``."""
        return self.snapshot(
            tuple(
                machine.adopt(part)
                for machine, part in zip(self.machines.values(), other.parts, strict=True)
            )
        )

    def takes(self, snapshot: SystemSnapshot, event: str) -> bool:
        """Whether the chart that declares ``event`` takes it here. ``KeyError`` when none does."""
        owner = self._owner(event)
        return self.machines[owner].takes(snapshot[owner], event)

    def step(self, snapshot: SystemSnapshot, event: str) -> SystemStep:
        """What the system does on ``event``.

        Raises ``NotAllowedError`` when the chart that declares it takes none here, ``KeyError``
        when no chart declares it, ``ValueError`` when the snapshot is of another router, and
        ``ChartFaultError`` when a chart cannot take what another tells it.
        """
        if snapshot.charts is not self._index:
            raise ValueError(f"system {self.system.id}: {snapshot} is of another router: adopt it")
        try:
            return snapshot.moves[event]
        except KeyError:
            pass
        owner = self._owner(event)
        # An event that its own chart refuses is the caller's error; a later one is the charts'.
        self.machines[owner].step(snapshot[owner], event)
        found = self._run(list(snapshot.parts), deque([(owner, event)]), [])
        snapshot.moves[event] = found
        return found

    def _owner(self, event: str) -> str:
        try:
            return self.owner[event]
        except KeyError:
            raise KeyError(f"system {self.system.id} has no event {event!r}") from None

    def _sort(
        self,
        chart: str,
        effects: tuple[Effect, ...],
        told: deque[tuple[str, str]],
        out: list[Effect],
    ) -> None:
        """What is wired becomes events, the rest is for the driver."""
        for effect in effects:
            if wired := self._wires.get((chart, effect)):
                told.extend(wired)
            else:
                out.append(effect)

    def _run(
        self, parts: list[Snapshot], told: deque[tuple[str, str]], out: list[Effect]
    ) -> SystemStep:
        hops: list[Hop] = []
        while told:
            chart, event = told.popleft()
            before = parts[self._index[chart]]
            try:
                if len(hops) == FUSE:
                    raise ChartFaultError(f"{FUSE} steps for one event: a cycle")
                after, effects, taken = self.machines[chart].step(before, event)
            except (NotAllowedError, ChartFaultError) as error:
                path = " -> ".join(f"{hop.chart}.{hop.event}" for hop in hops[-10:])
                raise ChartFaultError(
                    f"system {self.system.id}: after {path or 'the beginning'}: {error}"
                ) from error
            parts[self._index[chart]] = after
            hops.append(Hop(chart, event, before, after, taken))
            self._sort(chart, effects, told, out)
        return SystemStep(self.snapshot(tuple(parts)), tuple(out), tuple(hops))
