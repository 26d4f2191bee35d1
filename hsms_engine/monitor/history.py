"""What links have done, in blocks: a block has the links as they were at its beginning, and then
their records.

So a time in the past is found by the records of one block, however long ago it is. Live, the
records of a block are in memory, and the oldest block makes room for the next. Of files a block is
only a place where to read, and each two blocks become one when there are too many.

Invariants:

* Blocks follow each other without a gap. Each record has a number, from 0, and a time that is never
  before that of the record before: a wall clock may be set back.
* Memory is bounded, whatever is told: by bytes of records, by blocks, by links.
"""

from __future__ import annotations

import errno
import stat
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from hsms_engine.monitor.model import LinkNow, after, is_late, ownership_of
from hsms_engine.monitor.timeline import Timeline
from hsms_engine.recording import (
    EndRecord,
    FrameRecord,
    HeadRecord,
    LinkRecord,
    LostRecord,
    Place,
    Record,
    RecordOfLink,
    StepRecord,
    Unread,
    line_of,
    other_charts,
    read,
)
from statecharts.hsms import ACTIVE, BREAKER, LEASE, PASSIVE

DEFAULT_BUDGET: Final = 67_108_864
"""Bytes that the latest records of live links may use. What each uses is estimated."""

MOST_LINKS: Final = 4_096
"""The links of one history. Of those that are gone, or else of all, the one of which nothing was
told for the longest makes room."""

CONNECTIONS: Final = frozenset({ACTIVE.id, PASSIVE.id})

# A block ends with so many records, and live with this share of the budget.
_RECORDS: Final = 1_000
_SHARES: Final = 16
# Blocks of files, and links in all of them together, as each has them as they were.
_MOST_BLOCKS: Final = 256
_MOST_COPIES: Final = 150_000
# Bytes of files after which others have their turn, and of a body that takes as long as a record.
_MOST_READ: Final = 2_097_152
_LONG: Final = 65_536
# What a record needs in any case, and so many bytes for each of its line: links need most.
_OVERHEAD: Final = 500
_BYTES_PER_CHARACTER: Final = 4
# Further notes would say the same.
_MOST_NOTES: Final = 20
# The last second that every calendar knows.
_LAST_SECOND: Final = 253_402_300_799.0

Number: TypeAlias = int
"""What a history calls a link: from 0, in the order in which they came."""


class Entry(NamedTuple):
    """A record of a link, and its number in the history."""

    ordinal: int
    record: RecordOfLink

    @property
    def wall(self) -> float:
        """Its time (UTC), which is not before that of any earlier record."""
        return self.record.wall


@dataclass(slots=True)
class Block:
    """Some records, and what was before the first of them, which is number ``first``.

    ``began`` is the time of the first one of a link. ``recording`` is that of the records until a
    head says another; ``links`` are those of which it has records.
    """

    first: int
    began: float
    recording: str
    start: Mapping[Number, LinkNow]
    place: Place
    """Where its records begin in the files."""
    links: set[Number] = field(default_factory=set)
    count: int = 0
    kept: list[Record] = field(default_factory=list)
    """Its records, of links that are live."""
    size: int = 0


class History(ABC):
    """All links of some recordings."""

    def __init__(self) -> None:
        self.links: OrderedDict[Number, LinkNow] = OrderedDict()
        """The links as they are now; that of the latest record is the last."""
        self.timelines: dict[Number, Timeline] = {}
        self.others: dict[Number, frozenset[str]] = {}
        """Of each link, the ids of the charts that this version does not have like this."""
        self.notes: list[str] = []
        """What is to be known about the recordings, in sentences."""
        self.lost = 0
        """Records that a recorder has dropped."""
        self.unread = 0
        """Lines that could not be read."""
        self.forgotten = 0
        """Records that are kept no more, because others needed the room."""
        self.late = 0
        """Steps that came after later ones. They are shown, and change no state."""
        self.blocks: list[Block] = []
        """Oldest first."""
        self._taken = 0
        self._wall = 0.0
        self._recording = ""
        self._others: frozenset[str] = frozenset()
        self._numbers: dict[tuple[str, int], Number] = {}
        self._keys: dict[Number, tuple[str, int]] = {}
        self._next = 0

    @abstractmethod
    def _read(self, block: Block) -> Iterator[Record | Unread]:
        """The records of a block, and perhaps those that follow."""

    def note(self, text: str) -> None:
        """Remember what is to be known about the recordings."""
        if len(self.notes) < _MOST_NOTES and text not in self.notes:
            self.notes.append(text)

    def span(self, link: Number) -> tuple[float, float]:
        """The times of the first and of the latest record of it that are kept."""
        first = next((each.began for each in self.blocks if link in each.links), 0.0)
        return max(first, self.timelines[link].began), self.links[link].wall

    def entries(self, block: Block, link: Number) -> Iterator[Entry | None]:
        """The records of a link in a block, in order, with None for each other record, and before a
        long body so many more as it takes longer.

        Of files it raises ``OSError``, and ``ChangedError`` when they are others by now.
        """
        wall, recording, first = block.began, block.recording, block.first
        for at, record in zip(range(block.count), self._read(block), strict=False):
            match record:
                case HeadRecord():
                    recording = record.recording
                    yield None
                case LostRecord() | EndRecord() | Unread():
                    yield None
                case _:
                    if type(record) is FrameRecord:
                        yield from repeat(None, len(record.data) // _LONG)
                    wall = _not_before(wall, record.wall)
                    is_its = self._numbers.get((recording, record.link)) == link
                    yield Entry(first + at, _at_wall(record, wall)) if is_its else None

    # Inside

    def _begin_block(self, place: Place) -> Block:
        links = dict(self.links)
        block = Block(self._taken, self._wall, self._recording, links, place)
        self.blocks.append(block)
        return block

    def _put(self, block: Block, record: Record | Unread) -> None:
        match record:
            case HeadRecord():
                self._recording = record.recording
                self._others = frozenset(other_charts(record))
                if self._others:
                    names = ", ".join(sorted(self._others))
                    self.note(f"it is of engine {record.engine}, whose charts are others: {names}")
            case LostRecord():
                self.lost += record.count
                self.note("records are missing: they came faster than they were taken")
            case EndRecord():
                pass
            case Unread():
                self.unread += 1
                self.note(f"{record.file.name}, line {record.line}: {record.why}")
            case _:
                self._wall = wall = _not_before(self._wall, record.wall)
                if not block.links:
                    block.began = wall
                block.links.add(self._put_record(_at_wall(record, wall)))
        block.count += 1
        self._taken += 1

    def _put_record(self, record: RecordOfLink) -> Number:
        key = (self._recording, record.link)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = self._next
            self._keys[number] = key
            self._next += 1
            self.timelines[number] = Timeline(record.wall)
            self.others[number] = self._others
        before = self.links.get(number)
        if is_late(before, record):
            self.late += 1
        else:
            draw(self.timelines[number], record)
        self.links[number] = after(before, record)
        self.links.move_to_end(number)
        if len(self.links) > MOST_LINKS:
            gone = (each for each, now in self.links.items() if now.is_gone)
            oldest = next(gone, next(iter(self.links)))
            self.forgotten += self.links[oldest].records
            self._drop(oldest)
        return number

    def _drop(self, link: Number) -> None:
        del self.links[link], self.timelines[link], self.others[link]
        del self._numbers[self._keys.pop(link)]


class LiveHistory(History):
    """The links of a program, and their latest records within ``budget`` bytes.

    A link that is gone stays as long as a record of it is kept. Raises ``ValueError`` for a budget
    below 0.
    """

    def __init__(self, *, budget: int = DEFAULT_BUDGET) -> None:
        if budget < 0:
            raise ValueError(f"budget must be at least 0 bytes, not {budget}")
        super().__init__()
        self._budget = budget
        self._used = 0

    def take(self, record: Record) -> None:
        """Take the next record."""
        block = self.blocks[-1] if self.blocks else None
        if block is None or block.count >= _RECORDS or block.size > self._budget // _SHARES:
            block = self._begin_block(Place())
        size = _OVERHEAD + _size(record)
        block.kept.append(record)
        block.size += size
        self._used += size
        self._put(block, record)
        while self._used > self._budget and len(self.blocks) > 1:
            self._forget_block()

    def _read(self, block: Block) -> Iterator[Record]:
        return iter(block.kept)

    def _forget_block(self) -> None:
        block = self.blocks.pop(0)
        self._used -= block.size
        self.forgotten += block.count
        for link in block.links & self.links.keys():
            is_kept = any(link in each.links for each in self.blocks)
            if self.links[link].is_gone and not is_kept:
                self._drop(link)


class ChangedError(Exception):
    """A file is another one than when it was opened."""


class FileHistory(History):
    """The links of files, which are read once, a piece at each ``read_more``.

    Raises ``OSError`` when a file is not there, or is none: a pipe is waited for without end.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        self._paths = tuple(paths)
        looks = [path.stat() for path in self._paths]
        for path, look in zip(self._paths, looks, strict=True):
            if not stat.S_ISREG(look.st_mode):
                raise OSError(errno.EINVAL, "it is no regular file", str(path))
        self._ids = [(each.st_dev, each.st_ino) for each in looks]
        self._sizes = [each.st_size for each in looks]
        self._reader = read(self._paths)
        self._longest = _RECORDS
        self.is_read = False
        """Whether all is read."""

    @property
    def share(self) -> float:
        """How much of the files is read, from 0 to 1."""
        if self.is_read:
            return 1.0
        file, offset, _ = self._reader.place
        # What is packed is longer than its file.
        done = sum(self._sizes[:file]) + min(offset, self._sizes[file])
        return done / max(sum(self._sizes), 1)

    def read_more(self, count: int) -> None:
        """Read so many more records, or fewer that are long. One that cannot be read is the
        last."""
        begin = self._reader.place
        for _ in range(count):
            place = self._reader.place
            if place.file == begin.file and place.offset - begin.offset > _MOST_READ:
                return
            try:
                record = next(self._reader, None)
            except OSError as error:
                self.note(f"it is read no further: {error}")
                record = None
            if record is None:
                self._end()
                return
            block = self.blocks[-1] if self.blocks else None
            # A line may give two, and a block begins at a line.
            is_line = self._reader.place != place
            if block is None or (block.count >= self._longest and is_line):
                block = self._begin_block(place)
                copies = sum(len(each.start) for each in self.blocks)
                if len(self.blocks) > _MOST_BLOCKS or copies > _MOST_COPIES:
                    self._join_blocks()
                    block = self.blocks[-1]
            self._put(block, record)

    def _end(self) -> None:
        self.is_read = True
        for path in self._reader.cut:
            self.note(f"{path.name} has no end: it was cut, or is being written")
        if count := self._reader.unknown_keys:
            self.note(f"{count} keys are not known here, and passed over")

    def _join_blocks(self) -> None:
        """Each two become one. New ones, because somebody may read those that were."""
        self._longest *= 2
        pairs = [self.blocks[at : at + 2] for at in range(0, len(self.blocks), 2)]
        self.blocks = [
            replace(
                pair[0],
                links=set().union(*(each.links for each in pair)),
                count=sum(each.count for each in pair),
            )
            for pair in pairs
        ]

    def _read(self, block: Block) -> Iterator[Record | Unread]:
        for path, known, size in zip(self._paths, self._ids, self._sizes, strict=True):
            found = path.stat()
            # It may grow: it is perhaps being written.
            if (found.st_dev, found.st_ino) != known or found.st_size < size:
                why = "is another file than when it was opened: start the monitor again"
                raise ChangedError(f"{path.name} {why}")
        return read(self._paths, start=block.place)


def draw(timeline: Timeline, record: RecordOfLink) -> None:
    """Put a record on a time line."""
    wall = record.wall
    match record:
        case LinkRecord():
            for chart, state in record.states.items():
                draw_state(timeline, wall, chart, state.leaves)
        case StepRecord():
            for hop in record.hops:
                draw_state(timeline, wall, hop.chart, hop.after)
        case FrameRecord():
            timeline.message(wall, sent=record.sent)
        case _:
            pass


def draw_state(timeline: Timeline, wall: float, chart: str, leaves: str) -> None:
    """Put on a time line that a chart is in these leaves from ``wall`` on."""
    if chart in CONNECTIONS:
        timeline.connection(wall, leaves)
    elif chart == BREAKER.id:
        timeline.breaker(wall, leaves)
    elif chart == LEASE.id:
        timeline.lease(wall, ownership_of(leaves))


def _at_wall(record: RecordOfLink, wall: float) -> RecordOfLink:
    return record if record.wall == wall else replace(record, wall=wall)


def _not_before(wall: float, told: float) -> float:
    """The time of a record that tells ``told``, after one at ``wall``."""
    return max(wall, told) if 0 <= told <= _LAST_SECOND else wall


def _size(record: Record) -> int:
    if type(record) is FrameRecord:
        texts = (record.passed_over or "", *record.tolerated)
        return len(record.data) + _BYTES_PER_CHARACTER * sum(map(len, texts))
    return _BYTES_PER_CHARACTER * len(line_of(record))
