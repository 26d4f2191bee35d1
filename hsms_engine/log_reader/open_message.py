"""The message that is being read: a header, an item, or a dump, and what it becomes where it ends.

Invariants:

* One message is open at a time: a header that waits, or an item or a dump, which have theirs.
* What was begun ends as an entry, or is counted as only spoken of.
* Its size is bounded: what grows beyond is told, and passed over.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from hsms_engine.log_reader.collector import Collector
from hsms_engine.log_reader.dumps import Dump, Row, frames_of, is_item
from hsms_engine.log_reader.entries import CutMessage, LoggedMessage, NotUnderstood
from hsms_engine.log_reader.facts import facts_of
from hsms_engine.log_reader.headers import NEAR, Header
from hsms_engine.log_reader.items import OpenItem
from hsms_engine.log_reader.records import Record
from hsms_engine.log_reader.stamps import Stamp
from hsms_engine.log_reader.statement import Piece, Readings
from hsms_engine.sml import SmlError

__all__ = ["OpenMessage"]


class OpenMessage:
    """What is open. ``header`` is one that waits for its item, or for its dump."""

    def __init__(self, collector: Collector, readings: Readings, longest: int) -> None:
        self.header: Header | None = None
        self._item: OpenItem | None = None
        self._dump: Dump | None = None
        self._collector = collector
        self._readings = readings
        self._longest = longest

    def finish(self) -> None:
        """What is open ends here."""
        self._finish_item(self._collector.counts.lines)
        self.finish_dump()
        header, self.header = self.header, None
        self._finish_header(header)

    def _finish_header(self, header: Header | None) -> None:
        """Nothing belongs to this header."""
        if header is None:
            return
        entry = header.alone(self._readings.text_encoding)
        match entry:
            case LoggedMessage():
                self._collector.hold(entry, "sml", header.line)
            case CutMessage() | NotUnderstood():
                self._collector.put(entry)
            case None:
                self._collector.counts.mentions += 1
            case _:
                assert_never(entry)

    # Items

    @property
    def has_item(self) -> bool:
        """Whether an item is open."""
        return self._item is not None

    def begin_item(self, text: str, number: int, start: int, lead: str = "") -> int | None:
        """An item begins at ``text[start:]``. Where it ends, if it does so in this line."""
        header, self.header = self.header, None
        if header is None:
            self.finish()
            self._collector.tell(number, start + 1, text[start:], "an item without a header")
        name, wait = ("", False) if header is None else (header.name, header.wait)
        self._item = OpenItem(header, Piece(name, wait), lead=lead)
        return self._grow(self._item, text, number, start)

    def continue_item(
        self, text: str, number: int, day_first: bool | None
    ) -> tuple[bool, int | None]:
        """Whether a line belongs to the item that is open, and where in it the item ends."""
        item = self._item
        assert item is not None  # asked before
        if (
            item.header is not None
            and item.piece.size < self._longest
            and item.take_plain(text, number)
        ):
            if not item.depth:
                self._finish_item(number)
            return True, None
        start = item.continuation(text, day_first)
        if start is None:
            self._finish_item(number)
            return False, None
        if item.quote or start < len(text):
            return True, self._grow(item, text, number, start)
        return True, None

    def _grow(self, item: OpenItem, text: str, number: int, start: int) -> int | None:
        stop = item.take(text, number, start)
        header = item.header
        if header is not None and item.piece.size > self._longest:
            self._item = OpenItem(None, Piece("", False), item.depth, item.quote)
            why = f"the message has more than {self._longest} characters"
            self._collector.tell(header.line, header.column, header.text, why)
        if stop is not None:
            self._finish_item(number)
        return stop

    def _finish_item(self, number: int) -> None:
        """The item is complete, or what follows is something else."""
        item, self._item = self._item, None
        if item is None or item.header is None:
            return
        header = item.header
        try:
            wait, body, notes = self._readings.read(item.piece)
        except SmlError as error:
            why = f"{header.name}: {error.problem}"
            self._collector.tell(error.line, error.column, error.source, why)
            return
        entry = header.message(self._readings.text_encoding, wait, body, notes=notes)
        self._collector.hold(entry, "sml", number)

    # Dumps

    def begin_dump(
        self, text: str, number: int, stamp: Stamp | None, row: Row, record: Record
    ) -> None:
        """A dump begins with this row; ``record`` is what the lines above say."""
        header, self.header = self.header, None
        if header is None or header.line != number:
            # The header is of this dump only when nothing is between them.
            self.finish_dump()
        behind = 0 if stamp is None else stamp.end
        middle = text[behind : row.start]
        facts = facts_of(middle[-NEAR:])
        if header is not None:
            time, facts = header.time, facts | header.facts
        else:
            time, facts = record.take(number, stamp, facts)
        self._dump = Dump(
            header, number, row.start + 1, time, facts, text, middle, [row], len(row.data)
        )

    def continue_dump(self, text: str, stamp: Stamp | None) -> bool:
        """Whether a line is the next row of the dump that is open; if so, it is taken."""
        dump = self._dump
        if dump is None or not dump.take(text, stamp):
            return False
        if dump.size > self._longest:
            self._dump = None
            self._tell_dump(dump, f"the dump has more than {self._longest} bytes")
        return True

    def finish_dump(self) -> None:
        """The dump ends here, if one is open."""
        dump, self._dump = self._dump, None
        if dump is None:
            return
        data = dump.data()
        found = frames_of(data)
        if found is None:
            self._finish_body(dump, data)
            return
        if not any(map(dump.is_under_its_header, found.frames)):
            self._finish_header(dump.header)
        for frame in found.frames:
            entry = dump.entry(frame, self._readings.text_encoding)
            self._collector.hold(entry, "dump", self._collector.counts.lines)
        if found.rest:
            why = f"{len(found.rest)} bytes of the dump are behind its last whole frame"
            self._collector.tell(dump.line, dump.column, found.rest.hex(" "), why)

    def _finish_body(self, dump: Dump, data: bytes) -> None:
        """A dump that is no frame: it may be the body of the header above, or show it again."""
        header = dump.header
        if header is not None and is_item(data):
            entry = header.message(self._readings.text_encoding, header.wait, body=data)
            entry = replace(entry, direction=dump.facts.direction)
            self._collector.hold(entry, "both", dump.line)
            return
        if header is None and self._collector.holds_body(data):
            return
        self._finish_header(header)
        self._tell_dump(dump, f"a dump of {len(data)} bytes that is no frame")

    def _tell_dump(self, dump: Dump, why: str) -> None:
        self._collector.tell(dump.line, dump.column, dump.text, why)
