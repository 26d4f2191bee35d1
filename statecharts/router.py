"""Joins charts: what one chart tells is an event of another. Driver and checker use one router.

A system is a set of charts. A step gives one event to the chart that declares it. Each ``Tell``
that follows goes to the chart that declares its event, first in, first out, until there is none.
All other effects come out in the order in which the charts asked for them. The whole is again a
pure, memoised function, so a step of a system costs one dictionary look-up.

Invariants of a system, checked when it is made:

* a chart id, an event and a state belong to one chart, so that each can be named without its chart;
* every event that is told is declared as ``reported`` by a chart of the system, or is named in
  ``outside``;
* no chart tells that a timer has expired: timers are started, stopped and expire outside.

Diagram: ``diagrams/lifecycle.svg``.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from .declare import ADOPTED, Chart, Effect, Tell
from .machine import Machine, NotAllowedError, Snapshot
from .native import ChartFaultError
from .refusals import expect

# When one event takes more steps than this, the charts answer each other for ever.
FUSE = 100


def told_by(chart: Chart) -> tuple[str, ...]:
    """The events of other charts that ``chart`` tells, in order of declaration, each once."""
    asked = chain.from_iterable(
        (
            *((*state.enter, *state.exit) for state in chart.walk()),
            *(on.do for on in chart.transitions),
        )
    )
    return tuple(dict.fromkeys(each.event for each in asked if isinstance(each, Tell)))


@dataclass(frozen=True, slots=True)
class System:
    """Charts that tell each other what happens. Raises ``ValueError`` when they do not fit.

    ``outside``: events that are told here and that no chart of the system declares. They come out
    of a step like any other effect.
    """

    id: str
    title: str
    charts: tuple[Chart, ...]
    outside: tuple[str, ...] = ()

    def __hash__(self) -> int:
        # It is a key of caches, and each chart is long to hash.
        return hash(self.id)

    def __post_init__(self) -> None:
        for chart in self.charts:
            expect(chart, Chart)
        for problem in (*self._shared_names(), *self._untold()):
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

    def _untold(self) -> Iterator[str]:
        owners = {event: chart for chart in self.charts for event in chart.events}
        for teller in self.charts:
            for event in told_by(teller):
                owner = owners.get(event)
                if owner is None and event not in self.outside:
                    yield f"{teller.id} tells {event!r}, which no chart declares (see outside=)"
                elif owner is teller:
                    yield f"{teller.id} tells itself {event!r}: take the transition at once instead"
                elif owner is not None and event not in owner.reported:
                    yield f"{teller.id} tells {event!r}, which {owner.id} does not report"
        for event in self.outside:
            if event in owners:
                yield f"{event!r} is outside and yet an event of {owners[event].id}"

    def chart(self, id: str) -> Chart:
        """The chart with this id. Raises ``KeyError`` when there is none."""
        for chart in self.charts:
            if chart.id == id:
                return chart
        raise KeyError(f"system {self.id} has no chart {id!r}")


class Hop(NamedTuple):
    """One chart's part in a step: its event, its snapshots before and after, its transitions."""

    chart: str
    event: str
    before: Snapshot
    after: Snapshot
    taken: tuple[int, ...]


class SystemStep(NamedTuple):
    """What a system answers: where it is now, the effects for its driver, and the hops there."""

    snapshot: SystemSnapshot
    effects: tuple[Effect, ...]
    hops: tuple[Hop, ...]


class SystemSnapshot:
    """The snapshots of all charts of a system, in its order.

    A router makes it, and it never changes. Two are equal when all parts are equal, also across
    routers.
    """

    __slots__ = ("_hash", "charts", "known_states", "moves", "parts", "states")

    def __init__(
        self,
        charts: Mapping[str, int],
        known_states: frozenset[str],
        parts: tuple[Snapshot, ...],
    ) -> None:
        # Chart id to index in ``parts``. Each router has one such object and knows its own
        # snapshots by it.
        self.charts = charts
        self.known_states = known_states
        self.parts = parts
        self.states = frozenset(chain.from_iterable(part.states for part in parts))
        self.moves: dict[str, SystemStep] = {}
        self._hash = hash(parts)

    def __getitem__(self, chart: str) -> Snapshot:
        return self.parts[self.charts[chart]]

    def __contains__(self, state: str) -> bool:
        """Whether ``state`` is active. Raises ``KeyError`` when no chart has such a state."""
        if state in self.states:
            return True
        if state not in self.known_states:
            raise KeyError(f"no chart of {self} has a state {state!r}")
        return False

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

    ``machines`` gives machines for charts that run with other than their default parameters. It
    raises ``KeyError`` for a chart that is not in the system and ``ValueError`` for the machine of
    another chart. ``initial_effects`` are the effects of entering the initial states.
    """

    def __init__(self, system: System, machines: Mapping[str, Machine] | None = None) -> None:
        expect(system, System)
        self.system = system
        given = machines or {}
        for id, machine in given.items():
            expect(machine, Machine)
            if system.chart(id) != machine.chart:
                raise ValueError(f"system {system.id}: {id} is given another chart's machine")
        self.machines = {
            chart.id: given[chart.id] if chart.id in given else Machine(chart)
            for chart in system.charts
        }
        self._index = {chart.id: index for index, chart in enumerate(system.charts)}
        self.owner = {event: chart.id for chart in system.charts for event in chart.events}
        self._known_states = frozenset(
            state.id for chart in system.charts for state in chart.walk()
        )
        self._interned: dict[tuple[Snapshot, ...], SystemSnapshot] = {}
        told: deque[tuple[str, str]] = deque()
        out: list[Effect] = []
        for machine in self.machines.values():
            self._sort(machine.initial_effects, told, out)
        begun = self._run([each.initial for each in self.machines.values()], told, out, [])
        self.initial, self.initial_effects = begun.snapshot, begun.effects

    def snapshot(self, parts: tuple[Snapshot, ...]) -> SystemSnapshot:
        """The one system snapshot made of these parts, in the order of the system's charts."""
        if (known := self._interned.get(parts)) is None:
            known = self._interned[parts] = SystemSnapshot(self._index, self._known_states, parts)
        return known

    def adopt(self, other: SystemSnapshot) -> SystemStep:
        """Go on from a snapshot of the same system under other parameters.

        A chart that takes a transition at once (see ``Machine.adopt``) has a hop with the event
        ``ADOPTED``; what it tells other charts, and what they do then, belongs to the step.

        Raises ``ValueError`` for a snapshot of other charts, ``ChartFaultError`` when a chart
        cannot take what another tells it.
        """
        expect(other, SystemSnapshot)
        if tuple(other.charts) != tuple(self._index):
            raise ValueError(f"system {self.system.id} cannot adopt {other}, of other charts")
        parts: list[Snapshot] = []
        hops: list[Hop] = []
        told: deque[tuple[str, str]] = deque()
        out: list[Effect] = []
        for (id, machine), before in zip(self.machines.items(), other.parts, strict=True):
            after, effects, taken = machine.adopt(before)
            parts.append(after)
            if taken:
                hops.append(Hop(id, ADOPTED, before, after, taken))
            self._sort(effects, told, out)
        return self._run(parts, told, out, hops)

    def takes(self, snapshot: SystemSnapshot, event: str) -> bool:
        """Whether the chart that declares ``event`` takes it here. ``KeyError`` when none does."""
        owner = self._owner(event)
        return self.machines[owner].takes(snapshot[owner], event)

    def step(self, snapshot: SystemSnapshot, event: str) -> SystemStep:
        """What the system does on ``event``.

        Raises ``NotAllowedError`` when the chart that declares it has no transition for it here,
        ``KeyError`` when no chart declares it, ``ValueError`` when the snapshot is of another
        router, and ``ChartFaultError`` when a chart cannot take what another tells it.
        """
        if snapshot.charts is not self._index:
            raise ValueError(f"system {self.system.id}: {snapshot} is of another router: adopt it")
        try:
            return snapshot.moves[event]
        except KeyError:
            pass
        owner = self._owner(event)
        # When the first event is refused, the caller is wrong; when a later one is, the charts are.
        self.machines[owner].step(snapshot[owner], event)
        found = self._run(list(snapshot.parts), deque([(owner, event)]), [], [])
        snapshot.moves[event] = found
        return found

    def _owner(self, event: str) -> str:
        try:
            return self.owner[event]
        except KeyError:
            raise KeyError(f"system {self.system.id} has no event {event!r}") from None

    def _sort(
        self, effects: tuple[Effect, ...], told: deque[tuple[str, str]], out: list[Effect]
    ) -> None:
        """Each ``Tell`` becomes an event of its chart; the other effects are for the driver."""
        for effect in effects:
            match effect:
                case Tell(event) if event in self.owner:
                    told.append((self.owner[event], event))
                case _:
                    out.append(effect)

    def _run(
        self,
        parts: list[Snapshot],
        told: deque[tuple[str, str]],
        out: list[Effect],
        hops: list[Hop],
    ) -> SystemStep:
        """The step that ends when nothing is ``told`` any more; the lists grow until then."""
        while told:
            chart, event = told.popleft()
            before = parts[self._index[chart]]
            try:
                if len(hops) >= FUSE:
                    raise ChartFaultError(f"{FUSE} steps for one event: a cycle")
                after, effects, taken = self.machines[chart].step(before, event)
            except (NotAllowedError, ChartFaultError) as error:
                path = " -> ".join(f"{hop.chart}.{hop.event}" for hop in hops[-10:])
                raise ChartFaultError(
                    f"system {self.system.id}: after {path or 'the beginning'}: {error}"
                ) from error
            parts[self._index[chart]] = after
            hops.append(Hop(chart, event, before, after, taken))
            self._sort(effects, told, out)
        return SystemStep(self.snapshot(tuple(parts)), tuple(out), tuple(hops))
