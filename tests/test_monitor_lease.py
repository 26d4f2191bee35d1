"""What the page of links is told of a lease: from records of any kind, in any order."""

from __future__ import annotations

from typing import Any

import pytest

from hsms_engine.lease import MemoryStore
from hsms_engine.monitor.answers import Answers, Source
from hsms_engine.monitor.feed import Feed
from hsms_engine.monitor.history import LiveHistory, draw
from hsms_engine.monitor.model import LeaseNow, LinkNow, after, ownership_of
from hsms_engine.monitor.timeline import Timeline
from hsms_engine.protocol.leasing import OWNERSHIP
from hsms_engine.recording import (
    ChartState,
    EventRecord,
    HopRecord,
    LinkRecord,
    OwnerRecord,
    RecordOfLink,
    StepRecord,
    head,
)
from statecharts.hsms import LEASE
from tests.support.leased import OTHER, leased, taken
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]

ERROR = {"error": "LeaseError", "text": "the store is away"}


def link(wall: float, leaves: str | None = "withdrawn", *owned: Any) -> LinkRecord:
    """A link begins to be recorded; ``owned`` is who has its lease, and the epoch."""
    states = {} if leaves is None else {"lease": ChartState(leaves, {"wanted": 1})}
    ownership = OwnerRecord(*owned) if owned else None
    where = (wall, wall, 1, 0, "etcher-1", "10.0.0.1:5000", "active")
    return LinkRecord(*where, {}, states, {}, None, ownership)  # type: ignore[arg-type]  # the role


def step(wall: float, leaves: str, chart: str = "lease") -> StepRecord:
    hop = HopRecord(chart, "moved", "elsewhere", leaves, {})
    return StepRecord(wall, wall, 1, 0, "moved", (hop,), (), {})


def told(wall: float, event: str, **fields: Any) -> EventRecord:
    return EventRecord(wall, wall, 1, 0, event, fields)


def standby(wall: float, owner: str, epoch: int = 0, error: Any = None) -> EventRecord:
    return told(wall, "Standby", owner=owner, lease_epoch=epoch, error=error)


def now(*records: RecordOfLink) -> LinkNow:
    found = None
    for each in records:
        found = after(found, each)
    assert found is not None
    return found


def lease(*records: RecordOfLink) -> LeaseNow | None:
    return now(*records).lease


def test_each_state_of_the_chart_has_its_word_and_asking_is_standing_by() -> None:
    leaves = {state.id for state in LEASE.leaves}
    assert leaves == set(OWNERSHIP)
    words = {ownership_of(each) for each in leaves}
    assert words == set(OWNERSHIP.values()) - {"acquiring"}
    assert ownership_of("of another version") == "of another version"
    assert len(ownership_of("x" * 5_000)) == 1_000


def test_a_link_without_a_lease_has_none() -> None:
    assert lease(link(1, None)) is None
    assert lease(link(1, None), step(2, "idle", "connection_active"), told(3, "Idle")) is None
    # Nor has it one when a lease is told of that nobody can know.
    assert lease(link(1, None), told(2, "Withdrawn"), told(3, "Draining", why="lost")) is None


def test_the_beginning_says_who_has_it() -> None:
    assert lease(link(1, "standby", "b", 3)) == LeaseNow("standby", 1, "b", 3)
    assert lease(link(1, "settled", "a", 3)) == LeaseNow("owner", 1, "a", 3)
    # By an engine that does not say who.
    assert lease(link(1, "standby")) == LeaseNow("standby", 1, "", 0)


def test_a_standby_is_one_since_it_knows_the_owner_however_often_it_asks() -> None:
    records: list[RecordOfLink] = [
        link(1, "withdrawn", "", 0),
        standby(2, "", 0),
        step(2, "acquiring"),
        standby(3, "b", 7),
        step(3, "standby"),
    ]
    assert lease(*records) == LeaseNow("standby", 3, "b", 7)
    records += [step(4, "acquiring"), step(5, "standby"), standby(6, "b", 7, ERROR)]
    assert lease(*records) == LeaseNow("standby", 3, "b", 7)
    assert now(*records).last_error == ("LeaseError", "the store is away", 6)
    assert lease(*records, standby(7, "c", 8)) == LeaseNow("standby", 7, "c", 8)


def test_an_owner_is_one_since_it_got_the_lease_however_often_it_renews_it() -> None:
    records: list[RecordOfLink] = [
        link(1, "standby", "b", 3),
        told(2, "Owning", lease_epoch=4),
        step(2, "settled"),
        step(3, "renewing"),
        step(4, "settled"),
    ]
    assert lease(*records) == LeaseNow("owner", 2, "", 4)
    # Another file begins, which says what it is called.
    assert lease(*records, link(5, "settled", "a", 4)) == LeaseNow("owner", 2, "a", 4)
    records += [told(6, "Doubtful", error=ERROR, ends_in=6.0), step(6, "pausing")]
    records += [step(7, "asking_again")]
    assert lease(*records) == LeaseNow("doubtful", 6, "", 4)
    records += [told(8, "Draining", why="lost"), step(8, "draining")]
    assert lease(*records) == LeaseNow("draining", 8, "", 4)
    records += [standby(9, "c", 5), step(9, "standby")]
    assert lease(*records) == LeaseNow("standby", 9, "c", 5)
    records += [told(10, "Withdrawn"), step(10, "withdrawn")]
    assert lease(*records) == LeaseNow("withdrawn", 10, "", 5)


@pytest.mark.parametrize(
    ("first", "found"),
    [
        (standby(1, "b", 3), LeaseNow("standby", 1, "b", 3)),
        (told(1, "Owning", lease_epoch=3), LeaseNow("owner", 1, "", 3)),
        (step(1, "pausing"), LeaseNow("doubtful", 1, "", 0)),
        (step(1, "of another version"), LeaseNow("of another version", 1, "", 0)),
    ],
)
def test_a_file_may_begin_anywhere(first: RecordOfLink, found: LeaseNow) -> None:
    assert lease(first) == found


@pytest.mark.parametrize(
    "odd",
    [
        told(2, "Standby"),
        told(2, "Standby", owner=3, lease_epoch=1),
        told(2, "Standby", owner="c", lease_epoch="1"),
        told(2, "Owning"),
        told(2, "Owning", lease_epoch=None),
        told(2, "Standby", error="away"),
    ],
)
def test_an_event_of_another_form_changes_nothing(odd: EventRecord) -> None:
    assert lease(link(1, "standby", "b", 3), odd) == LeaseNow("standby", 1, "b", 3)


def test_a_name_without_end_is_cut() -> None:
    long = "x" * 5_000
    for records in ([link(1, "standby", long, 1)], [standby(1, long, 1)]):
        found = lease(*records)
        assert found is not None
        assert found.owner == long[:1_000]
    # It is the same one when it is told again.
    assert lease(link(1, "standby", long, 1), standby(2, long, 1)) == LeaseNow(
        "standby", 1, long[:1_000], 1
    )


def test_the_time_line_has_a_band_for_each_time_that_somebody_had_it() -> None:
    timeline = Timeline(0.0)
    for record in (
        link(0, "withdrawn"),
        step(10, "acquiring"),
        step(10.5, "standby"),
        step(20, "acquiring"),
        step(20.5, "standby"),
        step(30, "settled"),
        step(40, "renewing"),
    ):
        draw(timeline, record)
    bands = [(each.begin, each.end, each.state) for each in timeline.lease_bands(50)]
    assert bands == [(0, 10, "withdrawn"), (10, 30, "standby"), (30, 50, "owner")]
    assert timeline.connection_bands(50) == timeline.breaker_bands(50) == []


async def answered(history: LiveHistory) -> tuple[Any, Any]:
    answers = Answers([Source("live", "live", history)], clock=lambda: 100.0)
    overview: Any = await answers.get("/api/links", {})
    (row,) = overview["links"]
    where = f"/api/link/{row['key']}/timeline"
    line: Any = await answers.get(where, {"from": "0", "to": "50", "width": "800"})
    return row, line["lease"]


async def test_a_row_has_the_lease_and_the_time_line_its_bands() -> None:
    history = LiveHistory(budget=1_000_000)
    for record in (head(0.0, 0.0, "a1b2"), link(0, "standby", "b", 3), step(30, "settled")):
        history.take(record)
    row, bands = await answered(history)
    assert row["lease"] == {"state": "owner", "since": 30, "owner": "b", "lease_epoch": 3}
    assert [each["state"] for each in bands] == ["standby", "owner"]
    assert bands[0]["to"] == bands[1]["from"] == pytest.approx(30, abs=0.2)


async def test_live_it_is_as_the_link_says() -> None:
    history = LiveHistory(budget=1_000_000)
    feed = Feed(history)
    store = MemoryStore()
    seen: list[LeaseNow | None] = []

    async def look() -> None:
        await feed.take()
        (found,) = history.links.values()
        seen.append(found.lease)

    async with leased(store) as it:
        async with taken(store):
            await it.until("standby")
            feed.add(it.link)
            await look()
        await it.up()
        await look()
        it.link.disable()
        await it.until("withdrawn")
        await look()
    states = [None if each is None else (each.state, each.owner) for each in seen]
    assert states == [("standby", OTHER), ("owner", ""), ("withdrawn", "")]
