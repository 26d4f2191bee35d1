"""A difference as people read it: the SML of what came, a line an item, as a diff."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from hsms_engine.message import Message
from hsms_engine.secs2 import DecodeError, Item, L
from hsms_engine.sml import Difference
from hsms_engine.sml.printer import shorten_all

# Lines shown before the difference, of what was found, and behind it.
_AROUND: Final = 8
# What is wrong is the header itself.
_HEADER: Final = re.compile(r"S\d+F\d+(?: W)?", re.ASCII)
_INDENT: Final = "  "
SHORT: Final = 100
"""Characters of a message, or of one side of a difference, in one line."""


def indices(path: str) -> tuple[int, ...]:
    """Those of a path: ``[2][1]`` is ``(1, 0)``, and the message itself is ``()``."""
    return tuple(int(each) - 1 for each in re.findall(r"\[(\d+)\]", path))


def sml_of(message: Message) -> str:
    """A message as SML; a comment when its body is no SECS-II."""
    try:
        return _copy(message).sml()
    except DecodeError as error:
        return f"{head_of(message)} // {_unreadable(message, error)}"


def short(message: Message) -> str:
    """A message in one line, which may be cut."""
    head = head_of(message)
    try:
        return f"{head} {shorten_all(items_of(message), SHORT, message.text_encoding)}".strip()
    except DecodeError as error:
        return f"{head} // {_unreadable(message, error)}"


def brief(sml: str) -> str:
    """SML in one line, which may be cut."""
    line = " ".join(sml.split())
    return line if len(line) <= SHORT else f"{line[: SHORT - 3]}..."


def head_of(message: Message) -> str:
    """``S1F13 W``."""
    return f"{message.name}{' W' if message.wait else ''}"


def items_of(message: Message) -> tuple[Item, ...]:
    """The items of its body. Its connection is not told of one that is no SECS-II.

    Raises ``DecodeError``.
    """
    return _copy(message).items


def _copy(message: Message) -> Message:
    """The received one would be reported as unreadable, with S9F7. It may have any W-bit."""
    return Message.received(
        message.stream,
        message.function,
        message.wait,
        message.body,
        0,
        0,
        message.text_encoding,
    )


def _unreadable(message: Message, error: DecodeError) -> str:
    return f"a body of {len(message.body)} bytes that is no SECS-II: {error}"


def diff(message: Message, difference: Difference) -> Iterator[str]:
    """The lines of a message: ``-`` is expected, ``+`` was found in its place.

    Lines far from the difference are left out, and a line says so.
    """
    lines = sml_of(message).removesuffix(" .").split("\n")
    path = indices(difference.path)
    start, stop = (0, 1) if _HEADER.fullmatch(difference.expected) else _place(message, path)
    indent = _INDENT * len(path)
    yield from _cut([f"  {each}" for each in lines[:start]], from_end=True)
    if difference.expected != "nothing":
        yield f"- {indent}{difference.expected}"
    yield from _cut([f"+ {each}" for each in lines[start:stop]])
    yield from _cut([f"  {each}" for each in lines[stop:]])


def _place(message: Message, path: tuple[int, ...]) -> tuple[int, int]:
    """The lines of the item at ``path``; where it would stand, if it is missing."""
    try:
        items = items_of(message)
    except DecodeError:
        # It is told in the line of the header.
        return 0, 1
    line = 1
    if not items:
        return line, line
    item = items[0]
    for index in path:
        line += 1
        if not isinstance(item, L) or not item:
            return line, line
        line += sum(map(_height, item[:index]))
        if index >= len(item):
            return line, line
        item = item[index]
    return line, line + _height(item)


def _height(item: Item) -> int:
    """How many lines the SML of an item has."""
    return 2 + sum(map(_height, item)) if isinstance(item, L) and item else 1


def _cut(lines: list[str], *, from_end: bool = False) -> Iterator[str]:
    """The first lines, or the last ones, and how many are left out."""
    left_out = len(lines) - _AROUND
    # A line in place of one line would tell less.
    if left_out <= 1:
        yield from lines
    elif from_end:
        yield f"  ... {left_out} lines"
        yield from lines[left_out:]
    else:
        yield from lines[:_AROUND]
        yield f"  ... {left_out} lines"
