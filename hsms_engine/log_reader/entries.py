"""What a log holds: messages, control messages, messages in part, and what was not understood."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time
from typing import Final, Literal, TypeAlias

from hsms_engine.message import Message
from hsms_engine.sml import Note

LogDirection: TypeAlias = Literal["sent", "received", "H->E", "E->H"]
"""``sent`` and ``received`` are as seen by the end that wrote the log; the others name host and
equipment."""

LogTime: TypeAlias = datetime | time
"""With an offset from UTC when the log has one. A time of day when the log has no date, no year, or
a date that may be read in two ways."""

# The most characters of a line that are shown.
_SHOWN: Final = 120


@dataclass(frozen=True, slots=True)
class LoggedMessage:
    """A data message, whole.

    ``message`` has session id and system bytes when the log shows them. ``line`` is where it
    begins, counted from 1.
    """

    time: LogTime | None
    direction: LogDirection | None
    message: Message
    line: int
    notes: tuple[Note, ...] = ()
    """What was passed over in its SML, with the lines and columns of the log."""


@dataclass(frozen=True, slots=True)
class LoggedControl:
    """A control message: ``Linktest.req``, or with its status ``Select.rsp 0``."""

    time: LogTime | None
    direction: LogDirection | None
    name: str
    session_id: int | None
    system_bytes: int | None
    line: int


@dataclass(frozen=True, slots=True)
class CutMessage:
    """A data message whose body is not in the log, or not all of it. ``why`` says which."""

    time: LogTime | None
    direction: LogDirection | None
    name: str
    wait: bool
    session_id: int | None
    system_bytes: int | None
    line: int
    why: str
    text: str = ""
    """What the log shows of the body."""


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """A place that looks like a message, or spoils the log, and why it was not read.

    ``line`` and ``column`` count from 1, ``text`` is the beginning of what is there.
    """

    line: int
    column: int
    text: str
    why: str

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.why}: {self.text}"


Entry: TypeAlias = LoggedMessage | LoggedControl | CutMessage | NotUnderstood


def beginning(text: str) -> str:
    """A text in one line, not long."""
    text = text[: _SHOWN + 1]
    shown = "".join(each if each.isprintable() else " " for each in text).strip()
    return f"{shown[:_SHOWN]}..." if len(text) > _SHOWN else shown
