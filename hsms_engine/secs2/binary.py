"""Binary data: B.

Invariant: given bytes are kept as they are, and an integer above 255 is refused, never cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Self, SupportsIndex, final, overload

from hsms_engine.secs2.base import REPR_BYTES, Leaf, short_headers
from hsms_engine.secs2.numeric import buffer_kind

if TYPE_CHECKING:
    from typing_extensions import Buffer

_SHORT_HEADERS: Final = short_headers(0o10)


@final
class B(Leaf):
    """Binary data: ``B(b"\\\\x00\\\\xff")``, ``B(0, 255)``, ``B([0, 255])``, format code 0o10.

    Takes bytes, a buffer of bytes, or integers in 0..255 (also ``B(7)``: one byte, not seven).
    A sequence of integers; ``bytes(item)`` and ``value`` are all of them. ``bytes`` given to it
    are kept, not copied.

    Raises ``ValueError`` for an integer out of range, ``TypeError`` for anything else.
    """

    __slots__ = ()
    __match_args__ = ("value",)
    code = 0o10

    def __init__(self, value: Buffer | Iterable[int] | int = b"", /, *values: int) -> None:
        if values or isinstance(value, int):
            payload = _bytes_of((value, *values))
        elif isinstance(value, bytes):
            payload = value
        else:
            payload = _bytes_of_one(value)
        length = len(payload)
        if length <= 0xFF:
            self._wire = _SHORT_HEADERS[length] + payload
        else:
            self._keep(payload, length)

    @property
    def value(self) -> bytes:
        """The payload. The first call for a large received item makes its one copy."""
        return self.raw

    def to_python(self) -> bytes:
        return self.raw

    def __bytes__(self) -> bytes:
        return self.raw

    @overload
    def __getitem__(self, index: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: SupportsIndex | slice) -> int | Self:
        if isinstance(index, slice):
            payload = bytes(self._view()[index])
            return self._of_payload(payload, len(payload))
        return self._view()[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self.raw)

    def __repr__(self) -> str:
        if len(self) > REPR_BYTES:
            return f"B({self.first(REPR_BYTES).raw!r}, ... {len(self)} bytes)"
        return f"B({self.raw!r})"


def _bytes_of(values: Iterable[object]) -> bytes:
    octets = bytearray()
    for index, value in enumerate(values):
        if not isinstance(value, int):
            name = type(value).__name__
            raise TypeError(f"B takes bytes or int, not {name} {value!r} at [{index}]")
        if not 0 <= value <= 0xFF:
            raise ValueError(f"B value {value} at [{index}] is not in 0..255")
        octets.append(value)
    return bytes(octets)


def _bytes_of_one(value: Any) -> bytes:
    try:
        view = memoryview(value)
    except TypeError:
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise TypeError(f"B takes bytes or int, not {type(value).__name__} {value!r}") from None
        return _bytes_of(value)
    if view.itemsize != 1 or buffer_kind(view) not in {"u1", None}:
        raise TypeError(f"B takes a buffer of bytes, not of {view.format!r}")
    return view.tobytes()
