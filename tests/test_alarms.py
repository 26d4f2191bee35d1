"""One task waits for the timers of all links of a trio run, and wakes the task of each."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from hsms_engine import HsmsConnection, Settings, open_hsms
from hsms_engine.driver.alarms import Alarm
from hsms_engine.driver.alarms import _Alarms as Alarms
from hsms_engine.driver.driver import Driver
from tests.support.raw_peer import LINKTEST_REQ, RawPeer, linktest_rsp, separate_req
from tests.support.virtual import run_virtually, virtual_time

__all__ = ["virtual_time"]


class Steps(trio.abc.Instrument):
    """Counts the steps of one task."""

    def __init__(self, task: trio.lowlevel.Task) -> None:
        self._task = task
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task is self._task


async def ring_at(alarm: Alarm, at: float, rung: list[float]) -> None:
    """Wait for ``alarm`` once."""
    alarm.begin()
    try:
        await alarm.wait(at)
        rung.append(trio.current_time())
    finally:
        alarm.end()


async def test_each_task_wakes_at_its_own_time() -> None:
    rung: list[float] = []
    async with trio.open_nursery() as nursery:
        for at in (7, 3, 5, 3, -math.inf):
            nursery.start_soon(ring_at, Alarm(), at, rung)
    assert rung == [0, 3, 3, 5, 7]


@pytest.mark.parametrize(("moved", "rings"), [((2,), 2), ((8,), 8), ((2, 8), 8), ((8, 2), 2)])
async def test_an_alarm_that_is_moved_rings_once_and_then(
    moved: tuple[float, ...], rings: float
) -> None:
    rung: list[float] = []
    alarm = Alarm()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ring_at, alarm, 5, rung)
        await wait_all_tasks_blocked()
        for at in moved:
            alarm.move(at)
    assert rung == [rings]


async def test_an_alarm_rings_when_it_is_told_to_and_not_again() -> None:
    rung: list[float] = []
    alarm = Alarm()
    alarm.ring()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ring_at, alarm, math.inf, rung)
        await trio.sleep(1)
        alarm.ring()
        alarm.ring()
    alarm.move(2)
    await trio.sleep(5)
    assert rung == [1]


async def test_a_task_that_is_cancelled_is_not_woken_and_the_others_are() -> None:
    rung: list[float] = []
    alarm = Alarm()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ring_at, Alarm(), 4, rung)
        with trio.move_on_after(1):
            await ring_at(alarm, 3, rung)
        assert not alarm.is_set
    assert rung == [4]


async def test_the_task_ends_with_the_last_alarm_and_begins_again() -> None:
    rung: list[float] = []
    before = trio.lowlevel.current_statistics().tasks_living
    for at in (3, 6):
        await ring_at(Alarm(), at, rung)
        # One that begins before the task has ended keeps it.
        await ring_at(Alarm(), at + 1, rung)
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before
    assert rung == [3, 4, 6, 7]


async def test_times_that_are_not_in_force_any_more_take_no_memory() -> None:
    alarm, other = Alarm(), Alarm()
    rung: list[float] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ring_at, alarm, 50, rung)
        nursery.start_soon(ring_at, other, 60, rung)
        await wait_all_tasks_blocked()
        for number in range(1_000):
            alarm.move(90 - number % 2)
            assert len(alarm._alarms._entries) <= 16
    assert rung == [60, 89]


async def test_an_alarm_that_never_began_ends_without_the_others() -> None:
    rung: list[float] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ring_at, Alarm(), 4, rung)
        await wait_all_tasks_blocked()
        Alarm().end()
        await trio.sleep(9)
        nursery.cancel_scope.cancel()
    assert rung == [4]


async def test_an_alarm_that_has_ended_wakes_no_task_that_was_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    rung: list[float] = []
    alarm = Alarm()
    monkeypatch.setattr(Alarms, "put", interrupted)
    with pytest.raises(KeyboardInterrupt):
        await ring_at(alarm, 3, rung)
    monkeypatch.undo()
    alarm.ring()
    alarm.move(2)
    # A wait of this task is not ended by it.
    await trio.sleep(5)
    assert (rung, trio.current_time()) == ([], 5)


async def test_an_interrupt_leaves_no_alarm_of_a_link_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[Alarm] = []
    begin = Alarm.begin

    def interrupted(alarm: Alarm) -> None:
        begin(alarm)
        begun.append(alarm)
        raise KeyboardInterrupt

    monkeypatch.setattr(Alarm, "begin", interrupted)
    before = trio.lowlevel.current_statistics().tasks_living
    with pytest.RaisesGroup(KeyboardInterrupt, flatten_subgroups=True, allow_unwrapped=True):
        async with open_hsms("tool", 5000, dial=trio.sleep_forever):
            pass
    await wait_all_tasks_blocked()
    left = trio.lowlevel.current_statistics().tasks_living - before
    for each in begun:
        # Else the run would never end.
        each.end()
    assert (len(begun), left) == (1, 0)


def test_an_alarm_rings_after_the_main_task_has_ended() -> None:
    """A link that a system task runs has its timers until it has closed."""
    rung: list[float] = []

    async def linger() -> None:
        with trio.CancelScope(shield=True):
            await ring_at(Alarm(), 5, rung)

    async def main() -> None:
        trio.lowlevel.spawn_system_task(linger)
        await trio.sleep(1)

    run_virtually(main)
    assert rung == [5]


async def test_what_fails_in_the_task_of_one_link_leaves_the_timers_of_the_others() -> None:
    rung: list[float] = []

    async def fail() -> None:
        await ring_at(Alarm(), 1, rung)
        raise ZeroDivisionError

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ring_at, Alarm(), 2, rung)
        with pytest.RaisesGroup(ZeroDivisionError):
            async with trio.open_nursery() as of_one_link:
                of_one_link.start_soon(fail)
    assert rung == [1, 2]


@asynccontextmanager
async def selected(**changes: Any) -> AsyncIterator[tuple[HsmsConnection, RawPeer]]:
    """A connection over memory, and its peer."""
    ours, theirs = memory_stream_pair()
    peer = RawPeer(theirs)

    async def dial() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return ours

    settings = Settings(host="tool", port=5000).replace(**changes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.select_by_answering)
        async with open_hsms(settings, dial=dial) as connection:
            yield connection, peer
        nursery.cancel_scope.cancel()


async def test_a_task_that_waits_for_a_primary_sleeps_through_linktests() -> None:
    async def take(connection: HsmsConnection, task_status: trio.TaskStatus[Steps]) -> None:
        task_status.started(Steps(trio.lowlevel.current_task()))
        async for _ in connection:
            pass

    async with selected(linktest_interval=10) as (connection, peer), trio.open_nursery() as nursery:
        steps: Steps = await nursery.start(take, connection)
        await wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(steps)
        await peer.ping()
        await peer.send(linktest_rsp(await peer.control(LINKTEST_REQ)))
        await wait_all_tasks_blocked()
        assert trio.current_time() == 10
        assert steps.count == 0
        await peer.send(separate_req(1))
        await wait_all_tasks_blocked()
        assert steps.count > 0, "there will be no primary"


async def test_what_is_acknowledged_is_asked_for_without_catching_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passes: list[tuple[float, int]] = []
    asked: list[float] = []
    catch_up, ask = Driver._catch_up, Driver.ask_handover

    async def counted(self: Driver, count: int = 10) -> None:
        passes.append((trio.current_time(), count))
        await catch_up(self, count)

    def noted(self: Driver) -> None:
        asked.append(trio.current_time())
        ask(self)

    monkeypatch.setattr(Driver, "_catch_up", counted)
    monkeypatch.setattr(Driver, "ask_handover", noted)
    async with selected(linktest_interval=10, t6=3) as (_, peer):
        await peer.ping()
        await peer.control(LINKTEST_REQ)
        assert asked == [7, 10]
        assert passes == [(10, 3)]
