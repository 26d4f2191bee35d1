"""A stage for rules: a live model, and a list of what the rules have done."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from random import Random

from hsms_engine.fake.model import (
    Alarm,
    Change,
    Event,
    Id,
    LiveModel,
    Model,
    Variable,
    VariableChanged,
)
from hsms_engine.fake.rules.book import RuleBook
from hsms_engine.fake.rules.live import LiveRules
from hsms_engine.fake.rules.rule import Rule
from hsms_engine.message import Message
from hsms_engine.secs2 import BOOLEAN, F4, U4, A, L

MODEL = Model(
    variables={
        each.id: each
        for each in (
            Variable(1001, U4(0), "Wafers", lowest=0, highest=25),
            Variable(1002, A("ETCH"), "Recipe"),
            Variable(1003, BOOLEAN(False), "IsOpen"),
            Variable(1004, L(), "Slots"),
            Variable(1005, F4(1.5), "Pressure"),
            Variable(1006, U4(1, 2), "Map"),
            Variable(1007, A("0" * 16), "Clock", source="clock"),
            Variable(2001, U4(5), "Limit", kind="constant"),
        )
    },
    events={each.id: each for each in (Event(101, "Started"), Event(102, "Ended"), Event(103))},
    alarms={5001: Alarm(5001, "hot", set_event=103), 5002: Alarm(5002, "cold")},
)


class Recorded:
    """A tool that does nothing but to say so. ``done`` has what was done, ``told`` what was told.

    A change of a variable and an event that is sent are told to the rules, as a tool does it.
    """

    def __init__(self, rules: Iterable[Rule] = (), *, model: Model = MODEL, seed: int = 0) -> None:
        self.model = LiveModel(model, lambda: datetime.fromisoformat("2030-01-01"), self._changed)
        self.random = Random(seed)
        self.done: list[str] = []
        self.told: list[tuple[str, dict[str, object]]] = []
        self.now = 0.0
        self.rules = LiveRules(RuleBook(rules), self, lambda: self.now)

    def at(self, now: float) -> list[str]:
        """Let this time come, and take what has been done since the last call."""
        self.now = now
        self.rules.wake()
        return self.take()

    def take(self) -> list[str]:
        """What has been done since the last call."""
        done, self.done = self.done, []
        return done

    def receive(self, text: str) -> str:
        """Answer a primary and do the steps: the reply, ``"none"`` or ``"passed on"``."""
        outcome = self.rules.answer(Message.parse(text))
        if outcome is None:
            return "not mine"
        self.rules.start(outcome.run)
        if outcome.passed_on:
            return "passed on"
        return "none" if outcome.reply is None else shown(outcome.reply)

    def _changed(self, change: Change) -> None:
        assert isinstance(change, VariableChanged)
        self.done.append(f"{change.vid} changed")
        self.rules.changed(change.vid)

    def event(self, ceid: Id, /) -> None:
        self.done.append(f"event {ceid}")
        self.rules.event_happened(ceid)

    def alarm(self, alid: Id, is_set: bool, /) -> None:
        self.done.append(f"{'alarm' if is_set else 'clear'} {alid}")

    def send(self, message: Message, /) -> None:
        self.done.append(f"send {shown(message)}")

    def fault(self, behaviour: str, /) -> None:
        self.done.append(f"fault {behaviour}")

    def heal(self) -> None:
        self.done.append("heal")

    def separate(self) -> None:
        self.done.append("separate")

    def tell(self, event: str, /, **details: object) -> None:
        if event != "rule matched":
            self.told.append((event, details))


def shown(message: Message) -> str:
    """A message in one line."""
    return " ".join(message.sml().split())
