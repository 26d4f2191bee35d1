"""A state graph written down by hand, to try the checker on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from statecharts.explore import Graph, ImpossibleMoveError, Kind, Move, Moves

Edges = Mapping[str, tuple[tuple[Kind, str, str], ...]]


class Toy:
    """States are letters, the first one is the start. A target of "!" cannot be reached."""

    def __init__(self, edges: Edges) -> None:
        self._edges = edges
        self._moves = Moves()

    @property
    def moves(self) -> list[Move]:
        return self._moves.all

    @property
    def initial(self) -> tuple[str, ...]:
        return (next(iter(self._edges)),) * 2

    def actions(self, state: str) -> Iterator[tuple[int, str]]:
        for kind, event, target in self._edges.get(state, ()):
            move = Move("toy", event, kind)
            if target == "!":
                raise ImpossibleMoveError(move, "it does not fit")
            yield self._moves.number(move), target

    def view(self, state: str) -> str:
        return state

    def describe(self, state: str) -> dict[str, str]:
        return {"state": state}


def toy(edges: Edges) -> Graph[str, str]:
    """The graph of these edges."""
    return Graph(Toy(edges))
