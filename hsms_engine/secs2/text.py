"""Items of text: A, J, C.

Invariants:

* Received text is never refused and never changed: every byte of an A or J has a character, which
  encodes to the same byte. Only a C may hold bytes that its own encoding cannot read; then
  ``value`` raises, and ``raw`` still has the bytes.
* Text of the user is refused when the type does not have its characters: none is replaced by ``?``.
* An item is its bytes and knows no encoding but that of its type. Who builds an item, or reads its
  text, names another.
"""

from __future__ import annotations

import codecs
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, Self, SupportsIndex, final, overload

from hsms_engine.secs2.base import REPR_BYTES, Leaf, short_headers
from hsms_engine.secs2.encodings import ENCODINGS, SUPERSETS, known

# JIS X 0201: ASCII with yen and overline, and half-width katakana from 0xA1. A byte that it does
# not define is the code point of the same number, so that no byte is changed.
_JIS8: Final = "".join(
    {0x5C: "\N{YEN SIGN}", 0x7E: "\N{OVERLINE}"}.get(
        byte, chr(byte + 0xFEC0) if 0xA1 <= byte <= 0xDF else chr(byte)
    )
    for byte in range(256)
)
_JIS8_BYTES: Final = {ord(character): byte for byte, character in enumerate(_JIS8)}

_SHORT_HEADERS: Final = short_headers(0o20)
# How the 8 bytes begin in which Python's EUC-KR writes a syllable that it has no code for.
_COMPOSED: Final = b"\xa4\xd4"
_NOT_ASCII: Final = (
    'ASCII (0..127): name its encoding, as in A(text, encoding="gbk"), or give the message, the '
    'file or the link one: text_encoding="gbk"'
)


class Text(Leaf):
    """The base of A, J and C: ``value`` is a ``str``, indexing and iteration give characters."""

    __slots__ = ()

    @property
    @abstractmethod
    def value(self) -> str:
        """The text."""

    def text(self, encoding: str | None = None, errors: str = "strict") -> str:
        """The text in an encoding of Python's, whatever the type says; None: ``value``.

        ``errors`` is as for ``bytes.decode``, for bytes that are not of this encoding. Without it,
        they raise ``ValueError``, which says which byte, and so does an unknown encoding.
        """
        if encoding is None:
            return self.value
        data = self._encoded()
        try:
            return data.decode(known(encoding), errors)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{type(self).__name__} byte 0x{data[error.start]:02X} at [{error.start}] is not "
                f"{encoding}: raw has the bytes"
            ) from None

    def _encoded(self) -> bytes:
        """The bytes of the text."""
        return self.raw

    def to_python(self) -> str:
        return self.value

    @overload
    def __getitem__(self, index: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: SupportsIndex | slice) -> str | Self:
        if isinstance(index, slice):
            return self._again(self.value[index])
        return self.value[index]

    @abstractmethod
    def _again(self, text: str) -> Self:
        """An item of the same type, with other text."""

    def __iter__(self) -> Iterator[str]:
        return iter(self.value)

    def __repr__(self) -> str:
        name = type(self).__name__
        if len(self) > REPR_BYTES:
            return f"{name}({self.first(REPR_BYTES).value!r}, ... {len(self)} characters)"
        return f"{name}({self.value!r})"


@final
class A(Text):
    """ASCII text: ``A("MDLN")``, format code 0o20.

    A ``str`` must be ASCII, or its ``encoding`` is named: ``A("温", encoding="gbk")``, any of
    Python's. Equipment that sends other bytes is read: in ``value`` a byte above 127 is the
    character of the same number (ISO 8859-1), ``text("gbk")`` reads the encoding that it has, and
    ``A(b"...")`` sends any bytes on purpose.

    Raises ``ValueError`` for a character that the encoding does not have, ``TypeError`` for
    anything but text and for bytes with an encoding.
    """

    __slots__ = ()
    __match_args__ = ("value",)
    code = 0o20

    def __init__(
        self, value: str | bytes | bytearray = "", /, *, encoding: str | None = None
    ) -> None:
        if encoding is not None:
            payload = _in_encoding("A", value, encoding)
        elif type(value) is str:
            try:
                payload = value.encode("ascii")
            except UnicodeEncodeError as error:
                raise _unfit("A", value, error.start, _NOT_ASCII) from None
        else:
            payload = _text_bytes("A", value)
        length = len(payload)
        if length <= 0xFF:
            self._wire = _SHORT_HEADERS[length] + payload
        else:
            self._keep(payload, length)

    @property
    def value(self) -> str:
        """The text; a byte above 127 is the character of the same number."""
        return self.raw.decode("latin-1")

    def _again(self, text: str) -> Self:
        payload = text.encode("latin-1")
        return self._of_payload(payload, len(payload))


@final
class J(Text):
    """JIS-8 text (JIS X 0201): ``J("ｱｲｳ")``, format code 0o21.

    ASCII, but with a yen sign for the backslash and an overline for the tilde, and half-width
    katakana. Bytes that JIS X 0201 does not define are the characters of the same number. What
    holds Shift-JIS is read with ``text("cp932")`` and built with ``J("温", encoding="cp932")``.

    Raises ``ValueError`` for a character it does not have, ``TypeError`` for anything but text and
    for bytes with an encoding.
    """

    __slots__ = ()
    __match_args__ = ("value",)
    code = 0o21

    def __init__(
        self, value: str | bytes | bytearray = "", /, *, encoding: str | None = None
    ) -> None:
        if encoding is not None:
            payload = _in_encoding("J", value, encoding)
        elif isinstance(value, str):
            try:
                payload = codecs.charmap_encode(value, "strict", _JIS8_BYTES)[0]
            except UnicodeEncodeError as error:
                raise _unfit("J", value, error.start, "JIS X 0201") from None
        else:
            payload = _text_bytes("J", value)
        self._keep(payload, len(payload))

    @property
    def value(self) -> str:
        """The text, half-width katakana included."""
        return codecs.charmap_decode(self.raw, "strict", _JIS8)[0]

    def _again(self, text: str) -> Self:
        return type(self)(text)


@final
class C(Text):
    """Localized text with its encoding: ``C("größe")``, ``C("大", 13)``, format code 0o22.

    ``encoding`` is the number of the two header bytes, see ``ENCODINGS``; 2 is UTF-8. Text beyond
    this encoding is written in its wider one (``SUPERSETS``), if it has one, and read in that. With
    ``bytes`` they are the text already encoded, in any encoding 0..65535. ``len`` counts bytes of
    text: characters cannot be counted without knowing the encoding. An item of no payload at all,
    not even the header, is legal on the wire: its encoding is 0.

    Raises ``ValueError`` for text its encoding does not have or an encoding Python does not
    know, ``TypeError`` for anything but text.
    """

    __slots__ = ()
    __match_args__ = ("value", "encoding")
    code = 0o22

    def __init__(self, value: str | bytes | bytearray = "", /, encoding: int = 2) -> None:
        if not 0 <= encoding <= 0xFFFF:
            raise ValueError(f"C encoding {encoding} is not in 0..65535")
        text = localized(value, encoding) if isinstance(value, str) else _text_bytes("C", value)
        self._keep(encoding.to_bytes(2, "big") + text, len(text) + 2)

    @classmethod
    def check_length(cls, length: int) -> None:
        if length == 1:
            raise ValueError("none, or two bytes of encoding and the text")

    @property
    def encoding(self) -> int:
        """The number of the encoding, 0 for an item without payload."""
        return int.from_bytes(self._view()[:2], "big")

    @property
    def value(self) -> str:
        """The text. Raises ``ValueError`` when the bytes do not fit the encoding."""
        text = self._encoded()
        return text.decode(codec_of(text, self.encoding)) if text else ""

    def _encoded(self) -> bytes:
        return self.raw[2:]

    def __len__(self) -> int:
        return max(super().__len__() - 2, 0)

    def first(self, count: int) -> Self:
        """The first ``count`` bytes of text; the last character may be cut."""
        return super().first(count + 2)

    def _again(self, text: str) -> Self:
        return type(self)(text, self.encoding)

    def __repr__(self) -> str:
        if len(self) > REPR_BYTES:
            text: str | bytes = self.first(REPR_BYTES).raw[2:]
            more = f", ... {len(self)} bytes"
        else:
            more = ""
            try:
                text = self.value
            except ValueError:
                text = self.raw[2:]
        return f"C({text!r}{more}, encoding={self.encoding})"


def _codec(encoding: int) -> str:
    name = ENCODINGS.get(encoding)
    if name is None:
        raise ValueError(f"encoding {encoding} of a localized string is unknown: use raw")
    return name


def codec_of(text: bytes, encoding: int) -> str:
    """Python's name of the encoding that localized text of this number is read in.

    That of the number; for bytes that are not of it, a superset, which may not have them either.
    Raises ``ValueError`` for an unknown number.
    """
    codec = _codec(encoding)
    for wider in SUPERSETS.get(encoding, ()):
        try:
            text.decode(codec)
        except UnicodeDecodeError:
            codec = wider
        else:
            break
    return codec


def localized(text: str, encoding: int) -> bytes:
    """The bytes of localized text of this number. Raises ``ValueError``."""
    codec = _codec(encoding)
    try:
        data = text.encode(codec)
    except UnicodeEncodeError as error:
        for wider in SUPERSETS.get(encoding, ()):
            with suppress(UnicodeEncodeError):
                return text.encode(wider)
        raise _unfit("C", text, error.start, f"encoding {encoding}") from None
    if codec == "euc_kr" and _COMPOSED in data:
        # Few others than Python read these. All that EUC-KR has is the same bytes in its superset.
        return text.encode(SUPERSETS[encoding][0])
    return data


def _in_encoding(name: str, value: object, encoding: str) -> bytes:
    if not isinstance(value, str):
        raise TypeError(
            f"{name} with encoding={encoding!r} takes str, not {type(value).__name__} {value!r}: "
            "bytes are encoded already"
        )
    try:
        return value.encode(known(encoding))
    except UnicodeEncodeError as error:
        raise _unfit(name, value, error.start, encoding) from None


def _unfit(name: str, text: str, at: int, what: str) -> ValueError:
    point = f"{text[at]!r} (U+{ord(text[at]):04X})"
    return ValueError(f"{name} character {point} at [{at}] is not {what}")


def _text_bytes(name: str, value: object) -> bytes:
    if isinstance(value, str):
        # A subclass of str is text too.
        return value.encode("ascii")
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    raise TypeError(f"{name} takes str or bytes, not {type(value).__name__} {value!r}")
