"""Every state that a model can reach, breadth first, and numbers that describe the whole.

The graph is kept in flat arrays (four bytes for a target, two for a label), so a million states
with ten moves each fit in a few hundred megabytes. The first way found to a state is a shortest
one, so every trace made here is a shortest one.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic

from ..refusals import expect
from .moves import ImpossibleMoveError, Model, Move, State, View

MANY = 5_000_000


class TooManyStatesError(Exception):
    """The search has found more states than its limit allows."""


class BrokenModelError(Exception):
    """A move that may happen cannot be made. ``trace`` is a shortest way there."""

    def __init__(self, trace: Trace, error: ImpossibleMoveError) -> None:
        self.trace, self.error = trace, error
        super().__init__(f"{error}\nafter {len(trace.moves)} moves:\n{trace}")


@dataclass(frozen=True, slots=True)
class Trace:
    """A way through the graph: ``moves[i]`` leads from ``parts[i]`` to ``parts[i + 1]``.

    ``parts`` describe the states. ``loop`` is the index of the state to which the last move
    returns, or None for a trace without a loop.
    """

    moves: tuple[Move, ...]
    parts: tuple[dict[str, str], ...]
    loop: int | None = None

    def then(self, move: Move, parts: dict[str, str]) -> Trace:
        """The trace with one more move."""
        return Trace((*self.moves, move), (*self.parts, parts))

    def __str__(self) -> str:
        lines = ["start: " + ", ".join(f"{part}={value}" for part, value in self.parts[0].items())]
        for index, move in enumerate(self.moves):
            if index == self.loop:
                lines.append("from here for ever:")
            lines.append(f"{index + 1:3} {move}")
            before, after = self.parts[index], self.parts[index + 1]
            lines.extend(
                f"      {part}: {before[part]} -> {after[part]}"
                for part in after
                if after[part] != before[part]
            )
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the search saw. A deadlock is a state from which no move leads to another state."""

    states: int
    transitions: int
    diameter: int
    out_degree: int
    deadlocks: int


class Graph(Generic[State, View]):
    """The reachable states of a model and all moves between them."""

    def __init__(self, model: Model[State, View], limit: int = MANY) -> None:
        """Search the whole model. Raises ``BrokenModelError`` or ``TooManyStatesError``."""
        expect(model, Model)
        self.model = model
        self.states: list[State] = []
        self.parents = array("i")
        self.offsets = array("Q", [0])
        self.targets = array("I")
        self.labels = array("H")
        for state in dict.fromkeys(model.initial):
            self.states.append(state)
            self.parents.append(-1)
        self._search(limit)

    def _search(self, limit: int) -> None:
        states, actions = self.states, self.model.actions
        index = {state: number for number, state in enumerate(states)}
        known, found, parent = index.get, states.append, self.parents.append
        target, label, end = self.targets.append, self.labels.append, self.offsets.append
        here = 0
        for here, state in enumerate(states):
            try:
                for move, after in actions(state):
                    there = known(after)
                    if there is None:
                        there = index[after] = len(states)
                        found(after)
                        parent(here)
                    target(there)
                    label(move)
            except ImpossibleMoveError as error:
                raise BrokenModelError(self.trace(here), error) from error
            end(len(self.targets))
            if len(states) > limit:
                raise TooManyStatesError(f"more than {limit} states")

    def edges(self, state: int) -> Iterator[tuple[int, int]]:
        """(move number, target) of every move from a state, by number."""
        first, last = self.offsets[state], self.offsets[state + 1]
        return zip(self.labels[first:last], self.targets[first:last], strict=True)

    def way(self, state: int) -> list[int]:
        """The numbers of the states on a shortest way from a start to ``state``, both included."""
        back = [state]
        while (state := self.parents[state]) >= 0:
            back.append(state)
        return back[::-1]

    def trace(self, state: int) -> Trace:
        """A shortest trace from a start to the state with this number."""
        return self.along(self.way(state))

    def along(
        self,
        numbers: list[int],
        edges: Callable[[int], Iterable[tuple[int, int]]] | None = None,
        loop: int | None = None,
    ) -> Trace:
        """The trace through these states. Where several moves are possible, ``edges`` chooses."""
        moves = []
        for here, there in pairwise(numbers):
            found = [move for move, target in (edges or self.edges)(here) if target == there]
            first = next(move for move, target in self.edges(here) if target == there)
            moves.append(self.model.moves[found[0] if found else first])
        parts = tuple(self.model.describe(self.states[number]) for number in numbers)
        return Trace(tuple(moves), parts, loop)

    def statistics(self) -> Statistics:
        """The numbers that describe the whole graph."""
        depths = array("I")
        for parent in self.parents:
            depths.append(0 if parent < 0 else depths[parent] + 1)
        counts = range(len(self.states))
        return Statistics(
            states=len(self.states),
            transitions=len(self.targets),
            diameter=max(depths),
            out_degree=max(self.offsets[n + 1] - self.offsets[n] for n in counts),
            deadlocks=sum(all(target == n for _, target in self.edges(n)) for n in counts),
        )

    def sources(self) -> tuple[array[int], array[int]]:
        """All edges backwards: the moves into ``n`` are ``found[starts[n]:starts[n + 1]]``."""
        starts = array("Q", bytes(8 * (len(self.states) + 1)))
        for target in self.targets:
            starts[target + 1] += 1
        for state in range(len(self.states)):
            starts[state + 1] += starts[state]
        free, found = array("Q", starts), array("I", bytes(4 * len(self.targets)))
        for state in range(len(self.states)):
            for target in self.targets[self.offsets[state] : self.offsets[state + 1]]:
                found[free[target]] = state
                free[target] += 1
        return starts, found

    def taken(self) -> set[tuple[str, int]]:
        """The chart transitions that some move of the graph took."""
        return {each for move in set(self.labels) for each in self.model.moves[move].taken}
