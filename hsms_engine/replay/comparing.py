"""Where a message first differs from the recorded one, but for values that may be others."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final, Self

from hsms_engine.difference import SHORT, head_of, items_of
from hsms_engine.message import Message
from hsms_engine.secs2 import DecodeError, Item, L
from hsms_engine.sml import Difference, shorten

_IGNORED: Final = re.compile(
    r"S(\d{1,3})F(\d{1,3})(?::((?:\*|[1-9]\d{0,6})(?:\.(?:\*|[1-9]\d{0,6}))*))?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Ignored:
    """An item that is not compared: ``Ignored.parse("S6F11:2.1")``.

    ``path`` has the places in the lists around it, from 1, and None for any place. An empty one is
    the whole body.
    """

    stream: int
    function: int
    path: tuple[int | None, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """``S6F11``, ``S6F11:2.1`` or ``S6F11:3.*.2``. Raises ``ValueError`` for another text."""
        found = _IGNORED.fullmatch(text)
        if found is None or int(found[1]) > 127 or int(found[2]) > 255:
            raise ValueError(f"{text!r} names no item: write S6F11, S6F11:2.1 or S6F11:3.*.2")
        path = tuple(
            None if each == "*" else int(each) for each in (found[3] or "").split(".") if each
        )
        return cls(int(found[1]), int(found[2]), path)

    def __str__(self) -> str:
        path = ".".join("*" if each is None else str(each) for each in self.path)
        return f"S{self.stream}F{self.function}{':' if path else ''}{path}"

    def covers(self, path: tuple[int, ...]) -> bool:
        """Whether it is the item at this path, counted from 1."""
        return len(path) == len(self.path) and all(
            mine is None or mine == theirs for mine, theirs in zip(self.path, path, strict=True)
        )


def first_difference(
    expected: Message, found: Message, ignored: Collection[Ignored], *, header_only: bool = False
) -> Difference | None:
    """Where ``found`` first differs from ``expected``; None: nowhere.

    Items are compared, and not by how many bytes their lengths are written; bodies that are no
    SECS-II are compared as bytes. ``header_only``: the recording has no body.
    """
    one, other = head_of(expected), head_of(found)
    if one != other:
        return Difference("", one, other)
    if header_only or expected.body == found.body:
        return None
    mine = [
        each
        for each in ignored
        if (each.stream, each.function) == (expected.stream, expected.function)
    ]
    if any(not each.path for each in mine):
        return None
    try:
        one_body, other_body = items_of(expected), items_of(found)
    except DecodeError:
        return _bytes(expected.body, found.body)
    encoding = expected.text_encoding
    if len(one_body) > 1 or len(other_body) > 1:
        # Some equipment sends several items, as a list without its header.
        return _elements(one_body, other_body, (), mine, encoding)
    return _item(next(iter(one_body), None), next(iter(other_body), None), (), mine, encoding)


def _elements(
    expected: Sequence[Item],
    found: Sequence[Item],
    path: tuple[int, ...],
    ignored: list[Ignored],
    encoding: str | None,
) -> Difference | None:
    """Of two lists."""
    for index, (one, other) in enumerate(zip_longest(expected, found), 1):
        difference = _item(one, other, (*path, index), ignored, encoding)
        if difference is not None:
            return difference
    return None


def _item(
    expected: Item | None,
    found: Item | None,
    path: tuple[int, ...],
    ignored: list[Ignored],
    encoding: str | None,
) -> Difference | None:
    """None is an item that is not there."""
    if expected is not None and found is not None:
        if any(each.covers(path) for each in ignored):
            return None
        if isinstance(expected, L) and isinstance(found, L):
            return _elements(expected, found, path, ignored, encoding)
        if expected == found:
            return None
    one, other = (
        "nothing" if each is None else shorten(each, SHORT, encoding) for each in (expected, found)
    )
    return Difference(_text(path), one, other)


def _text(path: tuple[int, ...]) -> str:
    return "".join(f"[{each}]" for each in path)


def _bytes(expected: bytes, found: bytes) -> Difference:
    """Where the bytes of two bodies part."""
    both = zip(expected, found, strict=False)
    start = next(
        (place for place, (one, other) in enumerate(both) if one != other),
        min(len(expected), len(found)),
    )
    return Difference("", *(_shown(each, start) for each in (expected, found)))


def _shown(body: bytes, start: int) -> str:
    piece = body[start : start + SHORT // 3].hex(" ") or "nothing"
    return f"a body of {len(body)} bytes with {piece} from byte {start + 1} on"
