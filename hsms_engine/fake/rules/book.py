"""The rules of a tool, by what they wait for. Many tools of one file share a book."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias, assert_never

from hsms_engine.fake.model import Id
from hsms_engine.fake.rules.rule import (
    After,
    Every,
    OnChange,
    OnEvent,
    OnMessage,
    Rule,
    Timer,
)
from hsms_engine.message import Message
from hsms_engine.secs2 import Item

Match: TypeAlias = Callable[[Message], Mapping[str, Item] | None]


class RuleBook:
    """Rules, in the order in which they are asked. Their names differ. Immutable."""

    __slots__ = ("_changes", "_events", "_messages", "rules", "timers")

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules: Final = tuple(rules)
        timers: list[tuple[Rule, Timer]] = []
        self._messages: dict[tuple[int, int], list[tuple[Match, Rule]]] = {}
        self._events: dict[Id, list[Rule]] = {}
        self._changes: dict[Id, list[Rule]] = {}
        for rule in self.rules:
            match rule.trigger:
                case OnMessage(pattern):
                    key = pattern.stream, pattern.function
                    self._messages.setdefault(key, []).append((pattern.match, rule))
                case OnEvent(ceid):
                    self._events.setdefault(ceid, []).append(rule)
                case OnChange(vid):
                    self._changes.setdefault(vid, []).append(rule)
                case Every() | After() as timer:
                    timers.append((rule, timer))
                case _:
                    assert_never(rule.trigger)
        self.timers: Final = tuple(timers)
        """The rules that wait for a time."""

    def of_message(self, message: Message) -> Sequence[tuple[Match, Rule]]:
        """The rules for messages of this stream and function, each with what matches it."""
        return self._messages.get((message.stream, message.function), ())

    def of_event(self, ceid: Id) -> Sequence[Rule]:
        """The rules that wait for this event of the tool."""
        return self._events.get(ceid, ())

    def of_change(self, vid: Id) -> Sequence[Rule]:
        """The rules that wait for a change of this variable."""
        return self._changes.get(vid, ())
