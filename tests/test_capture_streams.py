"""Segments in any order, twice, overlapping, cut or lost: what comes out is what was sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsms_engine.capture import framing, streams
from hsms_engine.capture.framing import Framed, Framer
from hsms_engine.capture.streams import CUT, JUMP, LOST, Flow, Part, difference
from hsms_engine.secs2 import B, L, encode
from hsms_engine.wire import DEFAULT_MAX_FRAME, Frame, SType, control_frame, data_frame
from hsms_engine.wire import encode as wire

SECOND = 1_000_000_000


@dataclass(frozen=True)
class Piece:
    """A segment at ``offset`` of the stream. ``kept``: how much of it was captured."""

    offset: int
    data: bytes
    kept: int | None = None


def parts_of(
    pieces: Iterable[Piece], start: int = 0, *, gap: int = 0, is_whole: bool = True
) -> list[Part]:
    flow = Flow(start, is_whole=is_whole)
    found: list[Part] = []
    for number, piece in enumerate(pieces):
        sequence = (start + piece.offset) % 2**32
        at = number * gap
        found += flow.take(at, sequence, piece.data[: piece.kept], len(piece.data))
        found += flow.wait_until(at)
    return [*found, *flow.end()]


def frames_of(
    parts: Iterable[Part], *, is_start: bool = True, is_hsms: bool = False
) -> tuple[list[Framed], Framer]:
    framer = Framer(DEFAULT_MAX_FRAME, is_start=is_start, is_hsms=is_hsms)
    found: list[Framed] = []
    for part in parts:
        found += framer.take(part)
    found += framer.end()
    return found, framer


def bytes_of(framed: Framed) -> bytes:
    assert framed.body is not None
    return (framed.length - 4).to_bytes(4) + framed.header + framed.body


def joined(parts: Iterable[Part]) -> bytes:
    return b"".join(each.data + b"?" * each.missing for each in parts)


BODIES = st.one_of(
    st.just(b""),
    st.binary(max_size=200).map(lambda data: encode(L(B(data)))),
    st.integers(300, 5_000).map(lambda size: encode(L("x", B(bytes(size))))),
)
FRAMES = st.one_of(
    st.builds(
        lambda stream, function, system, body: data_frame(0, stream, function, True, system, body),
        st.integers(1, 127),
        st.integers(0, 255),
        st.integers(0, 2**32 - 1),
        BODIES,
    ),
    st.sampled_from([SType.SELECT_REQ, SType.LINKTEST_REQ, SType.LINKTEST_RSP]).flatmap(
        lambda stype: st.integers(0, 2**32 - 1).map(lambda system: control_frame(stype, system))
    ),
)
STREAMS = st.lists(FRAMES, min_size=1, max_size=12)
STARTS = st.sampled_from([0, 1, 2**31 - 7, 2**32 - 1, 2**32 - 40])


@st.composite
def segmented(draw: st.DrawFn, data: bytes) -> list[Piece]:
    pieces, at = [], 0
    while at < len(data):
        size = draw(st.sampled_from([1, 3, 14, 60, 536, 1460]))
        pieces.append(Piece(at, data[at : at + size]))
        at += size
    return pieces


@given(st.data(), STREAMS, STARTS)
def test_any_order_with_copies_and_overlaps_gives_the_stream(
    data: st.DataObject, frames: list[Frame], start: int
) -> None:
    stream = b"".join(map(wire, frames))
    pieces = data.draw(segmented(stream))
    more = data.draw(st.lists(st.sampled_from(pieces), max_size=5))
    wider = [
        Piece(each.offset, stream[each.offset : each.offset + len(each.data) + 17]) for each in more
    ]
    mixed = data.draw(st.permutations([*pieces, *more, *wider]))
    parts = parts_of(mixed, start)
    assert joined(parts) == stream
    found, framer = frames_of(parts)
    assert list(map(bytes_of, found)) == [wire(each) for each in frames]
    assert not framer.passed_over


@given(st.data(), STREAMS, STARTS, st.booleans())
def test_what_is_lost_or_cut_makes_no_wrong_frame(
    data: st.DataObject, frames: list[Frame], start: int, is_start: bool
) -> None:
    stream = b"".join(map(wire, frames))
    pieces = data.draw(segmented(stream))
    kept = [
        replace(each, kept=data.draw(st.sampled_from([None, None, 0, 5, 14])))
        for each in pieces
        if data.draw(st.integers(0, 3))
    ]
    if not kept:
        return
    # Whose beginning was not captured begins with what there is.
    first = 0 if is_start else kept[0].offset
    moved = [replace(each, offset=each.offset - first) for each in kept]
    found, _ = frames_of(parts_of(moved, (start + first) % 2**32), is_start=is_start)
    sent = Counter(wire(each) for each in frames)
    heads = Counter(wire(each)[:14] for each in frames)
    whole = Counter(bytes_of(each) for each in found if each.body is not None)
    all_heads = Counter((each.length - 4).to_bytes(4) + each.header for each in found)
    assert not whole - sent
    assert not all_heads - heads


@given(st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=40)), max_size=20))
def test_garbage_makes_no_error(segments: list[tuple[int, bytes]]) -> None:
    frames_of(parts_of(Piece(offset, data) for offset, data in segments), is_start=False)


def test_sequence_numbers_wrap() -> None:
    assert difference(1, 2**32 - 1) == 2
    assert difference(2**32 - 1, 1) == -2


def test_what_is_missing_is_told_at_its_place() -> None:
    pieces = [Piece(0, b"abc"), Piece(5, b"fgh", kept=1)]
    assert parts_of(pieces) == [
        Part(0, b"abc", begins=True),
        Part(0, b"", 2, LOST),
        Part(0, b"f", 2, CUT, begins=True),
    ]


@pytest.mark.parametrize(("gap", "acknowledged", "gives_up"), [(2, True, True), (2, False, False)])
def test_a_segment_that_its_receiver_has_is_not_waited_for(
    gap: int, acknowledged: bool, gives_up: bool
) -> None:
    flow = Flow(0, is_whole=True)
    assert not [*flow.take(0, 10, b"later", 5)]
    flow.received(15 if acknowledged else 0)
    assert bool([*flow.wait_until(gap * SECOND)]) == gives_up
    assert bool([*flow.wait_until(61 * SECOND)]) != gives_up


def test_what_waited_comes_when_what_it_waited_for_has_come() -> None:
    flow = Flow(0, is_whole=True)
    assert not [*flow.take(1, 3, b"def", 3)]
    assert [*flow.take(5, 0, b"abc", 3)] == [
        Part(5, b"abc", begins=True),
        Part(5, b"def", begins=True),
    ]


def test_what_is_left_of_an_overlapping_segment_does_not_begin_one() -> None:
    parts = parts_of([Piece(0, b"abc"), Piece(1, b"bcde")])
    assert parts == [Part(0, b"abc", begins=True), Part(0, b"de", begins=False)]


def test_after_one_gap_the_next_one_is_waited_for_anew() -> None:
    flow = Flow(0, is_whole=True)
    assert not [*flow.take(0, 10, b"x", 1), *flow.take(50 * SECOND, 20, b"y", 1)]
    assert [each.missing for each in flow.wait_until(61 * SECOND)] == [10, 0]
    assert not [*flow.wait_until(100 * SECOND)]
    assert [each.missing for each in flow.wait_until(111 * SECOND)] == [9, 0]


def test_what_waits_is_bounded_in_bytes() -> None:
    flow = Flow(0, is_whole=True)
    segment = bytes(60_000)
    found = [
        part
        for number in range(100)
        for part in flow.take(0, 100 + number * 60_000, segment, len(segment))
    ]
    assert found[0] == Part(0, b"", 100, LOST)
    assert flow.held_bytes <= streams.MOST_HELD


def test_what_waits_is_bounded_in_number() -> None:
    flow = Flow(0, is_whole=True)
    most = streams.MOST_HELD // (streams.OVERHEAD + 1)
    assert not [part for each in range(most) for part in flow.take(0, 10 + 2 * each, b"x", 1)]
    assert next(flow.take(0, 10 + 2 * most, b"x", 1)) == Part(0, b"", 10, LOST)


def test_of_a_segment_that_waits_twice_the_longer_one_counts() -> None:
    parts = parts_of([Piece(3, b"d"), Piece(3, b"de"), Piece(3, b"x"), Piece(0, b"abc")])
    assert joined(parts) == b"abcde"


@pytest.mark.parametrize("far", [1 << 27, -(1 << 27)])
def test_numbers_that_jump_are_a_break(far: int) -> None:
    flow = Flow(1_000, is_whole=True)
    assert joined(flow.take(0, 1_000, b"abc", 3)) == b"abc"
    assert not [*flow.take(0, 1_010, b"held", 4)]
    found = [*flow.take(0, (1_000 + far) % 2**32, b"new", 3)]
    assert found[-2:] == [Part(0, b"", why=JUMP, is_break=True), Part(0, b"new", begins=True)]
    assert joined(found[:-2]) == b"???????held"


LINKTEST = wire(control_frame(SType.LINKTEST_REQ, 7))
LONG = wire(data_frame(0, 7, 3, True, 8, encode(L("name", B(bytes(3_000))))))
SHORT = wire(data_frame(0, 1, 1, True, 9, b""))
OTHER_DEVICE = wire(data_frame(5, 1, 1, True, 9, b""))


def pieces_of(stream: bytes, size: int = 1_000) -> list[Piece]:
    return [Piece(at, stream[at : at + size]) for at in range(0, len(stream), size)]


def names(found: Sequence[Framed]) -> list[tuple[int, bool]]:
    return [(each.header[9], each.body is not None) for each in found]


def test_a_body_that_is_not_whole_costs_its_frame_the_body_only() -> None:
    pieces = pieces_of(LINKTEST + LONG + SHORT)
    del pieces[1]
    found, framer = frames_of(parts_of(pieces))
    assert names(found) == [(7, True), (8, False), (9, True)]
    assert found[1].length == len(LONG)
    assert framer.passed_over == {LOST: 1_000}
    assert (framer.frames, framer.cut) == (3, 1)


def test_a_body_may_end_with_what_is_missing() -> None:
    # No search would find the second one.
    parts = [Part(0, LONG[:100], len(LONG) - 100, CUT, begins=True), Part(0, SHORT)]
    assert names(frames_of(parts)[0]) == [(8, False), (9, True)]


def test_what_is_missing_in_two_places_of_a_body_is_still_one_body() -> None:
    parts = [
        Part(0, LONG[:100], 50, CUT, begins=True),
        Part(0, LONG[150:200], 50, CUT, begins=True),
        Part(0, LONG[250:] + SHORT, begins=True),
    ]
    assert names(frames_of(parts)[0]) == [(8, False), (9, True)]


@pytest.mark.parametrize("kept", range(4, 14))
def test_a_header_that_is_not_whole_costs_its_frame_only(kept: int) -> None:
    parts = [
        Part(0, LONG[:kept], 100, CUT, begins=True),
        Part(0, LONG[kept + 100 : 900], 10, CUT, begins=True),
        Part(0, LONG[910:] + SHORT, begins=True),
    ]
    found, framer = frames_of(parts)
    assert names(found) == [(9, True)]
    assert framer.passed_over == {CUT: 110, framing.HEADER_LOST: len(LONG) - 110}


@pytest.mark.parametrize("kept", range(1, 4))
def test_without_its_length_a_frame_does_not_say_where_the_next_one_begins(kept: int) -> None:
    parts = [
        Part(0, LONG[:kept], 100, CUT, begins=True),
        Part(0, LONG[kept + 100 :] + SHORT, begins=True),
        Part(0, LINKTEST, begins=True),
    ]
    found, framer = frames_of(parts)
    assert names(found) == [(7, True)]
    assert framer.passed_over[framing.BEFORE_THE_FIRST] == len(LONG) - 100 - kept + len(SHORT)


def test_the_next_frame_is_found_at_the_beginning_of_a_segment() -> None:
    pieces = pieces_of(LINKTEST + LONG)
    end = len(LINKTEST + LONG)
    # The frame that begins in the middle of a segment is not found, the one after it is.
    del pieces[0]
    pieces += [Piece(end, SHORT), Piece(end + 14, LINKTEST)]
    found, framer = frames_of(parts_of(pieces))
    assert names(found) == [(9, True), (7, True)]
    assert framer.passed_over == {LOST: 1_000, framing.BEFORE_THE_FIRST: end - 1_000}


def test_a_search_begins_with_a_segment_and_not_in_it() -> None:
    parts = [Part(0, SHORT, begins=False), Part(0, LINKTEST, begins=True)]
    assert names(frames_of(parts, is_start=False)[0]) == [(7, True)]


def test_a_search_looks_at_more_than_one_segment() -> None:
    parts = [
        Part(each, LONG[at : at + 700], begins=True) for each, at in enumerate(range(0, 3_100, 700))
    ]
    found, _ = frames_of([*parts, Part(9, SHORT, begins=True)], is_start=False)
    assert names(found) == [(8, True), (9, True)]
    assert [each.at for each in found] == [4, 9]


def test_what_follows_must_look_like_a_frame_too() -> None:
    parts = [Part(0, SHORT + b"\0\0\0\0" * 4, begins=True), Part(0, LINKTEST, begins=True)]
    assert names(frames_of(parts, is_start=False)[0]) == [(7, True)]


def test_a_piece_of_a_header_after_a_frame_is_waited_for() -> None:
    parts = [Part(0, SHORT + LINKTEST[:5], begins=True), Part(0, LINKTEST[5:], begins=True)]
    assert names(frames_of(parts, is_start=False)[0]) == [(9, True), (7, True)]


def test_pieces_that_were_looked_at_in_vain_are_passed_over_together() -> None:
    # The second part continues the first segment: no frame is looked for where it begins.
    parts = [
        Part(0, LONG[:20], begins=True),
        Part(0, SHORT, begins=False),
        Part(0, b"", 5, LOST),
        Part(0, LINKTEST, begins=True),
    ]
    found, framer = frames_of(parts, is_start=False)
    assert names(found) == [(7, True)]
    assert framer.passed_over == {LOST: 5, framing.BEFORE_THE_FIRST: 34}


def test_a_frame_found_in_a_search_may_end_where_bytes_are_missing() -> None:
    parts = [Part(0, SHORT, 10, CUT, begins=True), Part(0, LINKTEST, begins=True)]
    assert names(frames_of(parts, is_start=False)[0]) == [(9, True), (7, True)]


@pytest.mark.parametrize(
    "wrong",
    [
        data_frame(0, 0, 1, True, 1, b""),
        data_frame(0, 1, 1, True, 1, b"no SECS-II"),
        data_frame(0, 1, 1, True, 1, b"")._replace(ptype=1),
        control_frame(8, 1),
        control_frame(SType.LINKTEST_REQ, 1)._replace(body=b"\0"),
        control_frame(SType.LINKTEST_REQ, 1, byte2=1),
        control_frame(SType.LINKTEST_REQ, 1, byte3=1),
    ],
)
def test_a_search_believes_in_no_other_frame(wrong: Frame) -> None:
    parts = [Part(0, wire(wrong), begins=True), Part(0, LINKTEST, begins=True)]
    assert names(frames_of(parts, is_start=False)[0]) == [(7, True)]


@pytest.mark.parametrize(
    "right",
    [
        control_frame(SType.SELECT_RSP, 7, byte3=3),
        control_frame(SType.REJECT_REQ, 7, byte2=1, byte3=4),
        control_frame(SType.SEPARATE_REQ, 7, session_id=3),
    ],
)
def test_a_search_believes_in_a_control_message(right: Frame) -> None:
    found, _ = frames_of([Part(0, wire(right), begins=True)], is_start=False)
    assert names(found) == [(7, True)]


def test_after_a_gap_a_session_id_that_was_never_seen_is_not_believed_in() -> None:
    lost = Part(0, b"", 100, LOST)
    parts = [
        Part(0, SHORT, begins=True),
        lost,
        Part(0, OTHER_DEVICE, begins=True),
        Part(0, SHORT, begins=True),
    ]
    found, framer = frames_of(parts)
    assert [each.header[:2] for each in found] == [b"\0\0", b"\0\0"]
    assert framer.passed_over == {LOST: 100, framing.AFTER_A_GAP: 14}


def test_session_ids_are_remembered_up_to_a_bound() -> None:
    many = [wire(data_frame(each, 1, 1, True, 9, b"")) for each in range(70)]
    found, _ = frames_of([Part(0, b"".join(many), begins=True)])
    assert len(found) == 70


@pytest.mark.parametrize("length", [0, 9, DEFAULT_MAX_FRAME + 1, 2**32 - 1])
def test_after_a_length_of_no_frame_the_next_one_is_searched_for(length: int) -> None:
    parts = [
        Part(0, SHORT + length.to_bytes(4) + LINKTEST, begins=True),
        Part(0, LINKTEST, begins=True),
    ]
    found, framer = frames_of(parts)
    assert names(found) == [(9, True), (7, True)]
    assert framer.passed_over == {framing.NO_HSMS: 18}


def test_a_bad_length_in_what_a_search_has_found_begins_a_new_search() -> None:
    parts = [
        Part(0, LONG[:1_000], begins=True),
        Part(0, LONG[1_000:] + SHORT + bytes(4), begins=True),
        Part(0, LINKTEST, begins=True),
    ]
    # The first bytes after the long frame are those of a frame, so the search has ended there.
    found, framer = frames_of(parts, is_start=False)
    assert names(found) == [(8, True), (9, True), (7, True)]
    assert framer.passed_over == {framing.NO_HSMS: 4}


def test_a_search_goes_on_in_the_segments_that_it_had_looked_at() -> None:
    # All has come before the frame is whole, and a bad length is in its last segment but one.
    parts = [
        Part(0, LONG[:2_000], begins=True),
        Part(0, LONG[2_000:] + SHORT[:5], begins=True),
        Part(0, SHORT[5:] + bytes(4), begins=True),
        Part(0, LINKTEST, begins=True),
    ]
    found, _ = frames_of(parts, is_start=False)
    assert names(found) == [(8, True), (9, True), (7, True)]


def test_the_first_frame_must_be_of_hsms_unless_the_port_says_so() -> None:
    odd = wire(control_frame(77, 5))
    assert names(frames_of([Part(0, odd, begins=True)])[0]) == []
    assert names(frames_of([Part(0, odd, begins=True)], is_hsms=True)[0]) == [(5, True)]
    # After a first one any will do: a peer may send what E37 does not know.
    assert names(frames_of([Part(0, LINKTEST + odd, begins=True)])[0]) == [(7, True), (5, True)]


def test_a_frame_that_does_not_end_is_told() -> None:
    found, framer = frames_of([Part(0, SHORT + LONG[:100], begins=True)])
    assert names(found) == [(9, True)]
    assert framer.passed_over == {framing.UNFINISHED: 100}


def test_a_break_ends_the_frame_in_progress_and_begins_a_search() -> None:
    parts = [
        Part(0, SHORT + LONG[:100], begins=True),
        Part(0, b"", why=JUMP, is_break=True),
        Part(0, LONG[100:200], begins=True),
        Part(0, b"", why=JUMP, is_break=True),
        Part(0, LINKTEST, begins=True),
    ]
    found, framer = frames_of(parts)
    assert names(found) == [(9, True), (7, True)]
    assert framer.passed_over == {framing.UNFINISHED: 100, framing.AFTER_A_GAP: 100}


def test_memory_is_counted() -> None:
    framer = Framer(DEFAULT_MAX_FRAME, is_start=True, is_hsms=True)
    assert not [*framer.take(Part(0, LONG[:1_014], begins=True))]
    assert framer.size == 1_000
    framer = Framer(DEFAULT_MAX_FRAME, is_start=False, is_hsms=True)
    assert not [*framer.take(Part(0, LONG[:1_000], begins=True))]
    assert framer.size == 1_000 + streams.OVERHEAD
    assert not [*framer.end()]
    assert framer.size == 0
