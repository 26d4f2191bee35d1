"""Requests for a tool go by the store to its owner, once at most, and their errors come back."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from hsms_engine import (
    ClosedError,
    ConnectionLostError,
    HsmsError,
    LeaseError,
    LeaseSetupError,
    LinkDownError,
    LocalProtocolError,
    Message,
    OwnerUnknownError,
    ReplyTimeoutError,
    SettingsError,
    TransactionError,
)
from hsms_engine.fleet import Entry, FleetClient, NewEntry, answering, asking, open_fleet_client
from hsms_engine.fleet.forms import (
    Asked,
    Mark,
    read_outcome,
    write_asked,
    write_mark,
    write_outcome,
)
from hsms_engine.lease.clock import LeaseClock
from tests.support.leaks import leak_check, no_task_left
from tests.support.shop import LENGTH, FaultyStore, Process, Shop, shop, within
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

S1F1, S2F41 = Message(1, 1, wait=True), Message(2, 41, wait=True, item="GO")
REQUESTS = "hsms.T1.request"


@asynccontextmanager
async def asked_from_elsewhere(
    count: int = 1, **settings: object
) -> AsyncIterator[tuple[Shop, Process, FleetClient, FaultyStore]]:
    """A shop with one owner, and a client in another process, with its own way to the store."""
    async with shop(count, **settings) as floor:
        owner = await floor.process("a")
        await floor.until_all_owned()
        store = FaultyStore(floor.store, floor.streams)
        async with open_fleet_client(store, streams=store.streams) as client:
            yield floor, owner, client, store


def counts(process: Process) -> dict[str, int | str | None]:
    told = process.is_there.status()["requests"]
    assert isinstance(told, dict)
    return told


async def test_a_request_from_another_process_gets_its_reply() -> None:
    async with asked_from_elsewhere(2) as (floor, owner, client, _):
        reply = await client.request("T2", Message(2, 25, wait=True, body=b"\x21\x01\x07"))
        assert (reply.name, reply.body, reply.wait) == ("S2F26", b"\x21\x01\x07", False)
        assert [each.name for each in floor.tools["T2"].got] == ["S2F25"]
        assert floor.tools["T1"].got == []
        assert counts(owner)["taken"] == 1


async def test_many_requests_at_once_get_each_its_own() -> None:
    async with asked_from_elsewhere(3) as (_, owner, client, _):
        replies: dict[int, bytes] = {}

        async def ask(number: int) -> None:
            message = Message(2, 25, wait=True, body=b"\x21\x01" + bytes([number]))
            replies[number] = (await client.request(f"T{number % 3 + 1}", message)).body

        async with trio.open_nursery() as nursery:
            for number in range(60):
                nursery.start_soon(ask, number)
        assert replies == {number: b"\x21\x01" + bytes([number]) for number in range(60)}
        assert counts(owner)["taken"] == 60


async def test_a_process_asks_its_own_tool_without_the_store() -> None:
    async with asked_from_elsewhere() as (floor, owner, _, _):
        owner.store.streams.failure = LeaseError("away")
        assert (await owner.is_there.request("T1", S1F1)).name == "S1F2"
        assert len(floor.tools["T1"].got) == 1
        with pytest.raises(LocalProtocolError, match=r"^S1F1 without W: only a primary with W"):
            await owner.is_there.request("T1", Message(1, 1))


async def test_a_process_asks_the_tool_of_another_one() -> None:
    async with shop(6) as floor:
        for name in "ab":
            await floor.process(name)
        await floor.until_all_owned()
        here, there = floor.processes["a"], floor.processes["b"]
        tool = min(there.owned)
        assert (await here.is_there.request(tool, S1F1)).name == "S1F2"
        assert counts(there)["taken"] == 1


# What cannot be asked


async def test_without_an_owner_nothing_is_sent() -> None:
    async with shop(1) as floor:
        async with open_fleet_client(floor.store, streams=floor.streams) as client:
            with pytest.raises(OwnerUnknownError) as raised:
                await client.request("T1", S1F1)
        assert str(raised.value) == "T1: no process owns it; nothing was sent"
        assert (raised.value.last_owner, raised.value.seconds) == ("", None)


async def test_who_had_it_last_and_for_how_long_it_is_without_owner_is_told() -> None:
    async with asked_from_elsewhere() as (_, owner, client, _):
        owner.is_there.drain()
        await owner.ended.wait()
        await trio.sleep(7)
        with pytest.raises(OwnerUnknownError) as raised:
            await client.request("T1", S1F1)
        assert raised.value.last_owner.startswith("a:")
        assert raised.value.seconds == pytest.approx(7, abs=0.5)
        assert "no process owns it for 7" in str(raised.value)
        assert f"the last one was {raised.value.last_owner}; nothing" in str(raised.value)


async def test_what_is_no_event_of_a_fleet_does_not_hide_that_there_is_no_owner() -> None:
    async with shop(1) as floor:
        await floor.streams.append([NewEntry("hsms.T1.event", {b"x": b"y"}, 10)])
        async with open_fleet_client(floor.store, streams=floor.streams) as client:
            with pytest.raises(OwnerUnknownError, match=r"owns it for 0\.0 s; nothing was sent"):
                await client.request("T1", S1F1)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (Message(1, 1), "S1F1 without W: only a primary with W has a reply"),
        (Message(1, 2), "S1F2 is a secondary: only a primary with W has a reply"),
    ],
)
async def test_what_has_no_reply_is_not_asked(message: Message, told: str) -> None:
    async with asked_from_elsewhere() as (_, _, client, _):
        with pytest.raises(LocalProtocolError, match=f"^{told}$"):
            await client.request("T1", message)


async def test_a_body_that_is_too_long_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "LONGEST_BODY", 3)
    async with asked_from_elsewhere() as (_, _, client, _):
        with pytest.raises(LocalProtocolError, match=r"^S1F1 has 4 bytes, and a request by the"):
            await client.request("T1", Message(1, 1, wait=True, body=b"\x21\x02\x00\x00"))


async def test_a_name_that_is_none_is_not_asked() -> None:
    async with asked_from_elsewhere() as (_, _, client, _):
        with pytest.raises(SettingsError, match=r"^'T 1' is no name of a tool"):
            await client.request("T 1", S1F1)


# What becomes of it at the tool


async def test_the_errors_of_the_link_come_back() -> None:
    async with asked_from_elsewhere(t3=5) as (floor, _, client, _):
        floor.tools["T1"].answers = False
        with pytest.raises(ReplyTimeoutError, match=r"T3"):
            await client.request("T1", S1F1)
        connection = floor.tools["T1"].connection
        assert connection is not None
        await connection.aclose()
        with pytest.raises(LinkDownError) as raised:
            await client.request("T1", S1F1)
        assert 0 <= raised.value.retry_after <= 1


# Once at most


async def test_when_the_owner_dies_before_it_answers_nothing_is_sent_again() -> None:
    async with asked_from_elsewhere(t3=100) as (floor, owner, client, _):
        floor.tools["T1"].answers = False
        raised: list[HsmsError] = []

        async def ask() -> None:
            try:
                await client.request("T1", S2F41)
            except HsmsError as error:
                raised.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await within(1, lambda: len(floor.tools["T1"].got) == 1)
            await floor.process("b")
            owner.crash()
        [error] = raised
        assert type(error) is ConnectionLostError
        assert str(error).endswith(": the tool may have got S2F41")
        assert error.reason.startswith("its owner ")
        await floor.until_all_owned()
        await trio.sleep(3 * LENGTH)
        # The next owner has seen the request, and has not sent it.
        assert [each.name for each in floor.tools["T1"].got] == ["S2F41"]


async def test_when_the_owner_dies_before_it_has_read_it_the_next_one_does_not_send_it() -> None:
    async with asked_from_elsewhere() as (floor, owner, client, _):
        # It hears nothing any more, and owns the tool still.
        owner.store.cut()
        await floor.process("b")
        with pytest.raises(ConnectionLostError, match=r"the tool may have got S2F41$"):
            await client.request("T1", S2F41)
        owner.crash()
        await floor.until_all_owned()
        await trio.sleep(3 * LENGTH)
        assert floor.tools["T1"].got == []


async def test_when_the_owner_dies_and_nobody_follows_the_caller_is_told() -> None:
    async with asked_from_elsewhere(t3=100) as (floor, owner, client, _):
        floor.tools["T1"].answers = False
        async with trio.open_nursery() as nursery:

            async def crash() -> None:
                await within(1, lambda: len(floor.tools["T1"].got) == 1)
                owner.crash()

            nursery.start_soon(crash)
            with pytest.raises(ConnectionLostError) as raised:
                await client.request("T1", S2F41)
        assert raised.value.reason.startswith("its owner a:")
        assert str(raised.value).endswith(
            "(epoch 1) is over, and had not answered: the tool may have got S2F41"
        )


async def test_what_a_drain_ends_is_answered_before_it_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with asked_from_elsewhere(t3=100) as (floor, owner, client, _):
        floor.tools["T1"].answers = False
        append = owner.store.streams.append

        async def slow(entries: Sequence[NewEntry]) -> Sequence[str | LeaseError]:
            if any(each.stream.endswith(".reply") for each in entries):
                await trio.sleep(1.5)
            return await append(entries)

        monkeypatch.setattr(owner.store.streams, "append", slow)
        async with trio.open_nursery() as nursery:

            async def drain() -> None:
                await within(1, lambda: len(floor.tools["T1"].got) == 1)
                owner.is_there.drain()

            nursery.start_soon(drain)
            with pytest.raises(ClosedError, match=r"S2F41 got no reply"):
                await client.request("T1", S2F41)
        assert counts(owner)["answers_dropped"] == 0


async def test_a_request_for_a_tool_that_was_given_up_while_it_was_read_is_left() -> None:
    async with asked_from_elsewhere() as (floor, owner, _, _):
        # The store is being asked for both tools in this moment.
        owner.is_there._desk.close("T1")
        await written(floor, 1)
        await trio.sleep(1)
        assert floor.tools["T1"].got == []
        assert counts(owner)["taken"] == 0


async def written(floor: Shop, epoch: int, within: float = 5.0, number: int = 1) -> None:
    asked = Asked(epoch, "caller-x", number, within, S2F41)
    await floor.streams.append([NewEntry(REQUESTS, write_asked(asked), 100)])


async def answers(floor: Shop) -> list[str]:
    found = await floor.streams.read({"hsms.caller-x.reply": "0-0"}, 100, 1)
    read = [read_outcome(each.fields) for each in found.get("hsms.caller-x.reply", ())]
    return [f"{number}: {outcome}" for number, outcome in read]


async def test_a_request_of_an_earlier_epoch_is_refused_and_one_of_a_later_one_is_left() -> None:
    async with asked_from_elsewhere() as (floor, _, _, _):
        first = floor.processes["a"]
        first.scope.cancel()
        await first.ended.wait()
        second = await floor.process("b")
        await floor.until_all_owned()
        link = second.is_there.links["T1"]
        assert link.ownership is not None
        epoch = link.ownership.lease_epoch
        assert epoch > 1
        await written(floor, epoch - 1)
        await written(floor, epoch + 1)
        await trio.sleep(1)
        assert floor.tools["T1"].got == []
        assert counts(second) == {
            "error": None,
            "taken": 0,
            "refused": 2,
            "expired": 0,
            "unreadable": 0,
            "answers_dropped": 0,
            "answers_unreadable": 0,
        }
        [told] = await answers(floor)
        assert told == (
            f"1: T1: its owner of epoch {epoch - 1} is over (now it is {epoch}): the tool may "
            "have got S2F41"
        )


async def test_a_request_whose_caller_is_gone_is_dropped_and_counted() -> None:
    async with asked_from_elsewhere() as (floor, owner, _, _):
        await written(floor, 1, within=0)
        owner.store.streams.failure = LeaseError("away")
        await written(floor, 1, within=1)
        await trio.sleep(2)
        owner.store.streams.failure = None
        await trio.sleep(2)
        assert floor.tools["T1"].got == []
        assert counts(owner)["expired"] == 2


async def test_a_deadline_is_over_although_the_owner_slept_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept = 0.0
    clock = partial(LeaseClock, slept=lambda: slept)
    monkeypatch.setattr("hsms_engine.fleet.fleet.LeaseClock", clock)
    async with asked_from_elsewhere() as (floor, owner, _, _):
        looks = owner.store.streams.calls.count("attend")
        await written(floor, 1, within=4)
        slept = 5.0
        await within(1, lambda: counts(owner)["expired"] == 1)
        # The store has told its time not since then.
        assert owner.store.streams.calls.count("attend") == looks
        assert floor.tools["T1"].got == []


async def test_the_deadline_of_the_caller_goes_with_it() -> None:
    async with asked_from_elsewhere() as (floor, owner, client, _):
        owner.store.streams.failure = LeaseError("away")
        with trio.move_on_after(2) as scope:
            await client.request("T1", S2F41)
        assert scope.cancelled_caught
        owner.store.streams.failure = None
        await trio.sleep(LENGTH)
        assert floor.tools["T1"].got == []


async def test_a_deadline_ends_the_transaction_at_the_owner() -> None:
    async with asked_from_elsewhere(t3=100) as (floor, owner, client, _):
        floor.tools["T1"].answers = False
        with trio.move_on_after(2):
            await client.request("T1", S2F41)
        await trio.sleep(1)
        link = owner.is_there.links["T1"]
        assert link.is_selected
        assert len(floor.tools["T1"].got) == 1
        assert counts(owner)["expired"] == 1
        floor.tools["T1"].answers = True
        assert (await client.request("T1", S1F1)).name == "S1F2"


async def test_a_request_that_is_cancelled_is_removed() -> None:
    async with asked_from_elsewhere() as (floor, owner, client, store):
        owner.store.streams.failure = LeaseError("away")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.request, "T1", S2F41)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        assert store.streams.calls[-1] == "remove"
        assert await floor.streams.latest(REQUESTS) is None
        owner.store.streams.failure = None
        await trio.sleep(LENGTH)
        assert floor.tools["T1"].got == []


async def test_a_request_that_is_cancelled_while_the_store_takes_it_is_removed_too() -> None:
    async with asked_from_elsewhere() as (floor, owner, client, store):
        owner.store.streams.failure = LeaseError("away")
        # Who it belongs to is known before.
        with trio.move_on_after(0.1):
            await client.request("T1", S2F41)
        store.streams.takes = 1
        with trio.move_on_after(0.5):
            await client.request("T1", S2F41)
        assert store.streams.calls[-1] == "remove"
        assert await floor.streams.latest(REQUESTS) is None


async def test_an_owner_that_has_the_tool_in_another_epoch_meanwhile_sends_nothing() -> None:
    async with asked_from_elsewhere() as (floor, owner, _, _):
        fleet = owner.is_there
        # Its link has epoch 1, and has not told the desk.
        fleet._desk.open("T1", fleet.links["T1"], 7)
        await written(floor, 7)
        await trio.sleep(1)
        assert floor.tools["T1"].got == []
        assert await answers(floor) == ["1: T1: it was given up (epoch 7): nothing was sent"]


async def test_a_cancelled_one_that_cannot_be_removed_is_cancelled_all_the_same() -> None:
    async with asked_from_elsewhere() as (_, owner, client, store):
        owner.store.streams.failure = LeaseError("away")
        for fault in ("failure", "is_cut"):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.request, "T1", S2F41)
                await trio.sleep(1)
                setattr(store.streams, fault, LeaseError("away") if fault == "failure" else True)
                nursery.cancel_scope.cancel()
            store.streams.failure, store.streams.is_cut = None, False


async def test_when_the_store_does_not_take_it_that_is_told() -> None:
    async with asked_from_elsewhere() as (_, _, client, store):
        await client.request("T1", S1F1)
        store.streams.is_cut = True
        with pytest.raises(LeaseError, match=r"^T1: the store has not taken the request within"):
            await client.request("T1", S1F1)
        store.streams.is_cut = False
        store.streams.refused[REQUESTS] = LeaseSetupError("not permitted")
        with pytest.raises(LeaseSetupError, match=r"^not permitted$"):
            await client.request("T1", S1F1)


async def test_when_the_store_cannot_say_who_owns_it_that_is_told() -> None:
    async with shop(1) as floor:
        store = FaultyStore(floor.store, floor.streams)
        store.fail(LeaseError("the store is away"))
        async with open_fleet_client(store, streams=store.streams) as client:
            for _ in range(2):
                with pytest.raises(LeaseError, match=r"^the store is away$"):
                    await client.request("T1", S1F1)


async def test_an_owner_that_never_answers_is_not_waited_for_without_end() -> None:
    async with asked_from_elsewhere() as (_, owner, client, _):
        owner.store.streams.failure = LeaseError("away")
        began = trio.current_time()
        with pytest.raises(ReplyTimeoutError, match=r"has not answered within 180 s: the tool may"):
            await client.request("T1", S1F1)
        assert trio.current_time() - began == pytest.approx(180, abs=1)


async def test_more_requests_than_a_tool_may_have_open_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answering, "MOST_OPEN", 1)
    async with asked_from_elsewhere(t3=100) as (floor, owner, _, _):
        floor.tools["T1"].answers = False
        await written(floor, 1, within=50)
        await written(floor, 1, within=50, number=2)
        await trio.sleep(1)
        assert len(floor.tools["T1"].got) == 1
        assert counts(owner)["refused"] == 1
        assert await answers(floor) == [
            "2: T1: 1 requests are open, and more are not taken: nothing was sent"
        ]


async def test_a_tool_that_was_given_up_meanwhile_gets_nothing() -> None:
    async with asked_from_elsewhere() as (floor, owner, _, _):
        link = owner.is_there.links["T1"]
        await written(floor, 1)
        # The desk has it, and the link is withdrawn in the same moment.
        await trio.lowlevel.checkpoint()
        link.disable()
        await trio.sleep(1)
        assert floor.tools["T1"].got == []
        [told] = await answers(floor)
        assert told == "1: T1: it was given up (epoch 1): nothing was sent"


# What is hostile


async def test_what_is_no_request_ends_nothing_and_is_counted() -> None:
    async with asked_from_elsewhere() as (floor, owner, client, _):
        await floor.streams.append([NewEntry(REQUESTS, {b"x": b"y"}, 100)])
        assert (await client.request("T1", S1F1)).name == "S1F2"
        assert counts(owner)["unreadable"] == 1


async def test_what_is_no_answer_and_an_answer_for_nobody_end_nothing() -> None:
    async with asked_from_elsewhere() as (floor, _, client, _):
        asker = client._asker
        reply = f"hsms.{asker._name}.reply"
        forged = [{b"x": b"y"}, write_outcome(99, S1F1), write_mark(Mark("over", 1, 1, "o"))]
        await floor.streams.append([NewEntry(reply, each, 100) for each in forged])
        assert (await client.request("T1", S1F1)).name == "S1F2"
        assert (await client.request("T1", S1F1)).name == "S1F2"
        assert asker.unreadable == 2


async def test_while_answers_cannot_be_read_they_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async with asked_from_elsewhere() as (_, _, client, store):
        read, failures = store.streams.read, [LeaseError("away") for _ in range(3)]

        async def read_later(
            after: Mapping[str, str], most: int, patience: float
        ) -> Mapping[str, Sequence[Entry]]:
            if failures:
                raise failures.pop()
            return await read(after, most, patience)

        monkeypatch.setattr(store.streams, "read", read_later)
        assert (await client.request("T1", S1F1)).name == "S1F2"
        assert not failures


def failing(error: LeaseError) -> Callable[..., Awaitable[object]]:
    async def fail(*_: object) -> object:
        raise error

    return fail


async def test_a_caller_that_may_not_read_its_answers_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with asked_from_elsewhere() as (_, _, client, store):
        monkeypatch.setattr(store.streams, "read", failing(LeaseSetupError("not permitted")))
        began = trio.current_time()
        told = r"^T1: what its owner a:\w+ answers cannot be read: not permitted: the tool may have"
        for _ in range(2):
            with pytest.raises(LeaseSetupError, match=told):
                await client.request("T1", S1F1)
        assert trio.current_time() - began < LENGTH
        monkeypatch.undo()
        assert (await client.request("T1", S1F1)).name == "S1F2"


async def test_when_answers_cannot_be_read_to_the_end_the_owner_is_not_blamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with asked_from_elsewhere() as (floor, _, client, store):
        monkeypatch.setattr(store.streams, "read", failing(LeaseError("away")))
        with pytest.raises(LeaseError, match=r"answers cannot be read: away: the tool may have"):
            await client.request("T1", S1F1)
        assert [each.name for each in floor.tools["T1"].got] == ["S1F1"]


async def test_an_owner_that_cannot_read_requests_says_so_once_and_that_it_can_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    async with asked_from_elsewhere() as (_, owner, client, _):
        assert counts(owner)["error"] is None
        monkeypatch.setattr(owner.store.streams, "read", failing(LeaseSetupError("not permitted")))
        await trio.sleep(LENGTH)
        assert counts(owner)["error"] == "not permitted"
        monkeypatch.undo()
        assert (await client.request("T1", S1F1)).name == "S1F2"
        assert counts(owner)["error"] is None
        said = [each.getMessage() for each in caplog.records]
        assert [each for each in said if "requests" in each] == [
            "fleet a: requests for its tools are not read: not permitted",
            "fleet a: requests are read again",
        ]


async def test_a_watch_ends_when_nobody_asks_any_more() -> None:
    async with asked_from_elsewhere() as (_, _, client, store):
        await client.request("T1", S1F1)
        assert len(client._asker._watches) == 1
        await trio.sleep(59)
        await client.request("T1", S1F1)
        await trio.sleep(59)
        assert len(client._asker._watches) == 1
        await trio.sleep(2)
        assert not client._asker._watches
        assert (await client.request("T1", S1F1)).name == "S1F2"
        assert len(store.leases) == 2


async def test_more_than_the_stream_holds_are_refused_at_once_by_who_asks() -> None:
    async with asked_from_elsewhere() as (_, _, client, _):
        told: list[str] = []

        async def ask() -> None:
            try:
                told.append((await client.request("T1", S1F1)).name)
            except HsmsError as error:
                told.append(str(error))

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                for _number in range(3_000):
                    nursery.start_soon(ask)
        refused = "T1: 500 requests of this process are open, and more are not taken: "
        assert told.count(f"{refused}nothing was sent") == 2_500
        assert told.count("S1F2") >= 64


async def test_a_reply_that_is_too_long_for_a_stream_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answering, "LONGEST_BODY", 3)
    async with asked_from_elsewhere() as (floor, _, client, _):
        told = r"^the reply S2F26 has 4 bytes, and one by the store has at most 3: the tool has got"
        with trio.fail_after(5), pytest.raises(TransactionError, match=told):
            await client.request("T1", Message(2, 25, wait=True, body=b"\x21\x02\x07\x07"))
        assert len(floor.tools["T1"].got) == 1


async def test_a_request_while_a_watch_is_ending_has_another_one() -> None:
    async with asked_from_elsewhere() as (_, _, client, _):
        await client.request("T1", S1F1)
        ending = client._asker._watches["T1"]
        ending.scope.cancel()
        assert (await client.request("T1", S1F1)).name == "S1F2"
        assert client._asker._watches["T1"] is not ending
