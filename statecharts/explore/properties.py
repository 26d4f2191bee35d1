"""What can be claimed of a model. Each claim has a name, a sentence, and what it assumes.

* ``Always``: true in every reachable state. ``EveryStep``: true for every move.
* ``Possible``: an event can occur in every state in which the premise holds.
* ``Sometimes``: true in at least one state, so that a search that reaches too little is noticed.
* ``CanAlwaysReach``: from every state there is a way to the goal.
* ``Stays``: once true, it stays true for every move that the assumption allows.
* ``Between``: two moves never follow each other without a third one between them.
* ``LeadsTo``: once the premise is true, every run that the assumption allows reaches the goal.

When no state fulfils the premise, the claim is vacuous. That is an error, never a pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

from .moves import Kind, Move, View


@dataclass(frozen=True, slots=True)
class Assumption:
    """Which runs a claim is about.

    ``never``: moves of these kinds do not happen (any more). ``patient``: a timer fires only where
    no frame can be delivered and no report is due. ``fair``: when a move of these kinds is possible
    without interruption, it is made at some time (weak fairness, per actor and event). A patient
    timer that is put off still runs, and is possible; a move that starts it anew interrupts it.
    """

    name: str
    says: str
    never: frozenset[Kind] = frozenset()
    patient: bool = False
    fair: frozenset[Kind] = frozenset()


WHATEVER = Assumption("none", "anything may happen")
"""The assumption that assumes nothing."""

# What a timer waits for under a patient assumption.
URGENT = frozenset({Kind.DELIVERY, Kind.REPORT})


def anything(_: object) -> bool:
    """The premise that is always true."""
    return True


@dataclass(frozen=True, slots=True)
class Always(Generic[View]):
    """``holds`` in every reachable state in which ``given`` does."""

    name: str
    says: str
    holds: Callable[[View], bool]
    given: Callable[[View], bool] = anything


@dataclass(frozen=True, slots=True)
class EveryStep(Generic[View]):
    """``holds`` of (before, move, after) for every move that ``given`` selects."""

    name: str
    says: str
    holds: Callable[[View, Move, View], bool]
    given: Callable[[Move], bool]


@dataclass(frozen=True, slots=True)
class Possible(Generic[View]):
    """``event`` can occur, or can be called, in every reachable state in which ``given`` holds."""

    name: str
    says: str
    event: str
    given: Callable[[View], bool] = anything


@dataclass(frozen=True, slots=True)
class Sometimes(Generic[View]):
    """``holds`` in at least one reachable state."""

    name: str
    says: str
    holds: Callable[[View], bool]


@dataclass(frozen=True, slots=True)
class CanAlwaysReach(Generic[View]):
    """From every reachable state in which ``given`` holds, there is a way that ``under`` allows."""

    name: str
    says: str
    goal: Callable[[View], bool]
    given: Callable[[View], bool] = anything
    under: Assumption = WHATEVER


@dataclass(frozen=True, slots=True)
class Stays(Generic[View]):
    """Once ``holds`` is true, no move that ``under`` allows makes it false."""

    name: str
    says: str
    holds: Callable[[View], bool]
    under: Assumption


@dataclass(frozen=True, slots=True)
class LeadsTo(Generic[View]):
    """From every reachable state in which ``given`` holds, every run reaches the goal."""

    name: str
    says: str
    given: Callable[[View], bool]
    goal: Callable[[View], bool]
    under: Assumption


@dataclass(frozen=True, slots=True)
class Between(Generic[View]):
    """On every run, between a ``first`` move and the next ``second`` one there is a ``comes``.

    A move that is both ``second`` and ``comes`` is enough by itself.
    """

    name: str
    says: str
    first: Callable[[Move], bool]
    second: Callable[[Move], bool]
    comes: Callable[[Move], bool]


Property = (
    Always[View]
    | EveryStep[View]
    | Possible[View]
    | Sometimes[View]
    | CanAlwaysReach[View]
    | Stays[View]
    | LeadsTo[View]
    | Between[View]
)
