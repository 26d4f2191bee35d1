"""Stream 9: the equipment tells the host what is wrong with a message. Nobody answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsms_engine.messages.data import octets, text
from hsms_engine.messages.function import Function, field
from hsms_engine.messages.layout import Data
from hsms_engine.secs2 import INTEGERS, A, B

if TYPE_CHECKING:
    from hsms_engine.messages.fields import BytesField, FreeField, TextField

# So that the package has these names, and not those of the data items.
__all__ = [
    "S9F1", "S9F3", "S9F5", "S9F7", "S9F9", "S9F11", "S9F13",
]  # fmt: skip

EDID = Data("EDID", "what was expected: an id of MEXP", (A, B, *INTEGERS), None)
MEXP = text("MEXP", "the message that was expected: SxxFyy", 6)
MHEAD = octets("MHEAD", "the header of the message that is told of", 10)
SHEAD = octets("SHEAD", "the header of the primary that nobody answered", 10)


class S9F1(Function, by="equipment"):
    """Unrecognized Device ID: with the 10 header bytes of the message."""

    mhead: BytesField = field(MHEAD)


class S9F3(Function, by="equipment"):
    """Unrecognized Stream Type: with the 10 header bytes of the message."""

    mhead: BytesField = field(MHEAD)


class S9F5(Function, by="equipment"):
    """Unrecognized Function Type: with the 10 header bytes of the message."""

    mhead: BytesField = field(MHEAD)


class S9F7(Function, by="equipment"):
    """Illegal Data: with the 10 header bytes of the message."""

    mhead: BytesField = field(MHEAD)


class S9F9(Function, by="equipment"):
    """Transaction Timer Timeout: with the 10 header bytes of the primary nobody answered."""

    shead: BytesField = field(SHEAD)


class S9F11(Function, by="equipment"):
    """Data Too Long: with the 10 header bytes of the message."""

    mhead: BytesField = field(MHEAD)


class S9F13(Function, by="equipment"):
    """Conversation Timeout: a message that was announced has not come."""

    mexp: TextField = field(MEXP)
    edid: FreeField = field(EDID)
