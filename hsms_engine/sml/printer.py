"""Items and statements as SML text that every tool of the trade reads, and this one reads back.

Lists have their count. Printable text is in quotes, other text is written as the codes of its
bytes, and so is text that would be read back as other bytes: some encodings have two codes for one
character. Numbers are decimal, binary is hexadecimal. A float has the fewest digits that give the
same bits; an unusual NaN is written with its bits.

With a ``text_encoding``, the text of an A is shown in that. A J and a C say themselves what they
are encoded in.
"""

from __future__ import annotations

import codecs
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from math import isnan, nan
from typing import Final

from hsms_engine.secs2 import BOOLEAN, F4, F8, A, B, C, Integer, Item, J, L, Leaf
from hsms_engine.secs2.encodings import superset_of_ascii
from hsms_engine.secs2.text import codec_of, localized
from hsms_engine.sml.nodes import Node, OpenList, Reference, Repeat, Statement, Variable

_INDENT: Final = "  "
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
# Half a character stands for bytes that could not be read.
_NEVER: Final = re.compile(r"[\n\r\ud800-\udfff]")
# The numbers of significant digits that the shortest decimal of an F4 may need.
_F4_DIGITS: Final = range(6, 10)
# No encoding takes more bytes for a character: EUC-KR has 8 for some syllables.
_LONGEST: Final = 8
# The error handler by which a byte that is no text is a character that no text has, and back.
_KEEP: Final = "hsms_engine.keep"
_KEPT: Final = 0xDC00


def to_sml(what: Statement | Item, text_encoding: str | None = None) -> str:
    """SML, one item a line. A statement ends with a full stop, an item does not.

    ``text_encoding`` is that of the text in A, a superset of ASCII; None: only ASCII is shown as
    text. ``parse`` reads it back with the same one. Raises ``ValueError`` for another encoding, and
    for a name that cannot be written, see ``quoted``.
    """
    if text_encoding is not None:
        superset_of_ascii(text_encoding)
    if isinstance(what, Item):
        return "\n".join(_lines(what, "", text_encoding))
    name = "" if what.name is None else f"{quoted(what.name)}: "
    flags = f"{' W' if what.wait else ''}{f' {what.direction}' if what.direction else ''}"
    head = f"{name}S{what.stream}F{what.function}{flags}"
    if what.item is None:
        return f"{head} ."
    names = dict(what.names)
    if names:
        lines = _named(what.item, "", names, (), text_encoding)
    else:
        lines = _lines(what.item, "", text_encoding)
    return "\n".join((head, *lines)) + " ."


def quoted(name: str) -> str:
    """A name as it is written: in quotes, unless it is one word.

    Raises ``ValueError`` for one that has both kinds of quotes, a line end, or half a character.
    """
    if _WORD.fullmatch(name):
        return name
    quote = "'" if '"' in name else '"'
    if quote in name or _NEVER.search(name):
        raise ValueError(
            f"a name is in one line, with one kind of quotes and without unreadable bytes: {name!r}"
        )
    return f"{quote}{name}{quote}"


def shorten(item: Item, limit: int, text_encoding: str | None = None) -> str:
    """SML in one line of about ``limit`` characters, with ``...`` when it is cut.

    The time it takes depends on ``limit``, not on the size of the item. ``text_encoding`` is as for
    ``to_sml``.
    """
    return shorten_all((item,), limit, text_encoding)


def shorten_all(items: Iterable[Item], limit: int, text_encoding: str | None = None) -> str:
    """``shorten`` for several items, one after the other, cut as one."""
    if text_encoding is not None:
        superset_of_ascii(text_encoding)
    text = ""
    for item in items:
        if text:
            text += " "
        for piece in _pieces(item, limit, text_encoding):
            text += piece
            if len(text) > limit:
                return text[: limit - 3] + "..."
    return text


def shorten_node(node: Node | Repeat, limit: int) -> str:
    """A template in one line, each of its items of about ``limit`` characters at most."""
    match node:
        case Reference() | Variable():
            return str(node)
        case Repeat():
            return f"{shorten_node(node.node, limit)} ...{node.source}"
        case OpenList():
            return f"<L {' '.join(shorten_node(each, limit) for each in node.nodes)}>"
        case _:
            return shorten(node, limit)


def _lines(item: Item, indent: str, text_encoding: str | None) -> Iterator[str]:
    match item:
        case L() if item:
            yield f"{indent}<L [{len(item)}]"
            for one in item:
                yield from _lines(one, indent + _INDENT, text_encoding)
            yield f"{indent}>"
        case Leaf():
            yield indent + _leaf(item, text_encoding)
        case _:
            yield f"{indent}<L [0]>"


def _named(
    item: Item,
    indent: str,
    names: Mapping[tuple[int, ...], str],
    path: tuple[int, ...],
    text_encoding: str | None,
) -> Iterator[str]:
    """The lines of an item some of whose items have names."""
    name = names.get(path)
    behind = "" if name is None else f" = {quoted(name)}"
    match item:
        case L() if item:
            yield f"{indent}<L [{len(item)}]"
            for index, one in enumerate(item):
                yield from _named(one, indent + _INDENT, names, (*path, index), text_encoding)
            yield f"{indent}>{behind}"
        case _:
            [line] = _lines(item, indent, text_encoding)
            yield f"{line}{behind}"


def _pieces(item: Item, limit: int, text_encoding: str | None) -> Iterator[str]:
    if isinstance(item, L):
        yield f"<L [{len(item)}]"
        # A decoded list makes all its items when it is iterated, a slice of it only those shown.
        for one in item if len(item) <= limit else item[:limit]:
            yield " "
            yield from _pieces(one, limit, text_encoding)
        yield ">"
    else:
        assert isinstance(item, Leaf)  # an item is a list or a leaf
        yield _leaf(item.first(_LONGEST * limit), text_encoding)


def _leaf(item: Leaf, text_encoding: str | None) -> str:
    return " ".join((f"<{type(item).__name__}", *_values(item, text_encoding))) + ">"


def _values(item: Leaf, text_encoding: str | None) -> Iterable[str]:
    match item:
        case A():
            if text_encoding is None or item.raw.isascii():
                return _text(item.value, _is_plain, lambda text: text.encode("latin-1"))
            return _encoded(item.raw, text_encoding, lambda text: text.encode(text_encoding))
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
    data = item.raw[2:]
    if not item.raw:
        return
    encoding = item.encoding
    yield str(encoding)
    try:
        codec = codec_of(data, encoding)
    except ValueError:
        yield from _codes(data)
    else:
        yield from _encoded(data, codec, lambda text: localized(text, encoding))


def _codes(data: bytes) -> Iterable[str]:
    return map("0x{:02X}".format, data)


def _encoded(data: bytes, codec: str, encode: Callable[[str], bytes]) -> Iterable[str]:
    """Text of an encoding: in quotes what ``encode`` gives these bytes for, else their codes."""
    text = data.decode(codec, _KEEP)
    pieces: list[str] = []
    at = 0
    for shown, group in groupby(text, _is_printable):
        run = "".join(group)
        try:
            again = encode(run) if shown else run.encode(codec, _KEEP)
        except ValueError:
            return _by_character(data, codec, encode)
        if not data.startswith(again, at):
            return _by_character(data, codec, encode)
        at += len(again)
        if shown:
            pieces.append(f'"{run}"')
        else:
            pieces += _codes(again)
    return pieces


def _by_character(data: bytes, codec: str, encode: Callable[[str], bytes]) -> Iterator[str]:
    """``_encoded``, where some characters have several codes, or mean another one together."""
    # The characters that are to be shown together, and the offset of the first.
    run: list[str] = []
    start = at = 0
    while at < len(data):
        character, size = _character(data, at, codec)
        piece = data[at : at + size]
        if character and all(map(_is_printable, character)) and _gives(encode, character, piece):
            run.append(character)
        else:
            yield from _strings(run, data[start:at], encode)
            yield from _codes(piece)
            run, start = [], at + size
        at += size
    yield from _strings(run, data[start:], encode)


def _character(data: bytes, at: int, codec: str) -> tuple[str, int]:
    """The character at ``at`` and its size in bytes; none, and how many are none."""
    wrong = 1
    for size in range(1, _LONGEST + 1):
        try:
            return data[at : at + size].decode(codec), size
        except UnicodeDecodeError as error:
            wrong = error.end
    return "", wrong


def _strings(run: list[str], data: bytes, encode: Callable[[str], bytes]) -> Iterator[str]:
    """One string, or one for each character when they are other bytes together."""
    text = "".join(run)
    return map('"{}"'.format, [text] if text and _gives(encode, text, data) else run)


def _gives(encode: Callable[[str], bytes], text: str, data: bytes) -> bool:
    try:
        return encode(text) == data
    except ValueError:
        return False


def _keep(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeDecodeError):
        wrong = error.object[error.start : error.end]
        return "".join(chr(_KEPT + byte) for byte in wrong), error.end
    assert isinstance(error, UnicodeEncodeError)  # nothing is translated
    codes = [ord(character) - _KEPT for character in error.object[error.start : error.end]]
    if all(0 <= code <= 0xFF for code in codes):
        return bytes(codes), error.end
    raise error


codecs.register_error(_KEEP, _keep)


def _is_printable(character: str) -> bool:
    return character.isprintable() and character != '"'


def _reals(item: F4 | F8) -> Iterator[str]:
    single = isinstance(item, F4)
    for index, value in enumerate(item):
        if isnan(value):
            bits = item.raw[index * item.size : (index + 1) * item.size]
            yield "nan" if bits == type(item)(nan).raw else f"nan(0x{bits.hex().upper()})"
        else:
            yield shortest(value) if single else repr(value)


def shortest(value: float) -> str:
    """The shortest decimal of which ``value`` is the nearest F4. It is one, and no NaN."""
    texts = (f"{value:.{digits}g}" for digits in _F4_DIGITS)
    text = next(text for text in texts if array("f", [float(text)])[0] == value)
    return f"{text}.0" if text.lstrip("-").isdigit() else text
