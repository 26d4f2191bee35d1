"""A recording out of a capture: its links and frames, and what was passed over.

Invariant: nothing in a file raises but that it is no capture at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Literal, TypeAlias, assert_never

from hsms_engine.capture.conversations import Conversations, Heard, Over
from hsms_engine.capture.files import Captured, Damage, Read, read_packets
from hsms_engine.capture.layers import segment_of
from hsms_engine.recording import (
    EndRecord,
    FrameRecord,
    GoneRecord,
    LinkRecord,
    Record,
    head,
)
from hsms_engine.wire import DEFAULT_MAX_FRAME

__all__ = ["Note", "Role", "read_capture"]

Role: TypeAlias = Literal["active", "passive"]
"""The end whose recording it is: the one that has dialled, or the one that was dialled."""

_NANOSECONDS: Final = 1_000_000_000
_ID_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Note:
    """What was passed over, and how much of it. ``where`` is a connection, or empty."""

    what: str
    count: int
    where: str = ""

    def __str__(self) -> str:
        return f"{self.where}{': ' if self.where else ''}{self.what}: {self.count:,}"


def read_capture(
    read: Read,
    *,
    ports: Collection[int] = (),
    role: Role = "active",
    max_frame: int = DEFAULT_MAX_FRAME,
) -> Iterator[Record | Note]:
    """The links and frames of a capture as the records of a recording, and notes between them.

    ``read`` gives at most so many bytes of a file of pcap or pcapng, and none at its end. ``ports``
    are those of the passive ends: without any, HSMS is found by how it looks. The recording is that
    of the ends with this ``role``. ``max_frame`` is the longest frame, in bytes of header and body.

    The first record is that of the recording and the last one its end; without a frame there are
    only notes. Raises ``CaptureError`` when the file is no capture; then iterating raises nothing
    but what ``read`` does.
    """
    return _Reading(Conversations(ports, max_frame), role, bool(ports)).all(read_packets(read))


class _Reading:
    def __init__(self, conversations: Conversations, role: Role, are_ports_known: bool) -> None:
        self._conversations = conversations
        self._role: Role = role
        self._are_ports_known = are_ports_known
        self._counts: Counter[str] = Counter()
        self._links: dict[int, int] = {}
        # The time of the first packet, and of the latest; the id of the recording.
        self._first = self._last = 0
        self._id = ""

    def all(self, packets: Iterator[Captured | Damage]) -> Iterator[Record | Note]:
        for packet in packets:
            match packet:
                case Captured():
                    self._note_time(packet)
                    segment = segment_of(packet)
                    if isinstance(segment, str):
                        self._counts[segment] += 1
                    else:
                        yield from self._told(self._conversations.take(segment))
                case Damage(offset=offset, why=why):
                    yield Note(f"{why}; bytes before that place", offset)
                case _:
                    assert_never(packet)
        yield from self._told(self._conversations.end())
        for what, count in sorted(self._counts.items()):
            yield Note(what, count)
        if self._links:
            at, wall = self._times(self._last)
            for number, epoch in self._links.items():
                yield GoneRecord(at, wall, number, epoch)
            yield EndRecord(at, wall, "closed")

    def _note_time(self, packet: Captured) -> None:
        if not self._id:
            self._first = packet.at
            start = packet.at.to_bytes(16) + packet.data
            self._id = blake2b(start, digest_size=_ID_BYTES).hexdigest()
        self._last = packet.at

    def _times(self, at: int) -> tuple[float, float]:
        return (at - self._first) / _NANOSECONDS, at / _NANOSECONDS

    def _told(self, found: Iterator[Heard | Over]) -> Iterator[Record | Note]:
        for each in found:
            match each:
                case Heard():
                    yield from self._heard(each)
                case Over():
                    yield from self._over(each)
                case _:
                    assert_never(each)

    def _heard(self, heard: Heard) -> Iterator[Record]:
        pair, framed = heard.pair, heard.framed
        at, wall = self._times(framed.at)
        if not self._links:
            yield head(at, wall, self._id)
        if pair.number not in self._links:
            is_active = self._role == "active"
            peer = str(pair.passive) if is_active else str(heard.active)
            yield LinkRecord(at, wall, pair.number, heard.epoch, peer, peer, self._role, {}, {}, {})
        self._links[pair.number] = heard.epoch
        is_sent = heard.is_from_active == (self._role == "active")
        kept = framed.header + (framed.body or b"")
        yield FrameRecord(
            *(at, wall, pair.number, heard.epoch, is_sent, kept, framed.length),
            body="not kept" if framed.body is None else None,
        )

    def _over(self, over: Over) -> Iterator[Note]:
        if not over.frames and not self._are_ports_known:
            if over.passed_over:
                self._counts["TCP connections without HSMS"] += 1
            return
        where = f"{over.source} -> {over.target}"
        for why, count in sorted(over.passed_over.items()):
            yield Note(f"bytes {why}", count, where)
        if over.cut:
            yield Note("frames without their body", over.cut, where)
