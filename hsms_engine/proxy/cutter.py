"""Where frames begin and end in a stream of bytes that passes through.

Invariants:

* The parts, joined, are the bytes that came, in order; but for the header in progress, none is held
  back, and that one only where headers are asked for.
* After a length that no frame can have, all is passed on as it is.
"""

from __future__ import annotations

from typing import NamedTuple

from hsms_engine.wire import HEADER_LENGTH, Decoder, Frame

_LENGTH_BYTES = 4
_PREFIX_BYTES = _LENGTH_BYTES + HEADER_LENGTH


class Part(NamedTuple):
    """Some bytes. ``head`` is the header (with no body) of the frame that begins with them.

    ``ends``: whether a frame ends after them, or its end cannot be known.
    """

    data: bytes
    head: Frame | None
    ends: bool


class Cutter:
    """Follows one stream."""

    def __init__(self, max_frame: int) -> None:
        self._max_frame = max_frame
        # The length field, or the header, of the frame in progress, until it is complete.
        self._begun = bytearray()
        # Whether these are held back; decided for each frame when it begins.
        self._holds = False
        # How many bytes of the frame in progress are still to come, once that is known.
        self._left = 0
        # Why it cannot be followed any more.
        self.lost: str | None = None

    def feed(self, data: bytes, *, heads: bool) -> list[Part]:
        """The parts of the next bytes; with ``heads`` each frame that begins has its header."""
        is_plain = not heads and not (self._holds and (self._begun or self._left))
        parts: list[Part] = []
        at = 0
        while at < len(data):
            if self.lost is not None:
                parts.append(Part(data[at:], None, True))
                break
            if self._left:
                piece = data[at : at + self._left]
                self._left -= len(piece)
                parts.append(Part(piece, None, not self._left))
            else:
                if not self._begun:
                    self._holds = heads
                piece = data[at : at + self._wanted - len(self._begun)]
                self._begun += piece
                if not self._holds:
                    parts.append(Part(piece, None, False))
                parts += self._known()
            at += len(piece)
        if is_plain and parts:
            # One write instead of two for each frame.
            return [Part(b"".join(each.data for each in parts), None, parts[-1].ends)]
        return parts

    def rest(self) -> bytes:
        """What is held back, when the stream has ended."""
        return bytes(self._begun) if self._holds else b""

    @property
    def _wanted(self) -> int:
        return _PREFIX_BYTES if self._holds else _LENGTH_BYTES

    def _known(self) -> list[Part]:
        """What the begun bytes tell, if they are enough."""
        begun = bytes(self._begun)
        if len(begun) < _LENGTH_BYTES:
            return []
        length = int.from_bytes(begun[:_LENGTH_BYTES])
        if not HEADER_LENGTH <= length <= self._max_frame:
            shown = begun[:_LENGTH_BYTES]
            self.lost = f"length {length} ({shown!r}) is not in {HEADER_LENGTH}..{self._max_frame}"
            self._begun.clear()
            return [Part(begun, None, True)] if self._holds else []
        if len(begun) < self._wanted:
            return []
        self._left = _LENGTH_BYTES + length - len(begun)
        self._begun.clear()
        if not self._holds:
            return []
        (head,) = Decoder().feed(HEADER_LENGTH.to_bytes(_LENGTH_BYTES) + begun[_LENGTH_BYTES:])
        return [Part(begun, head, not self._left)]
