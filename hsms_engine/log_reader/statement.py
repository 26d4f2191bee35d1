"""The SML of one message in a log, with the places of the log."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Final

from hsms_engine.secs2 import Item
from hsms_engine.sml import Note, SmlError, Statement, load, parse_item
from hsms_engine.sml.loose import Binary

__all__ = ["Piece", "Readings", "has_bare_hex"]

# Bytes without 0x: with a letter they can only be hexadecimal, two digits may be either.
_BARE_HEX: Final = re.compile(
    r"""<\s*+B(?:I|IN|INARY)?\b[^<>"'\n]*?(?<![\w.])(?:[A-Fa-f][0-9A-Fa-f]|[0-9][A-Fa-f])(?![\w.])"""
)
_TWO_DIGITS: Final = re.compile(
    r"""<\s*+B(?:I|IN|INARY)?\b[^<>"'\n]*?(?<![\w.])[0-9]{2}(?![\w.])"""
)
_SHORT: Final = 200
_EVEN: Final = re.compile("[02468]$")
# Line feeds and tabs that a log has as two characters, outside of strings.
_WRITTEN: Final = re.compile(r""""[^"\n]*"|'[^'\n]*'|(\\r\\n|\\[nrt])""")


def has_bare_hex(text: str) -> bool:
    """Whether bytes in it are hexadecimal without saying so."""
    return "B" in text and "<" in text and _BARE_HEX.search(text) is not None


@dataclass(slots=True)
class Piece:
    """The text of one message: its header as this package writes it, and the pieces of its item."""

    name: str
    wait: bool
    texts: list[str] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)
    """For each piece its line in the log, and how many characters are left of it there."""
    size: int = 0

    def add(self, text: str, line: int, left: int) -> None:
        """One more piece, which is a line of its own."""
        self.texts.append(text)
        self.places.append((line, left))
        self.size += len(text)

    @property
    def header(self) -> str:
        """The header as this package writes it."""
        return f"{self.name} W" if self.wait else self.name

    def text(self) -> str:
        """All of it; the first piece is in the line of the header."""
        return f"{self.header} {self.item()}"

    def item(self) -> str:
        """The pieces alone."""
        return "\n".join(self.texts)

    def place(self, line: int, column: int) -> tuple[int, int]:
        """The line and column of the log for one of this text."""
        index = min(line, len(self.places)) - 1
        number, left = self.places[index]
        return number, max(column + left - (len(self.header) + 1 if index == 0 else 0), 1)


@dataclass(slots=True)
class Readings:
    """How statements of one log are read. It learns on the way whether bytes are hexadecimal."""

    binary: Binary | None
    escapes: bool
    text_encoding: str | None
    has_hex: bool = False

    def read(self, piece: Piece) -> tuple[bool, Item | None, tuple[Note, ...]]:
        """W, the item and the notes. Raises ``SmlError``, with line and column of the log."""
        is_strict = not (self.escapes or self.has_hex or self.binary) and not (
            piece.wait and _EVEN.search(piece.name)
        )
        item = _strict(piece.item(), self.text_encoding) if is_strict else None
        if item is not None:
            return piece.wait, item, ()
        try:
            statement, notes = self._loosely(piece.text())
        except SmlError as error:
            line, column = piece.place(error.line, error.column)
            raise SmlError(error.problem, line, column, error.source) from None
        placed = [(note, *piece.place(note.line, note.column)) for note in notes]
        return (
            statement.wait,
            statement.item,
            tuple(replace(note, line=line, column=column) for note, line, column in placed),
        )

    def _loosely(self, text: str) -> tuple[Statement, tuple[Note, ...]]:
        if self.binary is None:
            self.has_hex = self.has_hex or has_bare_hex(text)
            if self.has_hex and _TWO_DIGITS.search(text) and not has_bare_hex(text):
                as_hex, notes = self._loaded(text, "hex")
                as_decimal, _ = self._loaded(text, "decimal")
                if as_hex != as_decimal:
                    problem = (
                        "two digits in a B may be hexadecimal, as other bytes of this log are, or "
                        'decimal: say binary="hex" or "decimal"'
                    )
                    raise SmlError(problem, 1, len(text), text[:40])
                return as_hex, notes
        return self._loaded(text, self.binary)

    def _loaded(self, text: str, binary: Binary | None) -> tuple[Statement, tuple[Note, ...]]:
        read = partial(load, binary=binary, escapes=self.escapes, text_encoding=self.text_encoding)
        library = read(text)
        if library.problems and "\\" in text and not self.escapes:
            # Blanks of the same length, so that places stay.
            library = read(_WRITTEN.sub(lambda m: " " * len(m[0]) if m[1] else m[0], text))
        if library.problems:
            raise library.problems[0]
        [statement, *_] = library.messages
        return statement, library.notes


def _strict(text: str, text_encoding: str | None) -> Item | None:
    text = text.rstrip(" \t.;")
    return (_short if len(text) < _SHORT else _item)(text, text_encoding)


# Most replies are the same again and again. An item never changes.
@lru_cache(maxsize=256)
def _short(text: str, text_encoding: str | None) -> Item | None:
    return _item(text, text_encoding)


def _item(text: str, text_encoding: str | None) -> Item | None:
    try:
        return parse_item(text, text_encoding)
    except SmlError:
        return None
