"""The lenient reader: what the trade writes, and for each deviation a note.

What has one meaning is read. What has two, or none, is a problem, and the other messages are read
all the same.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Final, get_args

from hsms_engine.sml.errors import OffsetError, SmlError, places
from hsms_engine.sml.lexer import Token, unexpected
from hsms_engine.sml.loose import Binary, Loosener, in_doubt
from hsms_engine.sml.nodes import Statement
from hsms_engine.sml.notes import Note, NoteKind, Notes
from hsms_engine.sml.parser import Parser

__all__ = ["MOST_PROBLEMS", "Library", "load", "load_file"]

MOST_PROBLEMS: Final = 1_000
"""With so many problems, reading stops."""

# The longer ones first: a mark of UTF-32 begins as one of UTF-16 does.
_MARKS: Final = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# What stands for bytes that cannot be read. No item takes it, so it never becomes a value.
_UNREADABLE: Final = "\udcff"
# A text in UTF-16 or UTF-32 that is read as another one has a NUL among so many characters.
_FIRST: Final = 4


@dataclass(frozen=True, slots=True)
class Library(Mapping[str, Statement]):
    """The messages of a text, and what was not as the grammar has it.

    It is a mapping of the messages that have a name: ``library["AreYouThere"]``. The first message
    of a name has it; there is a note on each other one.
    """

    messages: tuple[Statement, ...]
    """All messages, in the order of the text."""
    notes: tuple[Note, ...]
    """What was passed over, in the order of the text; at most ``MOST_NOTES``."""
    counts: Mapping[NoteKind, int]
    """How many notes there are of each kind, also of those that were not kept."""
    problems: tuple[SmlError, ...]
    """What could not be read: the file as a whole, and then in the order of the text; at most
    ``MOST_PROBLEMS``."""
    comments: int
    """How many comments were read. Nothing keeps them."""
    _named: Mapping[str, Statement] = field(repr=False, compare=False)

    def __reduce__(self) -> tuple[Callable[..., Library], tuple[object, ...]]:
        # The views of dictionaries can be neither pickled nor copied.
        fields = (self.messages, self.notes, dict(self.counts), self.problems, self.comments)
        return _library, (*fields, dict(self._named))

    def __getitem__(self, name: str) -> Statement:
        return self._named[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)


def _library(
    messages: tuple[Statement, ...],
    notes: tuple[Note, ...],
    counts: dict[NoteKind, int],
    problems: tuple[SmlError, ...],
    comments: int,
    named: dict[str, Statement],
) -> Library:
    return Library(
        messages, notes, MappingProxyType(counts), problems, comments, MappingProxyType(named)
    )


def load(
    text: str,
    *,
    binary: Binary | None = None,
    escapes: bool = False,
    text_encoding: str | None = None,
) -> Library:
    """Read a text as generously as its meaning is clear. Nothing in it raises.

    ``binary`` says what two digits in a ``B`` are, for a text in which other bytes are hexadecimal:
    there ``<B 80>`` is a problem without it. With ``escapes``, a backslash in a string is an
    escape: ``\\"``, ``\\'``, ``\\\\``, ``\\n``, ``\\r``, ``\\t``, ``\\0``, ``\\x0A``. The strings
    of A are encoded in ``text_encoding``, as for ``parse``. The time is linear in the text, and
    there are bounds for notes and problems. Raises ``ValueError`` for an unfit encoding or
    another ``binary``.
    """
    return _Reader(text, binary, escapes, text_encoding).library()


def load_file(
    path: str | PathLike[str],
    *,
    encoding: str = "utf-8",
    binary: Binary | None = None,
    escapes: bool = False,
    text_encoding: str | None = None,
) -> Library:
    """Read a file, as ``load`` does. A byte order mark wins over ``encoding``, that of the file.

    A file that is not in its encoding has a problem that says at which byte. Text with such bytes
    is not read, the rest is. Raises ``OSError`` when the file cannot be read, ``LookupError`` for
    an unknown encoding.
    """
    data = Path(path).read_bytes()
    for mark, marked in _MARKS.items():
        if data.startswith(mark):
            encoding = marked
            break
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        text = data.decode(encoding, "replace").replace("\ufffd", _UNREADABLE)
        reader = _Reader(text, binary, escapes, text_encoding)
        reader.about_file = OffsetError(
            f"byte {error.start} (0x{data[error.start]:02X}) is no {encoding}: {error.reason}; "
            "say which encoding it is",
            max(text.find(_UNREADABLE), 0),
        )
        return reader.library()
    return _Reader(text, binary, escapes, text_encoding).library()


class _Reader:
    def __init__(
        self, text: str, binary: Binary | None, escapes: bool, text_encoding: str | None
    ) -> None:
        if binary not in {None, *get_args(Binary)}:
            raise ValueError(f"binary is 'decimal', 'hex' or None, not {binary!r}")
        self._notes = Notes()
        if text.endswith("\x1a"):
            # As DOS ended its files.
            text = text.rstrip("\x1a")
            self._notes.add("line end", "Ctrl-Z is the end of the file", len(text))
        self._text = text
        self._escapes = escapes
        self._loosener = Loosener(self._notes, binary)
        self._parser = Parser(
            text, self._notes, self._loosener, escapes=escapes, text_encoding=text_encoding
        )
        self._read: list[tuple[Statement, int, Token | None]] = []
        self.problems: list[OffsetError] = []
        self.about_file: OffsetError | None = None
        """The problem of the file as a whole: it is the first one."""

    def library(self) -> Library:
        self._statements()
        messages = tuple(self._clear_ones())
        named = self._by_name()
        problems = sorted(self.problems, key=lambda fault: fault.offset)
        nul = self._text.find("\0", 0, _FIRST)
        if nul >= 0 and problems and not messages:
            # Whatever else is told, it is said of text in a wrong encoding.
            problems = [OffsetError(unexpected(self._text, nul), nul)]
        about = [self.about_file] if self.about_file is not None else []
        most = MOST_PROBLEMS - len(about)
        if len(problems) >= most:
            last = problems[most - 1]
            what = f"{MOST_PROBLEMS} problems: what is behind this one is not told, or not read"
            problems[most - 1 :] = [OffsetError(what, last.offset)]
        found = places(self._parser.lines, (fault.offset for fault in problems))
        return _library(
            messages,
            self._notes.all(self._parser.lines),
            dict(self._notes.counts),
            (
                *(SmlError.at(one.problem, self._parser.lines, one.offset) for one in about),
                *(
                    SmlError(fault.problem, *place)
                    for place, fault in zip(found, problems, strict=True)
                ),
            ),
            self._parser.comments,
            named,
        )

    def _statements(self) -> None:
        parser = self._parser
        is_over = parser.is_at_end
        while not is_over and len(self.problems) < MOST_PROBLEMS:
            start = parser.offset
            self._loosener.doubtful = None
            try:
                statement = parser.statement()
            except OffsetError as fault:
                self.problems.append(self._told(fault, start))
                is_over = not parser.resume(start, fault.offset)
            else:
                self._read.append((statement, start, self._loosener.doubtful))
            is_over = is_over or parser.is_at_end

    def _told(self, fault: OffsetError, start: int) -> OffsetError:
        """A fault, with a hint when a quote may have been meant as a part of the text."""
        if not self._escapes and "\\" in self._text[start : fault.offset]:
            return OffsetError(f'{fault.problem} (escapes=True reads \\")', fault.offset)
        return fault

    def _clear_ones(self) -> Iterator[Statement]:
        """The messages without those whose bytes have two readings."""
        for index, (statement, _, doubtful) in enumerate(self._read):
            if doubtful is None or not self._loosener.has_hex:
                yield statement
            else:
                self.problems.append(OffsetError(in_doubt(doubtful), doubtful.offset))
                self._read[index] = (replace(statement, name=None), 0, None)

    def _by_name(self) -> dict[str, Statement]:
        named: dict[str, Statement] = {}
        for statement, start, _ in self._read:
            name = statement.name
            if name is not None and named.setdefault(name, statement) is not statement:
                self._notes.add("name", f"another message is called {name} too", start)
        return named
