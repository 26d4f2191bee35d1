"""Stream 5: alarms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsms_engine.messages.data import code, number, text
from hsms_engine.messages.function import Function, OptionalReply, field
from hsms_engine.messages.layout import Data, many, optional
from hsms_engine.secs2 import INTEGERS, B

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hsms_engine.messages.fields import (
        FlagField,
        IdField,
        NumberField,
        OptionalIdField,
        RowsField,
        TextField,
    )
    from hsms_engine.messages.function import Field, Value
    from hsms_engine.secs2 import Item

# So that the package has these names, and not those of the data items.
__all__ = [
    "S5F1", "S5F2", "S5F3", "S5F4", "S5F5", "S5F6", "S5F7", "S5F8",
]  # fmt: skip

ACKC5 = code("ACKC5", "whether it is accepted", {0: "accepted"}, "an error, not accepted")
ALCD = code(
    "ALCD",
    "bit 8 (0x80): the alarm is set, else cleared; the other bits: what kind it is of",
    {
        1: "danger to people",
        2: "danger to the equipment",
        3: "a parameter is near its limits",
        4: "a parameter is out of its limits",
        5: "an error that nothing clears",
        6: "a warning of the equipment's state",
        7: "attention",
        8: "data may be wrong",
    },
    "another kind",
)
ALED = Data(
    "ALED",
    "whether alarms are enabled: bit 8",
    (B,),
    codes={0: "disabled", 0x80: "enabled"},
    mask=0x80,
)
ALID = number("ALID", "an alarm")
ALIDS = Data("ALID", "alarms", INTEGERS, None, array=True)
ALTX = text("ALTX", "the alarm in words", 120)


class S5F1(OptionalReply, by="equipment"):
    """Alarm Report Send. Bit 8 of ``alcd`` (0x80) says that the alarm is set, else cleared."""

    alcd: NumberField = field(ALCD)
    alid: IdField = field(ALID)
    altx: TextField = field(ALTX, default="")


class S5F2(Function):
    """Alarm Report Acknowledge."""

    ackc5: NumberField = field(ACKC5, default=0)


class S5F3(OptionalReply, by="host"):
    """Enable/Disable Alarm Send: one alarm; without id, all of them."""

    enable: FlagField = field(ALED)
    alid: OptionalIdField = field(optional(ALID), default=None)


class S5F4(Function):
    """Enable/Disable Alarm Acknowledge."""

    ackc5: NumberField = field(ACKC5, default=0)


class S5F5(Function, by="host"):
    """List Alarms Request. No id asks for all. All ids are one item, so they have one type."""

    alids: Field[Iterable[int] | Item, list[int]] = field(ALIDS)

    def __init__(self, *alids: int, text_encoding: str | None = None) -> None:
        self._fill((alids,), text_encoding)


class S5F6(Function):
    """List Alarm Data: code, id and text of each alarm. No code: there is no such alarm."""

    alarms: RowsField = field(many(optional(ALCD), ALID, ALTX))

    def __init__(
        self, *alarms: tuple[int | Item | None, Value, str | Item], text_encoding: str | None = None
    ) -> None:
        self._fill((alarms,), text_encoding)


class S5F7(Function, by="host"):
    """List Enabled Alarm Request."""


class S5F8(Function):
    """List Enabled Alarm Data: code, id and text of each alarm that is enabled."""

    alarms: RowsField = field(many(ALCD, ALID, ALTX))

    def __init__(
        self, *alarms: tuple[int | Item, Value, str | Item], text_encoding: str | None = None
    ) -> None:
        self._fill((alarms,), text_encoding)
