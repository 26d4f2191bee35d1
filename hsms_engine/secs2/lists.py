"""Lists of items, and the item type of each plain Python value.

Invariants:

* A list holds only items; plain Python is turned into items when the list is made, or refused.
* No list is nested deeper than ``MAX_DEPTH``; this is checked when it is made. So every list can be
  encoded, compared, hashed and shown without exhausting the stack.
* A decoded list keeps the bytes of its small leaves, already checked, until an item is asked for:
  only then does it make them all. Encoding, comparing and ``to_python`` need no items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    SupportsIndex,
    TypeAlias,
    Union,
    final,
    overload,
)

from hsms_engine.secs2.base import (
    MAX_DEPTH,
    MAX_LENGTH,
    REPR_VALUES,
    BaseItem,
    Leaf,
    header,
    new,
    short_headers,
    shortened,
)
from hsms_engine.secs2.binary import B
from hsms_engine.secs2.encodings import superset_of_ascii
from hsms_engine.secs2.numbers import BOOLEAN, F8, NUMERICS, U1, Integer
from hsms_engine.secs2.numeric import Unpack, buffer_kind
from hsms_engine.secs2.text import A, C, J

if TYPE_CHECKING:
    from typing_extensions import Buffer

    _Base = Sequence["Item"]
else:
    _Base = object

Plain: TypeAlias = Union[str, "Buffer", bool, float, Sequence[Union["Item", "Plain"]]]
"""Plain Python whose item type cannot be mistaken. Type checkers let an ``int`` pass for a
``float``; :func:`item_of` does not."""

LEAVES: Final[frozenset[type[Leaf]]] = frozenset({A, B, C, J, *NUMERICS})


# The headers of lists that are not long.
_SHORT: Final = short_headers(0)


def _alone() -> list[tuple[int, Unpack]]:
    """By format byte: the length of a numeric item of one value, and the reader of the value."""
    # The length 0 fits no item.
    table: list[tuple[int, Unpack]] = [(0, U1.unpack_at)] * 256
    for kind in NUMERICS:
        table[kind.code << 2 | 1] = (kind.length_one, kind.unpack_at)
    return table


_ALONE: Final = _alone()
_SHORT_A: Final = A.code << 2 | 1
_SHORT_B: Final = B.code << 2 | 1
TYPES: Final = {leaf.code: leaf for leaf in LEAVES}


def _item(part: Item | bytes) -> Item:
    """The item of a part of a list."""
    if not isinstance(part, bytes):
        return part
    leaf = new(TYPES[part[0] >> 2])
    leaf._wire = part
    return leaf


class _Element:
    """One positional sub-pattern of ``case L(first, second)``."""

    __slots__ = ("_index",)

    def __init__(self, index: int) -> None:
        self._index = index

    def __get__(self, owner: L | None, _type: type[L]) -> Item:
        if owner is None or len(owner) <= self._index:
            raise AttributeError(f"no item [{self._index}] in {owner!r}")
        return owner[self._index]


@final
class L(BaseItem, _Base):
    """A list of items: ``L("MDLN", U4(1, 2), [True, F4(0.5)])``, format code 0.

    An argument is an item or plain Python that :func:`item_of` accepts; ``L(*values)`` makes one
    of a sequence. Indexing gives an item, a slice gives a list.

    ``case L(A(name), U4(n))`` matches a list that *begins* so, of up to 16 items: Python's class
    patterns say nothing of what they do not name. ``case L(A(name), U4(n), length=2)`` matches
    exactly these two, and so does ``case [A(name), U4(n)]``.

    Raises ``TypeError`` for a value that is no item and does not name its type, ``ValueError``
    when nested deeper than 64 or longer than 16,777,215.
    """

    __slots__ = ("_depth", "_items", "_parts")
    __match_args__ = (
        "item0",
        "item1",
        "item2",
        "item3",
        "item4",
        "item5",
        "item6",
        "item7",
        "item8",
        "item9",
        "item10",
        "item11",
        "item12",
        "item13",
        "item14",
        "item15",
    )
    code = 0o00

    _wire: ClassVar[None] = None
    # The items; in a decoded list the bytes of each small leaf instead of the leaf.
    _parts: tuple[Any, ...]
    # ``None`` for a decoded list of which no item has been asked for.
    _items: tuple[Item, ...] | None
    # 1 + the depth of the deepest list in it.
    _depth: int

    item0, item1, item2, item3 = map(_Element, range(4))
    item4, item5, item6, item7 = map(_Element, range(4, 8))
    item8, item9, item10, item11 = map(_Element, range(8, 12))
    item12, item13, item14, item15 = map(_Element, range(12, 16))

    def __init__(self, *items: Item | Plain) -> None:
        parts: tuple[Any, ...] = items
        deepest = 0
        if not LEAVES.issuperset(map(type, items)):
            if not _ITEMS.issuperset(map(type, items)):
                parts = tuple(map(item_of, items))
            for part in parts:
                if type(part) is L and part._depth > deepest:
                    deepest = part._depth
            if deepest >= MAX_DEPTH:
                raise ValueError(f"L nested {deepest + 1} deep: the limit is {MAX_DEPTH}")
        if len(parts) > MAX_LENGTH:
            raise ValueError(f"L of {len(parts)} items: a list holds at most {MAX_LENGTH}")
        self._parts = parts
        self._items = parts
        self._depth = deepest + 1

    def _all(self) -> tuple[Item, ...]:
        items = self._items
        if items is None:
            items = self._items = tuple(map(_item, self._parts))
        return items

    @property
    def length(self) -> int:
        """How many items, for ``case L(..., length=2)``."""
        return len(self._parts)

    def to_python(self) -> list[Any]:
        values: list[Any] = []
        append = values.append
        for part in self._parts:
            wire = part if type(part) is bytes else part._wire
            if wire is None:
                append(part.to_python())
                continue
            # Most elements of lists are single numbers or text: this saves a call for each.
            first = wire[0]
            length, unpack_at = _ALONE[first]
            if len(wire) == length:
                append(unpack_at(wire, 2)[0])
            elif first == _SHORT_A:
                append(wire[2:].decode("latin-1"))
            elif first == _SHORT_B:
                append(wire[2:])
            else:
                append(_item(part).to_python())
        return values

    def __len__(self) -> int:
        return len(self._parts)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> L: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Item | L:
        if isinstance(index, slice):
            return L(*map(_item, self._parts[index]))
        return self._all()[index]

    def __iter__(self) -> Iterator[Item]:
        return iter(self._all())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, L):
            return NotImplemented
        if self._items is None and other._items is None:
            return self._parts == other._parts
        return self._all() == other._all()

    def __hash__(self) -> int:
        return hash((L, self._all()))

    def __repr__(self) -> str:
        some = (repr(_item(part)) for part in self._parts[:REPR_VALUES])
        return f"L({shortened(some, len(self), 'items')})"

    def _spread(self, append: Callable[[Buffer], None]) -> None:
        parts = self._parts
        count = len(parts)
        append(_SHORT[count] if count <= 0xFF else header(0, count))
        if self._depth == 1:
            try:
                built = parts is self._items
                append(b"".join([part._wire for part in parts] if built else parts))
                return
            except TypeError:
                # A large leaf, which is not in one piece, is among them.
                pass
        for part in parts:
            wire = part if type(part) is bytes else part._wire
            if wire is not None:
                append(wire)
            else:
                part._spread(append)


Item: TypeAlias = L | Leaf
"""An item of any type: a union, so that type checkers know that only a list is a sequence."""

_ITEMS: Final = LEAVES | {L}

# Gives `case [A(name), U4(n)]` without the price of an abstract base class at every isinstance.
Sequence.register(L)


def item_of(
    value: object, *, integer: type[Integer] | None = None, text_encoding: str | None = None
) -> Item:
    """The item that plain Python stands for, when there is only one.

    An item is itself, ``str`` an A, ``bytes`` a B, ``bool`` a BOOLEAN, ``float`` an F8, ``list``
    and ``tuple`` an L, an ``array`` or another buffer of numbers (numpy's too) the numeric type
    of its format. An ``int`` could be any of eight types: it is refused unless ``integer`` names
    the one to use, ``item_of([1, 2], integer=U4)``. A ``str`` beyond ASCII is refused unless
    ``text_encoding`` names its encoding, a superset of ASCII.

    Raises ``TypeError`` for a value whose type cannot be told, ``ValueError`` for one that its
    type cannot carry (a ``str`` beyond its encoding, an int out of the range of ``integer``).
    """
    match value:
        case L() | Leaf():
            return value
        case str():
            if text_encoding is None:
                return A(value)
            return A(value, encoding=superset_of_ascii(text_encoding))
        case bool():
            return BOOLEAN(value)
        case int():
            if integer is None:
                raise TypeError(
                    f"int {value} may be any of I1 I2 I4 I8 U1 U2 U4 U8: write, say, U4({value})"
                )
            return integer(value)
        case float():
            return F8(value)
        case bytes() | bytearray():
            return B(value)
        case list() | tuple():
            return L(*[item_of(one, integer=integer, text_encoding=text_encoding) for one in value])
        case _:
            return _of_buffer(value)


def _of_buffer(value: Any) -> Item:
    try:
        view = memoryview(value)
    except TypeError:
        raise TypeError(
            f"no SECS-II type for {type(value).__name__} {value!r}: "
            "items are made of str, bytes, bool, float, list, tuple and buffers of numbers"
        ) from None
    kind = buffer_kind(view)
    for numeric in NUMERICS:
        if numeric.kind == kind:
            return numeric(view)
    raise TypeError(f"no SECS-II type for a buffer of {view.format!r}")
