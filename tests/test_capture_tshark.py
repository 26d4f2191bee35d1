"""tshark shows what a recording has, finds nothing to warn of, and its files are read back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from hsms_engine.capture import PCAP_HEADER, Note, PcapWriter, read_capture
from hsms_engine.recording import FrameRecord, Record
from hsms_engine.secs2 import U4, B, L, encode
from hsms_engine.wire import RejectReason, SType, control_frame, data_frame, reject_frame
from hsms_engine.wire import encode as wire
from tests.support.tools import needs
from tests.support.tshark import dissect
from tests.test_capture import LONG, WALL, event, frame, frames, link

DATA = data_frame(0, 6, 11, True, 7, encode(L(U4(1), "text", B(b"\1"))))
KINDS = [
    control_frame(SType.SELECT_REQ, 1),
    control_frame(SType.SELECT_RSP, 1),
    DATA,
    data_frame(0, 6, 12, False, 7, encode(B(b"\0"))),
    control_frame(SType.LINKTEST_REQ, 2),
    control_frame(SType.LINKTEST_RSP, 2),
    reject_frame(DATA, RejectReason.ENTITY_NOT_SELECTED),
    control_frame(SType.DESELECT_REQ, 3),
    control_frame(SType.DESELECT_RSP, 3),
    control_frame(SType.SEPARATE_REQ, 4),
]
TITLES = [
    *("Select.req", "Select.rsp", "S06F11", "S06F12", "Linktest.req", "Linktest.rsp"),
    *("Reject.req", "Deselect.req", "Deselect.rsp", "Separate.req"),
]
MOST = wire(data_frame(0, 7, 3, True, 8, encode(L("name", B(bytes(16_000_000))))))
PEER = "10.1.2.3:5000"
LOST = {"error": "ConnectionLostError", "text": "T8"}


def written(path: Path, records: Iterable[Record]) -> Path:
    writer = PcapWriter()
    with path.open("wb") as file:
        file.write(PCAP_HEADER)
        for each in records:
            file.writelines(writer.packets(each))
        file.writelines(writer.finish())
    return path


def tshark(path: Path, *arguments: str) -> list[str]:
    needs("tshark")
    command = ["tshark", "-r", str(path), "-d", "tcp.port==5000,hsms", *arguments]
    checks = ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    run = subprocess.run([*command, *checks], capture_output=True, encoding="utf-8", check=True)
    return run.stdout.splitlines()


def complaints(path: Path) -> list[str]:
    """What tshark finds in the way of warnings and errors, and notes about the stream."""
    found = tshark(path, "-T", "fields", "-e", "_ws.expert.message", "-Y", "_ws.expert.severity")
    harmless = ("Connection establish", "Connection finish", "Connection reset", "This frame")
    texts = [text for line in found for text in line.split(",") if text]
    return [each for each in texts if not each.strip().startswith(harmless)]


@pytest.mark.parametrize("peer", ["10.1.2.3:5000", "[2001:db8::7]:5000", "tool.fab:5000"])
def test_every_kind_of_message_is_shown_with_its_time(peer: str, tmp_path: Path) -> None:
    records: list[Record] = [
        link(peer=peer),
        event("Selecting"),
        *(
            frame(wire(each), seconds, sent=not seconds % 2)
            for seconds, each in enumerate(KINDS, 1)
        ),
        event("Waiting", 20, retry_after=1.0, error=None),
    ]
    path = written(tmp_path / "kinds.pcap", records)
    found = dissect(path)
    assert [each.title for each in found] == TITLES
    assert found[2].items[0].title == "List (3 items)"
    times = tshark(path, "-Y", "hsms", "-T", "fields", "-e", "frame.time_epoch")
    assert [*map(float, times)] == [WALL + seconds for seconds in range(1, len(KINDS) + 1)]
    assert complaints(path) == []


def test_a_body_of_16_mb_is_put_together(tmp_path: Path) -> None:
    path = written(tmp_path / "long.pcap", [link(), frame(MOST), frame(wire(KINDS[3]), sent=False)])
    found = tshark(
        path, "-Y", "hsms", "-T", "fields", "-e", "hsms.length", "-e", "tcp.reassembled.length"
    )
    assert found == [f"{len(MOST) - 4}\t{len(MOST)}", "13\t"]
    assert complaints(path) == []


def test_connections_that_follow_and_stand_beside_each_other_are_told_apart(
    tmp_path: Path,
) -> None:
    records: list[Record] = [link(each, f"tool-{each}:5000") for each in range(20)]
    for epoch in range(1, 6):
        for number in range(20):
            at = float(epoch * 20 + number)
            records.append(frame(wire(KINDS[0]), at, number=number, epoch=epoch))
            records.append(frame(wire(KINDS[1]), at, sent=False, number=number, epoch=epoch))
            if epoch % 2:
                records.append(event("Waiting", at, number, epoch, retry_after=1.0, error=LOST))
    path = written(tmp_path / "many.pcap", records)
    streams = tshark(path, "-Y", "hsms", "-T", "fields", "-e", "tcp.stream")
    assert sorted(map(int, streams)) == sorted([*range(100)] * 2)
    assert complaints(path) == []
    resets = tshark(path, "-Y", "tcp.flags.reset==1")
    assert len(resets) == 60


def test_ports_that_are_used_again_are_a_new_connection(tmp_path: Path) -> None:
    records: list[Record] = [link()]
    for epoch in (1, 2, 3):
        records += [
            event("Selecting", epoch, epoch=epoch, local="10.1.2.9:6000", remote=PEER),
            frame(wire(KINDS[0]), epoch, epoch=epoch),
            event("Waiting", epoch, epoch=epoch, error=None),
        ]
    path = written(tmp_path / "again.pcap", records)
    assert tshark(path, "-Y", "hsms", "-T", "fields", "-e", "tcp.stream") == ["0", "1", "2"]
    assert {*complaints(path)} <= {
        "A new tcp session is started with the same ports as an earlier session in this trace"
    }


def test_a_masked_body_is_shown_as_one_that_was_not_captured(tmp_path: Path) -> None:
    masked: list[Record] = [
        FrameRecord(1.0, WALL + 1, 1, 1, True, data[4:14], len(data), "masked")
        for data in (wire(DATA), LONG)
    ]
    path = written(tmp_path / "masked.pcap", [link(), *masked, frame(wire(KINDS[3]), sent=False)])
    infos = tshark(path, "-Y", "hsms", "-T", "fields", "-e", "_ws.col.Info")
    assert infos == [
        "HSMS SECS Stream/Function S06F11[Packet size limited during capture]",
        "HSMS SECS Stream/Function S07F03[Packet size limited during capture]",
        "HSMS SECS Stream/Function S06F12",
    ]
    lengths = tshark(path, "-Y", "hsms", "-T", "fields", "-e", "hsms.length")
    assert lengths == [str(len(wire(DATA)) - 4), str(len(LONG) - 4), "13"]
    assert tshark(path, "-Y", "tcp.analysis.flags", "-T", "fields", "-e", "frame.number") == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["-F", "pcapng"],
        ["-F", "pcap"],
        ["-F", "pcapng", "-s", "74"],
        ["-F", "nsecpcap", "-t", "3600"],
    ],
    ids=" ".join,
)
def test_what_wireshark_makes_of_a_capture_is_read(arguments: list[str], tmp_path: Path) -> None:
    needs("tshark")
    records: list[Record] = [
        link(),
        *(frame(wire(each), 1 + at) for at, each in enumerate(KINDS)),
        frame(LONG, 60),
    ]
    path, other = written(tmp_path / "a", records), tmp_path / "b"
    subprocess.run(["editcap", *arguments, path, other], check=True, capture_output=True)
    with other.open("rb") as file:
        found = frames(each for each in read_capture(file.read) if not isinstance(each, Note))
    shift = 3_600 if "-t" in arguments else 0
    assert [each.wall - shift for each in found] == [each.wall for each in frames(records)]
    assert [each.length for each in found] == [each.length for each in frames(records)]
    whole = [each.data for each in frames(records)]
    if "-s" in arguments:
        # 34 bytes of each segment are there.
        assert [each.data for each in found] == [
            data if len(data) <= 30 else data[:10] for data in whole
        ]
    else:
        assert [each.data for each in found] == whole
