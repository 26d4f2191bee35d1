"""SML text as tokens.

Blanks, line ends, ``/* ... */``, ``// ...`` and ``# ...`` separate tokens and have no meaning. One
regular expression defines the tokens of the grammar, and a second one those that only the lenient
reader knows. Neither looks back, so the time is linear in the text.

``plain`` and ``PLAIN_LIST`` are another reader of the same text, for the greatest part of it:
leaves without comment, counted by one number, of plain values or of one string, and how such lists
begin. They read all this at once. What they do not match is read token by token.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

from hsms_engine.sml.errors import OffsetError
from hsms_engine.sml.notes import NoteKind, Notes

# By whether a backslash is an escape.
_DOUBLE: Final = {False: r'[^"\n]*+', True: r'(?:[^"\\\n]|\\[^\n])*+'}
_SINGLE: Final = {False: r"[^'\n]*+", True: r"(?:[^'\\\n]|\\[^\n])*+"}
# The item of a request by its position or its name, and what a variable is now.
_REFERENCE: Final = (
    r"\$(?:(?:\*|[0-9]{1,9}|[A-Za-z_][A-Za-z0-9_]*+)(?:\.[0-9]{1,9})*|\{[^{}\n]*+\})?"
)
_ARROW: Final = r"(?:[Hh]\s*+(?:<->|->|<-)\s*+[Ee]|[Ee]\s*+(?:<->|->|<-)\s*+[Hh])"


# Ends of a line that the grammar takes for blanks, and other programs write.
_ENDS: Final = r"\r\v\f\x1c-\x1e\x85\u2028\u2029"
_LONE_END: Final = re.compile(rf"\r(?!\n)|[{_ENDS.removeprefix(chr(92) + 'r')}]")


@cache
def _tokens(escapes: bool, lenient: bool) -> re.Pattern[str]:
    rest = rf"[^\n{_ENDS if lenient else ''}]*+"
    return re.compile(
        rf"""
        [\s\ufeff]*+
        (?: (?P<sign>  [<>:=] )
        | (?P<comment> //{rest} | \#{rest} )
        | (?P<open>    /\* )
        | (?P<string>  "{_DOUBLE[escapes]}" | '{_SINGLE[escapes]}' )
        | (?P<count>   \[\s*(?:[0-9]{{1,9}}\s*(?:\.\.\s*(?:[0-9]{{1,9}}\s*)?)?
                            |\.\.\s*[0-9]{{1,9}}\s*)\] )
        | (?P<wait>    \[[Ww]\] )
        | (?P<arrow>   {_ARROW}(?![0-9A-Za-z_]) )
        | (?P<repeat>  \.\.\.(?:{_REFERENCE})? )
        | (?P<refer>   {_REFERENCE} )
        | (?P<number>  [+-]?(?:0[xX][0-9A-Fa-f]+|0[bB][01]+
                            |(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
                       (?![0-9A-Za-z_]) )
        | (?P<word>    [+-]?[A-Za-z_][A-Za-z0-9_-]*(?:\(0[xX][0-9A-Fa-f]+\))? )
        | (?P<stop>    \. )
        | (?P<end>     \Z ) )
        """,
        re.VERBOSE,
    )


# Quotation marks as text programs make them of straight ones: of English, German, French.
_DOUBLES: Final = r"\u201c\u201d\u201e\u201f\u00ab\u00bb"
_SINGLES: Final = r"\u2018\u2019\u201a\u201b\u2039\u203a"
QUOTES: Final = rf"\"'{_DOUBLES}{_SINGLES}"
"""All quotation marks, for a set in a regular expression."""

# How statements begin. A header has no group here but those of its numbers and its W.
CORE: Final = r"""
    [Ss] [ \t]*+ ([0-9]{1,3}) (?: [ \t]*+ [,/_.-] )?+ [ \t]*+ [Ff] [ \t]*+ ([0-9]{1,3})
    (?: [ \t_-]*+ ([Ww]) (?![0-9A-Za-z_]) )?+ (?![0-9A-Za-z_])
"""
"""A header as the lenient reader takes it, without quotes; for an expression that is verbose."""
HEAD: Final = rf"""
    [{QUOTES}]? {CORE.replace("([", "(?:[")}
"""
"""The same without groups, where it is only looked for."""
# A name is in one line, and not long.
LONGEST_NAME: Final = 200
"""The longest name without a note, and how far the beginning of a line is looked for."""
NAME: Final = rf"""
    (?: /\* (?:[^*\n]|\*(?!/)){{0,{LONGEST_NAME}}}+ \*/ | (?!/[/*]) [^\n<>] ){{1,{LONGEST_NAME}}}?
"""
"""A name without quotes, with comments in it; for an expression that is verbose."""
BLANKS: Final = r"(?:[^\S\n]|\ufeff)*+"
START: Final = rf"""
    {BLANKS} (?P<start>) (?: /\* (?:[^*\n]|\*(?!/))*+ \*/ {BLANKS} )*+
    (?: [Ww] [ \t]++
      | [{QUOTES}] [^\n{QUOTES}]{{1,{LONGEST_NAME}}} [{QUOTES}] \s*+ :?+ \s*+ (?={HEAD})
      | (?!\#) {NAME} [:=] \s*+ (?={HEAD}) )?
    (?P<head> <?+ [ \t]*+ {HEAD} )
"""
"""A statement from the beginning of its line on: comments, W or a name, and the header."""
# A count of another dialect, in brackets or behind a comma.
_BOUND: Final = r"""\[[^][\n<>"']{0,60}\]"""
_COMMA_COUNT: Final = r", [ \t]*+ [0-9]{1,9}"
# What only the lenient reader knows.
_LOOSE: Final = re.compile(
    rf"""
      (?P<wait>    \(\s*[Ww]\s*\) | \[\s*[Ww]\s*\] )
    | (?P<arrow>   [\[(] \s*+ {_ARROW} \s*+ [])] )
    | (?P<bound>   {_BOUND} | \([^()\n<>"']{{0,60}}\) )
    | (?P<quoted>  [{_DOUBLES}][^{_DOUBLES}"\n]*[{_DOUBLES}"]
                 | [{_SINGLES}][^{_SINGLES}'\n]*[{_SINGLES}'] )
    | (?P<comma>   , )
    | (?P<stop>    ; )
    | (?P<odd>     [+-]?[0-9]\w* )
    """,
    re.VERBOSE,
)
# What other tools take for a comment.
_LINE: Final = re.compile(rf"(?:\*|;|--)[^\n{_ENDS}]*+")
_LINES: Final = {
    (quote, escapes): re.compile(rf"{quote}(?:[^{quote}\\]|\\.)*+{quote}", re.DOTALL)
    if escapes
    else re.compile(f"{quote}[^{quote}]*+{quote}")
    for quote in "\"'"
    for escapes in (False, True)
}
# What no text over several lines has, but text between a quote too many and the next one.
_RUNAWAY: Final = re.compile(
    rf"\n{BLANKS}[<>] | > {BLANKS} (?:[.;]{BLANKS})*+ \n | \n {START}", re.VERBOSE
)


@cache
def plain(escapes: bool, lenient: bool) -> re.Pattern[str]:
    """A plain leaf. Where a backslash is an escape, text with one is not plain."""
    bar = r"\\" if escapes else ""
    comma = "," if lenient else ""
    bound = rf"{_BOUND} | {_COMMA_COUNT} (?=[\s\"'])" if lenient else r"(?!)"
    # Possessive throughout: it never looks back either. There is no o in the values, so that
    # Python's 0o17 is not plain.
    return re.compile(
        rf"""
        \s*+ < \s*+
        (?P<type>  [A-Za-z][A-Za-z0-9]*+ ) (?![_-])
        (?: \s*+ \[ (?P<count> [0-9]{{1,9}} ) \] | (?: [ \t]*+ (?=\[) )?+ (?P<bound> {bound} ) )?+
        (?: (?P<values> [0-9A-NP-Za-np-z+.{comma}\s-]*+ )
            | \s*+ " (?P<double> [^"\n{bar}]*+ ) " \s*+
            | \s*+ ' (?P<single> [^'\n{bar}]*+ ) ' \s*+ )
        >
        """,
        re.VERBOSE,
    )


PLAIN_LIST: Final = re.compile(r"<[Ll](?: \s*+ (\[[0-9]{1,9}\]) )?+ \s*+ (?=[<>])", re.VERBOSE)

_BLANKS: Final = re.compile(r"[\s\ufeff]*")
# What begins as a number and is none.
_ODD: Final = re.compile(r"[+-]?[0-9][\w.+-]*")
_SHOWN: Final = 40


class Token(NamedTuple):
    """``kind`` is a group of the expressions above, ``"end"`` after the last token.

    ``"escaped"`` is a string with a backslash that is an escape.
    """

    kind: str
    text: str
    offset: int

    def __str__(self) -> str:
        if self.kind == "end":
            return "the end of the text"
        return shown(self.text)


def shown(text: str) -> str:
    """A piece of the text, in one line and not long."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


class Lexer:
    """The tokens of one text. With ``notes`` it is the lenient one."""

    def __init__(self, text: str, notes: Notes | None, escapes: bool) -> None:
        self._text = text
        self._notes = notes
        self._escapes = escapes
        pattern = _tokens(escapes, notes is not None)
        self._match: Callable[[str, int], re.Match[str] | None] = pattern.match
        # The same text with line feeds for all ends of lines, at the same places.
        self.lines = text if notes is None else _LONE_END.sub("\n", text)
        """The text, with each end of a line as a line feed. What begins a line is seen here."""
        self.over_lines: int | None = None
        """Where the first string over several lines begins, since this was last made ``None``."""
        self.comments = 0
        """How many comments there were."""
        # Where the last one of them begins. After a problem, one may be read twice.
        self._last_comment = -1
        # Behind it, no comment is closed.
        self._unclosed = len(text)
        # Whether there was a comment that no line feed ends.
        self._has_ends = False
        # Up to here, notes have been made.
        self._noted = -1

    def next(self, offset: int) -> Token:
        """The first token at ``offset`` or after it.

        Raises :class:`OffsetError` at what begins no token.
        """
        text = self._text
        while True:
            match = self._match(text, offset)
            if match is None:
                token = self._other(offset)
                if token.kind != "comment":
                    return token
                self._count_comment(token.offset)
                offset = token.offset + len(token.text)
                self._end_comment(offset)
                continue
            kind, group = match.lastgroup, match.lastindex
            # Every alternative of the expression is a named group.
            assert kind is not None
            assert group is not None
            if kind == "comment":
                offset = match.end()
                self._count_comment(match.start(group))
                self._end_comment(offset)
            elif kind == "open":
                offset = self.behind_comment(match.start(group))
                self._count_comment(match.start(group))
            elif self._escapes and kind == "string":
                return self._string(match[group], match.start(group))
            else:
                return Token(kind, match[group], match.start(group))

    def _count_comment(self, start: int) -> None:
        if start > self._last_comment:
            self._last_comment = start
            self.comments += 1

    def _end_comment(self, end: int) -> None:
        """Say once that there are lines which do not end with line feeds."""
        if not self._has_ends and self.lines[end : end + 1] == "\n" != self._text[end]:
            self._has_ends = True
            self._note("line end", f"{self._text[end]!r} ends the line of a comment", end)

    def before(self, offset: int) -> str:
        """The last character before the offset that is no blank: a line feed, when a line begins
        there."""
        piece = self.lines[max(offset - LONGEST_NAME, 0) : offset]
        _, end, line = piece.rpartition("\n")
        return line.rstrip().rstrip("\ufeff")[-1:] or end

    def behind_comment(self, start: int) -> int:
        """Where the comment ends that begins at ``start``."""
        end = self._text.find("*/", start + 2) if start < self._unclosed else -1
        if end < 0:
            self._unclosed = min(start, self._unclosed)
            raise OffsetError("this comment is never closed", start)
        return end + 2

    def _string(self, found: str, offset: int) -> Token:
        kind = "escaped" if self._escapes and "\\" in found else "string"
        return Token(kind, found, offset)

    def _note(self, kind: NoteKind, text: str, offset: int) -> None:
        assert self._notes is not None  # only the lenient reader comes here
        if offset > self._noted:
            self._noted = offset
            self._notes.add(kind, text, offset)

    def _other(self, offset: int) -> Token:
        """The token that the grammar does not have, also a comment that it does not have."""
        text = self._text
        blanks = _BLANKS.match(text, offset)
        assert blanks is not None  # there may be none
        offset = blanks.end()
        if self._notes is None:
            raise OffsetError(unexpected(text, offset), offset)
        # In this order: a line that is no comment is not read for each of its characters.
        if self._begins_line(offset) and (line := _LINE.match(text, offset)):
            self._note("comment", f"the rest of the line is a comment: {shown(line[0])}", offset)
            return Token("comment", line[0], offset)
        if match := _LOOSE.match(text, offset):
            kind = match.lastgroup
            assert kind is not None  # as above
            if kind == "quoted":
                self._note("quotes", f"{shown(match[0])} is in typographic quotes", offset)
                return self._string(match[0], offset)
            return Token(kind, match[0], offset)
        if text[offset] in "\"'":
            return self._over_lines(offset)
        raise OffsetError(unexpected(text, offset), offset)

    def _begins_line(self, offset: int) -> bool:
        """Whether nothing of its line is before the offset, or for a ``*`` the end of an item."""
        before = self.before(offset)
        return before in {"", "\n"} or (self._text[offset] == "*" and before in ">.")

    def _over_lines(self, offset: int) -> Token:
        if self.over_lines is None:
            self.over_lines = offset
        match = _LINES[self._text[offset], self._escapes].match(self._text, offset)
        if match is None:
            raise OffsetError("this string is never closed", offset)
        if _RUNAWAY.search(self.lines, offset, match.end()):
            raise OffsetError(
                "this string is not closed on its line, and what is before the next quote looks "
                "like items",
                offset,
            )
        lines = match[0].count("\n") + 1
        self._note("lines", f"this string goes over {lines} lines", offset)
        return self._string(match[0], offset)


def unexpected(text: str, offset: int) -> str:
    """What is wrong with what begins no token."""
    if text[offset] in "\"'":
        return "this string is not closed on its line: write a line feed as 0x0A after it"
    if text[offset] == "[":
        return "expected a count: [3], [0..8], [1..] or [..8]"
    if text[offset] == "{" and text[offset - 1 : offset] == "$":
        return "a variable is written in one line, as ${1001} or ${WaferCount}"
    if odd := _ODD.match(text, offset):
        return f"{shown(odd[0])} is no number, and text needs quotes"
    if text[offset] == "\0":
        return "unexpected '\\x00': in UTF-16, a file needs a byte order mark or its encoding"
    return f"unexpected {text[offset]!r}"
