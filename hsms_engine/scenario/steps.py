"""What a scenario is: the steps of one side of a link, as data.

Invariants of a scenario that was read from a file:

* Each name that a step uses is bound before it: in the scenario's values, by ``save``, or by a
  pattern of an earlier step.
* What ``save`` and the values of the scenario hold stays: a pattern with that name matches only an
  item that is equal. What a pattern binds, the next pattern binds anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from hsms_engine.secs2 import Item
from hsms_engine.settings import Settings
from hsms_engine.sml import Template
from hsms_engine.sml.nodes import Node
from hsms_engine.sml.patterns import Pattern
from hsms_engine.toml_file import Problem

Role: TypeAlias = Literal["host", "equipment"]

WITHIN: Final = 10.0
"""Seconds that an ``expect`` waits for a primary, when neither it nor the scenario says."""
PEER_WITHIN: Final = 60.0
"""Seconds in which the other side has to come, when a scenario that listens does not say. One that
dials tries once then."""


@dataclass(frozen=True, slots=True)
class Base:
    """What each step has. ``number`` counts from 1: step ``4.2`` is the second in step 4."""

    number: str
    where: str
    """The place in the file, ``start-up.toml:12:1``."""
    name: str | None


@dataclass(frozen=True, slots=True)
class Send(Base):
    """Send a primary; with W, wait for its reply. ``within`` None: T3 alone is the time for it."""

    message: Template
    expect: Pattern | None
    within: float | None

    def __str__(self) -> str:
        sent = f"send {self.message.name}"
        return sent if self.expect is None else f"{sent}, expect {self.expect.name}"


@dataclass(frozen=True, slots=True)
class Expect(Base):
    """Wait for a primary that the other side has sent, or sends, and answer it.

    ``reply`` None: as ``courtesy`` has it. ``is_answered`` false: it gets no reply.
    """

    pattern: Pattern
    within: float
    reply: Template | None
    is_answered: bool

    def __str__(self) -> str:
        expected = f"expect {self.pattern.name}"
        if not self.is_answered:
            return f"{expected}, no reply"
        return expected if self.reply is None else f"{expected}, reply {self.reply.name}"


@dataclass(frozen=True, slots=True)
class Wait(Base):
    """Let ``seconds`` pass."""

    seconds: float

    def __str__(self) -> str:
        return f"wait {self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class Save(Base):
    """Keep values under names."""

    values: Mapping[str, Node]

    def __str__(self) -> str:
        return f"save {', '.join(self.values)}"


@dataclass(frozen=True, slots=True)
class Repeat(Base):
    """Play ``steps`` so often, one time after the other."""

    times: int
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return f"repeat {self.times} times"


Step: TypeAlias = Send | Expect | Wait | Save | Repeat


@dataclass(frozen=True, slots=True)
class Scenario:
    """One side of a link to be played: ``read_scenario`` makes it, ``play`` plays it."""

    name: str
    role: Role
    settings: Settings
    peer_within: float | None
    """Seconds in which the other side has to be there; None: as the program has it."""
    values: Mapping[str, Item]
    steps: tuple[Step, ...]
    doubts: tuple[Problem, ...] = ()
    """Patterns that match no message as the catalogue has it, which may be meant, with places."""


def walk(steps: tuple[Step, ...]) -> Iterator[Step]:
    """All steps in the order of the file, each before those in it."""
    for step in steps:
        yield step
        if isinstance(step, Repeat):
            yield from walk(step.steps)


def round_text(rounds: tuple[int, ...]) -> str:
    """In which round of each repeat around it a step is played, empty outside of all."""
    return f", round {'.'.join(map(str, rounds))}" if rounds else ""
