"""Write a TCP conversation as a capture file, without a network.

Every segment becomes an Ethernet/IPv4/TCP packet with the sequence numbers of a real capture,
after a three-way handshake, so a protocol analyser reassembles the stream as it would a live one.
Checksums are zero, which analysers take as computed by the network card.
"""

import struct
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Literal

Direction = Literal["active", "passive"]
"""The sender of a segment: the end that connected, or the end that listens on `PASSIVE_PORT`."""

ACTIVE_PORT = 49_152
PASSIVE_PORT = 5_000

_ADDRESS = {"active": bytes([192, 0, 2, 1]), "passive": bytes([192, 0, 2, 2])}
_PORT = {"active": ACTIVE_PORT, "passive": PASSIVE_PORT}
_OTHER: dict[Direction, Direction] = {"active": "passive", "passive": "active"}
_SYN, _PSH, _ACK = 0x02, 0x08, 0x10
# The room in IPv4's 16-bit total length after the headers of IPv4 and TCP.
_MOST_PER_PACKET = 65_535 - 20 - 20


def write_pcap(path: Path, segments: Iterable[tuple[Direction, bytes]]) -> None:
    """Write one TCP connection that carries `segments`, each in a packet of its own.

    A segment too long for one packet takes as many as it needs.
    """
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0x40000, 1))
        for millisecond, packet in zip(count(), _packets(segments), strict=False):
            times = (millisecond // 1000, millisecond % 1000 * 1000)
            file.write(struct.pack("<IIII", *times, len(packet), len(packet)) + packet)


def _packets(segments: Iterable[tuple[Direction, bytes]]) -> Iterator[bytes]:
    following = {"active": 1, "passive": 1}
    yield _packet("active", 0, 0, _SYN, b"")
    yield _packet("passive", 0, 1, _SYN | _ACK, b"")
    yield _packet("active", 1, 1, _ACK, b"")
    for sender, segment in segments:
        for start in range(0, len(segment), _MOST_PER_PACKET):
            piece = segment[start : start + _MOST_PER_PACKET]
            acknowledged = following[_OTHER[sender]]
            yield _packet(sender, following[sender], acknowledged, _PSH | _ACK, piece)
            following[sender] += len(piece)


def _packet(sender: Direction, sequence: int, acknowledged: int, flags: int, data: bytes) -> bytes:
    receiver = _OTHER[sender]
    ethernet = bytes(12) + b"\x08\x00"
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 40 + len(data), 0, 0, 64, 6, 0)
    ports = struct.pack(">HH", _PORT[sender], _PORT[receiver])
    tcp = struct.pack(">IIBBHHH", sequence, acknowledged, 5 << 4, flags, 65_535, 0, 0)
    return ethernet + ip + _ADDRESS[sender] + _ADDRESS[receiver] + ports + tcp + data
