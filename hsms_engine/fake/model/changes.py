"""What a live model tells of, beside its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from hsms_engine.fake.model.ids import Id
from hsms_engine.secs2 import Item

__all__ = ["Change", "IllegalData", "Trace", "TraceBegun", "TraceOver", "VariableChanged"]


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What a host wants to have read again and again (S2F23).

    ``total`` samples, one every ``period`` seconds, the first after the first period; those of
    ``group`` are sent together, the last ones also when they are fewer.
    """

    id: Id
    item: Item
    """The id as the host has written it."""
    period: float
    total: int
    group: int
    variables: tuple[Id, ...]


@dataclass(frozen=True, slots=True)
class VariableChanged:
    """A variable has another value than before."""

    vid: Id


@dataclass(frozen=True, slots=True)
class TraceBegun:
    """A host has begun a trace; one of the same id is over."""

    trace: Trace


@dataclass(frozen=True, slots=True)
class TraceOver:
    """A host has ended a trace before it was complete."""

    id: Id


Change: TypeAlias = VariableChanged | TraceBegun | TraceOver


@dataclass(frozen=True, slots=True)
class IllegalData:
    """What a primary gets whose body does not have its layout: S9F7.

    ``is_told``: the body is no SECS-II, and the connection of a received message tells the host
    itself.
    """

    why: str
    is_told: bool = False
