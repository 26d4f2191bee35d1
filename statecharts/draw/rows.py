"""Rows of reactions as lines of markup: the words, their typeface, and where lines break."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import escape
from textwrap import wrap
from typing import assert_never

from statecharts.declare import Action, State, Tell, Timer

from .markup import ACCENT, LINE, PALE
from .view import Box, Look, Row, View
from .words import Words, plain, timer_words, typeface

EVERYTHING = "everything received"


@dataclass(frozen=True, slots=True)
class Word:
    """A piece of text on one line, in one typeface and colour."""

    text: str
    tag: str = ""
    color: str = ""

    @property
    def markup(self) -> str:
        made = escape(self.text)
        if self.color:
            made = f'<FONT COLOR="{self.color}">{made}</FONT>'
        return f"<{self.tag}>{made}</{self.tag}>" if self.tag else made


def _broken(words: list[Word], width: int) -> Iterator[Word]:
    """The words, with those broken that are too long for a line."""
    for word in words:
        texts = wrap(word.text, width, break_long_words=False, break_on_hyphens=False)
        yield from (replace(word, text=text) for text in texts)


def _joined(words: list[Word]) -> str:
    """One line. Where the typeface changes, ``dot`` would drop an ordinary space."""
    runs = [words[0]]
    for word in words[1:]:
        last = runs[-1]
        if (last.tag, last.color) == (word.tag, word.color):
            runs[-1] = replace(last, text=f"{last.text} {word.text}")
        else:
            runs.append(word)
    return "&#160;".join(run.markup for run in runs)


def wrapped(words: list[Word], width: int) -> str:
    """Words in lines of about ``width`` characters, aligned to the left."""
    lines: list[list[Word]] = [[]]
    for word in _broken(words, width):
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


class Teller:
    """Makes the lines of one view, in these words."""

    def __init__(self, view: View, words: Words) -> None:
        self.view, self.words = view, words
        # The phrases for several events that were used: the legend explains them.
        self.used: dict[str, frozenset[str]] = {}
        self._together = dict(words.together)
        if len(view.chart.received) > 2:
            self._together = {EVERYTHING: frozenset(view.chart.received), **words.together}

    def events(self, row: Row) -> list[Word]:
        """The events of a row, and its guard. Events that have a common phrase are one word."""
        words = {event: self._event(event) for event in row.events}
        for phrase, events in self._together.items():
            if events <= words.keys():
                self.used[phrase] = events
                first, *others = (event for event in words if event in events)
                words[first] = replace(words[first], text=phrase)
                for event in others:
                    del words[event]
        guard = [Word(f"[{plain(row.when)}]")] if row.when else []
        return [*_separated(list(words.values()), ","), *guard]

    def _event(self, event: str | None) -> Word:
        chart = self.view.chart
        color = ACCENT if event in self.view.told else ""
        return Word(self.words.event(chart, event), typeface(chart, event), color)

    def actions(self, actions: tuple[Action, ...]) -> list[Word]:
        """Actions in order, with ``/`` before the first; empty when there is none."""
        words = _separated([self._action(each) for each in actions], ";")
        if words:
            words[0] = replace(words[0], text=f"/ {words[0].text}")
        return words

    def _action(self, action: Action) -> Word:
        match action:
            case Tell(event) if event in self.view.told:
                # The colour says that it is told, so the word "tell" is not needed.
                return Word(self.words.action(action).removeprefix("tell "), color=ACCENT)
            case _:
                return Word(self.words.action(action))

    def arrow(self, rows: tuple[Row, ...]) -> list[str]:
        """The text on an arrow: for each row the events, and below them the effects."""
        width = 18 if self.view.is_overview else 22
        lines = []
        for row in rows:
            events, actions = self.events(row), self.actions(row.do)
            parts = [wrapped(words, width) for words in (events, actions) if words]
            lines.append(LINE.join(part.removesuffix(LINE) for part in parts) + LINE)
        return lines

    def facts(self, box: Box, width: int) -> list[str]:
        """The timer of a state, and its actions on entry and exit."""
        match box.look:
            case Look.ASIDE:
                return []
            case Look.WHOLE:
                lines = self._own(box.state, box.state.enter, box.state.exit, [])
            case Look.COARSE:
                lines = self._coarse(box)
            case _:
                assert_never(box.look)
        return [wrapped(words, width) for words in lines]

    def _own(
        self, state: State, entry: tuple[Action, ...], exits: tuple[Action, ...], where: list[Word]
    ) -> list[list[Word]]:
        lines = []
        for name, actions in (("entry", entry), ("exit", exits)):
            if actions:
                lines.append([*where, Word(name, color=PALE), *self.actions(actions)])
        if state.timer and not where:
            lines.insert(0, [Word("timer", color=PALE), Word(timer_words(state.timer))])
        return lines

    def _coarse(self, box: Box) -> list[list[Word]]:
        matter, state = self.view.matter, box.state
        lines = self._own(state, matter(state.enter), matter(state.exit), [])
        inner: dict[Timer, list[str]] = {}
        hidden = () if box.children else state.children
        for each in (below for child in hidden for below in child.walk()):
            lines += self._own(each, matter(each.enter), matter(each.exit), [Word(f"{each.name}:")])
            if each.timer:
                inner.setdefault(each.timer, []).append(each.name)
        for timer, names in inner.items():
            words = [Word("timer", color=PALE), Word(timer_words(timer)), Word("in")]
            lines.append([*words, *_separated([Word(name) for name in names], ",")])
        return lines

    def answers(self, box: Box, width: int) -> list[str]:
        """The lines of what a state answers inside its box."""
        return [wrapped(self._answer(box.state, row), width) for row in self.view.rows(box)]

    def _answer(self, state: State, row: Row) -> list[Word]:
        words = [*self.events(row), *self.actions(row.do)]
        if row.to is not None:
            chart = self.view.chart
            again = any(each.id == row.to for each in chart.path(state.id))
            name = chart.state(row.to).name
            words.append(Word(f"\N{RIGHTWARDS ARROW} {name}{' again' if again else ''}"))
        elif not row.do:
            words.append(Word("/ nothing"))
        return words
