"""HSMS frames as bytes: encode one, decode a stream of them.

A frame is a four-byte big-endian length, a ten-byte header and a body; the length counts header
and body, not itself. This module knows only the shape of a frame. When a frame is allowed, and what
answers it, is decided by the modules above. So any header can be represented, also one with an
SType or a PType that E37 does not define.

Invariants:

- However a byte stream is cut into chunks, it decodes to the same frames.
- A length is checked as soon as its four bytes are known, before memory is used for the frame.
- The decoder holds only the received bytes of the one frame in progress. It never allocates memory
  for a length alone: a peer must send the bytes that fill our memory.
- Each byte of a frame is copied a fixed number of times, however small the chunks are: those of a
  body into one buffer, which is the body when it is complete. Most of a long one can be put there
  by who receives it (`space`), without any copy here.
"""

import struct
from collections.abc import Sequence
from enum import IntEnum
from io import BytesIO
from typing import NamedTuple, Self

HEADER_LENGTH = 10
"""The smallest length a frame can declare: a header and no body."""

DEFAULT_MAX_FRAME = 17_000_000
"""Bytes of header and body a decoder takes unless told otherwise.

The longest item of SEMI E5 (16,777,215 bytes) fits, also in a list with a few others.
"""

CONTROL_SESSION_ID = 0xFFFF
"""The session id of every HSMS-SS control message, and of Linktest in HSMS-GS."""

SECS_II = 0
"""The only PType that E37 defines: the body, if any, is SECS-II."""

_LENGTH_BYTES = 4
_PREFIX = struct.Struct(">IHBBBBI")
_HEADER = struct.Struct(">HBBBBI")
PREFIX_BYTES = _LENGTH_BYTES + HEADER_LENGTH
"""Bytes of a frame before its body."""
WAIT = 0x80
"""The W-bit in header byte 2 of a data message."""
_MAX_STREAM = 0x7F
_MAX_LENGTH = 0xFFFF_FFFF
_SHOWN_BYTES = 16
# Bytes that are kept of a body that is dropped.
_KEPT_BODY = 18
# So many bytes of one body are better received by themselves than with what comes next.
_MUCH = 32_768


class SType(IntEnum):
    """Session type, header byte 5: the kind of message. 8 and 10..255 are undefined."""

    DATA = 0
    SELECT_REQ = 1
    SELECT_RSP = 2
    DESELECT_REQ = 3
    DESELECT_RSP = 4
    LINKTEST_REQ = 5
    LINKTEST_RSP = 6
    REJECT_REQ = 7
    SEPARATE_REQ = 9


class SelectStatus(IntEnum):
    """Header byte 3 of Select.rsp. 4, 5 and 6 occur in HSMS-GS only."""

    ESTABLISHED = 0
    ALREADY_ACTIVE = 1
    NOT_READY = 2
    EXHAUSTED = 3
    NO_SUCH_ENTITY = 4
    ENTITY_IN_USE = 5
    ENTITY_ALREADY_ACTIVE = 6


class DeselectStatus(IntEnum):
    """Header byte 3 of Deselect.rsp."""

    ENDED = 0
    NOT_ESTABLISHED = 1
    BUSY = 2


class RejectReason(IntEnum):
    """Header byte 3 of Reject.req."""

    STYPE_NOT_SUPPORTED = 1
    PTYPE_NOT_SUPPORTED = 2
    TRANSACTION_NOT_OPEN = 3
    ENTITY_NOT_SELECTED = 4


# A plain int, because it packs twice as fast as the IntEnum member.
_DATA = int(SType.DATA)


class Frame(NamedTuple):
    """One HSMS message: the fields of its header in wire order, then its body.

    All fields but the body are plain ints, because a peer may send any value. `byte2` and `byte3`
    are the header bytes of those names: stream with W-bit and function of a data message, the
    status of a response, the rejected type and the reason of a Reject.req.
    """

    session_id: int
    byte2: int
    byte3: int
    ptype: int
    stype: int
    system_bytes: int
    body: bytes

    @property
    def stream(self) -> int:
        """The stream of a data message, 0..127."""
        return self.byte2 & _MAX_STREAM

    @property
    def function(self) -> int:
        """The function of a data message, 0..255: odd in a primary, even in a secondary."""
        return self.byte3

    @property
    def wait(self) -> bool:
        """The W-bit of a data message: the sender wants a reply."""
        return self.byte2 >= WAIT

    @property
    def is_data(self) -> bool:
        """Whether it is a data message: all others are control messages, or unknown ones."""
        return self.stype == _DATA and self.ptype == SECS_II


# How a handshake of TLS begins.
_TLS = b"\x16\x03"
# Text read as a length, and TLS too, is longer than this; no frame of a tool is.
_IMPLAUSIBLE = 1 << 28


class FrameLengthError(ValueError):
    """A declared length no frame of this connection can have; what follows it cannot be read.

    `length` is the declared length in bytes, `raw` the four bytes it was read from, `limit` the
    greatest length allowed, and `frames` what the same chunk held before the bad length: frames
    that arrived whole and are to be handled before the connection is closed.
    """

    def __init__(
        self,
        length: int,
        raw: bytes,
        limit: int = DEFAULT_MAX_FRAME,
        frames: Sequence[Frame] = (),
    ) -> None:
        more = ", but TLS, which this end has not" if raw.startswith(_TLS) else ""
        if limit < length < _IMPLAUSIBLE:
            more = ", or max_frame of this end is too small for it"
        super().__init__(
            f"length {length} ({raw!r}) is not in {HEADER_LENGTH}..{limit}: "
            f"the peer may not speak HSMS{more}"
        )
        self.length = length
        self.raw = raw
        self.limit = limit
        self.frames = tuple(frames)

    def __reduce__(self) -> tuple[type[Self], tuple[int, bytes, int, tuple[Frame, ...]]]:
        return type(self), (self.length, self.raw, self.limit, self.frames)


def data_frame(
    session_id: int, stream: int, function: int, wait: bool, system_bytes: int, body: bytes
) -> Frame:
    """A data message, SxFy, with its body as encoded SECS-II.

    Raises `ValueError` if `stream` is not in 0..127; the other fields are checked by `encode`.
    """
    # Header byte 2 can hold 255, but the highest bit of a stream would be read as the W-bit.
    if not 0 <= stream <= _MAX_STREAM:
        raise ValueError(f"stream {stream} is not in 0..{_MAX_STREAM}")
    byte2 = stream | WAIT if wait else stream
    return Frame(session_id, byte2, function, SECS_II, SType.DATA, system_bytes, body)


def control_frame(
    stype: int,
    system_bytes: int,
    byte2: int = 0,
    byte3: int = 0,
    session_id: int = CONTROL_SESSION_ID,
) -> Frame:
    """A control message, which has no body. `byte3` is the status of a Select or Deselect.rsp."""
    return Frame(session_id, byte2, byte3, SECS_II, stype, system_bytes, b"")


def reject_frame(of: Frame, reason: int) -> Frame:
    """The Reject.req that answers `of`.

    It echoes the system bytes. Header byte 2 names what was rejected: the
    PType when that is the reason, the SType for every other reason.
    """
    rejected = of.ptype if reason == RejectReason.PTYPE_NOT_SUPPORTED else of.stype
    return control_frame(SType.REJECT_REQ, of.system_bytes, rejected, reason)


def encode(frame: Frame) -> bytes:
    """The bytes of a frame, length first.

    Raises `ValueError`, with name and range, for a field that is out of range.
    """
    session_id, byte2, byte3, ptype, stype, system_bytes, body = frame
    length = HEADER_LENGTH + len(body)
    try:
        prefix = _PREFIX.pack(length, session_id, byte2, byte3, ptype, stype, system_bytes)
    except struct.error:
        raise _misfit(frame, length) from None
    return prefix + body


def frame_of(data: bytes) -> Frame:
    """The frame with these bytes of header and body, without a length before them.

    Raises `struct.error` for fewer than `HEADER_LENGTH` bytes.
    """
    return Frame._make((*_HEADER.unpack_from(data), data[HEADER_LENGTH:]))


def data_prefix(
    session_id: int, byte2: int, byte3: int, system_bytes: int, body_length: int
) -> bytes:
    """What comes before the body of a data message: its length and its header, 14 bytes.

    Raises the errors of `encode`.
    """
    length = HEADER_LENGTH + body_length
    try:
        return _PREFIX.pack(length, session_id, byte2, byte3, SECS_II, _DATA, system_bytes)
    except struct.error:
        frame = Frame(session_id, byte2, byte3, SECS_II, _DATA, system_bytes, b"")
        raise _misfit(frame, length) from None


def _misfit(frame: Frame, length: int) -> ValueError:
    fields = (
        ("session id", frame.session_id, 0xFFFF),
        ("header byte 2", frame.byte2, 0xFF),
        ("header byte 3", frame.byte3, 0xFF),
        ("PType", frame.ptype, 0xFF),
        ("SType", frame.stype, 0xFF),
        ("system bytes", frame.system_bytes, 0xFFFF_FFFF),
        ("length", length, _MAX_LENGTH),
    )
    name, value, limit = next(field for field in fields if not 0 <= field[1] <= field[2])
    return ValueError(f"{name} {value} is not in 0..{limit}")


class Decoder:
    """The frames in a stream of bytes, whatever chunks it arrives in.

    One decoder reads one TCP connection. `max_frame` is the greatest length a frame may declare,
    header and body, in bytes; `ValueError` if it is not in 10..4294967295.
    """

    __slots__ = (
        "_body",
        "_cut",
        "_dropped",
        "_drops",
        "_head",
        "_kept",
        "_max_frame",
        "_room",
        "_stopped",
        "_total",
    )

    # The first 14 bytes of the frame in progress, or those that have come; empty between frames.
    _head: bytearray
    # Its body so far, in the first ``_kept`` bytes of ``_room``.
    _body: BytesIO | None
    _kept: int
    _room: int
    # Whether its body is dropped, and how many bytes of it were.
    _drops: bool
    _dropped: int
    # The latest frame whose body was dropped, and how many bytes of it.
    _cut: tuple[Frame, int] | None
    # The size of that frame with its length field; 0 while the length field is not complete.
    _total: int
    # There was a bad length. After it, the next frame cannot be found.
    _stopped: bool

    def __init__(self, max_frame: int = DEFAULT_MAX_FRAME) -> None:
        self.max_frame = max_frame
        self._cut = None
        self._stopped = False
        self._clear()

    def _clear(self) -> None:
        """No frame is in progress."""
        self._head = bytearray()
        self._body = None
        self._drops = False
        self._kept = self._room = self._dropped = self._total = 0

    @property
    def max_frame(self) -> int:
        """The greatest length a frame may declare; a new value is for the lengths after it."""
        return self._max_frame

    @max_frame.setter
    def max_frame(self, limit: int) -> None:
        if not HEADER_LENGTH <= limit <= _MAX_LENGTH:
            raise ValueError(f"max_frame {limit} is not in {HEADER_LENGTH}..{_MAX_LENGTH}")
        self._max_frame = limit

    @property
    def partial(self) -> bool:
        """Whether a frame has begun, even with one byte of its length field, and is not complete.

        T8 and the frame deadline run exactly while this is true.
        """
        return bool(self._head)

    @property
    def pending_length(self) -> int | None:
        """The declared length of the frame in progress in bytes, if it is known yet."""
        return self._total - _LENGTH_BYTES if self._total else None

    @property
    def pending_total(self) -> int:
        """All bytes of the frame in progress, length field included; 0 while it is not known."""
        return self._total

    @property
    def missing(self) -> int:
        """How many bytes the frame in progress still needs, or first its length field.

        0 between frames.
        """
        if not self._head:
            return 0
        return (self._total or _LENGTH_BYTES) - len(self._head) - self._kept - self._dropped

    @property
    def last_bytes(self) -> bytes:
        """The last bytes kept of the frame in progress, at most 16; empty between frames."""
        last = bytes(self._head)
        if self._body is not None:
            # Only these are copied: the body may be long.
            last += self._body.getbuffer()[max(self._kept - _SHOWN_BYTES, 0) : self._kept]
        return last[-_SHOWN_BYTES:]

    def drop_body(self) -> None:
        """Keep no more of the frame in progress than its first bytes; `body` will end there.

        For a frame that will be answered by its header alone. A body of a few bytes stays whole,
        and one that is dropped does not become empty.
        """
        if self._total > PREFIX_BYTES + _KEPT_BODY:
            self._drops = True
            self._dropped += max(self._kept - _KEPT_BODY, 0)
            self._kept = min(self._kept, _KEPT_BODY)
            if self._body is not None:
                self._body = BytesIO(self._body.getvalue()[: self._kept])
                self._room = self._kept

    def dropped_of(self, frame: Frame) -> int:
        """How many bytes of the body of this frame, the latest such one, were dropped."""
        return self._cut[1] if self._cut is not None and self._cut[0] is frame else 0

    def feed(self, data: bytes | bytearray | memoryview) -> list[Frame]:
        """Take the next bytes of the stream and return the frames they complete, in order.

        Raises `FrameLengthError` at a length that is not in 10..max_frame; the frames before it
        are in the error. The rest of the stream has no meaning then, so feeding it raises
        `RuntimeError`.
        """
        return self.take(data if type(data) is bytes else bytes(data), 0, len(data))[0]

    def take(self, data: bytes, start: int, most: int) -> tuple[list[Frame], int]:
        """Like `feed`, from `data[start:]` and for at most `most` frames.

        Returns the frames and where the next call is to start in `data`.
        """
        if self._stopped:
            raise RuntimeError("a decoder that met a bad length cannot be fed")
        frames: list[Frame] = []
        if self._head:
            start = self._take_pending(data, start, frames)
            most -= len(frames)
        end = len(data)
        # Locals, because this loop runs once per frame of every message on the wire.
        unpack, new, limit = _PREFIX.unpack_from, tuple.__new__, self._max_frame
        while most > 0 and end - start >= PREFIX_BYTES:
            length, session_id, byte2, byte3, ptype, stype, system_bytes = unpack(data, start)
            stop = start + _LENGTH_BYTES + length
            if stop > end or length < HEADER_LENGTH or length > limit:
                break
            body = data[start + PREFIX_BYTES : stop]
            # Frame(...) makes the same tuple with one more Python call: a third more time.
            frames.append(new(Frame, (session_id, byte2, byte3, ptype, stype, system_bytes, body)))
            start = stop
            most -= 1
        if most > 0 and start < end:
            start = self._take_pending(data, start, frames)
        return frames, start

    @property
    def has_space(self) -> bool:
        """Whether much of a body has come and much is missing, so that it has `space`."""
        return self._kept >= _MUCH and not self._drops and self.missing >= _MUCH

    def space(self, most: int) -> memoryview:
        """Where the next bytes of the body may be put, `most` or fewer, while `has_space`.

        It is no longer than what has come of the body. It is to be released before the next call;
        how many bytes were put there is then told to `filled`.
        """
        assert self._body is not None
        self._make_room(self._kept + 1)
        return self._body.getbuffer()[self._kept : min(self._room, self._kept + most)]

    def filled(self, count: int) -> None:
        """The first `count` bytes of `space` have come.

        When they complete the frame, the next `take` returns it, also without more bytes.
        """
        self._kept += count

    def _take_pending(self, data: bytes, start: int, frames: list[Frame]) -> int:
        """Begin a frame with `data[start:]`, or continue one; return where the next one starts."""
        head = self._head
        if len(head) < PREFIX_BYTES:
            piece = data[start : start + PREFIX_BYTES - len(head)]
            head += piece
            start += len(piece)
            if not self._total and len(head) >= _LENGTH_BYTES:
                self._total = self._checked_total(bytes(head[:_LENGTH_BYTES]), frames)
            if len(head) < PREFIX_BYTES:
                return start
        stop = min(start + self.missing, len(data))
        self._keep(data[start:stop])
        if not self.missing:
            # All of its room is filled, and the value is that, without a copy.
            body = b"" if self._body is None else self._body.getvalue()
            frame = Frame._make((*_PREFIX.unpack_from(head)[1:], body))
            frames.append(frame)
            if self._drops:
                self._cut = (frame, self._dropped)
            self._clear()
        return stop

    def _keep(self, piece: bytes) -> None:
        """More of the body has come."""
        if self._drops:
            room = max(_KEPT_BODY - self._kept, 0)
            self._dropped += max(len(piece) - room, 0)
            piece = piece[:room]
        if not piece:
            return
        if self._body is None:
            self._body = BytesIO()
        kept, self._kept = self._kept, self._kept + len(piece)
        self._make_room(self._kept)
        self._body.seek(kept)
        self._body.write(piece)

    def _make_room(self, least: int) -> None:
        assert self._body is not None
        if least > self._room:
            # Never more than twice what has come. The room that it makes by itself is an eighth
            # more, so a long body would be copied again and again.
            most = _KEPT_BODY if self._drops else self._total - PREFIX_BYTES
            self._room = min(2 * self._kept, most)
            self._body.seek(self._room - 1)
            self._body.write(b"\0")

    def _checked_total(self, raw: bytes, frames: list[Frame]) -> int:
        length = int.from_bytes(raw)
        if HEADER_LENGTH <= length <= self._max_frame:
            return _LENGTH_BYTES + length
        self._clear()
        self._stopped = True
        raise FrameLengthError(length, raw, self._max_frame, frames)
