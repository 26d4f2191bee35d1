"""A rule, as declared: when it is asked, whether it holds, what it answers, and what it does then.

Rules are data, and equal when they say the same: so a file that is read again changes only what has
changed in it. ``reading`` makes them of a file, ``book`` finds those to ask, ``live`` asks them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from hsms_engine.fake.model import Id
from hsms_engine.fake.rules.conditions import Condition
from hsms_engine.fake.rules.steps import Span, Step, listed, message_text
from hsms_engine.sml import Pattern, Template


@dataclass(frozen=True, slots=True)
class OnMessage:
    """A primary of the host matches."""

    pattern: Pattern

    def __str__(self) -> str:
        return f"on {self.pattern.text}"


@dataclass(frozen=True, slots=True)
class OnEvent:
    """This event of the tool has happened, be it sent or not."""

    ceid: Id

    def __str__(self) -> str:
        return f"event {self.ceid}"


@dataclass(frozen=True, slots=True)
class OnChange:
    """A variable has another value than before."""

    vid: Id

    def __str__(self) -> str:
        return f"changed {self.vid}"


@dataclass(frozen=True, slots=True)
class Every:
    """Again and again while a host is selected, for the first time after one such time."""

    span: Span

    def __str__(self) -> str:
        return f"every {self.span}"


@dataclass(frozen=True, slots=True)
class After:
    """Once each time that a host is selected, so much later, if it still is."""

    span: Span

    def __str__(self) -> str:
        return f"after {self.span}"


Timer: TypeAlias = Every | After
Trigger: TypeAlias = OnMessage | OnEvent | OnChange | Timer


@dataclass(frozen=True, slots=True)
class Rule:
    """``replies`` has one of which one is chosen, None for no reply at all. Without any, whoever
    is asked next answers. ``times``: the rule holds at most so often.
    """

    name: str
    trigger: Trigger
    when: Condition | None = None
    times: int | None = None
    replies: tuple[Template | None, ...] = ()
    steps: tuple[Step, ...] = ()

    def __str__(self) -> str:
        """The rule in one line."""
        parts = [f"{self.name}: {self.trigger}"]
        if self.when is not None:
            parts.append(f"when {self.when.text}")
        if self.times is not None:
            parts.append(f"at most {self.times} times")
        if self.replies:
            parts.append(f"reply {' or '.join(map(reply_text, self.replies))}")
        if self.steps:
            parts.append(f"then {listed(self.steps)}")
        return "; ".join(parts)

    @property
    def always_holds(self) -> bool:
        """Whether it holds whenever it is asked."""
        return self.when is None and self.times is None


def reply_text(reply: Template | None) -> str:
    """A reply in one line, as it stands in a listing."""
    return "none" if reply is None else message_text(reply)
