"""The labels of a state graph: the actor, the event, its kind, and the effects.

Assumptions name kinds ("no user acts", "a timer fires only when no frame can be delivered"), so
every move has exactly one kind. A model keeps equal moves as one object with one number, so that an
edge of the graph costs a few bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeVar, runtime_checkable

from ..declare import Effect

State = TypeVar("State")
View = TypeVar("View")
View_co = TypeVar("View_co", covariant=True)


class Kind(Enum):
    """The source of a move."""

    USER = "a local call"
    PEER = "a frame of an arbitrary peer"
    DELIVERY = "a frame or marker is taken from the queue"
    TIMER = "a timer fires"
    REPORT = "the driver reports progress"
    FAULT = "something breaks"
    REPAIR = "something is whole again"
    TIME = "a tick of the clock"


@dataclass(frozen=True, slots=True)
class Move:
    """One step with its labels. ``taken`` are (chart, transition number) pairs, for coverage."""

    actor: str
    event: str
    kind: Kind
    effects: tuple[Effect, ...] = ()
    taken: tuple[tuple[str, int], ...] = ()
    carries: str = ""

    def __str__(self) -> str:
        carried = f" ({self.carries})" if self.carries else ""
        asked = f" / {', '.join(str(effect) for effect in self.effects)}" if self.effects else ""
        return f"{self.actor}: {self.event}{carried}{asked}"


class ImpossibleMoveError(Exception):
    """A move that may happen cannot be made: an effect or an event does not fit."""

    def __init__(self, move: Move, reason: str) -> None:
        self.move, self.reason = move, reason
        super().__init__(f"{move}: {reason}")


class Moves:
    """Numbers moves in the order in which they are first met."""

    def __init__(self) -> None:
        self.all: list[Move] = []
        self._numbers: dict[Move, int] = {}

    def number(self, move: Move) -> int:
        """The number of ``move``; the same for an equal one."""
        if (known := self._numbers.get(move)) is None:
            known = self._numbers[move] = len(self.all)
            self.all.append(move)
        return known


@runtime_checkable
class Model(Protocol[State, View_co]):
    """Something to search: where it starts, and what can happen in each state.

    Millions of states are compared and hashed: use small integers, tuples of them, or objects that
    exist once for each value.
    """

    @property
    def moves(self) -> list[Move]:
        """The moves met so far, by number."""
        ...

    @property
    def initial(self) -> Iterable[State]:
        """The states in which it may begin."""
        ...

    def actions(self, state: State) -> Iterable[tuple[int, State]]:
        """Each move from a state: its number in ``moves``, and the state after it.

        Raises ``ImpossibleMoveError`` for a move that may happen and cannot be made.
        """
        ...

    def view(self, state: State) -> View_co:
        """The state as properties read it."""
        ...

    def describe(self, state: State) -> dict[str, str]:
        """The state as people read it: part to value."""
        ...
