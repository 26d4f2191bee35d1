"""IP packets that carry TCP segments, and the file of packets that pcap is.

A packet has no Ethernet around it (``LINKTYPE_RAW``), because a recording knows of none. Its
checksums are right. Times are in nanoseconds.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias

__all__ = [
    "ACK",
    "FIN",
    "MOST_PAYLOAD",
    "PCAP_HEADER",
    "PSH",
    "RST",
    "SYN",
    "Address",
    "Place",
    "captured",
    "tcp_packet",
]

Address: TypeAlias = IPv4Address | IPv6Address

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10

MOST_PAYLOAD: Final = 65_535 - 20 - 20
"""The room in IPv4's total length after the headers of IPv4 and TCP; in IPv6 there is more."""

_LINKTYPE_RAW: Final = 101
_SNAPLEN: Final = 1 << 18
PCAP_HEADER: Final = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, _SNAPLEN, _LINKTYPE_RAW)
"""What a file begins with: pcap 2.4, in nanoseconds, of IP packets."""

_RECORD: Final = struct.Struct("<IIII")
_IPV4: Final = struct.Struct(">BBHHHBBH4s4s")
_IPV6: Final = struct.Struct(">IHBB16s16s")
_TCP: Final = struct.Struct(">HHIIBBHHH")
_PROTOCOL: Final = 6
_TTL: Final = 64
_DONT_FRAGMENT: Final = 0x4000
_WINDOW: Final = 65_535
_BILLION: Final = 1_000_000_000
# The seconds are 32 bits without a sign.
_LAST: Final = (1 << 32) * _BILLION - 1


@dataclass(frozen=True, slots=True)
class Place:
    """One end of a TCP connection."""

    address: Address
    port: int

    def __str__(self) -> str:
        host = str(self.address)
        return f"[{host}]:{self.port}" if self.address.version == 6 else f"{host}:{self.port}"


def tcp_packet(
    source: Place, target: Place, sequence: int, acknowledged: int, flags: int, payload: bytes
) -> bytes:
    """An IP packet with one TCP segment. Both places are of one version of IP."""
    ends = source.address.packed + target.address.packed
    length = _TCP.size + len(payload)
    numbers = (source.port, target.port, sequence, acknowledged, _TCP.size // 4 << 4, flags)
    pseudo = ends + struct.pack(">II", length, _PROTOCOL)
    unsummed = _TCP.pack(*numbers, _WINDOW, 0, 0)
    checksum = _checksum(pseudo + unsummed + payload)
    segment = _TCP.pack(*numbers, _WINDOW, checksum, 0) + payload
    return _ip_header(source.address, target.address, length) + segment


def _ip_header(source: Address, target: Address, length: int) -> bytes:
    if source.version == 6:
        return _IPV6.pack(6 << 28, length, _PROTOCOL, _TTL, source.packed, target.packed)
    total = _IPV4.size + length
    before = (0x45, 0, total, 0, _DONT_FRAGMENT, _TTL, _PROTOCOL)
    checksum = _checksum(_IPV4.pack(*before, 0, source.packed, target.packed))
    return _IPV4.pack(*before, checksum, source.packed, target.packed)


def _checksum(data: bytes) -> int:
    """The Internet's checksum (RFC 1071): a sum in ones' complement is one modulo 65,535."""
    return 0xFFFF - int.from_bytes(data + bytes(len(data) % 2)) % 0xFFFF


def captured(at: int, packet: bytes, kept: int | None = None) -> bytes:
    """A packet as a file has it. ``at`` is in nanoseconds since 1970, UTC.

    Of the packet only the first ``kept`` bytes are there, as when less was captured than was sent.
    A time that the file cannot have becomes the nearest one.
    """
    part = packet[:kept]
    seconds, rest = divmod(min(max(at, 0), _LAST), _BILLION)
    return _RECORD.pack(seconds, rest, len(part), len(packet)) + part
