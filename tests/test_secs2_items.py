"""What an item is: built from Python or refused, never changed, equal to what encodes alike."""

import copy
import pickle
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsms_engine.secs2 import (
    BOOLEAN,
    F4,
    F8,
    I1,
    I2,
    MAX_DEPTH,
    MAX_LENGTH,
    U1,
    U2,
    U4,
    U8,
    A,
    B,
    C,
    Item,
    J,
    L,
    encode,
    item_of,
)
from tests.support.items import items

nan = float("nan")


@pytest.mark.parametrize(
    "item",
    [
        U4(range(10)),
        U2(range(70_000)[:40_000]),
        F8(x / 2 for x in range(10)),
        BOOLEAN([True, False] * 5),
        B(range(10)),
        B(bytes(range(256)) * 300),
        A("abcdefghij"),
        J("ｱｲｳabc¥"),
        C("größe"),
        C("größe", 4),
        L(*"abcdefghij"),
    ],
)
@pytest.mark.parametrize(
    "index",
    [
        0,
        3,
        -1,
        -3,
        slice(2),
        slice(2, 4),
        slice(None, None, 2),
        slice(None, None, -1),
        slice(5, 2),
        slice(-3, None),
        slice(4, 0, -3),
    ],
)
def test_an_item_is_indexed_as_the_python_value_it_holds(item: Any, index: Any) -> None:
    whole = list(item)
    if isinstance(index, slice):
        assert list(item[index]) == whole[index]
        assert type(item[index]) is type(item)
    else:
        assert item[index] == whole[index]


@pytest.mark.parametrize("item", [U4(1, 2), B(1, 2), A("ab"), L(A(), A())])
def test_an_index_beyond_the_end_is_an_index_error(item: Any) -> None:
    for index in (2, -3):
        with pytest.raises(IndexError):
            item[index]


def test_length_counts_elements() -> None:
    assert (len(U4(1, 2)), len(A("abc")), len(B(b"abcd")), len(L(A(), B()))) == (2, 3, 4, 2)
    assert (len(C("ö")), len(C("öö", 4)), len(C()), len(C.from_raw(b""))) == (2, 2, 0, 0)
    assert len(U8(range(10_000))) == 10_000


def test_from_raw_is_the_inverse_of_raw() -> None:
    assert U4.from_raw(b"\0\0\0\5") == U4(5)
    assert BOOLEAN.from_raw(b"\0\7") == BOOLEAN(False, True)
    with pytest.raises(ValueError, match=r"a multiple of 4"):
        U4.from_raw(b"123")
    with pytest.raises(ValueError, match=r"two bytes of encoding"):
        C.from_raw(b"1")


def test_a_list_is_made_of_items_and_of_plain_python() -> None:
    item = L("MDLN", U4(1, 2), [True, F4(0.5), ()], b"\x01", 0.25)
    assert item == L(A("MDLN"), U4(1, 2), L(BOOLEAN(True), F4(0.5), L()), B(1), F8(0.25))
    assert item.to_python() == ["MDLN", [1, 2], [True, 0.5, []], b"\x01", 0.25]
    assert [type(one).__name__ for one in item] == ["A", "U4", "L", "B", "F8"]
    assert L("x", "y").length == 2
    assert A("x") in L("x", "y")


@pytest.mark.parametrize(
    ("value", "item"),
    [
        (U1(1), U1(1)),
        ("x", A("x")),
        (b"x", B(b"x")),
        (bytearray(b"x"), B(b"x")),
        (True, BOOLEAN(True)),
        (1.5, F8(1.5)),
        ((), L()),
        ([["x"], True], L(L("x"), BOOLEAN(True))),
        (array("I", [1, 2]), U4(1, 2)),
        (array("b", [-1]), I1(-1)),
        (memoryview(b"ab"), U1(97, 98)),
        (np.array([1, -2], dtype=">i2"), I2(1, -2)),
        (np.array([0.5], dtype="f4"), F4(0.5)),
        (np.array([True, False]), BOOLEAN(True, False)),
    ],
)
def test_plain_python_that_names_its_type_becomes_that_item(value: object, item: Item) -> None:
    assert item_of(value) == item


def test_an_int_alone_does_not_say_which_type_it_is() -> None:
    refused: list[Callable[[], Item]] = [lambda: item_of(5), lambda: item_of([5]), lambda: L(5)]
    for make in refused:
        with pytest.raises(TypeError, match=r"^int 5 may be any of I1 I2 I4 I8 U1 U2 U4 U8: write"):
            make()
    assert item_of([1, [2, "x"]], integer=U2) == L(U2(1), L(U2(2), "x"))
    with pytest.raises(ValueError, match=r"^U1 value 256 is not in 0\.\.255$"):
        item_of(256, integer=U1)


@pytest.mark.parametrize("value", [None, {}, {1}, object, 1j, np.array([0.5], dtype="e")])
def test_what_has_no_type_in_secs2_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match=r"^no SECS-II type for "):
        item_of(value)


def nested(depth: int) -> L:
    item = L()
    for _ in range(depth - 1):
        item = L(item)
    return item


def test_lists_nest_64_deep_and_not_deeper() -> None:
    deepest = nested(MAX_DEPTH)
    assert hash(deepest) == hash(nested(MAX_DEPTH))
    with pytest.raises(ValueError, match=r"^L nested 65 deep: the limit is 64$"):
        L("x", deepest)


def test_an_item_holds_no_more_than_three_length_bytes_can_say() -> None:
    assert len(B(bytes(MAX_LENGTH))) == MAX_LENGTH
    for make in (lambda: B(bytes(MAX_LENGTH + 1)), lambda: A("x" * (MAX_LENGTH + 1))):
        with pytest.raises(ValueError, match=r"of 16777216 bytes: an item holds at most 16777215$"):
            make()
    with pytest.raises(ValueError, match=r"^L of 16777216 items: a list holds at most 16777215$"):
        L(*[A()] * (MAX_LENGTH + 1))


def test_patterns_take_items_apart() -> None:
    match item_of(["MDLN", U4(7), [True]]):
        case L(A(name), U4(number), L(BOOLEAN(flag))):
            assert (name, number, flag) == ("MDLN", 7, True)
        case _:
            pytest.fail("no match")
    match L("x", U4(1, 2), C("大", 13), B(1)):
        case [A("x"), U4(values=[first, second]), C(text, encoding), B(data)]:
            assert (first, second, text, encoding, data) == (1, 2, "大", 13, b"\x01")
        case _:
            pytest.fail("no match")


def test_a_class_pattern_names_how_a_list_begins_and_a_sequence_pattern_all_of_it() -> None:
    def seen(item: Any) -> list[str]:
        matches = []
        match item:
            case L(A(), U4()):
                matches.append("begins")
        match item:
            case [A(), U4()]:
                matches.append("is")
        match item:
            case L(A(), U4(), length=2):
                matches.append("is, too")
        return matches

    assert seen(L("x", U4(1))) == ["begins", "is", "is, too"]
    assert seen(L("x", U4(1), U4(1))) == ["begins"]
    assert seen(L("x")) == seen(L(U4(1), "x")) == seen(A("x")) == []


def test_a_pattern_of_one_value_does_not_match_an_array() -> None:
    for item in (U4(), U4(1, 2)):
        match item:
            case U4(_):
                pytest.fail("an array is not one value")


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (L("MDLN", U4(1, 2), L(), [True]), "L(A('MDLN'), U4(1, 2), L(), L(BOOLEAN(True)))"),
        (B(b"\x00x"), r"B(b'\x00x')"),
        (C("ö", 4), "C('ö', encoding=4)"),
        (F4(nan, 0.5), "F4(nan, 0.5)"),
        (U4(range(1000)), f"U4({', '.join(map(str, range(16)))}, ... 1000 values)"),
        (L(*"a" * 17), f"L({', '.join(['''A('a')'''] * 16)}, ... 17 items)"),
        (A("x" * 65), f"A('{'x' * 64}', ... 65 characters)"),
        (B(bytes(65)), f"B({bytes(64)!r}, ... 65 bytes)"),
        (C("x" * 65), f"C({b'x' * 64!r}, ... 65 bytes, encoding=2)"),
    ],
)
def test_repr_is_what_one_would_write_shortened_when_long(item: Item, text: str) -> None:
    assert repr(item) == text


@pytest.mark.parametrize(
    "change",
    [
        lambda: setattr(U4(1), "value", 2),
        lambda: setattr(U4(1), "other", 2),
        lambda: setattr(L("x"), "length", 2),
        lambda: setattr(A("x"), "value", "y"),
    ],
)
def test_an_item_does_not_change(change: Callable[[], None]) -> None:
    with pytest.raises(AttributeError):
        change()
    with pytest.raises(TypeError):
        U4(1, 2)[0] = 5  # type: ignore[index]
    with pytest.raises(TypeError):
        U4(1, 2).values[0] = 5


@given(items, items)
def test_items_are_equal_exactly_when_they_encode_to_the_same_bytes(one: Item, two: Item) -> None:
    assert (one == two) == (encode(one) == encode(two))
    assert one.__eq__(None) is NotImplemented


@given(items)
def test_an_item_equals_its_copies_and_hashes_like_them(item: Item) -> None:
    for other in (copy.copy(item), copy.deepcopy(item), pickle.loads(pickle.dumps(item))):
        assert other == item
        assert hash(other) == hash(item)


@given(st.integers(65_530, 65_545), st.integers(0, 3))
def test_large_items_behave_like_small_ones(length: int, value: int) -> None:
    data = bytes([value]) * length
    assert B(data) == B(bytearray(data))
    assert hash(B(data)) == hash(B(bytearray(data)))
    assert B(data) != U1(data[0:0] or range(0))
    assert (B(data) == A(data), B(data) == B(data[:-1] + b"x")) == (False, False)
    assert pickle.loads(pickle.dumps(B(data))) == B(data)


def test_text_beyond_ascii_takes_its_encoding_wherever_it_stands() -> None:
    expected = L(A(b"\xce\xc2"), L(A("x"), A(b"\xb6\xc8")), B(b"\xce"))
    assert item_of(["温", ["x", "度"], b"\xce"], text_encoding="gbk") == expected
    for value in ("x", ["x"]):
        with pytest.raises(ValueError, match=r"^'utf-16' is no superset of ASCII: "):
            item_of(value, text_encoding="utf-16")
    with pytest.raises(ValueError, match="is not ASCII"):
        item_of(["温"])
