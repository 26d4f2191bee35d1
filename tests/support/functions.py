"""Hypothesis strategies for the functions of the catalogue: what may stand at each place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, assert_never

from hypothesis import strategies as st

from hsms_engine import messages
from hsms_engine.message import Message
from hsms_engine.messages import Function
from hsms_engine.messages.layout import Data, Fixed, Format, Many, Node
from hsms_engine.secs2 import BOOLEAN, REALS, A, B, C, Item, J, L
from tests.support.items import booleans, integers, items

Formats = Callable[[Data], Iterable[Format]]
"""Which of the formats of a data item are wanted."""


def every() -> list[type[Function]]:
    """All functions of the catalogue."""
    return [found for name in messages.NAMES if (found := messages.find(name))]


def _of_format(data: Data, kind: Format) -> st.SearchStrategy[Item]:
    """Items of this format that fit the data item, its codes too."""
    if kind is L:
        # Any leaf that has a value: some text has none that can be read.
        return st.lists(integers | booleans, max_size=2).map(lambda some: L(*some))
    if kind in (A, J, C):
        text = st.text(st.characters(min_codepoint=32, max_codepoint=90), max_size=data.longest)
        make: Callable[[Any], Item] = kind
        return text.map(make)
    least = 0 if data.optional or data.elements is None else data.elements
    most = 5 if data.elements is None else data.elements
    values: st.SearchStrategy[Any]
    if data.codes and (not data.others or kind is not B):
        values = st.sampled_from([*data.codes])
    elif kind is BOOLEAN:
        values = st.booleans()
    elif kind in REALS:
        values = st.floats(width=32, allow_nan=False, allow_infinity=False)
    else:
        values = st.integers(0, 127)
    make = kind
    return (
        st.lists(values, min_size=least, max_size=most)
        .filter(lambda some: len(some) in (0, data.elements) or data.elements is None)
        .map(make)
    )


def _all_formats(data: Data) -> Iterable[Format]:
    return data.formats


def fitting(node: Node, formats: Formats = _all_formats) -> st.SearchStrategy[Item]:
    """Items that ``check`` finds nothing wrong with, of these formats."""
    match node:
        case Data():
            return st.one_of([_of_format(node, kind) for kind in formats(node)])
        case Fixed():
            fields = [fitting(each, formats) for each in node.nodes]
            whole = st.tuples(*fields).map(lambda some: L(*some))
            return whole | st.just(L()) if node.optional else whole
        case Many():
            return st.lists(fitting(node.node, formats), max_size=3).map(lambda some: L(*some))
        case _:
            assert_never(node)


def messages_of(
    function: type[Function], formats: Formats = _all_formats
) -> st.SearchStrategy[Message]:
    """Messages of a function that ``check`` finds nothing wrong with."""
    wait = {"needed": st.just(True), "optional": st.booleans(), "none": st.just(False)}
    body = st.none() if function.layout is None else fitting(function.layout, formats)
    return st.builds(Message, *map(st.just, function.numbers), wait[function.reply], body)


@st.composite
def spoiled(draw: st.DrawFn, item: Item) -> Item:
    """The item with one change somewhere: another item, one more in a list, or one less."""
    if isinstance(item, L):
        parts = [*item]
        match draw(st.integers(0, 4)):
            case 0:
                return L(*parts, draw(items))
            case 1:
                return L(*parts[1:])
            case 2 | 3 if parts:
                index = draw(st.integers(0, len(parts) - 1))
                parts[index] = draw(spoiled(parts[index]))
                return L(*parts)
    return draw(items)


@st.composite
def spoiled_messages_of(draw: st.DrawFn, function: type[Function]) -> Message:
    """Messages of a function that may differ from it anywhere."""
    message = draw(messages_of(function))
    item = draw(items) if message.item is None else draw(spoiled(message.item))
    wait = function.numbers[1] % 2 == 1 and draw(st.booleans())
    return Message(*function.numbers, wait, draw(st.sampled_from([item, item, item, None])))
