"""Looks through a history for what is asked: each look gives way to other tasks again and again.

The links of a program are perhaps in the same event loop, and no look holds them up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import trio

from hsms_engine.monitor.history import Block, Entry, History, Number, draw, draw_state
from hsms_engine.monitor.model import LinkNow, after, is_late
from hsms_engine.monitor.timeline import MOST, Timeline
from hsms_engine.recording import FrameRecord
from hsms_engine.wire import HEADER_LENGTH

Wanted = Callable[[Entry], bool]

TURN: Final = 32
"""Records between two moments in which other tasks have their turn."""
# Records after which a search ends with what it has found, at the end of a block.
_MOST_SEARCHED: Final = 20_000
# A stretch of more records is drawn from the time line that was made while they came.
_MOST_DRAWN: Final = 20_000
# Seconds of a bucket: finer is no wall clock.
_SHORTEST: Final = 1e-6


class Turn:
    """Counts records, and lets the others have their turn after each ``most``."""

    def __init__(self, most: int = TURN) -> None:
        self._most = most
        self.count = 0
        """Records so far."""

    async def next(self, *, weight: int = 1) -> None:
        """Look at one more record, which costs as much as ``weight`` others."""
        before = self.count
        self.count += weight
        if self.count // self._most != before // self._most:
            await trio.lowlevel.checkpoint()


class Found(NamedTuple):
    """Records newest first. ``older``: the number below which to go on, None at the beginning.

    ``searched`` is how far back all was looked at (UTC). ``replies`` has the replies of those that
    are requests, by the numbers of these.
    """

    entries: list[Entry]
    older: int | None
    searched: float
    replies: dict[int, Entry]


async def link_at(history: History, link: Number, wall: float) -> LinkNow:
    """The link as it was then; before its first record, after it. All may raise as ``entries``."""
    now = history.links[link]
    if wall >= now.wall:
        return now
    turn = Turn()
    own = [each for each in history.blocks if link in each.links]
    if not own:
        # Nothing was told of it for long.
        return now
    before = [each for each in own if each.began <= wall]
    block = before[-1] if before else own[0]
    found = block.start.get(link)
    for entry in history.entries(block, link):
        await turn.next()
        if entry is not None:
            if entry.wall > wall and found is not None:
                break
            found = after(found, entry.record)
    return found or now


async def search(
    history: History,
    link: Number,
    wanted: Wanted,
    *,
    until: float,
    before: int | None,
    count: int,
    weight: int = 1,
) -> Found:
    """The latest ``count`` records that are wanted, not after ``until`` and below ``before``.

    To ask ``wanted`` costs as much as to read ``weight`` records.
    """
    ties = _Ties()
    found: list[Entry] = []
    searched = until
    own = [each for each in history.blocks if link in each.links]
    blocks = [
        each for each in own if each.began <= until and (before is None or each.first < before)
    ]
    turn = Turn()
    for block in own[len(blocks) :][:1]:
        # It may have the replies to the latest requests before it.
        for entry in history.entries(block, link):
            await turn.next()
            if entry is not None:
                ties.look(entry)
        ties.end_block()
    turn = Turn()
    for block in reversed(blocks):
        if len(found) == count or turn.count > _MOST_SEARCHED:
            return Found(found, block.first + block.count, searched, ties.replies)
        latest: deque[Entry] = deque(maxlen=count - len(found))
        has_more = False
        for entry in history.entries(block, link):
            await turn.next(weight=1 if entry is None else weight)
            if entry is None:
                continue
            ties.look(entry)
            is_in = entry.wall <= until and (before is None or entry.ordinal < before)
            if is_in and wanted(entry):
                has_more = has_more or len(latest) == latest.maxlen
                latest.append(entry)
        ties.end_block()
        found += reversed(latest)
        searched = block.began
        if has_more:
            return Found(found, found[-1].ordinal, found[-1].wall, ties.replies)
    return Found(found, None, searched, ties.replies)


class _Ties:
    """Finds the replies of requests, in blocks from the latest back."""

    def __init__(self) -> None:
        self.replies: dict[int, Entry] = {}
        # The requests of this block that wait; the replies of it, and of the block after it, whose
        # requests come before.
        self._waiting: dict[tuple[int, bool, bytes], int] = {}
        self._early: dict[tuple[int, bool, bytes], Entry] = {}
        self._later: dict[tuple[int, bool, bytes], Entry] = {}

    def look(self, entry: Entry) -> None:
        record = entry.record
        if type(record) is not FrameRecord:
            return
        is_reply = record.seconds is not None
        # Who asked, over which connection, with which system bytes.
        key = (record.epoch, record.sent != is_reply, record.data[6:HEADER_LENGTH])
        if not is_reply:
            self._waiting[key] = entry.ordinal
        elif (request := self._waiting.pop(key, None)) is not None:
            self.replies[request] = entry
        else:
            self._early[key] = entry

    def end_block(self) -> None:
        for key, request in self._waiting.items():
            if (reply := self._later.get(key)) is not None:
                self.replies[request] = reply
        self._waiting, self._early, self._later = {}, {}, self._early


async def stretch(
    history: History, link: Number, begin: float, end: float, count: int
) -> tuple[list[Entry], bool]:
    """The first ``count`` records of a time, oldest first, and whether there are more."""
    turn = Turn()
    found: list[Entry] = []
    for block in _overlapping(history, link, begin, end):
        for entry in history.entries(block, link):
            await turn.next()
            if entry is None or entry.wall < begin:
                continue
            if entry.wall > end:
                break
            if len(found) == count:
                return found, True
            found.append(entry)
    return found, False


async def timeline(
    history: History, link: Number, begin: float, end: float
) -> tuple[Timeline, bool]:
    """The time line of a time, and whether it is as fine as so long a time can be shown."""
    whole = history.timelines[link]
    blocks = _overlapping(history, link, begin, end)
    if sum(each.count for each in blocks) > _MOST_DRAWN:
        return whole, whole.width * MOST <= 2 * (end - begin)
    turn = Turn()
    # So that the end has a bucket too.
    drawn = Timeline(begin, max((end - begin) / (MOST - 1), _SHORTEST))
    now = blocks[0].start.get(link) if blocks else None
    is_begun = False
    for block in blocks:
        for entry in history.entries(block, link):
            await turn.next()
            if entry is None or entry.wall > end:
                continue
            if entry.wall >= begin:
                if not is_begun:
                    _draw_states(drawn, begin, now)
                    is_begun = True
                if not is_late(now, entry.record):
                    draw(drawn, entry.record)
            now = after(now, entry.record)
    if not is_begun:
        _draw_states(drawn, begin, now)
    return drawn, True


def _draw_states(timeline: Timeline, wall: float, now: LinkNow | None) -> None:
    """Put on a time line where the charts of a link are at its beginning."""
    if now is not None:
        for chart, state in now.states.items():
            draw_state(timeline, wall, chart, state.leaves)


def _overlapping(history: History, link: Number, begin: float, end: float) -> list[Block]:
    """The blocks that have records of a link in a time; the first may end before it."""
    own = [each for each in history.blocks if link in each.links and each.began <= end]
    # The latest records of a block may be of the time at which the next one begins.
    before = sum(each.began < begin for each in own)
    return own[max(before - 1, 0) :]
