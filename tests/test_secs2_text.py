"""Text and binary: what is written is checked, what is read is kept byte for byte."""

import re
from array import array
from typing import Any

import numpy as np
import pytest

from hsms_engine.secs2 import (
    ENCODINGS,
    SUPERSETS,
    A,
    B,
    C,
    J,
)


def test_a_slice_of_localized_text_keeps_its_encoding() -> None:
    item = C("größe", 4)[1:3]
    assert (item.value, item.encoding) == ("rö", 4)


def test_binary_takes_bytes_buffers_and_integers() -> None:
    expected = B(b"\x00\xff")
    for same in (
        B(0, 255),
        B([0, 255]),
        B(iter([0, 255])),
        B(bytearray(b"\x00\xff")),
        B(memoryview(b"\x00\xff")),
        B(memoryview(b"\x00\xff").cast("c")),
        B(np.array([0, 255], dtype="u1")),
    ):
        assert same == expected
    assert B(7) == B(b"\x07")
    assert B() == B(b"")
    assert bytes(expected) == expected.value == expected.to_python() == b"\x00\xff"
    assert list(expected) == [0, 255]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("text", "B takes bytes or int, not str 'text'"),
        (1.5, "B takes bytes or int, not float 1.5"),
        ([1, "x"], "B takes bytes or int, not str 'x' at [1]"),
        (array("H", [1]), "B takes a buffer of bytes, not of 'H'"),
        (array("b", [1]), "B takes a buffer of bytes, not of 'b'"),
    ],
)
def test_binary_takes_nothing_else(value: Any, fault: str) -> None:
    with pytest.raises(TypeError) as raised:
        B(value)
    assert str(raised.value) == fault


@pytest.mark.parametrize("values", [(256,), (-1,), (0, 256), ([0, 256],)])
def test_binary_refuses_what_is_no_byte(values: Any) -> None:
    with pytest.raises(ValueError, match=r"^B value (256|-1) at \[[01]\] is not in 0\.\.255$"):
        B(*values)


def test_ascii_is_ascii_when_written_and_any_bytes_when_read() -> None:
    assert A("MDLN").value == "MDLN"
    fault = (
        "A character 'é' (U+00E9) at [3] is not ASCII (0..127): name its encoding, as in "
        'A(text, encoding="gbk"), or give the message, the file or the link one: '
        'text_encoding="gbk"'
    )
    with pytest.raises(ValueError, match=f"^{re.escape(fault)}$"):
        A("caf\u00e9")
    assert A(b"caf\xe9").value == "caf\u00e9"
    assert A(bytearray(b"x")) == A("x")
    assert A(bytes(range(256))).to_python() == "".join(map(chr, range(256)))
    assert A("x" * 300).to_python() == "x" * 300


class _Word(str):
    __slots__ = ()


@pytest.mark.parametrize("kind", [A, J, C])
def test_text_takes_str_and_bytes_only(kind: Any) -> None:
    assert kind(_Word("x")) == kind("x")
    for value in (1, None, ["x"]):
        with pytest.raises(TypeError, match=f"^{kind.__name__} takes str or bytes, not "):
            kind(value)


def test_jis8_has_katakana_yen_and_overline() -> None:
    assert J("ｱｲｳ¥‾A").raw == b"\xb1\xb2\xb3\x5c\x7eA"
    assert J(bytes(range(256))) == J(J(bytes(range(256))).value)
    with pytest.raises(
        ValueError, match=r"^J character '\\\\' \(U\+005C\) at \[1\] is not JIS X 0201$"
    ):
        J("a\\")


@pytest.mark.parametrize(
    ("encoding", "raw"),
    [
        (1, "0001 5927"),
        (2, "0002 e5a4a7"),
        (8, "0008 91e5"),
        (9, "0009 c2e7"),
        (10, "000a d3de"),
        (11, "000b b4f3"),
        (12, "000c b4f3"),
        (13, "000d a46a"),
    ],
)
def test_localized_text_begins_with_the_number_of_its_encoding(encoding: int, raw: str) -> None:
    item = C("大", encoding)
    assert item.raw == bytes.fromhex(raw)
    assert (item.value, item.encoding) == ("大", encoding)


def test_localized_text_that_cannot_be_read_still_has_its_bytes() -> None:
    unknown, broken = C(b"\xe4\xa4", 14), C(b"\xff", 2)
    with pytest.raises(
        ValueError, match=r"^encoding 14 of a localized string is unknown: use raw$"
    ):
        _ = unknown.value
    with pytest.raises(ValueError, match="utf-8"):
        _ = broken.value
    assert (unknown.raw, broken.raw) == (b"\x00\x0e\xe4\xa4", b"\x00\x02\xff")
    assert repr(unknown) == r"C(b'\xe4\xa4', encoding=14)"
    with pytest.raises(ValueError, match=r"^encoding 7 of"):
        C("text", 7)
    with pytest.raises(
        ValueError, match=r"^C character '大' \(U\+5927\) at \[1\] is not encoding 4$"
    ):
        C("x大", 4)
    for encoding in (-1, 0x10000):
        with pytest.raises(ValueError, match=r"^C encoding -?\d+ is not in 0\.\.65535$"):
            C(b"", encoding)


def test_localized_text_without_payload_has_encoding_0_and_no_text() -> None:
    empty = C.from_raw(b"")
    assert (empty.encoding, empty.value, empty.to_python()) == (0, "", "")
    assert empty != C("")


ENCODED = [
    ("温度", "gbk", "ce c2 b6 c8"),
    ("ソ温", "cp932", "83 5c 89 b7"),
    ("größe", "utf-8", "67 72 c3 b6 c3 9f 65"),
    ("é", "latin-1", "e9"),
    ("MDLN", "cp949", "4d 44 4c 4e"),
    ("温", "iso2022_jp", "1b 24 42 32 39 1b 28 42"),
]


@pytest.mark.parametrize("kind", [A, J])
@pytest.mark.parametrize(("text", "encoding", "raw"), ENCODED)
def test_text_whose_encoding_is_named_is_written_and_read_in_it(
    kind: Any, text: str, encoding: str, raw: str
) -> None:
    item = kind(text, encoding=encoding)
    assert (item.raw, item.text(encoding)) == (bytes.fromhex(raw), text)
    assert kind(_Word(text), encoding=encoding) == item == kind(bytes.fromhex(raw))


@pytest.mark.parametrize("kind", [A, J])
def test_text_that_its_named_encoding_has_not_is_refused(kind: Any) -> None:
    name = kind.__name__
    fault = rf"^{name} character 'ö' \(U\+00F6\) at \[1\] is not gbk$"
    with pytest.raises(ValueError, match=fault):
        kind("温ö", encoding="gbk")
    with pytest.raises(TypeError) as caught:
        kind(b"x", encoding="gbk")
    assert str(caught.value) == (
        f"{name} with encoding='gbk' takes str, not bytes b'x': bytes are encoded already"
    )


@pytest.mark.parametrize("encoding", ["", "no-such", "hex", "rot13", "a\0b", "\ud800", 7, []])
def test_what_is_no_encoding_of_text_is_refused(encoding: Any) -> None:
    why = f"{encoding!r} is no encoding of text that Python knows, such as utf-8, cp932 or gbk"
    for use in (
        A(b"x").text,
        lambda name: A("x", encoding=name),
        lambda name: J("", encoding=name),
    ):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            use(encoding)
        assert str(caught.value) == why


def test_the_text_of_an_item_is_read_in_any_encoding_and_its_bytes_stay() -> None:
    item = A(b"\xce\xc2\xff")
    assert item.text() == item.value == "ÎÂÿ"
    assert item.text("gbk", "replace") == "温\ufffd"
    for kind in (A, J):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            kind(item.raw).text("gbk")
        assert (
            str(caught.value) == f"{kind.__name__} byte 0xFF at [2] is not gbk: raw has the bytes"
        )
    assert item.raw == b"\xce\xc2\xff"
    assert J(b"\x89\xb7").text("cp932") == "温"
    assert J(b"\x5c").text() == "¥"
    # What its number says may be wrong.
    mislabelled = C("温".encode("gbk"), 2)
    assert (mislabelled.text("gbk"), C("温").text(), C.from_raw(b"").text("gbk")) == (
        "温",
        "温",
        "",
    )


# Characters that the strict set does not have, and how they are written.
WIDER = [
    (8, "①", "87 40"),
    (10, "똠", "8c 63"),
    (11, "臺", "c5 5f"),
    (12, "€", "a2 e3"),
    (13, "嘅", "9d ef"),
    (13, "€", "a3 e1"),
]


@pytest.mark.parametrize(("encoding", "character", "raw"), WIDER)
def test_localized_text_beyond_its_set_is_written_and_read_in_the_wider_one(
    encoding: int, character: str, raw: str
) -> None:
    item = C(character, encoding)
    assert item.raw[2:] == bytes.fromhex(raw)
    assert C(item.raw[2:], encoding).value == character
    assert C(item.value, encoding) == item
    mixed = C(f"大{character}A", encoding)
    assert (C(mixed.raw[2:], encoding).value, mixed.text()) == (f"大{character}A",) * 2


@pytest.mark.parametrize("encoding", sorted(SUPERSETS))
def test_localized_text_of_the_strict_set_is_written_in_it(encoding: int) -> None:
    strict = ENCODINGS[encoding]
    for code in range(0x10000):
        try:
            data = chr(code).encode(strict)
        except UnicodeEncodeError:
            continue
        # But for the syllables that take 8 bytes.
        if len(data) <= 2:
            assert C(chr(code), encoding).raw[2:] == data
    with pytest.raises(ValueError, match=rf" at \[1\] is not encoding {encoding}$"):
        C("x\ud800", encoding)
    with pytest.raises(ValueError, match=SUPERSETS[encoding][-1]):
        _ = C(b"\x81", encoding).value
