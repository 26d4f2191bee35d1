"""What can be claimed of a model, each with a name, a sentence and what it takes for granted.

* ``Always``: in every reachable state. ``EveryStep``: for every move.
* ``Sometimes``: in at least one state, so that a search that never gets anywhere is noticed.
* ``CanAlwaysReach``: whatever has happened, there is a way.
* ``Stays``: once true, no move that the assumption allows ends it.
* ``LeadsTo``: once the premise is true, every run that the assumption allows comes to the goal.

A premise that no state fulfils makes a claim vacuous, which is an error and never a pass.
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
    no frame can be delivered and no report is due. ``fair``: a move of these kinds that can be made
    from some point on without interruption is made in the end (weak fairness, per actor and event).
    """

    name: str
    says: str
    never: frozenset[Kind] = frozenset()
    patient: bool = False
    fair: frozenset[Kind] = frozenset()


WHATEVER = Assumption("none", "anything may happen")

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
    """``holds`` of (before, move, after) for every move that ``given`` picks out."""

    name: str
    says: str
    holds: Callable[[View, Move, View], bool]
    given: Callable[[Move], bool]


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
    """No move that ``under`` allows leads from a state in which ``holds`` is true out of it."""

    name: str
    says: str
    holds: Callable[[View], bool]
    under: Assumption


@dataclass(frozen=True, slots=True)
class LeadsTo(Generic[View]):
    """From every reachable state in which ``given`` holds, every run that ``under`` allows."""

    name: str
    says: str
    given: Callable[[View], bool]
    goal: Callable[[View], bool]
    under: Assumption


Property = (
    Always[View]
    | EveryStep[View]
    | Sometimes[View]
    | CanAlwaysReach[View]
    | Stays[View]
    | LeadsTo[View]
)
