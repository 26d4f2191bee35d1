"""What the lenient reader says of a text that it could read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from hsms_engine.sml.errors import places, pointing

__all__ = ["MOST_NOTES", "Note", "NoteKind", "Notes"]

MOST_NOTES: Final = 10_000
"""The most notes of one text that are kept; all are counted."""

NoteKind: TypeAlias = Literal[
    "bare text",
    "binary",
    "comma",
    "comment",
    "count",
    "escape",
    "full stop",
    "header",
    "line end",
    "lines",
    "name",
    "no value",
    "number",
    "passed over",
    "quotes",
    "truth",
    "type",
    "W",
]
"""What a note is about. The page ``docs/sml.md`` has an example of each."""


@dataclass(frozen=True, slots=True)
class Note:
    """Where a text that was read left the grammar, and what was made of it.

    ``line`` and ``column`` count from 1. ``str`` shows the line and points at the place.
    """

    line: int
    column: int
    kind: NoteKind
    text: str
    source: str
    """What is around the place in its line."""

    def __str__(self) -> str:
        return pointing(self.line, self.column, f"{self.kind}: {self.text}", self.source)


class Notes:
    """The notes of one text while it is read: at most ``MOST_NOTES``, and a count of all."""

    def __init__(self) -> None:
        self.counts: Counter[NoteKind] = Counter()
        self._kept: list[tuple[int, NoteKind, str]] = []

    def add(self, kind: NoteKind, text: str, offset: int) -> None:
        """Take one note at a character offset."""
        self.counts[kind] += 1
        if len(self._kept) < MOST_NOTES:
            self._kept.append((offset, kind, text))

    def all(self, text: str) -> tuple[Note, ...]:
        """The notes that were kept, in the order of their places in ``text``."""
        kept = sorted(self._kept, key=lambda each: each[0])
        found = places(text, (offset for offset, _, _ in kept))
        return tuple(
            Note(line, column, kind, what, source)
            for (line, column, source), (_, kind, what) in zip(found, kept, strict=True)
        )
