"""Stream 10: text for the people at an equipment's terminals, and from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsms_engine.messages.data import OTHER_ERROR, byte, code
from hsms_engine.messages.function import Function, OptionalReply, field
from hsms_engine.messages.layout import Data, many
from hsms_engine.secs2 import INTEGERS, A, B, C, J

if TYPE_CHECKING:
    from hsms_engine.messages.fields import FreeField, ListField, NumberField

# So that the package has these names, and not those of the data items.
__all__ = [
    "S10F1", "S10F2", "S10F3", "S10F4", "S10F5", "S10F6",
]  # fmt: skip

ACKC10 = code(
    "ACKC10",
    "whether the text is shown",
    {0: "accepted", 1: "not shown", 2: "no such terminal"},
    OTHER_ERROR,
)
TEXT = Data("TEXT", "text for people", (A, C, J, B, *INTEGERS), None)
TID = byte("TID", "a terminal, 0 for the only or the main one")


class S10F1(OptionalReply, by="equipment"):
    """Terminal Request: text that somebody has typed at a terminal."""

    tid: NumberField = field(TID)
    text: FreeField = field(TEXT)


class S10F2(Function):
    """Terminal Request Acknowledge."""

    ackc10: NumberField = field(ACKC10, default=0)


class S10F3(OptionalReply, by="host"):
    """Terminal Display, Single: text for a terminal of the equipment."""

    tid: NumberField = field(TID)
    text: FreeField = field(TEXT)


class S10F4(Function):
    """Terminal Display, Single Acknowledge."""

    ackc10: NumberField = field(ACKC10, default=0)


class S10F5(OptionalReply, by="host"):
    """Terminal Display, Multi-block: several lines of text for a terminal."""

    tid: NumberField = field(TID)
    lines: ListField = field(many(TEXT))


class S10F6(Function):
    """Terminal Display, Multi-block Acknowledge."""

    ackc10: NumberField = field(ACKC10, default=0)
