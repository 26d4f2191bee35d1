"""What a tool of an equipment is, before it lives: read from a file, or made by a program."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, Literal, get_args

from hsms_engine.fake.emissions import emissions
from hsms_engine.fake.model import Model
from hsms_engine.fake.rules.book import RuleBook
from hsms_engine.spelling import hint

__all__ = ["UNKNOWN", "ToolPlan", "Unknown"]

Unknown = Literal["report", "echo"]
"""What a primary gets that nobody knows: S9F3 or S9F5, or a reply with its own body."""
UNKNOWN: Final[tuple[Unknown, ...]] = get_args(Unknown)


@dataclass(frozen=True, slots=True)
class ToolPlan:
    """One tool. Many may share a model and rules."""

    model: Model
    rules: RuleBook = field(default_factory=RuleBook)
    name: str = ""
    """Of several tools in a file, what this one is called; empty: the only one."""
    session_id: int | None = None
    """The device id that hosts ask it by; None: that of the settings."""
    port: int | None = None
    """Where it listens; None: where the settings say."""
    seed: int = 0
    unknown: Unknown = "report"

    def changed(
        self,
        *,
        alarms: float | None = None,
        events: float | None = None,
        unknown: Unknown | None = None,
    ) -> ToolPlan:
        """The plan with what a program has said beside its file; None: nothing.

        ``alarms`` and ``events`` are the seconds between two S5F1 and two S6F11. Raises
        ``ValueError``.
        """
        if unknown not in (None, *UNKNOWN):
            raise ValueError(f"unknown={unknown!r}: {hint(str(unknown), UNKNOWN)}")
        emitted = tuple(emissions(self.model, alarms, events))
        return replace(
            self,
            rules=RuleBook((*self.rules.rules, *emitted)) if emitted else self.rules,
            unknown=unknown or self.unknown,
        )
