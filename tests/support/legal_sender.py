"""What an end of HSMS may say: a second opinion, which knows neither charts nor engine.

``Conversation`` follows one TCP connection and raises ``AssertionError`` at bytes that are no
frames, at an answer nobody asked for or that comes twice, at data while the session is not
selected, and at anything after Separate.req or a refusal. Rules: SEMI E37, and E5 for stream 9.
"""

from __future__ import annotations

import struct
from collections import Counter
from typing import NamedTuple

from tests.support.raw_peer import (
    CONTROL,
    DESELECT_REQ,
    DESELECT_RSP,
    LINKTEST_REQ,
    LINKTEST_RSP,
    REJECT_REQ,
    SELECT_REQ,
    SELECT_RSP,
    SEPARATE_REQ,
)

_DATA = 0
# The bits of a session id that are the device id of a data message.
_DEVICE = 0x7FFF
_PREFIX = struct.Struct(">IHBBBBI")
_HEADER = 10
# By response: its request, and the statuses that this package's ends answer with.
_ANSWERS = {
    SELECT_RSP: (SELECT_REQ, (0, 1, 3)),
    DESELECT_RSP: (DESELECT_REQ, (0, 1)),
    LINKTEST_RSP: (LINKTEST_REQ, (0,)),
}
_REQUESTS = (SELECT_REQ, DESELECT_REQ, LINKTEST_REQ)


class Header(NamedTuple):
    """A frame without its body. ``size`` is the length of the body."""

    session: int
    byte2: int
    byte3: int
    ptype: int
    stype: int
    system: int
    size: int


class Frames:
    """Cuts a stream into frames; ``limit`` is the greatest length that one may declare."""

    def __init__(self) -> None:
        self._rest = b""
        # The length of the frame in ``rest``, once it is known: later limits are not for it.
        self._length: int | None = None
        self._has_ended = False

    @property
    def is_whole(self) -> bool:
        return not self._rest

    def feed(self, data: bytes, limit: int) -> list[tuple[Header, bytes]]:
        """The whole frames with these bytes, to which a bad length puts an end."""
        found: list[tuple[Header, bytes]] = []
        data, at = self._rest + data, 0
        while not self._has_ended and len(data) - at >= _PREFIX.size - _HEADER:
            length = int.from_bytes(data[at : at + 4])
            if self._length is None and not _HEADER <= length <= limit:
                self._has_ended = True
                break
            self._length = length
            if len(data) - at < 4 + length:
                break
            self._length = None
            _, session, byte2, byte3, ptype, stype, system = _PREFIX.unpack_from(data, at)
            body = data[at + _PREFIX.size : at + 4 + length]
            header = Header(session, byte2, byte3, ptype, stype, system, len(body))
            found.append((header, body))
            at += 4 + length
        self._rest = data[at:]
        return found


class Conversation:
    """One TCP connection, as one of its ends has heard and said it.

    What has come is told before what follows from it. ``settle`` says that all which follows has
    come out.
    """

    def __init__(self) -> None:
        self.is_selected = False
        # Separate.req, or the refusal of a session, is said: nothing may follow.
        self.is_over = False
        # Whether it was selected at any time since all had come out.
        self._lately = False
        self._heard, self._said = Frames(), Frames()
        # What may still be answered, once: frames as (PType, SType, system bytes, body size), and
        # primaries with W as (stream, function, system bytes, session id).
        self._answerable: Counter[tuple[int, ...]] = Counter()
        self._primaries: Counter[tuple[int, ...]] = Counter()
        self._headers: set[bytes] = set()
        # By SType, the system bytes of the latest control request that it has sent.
        self._own: dict[int, int] = {}

    def heard(self, data: bytes, limit: int) -> list[Header]:
        """The end has handled these bytes; the frames that they complete."""
        headers = [header for header, _ in self._heard.feed(data, limit)]
        for header in headers:
            self._hear(header)
        return headers

    def _hear(self, got: Header) -> None:
        self._headers.add(_bytes_of(got))
        if got.stype != REJECT_REQ or got.ptype:
            self._answerable[got.ptype, got.stype, got.system, got.size] += 1
        if got.ptype:
            return
        if got.stype == REJECT_REQ:
            self._own = {key: own for key, own in self._own.items() if own != got.system}
        elif got.stype == _DATA and got.byte2 & 0x80 and got.byte3 & 1:
            self._primaries[got.byte2 & 0x7F, got.byte3, got.system, got.session] += 1
        elif got.stype in (SELECT_RSP, DESELECT_RSP) and not got.size:
            request = _ANSWERS[got.stype][0]
            if self._own.get(request) == got.system:
                del self._own[request]
                if got.byte3 in (0, 1):
                    self._become(selected=got.stype == SELECT_RSP)
        elif got.stype == SEPARATE_REQ and not got.size:
            self._become(selected=False)

    def said(
        self, data: bytes, *, more: bool, sessions: set[int], may_differ: bool, is_equipment: bool
    ) -> list[Header]:
        """It has queued these bytes; the frames that they are.

        ``more``: other bytes follow at once. ``sessions`` are the session ids that its data
        messages may have; with ``may_differ`` it may also answer, or report, with the session id of
        the message that this is about.
        """
        frames = self._said.feed(data, 2**32 - 1)
        assert more or self._said.is_whole, f"half a frame was queued: {data[-40:].hex(' ')}"
        for header, body in frames:
            assert not self.is_over, f"{header} was said after the last frame"
            if header.stype == _DATA:
                about = self._say_data(header, body, is_equipment=is_equipment)
                allowed = {*sessions, about & _DEVICE} if may_differ else sessions
                assert header.session in allowed, header
            else:
                assert header[:5:3] == (CONTROL, 0), header
                assert body == b"", header
                self._say_control(header)
        return [header for header, _ in frames]

    def _say_data(self, said: Header, body: bytes, *, is_equipment: bool) -> int:
        """The session id of the message that this is about; its own when it is about none."""
        assert self.is_selected or self._lately, f"{said} was said while it is not selected"
        about = said.session
        assert said.ptype == 0, said
        stream, function = said.byte2 & 0x7F, said.byte3
        if function % 2 == 0:
            assert said.byte2 < 0x80, f"{said} is a secondary with W"
            asked = [
                key
                for key in self._primaries
                if key[0] == stream and key[2] == said.system and function in (key[1] + 1, 0)
            ]
            assert asked, f"{said} answers nothing that was asked and is not answered"
            same = [key for key in asked if key[3] & _DEVICE == said.session]
            answered = (same or asked)[0]
            about = answered[3]
            _take(self._primaries, answered)
        elif stream == 9:
            assert is_equipment, f"{said} is for an equipment"
            assert (body[:2], len(body)) == (b"\x21\x0a", 12), body
            assert body[2:] in self._headers, (
                f"{body.hex(' ')} names no frame that came or was sent"
            )
            about = int.from_bytes(body[2:4])
        self._headers.add(_bytes_of(said))
        return about

    def _say_control(self, said: Header) -> None:
        if said.stype in _ANSWERS:
            request, statuses = _ANSWERS[said.stype]
            assert (said.byte2, said.byte3 in statuses) == (0, True), said
            _take(self._answerable, (0, request, said.system, 0))
            match said.stype, said.byte3:
                case 2, 0:
                    self._become(selected=True)
                case 2, 3:
                    self.is_over = True
                case 4, 0:
                    self._become(selected=False)
                case _:
                    pass
        elif said.stype == REJECT_REQ:
            by_ptype = said.byte3 == 2
            assert said.byte3 in (1, 2, 3, 4), said
            found = [
                key
                for key in self._answerable
                if key[2] == said.system and (key[0] != 0) is by_ptype
                if said.byte2 == key[0 if by_ptype else 1]
            ]
            assert found, f"{said} rejects nothing that came and is not answered"
            _take(self._answerable, found[0])
        else:
            assert said.stype in (*_REQUESTS, SEPARATE_REQ), f"{said} is of no kind that E37 knows"
            assert (said.byte2, said.byte3) == (0, 0), said
            self._own[said.stype] = said.system
            self.is_over = said.stype == SEPARATE_REQ

    def settle(self) -> None:
        """All that follows from what was heard has come out: no control request is unanswered."""
        if not self.is_over:
            asked = [key for key in self._answerable if key[0] == key[3] == 0]
            assert not [key for key in asked if key[1] in _REQUESTS], f"{asked} are not answered"
        self._lately = self.is_selected

    def _become(self, *, selected: bool) -> None:
        self.is_selected = selected
        if not selected:
            # Whatever answers it now comes too late.
            self._own.pop(DESELECT_REQ, None)
        self._lately = self._lately or selected


def _bytes_of(header: Header) -> bytes:
    return struct.pack(">HBBBBI", *header[:6])


def _take(counter: Counter[tuple[int, ...]], key: tuple[int, ...]) -> None:
    assert counter[key] > 0, f"{key} was not asked, or is answered twice"
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
