"""The SML of one message, gathered over the lines of a log.

Invariants:

* How many items are open, and in which string, is all that is known of the lines that were taken:
  each line is looked at once.
* A line is the item's when it is SML, or begins as the line before it did. With a time, a header or
  another word at its beginning it is something else, and the item ends there, complete or not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from hsms_engine.log_reader.headers import WINDOW, Header, begins_with_header, find_header
from hsms_engine.log_reader.stamps import STAMPS, find_stamp
from hsms_engine.log_reader.statement import Piece

__all__ = ["OpenItem", "find_item", "item_without_brackets"]

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
# What no line has before an item that goes on.
_INSIDE: Final = re.compile("[>\"']")


def find_item(text: str, start: int) -> re.Match[str] | None:
    """The first item in the beginning of ``text[start:]``."""
    return _ITEM.search(text, start, start + WINDOW)


def item_without_brackets(text: str, start: int) -> int | None:
    """Where an item of another language begins, if ``text[start:]`` is one."""
    match = _TREE.match(text, start)
    return None if match is None else match.start("type")


@dataclass(slots=True)
class OpenItem:
    """An item whose end is not read yet. Without a header, it is passed over."""

    header: Header | None
    piece: Piece
    depth: int = 0
    # The quote of a string that goes over the end of its line.
    quote: str = ""
    # What its latest line has between time and item.
    lead: str = ""

    def take_plain(self, text: str, number: int) -> bool:
        """Take a line as it is written mostly; False when it is not one."""
        plain = _PLAIN.match(text) if self.depth and not self.quote else None
        if plain is None:
            return False
        self.piece.add(text, number, 0)
        self.depth += _STEPS[plain.lastgroup or ""]
        return True

    def take(self, text: str, number: int, start: int) -> int | None:
        """Take ``text[start:]`` up to the end of the item; where it ends, None when it goes on."""
        stop = self._end(text, start)
        if self.header is not None:
            self.piece.add(text[start:] if stop is None else text[start:stop], number, start)
        return stop

    def continuation(self, text: str, day_first: bool | None) -> int | None:
        """Where in a line the item goes on; None when the line is something else."""
        plain = text.lstrip()
        indent = len(text) - len(plain)
        match = find_item(text, 0)
        if match is not None and match.start() == indent:
            return 0
        if not plain:
            return 0 if self.quote else len(text)
        header = find_header(text, 0)
        if plain[0] == ">" and header is None:
            return 0
        limit = min(
            STAMPS, *(each.start() for each in (match, header) if each is not None), len(text)
        )
        stamp = find_stamp(text, 0, limit, day_first)
        behind = 0 if stamp is None else stamp.end
        middle = self._middle(text, behind)
        is_alike = bool(middle.strip())
        behind += len(middle)
        if header is not None and (match is None or header.start() < match.start()):
            is_new = stamp is not None or is_alike or begins_with_header(text)
            return None if is_new or not self.quote else 0
        if stamp is None and not is_alike:
            lead = text[: match.start()] if match is not None else ""
            return len(lead) if not _INSIDE.search(lead) and not self.quote else 0
        if match is not None and ">" not in text[behind : match.start()]:
            self.lead = text[behind : match.start()].rstrip() if not is_alike else self.lead
            return match.start()
        if _CLOSING.fullmatch(text, behind):
            return behind if is_alike else text.index(">", behind)
        return None

    def _middle(self, text: str, behind: int) -> str:
        """What the line has there as the lines before it have."""
        # The header may have a direction between the prefix of all lines and its name.
        leads = (self.lead, "" if self.header is None else self.header.middle)
        return next((each for each in leads if text.startswith(each, behind)), "")

    def _end(self, text: str, start: int) -> int | None:
        """Behind the end of the item, if it is in ``text[start:]``; keeps how many are open."""
        at = start
        if self.quote:
            close = text.find(self.quote, start)
            if close < 0:
                return None
            self.quote, at = "", close + 1
        elif self.depth and self.depth > text.count(">", start) and not _QUOTES.search(text, start):
            self.depth += text.count("<", start) - text.count(">", start)
            return None
        for match in _SIGN.finditer(text, at):
            match match[0]:
                case "<":
                    self.depth += 1
                case ">":
                    self.depth -= 1
                    if self.depth <= 0:
                        return match.end()
                case '"' | "'" as quote if ">" not in text[match.end() :]:
                    self.quote = quote
                    return None
                case _:
                    pass
        return None
