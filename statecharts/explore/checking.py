"""Decides properties on a graph, and finds a shortest counterexample for each one that fails."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Generic, assert_never

from ..declare import Start
from ..refusals import expect
from .cycles import closed_walk, components
from .graph import Graph, Trace
from .moves import Kind, State, View
from .properties import (
    URGENT,
    Always,
    Assumption,
    Between,
    CanAlwaysReach,
    EveryStep,
    LeadsTo,
    Possible,
    Property,
    Sometimes,
    Stays,
)


class Outcome(Enum):
    """What the search says of a claim."""

    HELD = "held"
    FAILED = "failed"
    VACUOUS = "vacuous: its premise is never true, so it claims nothing"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A claim, its outcome, and a counterexample when it failed and a trace can show that."""

    name: str
    says: str
    outcome: Outcome
    trace: Trace | None = None

    def __str__(self) -> str:
        told = f"{self.name}: {self.outcome.value}\n  {self.says}"
        return f"{told}\n{self.trace}" if self.trace else told


class Checker(Generic[State, View]):
    """Answers questions about one graph. What several questions need is computed once."""

    def __init__(self, graph: Graph[State, View]) -> None:
        expect(graph, Graph)
        self.graph = graph
        moves = graph.model.moves
        self._kinds = [move.kind for move in moves]
        # Fairness is judged for each of these; a move also begins the time of the timers it starts.
        self._events = [(move.actor, move.event) for move in moves]
        self._starts = [
            tuple(
                (move.actor, each.timer.expired) for each in move.effects if isinstance(each, Start)
            )
            for move in moves
        ]

    def check(self, properties: Iterable[Property[View]]) -> list[Verdict]:
        """One verdict for each property, in the same order."""
        return [self._verdict(each) for each in properties]

    def _verdict(self, claim: Property[View]) -> Verdict:
        match claim:
            case Always():
                reached, trace = self._always(claim)
            case EveryStep():
                reached, trace = self._every_step(claim)
            case Possible():
                reached, trace = self._possible(claim)
            case Sometimes():
                found = any(True for _ in self._where(claim.holds))
                outcome = Outcome.HELD if found else Outcome.FAILED
                return Verdict(claim.name, claim.says, outcome)
            case CanAlwaysReach():
                reached, trace = self._can_always_reach(claim)
            case Stays():
                reached, trace = self._stays(claim)
            case LeadsTo():
                reached, trace = self._leads_to(claim)
            case Between():
                reached, trace = self._between(claim)
            case _:
                assert_never(claim)
        if not reached:
            return Verdict(claim.name, claim.says, Outcome.VACUOUS)
        outcome = Outcome.FAILED if trace else Outcome.HELD
        return Verdict(claim.name, claim.says, outcome, trace)

    def _where(self, holds: Callable[[View], bool]) -> Iterator[int]:
        view = self.graph.model.view
        return (number for number, state in enumerate(self.graph.states) if holds(view(state)))

    def _allowed(self, under: Assumption) -> Callable[[int], list[tuple[int, int]]]:
        """The moves from a state that the assumption allows."""
        graph, kinds = self.graph, self._kinds

        def moves(state: int) -> list[tuple[int, int]]:
            edges = [each for each in graph.edges(state) if kinds[each[0]] not in under.never]
            if under.patient and any(kinds[move] in URGENT for move, _ in edges):
                edges = [each for each in edges if kinds[each[0]] is not Kind.TIMER]
            return edges

        return moves

    def _always(self, claim: Always[View]) -> tuple[bool, Trace | None]:
        reached, view = False, self.graph.model.view
        for number in self._where(claim.given):
            reached = True
            if not claim.holds(view(self.graph.states[number])):
                return True, self.graph.trace(number)
        return reached, None

    def _possible(self, claim: Possible[View]) -> tuple[bool, Trace | None]:
        graph, reached = self.graph, False
        events = [move.event for move in graph.model.moves]
        for number in self._where(claim.given):
            reached = True
            if not any(events[move] == claim.event for move, _ in graph.edges(number)):
                return True, graph.trace(number)
        return reached, None

    def _every_step(self, claim: EveryStep[View]) -> tuple[bool, Trace | None]:
        graph, reached = self.graph, False
        moves, view, states = graph.model.moves, graph.model.view, graph.states
        picked = [claim.given(move) for move in moves]
        for number, state in enumerate(states):
            for move, target in graph.edges(number):
                if picked[move]:
                    reached = True
                    if not claim.holds(view(state), moves[move], view(states[target])):
                        return True, graph.trace(number).then(
                            moves[move], graph.model.describe(states[target])
                        )
        return reached, None

    def _between(self, claim: Between[View]) -> tuple[bool, Trace | None]:
        graph, moves = self.graph, self.graph.model.moves
        first, second, comes = (
            [chosen(move) for move in moves] for chosen in (claim.first, claim.second, claim.comes)
        )
        # The states after a first move, each with the state before it, or before the last move.
        parents: dict[int, int] = {}
        for number in range(len(graph.states)):
            for move, target in graph.edges(number):
                if first[move]:
                    parents.setdefault(target, -1 - number)
        queue = list(parents)
        for number in queue:
            for move, target in graph.edges(number):
                if comes[move]:
                    continue
                if second[move]:
                    way = [number]
                    while (number := parents[number]) >= 0:
                        way.append(number)
                    trace = graph.along(graph.way(-1 - number) + way[::-1])
                    after = graph.model.describe(graph.states[target])
                    return True, trace.then(moves[move], after)
                if target not in parents:
                    parents[target] = number
                    queue.append(target)
        return bool(parents), None

    def _stays(self, claim: Stays[View]) -> tuple[bool, Trace | None]:
        graph, allowed = self.graph, self._allowed(claim.under)
        inside = set(self._where(claim.holds))
        for number in sorted(inside):
            for move, target in allowed(number):
                if target not in inside:
                    after = graph.model.describe(graph.states[target])
                    return True, graph.trace(number).then(graph.model.moves[move], after)
        return bool(inside), None

    def _can_always_reach(self, claim: CanAlwaysReach[View]) -> tuple[bool, Trace | None]:
        graph, allowed = self.graph, self._allowed(claim.under)
        starts, sources = graph.sources()
        can = bytearray(len(graph.states))
        queue = list(self._where(claim.goal))
        for number in queue:
            can[number] = True
        for number in queue:
            for source in sources[starts[number] : starts[number + 1]]:
                if not can[source] and any(target == number for _, target in allowed(source)):
                    can[source] = True
                    queue.append(source)
        reached = False
        for number in self._where(claim.given):
            reached = True
            if not can[number]:
                return True, graph.trace(number)
        return reached, None

    def _leads_to(self, claim: LeadsTo[View]) -> tuple[bool, Trace | None]:
        """Search for a run that never reaches the goal: one that stops, or a fair cycle."""
        goal = set(self._where(claim.goal))
        roots = list(self._where(claim.given))
        allowed = self._allowed(claim.under)
        parents: dict[int, int] = {root: -1 for root in roots if root not in goal}
        queue = deque(parents)
        while queue:
            here = queue.popleft()
            edges = allowed(here)
            if not edges:
                return True, self.graph.along(self._way(parents, here), allowed)
            for _, there in edges:
                if there not in goal and there not in parents:
                    parents[there] = here
                    queue.append(there)

        def off_goal(state: int) -> list[int]:
            return [there for _, there in allowed(state) if there not in goal]

        for component in components(parents, off_goal):
            if (cycle := self._fair_cycle(component, claim.under)) is not None:
                way = self._way(parents, cycle[0])
                return True, self.graph.along(way + cycle[1:], allowed, len(way) - 1)
        return bool(roots), None

    def _way(self, parents: dict[int, int], state: int) -> list[int]:
        """A way from a start of the graph to the premise, and from there to ``state``."""
        back = [state]
        while parents[back[-1]] >= 0:
            back.append(parents[back[-1]])
        return self.graph.way(back[-1]) + back[-2::-1]

    def _fair_cycle(self, component: list[int], under: Assumption) -> list[int] | None:
        """The states of a fair cycle in a component, the first one again as the last; else None.

        A fair move that is possible in all states of the component is *owed* when the component
        makes it nowhere, does not start its timer anew, and allows it somewhere. A cycle that owes
        no move may still be found where none of the owed ones is allowed.
        """
        allowed, inside = self._allowed(under), set(component)
        within: dict[int, list[int]] = {}
        made: dict[tuple[str, str], tuple[int, int]] = {}
        for here in component:
            within[here] = []
            for move, there in allowed(here):
                if there in inside:
                    within[here].append(there)
                    for each in (self._events[move], *self._starts[move]):
                        made.setdefault(each, (here, there))
        if not any(within.values()):
            return None
        idle: dict[tuple[str, str], set[int]] = {}
        chances: dict[tuple[str, str], set[int]] = {}
        for here in component:
            for move, _ in allowed(here):
                if self._kinds[move] in under.fair:
                    chances.setdefault(self._events[move], set()).add(here)
        for here in component:
            possible = {self._events[move] for move, _ in self.graph.edges(here)}
            for each in chances:
                if each not in possible:
                    idle.setdefault(each, set()).add(here)
        owed = [each for each in chances if each not in made and each not in idle]
        if owed:
            rest = inside.difference(*(chances[each] for each in owed))
            parts = components(sorted(rest), lambda state: rest.intersection(within[state]))
            cycles = (self._fair_cycle(part, under) for part in parts)
            return next((cycle for cycle in cycles if cycle is not None), None)
        stops = [made[each] if each in made else (min(idle[each]),) for each in chances]
        return closed_walk(min(component), within, stops)
