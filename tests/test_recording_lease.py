"""A link that a lease decides about, in recordings: live, in files, and what reads these."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from hsms_engine import LeaseError, Message, events
from hsms_engine.capture import PcapWriter
from hsms_engine.cli.showing import Lines
from hsms_engine.lease import MemoryStore
from hsms_engine.recorder import BlackBox, Recorder
from hsms_engine.recording import (
    ChartState,
    EndRecord,
    EventRecord,
    HeadRecord,
    LinkRecord,
    OwnerRecord,
    Record,
    StepRecord,
    Unread,
    UnreadableError,
    event_record,
    fields_of,
    line_of,
    our_charts,
    parts_of,
    read,
    record_of,
)
from hsms_engine.replay.conversation import open_conversation
from tests.support.faulty_lease import away
from tests.support.leased import OTHER, US, Leased, leased, taken
from tests.support.raw_peer import data
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]

BEGUN = LinkRecord(
    1.0,
    2.0,
    1,
    0,
    "tool-7",
    "10.0.0.1:5000",
    "active",
    {},
    {"lease": ChartState("standby", {"wanted": 1})},
    {"lease_poll": 2.5},
    None,
    OwnerRecord("host-b:\u2028\x1b[31m\udcff", 3),
)


def again(record: Record) -> Record:
    found, unknown = record_of(line_of(record).encode())
    assert unknown == 0
    return found


# Each event, and the beginning

TOLD: list[tuple[events.LinkEvent, dict[str, object]]] = [
    (events.Withdrawn(1.0, 2), {}),
    (events.Standby(1.0, 2, "", 0, None), {"owner": "", "lease_epoch": 0, "error": None}),
    (
        events.Standby(1.0, 2, "h\u2028b", 3, LeaseError("x")),
        {"owner": "h\u2028b", "lease_epoch": 3, "error": {"error": "LeaseError", "text": "x"}},
    ),
    (events.Owning(1.0, 2, 7), {"lease_epoch": 7}),
    (
        events.Doubtful(1.0, 2, LeaseError("x"), 6.25),
        {"error": {"error": "LeaseError", "text": "x"}, "ends_in": 6.25},
    ),
    (
        events.Doubtful(1.0, 2, LeaseError("x"), math.inf),
        {"error": {"error": "LeaseError", "text": "x"}, "ends_in": None},
    ),
    (events.Draining(1.0, 2, "lost"), {"why": "lost"}),
]


@pytest.mark.parametrize(("event", "fields"), TOLD, ids=[type(each).__name__ for each, _ in TOLD])
def test_each_event_of_a_lease_comes_back_with_its_fields(
    event: events.LinkEvent, fields: dict[str, object]
) -> None:
    record = event_record(event, 5.0, 1)
    assert record == EventRecord(1.0, 5.0, 1, 2, type(event).__name__, fields)  # type: ignore[arg-type]  # JSON values
    assert again(record) == record


def test_a_link_comes_back_with_who_has_its_lease() -> None:
    assert again(BEGUN) == BEGUN
    assert fields_of(BEGUN)["ownership"] == {
        "owner": "host-b:\u2028\x1b[31m\udcff",
        "lease_epoch": 3,
    }


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [
        ([], "ownership"),
        ({"owner": "b"}, "lease_epoch"),
        ({"owner": 1, "lease_epoch": 1}, "owner"),
        ({"owner": "b", "lease_epoch": -1}, "lease_epoch"),
        ({"owner": "b", "lease_epoch": 1.5}, "lease_epoch"),
    ],
)
def test_an_owner_that_is_none_spoils_its_line(spoilt: object, why: str) -> None:
    line = json.dumps({**fields_of(BEGUN), "ownership": spoilt})
    with pytest.raises(UnreadableError, match=why):
        record_of(line.encode())


def test_the_head_has_the_connection_of_a_lease_beside_the_other() -> None:
    ours = our_charts()
    assert ours["connection_active"] != ours["owned_link.connection_active"]
    assert "lease" in ours


def test_nothing_of_an_owner_is_acted_on_by_a_terminal() -> None:
    shown = Lines(None, has_sml=False).line(BEGUN)
    assert shown is not None
    assert shown.isprintable()
    assert shown.endswith("lease standby; host-b:\\u2028\\x1b[31m\\udcff owns the tool, epoch 3")


# Live


def records_of(path: Path) -> list[Record]:
    reader = read(parts_of(path))
    found = [each for each in reader if not isinstance(each, Unread)]
    assert (reader.cut, reader.unknown_keys) == ([], 0)
    return found


def told(records: list[Record]) -> list[str]:
    return [each.event for each in records if isinstance(each, EventRecord)]


async def test_a_life_with_a_lease_is_recorded_and_plays_as_any_other(tmp_path: Path) -> None:
    file = tmp_path / "owned.jsonl"
    with closing(Recorder(file)) as recorder:
        async with leased(name="etcher-1", record=recorder) as it:
            peer = await it.up()
            await peer.send(data(1, 1, 7, wait=True))
            primary = await it.link.receive()
            await it.link.reply(primary, Message(1, 2))
            it.lease.failure = away()
            await it.until("doubtful")
            it.lease.failure = None
            await it.until("owner")
            it.link.disable()
            await it.until("withdrawn")
    records = records_of(file)
    (head,) = (each for each in records if isinstance(each, HeadRecord))
    assert head.charts == our_charts()
    (begun,) = (each for each in records if isinstance(each, LinkRecord))
    assert begun.states["lease"].leaves in ("withdrawn", "acquiring")
    assert begun.ownership == OwnerRecord("", 0)
    of_lease = [each for each in told(records) if each in LEASE]
    assert of_lease == ["Standby", "Owning", "Doubtful", "Owning", "Draining", "Withdrawn"]
    steps = [
        (hop.before, hop.after)
        for each in records
        if isinstance(each, StepRecord)
        for hop in each.hops
        if hop.chart == "lease"
    ]
    assert ("acquiring", "settled") in steps
    assert [after for _, after in steps[-2:]] == ["withdrawn", "ended"]
    # Each step begins where the one before has ended.
    assert all(one[1] == other[0] for one, other in pairwise(steps))
    # All can be shown, and a capture has the same packets as without what is told of a lease.
    lines = Lines(None, has_sml=True)
    shown = [line for each in records if (line := lines.line(each)) is not None]
    assert any('event Draining why="withdrawn"' in each for each in shown)
    assert any(": lease " in each or ", lease " in each for each in shown)
    without = [
        each
        for each in records
        if not (isinstance(each, StepRecord) and "lease" in {hop.chart for hop in each.hops})
        and not (isinstance(each, EventRecord) and each.event in LEASE)
    ]
    assert packets(records) == packets(without)
    conversation = await open_conversation(file, "host")
    assert (conversation.ours, conversation.theirs) == (1, 1)


LEASE = {"Withdrawn", "Standby", "Owning", "Doubtful", "Draining"}


def packets(records: list[Record]) -> bytes:
    writer = PcapWriter()
    return b"".join(packet for each in records for packet in writer.packets(each))


async def test_a_recording_that_begins_later_says_who_owns_the_tool(tmp_path: Path) -> None:
    store = MemoryStore()
    files = [tmp_path / "standby.jsonl", tmp_path / "owner.jsonl"]
    async with leased(store) as it:
        async with taken(store):
            await it.until("standby")
            with closing(Recorder(files[0])) as recorder:
                recorder.add(it.link)
        await it.up()
        with closing(Recorder(files[1])) as recorder:
            recorder.add(it.link)
    first, second = (
        each for file in files for each in records_of(file) if isinstance(each, LinkRecord)
    )
    assert (first.ownership, first.states["lease"].leaves) == (OwnerRecord(OTHER, 1), "standby")
    assert (second.ownership, second.states["lease"].leaves) == (OwnerRecord(US, 2), "settled")


# Black boxes


async def _loses_the_store(it: Leased) -> None:
    it.lease.failure = away()
    await it.until("standby")
    it.lease.failure = None


async def _loses_the_lease(it: Leased) -> None:
    it.store._entries.clear()
    async with taken(it.store):
        await it.until("standby")


async def _gives_it_back(it: Leased) -> None:
    it.link.disable()
    await it.until("withdrawn")


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (_loses_the_store, ["the lease of the tool was not renewed by its own deadline"]),
        (_loses_the_lease, ["the lease of the tool was lost"]),
        (_gives_it_back, []),
    ],
)
async def test_a_lease_that_ends_although_nobody_gave_it_back_leaves_a_file(
    end: Callable[[Leased], Awaitable[None]], why: list[str], tmp_path: Path
) -> None:
    box = BlackBox(tmp_path)
    async with leased(black_box=box) as it:
        await it.up()
        await end(it)
    box.flush()
    files = [records_of(each) for each in _in(tmp_path)]
    assert all("Draining" in told(each) for each in files)
    ends = [each.why for records in files for each in records if isinstance(each, EndRecord)]
    assert ends == why


def _in(folder: Path) -> list[Path]:
    return list(folder.iterdir())
