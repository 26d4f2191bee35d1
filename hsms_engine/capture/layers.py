"""From a captured packet to the TCP segment in it: link layers, VLAN tags, IPv4, IPv6, TCP.

What is no TCP segment is a word that says what it is, to be counted. Nothing in a packet raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from hsms_engine.capture.files import Captured
from hsms_engine.capture.packets import Address, Place

__all__ = ["Segment", "segment_of"]

_NULL: Final = (0, 108)
_ETHERNET: Final = 1
_RAW: Final = (101, 12, 14, 228, 229)
_COOKED: Final = 113
_COOKED_2: Final = 276
_IPV4_TYPE: Final = 0x0800
_IPV6_TYPE: Final = 0x86DD
_VLAN_TYPES: Final = frozenset({0x8100, 0x88A8, 0x9100})
_TCP: Final = 6
# Headers of IPv6 that may stand before that of TCP.
_OPTIONS: Final = frozenset({0, 43, 60})
_FRAGMENT: Final = 44
_AUTHENTICATION: Final = 51

CUT: Final = "packets cut within their headers"
FRAGMENTS: Final = "fragments of IP packets, which are not put together"
NO_IP: Final = "packets without IP"
NO_TCP: Final = "IP packets without TCP"
MALFORMED: Final = "malformed packets"


@dataclass(frozen=True, slots=True)
class Segment:
    """A TCP segment.

    ``at`` is in nanoseconds since 1970. Of the ``length`` bytes that it had, ``payload`` has those
    that were captured, from the first on.
    """

    at: int
    source: Place
    target: Place
    sequence: int
    acknowledged: int
    flags: int
    payload: bytes
    length: int


class _NoSegment(Exception):  # noqa: N818 - it never leaves this module
    """A packet has no TCP segment; ``str`` is the word for it."""


def segment_of(packet: Captured) -> Segment | str:
    """The TCP segment in a packet, or what the packet is in its place."""
    try:
        start = _ip_start(packet)
        data = packet.data
        if start >= len(data):
            raise _NoSegment(CUT if packet.length > len(data) else MALFORMED)
        # What was on the wire from the IP header on.
        room = packet.length - start
        match data[start] >> 4:
            case 4:
                return _ipv4(packet.at, data, start, room)
            case 6:
                return _ipv6(packet.at, data, start, room)
            case _:
                raise _NoSegment(NO_IP)
    except _NoSegment as what:
        return str(what)
    except IndexError:
        return CUT if packet.length > len(packet.data) else MALFORMED


def _ip_start(packet: Captured) -> int:
    """Where the IP header begins. Raises ``IndexError`` when the packet ends before."""
    data, kind = packet.data, packet.link_type
    if kind in _RAW:
        return 0
    if kind in _NULL:
        # The family before it has a number of its own on each system: the version of IP decides.
        return 4
    if kind == _ETHERNET:
        at = 12
    elif kind == _COOKED:
        at = 14
    elif kind == _COOKED_2:
        at = 0
    else:
        raise _NoSegment(f"packets of link type {kind}, which is not known")
    ethertype = _u16(data, at)
    at = 20 if kind == _COOKED_2 else at + 2
    while ethertype in _VLAN_TYPES:
        ethertype = _u16(data, at + 2)
        at += 4
    if ethertype not in (_IPV4_TYPE, _IPV6_TYPE):
        raise _NoSegment(NO_IP)
    return at


def _ipv4(at: int, data: bytes, start: int, room: int) -> Segment:
    header = (data[start] & 0x0F) * 4
    total = _u16(data, start + 2)
    fragment = _u16(data, start + 6) & 0x3FFF
    protocol = data[start + 9]
    # Its own length is 0 where the network card was to cut it into packets.
    end = start + min(total or room, room)
    if header < 20 or end < start + header:
        raise _NoSegment(MALFORMED)
    if protocol != _TCP:
        raise _NoSegment(NO_TCP)
    if fragment:
        raise _NoSegment(FRAGMENTS)
    source = IPv4Address(_bytes(data, start + 12, 4))
    target = IPv4Address(_bytes(data, start + 16, 4))
    return _tcp(at, source, target, data, start + header, end)


def _ipv6(at: int, data: bytes, start: int, room: int) -> Segment:
    length = _u16(data, start + 4)
    following = data[start + 6]
    source = IPv6Address(_bytes(data, start + 8, 16))
    target = IPv6Address(_bytes(data, start + 24, 16))
    end = start + min(length + 40 if length else room, room)
    place = start + 40
    while following in _OPTIONS or following == _AUTHENTICATION:
        units = data[place + 1]
        size = (units + 2) * 4 if following == _AUTHENTICATION else (units + 1) * 8
        following = data[place]
        place += size
    if following == _FRAGMENT:
        raise _NoSegment(FRAGMENTS)
    if following != _TCP:
        raise _NoSegment(NO_TCP)
    return _tcp(at, source, target, data, place, end)


def _tcp(at: int, source: Address, target: Address, data: bytes, start: int, end: int) -> Segment:
    """``end`` is where the segment ends on the wire, which may be after the end of ``data``."""
    payload = start + (data[start + 12] >> 4) * 4
    flags = data[start + 13]
    if payload < start + 20 or payload > end:
        raise _NoSegment(MALFORMED)
    return Segment(
        at=at,
        source=Place(source, _u16(data, start)),
        target=Place(target, _u16(data, start + 2)),
        sequence=_u32(data, start + 4),
        acknowledged=_u32(data, start + 8),
        flags=flags,
        payload=data[payload : min(end, len(data))],
        length=end - payload,
    )


def _u16(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]


def _u32(data: bytes, at: int) -> int:
    return _u16(data, at) << 16 | _u16(data, at + 2)


def _bytes(data: bytes, at: int, count: int) -> bytes:
    # A slice does not raise when there is less.
    data[at + count - 1]
    return data[at : at + count]
