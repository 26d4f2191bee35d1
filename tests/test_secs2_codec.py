"""The bytes of items: written in one form, read in every form that is allowed, and no other."""

import gc
import pickle
import tracemalloc
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsms_engine.secs2 import (
    BOOLEAN,
    F4,
    F8,
    I1,
    I2,
    I4,
    I8,
    MAX_DEPTH,
    MAX_ITEMS,
    U1,
    U2,
    U4,
    U8,
    A,
    B,
    C,
    DecodeError,
    Item,
    J,
    L,
    SeveralItemsError,
    decode,
    decode_all,
    encode,
)
from tests.support.items import items

GOLDEN = [
    (L(), "0100"),
    (L("A", L()), "0102 410141 0100"),
    (B(0, 255), "2102 00ff"),
    (BOOLEAN(True, False), "2502 0100"),
    (A("MDLN"), "4104 4d444c4e"),
    (J("ｱ"), "4501 b1"),
    (C("ö"), "4904 0002 c3b6"),
    (I8(-1), "6108 ffffffffffffffff"),
    (I1(-128, 127), "6502 807f"),
    (I2(-2), "6902 fffe"),
    (I4(1), "7104 00000001"),
    (F8(-0.5), "8108 bfe0000000000000"),
    (F4(1.5), "9104 3fc00000"),
    (U8(2**64 - 1), "a108 ffffffffffffffff"),
    (U1(7), "a501 07"),
    (U2(1, 258), "a904 0001 0102"),
    (U4(5), "b104 00000005"),
    (B(bytes(255)), "21ff" + "00" * 255),
    (B(bytes(256)), "220100" + "00" * 256),
    (B(bytes(65_535)), "22ffff" + "00" * 65_535),
    (B(bytes(65_536)), "23010000" + "00" * 65_536),
    (L(*[L()] * 256), "020100" + "0100" * 256),
]


@pytest.mark.parametrize(("item", "body"), GOLDEN)
def test_every_type_has_the_bytes_of_semi_e5(item: Item, body: str) -> None:
    assert encode(item) == bytes.fromhex(body)
    assert decode(bytes.fromhex(body)) == item


@given(items)
def test_decoding_gives_back_the_item_that_was_encoded(item: Item) -> None:
    assert decode(encode(item)) == item


@given(items, items)
def test_a_decoded_list_is_the_same_before_and_after_its_items_are_asked_for(
    item: Item, other: Item
) -> None:
    body = encode(item)
    asked, not_asked = decode(body), decode(body)
    if isinstance(asked, L):
        assert L(*asked) == item
    assert asked == not_asked == decode(body) == item
    assert hash(asked) == hash(decode(body)) == hash(item)
    assert repr(asked) == repr(not_asked) == repr(item)
    assert encode(asked) == encode(not_asked) == body
    assert (decode(body) == decode(encode(other))) == (body == encode(other))


def test_values_of_a_decoded_list_are_read_without_its_items() -> None:
    item = L("x", b"y", U4(1), U4(1, 2), "z" * 300, True, [], B(bytes(70_000)), C("ö"), F8(0.5))
    values = ["x", b"y", 1, [1, 2], "z" * 300, True, [], bytes(70_000), "ö", 0.5]
    assert decode(encode(item)).to_python() == item.to_python() == values
    part = decode(encode(item))
    assert isinstance(part, L)
    assert (part[1:3], part[-1], part.length) == (L(b"y", U4(1)), F8(0.5), 10)


def longer(body: bytes, at: int = 0) -> tuple[bytes, int]:
    """The first item of ``body`` from ``at`` on, every length written in three bytes."""
    width = body[at] & 3
    start = at + 1 + width
    length = int.from_bytes(body[at + 1 : start], "big")
    head = bytes([body[at] | 3]) + length.to_bytes(3, "big")
    if body[at] >> 2:
        return head + body[start : start + length], start + length
    for _ in range(length):
        piece, start = longer(body, start)
        head += piece
    return head, start


@given(items)
def test_length_fields_may_be_longer_than_needed_and_are_written_short(item: Item) -> None:
    body = encode(item)
    loose, end = longer(body)
    assert end == len(body)
    assert decode(loose) == item
    assert encode(decode(loose)) == body


def test_any_truth_but_0_is_read_as_true_and_written_as_1() -> None:
    for body in ("2501ff", "250180", "26000102", "25020200"):
        item = decode(bytes.fromhex(body))
        assert isinstance(item, BOOLEAN)
        assert item[0] is True
        assert item == BOOLEAN(list(item))
        assert encode(item) == encode(BOOLEAN(list(item)))


@pytest.mark.parametrize("kind", [bytearray, memoryview, lambda body: array("b", body)])
def test_a_body_may_be_any_buffer_and_may_change_afterwards(kind: type[bytearray]) -> None:
    body = bytearray(encode(L("x", B(bytes(70_000)))))
    source = kind(body)
    item = decode(source)
    before = encode(item)
    body[-1] = 1
    source[-1] = 1
    assert encode(item) == before


@given(items, st.data())
def test_a_body_cut_anywhere_is_an_error(item: Item, data: st.DataObject) -> None:
    body = encode(item)
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(DecodeError):
        decode(body[:cut])


ERRORS = [
    ("", 0, "0 bytes", "an item header of 2 to 4 bytes"),
    ("41", 0, "1 byte", "an item header of 2 to 4 bytes"),
    ("4200", 0, "2 bytes", "an item header of 3 bytes"),
    ("430000", 0, "3 bytes", "an item header of 4 bytes"),
    ("4000", 0, "format byte 0x40", "1 to 3 length bytes in it"),
    ("0501", 0, "format code 0o01", "one of SEMI E5's fifteen"),
    ("0102 4100 fd00", 4, "format code 0o77", "one of SEMI E5's fifteen"),
    ("4103 6162", 0, "A of 3 bytes", "at most the 2 bytes left"),
    ("23ffffff 00", 0, "B of 16777215 bytes", "at most the 1 byte left"),
    ("b103 000000", 0, "U4 of 3 bytes", "a multiple of 4"),
    ("0101 a901 00", 2, "U2 of 1 byte", "a multiple of 2"),
    ("4901 00", 0, "C of 1 byte", "none, or two bytes of encoding and the text"),
    ("2501", 0, "BOOLEAN of 1 byte", "at most the 0 bytes left"),
    ("4100 00", 2, "1 byte more", "the end of the body"),
    ("0100 4101", 2, "2 bytes more", "the end of the body"),
    ("0102 4100", 0, "L of 2 items", "at most 1 in 2 bytes"),
    ("0102 41024142", 6, "0 bytes", "an item header of 2 to 4 bytes"),
    ("03ffffff 4100", 0, "L of 16777215 items", "at most 1 in 2 bytes"),
    ("0101 0101", 2, "L of 1 items", "at most 0 in 0 bytes"),
    ("0101 a900 ff", 4, "1 byte more", "the end of the body"),
]


@pytest.mark.parametrize(("body", "offset", "read", "expected"), ERRORS)
def test_an_error_says_where_what_was_read_and_what_was_expected(
    body: str, offset: int, read: str, expected: str
) -> None:
    with pytest.raises(DecodeError) as raised:
        decode(bytes.fromhex(body))
    error = raised.value
    assert (error.offset, error.read, error.expected) == (offset, read, expected)
    assert str(error) == f"at byte {offset}: read {read}, expected {expected}"
    assert isinstance(error, ValueError)


def test_lists_are_read_64_deep_and_not_deeper() -> None:
    deepest = b"\x01\x01" * (MAX_DEPTH - 1) + b"\x01\x00"
    assert encode(decode(deepest)) == deepest
    with pytest.raises(
        DecodeError, match=r"^at byte 128: read L nested 65 deep, expected at most 64$"
    ):
        decode(b"\x01\x01" + deepest)
    for form in (b"\x02\x00\x01", b"\x03\x00\x00\x01"):
        with pytest.raises(DecodeError, match="nested 65 deep"):
            decode(form * 64 + b"\x01\x00")


def test_the_caller_may_allow_less() -> None:
    body = encode(L(L("a"), "b"))
    assert decode(body, max_depth=2, max_items=4) == L(L("a"), "b")
    with pytest.raises(DecodeError, match=r"^at byte 2: read L nested 2 deep, expected at most 1$"):
        decode(body, max_depth=1)
    with pytest.raises(
        DecodeError, match=r"^at byte 2: read L of 1 items, expected at most 3 items"
    ):
        decode(body, max_items=3)
    deep = b"\x01\x01" * 64 + b"\x01\x00"
    with pytest.raises(DecodeError, match="at most 64"):
        decode(deep, max_depth=1000)


BOMBS = {
    "nested lists": b"\x01" * 1_000_000,
    "nested lists of 255": b"\x01\xff" * 500_000,
    "counts beyond the body": b"\x03\xff\xff\xff" * 250_000,
    "empty lists": b"\x03\x3f\xff\xff" + b"\x01\x00" * 0x3FFFFF,
    "empty texts": b"\x03\x3f\xff\xff" + b"\x41\x00" * 0x3FFFFF,
    "a length beyond the body": b"\x23\xff\xff\xff",
}


@pytest.mark.parametrize("body", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_before_it_is_unfolded(body: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            decode(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_items_of_items_are_counted_together() -> None:
    part = b"\x02\x3f\xff" + b"\x01\x00" * 0x3FFF
    assert 1 + 63 * 0x4000 < MAX_ITEMS < 1 + 64 * 0x4000
    assert decode(b"\x01\x3f" + part * 63).to_python() == [[[]] * 0x3FFF] * 63
    with pytest.raises(DecodeError, match="expected at most 1048576 items in all"):
        decode(b"\x01\x40" + part * 64)


def allocated(body: bytes) -> tuple[Item, int]:
    gc.collect()
    tracemalloc.start()
    try:
        item = decode(body)
        return item, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("wrap", [lambda item: item, lambda item: L(U4(1), item)])
def test_a_large_binary_is_copied_once_and_only_when_read(wrap: type[L]) -> None:
    data = bytes(10_000_000)
    item, peak = allocated(encode(wrap(B(data))))
    assert peak < 10_000
    large = item if isinstance(item, B) else item.to_python()[1]
    assert large == B(data) if isinstance(large, B) else large == data


def test_a_large_binary_is_not_copied_when_an_item_is_made_of_it() -> None:
    data = bytes(10_000_000)
    assert B(data).value is data


def test_reading_a_large_value_twice_gives_the_same_bytes() -> None:
    item = decode(encode(B(bytes(100_000))))
    assert isinstance(item, B)
    assert item.value is item.value


@given(st.binary(max_size=60))
def test_any_bytes_are_an_item_or_a_decode_error(body: bytes) -> None:
    try:
        item = decode(body)
    except DecodeError:
        return
    canonical = encode(item)
    assert encode(decode(canonical)) == canonical
    assert decode(canonical) == item
    assert len(canonical) <= len(body)


@given(st.lists(items, max_size=4))
def test_items_one_after_the_other_are_read_and_those_of_decode_are_one(some: list[Item]) -> None:
    body = b"".join(map(encode, some))
    assert decode_all(body) == decode_all(bytearray(body)) == tuple(some)
    if len(some) == 1:
        assert decode(body) == some[0]
    elif some:
        with pytest.raises(SeveralItemsError) as caught:
            decode(body)
        assert (caught.value.offset, caught.value.count) == (len(encode(some[0])), len(some))


def test_several_items_are_no_item_and_the_error_names_what_has_all_of_them() -> None:
    with pytest.raises(SeveralItemsError) as caught:
        decode(b"\x01\x00" * 3)
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):
        assert str(error) == (
            "at byte 2: read item 2 of 3, expected the end of the body (Message.items and "
            "decode_all give all of them)"
        )
        assert isinstance(error, DecodeError)


def test_what_follows_the_items_is_an_error_with_its_place() -> None:
    with pytest.raises(DecodeError, match=r"^at byte 4: read 1 byte, expected an item header"):
        decode_all(b"\x01\x00\x41\x00\x41")
    with pytest.raises(DecodeError, match=r"^at byte 2: read format code 0o77, expected one"):
        decode_all(b"\x01\x00\xfd\x00")


def test_the_items_of_a_body_are_bounded_together() -> None:
    body = b"\x01\x00" * 8_000_000
    with pytest.raises(DecodeError) as caught:
        decode_all(body)
    assert str(caught.value) == (
        "at byte 2097152: read one more item, expected at most 1048576 items in all"
    )
    # They are counted no further either, and a list counts with its items.
    with pytest.raises(DecodeError, match=r"^at byte 2: read 15999998 bytes more"):
        decode(body)
    two = encode(L("a")) * 2
    assert len(decode_all(two, max_items=4)) == 2
    with pytest.raises(DecodeError, match=r"^at byte 5: read L of 1 items, expected at most 3"):
        decode_all(two, max_items=3)
    with pytest.raises(DecodeError, match="nested 2 deep"):
        decode_all(encode(L()) + encode(L(L())), max_depth=1)
