"""The values between ``<U4`` and ``>`` as an item.

Nothing is changed silently: a number that its type cannot hold is an error, and so is a fraction in
an integer.

``MAKERS`` take tokens and know every form and every error. ``plain_leaves`` takes the text of plain
leaves at once, and leaves the rest to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import repeat
from math import isfinite, isinf, isnan
from typing import Final

from hsms_engine.secs2 import BOOLEAN, INTEGERS, REALS, A, B, C, Integer, Item, J, Leaf, Real
from hsms_engine.secs2.encodings import superset_of_ascii
from hsms_engine.secs2.text import localized
from hsms_engine.sml.lexer import PLAIN, Token

_TRUTHS: Final = {"T": True, "TRUE": True, "1": True, "F": False, "FALSE": False, "0": False}
_MAX_ENCODING: Final = 0xFFFF
_MAX_DIGITS: Final = 400


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
        truth = _TRUTHS.get(token.text.upper())
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


def plain_leaves(
    text: str, offset: int, most: int | None, texts: Mapping[str, Callable[[str], Leaf]]
) -> tuple[list[Leaf], int]:
    """The plain leaves from ``offset`` on, up to ``most``, and the offset of the end of the last.

    ``texts`` are those of ``plain_texts``.
    They end where something else begins, and before a leaf that has something wrong with it.
    """
    leaves: list[Leaf] = []
    while len(leaves) != most and (match := PLAIN.match(text, offset)):
        name, count, values, double, single = match.groups()
        try:
            if values is not None:
                leaf = _PLAIN_VALUES[name.upper()](values)
            else:
                leaf = texts[name.upper()](single if double is None else double)
        except (KeyError, ValueError):
            break
        if count is not None and int(count) != len(leaf):
            break
        leaves.append(leaf)
        offset = match.end()
    return leaves, offset


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
    "BOOLEAN": lambda values: BOOLEAN([_TRUTHS[value] for value in values.upper().split()]),
    "J": _plain_octets(J),
    **{kind.__name__: _plain_integers(kind) for kind in INTEGERS},
    **{kind.__name__: _plain_reals(kind) for kind in REALS},
}
_PLAIN_TEXT: Final[Mapping[str, Callable[[str], Leaf]]] = {"A": A, "C": C, "J": J}


def plain_texts(text_encoding: str | None) -> Mapping[str, Callable[[str], Leaf]]:
    """By type name: the function that makes an item from its one string. The encoding is fit."""
    if text_encoding is None:
        return _PLAIN_TEXT
    return {**_PLAIN_TEXT, "A": partial(A, encoding=text_encoding)}
