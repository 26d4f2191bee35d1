"""Recordings as captures and back: the same frames; and nothing wrong from a damaged capture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Literal, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsms_engine.capture import PCAP_HEADER, CaptureError, Note, PcapWriter, Role, read_capture
from hsms_engine.capture.files import Captured, read_packets
from hsms_engine.capture.layers import Segment, segment_of
from hsms_engine.capture.packets import FIN, PSH, SYN
from hsms_engine.recording import (
    EndRecord,
    EventRecord,
    FrameRecord,
    GoneRecord,
    HeadRecord,
    Json,
    LinkRecord,
    Record,
)
from hsms_engine.secs2 import B, L, encode
from hsms_engine.wire import SType, control_frame, data_frame
from hsms_engine.wire import encode as wire

Body: TypeAlias = Literal["masked", "left out", "not kept"]
WALL = 1_700_000_000.25


def link(
    number: int = 1, peer: str = "10.1.2.3:5000", role: Role = "active", name: str = ""
) -> LinkRecord:
    return LinkRecord(0.0, WALL, number, 1, name or peer, peer, role, {}, {}, {})


def frame(
    data: bytes,
    seconds: float = 0.0,
    *,
    sent: bool = True,
    number: int = 1,
    epoch: int = 1,
    body: Body | None = None,
) -> FrameRecord:
    return FrameRecord(seconds, WALL + seconds, number, epoch, sent, data[4:], len(data), body)


def event(
    name: str, seconds: float = 0.0, number: int = 1, epoch: int = 1, **fields: Json
) -> EventRecord:
    return EventRecord(seconds, WALL + seconds, number, epoch, name, fields)


def pcap(records: Iterable[Record], wanted: str | None = None) -> bytes:
    writer = PcapWriter(wanted)
    found = [packet for each in records for packet in writer.packets(each)]
    return PCAP_HEADER + b"".join([*found, *writer.finish()])


def read(
    file: bytes, *, ports: Sequence[int] = (), role: Role = "active"
) -> tuple[list[Record], list[str]]:
    records: list[Record] = []
    notes: list[str] = []
    for each in read_capture(BytesIO(file).read, ports=ports, role=role):
        match each:
            case Note():
                notes.append(str(each))
            case _:
                records.append(each)
    return records, notes


def frames(records: Iterable[Record]) -> list[FrameRecord]:
    return [each for each in records if isinstance(each, FrameRecord)]


SELECT = [wire(control_frame(SType.SELECT_REQ, 1)), wire(control_frame(SType.SELECT_RSP, 1))]
S1F1 = wire(data_frame(0, 1, 1, True, 2, b""))
S1F2 = wire(data_frame(0, 1, 2, False, 2, encode(L("MDLN", "1.0"))))
LONG = wire(data_frame(0, 7, 3, True, 3, encode(L("name", B(bytes(200_000))))))
SESSION: list[Record] = [
    link(),
    event("Selecting", local="10.1.2.9:6000", remote="10.1.2.3:5000"),
    frame(SELECT[0], 1),
    frame(SELECT[1], 2, sent=False),
    frame(S1F1, 3),
    frame(S1F2, 4, sent=False),
    frame(LONG, 5),
]


def test_a_recording_comes_back_with_its_times_and_sides() -> None:
    records, notes = read(pcap(SESSION))
    assert notes == []
    begins, of_link, *_, gone, ends = records
    assert isinstance(begins, HeadRecord)
    assert isinstance(of_link, LinkRecord)
    assert (of_link.name, of_link.peer, of_link.role) == (
        "10.1.2.3:5000",
        "10.1.2.3:5000",
        "active",
    )
    assert isinstance(gone, GoneRecord)
    assert isinstance(ends, EndRecord)
    # The first packet is that of the connection, at 0.
    assert frames(records) == frames(SESSION)


def test_a_passive_end_comes_back_as_one() -> None:
    records: list[Record] = [
        link(peer="10.1.2.9:6000", role="passive"),
        event("PeerAccepted", local="10.1.2.3:5001", peer="10.1.2.9:6000"),
        frame(SELECT[0], 1, sent=False),
        frame(SELECT[1], 2),
    ]
    found, notes = read(pcap(records), role="passive")
    assert notes == []
    assert [(each.name, each.role) for each in found if isinstance(each, LinkRecord)] == [
        ("10.1.2.9:6000", "passive")
    ]
    assert frames(found) == frames(records)
    other = [each for each in read(pcap(records))[0] if isinstance(each, LinkRecord)]
    assert [(each.name, each.role) for each in other] == [("10.1.2.3:5001", "active")]


@pytest.mark.parametrize(
    ("port", "wanted"), [(6000, 6000), (0, 5000), (70_000, 5000), (True, 5000), ("6000", 5000)]
)
def test_a_passive_end_has_the_port_of_its_settings(port: Json, wanted: int) -> None:
    begun = replace(link(peer="10.1.2.9", role="passive"), settings={"port": port})
    found, _ = read(pcap([begun, frame(SELECT[0], 1, sent=False), frame(SELECT[1], 2)]))
    assert [each.peer for each in found if isinstance(each, LinkRecord)] == [f"192.0.2.1:{wanted}"]


def test_each_epoch_is_a_connection_of_its_own() -> None:
    lost = event("Waiting", 5, retry_after=1.0, error={"error": "ConnectionLostError", "text": ""})
    records: list[Record] = [
        *SESSION[1:4],
        lost,
        # The same ports again.
        event("Selecting", 6, epoch=2, local="10.1.2.9:6000", remote="10.1.2.3:5000"),
        frame(SELECT[0], 6, epoch=2),
        event("Selecting", 6, epoch=3, local="10.1.2.9:6001", remote="10.1.2.3:5000"),
        event("Selecting", 7, epoch=4, local="10.1.2.9:6002", remote="10.1.2.3:5000"),
        frame(SELECT[0], 7, epoch=4),
    ]
    found, notes = read(pcap(records))
    assert notes == []
    # What has no frame is no connection of the capture.
    assert [each.epoch for each in frames(found)] == [1, 1, 2, 3]


def test_a_connection_is_closed_before_the_next_one_of_its_link() -> None:
    packets = packets_of(pcap([frame(S1F1), frame(S1F1, epoch=2)]))
    names = {SYN: "SYN", FIN: "FIN", PSH: "PSH"}
    flags = [segment_flags(each) for each in packets]
    shown = [names[flag] for each in flags for flag in names if each & flag]
    assert shown == ["SYN", "SYN", "PSH", "FIN", "FIN", "SYN", "SYN", "PSH"]


def test_links_are_told_apart_and_one_can_be_chosen() -> None:
    records: list[Record] = [
        link(1, name="etcher"),
        link(2, "10.1.2.4:5000", name="stepper"),
        frame(S1F1, 1, number=1),
        frame(S1F2, 2, number=2),
        event("Selected", 3, number=2),
        event("Idle", 3, number=2),
        GoneRecord(4.0, WALL + 4, 1, 1),
        GoneRecord(4.0, WALL + 4, 2, 1),
    ]
    found, notes = read(pcap(records))
    assert notes == []
    assert [each.peer for each in found if isinstance(each, LinkRecord)] == [
        "10.1.2.3:5000",
        "10.1.2.4:5000",
    ]
    for wanted in ("stepper", "10.1.2.4:5000", "2"):
        [only] = frames(read(pcap(records, wanted))[0])
        assert only.data == S1F2[4:]
    writer = PcapWriter("other")
    assert not [packet for each in records for packet in writer.packets(each)]
    assert not [*writer.finish()]
    assert (writer.names, writer.frames) == ({"etcher", "stepper"}, 0)


@pytest.mark.parametrize(
    ("then", "known"),
    [
        ([event("Selecting", local="10.1.2.9:6000", remote="10.1.2.3:5000")], "10.1.2.9:6000"),
        # Without it, nobody knows.
        ([frame(SELECT[1], 2, sent=False)], "192.0.2.1:49152"),
        ([event("Waiting", 2)], "192.0.2.1:49152"),
        ([event("Selecting", epoch=2, local="10.1.2.9:6000")], "192.0.2.1:49152"),
        ([GoneRecord(2.0, WALL + 2, 1, 1)], "192.0.2.1:49152"),
        ([], "192.0.2.1:49152"),
    ],
)
def test_the_addresses_may_be_told_after_the_first_frame(then: list[Record], known: str) -> None:
    """As an engine does: bytes come out before events."""
    file = pcap([link(), frame(SELECT[0], 1), *then])
    assert frames(read(file)[0])[0].data == SELECT[0][4:]
    opened = next(read_packets(BytesIO(file).read))
    assert isinstance(opened, Captured)
    segment = segment_of(opened)
    assert isinstance(segment, Segment)
    assert str(segment.source) == known


def test_a_link_that_was_never_described_is_written_all_the_same() -> None:
    [only] = frames(read(pcap([frame(S1F1)]))[0])
    assert only.data == S1F1[4:]


@pytest.mark.parametrize("body", ["masked", "left out", "not kept"])
def test_a_body_that_is_not_recorded_comes_back_as_not_kept(body: Body) -> None:
    masked = FrameRecord(1.0, WALL + 1, 1, 1, True, LONG[4:14], len(LONG), body)
    found, notes = read(pcap([*SESSION[:4], masked, frame(S1F1, 2)]))
    assert frames(found)[2:] == [
        FrameRecord(1.0, WALL + 1, 1, 1, True, LONG[4:14], len(LONG), "not kept"),
        frame(S1F1, 2),
    ]
    assert notes == [
        "10.1.2.9:6000 -> 10.1.2.3:5000: bytes cut by the capture's length limit: 200,012",
        "10.1.2.9:6000 -> 10.1.2.3:5000: frames without their body: 1",
    ]


def masked(body: bytes) -> FrameRecord:
    return FrameRecord(0.0, WALL, 1, 1, True, S1F2[4:14] + body, len(S1F2), "masked")


def test_a_body_in_the_place_of_a_masked_one_is_written_if_it_is_as_long() -> None:
    other = encode(L("MASK", "0.0"))
    [found] = frames(read(pcap([masked(other)]))[0])
    assert (found.data, found.body) == (S1F2[4:14] + other, None)
    for body in (encode(L()), encode(L("MASKED", "0.0"))):
        [found] = frames(read(pcap([masked(body)]))[0])
        assert (found.data, found.body, found.length) == (S1F2[4:14], "not kept", len(S1F2))


def test_a_record_that_contradicts_itself_makes_no_wrong_packet() -> None:
    short = FrameRecord(1.0, WALL, 1, 1, True, S1F2[4:], 3)
    [only] = frames(read(pcap([short]))[0])
    assert (only.data, only.length) == (S1F2[4:], len(S1F2))
    short = FrameRecord(1.0, WALL, 1, 1, True, S1F2[4:], 3, "left out")
    [only] = frames(read(pcap([short]))[0])
    assert (only.data, only.length) == (S1F2[4:14], 14)


# What a capture does to a stream

BODIES = st.binary(max_size=300).map(lambda data: encode(L(B(data))))
MESSAGES = st.builds(
    lambda stream, function, system, body: wire(
        data_frame(0, stream, function, True, system, body)
    ),
    st.integers(1, 127),
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
    BODIES,
)
RECORDS = st.lists(
    st.tuples(MESSAGES, st.booleans(), st.integers(1, 3), st.integers(1, 2)),
    min_size=1,
    max_size=15,
).map(
    lambda drawn: [
        link(1),
        link(2, "[2001:db8::7]:5000"),
        link(3, "tool.fab:5000"),
        *(
            frame(data, seconds, sent=sent, number=number, epoch=epoch)
            for seconds, (data, sent, number, epoch) in enumerate(
                sorted(drawn, key=lambda each: each[3])
            )
        ),
    ]
)


def packets_of(file: bytes) -> list[bytes]:
    """The packets of a file, each with its header."""
    found, at = [], len(PCAP_HEADER)
    while at < len(file):
        size = 16 + int.from_bytes(file[at + 8 : at + 12], "little")
        found.append(file[at : at + size])
        at += size
    return found


def key(each: FrameRecord) -> tuple[bool, bytes, int]:
    return each.sent, each.data, each.length


@given(RECORDS)
def test_every_frame_of_every_connection_comes_back(records: list[Record]) -> None:
    found, notes = read(pcap(records))
    assert notes == []
    assert sorted(map(key, frames(found))) == sorted(map(key, frames(records)))
    assert [each.wall for each in frames(found)] == [each.wall for each in frames(records)]


@given(RECORDS, st.data())
def test_packets_in_any_order_and_twice_give_the_same_frames(
    records: list[Record], data: st.DataObject
) -> None:
    # At one time, so that nothing is waited for in vain.
    packets = packets_of(pcap(replace(each, wall=WALL) for each in records))
    syn = [each for each in packets if segment_flags(each) & SYN]
    packets = [each for each in packets if each not in syn]
    mixed = data.draw(st.permutations(packets + data.draw(st.lists(st.sampled_from(packets)))))
    found, notes = read(b"".join([PCAP_HEADER, *syn, *mixed]))
    assert sorted(map(key, frames(found))) == sorted(map(key, frames(records)))
    assert notes == []


def segment_flags(packet: bytes) -> int:
    return packet[16 + (20 if packet[16] >> 4 == 4 else 40) + 13]


@given(RECORDS, st.data())
def test_a_capture_that_lost_and_cut_packets_has_no_wrong_frame(
    records: list[Record], data: st.DataObject
) -> None:
    packets = packets_of(pcap(records))
    kept = data.draw(st.lists(st.sampled_from(range(len(packets))), unique=True))
    mixed = []
    for number in kept if data.draw(st.booleans()) else sorted(kept):
        packet = packets[number]
        size = data.draw(st.integers(0, len(packet) - 16) | st.just(len(packet) - 16))
        mixed.append(packet[:8] + size.to_bytes(4, "little") + packet[12 : 16 + size])
    found, _ = read(PCAP_HEADER + b"".join(mixed))
    sent = {key(each) for each in frames(records)}
    heads = {(sent, data[:10], length) for sent, data, length in sent}
    # Who is active may be unknown now, and then the two sides may be exchanged.
    for each in frames(found):
        wanted = sent if each.body is None else heads
        flipped = FrameRecord(0, 0, 0, 0, not each.sent, each.data, each.length)
        assert key(each) in wanted or key(flipped) in wanted


@given(st.binary(max_size=400))
def test_any_bytes_after_the_header_of_a_file_raise_nothing(data: bytes) -> None:
    read(PCAP_HEADER + data)


def test_what_is_no_capture_is_refused_before_anything_is_read() -> None:
    with pytest.raises(CaptureError, match="the file is empty"):
        read_capture(BytesIO().read)


def test_what_is_passed_over_is_told_with_counts() -> None:
    packets = packets_of(pcap([*SESSION[:4], frame(LONG, 5), frame(S1F1, 6)]))
    arp = b"\0" * 8 + (28).to_bytes(4, "little") * 2 + bytes(28)
    # The second of the four segments of the long message is lost, and the file is cut.
    file = b"".join([PCAP_HEADER, *packets[:9], *packets[11:], arp, arp])[:-3]
    found, notes = read(file)
    assert [each.body for each in frames(found)] == [None, None, "not kept", None]
    assert notes == [
        f"the file ends within a packet; bytes before that place: {len(file)}".replace(
            str(len(file)), f"{len(file):,}"
        ),
        "10.1.2.9:6000 -> 10.1.2.3:5000: bytes not captured: 65,495",
        "10.1.2.9:6000 -> 10.1.2.3:5000: frames without their body: 1",
        "packets without IP: 1",
    ]


def test_a_capture_without_hsms_has_notes_only() -> None:
    web = b"GET / HTTP/1.1\r\n\r\n"
    file = pcap([frame(web)]).replace(b"\0\0\0\x0e/ HTTP", b"GET / HTTP")
    records, notes = read(file)
    assert records == []
    assert notes == ["TCP connections without HSMS: 1"]
    records, notes = read(file, ports=[5000])
    assert records == []
    [note] = notes
    assert note.startswith("192.0.2.1:49152 -> 192.0.2.2:5000: bytes where a frame should begin")
    assert note.endswith(": 18")
    assert read(file, ports=[1]) == ([], [])


def test_the_same_capture_makes_the_same_recording() -> None:
    assert read(pcap(SESSION)) == read(pcap(SESSION))
