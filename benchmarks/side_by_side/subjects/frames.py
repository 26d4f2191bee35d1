"""Frames as long as those of the engines, for subjects that have none."""

from __future__ import annotations

from benchmarks.side_by_side.work import Trips

# L of A "PEER" and A "1": the body of every S1F2.
REPLY_BODY = b"\x01\x02A\x04PEERA\x011"
# Of the length, of it and the header.
LENGTH, HEADER = 4, 14


def framed(header: bytes, body: bytes) -> bytes:
    return (len(header) + len(body)).to_bytes(LENGTH) + header + body


def frame_of(work: Trips) -> bytes:
    if work.size is None:
        return framed(b"\0\0\x81\1" + bytes(6), b"")
    length = work.size.to_bytes((work.size.bit_length() + 7) // 8)
    return framed(
        b"\0\0\x82\x19" + bytes(6), bytes([0x20 | len(length)]) + length + bytes(work.size)
    )


REPLY = framed(b"\0\0\1\2" + bytes(6), REPLY_BODY)


def reply_to(frame: bytes | bytearray) -> bytes | bytearray:
    """S1F2, or the same frame back."""
    return REPLY if frame[6:8] == b"\x81\1" else frame


def reply_length(work: Trips) -> int:
    return len(reply_to(frame_of(work)))
