"""How items of numbers and of truth keep their values; the types themselves are in ``numbers``.

Invariants:

* The values are kept as one big-endian payload. Reading them makes machine numbers in one pass; a
  Python object is made only for a value that is asked for.
* A value outside the type's range never becomes an item: the error names type, value, range.
* An integer type takes a Python ``bool`` as the ``int`` that it is (``U1(True) == U1(1)``), but
  ``BOOLEAN`` takes only ``bool``.
* A ``float`` never becomes an integer. F4 rounds to the nearest of its values, as IEEE 754 says,
  but refuses a number that would overflow to infinity. NaN and infinities are values.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from operator import index as as_index
from struct import Struct, error
from typing import (
    Any,
    ClassVar,
    Final,
    Generic,
    Protocol,
    Self,
    SupportsIndex,
    TypeVar,
    overload,
)

from hsms_engine.secs2.base import REPR_VALUES, Leaf, shortened

_T = TypeVar("_T", bool, int, float)

# The kind of number for each letter of a buffer's format: i(nteger), u(nsigned), f(loat), b(ool).
_KINDS: Final = {
    **dict.fromkeys("bhilqn", "i"),
    **dict.fromkeys("BHILQN", "u"),
    **dict.fromkeys("fd", "f"),
    "?": "b",
}
# The struct letter for a kind and a size, the same on every platform.
_LETTERS: Final = {
    **{f"i{1 << power}": letter for power, letter in enumerate("bhiq")},
    **{f"u{1 << power}": letter for power, letter in enumerate("BHIQ")},
    "f4": "f",
    "f8": "d",
    "b1": "?",
}


def buffer_kind(view: memoryview) -> str | None:
    """The type of numbers in a buffer, in numpy's words (``"u4"``); ``None`` for other buffers."""
    order, letter = view.format[:-1], view.format[-1:]
    if letter not in _KINDS or order not in {"", "@", "=", "<", ">", "!"}:
        return None
    return f"{_KINDS[letter]}{view.itemsize}"


def _big_endian(view: memoryview) -> bytes:
    order = view.format[:-1]
    if order not in {"<", ">", "!"}:
        order = "<" if sys.byteorder == "little" else ">"
    if order != "<" or view.itemsize == 1:
        return view.tobytes()
    numbers = array(_LETTERS[f"u{view.itemsize}"], view.tobytes())
    numbers.byteswap()
    return numbers.tobytes()


def swapped(numbers: array[Any]) -> bytes:
    """Machine numbers as big-endian bytes, or the other way round."""
    if numbers.itemsize > 1 and sys.byteorder == "little":
        numbers.byteswap()
    return numbers.tobytes()


class _Pack(Protocol):
    def __call__(self, *values: object) -> bytes: ...


class Unpack(Protocol):
    """Reads one value at an offset: ``struct.Struct.unpack_from``."""

    def __call__(self, data: bytes | memoryview, offset: int, /) -> tuple[Any, ...]: ...


class Numeric(Leaf, Generic[_T]):
    """The base of numeric items: elements of one size, ``U4(5)``, ``U4(1, 2)``, ``U4([1, 2])``.

    One argument may be an iterable, or anything with a buffer of numbers (``array``,
    ``memoryview``, a numpy array of one dimension); without argument the item is empty.
    ``case U4(n)`` matches an item of exactly one value, ``case U4(values=[a, b])`` of two.
    ``numpy.asarray(item)`` reads the values in place.

    Raises ``ValueError`` for a value out of range, ``TypeError`` for a value of another kind.
    """

    __slots__ = ()
    __match_args__ = ("value",)

    kind: ClassVar[str]
    """Kind and size of an element in numpy's words: ``"u4"`` for U4."""

    letter: ClassVar[str]
    """The same as ``struct``, ``array`` and ``memoryview`` say it: ``"I"`` for U4."""

    _range: ClassVar[str]
    # The types that a user may give, in words and as types. A value of these types that does not
    # fit is out of range; any other value is of the wrong type.
    _takes: ClassVar[str]
    _numbers: ClassVar[tuple[type, ...]]
    # For an item of one value, by far the most frequent: its header as a number, its length, and
    # the function that packs that number and the value.
    head_one: ClassVar[int]
    length_one: ClassVar[int]
    pack_one: ClassVar[_Pack]
    unpack_at: ClassVar[Unpack]

    @classmethod
    def prepare(cls) -> None:
        """Compute, once for a class, what follows from its code and letter."""
        cls.letter = _LETTERS[cls.kind]
        one = Struct(">H" + cls.letter)
        cls.size = one.size - 2
        cls.head_one = (cls.code << 2 | 1) << 8 | cls.size
        cls.length_one = one.size
        cls.pack_one = one.pack
        cls.unpack_at = Struct(">" + cls.letter).unpack_from

    @property
    def value(self) -> _T:
        """The only value. ``AttributeError`` when there is none, or more than one."""
        wire = self._wire
        if wire is None or len(wire) != self.length_one:
            raise AttributeError(
                f"{type(self).__name__} of {len(self)} values has no one value: use values"
            )
        one: _T = self.unpack_at(wire, 2)[0]
        return one

    @property
    def values(self) -> memoryview:
        """All values in the machine's byte order: read-only, one dimension, made at every call.

        Indexing, slicing, iteration, ``tolist()`` and numpy work on it.
        """
        raw = self.raw
        if self.size > 1:
            raw = swapped(array(_LETTERS[f"u{self.size}"], raw))
        view: memoryview = memoryview(raw).cast(self.letter)  # type: ignore[call-overload]  # not a literal
        return view

    def to_python(self) -> Any:
        wire = self._wire
        if wire is not None and len(wire) == self.length_one:
            return self.unpack_at(wire, 2)[0]
        return self.values.tolist()

    @overload
    def __getitem__(self, index: SupportsIndex) -> _T: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: SupportsIndex | slice) -> _T | Self:
        count = len(self)
        size = self.size
        if isinstance(index, slice):
            start, stop, step = index.indices(count)
            view = self._view()
            payload = (
                bytes(view[start * size : max(start, stop) * size])
                if step == 1
                else b"".join(view[i * size : (i + 1) * size] for i in range(start, stop, step))
            )
            return self._of_payload(payload, len(payload))
        position = as_index(index)
        if not -count <= position < count:
            raise IndexError(f"{type(self).__name__} of {count} values has no [{position}]")
        one: _T = self.unpack_at(self._view(), position % count * size)[0]
        return one

    def __iter__(self) -> Iterator[_T]:
        values: Any = self.values
        return iter(values)

    @property
    def __array_interface__(self) -> dict[str, object]:
        """numpy's array protocol, version 3: the big-endian payload itself, read-only."""
        return {
            "version": 3,
            "typestr": f">{self.kind}",
            "shape": (len(self),),
            "data": self.raw,
        }

    def __repr__(self) -> str:
        some = map(repr, self.first(REPR_VALUES))
        return f"{type(self).__name__}({shortened(some, len(self), 'values')})"

    def _take(self, value: object, values: tuple[object, ...]) -> None:
        """Fill the item from any argument except the single plain value that constructors take."""
        if values:
            payload = self._packed((value, *values))
        elif isinstance(value, str | bytes | bytearray):
            raise self._unfit(value)
        else:
            payload = self._of_one(value)
        self._keep(payload, len(payload))

    def _of_one(self, value: Any) -> bytes:
        try:
            view = memoryview(value)
        except TypeError:
            if isinstance(value, Iterable):
                return self._packed(value if isinstance(value, list | tuple) else tuple(value))
            return self._packed((value,))
        return self._of_buffer(view)

    def _of_buffer(self, view: memoryview) -> bytes:
        kind = buffer_kind(view)
        if kind is None or view.ndim > 1:
            raise TypeError(
                f"{type(self).__name__} takes numbers in one dimension, "
                f"not a buffer of {view.format!r} in {view.ndim}"
            )
        payload = _big_endian(view)
        if kind == self.kind != "b1":
            return payload
        count = view.nbytes // view.itemsize
        return self._packed(Struct(f">{count}{_LETTERS[kind]}").unpack(payload))

    @abstractmethod
    def _packed(self, values: Sequence[Any]) -> bytes:
        """The payload of Python values; each value is checked."""

    def _first_unfit(self, values: Sequence[Any]) -> Exception:
        index = 0
        while self._fits(values[index]):
            index += 1
        return self._unfit(values[index], f" at [{index}]" if len(values) > 1 else "")

    def _fits(self, value: object) -> bool:
        try:
            self.pack_one(self.head_one, value)
        except (error, OverflowError):
            return False
        return True

    def _unfit(self, value: object, at: str = "") -> Exception:
        name = type(self).__name__
        if isinstance(value, self._numbers):
            return ValueError(f"{name} value {value!r}{at} is not in {self._range}")
        return TypeError(f"{name} takes {self._takes}, not {type(value).__name__} {value!r}{at}")
