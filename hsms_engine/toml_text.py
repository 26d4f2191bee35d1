"""Where everything stands in the text of a TOML file, for errors that point.

Nothing here says what a text means: ``tomllib`` does. Since that has taken it, only the marks of
its structure have to be looked for; ``too_long`` is asked before.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field

__all__ = ["Mark", "deepest", "inside", "marks_of", "offset_of", "text_before", "too_long"]

# The most names in a key, and digits in a number. ``tomllib`` takes memory for the square of the
# names, and Python takes any number to base 16 and shows none that is long.
_NAMES = 100
_LONG = 100

_QUOTES = ("'", '"')
_TEXT = (
    r'"""(?:[^"\\]|\\.|"(?!""))*+"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*+"'
    r"|'[^'\n]*'"
)
# A date may have a space in it.
_SINGLE = re.compile(rf"{_TEXT}|[^,\]}}\#\n]+", re.DOTALL)
# Between statements, and between the parts of a value.
_BETWEEN = re.compile(r"(?:[\s,]|#[^\n]*)*+")
_OPEN = re.compile(r"\[\[?[ \t]*")
_CLOSE = re.compile(r"\]\]?")
_NAME = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*'""")
_TEXTS = re.compile(rf"{_TEXT}|\#[^\n]*", re.DOTALL)
# Whatever may have a bracket in it that is none, and brackets.
_BRACKETS = re.compile(rf"{_TEXT}|\#[^\n]*|[\[\]{{}}]", re.DOTALL)
# The same with keys and numbers that are too long; and what no such key or number is without.
_TOO_LONG = re.compile(
    rf"(?P<key>(?:{_NAME.pattern})(?:[ \t]*\.[ \t]*(?:{_NAME.pattern})){{{_NAMES}}})"
    rf"|(?<![\w.+-])(?P<number>0[xob][0-9A-Fa-f_]{{{_LONG + 1}}}|[+-]?[0-9_]{{{_LONG + 1}}})"
    rf"|{_TEXT}|\#[^\n]*",
    re.DOTALL,
)
_DIGITS_IN_A_ROW = re.compile(rf"[0-9A-Fa-f_]{{{_LONG + 1}}}")
# What follows a name.
_DOT = re.compile(r"[ \t]*[.=]?[ \t]*")
# The end of a line that does not count, and one character as it is written after it.
_FOLD = re.compile(r"(?:\\[ \t]*\n\s*)*")
_WRITTEN = re.compile(rf"{_FOLD.pattern}(?:\\u.{{4}}|\\U.{{8}}|\\x.{{2}}|\\.|.)", re.DOTALL)


@dataclass(slots=True, eq=False)
class Mark:
    """Where a name, or an element, and its value begin. A table of a header has no value."""

    name: int
    value: int | None = None
    inner: dict[str | int, Mark] = field(default_factory=dict)


def marks_of(text: str) -> Mark:
    """The mark of the whole text, which has all others in it."""
    return _Marker(text).read()


class _Marker:
    """Goes once through a text that is TOML, and marks where everything in it stands.

    It does not call itself, however deeply values are nested.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def read(self) -> Mark:
        whole = table = Mark(0)
        self._skip(_BETWEEN)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header(whole)
            else:
                self._value(self._name(table))
            self._skip(_BETWEEN)
        return whole

    def _skip(self, pattern: re.Pattern[str]) -> str:
        begin, self._at = self._at, _behind(pattern, self._text, self._at)
        return self._text[begin : self._at]

    def _header(self, whole: Mark) -> Mark:
        is_array = len(self._skip(_OPEN).strip()) > 1
        mark = self._name(whole)
        if is_array:
            mark = mark.inner.setdefault(len(mark.inner), Mark(self._named))
        else:
            # It may have been named before, by a header of a table in it.
            mark.name = self._named
        self._skip(_CLOSE)
        return mark

    def _name(self, mark: Mark) -> Mark:
        """Go behind the name of a value in ``mark``, with its equals sign. Returns the value's."""
        while True:
            # Names go on in the last table of an array.
            mark = mark.inner.get(len(mark.inner) - 1, mark)
            self._named = self._at
            written = self._skip(_NAME)
            [name] = [written] if written[0] not in _QUOTES else tomllib.loads(f"{written} = 0")
            mark = mark.inner.setdefault(name, Mark(self._named))
            if "." not in self._skip(_DOT):
                return mark

    def _value(self, mark: Mark) -> None:
        """Go behind a value."""
        inside: list[tuple[Mark, str]] = []
        self._begin(mark, inside)
        while inside:
            self._skip(_BETWEEN)
            around, bracket = inside[-1]
            if self._text[self._at] in "]}":
                self._at += 1
                inside.pop()
            elif bracket == "[":
                self._begin(around.inner.setdefault(len(around.inner), Mark(self._at)), inside)
            else:
                self._begin(self._name(around), inside)

    def _begin(self, mark: Mark, inside: list[tuple[Mark, str]]) -> None:
        """Go behind a single value, or into an array or a table in braces."""
        mark.value = self._at
        if (bracket := self._text[self._at]) in "[{":
            self._at += 1
            inside.append((mark, bracket))
        else:
            self._skip(_SINGLE)


def offset_of(text: str, line: int, column: int) -> int:
    start = 0
    for _ in range(line - 1):
        start = text.index("\n", start) + 1
    return start + column - 1


def inside(text: str, at: int, offset: int) -> int:
    """Where the character ``offset`` of the text stands whose quotes begin at ``at``."""
    quotes = text[at : at + 3] if text.startswith(('"""', "'''"), at) else text[at]
    at += len(quotes)
    if len(quotes) == 3 and text[at] == "\n":
        at += 1
    if quotes[0] == "'":
        return at + offset
    for _ in range(offset):
        at = _behind(_WRITTEN, text, at)
    return _behind(_FOLD, text, at)


def _behind(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where what matches at a place ends."""
    match = pattern.match(text, at)
    assert match is not None, at
    return match.end()


def text_before(text: str, at: int) -> str | None:
    """The text, with its quotes, that ends before a place, with blanks between at most."""
    last = None
    for token in _TEXTS.finditer(text, 0, at):
        last = token
    if last is None or last[0][0] == "#" or text[last.end() : at].strip(" \t"):
        return None
    return last[0]


def deepest(text: str) -> int:
    """Where the value begins that is nested most deeply."""
    begin = found = depth = most = 0
    for token in _BRACKETS.finditer(text):
        match token[0]:
            case "[" | "{":
                begin = begin if depth else token.start()
                depth += 1
                if depth > most:
                    found, most = begin, depth
            case "]" | "}":
                depth -= 1
    return found


def too_long(text: str) -> tuple[int, str] | None:
    """The first key or number that is too long for ``tomllib`` and Python: where, and why."""
    has_dots = any(line.count(".") >= _NAMES for line in text.split("\n"))
    if not has_dots and not _DIGITS_IN_A_ROW.search(text):
        return None
    for token in _TOO_LONG.finditer(text):
        if token["key"]:
            return token.start(), f"a key of more than {_NAMES} names"
        if token["number"]:
            return token.start(), f"a number of more than {_LONG} digits"
    return None
