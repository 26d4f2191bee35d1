"""The lines of a log, whatever bytes it has, in bounded memory.

A line may end with LF, CR LF or CR. A byte order mark wins over the encoding that was given, and
UTF-16 without one is known by its NULs. NULs are taken out: a log that was not closed ends with
them. Bytes that are not in the encoding become ``UNREADABLE``, which no item takes.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator
from io import IncrementalNewlineDecoder
from typing import Final, NamedTuple

__all__ = ["UNREADABLE", "Line", "byte_lines", "text_lines"]

UNREADABLE: Final = "\udcff"

# The error handler that puts it there. A log may have U+FFFD itself.
_MARK_IT: Final = "hsms_engine.unreadable"
_CHUNK: Final = 1 << 18
# The longer ones first: a mark of UTF-32 begins as one of UTF-16 does.
_MARKS: Final = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class Line(NamedTuple):
    """One line, without its end. ``problem`` says what spoils it."""

    number: int
    text: str
    problem: str | None = None


def byte_lines(read: Callable[[int], bytes], encoding: str, longest: int) -> Iterator[Line]:
    """The lines of a stream of bytes; ``read`` gives at most so many, and none at the end."""
    chunk = read(_CHUNK)
    encoding = _encoding(chunk, encoding)
    decoder = IncrementalNewlineDecoder(
        codecs.getincrementaldecoder(encoding)(_MARK_IT), translate=True
    )
    number, size, is_cut = 1, 0, False
    pieces: list[str] = []
    while True:
        text = decoder.decode(chunk, final=not chunk)
        *whole, last = text.split("\n")
        for each in whole:
            if size or len(each) > longest:
                pieces.append(each[: max(longest - size, 0)])
                yield _line(number, "".join(pieces), encoding, is_cut or size + len(each) > longest)
                pieces, size, is_cut = [], 0, False
            else:
                # Most lines are in one piece.
                yield _line(number, each, encoding, False)
            number += 1
        pieces.append(last[: max(longest - size, 0)])
        is_cut = is_cut or size + len(last) > longest
        size = min(size + len(last), longest)
        if not chunk:
            break
        chunk = read(_CHUNK)
    if size:
        yield _line(number, "".join(pieces), encoding, is_cut)


def text_lines(lines: Iterable[str], longest: int) -> Iterator[Line]:
    """The lines of a text that was cut into lines before."""
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r\n")
        if number == 1:
            text = text.removeprefix("\ufeff")
        yield _line(number, text[:longest], "text", len(text) > longest)


def _mark_it(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)  # nothing is encoded
    return UNREADABLE, error.end


codecs.register_error(_MARK_IT, _mark_it)


def _encoding(start: bytes, encoding: str) -> str:
    for mark, marked in _MARKS.items():
        if start.startswith(mark):
            return marked
    # The first characters of a log are of ASCII.
    match [byte == 0 for byte in start[:8]]:
        case [False, True, False, True, False, True, False, True]:
            return "utf-16-le"
        case [True, False, True, False, True, False, True, False]:
            return "utf-16-be"
        case _:
            return encoding


def _line(number: int, text: str, encoding: str, is_cut: bool) -> Line:
    if text.isprintable() and not is_cut:
        return Line(number, text)
    problem = None
    if "\0" in text:
        problem = f"{text.count(chr(0))} NULs are left out"
        text = text.replace("\0", "")
    if UNREADABLE in text:
        problem = f"character {text.index(UNREADABLE) + 1} is no {encoding}"
    if is_cut:
        problem = f"the line is longer than {len(text)} characters, and the rest is not read"
    return Line(number, text, problem)
