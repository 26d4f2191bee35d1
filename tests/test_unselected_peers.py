"""A peer that is not selected takes little memory, whatever it sends and leaves unread."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from hsms_engine.protocol import Engine
from hsms_engine.wire import DEFAULT_MAX_FRAME, Decoder, SType, data_frame, encode
from tests.support.engines import End, accepted, selected, selecting, serving
from tests.support.raw_peer import (
    REJECT_REQ,
    data,
    deselect_req,
    linktest_req,
    raw,
    select_req,
    select_rsp,
)

PIECE = bytes(65_536)
LONGEST = DEFAULT_MAX_FRAME
# The longest frame that is accepted, without its last byte.
ALMOST = data(6, 11, 7, body=bytes(LONGEST - 10))[:-1]


def fed(end: End, data: bytes) -> int:
    """The memory, in bytes, that ``end`` keeps of ``data``, which comes in pieces."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        unread: list[bytes] = []
        for start in range(0, len(data), 65_536):
            end.engine.receive(data[start : start + 65_536])
            while (output := end.engine.next_output()) is not None:
                if isinstance(output, bytes):
                    unread.append(output)
                    end.engine.wrote(len(output) if end.is_read else 0)
        if end.is_read:
            end.frames += Decoder().feed(b"".join(unread))
            unread.clear()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return after - before


def deselected() -> End:
    end = serving()
    end.take(deselect_req(9))
    return end


def separating() -> End:
    end = selected()
    end.is_read = False
    end.engine.close()
    end.out()
    return end


@pytest.mark.clause("bound/unselected")
@pytest.mark.parametrize("make", [accepted, selecting, deselected, separating])
@pytest.mark.parametrize(
    "frame", [ALMOST, ALMOST[:-1], ALMOST[: LONGEST // 2], raw(1, 7, body=bytes(LONGEST - 11))]
)
def test_a_long_frame_is_not_kept(make: Any, frame: bytes) -> None:
    # The first time, steps of the charts are remembered.
    fed(make(), frame)
    assert fed(make(), frame) < 64_000


def test_a_long_frame_is_kept_while_selected() -> None:
    assert fed(serving(), ALMOST) > LONGEST - 1_000


@pytest.mark.clause("bound/unselected")
@pytest.mark.parametrize("leave", [Engine.close, Engine.disable])
def test_nothing_is_kept_of_a_frame_that_has_begun_when_this_end_leaves(leave: Any) -> None:
    end = selected()
    end.is_read = False
    tracemalloc.start()
    try:
        end.take(ALMOST)
        leave(end.engine)
        end.out()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert end.engine.phase == "separating"
    assert kept < 64_000
    assert end.take(ALMOST[-1:]) == []
    assert end.counts()["messages_received"] == 0


@pytest.mark.parametrize(
    ("frame", "reason"),
    [(ALMOST + b"\0", 4), (raw(SType.LINKTEST_REQ, 7, body=bytes(LONGEST - 10)), 1)],
    ids=["data", "control with a body"],
)
def test_its_answer_is_the_same(frame: bytes, reason: int) -> None:
    end = accepted()
    fed(end, frame)
    assert (end.frames[-1].stype, end.frames[-1].byte3) == (REJECT_REQ, reason)
    end.take(select_req(8))
    assert end.engine.is_selected
    assert end.counts()["frames_received"] == 2


@pytest.mark.parametrize("cut", [0, 1, 4, 5, 14, 20, 100, 65_000])
def test_a_long_frame_that_begins_in_the_segment_of_the_select_is_whole(cut: int) -> None:
    body = bytes(range(256)) * 1_000
    end = accepted()
    frame = data(6, 11, 7, body=body)
    end.take(select_req(8), frame[:cut])
    primary = end.primary(frame[cut:])
    assert primary.body == body


def test_the_same_for_the_end_that_dials() -> None:
    body = bytes(range(256)) * 1_000
    end = selecting()
    frame = data(6, 11, 7, body=body)
    end.take(select_rsp(end.last), frame[:65_000])
    assert end.primary(frame[65_000:]).body == body


def test_answers_that_nobody_reads_take_little() -> None:
    def kept() -> int:
        end = accepted()
        end.is_read = False
        size = fed(end, linktest_req(7) * 100_000)
        assert end.engine.is_closed
        return size

    # The first time, steps of the charts are remembered.
    kept()
    assert kept() < 64_000


# The decoder


@pytest.mark.parametrize("size", [1, 7, 18, 19, 100, 1_000])
@pytest.mark.parametrize("piece", [1, 2, 5, 13, 14, 15, 33, 400])
@pytest.mark.parametrize("dropped_at", [1, 4, 13, 14, 30, 40])
def test_a_frame_whose_body_is_dropped_ends_where_it_ends(
    size: int, piece: int, dropped_at: int
) -> None:
    body = bytes(range(1, 256)) * 4
    first = encode(data_frame(0, 6, 11, False, 7, body[:size]))
    second = encode(data_frame(0, 1, 1, True, 8, b"after"))
    decoder, frames = Decoder(), []
    stream = first + second
    frames += decoder.feed(stream[:dropped_at])
    if decoder.partial:
        missing = decoder.missing
        decoder.drop_body()
        assert decoder.missing == missing
        decoder.drop_body()
    for start in range(dropped_at, len(stream), piece):
        frames += decoder.feed(stream[start : start + piece])
        assert decoder.partial or decoder.missing == 0
    assert [frame.system_bytes for frame in frames] == [7, 8]
    assert frames[1].body == b"after"
    kept = frames[0].body
    assert kept == body[:size][: len(kept)]
    assert kept
    if dropped_at >= 4 and size > 18 and dropped_at < len(first):
        assert len(kept) == 18
    else:
        assert len(kept) == size


@pytest.mark.parametrize("most", [1, 2, 3, 7, 100])
def test_frames_are_taken_some_at_a_time(most: int) -> None:
    frames = [data_frame(0, 6, 11, False, number, bytes(number % 5)) for number in range(20)]
    stream = b"".join(map(encode, frames))
    decoder, taken, start = Decoder(), [], 6
    # The first bytes have come before, so a frame is in progress.
    decoder.feed(stream[:6])
    while start < len(stream):
        some, start = decoder.take(stream, start, most)
        assert 1 <= len(some) <= most
        taken += some
    assert taken == frames
