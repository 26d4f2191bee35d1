"""Whether a pattern matches anything that is laid out as the catalogue has it.

Equipment and hosts deviate, so that a pattern for what is laid out in another way may be meant.
This says what to look at; it is no reason to refuse a pattern.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from hsms_engine.messages import find
from hsms_engine.messages.layout import Data, Fixed, Many, Node
from hsms_engine.secs2 import L
from hsms_engine.sml.lexer import shown
from hsms_engine.sml.matching import Around, Element, Mixed, Row, kinds_of, lengths_of, row
from hsms_engine.sml.matching import Many as Repeated
from hsms_engine.sml.patterns import Pattern

__all__ = ["misfit"]


def misfit(pattern: Pattern) -> str | None:
    """Why no message of the catalogue matches: ``S2F41[2]: E5 has L, the pattern <A _>``.

    In one line, with the path of the first item that is to blame, counted from 1. ``None`` when one
    matches, and for what the catalogue does not have. Only the W-bit, the types and the numbers of
    items are looked at. A list of any number may be empty, so that an ellipsis fits it.
    """
    name = pattern.name
    function = find(name)
    if function is None:
        return None
    if pattern.wait and function.reply == "none":
        return f"{name}: E5 has no reply to it, the pattern W"
    if pattern.body is None:
        return None
    if function.layout is None:
        return f"{name}: E5 has no body, the pattern {shown(str(pattern.body))}"
    found = _misfit(pattern.body, function.layout, "")
    return None if found is None else f"{name}{found}"


def _misfit(element: Element, node: Node, path: str) -> str | None:
    formats = frozenset(node.formats) if isinstance(node, Data) else {L}
    if kinds_of(element).isdisjoint(formats):
        return f"{path}: E5 has {node.expected}, the pattern {shown(str(element))}"
    if not isinstance(element, Row | Around | Mixed):
        return None
    before, behind = _ends(element)
    match node:
        case Data():
            # Of a list that is one value, nothing is known.
            return None
        case Many():
            return _first(
                *((each, node.node, f"{path}[{at}]") for at, each in enumerate(before, 1)),
                *((each, node.node, f"{path}[n]") for each in behind),
            )
        case Fixed():
            lengths, length = lengths_of(element), len(node.nodes)
            if node.optional and 0 in lengths:
                return None
            if length not in lengths:
                return f"{path}: E5 has {length} items, the pattern {shown(str(element))}"
            nodes = list(enumerate(node.nodes, 1))
            last = nodes[length - len(behind) :]
            return _first(
                *(
                    (each, one, f"{path}[{at}]")
                    for each, (at, one) in zip(before, nodes, strict=False)
                ),
                *(
                    (each, one, f"{path}[{at}]")
                    for each, (at, one) in zip(behind, last, strict=True)
                ),
            )
        case _:
            assert_never(node)


def _first(*places: tuple[Element, Node, str]) -> str | None:
    found = (_misfit(element, node, path) for element, node, path in places)
    return next((each for each in found if each is not None), None)


def _ends(element: Row | Around | Mixed) -> tuple[Sequence[Element], Sequence[Element]]:
    """What is before the first ellipsis, and what is behind the last one."""
    elements = row(element)
    before = _singles(elements)
    if len(before) == len(elements):
        return before, []
    return before, _singles(elements[::-1])[::-1]


def _singles(elements: Sequence[Element | Repeated]) -> list[Element]:
    """Those before the first ellipsis."""
    singles: list[Element] = []
    for each in elements:
        if isinstance(each, Repeated):
            break
        singles.append(each)
    return singles
