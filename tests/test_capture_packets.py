"""Packets as bytes: their checksums, their times, and what of them is kept."""

from __future__ import annotations

import struct
from io import BytesIO
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsms_engine.capture.files import Captured, read_packets
from hsms_engine.capture.layers import Segment, segment_of
from hsms_engine.capture.packets import PCAP_HEADER, Place, captured, tcp_packet

PAIRS = [("192.0.2.1", "198.51.100.7"), ("2001:db8::1", "fe80::2")]


def ones_complement_sum(data: bytes) -> int:
    """What a receiver computes: 0xFFFF when the checksum in the data is right."""
    total: int = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(
    st.sampled_from(PAIRS),
    st.integers(0, 65_535),
    st.integers(0, 2**32 - 1),
    st.integers(0, 255),
    st.binary(max_size=300),
)
def test_a_packet_is_read_as_what_was_written_and_its_checksums_are_right(
    pair: tuple[str, str], port: int, sequence: int, flags: int, payload: bytes
) -> None:
    source, target = Place(ip_address(pair[0]), port), Place(ip_address(pair[1]), 5_000)
    packet = tcp_packet(source, target, sequence, 7, flags, payload)
    file = PCAP_HEADER + captured(1_700_000_000_123_456_789, packet)
    [found] = read_packets(BytesIO(file).read)
    assert isinstance(found, Captured)
    assert segment_of(found) == Segment(
        1_700_000_000_123_456_789, source, target, sequence, 7, flags, payload, len(payload)
    )
    header = 20 if source.address.version == 4 else 40
    ends = source.address.packed + target.address.packed
    segment = packet[header:]
    assert ones_complement_sum(ends + struct.pack(">II", len(segment), 6) + segment) == 0xFFFF
    if header == 20:
        assert ones_complement_sum(packet[:20]) == 0xFFFF


@pytest.mark.parametrize(
    ("at", "seconds", "rest"),
    [(-1, 0, 0), (5_000_000_007, 5, 7), (2**32 * 10**9, 2**32 - 1, 999_999_999)],
)
def test_a_time_that_a_file_cannot_have_becomes_the_nearest(
    at: int, seconds: int, rest: int
) -> None:
    assert captured(at, b"packet", 2) == struct.pack("<IIII", seconds, rest, 2, 6) + b"pa"


def test_a_place_is_written_as_others_are() -> None:
    assert str(Place(ip_address("192.0.2.1"), 5_000)) == "192.0.2.1:5000"
    assert str(Place(ip_address("2001:db8::1"), 5_000)) == "[2001:db8::1]:5000"
