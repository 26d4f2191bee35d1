"""The content of SML text: statements, and answers that refer to the values of a request.

An answer is SML with additions, in the places where SML's own documents write the name of a
variable or an ellipsis:

====================  ==========================================================================
``$``                 the item of the request, whole
``$2.1``              the first item of its second item (counted from 1, as SEMI's tables do)
``<item> ...``        the item before the ellipsis, once for each item of the request's list
``<item> ...$2``      once for each item of the list ``$2``, or each value of that array
``$*``, ``$*.1``      inside a repeated item: the item it is repeated for, and the first of that
====================  ==========================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

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


@dataclass(frozen=True, slots=True)
class Reference:
    """``$1.2``: an item of the request, by its indices; with ``each`` of the repeated item."""

    path: tuple[int, ...]
    each: bool

    def __str__(self) -> str:
        return "$" + ".".join(
            (["*"] if self.each else []) + [str(index + 1) for index in self.path]
        )

    def find(self, request: Item | None, one: Item | None) -> Item:
        """The item referred to. ``LookupError`` when the request has no such item."""
        item = one if self.each else request
        for index in self.path:
            if not isinstance(item, L) or index >= len(item):
                raise LookupError(f"the request has no {self}")
            item = item[index]
        if item is None:
            raise LookupError(f"the request has no {self}")
        return item


@dataclass(frozen=True, slots=True)
class Repeat:
    """``<item> ...$1``: ``node`` once for each item of the list at ``source``."""

    node: Node
    source: Reference

    def fill(self, request: Item | None, one: Item | None) -> list[Item]:
        """The repeated items, none for a request without body.

        ``LookupError`` when what to repeat for is neither a list nor an array.
        """
        if request is None:
            return []
        match self.source.find(request, one):
            case L() as items:
                return [fill(self.node, request, each) for each in items]
            case Numeric() as array:
                singles = (array[index : index + 1] for index in range(len(array)))
                return [fill(self.node, request, each) for each in singles]
            case _:
                raise LookupError(f"{self.source} of the request is not a list")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A list with references or repeated items."""

    nodes: tuple[Node | Repeat, ...]

    def fill(self, request: Item | None, one: Item | None) -> Item:
        """The list, for a request."""
        items: list[Item] = []
        for node in self.nodes:
            if isinstance(node, Repeat):
                items += node.fill(request, one)
            else:
                items.append(fill(node, request, one))
        return L(*items)


Node: TypeAlias = Item | Reference | Pattern


@dataclass(frozen=True, slots=True)
class Template:
    """One answer in a text, and the character offset at which it begins."""

    stream: int
    function: int
    node: Node | None
    offset: int


def fill(node: Node, request: Item | None, one: Item | None = None) -> Item:
    """The item of an answer to this request.

    Raises ``LookupError`` when the request does not have what the answer refers to, and
    ``ValueError`` when the answer would be nested too deep.
    """
    match node:
        case Reference():
            return node.find(request, one)
        case Pattern():
            return node.fill(request, one)
        case _:
            return node
