"""The frames in one direction of a connection, also where bytes of it are missing.

While the beginning of a frame is known, its length says where the next one begins, even if bytes of
its body are missing. Where that is lost, the next beginning is searched for, and only among the
first bytes of TCP segments. A frame is believed there if its header is one that E37 has, its body
is SECS-II, its session id is one that was seen before, and either it ends where its segment ends or
what follows it has such a header too.

Invariants:

* A frame comes out only with a header that was captured.
* A body is there as a whole or not at all.
* Memory is at most that of one frame and one segment.
"""

from __future__ import annotations

import struct
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from hsms_engine.capture.streams import OVERHEAD, Part
from hsms_engine.secs2 import DecodeError, decode_all
from hsms_engine.wire import HEADER_LENGTH, PREFIX_BYTES, SECS_II, SType

__all__ = [
    "AFTER_A_GAP",
    "BEFORE_THE_FIRST",
    "HEADER_LOST",
    "NO_HSMS",
    "UNFINISHED",
    "Framer",
    "Framed",
]

BEFORE_THE_FIRST: Final = "before the first frame that could be found"
AFTER_A_GAP: Final = "after missing bytes, before the next frame that could be found"
NO_HSMS: Final = "where a frame should begin, which are none of HSMS"
HEADER_LOST: Final = "of frames whose header is not there"
UNFINISHED: Final = "of a frame that does not end"

_PREFIX: Final = struct.Struct(">IHBBBBI")
_LENGTH_BYTES: Final = 4
_WITH_STATUS: Final = frozenset({SType.SELECT_RSP, SType.DESELECT_RSP, SType.REJECT_REQ})
_STYPES: Final = frozenset(SType)
_MOST_SESSIONS: Final = 64


@dataclass(frozen=True, slots=True)
class Framed:
    """A frame: its header and, if all of it was captured, its body.

    ``at`` is when its last byte came, in nanoseconds since 1970; ``length`` the bytes on the wire,
    length field included.
    """

    at: int
    header: bytes
    length: int
    body: bytes | None


class _Verdict(Enum):
    YES = "a frame begins here"
    NO = "no frame begins here"
    OPEN = "more bytes will tell"


class Framer:
    """The frames of one direction.

    ``is_start``: the first byte is the first one of the connection. ``is_hsms``: it is known to
    carry HSMS, so that a first frame of any header is one. ``passed_over`` counts the bytes that
    are in no frame, by what they are; ``frames`` counts what has come out, and ``cut`` those of
    them without their body.
    """

    def __init__(self, max_frame: int, *, is_start: bool, is_hsms: bool) -> None:
        self.passed_over: Counter[str] = Counter()
        self.frames = 0
        self.cut = 0
        self._max_frame = max_frame
        self._is_known = is_start
        self._is_hsms = is_hsms
        self._why = BEFORE_THE_FIRST
        self._sessions: set[int] = set()
        # Of the frame in progress: its first bytes, its body, how much of that is to come, and
        # whether some is missing. ``_skipped`` bytes belong to a frame without a header.
        self._head = bytearray()
        self._body = bytearray()
        self._to_come = 0
        self._is_cut = False
        self._skipped = 0
        # Where the beginning of a frame is searched for, from that of a segment on.
        self._searched: deque[Part] = deque()
        self._searched_bytes = 0

    @property
    def size(self) -> int:
        """The bytes of memory that are in use."""
        return len(self._body) + self._searched_bytes + OVERHEAD * len(self._searched)

    def take(self, part: Part) -> Iterator[Framed]:
        """The next piece of the stream, and the frames that it ends."""
        if part.data:
            if self._is_known:
                yield from self._read(part)
            else:
                yield from self._search(part)
        if part.is_break:
            yield from self.end()
            self._lose(AFTER_A_GAP)
        elif part.missing:
            self.passed_over[part.why] += part.missing
            if not self._is_known:
                yield from self._judge_all(is_end=True)
            if self._is_known:
                yield from self._miss(part)

    def end(self) -> Iterator[Framed]:
        """Nothing more comes."""
        if not self._is_known:
            yield from self._judge_all(is_end=True)
        self._pass_over(len(self._head) + len(self._body), UNFINISHED)
        self._forget()

    # While the beginning of a frame is known

    def _read(self, part: Part) -> Iterator[Framed]:
        data, at = part.data, 0
        while at < len(data):
            if self._skipped:
                count = min(self._skipped, len(data) - at)
                self._skipped -= count
                self._pass_over(count, HEADER_LOST)
            elif len(self._head) < PREFIX_BYTES:
                count = min(PREFIX_BYTES - len(self._head), len(data) - at)
                self._head += data[at : at + count]
                if not self._has_begun():
                    self._pass_over(len(self._head) + len(data) - at - count, NO_HSMS)
                    self._forget()
                    self._lose(self._why)
                    return
            else:
                count = min(self._to_come, len(data) - at)
                self._to_come -= count
                if not self._is_cut:
                    self._body += data[at : at + count]
            at += count
            if len(self._head) == PREFIX_BYTES and not self._to_come:
                yield self._framed(part.at)

    def _has_begun(self) -> bool:
        """Whether the first bytes of a frame, or those of them that are here, can be right."""
        if len(self._head) >= _LENGTH_BYTES and not self._is_length(self._length):
            return False
        if len(self._head) == PREFIX_BYTES:
            if not (self._is_hsms or self._is_plausible(self._head)):
                return False
            self._to_come = self._length - HEADER_LENGTH
        return True

    @property
    def _length(self) -> int:
        return int.from_bytes(self._head[:_LENGTH_BYTES])

    def _is_length(self, length: int) -> bool:
        return HEADER_LENGTH <= length <= self._max_frame

    def _framed(self, at: int) -> Framed:
        header, length = bytes(self._head[_LENGTH_BYTES:]), self._length + _LENGTH_BYTES
        body = None if self._is_cut else bytes(self._body)
        self._forget()
        self.frames += 1
        self.cut += body is None
        self._is_hsms, self._why = True, AFTER_A_GAP
        is_data = header[4] == SECS_II and header[5] == SType.DATA
        if is_data and len(self._sessions) < _MOST_SESSIONS:
            self._sessions.add(int.from_bytes(header[:2]))
        return Framed(at, header, length, body)

    def _miss(self, part: Part) -> Iterator[Framed]:
        """Bytes are missing: a known length says whether the next beginning is still known."""
        if self._skipped:
            more = self._skipped
        elif len(self._head) == PREFIX_BYTES:
            more = self._to_come
        elif len(self._head) >= _LENGTH_BYTES:
            more = self._length + _LENGTH_BYTES - len(self._head)
        else:
            more = 0
        if not self._skipped and len(self._head) == PREFIX_BYTES:
            self._body.clear()
            self._is_cut = True
            self._to_come -= min(part.missing, more)
            if not self._to_come:
                yield self._framed(part.at)
        else:
            self._pass_over(len(self._head), HEADER_LOST)
            self._forget()
            self._skipped = more - min(part.missing, more)
        if part.missing > more:
            self._lose(self._why)

    def _forget(self) -> None:
        """No frame is in progress."""
        self._head.clear()
        self._body = bytearray()
        self._to_come = self._skipped = 0
        self._is_cut = False

    def _lose(self, why: str) -> None:
        """The next beginning is not known."""
        self._is_known, self._why = False, why

    def _pass_over(self, count: int, why: str) -> None:
        if count:
            self.passed_over[why] += count

    # While it is searched for

    def _search(self, part: Part) -> Iterator[Framed]:
        if not self._searched and not part.begins:
            self._pass_over(len(part.data), self._why)
            return
        self._searched.append(part)
        self._searched_bytes += len(part.data)
        yield from self._judge_all(is_end=False)

    def _judge_all(self, *, is_end: bool) -> Iterator[Framed]:
        """Try one segment after the other as the beginning of a frame."""
        while self._searched:
            match self._judge():
                case _Verdict.OPEN if not is_end:
                    return
                case _Verdict.YES:
                    found, self._searched = self._searched, deque()
                    self._searched_bytes = 0
                    self._is_known = True
                    # Only in the last one may a second frame begin, and a bad length be.
                    for each in found:
                        yield from self._read(each)
                case _:
                    self._search_on()

    def _search_on(self) -> None:
        """Go to the beginning of the next segment."""
        is_first = True
        while self._searched and (is_first or not self._searched[0].begins):
            count = len(self._searched.popleft().data)
            self._searched_bytes -= count
            self._pass_over(count, self._why)
            is_first = False

    def _judge(self) -> _Verdict:
        """Whether the first byte that is searched begins a frame."""
        start = self._first(PREFIX_BYTES)
        if len(start) >= _LENGTH_BYTES and not self._is_length(int.from_bytes(start[:4])):
            return _Verdict.NO
        if len(start) < PREFIX_BYTES:
            return _Verdict.OPEN
        if not self._is_plausible(start):
            return _Verdict.NO
        end = _LENGTH_BYTES + int.from_bytes(start[:4])
        if self._searched_bytes < end:
            return _Verdict.OPEN
        data = self._first(end + PREFIX_BYTES)
        after = data[end:]
        if after and len(after) < PREFIX_BYTES:
            return _Verdict.OPEN
        if after and not (self._is_length(int.from_bytes(after[:4])) and self._is_plausible(after)):
            return _Verdict.NO
        return _Verdict.YES if _is_secs2(data[PREFIX_BYTES:end]) else _Verdict.NO

    def _first(self, count: int) -> bytes:
        """The first ``count`` bytes that are searched, or all."""
        pieces = []
        for each in self._searched:
            if count <= 0:
                break
            pieces.append(each.data[:count])
            count -= len(each.data)
        return b"".join(pieces)

    def _is_plausible(self, start: bytes | bytearray) -> bool:
        """Whether E37 has a header like this, and the connection has had its session id."""
        length, session, byte2, byte3, ptype, stype, _system = _PREFIX.unpack(start)
        if ptype != SECS_II or stype not in _STYPES:
            return False
        if stype == SType.DATA:
            # There is no stream 0.
            return bool(byte2 & 0x7F) and (not self._sessions or session in self._sessions)
        has_status = stype in _WITH_STATUS
        is_reject = stype == SType.REJECT_REQ
        return length == HEADER_LENGTH and (has_status or not byte3) and (is_reject or not byte2)


def _is_secs2(body: bytes) -> bool:
    if not body:
        return True
    try:
        decode_all(body)
    except DecodeError:
        return False
    return True
