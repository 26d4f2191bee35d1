"""Walks through a graph that cover every edge, or every two edges in a row.

An edge is an event in a snapshot. A snapshot has the values of the variables, so tours that cover
all edges cover every possible outcome of every guard. A tour starts at the beginning and continues
while it can reach something new; then the next tour starts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import NamedTuple

from ..explore.graph import Graph
from ..explore.moves import Move, State, View
from ..refusals import expect

# What a move covers, seen from the state before it. Of two moves with one item, one is enough.
Item = Callable[[View, Move], Hashable]


class Stop(NamedTuple):
    """One step of a tour: the move, and the state it leads to (a number of the graph)."""

    move: Move
    state: int


Tour = tuple[Stop, ...]
"""A walk through a graph, from an initial state on: each move, and the state after it."""

# A place in a walk: the state, and the item covered last when pairs are wanted.
_Place = tuple[int, Hashable]
_Step = tuple[Stop, _Place, Hashable]


def edges(view: View, move: Move) -> Hashable:
    """The finest item: each event in each state of the graph."""
    return view, move.event


class _Walker:
    """The steps of a graph, what each covers, and what is not covered yet."""

    def __init__(self, graph: Graph[State, View], item: Item[View], *, pairs: bool) -> None:
        model = graph.model
        self.pairs = pairs
        self.steps: list[list[tuple[Stop, Hashable]]] = [
            [
                (Stop(model.moves[move], there), item(model.view(state), model.moves[move]))
                for move, there in graph.edges(number)
            ]
            for number, state in enumerate(graph.states)
        ]
        self.uncovered = set(self._wanted())

    def _wanted(self) -> Iterator[Hashable]:
        for steps in self.steps:
            for stop, covered in steps:
                if self.pairs:
                    yield from ((covered, follows) for _, follows in self.steps[stop.state])
                else:
                    yield covered

    def nearest(self, start: _Place) -> list[_Step]:
        """A shortest way from here whose last step is new; empty when there is none."""
        came: dict[_Place, tuple[_Place, _Step]] = {}
        seen, queue = {start}, deque([start])
        while queue:
            place = queue.popleft()
            for stop, covered in self.steps[place[0]]:
                then: _Place = (stop.state, covered if self.pairs else None)
                gained = (place[1], covered) if self.pairs else covered
                step = (stop, then, gained)
                if gained in self.uncovered:
                    back = [step]
                    while place != start:
                        place, step = came[place]
                        back.append(step)
                    return back[::-1]
                if then not in seen:
                    seen.add(then)
                    came[then] = (place, step)
                    queue.append(then)
        return []


def tours(
    graph: Graph[State, View], item: Item[View] = edges, *, pairs: bool = False
) -> list[Tour]:
    """Tours that together cover every item of the graph, or every two items in a row."""
    expect(graph, Graph)
    walker = _Walker(graph, item, pairs=pairs)
    made: list[Tour] = []
    while True:
        tour: list[Stop] = []
        place: _Place = (0, None)
        while way := walker.nearest(place):
            for stop, there, gained in way:
                tour.append(stop)
                walker.uncovered.discard(gained)
                place = there
        if not tour:
            return made
        made.append(tuple(tour))


def coverage(
    graph: Graph[State, View], walked: Iterable[Tour], item: Item[View] = edges
) -> tuple[int, int]:
    """How many items of the graph the tours cover, and how many there are."""
    expect(graph, Graph)
    model = graph.model
    wanted = {
        item(model.view(state), model.moves[move])
        for number, state in enumerate(graph.states)
        for move, _ in graph.edges(number)
    }
    covered = set()
    for tour in walked:
        here = 0
        for stop in tour:
            covered.add(item(model.view(graph.states[here]), stop.move))
            here = stop.state
    return len(covered & wanted), len(wanted)
