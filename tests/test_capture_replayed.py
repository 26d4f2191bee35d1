"""The packets that are made up around frames: what they say, and where their ends are."""

from __future__ import annotations

from io import BytesIO
from ipaddress import ip_address

import pytest

from hsms_engine.capture.files import Captured, read_packets
from hsms_engine.capture.layers import Segment, segment_of
from hsms_engine.capture.packets import ACK, FIN, PCAP_HEADER, PSH, RST, SYN, Place
from hsms_engine.capture.places import Places
from hsms_engine.capture.replayed import ReplayedConnection

OURS = Place(ip_address("192.0.2.1"), 49_152)
THEIRS = Place(ip_address("192.0.2.2"), 5_000)
TOP = 2**32 - 1
MIDDLE = 2**31 - 1


def segments(packets: bytes) -> list[Segment]:
    found = []
    for each in read_packets(BytesIO(PCAP_HEADER + packets).read):
        assert isinstance(each, Captured)
        segment = segment_of(each)
        assert isinstance(segment, Segment)
        found.append(segment)
    return found


def told(packets: bytes) -> list[tuple[bool, int, int, int, int]]:
    return [
        (each.source == OURS, each.sequence, each.acknowledged, each.flags, each.length)
        for each in segments(packets)
    ]


@pytest.mark.parametrize("is_active", [True, False])
def test_a_connection_is_opened_by_its_active_end(is_active: bool) -> None:
    one = ReplayedConnection(OURS, THEIRS, is_active=is_active, start=TOP)
    first, second = (TOP, MIDDLE) if is_active else (MIDDLE, TOP)
    assert told(one.open(7)) == [
        (is_active, first, 0, SYN, 0),
        (not is_active, second, (first + 1) % 2**32, SYN | ACK, 0),
        (is_active, (first + 1) % 2**32, (second + 1) % 2**32, ACK, 0),
    ]


def test_a_long_frame_is_in_several_segments_each_of_them_acknowledged() -> None:
    one = ReplayedConnection(OURS, THEIRS, is_active=True, start=TOP)
    one.open(0)
    data = bytes(range(256)) * 600
    packets = b"".join(one.send(7, data, len(data), is_ours=True))
    assert told(packets) == [
        (True, 0, MIDDLE + 1, PSH | ACK, 65_495),
        (False, MIDDLE + 1, 65_495, ACK, 0),
        (True, 65_495, MIDDLE + 1, PSH | ACK, 65_495),
        (False, MIDDLE + 1, 130_990, ACK, 0),
        (True, 130_990, MIDDLE + 1, PSH | ACK, 22_610),
        (False, MIDDLE + 1, 153_600, ACK, 0),
    ]
    assert b"".join(each.payload for each in segments(packets)) == data
    assert {each.at for each in segments(packets)} == {7}


def test_bytes_that_nobody_knows_are_packets_that_were_not_kept() -> None:
    one = ReplayedConnection(OURS, THEIRS, is_active=True, start=0)
    found = segments(b"".join(one.send(7, b"header", 70_000, is_ours=False)))
    assert [(each.payload, each.length) for each in found if each.length] == [
        (b"header", 65_495),
        (b"", 4_505),
    ]


def test_a_connection_is_closed_or_reset() -> None:
    one = ReplayedConnection(OURS, THEIRS, is_active=True, start=0)
    assert told(one.close(7, is_reset=True)) == [(True, 0, 2**31, RST | ACK, 0)]
    assert told(one.close(7, is_reset=False)) == [
        (True, 0, 2**31, FIN | ACK, 0),
        (False, 2**31, 1, FIN | ACK, 0),
        (True, 1, 2**31 + 1, ACK, 0),
    ]


@pytest.mark.parametrize(
    ("local", "remote", "ours", "theirs"),
    [
        ("", "10.1.2.3:5001", "192.0.2.1:49152", "10.1.2.3:5001"),
        ("10.1.2.9:6000", "10.1.2.3:5001", "10.1.2.9:6000", "10.1.2.3:5001"),
        ("", "[fe80::1%eth0]:5001", "[2001:db8::1]:49152", "[fe80::1]:5001"),
        ("10.1.2.9:6000", "[fe80::1]:5001", "[2001:db8::1]:6000", "[fe80::1]:5001"),
        ("", "[::ffff:10.1.2.3]:5001", "192.0.2.1:49152", "10.1.2.3:5001"),
        ("", "fe80::1", "[2001:db8::1]:49152", "[fe80::1]:5000"),
        ("", "10.1.2.3", "192.0.2.1:49152", "10.1.2.3:5000"),
        ("", "etcher-1.fab:5001", "192.0.2.1:49152", "192.0.2.2:5001"),
        ("", "/run/tool", "192.0.2.1:49152", "192.0.2.2:5000"),
        ("", "", "192.0.2.1:49152", "192.0.2.2:5000"),
        ("", "tool:65536", "192.0.2.1:49152", "192.0.2.2:5000"),
        ("", "tool:" + "9" * 5_000, "192.0.2.1:49152", "192.0.2.2:5000"),
        ("", "tool:²", "192.0.2.1:49152", "192.0.2.2:5000"),
    ],
)
def test_what_is_known_of_the_ends_is_used(local: str, remote: str, ours: str, theirs: str) -> None:
    assert [*map(str, Places().ends(local, remote, is_active=True))] == [ours, theirs]


def test_the_passive_end_has_the_port_of_hsms() -> None:
    assert [*map(str, Places().ends("", "tool", is_active=False))] == [
        "192.0.2.1:5000",
        "192.0.2.2:49152",
    ]


def test_names_keep_their_addresses_and_connections_have_ports_of_their_own() -> None:
    places = Places()
    found = [[*map(str, places.ends("", f"tool-{each}", is_active=True))] for each in (0, 1, 0, 2)]
    assert found == [
        ["192.0.2.1:49152", "192.0.2.2:5000"],
        ["192.0.2.1:49153", "192.0.2.3:5000"],
        ["192.0.2.1:49154", "192.0.2.2:5000"],
        ["192.0.2.1:49155", "192.0.2.4:5000"],
    ]
    last = [str(places.ends("", f"more-{each}", is_active=True)[1].address) for each in range(760)]
    assert last[249:251] == ["192.0.2.254", "198.51.100.1"]
    assert last[-1] == "192.0.2.5"
