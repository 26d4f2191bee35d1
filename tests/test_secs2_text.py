"""Text and binary: what is written is checked, what is read is kept byte for byte."""

import re
from array import array
from typing import Any

import numpy as np
import pytest

from hsms_engine.secs2 import (
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
    fault = "A character 'é' (U+00E9) at [3] is not ASCII (0..127)"
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
