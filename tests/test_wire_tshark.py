"""tshark reads in our frames exactly the fields we meant to write."""

from pathlib import Path

import pytest

from hsms_engine.wire import (
    DeselectStatus,
    Frame,
    RejectReason,
    SelectStatus,
    SType,
    control_frame,
    data_frame,
    encode,
    reject_frame,
)
from tests.support.pcap import write_pcap
from tests.support.tshark import Dissection, dissect

S6F11 = data_frame(7, 6, 11, True, 0x01020304, bytes.fromhex("0103 4103414243 b10400000005 0100"))

FRAMES = [
    ("S01F01", data_frame(0, 1, 1, True, 1, b"")),
    ("S01F02", data_frame(0, 1, 2, False, 1, b"\x01\x00")),
    ("S06F11", S6F11),
    ("S127F255", data_frame(0x7FFF, 127, 255, True, 0xFFFFFFFF, b"")),
    ("S01F01", data_frame(0, 1, 1, True, 2, b"")._replace(ptype=3)),
    ("Select.req", control_frame(SType.SELECT_REQ, 3)),
    *(
        ("Select.rsp", control_frame(SType.SELECT_RSP, 3, byte3=status, session_id=9))
        for status in SelectStatus
    ),
    ("Deselect.req", control_frame(SType.DESELECT_REQ, 4)),
    *(
        ("Deselect.rsp", control_frame(SType.DESELECT_RSP, 4, byte3=status))
        for status in DeselectStatus
    ),
    ("Linktest.req", control_frame(SType.LINKTEST_REQ, 5)),
    ("Linktest.rsp", control_frame(SType.LINKTEST_RSP, 5)),
    *(
        ("Reject.req", reject_frame(Frame(5, 0, 0, 0xAA, 0xBB, 0xDEF01234, b""), reason))
        for reason in RejectReason
    ),
    ("Separate.req", control_frame(SType.SEPARATE_REQ, 6)),
]


def expected(title: str, frame: Frame) -> Dissection:
    """What tshark is to say about a frame, apart from the items of its body."""
    common = {
        "sessionid": frame.session_id,
        "ptype": frame.ptype,
        "stype": frame.stype,
        "system": frame.system_bytes,
    }
    if frame.stype == SType.DATA:
        own = {"wbit": int(frame.wait), "stream": frame.stream, "function": frame.function}
    else:
        own = {"statusbyte2": frame.byte2, "statusbyte3": frame.byte3}
    return Dissection(title, 10 + len(frame.body), common | own, ())


@pytest.fixture(scope="module")
def dissected(tmp_path_factory: pytest.TempPathFactory) -> list[Dissection]:
    path = tmp_path_factory.mktemp("wire") / "frames.pcap"
    write_pcap(path, [("active", encode(frame)) for _, frame in FRAMES])
    return dissect(path)


def without_items(dissections: list[Dissection]) -> list[Dissection]:
    return [Dissection(seen.title, seen.length, seen.header, ()) for seen in dissections]


def test_tshark_reads_every_header_field_of_every_kind_of_frame(
    dissected: list[Dissection],
) -> None:
    assert without_items(dissected) == [expected(title, frame) for title, frame in FRAMES]


def test_the_frames_shown_to_tshark_are_of_every_stype() -> None:
    assert {frame.stype for _, frame in FRAMES} == set(SType)


def test_tshark_finds_the_body_where_we_put_it(dissected: list[Dissection]) -> None:
    [body] = dissected[2].items
    assert body.title == "List (3 items)"
    assert [(item.format, item.values) for item in body.children] == [
        (0o20, ("ABC",)),
        (0o54, ("5",)),
        (0o00, ()),
    ]


def test_tshark_finds_the_same_frames_in_any_segmentation(tmp_path: Path) -> None:
    stream = b"".join(encode(frame) for _, frame in FRAMES)
    pieces = [stream[start : start + 11] for start in range(0, len(stream), 11)]
    write_pcap(tmp_path / "cut.pcap", [("passive", piece) for piece in pieces])
    assert without_items(dissect(tmp_path / "cut.pcap")) == [
        expected(title, frame) for title, frame in FRAMES
    ]


def test_tshark_reads_both_directions_of_a_conversation(tmp_path: Path) -> None:
    request = encode(data_frame(0, 1, 1, True, 77, b""))
    reply = encode(data_frame(0, 1, 2, False, 77, b"\x01\x00"))
    write_pcap(tmp_path / "both.pcap", [("active", request), ("passive", reply)])
    assert [(seen.title, seen.header["wbit"]) for seen in dissect(tmp_path / "both.pcap")] == [
        ("S01F01", 1),
        ("S01F02", 0),
    ]
