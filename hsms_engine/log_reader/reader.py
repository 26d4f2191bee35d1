"""Finds messages in the lines of a log: what is a header, what belongs to it, where it ends.

Invariants:

* One pass, one message at a time: the memory is that of the longest message, which has a bound.
  A file is looked through once before, where only its whole tells how something is read.
* A line belongs to one message at most. What is begun and not read becomes ``NotUnderstood``.
* Searches look at the beginning of a line only, so a long line costs no more than its length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from io import BufferedIOBase, RawIOBase
from os import PathLike
from pathlib import Path
from typing import Final, Literal, TypeAlias, assert_never

from hsms_engine.log_reader.dumps import Row, first_row, frames_of, next_row
from hsms_engine.log_reader.entries import (
    CutMessage,
    Entry,
    LoggedControl,
    LoggedMessage,
    LogTime,
    NotUnderstood,
    beginning,
)
from hsms_engine.log_reader.facts import NO_FACTS, Facts, facts_of, without_facts
from hsms_engine.log_reader.lines import Line, byte_lines, text_lines
from hsms_engine.log_reader.own import OwnLog
from hsms_engine.log_reader.stamps import Stamp, day_comes_first, epoch_time, find_stamp
from hsms_engine.log_reader.statement import Piece, Readings, has_bare_hex
from hsms_engine.message import Message
from hsms_engine.protocol.traffic import frame_name
from hsms_engine.secs2 import DecodeError, decode
from hsms_engine.sml import SmlError
from hsms_engine.sml.loose import Binary
from hsms_engine.wire import PREFIX_BYTES, Frame, SType

__all__ = ["MOST_CHARACTERS", "LogReader", "Source", "read_log"]

MOST_CHARACTERS: Final = 1 << 24
"""The most characters of a line, and of a message, unless told otherwise."""

Source: TypeAlias = str | PathLike[str] | RawIOBase | BufferedIOBase | Iterable[str]
"""A path, a stream of bytes, or lines of text."""

# Where a header, an item and a time are looked for in a line.
_WINDOW: Final = 2_000
_STAMPS: Final = 160
# Of what stands before a header, and behind it, so much is looked at.
_NEAR: Final = 300
# Longer lines have words.
_LEAST: Final = 80
# Up to so many bytes, rows of a dump that each have a time are asked whether they are complete.
_SMALL: Final = 4_096
# So many characters at least are a dump.
_A_DUMP: Final = 16
# How many spoilt lines are told.
_MOST_SPOILT: Final = 100
# How far apart two forms of one message may be.
_NEIGHBOURS: Final = 8
_MAX_STREAM: Final = 127
_MAX_FUNCTION: Final = 255

_HEAD: Final = re.compile(
    r"""
    [Ss] (?<! [\w./\\][Ss] ) (?P<stream> [0-9]{1,3} ) [ ]?[,_/]?[ ]?
    [Ff] (?P<function> [0-9]{1,3} ) (?P<wait> [ _-]{0,2} [Ww] (?![\w=:-]) )? (?! \w | \.\w ) ["']?
    """,
    re.VERBOSE,
)
_WORDS: Final = re.compile(
    r"(?i)(?<![a-z])stream\W{0,3}(?P<stream>[0-9]{1,3})\W{1,4}function\W{0,3}(?P<function>[0-9]{1,3})"
    r"(?![0-9])(?:.{0,60}?s_?type\W{0,3}(?:0x)?(?P<stype>[0-9]{1,3}))?"
)
_ITEM: Final = re.compile(
    r"""
    < \s*+ (?: L | A | J | C | V | B | BI | BIN | BINARY | BOOL | BOOLEAN | LIST | ASCII | JIS8
             | [UIF][1248] | U?INT[1248] | FLOAT[48] ) (?= [\s\[>,("'0-9<=-] | $ )
    """,
    re.VERBOSE | re.IGNORECASE,
)
# An item of a language without brackets around it.
_TREE: Final = re.compile(
    r"[\s|+`-]*(?P<type>L|A|B|J|BOOLEAN|LIST|ASCII|BINARY|[UIF][1248]|U?INT[1248])\s*[,\[(:]\s*[0-9]"
)
# A header that begins its line, or has nothing but signs before it.
_LINE_HEAD: Final = re.compile(rf"""[\s<>=#*"'-]*+(?:{_HEAD.pattern})""", re.VERBOSE)
_CONTROL: Final = re.compile(
    r"""
    (?<![\w.]) (?P<name> select | deselect | linktest | link\ test | separate | reject ) [ ._-]?
    (?P<kind> req(?:uest)? | rsp | response | resp ) (?! \w )
    (?: [ .:,(]* (?: status | reason | code )? [ :=]* (?P<status> [0-9]{1,3} ) (?! [\w:.] ) )?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_LENGTH: Final = re.compile(
    r"(?i)(?<![a-z])(?:length|len|size|bytes)\s*[:=]\s*([0-9]{1,10})(?![\w.])"
    r"|(?<![\w.])([0-9]{1,10}) bytes"
)
_ASIDE: Final = re.compile(r"\([^()]*\)|\[[^][]*\]|\{[^{}]*\}|[\w.-]+\s*=\s*\S+")
_PROSE: Final = re.compile(r"(?<![\w.])[a-z]{2,}+(?![\w.:(\[/=@-])")
# So many such words before a message speak of it.
_A_SENTENCE: Final = 2
# A word of a sentence behind a message, or an item that is none.
_OTHER: Final = re.compile(r"<|(?<![\w.])(?!(?:of|to|the|for|and|you|from|in)\b)[a-z]\w*")
# A line of SML as it is written mostly: one leaf, the beginning of a list, or its end.
_PLAIN: Final = re.compile(
    r"""\s*+(?:<[A-Z][A-Z0-9]*+(?:\s*+\[[0-9]++\])?+(?:[^<>"'/]*+|\s*+"[^"\n]*+"\s*+)(?:(?P<leaf>>)|(?P<list>$))
    |(?P<end>>)[\s.]*+$)\s*+$""",
    re.VERBOSE,
)
_STEPS: Final = {"leaf": 0, "list": 1, "end": -1}
# What opens and closes items, and what has such signs without meaning them.
_SIGN: Final = re.compile(r""""[^"\n]*"|'[^'\n]*'|/\*.*?\*/|//[^\n]*|["'<>]""")
_QUOTES: Final = re.compile(r"""["']|/[/*]""")
_CLOSING: Final = re.compile(r"[^<>]*>[\s>.;]*")
_TEXTS: Final = ("message", "msg", "text", "@m", "log", "event", "Message", "RenderedMessage")
_TIMES: Final = ("time", "timestamp", "@timestamp", "ts", "@t", "asctime", "date", "Timestamp")
_DIRECTIONS: Final = ("direction", "dir", "Direction")

_Kind: TypeAlias = Literal["sml", "dump", "both"]


@dataclass(slots=True)
class _Record:
    """What the lines above say, for the message that follows. Most lines are never asked."""

    time: LogTime | None
    line: int
    # The text of the first line, without its time.
    text: str
    # What lines below it say.
    more: Facts

    def facts(self) -> Facts:
        return self.more | facts_of(self.text) if self.text else self.more

    def is_bare(self) -> bool:
        """Whether there is nothing in it but facts."""
        return not _words(self.text)


@dataclass(slots=True)
class _Head:
    """A header, while its item is looked for."""

    line: int
    column: int
    time: LogTime | None
    facts: Facts
    stream: int
    function: int
    text: str
    middle: str
    # What stands before it and behind it.
    before: str
    tail: str
    # Whether it says "stream 1, function 13".
    is_spoken: bool

    @property
    def name(self) -> str:
        return f"S{self.stream}F{self.function}"

    def missing(self) -> str | None:
        """Why its body is not there; None when there may be none."""
        length = _LENGTH.search(without_facts(self.tail))
        if self.is_spoken:
            return "its body is not in the log"
        if length is not None and int(length[1] or length[2]) > PREFIX_BYTES:
            return f"its body is not in the log, which says {length[0].strip()}"
        return None

    def is_clean(self) -> bool:
        """Whether it can be a message without an item, and is not only spoken of."""
        has_fact = self.facts.direction is not None or self.facts.system is not None
        return _is_clean(self.before, self.tail, has_fact)


@dataclass(slots=True)
class _Item:
    """An item whose end is not read yet. Without a head, it is passed over."""

    head: _Head | None
    piece: Piece
    depth: int = 0
    # The quote of a string that goes over the end of its line.
    quote: str = ""
    # What its latest line has between time and item.
    lead: str = ""


@dataclass(slots=True)
class _Dump:
    head: _Head | None
    line: int
    column: int
    time: LogTime | None
    facts: Facts
    text: str
    middle: str
    rows: list[Row]
    size: int = 0

    def data(self) -> bytes:
        """The bytes. A row ends where the next begins, whatever its column of text looks like."""
        pieces: list[bytes] = []
        for row, after in zip(self.rows, [*self.rows[1:], None], strict=True):
            width = len(row.data)
            if after is not None and row.offset is not None and after.offset is not None:
                distance = after.offset - row.offset
                width = distance if 0 < distance < width else width
            pieces.append(row.data[:width])
        return b"".join(pieces)


@dataclass(slots=True)
class _Held:
    """A message that may follow once more, in another form."""

    entry: LoggedMessage | LoggedControl
    kind: _Kind
    line: int


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


class LogReader(Iterator[Entry]):
    """The entries of one log, in its order. ``counts`` grows while it is read."""

    def __init__(
        self,
        source: Source,
        *,
        day_first: bool | None = None,
        encoding: str = "utf-8",
        binary: Binary | None = None,
        escapes: bool = False,
        most_characters: int = MOST_CHARACTERS,
    ) -> None:
        self.counts = LogCounts()
        self._entries = self._read(
            partial(_lines, source, encoding, most_characters),
            _Scanner(self.counts, day_first, Readings(binary, escapes, False), most_characters),
            isinstance(source, str | PathLike),
        )

    def __iter__(self) -> LogReader:
        return self

    def __next__(self) -> Entry:
        return next(self._entries)

    def _read(
        self, lines: Callable[[ExitStack], Iterator[Line]], scanner: _Scanner, is_file: bool
    ) -> Iterator[Entry]:
        with ExitStack() as stack:
            if is_file:
                scanner.look_through(each.text for each in lines(stack))
            for line in lines(stack):
                if scanner.feed(line):
                    yield from scanner.taken()
            scanner.end()
            yield from scanner.taken()


def read_log(
    source: Source,
    *,
    day_first: bool | None = None,
    encoding: str = "utf-8",
    binary: Binary | None = None,
    escapes: bool = False,
    most_characters: int = MOST_CHARACTERS,
) -> LogReader:
    """The messages in a log: those of this package exactly, those of others as far as is clear.

    ``source`` is a path, a stream of bytes, or lines of text. Nothing in a log raises; what cannot
    be read is an entry as well. ``day_first`` says how ``03/04/2026`` is read; without it a file
    decides where one of the two is above 12, and other sources up to the line. ``encoding`` is for
    bytes without a byte order mark; ``binary`` and ``escapes`` are as in ``sml.load``. A line, and
    a message, may have ``most_characters``.

    Iterating raises ``OSError`` when a file cannot be read, ``LookupError`` for an unknown
    encoding.
    """
    return LogReader(
        source,
        day_first=day_first,
        encoding=encoding,
        binary=binary,
        escapes=escapes,
        most_characters=most_characters,
    )


def _lines(source: Source, encoding: str, longest: int, stack: ExitStack) -> Iterator[Line]:
    match source:
        case str() | PathLike():
            return byte_lines(stack.enter_context(Path(source).open("rb")).read, encoding, longest)
        case RawIOBase() | BufferedIOBase():
            return byte_lines(lambda size: source.read(size) or b"", encoding, longest)
        case _:
            return text_lines(source, longest)


class _Scanner:
    """Takes lines, and gives entries."""

    def __init__(
        self, counts: LogCounts, day_first: bool | None, readings: Readings, longest: int
    ) -> None:
        self._counts = counts
        self._day_first = day_first
        self._readings = readings
        self._longest = longest
        self._own = OwnLog()
        self._record = _Record(None, 0, "", NO_FACTS)
        self._head: _Head | None = None
        self._item: _Item | None = None
        self._dump: _Dump | None = None
        self._held: _Held | None = None
        self._is_date_told = False
        # Where in the line another message may begin.
        self._next: int | None = None
        self._out: list[Entry] = []

    # Lines in, entries out

    def look_through(self, lines: Iterable[str]) -> None:
        """Learn from a whole file what single lines do not tell."""
        is_told = self._day_first is not None
        for text in lines:
            if not self._readings.has_hex and has_bare_hex(text[:_WINDOW]):
                self._readings.has_hex = True
            if not is_told:
                self._day_first = day_comes_first((text,))
                is_told = self._day_first is not None

    def taken(self) -> list[Entry]:
        """The entries since it was asked for the last time."""
        out, self._out = self._out, []
        for entry in out:
            match entry:
                case LoggedMessage():
                    self._counts.messages += 1
                case LoggedControl():
                    self._counts.controls += 1
                case CutMessage():
                    self._counts.cut_messages += 1
                case NotUnderstood():
                    self._counts.not_understood += 1
                case _:
                    assert_never(entry)
        return out

    def feed(self, line: Line) -> bool:
        """Take one line. Whether there are entries now."""
        number, text, problem = line
        self._counts.lines = number
        if problem is not None:
            self._spoilt(line, problem)
        self._line(text, number)
        return bool(self._out)

    def end(self) -> None:
        """There are no more lines."""
        self._finish()
        self._release()
        self._out += self._own.end()

    def _spoilt(self, line: Line, problem: str) -> None:
        self._counts.spoilt_lines += 1
        if self._counts.spoilt_lines <= _MOST_SPOILT:
            self._tell(line.number, 1, line.text, problem)

    def _tell(self, line: int, column: int, text: str, why: str) -> None:
        self._release()
        self._out.append(NotUnderstood(line, column, beginning(text), why))

    # One line

    def _line(self, text: str, number: int) -> None:
        self._next = None
        is_taken = self._item is not None and self._continues_item(text, number)
        # A short line without a word is the end of a message, or nothing.
        if not is_taken and (len(text) > _LEAST or text.strip(" \t.;>")):
            if text[0] == "{" and text.rstrip()[-1] == "}" and self._json(text, number):
                return
            self._next = 0
        while (start := self._next) is not None:
            self._next = None
            self._scan(text, number, start)

    def _scan(self, text: str, number: int, start: int) -> None:
        """Find what ``text[start:]`` is."""
        head = _head_in(text, start)
        item = _ITEM.search(text, start, start + _WINDOW)
        limit = min(len(text), start + _STAMPS)
        for each in (head, item):
            if each is not None:
                limit = min(limit, each.start())
        stamp = None
        if start == 0:
            stamp = find_stamp(text, 0, limit, self._day_first)
            own = self._own.line(text, number, stamp)
            if own is not None:
                self._finish()
                self._release()
                self._out += own
                return
        if self._dump is not None and self._continues_dump(text, stamp):
            return
        if stamp is not None and stamp.is_doubtful and not self._is_date_told:
            self._is_date_told = True
            self._tell(
                number,
                stamp.start + 1,
                text[stamp.start :],
                "the date may be day first or month first, so only the time of day is read: say "
                "day_first",
            )
        if head is not None and (item is None or head.start() < item.start()):
            self._found_head(text, number, stamp, start, head, item)
        elif item is not None:
            self._found_item(text, number, 0 if stamp is None else stamp.end, item)
        else:
            self._found_none(text, number, stamp, start)

    def _found_none(self, text: str, number: int, stamp: Stamp | None, start: int) -> None:
        """A line without header and item: a dump, a control message, facts or anything else."""
        behind = start if stamp is None else stamp.end
        row = first_row(text, behind)
        if row is not None:
            self._begin_dump(text, number, stamp, row)
            return
        near = text[start : start + _WINDOW].lower()
        control = (
            _CONTROL.search(near) if "req" in near or "rsp" in near or "resp" in near else None
        )
        if control is not None and self._found_control(text, number, stamp, control):
            return
        if self._head is not None and (tree := _TREE.match(text, behind)):
            head, self._head = self._head, None
            why = f"{head.name}: an item without angle brackets is none of SML"
            self._tell(number, tree.start("type") + 1, text, why)
            return
        if stamp is None:
            facts = facts_of(text[:_NEAR])
            if self._head is not None and (facts != NO_FACTS or _is_caption(text)):
                self._head.facts |= facts
                return
            self._finish()
            if facts != NO_FACTS:
                self._record.line = number
                self._record.more = facts | self._record.more
        else:
            self._finish()
            self._release()
            self._begin_record(text, number, stamp)

    def _begin_record(self, text: str, number: int, stamp: Stamp) -> None:
        said = f"{text[: stamp.start]} {text[stamp.end : stamp.end + _NEAR]}"
        self._record = _Record(stamp.time, number, said, NO_FACTS)

    # Headers

    def _found_head(
        self,
        text: str,
        number: int,
        stamp: Stamp | None,
        start: int,
        head: re.Match[str],
        item: re.Match[str] | None,
    ) -> None:
        stream, function = int(head["stream"]), int(head["function"])
        if stream > _MAX_STREAM or function > _MAX_FUNCTION:
            self._finish()
            self._counts.mentions += 1
            return
        end = item.start() if item is not None else len(text)
        after = _HEAD.search(text, head.end(), min(end, head.end() + _NEAR))
        if after is not None:
            end, item = after.start(), None
        tail = text[head.end() : min(end, head.end() + _NEAR)]
        behind = start if stamp is None else stamp.end
        middle = text[behind : head.start()]
        before = middle[-_NEAR:] if stamp is None else f"{text[: stamp.start]} {middle[-_NEAR:]}"
        is_spoken = head.re is _WORDS
        facts = facts_of(before, tail, not is_spoken and head["wait"] is not None)
        if is_spoken:
            facts = facts_of(before, head[0] + tail)
            if int(head["stype"] or 0):
                # The line below names the control message.
                self._finish()
                if stamp is not None:
                    self._begin_record(text, number, stamp)
                self._record.line, self._record.more = number, facts
                return
        if stamp is None and start == 0 and tail:
            stamp = find_stamp(tail, 0, len(tail), self._day_first)
        found = _Head(
            number, head.start() + 1, None, facts, stream, function, text, middle, before, tail,
            is_spoken,
        )  # fmt: skip
        waiting = self._head
        if stamp is None and waiting is not None and _is_same(waiting, found):
            found.line, found.column, found.time = waiting.line, waiting.column, waiting.time
            found.facts |= waiting.facts
        else:
            self._finish()
            found.time, found.facts = self._with_record(number, stamp, facts)
        self._head = found
        if item is not None:
            self._begin_item(text, number, item.start())
        elif after is not None:
            self._finish()
            self._next = after.start()
        elif tail.rstrip()[-1:] == "." and found.is_clean():
            self._finish()
        elif len(tail) >= _A_DUMP and (row := first_row(text, head.end())) is not None:
            self._begin_dump(text, number, stamp, row)

    def _with_record(
        self, number: int, stamp: Stamp | None, facts: Facts
    ) -> tuple[LogTime | None, Facts]:
        """The time of a message, and its facts with those of the lines above."""
        record = self._record
        is_near = number - record.line <= _NEIGHBOURS
        if stamp is not None:
            # The line above is a record of its own: only one without other words belongs to it.
            is_near = record.line == number - 1 and record.is_bare()
            self._record = _Record(stamp.time, number, "", NO_FACTS)
        if is_near:
            facts |= record.facts()
        # What was said above is said of one message.
        record.text, record.more = "", NO_FACTS
        return self._record.time, facts

    def _found_control(
        self, text: str, number: int, stamp: Stamp | None, control: re.Match[str]
    ) -> bool:
        """Whether a line is a control message, and not only speaks of one."""
        behind = 0 if stamp is None else stamp.end
        tail = text[control.end() : control.end() + _NEAR]
        before = text[behind : control.start()][-_NEAR:]
        facts = facts_of(before, tail)
        above = self._record.facts() if stamp is None else NO_FACTS
        is_known = (facts | above).direction is not None or (facts | above).system is not None
        if not is_known or not _is_clean(before, tail, True):
            return False
        self._finish()
        time, facts = self._with_record(number, stamp, facts)
        name = _control_name(control)
        entry = LoggedControl(time, facts.direction, name, facts.session, facts.system, number)
        self._hold(entry, "sml", number)
        return True

    # Items

    def _found_item(self, text: str, number: int, behind: int, item: re.Match[str]) -> None:
        """A line with an item: that of the header above, or of none."""
        if self._head is None and not item[0][1:].strip().isupper():
            # A tag of another language.
            return
        self._finish_dump()
        self._begin_item(text, number, item.start(), text[behind : item.start()].rstrip())

    def _begin_item(self, text: str, number: int, start: int, lead: str = "") -> None:
        head, self._head = self._head, None
        if head is None:
            self._finish()
            self._tell(number, start + 1, text[start:], "an item without a header")
        name, wait = ("", False) if head is None else (head.name, bool(head.facts.wait))
        self._item = _Item(head, Piece(name, wait), lead=lead)
        self._grow(self._item, text, number, start)

    def _grow(self, item: _Item, text: str, number: int, start: int) -> None:
        """Take ``text[start:]`` up to the end of the item, and go on behind it."""
        stop = _end_of_item(item, text, start)
        if item.head is not None:
            piece = text[start:] if stop is None else text[start:stop]
            item.piece.add(piece, number, start)
            if item.piece.size > self._longest:
                self._item = _Item(None, Piece("", False), item.depth, item.quote)
                why = f"the message has more than {self._longest} characters"
                self._tell(item.head.line, item.head.column, item.head.text, why)
        if stop is not None:
            self._finish_item(number)
            if stop < len(text) and _head_in(text, stop) is not None:
                self._next = stop

    def _continues_item(self, text: str, number: int) -> bool:
        """Whether a line belongs to the item that is open; if so, it is taken."""
        item = self._item
        assert item is not None  # asked before
        plain = _PLAIN.match(text) if item.depth and not item.quote else None
        if plain is not None and item.head is not None and item.piece.size < self._longest:
            item.piece.add(text, number, 0)
            item.depth += _STEPS[plain.lastgroup or ""]
            if not item.depth:
                self._finish_item(number)
            return True
        start = self._continuation(item, text)
        if start is None:
            self._finish_item(number)
            return False
        if item.quote or start < len(text):
            self._grow(item, text, number, start)
        return True

    def _continuation(self, item: _Item, text: str) -> int | None:
        """Where in a line the open item goes on; None when the line is something else."""
        plain = text.lstrip()
        indent = len(text) - len(plain)
        match = _ITEM.search(text, 0, _WINDOW)
        if match is not None and match.start() == indent:
            return 0
        if not plain:
            return 0 if item.quote else len(text)
        head = _head_in(text, 0)
        if plain[0] == ">" and head is None:
            return 0
        limit = min(
            _STAMPS, *(each.start() for each in (match, head) if each is not None), len(text)
        )
        stamp = find_stamp(text, 0, limit, self._day_first)
        behind = 0 if stamp is None else stamp.end
        middle = "" if item.head is None else item.head.middle
        # The header may have a direction between the prefix of all lines and its name.
        middle = next((each for each in (item.lead, middle) if text.startswith(each, behind)), "")
        is_alike = bool(middle.strip())
        behind += len(middle)
        if head is not None and (match is None or head.start() < match.start()):
            is_new = stamp is not None or is_alike or _LINE_HEAD.match(text)
            return None if is_new or not item.quote else 0
        if stamp is None and not is_alike:
            lead = text[: match.start()] if match is not None else ""
            return len(lead) if not re.search("[>\"']", lead) and not item.quote else 0
        if match is not None and ">" not in text[behind : match.start()]:
            item.lead = text[behind : match.start()].rstrip() if not is_alike else item.lead
            return match.start()
        if _CLOSING.fullmatch(text, behind):
            return behind if is_alike else text.index(">", behind)
        return None

    def _finish_item(self, number: int) -> None:
        """The item is complete, or what follows is something else."""
        item, self._item = self._item, None
        if item is None or item.head is None:
            return
        head = item.head
        try:
            wait, body, notes = self._readings.read(item.piece)
        except SmlError as error:
            self._tell(error.line, error.column, error.source, f"{head.name}: {error.problem}")
            return
        message = Message(
            head.stream,
            head.function,
            wait,
            body,
            session_id=head.facts.session,
            system_bytes=head.facts.system,
        )
        entry = LoggedMessage(head.time, head.facts.direction, message, head.line, notes)
        self._hold(entry, "sml", number)

    def _finish(self) -> None:
        """What is open ends here."""
        self._finish_item(self._counts.lines)
        self._finish_dump()
        head, self._head = self._head, None
        if head is None:
            return
        facts = head.facts
        if (missing := head.missing()) is not None:
            self._release()
            cut = CutMessage(
                head.time, facts.direction, head.name, bool(facts.wait), facts.session,
                facts.system, head.line, missing,
            )  # fmt: skip
            self._out.append(cut)
        elif head.is_clean():
            message = Message(
                head.stream,
                head.function,
                bool(facts.wait) and head.function % 2 == 1,
                session_id=facts.session,
                system_bytes=facts.system,
            )
            entry = LoggedMessage(head.time, facts.direction, message, head.line)
            self._hold(entry, "sml", head.line)
        elif facts.direction is not None or "<" in head.tail:
            why = f"it names {head.name}, and no item follows"
            self._tell(head.line, head.column, head.text, why)
        else:
            self._counts.mentions += 1

    # Dumps

    def _begin_dump(self, text: str, number: int, stamp: Stamp | None, row: Row) -> None:
        head, self._head = self._head, None
        if head is None or head.line != number:
            # The header is of this dump only when nothing is between them.
            self._finish_dump()
        behind = 0 if stamp is None else stamp.end
        middle = text[behind : row.start]
        facts = facts_of(middle[-_NEAR:])
        if head is not None:
            time, facts = head.time, facts | head.facts
        else:
            time, facts = self._with_record(number, stamp, facts)
        self._dump = _Dump(head, number, row.start + 1, time, facts, text, middle, [row])
        self._dump.size = len(row.data)

    def _continues_dump(self, text: str, stamp: Stamp | None) -> bool:
        """Whether a line is the next row of the dump; if so, it is taken."""
        dump = self._dump
        assert dump is not None  # asked before
        behind = 0 if stamp is None else stamp.end
        is_alike = text.startswith(dump.middle, behind)
        if is_alike:
            behind += len(dump.middle)
        first, last = dump.rows[0], dump.rows[-1]
        has_offset = first.offset is not None
        row = next_row(text, behind, has_offset)
        if row is None or (has_offset and not row.offset):
            return False
        is_next = has_offset or (
            len(last.data) == len(first.data) >= len(row.data)
            and (
                stamp is None
                or (is_alike and (dump.size > _SMALL or frames_of(dump.data()) is None))
            )
        )
        if not is_next:
            return False
        dump.rows.append(row)
        dump.size += len(row.data)
        if dump.size > self._longest:
            self._dump = None
            self._tell(
                dump.line, dump.column, dump.text, f"the dump has more than {self._longest} bytes"
            )
        return True

    def _finish_dump(self) -> None:
        dump, self._dump = self._dump, None
        if dump is None:
            return
        data = dump.data()
        found = frames_of(data)
        if found is None:
            self._body_only(dump, data)
            return
        head = dump.head
        if head is not None and not any(_is_of(frame, head) for frame in found.frames):
            self._head = head
            self._finish()
        for frame in found.frames:
            self._hold(_entry(frame, dump), "dump", self._counts.lines)
        if found.rest:
            why = f"{len(found.rest)} bytes of the dump are behind its last whole frame"
            self._tell(dump.line, dump.column, found.rest.hex(" "), why)

    def _body_only(self, dump: _Dump, data: bytes) -> None:
        """A dump that is no frame: it may be the body of the header above, or show it again."""
        head, held = dump.head, self._held
        if head is not None and _is_item(data):
            message = Message.received(
                head.stream, head.function, bool(head.facts.wait), data, 0, 0
            )
            message = _with(message, head.facts)
            self._hold(
                LoggedMessage(head.time, dump.facts.direction, message, head.line),
                "both",
                dump.line,
            )
            return
        if head is None and held is not None and isinstance(held.entry, LoggedMessage) and (
            held.entry.message.body == data
        ):  # fmt: skip
            return
        if head is not None:
            self._head = head
            self._finish()
        self._tell(
            dump.line, dump.column, dump.text, f"a dump of {len(data)} bytes that is no frame"
        )

    # One message in two forms

    def _hold(self, entry: LoggedMessage | LoggedControl, kind: _Kind, number: int) -> None:
        held = self._held
        if held is not None and {kind, held.kind} == {"sml", "dump"}:
            is_near = entry.line - held.line <= _NEIGHBOURS
            one = _one(held.entry, entry, kind) if is_near else None
            if one is not None and entry.time in {None, held.entry.time}:
                self._held = _Held(one, "both", number)
                return
        self._release()
        self._held = _Held(entry, kind, number)

    def _release(self) -> None:
        """No other form of the latest message follows."""
        held, self._held = self._held, None
        if held is not None:
            self._out.append(held.entry)

    # Records of JSON

    def _json(self, text: str, number: int) -> bool:
        """Whether a line is a record of JSON; if so, it is taken."""
        try:
            # What begins with a brace is an object.
            facts: Mapping[str, object] = json.loads(text)
        except (ValueError, RecursionError):
            return False
        time = self._json_time(facts)
        own = self._own.record(facts, number, time)
        self._finish()
        self._release()
        if own is not None:
            self._out += own
            return True
        said = next((each for name in _TEXTS if isinstance(each := facts.get(name), str)), "")
        way = next((each for name in _DIRECTIONS if isinstance(each := facts.get(name), str)), "")
        self._record = _Record(time, number, f"[{way}]", NO_FACTS)
        for line in said.splitlines():
            self._line(line, number)
        self._finish()
        self._record = _Record(None, number, "", NO_FACTS)
        return True

    def _json_time(self, facts: Mapping[str, object]) -> LogTime | None:
        for name in _TIMES:
            match facts.get(name):
                case str() as text:
                    stamp = find_stamp(text, 0, _STAMPS, self._day_first)
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


def _is_clean(before: str, tail: str, has_fact: bool) -> bool:
    """Whether a message is named between these two, and not only spoken of."""
    words = _words(before)
    if len(words) >= _A_SENTENCE or not (has_fact or not words):
        return False
    return not tail or tail.isspace() or not _OTHER.search(_bare(tail))


# What stands before messages is the same for many of them.
@lru_cache(maxsize=256)
def _words(text: str) -> tuple[str, ...]:
    """The words of a sentence in what stands before a message, without what is known."""
    return tuple(_PROSE.findall(_bare(text)))


def _bare(text: str) -> str:
    return _ASIDE.sub("", _LENGTH.sub(" ", without_facts(text)))


def _is_same(waiting: _Head, found: _Head) -> bool:
    """Whether a header is that of the line above in other words."""
    return waiting.is_spoken and (waiting.stream, waiting.function) == (
        found.stream,
        found.function,
    )


def _is_caption(text: str) -> bool:
    """Whether a line is what stands between a header and its dump or item."""
    return (
        text.rstrip()[-1:] == ":"
        or _LENGTH.search(text) is not None
        or not re.search("[g-zG-Z]", text)
    )


def _head_in(text: str, start: int) -> re.Match[str] | None:
    """The first header in the beginning of ``text[start:]``."""
    found = _HEAD.search(text, start, start + _WINDOW)
    if found is None and ("unction" in text or "UNCTION" in text):
        return _WORDS.search(text, start, start + _WINDOW)
    return found


def _end_of_item(item: _Item, text: str, start: int) -> int | None:
    """Behind the end of the item, if it is in ``text[start:]``; keeps how many are open."""
    at = start
    if item.quote:
        close = text.find(item.quote, start)
        if close < 0:
            return None
        item.quote, at = "", close + 1
    elif item.depth and item.depth > text.count(">", start) and not _QUOTES.search(text, start):
        item.depth += text.count("<", start) - text.count(">", start)
        return None
    for match in _SIGN.finditer(text, at):
        match match[0]:
            case "<":
                item.depth += 1
            case ">":
                item.depth -= 1
                if item.depth <= 0:
                    return match.end()
            case '"' | "'" as quote if ">" not in text[match.end() :]:
                item.quote = quote
                return None
            case _:
                pass
    return None


def _control_name(control: re.Match[str]) -> str:
    kind = "req" if control["kind"].lower().startswith("req") else "rsp"
    name = f"{control['name'].replace(' ', '').capitalize()}.{kind}"
    has_status = name in {"Select.rsp", "Deselect.rsp", "Reject.req"}
    return f"{name} {control['status']}" if control["status"] and has_status else name


def _entry(frame: Frame, dump: _Dump) -> LoggedMessage | LoggedControl:
    head = dump.head
    line = dump.line if head is None or not _is_of(frame, head) else head.line
    direction = dump.facts.direction
    if frame.stype != SType.DATA:
        name = frame_name(frame)
        return LoggedControl(dump.time, direction, name, frame.session_id, frame.system_bytes, line)
    message = Message.received(
        frame.stream, frame.function, frame.wait, frame.body, frame.session_id, frame.system_bytes
    )
    return LoggedMessage(dump.time, direction, message, line)


def _is_of(frame: Frame, head: _Head) -> bool:
    return frame.stype == SType.DATA and (frame.stream, frame.function) == (
        head.stream,
        head.function,
    )


def _is_item(data: bytes) -> bool:
    try:
        decode(data)
    except DecodeError:
        return False
    return True


def _with(message: Message, facts: Facts) -> Message:
    """The message with the session and the system bytes that the log shows, if it does."""
    return Message(
        message.stream,
        message.function,
        message.wait and message.is_primary,
        body=message.body,
        session_id=facts.session,
        system_bytes=facts.system,
    )


def _one(
    held: LoggedMessage | LoggedControl, entry: LoggedMessage | LoggedControl, kind: _Kind
) -> LoggedMessage | LoggedControl | None:
    """Two forms of a message as one: its bytes are those of the dump. None when they are two."""
    match held, entry:
        case LoggedMessage(message=one), LoggedMessage(message=two):
            systems = {one.system_bytes, two.system_bytes} - {None}
            if (one.stream, one.function, one.body) != (two.stream, two.function, two.body):
                return None
            if len(systems) > 1:
                return None
            message = two if kind == "dump" else one
            return replace(
                held,
                time=held.time or entry.time,
                direction=held.direction or entry.direction,
                message=message,
                notes=held.notes or entry.notes,
            )
        case LoggedControl(name=one_name), LoggedControl(name=two_name):
            systems = {held.system_bytes, entry.system_bytes} - {None}
            if one_name.split()[0] != two_name.split()[0] or len(systems) > 1:
                return None
            known = entry if kind == "dump" else held
            return replace(
                known,
                time=held.time or entry.time,
                direction=held.direction or entry.direction,
                line=held.line,
            )
        case _:
            return None
