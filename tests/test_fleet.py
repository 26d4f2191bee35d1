"""Several processes share tools out, take over from each other, and give up in good order."""

from __future__ import annotations

import json
import logging
import math
import signal
import sys
from itertools import count
from typing import Any

import pytest
import trio

from hsms_engine import (
    ClosedError,
    ConnectionLostError,
    DefectError,
    LeaseError,
    Message,
    Settings,
    SettingsError,
)
from hsms_engine.fleet import Member, ShareChanged, ToolHappened, open_fleet
from hsms_engine.lease import Granted, MemoryStore
from tests.support.leaks import leak_check, no_task_left
from tests.support.shop import LENGTH, FaultyStore, Process, shop, within
from tests.support.virtual import virtual_time
from tests.test_defects import spoil

__all__ = ["leak_check", "no_task_left", "virtual_time"]

S1F1 = Message(1, 1, wait=True)


async def test_one_process_owns_all_tools() -> None:
    async with shop(3) as floor:
        only = await floor.process("a")
        assert await floor.until_all_owned() < LENGTH / 2
        assert only.is_there.links.keys() == {"T1", "T2", "T3"}
        assert (await only.is_there.request("T2", S1F1)).name == "S1F2"
        assert [each.name for each in floor.tools["T2"].got] == ["S1F1"]


async def test_three_processes_share_them_out() -> None:
    async with shop(12) as floor:
        for name in "abc":
            await floor.process(name)
        await floor.until_all_owned()
        shares = [each.owned for each in floor.processes.values()]
        assert sum(map(len, shares)) == 12
        assert all(shares)


async def test_the_tools_of_a_process_that_dies_are_taken_over() -> None:
    async with shop(12) as floor:
        for name in "abc":
            await floor.process(name)
        await floor.until_all_owned()
        stayed = {name: floor.processes[name].owned for name in "bc"}
        floor.processes["a"].crash()
        # It counts as gone after two and a half looks, and the others look twice.
        assert await floor.until_all_owned() < 1.16 * LENGTH
        for name in "bc":
            assert stayed[name] <= floor.processes[name].owned


async def test_a_process_whose_looks_fail_twice_keeps_its_tools() -> None:
    async with shop(6) as floor:
        one, other = await floor.process("a"), await floor.process("b")
        await within(4 * LENGTH, lambda: bool(one.owned) and bool(other.owned))
        await floor.until_all_owned()
        await trio.sleep(LENGTH)
        heard = len(one.events)
        attended, other.store.streams.failure = len(other.store.streams.calls), LeaseError("away")
        await within(LENGTH, lambda: other.store.streams.calls[attended:].count("attend") == 2)
        other.store.streams.failure = None
        await trio.sleep(LENGTH)
        assert not [each for each in one.events[heard:] if isinstance(each, ShareChanged)]


async def test_a_process_that_comes_takes_its_share_over_and_no_other_tool_moves() -> None:
    async with shop(12) as floor:
        for name in "ab":
            await floor.process(name)
        await floor.until_all_owned()
        before = {name: floor.processes[name].owned for name in "ab"}
        newcomer = await floor.process("c")
        await within(3 * LENGTH, lambda: bool(newcomer.owned) and len(floor.owned) == 12)
        await trio.sleep(LENGTH)
        assert len(floor.owned) == 12
        moved = sum(len(before[name] - floor.processes[name].owned) for name in "ab")
        assert moved == len(newcomer.owned)


async def test_a_store_that_is_away_ends_nothing_before_the_deadline() -> None:
    async with shop(3) as floor:
        only = await floor.process("a")
        await floor.until_all_owned()
        only.store.fail(LeaseError("the store is away"))
        await trio.sleep(0.6 * LENGTH)
        assert len(only.owned) == 3
        only.store.fail(None)
        await trio.sleep(2 * LENGTH)
        assert len(only.owned) == 3
        assert all(tool.most == 1 for tool in floor.tools.values())


# What is shared out


async def test_no_process_takes_more_than_its_limit_and_the_rest_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with shop(5) as floor:
        first = await floor.process("a", limit=2)
        await within(LENGTH, lambda: len(first.owned) == 2)
        await trio.sleep(LENGTH)
        assert len(first.owned) == 2
        assert first.is_there.status()["unplaced"] == 3
        assert first.is_there.status()["limit"] == 2
        text = "fleet a: 3 tools have no owner: each process that is there has as many as it takes"
        assert [each.getMessage() for each in caplog.records] == [text]
        await floor.process("b", limit=3)
        await floor.until_all_owned()
        assert len(first.owned) == 2


async def test_a_second_process_of_a_name_waits_until_the_first_is_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with shop(2) as floor:
        first = await floor.process("a")
        await floor.until_all_owned()
        second = Process(FaultyStore(floor.store, floor.streams), "a", {})
        floor.processes["a again"] = second
        await floor.start(second)
        await trio.sleep(2 * LENGTH)
        assert not second.is_there.links
        assert second.is_there.status()["is_name_taken"]
        text = "fleet a: another process has this name, so this one waits until that is gone"
        assert [each.getMessage() for each in caplog.records] == [text]
        first.crash()
        await within(2 * LENGTH, lambda: len(second.owned) == 2)
        assert not second.is_there.status()["is_name_taken"]


async def test_another_list_of_tools_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with shop(3) as floor:
        await floor.process("a")
        floor.hidden = {"T3"}
        await floor.process("b")
        await trio.sleep(LENGTH)
        told = floor.processes["a"].is_there.status()["members"]
        assert told == [
            {"name": "a", "limit": None, "has_same_tools": True},
            {"name": "b", "limit": None, "has_same_tools": False},
        ]
        text = "fleet a: b has another list of tools: what is in one of them only may lack one"
        assert text in [each.getMessage() for each in caplog.records]


async def test_without_a_name_it_gets_one_that_no_other_has() -> None:
    async with shop(1) as floor:
        one = await floor.process("")
        assert len(one.is_there.name) > 9
        await floor.until_all_owned()


async def test_a_tool_that_comes_back_while_it_is_given_up_is_opened_again() -> None:
    async with shop(12) as floor:
        first = await floor.process("a")
        await floor.until_all_owned()
        second = Process(FaultyStore(floor.store, floor.streams), "b", {})
        floor.processes["b"] = second
        # It is there, and takes nothing over.
        second.store.failure = LeaseError("away")
        await floor.start(second)
        await within(2 * LENGTH, lambda: len(first.owned) < 12)
        second.is_there.drain()
        assert await within(LENGTH, lambda: len(first.owned) == 12) < LENGTH


async def test_few_tools_are_given_up_at_once_when_nobody_takes_them_yet() -> None:
    async with shop(40) as floor:
        first = await floor.process("a")
        await floor.until_all_owned()
        second = Process(FaultyStore(floor.store, floor.streams), "b", {})
        floor.processes["b"] = second
        second.store.failure = LeaseError("away")
        await floor.start(second)
        await within(2 * LENGTH, lambda: len(first.owned) < 40)
        await trio.sleep(LENGTH / 2)
        assert len(first.owned) == 32
        second.is_there.drain()
        await within(LENGTH, lambda: len(first.owned) == 40)


async def test_one_that_is_asked_to_give_up_what_it_has_lost_gives_nothing_up() -> None:
    async with shop(4) as floor:
        first = await floor.process("a")
        await floor.until_all_owned()
        for link in first.is_there.links.values():
            link.disable()
        await floor.process("b")
        await trio.sleep(2 * LENGTH)
        assert floor.processes["b"].owned == first.share_of_others
        for link in first.is_there.links.values():
            link.enable()
        await floor.until_all_owned()


# What ends


async def test_it_drains_at_the_end_of_its_block_and_another_takes_over_at_once() -> None:
    async with shop(4) as floor:
        first = await floor.process("a")
        await floor.process("b")
        await floor.until_all_owned()
        began = trio.current_time()
        first.is_there.drain()
        assert first.is_there.is_draining
        await first.ended.wait()
        assert trio.current_time() - began < 1
        assert first.is_there.status()["tools"] == {}
        # It has left: the other need not wait until it would be thought gone.
        assert await floor.until_all_owned() < LENGTH
        shares = [each for each in first.events if isinstance(each, ShareChanged)]
        assert shares[-1].tools == ()
        with pytest.raises(ClosedError):
            await first.is_there.events().receive()


async def test_with_patience_others_stand_by_before_it_gives_its_tools_up() -> None:
    async with shop(12) as floor:
        first = await floor.process("a")
        second = await floor.process("b")
        await floor.until_all_owned()
        most_without = 0

        async def look() -> None:
            nonlocal most_without
            while not first.ended.is_set():
                most_without = max(most_without, 12 - len(floor.owned))
                await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            first.is_there.drain(2 * LENGTH)
            await first.ended.wait()
        assert len(second.owned) == 12
        # T5 runs for each of them: the tool has had another host just before.
        assert most_without <= 8
        shares = [each.tools for each in second.events if isinstance(each, ShareChanged)]
        assert len(shares[-1]) == 12


async def test_patience_ends_when_nobody_takes_over() -> None:
    async with shop(2) as floor:
        only = await floor.process("a")
        await floor.until_all_owned()
        began = trio.current_time()
        only.is_there.drain(5)
        await only.ended.wait()
        assert 5 <= trio.current_time() - began < 6


async def test_a_process_that_comes_and_dies_without_end_keeps_nobody_from_taking_over() -> None:
    async with shop(6) as floor, trio.open_nursery() as nursery:
        one, other = await floor.process("a"), await floor.process("b")
        await floor.until_all_owned()
        await within(4 * LENGTH, lambda: bool(one.owned) and bool(other.owned))

        async def die_again_and_again() -> None:
            for number in count():
                member = Member(f"x{number}", f"{number}", 0, "")
                await floor.streams.attend(member, LENGTH / 4 * 2.5)
                await trio.sleep(LENGTH / 5)

        nursery.start_soon(die_again_and_again)
        await trio.sleep(LENGTH)
        other.crash()
        await within(6 * LENGTH, lambda: one.owned == floor.tools.keys())
        nursery.cancel_scope.cancel()


async def test_the_end_of_the_block_drains() -> None:
    async with shop(1) as floor:
        store, dial = floor.store, floor.dial
        async with open_fleet(floor.settings, store, streams=floor.streams, dial=dial) as fleet:
            await within(2 * LENGTH, lambda: any(each.is_selected for each in fleet.links.values()))
        assert fleet.is_draining
        assert not fleet.links


async def test_who_asks_again_waits_for_nobody_any_more() -> None:
    async with shop(2) as floor:
        only = await floor.process("a")
        await floor.until_all_owned()
        began = trio.current_time()
        only.is_there.drain(500)
        await trio.sleep(3)
        only.is_there.drain(900)
        await trio.sleep(3)
        assert not only.ended.is_set()
        only.is_there.drain()
        await only.ended.wait()
        assert 6 <= trio.current_time() - began < 7


@pytest.mark.parametrize("patience", [-1.0, math.nan])
async def test_a_patience_that_is_none_ends_nothing(patience: float) -> None:
    async with shop(1) as floor:
        only = await floor.process("a")
        await floor.until_all_owned()
        with pytest.raises(SettingsError, match=r"^patience=(-1.0|nan) is not a number of seconds"):
            only.is_there.drain(patience)
        await trio.sleep(1)
        assert not only.is_there.is_draining
        assert only.owned == {"T1"}


async def test_a_limit_beyond_all_fleets_is_as_many_as_there_are() -> None:
    async with shop(2) as floor:
        only = await floor.process("a", limit=10**12)
        await floor.until_all_owned()
        assert only.is_there.status()["limit"] == 10_000


@pytest.mark.skipif(sys.platform == "win32", reason="nobody sends it this signal there")
async def test_a_signal_drains_it() -> None:
    async with shop(1) as floor:
        owner = await floor.process("a")
        await floor.until_all_owned()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(owner.is_there.drained, signal.SIGTERM)
            await trio.testing.wait_all_tasks_blocked()
            signal.raise_signal(signal.SIGTERM)
        assert floor.tools["T1"].sessions == 0
        await owner.is_there.drained()


async def test_it_drains_while_tools_are_given_up() -> None:
    async with shop(12) as floor:
        first = await floor.process("a")
        await floor.until_all_owned()
        second = await floor.process("b")
        # It takes nothing over, so the first one waits for it.
        second.store.fail(LeaseError("away"))
        await floor.streams.attend(second.is_there._me, LENGTH)
        await within(LENGTH, lambda: len(first.owned) < 12)
        began = trio.current_time()
        first.is_there.drain()
        await first.ended.wait()
        assert trio.current_time() - began < 1


async def test_an_error_of_the_block_comes_out_and_all_is_closed() -> None:
    async with shop(1) as floor:
        with pytest.raises(ValueError, match=r"^of the block$"):  # noqa: PT012  # it is the block's
            async with open_fleet(
                floor.settings, floor.store, streams=floor.streams, dial=floor.dial
            ):
                await within(LENGTH, lambda: floor.tools["T1"].sessions == 1)
                raise ValueError("of the block")
        await within(1, lambda: floor.tools["T1"].sessions == 0)


async def test_when_the_store_is_away_it_drains_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    async with shop(1) as floor:
        owner = await floor.process("a")
        await floor.until_all_owned()
        owner.store.fail(LeaseError("away"))
        await trio.sleep(1)
        owner.is_there.drain()
        await owner.ended.wait()
        assert floor.tools["T1"].sessions == 0
        said = [each.getMessage() for each in caplog.records]
        assert {
            "fleet a: it could not say goodbye: away",
            "fleet a: who else is there is not known: away",
        }.intersection(said)


async def test_a_store_that_is_away_is_told_once_and_so_is_its_return(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    async with shop(1) as floor:
        owner = await floor.process("a")
        await floor.until_all_owned()
        caplog.clear()
        owner.store.streams.failure = LeaseError("away")
        await trio.sleep(LENGTH)
        store = owner.is_there.status()["store"]
        assert isinstance(store, dict)
        assert store["error"] == "away"
        owner.store.streams.failure = None
        await trio.sleep(LENGTH)
        said = [each.getMessage() for each in caplog.records]
        assert [each for each in said if "not known" in each or "answers again" in each] == [
            "fleet a: who else is there is not known: away",
            "fleet a: the store answers again",
        ]
        assert floor.owned == {"T1"}


# One bad tool


async def test_a_link_that_ends_by_a_defect_is_told_and_opened_again() -> None:
    async with shop(2) as floor:
        owner = await floor.process("a")
        await floor.until_all_owned()
        spoil(owner.is_there.links["T1"]._engine, "linktest_req_received")
        connection = floor.tools["T1"].connection
        assert connection is not None
        with pytest.raises(ConnectionLostError):
            await connection.linktest()
        await within(1, lambda: owner.is_there.tool("T1").error is not None)
        assert isinstance(owner.is_there.tool("T1").error, DefectError)
        await within(1, lambda: "T1" not in owner.is_there.links)
        tools = owner.is_there.status()["tools"]
        assert isinstance(tools, dict)
        assert tools["T1"]["error"] == str(owner.is_there.tool("T1").error)
        assert tools["T1"]["ownership"] is None
        assert owner.owned == {"T2"}
        await floor.until_all_owned()
        assert owner.is_there.tool("T1").error is None


async def test_a_tool_whose_files_cannot_be_used_ends_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with shop(2) as floor:
        tool = floor.tools["T1"]
        tool.settings = tool.settings.replace(tls_authorities="/nowhere/authorities.pem")
        owner = await floor.process("a")
        await within(LENGTH, lambda: owner.owned == {"T2"})
        error = owner.is_there.tool("T1").error
        assert isinstance(error, SettingsError)
        assert any("its link in the fleet" in each.getMessage() for each in caplog.records)
        # It is drained while it waits to be opened again.
        owner.is_there.drain()
        await owner.ended.wait()


# What can be asked


async def test_what_it_is_can_be_asked_as_json() -> None:
    async with shop(2) as floor:
        owner = await floor.process("a")
        await floor.until_all_owned()
        fleet = owner.is_there
        told = json.loads(json.dumps(fleet.status(), allow_nan=False))
        assert told["name"] == fleet.name == "a"
        assert told["owner"].startswith("a:")
        assert told["tools"]["T1"]["phase"] == "selected"
        assert told["tools"]["T1"]["ownership"]["state"] == "owner"
        assert told["tools"]["T1"]["ownership"]["owner"] == told["owner"]
        assert repr(fleet) == "<Fleet a: 2 of 2 tools>"
        assert repr(fleet.tool("T1")) == "<FleetTool T1>"
        assert fleet.tool("T1").link is fleet.links["T1"]
        assert fleet.tools.keys() == {"T1", "T2"}
        with pytest.raises(SettingsError, match=r"^fleet a has no tool 'T9'$"):
            fleet.tool("T9")


async def test_a_tool_that_stands_by_has_an_owner_elsewhere() -> None:
    async with shop(1) as floor:
        lease = floor.store.lease("T1", "another")
        async with lease.connected():
            granted = await lease.acquire()
            assert isinstance(granted, Granted)
            owner = await floor.process("a")
            await within(LENGTH / 2, lambda: "T1" in owner.is_there.links)
            await trio.sleep(1)
            told = owner.is_there.tool("T1").status()
            assert isinstance(told["ownership"], dict)
            assert told["ownership"]["state"] == "standby"
            assert told["ownership"]["owner"] == "another"
            owner.is_there.links["T1"].disable()
            await lease.release(granted.epoch, None)
            await trio.sleep(1)
            withdrawn = owner.is_there.tool("T1").status()["ownership"]
            assert isinstance(withdrawn, dict)
            assert withdrawn["ends_in"] is None


async def test_events_of_all_its_tools_come_in_order() -> None:
    async with shop(1) as floor:
        owner = await floor.process("a")
        await floor.until_all_owned()
        [share, *rest] = owner.events
        assert isinstance(share, ShareChanged)
        assert (share.members, share.tools, share.unplaced) == (("a",), ("T1",), 0)
        names = [type(each.event).__name__ for each in rest if isinstance(each, ToolHappened)]
        assert names[-3:] == ["Connecting", "Selecting", "Selected"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"name": "a b"}, "'a b' is no name of a process of a fleet: it is up to"),
        ({"limit": -1}, "limit=-1 is not a whole number of 0 or more"),
        ({"limit": True}, "limit=True is not a whole number of 0 or more"),
        ({"outbox_entries": 0}, "outbox_entries=0 is not a whole number of 1 or more"),
        ({"outbox_bytes": 1.5}, "outbox_bytes=1.5 is not a whole number of 1 or more"),
        ({"stream_length": 0}, "stream_length=0 is not a whole number of 1 or more"),
        ({"tools": {}}, "a fleet has a tool at least"),
    ],
)
async def test_what_cannot_be_is_told(words: dict[str, Any], told: str) -> None:
    given: dict[str, Any] = {"tools": {"A": Settings()}, "store": MemoryStore()} | words
    with pytest.raises(SettingsError) as raised:
        async with open_fleet(**given):
            pass
    assert str(raised.value).startswith(told)
