"""Reads ``rules.txt``: what an HSMS end does, each rule with the id of its clause.

No running program reads it. The proof makes its obligations from it, ``docs/protocol.md`` is made
from it, and each transition of a chart names the clauses that it fulfils.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

TEXT = Path(__file__).with_name("rules.txt").read_text(encoding="utf-8")


class RulesError(ValueError):
    """A line of the text does not fit its table; the message has the line's number."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Where a row applies: all of ``where`` and none of ``but`` hold. Both are states, or
    ``variable=value``."""

    where: tuple[str, ...]
    but: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Clause:
    """A rule that a chart must fulfil. ``said`` are the cells as written, for people.

    ``ends``: "both", "dials", "redials", "listens", "probes", "refuses", "owned", "breaker",
    "request" or "lease".
    ``answer`` is in order and in words; ``then`` are conditions, "lost" and "fresh"; ``starts`` are
    ids of timers.
    """

    id: str
    ends: str
    events: tuple[str, ...]
    places: tuple[Condition, ...]
    answer: tuple[str, ...]
    then: tuple[str, ...]
    starts: tuple[str, ...]
    rule: str
    said: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A rule that no chart fulfils: ``where`` is the file that does."""

    id: str
    where: str
    rule: str


@dataclass(frozen=True, slots=True)
class Runs:
    """A timer, and the states in which it runs."""

    timer: str
    states: tuple[str, ...]
    rule: str


@dataclass(frozen=True, slots=True)
class Word:
    """One word that stands for many."""

    word: str
    means: str


Row = Clause | Elsewhere | Runs | Word
# A line of the text with its number.
Line = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Section:
    """A titled table and the sentences above it."""

    title: str
    prose: str
    rows: tuple[Row, ...]


def _listed(cell: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in cell.split(",") if part.strip())


def _plain(cell: str, words: Mapping[str, str]) -> tuple[str, ...]:
    """The parts of a cell, each word replaced by what it stands for."""
    return tuple(part for word in cell.split() for part in words.get(word, word).split())


def _places(cell: str, words: Mapping[str, str]) -> Iterator[Condition]:
    for part in _listed(cell):
        where, _, but = part.partition(" but ")
        yield Condition(_plain(where, words), _plain(but, words))


def _row(header: str, lines: list[Line], words: dict[str, str]) -> Row:
    (number, line), *below = lines
    rule = " ".join(text.strip() for _, text in below).strip()
    cells = _cells(line)
    match _cells(header), cells:
        case ("word", "stands for"), (word, means):
            means = f"{means} {rule}".strip()
            words[word] = " ".join(_plain(means, words))
            return Word(word, means)
        case ("timer", "runs in"), (timer, states):
            return Runs(timer, _plain(states.replace(",", " "), words), rule)
        case ("clause", "where"), (id, where):
            return Elsewhere(id, where, rule)
        case (
            ("clause", "ends", "event", "in", "answer", "then", "starts"),
            (id, ends, events, places, answer, then, starts),
        ):
            return Clause(
                id,
                ends,
                _plain(events, words),
                tuple(_places(places, words)),
                _listed(answer),
                tuple(then.split()),
                tuple(starts.split()),
                rule,
                cells[1:],
            )
        case _:
            raise RulesError(f"rules, line {number}: {len(cells)} cells do not fit the header")


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.split("|"))


def _cut(lines: list[Line], begins: Callable[[str], bool]) -> list[list[Line]]:
    """The lines in parts: each part but the first starts with a line that begins one."""
    parts: list[list[Line]] = [[]]
    for line in lines:
        if begins(line[1]):
            parts.append([])
        parts[-1].append(line)
    return parts


def parse(text: str) -> tuple[Section, ...]:
    """The sections of the text, in order; the first one has no title. Raises ``RulesError``."""
    words: dict[str, str] = {}
    found: list[Section] = []
    for lines in _cut(list(enumerate(text.splitlines(), start=1)), lambda line: line[:2] == "# "):
        title = lines[0][1].removeprefix("# ") if found else ""
        above, *rows = _cut(lines[1:] if found else lines, lambda line: "|" in line)
        header = rows[0][0][1] if rows else ""
        prose = "\n".join(line for _, line in above).strip()
        found.append(Section(title, prose, tuple(_row(header, row, words) for row in rows[1:])))
    return tuple(found)


SECTIONS = parse(TEXT)
CLAUSES = tuple(row for section in SECTIONS for row in section.rows if isinstance(row, Clause))
