"""SML is read in every dialect that is clear, and refused with the place where it is not."""

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsms_engine.secs2 import BOOLEAN, F4, F8, I1, I2, I8, U1, U4, U8, A, B, C, Item, J, L
from hsms_engine.sml import SmlError, Statement, parse, parse_item, parse_one, to_sml
from tests.support.items import items


@pytest.mark.parametrize(
    ("text", "name", "stream", "function", "wait"),
    [
        ("S1F1 W.", None, 1, 1, True),
        ("S1F1 W .", None, 1, 1, True),
        ("S1F1", None, 1, 1, False),
        ("'S1F1' W", None, 1, 1, True),
        ('"S1F1"W', None, 1, 1, True),
        ("AreYouThere: S1F1 W", "AreYouThere", 1, 1, True),
        ("Are-You_There2 :'S1F1' W .", "Are-You_There2", 1, 1, True),
        ("S1F1: S1F2", "S1F1", 1, 2, False),
        ("s127f255 w", None, 127, 255, True),
        ("S01F003 [W]", None, 1, 3, True),
        ("S0F0", None, 0, 0, False),
        ("\ufeff\r\n\tS1F1\r\n", None, 1, 1, False),
    ],
)
def test_a_header_may_have_a_name_quotes_and_the_w_bit(
    text: str, name: str | None, stream: int, function: int, wait: bool
) -> None:
    assert parse_one(text) == Statement(name, stream, function, wait, None)


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("<L>", L()),
        ("<L[0]>", L()),
        ("<L [2] <A> <L>>", L(A(), L())),
        ("<l[2]<a'x'><u1 1>>", L("x", U1(1))),
        ('<A "x">', A("x")),
        ("<A 'it is \"x\"'>", A('it is "x"')),
        ('<A "two" 0x0D 10 "lines">', A("two\r\nlines")),
        ('<A [3] "x" 0xE9 255>', A(b"x\xe9\xff")),
        ("<A 'S1F1 <L> // no comment'>", A("S1F1 <L> // no comment")),
        ("<B 0xFF 1 0b101>", B(255, 1, 5)),
        ("<BOOLEAN T F true FALSE 1 0>", BOOLEAN(True, False, True, False, True, False)),
        ("<Bool [1] True>", BOOLEAN(True)),
        ("<Boolean>", BOOLEAN()),
        ("<I1 -128 +7 0x7f -0x80>", I1(-128, 7, 127, -128)),
        ("<I2 007>", I2(7)),
        ("<I2 0x10 007>", I2(16, 7)),
        ("<I2 1-1>", I2(1, -1)),
        ("<F4+1 1>", F4(1, 1)),
        ("<I8 -9223372036854775808>", I8(-(2**63))),
        ("<U8 18446744073709551615 0xFFFFFFFFFFFFFFFF>", U8(2**64 - 1, 2**64 - 1)),
        ("<U4 [0..8] 1 2>", U4(1, 2)),
        ("<U4 [ 1 .. ] 1 2>", U4(1, 2)),
        ("<U4 [..2] 1 2>", U4(1, 2)),
        ("<U4 [\x1d2\u2003..\n] 1 2>", U4(1, 2)),
        ("<F4 1 -1.5 .5 1. 1e3 1E-3 +2 0x10>", F4(1, -1.5, 0.5, 1, 1e3, 1e-3, 2, 16)),
        ("<F8 inf -inf Infinity>", F8(math.inf, -math.inf, math.inf)),
        ("<F8 nan>", F8(math.nan)),
        ("<F4 nan(0x7F800001)>", F4.from_raw(bytes.fromhex("7f800001"))),
        ("<J 'ｱ¥' 0xE0>", J(b"\xb1\x5c\xe0")),
        ('<C "größe">', C("größe")),
        ('<C "größe" 0x0A>', C("größe\n")),
        ('<C 13 "大" 0x0A>', C("大\n", 13)),
        ("<C 14 0xE4 0xA4>", C(b"\xe4\xa4", 14)),
        ("<C 2>", C("")),
        ("<C>", C.from_raw(b"")),
        ("/* a */ <L // b\n # c\n /* > \n */ <A 'x'>>", L("x")),
    ],
)
def test_an_item_is_read(text: str, item: Item) -> None:
    assert parse_item(text) == item
    assert parse_one(f"S6F11 W {text} .").item == item


def test_a_text_holds_many_messages() -> None:
    text = "S1F1 W.S1F2 <L>.\n a: S1F3 W <L>\n'S2F1' W\nS2F2 .//"
    names = [f"S{one.stream}F{one.function}" for one in parse(text)]
    assert names == ["S1F1", "S1F2", "S1F3", "S2F1", "S2F2"]
    assert parse(" // nothing\n") == []


ERRORS: list[tuple[str, int, int, str]] = [
    ("S1F1 W\n<U1 300>", 2, 5, "U1 value 300 is not in 0..255"),
    ("<U1 1>", 1, 1, "expected a message like S1F13, found <"),
    ("", 1, 1, "expected a message like S1F13, found the end of the text"),
    ("S128F1", 1, 1, "S128F1 is not in S0F0..S127F255"),
    ("S1F256", 1, 1, "S1F256 is not in S0F0..S127F255"),
    ("S1F2 W", 1, 6, "S1F2 has an even function: no W"),
    ("x: y", 1, 4, "expected a message like S1F13, found y"),
    ("S1F1 S1F2", 1, 6, "expected one message and nothing after it, found S1F2"),
    ("S1F1 <Q>", 1, 7, "expected an item type (L, A, U4, ...), found Q"),
    ("S1F1 <'A'>", 1, 7, "expected an item type (L, A, U4, ...), found 'A'"),
    ("S1F1 <L [2] <A>>", 1, 9, "the count is [2], but 1 follow"),
    ("S1F1 <A [3..4] 'xx'>", 1, 9, "the count is [3..4], but 2 follow"),
    ("S1F1 <A [..1] 'xx'>", 1, 9, "the count is [..1], but 2 follow"),
    ("S1F1 <A [x] 'xx'>", 1, 9, "expected a count: [3], [0..8], [1..] or [..8]"),
    (f"S1F1 <A [{'9' * 5000}] 'xx'>", 1, 9, "expected a count: [3], [0..8], [1..] or [..8]"),
    (f"S1F1 <A [..{'9' * 5000}] 'xx'>", 1, 9, "expected a count: [3], [0..8], [1..] or [..8]"),
    ("S1F1 <L\n  <A", 2, 3, "this item is never closed"),
    ("S1F1 <L <A>", 1, 6, "this item is never closed"),
    ("S1F1 <L 1>", 1, 9, "expected an item or >, found 1"),
    ("S1F1 <U4 <A>>", 1, 10, "expected a value or >, found <"),
    ("S1F1 <A 'x\n'>", 1, 9, "this string is not closed on its line: write a line feed as 0x0A"),
    ("S1F1 /* x", 1, 6, "this comment is never closed"),
    ("S1F1 <A %>", 1, 9, "unexpected '%'"),
    ("S1F1 <U4 1x>", 1, 10, "1x is no number, and text needs quotes"),
    ("S1F1 <A 7b-1.2>", 1, 9, "7b-1.2 is no number, and text needs quotes"),
    (f"S1F1 <A {'9' * 50}x>", 1, 9, f"{'9' * 40}... is no number, and text needs quotes"),
    ("S1F1 <I4-1>", 1, 7, "expected an item type (L, A, U4, ...), found I4-1"),
    ("S1F1 <U4_ 1>", 1, 7, "expected an item type (L, A, U4, ...), found U4_"),
    ("S1F1 <U4 0o17>", 1, 10, "0o17 is no number, and text needs quotes"),
    ("S1F1 <U4 1_0>", 1, 10, "1_0 is no number, and text needs quotes"),
    ("S1F1 <U4 ٣>", 1, 10, "unexpected '٣'"),
    ("S1F1 <BOOLEAN 01>", 1, 15, "expected T or F, found 01"),
    ("S1F1 <U4 300><U1 300>", 1, 14, "expected one message and nothing after it, found <"),
    ("S1F1 <L <U4 1><U1 300><U4 2>>", 1, 19, "U1 value 300 is not in 0..255"),
    ("S1F1 <L <U4 1><U4 [2] 1>>", 1, 19, "the count is [2], but 1 follow"),
    ("S1F1 <L <U1 300> %", 1, 18, "unexpected '%'"),
    ("S1F1 <U4 x>", 1, 10, "expected an integer, found x"),
    ("S1F1 <A START>", 1, 9, "expected an integer, found START; text needs quotes"),
    ("S1F1 <J START>", 1, 9, "expected an integer, found START; text needs quotes"),
    ("S1F1 <C START>", 1, 9, "expected an integer, found START; text needs quotes"),
    ("S1F1 <C 2 START>", 1, 11, "expected an integer, found START; text needs quotes"),
    ("S1F1 <A 10.1.2.3>", 1, 9, "expected an integer, found 10.1; text needs quotes"),
    ("S1F1 <A 'ö'>", 1, 9, "A character 'ö' (U+00F6) at [0] is not ASCII (0..127)"),
    ("S1F1 <A 2026>", 1, 9, "byte 2026 is not in 0..255; text needs quotes"),
    ("S1F1 <B 256>", 1, 9, "byte 256 is not in 0..255"),
    ("S1F1 <B 'x'>", 1, 9, "expected an integer, found 'x'"),
    ("S1F1 <BOOLEAN T 2>", 1, 17, "expected T or F, found 2"),
    ("S1F1 <U4 1 -1>", 1, 12, "U4 value -1 is not in 0..4294967295"),
    ("S1F1 <U4 1.5>", 1, 10, "expected an integer, found 1.5"),
    (f"S1F1 <U4 {'9' * 5000}>", 1, 10, f"expected an integer, found {'9' * 40}..."),
    ("S1F1 <F8 1e999>", 1, 10, "1e999 is too large even for F8"),
    ("S1F1 <F4 0 1e39>", 1, 12, "F4 value 1e+39 is not in -3.4028235e+38..3.4028235e+38"),
    ("S1F1 <F4 x>", 1, 10, "expected a number, found x"),
    ("S1F1 <F4 '1'>", 1, 10, "expected a number, found '1'"),
    ("S1F1 <F4 nan(0x1)>", 1, 10, "nan(0x1) is not a NaN of F4"),
    ("S1F1 <F4 nan(0x7FF8000000000000)>", 1, 10, "nan(0x7FF8000000000000) is not a NaN of F4"),
    ("S1F1 <C 70000 'x'>", 1, 9, "encoding 70000 is not in 0..65535"),
    ("S1F1 <C 7 'x'>", 1, 11, "encoding 7 of a localized string is unknown: use raw"),
    ("S1F1 <C 4 '大'>", 1, 11, "C character '大' (U+5927) at [0] is not encoding 4"),
    ("S1F1 $", 1, 6, "expected one message and nothing after it, found $"),
    ("S1F1 <L $1>", 1, 9, "expected an item or >, found $1"),
    ("S1F1 <L <A> ...>", 1, 13, "expected an item or >, found ..."),
    ("S1F1 " + "<L " * 65, 1, 198, "lists are nested more than 64 deep"),
]


@pytest.mark.parametrize(("text", "line", "column", "problem"), ERRORS)
def test_an_error_says_line_column_and_what_was_expected(
    text: str, line: int, column: int, problem: str
) -> None:
    with pytest.raises(SmlError) as raised:
        parse_one(text)
    error = raised.value
    assert (error.line, error.column) == (line, column)
    assert error.problem.startswith(problem)
    assert isinstance(error, ValueError)


def test_an_error_points_at_the_place_with_a_caret() -> None:
    with pytest.raises(SmlError) as raised:
        parse("S1F13 W\n\t<L <A 'x'> <U1 1 300>>\n.")
    assert str(raised.value) == (
        "line 2, column 19: U1 value 300 is not in 0..255\n"
        "   <L <A 'x'> <U1 1 300>>\n"
        "                    ^"
    )


def test_an_error_in_a_long_line_shows_what_is_around_it() -> None:
    with pytest.raises(SmlError) as raised:
        parse(f"S1F1 <U1 {'1 ' * 500}x {'1 ' * 500}>")
    _, source, caret = str(raised.value).split("\n")
    assert source[caret.index("^")] == "x"
    assert len(source) < 100


def test_an_item_alone_is_one_item() -> None:
    with pytest.raises(SmlError, match="expected one item and nothing after it, found <"):
        parse_item("<A> <A>")
    with pytest.raises(SmlError, match="expected an item, found S1F1"):
        parse_item("S1F1 <A>")


_pieces = st.sampled_from(
    [
        "<",
        ">",
        "L",
        "A",
        "U4",
        "F4",
        "BOOLEAN",
        "C",
        "S1F1",
        "W",
        ".",
        ":",
        "[1]",
        "[0..]",
        "'x'",
        "'",
        '"',
        "1",
        "-1",
        "0x",
        "0xFF",
        "1e5",
        "nan",
        "nan(0x7f800001)",
        "/*",
        "*/",
        "//",
        "\n",
        "$1",
        "...",
        " ",
        "ö",
        "\x00",
        "٣",
        "[W]",
        "\ud800",
    ]
)


@given(st.one_of(st.text(max_size=40), st.lists(_pieces, max_size=20).map("".join)))
def test_any_text_is_messages_or_an_sml_error(text: str) -> None:
    for read in (parse, parse_item):
        try:
            result: Any = read(text)
        except SmlError:
            continue
        assert result is not None


@given(items)
def test_plain_items_and_those_with_comments_are_read_alike(item: Item) -> None:
    text = to_sml(item)
    # One item begins each line. After the comments, each is read token by token.
    assert parse_item(re.sub(r"(?m)^( *)<", r"\1</**/", text)) == parse_item(text) == item
    for comment in ("/* <A> */", "// <A 'x'\n", "#\n/**//* \n */"):
        assert parse_item(re.sub(r"(?m)^( *)<", rf"\1{comment}<", text)) == item


def test_reading_takes_time_in_proportion_to_the_text() -> None:
    # Long enough that anything quadratic would take minutes.
    assert parse_item(f"<U4 {'1 ' * 200_000}>") == U4([1] * 200_000)
    assert parse(f"S1F1 {' ' * 500_000} // {'/*' * 200_000}\n") == [parse_one("S1F1")]
    with pytest.raises(SmlError):
        parse("/*" * 300_000)
    with pytest.raises(SmlError):
        parse("S1F1 <L " + "<U1 1> /* x */ <U1 [..1] 1> // y\n" * 20_000 + "/*")
    for odd in ("<U4", "<U4 [1]", "<A 'x'", "<L"):
        with pytest.raises(SmlError):
            parse(f"S1F1 {odd}{' ' * 500_000}%>")
    assert len(parse("S1F1 .\n" * 20_000)) == 20_000


def test_an_item_too_long_for_its_length_field_is_an_error_at_the_item() -> None:
    text = f"S1F1 <A '{'x' * 9_000_000}' '{'x' * 9_000_000}'>"
    with pytest.raises(SmlError, match="column 6: A of 18000000 bytes: an item holds at most"):
        parse(text)
