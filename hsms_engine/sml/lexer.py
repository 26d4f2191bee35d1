"""SML text as tokens.

Blanks, line ends, ``/* ... */``, ``// ...`` and ``# ...`` separate tokens and have no meaning. One
regular expression defines the tokens. It never looks back, so the time is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hsms_engine.sml.errors import SmlError

_TOKEN: Final = re.compile(
    r"""
      (?P<blank>   [\s\ufeff]+ | /\*(?s:.*?)\*/ | //[^\n]* | \#[^\n]* )
    | (?P<string>  "[^"\n]*" | '[^'\n]*' )
    | (?P<count>   \[\s*(?:[0-9]{1,9}\s*(?:\.\.\s*(?:[0-9]{1,9}\s*)?)?
                        |\.\.\s*[0-9]{1,9}\s*)\] )
    | (?P<wait>    \[[Ww]\] )
    | (?P<repeat>  \.\.\.(?:\$(?:(?:\*|[0-9]{1,9})(?:\.[0-9]{1,9})*)?)? )
    | (?P<refer>   \$(?:(?:\*|[0-9]{1,9})(?:\.[0-9]{1,9})*)? )
    | (?P<number>  [+-]?(?:0[xX][0-9A-Fa-f]+|0[bB][01]+
                        |(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![0-9A-Za-z_]) )
    | (?P<word>    [+-]?[A-Za-z_][A-Za-z0-9_-]*(?:\(0[xX][0-9A-Fa-f]+\))? )
    | (?P<sign>    [<>:.] )
    """,
    re.VERBOSE,
)

_SHOWN: Final = 40
# What begins as a number and is none.
_ODD: Final = re.compile(r"[+-]?[0-9][\w.+-]*")


@dataclass(frozen=True, slots=True)
class Token:
    """``kind`` is a group of the expression above, ``"end"`` after the last token."""

    kind: str
    text: str
    offset: int

    def __str__(self) -> str:
        if self.kind == "end":
            return "the end of the text"
        return _shown(self.text)


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def tokens(text: str) -> Iterator[Token]:
    """The tokens of ``text``, the last of kind ``"end"``.

    Raises :class:`SmlError` at a character that begins no token.
    """
    offset = 0
    while offset < len(text):
        match = _TOKEN.match(text, offset)
        if match is None:
            raise SmlError.at(_problem(text, offset), text, offset)
        kind = match.lastgroup
        assert kind is not None  # every alternative of the expression is a named group
        if kind != "blank":
            yield Token(kind, match[0], offset)
        offset = match.end()
    yield Token("end", "", offset)


def _problem(text: str, offset: int) -> str:
    if text.startswith("/*", offset):
        return "this comment is never closed"
    if text[offset] in "\"'":
        return "this string is not closed on its line: write a line feed as 0x0A after it"
    if text[offset] == "[":
        return "expected a count: [3], [0..8], [1..] or [..8]"
    if odd := _ODD.match(text, offset):
        return f"{_shown(odd[0])} is no number, and text needs quotes"
    return f"unexpected {text[offset]!r}"
