"""Frames by their names: which ones a fault is for, and which one a fault puts in.

A pattern is a name of ``PATTERNS``, or a message such as ``S6F11``. For an unknown SType or PType
there is ``any`` only.
"""

from __future__ import annotations

import re
from typing import Final

from hsms_engine.protocol.traffic import frame_name
from hsms_engine.wire import (
    CONTROL_SESSION_ID,
    SECS_II,
    Frame,
    SType,
    control_frame,
    data_frame,
    encode,
)

_CONTROL: Final = {
    frame_name(control_frame(each, 0)).removesuffix(" 0"): each for each in SType if each
}
_GROUPS: Final = ("any", "data", "primary", "reply", "control")
PATTERNS: Final = (*_GROUPS, *_CONTROL)
"""All patterns but those of one message, SxFy."""

_MESSAGE = re.compile(r"S(\d{1,3})F(\d{1,3})(W?)", re.ASCII)
_RAW = re.compile(r"0x((?:[0-9A-Fa-f]{2}){1,4096})")


def is_pattern(value: object) -> bool:
    """Whether this is a pattern of frames."""
    if not isinstance(value, str):
        return False
    return value in PATTERNS or (_is_message(value) and not value.endswith("W"))


def is_frame(value: object) -> bool:
    """Whether this names a frame that can be put in."""
    if not isinstance(value, str):
        return False
    return value in _CONTROL or _RAW.fullmatch(value) is not None or _is_message(value)


def matches(pattern: str, head: Frame) -> bool:
    """Whether a frame with this header is one of the pattern."""
    is_data = head.stype == SType.DATA and head.ptype == SECS_II
    match pattern:
        case "any":
            return True
        case "data":
            return is_data
        case "primary":
            return is_data and head.function % 2 == 1
        case "reply":
            return is_data and head.function % 2 == 0
        case "control":
            return head.stype in _CONTROL.values() and head.ptype == SECS_II
        case name if name in _CONTROL:
            return head.stype == _CONTROL[name] and head.ptype == SECS_II
        case message:
            return is_data and frame_name(head) == message


def frame_bytes(name: str, session_id: int, system_bytes: int) -> bytes:
    """The bytes of a frame that ``is_frame`` names; its body, if it could have one, is empty."""
    if name in _CONTROL:
        return encode(control_frame(_CONTROL[name], system_bytes))
    elif raw := _RAW.fullmatch(name):
        return bytes.fromhex(raw[1])
    else:
        stream, function, wait = _message(name)
        session_id = 0 if session_id == CONTROL_SESSION_ID else session_id
        return encode(data_frame(session_id, stream, function, wait, system_bytes, b""))


def _message(name: str) -> tuple[int, int, bool]:
    found = re.match(_MESSAGE, name)
    return (int(found[1]), int(found[2]), bool(found[3])) if found else (128, 256, False)


def _is_message(name: str) -> bool:
    if _MESSAGE.fullmatch(name) is None:
        return False
    stream, function, wait = _message(name)
    # As frames are named: S1F1, not S01F1. Only a primary asks for a reply.
    return (
        stream <= 127
        and function <= 255
        and name.rstrip("W") == f"S{stream}F{function}"
        and not (wait and function % 2 == 0)
    )
