"""Reactions grouped for a reader: what differs only in its event is told once.

A row is (events, guard, actions). An arrow holds all rows from one state to another. A state's box
holds the rows that stay in the state, that enter it again, and that lead far away: nobody could
follow so many arrows over so many borders. Rows keep the order of declaration.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise

from statecharts.declare import Action, Chart, On, State

from .markup import LINE, PALE
from .words import action_words, event_words, timer_words, typeface

EVERYTHING = "everything received"


@dataclass(frozen=True, slots=True)
class Row:
    """Reactions that differ only in their event; ``to`` is their target, if they have one."""

    events: tuple[str | None, ...]
    when: str
    do: tuple[Action, ...]
    to: str | None


def _grouped(ons: list[On]) -> tuple[Row, ...]:
    groups: dict[tuple[str, tuple[Action, ...], str | None], list[str | None]] = {}
    for on in ons:
        groups.setdefault((on.when, on.do, on.to), []).append(on.event)
    return tuple(Row(tuple(events), *key) for key, events in groups.items())


def shared(chart: Chart, one: str, other: str) -> int:
    """How many states are around both."""
    pairs = zip(chart.path(one)[:-1], chart.path(other)[:-1], strict=False)
    return sum(a.id == b.id for a, b in pairs)


def is_far(chart: Chart, on: On) -> bool:
    """Whether the arrow would lead out over two borders, or back over three."""
    if on.to is None or returns(chart, on):
        return False
    common = shared(chart, on.source, on.to)
    outwards = len(chart.path(on.source)) - 1 - common
    inwards = len(chart.path(on.to)) - 1 - common
    ids = [state.id for state in chart.walk()]
    is_back = ids.index(on.to) < ids.index(on.source)
    return outwards >= 2 or (is_back and outwards + inwards >= 3)


def bundles(chart: Chart) -> tuple[tuple[str, str], ...]:
    """One arrow for all rows that lead far: from the outermost state that is left to the target."""
    found: dict[tuple[str, str], None] = {}
    for on in chart.transitions:
        if on.to is not None and is_far(chart, on):
            depth = shared(chart, on.source, on.to)
            found[chart.path(on.source)[depth].id, on.to] = None
    return tuple(found)


def returns(chart: Chart, on: On) -> bool:
    """Whether the transition enters its source again: its target is the source or lies above it."""
    return on.to is not None and any(state.id == on.to for state in chart.path(on.source))


def box_rows(chart: Chart, state: State) -> tuple[Row, ...]:
    """What is told inside the box of ``state``."""
    return _grouped(
        [
            on
            for on in chart.transitions
            if on.source == state.id and (on.to is None or returns(chart, on) or is_far(chart, on))
        ]
    )


def arrows(chart: Chart) -> dict[tuple[str, str], tuple[Row, ...]]:
    """What is told on each arrow: (source, target) to rows."""
    pairs: dict[tuple[str, str], list[On]] = {}
    for on in chart.transitions:
        if on.to is not None and not returns(chart, on) and not is_far(chart, on):
            pairs.setdefault((on.source, on.to), []).append(on)
    return {pair: _grouped(ons) for pair, ons in pairs.items()}


@dataclass(frozen=True, slots=True)
class Word:
    """A piece of text that is not broken, in one typeface and colour."""

    text: str
    tag: str = ""
    color: str = ""

    @property
    def markup(self) -> str:
        made = escape(self.text)
        if self.color:
            made = f'<FONT COLOR="{self.color}">{made}</FONT>'
        return f"<{self.tag}>{made}</{self.tag}>" if self.tag else made


_TIMER, _ENTRY, _EXIT = (
    Word("timer", color=PALE),
    Word("entry", color=PALE),
    Word("exit", color=PALE),
)


def _joined(words: list[Word]) -> str:
    """One line. Where the typeface changes, SVG would drop a common space."""
    made = words[0].markup
    for before, after in pairwise(words):
        same = (before.tag, before.color) == (after.tag, after.color)
        made += (" " if same and not before.tag + before.color else "&#160;") + after.markup
    return made


def wrapped(words: list[Word], width: int) -> str:
    """Words in lines of about ``width`` characters, aligned to the left."""
    lines: list[list[Word]] = [[]]
    for word in words:
        if lines[-1] and sum(len(each.text) + 1 for each in lines[-1]) + len(word.text) > width:
            lines.append([])
        lines[-1].append(word)
    joined = [_joined(line) for line in lines]
    return LINE.join(joined) + (LINE if len(joined) > 1 else "")


def _separated(words: list[Word], mark: str) -> list[Word]:
    last = len(words) - 1
    return [
        replace(word, text=word.text + mark) if index < last else word
        for index, word in enumerate(words)
    ]


def tells_everything(chart: Chart, row: Row) -> bool:
    """Whether a row holds whatever a peer may cause."""
    return len(chart.received) > 2 and set(chart.received) <= set(row.events)


def events_of(chart: Chart, row: Row) -> list[Word]:
    """The events of a row, and its guard. All that a peer may cause is said in two words."""
    events = row.events
    words: list[Word] = []
    if tells_everything(chart, row):
        words.append(Word(EVERYTHING))
        events = tuple(event for event in events if event not in chart.received)
    words += [Word(event_words(chart, event), typeface(chart, event)) for event in events]
    return [*_separated(words, ","), *([Word(f"[{row.when}]")] if row.when else [])]


def actions_of(actions: tuple[Action, ...]) -> list[Word]:
    """Actions in order, ``/`` before the first; nothing when there is none."""
    words = _separated([Word(action_words(action)) for action in actions], ";")
    if words:
        words[0] = replace(words[0], text=f"/ {words[0].text}")
    return words


def arrow_lines(chart: Chart, rows: tuple[Row, ...]) -> list[str]:
    """The text on an arrow, a line of events and a line of effects for each row."""
    lines = []
    for row in rows:
        lines.append(wrapped(events_of(chart, row), 20))
        if row.do:
            lines.append(wrapped(actions_of(row.do), 20))
    return lines


def box_lines(chart: Chart, state: State, width: int) -> tuple[list[str], list[str]]:
    """What holds for the whole of a state, and what it answers inside its box."""
    facts = []
    if state.timer:
        facts.append(wrapped([_TIMER, Word(timer_words(state.timer))], width))
    if state.enter:
        facts.append(wrapped([_ENTRY, *actions_of(state.enter)], width))
    if state.exit:
        facts.append(wrapped([_EXIT, *actions_of(state.exit)], width))
    answers = []
    for row in box_rows(chart, state):
        words = [*events_of(chart, row), *actions_of(row.do)]
        if row.to is not None:
            again = any(each.id == row.to for each in chart.path(state.id))
            name = chart.state(row.to).name
            words.append(Word(f"\N{RIGHTWARDS ARROW} {name}{' again' if again else ''}"))
        elif not row.do:
            words.append(Word("/ nothing"))
        answers.append(wrapped(words, width))
    return facts, answers
