"""Walks through a graph that cover what is asked for: every edge, or every pair of edges in a row.

An edge is an event in a snapshot. A snapshot has the values of the variables, so covering the edges
of a graph covers every outcome of every guard that can come about in it. A tour starts at the
beginning and goes on while something new is within reach; behind a dead end another one starts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import NamedTuple

from ..explore.graph import Graph
from ..explore.moves import Move, State, View
from ..refusals import expect

# What a move covers, seen from the state before it. Two moves with the same item need one visit.
Item = Callable[[View, Move], Hashable]


class Stop(NamedTuple):
    """One step of a tour: what happens, and the state it leads to (a number of the graph)."""

    move: Move
    state: int


Tour = tuple[Stop, ...]
# A place in a walk: the state, and the item covered last where pairs are wanted.
_Place = tuple[int, Hashable]
_Step = tuple[Stop, _Place, Hashable]


def edges(view: View, move: Move) -> Hashable:
    """The finest item: each event in each state of the graph."""
    return view, move.event


class _Walker:
    """Steps of a graph, what each covers, and what is not covered yet."""

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
        self.left = set(self._wanted())

    def _wanted(self) -> Iterator[Hashable]:
        for steps in self.steps:
            for stop, covered in steps:
                if self.pairs:
                    yield from ((covered, follows) for _, follows in self.steps[stop.state])
                else:
                    yield covered

    def nearest(self, start: _Place) -> list[_Step]:
        """A shortest way from here that ends with something new; empty when there is none."""
        came: dict[_Place, tuple[_Place, _Step]] = {}
        seen, queue = {start}, deque([start])
        while queue:
            place = queue.popleft()
            for stop, covered in self.steps[place[0]]:
                then: _Place = (stop.state, covered if self.pairs else None)
                gained = (place[1], covered) if self.pairs else covered
                step = (stop, then, gained)
                if gained in self.left:
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
                walker.left.discard(gained)
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
