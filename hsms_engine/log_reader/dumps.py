"""Hexadecimal dumps: the bytes of a line, the lines of a dump, and the frames in its bytes.

Invariant: a dump grows by one row at a time, and only rows like its first one are its own: with an
offset that goes on, or without any and none longer than the one before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from hsms_engine.log_reader.entries import LoggedControl, LoggedMessage, LogTime
from hsms_engine.log_reader.facts import Facts
from hsms_engine.log_reader.headers import Header
from hsms_engine.log_reader.stamps import Stamp
from hsms_engine.message import Message
from hsms_engine.protocol.traffic import frame_name
from hsms_engine.secs2 import DecodeError, decode
from hsms_engine.wire import HEADER_LENGTH, PREFIX_BYTES, SECS_II, Frame, SType, frame_of

__all__ = ["Dump", "Row", "first_row", "frames_of", "is_item"]

# Up to so many bytes, rows that each have a time are asked whether they are complete.
_SMALL: Final = 4_096

_OFFSET: Final = re.compile(
    r"[\s#|*]*+(?:0[xX])?([0-9A-Fa-f]{4,16})(?:[hH]?:|[hH]?\s*\||[hH]?(?=[ \t]{2}|\t)"
    r"|(?<=[0-9A-Fa-f]{6})(?=[ ][0-9A-Fa-f]{2}(?:[ ]|$)))\s*"
)
_PAIR: Final = "(?:0[xX])?[0-9A-Fa-f]{2}"
_BYTES: Final = rf"(?:{_PAIR}[hH]?(?:[ \t,:;-]{{1,3}}(?={_PAIR})|(?![\w])))"
# Eight bytes or more in the midst of a line, or ten without blanks: a header is that long.
_RUN: Final = re.compile(
    rf"(?<![\w.:-])(?:{_BYTES}{{8,}}+"
    r"|(?:(?:[0-9A-Fa-f]{4}){1,4}[ ]){3,}+(?:[0-9A-Fa-f]{2})*+"
    r"|(?:0[xX])?(?:[0-9A-Fa-f]{2}){10,}+(?!\w))"
)
# The first offset of a dump, which may be behind other things.
_ZERO: Final = re.compile(r"(?<![\w.:])(?:0[xX])?0{4,16}(?![0-9A-Za-z])")
_WINDOW: Final = 300
_SIGNS: Final = re.compile(r"0[xX]|[hH]?[\s,:;-]+|[hH]$")
_ONLY_HEX: Final = re.compile(r"[0-9A-Fa-f ]+")
_GAP: Final = re.compile(r"\s{2,}|\t")
_WIDE: Final = 3
_HALF_ROW: Final = 8
# The most bytes of a row that can stand before its text.
_WIDEST: Final = 64
_STYPES: Final = frozenset(map(int, SType))
# The numbers of the columns, as some dumps have them above.
_RULER: Final = bytes(range(16))

_ETHERNET: Final = 14
_IPV4: Final = b"\x08\x00"
_TCP: Final = 6
_LEAST_IP: Final = 20


class Row(NamedTuple):
    """The bytes of one line, at their offset in the dump if the line has it."""

    offset: int | None
    data: bytes
    start: int
    end: int


def first_row(text: str, start: int) -> Row | None:
    """The row with which a dump begins in ``text[start:]``."""
    zero = _ZERO.search(text, start, start + _WINDOW)
    if zero is not None and (row := _row_with_offset(text, zero.start())) is not None:
        return row
    match = _RUN.search(text, start)
    if match is None:
        return None
    data = _bytes(match[0])
    if data is None or _RULER.startswith(data):
        return None
    return Row(None, data, match.start(), match.end())


@dataclass(slots=True)
class Dump:
    """A dump whose end is not read yet."""

    header: Header | None
    line: int
    column: int
    time: LogTime | None
    facts: Facts
    text: str
    # What stands between the time of its line and its first row.
    middle: str
    rows: list[Row]
    size: int = 0

    def take(self, text: str, stamp: Stamp | None) -> bool:
        """Take a line when it is the next row."""
        behind = 0 if stamp is None else stamp.end
        is_alike = text.startswith(self.middle, behind)
        if is_alike:
            behind += len(self.middle)
        first, last = self.rows[0], self.rows[-1]
        has_offset = first.offset is not None
        row = _next_row(text, behind, has_offset)
        if row is None or (has_offset and not row.offset):
            return False
        is_next = has_offset or (
            len(last.data) == len(first.data) >= len(row.data)
            and (
                stamp is None
                or (is_alike and (self.size > _SMALL or frames_of(self.data()) is None))
            )
        )
        if is_next:
            self.rows.append(row)
            self.size += len(row.data)
        return is_next

    def data(self) -> bytes:
        """The bytes. A row ends where the next begins, whatever its column of text looks like."""
        pieces: list[bytes] = []
        for row, after in zip(self.rows, [*self.rows[1:], None], strict=True):
            width = len(row.data)
            if after is not None and row.offset is not None and after.offset is not None:
                distance = after.offset - row.offset
                width = distance if 0 < distance < width else width
            pieces.append(row.data[:width])
        return b"".join(pieces)

    def is_under_its_header(self, frame: Frame) -> bool:
        """Whether a frame in it is the message that the header above names."""
        return (
            self.header is not None
            and frame.stype == SType.DATA
            and self.header.names(frame.stream, frame.function)
        )

    def entry(self, frame: Frame, text_encoding: str | None) -> LoggedMessage | LoggedControl:
        """The message that a frame in it is."""
        header, direction = self.header, self.facts.direction
        line = self.line
        if header is not None and self.is_under_its_header(frame):
            line = header.line
        session, system = frame.session_id, frame.system_bytes
        if frame.stype != SType.DATA:
            return LoggedControl(self.time, direction, frame_name(frame), session, system, line)
        message = Message.received(
            frame.stream, frame.function, frame.wait, frame.body, session, system, text_encoding
        )
        return LoggedMessage(self.time, direction, message, line)


def is_item(data: bytes) -> bool:
    """Whether bytes are those of one item: the body of a message."""
    try:
        decode(data)
    except DecodeError:
        return False
    return True


def _next_row(text: str, start: int, has_offset: bool) -> Row | None:
    if has_offset:
        return _row_with_offset(text, start)
    row = text[start:].strip(" \t#|")
    data = _columns(row) if row else None
    return None if data is None else Row(None, data, start, len(text))


def _row_with_offset(text: str, start: int) -> Row | None:
    match = _OFFSET.match(text, start)
    if match is None:
        return None
    data = _columns(text[match.end() :].rstrip())
    return None if data is None else Row(int(match[1], 16), data, match.start(1), len(text))


def _columns(text: str) -> bytes | None:
    """The bytes of a row before its column of text; None when it has none."""
    text = text.partition("|")[0].rstrip()
    data, at = b"", 0
    while at < len(text):
        gap = _GAP.search(text, at)
        chunk = text[at : gap.start() if gap else len(text)]
        more = _bytes(chunk)
        if more is None or len(data) + len(more) > _WIDEST:
            break
        data += more
        if gap is None or (data and gap.end() - gap.start() >= _WIDE):
            break
        if len(data) != _HALF_ROW:
            break
        at = gap.end()
    return data or None


def _bytes(text: str) -> bytes | None:
    if not _ONLY_HEX.fullmatch(text):
        text = _SIGNS.sub(" ", text)
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None


class Found(NamedTuple):
    """The frames of a dump, and what is behind the last one."""

    frames: list[Frame]
    rest: bytes


def frames_of(data: bytes) -> Found | None:
    """The frames in the bytes of a dump, with their lengths or one without; None for no frame.

    Bytes that a network monitor has taken are those behind its headers of IPv4 and TCP.
    """
    found = _with_lengths(data) or _alone(data)
    if found is None:
        payload = _payload(data)
        if payload is not None:
            found = _with_lengths(payload) if payload else Found([], b"")
    return found


def _with_lengths(data: bytes) -> Found | None:
    frames: list[Frame] = []
    at = 0
    while len(data) - at >= PREFIX_BYTES:
        length = int.from_bytes(data[at : at + 4])
        stop = at + 4 + length
        frame = _frame(data[at + 4 : stop])
        if length < HEADER_LENGTH or stop > len(data) or frame is None:
            break
        frames.append(frame)
        at = stop
    return Found(frames, data[at:]) if frames else None


def _alone(data: bytes) -> Found | None:
    frame = _frame(data) if len(data) >= HEADER_LENGTH else None
    if frame is None or frame.session_id == frame.system_bytes == frame.byte2 == 0:
        return None
    if frame.body and not is_item(frame.body):
        return None
    return Found([frame], b"")


def _frame(data: bytes) -> Frame | None:
    """The frame with these bytes of header and body, if it can be one of HSMS."""
    if len(data) < HEADER_LENGTH or data[4] != SECS_II or data[5] not in _STYPES:
        return None
    if data[5] != SType.DATA and len(data) > HEADER_LENGTH:
        return None
    return frame_of(data)


def _payload(data: bytes) -> bytes | None:
    for packet in _packets(data):
        size = (packet[0] & 0xF) * 4
        total = int.from_bytes(packet[2:4])
        segment = packet[size:total]
        if packet[0] >> 4 == len(_IPV4) * 2 and packet[9] == _TCP and len(segment) >= _LEAST_IP:
            return segment[(segment[12] >> 4) * 4 :]
    return None


def _packets(data: bytes) -> Iterator[bytes]:
    """The packet of IP that a dump may be, with and without the header of Ethernet."""
    if data[12:_ETHERNET] == _IPV4 and len(data) >= _ETHERNET + _LEAST_IP:
        yield data[_ETHERNET:]
    if len(data) >= _LEAST_IP:
        yield data
