"""What is printed is read back as the same, and reads as the trade writes it."""

import codecs
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hsms_engine.secs2 import BOOLEAN, F4, F8, U4, A, B, C, Item, J, L
from hsms_engine.sml import (
    Statement,
    parse,
    parse_item,
    parse_one,
    parse_templates,
    shorten,
    to_sml,
)
from tests.support.items import items, statements, texts

# Of one byte and of several, with trail bytes that are ASCII, with several codes of one character,
# and with characters that mean another one together.
ENCODINGS = (
    "utf-8", "latin-1", "cp1252", "iso8859-11", "cp874", "koi8-r", "hp-roman8", "cp1006", "gb2312",
    "gbk", "gb18030", "big5", "big5hkscs", "cp950", "shift_jis", "cp932", "euc_jp", "euc_jis_2004",
    "euc_kr", "cp949", "johab", "ascii",
)  # fmt: skip
encodings = st.sampled_from(ENCODINGS)


@given(items)
def test_an_item_that_is_printed_is_read_back(item: Item) -> None:
    assert parse_item(to_sml(item)) == item


@given(items | texts, encodings)
@example(A(b"\xa4\xab\xab\x52"), "euc_jis_2004")
@example(A(b"\xa9\xdc\xab\xdc\xab\xdc"), "euc_jis_2004")
@example(A(b"\x88\x66\x88\x62\x88"), "big5hkscs")
@example(A(b"\x87\x90\x81\xe0\x81\x22\xfa"), "cp932")
@example(A("똠".encode("euc_kr") + b"\xff"), "euc_kr")
def test_an_item_that_is_printed_in_an_encoding_is_read_back(item: Item, encoding: str) -> None:
    text = to_sml(item, encoding)
    assert parse_item(text, encoding) == item
    assert all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_character_of_an_encoding_is_printed_and_read_back(encoding: str) -> None:
    known = "".join(map(chr, range(0x1_0200)))
    for text in (known, known[::-1]):
        item = A(text.encode(encoding, "ignore"))
        assert parse_item(to_sml(item, encoding), encoding) == item


@given(st.binary(max_size=30), encodings)
def test_text_is_shown_as_text_and_only_other_bytes_as_codes(data: bytes, encoding: str) -> None:
    text = "".join(filter(str.isprintable, data.decode(encoding, "ignore"))).replace('"', "")
    # Once more: some characters have several codes, and only one of them is shown as text.
    whole = text.encode(encoding)
    if whole and whole.decode(encoding) == text:
        assert to_sml(A(whole), encoding) == f'<A "{text}">'
        assert to_sml(A(b"\0" + whole), encoding) == f'<A 0x00 "{text}">'


@given(st.lists(statements, max_size=4), encodings)
def test_messages_printed_in_an_encoding_are_read_back(
    messages: list[Statement], encoding: str
) -> None:
    text = "\n".join(to_sml(each, encoding) for each in messages)
    assert parse(text, encoding) == messages


@given(items)
def test_the_encoding_of_text_changes_nothing_for_ascii(item: Item) -> None:
    if to_sml(item).isascii():
        assert parse_item(to_sml(item), "cp932") == item


@pytest.mark.parametrize(
    ("data", "encoding", "text"),
    [
        ("温度".encode("gbk"), "gbk", '<A "温度">'),
        ("温".encode("gbk") + b'\r\n"\xff', "gbk", '<A "温" 0x0D 0x0A 0x22 0xFF>'),
        # Trail bytes that are a backslash, a quotation mark, an angle bracket
        (b"\x83\x5c\x81\x22<\x83\x3c", "cp932", '<A "ソ" 0x81 0x22 "<" 0x83 "<">'),
        (b"\x81\x5c\x81\x5c", "gbk", '<A "乗乗">'),
        # Two codes of one character: the one that is not written
        (b"\x81\xe0\x87\x90A", "cp932", '<A "≒" 0x87 0x90 "A">'),
        # Two characters, and what they are together
        (b"\xa9\xdc\xab\xdc", "euc_jis_2004", '<A "æ" "\u0300">'),
        (b"\xab\xc4", "euc_jis_2004", '<A "æ\u0300">'),
        ("größe".encode(), "utf-8", '<A "größe">'),
        (b"\xc3\xb6\xc3", "utf-8", '<A "ö" 0xC3>'),
        (b"\xe9\x85", "latin-1", '<A "é" 0x85>'),
        ("\u200b\u3000a".encode("gb18030"), "gb18030", '<A 0x81 0x36 0xA4 0x37 0xA1 0xA1 "a">'),
        (b"MDLN", "gbk", '<A "MDLN">'),
        (b"", "gbk", "<A>"),
    ],
)
def test_text_is_printed_in_its_encoding(data: bytes, encoding: str, text: str) -> None:
    assert to_sml(A(data), encoding) == text
    assert parse_item(text, encoding) == A(data)


# Latin-1, but for two bytes that are read and cannot be written.
ONE_WAY = "".join({0xFE: "\u200b", 0xFF: "\u20ac"}.get(byte, chr(byte)) for byte in range(256))
WAY_BACK = {ord(each): byte for byte, each in enumerate(ONE_WAY) if byte < 0xFE}


def one_way(name: str) -> codecs.CodecInfo | None:
    if name != "one_way":
        return None
    return codecs.CodecInfo(
        lambda text, errors="strict": codecs.charmap_encode(text, errors, WAY_BACK),
        lambda data, errors="strict": codecs.charmap_decode(data, errors, ONE_WAY),
        name=name,
    )


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a\xe9\xff\xe9", '<A "aé" 0xFF "é">'),
        (b"a\xe9\xfe\xe9", '<A "aé" 0xFE "é">'),
        (b"\xfe\xff\n", "<A 0xFE 0xFF 0x0A>"),
    ],
)
def test_what_an_encoding_reads_and_cannot_write_is_printed_as_codes(
    data: bytes, text: str
) -> None:
    codecs.register(one_way)
    try:
        assert to_sml(A(data), "one_way") == text
        assert parse_item(text, "one_way") == A(data)
    finally:
        codecs.unregister(one_way)


def test_a_j_and_a_c_say_themselves_what_they_are_encoded_in() -> None:
    for item, text in ((J("ｱ"), '<J "ｱ">'), (C("é"), '<C 2 "é">')):
        assert to_sml(item, "gbk") == text
        assert parse_item(text, "gbk") == item


def test_localized_text_is_printed_but_for_what_is_none() -> None:
    for item, text in (
        (C(b"\x87\x90\x87\x40\x81", 8), '<C 8 0x87 0x90 "①" 0x81>'),
        (C("똠".encode("euc_kr"), 10), "<C 10 0xA4 0xD4 0xA4 0xA8 0xA4 0xC7 0xA4 0xB1>"),
        (C(b"\xff\x00A", 2), '<C 2 0xFF 0x00 "A">'),
        (C(b"\x00A\xd8\x00\x00B\x00", 1), '<C 1 "A" 0xD8 0x00 "B" 0x00>'),
        (C(b"\xfe", 6), "<C 6 0xFE>"),
    ):
        assert to_sml(item) == text
        assert parse_item(text) == item


@pytest.mark.parametrize(
    "use",
    [
        lambda name: to_sml(A("x"), name),
        lambda name: to_sml(Statement(None, 1, 1, False, None), name),
        lambda name: shorten(A("x"), 10, name),
        lambda name: parse("", name),
        lambda name: parse_one("S1F1", name),
        lambda name: parse_item("<A>", name),
        lambda name: parse_templates("", name),
    ],
)
def test_an_encoding_in_which_ascii_is_something_else_is_refused(use: Any) -> None:
    for name in ("utf-16", "iso2022_jp", "hz", "utf-7", "cp037", "raw_unicode_escape"):
        with pytest.raises(ValueError, match=rf"^'{name}' is no superset of ASCII: "):
            use(name)
    with pytest.raises(ValueError, match=r"^'hex' is no encoding of text"):
        use("hex")


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
    assert shorten(A("温" * 100, encoding="gbk"), 20, "gbk") == '<A "温温温温温温温温温温温温温...'
    # Some characters have 8 bytes.
    assert shorten(A("똠" * 100, encoding="euc_kr"), 20, "euc_kr").endswith("똠...")
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
