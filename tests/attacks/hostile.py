"""Bytes that an honest peer would not send."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tests.support.raw_peer import SEPARATE_REQ, data, raw

# SType 8 and 10..255, and every PType but 0, are undefined.
UNDEFINED_STYPES = tuple(stype for stype in range(256) if stype == 8 or stype > SEPARATE_REQ)
UNDEFINED_PTYPES = tuple(range(1, 256))
# Lengths that no frame has: less than a header, and more than ``max_frame`` allows.
BAD_LENGTHS = (*range(10), 16_777_217, 2**31, 2**32 - 1)

_NESTED = b"\x01\x01"


def every_ptype_and_stype() -> list[tuple[bytes, int]]:
    """A frame for each undefined PType and SType, and the reason of its Reject.req."""
    ptypes = [(raw(5, each, ptype=each), 2) for each in UNDEFINED_PTYPES]
    return ptypes + [(raw(each, each), 1) for each in UNDEFINED_STYPES]


def bodies() -> Iterator[bytes]:
    """Bodies that are no SECS-II, or hard to read: each format code, deep, long, or a lie."""
    for code in range(64):
        for length_bytes in range(4):
            first = bytes([code << 2 | length_bytes])
            yield first
            yield first + b"\xff" * length_bytes
            yield first + bytes(length_bytes)
            yield first + (3).to_bytes(max(length_bytes, 1))[-length_bytes or 4 :] + b"\xff\xff\xff"
            yield first + (8).to_bytes(max(length_bytes, 1))[-length_bytes or 4 :] + b"\xff" * 8
    for depth in (2, 100, 5_000, 100_000):
        yield _NESTED * depth
        yield _NESTED * depth + b"\x01\x00"
        yield _NESTED * depth + b"\x41\x01x"
    # Counts beyond the end, also where each element would take memory.
    for count in (1, 255, 65_535, 16_777_215):
        yield b"\x03" + count.to_bytes(3)
        yield b"\x03" + count.to_bytes(3) + b"\x01\x00" * 100
        yield b"\x01\x02" + b"\x03" + count.to_bytes(3) + b"\x01\x00"
    # After the end of the item.
    yield b"\x01\x00\x01\x00"
    yield b"\xa5\x01\x00" * 1_000
    chance = Random(16)
    for _ in range(200):
        yield chance.randbytes(chance.randrange(1, 60))


def slow_bodies(size: int) -> tuple[bytes, ...]:
    """Bodies of about ``size`` bytes with as many items as can be: slow to decode and to print."""
    empty = size // 2
    return (
        b"\x03" + min(empty, 16_777_215).to_bytes(3) + b"\x01\x00" * min(empty, 16_777_215),
        _NESTED * (size // 2) + b"\x01\x00",
        b"\x03" + (size // 5).to_bytes(3) + b"\x41\x03\x00\x07\x1b" * (size // 5),
        b"\x81" if size < 3 else b"\x83" + (size // 8 * 8).to_bytes(3) + b"\x7f" * (size // 8 * 8),
        b"\x43" + size.to_bytes(3) + b"\x1b" * size,
    )


def random_pieces(seed: int, count: int, size: int) -> list[bytes]:
    """``count`` pieces of random bytes; half of them begin as a frame of a possible length."""
    chance = Random(seed)
    pieces = [chance.randbytes(size) for _ in range(count)]
    pieces[::2] = [(10 + chance.randrange(40)).to_bytes(4) + each[4:] for each in pieces[::2]]
    return pieces


def unasked_secondaries(count: int) -> bytes:
    """Replies that nobody waits for, half with W and a few with wrong functions."""
    return b"".join(
        data(1, number % 7 * 2, number % 50, wait=number % 2 == 0) for number in range(count)
    )
