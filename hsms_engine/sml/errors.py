"""The error for text that is not SML, and the places that errors and notes point at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

__all__ = ["OffsetError", "SmlError", "caret", "places", "pointing"]

# Characters of the source line shown before and after the place.
_BEFORE: Final = 50
_AFTER: Final = 30


class SmlError(ValueError):
    """The text is not SML. The message shows the line and points at the place.

    ``line`` and ``column`` count from 1, in lines ended by a line feed and in characters.
    ``problem`` says in one line what was found and what was expected.
    """

    def __init__(self, problem: str, line: int, column: int, source: str) -> None:
        super().__init__(problem, line, column, source)
        self.problem = problem
        self.line = line
        self.column = column
        self.source = source
        """What is around the place in its line: up to 50 characters before it and 30 behind."""

    @classmethod
    def at(cls, problem: str, text: str, offset: int) -> SmlError:
        """The error at a character offset of ``text``."""
        [(line, column, source)] = places(text, (offset,))
        return cls(problem, line, column, source)

    def __str__(self) -> str:
        return pointing(self.line, self.column, self.problem, self.source)


class OffsetError(Exception):
    """What is wrong, and at which character offset: an ``SmlError`` that has not looked for its
    line yet."""

    def __init__(self, problem: str, offset: int) -> None:
        super().__init__(problem, offset)
        self.problem = problem
        self.offset = offset


def places(text: str, offsets: Iterable[int]) -> Iterator[tuple[int, int, str]]:
    """The line, the column and the source of each offset; ``offsets`` are in order.

    The time they take together is that of one pass over the text.
    """
    line, start, last = 1, 0, 0
    for offset in offsets:
        line += text.count("\n", last, offset)
        start = text.rfind("\n", last, offset) + 1 or start
        last = offset
        stop = text.find("\n", offset, offset + _AFTER)
        source = text[max(start, offset - _BEFORE) : stop if stop >= 0 else offset + _AFTER]
        yield line, offset - start + 1, source


def pointing(line: int, column: int, text: str, source: str) -> str:
    """Three lines: the place and what is said of it, and the two of ``caret``."""
    return f"line {line}, column {column}: {text}\n{caret(column, source)}"


def caret(column: int, source: str) -> str:
    """Two lines: the source, and a caret below the place."""
    # A tab or a control character would move the caret away from its place.
    shown = "".join(c if c.isprintable() else " " for c in source)
    return f"  {shown}\n  {' ' * min(column - 1, _BEFORE)}^"
