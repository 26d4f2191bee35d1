"""The content of SML text: statements, and templates that refer to the values of a request.

An answer is SML with additions, in the places where SML's own documents write the name of a
variable or an ellipsis:

====================  ==========================================================================
``$``                 the item of the request, whole
``$2.1``              the first item of its second item (counted from 1, as SEMI's tables do)
``<item> ...``        the item before the ellipsis, once for each item of the request's list
``<item> ...$2``      once for each item of the list ``$2``, or each value of that array
``$*``, ``$*.1``      inside a repeated item: the item it is repeated for, and the first of that
====================  ==========================================================================

A template has three more. Its names are those that a pattern has bound, see ``patterns``.

====================  ==========================================================================
``$name``             the item that was bound to this name
``$name.1``           the first item of that
``<item> ...$name``   once for each item of that
``${1001}``           what a variable is now, by its id or its name: ``${WaferCount}``
====================  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from hsms_engine.secs2 import Item, L, Numeric

Direction: TypeAlias = Literal["H->E", "H<-E", "H<->E", "INPUT", "OUTPUT"]
"""Who sends a message: host or equipment, or both. ``INPUT`` and ``OUTPUT`` are as seen by the
owner of the text."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One message in a text. ``name`` is what stands before the colon, or ``None``."""

    name: str | None
    stream: int
    function: int
    wait: bool
    item: Item | None
    direction: Direction | None = None
    names: tuple[tuple[tuple[int, ...], str], ...] = ()
    """Names of items, each with the indices that lead to it: ``((), "x")`` names the item of the
    message, ``((1, 0), "y")`` the first item in its second one. In the order of the text."""


_NO_NAMES: Final[Mapping[str, Item]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class _Values:
    """What the references of a template refer to."""

    request: Item | None
    names: Mapping[str, Item]
    variable: Callable[[str], Item] | None
    # The item that a repeated item is repeated for.
    one: Item | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """``$1.2``: an item of the request, by its indices; with ``each`` of the repeated item, with
    ``name`` of the item that has this name."""

    path: tuple[int, ...]
    each: bool
    name: str | None = None

    def __str__(self) -> str:
        root = ["*"] if self.each else [] if self.name is None else [self.name]
        return "$" + ".".join(root + [str(index + 1) for index in self.path])

    def _find(self, values: _Values) -> Item:
        if self.name is not None:
            item = values.names.get(self.name)
            if item is None:
                raise LookupError(f"nothing is bound to ${self.name}")
        else:
            item = values.one if self.each else values.request
        for index in self.path:
            if not isinstance(item, L) or index >= len(item):
                raise LookupError(self._missing())
            item = item[index]
        if item is None:
            raise LookupError(self._missing())
        return item

    def _missing(self) -> str:
        if self.name is not None:
            return f"${self.name} has no {self}"
        return f"the request has no {self}"


@dataclass(frozen=True, slots=True)
class Variable:
    """``${1001}``: what a variable is now. ``name`` is what stands in the braces."""

    name: str

    def __str__(self) -> str:
        return f"${{{self.name}}}"

    def _find(self, values: _Values) -> Item:
        if values.variable is None:
            raise LookupError(f"there is no variable {self.name}")
        return values.variable(self.name)


@dataclass(frozen=True, slots=True)
class Repeat:
    """``<item> ...$1``: ``node`` once for each item of the list at ``source``."""

    node: Node
    source: Reference | Variable

    def _items(self, values: _Values) -> list[Item]:
        """The repeated items. A request without body has none to repeat for."""
        asks_request = isinstance(self.source, Reference) and self.source.name is None
        if asks_request and values.request is None:
            return []
        match self.source._find(values):
            case L() as items:
                return [_filled(self.node, replace(values, one=each)) for each in items]
            case Numeric() as array:
                singles = (array[index : index + 1] for index in range(len(array)))
                return [_filled(self.node, replace(values, one=each)) for each in singles]
            case _:
                of_request = " of the request" if asks_request else ""
                raise LookupError(f"{self.source}{of_request} is not a list")


@dataclass(frozen=True, slots=True)
class OpenList:
    """A list with references or repeated items."""

    nodes: tuple[Node | Repeat, ...]

    def _items(self, values: _Values) -> list[Item]:
        items: list[Item] = []
        for node in self.nodes:
            if isinstance(node, Repeat):
                items += node._items(values)
            else:
                items.append(_filled(node, values))
        return items


Node: TypeAlias = Item | Reference | Variable | OpenList


@dataclass(frozen=True, slots=True)
class Uses:
    """What a template refers to: names of a pattern, variables, and items of the request."""

    names: frozenset[str]
    variables: frozenset[str]
    request: bool


def uses(node: Node | None) -> Uses:
    """What the node refers to. Of nothing, nothing."""
    names: set[str] = set()
    variables: set[str] = set()
    request = False
    for reference in _references(node):
        if isinstance(reference, Variable):
            variables.add(reference.name)
        elif reference.name is not None:
            names.add(reference.name)
        else:
            # What a repeated item is repeated for is found by the reference of its ellipsis.
            request = request or not reference.each
    return Uses(frozenset(names), frozenset(variables), request)


def _references(node: Node | Repeat | None) -> Iterable[Reference | Variable]:
    match node:
        case Reference() | Variable():
            yield node
        case Repeat():
            yield node.source
            yield from _references(node.node)
        case OpenList():
            for one in node.nodes:
                yield from _references(one)
        case _:
            pass


@dataclass(frozen=True, slots=True)
class Template:
    """One message in a text that may refer to values.

    ``offset`` is the character at which it begins.
    """

    stream: int
    function: int
    node: Node | None
    offset: int
    wait: bool = False

    @property
    def name(self) -> str:
        """``'S2F42'``."""
        return f"S{self.stream}F{self.function}"

    @property
    def uses(self) -> Uses:
        """What it refers to."""
        return uses(self.node)


def fill(
    node: Node,
    request: Item | None,
    names: Mapping[str, Item] = _NO_NAMES,
    variable: Callable[[str], Item] | None = None,
) -> Item:
    """The item of a template, for this request.

    ``names`` is what a pattern has bound. ``variable`` gives the item of the variable that is
    called so between the braces, and raises ``LookupError`` when there is none.

    Raises ``LookupError`` when there is no such item, name or variable as the template refers to,
    and ``ValueError`` when the item would be nested too deep.
    """
    return _filled(node, _Values(request, names, variable))


def _filled(node: Node, values: _Values) -> Item:
    match node:
        case Reference() | Variable():
            return node._find(values)
        case OpenList():
            return L(*node._items(values))
        case _:
            return node
