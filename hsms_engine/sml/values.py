"""The values between ``<U4`` and ``>`` as an item.

Nothing is changed silently: a number that its type cannot hold is an error, and so is a fraction in
an integer.

``MAKERS`` take tokens and know every form and every error. ``PlainReader`` takes the text of plain
leaves at once, and leaves the rest to them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import repeat
from math import isfinite, isinf, isnan
from typing import Final, TypeAlias

from hsms_engine.secs2 import (
    BOOLEAN,
    INTEGERS,
    REALS,
    A,
    B,
    C,
    Integer,
    Item,
    J,
    Leaf,
    Real,
    Text,
)
from hsms_engine.secs2.encodings import superset_of_ascii
from hsms_engine.secs2.text import localized
from hsms_engine.sml.lexer import Token, plain
from hsms_engine.sml.notes import Notes

TRUTHS: Final = {"T": True, "TRUE": True, "1": True, "F": False, "FALSE": False, "0": False}
_MAX_ENCODING: Final = 0xFFFF
_MAX_DIGITS: Final = 400
_TIGHT: Final = re.compile(r"\A\s*+,|,(?!\s)")
COMMAS: Final = "commas between values"
"""What is said of them."""
_DIGITS: Final = re.compile(r"[0-9]{1,9}")


class ValueTokenError(ValueError):
    """What is wrong with a value, and which one."""

    def __init__(self, problem: str, token: Token) -> None:
        super().__init__(problem)
        self.token = token


def integer(token: Token) -> int:
    """The integer that a token spells: decimal, hexadecimal (0x) or binary (0b), with sign."""
    digits = token.text.lower()
    try:
        # No type has so many digits, and Python refuses to show numbers of thousands of digits.
        if token.kind != "number" or len(digits) > _MAX_DIGITS:
            raise ValueError
        return int(digits, 0) if _has_prefix(digits) else int(digits)
    except ValueError:
        raise ValueTokenError(f"expected an integer, found {token}", token) from None


def _has_prefix(digits: str) -> bool:
    return digits.lstrip("+-").startswith(("0x", "0b"))


def _octet(token: Token) -> int:
    value = integer(token)
    if not 0 <= value <= 0xFF:
        raise ValueTokenError(f"byte {token} is not in 0..255", token)
    return value


def _quoteless(error: ValueTokenError) -> ValueTokenError:
    """The error of what stands where text may stand."""
    return ValueTokenError(f"{error}; text needs quotes", error.token)


def _text(values: Sequence[Token], encode: Callable[[str], bytes]) -> bytes:
    """Strings and numbers, one after the other: ``"two lines" 0x0D 0x0A "of text"``."""
    pieces = []
    for token in values:
        if token.kind == "string":
            try:
                pieces.append(encode(token.text[1:-1]))
            except ValueError as error:
                raise ValueTokenError(str(error), token) from None
        else:
            try:
                pieces.append(bytes((_octet(token),)))
            except ValueTokenError as error:
                raise _quoteless(error) from None
    return b"".join(pieces)


def _ascii(text_encoding: str | None) -> Callable[[Sequence[Token]], Item]:
    return lambda values: A(_text(values, lambda text: A(text, encoding=text_encoding).raw))


def _jis8(values: Sequence[Token]) -> Item:
    return J(_text(values, lambda text: J(text).raw))


def _localized(values: Sequence[Token]) -> Item:
    """``<C "text">`` is UTF-8, ``<C 13 "text" 0x0A>`` begins with the number of its encoding."""
    if not values:
        return C.from_raw(b"")
    encoding = 2
    if values[0].kind != "string":
        try:
            encoding = integer(values[0])
        except ValueTokenError as error:
            raise _quoteless(error) from None
        if not 0 <= encoding <= _MAX_ENCODING:
            raise ValueTokenError(f"encoding {encoding} is not in 0..{_MAX_ENCODING}", values[0])
        values = values[1:]
    return C(_text(values, lambda text: localized(text, encoding)), encoding)


def _binary(values: Sequence[Token]) -> Item:
    return B(bytes(map(_octet, values)))


def _boolean(values: Sequence[Token]) -> Item:
    truths = []
    for token in values:
        truth = TRUTHS.get(token.text.upper())
        if truth is None:
            raise ValueTokenError(f"expected T or F, found {token}", token)
        truths.append(truth)
    return BOOLEAN(truths)


def _integers(kind: type[Integer]) -> Callable[[Sequence[Token]], Item]:
    def make(values: Sequence[Token]) -> Item:
        numbers = list(map(integer, values))
        try:
            return kind(numbers)
        except ValueError:
            return kind(map(partial(_checked, kind), numbers, values))

    return make


def _checked(kind: type[Integer], number: int, token: Token) -> int:
    try:
        return kind(number).value
    except ValueError as error:
        raise ValueTokenError(str(error), token) from None


def _reals(kind: type[Real]) -> Callable[[Sequence[Token]], Item]:
    def make(values: Sequence[Token]) -> Item:
        return kind.from_raw(b"".join(_real(kind, token) for token in values))

    return make


def _real(kind: type[Real], token: Token) -> bytes:
    """One value. ``nan(0x7FC00001)`` is the NaN of these bits: there are many."""
    text = token.text.lower()
    if text.startswith("nan("):
        return _nan(kind, token)
    try:
        number = integer(token) if _has_prefix(text) else float(text)
    except ValueError:
        raise ValueTokenError(f"expected a number, found {token}", token) from None
    if isinf(number) and token.kind == "number":
        raise ValueTokenError(f"{token} is too large even for F8", token)
    try:
        return kind(number).raw
    except ValueError as error:
        raise ValueTokenError(str(error), token) from None


def _nan(kind: type[Real], token: Token) -> bytes:
    bits = int(token.text[4:-1], 16)
    if bits.bit_length() <= kind.size * 8:
        item = kind.from_raw(bits.to_bytes(kind.size, "big"))
        if isnan(item.value):
            return item.raw
    raise ValueTokenError(f"{token} is not a NaN of {kind.__name__}", token)


MAKERS: Final[Mapping[str, Callable[[Sequence[Token]], Item]]] = {
    "A": _ascii(None),
    "B": _binary,
    "BOOLEAN": _boolean,
    "BOOL": _boolean,
    "C": _localized,
    "J": _jis8,
    **{kind.__name__: _integers(kind) for kind in INTEGERS},
    **{kind.__name__: _reals(kind) for kind in REALS},
}
"""By type name: the function that makes an item from the tokens of its values."""


def makers(text_encoding: str | None) -> Mapping[str, Callable[[Sequence[Token]], Item]]:
    """``MAKERS``, with the text of A in an encoding. Raises ``ValueError`` when it is unfit."""
    if text_encoding is None:
        return MAKERS
    return {**MAKERS, "A": _ascii(superset_of_ascii(text_encoding))}


ALIASES: Final[Mapping[str, str]] = {
    "LIST": "L",
    "ASCII": "A",
    **dict.fromkeys(("JIS", "JIS8", "JIS-8"), "J"),
    **dict.fromkeys(("BI", "BIN", "BINARY"), "B"),
    "TF": "BOOLEAN",
    **{f"U{word}{size}": f"U{size}" for word in ("I", "INT") for size in (1, 2, 4, 8)},
    **{f"INT{size}": f"I{size}" for size in (1, 2, 4, 8)},
    **{f"{word}{size}": f"F{size}" for word in ("FT", "FLOAT") for size in (4, 8)},
}
"""The names of types in other dialects. Sizes are in bytes."""


_Maker: TypeAlias = Callable[[str], Leaf]


class PlainReader:
    """The reader of plain leaves. With ``notes`` it is the lenient one.

    It passes over counts that do not fit and knows other words for types. What else is not as the
    grammar has it, and bytes that may be hexadecimal, is left to the reader of tokens.
    ``text_encoding`` is that of the text in A, and fit for it.
    """

    def __init__(
        self, text: str, notes: Notes | None, escapes: bool, text_encoding: str | None
    ) -> None:
        self._text = text
        self._notes = notes
        self._match = plain(escapes, notes is not None).match
        self._values = _PLAIN_VALUES if notes is None else _LENIENT_VALUES
        self._texts = _PLAIN_TEXT if notes is None else _LENIENT_TEXT
        if text_encoding is not None:
            encoded = partial(A, encoding=text_encoding)
            self._texts = {
                name: encoded if make is A else make for name, make in self._texts.items()
            }

    def leaves(self, offset: int, most: int | None) -> tuple[list[Leaf], int]:
        """The plain leaves from ``offset`` on, up to ``most``, and where the last one ends.

        They end where something else begins, and before a leaf that has something wrong with it.
        """
        text = self._text
        leaves: list[Leaf] = []
        while len(leaves) != most and (match := self._match(text, offset)):
            name, count, bound, values, double, single = match.groups()
            kind = name.upper()
            try:
                if values is not None:
                    leaf = self._values[kind](_apart(values) if "," in values else values)
                else:
                    leaf = self._texts[kind](single if double is None else double)
            except (KeyError, ValueError):
                break
            if count is not None and int(count) != len(leaf) and not self._passes(match, leaf):
                break
            if bound is not None and not self._passes_bound(match, leaf):
                break
            if self._notes is not None and kind in ALIASES:
                self._notes.add("type", other_word(name), match.start("type"))
            if self._notes is not None and values is not None and "," in values:
                self._notes.add("comma", COMMAS, match.start("values") + values.index(","))
            leaves.append(leaf)
            offset = match.end()
        return leaves, offset

    def _passes(self, match: re.Match[str], leaf: Leaf) -> bool:
        """Whether the count is passed over. Codes of bytes may be text without quotes."""
        # An empty one has blanks, or nothing.
        has_codes = isinstance(leaf, Text) and len(leaf) > 0 and match["values"] is not None
        if self._notes is None or has_codes:
            return False
        start = match.start("count") - 1
        self._notes.add("count", unfit(f"[{match['count']}]", len(leaf)), start)
        return True

    def _passes_bound(self, match: re.Match[str], leaf: Leaf) -> bool:
        """The same of a count of another dialect. Without a value there is more to say."""
        if self._notes is None or not len(leaf) or (isinstance(leaf, Text) and match["values"]):
            return False
        self._notes.add("count", bounded(match["bound"], len(leaf)), match.start("bound"))
        return True


def _apart(values: str) -> str:
    """The values without the commas, when no comma may be a count or within a number."""
    if _TIGHT.search(values):
        raise ValueError(values)
    return values.replace(",", " ")


def other_word(name: str) -> str:
    """What is said of a type that is not called as in the grammar."""
    return f"{name} is {ALIASES[name.upper()]}"


def unfit(count: str, length: int) -> str:
    """What is wrong with a count."""
    return f"the count is {count}, but {length} follow"


def bounded(count: str, length: int) -> str:
    """What is said of a count that the grammar does not have."""
    low, high = _bounds(count)
    fits = low <= length and (high is None or length <= high)
    return f"{count} is a bound" if fits else unfit(count, length)


def _bounds(text: str) -> tuple[int, int | None]:
    """The least and the most elements that a count of another dialect allows."""
    numbers = list(map(int, _DIGITS.findall(text)))
    match numbers:
        case []:
            return 0, None
        case [one] if text.strip("[]() ,\t").isdigit():
            return one, one
        case [one] if "MIN" in text.upper() or not text.rstrip("[]() \t")[-1:].isdigit():
            return one, None
        case [one]:
            return 0, one
        case _:
            return min(numbers), max(numbers)


def _plain_octets(kind: type[A | B | J]) -> Callable[[str], Leaf]:
    return lambda values: kind(bytes(map(int, values.split(), repeat(0))))


def _plain_integers(kind: type[Integer]) -> Callable[[str], Leaf]:
    def make(values: str) -> Leaf:
        pieces = values.split()
        # Most leaves have one value.
        if len(pieces) == 1:
            return kind(int(pieces[0], 0))
        return kind(*map(int, pieces, repeat(0)))

    return make


def _plain_reals(kind: type[Real]) -> Callable[[str], Leaf]:
    def make(values: str) -> Leaf:
        numbers = list(map(float, values.split()))
        # An infinity may be a number that is too large.
        if not all(map(isfinite, numbers)):
            raise ValueError(values)
        return kind(*numbers)

    return make


# Each raises ``ValueError`` or ``KeyError`` for values that SML does not have, and for some that it
# has: those are not plain.
_PLAIN_VALUES: Final[Mapping[str, Callable[[str], Leaf]]] = {
    "A": _plain_octets(A),
    "B": _plain_octets(B),
    "BOOLEAN": lambda values: BOOLEAN([TRUTHS[value] for value in values.upper().split()]),
    "J": _plain_octets(J),
    **{kind.__name__: _plain_integers(kind) for kind in INTEGERS},
    **{kind.__name__: _plain_reals(kind) for kind in REALS},
}
_PLAIN_TEXT: Final[Mapping[str, Callable[[str], Leaf]]] = {"A": A, "C": C, "J": J}


def _lenient_octets(values: str) -> Leaf:
    pieces = values.split()
    # They may be hexadecimal.
    if any(len(piece) == 2 and piece > "09" for piece in pieces):
        raise ValueError(values)
    return B(bytes(map(int, pieces, repeat(0))))


def _with_aliases(makers: Mapping[str, _Maker]) -> Mapping[str, _Maker]:
    return {
        **makers,
        **{alias: makers[kind] for alias, kind in ALIASES.items() if kind in makers},
    }


_LENIENT_VALUES: Final = _with_aliases({**_PLAIN_VALUES, "B": _lenient_octets})
_LENIENT_TEXT: Final = _with_aliases(_PLAIN_TEXT)
