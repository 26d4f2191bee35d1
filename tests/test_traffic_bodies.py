"""The beginning of a body as text, for a log: right, bounded, and in one line."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsms_engine import Message
from hsms_engine.logs import escaped
from hsms_engine.secs2 import F8, A, B, DecodeError, Item, decode, encode
from hsms_engine.sml import shorten
from hsms_engine.traffic import bodies
from hsms_engine.traffic.bodies import body_text, hex_text
from tests.support.items import items

FAULTS = {
    b"\x01\x02\xa5\x01\x07" + bytes(20): "at byte 5: read 00 00 00 00, expected an item that fits",
    b"\x01\x03" + b"\xa5\x01\x07" * 2: "at byte 8: read the end, expected an item that fits",
    b"\x01\x02" + b"\xa5\x01\x07" * 2 + b"\x07": "at byte 8: read 07, expected an item that fits",
    b"\xb1\x03" + bytes(30): "at byte 0: read U4 of 3 bytes, expected a multiple of 4",
    b"\xb1\xff" + bytes(30): "at byte 0: read b1 ff 00 00, expected an item that fits",
    b"\x01\x02\xa5\x01\x07\x03": "at byte 5: read 03, expected an item that fits",
    b"\xff" * 30: "at byte 0: read ff ff ff ff, expected an item that fits",
}


def test_an_escape_is_that_of_python() -> None:
    assert escaped("plain ä \\n") == "plain ä \\n"
    assert escaped("a\nb\x1b\u2028\ud800") == "a\\nb\\x1b\\u2028\\ud800"


@given(items, st.integers(16, 60))
def test_of_a_long_body_the_same_is_shown_without_decoding_it(item: Item, limit: int) -> None:
    body = encode(item)
    assert body_text(Message(6, 11, body=body), limit) == shorten(decode(body), limit)


@given(st.lists(items, max_size=4), st.integers(16, 60), st.sampled_from([None, "gbk", "utf-8"]))
def test_of_several_items_the_same_is_shown_too(
    some: list[Item], limit: int, encoding: str | None
) -> None:
    body = b"".join(map(encode, some))
    text = " ".join(shorten(item, 10_000, encoding) for item in some)
    shown = text if len(text) <= limit else f"{text[: limit - 3]}..."
    assert body_text(Message(6, 11, body=body), limit, encoding) == shown


def test_text_is_shown_in_its_encoding() -> None:
    for count in (2, 2_000):
        message = Message(10, 3, body=encode(A("温" * count, encoding="gbk")))
        assert body_text(message, 30, "gbk").startswith('<A "温温')
        assert body_text(message, 30).startswith("<A 0xCE 0xC2")


@given(st.binary(min_size=17, max_size=200), st.integers(16, 60))
def test_any_bytes_can_be_shown(body: bytes, limit: int) -> None:
    text = body_text(Message(6, 11, body=body), limit)
    assert text.isprintable()
    assert len(text) <= 100 + 8 * limit


@pytest.mark.parametrize(("body", "why"), list(FAULTS.items()))
def test_the_beginning_of_a_long_body_that_is_no_secs_ii_says_why(body: bytes, why: str) -> None:
    with pytest.raises(DecodeError) as caught:
        bodies._beginning(body, 100, None)
    assert str(caught.value) == why


def test_sixteen_megabytes_are_not_read_to_show_four_kilobytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object) -> Item:
        raise AssertionError("it was decoded")

    read = 0
    original = bodies._item

    def counted(*args: Any) -> Any:
        nonlocal read
        read += 1
        return original(*args)

    monkeypatch.setattr(bodies, "decode_all", never)
    monkeypatch.setattr(bodies, "_item", counted)
    many = b"\x03\x10\x00\x00" + b"\xa5\x01\x07" * 0x10_0000
    for body in (many, encode(B(bytes(16_000_000))), encode(F8(*([0.5] * 2_000_000)))):
        message = Message(6, 11, body=body)
        tracemalloc.start()
        text = body_text(message, 4_096)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
        tracemalloc.stop()
        assert len(text) == 4_096
        assert text.endswith("...")
        assert hex_text(body, 4) == body[:4].hex(" ") + "..."
    assert read < 1_000
