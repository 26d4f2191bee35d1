"""Items as JSON, and back: what is told of each type, that nothing is lost, what is refused."""

from __future__ import annotations

import json
import math
import re
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hsms_engine.secs2 import BOOLEAN, F4, F8, I8, U1, U4, U8, A, B, C, Item, J, L
from hsms_engine.secs2.json_form import from_json, to_json
from tests.support.items import items

ENCODINGS = [None, "gbk", "cp932", "utf-8", "latin-1", "utf-16", "utf-7"]


@given(items, st.sampled_from(ENCODINGS))
@example(F4.from_raw(bytes.fromhex("7f800001")), None)
@example(F8.from_raw(bytes.fromhex("fff0000000000001")), None)
@example(A(b"\x00\xff"), None)
@example(A(b"\xce\xc2"), "gbk")
# It reads these bytes and would write others.
@example(A(b"+AEE-"), "utf-7")
@example(C.from_raw(b""), None)
def test_nothing_is_lost(item: Item, encoding: str | None) -> None:
    text = json.dumps(to_json(item, encoding), allow_nan=False)
    assert from_json(json.loads(text), encoding) == item


@pytest.mark.parametrize(
    ("item", "told"),
    [
        (L(), {"L": []}),
        (L(A("MDLN"), L(U4(1, 2))), {"L": [{"A": "MDLN"}, {"L": [{"U4": [1, 2]}]}]}),
        (A(""), {"A": ""}),
        (A(b"\xce\xc2"), {"A": [0xCE, 0xC2]}),
        (J("ｱ\\".replace("\\", "¥")), {"J": "ｱ¥"}),
        (C("x"), {"C": [0, 2, 0x78]}),
        (B(0, 255), {"B": [0, 255]}),
        (BOOLEAN(True, False), {"BOOLEAN": [True, False]}),
        (U4(), {"U4": []}),
        (U8(2**64 - 1), {"U8": [2**64 - 1]}),
        (I8(-(2**63)), {"I8": [-(2**63)]}),
        (F8(0.1), {"F8": [0.1]}),
        (F4(math.inf, -math.inf), {"F4": ["inf", "-inf"]}),
        (F4(math.nan), {"F4": ["7fc00000"]}),
    ],
)
def test_what_is_told_of_each_type(item: Item, told: object) -> None:
    assert to_json(item) == told
    assert from_json(told) == item


def test_text_is_read_in_its_encoding() -> None:
    item = A("温", encoding="gbk")
    assert to_json(item, "gbk") == {"A": "温"}
    assert from_json({"A": "温"}, "gbk") == item
    assert to_json(F8(-0.0)) == {"F8": [-0.0]}
    assert from_json({"F8": [-0.0]}) == F8(-0.0)
    # A whole number is a number too.
    assert from_json({"F8": [1]}) == F8(1.0)


def nested(depth: int) -> object:
    told: object = {"L": []}
    for _ in range(depth - 1):
        told = {"L": [told]}
    return told


def test_lists_may_be_as_deep_as_items_are() -> None:
    assert to_json(from_json(nested(64))) == nested(64)
    with pytest.raises(ValueError, match="lists are at most 64 deep"):
        from_json(nested(65))
    with pytest.raises(ValueError, match="lists are at most 64 deep"):
        from_json(nested(900))


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (None, "the item: expected an object of one member"),
        ([], "the item: expected an object of one member"),
        ({}, "the item: expected an object of one member"),
        ({"A": "", "B": []}, "the item: expected an object of one member"),
        ({"L": {}}, ".L: expected a list of items, got {}"),
        ({"L": [{"U4": [1]}, 5]}, ".L[1]: expected an object of one member"),
        ({"Q": []}, ".Q: 'Q' is no type; there are L, A, B, "),
        ({"u4": [1]}, ".u4: 'u4' is no type"),
        ({"U4": 1}, ".U4: expected a list, got 1"),
        ({"B": "00"}, ".B: expected a list, got '00'"),
        ({"C": "x"}, ".C: expected a list, got 'x'"),
        ({"A": 5}, ".A: expected a string or a list, got 5"),
        ({"A": "温"}, ".A: A character '温' (U+6E29) at [0] is not ascii"),
        ({"A": ["x"]}, ".A[0]: expected a whole number, got 'x'"),
        ({"A": [256]}, ".A: B value 256 at [0] is not in 0..255"),
        ({"J": "温"}, ".J: J character"),
        ({"C": [1]}, ".C: none, or two bytes of encoding and the text"),
        ({"U1": [256]}, ".U1: U1 value 256"),
        ({"U1": [True]}, ".U1[0]: expected a whole number, got True"),
        ({"U1": [1.0]}, ".U1[0]: expected a whole number, got 1.0"),
        ({"I8": [10**30]}, ".I8: I8 value"),
        ({"BOOLEAN": [1]}, ".BOOLEAN[0]: expected true or false, got 1"),
        (
            {"F4": [True]},
            ".F4[0]: expected a number, 'inf', '-inf' or the bytes of a NaN, got True",
        ),
        ({"F4": [None]}, ".F4[0]: expected a number"),
        ({"F4": ["nan"]}, ".F4[0]: expected a number"),
        ({"F4": ["3f800000"]}, ".F4[0]: expected a number"),
        ({"F4": [""]}, ".F4[0]: expected a number"),
        ({"F4": ["7fc0000"]}, ".F4[0]: expected a number"),
        ({"F4": [1e39]}, ".F4: F4 value"),
        ({"F8": [10**400]}, ".F8: F8 value"),
        ({"U4": "x" * 100}, f".U4: expected a list, got '{'x' * 39}…"),
    ],
)
def test_anything_else_is_refused_with_its_place(told: object, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(why)}"):
        from_json(told)


def test_an_unknown_encoding_is_refused() -> None:
    with pytest.raises(ValueError, match="'klingon' is no encoding of text"):
        to_json(U1(1), "klingon")
    with pytest.raises(ValueError, match="'klingon' is no encoding of text"):
        from_json({"U1": [1]}, "klingon")


def test_a_nan_keeps_its_bytes() -> None:
    data = struct.pack(">I", 0x7FC12345)
    assert to_json(F4.from_raw(data)) == {"F4": ["7fc12345"]}
    assert from_json({"F4": ["7FC12345"]}) == F4.from_raw(data)
