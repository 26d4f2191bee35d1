"""What an item has to be, as a pattern says it: one class for each kind of element.

An element matches an item or not, and collects what its names stand for. ``mismatch`` is ``None``
exactly when it matches; ``covers`` is true only when an element matches whatever another one does.

Each element looks at an item at most once for each time that its list is looked at, so that a match
takes time in proportion to the item and to the pattern, also where several ellipses are in a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias, assert_never

from hsms_engine.secs2 import NUMERICS, A, B, C, Integer, Item, J, L, Leaf, Real
from hsms_engine.sml.printer import shorten

Bound: TypeAlias = dict[str, Item]
"""The items that names stand for."""

ALL_KINDS: Final[frozenset[type[Item]]] = frozenset({L, A, B, C, J, *NUMERICS})

SHOWN: Final = 200
"""About how many characters of an item are shown."""


class Mismatch(NamedTuple):
    """Where an item is not as it has to be. ``found`` is ``None`` where there is none."""

    path: tuple[int, ...]
    expected: str
    found: Item | None


@dataclass(frozen=True, slots=True)
class Lengths:
    """How many elements an item may have; ``most`` is ``None`` for any number."""

    least: int = 0
    most: int | None = None

    def __contains__(self, length: int) -> bool:
        return length >= self.least and (self.most is None or length <= self.most)

    def includes(self, other: Lengths) -> bool:
        """Whether whatever the other one allows is allowed here."""
        if self.least > other.least:
            return False
        return self.most is None or (other.most is not None and other.most <= self.most)

    def __and__(self, other: Lengths) -> Lengths:
        """What both allow."""
        ends = [most for most in (self.most, other.most) if most is not None]
        return Lengths(max(self.least, other.least), min(ends, default=None))

    @property
    def is_empty(self) -> bool:
        """Whether no length is allowed."""
        return self.most is not None and self.most < self.least

    def __str__(self) -> str:
        if self == ANY_LENGTH:
            return ""
        if self.least == self.most:
            return f" [{self.least}]"
        return f" [{self.least}..{'' if self.most is None else self.most}]"


ANY_LENGTH: Final = Lengths()


@dataclass(frozen=True, slots=True)
class AnyItem:
    """``_`` or ``$name``."""

    name: str | None

    def match(self, item: Item, bound: Bound) -> bool:
        return self.name is None or _binds(self.name, item, bound)

    def mismatch(self, item: Item, bound: Bound, path: tuple[int, ...]) -> Mismatch | None:
        return None if self.match(item, bound) else _other_value(self.name, item, bound, path)

    def __str__(self) -> str:
        return "_" if self.name is None else f"${self.name}"


@dataclass(frozen=True, slots=True)
class Kind:
    """``<A _>``, ``<U4 [1] $x>``, ``<L $list>``: an item of these types."""

    label: str
    kinds: frozenset[type[Item]]
    lengths: Lengths
    name: str | None

    def match(self, item: Item, bound: Bound) -> bool:
        return self._fits(item) and (self.name is None or _binds(self.name, item, bound))

    def mismatch(self, item: Item, bound: Bound, path: tuple[int, ...]) -> Mismatch | None:
        if not self._fits(item):
            return Mismatch(path, str(self), item)
        return None if self.match(item, bound) else _other_value(self.name, item, bound, path)

    def _fits(self, item: Item) -> bool:
        return type(item) in self.kinds and len(item) in self.lengths

    def __str__(self) -> str:
        return f"<{self.label}{self.lengths} {AnyItem(self.name)}>"


@dataclass(frozen=True, slots=True)
class Exact:
    """``<U4 1 2>``: this item."""

    item: Leaf
    text: str = field(compare=False)

    def match(self, item: Item, _bound: Bound) -> bool:
        return item == self.item

    def mismatch(self, item: Item, _bound: Bound, path: tuple[int, ...]) -> Mismatch | None:
        return None if item == self.item else Mismatch(path, str(self), item)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Number:
    """``7``, ``1.5``, ``<U 7>``: an item of these types that has this one value."""

    text: str = field(compare=False)
    value: int | float
    kinds: frozenset[type[Item]]
    """Those that can have this value."""

    def match(self, item: Item, _bound: Bound) -> bool:
        if type(item) not in self.kinds or len(item) != 1:
            return False
        match item:
            case B():
                return item[0] == self.value
            case Real():
                # A value that was rounded when the item was made is the same value.
                return item.value == rounded(type(item), self.value)
            case _:
                assert isinstance(item, Integer)  # `kinds` has no other
                return item.value == self.value

    def mismatch(self, item: Item, bound: Bound, path: tuple[int, ...]) -> Mismatch | None:
        return None if self.match(item, bound) else Mismatch(path, self.text, item)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Words:
    """``"START"``: an item of text that says this, in A, J or C."""

    text: str
    encoded: A | None
    """``None`` when A has no such text."""

    def match(self, item: Item, _bound: Bound) -> bool:
        match item:
            case A():
                return item == self.encoded
            case J() | C():
                try:
                    return item.value == self.text
                except ValueError:
                    return False
            case _:
                return False

    def mismatch(self, item: Item, bound: Bound, path: tuple[int, ...]) -> Mismatch | None:
        return None if self.match(item, bound) else Mismatch(path, str(self), item)

    def __str__(self) -> str:
        return f"'{self.text}'" if '"' in self.text else f'"{self.text}"'


@dataclass(frozen=True, slots=True)
class Many:
    """``<U4 _> ...``: any number of items. A name stands for the list of what it has matched."""

    element: Element
    names: tuple[str, ...]

    def match(self, items: Sequence[Item], bound: Bound) -> bool:
        match = self.element.match
        if not self.names:
            return all(match(item, bound) for item in items)
        lists: dict[str, list[Item]] = {name: [] for name in self.names}
        for item in items:
            one: Bound = {}
            if not match(item, one):
                return False
            for name, some in lists.items():
                some.append(one[name])
        return all(_binds(name, L(*some), bound) for name, some in lists.items())

    def other_lists(
        self, items: Sequence[Item], bound: Bound, path: tuple[int, ...]
    ) -> Mismatch | None:
        """Where each item matches: the name that is known to stand for another list."""
        found: Bound = {}
        self.match(items, found)
        for name, some in found.items():
            if bound.setdefault(name, some) != some:
                return _other_value(name, some, bound, path)
        return None

    def __str__(self) -> str:
        return f"{self.element} ..."


@dataclass(frozen=True, slots=True)
class Row:
    """``<L [2] _ $x>``: a list of as many items as there are elements."""

    elements: tuple[Element, ...]

    def match(self, item: Item, bound: Bound) -> bool:
        if type(item) is not L or len(item) != len(self.elements):
            return False
        for element, one in zip(self.elements, item, strict=True):
            if not element.match(one, bound):
                return False
        return True

    def mismatch(self, item: Item, bound: Bound, path: tuple[int, ...]) -> Mismatch | None:
        if not isinstance(item, L):
            return Mismatch(path, str(self), item)
        return _first(self.elements, item, bound, path, 0) or _surplus(self.elements, item, path)

    def __str__(self) -> str:
        return _shown(f" [{len(self.elements)}]", self.elements)


@dataclass(frozen=True, slots=True)
class Around:
    """``<L "x" _ ... $y>``: a list with one ellipsis, and what is before it and behind."""

    before: tuple[Element, ...]
    many: Many
    behind: tuple[Element, ...]
    lengths: Lengths

    def match(self, item: Item, bound: Bound) -> bool:
        if type(item) is not L or len(item) not in self.lengths:
            return False
        # Before all items are made of their bytes.
        for element, one in zip(self.before, item[: len(self.before)], strict=True):
            if not element.match(one, bound):
                return False
        items = tuple(item)
        end = len(items) - len(self.behind)
        return self.many.match(items[len(self.before) : end], bound) and all(
            element.match(one, bound) for element, one in zip(self.behind, items[end:], strict=True)
        )

    def mismatch(self, item: Item, bound: Bound, path: tuple[int, ...]) -> Mismatch | None:
        if not isinstance(item, L):
            return Mismatch(path, str(self), item)
        least = len(self.before) + len(self.behind)
        if len(item) < least:
            singles = self.before + self.behind
            return _first(singles, item, bound, path, 0) or _surplus(singles, item, path)
        if found := _first(self.before, item, bound, path, 0):
            return found
        if len(item) not in self.lengths:
            return _of_other_length(self.lengths, item, path)
        items = tuple(item)
        end = len(items) - len(self.behind)
        for at in range(len(self.before), end):
            # Its names stand in no other place.
            if found := self.many.element.mismatch(items[at], {}, (*path, at)):
                return found
        if found := self.many.other_lists(items[len(self.before) : end], bound, path):
            return found
        return _first(self.behind, items[end:], bound, path, end)

    def __str__(self) -> str:
        return _shown(str(self.lengths), (*self.before, self.many, *self.behind))


@dataclass(frozen=True, slots=True)
class Mixed:
    """``<L _ ... "x" _ ...>``: a list with several ellipses, each for as few items as possible.

    Its names stand in no other place of the pattern: what the elements match does not depend on
    how the other items are taken.
    """

    elements: tuple[Element | Many, ...]
    lengths: Lengths

    def match(self, item: Item, bound: Bound) -> bool:
        if type(item) is not L or len(item) not in self.lengths:
            return False
        items = tuple(item)
        places = self._places(items, bound)
        return places is not None and all(
            element.match(items[start:end], bound)
            if isinstance(element, Many)
            else element.match(items[start], bound)
            for element, start, end in zip(self.elements, places, places[1:], strict=False)
        )

    def _places(self, items: Sequence[Item], bound: Bound) -> list[int] | None:
        """Where each element begins, and the end of the last one."""
        open_ends = self._open_ends(items, bound)
        if not open_ends[0] & 1:
            return None
        places = [0]
        for index, element in enumerate(self.elements, 1):
            at = places[-1]
            if isinstance(element, Many):
                while not open_ends[at] >> index & 1:
                    at += 1
            else:
                at += 1
            places.append(at)
        return places

    def _open_ends(self, items: Sequence[Item], bound: Bound) -> list[int]:
        """For each place between items: the elements from which on the rest matches the rest, one
        bit each. The highest bit is for no element."""
        ends = [0] * (len(items) + 1)
        behind = 1 << len(self.elements)
        for index in reversed(range(len(self.elements))):
            if isinstance(self.elements[index], Many) and behind >> (index + 1) & 1:
                behind |= 1 << index
        ends[-1] = behind
        for at in reversed(range(len(items))):
            here = 0
            for index in reversed(range(len(self.elements))):
                element = self.elements[index]
                if isinstance(element, Many):
                    if here >> (index + 1) & 1 or (
                        behind >> index & 1 and element.element.match(items[at], {})
                    ):
                        here |= 1 << index
                elif behind >> (index + 1) & 1 and element.match(items[at], bound.copy()):
                    here |= 1 << index
            ends[at] = behind = here
        return ends

    def mismatch(self, item: Item, bound: Bound, path: tuple[int, ...]) -> Mismatch | None:
        if not isinstance(item, L):
            return Mismatch(path, str(self), item)
        if len(item) not in self.lengths:
            return _of_other_length(self.lengths, item, path)
        items = tuple(item)
        places = self._places(items, bound)
        if places is None:
            return self._unlike(items, bound, path)
        for element, start, end in zip(self.elements, places, places[1:], strict=False):
            if isinstance(element, Many):
                if found := element.other_lists(items[start:end], bound, path):
                    return found
            else:
                element.match(items[start], bound)
        return None

    def _unlike(self, items: Sequence[Item], bound: Bound, path: tuple[int, ...]) -> Mismatch:
        """The first item that no element takes, however the items before it are taken."""
        # The elements that may be next. The last one is none.
        awaited = self._closed([0])
        for at, item in enumerate(items):
            found = self._closed(self._behind(awaited, item, bound))
            if not found:
                return self._unawaited(awaited, item, bound, (*path, at))
            awaited = found
        return self._unawaited(awaited, None, bound, (*path, len(items)))

    def _behind(self, indices: Iterable[int], item: Item, bound: Bound) -> Iterator[int]:
        for index in indices:
            if index < len(self.elements):
                element = self.elements[index]
                if isinstance(element, Many):
                    if element.element.match(item, {}):
                        yield index
                elif element.match(item, bound.copy()):
                    yield index + 1

    def _closed(self, indices: Iterable[int]) -> list[int]:
        """With what may be next because an ellipsis may stand for nothing."""
        closed = set()
        for index in indices:
            closed.add(index)
            for behind, element in enumerate(self.elements[index:], index + 1):
                if not isinstance(element, Many):
                    break
                closed.add(behind)
        return sorted(closed)

    def _unawaited(
        self, awaited: Sequence[int], item: Item | None, bound: Bound, path: tuple[int, ...]
    ) -> Mismatch:
        elements = [single(self.elements[at]) for at in awaited if at < len(self.elements)]
        if item is not None and len(elements) == len(awaited) == 1:
            [element] = elements
            found = element.mismatch(item, bound.copy(), path)
            assert found is not None  # it does not take the item
            return found
        # An ellipsis and what is behind it may say the same.
        texts = dict.fromkeys(map(str, elements))
        return Mismatch(path, " or ".join(texts) or "nothing", item)

    def __str__(self) -> str:
        return _shown(str(self.lengths), self.elements)


Element: TypeAlias = AnyItem | Kind | Exact | Number | Words | Row | Around | Mixed


def _binds(name: str, item: Item, bound: Bound) -> bool:
    return bound.setdefault(name, item) == item


def _other_value(
    name: str | None, item: Item, bound: Bound, path: tuple[int, ...]
) -> Mismatch | None:
    assert name is not None  # without one, nothing has another value
    return Mismatch(path, f"{shorten(bound[name], SHOWN)}, which is ${name}", item)


def rounded(kind: type[Real], value: float) -> float | None:
    """The value as this type holds it; ``None`` when it cannot."""
    try:
        return kind(value).value
    except (ValueError, OverflowError):
        return None


def _shown(count: str, elements: Sequence[Element | Many]) -> str:
    return " ".join((f"<L{count}", *map(str, elements))) + ">"


def _first(
    elements: Sequence[Element],
    items: Sequence[Item] | L,
    bound: Bound,
    path: tuple[int, ...],
    start: int,
) -> Mismatch | None:
    """The first mismatch of elements and items, as far as there are both."""
    for at, (element, item) in enumerate(zip(elements, items, strict=False), start):
        if found := element.mismatch(item, bound, (*path, at)):
            return found
    return None


def _surplus(elements: Sequence[Element], items: L, path: tuple[int, ...]) -> Mismatch | None:
    """What there is of only one of them."""
    if len(items) == len(elements):
        return None
    if len(items) > len(elements):
        return Mismatch((*path, len(elements)), "nothing", items[len(elements)])
    return Mismatch((*path, len(items)), str(elements[len(items)]), None)


def _of_other_length(lengths: Lengths, items: L, path: tuple[int, ...]) -> Mismatch:
    if len(items) < lengths.least:
        return Mismatch((*path, len(items)), "another item", None)
    assert lengths.most is not None  # there are too many of them
    return Mismatch((*path, lengths.most), "nothing", items[lengths.most])


def single(element: Element | Many) -> Element:
    """The element, or the one that an ellipsis repeats."""
    return element.element if isinstance(element, Many) else element


def covers(one: Element, other: Element) -> bool:
    """Whether ``one`` matches whatever ``other`` does, their names aside.

    It may be false where that is so.
    """
    match one:
        case AnyItem():
            return True
        case Kind():
            return kinds_of(other) <= one.kinds and one.lengths.includes(lengths_of(other))
        case Exact():
            return one == other
        case Number() if isinstance(other, Number):
            return one.value == other.value and other.kinds <= one.kinds
        case Number() | Words():
            return one == other or (isinstance(other, Exact) and one.match(other.item, {}))
        case Row() | Around() | Mixed():
            if not isinstance(other, Row | Around | Mixed):
                return False
            return lengths_of(one).includes(lengths_of(other)) and _row_covers(row(one), row(other))
        case _:
            assert_never(one)


def _row_covers(ones: Sequence[Element | Many], others: Sequence[Element | Many]) -> bool:
    """Whether each list of ``others`` is one of ``ones``: every one of them has its place."""
    # For each place in `ones`: whether the rest of them covers the rest of the others.
    behind = [all(isinstance(one, Many) for one in ones[at:]) for at in range(len(ones) + 1)]
    for other in reversed(others):
        here = [False] * (len(ones) + 1)
        for at in reversed(range(len(ones))):
            one = ones[at]
            if isinstance(one, Many):
                here[at] = here[at + 1] or (behind[at] and covers(one.element, single(other)))
            elif not isinstance(other, Many):
                here[at] = behind[at + 1] and covers(one, other)
        behind = here
    return behind[0]


def row(element: Row | Around | Mixed) -> Sequence[Element | Many]:
    """The elements of a list, in order."""
    match element:
        case Row() | Mixed():
            return element.elements
        case Around():
            return (*element.before, element.many, *element.behind)
        case _:
            assert_never(element)


def kinds_of(element: Element) -> frozenset[type[Item]]:
    """The types of what an element matches."""
    match element:
        case AnyItem():
            return ALL_KINDS
        case Kind() | Number():
            return element.kinds
        case Exact():
            return frozenset({type(element.item)})
        case Words():
            return frozenset({A, J, C})
        case Row() | Around() | Mixed():
            return frozenset({L})
        case _:
            assert_never(element)


def lengths_of(element: Element) -> Lengths:
    """The lengths of what an element matches."""
    match element:
        case AnyItem() | Words():
            return ANY_LENGTH
        case Kind() | Around() | Mixed():
            return element.lengths
        case Exact():
            return Lengths(len(element.item), len(element.item))
        case Number():
            return Lengths(1, 1)
        case Row():
            return Lengths(len(element.elements), len(element.elements))
        case _:
            assert_never(element)
