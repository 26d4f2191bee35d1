"""SML text as tokens.

Blanks, line ends, ``/* ... */``, ``// ...`` and ``# ...`` separate tokens and have no meaning. One
regular expression defines the tokens. It never looks back, so the time is linear in the text.

``PLAIN`` and ``PLAIN_LIST`` are another reader of the same text, for the greatest part of it:
leaves without comment inside, counted by one number, of plain values or of one string, with the
comments before each; and how such lists begin. They read all this at once. What they do not match
is read token by token.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from hsms_engine.sml.errors import SmlError

_TOKEN: Final = re.compile(
    r"""
    [\s\ufeff]*+
    (?: (?P<sign>  [<>:] )
    | (?P<comment> /\*(?s:.*?)\*/ | //[^\n]* | \#[^\n]* )
    | (?P<string>  "[^"\n]*" | '[^'\n]*' )
    | (?P<count>   \[\s*(?:[0-9]{1,9}\s*(?:\.\.\s*(?:[0-9]{1,9}\s*)?)?
                        |\.\.\s*[0-9]{1,9}\s*)\] )
    | (?P<wait>    \[[Ww]\] )
    | (?P<repeat>  \.\.\.(?:\$(?:(?:\*|[0-9]{1,9})(?:\.[0-9]{1,9})*)?)? )
    | (?P<refer>   \$(?:(?:\*|[0-9]{1,9})(?:\.[0-9]{1,9})*)? )
    | (?P<number>  [+-]?(?:0[xX][0-9A-Fa-f]+|0[bB][01]+
                        |(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![0-9A-Za-z_]) )
    | (?P<word>    [+-]?[A-Za-z_][A-Za-z0-9_-]*(?:\(0[xX][0-9A-Fa-f]+\))? )
    | (?P<stop>    \. )
    | (?P<end>     \Z ) )
    """,
    re.VERBOSE,
)

# Possessive throughout: it never looks back either. There is no o in the values, so that Python's
# 0o17 is not plain.
PLAIN: Final = re.compile(
    r"""
    (?: \s++ | /\*(?s:.*?)\*/ | //[^\n]*+ | \#[^\n]*+ )*+
    < \s*+
    (?P<type>  [A-Za-z][A-Za-z0-9]*+ ) (?![_-])
    (?: \s*+ \[ (?P<count> [0-9]{1,9} ) \] )?+
    (?: (?P<values> [0-9A-NP-Za-np-z+.\s-]*+ ) | \s*+ " (?P<double> [^"\n]*+ ) " \s*+
                                         | \s*+ ' (?P<single> [^'\n]*+ ) ' \s*+ )
    >
    """,
    re.VERBOSE,
)

PLAIN_LIST: Final = re.compile(r"<[Ll](?: \s*+ (\[[0-9]{1,9}\]) )?+ \s*+ (?=[<>])", re.VERBOSE)

_BLANKS: Final = re.compile(r"[\s\ufeff]*")
_SHOWN: Final = 40
# What begins as a number and is none.
_ODD: Final = re.compile(r"[+-]?[0-9][\w.+-]*")


class Token(NamedTuple):
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


def next_token(text: str, offset: int) -> Token:
    """The first token of ``text`` at ``offset`` or after it.

    Raises :class:`SmlError` at a character that begins no token.
    """
    while match := _TOKEN.match(text, offset):
        kind, group = match.lastgroup, match.lastindex
        # Every alternative of the expression is a named group.
        assert kind is not None
        assert group is not None
        if kind != "comment":
            return Token(kind, match[group], match.start(group))
        offset = match.end()
    blanks = _BLANKS.match(text, offset)
    assert blanks is not None  # there may be none
    raise SmlError.at(_problem(text, blanks.end()), text, blanks.end())


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
