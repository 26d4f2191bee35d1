"""Patterns: SML with holes, that a message matches or not.

::

    pattern = parse_pattern('S2F41 W <L [2] <A "START"> <L $params>>')
    pattern.match(message)          # {"params": L(...)}, or None
    pattern.difference(message)     # [1]: expected <A "START">, found <A "STOP">

The page ``docs/sml.md`` has the table of what may stand in a pattern, ``matching`` what it means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

from hsms_engine.secs2 import (
    BOOLEAN,
    INTEGERS,
    MAX_DEPTH,
    MAX_LENGTH,
    NUMERICS,
    REALS,
    A,
    B,
    C,
    DecodeError,
    Integer,
    Item,
    J,
    L,
    Leaf,
    Real,
)
from hsms_engine.sml.errors import OffsetError, SmlError
from hsms_engine.sml.lexer import Token, shown
from hsms_engine.sml.matching import (
    ALL_KINDS,
    ANY_LENGTH,
    SHOWN,
    AnyItem,
    Around,
    Bound,
    Element,
    Exact,
    Kind,
    Lengths,
    Many,
    Mixed,
    Number,
    Row,
    Words,
    covers,
    kinds_of,
    lengths_of,
    rounded,
    row,
    single,
)
from hsms_engine.sml.parser import Parser
from hsms_engine.sml.printer import shorten
from hsms_engine.sml.values import ValueTokenError, integer

__all__ = ["Difference", "Pattern", "Readable", "parse_pattern"]

_Kinds: TypeAlias = frozenset[type[Item]]

_TYPES: Final[Mapping[str, type[Item]]] = {
    each.__name__: each for each in (L, A, B, C, J, *NUMERICS)
} | {"BOOL": BOOLEAN}
# A letter alone is a type of any size.
_FAMILIES: Final[Mapping[str, _Kinds]] = {
    letter: frozenset(each for each in (*INTEGERS, *REALS) if each.__name__.startswith(letter))
    for letter in "UIF"
}
_NUMBERS: Final[_Kinds] = frozenset({B, *INTEGERS, *REALS})
_HOLES: Final = "_ or $name"
_NAME: Final = re.compile(r"\$[A-Za-z_][A-Za-z0-9_]*")
_VALUES: Final = frozenset({"string", "number", "word"})
_BEGINS: Final = _VALUES | {"refer"}


NOTHING_KNOWN: Final[Mapping[str, Item]] = MappingProxyType({})


class Readable(Protocol):
    """What is matched: a ``Message``."""

    @property
    def stream(self) -> int: ...
    @property
    def function(self) -> int: ...
    @property
    def wait(self) -> bool: ...
    @property
    def item(self) -> Item | None:
        """The body. Raises ``DecodeError`` when it cannot be read."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where a message is not as a pattern has it.

    ``path`` is ``"[2][1]"`` for the first item in the second one, ``""`` for the body or the
    header. ``expected`` and ``found`` are SML in one line, shortened, or words: ``"nothing"``.
    """

    path: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.path or 'message'}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern, made by :func:`parse_pattern`. Immutable. Two are equal that say the same."""

    stream: int
    function: int
    wait: bool
    """Whether only messages with W match. Without it, both do."""
    body: Element | None
    """``None`` when any body matches, also none and one that cannot be read."""
    names: tuple[str, ...]
    """The names that are bound, each once, in the order of the text."""
    text: str = field(compare=False)
    """What it was made of."""
    text_encoding: str | None = None
    """How the text of A is encoded."""

    @property
    def name(self) -> str:
        """``'S2F41'``."""
        return f"S{self.stream}F{self.function}"

    def match(
        self, message: Readable, known: Mapping[str, Item] = NOTHING_KNOWN
    ) -> Mapping[str, Item] | None:
        """The items that the names stand for; ``None`` when the message does not match.

        A body that cannot be decoded matches only a header without body. A name that is ``known``
        stands for nothing but an item that is equal.
        """
        if (
            message.stream != self.stream
            or message.function != self.function
            or (self.wait and not message.wait)
        ):
            return None
        bound = self._given(known)
        if self.body is None:
            return bound
        try:
            item = message.item
        except DecodeError:
            return None
        return bound if item is not None and self.body.match(item, bound) else None

    def difference(
        self, message: Readable, known: Mapping[str, Item] = NOTHING_KNOWN
    ) -> Difference | None:
        """Where the message differs first; ``None`` exactly when it matches."""
        expected = _header(self, self.wait)
        # A pattern without W says nothing of it.
        if expected != (found := _header(message, self.wait and message.wait)):
            return Difference("", expected, found)
        if self.body is None:
            return None
        try:
            item = message.item
        except DecodeError as error:
            return Difference("", _cut(str(self.body)), f"a body that is not SECS-II: {error}")
        if item is None:
            return Difference("", _cut(str(self.body)), "no item")
        mismatch = self.body.mismatch(item, self._given(known), ())
        if mismatch is None:
            return None
        return Difference(
            "".join(f"[{index + 1}]" for index in mismatch.path),
            _cut(mismatch.expected),
            "nothing"
            if mismatch.found is None
            else shorten(mismatch.found, SHOWN, self.text_encoding),
        )

    def _given(self, known: Mapping[str, Item]) -> Bound:
        return {name: known[name] for name in self.names if name in known} if known else {}

    def covers(self, other: Pattern) -> bool:
        """Whether this matches whatever the other one matches.

        True is always right. It may be false where that is so, and is for a name that stands twice.
        """
        if (self.stream, self.function) != (other.stream, other.function):
            return False
        if self.wait and not other.wait:
            return False
        if self.body is None or self.body == other.body:
            return True
        if other.body is None or self.text_encoding != other.text_encoding:
            return False
        return not _has_twin(self.body, len(self.names)) and covers(self.body, other.body)

    def never(self) -> str | None:
        """Why no message of HSMS can match, in one line; ``None`` when one can.

        A name that stands for items of two types, or of two lengths, or an item that is longer than
        SECS-II has. What contradicts itself in one place is no pattern: ``parse_pattern`` refuses.
        """
        known: dict[str, tuple[_Kinds, Lengths]] = {}
        # What an ellipsis repeats may be there no time at all.
        for element in _elements(self.body, of_ellipses=False):
            kinds, lengths = kinds_of(element), lengths_of(element)
            if not any(_exists(kind, lengths.least) for kind in kinds):
                return (
                    f"{_cut(str(element))} is longer than any item: one has at most {MAX_LENGTH} "
                    "bytes"
                )
            if isinstance(element, AnyItem | Kind) and element.name is not None:
                before, length = known.get(element.name, (ALL_KINDS, ANY_LENGTH))
                kinds, lengths = kinds & before, lengths & length
                if not kinds or lengths.is_empty:
                    return f"${element.name} stands for two items, and no item is both"
                known[element.name] = kinds, lengths
        return None


def parse_pattern(text: str, text_encoding: str | None = None) -> Pattern:
    """The one pattern of ``text``. Raises :class:`SmlError`, also for what contradicts itself.

    ``text_encoding`` is how the text of A is encoded in the messages, as for ``parse``. Raises
    ``ValueError`` for another encoding.
    """
    try:
        return _PatternParser(text, text_encoding).pattern()
    except OffsetError as fault:
        raise SmlError.at(fault.problem, text, fault.offset) from None


@dataclass(frozen=True, slots=True)
class _Name:
    """A name where it stands."""

    token: Token
    # Whether it may be bound in several ways: by a repeated item, or in a list with several.
    is_loose: bool

    @property
    def name(self) -> str:
        return self.token.text[1:]


class _PatternParser(Parser):
    def __init__(self, text: str, text_encoding: str | None) -> None:
        super().__init__(text, text_encoding=text_encoding)
        self._text_encoding = text_encoding
        self._open = True
        self._found: list[_Name] = []

    def pattern(self) -> Pattern:
        head = self._bare_head("a pattern")
        body = self._element() if self._begins_pattern() else None
        self._skip(".")
        self.expect_end("one pattern")
        return Pattern(
            head.stream,
            head.function,
            head.wait,
            body,
            self._once_each(),
            self._text,
            self._text_encoding,
        )

    def _once_each(self) -> tuple[str, ...]:
        """The names. One that stands twice is compared, so that it has to have one meaning."""
        first: dict[str, _Name] = {}
        for each in self._found:
            before = first.setdefault(each.name, each)
            if before is not each and (before.is_loose or each.is_loose):
                raise self._error(
                    f"{each.token} stands twice, and an ellipsis leaves open for which item: "
                    "use two names",
                    each.token,
                )
        return tuple(first)

    def _begins_pattern(self) -> bool:
        return self._token.kind in _BEGINS or self._token.text == "<"

    def _element(self) -> Element:
        """The element that the token begins."""
        token = self._token
        if self._is_hole():
            return AnyItem(self._hole())
        match token.kind:
            case "string":
                return self._spelled(self._take())
            case "number":
                return self._number(self._take(), _NUMBERS, token.text)
            case "word":
                raise self._error(f"expected an item, {_HOLES}, found {token}; text needs quotes")
        self._take()
        return self._typed(token, self._take())

    def _typed(self, start: Token, token: Token) -> Element:
        """What is behind ``<U4``."""
        label = token.text.upper()
        kinds = frozenset({_TYPES[label]}) if label in _TYPES else _FAMILIES.get(label)
        if kinds is None:
            raise self._error(
                f"expected an item type (L, A, U4, ..., or U, I, F for any size), found {token}",
                token,
            )
        count = self._count(label, token)
        if self._is_hole() and not (label == "L" and (count is not None or self._is_followed())):
            kind = Kind(label, kinds, self._lengths(count), self._hole())
            self._close_hole(start)
            return kind
        if label == "L":
            return self._row(start, count)
        values: list[Token] = []
        while self._token.kind in _VALUES and not self._is_hole():
            values.append(self._take())
        if self._is_hole():
            raise self._error(f"{self._token} stands for all values: <{token} {self._token}>")
        self._close(start, "a value")
        if label in _FAMILIES:
            if len(values) != 1:
                raise self._error(f"<{label}> is of any size: write one value, {_HOLES}", start)
            self._check(count, 1)
            return self._number(values[0], kinds, f"<{label} {values[0].text}>")
        item = self._made(label, values, start)
        assert isinstance(item, Leaf)  # a list has been read above
        self._check(count, len(item))
        return Exact(item, shorten(item, SHOWN, self._text_encoding))

    def _row(self, start: Token, count: Token | None) -> Element:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"lists are nested more than {MAX_DEPTH} deep", start)
        named = len(self._found)
        elements: list[Element | Many] = []
        while self._begins_pattern():
            inner = len(self._found)
            element = self._element()
            if self._token.kind != "repeat":
                elements.append(element)
                continue
            self._ellipsis()
            self._loosen(inner)
            names = tuple(each.name for each in self._found[inner:])
            elements.append(Many(element, names))
        self._depth -= 1
        self._close(start, f"an item, {_HOLES}")
        return self._list_of(elements, count, named)

    def _list_of(
        self, elements: Sequence[Element | Many], count: Token | None, named: int
    ) -> Element:
        singles = [each for each in elements if not isinstance(each, Many)]
        if len(singles) == len(elements):
            has_holes = any(isinstance(each, AnyItem) for each in singles)
            if count is not None and ".." in count.text and has_holes:
                # Written for any number of items, most likely.
                raise self._error(
                    f"{count} needs an ellipsis in the list, as in <L {count.text} _ ...>", count
                )
            self._check(count, len(elements))
            return Row(tuple(singles))
        lengths = self._lengths(count)
        if lengths.most is not None and lengths.most < len(singles):
            raise self._error(f"the count is {count}, but at least {len(singles)} follow", count)
        lengths = Lengths(max(lengths.least, len(singles)), lengths.most)
        many = [at for at, each in enumerate(elements) if isinstance(each, Many)]
        if len(many) > 1:
            self._loosen(named)
            return Mixed(tuple(elements), lengths)
        [at] = many
        repeated = elements[at]
        assert isinstance(repeated, Many)
        return Around(tuple(singles[:at]), repeated, tuple(singles[at:]), lengths)

    def _loosen(self, start: int) -> None:
        self._found[start:] = [_Name(each.token, True) for each in self._found[start:]]

    def _ellipsis(self) -> None:
        if self._token.text != "...":
            raise self._error(
                f"{self._token} is for replies: in a pattern, a name is before the ellipsis, as "
                "in $x ..."
            )
        self._take()
        if self._token.kind == "repeat":
            raise self._error("expected an item before the ellipsis, found another ellipsis")

    # Holes

    def _is_hole(self) -> bool:
        return self._token.kind == "refer" or self._token.text == "_"

    def _hole(self) -> str | None:
        """The name that is bound, if it is one."""
        token = self._take()
        if token.text == "_":
            return None
        if not _NAME.fullmatch(token.text):
            if token.text.startswith("${"):
                remedy = "a pattern asks for no variable: bind a name, as $x, and compare that"
            else:
                remedy = f"{token} is for replies: a pattern binds a name, as $x"
            raise self._error(remedy, token)
        self._found.append(_Name(token, False))
        return token.text[1:]

    def _is_followed(self) -> bool:
        """Whether the hole is not all that is in the list."""
        return self._lexer.next(self.offset + len(self._token.text)).text != ">"

    def _close_hole(self, start: Token) -> None:
        if self._token.kind in _VALUES or self._is_hole():
            raise self._error(
                f"expected > behind {_HOLES}, which stands for all values, found {self._token}"
            )
        self._close(start, "nothing")

    def _lengths(self, count: Token | None) -> Lengths:
        if count is None:
            return ANY_LENGTH
        least, dots, most = (part.strip() for part in count.text[1:-1].partition(".."))
        low = int(least) if least else 0
        high = int(most) if most else None if dots else low
        if high is not None and low > high:
            raise self._error(f"{count} allows no length", count)
        return Lengths(low, high)

    # Values without a type

    def _spelled(self, token: Token) -> Words:
        text = token.text[1:-1]
        try:
            encoded = A(text, encoding=self._text_encoding)
        except ValueError:
            encoded = None
        return Words(text, encoded)

    def _number(self, token: Token, kinds: _Kinds, text: str) -> Number:
        try:
            value: int | float = integer(token)
        except ValueTokenError:
            try:
                value = float(token.text)
            except ValueError:
                raise self._error(f"expected a number, found {token}", token) from None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        holding = frozenset(kind for kind in kinds if _holds(kind, value))
        if not holding:
            raise self._error(f"no item has the value {shown(text)}", token)
        return Number(text, value, holding)


def _holds(kind: type[Item], value: float) -> bool:
    if issubclass(kind, Real):
        held = rounded(kind, value)
        return held is not None and isfinite(held)
    if not isinstance(value, int):
        return False
    if issubclass(kind, Integer):
        try:
            kind(value)
        except ValueError:
            return False
        return True
    return 0 <= value <= 0xFF


def _exists(kind: type[Item], length: int) -> bool:
    """Whether an item of this type may be so long."""
    size = kind.size if issubclass(kind, Leaf) else 1
    return length * size <= MAX_LENGTH


def _elements(body: Element | None, of_ellipses: bool = True) -> Iterator[Element]:
    """The element and all those in it, in the order of the text."""
    if body is None:
        return
    yield body
    if isinstance(body, Row | Around | Mixed):
        for each in row(body):
            if of_ellipses or not isinstance(each, Many):
                yield from _elements(single(each), of_ellipses)


def _has_twin(body: Element, names: int) -> bool:
    """Whether one of so many names stands twice."""
    holes = (each for each in _elements(body) if isinstance(each, AnyItem | Kind))
    return sum(hole.name is not None for hole in holes) > names


def _header(of: Readable | Pattern, wait: bool) -> str:
    return f"S{of.stream}F{of.function}{' W' if wait else ''}"


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
