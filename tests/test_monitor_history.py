"""What a monitor makes of records, live and from files: where each link was at any time, its
messages, its time line.

Blocks are small in most of these tests: what is told must not depend on where they begin.
"""

from __future__ import annotations

import gzip
import math
import os
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from hsms_engine.monitor import history as histories
from hsms_engine.monitor import looking
from hsms_engine.monitor.history import (
    ChangedError,
    Entry,
    FileHistory,
    History,
    LiveHistory,
    draw,
    draw_state,
)
from hsms_engine.monitor.model import LinkNow, after, is_late
from hsms_engine.monitor.timeline import FIRST_WIDTH, MOST, Band, Tick, Timeline
from hsms_engine.recording import (
    ChartState,
    EndRecord,
    ErrorRecord,
    EventRecord,
    FrameRecord,
    GoneRecord,
    HeadRecord,
    HopRecord,
    LinkRecord,
    LostRecord,
    Record,
    RecordOfLink,
    SettingsRecord,
    StepRecord,
    Unread,
    head,
    line_of,
    our_charts,
    parts_of,
    read,
)
from tests.support.recorded import RECORDS, SOME

LAST_SECOND = 253_402_300_799.0
NOT_READ = 1_000_000


# Records


def link(wall: float, leaves: str = "idle", number: int = 1, name: str = "tool-7") -> LinkRecord:
    states = {"connection_active": ChartState(leaves, {}), "breaker": ChartState("ready", {})}
    timers = {"t5": wall + 10}
    return LinkRecord(wall, wall, number, 0, name, "10.0.0.1:5000", "active", {}, states, timers)


def step(wall: float, to: str, number: int = 1, chart: str = "connection_active") -> StepRecord:
    hop = HopRecord(chart, "moved", "elsewhere", to, {"count": 1})
    return StepRecord(wall, wall, number, 1, "moved", (hop,), (), {"t6": wall + 5})


def frame(
    wall: float,
    system: int = 0,
    number: int = 1,
    *,
    sent: bool = True,
    seconds: float | None = None,
    epoch: int = 1,
) -> FrameRecord:
    data = bytes((0, 0, 0x81, 1, 0, 0)) + system.to_bytes(4, "big")
    return FrameRecord(wall, wall, number, epoch, sent, data, 14, seconds=seconds)


def gone(wall: float, number: int = 1) -> GoneRecord:
    return GoneRecord(wall, wall, number, 1)


def live(*records: Record, budget: int = 1_000_000) -> LiveHistory:
    history = LiveHistory(budget=budget)
    for record in (head(0.0, 0.0, "a1b2"), *records):
        history.take(record)
    return history


def written(path: Path, records: Sequence[Record], *, is_packed: bool = False) -> Path:
    data = "".join(map(line_of, records)).encode()
    path.write_bytes(gzip.compress(data, 1) if is_packed else data)
    return path


def all_read(*paths: Path, piece: int = NOT_READ) -> FileHistory:
    history = FileHistory(paths)
    while not history.is_read:
        history.read_more(piece)
    return history


def entries(history: History, number: int = 0) -> list[Entry]:
    return [
        each
        for block in history.blocks
        for each in history.entries(block, number)
        if each is not None
    ]


def small(monkeypatch: pytest.MonkeyPatch, records: int, blocks: int = 4, links: int = 40) -> None:
    monkeypatch.setattr(histories, "_RECORDS", records)
    monkeypatch.setattr(histories, "_MOST_BLOCKS", blocks)
    monkeypatch.setattr(histories, "_MOST_COPIES", links)


# What must come out, made the slow way: all records of all links, in order


class Told(NamedTuple):
    ordinal: int
    key: tuple[str, int]
    record: RecordOfLink
    now: LinkNow


def told(records: Sequence[Record | Unread]) -> list[Told]:
    found: list[Told] = []
    links: dict[tuple[str, int], LinkNow] = {}
    recording, wall = "", 0.0
    for ordinal, record in enumerate(records):
        match record:
            case HeadRecord():
                recording = record.recording
            case LostRecord() | EndRecord() | Unread():
                pass
            case _:
                key = (recording, record.link)
                wall = max(wall, record.wall) if 0 <= record.wall <= LAST_SECOND else wall
                moved = replace(record, wall=wall)
                links[key] = after(links.get(key), moved)
                found.append(Told(ordinal, key, moved, links[key]))
    return found


def by_link(records: Sequence[Record | Unread]) -> list[list[Told]]:
    """Of each link what was told of it, in the order in which the links came."""
    found: dict[tuple[str, int], list[Told]] = {}
    for each in told(records):
        found.setdefault(each.key, []).append(each)
    return list(found.values())


# Few links, few times: so they meet. Times go back, and some are no times.
_walls = st.sampled_from((0.0, 1.0, 2.0, 2.5, 3.0, 4.0, 1e9, -1.0, 1e14)) | st.floats(0, 10)
_leaves = st.sampled_from(("idle", "selecting", "communicating"))
_numbers = st.integers(1, 3)
_lines: st.SearchStrategy[Record] = st.one_of(
    st.builds(link, _walls, _leaves, _numbers),
    st.builds(step, _walls, _leaves, _numbers),
    st.builds(step, _walls, st.sampled_from(("ready", "isolated")), _numbers, st.just("breaker")),
    st.builds(frame, _walls, st.integers(0, 2), _numbers, sent=st.booleans()),
    st.builds(gone, _walls, _numbers),
    st.builds(head, st.just(0.0), st.just(0.0), st.sampled_from(("a1b2", "c3d4"))),
    st.builds(ErrorRecord, _walls, _walls, _numbers, st.just(1), st.just("E"), st.just("why")),
    st.builds(LostRecord, _walls, _walls, st.just(3), st.just(9)),
    st.builds(EndRecord, _walls, _walls, st.just("closed")),
    RECORDS,
)
RECORDINGS = st.lists(_lines, max_size=30)


def both(folder: Path, records: Sequence[Record], sizes: tuple[int, int]) -> Iterator[History]:
    """The same records as they come live, and of a file, with small blocks."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        small(monkeypatch, *sizes)
        history = LiveHistory(budget=10_000_000)
        for record in records:
            history.take(record)
        yield history
        path = written(folder / "any.jsonl", records)
        yield all_read(path, piece=3)


def records_of(history: History, path: Path, records: Sequence[Record]) -> list[Record | Unread]:
    return list(read([path])) if isinstance(history, FileHistory) else list(records)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recordings")


SIZES = st.tuples(st.integers(1, 4), st.integers(2, 6))


@given(records=RECORDINGS, sizes=SIZES, walls=st.lists(_walls, max_size=3))
def test_a_link_at_any_time_is_what_its_records_up_to_then_make_of_it(
    folder: Path, records: list[Record], sizes: tuple[int, int], walls: list[float]
) -> None:
    async def check() -> None:
        for history in both(folder, records, sizes):
            lines = records_of(history, folder / "any.jsonl", records)
            expected = by_link(lines)
            assert list(history.links.items()) == sorted(
                ((number, each[-1].now) for number, each in enumerate(expected)),
                key=lambda pair: expected[pair[0]][-1].ordinal,
            )
            assert history.unread == sum(isinstance(each, Unread) for each in lines)
            assert history.lost == sum(each.count for each in lines if isinstance(each, LostRecord))
            for number, each in enumerate(expected):
                assert entries(history, number) == [(one.ordinal, one.record) for one in each]
                assert history.span(number)[1] == each[-1].record.wall
                assert history.span(number)[0] <= each[0].record.wall
                for wall in (*walls, *(one.record.wall for one in each)):
                    before = [one.now for one in each if one.record.wall <= wall]
                    now = await looking.link_at(history, number, wall)
                    assert now == (before[-1] if before else each[0].now)

    trio.run(check)


@given(records=RECORDINGS, sizes=SIZES, until=_walls | st.just(math.inf), count=st.integers(1, 4))
def test_a_search_gives_each_record_once_the_latest_first(
    folder: Path, records: list[Record], sizes: tuple[int, int], until: float, count: int
) -> None:
    def wanted(entry: Entry) -> bool:
        return type(entry.record) is not StepRecord

    async def check() -> None:
        for history in both(folder, records, sizes):
            lines = records_of(history, folder / "any.jsonl", records)
            for number, each in enumerate(by_link(lines)):
                expected = [
                    one.ordinal
                    for one in each
                    if one.record.wall <= until and type(one.record) is not StepRecord
                ]
                found: list[int] = []
                before: int | None = None
                searched = until
                while True:
                    page = await looking.search(
                        history, number, wanted, until=until, before=before, count=count
                    )
                    assert len(page.entries) <= count
                    assert page.searched <= searched
                    found += [entry.ordinal for entry in page.entries]
                    if page.older is None:
                        break
                    # It goes on, even when nothing was found.
                    assert before is None or page.older < before
                    before, searched = page.older, page.searched
                assert found == expected[::-1]

    with pytest.MonkeyPatch.context() as monkeypatch:
        for most in (20_000, 0):
            monkeypatch.setattr(looking, "_MOST_SEARCHED", most)
            trio.run(check)


@given(records=RECORDINGS, sizes=SIZES, times=st.tuples(_walls, _walls), count=st.integers(1, 9))
def test_a_stretch_has_all_records_of_a_time(
    folder: Path,
    records: list[Record],
    sizes: tuple[int, int],
    times: tuple[float, float],
    count: int,
) -> None:
    begin, end = sorted(times)

    async def check() -> None:
        for history in both(folder, records, sizes):
            lines = records_of(history, folder / "any.jsonl", records)
            for number, each in enumerate(by_link(lines)):
                expected = [one.ordinal for one in each if begin <= one.record.wall <= end]
                found, is_cut = await looking.stretch(history, number, begin, end, count)
                assert [entry.ordinal for entry in found] == expected[:count]
                assert is_cut == (len(expected) > count)

    trio.run(check)


@given(records=RECORDINGS, sizes=SIZES, times=st.tuples(_walls, _walls))
def test_the_time_line_of_a_time_is_that_of_its_records(
    folder: Path, records: list[Record], sizes: tuple[int, int], times: tuple[float, float]
) -> None:
    begin, end = sorted(times)

    async def check() -> None:
        for history in both(folder, records, sizes):
            lines = records_of(history, folder / "any.jsonl", records)
            for number, each in enumerate(by_link(lines)):
                expected = Timeline(begin, max((end - begin) / (MOST - 1), 1e-6))
                before = [one.now for one in each if one.record.wall < begin]
                now = before[-1] if before else None
                for chart, state in (now.states if now else {}).items():
                    draw_state(expected, begin, chart, state.leaves)
                for one in each[len(before) :]:
                    # As it is drawn once while the records come.
                    if one.record.wall <= end and not is_late(now, one.record):
                        draw(expected, one.record)
                    now = one.now
                found, is_exact = await looking.timeline(history, number, begin, end)
                assert is_exact
                assert found.ticks() == expected.ticks()
                assert found.connection_bands(end) == expected.connection_bands(end)
                assert found.breaker_bands(end) == expected.breaker_bands(end)

    trio.run(check)


def test_the_time_line_of_a_short_time_has_a_bucket_for_its_end() -> None:
    history = live(link(100.0), *(frame(100.0 + each) for each in range(MOST)))

    async def check() -> None:
        found, is_exact = await looking.timeline(history, 0, 100.0, 100.0 + MOST - 1)
        assert (len(found.ticks()), is_exact) == (MOST, True)

    trio.run(check)


def test_a_long_time_is_drawn_as_it_was_when_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "_MOST_DRAWN", 10)
    history = live(link(0.0), *(frame(float(each)) for each in range(65)))

    async def check() -> None:
        whole, is_exact = await looking.timeline(history, 0, 0.0, 64.0)
        assert whole is history.timelines[0]
        assert is_exact
        # So short a time could be finer.
        assert await looking.timeline(history, 0, 0.0, 1.0) == (whole, False)

    trio.run(check)


def test_a_late_step_is_on_no_time_line() -> None:
    history = live(link(1.0), step(5.0, "selecting"), step(4.0, "communicating"), frame(9.0))

    async def check() -> None:
        for begin in (0.0, 5.0):
            found, _ = await looking.timeline(history, 0, begin, 9.0)
            for each in (found, history.timelines[0]):
                assert each.connection_bands(9.0)[-1].state == "selecting"
        assert history.late == 1

    trio.run(check)


def test_a_time_line_begins_with_the_state_that_was(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, 2)
    moved = (step(2.0, "selecting"), step(3.0, "communicating"), step(6.0, "x", chart="breaker"))
    for records in (moved, moved[:2]):
        history = live(link(1.0), *records, frame(7.0))

        async def check(history: LiveHistory = history) -> None:
            found, _ = await looking.timeline(history, 0, 4.0, 8.0)
            assert found.connection_bands(8.0) == [Band(4.0, 8.0, "communicating", False)]
            assert found.breaker_bands(8.0)[0][::2] == (4.0, "ready")

        trio.run(check)


def test_nothing_is_drawn_of_a_time_before_a_link() -> None:
    async def check() -> None:
        found, _ = await looking.timeline(live(link(5.0)), 0, 1.0, 2.0)
        assert (found.ticks(), found.connection_bands(2.0)) == ([], [])
        assert await looking.stretch(live(link(5.0)), 0, 1.0, 2.0, 9) == ([], False)

    trio.run(check)


# Others have their turn


async def test_long_bodies_give_way_to_others_more_often() -> None:
    one = frame(1.0)
    long = replace(one, data=one.data + bytes(4_194_304))
    history = live(link(0.0), long, long, replace(long, link=2), one, budget=1_000_000_000)
    (block,) = history.blocks
    assert [each is None for each in history.entries(block, 0)].count(True) == 3 * 64 + 2
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await looking.stretch(history, 0, 0.0, 2.0, 9)
        nursery.cancel_scope.cancel()
    # Without, there is none: these are five records.
    assert turns >= 5


def test_few_long_lines_are_read_at_a_time(tmp_path: Path) -> None:
    one = frame(1.0)
    long = replace(one, data=one.data + bytes(1_500_000))
    history = FileHistory([written(tmp_path / "a.jsonl", [head(0.0, 0.0, "a"), *[long] * 5])])
    lengths = []
    while not history.is_read:
        history.read_more(NOT_READ)
        lengths.append(sum(block.count for block in history.blocks))
    assert lengths == [2, 3, 4, 5, 6, 6]


async def test_each_look_gives_way_to_others() -> None:
    history = live(link(0.0), *(frame(float(each), each) for each in range(400)), budget=10_000_000)
    turns: list[int] = []

    async def count() -> None:
        while True:
            turns[-1] += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        turns.append(0)
        nursery.start_soon(count)
        await looking.link_at(history, 0, 390.0)
        turns.append(0)
        await looking.search(
            history, 0, lambda _: False, until=math.inf, before=None, count=9, weight=4
        )
        turns.append(0)
        await looking.stretch(history, 0, 0.0, 400.0, 1_000)
        turns.append(0)
        await looking.timeline(history, 0, 0.0, 400.0)
        nursery.cancel_scope.cancel()
    # One in 32 records, at least; the search costs four times as much.
    assert min(turns) >= 10
    assert turns[1] >= 40


# Requests and their replies


def pair(wall: float, system: int, later: float) -> tuple[FrameRecord, FrameRecord]:
    request = frame(wall, system)
    return request, frame(later, system, sent=False, seconds=later - wall)


async def tied(history: History, before: int | None = None, count: int = 9) -> dict[int, int]:
    found = await looking.search(
        history,
        0,
        lambda entry: type(entry.record) is FrameRecord,
        until=math.inf,
        before=before,
        count=count,
    )
    return {request: reply.ordinal for request, reply in found.replies.items()}


@pytest.mark.parametrize("size", [1, 2, 3, 9])
async def test_a_request_is_tied_to_its_reply(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    small(monkeypatch, size)
    first, reply = pair(2.0, 7, 3.0)
    another = pair(2.0, 7, 3.0)[1]
    # Of another link, another direction, another connection, and with other system bytes.
    others = (
        replace(another, link=2),
        replace(another, sent=True),
        replace(another, epoch=2),
        frame(3.0, 8, sent=False, seconds=1.0),
    )
    assert await tied(live(link(1.0), first, reply)) == {2: 3}
    for other in others:
        assert await tied(live(link(1.0), first, other)) == {}
    # The same system bytes a second time: each has its own.
    assert await tied(live(link(1.0), first, reply, *pair(4.0, 7, 5.0))) == {2: 3, 4: 5}


async def test_a_reply_in_the_next_block_is_found_from_any_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small(monkeypatch, 3)
    first, reply = pair(2.0, 7, 3.0)
    history = live(link(1.0), first, reply, frame(4.0, 8), frame(5.0, 9))
    assert [block.count for block in history.blocks] == [3, 3]
    assert await tied(history) == {2: 3}
    # The page that ends with the reply, and the next one.
    assert await tied(history, before=3, count=1) == {2: 3}
    # Two blocks away it is told by the reply alone.
    further = live(link(1.0), first, *(frame(2.0, 1 + each) for each in range(4)), reply)
    assert await tied(further) == {}


# What a link is after a record


def test_a_link_is_as_its_records_tell_it() -> None:
    history = live(*SOME[1:])
    now = history.links[0]
    assert (now.name, now.peer, now.role, now.server) == ("tool-7", "10.0.0.1:5000", "active", None)
    assert (now.at, now.wall, now.epoch, now.is_gone) == (4.0, 1e9 + 3, 1, True)
    assert now.states["breaker"].leaves == "breaker_closed"
    others = {"linktest_interval": None, "allowed_networks": ["10.0.0.0/8"]}
    assert now.settings == {"t3": 60.0, **others}
    assert now.last_error == ("ReplyTimeoutError", "T3: no reply «S1F1»", 1e9 + 2)
    assert now.last_step is SOME[3]
    assert now.round_trip == 0.25
    assert now.timers == {}
    assert (now.records, history.lost) == (8, 7)


def test_what_is_known_of_a_link_is_bounded() -> None:
    long = "<script>" * 100_000
    error = ErrorRecord(1.0, 1.0, 1, 1, long, long)
    closed = EventRecord(1.0, 1.0, 1, 1, "Closed", {"error": {"error": long, "text": long}})
    charts = [step(float(each), "idle", chart=f"chart {each}") for each in range(2_000)]
    settings = [
        SettingsRecord(1.0, 1.0, 1, 1, {f"setting {each}": 1, "t3": each}) for each in range(2_000)
    ]
    told = replace(
        link(0.0, name=long),
        peer=long,
        server=long,
        states=dict.fromkeys(map(str, range(2_000)), ChartState("idle", {})),
        settings=dict.fromkeys(map(str, range(2_000)), 1),
    )
    for record in (error, closed):
        now = live(told, record).links[0]
        assert now.last_error is not None
        texts = (now.name, now.peer, now.server or "", *now.last_error[:2])
        assert [len(each) for each in texts] == [1_000] * 5
        assert (len(now.states), len(now.settings)) == (64, 1_000)
    now = live(link(0.0), *charts, *settings, step(9_999.0, "last", chart="chart 0")).links[0]
    assert (len(now.states), len(now.settings)) == (64, 1_000)
    # What is known goes on.
    assert now.states["chart 0"].leaves == "last"
    assert now.settings["t3"] == 1_999


def test_a_chart_has_its_leaves_since_they_changed() -> None:
    now = after(after(None, link(1.0, "idle")), step(2.0, "idle"))
    assert now.states["connection_active"].since == 1.0
    # Its values are those of the step, and what it says nothing of stays.
    assert now.states["connection_active"].values == {"count": 1}
    assert now.states["breaker"] == after(None, link(1.0)).states["breaker"]
    now = after(now, step(3.0, "selecting"))
    assert now.states["connection_active"].since == 3.0
    # The next file of the recording says it again, and it is as old as before.
    assert after(now, link(9.0, "selecting")).states["connection_active"].since == 3.0


def test_a_link_has_the_name_of_its_peer_when_it_has_none() -> None:
    assert after(None, link(1.0, name="")).name == "10.0.0.1:5000"


def test_a_file_that_begins_in_the_middle_is_taken() -> None:
    now = after(None, step(5.0, "selecting", 7))
    assert (now.name, now.role) == ("link 7", None)
    assert now.states["connection_active"].leaves == "selecting"


def test_a_step_that_comes_too_late_changes_no_state() -> None:
    history = live(link(1.0), step(5.0, "selecting"), step(4.0, "idle"))
    assert history.links[0].states["connection_active"].leaves == "selecting"
    history.take(step(5.0, "communicating"))
    now = history.links[0]
    assert now.states["connection_active"].leaves == "communicating"
    assert (now.at, now.records, history.late) == (5.0, 4, 1)


def test_a_link_that_was_gone_comes_back() -> None:
    now = after(after(after(None, link(1.0)), gone(2.0)), link(3.0))
    assert (now.is_gone, now.timers) == (False, {"t5": 13.0})


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (frame(3.0, sent=False, seconds=0.5), 0.5),
        (frame(3.0, sent=True, seconds=0.5), 0.25),
        (frame(3.0, sent=False), 0.25),
    ],
    ids=["a reply to us", "a reply of ours", "a request"],
)
def test_a_round_trip_is_that_of_the_latest_reply(record: FrameRecord, expected: float) -> None:
    assert live(frame(2.0, sent=False, seconds=0.25), record).links[0].round_trip == expected


def test_the_error_of_an_event_is_the_last_error() -> None:
    event = EventRecord(2.0, 2.0, 1, 1, "Waiting", {"error": {"error": "Gone", "text": "it went"}})
    other = EventRecord(3.0, 3.0, 1, 1, "Connecting", {"attempt": 1, "error": None})
    failure = ErrorRecord(1.0, 1.0, 1, 1, "T3", "none came")
    assert live(failure, event, other).links[0].last_error == ("Gone", "it went", 2.0)
    assert live(failure, SettingsRecord(2.0, 2.0, 1, 1, {"t3": 2.0})).links[0].settings == {
        "t3": 2.0
    }


def test_a_wall_clock_that_is_set_back_makes_no_time_before_its_beginning() -> None:
    history = live(link(100.0), link(40.0, number=2), step(41.0, "selecting", 2))
    assert history.span(1) == (100.0, 100.0)
    now = history.links[1]
    assert now.states["connection_active"].since == 100.0
    assert now.last_step is not None
    assert now.last_step.wall == 100.0


@pytest.mark.parametrize("wall", [-1.0, 1e14, -1e18])
def test_a_time_that_no_calendar_has_is_that_of_the_record_before(wall: float) -> None:
    assert live(link(5.0), frame(wall)).span(0) == (5.0, 5.0)
    assert live(link(wall)).span(0) == (0.0, 0.0)


# Time lines

_moments = st.floats(-5, 2_000) | st.sampled_from((0.0, 63.9, 64.0, 1e6, LAST_SECOND))
_told = st.tuples(_moments, st.sampled_from(("a", "b", "c", "sent", "received")))


@given(told=st.lists(_told, max_size=40), more=st.floats(0, 50))
def test_a_time_line_is_as_the_slow_one(told: list[tuple[float, str]], more: float) -> None:
    told.sort(key=lambda each: each[0])
    timeline = Timeline(0.0)
    for wall, what in told:
        if what in ("sent", "received"):
            timeline.message(wall, sent=what == "sent")
        else:
            timeline.connection(wall, what)
            timeline.breaker(wall, what.upper())
            timeline.lease(wall, what.title())
    last = told[-1][0] if told else 0.0
    width = FIRST_WIDTH
    while int(max(last, 0.0) / width) >= MOST:
        width *= 2
    assert timeline.width == width

    def bucket(wall: float) -> int:
        return int(max(wall, 0.0) / width)

    counts = {"sent": dict[int, int](), "received": dict[int, int]()}
    states: dict[int, list[str]] = {}
    for wall, what in told:
        if what in counts:
            counts[what][bucket(wall)] = counts[what].get(bucket(wall), 0) + 1
        else:
            states.setdefault(bucket(wall), []).append(what)
    assert timeline.ticks() == [
        Tick(each * width, counts["sent"].get(each, 0), counts["received"].get(each, 0))
        for each in sorted(counts["sent"].keys() | counts["received"].keys())
    ]
    end = max(last, 0.0) + more
    bands = timeline.connection_bands(end)
    assert [each._replace(state=each.state.upper()) for each in bands] == timeline.breaker_bands(
        end
    )
    assert [each._replace(state=each.state.title()) for each in bands] == timeline.lease_bands(end)
    assert bool(bands) == bool(states)
    for one, two in pairwise(bands):
        assert one.begin < one.end == two.begin
        assert (one.state, one.is_mixed) != (two.state, two.is_mixed)
    if bands:
        assert (bands[0].begin, bands[-1].end) == (min(states) * width, end)
        now = ""
        for each in range(min(states), max(states) + 1):
            here = states.get(each, [])
            now = here[-1] if here else now
            shown = [one for one in bands if one.begin <= each * width < one.end]
            if each * width < end:
                assert [one.state for one in shown] == [now]
                assert shown[0].is_mixed == (len(set(here)) > 1)


def test_a_state_from_one_file_that_is_another_in_the_next_has_its_place() -> None:
    timeline = Timeline(0.0)
    for state, wall in (("a", 0.0), ("b", 1.0), ("b", 2.0), ("a", 3.0)):
        timeline.connection(wall, state)
    assert timeline.connection_bands(4.0) == [
        Band(0.0, 1.0, "a", False),
        Band(1.0, 3.0, "b", False),
        Band(3.0, 4.0, "a", False),
    ]


def test_more_states_than_there_are_bits_are_others() -> None:
    timeline = Timeline(0.0)
    for number in range(100):
        timeline.connection(float(number), f"state {number}")
    states = [each.state for each in timeline.connection_bands(100.0)]
    assert states == [*(f"state {number}" for number in range(63)), "others"]


def test_a_time_line_takes_the_same_memory_however_long_it_is() -> None:
    timeline = Timeline(0.0)
    sizes = set()
    for exponent in range(40):
        wall = 2.0**exponent
        timeline.message(wall, sent=True)
        timeline.connection(wall, "a" if exponent % 2 else "b")
        sizes.add(len(timeline.ticks()))
    assert max(sizes) <= MOST
    assert sum(each.sent for each in timeline.ticks()) == 40


# Live


def test_the_oldest_records_make_room_and_are_counted() -> None:
    history = live(*(step(float(each), "idle") for each in range(2_000)), budget=200_000)
    kept = entries(history)
    assert [each.ordinal for each in kept] == list(range(2_001 - len(kept), 2_001))
    assert history.forgotten == 2_001 - len(kept)
    assert 50 < len(kept) < 400
    assert history.span(0) == (kept[0].wall, 1_999.0)
    assert history.links[0].records == 2_000


def test_a_long_body_makes_room_for_itself() -> None:
    long = replace(frame(9.0), data=bytes(9_000), tolerated=("x",), passed_over="why")
    history = live(*(step(float(each), "idle") for each in range(5)), long, budget=5_000)
    assert [each.record for each in entries(history)] == [long]
    assert history.forgotten == 6


def test_a_link_that_is_gone_is_forgotten_with_its_last_record() -> None:
    history = live(link(1.0), gone(2.0), link(3.0, number=2), budget=0)
    assert [each.name for each in history.links.values()] == ["tool-7"]
    assert set(history.timelines) == set(history.others) == {1}
    # The same number again is another link.
    history.take(link(4.0))
    assert list(history.links) == [1, 2]


def test_a_link_that_is_gone_stays_while_one_of_its_records_is_kept() -> None:
    history = live(*(link(float(each)) for each in range(3)), gone(4.0), budget=1)
    assert len(history.blocks) == 1
    assert history.links[0].is_gone


async def test_a_quiet_link_stays_when_all_its_records_are_forgotten() -> None:
    history = live(link(1.0), *(step(float(each), "idle", 2) for each in range(2, 50)), budget=0)
    assert entries(history) == []
    now = history.links[0]
    assert await looking.link_at(history, 0, 0.5) == now
    assert await looking.link_at(history, 0, 30.0) == now
    assert history.span(0) == (1.0, 1.0)


def test_a_link_that_is_gone_makes_room_before_one_that_is_quiet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(histories, "MOST_LINKS", 2)
    history = live(link(1.0), link(2.0, number=2), gone(3.0, 2), link(4.0, number=3))
    assert list(history.links) == [0, 2]
    assert history.forgotten == 2
    history.take(link(5.0, number=4))
    assert list(history.links) == [2, 3]
    assert history.forgotten == 3


def used(work: Callable[[int], None], first: int, second: int) -> tuple[int, int]:
    """The bytes in use after the first part of some work, and after the second."""
    tracemalloc.start()
    try:
        work(first)
        before = tracemalloc.get_traced_memory()[0]
        work(second)
        return before, tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("says_gone", [True, False])
def test_links_that_come_and_go_need_no_more_memory(
    monkeypatch: pytest.MonkeyPatch, says_gone: bool
) -> None:
    monkeypatch.setattr(histories, "MOST_LINKS", 100)
    history = live(budget=200_000)
    numbers = iter(range(NOT_READ))

    def work(count: int) -> None:
        for _ in range(count):
            number = next(numbers)
            history.take(link(float(number), number=number))
            history.take(frame(float(number), number=number))
            if says_gone:
                history.take(gone(float(number), number))

    before, now = used(work, 1_500, 1_500)
    assert now < before + 50_000
    assert len(history.links) <= 100


def test_a_budget_below_zero_is_none() -> None:
    with pytest.raises(ValueError, match="budget must be at least 0 bytes, not -1"):
        LiveHistory(budget=-1)


# Files


def many_lines(count: int) -> Iterator[Record]:
    yield head(0.0, 0.0, "a1b2")
    for each in range(count):
        yield link(0.0, number=each % 7) if each < 7 else frame(float(each), each, each % 7)


def test_a_long_file_needs_no_more_memory_than_a_short_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small(monkeypatch, 10, 16, 1_000)
    history = FileHistory([written(tmp_path / "a.jsonl", list(many_lines(12_000)))])

    def work(count: int) -> None:
        history.read_more(count)

    before, now = used(work, 6_000, 6_000)
    assert now < before + 50_000
    assert len(history.blocks) <= 16
    counts = [block.count for block in history.blocks]
    assert sum(counts) == 12_000
    # They are about as long as each other.
    assert max(counts) <= 2_000


def test_many_links_make_fewer_blocks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small(monkeypatch, 5, 1_000, 30)
    links = [link(float(each), number=each) for each in range(20)]
    history = all_read(written(tmp_path / "a.jsonl", [head(0.0, 0.0, "a"), *links, *links]))
    assert sum(len(each.start) for each in history.blocks) <= 30
    assert [len(entries(history, number)) for number in range(20)] == [2] * 20


async def test_parts_and_several_recordings_are_one_history(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    written(tmp_path / "a.jsonl.1", [head(0.0, 0.0, "a"), link(1.0), EndRecord(2.0, 2.0, "next")])
    written(path, [head(3.0, 3.0, "a", 2), step(4.0, "selecting")])
    (tmp_path / "a.jsonl.2").write_bytes(path.read_bytes())
    written(path, [head(5.0, 5.0, "b"), link(6.0, "communicating")])
    history = all_read(*parts_of(path), piece=1)
    leaves = [each.states["connection_active"].leaves for each in history.links.values()]
    assert leaves == ["selecting", "communicating"]
    assert [each.record.wall for each in entries(history)] == [1.0, 4.0]
    assert history.notes == [
        "a.jsonl.2 has no end: it was cut, or is being written",
        "a.jsonl has no end: it was cut, or is being written",
    ]
    assert (await looking.link_at(history, 0, 2.0)).states["connection_active"].leaves == "idle"


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_file_that_is_cut_anywhere_is_read_up_to_there(
    tmp_path: Path, is_packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(monkeypatch, 2)
    path = written(tmp_path / "a.jsonl", list(many_lines(40)), is_packed=is_packed)
    whole = path.read_bytes()
    expected = entries(all_read(path))
    for length in range(0, len(whole), max(len(whole) // 50, 1)):
        path.write_bytes(whole[:length])
        history = all_read(path)
        found = entries(history) if history.links else []
        assert found == expected[: len(found)]
        assert history.share == 1.0
        assert history.notes


def test_how_much_is_read_is_told_meanwhile(tmp_path: Path) -> None:
    first = written(tmp_path / "a.jsonl", list(many_lines(50)))
    second = written(tmp_path / "b.jsonl", list(many_lines(50)), is_packed=True)
    history = FileHistory([first, second])
    shares = [history.share]
    while not history.is_read:
        history.read_more(5)
        shares.append(history.share)
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert len(set(shares)) > 10


def test_an_empty_file_has_nothing(tmp_path: Path) -> None:
    history = all_read(written(tmp_path / "a.jsonl", []))
    assert (history.links, history.blocks, history.share) == ({}, [], 1.0)
    assert FileHistory([tmp_path / "a.jsonl"]).share == 0.0


def test_what_could_not_be_read_is_counted_and_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = [line_of(each).encode() for each in SOME]
    path.write_bytes(b"".join([*lines[:2], b"nonsense\n" * 30, *lines[2:]]))
    history = all_read(path)
    assert (history.unread, history.lost) == (30, 7)
    assert history.notes[0] == "a.jsonl, line 3: no JSON: Expecting value at character 1"
    # The others would say the same.
    assert len(history.notes) == 20


def test_a_file_without_a_head_is_read_where_a_block_ends_in_its_first_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Its first line gives two: that it is no head, and what it is.
    small(monkeypatch, 1, 100, 100)
    history = all_read(written(tmp_path / "a.jsonl", [link(1.0), step(2.0, "selecting")]))
    assert [(each.ordinal, each.wall) for each in entries(history)] == [(1, 1.0), (2, 2.0)]
    assert history.unread == 1


def test_another_layout_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"kind":"recording","layout":2}\n', encoding="utf-8")
    history = all_read(path)
    assert history.notes == [
        "a.jsonl, line 1: layout 2 is not 1: another version of the engine has written it"
    ]


def test_other_charts_and_unknown_keys_are_told(tmp_path: Path) -> None:
    other = replace(head(0.0, 0.0, "a"), charts={**our_charts(), "breaker": "0" * 64})
    path = written(tmp_path / "a.jsonl", [other, link(1.0), head(2.0, 2.0, "b"), link(3.0)])
    path.write_bytes(path.read_bytes().replace(b'"epoch":0', b'"epoch":0,"new":1'))
    history = all_read(path)
    assert history.others == {0: frozenset({"breaker"}), 1: frozenset()}
    assert history.notes == [
        f"it is of engine {other.engine}, whose charts are others: breaker",
        "a.jsonl has no end: it was cut, or is being written",
        "2 keys are not known here, and passed over",
    ]


def test_records_that_were_lost_are_told(tmp_path: Path) -> None:
    history = all_read(written(tmp_path / "a.jsonl", SOME))
    assert history.lost == 7
    assert history.notes == ["records are missing: they came faster than they were taken"]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileHistory([tmp_path / "no.jsonl"])


def test_a_file_that_cannot_be_read_further_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", SOME)
    history = FileHistory([path])
    path.unlink()
    history.read_more(1)
    assert (history.share, len(history.notes)) == (1.0, 1)
    assert history.notes[0].startswith("it is read no further: ")


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path
    if kind == "device":
        path = Path(os.devnull)
    elif kind == "pipe":
        if sys.platform == "win32":
            pytest.skip("it has none in a folder")
        path = tmp_path / "pipe"
        os.mkfifo(path)
    with pytest.raises(OSError, match="it is no regular file") as caught:
        FileHistory([path])
    assert caught.value.filename == str(path)


def test_files_may_grow_but_not_be_others(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", SOME[:-1])
    history = all_read(path)
    expected = entries(history)
    assert expected
    with path.open("ab") as file:
        file.write(line_of(SOME[-1]).encode())
    assert entries(history) == expected
    data = path.read_bytes()
    # Cut in its place, or another one in its place.
    os.truncate(path, 10)
    with pytest.raises(ChangedError, match=r"a\.jsonl is another file than when it was opened"):
        entries(history)
    path.rename(tmp_path / "b.jsonl")
    path.write_bytes(data)
    with pytest.raises(ChangedError):
        entries(history)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        entries(history)
