"""What happens to a tool is published with numbers: a reader sees all of it once, or a gap."""

from __future__ import annotations

import logging

import pytest
import trio

from hsms_engine import LeaseError, LeaseSetupError, Message, SettingsError
from hsms_engine.answers import AnswerBook
from hsms_engine.fleet import (
    FleetPrimary,
    FleetStream,
    Gap,
    Member,
    MemoryStreams,
    NewEntry,
    Published,
    PublishedEvent,
    fleet_stream,
)
from hsms_engine.fleet.outbox import Outbox, Queued
from hsms_engine.fleet.reader import Read
from hsms_engine.secs2 import U4
from tests.support.leaks import leak_check, no_task_left
from tests.support.shop import LENGTH, FaultyStreams, Process, Shop, shop, within
from tests.support.virtual import virtual_time
from tests.test_fleet_order import mark

__all__ = ["leak_check", "no_task_left", "virtual_time"]

A, B = "hsms.A.primary", "hsms.B.primary"
S6F11 = Message(6, 11, item=U4(7))
S6F11_W = Message(6, 11, wait=True, item=U4(7))
BOOK = AnswerBook.parse("S6F12 <B 0> .")


def new(stream: str = A, value: bytes = b"v") -> NewEntry:
    return NewEntry(stream, {b"k": value}, 1_000)


async def in_stream(streams: MemoryStreams, stream: str = A) -> list[bytes]:
    found = await streams.read({stream: "0-0"}, 10_000, 0)
    return [each.fields[b"k"] for each in found.get(stream, ())]


# Streams in memory


async def test_what_lasts_for_a_time_is_gone_then() -> None:
    streams = MemoryStreams()
    lasting = NewEntry(A, {b"k": b"1"}, 10, 10)
    await streams.append([lasting])
    await trio.sleep(9)
    assert await in_stream(streams) == [b"1"]
    await streams.append([lasting])
    await trio.sleep(9)
    assert await in_stream(streams) == [b"1", b"1"]
    await trio.sleep(1)
    assert await in_stream(streams) == []
    assert await streams.read({A: "0-0"}, 1, 5) == {}


async def test_who_does_not_attend_any_more_is_gone() -> None:
    streams = MemoryStreams()
    await streams.attend(Member("a", "life1"), 5)
    await trio.sleep(5)
    assert (await streams.attend(Member("b", "life2"), 5)).members == (Member("b", "life2"),)


# The outbox


class Sending:
    """An outbox that runs, and the streams behind it."""

    def __init__(self, most: int = 10, most_bytes: int = 100_000) -> None:
        self.inner = MemoryStreams()
        self.streams = FaultyStreams(self.inner)
        self.outbox = Outbox(self.streams, "fleet a", 1.0, most, most_bytes)

    def put(self, *values: int, stream: str = A) -> list[Queued]:
        return [self.outbox.put(new(stream, b"%d" % each)) for each in values]


async def test_what_is_queued_is_appended_in_order_and_can_be_waited_for(
    nursery: trio.Nursery,
) -> None:
    sending = Sending()
    first, second = sending.put(1, 2)
    assert [first.is_appended, second.is_appended] == [None, None]
    nursery.start_soon(sending.outbox.run)
    assert await second.appended()
    assert first.is_appended
    assert await first.appended()
    assert await in_stream(sending.inner) == [b"1", b"2"]
    assert (sending.outbox.appended, sending.outbox.dropped, sending.outbox.waiting) == (2, 0, 0)


async def test_while_the_store_is_away_it_waits_and_the_log_says_so_once(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    sending = Sending()
    sending.streams.failure = LeaseError("away")
    nursery.start_soon(sending.outbox.run)
    sending.put(1)
    await trio.sleep(5)
    sending.put(2)
    await trio.sleep(5)
    assert sending.outbox.error is sending.streams.failure
    sending.streams.failure = None
    await sending.outbox.flush(10)
    assert await in_stream(sending.inner) == [b"1", b"2"]
    assert [each.getMessage() for each in caplog.records] == [
        "fleet a: the store does not take all entries (up to 10 wait, older are dropped): away",
        "fleet a: the store takes entries again",
    ]


async def test_what_was_appended_and_not_answered_is_appended_again(
    nursery: trio.Nursery,
) -> None:
    sending = Sending()
    sending.streams.is_lost_after = True
    nursery.start_soon(sending.outbox.run)
    sending.put(1)
    await trio.sleep(0.5)
    sending.streams.is_lost_after = False
    await sending.outbox.flush(10)
    assert await in_stream(sending.inner) == [b"1", b"1"]


async def test_beyond_its_bounds_the_oldest_of_the_fullest_stream_are_dropped(
    nursery: trio.Nursery,
) -> None:
    sending = Sending(most=4)
    one = sending.put(0, stream=B)
    flood = sending.put(1, 2, 3, 4, 5)
    assert [each.is_appended for each in flood] == [False, False, None, None, None]
    assert one[0].is_appended is None
    assert not await flood[0].appended()
    assert sending.outbox.dropped == 2
    nursery.start_soon(sending.outbox.run)
    await sending.outbox.flush(1)
    assert await in_stream(sending.inner) == [b"3", b"4", b"5"]
    assert await in_stream(sending.inner, B) == [b"0"]


async def test_it_is_bounded_in_bytes_and_what_is_larger_alone_is_dropped() -> None:
    sending = Sending(most_bytes=1_000)
    [small] = sending.put(1)
    huge = sending.outbox.put(new(A, bytes(1_000)))
    assert (huge.is_appended, small.is_appended) == (False, None)
    large = sending.outbox.put(new(A, bytes(900)))
    assert (small.is_appended, large.is_appended) == (False, None)
    assert sending.outbox.waiting_bytes == large.entry.size <= 1_000
    sending.outbox.close()
    assert large.is_appended is False
    assert (sending.outbox.waiting, sending.outbox.waiting_bytes, sending.outbox.dropped) == (
        0, 0, 3,
    )  # fmt: skip


async def test_who_waits_until_all_is_appended_is_told_after_several_batches(
    nursery: trio.Nursery,
) -> None:
    sending = Sending(most=2_000)
    nursery.start_soon(sending.outbox.run)
    sending.put(*range(1_000))
    began = trio.current_time()
    await sending.outbox.flush(100)
    assert trio.current_time() == began
    assert sending.streams.calls == ["append"] * 4
    assert await in_stream(sending.inner) == [b"%d" % number for number in range(1_000)]


async def test_what_is_being_sent_when_it_closes_is_dropped() -> None:
    sending = Sending()
    sending.streams.is_cut = True
    [one] = sending.put(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sending.outbox.run)
        await trio.testing.wait_all_tasks_blocked()
        await sending.outbox.flush(1)
        nursery.cancel_scope.cancel()
    assert one.is_appended is None
    sending.outbox.close()
    assert one.is_appended is False


async def test_who_waits_for_an_entry_is_told_when_it_is_dropped(nursery: trio.Nursery) -> None:
    sending = Sending(most=1)
    [first] = sending.put(1)
    results: list[bool] = []

    async def wait() -> None:
        results.append(await first.appended())

    nursery.start_soon(wait)
    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    sending.put(2)
    await trio.testing.wait_all_tasks_blocked()
    assert results == [False, False]


async def test_a_stream_that_the_store_refuses_keeps_no_other_back(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    sending = Sending()
    sending.streams.refused[A] = LeaseSetupError("A is a text")
    nursery.start_soon(sending.outbox.run)
    [refused], [taken] = sending.put(1), sending.put(2, stream=B)
    await sending.outbox.flush(1)
    assert (refused.is_appended, taken.is_appended) == (False, True)
    assert (sending.outbox.dropped, sending.outbox.appended) == (1, 1)
    [record] = caplog.records
    assert record.getMessage().endswith("(up to 10 wait, older are dropped): A is a text")


async def test_a_store_that_refuses_all_is_asked_again(nursery: trio.Nursery) -> None:
    sending = Sending()
    sending.streams.failure = LeaseSetupError("the password is wrong")
    nursery.start_soon(sending.outbox.run)
    [one] = sending.put(1)
    await trio.sleep(5)
    assert one.is_appended is None
    sending.streams.failure = None
    assert await one.appended()


async def test_where_a_later_one_was_taken_an_earlier_one_is_not_sent_again(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending = Sending()
    full, calls = LeaseError("its memory is full"), 0

    async def append(entries: list[NewEntry]) -> list[str | LeaseError]:
        nonlocal calls
        calls += 1
        return [full, full, "1-1", full] if calls == 1 else ["2-1"] * len(entries)

    monkeypatch.setattr(sending.streams, "append", append)
    ours, others = sending.put(1, 2, 3), sending.put(4, stream=B)
    nursery.start_soon(sending.outbox.run)
    await sending.outbox.flush(10)
    # The batch takes the streams in turn: A, B, A, A.
    assert [each.is_appended for each in (*ours, *others)] == [False, True, True, True]


# Reading


async def test_a_reader_goes_on_after_what_it_has_read() -> None:
    streams = MemoryStreams()
    marks = [mark(3, number).fields for number in range(1, 6)]
    await streams.append([NewEntry(A, each, 100) for each in marks])
    reader = FleetStream(streams, "A")
    assert reader.__aiter__() is reader
    first = await anext(reader)
    second = await anext(reader)
    assert isinstance(first, Published)
    assert isinstance(second, Published)
    assert (second.tool, second.epoch, second.number, second.owner) == ("A", 3, 2, "a:1")
    assert second.message == S6F11
    # With what was read, and nothing may be missing; or with its id only.
    third = await anext(FleetStream(streams, "A", after=second))
    assert isinstance(third, Published)
    assert third.number == 3
    assert isinstance(await anext(FleetStream(streams, "A", after=second.id)), Gap)
    assert reader.repeats == 0


async def test_a_reader_of_what_is_to_come(nursery: trio.Nursery) -> None:
    streams = MemoryStreams()
    for _ in range(2):
        reader = FleetStream(streams, "A", after=None)
        read: list[Read] = []

        async def take(reader: FleetStream = reader, read: list[Read] = read) -> None:
            read.append(await anext(reader))

        nursery.start_soon(take)
        await trio.testing.wait_all_tasks_blocked()
        await streams.append([NewEntry(A, mark(3, 1).fields, 100)])
        await trio.testing.wait_all_tasks_blocked()
        [only] = read
        assert isinstance(only, Published)


async def test_a_reader_outlives_a_store_that_is_away() -> None:
    inner = MemoryStreams()
    streams = FaultyStreams(inner)
    await inner.append([NewEntry(A, mark(3, 1).fields, 100)])
    reader = FleetStream(streams, "A")
    streams.failure = LeaseError("away")
    with trio.move_on_after(5):
        await anext(reader)
    assert [reader.error] == [streams.failure]
    streams.failure = None
    assert isinstance(await anext(reader), Published)
    assert reader.error is None
    streams.failure = LeaseSetupError("the password is wrong")
    with pytest.raises(LeaseSetupError, match=r"^the password is wrong$"):
        await anext(reader)


async def test_a_reader_of_a_name_that_is_none() -> None:
    with pytest.raises(SettingsError, match=r"^'A B' is no name of a tool"):
        FleetStream(MemoryStreams(), "A B")


# From the tool to the reader


async def took(floor: Shop, tool: str = "T1", of: str = "primary") -> list[Read]:
    """All that is in a stream now."""
    read: list[Read] = []
    async with fleet_stream(
        floor.store, tool, "event" if of == "event" else "primary", streams=floor.streams
    ) as stream:
        with trio.move_on_after(1):
            while True:
                read.append(await anext(stream))
    return read


async def says(floor: Shop, *messages: Message, tool: str = "T1") -> None:
    connection = floor.tools[tool].connection
    assert connection is not None
    for message in messages:
        await connection.send(message)


def store_of(process: Process) -> dict[str, object]:
    told = process.is_there.status()["store"]
    assert isinstance(told, dict)
    return told


async def test_primaries_are_published_in_order() -> None:
    async with shop(2) as floor:
        owner = await floor.process("a")
        await floor.until_all_owned()
        await says(floor, *(Message(6, 11, item=U4(number)) for number in range(5)))
        await trio.sleep(1)
        read = await took(floor)
        assert [each.message for each in read if isinstance(each, Published)] == [
            Message(6, 11, item=U4(number)) for number in range(5)
        ]
        assert len(read) == 5
        assert await took(floor, "T2") == []
        assert store_of(owner)["error"] is None
        assert store_of(owner)["dropped"] == 0


async def test_the_events_of_the_link_are_published_while_it_is_owned() -> None:
    async with shop(1) as floor:
        owner = await floor.process("a")
        await floor.until_all_owned()
        owner.is_there.drain()
        await owner.ended.wait()
        read = await took(floor, of="event")
        names = [each.event for each in read if isinstance(each, PublishedEvent)]
        assert names[:4] == ["Owning", "Connecting", "Selecting", "Selected"]
        assert "Separating" in names
        assert len(names) == len(read)
        [first, *_] = read
        assert isinstance(first, PublishedEvent)
        assert first.owner.startswith("a:")
        assert first.values["lease_epoch"] == first.epoch == 1


async def test_across_owners_in_good_order_there_is_no_gap() -> None:
    async with shop(1) as floor:
        for name in "ab":
            owner = await floor.process(name)
            await floor.until_all_owned()
            await says(floor, S6F11, S6F11)
            await trio.sleep(1)
            owner.is_there.drain()
            await owner.ended.wait()
        read = await took(floor)
        assert [(each.epoch, each.number) for each in read if isinstance(each, Published)] == [
            (1, 1), (1, 2), (2, 1), (2, 2),
        ]  # fmt: skip
        assert len(read) == 4


async def test_an_owner_says_once_of_each_stream_that_it_has_published_all() -> None:
    async with shop(1) as floor:
        owner = await floor.process("a")
        await floor.until_all_owned()
        await says(floor, S6F11)
        await trio.sleep(1)
        owner.is_there.drain()
        await owner.ended.wait()
        for of in ("primary", "event"):
            found = (await floor.streams.read({f"hsms.T1.{of}": "0-0"}, 100, 0))[f"hsms.T1.{of}"]
            kinds = [each.fields[b"kind"] for each in found]
            assert kinds.count(b"over") == 1
            assert kinds[-1] == b"over"


async def test_after_an_owner_that_died_there_may_be_a_gap() -> None:
    async with shop(1) as floor:
        first = await floor.process("a")
        await floor.until_all_owned()
        await says(floor, S6F11)
        await trio.sleep(1)
        first.store.streams.failure = LeaseError("away")
        await says(floor, S6F11)
        await trio.sleep(1)
        first.crash()
        await floor.process("b")
        await floor.until_all_owned()
        await says(floor, S6F11)
        await trio.sleep(1)
        kinds = [type(each).__name__ for each in await took(floor)]
        assert kinds == ["Published", "Gap", "Published"]


async def test_what_comes_while_the_store_is_away_is_published_later() -> None:
    async with shop(1) as floor:
        owner = await floor.process("a")
        await floor.until_all_owned()
        owner.store.streams.failure = LeaseError("away")
        await says(floor, S6F11, S6F11)
        await trio.sleep(5)
        assert store_of(owner)["waiting"] == 2
        assert await took(floor) == []
        owner.store.streams.failure = None
        await trio.sleep(2)
        assert len(await took(floor)) == 2


async def test_what_is_dropped_meanwhile_is_counted_and_is_a_gap() -> None:
    async with shop(1) as floor:
        owner = await floor.process("a", outbox_entries=3)
        await floor.until_all_owned()
        await says(floor, S6F11)
        await trio.sleep(1)
        owner.store.streams.failure = LeaseError("away")
        for _ in range(10):
            await says(floor, S6F11)
            await trio.sleep(0.1)
        assert store_of(owner)["dropped"] == 6
        owner.store.streams.failure = None
        await trio.sleep(2)
        read = await took(floor)
        assert [each.missing for each in read if isinstance(each, Gap)] == [6]
        assert [each.number for each in read if isinstance(each, Published)] == [1, 2, 9, 10, 11]


async def test_a_huge_body_that_does_not_fit_is_a_gap_and_ends_nothing() -> None:
    async with shop(1) as floor:
        owner = await floor.process("a", outbox_bytes=10_000)
        await floor.until_all_owned()
        await says(floor, S6F11, Message(6, 11, item="x" * 20_000), S6F11)
        await trio.sleep(1)
        read = await took(floor)
        assert [each.missing for each in read if isinstance(each, Gap)] == [1]
        assert store_of(owner)["dropped"] == 1
        assert floor.owned == {"T1"}


async def test_a_slow_reader_loses_what_the_stream_has_no_room_for_and_sees_it() -> None:
    async with shop(1) as floor:
        await floor.process("a", stream_length=4)
        await floor.until_all_owned()
        await says(floor, S6F11)
        await trio.sleep(1)
        async with fleet_stream(floor.store, "T1", streams=floor.streams) as stream:
            assert isinstance(await anext(stream), Published)
            await says(floor, *[S6F11] * 10)
            await trio.sleep(1)
            gap, following = await anext(stream), await anext(stream)
            assert isinstance(gap, Gap)
            assert gap.missing == 6
            assert isinstance(following, Published)
            assert following.number == 8


# Answers and handlers


async def test_an_answer_is_sent_when_the_primary_is_published() -> None:
    async with shop(1) as floor:
        owner = await floor.process("a", answers=BOOK)
        await floor.until_all_owned()
        connection = floor.tools["T1"].connection
        assert connection is not None
        owner.store.streams.failure = LeaseError("away")
        answered: list[Message] = []

        async def ask() -> None:
            answered.append(await connection.request(S6F11_W))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(5)
            assert answered == []
            owner.store.streams.failure = None
        assert [each.name for each in answered] == ["S6F12"]
        assert len(await took(floor)) == 1


async def test_what_could_not_be_published_is_not_answered() -> None:
    async with shop(1, t3=5) as floor:
        await floor.process("a", answers=BOOK, outbox_bytes=1_000)
        await floor.until_all_owned()
        connection = floor.tools["T1"].connection
        assert connection is not None
        with trio.move_on_after(10) as scope:
            await connection.request(Message(6, 11, wait=True, item="x" * 1_000))
        assert scope.cancelled_caught
        assert (await connection.request(S6F11_W)).name == "S6F12"


async def test_a_handler_gets_what_the_book_does_not_answer_one_after_the_other() -> None:
    got: list[str] = []
    is_published: list[bool] = []

    async def handler(primary: FleetPrimary) -> None:
        got.append(f"{primary.tool} {primary.message.name}")
        is_published.append(await primary.published())
        if primary.message.wait:
            await primary.reply(Message(primary.message.stream, primary.message.function + 1))
        if primary.message.stream == 9:
            raise ValueError("of the handler")

    async with shop(1) as floor:
        await floor.process("a", answers=BOOK, handler=handler)
        await floor.until_all_owned()
        connection = floor.tools["T1"].connection
        assert connection is not None
        assert (await connection.request(S6F11_W)).name == "S6F12"
        assert (await connection.request(Message(5, 1, wait=True))).name == "S5F2"
        await connection.send(Message(9, 1))
        assert (await connection.request(Message(1, 1, wait=True))).name == "S1F2"
        assert got == ["T1 S5F1", "T1 S9F1", "T1 S1F1"]
        assert is_published == [True, True, True]


async def test_without_a_handler_a_primary_is_aborted_and_not_left_to_t3() -> None:
    async with shop(1) as floor:
        await floor.process("a")
        await floor.until_all_owned()
        connection = floor.tools["T1"].connection
        assert connection is not None
        with pytest.raises(Exception, match=r"S6F0"):
            await connection.request(S6F11_W)


async def test_a_handler_that_hangs_keeps_nothing_from_being_published_or_drained() -> None:
    async def handler(_: FleetPrimary) -> None:
        await trio.sleep_forever()

    async with shop(1, inbox_size=1) as floor:
        owner = await floor.process("a", handler=handler)
        await floor.until_all_owned()
        await says(floor, S6F11, S6F11)
        await within(2, lambda: owner.is_there.links["T1"].is_selected)
        await trio.sleep(1)
        assert len(await took(floor)) == 2
        began = trio.current_time()
        owner.is_there.drain()
        await owner.ended.wait()
        assert trio.current_time() - began < LENGTH
