"""Headers in a line: ``S1F13 W``, ``stream 1, function 13``, and the names of control messages.

Invariants:

* Only the beginning of a line, and of what follows a header, is searched: a long line costs no more
  than its length.
* A line that speaks of a message in a sentence has no message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from hsms_engine.log_reader.entries import (
    CutMessage,
    LoggedMessage,
    LogTime,
    NotUnderstood,
    beginning,
)
from hsms_engine.log_reader.facts import Facts, facts_of, without_facts
from hsms_engine.message import Message
from hsms_engine.secs2 import Item
from hsms_engine.sml import Note
from hsms_engine.wire import PREFIX_BYTES

__all__ = [
    "NEAR",
    "WINDOW",
    "Header",
    "begins_with_header",
    "control_of",
    "find_control",
    "find_header",
    "header_of",
    "is_caption",
    "is_header",
    "next_header",
    "prose_in",
]

WINDOW: Final = 2_000
"""Where a header and an item are looked for in a line."""
NEAR: Final = 300
"""Of what stands before a header, and behind it, so much is looked at."""

_MAX_STREAM: Final = 127
_MAX_FUNCTION: Final = 255
_HEADER: Final = re.compile(
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
# A header that begins its line, or has nothing but signs before it.
_FIRST: Final = re.compile(rf"""[\s<>=#*"'-]*+(?:{_HEADER.pattern})""", re.VERBOSE)
_CONTROL: Final = re.compile(
    r"""
    (?<![\w.]) (?P<name> select | deselect | linktest | link\ test | separate | reject ) [ ._-]?
    (?P<kind> req(?:uest)? | rsp | response | resp ) (?! \w )
    (?: [ .:,(]* (?: status | reason | code )? [ :=]* (?P<status> [0-9]{1,3} ) (?! [\w:.] ) )?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_WITH_STATUS: Final = frozenset({"Select.rsp", "Deselect.rsp", "Reject.req"})
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


@dataclass(slots=True)
class Header:
    """A header, while its item is looked for."""

    line: int
    column: int
    time: LogTime | None
    facts: Facts
    stream: int
    function: int
    text: str
    # What stands between the time of its line and it.
    middle: str
    # What stands before it and behind it.
    before: str
    tail: str
    # Whether it says "stream 1, function 13", and then whether it is that of a control message.
    is_spoken: bool
    is_control: bool

    @property
    def name(self) -> str:
        """``S1F13``."""
        return f"S{self.stream}F{self.function}"

    @property
    def wait(self) -> bool:
        """Whether it has the W-bit, as far as its line and those above say."""
        return bool(self.facts.wait)

    def names(self, stream: int, function: int) -> bool:
        """Whether it is that of a message with these."""
        return (self.stream, self.function) == (stream, function)

    def is_spoken_of(self, found: Header) -> bool:
        """Whether the line below has it once more, in other words."""
        return self.is_spoken and self.names(found.stream, found.function)

    def message(
        self,
        text_encoding: str | None,
        wait: bool,
        item: Item | None = None,
        body: bytes | None = None,
        notes: tuple[Note, ...] = (),
    ) -> LoggedMessage:
        """It with an item, or with a body. Only a primary keeps the W-bit."""
        facts = self.facts
        message = Message(
            self.stream,
            self.function,
            wait and self.function % 2 == 1,
            item,
            body=body,
            session_id=facts.session,
            system_bytes=facts.system,
            text_encoding=text_encoding,
        )
        return LoggedMessage(self.time, facts.direction, message, self.line, notes)

    def alone(self, text_encoding: str | None) -> LoggedMessage | CutMessage | NotUnderstood | None:
        """What it is when no item follows; None when its line only speaks of a message."""
        facts = self.facts
        why = self._missing()
        if why is not None:
            return CutMessage(
                self.time, facts.direction, self.name, self.wait, facts.session, facts.system,
                self.line, why,
            )  # fmt: skip
        if self.is_clean():
            return self.message(text_encoding, self.wait)
        if facts.direction is not None or "<" in self.tail:
            why = f"it names {self.name}, and no item follows"
            return NotUnderstood(self.line, self.column, beginning(self.text), why)
        return None

    def is_clean(self) -> bool:
        """Whether it can be a message without an item, and is not only spoken of."""
        has_fact = self.facts.direction is not None or self.facts.system is not None
        return _is_clean(self.before, self.tail, has_fact)

    def _missing(self) -> str | None:
        """Why its body is not there; None when there may be none."""
        length = _LENGTH.search(without_facts(self.tail))
        if self.is_spoken:
            return "its body is not in the log"
        if length is not None and int(length[1] or length[2]) > PREFIX_BYTES:
            return f"its body is not in the log, which says {length[0].strip()}"
        return None


def find_header(text: str, start: int) -> re.Match[str] | None:
    """The first header in the beginning of ``text[start:]``."""
    found = _HEADER.search(text, start, start + WINDOW)
    if found is None and ("unction" in text or "UNCTION" in text):
        return _WORDS.search(text, start, start + WINDOW)
    return found


def next_header(text: str, start: int, end: int) -> re.Match[str] | None:
    """The header in ``text[start:end]``, behind one that was found; words are not looked for."""
    return _HEADER.search(text, start, end)


def begins_with_header(text: str) -> bool:
    """Whether nothing but signs stands before a header."""
    return _FIRST.match(text) is not None


def is_header(match: re.Match[str]) -> bool:
    """Whether there are streams and functions with these numbers."""
    return int(match["stream"]) <= _MAX_STREAM and int(match["function"]) <= _MAX_FUNCTION


def header_of(match: re.Match[str], number: int, behind: int, lead: str, end: int) -> Header:
    """The header of a match in line ``number``, which goes on up to ``end``.

    ``behind`` is where the time ends, ``lead`` what stands before it.
    """
    text, is_spoken = match.string, match.re is _WORDS
    middle, tail = text[behind : match.start()], text[match.end() : end]
    before = f"{lead}{middle[-NEAR:]}"
    if is_spoken:
        facts = facts_of(before, match[0] + tail)
    else:
        facts = facts_of(before, tail, match["wait"] is not None)
    return Header(
        number, match.start() + 1, None, facts, int(match["stream"]), int(match["function"]),
        text, middle, before, tail, is_spoken, is_spoken and int(match["stype"] or 0) > 0,
    )  # fmt: skip


def is_caption(text: str) -> bool:
    """Whether a line is what stands between a header and its dump or item."""
    return (
        text.rstrip()[-1:] == ":"
        or _LENGTH.search(text) is not None
        or not re.search("[g-zG-Z]", text)
    )


def find_control(text: str) -> re.Match[str] | None:
    """The first name of a control message in the beginning of a line."""
    near = text[:WINDOW].lower()
    if "req" in near or "rsp" in near or "resp" in near:
        return _CONTROL.search(text, 0, WINDOW)
    return None


def control_of(match: re.Match[str], behind: int, above: Facts) -> tuple[str, Facts] | None:
    """The name of the control message, and its facts; None when it is only spoken of.

    ``behind`` is where the time of the line ends, ``above`` what the lines above say.
    """
    text = match.string
    tail = text[match.end() : match.end() + NEAR]
    before = text[behind : match.start()][-NEAR:]
    facts = facts_of(before, tail)
    known = facts | above
    is_known = known.direction is not None or known.system is not None
    if not is_known or not _is_clean(before, tail, True):
        return None
    return _control_name(match), facts


def _control_name(match: re.Match[str]) -> str:
    kind = "req" if match["kind"].lower().startswith("req") else "rsp"
    name = f"{match['name'].replace(' ', '').capitalize()}.{kind}"
    return f"{name} {match['status']}" if match["status"] and name in _WITH_STATUS else name


def _is_clean(before: str, tail: str, has_fact: bool) -> bool:
    """Whether a message is named between these two, and not only spoken of."""
    words = prose_in(before)
    if len(words) >= _A_SENTENCE or not (has_fact or not words):
        return False
    return not tail or tail.isspace() or not _OTHER.search(_bare(tail))


# What stands before messages is the same for many of them.
@lru_cache(maxsize=256)
def prose_in(text: str) -> tuple[str, ...]:
    """The words of a sentence in what stands before a message, without what is known."""
    return tuple(_PROSE.findall(_bare(text)))


def _bare(text: str) -> str:
    return _ASIDE.sub("", _LENGTH.sub(" ", without_facts(text)))
