"""Between items and the bytes of a message body (SEMI E5; wire order is big-endian).

Invariants:

* ``decode`` takes any well-formed encoding, ``encode`` writes the one canonical form: the shortest
  length fields, and 1 for true. So ``encode(decode(x))`` is canonical and ``decode(encode(i)) ==
  i``.
* No memory is used for a length or count before it is known to fit into the bytes that are there,
  and never more than ``max_items`` items are made. So the cost that a peer can cause is bounded.
* ``decode`` checks the whole structure, so reading an item cannot fail later. Values are made when
  they are asked for: an array or a large binary costs only its header.
* ``decode`` copies its bytes at most once: payloads up to 65,535 bytes while decoding, larger ones
  when their value is asked for.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Final

from hsms_engine.secs2.base import MAX_DEPTH, SMALL, Leaf, new
from hsms_engine.secs2.lists import TYPES, Item, L
from hsms_engine.secs2.numbers import BOOLEAN
from hsms_engine.secs2.text import C

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAX_ITEMS: Final = 1 << 20
"""Items in one body, lists counted, that ``decode`` makes unless told otherwise."""

_NAMES: Final = {L.code: "L", **{code: leaf.__name__ for code, leaf in TYPES.items()}}


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"


class DecodeError(ValueError):
    """The bytes are not SECS-II. It says where, what was read, and what was expected instead."""

    def __init__(self, offset: int, read: str, expected: str) -> None:
        super().__init__(offset, read, expected)
        self.offset = offset
        """Offset in bytes from the start of the body."""
        self.read = read
        self.expected = expected

    def __str__(self) -> str:
        return f"at byte {self.offset}: read {self.read}, expected {self.expected}"


class SeveralItemsError(DecodeError):
    """The bytes are SECS-II, but several items one after the other: ``decode_all`` reads them.

    ``offset`` is where the second one begins, ``count`` how many there are.
    """

    def __init__(self, offset: int, count: int) -> None:
        whole = "the end of the body (Message.items and decode_all give all of them)"
        super().__init__(offset, f"item 2 of {count}", whole)
        # What makes a copy of an exception calls the class with these.
        self.args = offset, count
        self.count = count


def encode(item: Item) -> bytes:
    """The canonical encoding of an item."""
    wire = item._wire
    if wire is not None:
        return wire
    pieces: list[Buffer] = []
    item._spread(pieces.append)
    return b"".join(pieces)


def decode(data: Buffer, *, max_depth: int = MAX_DEPTH, max_items: int = MAX_ITEMS) -> Item:
    """The one item that ``data`` holds.

    ``max_depth`` lists within lists (at most 64) and ``max_items`` items in all are accepted.
    A mutable buffer is copied first; ``bytes`` are not.

    Raises :class:`DecodeError` when ``data`` is not exactly one well-formed item within these
    limits: :class:`SeveralItemsError` when it is several.
    """
    body = data if type(data) is bytes else bytes(data)
    return _Reader(body, min(max_depth, MAX_DEPTH), max_items).one()


def decode_all(
    data: Buffer, *, max_depth: int = MAX_DEPTH, max_items: int = MAX_ITEMS
) -> tuple[Item, ...]:
    """The items that ``data`` holds, one after the other; none when it is empty.

    The limits are those of ``decode``, and ``max_items`` counts those of all together. Raises
    :class:`DecodeError` when ``data`` is anything else.
    """
    body = data if type(data) is bytes else bytes(data)
    return _Reader(body, min(max_depth, MAX_DEPTH), max_items).all()


def _plain_leaves() -> list[int | None]:
    """By format byte, for leaves with one length byte whose payload needs no check: a mask.

    It is the size of an element minus one; no valid length has a bit of it.
    """
    table: list[int | None] = [None] * 256
    for code, leaf in TYPES.items():
        if leaf not in {BOOLEAN, C}:
            table[code << 2 | 1] = leaf.size - 1
    return table


_PLAIN: Final = _plain_leaves()
# Every item has this many bytes.
_LEAST: Final = 2
_HEADER: Final = "an item header of 2 to 4 bytes"
_SHORT_LIST: Final = L.code << 2 | 1
_SHORT_BOOLEAN: Final = BOOLEAN.code << 2 | 1
_TRUE: Final = encode(BOOLEAN(True))
_FALSE: Final = encode(BOOLEAN(False))


class _Reader:
    """One pass over a body."""

    __slots__ = ("_at", "_body", "_budget", "_end", "_max_depth", "_max_items")

    def __init__(self, body: bytes, max_depth: int, max_items: int) -> None:
        self._body = body
        self._end = len(body)
        self._max_depth = max_depth
        self._max_items = max_items
        # How many items may still be made. A list subtracts all its items before the first one.
        self._budget = max_items
        # The offset at which the next item begins.
        self._at = 0

    def one(self) -> Item:
        """The one item of the body."""
        item = self._next()
        if self._at != self._end:
            raise self._more()
        return item

    def all(self) -> tuple[Item, ...]:
        """The items of the body that are not read yet."""
        items: list[Item] = []
        while self._at != self._end:
            items.append(self._next())
        return tuple(items)

    def _more(self) -> DecodeError:
        """The error of a body that does not end with its first item."""
        at = self._at
        try:
            count = 1 + len(self.all())
        except DecodeError:
            rest = f"{_bytes(self._end - at)} more"
            return DecodeError(at, rest, "the end of the body")
        return SeveralItemsError(at, count)

    def _next(self) -> Item:
        """The item at which the reader is, in no list."""
        at = self._at
        if self._end - at < _LEAST:
            raise DecodeError(at, _bytes(self._end - at), _HEADER)
        self._budget -= 1
        if self._budget < 0:
            raise DecodeError(at, "one more item", f"at most {self._max_items} items in all")
        return self._other(at, 0)

    def _list(self, at: int, start: int, count: int, depth: int) -> L:
        """The list at offset ``at`` whose ``count`` items begin at ``start``."""
        body = self._body
        end = self._end
        left = end - start
        if count * _LEAST > left:
            raise DecodeError(at, f"L of {count} items", f"at most {left // 2} in {_bytes(left)}")
        if depth >= self._max_depth:
            raise DecodeError(at, f"L nested {depth + 1} deep", f"at most {self._max_depth}")
        self._budget -= count
        if self._budget < 0:
            raise DecodeError(at, f"L of {count} items", f"at most {self._max_items} items in all")
        plain = _PLAIN
        parts: list[Item | bytes] = []
        append = parts.append
        deepest = 0
        at = start
        try:
            for _ in repeat(None, count):
                first = body[at]
                mask = plain[first]
                length = body[at + 1]
                stop = at + 2 + length
                if mask is not None and not length & mask and stop <= end:
                    append(body[at:stop])
                    at = stop
                elif first == _SHORT_BOOLEAN and length == 1 and stop <= end:
                    append(_TRUE if body[at + 2] else _FALSE)
                    at = stop
                else:
                    if first == _SHORT_LIST:
                        other: Item = self._list(at, at + 2, length, depth + 1)
                    else:
                        other = self._other(at, depth + 1)
                    at = self._at
                    append(other._wire or other)
                    if type(other) is L and other._depth > deepest:
                        deepest = other._depth
        except IndexError:
            raise DecodeError(at, _bytes(end - at), _HEADER) from None
        self._at = at
        whole = new(L)
        whole._parts = tuple(parts)
        whole._items = None
        whole._depth = deepest + 1
        return whole

    def _other(self, at: int, depth: int) -> Item:
        """A list, a leaf of 2 or 3 length bytes, a C, several truth values, or no item at all."""
        body = self._body
        format_byte = body[at]
        code = format_byte >> 2
        width = format_byte & 3
        start = at + 1 + width
        name = _NAMES.get(code)
        if name is None:
            raise DecodeError(at, f"format code 0o{code:02o}", "one of SEMI E5's fifteen")
        if width == 0:
            raise DecodeError(at, f"format byte 0x{format_byte:02X}", "1 to 3 length bytes in it")
        if start > self._end:
            raise DecodeError(at, _bytes(self._end - at), f"an item header of {1 + width} bytes")
        length = int.from_bytes(body[at + 1 : start], "big")
        if code == L.code:
            return self._list(at, start, length, depth)
        return self._leaf(at, start, TYPES[code], length)

    def _leaf(self, at: int, start: int, leaf: type[Leaf], length: int) -> Leaf:
        read = f"{leaf.__name__} of {_bytes(length)}"
        stop = start + length
        if stop > self._end:
            raise DecodeError(at, read, f"at most the {_bytes(self._end - start)} left")
        try:
            leaf.check_length(length)
        except ValueError as error:
            raise DecodeError(at, read, str(error)) from None
        self._at = stop
        if length > SMALL and leaf is not BOOLEAN:
            return leaf._of_payload(memoryview(self._body)[start:stop], length)
        return leaf._of_payload(leaf.normal(self._body[start:stop]), length)
