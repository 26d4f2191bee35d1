"""Stream 7: process programs, as one block of text or bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsms_engine.messages.data import OTHER_ERROR, PPID, code, number, value
from hsms_engine.messages.function import Function, field
from hsms_engine.messages.layout import many
from hsms_engine.secs2 import INTEGERS, A, B

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hsms_engine.messages.fields import (
        FreeField,
        NameField,
        NumberField,
        OptionalFreeField,
        OptionalNameField,
    )
    from hsms_engine.messages.function import Field
    from hsms_engine.secs2 import Item

# So that the package has these names, and not those of the data items.
__all__ = [
    "S7F1", "S7F2", "S7F3", "S7F4", "S7F5", "S7F6", "S7F17", "S7F18", "S7F19", "S7F20",
]  # fmt: skip

ACKC7 = code(
    "ACKC7",
    "whether it is accepted",
    {
        0: "accepted",
        1: "not permitted",
        2: "wrong length",
        3: "no room in the matrix",
        4: "no such PPID",
        5: "this way is not supported",
        6: "will be done",
    },
    OTHER_ERROR,
)
LENGTH = number("LENGTH", "how many bytes the process program has")
PPBODY = value("PPBODY", "the process program itself", (A, B, *INTEGERS))
PPGNT = code(
    "PPGNT",
    "whether a process program may be sent",
    {
        0: "granted",
        1: "it is there already",
        2: "no space",
        3: "wrong PPID",
        4: "busy, try again",
        5: "not accepted",
    },
    OTHER_ERROR,
)


class S7F1(Function, by="both"):
    """Process Program Load Inquire: may a process program of this many bytes be sent?"""

    ppid: NameField = field(PPID)
    length: NumberField = field(LENGTH)


class S7F2(Function):
    """Process Program Load Grant."""

    ppgnt: NumberField = field(PPGNT, default=0)


class S7F3(Function, by="both"):
    """Process Program Send."""

    ppid: NameField = field(PPID)
    ppbody: FreeField = field(PPBODY)


class S7F4(Function):
    """Process Program Acknowledge."""

    ackc7: NumberField = field(ACKC7, default=0)


class S7F5(Function, by="both"):
    """Process Program Request."""

    ppid: NameField = field(PPID)


class S7F6(Function, optional_from=0):
    """Process Program Data. Nothing: the request is denied, or there is no such program."""

    ppid: OptionalNameField = field(PPID, default=None)
    ppbody: OptionalFreeField = field(PPBODY, default=None)


class S7F17(Function, by="host"):
    """Delete Process Program Send. No name deletes all of them."""

    ppids: Field[Iterable[str | bytes | Item], list[str | bytes]] = field(many(PPID))

    def __init__(self, *ppids: str | bytes | Item, text_encoding: str | None = None) -> None:
        self._fill((ppids,), text_encoding)


class S7F18(Function):
    """Delete Process Program Acknowledge."""

    ackc7: NumberField = field(ACKC7, default=0)


class S7F19(Function, by="host"):
    """Current Process Program Directory Request: which process programs are there?"""


class S7F20(Function):
    """Current Process Program Directory Data."""

    ppids: Field[Iterable[str | bytes | Item], list[str | bytes]] = field(many(PPID))

    def __init__(self, *ppids: str | bytes | Item, text_encoding: str | None = None) -> None:
        self._fill((ppids,), text_encoding)
