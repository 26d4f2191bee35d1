"""One tool, two machines, one store of leases: one of them has the link, the other stands by.

Time is virtual. Each test ends with what the plant has noted: no byte was handed to a kernel by a
machine that did not have the lease then, and the tool never had two sessions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hsms_engine import (
    CircuitOpenError,
    HsmsLink,
    LeaseError,
    LinkDownError,
    LocalProtocolError,
    Message,
    events,
    open_link,
)
from hsms_engine.lease import MemoryStore
from hsms_engine.protocol.outputs import Step
from statecharts.hsms.vocabulary import OpenTcp
from tests.support.faulty_lease import away
from tests.support.leaks import leak_check, no_task_left
from tests.support.owners import Host, Plant, plant, within
from tests.support.pair import Switchboard
from tests.support.raw_peer import data
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

S6F11 = Message(6, 11)
LENGTH = 10.0
# By the owner's clock, after it has asked for the grant in force.
OWN_DEADLINE, END = 8.8, 9.8
# How long the next attempt may have to wait for T5, and a test for its look.
MORE = 1.2


def jump(seconds: float) -> None:
    """The event loop is stopped for so long, as by SIGSTOP: no task has run since."""
    cast(MockClock, trio.lowlevel.current_clock()).jump(seconds)


def _state(link: HsmsLink | None) -> str:
    assert link is not None
    assert link.ownership is not None
    return link.ownership.state


def state(host: Host) -> str:
    return _state(host.link)


def told(host: Host, *kinds: type[object]) -> list[object]:
    return [event for event in host.events if isinstance(event, kinds)]


@asynccontextmanager
async def one_owns_and_one_stands_by() -> AsyncIterator[tuple[Plant, Host, Host, trio.Nursery]]:
    async with plant(MemoryStore) as (found, nursery):
        first, second = found.host("first"), found.host("second")
        await nursery.start(first.run)
        await within(1, lambda: first.is_selected)
        await nursery.start(second.run)
        await within(1, lambda: state(second) == "standby")
        yield found, first, second, nursery


# Who has it, and how another one gets it


async def test_one_has_the_link_and_the_other_knows_who() -> None:
    async with one_owns_and_one_stands_by() as (_, first, second, _):
        await trio.sleep(100)
        assert first.is_selected
        assert not second.is_selected
        assert first.link is not None
        assert second.link is not None
        ours, others = first.link.ownership, second.link.ownership
        assert ours is not None
        assert others is not None
        assert (ours.state, ours.owner, ours.lease_epoch) == ("owner", "first:1", 1)
        assert (others.state, others.owner, others.lease_epoch) == ("standby", "first:1", 1)
        assert ours.since < 1
        assert 0 < ours.ends_in <= OWN_DEADLINE
        assert 0 < others.ends_in <= LENGTH
        with pytest.raises(LinkDownError, match=r"standby: first:1 .*TOOL-7"):
            await second.link.send(S6F11)
        standby = told(second, events.Standby)[-1]
        assert isinstance(standby, events.Standby)
        assert (standby.owner, standby.lease_epoch, standby.error) == ("first:1", 1, None)
        # What does not change is not told again.
        assert len(told(second, events.Standby)) == 2
        # It renews four times in each lease, and a standby looks as often.
        assert first.lease.calls.count("renew") == pytest.approx(40, abs=2)
        # A message costs the store nothing.
        await first.link.send(S6F11)


async def test_when_its_owner_leaves_in_good_order_the_other_has_it_at_once() -> None:
    async with one_owns_and_one_stands_by() as (found, first, second, nursery):
        first.stop()
        assert await within(MORE, lambda: second.is_selected) < MORE
        # And back again; each owner has a greater epoch than the one before.
        again = first.start_again()
        await nursery.start(again.run)
        await trio.sleep(5)
        assert not again.is_selected
        second.stop()
        await within(MORE, lambda: again.is_selected)
        epochs = [
            event.lease_epoch
            for host in (first, second, again)
            for event in host.events
            if isinstance(event, events.Owning)
        ]
        assert epochs == [1, 2, 3]
        assert list(found.sessions.values()) == ["first"]


async def test_disable_gives_it_to_another_and_enable_contends_again() -> None:
    async with one_owns_and_one_stands_by() as (_, first, second, _):
        assert first.link is not None
        first.link.disable()
        assert state(first) == "draining"
        await within(MORE, lambda: second.is_selected)
        await trio.sleep(60)
        assert state(first) == "withdrawn"
        with pytest.raises(LocalProtocolError):
            first.link.disable()
        first.link.enable()
        await trio.sleep(60)
        assert state(first) == "standby"
        assert second.link is not None
        second.link.disable()
        await within(MORE, lambda: first.is_selected)


async def test_after_a_crash_it_is_taken_over_when_the_lease_is_over() -> None:
    async with one_owns_and_one_stands_by() as (_, first, second, _):
        await trio.sleep(33.3)
        first.crash()
        took = await within(LENGTH + MORE, lambda: second.is_selected)
        # It was renewed a quarter of a lease ago at most.
        assert took > LENGTH * 0.75


@pytest.mark.parametrize("late", [0.0, 3.0, 8.0, 9.0, 30.0])
async def test_a_loop_that_was_stopped_for_any_time_sends_nothing_after_the_end(
    late: float,
) -> None:
    """The program sends in the same step in which it goes on, before any other task has run."""
    async with one_owns_and_one_stands_by() as (found, first, second, _):
        assert first.link is not None
        await trio.sleep(1)
        since_asked = trio.current_time() % 2.5
        jump(late)
        # It was renewed at each multiple of a quarter of the lease.
        is_over = since_asked + late >= OWN_DEADLINE
        sent: list[BaseException | None] = []
        try:
            await first.link.send(S6F11)
            sent.append(None)
        except LinkDownError as error:
            sent.append(error)
            assert state(first) in ("draining", "standby")
        assert (sent[0] is not None) is is_over
        await within(2 * LENGTH, lambda: first.is_selected or second.is_selected)
        assert found.violations == []


@pytest.mark.parametrize("comes", [False, True])
async def test_its_end_is_judged_before_anything_is_read_or_caught_up(*, comes: bool) -> None:
    """Neither what has come meanwhile, nor the time that is given to it, makes a lease longer."""
    async with one_owns_and_one_stands_by() as (_, first, _, nursery):
        assert first.link is not None
        received = 0

        async def receive(link: HsmsLink) -> None:
            nonlocal received
            async for _ in link:
                received += 1

        nursery.start_soon(receive, first.link)
        (socket,) = (each for each in first.machine.sockets)
        await socket.other.send_all(data(6, 11, 1))
        await wait_all_tasks_blocked()
        assert received == 1
        if comes:
            socket.other.send_nowait(data(6, 11, 2))
        jump(END + 1)
        # The clock of all links wakes, and then the task of this one.
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        assert not first.link.is_selected
        await trio.sleep(1)
        assert received == 1


async def test_a_loop_that_is_stopped_before_it_dials_dials_nobody() -> None:
    board = Switchboard()
    stops = [END]

    def stop(step: Step) -> None:
        if OpenTcp() in step.effects and stops:
            jump(stops.pop())

    async with open_link("tool", 5000, dial=board.dial, lease=MemoryStore().lease("T")) as link:
        link.on_step(stop)
        reader = link.events()
        async for event in reader:
            if isinstance(event, events.Draining):
                break
        assert (board.dialled, stops) == (0, [])
        # Then it has the lease again.
        await (await board.peer()).select_by_answering()
        await link.wait_selected()
        assert board.dialled == 1
        assert link.statistics().failed_attempts == 0


async def test_what_waits_at_the_end_of_the_lease_is_dropped_counted_and_cut_by_a_reset() -> None:
    async with one_owns_and_one_stands_by() as (found, first, second, _):
        assert first.link is not None
        (socket,) = (each for each in first.machine.sockets)
        # The tool takes nothing any more, and the kernel only so much.
        socket.other.receive_buffer = 0
        socket.send_buffer = 100
        for _ in range(5):
            await first.link.send(Message(6, 11, body=bytes(1_000)))
        first.lease.is_cut = True
        await trio.sleep(OWN_DEADLINE)
        assert state(first) == "draining"
        # It has room again in the very moment in which the lease is over.
        jump(1.1)
        socket.send_buffer = 1_000_000
        socket.other.receive_buffer = 1_000_000
        await within(LENGTH, lambda: second.is_selected)
        assert found.violations == []
        (unsent,) = told(first, events.Unsent)
        assert isinstance(unsent, events.Unsent)
        assert first.link.statistics().counts["bytes_unsent"] == 5 * 1_014 + 14 - 100
        assert [each.why for each in told(first, events.Draining)] == ["deadline"]  # type: ignore[attr-defined]  # they are of this kind
        first.lease.is_cut = False


# The store


@pytest.mark.parametrize("how", ["cut", "fails", "slow there", "slow back"])
async def test_while_the_store_is_away_the_link_goes_on_until_its_own_deadline(how: str) -> None:
    async with one_owns_and_one_stands_by() as (_, first, second, _):
        assert first.link is not None
        await trio.sleep(6)
        # The latest renewal was asked for at a multiple of a quarter of the lease.
        asked_at = trio.current_time() // 2.5 * 2.5
        for each in (first.lease, second.lease):
            match how:
                case "cut":
                    each.is_cut = True
                case "fails":
                    each.failure = away()
                case "slow there":
                    each.there = 60
                case _:
                    each.back = 60
        while trio.current_time() < asked_at + OWN_DEADLINE - 0.1:
            assert first.is_selected
            await first.link.send(S6F11)
            await trio.sleep(0.05)
        assert state(first) == "doubtful"
        assert told(first, events.Doubtful) != []
        await trio.sleep(0.2)
        assert not first.is_selected
        await trio.sleep(60)
        assert not first.is_selected
        assert not second.is_selected
        for host in (first, second):
            last = told(host, events.Standby)[-1]
            assert isinstance(last, events.Standby)
            assert isinstance(last.error, LeaseError)
            host.lease.heal()
        await within(2 * LENGTH, lambda: first.is_selected or second.is_selected)


async def test_one_that_is_cut_off_from_the_store_gives_way_to_one_that_is_not() -> None:
    async with one_owns_and_one_stands_by() as (_, first, second, _):
        first.lease.is_cut = True
        await within(LENGTH + MORE, lambda: second.is_selected)
        assert not first.is_selected
        first.lease.is_cut = False
        await trio.sleep(30)
        assert state(first) == "standby"
        assert second.is_selected


async def test_a_short_absence_of_the_store_is_doubt_and_nothing_else() -> None:
    async with one_owns_and_one_stands_by() as (_, first, second, _):
        await trio.sleep(5)
        first.lease.failure = away()
        await within(3, lambda: state(first) == "doubtful")
        first.lease.failure = None
        await within(1, lambda: state(first) == "owner")
        await trio.sleep(30)
        assert first.is_selected
        kinds = [type(event) for event in told(first, events.Owning, events.Doubtful)]
        assert kinds == [events.Owning, events.Doubtful, events.Owning]
        assert state(second) == "standby"


# What a call finds


async def test_connect_waits_while_the_store_is_asked_and_says_who_else_has_the_link() -> None:
    async with plant(MemoryStore) as (found, nursery):
        first, second = found.host("first"), found.host("second")
        for host in (first, second):
            host.lease.back = 0.5
            await nursery.start(host.run)
            assert host.link is not None
            began = trio.current_time()
            if host is first:
                await host.link.connect()
            else:
                with pytest.raises(LinkDownError, match=r"standby: first:1 "):
                    await host.link.connect()
            assert trio.current_time() == began + 0.5
        assert second.link is not None
        # While it is not asked, too.
        with pytest.raises(LinkDownError, match=r"standby: first:1 "):
            await second.link.connect()
        second.link.disable()
        with pytest.raises(LocalProtocolError, match="enable"):
            await second.link.connect()


async def test_who_waits_for_the_session_waits_through_the_time_as_a_standby() -> None:
    async with one_owns_and_one_stands_by() as (_, first, second, nursery):
        assert second.link is not None
        selected = trio.Event()

        async def wait() -> None:
            assert second.link is not None
            await second.link.wait_selected()
            selected.set()

        nursery.start_soon(wait)
        await trio.sleep(100)
        assert not selected.is_set()
        first.stop()
        await within(MORE, selected.is_set)


async def test_settings_of_a_standby_are_in_force_when_it_owns() -> None:
    async with one_owns_and_one_stands_by() as (_, first, second, _):
        assert second.link is not None
        second.link.configure(linktest_interval=1, breaker_threshold=7)
        await trio.sleep(20)
        first.stop()
        await within(MORE, lambda: second.is_selected)
        await trio.sleep(5)
        assert second.link.settings.breaker_threshold == 7
        assert second.link.statistics().counts["control_frames_sent"] > 3


async def test_a_link_without_a_lease_has_no_owner() -> None:
    async with open_link("tool", 5000, dial=Switchboard().dial) as link:
        assert link.ownership is None


# What an owner leaves to the next one


async def test_the_breaker_and_t5_of_the_latest_owner_are_those_of_the_next() -> None:
    async with plant(MemoryStore) as (found, nursery):
        first, second = found.host("first"), found.host("second")
        for host in (first, second):
            host.settings |= {"breaker_threshold": 2, "breaker_open_time": 600, "t5": 30}
        found.tool.crash()
        found.tool.start()
        await nursery.start(first.run)
        await nursery.start(second.run)
        # Nobody listens there: two attempts fail.
        await within(60, lambda: told(first, events.BreakerOpened) != [])
        first.stop()
        await within(MORE, lambda: state(second) == "owner")
        await trio.sleep(60)
        assert second.link is not None
        statistics = second.link.statistics()
        assert statistics.breaker_state == "breaker_open"
        assert statistics.attempts == 0
        with pytest.raises(CircuitOpenError, match="open after 2 failed attempts"):
            await second.link.connect()


async def test_a_crash_leaves_what_the_latest_renewal_has_left() -> None:
    async with plant(MemoryStore) as (found, nursery):
        first, second = found.host("first"), found.host("second")
        for host in (first, second):
            host.settings |= {
                "breaker_threshold": 1,
                "breaker_open_time": 600,
                "backoff_jitter": 0,
            }
        found.tool.crash()
        found.tool.start()
        await nursery.start(first.run)
        await nursery.start(second.run)
        await within(60, lambda: told(first, events.BreakerOpened) != [])
        await trio.sleep(5)
        first.crash()
        await within(LENGTH + MORE, lambda: state(second) == "owner")
        assert second.link is not None
        retry_after = second.link.statistics().retry_after
        # It has been open since then, by the clock of the store.
        assert 600 - 30 < retry_after < 600 - 5


async def test_what_was_restored_holds_where_no_earlier_owner_has_left_something() -> None:
    board = Switchboard()
    async with open_link("tool", 5000, dial=board.dial, lease=MemoryStore().lease("T")) as link:
        link.isolate()
        saved = link.save()
    store = MemoryStore()
    async with open_link(
        "tool", 5000, dial=board.dial, restore=saved, lease=store.lease("T")
    ) as link:
        await trio.sleep(1)
        assert link.statistics().breaker_state == "isolated"
        assert link.ownership is not None
        assert link.ownership.state == "owner"


async def test_a_link_that_was_saved_disabled_contends_when_it_is_enabled() -> None:
    store = MemoryStore()
    board = Switchboard()
    async with open_link("tool", 5000, dial=board.dial, lease=store.lease("T")) as link:
        link.disable()
        saved = link.save()
    async with open_link(
        "tool", 5000, dial=board.dial, restore=saved, lease=store.lease("T")
    ) as link:
        await trio.sleep(60)
        states = [_state(link)]
        link.enable()
        await trio.sleep(1)
        states.append(_state(link))
        assert states == ["withdrawn", "owner"]


# Long runs


@pytest.mark.parametrize("seed", range(30))
async def test_whatever_happens_there_are_never_two_and_in_the_end_there_is_one(seed: int) -> None:
    random = Random(seed)
    async with plant(MemoryStore, seed) as (found, nursery):
        names = ("first", "second", "third")
        for name in names:
            await nursery.start(found.host(name).run)
        for _ in range(60):
            await trio.sleep(random.choice([0.1, 0.7, 2.5, 6.0]) * random.random() * 2)
            host = found.hosts[random.choice(names)]
            lease = host.lease
            assert host.link is not None
            match random.randrange(11):
                case 0:
                    lease.is_cut = not lease.is_cut
                case 1:
                    lease.failure = None if lease.failure else random.choice([away(), OSError()])
                case 2:
                    lease.there = random.choice([0.0, 0.1, 1.9, 4.0])
                case 3:
                    lease.back = random.choice([0.0, 0.1, 1.9, 4.0])
                case 4:
                    with suppress(LocalProtocolError):
                        random.choice([host.link.enable, host.link.disable])()
                case 5:
                    host.crash()
                    await nursery.start(host.start_again().run)
                case 6:
                    host.stop()
                    await trio.sleep(3)
                    await nursery.start(host.start_again().run)
                case 7:
                    jump(random.choice([0.3, 2.0, 9.0, 9.9, 30.0]))
                    for each in found.hosts.values():
                        with suppress(LinkDownError):
                            assert each.link is not None
                            each.link._send_now(S6F11)
                case 8:
                    for socket in [*host.machine.sockets]:
                        random.choice([socket.break_off, socket.reset])()
                    # The tool would notice it by its own linktest.
                    found.forget(host.name)
                case 9:
                    for each in found.hosts.values():
                        each.lease.is_cut = True
                case _:
                    with suppress(LinkDownError):
                        host.link._send_now(S6F11)
            assert found.violations == []
        for host in found.hosts.values():
            host.lease.heal()
            with suppress(LocalProtocolError):
                assert host.link is not None
                host.link.enable()
        await within(2 * LENGTH + 5, lambda: sum(each.is_selected for each in found.hosts.values()))
        await trio.sleep(LENGTH)
        assert [each.is_selected for each in found.hosts.values()].count(True) == 1
        assert [state(each) for each in found.hosts.values()].count("standby") == 2
