"""TCP segments out of packets of every kind of link, and a word for all that is none."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsms_engine.capture import layers
from hsms_engine.capture.files import Captured
from hsms_engine.capture.layers import Segment, segment_of
from hsms_engine.capture.packets import ACK, PSH, Place, tcp_packet

ONE = Place(ip_address("192.0.2.1"), 49_152)
TWO = Place(ip_address("192.0.2.2"), 5_000)
ONE_6 = Place(ip_address("2001:db8::1"), 49_152)
TWO_6 = Place(ip_address("2001:db8::2"), 5_000)
PAYLOAD = b"\0\0\0\x0asome payload"
IPV4 = tcp_packet(ONE, TWO, 7, 8, PSH | ACK, PAYLOAD)
IPV6 = tcp_packet(ONE_6, TWO_6, 7, 8, PSH | ACK, PAYLOAD)
SEGMENT = Segment(5, ONE, TWO, 7, 8, PSH | ACK, PAYLOAD, len(PAYLOAD))
SEGMENT_6 = Segment(5, ONE_6, TWO_6, 7, 8, PSH | ACK, PAYLOAD, len(PAYLOAD))
ETHERNET = bytes(12)


def segment(link_type: int, data: bytes, length: int = 0) -> Segment | str:
    return segment_of(Captured(5, link_type, data, length or len(data)))


def with_header(kind: int, header: bytes) -> bytes:
    """IPv6 with one more header before that of TCP."""
    length = len(IPV6) - 40 + len(header)
    return IPV6[:4] + struct.pack(">HB", length, kind) + IPV6[7:40] + header + IPV6[40:]


@pytest.mark.parametrize(
    ("link_type", "before"),
    [
        (0, b"\x02\0\0\0"),
        (108, b"\0\0\0\x02"),
        (1, ETHERNET + b"\x08\0"),
        (1, ETHERNET + b"\x81\0\0\x05\x08\0"),
        (1, ETHERNET + b"\x88\xa8\0\x05\x81\0\0\x06\x08\0"),
        (1, ETHERNET + b"\x91\0\0\x05\x08\0"),
        (12, b""),
        (14, b""),
        (101, b""),
        (228, b""),
        (113, bytes(14) + b"\x08\0"),
        (113, bytes(14) + b"\x81\0\0\x05\x08\0"),
        (276, b"\x08\0" + bytes(18)),
    ],
)
def test_every_link_layer_is_read(link_type: int, before: bytes) -> None:
    assert segment(link_type, before + IPV4) == SEGMENT


@pytest.mark.parametrize(
    ("link_type", "before"),
    [
        (0, b"\x1e\0\0\0"),
        (1, ETHERNET + b"\x86\xdd"),
        (101, b""),
        (229, b""),
        (113, bytes(14) + b"\x86\xdd"),
    ],
)
def test_ipv6_is_read(link_type: int, before: bytes) -> None:
    assert segment(link_type, before + IPV6) == SEGMENT_6


@pytest.mark.parametrize(
    ("kind", "header"),
    [
        (0, b"\x06\x00" + bytes(6)),
        (43, b"\x06\x01" + bytes(14)),
        (60, b"\x06\x00" + bytes(6)),
        (51, b"\x06\x04" + bytes(22)),
        (0, b"\x3c\x00" + bytes(6) + b"\x06\x00" + bytes(6)),
    ],
)
def test_headers_of_ipv6_before_that_of_tcp_are_passed_over(kind: int, header: bytes) -> None:
    assert segment(101, with_header(kind, header)) == SEGMENT_6


def test_padding_after_the_packet_is_no_payload() -> None:
    assert segment(1, ETHERNET + b"\x08\0" + IPV4 + bytes(20)) == SEGMENT
    assert segment(1, ETHERNET + b"\x86\xdd" + IPV6 + bytes(20)) == SEGMENT_6


def test_a_packet_that_the_network_card_was_to_cut_has_no_length_of_its_own() -> None:
    assert segment(101, IPV4[:2] + b"\0\0" + IPV4[4:]) == SEGMENT
    assert segment(101, IPV6[:4] + b"\0\0" + IPV6[6:]) == SEGMENT_6


@pytest.mark.parametrize("packet", [IPV4, IPV6], ids=["IPv4", "IPv6"])
def test_of_a_packet_that_is_not_whole_the_payload_that_is_there_is_given(packet: bytes) -> None:
    headers = len(packet) - len(PAYLOAD)
    for kept in range(len(packet)):
        found = segment(101, packet[:kept], len(packet))
        if isinstance(found, str):
            # Up to the flags of TCP all is needed.
            assert found == layers.CUT
            assert kept < headers - 6
        else:
            assert found.payload == packet[headers:kept]
            assert found.length == len(PAYLOAD)


@pytest.mark.parametrize(
    ("link_type", "data", "what"),
    [
        (1, ETHERNET + b"\x08\x06" + bytes(28), layers.NO_IP),
        (113, bytes(14) + b"\x08\x06" + bytes(28), layers.NO_IP),
        (0, bytes(40), layers.NO_IP),
        (147, IPV4, "packets of link type 147, which is not known"),
        (101, IPV4[:9] + b"\x11" + IPV4[10:], layers.NO_TCP),
        (101, IPV6[:6] + b"\x11" + IPV6[7:], layers.NO_TCP),
        (101, IPV4[:6] + b"\x20\0" + IPV4[8:], layers.FRAGMENTS),
        (101, IPV4[:6] + b"\0\x07" + IPV4[8:], layers.FRAGMENTS),
        (101, with_header(44, b"\x06\0" + bytes(6)), layers.FRAGMENTS),
        (101, b"\x44" + IPV4[1:], layers.MALFORMED),
        (101, IPV4[:2] + b"\0\x10" + IPV4[4:], layers.MALFORMED),
        (101, IPV4[:32] + b"\x40" + IPV4[33:], layers.MALFORMED),
        (101, IPV4[:32] + b"\xf0" + IPV4[33:], layers.MALFORMED),
        (101, IPV4[:30], layers.MALFORMED),
        (101, IPV6[:30], layers.MALFORMED),
        (101, b"", layers.MALFORMED),
        (1, b"", layers.MALFORMED),
        (276, b"\x08", layers.MALFORMED),
    ],
)
def test_what_is_no_segment_is_named(link_type: int, data: bytes, what: str) -> None:
    assert segment(link_type, data) == what


@given(
    st.sampled_from([0, 1, 101, 113, 276]),
    st.one_of(st.binary(max_size=80), st.binary(max_size=40).map(lambda more: b"\x60" + more)),
    st.integers(0, 200),
)
def test_no_packet_raises(link_type: int, data: bytes, more: int) -> None:
    segment(link_type, data, len(data) + more)
