"""One HSMS message that went over the wire, as an output of the engine: for logs and callbacks.

It is made only while somebody watches (``Engine.watch``), but for the first message of each
connection with each deviation that is tolerated, or each fault of its session id: that always comes
out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hsms_engine.message import Message
from hsms_engine.tolerances import Tolerance
from hsms_engine.wire import SECS_II, WAIT, Frame, SType

# Header and length field of every frame.
FRAME_BYTES = 14

FOREIGN = "foreign session id"
FOREIGN_CONTROL = "session id of no control message"
NOT_ALLOWED = "session id not allowed for its certificate"
UNEXPECTED = "answers no open request"
NO_ROOM = "no room in the inbox"
AFTER_THE_END = "after the end of its connection"
AFTER_OUR_LAST = "after our last frame"
# Of each of these the first one on each connection is told.
WRONG_SESSION = frozenset({FOREIGN, FOREIGN_CONTROL, NOT_ALLOWED})
# The events of ``classify`` that pass a frame over.
PASSED_OVER = {
    "unsupported_ptype_received": "unknown PType",
    "unsupported_stype_received": "unknown SType",
    "control_with_body_received": "control message with a body",
    "data_received": "data while not selected",
    "unexpected_rsp_received": UNEXPECTED,
    "unknown_reject_received": "rejects no open request",
}
# A plain int, because it compares faster than the member.
_DATA = int(SType.DATA)
_NAMES = {int(each): each.name.capitalize().replace("_", ".") for each in SType}
_WITH_STATUS = frozenset({SType.SELECT_RSP, SType.DESELECT_RSP, SType.REJECT_REQ})


@dataclass(frozen=True, slots=True)
class Traffic:
    """One message, data or control, that was received or queued for sending.

    ``at`` is the monotonic clock in seconds, ``epoch`` the number of the TCP connection, ``length``
    the bytes on the wire, length field included. ``header`` has the fields of the header, and an
    empty body: ``header.session_id``, ``header.system_bytes`` and, of a data message,
    ``header.stream``, ``header.function`` and ``header.wait``.

    ``message`` is None for a control message and for a data message whose body was not kept,
    because the session was not selected.
    """

    at: float
    epoch: int
    peer: str
    sent: bool
    header: Frame
    length: int
    message: Message | None = None
    passed_over: str | None = None
    """Why nobody gets it, in a few words; None when it was taken."""
    seconds: float | None = None
    """For a reply or a response: since its request was wholly written (T3 and T6 start then), or,
    for a reply of ours, since its primary came. Otherwise None."""
    tolerated: tuple[Tolerance, ...] = ()
    """How it deviates, and was read as what was meant."""
    first_of: tuple[str, ...] = ()
    """The names in ``tolerated``, and a ``passed_over`` about a session id, that no message of its
    connection had before."""

    @property
    def direction(self) -> Literal["sent", "received"]:
        """Whether it goes to the peer or comes from it."""
        return "sent" if self.sent else "received"

    @property
    def is_data(self) -> bool:
        """Whether it is a data message: all others are control messages, or unknown ones."""
        return self.header.stype == _DATA and self.header.ptype == SECS_II

    @property
    def is_waiting(self) -> bool:
        """Whether it is a data message with the W-bit: its sender wants a reply."""
        header = self.header
        return header.byte2 >= WAIT and header.stype == _DATA and header.ptype == SECS_II

    @property
    def name(self) -> str:
        """``S1F13``, ``Linktest.req``, ``Select.rsp 3`` and ``Reject.req 1`` with their status."""
        return frame_name(self.header)


def frame_name(header: Frame) -> str:
    """What logs and errors call a message with this header."""
    if header.stype == _DATA and header.ptype == SECS_II:
        return f"S{header.stream}F{header.function}"
    if header.ptype != SECS_II:
        return f"PType {header.ptype} SType {header.stype}"
    if header.stype not in _NAMES:
        return f"SType {header.stype}"
    name = _NAMES[header.stype]
    return f"{name} {header.byte3}" if header.stype in _WITH_STATUS else name
