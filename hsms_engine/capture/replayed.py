"""A TCP connection as packets, made up around what went over it.

A recording has the frames of a connection and when they went; segments, acknowledgements, and how
it was opened and closed follow from that. Each frame is in segments of its own, as long as
possible, and each segment is acknowledged at once, so that no window is ever full.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hsms_engine.capture.packets import (
    ACK,
    FIN,
    MOST_PAYLOAD,
    PSH,
    RST,
    SYN,
    Place,
    captured,
    tcp_packet,
)

__all__ = ["ReplayedConnection"]

_NUMBERS: Final = 1 << 32


@dataclass(slots=True)
class _End:
    place: Place
    # The number of the next byte that it sends.
    sequence: int


class ReplayedConnection:
    """One connection. ``is_active``: our end has opened it. ``start`` is any sequence number.

    All times are in nanoseconds since 1970, UTC; what is returned are packets as pcap has them.
    """

    def __init__(self, ours: Place, theirs: Place, *, is_active: bool, start: int) -> None:
        self._ours = _End(ours, start % _NUMBERS)
        self._theirs = _End(theirs, (start + _NUMBERS // 2) % _NUMBERS)
        self._is_active = is_active

    def open(self, at: int) -> bytes:
        """The three packets that open it."""
        one, other = (self._ours, self._theirs) if self._is_active else (self._theirs, self._ours)
        syn = tcp_packet(one.place, other.place, one.sequence, 0, SYN, b"")
        one.sequence = (one.sequence + 1) % _NUMBERS
        answer = self._packet(other, SYN | ACK)
        other.sequence = (other.sequence + 1) % _NUMBERS
        return b"".join(captured(at, each) for each in (syn, answer, self._packet(one, ACK)))

    def send(self, at: int, data: bytes, length: int, *, is_ours: bool) -> Iterator[bytes]:
        """``length`` bytes from one end to the other.

        Only ``data``, the first of them, are known: the packets of the others are as long as they
        were, and were not kept as a whole, as pcap can say.
        """
        source, target = (self._ours, self._theirs) if is_ours else (self._theirs, self._ours)
        for start in range(0, length, MOST_PAYLOAD):
            size = min(MOST_PAYLOAD, length - start)
            payload = data[start : start + size]
            packet = self._packet(source, PSH | ACK, payload.ljust(size, b"\0"))
            kept = len(packet) - size + len(payload)
            source.sequence = (source.sequence + size) % _NUMBERS
            yield captured(at, packet, kept) + captured(at, self._packet(target, ACK))

    def close(self, at: int, *, is_reset: bool) -> bytes:
        """The packets that close it, or the one that resets it."""
        if is_reset:
            return captured(at, self._packet(self._ours, RST | ACK))
        packets = [self._packet(self._ours, FIN | ACK)]
        self._ours.sequence = (self._ours.sequence + 1) % _NUMBERS
        packets.append(self._packet(self._theirs, FIN | ACK))
        self._theirs.sequence = (self._theirs.sequence + 1) % _NUMBERS
        packets.append(self._packet(self._ours, ACK))
        return b"".join(captured(at, each) for each in packets)

    def _packet(self, source: _End, flags: int, payload: bytes = b"") -> bytes:
        target = self._theirs if source is self._ours else self._ours
        return tcp_packet(
            source.place, target.place, source.sequence, target.sequence, flags, payload
        )
