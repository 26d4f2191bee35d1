"""The short names make the messages of SEMI E5."""

from typing import Any

import pytest

from hsms_engine import messages
from hsms_engine.message import Message
from hsms_engine.messages import (
    S1F2,
    S1F3,
    S1F4,
    S1F11,
    S1F12,
    S1F13,
    S1F14,
    S2F13,
    S2F14,
    S2F15,
    S2F18,
    S2F25,
    S2F26,
    S2F31,
    S2F33,
    S2F35,
    S2F37,
    S2F39,
    S2F41,
    S2F42,
    S5F1,
    S5F3,
    S6F11,
    S6F15,
    S6F16,
    S6F19,
    S6F20,
    S9F1,
    S9F3,
    S9F5,
    S9F7,
    S9F9,
    S9F11,
    S10F3,
)
from hsms_engine.secs2 import F4, U2

HEAD = bytes(range(10))
HEAD_SML = "<B 0 1 2 3 4 5 6 7 8 9>"
REPORTS: dict[Any, list[Any]] = {1: [7, "x"], U2(2): [F4(0.5)]}
REPORTS_SML = '<L <L <U4 1> <L <U4 7> <A "x">>> <L <U2 2> <L <F4 0.5>>>>'
CONSTANTS: dict[Any, Any] = {1: "x", "y": 2}

# Without arguments, or with an acknowledge code alone.
PLAIN = ["S1F1 W", "S1F15 W", "S1F17 W", "S2F17 W"]
ACKNOWLEDGES = [
    "S1F16", "S1F18", "S2F16", "S2F32", "S2F34", "S2F36", "S2F38", "S2F40", "S5F2", "S5F4",
    "S6F12", "S10F4",
]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "sml"),
    [
        (S1F2(), "S1F2 <L>"),
        (S1F2("MDLN", "1.0"), 'S1F2 <L <A "MDLN"> <A "1.0">>'),
        (S1F2("MDLN"), 'S1F2 <L <A "MDLN"> <A>>'),
        (S1F3(), "S1F3 W <L>"),
        (S1F3(1, U2(2), "x"), 'S1F3 W <L <U4 1> <U2 2> <A "x">>'),
        (S1F4(1, True, [2]), "S1F4 <L <U4 1> <BOOLEAN T> <L <U4 2>>>"),
        (S1F11(1), "S1F11 W <L <U4 1>>"),
        (S1F12((1, "Clock", "s")), 'S1F12 <L <L <U4 1> <A "Clock"> <A "s">>>'),
        (S1F13(), "S1F13 W <L>"),
        (S1F13("M", "S"), 'S1F13 W <L <A "M"> <A "S">>'),
        (S1F14(), "S1F14 <L <B 0> <L>>"),
        (S1F14(1, "M", "S"), 'S1F14 <L <B 1> <L <A "M"> <A "S">>>'),
        (S2F13(1), "S2F13 W <L <U4 1>>"),
        (S2F14(1, "x"), 'S2F14 <L <U4 1> <A "x">>'),
        (S2F15(CONSTANTS), 'S2F15 W <L <L <U4 1> <A "x">> <L <A "y"> <U4 2>>>'),
        (S2F15([(1, "x")]), 'S2F15 W <L <L <U4 1> <A "x">>>'),
        (S2F18("2000010100000000"), 'S2F18 <A "2000010100000000">'),
        (S2F25(b"ab"), "S2F25 W <B 97 98>"),
        (S2F26(b"ab"), "S2F26 <B 97 98>"),
        (S2F31("000101000000"), 'S2F31 W <A "000101000000">'),
        (S2F33(9, REPORTS), f"S2F33 W <L <U4 9> {REPORTS_SML}>"),
        (S2F33(9, {}), "S2F33 W <L <U4 9> <L>>"),
        (S2F35(9, {1: [2, 3]}), "S2F35 W <L <U4 9> <L <L <U4 1> <L <U4 2> <U4 3>>>>>"),
        (S2F37(True, 1, 2), "S2F37 W <L <BOOLEAN T> <L <U4 1> <U4 2>>>"),
        (S2F37(False), "S2F37 W <L <BOOLEAN F> <L>>"),
        (S2F39(1, 5000), "S2F39 W <L <U4 1> <U4 5000>>"),
        (S2F41("START"), 'S2F41 W <L <A "START"> <L>>'),
        (S2F41("PP", {"ID": 1}), 'S2F41 W <L <A "PP"> <L <L <A "ID"> <U4 1>>>>'),
        (S2F42(), "S2F42 <L <B 0> <L>>"),
        (S2F42(3, {"ID": 2}), 'S2F42 <L <B 3> <L <L <A "ID"> <B 2>>>>'),
        (S5F1(0x81, 7, "hot"), 'S5F1 W <L <B 0x81> <U4 7> <A "hot">>'),
        (S5F1(1, 7, wait=False), "S5F1 <L <B 1> <U4 7> <A>>"),
        (S5F3(True, 7), "S5F3 W <L <B 0x80> <U4 7>>"),
        (S5F3(False), "S5F3 W <L <B 0> <U4>>"),
        (S6F11(9, 5, REPORTS), f"S6F11 W <L <U4 9> <U4 5> {REPORTS_SML}>"),
        (S6F11(9, 5, {}, wait=False), "S6F11 <L <U4 9> <U4 5> <L>>"),
        (S6F15(5), "S6F15 W <U4 5>"),
        (S6F16(9, 5, REPORTS), f"S6F16 <L <U4 9> <U4 5> {REPORTS_SML}>"),
        (S6F19(5), "S6F19 W <U4 5>"),
        (S6F20("x", 5), 'S6F20 <L <A "x"> <U4 5>>'),
        *[
            (make(HEAD), f"{make.__name__} {HEAD_SML}")
            for make in (S9F1, S9F3, S9F5, S9F7, S9F9, S9F11)
        ],
        (S10F3(0, "hi"), 'S10F3 W <L <B 0> <A "hi">>'),
        *[(getattr(messages, sml.split()[0])(), sml) for sml in PLAIN],
        *[(getattr(messages, name)(), f"{name} <B 0>") for name in ACKNOWLEDGES],
        *[(getattr(messages, name)(3), f"{name} <B 3>") for name in ACKNOWLEDGES],
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)
def test_a_short_name_makes_the_message(message: Message, sml: str) -> None:
    assert message == Message.parse(sml)
