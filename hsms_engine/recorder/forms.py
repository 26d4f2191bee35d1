"""What a recorder's lines become in its files: lines, or the packets of a capture."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final, Protocol

from hsms_engine.logs import LINK, say
from hsms_engine.recording import LostRecord, StepRecord, record_of

_STEP: Final = f'{{"kind":"{StepRecord.kind}"'


class Form(Protocol):
    """How files are written. Only the thread of the recorder uses it."""

    @property
    def mark(self) -> bytes:
        """How each file begins; what begins otherwise is none of ours."""

    @property
    def start(self) -> bytes:
        """What is in each file before the first line."""

    @property
    def is_whole(self) -> bool:
        """Whether a file that ends with any of the data can be read up to there."""

    def data(self, pieces: tuple[str, ...]) -> Iterator[bytes]:
        """What is written of one line, or several, that ``pieces`` make."""


class LinesForm:
    """The lines, as they are."""

    mark = b'{"kind":"recording"'
    start = b""
    is_whole = False

    def data(self, pieces: tuple[str, ...]) -> Iterator[bytes]:
        """Piece by piece, because one may be long."""
        for piece in pieces:
            yield piece.encode("ascii")


class PcapForm:
    """Packets, each whole. What had to be dropped is told in the log."""

    is_whole = True

    def __init__(self, path: str) -> None:
        # Few recorders write captures.
        from hsms_engine.capture import PCAP_HEADER, PcapWriter

        self.mark = self.start = PCAP_HEADER
        self._path = path
        self._writer = PcapWriter()
        self._is_told = False

    def data(self, pieces: tuple[str, ...]) -> Iterator[bytes]:
        """The packets of each record, one after the other."""
        for line in "".join(pieces).splitlines():
            # There are many steps, and no packet has any.
            if line.startswith(_STEP):
                continue
            record, _ = record_of(line.encode())
            match record:
                case LostRecord(count=count) if not self._is_told:
                    self._is_told = True
                    text = "%s records and more are not in %s: they came too fast to be written"
                    say(LINK, logging.WARNING, text, count, self._path)
                case _:
                    yield from self._writer.packets(record)
