"""What the body of a function is made of: data items, lists of fixed fields, lists of any number.

Each kind of node does the same with what stands at its place:

* ``build``: plain Python into an item. Items are taken as they are.
* ``take``: an item into plain Python. The formats need not be those that E5 allows: what can be
  taken is taken. Raises ``MisfitError`` for anything else.
* ``check``: a sentence with a path for each difference. What has none can be taken.
* ``lines``: the node as SML, with the names of data items in the place of values.

Text in an A is encoded and read in the text encoding of the message, which they are given; None
is that of an A alone.

``str`` of a node is its shape in plain Python: ``[(CPNAME, CPVAL), ...]``.

In plain Python a list of any number is a list, and a list of fixed fields is a tuple.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, ClassVar, Final, TypeAlias

from hsms_engine.secs2 import (
    BOOLEAN,
    REALS,
    U4,
    A,
    B,
    C,
    Integer,
    Item,
    J,
    L,
    Leaf,
    Text,
    item_of,
)

Format: TypeAlias = type[L] | type[Leaf]

OWN: Final = 64
"""The first acknowledge code that is the equipment's own; those below belong to E5."""

OWN_MEANING: Final = "of the equipment"

_INDENT: Final = "  "


class MisfitError(ValueError):
    """An item from which a value cannot be taken: ``check`` says why."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Data:
    """A data item: ``name`` is E5's, ``about`` says what it is, ``formats`` the preferred first.

    ``elements`` is how many numbers, bytes or truth values it has, None for any number; ``longest``
    the most bytes of text. ``array``: its value is always a list. ``optional``: without any
    element it says something too, and its value is None.

    ``codes`` are the values of which E5 knows the meaning, ``others`` the meaning of all others;
    without it, those below ``OWN`` mean nothing. ``mask``: its value is whether this bit is set.
    """

    name: str
    about: str
    formats: tuple[Format, ...] = (A,)
    elements: int | None = 1
    longest: int | None = None
    array: bool = False
    optional: bool = False
    codes: Mapping[int, str] | None = None
    others: str = ""
    mask: int = 0
    # What an int becomes, if that is always one of the formats and of the right length.
    _integer: type[Integer | B] | None = field(init=False)

    def __post_init__(self) -> None:
        one = not self.array and self.elements in (None, 1)
        object.__setattr__(self, "_integer", self._integers() if one else None)

    def __str__(self) -> str:
        return self.name

    @property
    def expected(self) -> str:
        """``RCMD (A U1 I1)``."""
        return f"{self.name} ({' '.join(each.__name__ for each in self.formats)})"

    def data(self) -> Iterator[Data]:
        yield self

    def build(self, value: object, encoding: str | None) -> Item:
        if type(value) is int and self._integer is not None:
            return self._integer(value)
        if isinstance(value, (L, Leaf)):
            return value
        item = self.blank() if value is None and self.optional else self._item(value, encoding)
        if type(item) not in self.formats:
            raise TypeError(f"{self.expected} is not made of {type(value).__name__} {value!r}")
        if why := self._wrong_length(item):
            raise ValueError(f"{self}: {why}")
        return item

    def blank(self) -> Item:
        """The item of no element, of text where that is allowed."""
        return A() if A in self.formats else self._number([])

    def _item(self, value: object, encoding: str | None) -> Item:
        if type(value) is str and encoding is None:
            return A(value)
        if self.mask and isinstance(value, bool):
            return B(self.mask if value else 0)
        if self.array or (isinstance(value, int) and not isinstance(value, bool)):
            return self._number(value)
        return item_of(value, integer=U4, text_encoding=encoding)

    def _number(self, value: Any) -> Item:
        return (self._integers() or U4)(value)

    def _integers(self) -> type[Integer | B] | None:
        """The type of its integers: U4 if that is allowed, the type that most equipment uses."""
        for each in (U4, *self.formats):
            if each in self.formats and (each is B or issubclass(each, Integer)):
                return each
        return None

    def take(self, item: Item, encoding: str | None) -> Any:
        if self.optional and not item:
            return None
        if self.array:
            # Some send a list of items instead.
            given = tuple(item) if isinstance(item, L) else (item,)
            arrays = [each for each in given if isinstance(each, Integer)]
            if len(arrays) < len(given):
                raise MisfitError
            return [value for each in arrays for value in each]
        try:
            value = item.to_python() if encoding is None else _read(item, encoding)
        except ValueError as error:
            raise MisfitError(str(error)) from error
        if self.elements == 1 and isinstance(value, bytes) and len(value) == 1:
            value = value[0]
        types = {bool} if self.mask else _plain(self.formats, self.elements)
        if type(value) is bool and bool not in types:
            value = int(value)
        elif type(value) is int and int not in types:
            value = bool(value & (self.mask or value))
        if type(value) not in types:
            raise MisfitError
        return value

    def check(self, item: Item, path: str, encoding: str | None) -> Iterator[str]:
        if type(item) not in self.formats:
            yield f"{path}: expected {self.expected}, got {type(item).__name__}"
        elif why := self._wrong_length(item):
            yield f"{path}: {self}: {why}"
        else:
            try:
                value = self.take(item, encoding)
            except MisfitError as error:
                yield f"{path}: {self}: {error}"
            else:
                if encoding is not None:
                    yield from _unread(item, path, self.name, encoding)
                if self.mask and isinstance(item, B):
                    # Its value is one bit, but a code is the whole byte.
                    (value,) = item.raw
                if self.codes and type(value) is int and not self.means(value):
                    known = " ".join(map(str, self.codes))
                    own = "" if self.mask else f" or from {OWN}"
                    yield f"{path}: expected {self} to be {known}{own}, got {value}"

    def means(self, value: int) -> str:
        """What a code says, ``""`` when it says nothing."""
        of_others = self.others or (OWN_MEANING if value >= OWN and not self.mask else "")
        return (self.codes or {}).get(value, of_others)

    def _wrong_length(self, item: Item) -> str:
        """Why an item of an allowed format is too short or too long, ``""`` when it is not."""
        if self.elements is None and self.longest is None:
            return ""
        length = len(item)
        if isinstance(item, Text):
            fits = self.longest is None or length <= self.longest
            return "" if fits else f"expected at most {self.longest} bytes, got {length}"
        free = isinstance(item, L) or self.elements is None or (self.optional and not length)
        if free or length == self.elements:
            return ""
        unit = f"{'byte' if type(item) is B else 'value'}{'' if self.elements == 1 else 's'}"
        return f"expected {self.elements} {unit}, got {length}"

    def lines(self, indent: str = "") -> Iterator[str]:
        yield f"{indent}<{self}{' ...' if self.array else ' or none' if self.optional else ''}>"


def _read(item: Item, encoding: str) -> Any:
    """The item in plain Python, with the text of each A read in the encoding.

    What is not of it is shown as its bytes, so that cut text loses one character and no message.
    """
    match item:
        case A():
            return item.text(encoding, "backslashreplace")
        case L():
            return [_read(one, encoding) for one in item]
        case _:
            return item.to_python()


def _unread(item: Item, path: str, name: str, encoding: str) -> Iterator[str]:
    """A sentence for each A of which the bytes are not of the encoding."""
    match item:
        case A():
            try:
                item.text(encoding)
            except ValueError as error:
                yield f"{path}: {name}: {error}"
        case L():
            for index, one in enumerate(item):
                yield from _unread(one, f"{path}[{index}]", name, encoding)
        case _:
            pass


_PLAIN: Final[Mapping[Format, type]] = {
    **dict.fromkeys((A, C, J), str),
    **dict.fromkeys(REALS, float),
    B: bytes,
    BOOLEAN: bool,
    L: list,
}


@cache
def _plain(formats: tuple[Format, ...], elements: int | None) -> frozenset[type]:
    """The types of the values of such items in plain Python. The one byte of a B is a number."""
    types = {_PLAIN.get(each, int) for each in formats}
    if elements == 1:
        return frozenset(int if each is bytes else each for each in types)
    return frozenset(types | {list} if types & {int, float, bool} else types)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Fixed:
    """A list of these fields. ``optional``: it may be empty instead, and its value is None."""

    expected: ClassVar[str] = "L"

    nodes: tuple[Node, ...]
    optional: bool = False

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.nodes))})"

    def data(self) -> Iterator[Data]:
        for node in self.nodes:
            yield from node.data()

    def build(self, values: Any, encoding: str | None) -> Item:
        if values is None and self.optional:
            return L()
        given = _each(self, values)
        if self.optional and not given:
            return L()
        if len(given) != len(self.nodes):
            raise ValueError(f"{self} has {len(self.nodes)} values, not {len(given)}: {given!r}")
        pairs = zip(self.nodes, given, strict=True)
        return L(*[node.build(value, encoding) for node, value in pairs])

    def take(self, item: Item, encoding: str | None) -> Any:
        if self.optional and isinstance(item, L) and not item:
            return None
        if not isinstance(item, L) or len(item) != len(self.nodes):
            raise MisfitError
        pairs = zip(self.nodes, item, strict=True)
        return tuple([node.take(one, encoding) for node, one in pairs])

    def check(self, item: Item, path: str, encoding: str | None) -> Iterator[str]:
        if not isinstance(item, L):
            yield f"{path}: expected {self.expected}, got {type(item).__name__}"
        elif item or not self.optional:
            if len(item) != len(self.nodes):
                or_none = " or none" if self.optional else ""
                yield f"{path}: expected {len(self.nodes)} items{or_none}, got {len(item)}"
            # What there is of them can be right or wrong too.
            for index, (node, one) in enumerate(zip(self.nodes, item, strict=False)):
                yield from node.check(one, f"{path}[{index}]", encoding)

    def lines(self, indent: str = "") -> Iterator[str]:
        yield f"{indent}<L [{len(self.nodes)}{' or 0' if self.optional else ''}]"
        for node in self.nodes:
            yield from node.lines(indent + _INDENT)
        yield f"{indent}>"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Many:
    """A list of any number of the same; if that is a list of two fields, a mapping makes it too."""

    expected: ClassVar[str] = "L"

    node: Node

    def __str__(self) -> str:
        return f"[{self.node}, ...]"

    def data(self) -> Iterator[Data]:
        return self.node.data()

    def build(self, values: Any, encoding: str | None) -> Item:
        if type(values) not in _SEQUENCES and isinstance(values, Mapping):
            values = values.items()
        build = self.node.build
        return L(*[build(value, encoding) for value in _each(self, values)])

    def take(self, item: Item, encoding: str | None) -> list[Any]:
        if not isinstance(item, L):
            raise MisfitError
        return [self.node.take(one, encoding) for one in item]

    def check(self, item: Item, path: str, encoding: str | None) -> Iterator[str]:
        if not isinstance(item, L):
            yield f"{path}: expected {self.expected}, got {type(item).__name__}"
            return
        for index, one in enumerate(item):
            yield from self.node.check(one, f"{path}[{index}]", encoding)

    def lines(self, indent: str = "") -> Iterator[str]:
        yield f"{indent}<L [n]"
        yield from self.node.lines(indent + _INDENT)
        yield f"{indent}>"


Node: TypeAlias = Data | Fixed | Many

# To ask an abstract class for each costs more than to make the item.
_SEQUENCES: Final = (tuple, list)


def _each(node: Node, values: Any) -> tuple[Any, ...]:
    plain = type(values) in _SEQUENCES
    if not plain and (isinstance(values, (str, bytes, Leaf)) or not isinstance(values, Iterable)):
        raise TypeError(f"{node} is not made of {type(values).__name__} {values!r}")
    return tuple(values)


def optional(data: Data) -> Data:
    """The data item, which may have no element: then its value is None."""
    return replace(data, optional=True)


def fixed(*nodes: Node) -> Fixed:
    """A list of fixed fields."""
    return Fixed(nodes)


def many(*nodes: Node) -> Many:
    """A list of any number of one node, or of lists of these fixed fields."""
    return Many(nodes[0] if len(nodes) == 1 else Fixed(nodes))
