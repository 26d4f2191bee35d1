"""The error for text that is not SML."""

from __future__ import annotations

from typing import Final

__all__ = ["SmlError"]

# Characters of the source line shown before and after the fault.
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
        """The line of the text that holds the fault."""

    @classmethod
    def at(cls, problem: str, text: str, offset: int) -> SmlError:
        """The error at a character offset of ``text``."""
        start = text.rfind("\n", 0, offset) + 1
        stop = text.find("\n", offset)
        source = text[start : stop if stop >= 0 else len(text)]
        return cls(problem, text.count("\n", 0, offset) + 1, offset - start + 1, source)

    def __str__(self) -> str:
        fault = self.column - 1
        first = max(fault - _BEFORE, 0)
        shown = self.source[first : fault + _AFTER]
        # A tab or a control character would move the caret away from its place.
        shown = "".join(c if c.isprintable() else " " for c in shown)
        caret = " " * (fault - first) + "^"
        return f"line {self.line}, column {self.column}: {self.problem}\n  {shown}\n  {caret}"
