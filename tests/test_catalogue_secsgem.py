"""secsgem 0.3 knows many of the functions: its layouts, formats, codes and replies are these.

Each deviation is listed with its reason, and one that is no more fails.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import secsgem.secs.data_items as their_data
import secsgem.secs.functions as their_functions
from hypothesis import given, settings

from hsms_engine.message import Message
from hsms_engine.messages import Function, check, pages, read
from hsms_engine.messages.layout import Data, Format
from hsms_engine.secs2 import BOOLEAN, A, B, Item, L
from tests.support.functions import every, messages_of


def theirs(function: type[Function]) -> Any:
    """secsgem's class of the function, None when it has none."""
    stream, number = function.numbers
    return getattr(their_functions, f"SecsS{stream:02}F{number:02}", None)


KNOWN = [each for each in every() if theirs(each) is not None]


def shape(text: str) -> str:
    """secsgem's layout as ours is written: a list of one kind of node is of any number."""
    words: list[str] = re.findall(r"[<>]|\w+", text)

    def node() -> str:
        assert words.pop(0) == "<"
        name = words.pop(0)
        if name != "L":
            assert words.pop(0) == ">"
            return name
        if words[0] not in "<>":
            # The list has a name.
            words.pop(0)
        nodes = []
        while words[0] != ">":
            nodes.append(node())
        words.pop(0)
        inside = ", ".join(nodes)
        return f"[{inside}, ...]" if len(nodes) == 1 else f"({inside})"

    return node()


# Deviations, and why: of secsgem the layouts and replies that are not ours.
LAYOUTS = {
    # A list of two that may be empty; secsgem has one of any number, of which it fills two.
    "S1F2": "[MDLN, ...]",
    "S1F13": "[MDLN, ...]",
    "S1F14": "(COMMACK, [MDLN, ...])",
    # A parameter may be a list, and so what is wrong with it.
    "S2F50": "(HCACK, [(CPNAME, CPACK), ...])",
    # The ids are one item with many values. A list of them is read too.
    "S5F5": "[ALID, ...]",
}
REPLIES = {
    # S2F50 answers it, in secsgem too.
    "S2F49": "none",
    # Manuals of tools let the sender do without a reply.
    "S2F41": "needed",
    "S6F11": "needed",
}
# Formats that secsgem does not have: text of other alphabets anywhere, the commands of older
# equipment, numbers with a fraction as parameters.
MORE_FORMATS = {
    **{name: {"C", "J"} for name in ("SV", "ECV", "CEPVAL", "DVVAL", "V", "TEXT")},
    "CMDA": {"B"},
    "CPVAL": {"F4", "F8"},
}
# Codes that are no values of their own: the bit of an alarm that is set, "another error".
MORE_CODES = {"ALCD": {0x80}, "ACKC5": {1}, "ACKC6": {1}}
NAMES: dict[type[Item], str] = {A: "String", B: "Binary", BOOLEAN: "Boolean", L: "Array"}
WAYS = {
    (True, True): "both ways",
    (True, False): "equipment to host",
    (False, True): "host to equipment",
}


def their_formats(data: Data) -> list[str]:
    found = getattr(their_data, data.name)
    kinds = getattr(found, "__allowedtypes__", None) or [found.__type__]
    return [kind.__name__ for kind in kinds]


def test_layouts_are_the_same() -> None:
    deviating = {}
    for function in KNOWN:
        text = theirs(function)._data_format
        found = "" if text is None else shape(text)
        if found != str(function.layout or ""):
            deviating[function.__name__] = found
    assert deviating == LAYOUTS
    assert len(KNOWN) > 80


def test_directions_and_replies_are_the_same() -> None:
    deviating = {}
    for function in KNOWN:
        they = theirs(function)
        assert pages.way(function) == WAYS[they._to_host, they._to_equipment]
        required = "needed" if they._is_reply_required else "optional"
        if (reply := required if they._has_reply else "none") != function.reply:
            deviating[function.__name__] = reply
    assert deviating == REPLIES


def test_formats_and_codes_are_the_same() -> None:
    found = {each.name: each for function in KNOWN for each in pages.data(function)}
    # secsgem has CPACK in its place.
    del found["CEPACK"]
    for name, data in found.items():
        named = {NAMES.get(kind, kind.__name__): kind.__name__ for kind in data.formats}
        more = {ours for their, ours in named.items() if their not in their_formats(data)}
        assert more == MORE_FORMATS.get(name, set()), name
        assert set(their_formats(data)) <= set(named), name
        values = set(getattr(getattr(their_data, name), "_values", {}).values())
        assert values - MORE_CODES.get(name, set()) == set(data.codes or ()), name


def of_both(data: Data) -> list[Format]:
    """The formats that secsgem takes too."""
    known = their_formats(data)
    return [kind for kind in data.formats if NAMES.get(kind, kind.__name__) in known]


# secsgem does not know that a list of fixed fields may be empty.
LIKE = [
    each
    for each in KNOWN
    if each.__name__ not in LAYOUTS and not any(" or 0]" in line for line in pages.body(each))
]


@pytest.mark.parametrize("function", LIKE, ids=lambda each: each.__name__)
def test_secsgem_reads_what_is_made_here_and_writes_the_same(function: type[Function]) -> None:
    @settings(max_examples=10)
    @given(messages_of(function, of_both))
    def holds(message: Message) -> None:
        there = theirs(function)()
        if message.item is None:
            assert there.encode() == b""
            return
        there.decode(message.body)
        again = Message(*function.numbers, message.wait, body=there.encode())
        assert again == message
        assert read(again) == message
        assert check(again) == []

    holds()
