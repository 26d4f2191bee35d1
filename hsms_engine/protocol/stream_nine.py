"""Stream 9, the error reports of an equipment (SEMI E5): what one says, and how one is written.

A report has MHEAD, the header of the message at fault: ten bytes, as one item of format B.
"""

from __future__ import annotations

from hsms_engine.message import Message
from hsms_engine.tolerances import DIRECTION
from hsms_engine.wire import HEADER_LENGTH, Frame, encode

# By function, the reports that say what is wrong with a primary of ours. S9F9 and S9F13 are about
# what the equipment itself waits for, so they end nothing.
FAULTS = {
    1: "unrecognized device id",
    3: "unrecognized stream",
    5: "unrecognized function",
    7: "illegal data",
    11: "data too long",
}

# Format code 10 octal, in the upper six bits; the lower two are the number of length bytes.
_BINARY = 0o10 << 2


def header_of(frame: Frame) -> bytes:
    """The ten bytes of the header of ``frame``."""
    return encode(frame._replace(body=b""))[-HEADER_LENGTH:]


def with_other_direction(header: bytes) -> bytes:
    """The same header, but for the direction bit of its session id."""
    return bytes((header[0] ^ DIRECTION >> 8,)) + header[1:]


def report(function: int, header: bytes) -> Message:
    """S9F1, S9F9 …: an equipment's error report about the message with this header."""
    return Message(9, function, body=bytes((_BINARY | 1, HEADER_LENGTH)) + header)


def reported_header(body: bytes) -> bytes | None:
    """MHEAD in the body of a report; None unless the body is one item B of ten bytes.

    One, two or three length bytes are understood.
    """
    if not body or body[0] & ~3 != _BINARY:
        return None
    start = 1 + (body[0] & 3)
    length = int.from_bytes(body[1:start])
    fits = start > 1 and length == HEADER_LENGTH and len(body) == start + HEADER_LENGTH
    return body[start:] if fits else None
