"""The entries of a log in order, counted, and one message that a log shows twice as one.

Invariant: the latest message waits, because its other form may follow (SML behind a dump, or a dump
behind SML). What comes in between lets it go first, so entries stay in order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, assert_never

from hsms_engine.log_reader.entries import (
    CutMessage,
    Entry,
    LoggedControl,
    LoggedMessage,
    NotUnderstood,
    beginning,
)
from hsms_engine.log_reader.records import NEIGHBOURS

__all__ = ["Collector", "LogCounts"]

_Message: TypeAlias = LoggedMessage | LoggedControl
_Form: TypeAlias = Literal["sml", "dump", "both"]


@dataclass(slots=True)
class LogCounts:
    """What a log had, as far as it was read."""

    lines: int = 0
    messages: int = 0
    controls: int = 0
    cut_messages: int = 0
    not_understood: int = 0
    mentions: int = 0
    """Lines that name a message and hold none: "no reply to S1F13"."""
    spoilt_lines: int = 0
    """Lines with NULs, with bytes that are not in the encoding, or too long. The first 100 are
    ``NotUnderstood`` too."""


@dataclass(slots=True)
class _Held:
    """A message that may follow once more, in another form."""

    entry: _Message
    form: _Form
    line: int


class Collector:
    """Takes what was found, and gives it out in order."""

    def __init__(self) -> None:
        self.counts = LogCounts()
        self._held: _Held | None = None
        self._out: list[Entry] = []

    @property
    def has_entries(self) -> bool:
        """Whether ``taken`` would give any."""
        return bool(self._out)

    def taken(self) -> list[Entry]:
        """The entries since it was asked for the last time."""
        out, self._out = self._out, []
        counts = self.counts
        for entry in out:
            match entry:
                case LoggedMessage():
                    counts.messages += 1
                case LoggedControl():
                    counts.controls += 1
                case CutMessage():
                    counts.cut_messages += 1
                case NotUnderstood():
                    counts.not_understood += 1
                case _:
                    assert_never(entry)
        return out

    def put(self, *entries: Entry) -> None:
        """Entries that have no other form; nor has the message before them."""
        held, self._held = self._held, None
        if held is not None:
            self._out.append(held.entry)
        self._out += entries

    def tell(self, line: int, column: int, text: str, why: str) -> None:
        """A place that was not understood."""
        self.put(NotUnderstood(line, column, beginning(text), why))

    def hold(self, entry: _Message, form: _Form, number: int) -> None:
        """A message, up to line ``number``; with the one before it, when both are one."""
        held = self._held
        if held is not None and {form, held.form} == {"sml", "dump"}:
            is_near = entry.line - held.line <= NEIGHBOURS
            one = _one(held.entry, entry, form) if is_near else None
            if one is not None and entry.time in {None, held.entry.time}:
                self._held = _Held(one, "both", number)
                return
        self.put()
        self._held = _Held(entry, form, number)

    def holds_body(self, data: bytes) -> bool:
        """Whether the message that waits has this body."""
        match self._held:
            case _Held(entry=LoggedMessage(message=message)):
                return message.body == data
            case _:
                return False


def _one(held: _Message, entry: _Message, form: _Form) -> _Message | None:
    """Two forms of a message as one: its bytes are those of the dump. None when they are two."""
    time, direction = held.time or entry.time, held.direction or entry.direction
    match held, entry:
        case LoggedMessage(message=one), LoggedMessage(message=two):
            systems = {one.system_bytes, two.system_bytes} - {None}
            if (one.stream, one.function, one.body) != (two.stream, two.function, two.body):
                return None
            if len(systems) > 1:
                return None
            message = two if form == "dump" else one
            notes = held.notes or entry.notes
            return replace(held, time=time, direction=direction, message=message, notes=notes)
        case LoggedControl(name=one_name), LoggedControl(name=two_name):
            systems = {held.system_bytes, entry.system_bytes} - {None}
            if one_name.split()[0] != two_name.split()[0] or len(systems) > 1:
                return None
            known = entry if form == "dump" else held
            return replace(known, time=time, direction=direction, line=held.line)
        case _:
            return None
