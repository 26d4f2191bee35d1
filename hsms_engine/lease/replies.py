"""What a store may send: whole replies of RESP, each of a bounded size, and none unasked.

coredis keeps what it cannot read yet, and what nobody has asked for, without a bound. So the bytes
pass here first.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from coredis.exceptions import RedisError

# The kinds that coredis reads, by what follows: a line, so many bytes, so many elements.
_LINES, _BLOBS, _AGGREGATES = b"+-:,_#(", b"$=", b"*~%>"
_NUMBER = re.compile(rb"[+-]?[0-9]{1,19}")
_BOOLEANS = (b"t", b"f")
_DEEPEST = 16
_UNHANDLED = 10_000
_SHOWN = 40


# What coredis reads as the address of another node.
_ELSEWHERE = re.compile(rb"(?:MOVED|ASK) [0-9]{1,5} [^ ]{0,300}:[0-9]{1,5}")


class UnreadableError(RedisError):
    """What came is no reply, or one that is not taken."""


def _is_double(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_error(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    is_elsewhere = text.partition(b" ")[0] in (b"MOVED", b"ASK")
    return not is_elsewhere or _ELSEWHERE.fullmatch(text) is not None


# Where coredis would fail in another way.
_CHECKED: dict[bytes, Callable[[bytes], bool]] = {
    b"#": _BOOLEANS.__contains__,
    b",": _is_double,
    b"-": _is_error,
}


class Replies:
    """Counts the replies in what a store sends. ``longest``: the bytes of one reply."""

    __slots__ = ("_blob", "_line", "_longest", "_open", "_pushed", "_size", "answered", "pushes")

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._line = bytearray()
        # The bytes of a blob that are still to come, its line end included.
        self._blob = 0
        # How many elements each open list still has.
        self._open: list[int] = []
        self._pushed = False
        self._size = 0
        # The answers so far, and the pushes that nobody has handled.
        self.answered = 0
        self.pushes = 0

    def feed(self, data: bytes) -> None:
        """Raises ``UnreadableError``."""
        at = 0
        while at < len(data):
            if self._blob:
                taken = min(self._blob, len(data) - at)
                at += taken
                self._blob -= taken
                if not self._blob:
                    self._element()
                continue
            end = data.find(b"\n", at) + 1 or len(data)
            self._grow(end - at)
            self._line += data[at:end]
            at = end
            if self._line[0] not in _LINES + _BLOBS + _AGGREGATES:
                raise self._garbage()
            if self._line.endswith(b"\n"):
                self._begin()

    def _grow(self, more: int) -> None:
        self._size += more
        if self._size > self._longest:
            raise UnreadableError(f"a reply is longer than {self._longest} bytes")

    def _begin(self) -> None:
        """A line is whole."""
        if not self._line.endswith(b"\r\n"):
            raise self._garbage()
        kind, rest = bytes(self._line[:1]), bytes(self._line[1:-2])
        if kind in _BLOBS or kind in _AGGREGATES or kind in b":(":
            if not _NUMBER.fullmatch(rest):
                raise self._garbage()
            number = int(rest)
            if kind not in b":(" and number < -1:
                raise self._garbage()
        elif kind in _CHECKED and not _CHECKED[kind](rest):
            raise self._garbage()
        else:
            number = 0
        if kind == b">" and self._open:
            raise self._garbage()
        self._pushed |= kind == b">"
        self._line.clear()
        if kind in _BLOBS and number >= 0:
            self._grow(number + 2)
            self._blob = number + 2
        elif kind in _AGGREGATES and number > 0:
            if len(self._open) == _DEEPEST:
                raise UnreadableError(f"a reply is nested deeper than {_DEEPEST}")
            self._open.append(2 * number if kind == b"%" else number)
        else:
            self._element()

    def _element(self) -> None:
        while self._open:
            self._open[-1] -= 1
            if self._open[-1]:
                return
            self._open.pop()
        self._size = 0
        if self._pushed:
            self._pushed = False
            self.pushes += 1
            if self.pushes > _UNHANDLED:
                raise UnreadableError("more news came than can be read")
        else:
            self.answered += 1

    def _garbage(self) -> UnreadableError:
        return UnreadableError(f"what came is no reply: {bytes(self._line[:_SHOWN])!r}")
