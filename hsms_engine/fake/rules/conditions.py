"""Conditions of rules: ``${1001} > 5 and (count == 3 or $lot != "L-7")``.

::

    condition   both {"or" both}
    both        single {"and" single}
    single      "not" single | value [sign value]
    sign        == != < <= > >=
    value       number | text | true | false | count | ${VARIABLE} | $name | $name.1 | (condition)

A number is whole, also in hexadecimal, or a decimal. A text is in single or double quotes and ends
at the next of the same: nothing in it is special. ``count`` says how often the rule has been asked.
``${1001}`` and ``${WaferCount}`` are the present value of a variable, ``$lot`` is what the pattern
has bound, ``$lot.2`` the second item of that list.

Invariants:

* A condition is read once and becomes functions; to ask it reads no text again.
* A number is compared with a number, a text with a text, a truth value with a truth value, which is
  equal or not. An F4 is the decimal that it is written as: it has no 0.1, and is equal to 0.1. What
  is known when the file is read is refused then. What turns out later, also that a value is a list
  or is not there, is an ``UnclearError``: the whole condition says nothing, whatever ``or`` and
  ``not`` would make of it.
* It is asked from left to right, and only until ``and`` and ``or`` are decided.
* Nothing of it runs as Python.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from hsms_engine.fake.model import Id
from hsms_engine.secs2 import F4, A, B, Item, L, Numeric, Text
from hsms_engine.sml import shorten
from hsms_engine.sml.printer import shortest
from hsms_engine.spelling import hint

Value: TypeAlias = bool | int | float | str
Kind: TypeAlias = Literal["a number", "a text", "true or false"]

MOST_BRACKETS: Final = 20
"""How deep brackets may be nested."""

# An Item is shown so long in an error.
_SHOWN: Final = 60
# The longest number, in characters: 2**64 has 20.
_DIGITS: Final = 40

_TOKEN: Final = re.compile(
    r"""
    (?P<number> [+-]? (?: 0[xX][0-9A-Fa-f]+ | [0-9]+ (?:\.[0-9]+)? (?:[eE][+-]?[0-9]+)? )
        (?![\w.]) )
    | (?P<text> "[^"]*" | '[^']*' )
    | (?P<variable> \$\{ [^{}]* \} )
    | (?P<name> \$ [A-Za-z_][A-Za-z0-9_]* (?:\.[0-9]+)* )
    | (?P<word> [A-Za-z_][A-Za-z0-9_]* )
    | (?P<sign> == | != | <= | >= | [<>()] )
    """,
    re.VERBOSE,
)
_BLANK: Final = re.compile(r"\s*")
_SIGNS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MIRRORED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_ORDERED: Final = frozenset(_SIGNS) - {"==", "!="}
_WORDS: Final = ("and", "or", "not", "true", "false", "count")
# What other languages write, and what is written here. The longer ones are first.
_OTHERS: Final = {
    "&&": "write 'and'",
    "||": "write 'or'",
    "&": "write 'and'",
    "|": "write 'or'",
    "!": "write 'not'",
    "=": "two values are compared with ==",
    "${": "this name is never closed: ${1001}, ${WaferCount}",
    "$": "a variable is ${1001} or ${WaferCount}, and what the pattern has bound is $name",
    '"': "this text is never closed",
    "'": "this text is never closed",
    **dict.fromkeys("+-*/%", "a condition does not calculate"),
    **dict.fromkeys("[]{}", "brackets are ( and )"),
}
_EXPECTED: Final = (
    'a value: a number, a "text", true, false, count, ${VARIABLE} or what the pattern has bound as '
    "$name"
)


class ConditionError(ValueError):
    """A text that is no condition: what is wrong, and at which character, counted from 0."""

    def __init__(self, problem: str, offset: int) -> None:
        super().__init__(problem, offset)
        self.problem = problem
        self.offset = offset

    def __str__(self) -> str:
        return self.problem


class UnclearError(Exception):
    """A condition cannot be decided with these values."""


class Scope(Protocol):
    """What a condition may refer to. Both raise ``LookupError``, which says what there is."""

    def variable(self, text: str) -> tuple[Id, Kind | None]:
        """The variable that is written so, and what its values are where that is known."""
        ...

    def name(self, name: str) -> None:
        """Whether the pattern binds this name."""
        ...


@dataclass(frozen=True, slots=True)
class Facts:
    """What a condition is asked about.

    ``names`` is what the pattern has bound, ``variable`` gives the present value of a variable,
    ``count`` is 1 when a rule is asked for the first time. The text of A is in ``text_encoding``.
    """

    variable: Callable[[Id], Item]
    names: Mapping[str, Item]
    count: int
    text_encoding: str | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that has been read: ``text`` is how it was written. Two are equal by that."""

    text: str
    _ask: Callable[[Facts], Value] = field(compare=False, repr=False)
    asks_count: bool = field(compare=False, repr=False)
    """Whether what it says depends on how often it has been asked."""

    def holds(self, facts: Facts) -> bool:
        """Whether it is true now. Raises ``UnclearError``, which says why that cannot be told."""
        return self._ask(facts) is True


def parse_condition(text: str, scope: Scope) -> Condition:
    """Read a condition. Raises ``ConditionError``."""
    parser = _Parser(text, scope)
    return Condition(text, parser.condition(), parser.asks_count)


def kind_of(item: Item) -> Kind | None:
    """What an item is in a condition; None for one that has no place in it."""
    match item:
        case Text():
            return "a text"
        case B() if len(item) == 1:
            return "a number"
        case Numeric() if len(item) == 1:
            return _kind(item[0])
        case _:
            return None


def value_of(item: Item, shown: str, text_encoding: str | None) -> Value:
    """The one value of an item. Raises ``UnclearError``, which calls it ``shown``."""
    match item:
        case Text():
            try:
                return item.text(text_encoding) if isinstance(item, A) else item.value
            except ValueError as error:
                raise UnclearError(f"{shown} cannot be read: {error}") from None
        case B() if len(item) == 1:
            return item.raw[0]
        case F4() if len(item) == 1 and not math.isnan(item[0]):
            return float(shortest(item[0]))
        case Numeric() if len(item) == 1:
            one: bool | int | float = item[0]
            return one
        case _:
            found = shorten(item, _SHOWN, text_encoding)
            raise UnclearError(f"{shown} is {found}, and no single number, text or truth value")


def _kind(value: Value) -> Kind:
    match value:
        case bool():
            return "true or false"
        case str():
            return "a text"
        case _:
            return "a number"


def _short(value: Value) -> str:
    """A value as an error shows it."""
    if isinstance(value, str) and len(value) > _SHOWN:
        return f"{value[:_SHOWN]!r}..."
    return repr(value)


class _Token(NamedTuple):
    kind: str
    text: str
    offset: int

    @property
    def end(self) -> int:
        return self.offset + len(self.text)


class _Part(NamedTuple):
    """A part of a condition, from ``start`` to ``end`` in the text; ``fixed`` is what is written as
    a value."""

    kind: Kind | None
    ask: Callable[[Facts], Value]
    start: int
    end: int
    fixed: Value | None = None


class _Parser:
    def __init__(self, text: str, scope: Scope) -> None:
        self._text = text
        self._scope = scope
        self._depth = 0
        # Whether anything in it may be different another time.
        self._refers = False
        self.asks_count = False
        self._token = self._next(0)

    def condition(self) -> Callable[[Facts], Value]:
        part = self._either()
        token = self._token
        if token.kind != "end":
            if token.text == ")":
                raise ConditionError("this bracket has not been opened", token.offset)
            raise ConditionError(
                f"expected 'and', 'or' or the end, found {token.text!r}", token.offset
            )
        truth = self._truth(part)
        if not self._refers:
            raise ConditionError(
                "this is the same each time: a condition has a ${VARIABLE}, a $name or count",
                part.start,
            )
        return truth

    def _either(self) -> _Part:
        return self._joined("or", self._both, _any_of)

    def _both(self) -> _Part:
        return self._joined("and", self._single, _all_of)

    def _joined(
        self,
        word: str,
        part: Callable[[], _Part],
        join: Callable[[tuple[Callable[[Facts], Value], ...]], Callable[[Facts], Value]],
    ) -> _Part:
        first = part()
        if self._token.text != word:
            return first
        parts = [first]
        while self._token.text == word:
            self._take()
            parts.append(part())
        asks = tuple([self._truth(each) for each in parts])
        return _Part("true or false", join(asks), first.start, parts[-1].end)

    def _single(self) -> _Part:
        start, negations = self._token.offset, 0
        while self._token.text == "not":
            self._take()
            negations += 1
        part = self._comparison()
        if not negations:
            return part
        truth = self._truth(part)
        # Twice is as good as never.
        ask = _negated(truth) if negations % 2 else truth
        return _Part("true or false", ask, start, part.end)

    def _comparison(self) -> _Part:
        left = self._value()
        sign = self._token
        if sign.text not in _SIGNS:
            return left
        self._take()
        right = self._value()
        if self._token.text in _SIGNS:
            raise ConditionError(
                "three values are compared in two steps: a < b and b < c", self._token.offset
            )
        if left.kind and right.kind and (why := _unfit(sign.text, left.kind, right.kind)):
            raise ConditionError(
                f"{self._shown(left)} is {left.kind}, and {self._shown(right)} is {right.kind}: "
                f"{why}",
                sign.offset,
            )
        if (why := _settled(sign.text, left, right)) is not None:
            raise ConditionError(why, left.start)
        ask = _compared(sign.text, left.ask, right.ask, self._text[left.start : right.end])
        return _Part("true or false", ask, left.start, right.end)

    def _value(self) -> _Part:
        token = self._take()
        match token.kind:
            case "number":
                return self._fixed(token, self._number(token))
            case "text":
                return self._fixed(token, token.text[1:-1])
            case "variable":
                return self._variable(token)
            case "name":
                return self._name(token)
            case "word" if token.text in {"true", "false"}:
                return self._fixed(token, token.text == "true")
            case "word" if token.text == "count":
                self._refers = self.asks_count = True
                return _Part("a number", _count, token.offset, token.end)
            case "word" if token.text not in _WORDS:
                raise ConditionError(self._unknown(token.text), token.offset)
            case "sign" if token.text == "(":
                return self._bracket(token)
            case _:
                found = "the end" if token.kind == "end" else repr(token.text)
                raise ConditionError(f"expected {_EXPECTED}; found {found}", token.offset)

    def _bracket(self, opening: _Token) -> _Part:
        self._depth += 1
        if self._depth > MOST_BRACKETS:
            raise ConditionError(
                f"brackets are nested more than {MOST_BRACKETS} deep", opening.offset
            )
        part = self._either()
        self._depth -= 1
        if self._token.kind == "end":
            raise ConditionError("this bracket is never closed", opening.offset)
        if self._token.text != ")":
            raise ConditionError(
                f"expected 'and', 'or' or ), found {self._token.text!r}", self._token.offset
            )
        closing = self._take()
        return part._replace(start=opening.offset, end=closing.end)

    def _fixed(self, token: _Token, value: Value) -> _Part:
        return _Part(_kind(value), lambda _: value, token.offset, token.end, value)

    def _number(self, token: _Token) -> int | float:
        text = token.text
        if len(text) > _DIGITS:
            raise ConditionError(f"a number has at most {_DIGITS} characters", token.offset)
        if "x" in text.lower():
            return int(text, 16)
        if text.lstrip("+-").isdigit():
            return int(text)
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise ConditionError(f"{text} is too large for a number", token.offset)
        return number

    def _variable(self, token: _Token) -> _Part:
        self._refers = True
        try:
            vid, kind = self._scope.variable(token.text[2:-1].strip())
        except LookupError as error:
            raise ConditionError(str(error.args[0]), token.offset) from None
        shown = token.text

        def ask(facts: Facts) -> Value:
            return value_of(facts.variable(vid), shown, facts.text_encoding)

        return _Part(kind, ask, token.offset, token.end)

    def _name(self, token: _Token) -> _Part:
        self._refers = True
        name, *steps = token.text[1:].split(".")
        try:
            self._scope.name(name)
        except LookupError as error:
            raise ConditionError(str(error.args[0]), token.offset) from None
        if any(len(step) > _DIGITS or int(step) == 0 for step in steps):
            raise ConditionError(f"items of {token.text} are counted from 1", token.offset)
        path = tuple(int(step) - 1 for step in steps)
        shown = token.text

        def ask(facts: Facts) -> Value:
            item = facts.names[name]
            for index in path:
                if not isinstance(item, L) or index >= len(item):
                    raise UnclearError(f"there is no {shown}")
                item = item[index]
            return value_of(item, shown, facts.text_encoding)

        return _Part(None, ask, token.offset, token.end)

    def _unknown(self, word: str) -> str:
        """What may have been meant by a word that is none of ours."""
        if word.lower() in _WORDS:
            return f"write {word.lower()!r}"
        for text in (word, word.lower()):
            try:
                self._scope.variable(text)
            except LookupError:
                pass
            else:
                return f"the value of a variable is ${{{text}}}"
        try:
            self._scope.name(word)
        except LookupError:
            return f'unknown word {word!r}: a text needs quotes, "{word}"; {hint(word, _WORDS)}'
        return f"what the pattern has bound is ${word}"

    def _truth(self, part: _Part) -> Callable[[Facts], Value]:
        """What is asked of a part that is to be true or false."""
        if part.kind == "true or false":
            return part.ask
        shown = self._shown(part)
        if part.kind is not None:
            raise ConditionError(
                f"{shown} is {part.kind}, and neither true nor false: compare it with a value",
                part.start,
            )
        ask = part.ask

        def truth(facts: Facts) -> Value:
            value = ask(facts)
            if value is True or value is False:
                return value
            raise UnclearError(f"{shown} is {_short(value)}, and neither true nor false")

        return truth

    def _shown(self, part: _Part) -> str:
        return self._text[part.start : part.end]

    # Tokens

    def _take(self) -> _Token:
        token = self._token
        if token.kind != "end":
            self._token = self._next(token.end)
        return token

    def _next(self, offset: int) -> _Token:
        blank = _BLANK.match(self._text, offset)
        assert blank is not None  # it matches no character too
        start = blank.end()
        if start == len(self._text):
            return _Token("end", "", start)
        match = _TOKEN.match(self._text, start)
        if match is not None:
            assert match.lastgroup is not None  # each choice is a group
            return _Token(match.lastgroup, match[0], start)
        rest = self._text[start : start + 20]
        for other, remedy in _OTHERS.items():
            if rest.startswith(other):
                raise ConditionError(remedy, start)
        wrong = re.split(r"[\s()]", rest)[0]
        raise ConditionError(f"{wrong!r} is neither a value nor a sign", start)


def _unfit(sign: str, left: Kind, right: Kind) -> str | None:
    """Why two values of these kinds are not compared."""
    if left != right and sign in _ORDERED:
        return "neither is more than the other"
    if left != right:
        return "these are never equal"
    if left == "true or false" and sign in _ORDERED:
        return "these are equal or not, and neither is more"
    return None


def _compared(
    sign: str, left: Callable[[Facts], Value], right: Callable[[Facts], Value], shown: str
) -> Callable[[Facts], Value]:
    compare = _SIGNS[sign]

    def ask(facts: Facts) -> Value:
        first, second = left(facts), right(facts)
        kind, other = _kind(first), _kind(second)
        if why := _unfit(sign, kind, other):
            raise UnclearError(
                f"{shown}: {_short(first)} is {kind}, and {_short(second)} is {other}: {why}"
            )
        return compare(first, second)

    return ask


def _count(facts: Facts) -> Value:
    return facts.count


def _settled(sign: str, left: _Part, right: _Part) -> str | None:
    """Why a comparison of the count with a number says the same each time."""
    match left, right:
        case _Part(ask=ask), _Part(fixed=int() | float() as number) if ask is _count:
            compare = _SIGNS[sign]
        case _Part(fixed=int() | float() as number), _Part(ask=ask) if ask is _count:
            compare = _SIGNS[_MIRRORED.get(sign, sign)]
        case _:
            return None
    # What it says changes nowhere but at the number.
    near = math.floor(number)
    said = {compare(max(1, count), number) for count in range(near - 1, near + 3)}
    if len(said) > 1:
        return None
    what = "always" if said == {True} else "never"
    return f"this is {what} so: count is 1 when the rule is asked for the first time"


def _negated(truth: Callable[[Facts], Value]) -> Callable[[Facts], Value]:
    return lambda facts: not truth(facts)


def _any_of(truths: tuple[Callable[[Facts], Value], ...]) -> Callable[[Facts], Value]:
    return lambda facts: any(truth(facts) for truth in truths)


def _all_of(truths: tuple[Callable[[Facts], Value], ...]) -> Callable[[Facts], Value]:
    return lambda facts: all(truth(facts) for truth in truths)
