"""What all SECS-II items share: the encoded form they hold, equality, headers and limits.

Invariants:

* An item never changes, and holds its canonical encoding: the shortest length field, and 1 for
  true. Two items are equal exactly when they encode to the same bytes, so ``U1(1) != U4(1)``,
  ``F8(0.0) != F8(-0.0)``, and a NaN equals the same NaN.
* A leaf of up to 65,535 payload bytes is one ``bytes`` (header and payload). A larger one keeps
  header and payload apart, so that building or decoding it copies nothing: the one copy is made
  when its bytes are asked for, or by the encoder.
* ``_parts`` is set only for large leaves, and not read when ``_wire`` is set. A list has no
  ``_wire``; see ``lists`` for what it keeps.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from typing_extensions import Buffer

MAX_DEPTH: Final = 64
"""Lists within lists, the outermost counted."""

MAX_LENGTH: Final = 0xFFFFFF
"""The most payload bytes of a leaf, or items of a list, that three length bytes allow (SEMI E5)."""

SMALL: Final = 0xFFFF
"""The most payload bytes of a leaf that is kept in one piece."""

REPR_VALUES: Final = 16
REPR_BYTES: Final = 64

new: Final = object.__new__


def header(code: int, length: int) -> bytes:
    """The shortest item header for a format code: format byte and 1 to 3 length bytes."""
    if length <= 0xFF:
        return bytes((code << 2 | 1, length))
    if length <= SMALL:
        return bytes((code << 2 | 2, length >> 8, length & 0xFF))
    return bytes((code << 2 | 3,)) + length.to_bytes(3, "big")


def short_headers(code: int) -> tuple[bytes, ...]:
    """The headers of all items of one length byte, by length."""
    return tuple(header(code, length) for length in range(0x100))


class BaseItem:
    """The base of lists and leaves. In annotations use ``Item``, the union of the two."""

    __slots__ = ()

    code: ClassVar[int]
    """The six-bit format code (SEMI E5), as in the table of the manual: ``0o54`` for U4."""

    @abstractmethod
    def to_python(self) -> Any:
        """Plain Python: list, str, bytes, bool, int or float.

        A numeric item of one value is that value; of none or many, a list of them.
        """

    @abstractmethod
    def __len__(self) -> int:
        """How many elements: items, values, bytes or characters."""

    @abstractmethod
    def _spread(self, append: Callable[[Buffer], None]) -> None:
        """Append the pieces of an item that is not in one piece."""

    def __reduce__(self) -> tuple[Callable[[bytes], BaseItem], tuple[bytes]]:
        from hsms_engine.secs2.codec import decode, encode

        return decode, (encode(self),)  # type: ignore[arg-type]  # it is a list or a leaf


class Leaf(BaseItem):
    """An item whose payload is bytes: everything but a list."""

    __slots__ = ("_parts", "_wire")

    size: ClassVar[int] = 1
    """Bytes per element."""

    _wire: bytes | None
    # A large leaf's header and payload.
    _parts: tuple[bytes, Buffer]

    @classmethod
    def _of_payload(cls, payload: Buffer, length: int) -> Self:
        """An item of ``length`` payload bytes that are known to be canonical and immutable."""
        item = new(cls)
        item._keep(payload, length)
        return item

    @classmethod
    def from_raw(cls, payload: bytes) -> Self:
        """The item whose ``raw`` is ``payload``. Truth values are normalised to 0 and 1.

        Raises ``ValueError`` when no item of this type has such a payload.
        """
        cls.check_length(len(payload))
        return cls._of_payload(cls.normal(payload), len(payload))

    @classmethod
    def check_length(cls, length: int) -> None:
        """Raises ``ValueError``, with what is expected, when no payload has this length."""
        if length % cls.size:
            raise ValueError(f"a multiple of {cls.size}")

    @classmethod
    def normal(cls, payload: bytes) -> bytes:
        """The canonical payload of the same values."""
        return payload

    def _keep(self, payload: Buffer, length: int) -> None:
        if length > MAX_LENGTH:
            raise ValueError(
                f"{type(self).__name__} of {length} bytes: an item holds at most {MAX_LENGTH}"
            )
        head = header(self.code, length)
        if length <= SMALL:
            self._wire = b"".join((head, payload))
        else:
            self._wire = None
            self._parts = (head, payload)

    @property
    def raw(self) -> bytes:
        """The payload as it goes over the wire, big-endian and without header."""
        wire = self._wire
        if wire is not None:
            return wire[1 + (wire[0] & 3) :]
        head, payload = self._parts
        if not isinstance(payload, bytes):
            # From now on, the item does not keep the received frame alive.
            payload = bytes(payload)
            self._parts = (head, payload)
        return payload

    def _view(self) -> memoryview:
        """The payload, without a copy."""
        wire = self._wire
        if wire is not None:
            return memoryview(wire)[1 + (wire[0] & 3) :]
        return memoryview(self._parts[1])

    def first(self, count: int) -> Self:
        """The item of at most the first ``count`` elements. The others are not read."""
        payload = bytes(self._view()[: count * self.size])
        return self._of_payload(payload, len(payload))

    def __len__(self) -> int:
        wire = self._wire
        if wire is not None:
            return (len(wire) - 1 - (wire[0] & 3)) // self.size
        return memoryview(self._parts[1]).nbytes // self.size

    def _spread(self, append: Callable[[Buffer], None]) -> None:
        append(self._parts[0])
        append(self._parts[1])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Leaf):
            return NotImplemented
        if self._wire is not None or other._wire is not None:
            return self._wire == other._wire
        return self.code == other.code and self.raw == other.raw

    def __hash__(self) -> int:
        wire = self._wire
        return hash(wire if wire is not None else (self.code, self.raw))


def shortened(pieces: Iterable[str], count: int, unit: str) -> str:
    """``pieces`` joined by commas, ended by how many there are when ``count`` is too many."""
    text = ", ".join(pieces)
    return text if count <= REPR_VALUES else f"{text}, ... {count} {unit}"
