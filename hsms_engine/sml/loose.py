"""Values as other tools write them, made into values that the grammar has.

What has one meaning is rewritten, with a note. What has two is refused with both of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, Literal, TypeAlias

from hsms_engine.sml.errors import OffsetError
from hsms_engine.sml.lexer import Token, shown
from hsms_engine.sml.notes import Notes
from hsms_engine.sml.values import COMMAS, TRUTHS, ValueTokenError, integer

Binary: TypeAlias = Literal["decimal", "hex"]
"""What two digits in a ``B`` are."""

_NUMBER: Final = re.compile(r"[+-]?(?:0[xX][0-9A-Fa-f]+|0[bB][01]+|[0-9.]+(?:[eE][+-]?[0-9]+)?)")
_SUFFIXED: Final = re.compile(r"([0-9A-Fa-f]+)[hH]")
_HEX: Final = re.compile(r"[0-9A-Fa-f]{1,2}")
_PADDED: Final = "and a byte beside it is written as hexadecimal ones are, with a 0 before it"
_STRINGS: Final = frozenset({"string", "escaped"})
_NAMED: Final = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}
# After a zero, digits are those of an octal number in one language, and text in another.
_ESCAPE: Final = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|(0[0-9]+|.))", re.DOTALL)


class Loosener:
    """Rewrites the values of one text. It learns on the way whether bytes are hexadecimal."""

    def __init__(self, notes: Notes, binary: Binary | None) -> None:
        self._notes = notes
        self._binary = binary
        self.has_hex = False
        """Whether any byte was written in bare hexadecimal digits with a letter."""
        self.doubtful: Token | None = None
        """The first byte, since this was last made ``None``, that has two readings in such a
        text."""

    def values(self, name: str, values: Sequence[Token], count: int | None) -> list[Token]:
        """The values of a leaf of the type ``name``, whose count is ``count`` if it has one.

        Raises :class:`OffsetError` for values that have two meanings.
        """
        tokens = self._without_commas(name, values, count)
        match name:
            case "A" | "J" | "C":
                return [piece for token in tokens for piece in self._texts(token)]
            case "B":
                return self._bytes(list(self._unquoted(tokens)))
            case "BOOLEAN" | "BOOL":
                return list(map(self._truth, self._unquoted(tokens)))
            case "F4" | "F8":
                return list(map(self._suffixed, self._unquoted(tokens)))
            case _:
                return list(map(self._integer, self._unquoted(tokens)))

    def text(self, token: Token) -> Token:
        """A string with escapes as one of the grammar."""
        self._notes.add("escape", f"{token} has escapes", token.offset)
        text = _ESCAPE.sub(lambda match: _plain(match, token), token.text[1:-1])
        return Token("string", f'"{text}"', token.offset)

    def _texts(self, token: Token) -> Iterator[Token]:
        """A value of text as the grammar has it. An escape beyond ASCII is a byte, no character."""
        if token.kind != "escaped":
            yield token
            return
        self._notes.add("escape", f"{token} has escapes", token.offset)
        text, piece, last = token.text[1:-1], "", 0
        for match in _ESCAPE.finditer(text):
            piece += text[last : match.start()]
            last = match.end()
            if match[1] is not None and match[1][0] > "7":
                yield Token("string", f'"{piece}"', token.offset)
                yield Token("number", f"0x{match[1]}", token.offset)
                piece = ""
            else:
                piece += _plain(match, token)
        yield Token("string", f'"{piece}{text[last:]}"', token.offset)

    def _without_commas(self, name: str, values: Sequence[Token], count: int | None) -> list[Token]:
        tokens = [token for token in values if token.kind != "comma"]
        commas = len(values) - len(tokens)
        if commas:
            if count != len(tokens):
                _require_list(name, values, tokens, count)
            first = next(token for token in values if token.kind == "comma")
            self._notes.add("comma", COMMAS, first.offset)
        return tokens

    def _unquoted(self, tokens: Sequence[Token]) -> Iterator[Token]:
        """The numbers and words in strings, without the quotes."""
        for token in tokens:
            if token.kind not in _STRINGS:
                yield token
                continue
            pieces = token.text[1:-1].split()
            self._notes.add("quotes", f"{token} is a string: what is in it is read", token.offset)
            for piece in pieces:
                kind = "number" if is_number(piece) else "word"
                yield Token(kind, piece, token.offset)

    def _truth(self, token: Token) -> Token:
        if token.text.upper() in TRUTHS:
            return token
        number = integer(token) if token.kind == "number" else -1
        if not 0 <= number <= 0xFF:
            return token
        truth = "T" if number else "F"
        self._notes.add("truth", f"{token} is {truth}", token.offset)
        return Token("word", truth, token.offset)

    def _suffixed(self, token: Token) -> Token:
        """``0A4h`` as ``0x0A4``."""
        match = _SUFFIXED.fullmatch(token.text)
        if match is None:
            return token
        self._notes.add("number", f"{token} is 0x{match[1]}", token.offset)
        return Token("number", f"0x{match[1]}", token.offset)

    def _integer(self, token: Token) -> Token:
        if token.text.isdigit():
            return token
        token = self._suffixed(token)
        try:
            integer(token)
        except ValueTokenError:
            if token.kind == "number":
                number = _whole(token.text)
                if number is not None:
                    self._notes.add("number", f"{token} is {number}", token.offset)
                    return Token("number", str(number), token.offset)
        return token

    # Bytes

    def _bytes(self, tokens: Sequence[Token]) -> list[Token]:
        tokens = list(map(self._suffixed, tokens))
        if any(_HEX.fullmatch(token.text) and not token.text.isdigit() for token in tokens):
            self.has_hex = True
            self._notes.add("binary", "these bytes are hexadecimal", tokens[0].offset)
            return [self._hex(token) for token in tokens]
        doubtful = [token for token in tokens if _is_doubtful(token)]
        if not doubtful:
            return list(tokens)
        if self._binary == "hex":
            self._notes.add("binary", "these bytes are hexadecimal", doubtful[0].offset)
            return [self._hex(each) if _is_doubtful(each) else each for each in tokens]
        if self._binary is None:
            if _are_padded(tokens):
                raise OffsetError(in_doubt(doubtful[0], _PADDED), doubtful[0].offset)
            self.doubtful = self.doubtful or doubtful[0]
        return list(tokens)

    def _hex(self, token: Token) -> Token:
        if token.text[:2].lower() == "0x":
            return token
        if not _HEX.fullmatch(token.text):
            raise OffsetError(
                f"other bytes of this item are hexadecimal, and {token} is no byte in hexadecimal",
                token.offset,
            )
        return Token("number", f"0x{token.text}", token.offset)


def _plain(match: re.Match[str], token: Token) -> str:
    """The character of an escape in the string ``token``."""
    code, one = match.groups()
    if code is not None:
        return chr(int(code, 16))
    if one.isalnum() and one not in _NAMED:
        raise OffsetError(f"the escape \\{one} is unknown", token.offset + 1 + match.start())
    return _NAMED.get(one, one)


def is_number(text: str) -> bool:
    """Whether it is a number, and may be the code of a byte."""
    return _NUMBER.fullmatch(text) is not None


def in_doubt(token: Token, why: str = "which other bytes of this text are") -> str:
    """What is wrong with a byte that was read in decimal, when it may be hexadecimal."""
    return (
        f"{token} is {int(token.text)} in decimal and {int(token.text, 16)} in hexadecimal, {why}: "
        "say binary='decimal' or binary='hex'"
    )


def _are_padded(tokens: Sequence[Token]) -> bool:
    """Whether all bytes have two digits, and one begins with 0: so hexadecimal ones are written."""
    bare = [token.text for token in tokens if token.text.isdigit()]
    return all(len(text) == 2 for text in bare) and any(text[0] == "0" for text in bare)


def _is_doubtful(token: Token) -> bool:
    return len(token.text) == 2 and token.text.isdigit() and token.text[0] != "0"


def _whole(text: str) -> int | None:
    """The integer that is written as ``5.0`` or ``1E3``."""
    try:
        number = float(text)
    except ValueError:
        return None
    # Beyond that, a float does not have every integer.
    return int(number) if number.is_integer() and abs(number) < 2**53 else None


def _require_list(
    name: str, values: Sequence[Token], tokens: Sequence[Token], count: int | None
) -> None:
    """Refuse a comma that may be a part of a number: ``1,5`` and ``1,000``."""
    is_real, commas = name in {"F4", "F8"}, len(values) - len(tokens)
    # An even number of them may be half as many with a fraction.
    if is_real and commas == len(tokens) - 1 and len(tokens) % 2:
        return
    is_part = _is_fraction if is_real else _is_thousands if count is None else _is_grouped
    triples = zip(values, values[1:], values[2:], strict=False)
    for before, comma, after in triples:
        if (
            comma.kind == "comma"
            and before.offset + len(before.text) == comma.offset == after.offset - 1
            and is_part(before.text, after.text)
        ):
            both = f"{before.text},{after.text}"
            raise OffsetError(
                f"{shown(both)} may be one number or two: write a point or a blank for the comma",
                before.offset,
            )


def _is_fraction(before: str, after: str) -> bool:
    return before.lstrip("+-").isdigit() and after.isdigit()


def _is_grouped(_before: str, after: str) -> bool:
    return len(after) == 3 and after.isdigit()


def _is_thousands(before: str, after: str) -> bool:
    return _is_grouped(before, after) and after[0] == "0"
