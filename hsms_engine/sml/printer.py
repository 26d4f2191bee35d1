"""Items and statements as SML text that every tool of the trade reads, and this one reads back.

Lists have their count. Printable text is in quotes, other text is written as the codes of its
bytes. Numbers are decimal, binary is hexadecimal. A float has the fewest digits that give the same
bits; an unusual NaN is written with its bits.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from math import isnan, nan
from typing import Final

from hsms_engine.secs2 import BOOLEAN, F4, F8, A, B, C, Integer, Item, J, L, Leaf
from hsms_engine.sml.nodes import Statement

_INDENT: Final = "  "
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
# Half a character stands for bytes that could not be read.
_NEVER: Final = re.compile(r"[\n\ud800-\udfff]")
# The numbers of significant digits that the shortest decimal of an F4 may need.
_F4_DIGITS: Final = range(6, 10)


def to_sml(what: Statement | Item) -> str:
    """SML, one item a line. A statement ends with a full stop, an item does not.

    Raises ``ValueError`` for a name that cannot be written, see ``quoted``.
    """
    if isinstance(what, Item):
        return "\n".join(_lines(what, ""))
    name = "" if what.name is None else f"{quoted(what.name)}: "
    flags = f"{' W' if what.wait else ''}{f' {what.direction}' if what.direction else ''}"
    head = f"{name}S{what.stream}F{what.function}{flags}"
    if what.item is None:
        return f"{head} ."
    names = dict(what.names)
    lines = _named(what.item, "", names, ()) if names else _lines(what.item, "")
    return "\n".join((head, *lines)) + " ."


def quoted(name: str) -> str:
    """A name as it is written: in quotes, unless it is one word.

    Raises ``ValueError`` for one that has both kinds of quotes, a line feed, or half a character.
    """
    if _WORD.fullmatch(name):
        return name
    quote = "'" if '"' in name else '"'
    if quote in name or _NEVER.search(name):
        raise ValueError(
            f"a name is in one line, with one kind of quotes and without unreadable bytes: {name!r}"
        )
    return f"{quote}{name}{quote}"


def shorten(item: Item, limit: int) -> str:
    """SML in one line of about ``limit`` characters, with ``...`` when it is cut.

    The time it takes depends on ``limit``, not on the size of the item.
    """
    text = ""
    for piece in _pieces(item, limit):
        text += piece
        if len(text) > limit:
            return text[: limit - 3] + "..."
    return text


def _lines(item: Item, indent: str) -> Iterator[str]:
    match item:
        case L() if item:
            yield f"{indent}<L [{len(item)}]"
            for one in item:
                yield from _lines(one, indent + _INDENT)
            yield f"{indent}>"
        case Leaf():
            yield indent + _leaf(item)
        case _:
            yield f"{indent}<L [0]>"


def _named(
    item: Item, indent: str, names: Mapping[tuple[int, ...], str], path: tuple[int, ...]
) -> Iterator[str]:
    """The lines of an item some of whose items have names."""
    name = names.get(path)
    behind = "" if name is None else f" = {quoted(name)}"
    match item:
        case L() if item:
            yield f"{indent}<L [{len(item)}]"
            for index, one in enumerate(item):
                yield from _named(one, indent + _INDENT, names, (*path, index))
            yield f"{indent}>{behind}"
        case _:
            [line] = _lines(item, indent)
            yield f"{line}{behind}"


def _pieces(item: Item, limit: int) -> Iterator[str]:
    if isinstance(item, L):
        yield f"<L [{len(item)}]"
        # A decoded list makes all its items when it is iterated, a slice of it only those shown.
        for one in item if len(item) <= limit else item[:limit]:
            yield " "
            yield from _pieces(one, limit)
        yield ">"
    else:
        assert isinstance(item, Leaf)  # an item is a list or a leaf
        # No encoding takes more than 4 bytes for a character.
        yield _leaf(item.first(4 * limit))


def _leaf(item: Leaf) -> str:
    return " ".join((f"<{type(item).__name__}", *_values(item))) + ">"


def _values(item: Leaf) -> Iterable[str]:
    match item:
        case A():
            return _text(item.value, _is_plain, lambda text: A(text.encode("latin-1")).raw)
        case J():
            return _text(item.value, _is_jis8, lambda text: J(text).raw)
        case C():
            return _localized(item)
        case B():
            return map("0x{:02X}".format, item)
        case BOOLEAN():
            return ("T" if value else "F" for value in item)
        case F4() | F8():
            return _reals(item)
        case _:
            assert isinstance(item, Integer)  # the only other kind of leaf
            return map(str, item)


def _text(
    text: str, is_shown: Callable[[str], bool], encode: Callable[[str], bytes]
) -> Iterator[str]:
    for shown, group in groupby(text, is_shown):
        run = "".join(group)
        if shown:
            yield f'"{run}"'
        else:
            yield from map("0x{:02X}".format, encode(run))


def _is_plain(character: str) -> bool:
    return " " <= character <= "~" and character != '"'


def _is_jis8(character: str) -> bool:
    katakana = "\N{HALFWIDTH IDEOGRAPHIC FULL STOP}" <= character <= "\uff9f"
    return _is_plain(character) or katakana or character in "\N{YEN SIGN}\N{OVERLINE}"


def _localized(item: C) -> Iterator[str]:
    if not item.raw:
        return
    encoding = item.encoding
    yield str(encoding)
    text = _readable(item)
    if text is None:
        yield from map("0x{:02X}".format, item.raw[2:])
    else:
        yield from _text(text, _is_printable, lambda run: C(run, encoding).raw[2:])


def _readable(item: C) -> str | None:
    """The text, when it can be read and encodes to exactly these bytes again; else None."""
    try:
        text = item.value
        return text if C(text, item.encoding) == item else None
    except ValueError:
        return None


def _is_printable(character: str) -> bool:
    return character.isprintable() and character != '"'


def _reals(item: F4 | F8) -> Iterator[str]:
    single = isinstance(item, F4)
    for index, value in enumerate(item):
        if isnan(value):
            bits = item.raw[index * item.size : (index + 1) * item.size]
            yield "nan" if bits == type(item)(nan).raw else f"nan(0x{bits.hex().upper()})"
        else:
            yield _single(value) if single else repr(value)


def _single(value: float) -> str:
    texts = (f"{value:.{digits}g}" for digits in _F4_DIGITS)
    text = next(text for text in texts if array("f", [float(text)])[0] == value)
    return f"{text}.0" if text.lstrip("-").isdigit() else text
