"""The steps of a rule, as declared, and the order in which they are done.

A step is data: ``live`` does it. Steps without a wait between them are done at once, in their
order, so there is a bound to how many these may be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final, TypeAlias

from hsms_engine.fake.model import Id
from hsms_engine.sml import Node, Template
from hsms_engine.sml.printer import shorten_node

MOST_STEPS: Final = 10_000
"""So many steps are done at once, without a wait between them: of a rule, and of all that it
causes."""

# An item is shown so long, in characters.
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Span:
    """So many seconds, or by chance any time from ``lowest`` to ``highest``."""

    lowest: float
    highest: float

    def __str__(self) -> str:
        if self.lowest == self.highest:
            return f"{self.lowest:g} s"
        return f"{self.lowest:g} to {self.highest:g} s"

    def draw(self, random: Random) -> float:
        """The seconds, this time. There is no chance in a single number."""
        if self.lowest == self.highest:
            return self.lowest
        return random.uniform(self.lowest, self.highest)


@dataclass(frozen=True, slots=True)
class Wait:
    span: Span

    def __str__(self) -> str:
        return f"wait {self.span}"


@dataclass(frozen=True, slots=True)
class SetValue:
    vid: Id
    node: Node

    def __str__(self) -> str:
        return f"set {self.vid} to {shorten_node(self.node, _SHOWN)}"


@dataclass(frozen=True, slots=True)
class AddValue:
    vid: Id
    amount: int | float

    def __str__(self) -> str:
        return f"add {self.amount:g} to {self.vid}"


@dataclass(frozen=True, slots=True)
class SendEvent:
    ceid: Id

    def __str__(self) -> str:
        return f"event {self.ceid}"


@dataclass(frozen=True, slots=True)
class SetAlarm:
    alid: Id
    is_set: bool

    def __str__(self) -> str:
        return f"{'alarm' if self.is_set else 'clear'} {self.alid}"


@dataclass(frozen=True, slots=True)
class SendMessage:
    template: Template

    def __str__(self) -> str:
        return f"send {message_text(self.template)}"


@dataclass(frozen=True, slots=True)
class BeginFault:
    behaviour: str

    def __str__(self) -> str:
        return f"fault {self.behaviour}"


@dataclass(frozen=True, slots=True)
class Heal:
    def __str__(self) -> str:
        return "heal"


@dataclass(frozen=True, slots=True)
class Separate:
    def __str__(self) -> str:
        return "separate"


@dataclass(frozen=True, slots=True)
class StopRule:
    rule: str

    def __str__(self) -> str:
        return f"stop {self.rule!r}"


@dataclass(frozen=True, slots=True)
class Repeat:
    count: int
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return f"{self.count} times ({listed(self.steps)})"


@dataclass(frozen=True, slots=True)
class Choose:
    """One of ``options``, by chance."""

    options: tuple[tuple[Step, ...], ...]

    def __str__(self) -> str:
        return f"one of {', '.join(f'({listed(each)})' for each in self.options)}"


Act: TypeAlias = (
    SetValue
    | AddValue
    | SendEvent
    | SetAlarm
    | SendMessage
    | BeginFault
    | Heal
    | Separate
    | StopRule
)
"""A step that is done at once."""

Step: TypeAlias = Wait | Act | Repeat | Choose


def message_text(template: Template) -> str:
    """A message in one line, as a listing of rules shows it."""
    name = f"{template.name} W" if template.wait else template.name
    return name if template.node is None else f"{name} {shorten_node(template.node, _SHOWN)}"


def listed(steps: tuple[Step, ...]) -> str:
    """Steps in one line, as a listing of rules shows them."""
    return ", ".join(map(str, steps))


def in_order(steps: tuple[Step, ...], random: Random) -> Iterator[Wait | Act]:
    """The steps one after the other, with those that are repeated or chosen."""
    for step in steps:
        match step:
            case Repeat():
                for _ in range(step.count):
                    yield from in_order(step.steps, random)
            case Choose():
                yield from in_order(random.choice(step.options), random)
            case _:
                yield step


def at_once(steps: tuple[Step, ...]) -> int:
    """How many steps there may be, a repeat that waits counted once: what waits may be long."""
    total = 0
    for step in steps:
        match step:
            case Wait():
                pass
            case Repeat():
                total += at_once(step.steps) * (1 if always_waits(step.steps) else step.count)
            case Choose():
                total += max(map(at_once, step.options))
            case _:
                total += 1
    return total


def always_waits(steps: tuple[Step, ...]) -> bool:
    """Whether time passes in these steps, whatever is chosen."""
    for step in steps:
        match step:
            case Wait():
                return True
            case Repeat() if always_waits(step.steps):
                return True
            case Choose() if all(map(always_waits, step.options)):
                return True
            case _:
                pass
    return False
