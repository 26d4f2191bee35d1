"""The records of a log: what the lines above say of the message below, and lines that are JSON.

Invariants:

* What was said above is said of one message.
* Most lines are followed by no message: a line is kept as text, and asked only when one comes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hsms_engine.log_reader.entries import LogTime
from hsms_engine.log_reader.facts import NO_FACTS, Facts, facts_of
from hsms_engine.log_reader.headers import NEAR, prose_in
from hsms_engine.log_reader.stamps import STAMPS, Stamp, epoch_time, find_stamp

__all__ = ["NEIGHBOURS", "Record", "json_object", "json_record", "json_time"]

NEIGHBOURS: Final = 8
"""How far apart lines of one message may be."""

_TEXTS: Final = ("message", "msg", "text", "@m", "log", "event", "Message", "RenderedMessage")
_TIMES: Final = ("time", "timestamp", "@timestamp", "ts", "@t", "asctime", "date", "Timestamp")
# As in a file. Others that Python knows may stand in a string.
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_DIRECTIONS: Final = ("direction", "dir", "Direction")


@dataclass(slots=True)
class Record:
    """What the lines above say, for the message that follows."""

    time: LogTime | None = None
    line: int = 0
    # The text of the first line, without its time.
    text: str = ""
    # What lines below it say.
    more: Facts = NO_FACTS

    @classmethod
    def of(cls, text: str, number: int, stamp: Stamp) -> Record:
        """The record that a line with a time begins."""
        said = f"{text[: stamp.start]} {text[stamp.end : stamp.end + NEAR]}"
        return cls(stamp.time, number, said)

    def add(self, number: int, facts: Facts) -> None:
        """One more line of it says this."""
        self.line, self.more = number, facts | self.more

    def facts(self) -> Facts:
        """All that it says."""
        return self.more | facts_of(self.text) if self.text else self.more

    def take(self, number: int, stamp: Stamp | None, facts: Facts) -> tuple[LogTime | None, Facts]:
        """The time of a message in line ``number``, and its facts with those of the lines above.

        ``stamp`` is the time in that line.
        """
        is_near = number - self.line <= NEIGHBOURS
        if stamp is not None:
            # The line above is a record of its own: only one without other words belongs to it.
            is_near = self.line == number - 1 and not prose_in(self.text)
        if is_near:
            facts |= self.facts()
        if stamp is not None:
            self.time, self.line = stamp.time, number
        self.text, self.more = "", NO_FACTS
        return self.time, facts


def json_object(text: str) -> Mapping[str, object] | None:
    """The object that a line that begins with a brace is; None when it is none."""
    if text.rstrip()[-1] != "}":
        return None
    try:
        found: Mapping[str, object] = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found


def json_record(
    facts: Mapping[str, object], number: int, time: LogTime | None
) -> tuple[Record, list[str]]:
    """What an object says of the message in it, and the lines of text that have the message."""
    lines = _LINE_END.split(_first(facts, _TEXTS))
    return Record(time, number, f"[{_first(facts, _DIRECTIONS)}]"), lines


def json_time(facts: Mapping[str, object], day_first: bool | None) -> LogTime | None:
    """The time of an object, under any of its usual names."""
    for name in _TIMES:
        match facts.get(name):
            case str() as text:
                stamp = find_stamp(text, 0, STAMPS, day_first)
                return None if stamp is None else stamp.time
            case bool() | None:
                pass
            case int() | float() as number:
                whole, _, fraction = f"{number:.6f}".partition(".")
                try:
                    return epoch_time(whole, fraction)
                except (ValueError, OverflowError):
                    return None
            case _:
                pass
    return None


def _first(facts: Mapping[str, object], names: tuple[str, ...]) -> str:
    return next((each for name in names if isinstance(each := facts.get(name), str)), "")
