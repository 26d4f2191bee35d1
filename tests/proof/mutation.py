"""Checks every mutant of the HSMS charts with the checks of the charts themselves.

A mutant has a single fault. The first check that notices it kills it: lint, a search that meets an
impossible effect or an event that is not taken, a property, an obligation. A mutant that no check
notices is compared with the chart. When it answers in the same way in every reachable state of
every search, it is equivalent, and ``EQUIVALENT`` must say why. Recorded behaviour (a golden table)
is not used here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic

from statecharts.declare import Chart, Effect, Start, Stop
from statecharts.explore.alone import WorldState
from statecharts.explore.checking import Checker, Outcome
from statecharts.explore.graph import BrokenModelError, Graph, TooManyStatesError
from statecharts.explore.moves import State, View
from statecharts.explore.mutants import Mutant, mutants
from statecharts.explore.obligations import Examiner, Obligation
from statecharts.explore.properties import Property
from statecharts.hsms.systems import CHARTS
from statecharts.lint import ChartError
from statecharts.machine import Machine, NotAllowedError
from statecharts.native import ChartFaultError
from statecharts.router import Router, SystemSnapshot

from .binding import Bind, Parameters, machine
from .searches import (
    CHARTS_ALONE,
    LINKS,
    LINKS_WITHOUT_TRAFFIC,
    SMALL_ENDS,
    AloneSearch,
    EndsSearch,
)

# Far more states than any chart has: a mutant whose queue grows for ever is killed at this limit.
MANY = 40_000

# A pattern of the names of equivalent mutants, and the reason. A mutant counts as equivalent when
# it is listed here and also answers like the chart in every search.
EQUIVALENT: dict[str, str] = {
    r"again instead of transition (breaker_closed|ready|probing|isolated|closed|unwatched)": (
        "the state has no timer and does nothing on entry and exit"
    ),
    r"again instead of transition (between_frames|drained)": (
        "the state has no timer and does nothing on entry and exit"
    ),
    r"swap (misses \+= 1 and Count|failures := 0 and Tell|Tell\(permit_withdrawn\) and fail)": (
        "the moment within a step at which a variable is set cannot be seen"
    ),
    r"swap ((Abandon|Reset)Tcp\(\) and Tell|Tell\(\w+\) and |OpenGate\(\) and Tell)": (
        "a chart gets what it is told after all effects, and then only stops its timers"
    ),
    r"start in \w+ of state": "the state is always entered by the name of one of its children",
    r"target breaker_closed instead of transition probing: attempt_failed": (
        "the count is at the threshold, so closed opens in the same step"
    ),
    r"target between_frames instead of transition .*(t8|frame_deadline)_expired": (
        "the connection is closed in the same step, and the partial frame is dropped with it"
    ),
    r"target drained instead of transition .*(write_timeout|write_deadline)_expired": (
        "the connection is closed in the same step, and the unwritten bytes are dropped with it"
    ),
    r"transition connecting: permit_offered": "never taken: see NEVER_TAKEN",
}


@dataclass(frozen=True, slots=True)
class Fate:
    """The result for a mutant: what killed it, or the ``reason`` why it is equivalent."""

    mutant: str
    killer: str
    reason: str = ""

    @property
    def lives(self) -> bool:
        """Whether the mutant is neither killed nor equivalent."""
        return not self.killer and not self.reason


def all_mutants() -> Iterator[Mutant]:
    """Every mutant of every HSMS chart."""
    for chart in CHARTS:
        yield from mutants(chart)


def _binding(chart: Chart) -> Bind:
    """The usual machines, but ``chart`` in place of the one with its id; each is made once."""
    made: dict[tuple[tuple[str, int], ...], Machine] = {}

    def bind(id: str, parameters: Parameters) -> Machine:
        if id != chart.id:
            return machine(id, parameters)
        key = tuple(sorted(parameters.items()))
        if key not in made:
            made[key] = Machine(chart, **parameters)
        return made[key]

    return bind


class _Bench(Generic[WorldState]):
    """One search of the charts without a fault, kept for comparing mutants with it."""

    def __init__(self, search: AloneSearch[WorldState]) -> None:
        self.search = search
        model = search.model(machine)
        self.router = model.router
        self.graph = Graph(model)
        # For each chart: the snapshots and events in whose steps it takes part.
        self.met: dict[str, set[tuple[SystemSnapshot, str]]] = {}
        for number, here in enumerate(self.graph.states):
            for move, _ in self.graph.edges(number):
                event = model.moves[move].event
                for hop in self.router.step(here.snapshot, event).hops:
                    self.met.setdefault(hop.chart, set()).add((here.snapshot, event))
        # For each transition: the obligations whose steps take it, and the states of these steps.
        self._ways: dict[int, list[tuple[str, SystemSnapshot]]] = {}
        self.tests: dict[tuple[str, int], list[tuple[Obligation, str, int]]] = {}
        examiner = Examiner(self.router)
        for number, here in enumerate(self.graph.states):
            for duty in search.duties:
                if examiner.applies(duty, here.snapshot):
                    self._note(duty, number)

    def _note(self, duty: Obligation, number: int) -> None:
        for event in duty.events:
            for hop in self.router.step(self.graph.states[number].snapshot, event).hops:
                for each in hop.taken:
                    self.tests.setdefault((hop.chart, each), []).append((duty, event, number))

    def try_near(self, mutant: Mutant, bind: Bind) -> str:
        """The obligation that fails where the chart takes the changed transition, if one does."""
        router = self.search.model(bind).router
        examiner = Examiner(router)
        if mutant.transition is None:
            return ""
        tests = self.tests.get((mutant.chart.id, mutant.transition), ())
        for duty, event, number in tests:
            here = self._come_to(number, router)
            if here is not None and (what := examiner.differs(duty, here, event)):
                return f"obligation {duty.clause}: {what}"
        return ""

    def _come_to(self, number: int, router: Router) -> SystemSnapshot | None:
        """The snapshot, if the same events lead the mutant to it as the chart."""
        here = router.initial
        for event, after in self._way(number):
            here = router.step(here, event).snapshot
            if here != after:
                return None
        return here

    def _way(self, number: int) -> list[tuple[str, SystemSnapshot]]:
        """The events of a shortest way to a state, each with the snapshot after it."""
        if (known := self._ways.get(number)) is None:
            moves, states = self.graph.model.moves, self.graph.states
            way = self.graph.way(number)
            known = self._ways[number] = [
                (
                    next(moves[m].event for m, to in self.graph.edges(here) if to == there),
                    states[there].snapshot,
                )
                for here, there in pairwise(way)
            ]
        return known

    def search_again(self, bind: Bind, *, whole: bool = True) -> str:
        """What the search says. With ``whole=False`` some obligations may not apply."""
        model = self.search.model(bind)
        graph = Graph(model, MANY)
        if found := _failed(graph, self.search.properties):
            return found
        snapshots = (here.snapshot for here in graph.states)
        for breach in Examiner(model.router).breaches(snapshots, self.search.duties):
            if breach.event or whole:
                return f"obligation {breach}"
        return ""

    def alike(self, chart: str, bind: Bind) -> bool:
        """Whether the mutant does the same as the chart in every step in which it takes part."""
        plain, other = self.router, self.search.model(bind).router
        if plain.initial != other.initial or plain.initial_effects != other.initial_effects:
            return False
        for snapshot, event in self.met[chart]:
            parts = zip(other.machines.values(), snapshot.parts, strict=True)
            same = other.snapshot(tuple(m.snapshot(p.states, p.values) for m, p in parts))
            was = plain.step(snapshot, event)
            try:
                now = other.step(same, event)
            except (NotAllowedError, ChartFaultError):
                return False
            if was.snapshot != now.snapshot or _seen(was.effects) != _seen(now.effects):
                return False
        return True


class Trial:
    """Tries mutants one after the other; what they share is computed once."""

    def __init__(self) -> None:
        self._quick = [_Bench(search) for search in LINKS_WITHOUT_TRAFFIC]
        self._links = [_Bench(search) for search in LINKS]
        self._alone = [_Bench(search) for search in CHARTS_ALONE]

    def fate(self, mutant: Mutant) -> Fate:
        """The result for a mutant."""
        bind = _binding(mutant.chart)
        try:
            for bench in self._quick:
                if mutant.chart.id in bench.search.charts:
                    bench.search.model(bind)
                    break
            else:
                bind(mutant.chart.id, {})
        except (ChartError, ValueError) as refused:
            return Fate(str(mutant), f"lint: {refused}")
        try:
            if found := self._cheaply(mutant, bind):
                return Fate(str(mutant), found)
            if self._is_alike(mutant, bind):
                return Fate(str(mutant), "", _reason(mutant))
            killer = self._killer(mutant, bind)
        except BrokenModelError as broken:
            return Fate(str(mutant), f"world: {broken.error}")
        except TooManyStatesError as grown:
            return Fate(str(mutant), f"property bounded: {grown}")
        return Fate(str(mutant), killer)

    def _is_alike(self, mutant: Mutant, bind: Bind) -> bool:
        """Whether the mutant answers like the chart in every search; small searches first."""
        id = mutant.chart.id
        links = (bench for bench in (*self._quick, *self._links) if id in bench.search.charts)
        alone = (bench for bench in self._alone if id in bench.search.charts)
        return all(each.alike(id, bind) for each in links) and all(
            each.alike(id, bind) for each in alone
        )

    def _cheaply(self, mutant: Mutant, bind: Bind) -> str:
        """The cheap checks that kill most mutants: the changed transition, and the chart alone."""
        id = mutant.chart.id
        links = [bench for bench in (*self._quick, *self._links) if id in bench.search.charts]
        return _first(bench.try_near(mutant, bind) for bench in links) or _first(
            one.search_again(bind) for one in self._alone if id in one.search.charts
        )

    def _killer(self, mutant: Mutant, bind: Bind) -> str:
        id = mutant.chart.id
        return (
            _first(b.search_again(bind, whole=False) for b in self._quick if id in b.search.charts)
            or _first(b.search_again(bind) for b in self._links if id in b.search.charts)
            or _first(_searched(ends, bind) for ends in SMALL_ENDS if id in ends.charts)
        )


def _seen(effects: tuple[Effect, ...]) -> tuple[list[Effect], dict[str, list[Effect]]]:
    """The effects in order, and those of each timer: the order of two timers cannot be seen."""
    done: list[Effect] = []
    timers: dict[str, list[Effect]] = {}
    for effect in effects:
        match effect:
            case Start(timer) | Stop(timer):
                timers.setdefault(timer.id, []).append(effect)
            case _:
                done.append(effect)
    return done, timers


def _reason(mutant: Mutant) -> str:
    found = (why for pattern, why in EQUIVALENT.items() if re.search(pattern, mutant.fault))
    return next(found, "")


def _first(killers: Iterable[str]) -> str:
    return next((killer for killer in killers if killer), "")


def _failed(graph: Graph[State, View], properties: Iterable[Property[View]]) -> str:
    checker = Checker(graph)
    for claim in properties:
        (verdict,) = checker.check((claim,))
        if verdict.outcome is not Outcome.HELD:
            return f"property {verdict.name}: {verdict.outcome.value}"
    return ""


def _searched(ends: EndsSearch, bind: Bind) -> str:
    return _failed(Graph(ends.model(bind), MANY), ends.properties)
