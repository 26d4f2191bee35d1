"""What each line of a log is: a record, a header, an item, a dump, or none of these.

Invariants:

* One pass, one message at a time: the memory is that of the longest message, which has a bound.
  A file is looked through once before, where only its whole tells how something is read.
* A line belongs to one message at most, unless a further header stands behind its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from hsms_engine.log_reader.collector import Collector
from hsms_engine.log_reader.dumps import first_row
from hsms_engine.log_reader.entries import LoggedControl
from hsms_engine.log_reader.facts import NO_FACTS, facts_of
from hsms_engine.log_reader.headers import (
    NEAR,
    WINDOW,
    control_of,
    find_control,
    find_header,
    header_of,
    is_caption,
    is_header,
    next_header,
)
from hsms_engine.log_reader.items import find_item, item_without_brackets
from hsms_engine.log_reader.lines import Line
from hsms_engine.log_reader.open_message import OpenMessage
from hsms_engine.log_reader.own import OwnLog
from hsms_engine.log_reader.records import Record, json_object, json_record, json_time
from hsms_engine.log_reader.stamps import STAMPS, Stamp, day_comes_first, find_stamp
from hsms_engine.log_reader.statement import Readings, has_bare_hex

__all__ = ["Scanner"]

# Longer lines have words.
_LEAST: Final = 80
# So many characters at least are a dump.
_A_DUMP: Final = 16
# How many spoilt lines are told.
_MOST_SPOILT: Final = 100


class Scanner:
    """Takes lines, and puts what they are into the collector."""

    def __init__(
        self, collector: Collector, day_first: bool | None, readings: Readings, longest: int
    ) -> None:
        self._collector = collector
        self._counts = collector.counts
        self._day_first = day_first
        self._readings = readings
        self._own = OwnLog(readings.text_encoding)
        self._open = OpenMessage(collector, readings, longest)
        self._record = Record()
        self._is_date_told = False
        # Where in the line another message may begin.
        self._next: int | None = None

    def look_through(self, lines: Iterable[str]) -> None:
        """Learn from a whole file what single lines do not tell."""
        is_told = self._day_first is not None
        for text in lines:
            if not self._readings.has_hex and has_bare_hex(text[:WINDOW]):
                self._readings.has_hex = True
            if not is_told:
                self._day_first = day_comes_first((text,))
                is_told = self._day_first is not None

    def feed(self, line: Line) -> None:
        """Take one line."""
        number, text, problem = line
        self._counts.lines = number
        if problem is not None:
            counts = self._counts
            counts.spoilt_lines += 1
            if counts.spoilt_lines <= _MOST_SPOILT:
                self._collector.tell(number, 1, text, problem)
        self._line(text, number)

    def end(self) -> None:
        """There are no more lines."""
        self._open.finish()
        self._collector.put(*self._own.end())

    def _line(self, text: str, number: int) -> None:
        is_taken = False
        if self._open.has_item:
            is_taken, stop = self._open.continue_item(text, number, self._day_first)
            self._go_on(text, stop)
        # A short line without a word is the end of a message, or nothing.
        if not is_taken and (len(text) > _LEAST or text.strip(" \t.;>")):
            if text[0] == "{" and self._json(text, number):
                return
            self._next = 0
        while (start := self._next) is not None:
            self._next = None
            self._scan(text, number, start)

    def _go_on(self, text: str, stop: int | None) -> None:
        """Behind the end of an item, another message may begin."""
        if stop is not None and stop < len(text) and find_header(text, stop) is not None:
            self._next = stop

    def _json(self, text: str, number: int) -> bool:
        """Whether a line is a record of JSON; if so, it is taken."""
        facts = json_object(text)
        if facts is None:
            return False
        time = json_time(facts, self._day_first)
        own = self._own.record(facts, number, time)
        self._open.finish()
        self._collector.put(*own or ())
        if own is None:
            self._record, lines = json_record(facts, number, time)
            for line in lines:
                self._line(line, number)
            self._open.finish()
            self._record = Record(None, number)
        return True

    def _scan(self, text: str, number: int, start: int) -> None:
        """Find what ``text[start:]`` is."""
        header = find_header(text, start)
        item = find_item(text, start)
        limit = min(len(text), start + STAMPS)
        for each in (header, item):
            if each is not None:
                limit = min(limit, each.start())
        stamp = None
        if start == 0:
            stamp = find_stamp(text, 0, limit, self._day_first)
            own = self._own.line(text, number, stamp)
            if own is not None:
                self._open.finish()
                self._collector.put(*own)
                return
        if self._open.continue_dump(text, stamp):
            return
        self._tell_doubt(text, number, stamp)
        if header is not None and (item is None or header.start() < item.start()):
            self._found_header(text, number, stamp, start, header, item)
        elif item is not None:
            self._found_item(text, number, 0 if stamp is None else stamp.end, item)
        else:
            self._found_none(text, number, stamp)

    def _tell_doubt(self, text: str, number: int, stamp: Stamp | None) -> None:
        if stamp is None or not stamp.is_doubtful or self._is_date_told:
            return
        self._is_date_told = True
        self._collector.tell(
            number,
            stamp.start + 1,
            text[stamp.start :],
            "the date may be day first or month first, so only the time of day is read: say "
            "day_first",
        )

    def _found_header(
        self,
        text: str,
        number: int,
        stamp: Stamp | None,
        start: int,
        match: re.Match[str],
        item: re.Match[str] | None,
    ) -> None:
        """A line with a header. What it waits for may stand behind it, or below."""
        if not is_header(match):
            self._open.finish()
            self._counts.mentions += 1
            return
        end = min(len(text) if item is None else item.start(), match.end() + NEAR)
        after = next_header(text, match.end(), end)
        if after is not None:
            end, item = after.start(), None
        behind, lead = (start, "") if stamp is None else (stamp.end, f"{text[: stamp.start]} ")
        found = header_of(match, number, behind, lead, end)
        if found.is_control:
            # The line below names the control message.
            self._open.finish()
            if stamp is not None:
                self._record = Record.of(text, number, stamp)
            self._record.line, self._record.more = number, found.facts
            return
        late = stamp
        if stamp is None and start == 0 and found.tail:
            late = find_stamp(found.tail, 0, len(found.tail), self._day_first)
        above = self._open.header
        if late is None and above is not None and above.is_spoken_of(found):
            found.line, found.column, found.time = above.line, above.column, above.time
            found.facts |= above.facts
        else:
            self._open.finish()
            found.time, found.facts = self._record.take(number, late, found.facts)
        self._open.header = found
        if item is not None:
            self._go_on(text, self._open.begin_item(text, number, item.start()))
        elif after is not None:
            self._open.finish()
            self._next = after.start()
        elif found.tail.rstrip()[-1:] == "." and found.is_clean():
            self._open.finish()
        elif len(found.tail) >= _A_DUMP and (row := first_row(text, match.end())) is not None:
            self._open.begin_dump(text, number, stamp, row, self._record)

    def _found_item(self, text: str, number: int, behind: int, item: re.Match[str]) -> None:
        """A line with an item: that of the header above, or of none."""
        if self._open.header is None and not item[0][1:].strip().isupper():
            # A tag of another language.
            return
        self._open.finish_dump()
        lead = text[behind : item.start()].rstrip()
        self._go_on(text, self._open.begin_item(text, number, item.start(), lead))

    def _found_none(self, text: str, number: int, stamp: Stamp | None) -> None:
        """A line without header and item: a dump, a control message, facts or anything else."""
        behind = 0 if stamp is None else stamp.end
        row = first_row(text, behind)
        if row is not None:
            self._open.begin_dump(text, number, stamp, row, self._record)
            return
        if self._found_control(text, number, stamp):
            return
        header = self._open.header
        if header is not None and (column := item_without_brackets(text, behind)) is not None:
            self._open.header = None
            why = f"{header.name}: an item without angle brackets is none of SML"
            self._collector.tell(number, column + 1, text, why)
        elif stamp is not None:
            self._open.finish()
            self._collector.put()
            self._record = Record.of(text, number, stamp)
        else:
            self._found_facts(text, number)

    def _found_facts(self, text: str, number: int) -> None:
        """A line without a time and a message: it may say something of one."""
        facts, header = facts_of(text[:NEAR]), self._open.header
        if header is not None and (facts != NO_FACTS or is_caption(text)):
            header.facts |= facts
            return
        self._open.finish()
        if facts != NO_FACTS:
            self._record.add(number, facts)

    def _found_control(self, text: str, number: int, stamp: Stamp | None) -> bool:
        """Whether a line is a control message, and not only speaks of one."""
        match = find_control(text)
        if match is None:
            return False
        behind, above = (0, self._record.facts()) if stamp is None else (stamp.end, NO_FACTS)
        found = control_of(match, behind, above)
        if found is None:
            return False
        self._open.finish()
        name, facts = found
        time, facts = self._record.take(number, stamp, facts)
        entry = LoggedControl(time, facts.direction, name, facts.session, facts.system, number)
        self._collector.hold(entry, "sml", number)
        return True
