"""Frames as bytes: what is written is E37's layout, and any cut of a stream reads the same."""

import itertools
import math
import re
import tracemalloc
from io import BytesIO
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hsms_engine import secs2, wire
from hsms_engine.wire import (
    DEFAULT_MAX_FRAME,
    HEADER_LENGTH,
    PREFIX_BYTES,
    Decoder,
    DeselectStatus,
    Frame,
    FrameLengthError,
    RejectReason,
    SelectStatus,
    SType,
    control_frame,
    data_frame,
    data_prefix,
    encode,
    frame_of,
    reject_frame,
)

SYSTEM = 0x01020304
S1F1_W = data_frame(5, 1, 1, True, SYSTEM, b"")

# Written out by hand from the frame table, so that the encoder is not its own judge.
GOLDEN = [
    ("S1F1 W", S1F1_W, "0000000a 0005 81 01 00 00 01020304"),
    (
        "S1F2 with an empty list",
        data_frame(5, 1, 2, False, SYSTEM, b"\x01\x00"),
        "0000000c 0005 01 02 00 00 01020304 0100",
    ),
    (
        "the greatest of every data field",
        data_frame(32767, 127, 255, True, 0xFFFFFFFF, b""),
        "0000000a 7fff ff ff 00 00 ffffffff",
    ),
    (
        "Select.req",
        control_frame(SType.SELECT_REQ, SYSTEM),
        "0000000a ffff 00 00 00 01 01020304",
    ),
    *(
        (
            f"Select.rsp {status.name}",
            control_frame(SType.SELECT_RSP, SYSTEM, byte3=status),
            f"0000000a ffff 00 0{number} 00 02 01020304",
        )
        for number, status in enumerate(
            [
                SelectStatus.ESTABLISHED,
                SelectStatus.ALREADY_ACTIVE,
                SelectStatus.NOT_READY,
                SelectStatus.EXHAUSTED,
                SelectStatus.NO_SUCH_ENTITY,
                SelectStatus.ENTITY_IN_USE,
                SelectStatus.ENTITY_ALREADY_ACTIVE,
            ]
        )
    ),
    (
        "Deselect.req",
        control_frame(SType.DESELECT_REQ, SYSTEM),
        "0000000a ffff 00 00 00 03 01020304",
    ),
    *(
        (
            f"Deselect.rsp {status.name}",
            control_frame(SType.DESELECT_RSP, SYSTEM, byte3=status),
            f"0000000a ffff 00 0{number} 00 04 01020304",
        )
        for number, status in enumerate(
            [DeselectStatus.ENDED, DeselectStatus.NOT_ESTABLISHED, DeselectStatus.BUSY]
        )
    ),
    (
        "Linktest.req",
        control_frame(SType.LINKTEST_REQ, SYSTEM),
        "0000000a ffff 00 00 00 05 01020304",
    ),
    (
        "Linktest.rsp",
        control_frame(SType.LINKTEST_RSP, SYSTEM),
        "0000000a ffff 00 00 00 06 01020304",
    ),
    (
        "Reject.req of an undefined SType",
        reject_frame(control_frame(8, SYSTEM), RejectReason.STYPE_NOT_SUPPORTED),
        "0000000a ffff 08 01 00 07 01020304",
    ),
    (
        "Reject.req of a foreign PType",
        reject_frame(Frame(5, 0, 0, 3, 1, SYSTEM, b""), RejectReason.PTYPE_NOT_SUPPORTED),
        "0000000a ffff 03 02 00 07 01020304",
    ),
    (
        "Reject.req of a response nobody waits for",
        reject_frame(control_frame(SType.LINKTEST_RSP, SYSTEM), RejectReason.TRANSACTION_NOT_OPEN),
        "0000000a ffff 06 03 00 07 01020304",
    ),
    (
        "Reject.req of data while not selected",
        reject_frame(S1F1_W, RejectReason.ENTITY_NOT_SELECTED),
        "0000000a ffff 00 04 00 07 01020304",
    ),
    (
        "Separate.req",
        control_frame(SType.SEPARATE_REQ, SYSTEM),
        "0000000a ffff 00 00 00 09 01020304",
    ),
    (
        "a frame of undefined types",
        Frame(0x1234, 0x56, 0x78, 0x9A, 0xBC, 0xDEF01234, b"\xff"),
        "0000000b 1234 56 78 9a bc def01234 ff",
    ),
]

frames = st.builds(
    Frame,
    session_id=st.integers(0, 0xFFFF),
    byte2=st.integers(0, 0xFF),
    byte3=st.integers(0, 0xFF),
    ptype=st.integers(0, 0xFF),
    stype=st.integers(0, 0xFF),
    system_bytes=st.integers(0, 0xFFFFFFFF),
    body=st.binary(max_size=40),
)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:stop] for start, stop in pairwise(bounds)]


def feed_all(decoder: Decoder, chunks: list[bytes]) -> list[Frame]:
    return [frame for chunk in chunks for frame in decoder.feed(chunk)]


@pytest.mark.clause("frame/layout")
@pytest.mark.parametrize(
    ("frame", "golden"), [row[1:] for row in GOLDEN], ids=[row[0] for row in GOLDEN]
)
def test_every_message_is_written_and_read_as_its_golden_bytes(frame: Frame, golden: str) -> None:
    expected = bytes.fromhex(golden)
    assert encode(frame) == expected
    assert Decoder().feed(expected) == [frame]
    assert frame_of(expected[PREFIX_BYTES - HEADER_LENGTH :]) == frame


@pytest.mark.parametrize(
    ("ptype", "stype", "is_data"), [(0, 0, True), (0, 1, False), (1, 0, False), (7, 7, False)]
)
def test_a_data_message_has_both_types_of_one(ptype: int, stype: int, is_data: bool) -> None:
    assert Frame(0, 0, 0, ptype, stype, 0, b"").is_data is is_data


def test_the_golden_bytes_cover_every_stype_status_and_reason() -> None:
    written = [frame for _, frame, _ in GOLDEN]
    assert {frame.stype for frame in written} >= set(SType)
    for stype, answers in [
        (SType.SELECT_RSP, SelectStatus),
        (SType.DESELECT_RSP, DeselectStatus),
        (SType.REJECT_REQ, RejectReason),
    ]:
        assert {frame.byte3 for frame in written if frame.stype == stype} == set(answers)


@pytest.mark.clause("frame/layout")
def test_ptype_is_header_byte_8_and_stype_byte_9_of_the_frame() -> None:
    written = encode(Frame(0, 0, 0, 0xAA, 0xBB, 0, b""))
    assert (written[8], written[9]) == (0xAA, 0xBB)


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("stream", [0, 1, 64, 127])
def test_the_w_bit_is_the_top_bit_of_the_stream_byte(stream: int, wait: bool) -> None:
    written = encode(data_frame(0, stream, 3, wait, 9, b""))
    assert written[6] == stream + (128 if wait else 0)
    [frame] = Decoder().feed(written)
    assert (frame.stream, frame.function, frame.wait) == (stream, 3, wait)


@given(
    st.integers(0, 0xFFFF),
    st.integers(0, 127),
    st.integers(0, 255),
    st.booleans(),
    st.integers(0, 0xFFFFFFFF),
    st.binary(max_size=40),
)
def test_what_comes_before_a_body_is_the_same_with_and_without_it(
    session_id: int, stream: int, function: int, wait: bool, system_bytes: int, body: bytes
) -> None:
    frame = data_frame(session_id, stream, function, wait, system_bytes, body)
    prefix = data_prefix(session_id, frame.byte2, function, system_bytes, len(body))
    assert prefix + body == encode(frame)
    assert len(prefix) == PREFIX_BYTES


@pytest.mark.clause("frame/rejected", "frame/echo")
@given(frames, st.sampled_from(RejectReason))
def test_a_reject_echoes_the_system_bytes_and_names_what_it_rejects(
    frame: Frame, reason: RejectReason
) -> None:
    rejected = frame.ptype if reason is RejectReason.PTYPE_NOT_SUPPORTED else frame.stype
    assert reject_frame(frame, reason) == Frame(
        0xFFFF, rejected, reason, 0, SType.REJECT_REQ, frame.system_bytes, b""
    )


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (S1F1_W._replace(session_id=0x10000), "session id 65536 is not in 0..65535"),
        (S1F1_W._replace(byte2=256), "header byte 2 256 is not in 0..255"),
        (S1F1_W._replace(byte3=-1), "header byte 3 -1 is not in 0..255"),
        (S1F1_W._replace(ptype=256), "PType 256 is not in 0..255"),
        (S1F1_W._replace(stype=256), "SType 256 is not in 0..255"),
        (
            S1F1_W._replace(system_bytes=1 << 32),
            "system bytes 4294967296 is not in 0..4294967295",
        ),
    ],
)
def test_a_field_that_does_not_fit_is_refused_by_name(frame: Frame, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        encode(frame)


def test_what_comes_before_a_body_refuses_a_misfit_by_name() -> None:
    with pytest.raises(ValueError, match=r"^session id -1 is not in 0\.\.65535$"):
        data_prefix(-1, 1, 1, 0, 0)
    with pytest.raises(ValueError, match=r"^length 4294967296 is not in 0\.\.4294967295$"):
        data_prefix(0, 1, 1, 0, 2**32 - 10)


@pytest.mark.parametrize("stream", [-1, 128, 129])
def test_a_stream_that_would_spill_into_the_w_bit_is_refused(stream: int) -> None:
    with pytest.raises(ValueError, match=f"^stream {stream} is not in 0\\.\\.127$"):
        data_frame(0, stream, 1, False, 0, b"")


@pytest.mark.clause("frame/segments")
@given(st.lists(frames, max_size=6), st.lists(st.integers(0, 400), max_size=12))
@example([S1F1_W] * 3, [13, 14, 15, 28])
def test_any_segmentation_of_any_frames_reads_the_same(
    sent: list[Frame], places: list[int]
) -> None:
    decoder = Decoder()
    stream = b"".join(map(encode, sent))
    assert feed_all(decoder, cut(stream, places)) == sent
    assert not decoder.partial


@given(st.lists(frames, min_size=1, max_size=6))
def test_one_byte_at_a_time_reads_the_same(sent: list[Frame]) -> None:
    stream = b"".join(map(encode, sent))
    assert feed_all(Decoder(), [bytes([byte]) for byte in stream]) == sent


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("size", [7, 400])
def test_bodies_are_bytes_whatever_buffer_they_arrive_in(
    kind: type[bytes | bytearray | memoryview], size: int
) -> None:
    stream = b"".join(encode(data_frame(0, 6, 11, True, n, b"body")) for n in range(9))
    decoder = Decoder()
    for start in range(0, len(stream), size):
        for frame in decoder.feed(kind(stream[start : start + size])):
            assert type(frame.body) is bytes
            assert frame.body == b"body"
    assert not decoder.partial


def test_a_reused_receive_buffer_cannot_change_a_frame_already_read() -> None:
    buffer = bytearray(encode(S1F1_W._replace(body=b"before")))
    [frame] = Decoder().feed(buffer)
    buffer[-6:] = b"after!"
    assert frame.body == b"before"


def test_the_progress_of_a_frame_is_told_at_every_byte() -> None:
    written = encode(data_frame(0, 1, 3, True, 1, b"0123456789"))
    decoder = Decoder()
    for taken in range(1, len(written)):
        assert decoder.feed(written[taken - 1 : taken]) == []
        assert decoder.partial
        if taken < 4:
            assert (decoder.pending_length, decoder.missing) == (None, 4 - taken)
            assert decoder.pending_total == 0
        else:
            assert (decoder.pending_length, decoder.missing) == (20, len(written) - taken)
            assert decoder.pending_total == len(written)
        assert decoder.last_bytes == written[:taken][-16:]
    assert len(decoder.feed(written[-1:])) == 1
    assert_between_frames(decoder)


def test_the_progress_is_the_same_when_the_frame_begins_inside_a_chunk() -> None:
    written = encode(data_frame(0, 1, 3, True, 1, b"0123456789"))
    for taken in range(1, len(written)):
        decoder = Decoder()
        assert len(decoder.feed(written + written[:taken])) == 1
        assert decoder.partial
        assert decoder.pending_length == (20 if taken >= 4 else None)
        assert decoder.missing == (len(written) if taken >= 4 else 4) - taken
        assert decoder.last_bytes == written[:taken][-16:]


def assert_between_frames(decoder: Decoder) -> None:
    assert not decoder.partial
    assert (decoder.pending_length, decoder.missing, decoder.last_bytes) == (None, 0, b"")


def test_no_bytes_are_no_frames() -> None:
    decoder = Decoder()
    assert decoder.feed(b"") == []
    assert_between_frames(decoder)


@pytest.mark.clause("frame/length")
@pytest.mark.parametrize("length", [0, 9, 101, 0xFFFFFFFF])
@pytest.mark.parametrize("rest", [b"", bytes(200)], ids=["bare", "with its whole frame"])
@pytest.mark.parametrize("before", [0, 2])
def test_a_length_out_of_range_is_refused_at_its_fourth_byte_and_loses_no_frame_before_it(
    length: int, rest: bytes, before: int
) -> None:
    known = encode(S1F1_W) * before + length.to_bytes(4)
    for place in range(len(known)):
        decoder = Decoder(max_frame=100)
        received = decoder.feed(known[:place])
        with pytest.raises(FrameLengthError) as caught:
            decoder.feed(known[place:] + rest)
        assert received + list(caught.value.frames) == [S1F1_W] * before
        assert (caught.value.length, caught.value.raw) == (length, length.to_bytes(4))
        assert caught.value.limit == 100
        assert_between_frames(decoder)


def test_a_bad_length_is_told_with_its_bytes_and_the_range() -> None:
    with pytest.raises(FrameLengthError) as caught:
        Decoder().feed(b"    ")
    assert str(caught.value) == (
        "length 538976288 (b'    ') is not in 10..17000000: the peer may not speak HSMS"
    )


@pytest.mark.parametrize("length", [101, (1 << 28) - 1])
def test_a_length_that_a_frame_may_have_names_the_setting_too(length: int) -> None:
    with pytest.raises(FrameLengthError) as caught:
        Decoder(100).feed(length.to_bytes(4))
    assert str(caught.value) == (
        f"length {length} ({length.to_bytes(4)!r}) is not in 10..100: the peer may not speak HSMS, "
        "or max_frame of this end is too small for it"
    )


def test_the_longest_item_fits_into_a_frame_by_default() -> None:
    program = secs2.L("recipe", secs2.B(bytes(secs2.MAX_LENGTH)))
    frame = data_frame(0, 7, 3, True, 1, secs2.encode(program))
    assert Decoder().feed(encode(frame)) == [frame]


def test_a_decoder_that_met_a_bad_length_takes_no_more() -> None:
    decoder = Decoder()
    with pytest.raises(FrameLengthError):
        decoder.feed(b"GET / HTTP/1.1\r\n")
    with pytest.raises(RuntimeError, match="met a bad length"):
        decoder.feed(encode(S1F1_W))


@pytest.mark.parametrize("length", [10, 100])
def test_the_lengths_at_both_ends_of_the_range_are_taken(length: int) -> None:
    frame = S1F1_W._replace(body=bytes(length - 10))
    assert Decoder(max_frame=100).feed(encode(frame)) == [frame]
    assert feed_all(Decoder(max_frame=100), [encode(frame)[:7], encode(frame)[7:]]) == [frame]


def test_a_changed_max_frame_holds_for_the_frames_to_come() -> None:
    frame = data_frame(0, 1, 1, True, 1, bytes(100))
    decoder = Decoder(max_frame=110)
    assert decoder.feed(encode(frame)) == [frame]
    decoder.max_frame = 109
    assert decoder.max_frame == 109
    with pytest.raises(FrameLengthError, match="length 110 "):
        decoder.feed(encode(frame))


@pytest.mark.parametrize("max_frame", [9, 1 << 32])
def test_a_max_frame_no_length_field_can_hold_is_refused(max_frame: int) -> None:
    with pytest.raises(ValueError, match=rf"^max_frame {max_frame} is not in 10\.\.4294967295$"):
        Decoder(max_frame)


@pytest.mark.parametrize("length", [DEFAULT_MAX_FRAME, DEFAULT_MAX_FRAME + 1, 0xFFFFFFFF])
def test_nothing_is_allocated_from_a_declared_length(length: int) -> None:
    decoder = Decoder()
    stream = length.to_bytes(4) + bytes(1000)
    tracemalloc.start()
    try:
        if length <= DEFAULT_MAX_FRAME:
            decoder.feed(stream)
        else:
            with pytest.raises(FrameLengthError):
                decoder.feed(stream)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000


class Counting(BytesIO):
    """Counts the bytes that are written, and how often there was no room for them."""

    def __init__(self) -> None:
        super().__init__()
        self.written = self.grown = 0

    def write(self, piece: Any) -> int:
        count = super().write(piece)
        self.written += count
        self.grown += count == 1
        return count


@pytest.mark.parametrize("piece", [1_000, 60_000, 2_000_000])
def test_each_byte_of_a_large_frame_is_copied_once(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = Counting()
    monkeypatch.setattr(wire, "BytesIO", lambda: buffer)
    body = bytes(range(256)) * 40_000
    written = encode(data_frame(0, 7, 3, True, 1, body))
    decoder = Decoder()
    received: list[Frame] = []
    for start in range(0, len(written), piece):
        received += decoder.feed(written[start : start + piece])
    assert [frame.body for frame in received] == [body]
    # Its room doubles, and where it ends is marked by one byte.
    assert buffer.grown <= math.log2(len(body) / piece) + 2
    assert buffer.written == len(body) + buffer.grown
    # What the program has is the buffer itself.
    assert buffer.getvalue() is received[0].body


@given(st.binary(max_size=40_000), st.lists(st.integers(1, 12_000), min_size=1, max_size=40))
def test_a_body_of_any_pieces_is_whole(body: bytes, sizes: list[int]) -> None:
    frame = data_frame(0, 7, 3, True, 1, body)
    written = encode(frame) + encode(S1F1_W)
    decoder, frames, start = Decoder(), list[Frame](), 0
    for size in itertools.cycle(sizes):
        frames += decoder.feed(written[start : start + size])
        start += size
        if start >= len(written):
            break
        came = written[:start] if start < len(written) - 14 else written[len(written) - 14 : start]
        if decoder.partial:
            assert decoder.last_bytes == came[-16:]
    assert frames == [frame, S1F1_W]


@given(
    st.lists(st.integers(0, 200_000), min_size=1, max_size=3),
    st.lists(st.integers(1, 70_000), min_size=1, max_size=8),
    st.integers(1, 100_000),
)
def test_what_is_put_into_its_space_reads_the_same(
    lengths: list[int], sizes: list[int], most: int
) -> None:
    sent = [data_frame(0, 7, 3, True, 1, (b"%d" % each * each)[:each]) for each in lengths]
    stream, decoder, frames, start = b"".join(map(encode, sent)), Decoder(), list[Frame](), 0
    for size in itertools.cycle(sizes):
        if decoder.has_space:
            came, missing = len(decoder._head) + decoder._kept, decoder.missing
            with decoder.space(most) as space:
                assert 0 < len(space) <= min(came, missing, most)
                count = min(size, len(space))
                space[:count] = stream[start : start + count]
            decoder.filled(count)
            assert decoder.missing == missing - count
            assert decoder.last_bytes == stream[: start + count][-16:]
            frames += decoder.feed(b"")
        else:
            count = size
            frames += decoder.feed(stream[start : start + size])
        start += count
        if start >= len(stream):
            break
    assert frames == sent


def test_a_long_body_that_is_put_into_its_space_is_not_copied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buffer = Counting()
    monkeypatch.setattr(wire, "BytesIO", lambda: buffer)
    decoder = Decoder()
    decoder.feed(encode(data_frame(0, 7, 3, True, 1, bytes(1_000_000)))[: 14 + 40_000])
    while decoder.has_space:
        with decoder.space(1_000_000) as space:
            count = len(space)
        decoder.filled(count)
    assert buffer.written == 40_000 + buffer.grown
    [frame] = decoder.feed(b"")
    assert buffer.getvalue() is frame.body


def test_a_body_that_is_dropped_has_no_space() -> None:
    decoder = Decoder()
    decoder.feed(encode(data_frame(0, 7, 3, True, 1, bytes(200_000)))[:100_000])
    assert decoder.has_space
    decoder.drop_body()
    assert not decoder.has_space


def test_the_last_bytes_of_a_long_frame_are_shown_without_a_copy_of_it() -> None:
    decoder = Decoder()
    decoder.feed(encode(data_frame(0, 7, 3, True, 1, bytes(4_000_000)))[:-1])
    tracemalloc.start()
    try:
        assert decoder.last_bytes == bytes(16)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000
    # It goes on, whoever has looked.
    assert [len(frame.body) for frame in decoder.feed(b"x")] == [4_000_000]


def test_a_body_that_comes_byte_by_byte_takes_little_more_memory_than_it_has_bytes() -> None:
    decoder = Decoder()
    decoder.feed(encode(data_frame(0, 7, 3, True, 1, bytes(200_000)))[:14])
    tracemalloc.start()
    try:
        for _ in range(100_000):
            decoder.feed(b"x")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 300_000
