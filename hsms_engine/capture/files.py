"""Files of captured packets, pcap and pcapng, read one packet at a time.

Invariants:

* A file is read once, from its beginning to its end, so that it may be a pipe.
* Memory for a packet is used only up to ``MOST_PACKET`` bytes, whatever the file declares.
* A file that is cut, or damaged from some place on, gives the packets before that place.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

__all__ = ["MOST_PACKET", "CaptureError", "Captured", "Damage", "read_packets"]

MOST_PACKET: Final = 1 << 24
"""The most bytes that a packet of a file may have."""

Read: TypeAlias = Callable[[int], bytes]
"""Gives at most so many bytes of the file; none at its end."""

_PCAP: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_SECTION_MAGIC: Final = b"\x0a\x0d\x0d\x0a"
_ORDERS: Final = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_OLD_PACKET: Final = 2
_SIMPLE_PACKET: Final = 3
_PACKET: Final = 6
_END_OF_OPTIONS: Final = 0
_TIME_RESOLUTION: Final = 9
_TIME_OFFSET: Final = 14
# Of a block: its type, its length twice.
_AROUND: Final = 12
_CHUNK: Final = 1 << 16
_BILLION: Final = 1_000_000_000
# What other files begin with, for who gives the wrong one.
_OTHERS: Final = (
    (b"\x1f\x8b", "it is compressed: give it to standard input with zcat FILE | …"),
    (b"\x28\xb5\x2f\xfd", "it is compressed: give it to standard input with zstdcat FILE | …"),
    (b"{", "it is text, as a recording is: record to-pcap reads those"),
    (b"\x34\xcd\xb2\xa1", "it is of an old kind of pcap, which editcap -F pcapng changes"),
    (b"\xa1\xb2\xcd\x34", "it is of an old kind of pcap, which editcap -F pcapng changes"),
)


class CaptureError(ValueError):
    """A file is no capture that can be read. ``str`` says why, without the name of the file."""


@dataclass(frozen=True, slots=True)
class Captured:
    """A packet of a capture.

    ``at`` is in nanoseconds since 1970, UTC. ``length`` is what the packet had on the wire, in
    bytes; ``data`` may have less.
    """

    at: int
    link_type: int
    data: bytes
    length: int


@dataclass(frozen=True, slots=True)
class Damage:
    """From ``offset``, in bytes, on, the file cannot be read. It is the last that comes of it."""

    offset: int
    why: str


class _Stopped(Exception):  # noqa: N818 - it says that reading has stopped, and never leaves here
    """The file cannot be read on."""


@dataclass(slots=True)
class _Interface:
    """What pcapng says of an interface. ``unit`` is how many of its ticks a second has."""

    link_type: int
    snaplen: int
    unit: int = 1_000_000
    offset: int = 0

    def time(self, ticks: int) -> int:
        return (ticks * _BILLION) // self.unit + self.offset * _BILLION


@dataclass(slots=True)
class _Bytes:
    """The bytes of the file, counted."""

    read: Read
    offset: int = 0

    def some(self, count: int) -> bytes:
        """The next ``count`` bytes, or those that are there."""
        pieces = []
        while count:
            piece = self.read(min(count, _CHUNK))
            if not piece:
                break
            pieces.append(piece)
            count -= len(piece)
            self.offset += len(piece)
        return b"".join(pieces)

    def all(self, count: int, what: str) -> bytes:
        found = self.some(count)
        if len(found) < count:
            raise _Stopped(f"the file ends within {what}")
        return found

    def skip(self, count: int, what: str) -> None:
        while count:
            count -= len(self.all(min(count, _CHUNK), what))


def read_packets(read: Read) -> Iterator[Captured | Damage]:
    """The packets of a file; ``read`` gives at most so many of its bytes, and none at its end.

    Raises ``CaptureError`` before the first packet for a file that is no capture.
    """
    file = _Bytes(read)
    magic = file.some(4)
    if magic == _SECTION_MAGIC:
        return _stopping(file, _PcapNg(file).packets())
    if magic in _PCAP:
        return _stopping(file, _pcap(file, *_PCAP[magic]))
    if not magic:
        raise CaptureError("the file is empty")
    for start, why in _OTHERS:
        if magic.startswith(start):
            raise CaptureError(f"no capture: {why}")
    raise CaptureError(f"neither pcap nor pcapng: it begins with {magic!r}")


def _stopping(file: _Bytes, packets: Iterator[Captured]) -> Iterator[Captured | Damage]:
    try:
        yield from packets
    except _Stopped as stopped:
        yield Damage(file.offset, str(stopped))


def _pcap(file: _Bytes, order: str, nanoseconds: int) -> Iterator[Captured]:
    head = file.all(20, "the header of the file")
    version, _minor, _zone, _sigfigs, _snaplen, kind = struct.unpack(f"{order}HHiIII", head)
    if version != 2:
        raise _Stopped(f"the file is of version {version} of pcap, and 2 is known")
    # Above it are bits about the checksum of Ethernet, which follows a packet.
    link_type = kind & 0xFFFF
    layout = struct.Struct(f"{order}IIII")
    while head := file.some(layout.size):
        if len(head) < layout.size:
            raise _Stopped("the file ends within the header of a packet")
        seconds, fraction, kept, length = layout.unpack(head)
        _check(kept)
        data = file.all(kept, "a packet")
        at = seconds * _BILLION + fraction * nanoseconds
        yield Captured(at, link_type, data, max(length, kept))


def _check(kept: int) -> None:
    if kept > MOST_PACKET:
        raise _Stopped(f"a packet has {kept:,} bytes, and at most {MOST_PACKET:,} can be read")


@dataclass(slots=True)
class _PcapNg:
    """One pcapng file: sections, each with interfaces and an order of bytes of its own."""

    file: _Bytes
    order: str = "<"
    interfaces: list[_Interface] = field(default_factory=list)

    def packets(self) -> Iterator[Captured]:
        # The type of the first block is read already.
        self.section(self.file.all(4, "the first block"))
        while head := self.file.some(8):
            if len(head) < 8:
                raise _Stopped("the file ends within the header of a block")
            # The type of a section is the same in both orders.
            if head.startswith(_SECTION_MAGIC):
                self.section(head[4:])
                continue
            kind, length = struct.unpack(f"{self.order}II", head)
            if length < _AROUND or length % 4:
                raise _Stopped(f"a block has {length} bytes, and at least 12, in fours, is right")
            size = length - _AROUND
            if kind not in (_INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET):
                self.file.skip(size + 4, "a block")
                continue
            _check(size)
            body = self.file.all(size, "a block")
            self.file.all(4, "a block")
            try:
                captured = self.block(kind, body)
            except struct.error:
                raise _Stopped("a block is too short for what it is") from None
            if captured is not None:
                yield captured

    def section(self, length: bytes) -> None:
        """Begin a section, whose first block has this length, in its own order of bytes."""
        order = _ORDERS.get(self.file.all(4, "the header of a section"))
        if order is None:
            raise _Stopped("a section says no order of bytes that is known")
        self.order, self.interfaces = order, []
        [size] = struct.unpack(f"{order}I", length)
        version, _minor = struct.unpack(f"{order}HH", self.file.all(4, "the header of a section"))
        if version != 1:
            raise _Stopped(f"a section is of version {version} of pcapng, and 1 is known")
        # The type, the length, the order and the version are read.
        self.file.skip(max(size - 16, 0), "the header of a section")

    def block(self, kind: int, body: bytes) -> Captured | None:
        order = self.order
        if kind == _INTERFACE:
            link_type, _reserved, snaplen = struct.unpack_from(f"{order}HHI", body)
            self.interfaces.append(self.options(_Interface(link_type, snaplen), body[8:]))
            return None
        if kind == _SIMPLE_PACKET:
            [length] = struct.unpack_from(f"{order}I", body)
            interface = self.interface(0)
            kept = min(length, interface.snaplen or length, len(body) - 4)
            # Such a packet has no time.
            return Captured(0, interface.link_type, body[4 : 4 + kept], length)
        layout = f"{order}IIIII" if kind == _PACKET else f"{order}HxxIIII"
        number, high, low, kept, length = struct.unpack_from(layout, body)
        if kept > len(body) - 20:
            raise _Stopped(f"a packet of {kept:,} bytes is in a block of {len(body):,}")
        interface = self.interface(number)
        data = body[20 : 20 + kept]
        at = interface.time(high << 32 | low)
        return Captured(at, interface.link_type, data, max(length, kept))

    def interface(self, number: int) -> _Interface:
        if number < len(self.interfaces):
            return self.interfaces[number]
        raise _Stopped(f"a packet is of interface {number}, which is not described")

    def options(self, interface: _Interface, options: bytes) -> _Interface:
        at = 0
        while len(options) - at >= 4:
            code, length = struct.unpack_from(f"{self.order}HH", options, at)
            value = options[at + 4 : at + 4 + length]
            if code == _END_OF_OPTIONS:
                break
            if code == _TIME_RESOLUTION and len(value) == 1:
                power = value[0] & 0x7F
                interface.unit = (2 if value[0] & 0x80 else 10) ** power
            elif code == _TIME_OFFSET and len(value) == 8:
                [interface.offset] = struct.unpack(f"{self.order}q", value)
            at += 4 + length + -length % 4
        return interface
