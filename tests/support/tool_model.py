"""A small model of a tool for tests, and a clock that stands still."""

from __future__ import annotations

from datetime import datetime

from hsms_engine.fake.model import (
    Alarm,
    Change,
    Command,
    Event,
    LiveModel,
    Model,
    Parameter,
    Program,
    Replies,
    Report,
    Variable,
)
from hsms_engine.message import Message
from hsms_engine.secs2 import BOOLEAN, F4, I2, U1, U4, A, L

NOON = datetime.fromisoformat("2026-03-04T12:00:00.250000")

VARIABLES = (
    Variable(1001, U4(7), "WaferCount", "pcs", highest=25),
    Variable(1002, A("idle"), "State"),
    Variable(1003, A("0" * 16), "Clock", source="clock"),
    Variable(1004, U1(5), "Control", source="control"),
    Variable(1005, L(), "Alarms", source="alarms-set"),
    Variable(1006, L(), "Events", source="events-enabled"),
    Variable(1101, F4(0.5), "Thickness", "nm", "data"),
    Variable("RECIPE", A(""), "Recipe", "", "data"),
    Variable(2001, I2(-5), "Offset", "um", "constant", -10, 10),
    Variable(2002, BOOLEAN(True), "Pump", kind="constant"),
    Variable(2003, A("x"), "Title", kind="constant"),
    Variable(2004, U4(1, 2), "Slots", kind="constant"),
)
MODEL = Model(
    "ETCHER",
    "7.1",
    variables={each.id: each for each in VARIABLES},
    reports={1: Report(1, (1001, "RECIPE")), 2: Report(2, (1001,))},
    events={
        101: Event(101, "LotStarted", (1, 2)),
        102: Event(102, "LotFinished", enabled=False),
        "DOOR": Event("DOOR", "DoorOpened"),
    },
    alarms={
        5001: Alarm(5001, "too hot", 2, set_event=101),
        5002: Alarm(5002, "", 7, enabled=False),
    },
    programs={b"R-1": Program(b"R-1", A("etch"))},
    commands={
        "GO": Command("GO"),
        "STOP": Command("STOP", (), 2),
        "START": Command(
            "START",
            (
                Parameter("PPID", "RECIPE", program=True, required=True),
                Parameter("COUNT", 1001),
                Parameter("NOTE"),
            ),
            4,
        ),
    },
)


def one_line(message: Message) -> str:
    """A message as SML in one line, without the dot."""
    return " ".join(message.sml().removesuffix(" .").split()).replace(" >", ">")


class Tool:
    """A live model whose clock may be changed, and what it has told of."""

    def __init__(self, model: Model = MODEL) -> None:
        self.now = NOON
        self.told: list[Change] = []
        self.live = LiveModel(model, lambda: self.now, self.told.append)
        self.replies = Replies(self.live)

    def ask(self, sml: str) -> str:
        """The reply to a message, both as SML in one line."""
        reply = self.replies.to(Message.parse(f"{sml} ."))
        assert isinstance(reply, Message)
        return one_line(reply)
