"""What is printed is read back as the same, and reads as the trade writes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsms_engine.secs2 import BOOLEAN, F4, F8, U4, A, B, C, Item, J, L
from hsms_engine.sml import Statement, parse, parse_item, parse_one, shorten, to_sml
from tests.support.items import items

statements = st.builds(
    lambda name, stream, half, primary, wait, item: Statement(
        name, stream, 2 * half + primary, wait and primary, item
    ),
    st.none() | st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,10}", fullmatch=True),
    st.integers(0, 127),
    st.integers(0, 127),
    st.booleans(),
    st.booleans(),
    st.none() | items,
)


@given(items)
def test_an_item_that_is_printed_is_read_back(item: Item) -> None:
    assert parse_item(to_sml(item)) == item


@given(st.lists(statements, max_size=4))
def test_messages_that_are_printed_are_read_back(messages: list[Statement]) -> None:
    assert parse("\n".join(map(to_sml, messages))) == messages


@given(items)
def test_printed_text_has_no_control_character_but_the_line_feed(item: Item) -> None:
    assert all(line.isprintable() for line in to_sml(item).split("\n"))


@given(st.floats(width=32, allow_nan=False))
def test_a_float_is_printed_as_short_as_it_can_be(value: float) -> None:
    text = to_sml(F4(value))
    assert parse_item(text) == F4(value)
    assert len(text) <= len(f"<F4 {value!r}>")


def test_a_message_is_printed_with_an_item_a_line_and_a_full_stop() -> None:
    item = L("MDLN", U4(1, 2), [True, ()], B(0, 255))
    assert to_sml(Statement("Hello", 1, 13, True, item)) == (
        "Hello: S1F13 W\n"
        "<L [4]\n"
        '  <A "MDLN">\n'
        "  <U4 1 2>\n"
        "  <L [2]\n"
        "    <BOOLEAN T>\n"
        "    <L [0]>\n"
        "  >\n"
        "  <B 0x00 0xFF>\n"
        "> ."
    )
    assert to_sml(Statement(None, 1, 2, False, None)) == "S1F2 ."


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (A('a"b\r\n'), '<A "a" 0x22 "b" 0x0D 0x0A>'),
        (A(b"\xe9\x7f"), "<A 0xE9 0x7F>"),
        (A(), "<A>"),
        (J(b"\xb1\x5c\xa0"), '<J "ｱ¥" 0xA0>'),
        (C('ö"\n'), '<C 2 "ö" 0x22 0x0A>'),
        (C("x\n", 1), '<C 1 "x" 0x00 0x0A>'),
        (C(b"\xff", 2), "<C 2 0xFF>"),
        (C(b"x", 999), "<C 999 0x78>"),
        (C.from_raw(b""), "<C>"),
        (F4(0.1, 1, -2, 16777216), "<F4 0.1 1.0 -2.0 16777216.0>"),
        (F4(3.4028234e38), "<F4 3.4028235e+38>"),
        (F8(0.1, float("nan"), float("-inf")), "<F8 0.1 nan -inf>"),
        (F8.from_raw(bytes.fromhex("fff0000000000001")), "<F8 nan(0xFFF0000000000001)>"),
        (BOOLEAN(), "<BOOLEAN>"),
    ],
)
def test_values_are_printed_readably(item: Item, text: str) -> None:
    assert to_sml(item) == text
    assert parse_item(text) == item


def test_a_long_item_is_shortened_without_being_printed_whole() -> None:
    assert shorten(L("x", U4(1)), 40) == '<L [2] <A "x"> <U4 1>>'
    assert shorten(U4(range(1000)), 20) == "<U4 0 1 2 3 4 5 6..."
    assert shorten(B(bytes(10_000_000)), 20) == "<B 0x00 0x00 0x00..."
    assert shorten(C("ö" * 100), 30).endswith("...")
    for item in (L(*[L("x")] * 1000), A("x" * 1000)):
        text = shorten(item, 50)
        assert len(text) == 50
        assert text.endswith("...")


@given(items, st.integers(10, 200))
def test_a_shortened_item_is_never_longer_than_asked(item: Item, limit: int) -> None:
    assert len(shorten(item, limit)) <= limit


def test_a_printed_statement_is_one_statement() -> None:
    statement = Statement("n", 6, 11, True, L())
    assert parse_one(to_sml(statement)) == statement
