"""A chart that runs with trio: its timers come true, and its effects are done, in order."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from statecharts import (
    ADOPTED,
    Chart,
    ChartFaultError,
    Effect,
    Increment,
    Machine,
    NotAllowedError,
    On,
    Parameter,
    Router,
    Snapshot,
    Start,
    State,
    Step,
    Stop,
    System,
    Tell,
    Timer,
    Variable,
)
from statecharts.run import ChartEndedError, RunningChart, open_chart
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]


@dataclass(frozen=True, slots=True)
class Do(Effect):
    what: str


SETTLE = Timer("settle", "settling", "a carrier settles", seconds=2, lowest=0.1, highest=10)
WATCHDOG = Timer("watchdog", "watchdog", "nobody came", seconds=5, lowest=1, highest=60)
PORT = Chart(
    id="port",
    title="Load port",
    local=("unclamp", "look"),
    reported=("arrived", "left", "locked"),
    states=(
        State("empty", enter=(Do("lamp off"),)),
        State(
            "occupied",
            timer=WATCHDOG,
            enter=(Do("lamp on"), Do("tell")),
            exit=(Do("forget"),),
            children=(
                State("settling", timer=SETTLE),
                State("resettling", timer=SETTLE),
                State("clamped", enter=(Do("clamp"),)),
                State("locked_in"),
            ),
        ),
    ),
    transitions=(
        On("arrived", "empty", to="occupied", do=(Do("move"),)),
        On("arrived", "settling", to="resettling", keep=SETTLE),
        On("arrived", "resettling", to="settling"),
        On("settle_expired", "settling", to="clamped"),
        On("settle_expired", "resettling", to="clamped"),
        On("locked", "clamped", to="locked_in"),
        On("unclamp", "locked_in", to="settling"),
        On("unclamp", "clamped", to="settling"),
        On("look", "occupied", do=(Do("look"),)),
        On("left", "occupied", to="empty"),
        On("watchdog_expired", "occupied", to="empty"),
    ),
)
MACHINE = Machine(PORT)

Running = RunningChart[Snapshot, Step]


def nothing(_: Effect) -> None:
    pass


class Recorder:
    """Does nothing but remember, and gives the events that it is told to give."""

    def __init__(self, **gives: Any) -> None:
        self.gives = {name.replace("_", " "): each for name, each in gives.items()}
        self.done: list[tuple[float, str]] = []

    def __call__(self, effect: Effect) -> Any:
        assert isinstance(effect, Do)
        self.done.append((trio.current_time(), effect.what))
        given = self.gives.get(effect.what)
        return given() if callable(given) else given

    @property
    def names(self) -> list[str]:
        return [name for _, name in self.done]


# Steps and their effects


async def test_the_effects_of_a_step_are_done_in_order() -> None:
    act = Recorder()
    async with open_chart(MACHINE, act) as running:
        assert act.names == ["lamp off"]
        step = running.send("arrived")
        assert act.names == ["lamp off", "move", "lamp on", "tell"]
        assert step.snapshot is running.snapshot
        assert "settling" in running.snapshot
        assert running.takes("left")
        assert not running.takes("unclamp")


async def test_an_event_without_a_transition_is_refused_and_nothing_happens() -> None:
    act = Recorder()
    async with open_chart(MACHINE, act) as running:
        for wrong in ("left", "lfet"):
            with pytest.raises(NotAllowedError, match=f"does not take '{wrong}' in empty"):
                running.send(wrong)
        assert running.snapshot is MACHINE.initial
        assert act.names == ["lamp off"]
        running.send("arrived")


async def test_what_follows_from_effects_is_taken_before_anything_else() -> None:
    seen: list[tuple[str, str, str]] = []

    def watch(event: str, before: Snapshot, step: Step) -> None:
        seen.append((event, before.leaves, step.snapshot.leaves))

    act = Recorder(lamp_on=("look", "look"), tell=["left"], look=None)
    async with open_chart(MACHINE, act, watch=watch) as running:
        step = running.send("arrived")
        # All effects of the step come first, and then the events, in the order they were given.
        assert act.names[1:] == ["move", "lamp on", "tell", "look", "look", "forget", "lamp off"]
        assert step.snapshot.leaves == "settling"
        assert running.snapshot.leaves == "empty"
    assert seen == [
        ("arrived", "empty", "settling"),
        ("look", "settling", "settling"),
        ("look", "settling", "settling"),
        ("left", "settling", "empty"),
    ]


async def test_the_initial_effects_may_give_events() -> None:
    async with open_chart(MACHINE, Recorder(lamp_off="arrived")) as running:
        assert running.snapshot.leaves == "settling"


async def test_effects_that_answer_each_other_for_ever_are_an_error() -> None:
    act = Recorder(lamp_on="left")
    act.gives["lamp off"] = lambda: "arrived" if len(act.done) > 1 else None
    with pytest.raises(ChartFaultError, match=r"port: 100 events follow from one: .* Do\(lamp on"):
        async with open_chart(MACHINE, act) as running:
            running.send("arrived")


@pytest.mark.parametrize("event", ["unclamp", "no_event"])
async def test_an_event_of_an_effect_that_finds_no_transition_is_a_fault(event: str) -> None:
    with pytest.raises(ChartFaultError, match=rf"Do\(tell\) gave '{event}': .* \(to=None\)$"):
        async with open_chart(MACHINE, Recorder(tell=event)) as running:
            running.send("arrived")


@pytest.mark.parametrize("given", [5, True, {"left"}, ("left", 1), b"left"])
async def test_what_an_effect_gives_is_an_event_or_several(given: object) -> None:
    with pytest.raises(TypeError, match=r"port: Do\(tell\) gave .*: wanted is the event"):
        async with open_chart(MACHINE, Recorder(tell=given)) as running:
            running.send("arrived")


async def test_an_effect_gives_events_and_sends_none() -> None:
    charts: list[Running] = []

    def send() -> None:
        charts[0].send("left")

    with pytest.raises(RuntimeError, match="an effect sends 'left' while it is done: let act give"):
        async with open_chart(MACHINE, Recorder(tell=send)) as running:
            await send_and_wait(running, charts.append)


@pytest.mark.parametrize("wrong", [PORT, "port", Machine])
def test_what_runs_is_a_machine_or_a_router(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"wanted is Machine or Router, .*Machine\(chart\) makes"):
        open_chart(wrong, nothing)


# Timers


async def test_a_timer_expires_when_its_seconds_have_passed() -> None:
    act = Recorder()
    async with open_chart(MACHINE, act) as running:
        await trio.sleep(1)
        running.send("arrived")
        assert (await running.until("clamped")).leaves == "clamped"
        assert trio.current_time() == 3
        assert act.done[-1] == (3, "clamp")


async def test_a_timer_that_is_stopped_does_not_expire() -> None:
    async with open_chart(MACHINE, nothing) as running:
        running.send("arrived")
        await trio.sleep(1.5)
        running.send("left")
        await trio.sleep(1)
        running.send("arrived")
        await running.until("clamped")
        assert trio.current_time() == 4.5


async def test_a_timer_that_is_kept_runs_on_and_one_that_is_started_again_does_not() -> None:
    async with open_chart(MACHINE, nothing) as running:
        running.send("arrived")
        await trio.sleep(1.5)
        running.send("arrived")
        await running.until("clamped")
        assert trio.current_time() == 2
        running.send("unclamp")
        await trio.sleep(1)
        # First it is kept, and then it is started again, after one and a half of its seconds.
        running.send("arrived")
        await trio.sleep(0.5)
        running.send("arrived")
        # Before it expires, the whole is empty again.
        await running.until("empty")
        assert trio.current_time() == 5


async def test_two_timers_of_one_moment_expire_in_the_order_of_their_starts() -> None:
    seen: list[str] = []

    def watch(event: str, _: Snapshot, __: Step) -> None:
        seen.append(event)

    seconds = {"settle": 5.0}
    async with open_chart(MACHINE, nothing, seconds=seconds, watch=watch) as running:
        running.send("arrived")
        await running.until("empty")
        await trio.sleep(10)
    # The end of the watchdog stops the other one.
    assert seen == ["arrived", "watchdog_expired"]


async def test_a_running_timer_keeps_the_time_that_has_passed() -> None:
    async with open_chart(MACHINE, nothing) as running:
        running.send("arrived")
        await trio.sleep(1)
        running.retime(SETTLE, 4)
        await running.until("clamped")
        assert trio.current_time() == 4
        running.send("unclamp")
        await trio.sleep(0.9)
        running.retime(SETTLE, 0.5)
        await running.until("clamped")
        assert trio.current_time() == 4.9


async def test_only_a_timer_that_runs_takes_another_time_within_its_range() -> None:
    async with open_chart(MACHINE, nothing) as running:
        with pytest.raises(ValueError, match="port: settle does not run in <empty>"):
            running.retime(SETTLE, 1)
        running.send("arrived")
        for wrong in (0.05, 11, math.nan, -1, True, "1"):
            with pytest.raises(ValueError, match=r"is not a number of seconds in 0\.1\.\.10"):
                running.retime(SETTLE, wrong)  # type: ignore[arg-type]  # what a user might give
        await running.until("clamped")
        assert trio.current_time() == 2


async def test_the_seconds_of_a_table_are_looked_up_at_each_start() -> None:
    seconds = {"settle": 1.0}
    async with open_chart(MACHINE, nothing, seconds=seconds) as running:
        running.send("arrived")
        seconds["settle"] = 3.0
        await running.until("clamped")
        assert trio.current_time() == 1
        running.send("unclamp")
        await running.until("clamped")
        assert trio.current_time() == 4


async def test_a_function_is_asked_for_the_seconds_at_each_start() -> None:
    asked: list[str] = []

    def seconds(timer: Timer) -> float:
        asked.append(timer.id)
        return timer.lowest

    async with open_chart(MACHINE, nothing, seconds=seconds) as running:
        running.send("arrived")
        await running.until("clamped")
        assert trio.current_time() == 0.1
    assert asked == ["watchdog", "settle"]


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ({"settel": 1}, r"port has no timer 'settel'; its timers: watchdog, settle"),
        ({"settle": 11}, r"port: settle=11 is not a number of seconds in 0\.1\.\.10"),
        ({"settle": True}, r"settle=True is not"),
        ({"settle": None}, r"settle=None is not"),
    ],
)
def test_a_table_of_seconds_is_checked_before_anything_runs(table: Any, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        open_chart(MACHINE, nothing, seconds=table)


async def test_seconds_that_are_wrong_at_a_start_end_the_chart() -> None:
    with pytest.raises(ValueError, match="port: watchdog=0 is not a number of seconds in 1"):
        async with open_chart(MACHINE, nothing, seconds=lambda _: 0) as running:
            running.send("arrived")


async def test_who_wakes_late_takes_first_what_was_sent() -> None:
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    give, take = trio.open_memory_channel[str](10)
    seen: list[str] = []

    async def read(running: Running) -> None:
        async for event in take:
            # As if it had to be understood first.
            for _ in range(3):
                await trio.lowlevel.checkpoint()
            running.send(event)

    def watch(event: str, _: Snapshot, __: Step) -> None:
        seen.append(event)

    async with open_chart(MACHINE, nothing, watch=watch) as running, trio.open_nursery() as nursery:
        nursery.start_soon(read, running)
        running.send("arrived")
        await wait_all_tasks_blocked()
        # The loop was blocked; in the meantime the carrier has left, and another one is there.
        clock.jump(30)
        give.send_nowait("left")
        give.send_nowait("arrived")
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    # The timers of the other one have just begun.
    assert seen == ["arrived", "left", "arrived"]


async def test_a_timer_that_is_put_off_when_it_has_run_out_does_not_expire() -> None:
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    async with open_chart(MACHINE, nothing) as running:
        running.send("arrived")
        await wait_all_tasks_blocked()
        clock.jump(3)
        running.retime(SETTLE, 4)
        await running.until("clamped")
        assert trio.current_time() == 4


def reference(
    machine: Machine, sent: list[tuple[float, str]], until: float
) -> list[tuple[float, str, str]]:
    """What a chart does, step by step, by the simplest loop that one could write."""
    here, ends, seen = machine.initial, dict[Timer, float](), list[tuple[float, str, str]]()

    def take(at: float, event: str) -> None:
        nonlocal here
        here, effects, _ = machine.step(here, event)
        for effect in effects:
            match effect:
                case Start(timer):
                    ends[timer] = at + timer.seconds
                case Stop(timer):
                    del ends[timer]
                case _:
                    pass
        seen.append((at, event, here.leaves))

    for at, event in (*sent, (until, "")):
        while ends and min(ends.values()) < at:
            timer = min(ends, key=ends.__getitem__)
            take(ends[timer], timer.expired)
        if machine.takes(here, event):
            take(at, event)
    return seen


@pytest.mark.parametrize("seed", range(20))
async def test_it_does_what_the_simplest_loop_does(seed: int) -> None:
    random = Random(seed)
    sent, at = list[tuple[float, str]](), 0.0
    for _ in range(200):
        # Never just when a timer runs out, so that it does not matter who comes first.
        at += random.choice([0.25, 0.25, 1.25, 3.125]) + random.random() / 1_000
        sent.append((at, random.choice([*PORT.local, *PORT.reported])))
    seen: list[tuple[float, str, str]] = []

    def watch(event: str, _: Snapshot, step: Step) -> None:
        seen.append((trio.current_time(), event, step.snapshot.leaves))

    async with open_chart(MACHINE, nothing, watch=watch) as running:
        for at, event in sent:
            await trio.sleep_until(at)
            if running.takes(event):
                running.send(event)
        await trio.sleep_until(at + 100)
    assert seen == reference(MACHINE, sent, at + 100)
    assert len({event for _, event, _ in seen}) == len(PORT.events)


# Effects that take time


async def test_the_event_of_an_effect_that_is_awaited_comes_when_it_is_done() -> None:
    async def lock() -> str:
        await trio.sleep(0.25)
        return "locked"

    async with open_chart(MACHINE, Recorder(clamp=lock)) as running:
        running.send("arrived")
        await running.until("clamped")
        assert trio.current_time() == 2
        await running.until("locked_in")
        assert trio.current_time() == 2.25


async def test_what_is_awaited_is_cancelled_with_the_block() -> None:
    ended: list[str] = []

    async def lock() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("lock")

    async with open_chart(MACHINE, Recorder(move=lock)) as running:
        running.send("arrived")
        await wait_all_tasks_blocked()
    assert ended == ["lock"]
    with pytest.raises(ChartEndedError, match=r"^port has ended$"):
        running.send("left")


async def test_what_is_awaited_may_send_itself() -> None:
    async def lock() -> None:
        await trio.sleep(0.5)
        running.send("left")

    async with open_chart(MACHINE, Recorder(move=lock)) as running:
        running.send("arrived")
        await running.until("empty")
        assert trio.current_time() == 0.5


# How it ends


class BurntError(Exception):
    """The user's own."""


def burn() -> None:
    raise BurntError("the motor")


async def burn_later() -> None:
    await trio.sleep(0.5)
    burn()


async def burn_at_the_end() -> None:
    try:
        await trio.sleep_forever()
    finally:
        burn()


async def send_and_wait(running: Running, first: Callable[[Running], object] = id) -> None:
    first(running)
    running.send("arrived")
    await trio.sleep_forever()


async def send_twice_and_wait(running: Running) -> None:
    with pytest.raises(ChartEndedError, match="port has ended, by BurntError") as told:
        running.send("arrived")
    assert isinstance(told.value.__cause__, BurntError)
    with pytest.raises(ChartEndedError):
        running.send("left")
    await trio.sleep_forever()


async def test_an_exception_of_an_effect_comes_out_as_it_is() -> None:
    with pytest.raises(BurntError) as caught:
        async with open_chart(MACHINE, Recorder(tell=burn)) as running:
            await send_twice_and_wait(running)
    assert caught.value.__cause__ is None
    # The step was made.
    assert running.snapshot.leaves == "settling"


async def test_so_it_does_when_the_block_does_not_wait_for_it() -> None:
    with pytest.raises(BurntError):
        async with open_chart(MACHINE, Recorder(tell=burn)) as running:
            running.send("arrived")


@pytest.mark.parametrize("others", [0, 1])
async def test_so_it_does_when_tasks_of_the_block_send(others: int) -> None:
    async def tasks(running: Running) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_and_wait, running)
            for _ in range(others):
                nursery.start_soon(trio.sleep_forever)

    with pytest.raises(BurntError):
        async with open_chart(MACHINE, Recorder(tell=burn)) as running:
            await tasks(running)


async def test_a_group_of_the_block_stays_as_it_is_without_what_the_chart_has_told() -> None:
    async def tasks(running: Running) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_and_wait, running)
            nursery.start_soon(burn_at_the_end)

    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_chart(MACHINE, Recorder(tell=burn)) as running:
            await tasks(running)
    assert not caught.group_contains(ChartEndedError)
    assert caught.group_contains(BurntError, depth=1)
    assert caught.group_contains(BurntError, depth=2)


@pytest.mark.parametrize("gives", [{"clamp": burn}, {"tell": burn_later}])
async def test_so_it_does_from_a_timer_and_from_what_is_awaited(
    gives: dict[str, Callable[[], object]],
) -> None:
    with pytest.raises(BurntError):
        async with open_chart(MACHINE, Recorder(**gives)) as running:
            await send_and_wait(running)
    with pytest.raises(ChartEndedError, match="BurntError"):
        running.send("left")


async def test_so_it_does_from_the_beginning_and_from_who_watches() -> None:
    with pytest.raises(BurntError):
        async with open_chart(MACHINE, Recorder(lamp_off=burn)):
            pass

    with pytest.raises(BurntError):
        async with open_chart(MACHINE, nothing, watch=lambda *_: burn()) as running:
            running.send("arrived")


async def test_what_else_fails_then_is_in_a_group_with_it() -> None:
    act = Recorder(move=burn_at_the_end, clamp=burn)
    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_chart(MACHINE, act) as running:
            await send_and_wait(running)
    assert [str(each) for each in caught.value.exceptions] == ["the motor"] * 2


async def test_the_exception_of_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(BurntError):
        async with open_chart(MACHINE, nothing):
            burn()


async def test_a_group_of_the_block_comes_out_as_it_is() -> None:
    group = ExceptionGroup("of the user", [BurntError()])
    with pytest.raises(ExceptionGroup) as caught:
        async with open_chart(MACHINE, nothing):
            raise group
    # trio may have made it anew.
    assert (caught.value.message, caught.value.exceptions) == (group.message, group.exceptions)


async def test_that_another_chart_has_ended_is_an_exception_like_any_other() -> None:
    async with open_chart(MACHINE, nothing) as other:
        pass
    with pytest.raises(ChartEndedError):
        async with open_chart(MACHINE, nothing):
            other.send("arrived")


async def test_a_chart_that_is_cancelled_has_ended() -> None:
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with open_chart(MACHINE, Recorder(move=trio.sleep_forever)) as running:
                running.send("arrived")
                nursery.start_soon(wait_for_the_end, running)
                await wait_all_tasks_blocked()
                scope.cancel()
                await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    with pytest.raises(ChartEndedError, match=r"^port has ended$"):
        await running.until("empty")


async def wait_for_the_end(running: Running) -> None:
    with pytest.raises(ChartEndedError, match=r"^port has ended$"):
        await running.until("locked_in")


# Waiting for a state


async def test_a_state_that_is_passed_between_two_events_is_not_missed() -> None:
    async with (
        open_chart(MACHINE, Recorder(clamp="locked")) as running,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(wait_for_clamped, running)
        await wait_all_tasks_blocked()
        running.send("arrived")
        assert (await running.until("locked_in", "clamped")).leaves == "clamped"


async def wait_for_clamped(running: Running) -> None:
    found = await running.until("clamped")
    assert found.leaves == "clamped"
    assert running.snapshot.leaves == "locked_in"


async def test_a_state_that_no_chart_has_is_not_waited_for() -> None:
    async with open_chart(MACHINE, nothing) as running:
        for states in (("clampt",), ("empty", "clampt")):
            with pytest.raises(KeyError, match="chart port has no state 'clampt'"):
                await running.until(*states)
        assert (await running.until("clamped", "empty")) is running.snapshot


# Going on


async def test_it_goes_on_from_what_was_saved_and_its_timers_run_anew() -> None:
    act = Recorder()
    async with open_chart(MACHINE, act) as running:
        running.send("arrived")
        await trio.sleep(1.5)
        text = json.dumps(MACHINE.save(running.snapshot))
    before = len(act.done)
    seen: list[str] = []
    at = MACHINE.restore(json.loads(text))
    async with open_chart(MACHINE, act, at=at, watch=lambda event, *_: seen.append(event)) as again:
        assert (again.snapshot, len(act.done), seen) == (at, before, [])
        await again.until("clamped")
        assert trio.current_time() == 3.5
        await again.until("empty")
        assert trio.current_time() == 6.5


COUNTING = Chart(
    id="counting",
    title="Counting",
    reported=("failed",),
    parameters=(Parameter("threshold", 3, 1, 5),),
    variables=(Variable("failures", highest="threshold"),),
    states=(State("good", timer=SETTLE), State("bad", enter=(Do("alarm"),))),
    transitions=(
        On("failed", "good", do=(Increment("failures"),)),
        On(None, "good", to="bad", when="failures >= threshold"),
        On("settle_expired", "good", to="good"),
        On("failed", "bad"),
    ),
)


async def test_it_goes_on_under_other_parameters_with_what_they_change_at_once() -> None:
    act, seen = Recorder(), list[tuple[str, str, str]]()
    three, two = Machine(COUNTING), Machine(COUNTING, threshold=2)
    async with open_chart(three, act) as running:
        running.send("failed")
        running.send("failed")

    def watch(event: str, before: Snapshot, step: Step) -> None:
        seen.append((event, before.leaves, step.snapshot.leaves))

    async with open_chart(two, act, at=running.snapshot, watch=watch) as again:
        assert again.snapshot.leaves == "bad"
        assert again.snapshot.machine is two
        await trio.sleep(5)
    assert seen == [(ADOPTED, "good", "bad")]
    assert act.names == ["alarm"]


async def test_a_snapshot_of_another_chart_is_nothing_to_go_on_from() -> None:
    with pytest.raises(ValueError, match="counting cannot adopt"):
        async with open_chart(Machine(COUNTING), nothing, at=MACHINE.initial):
            pass


# Charts that are joined

DOOR = Chart(
    id="door",
    title="Door",
    local=("push",),
    states=(State("shut"), State("open", timer=Timer("swing", "swing", "it swings", 1, 1, 1))),
    transitions=(
        On("push", "shut", to="open", do=(Tell("gone_through"),)),
        On("swing_expired", "open", to="shut"),
    ),
)
LAMP = Chart(
    id="lamp",
    title="Lamp",
    reported=("gone_through",),
    states=(State("dark"), State("lit", timer=SETTLE, enter=(Do("lamp on"),))),
    transitions=(
        On("gone_through", "dark", to="lit"),
        On("gone_through", "lit", to="lit"),
        On("settle_expired", "lit", to="dark"),
    ),
)


async def test_charts_that_are_joined_run_as_one() -> None:
    router = Router(System("house", "House", (DOOR, LAMP)))
    act = Recorder()
    seconds = {"settle": 3.0}
    async with open_chart(router, act, seconds=seconds) as running:
        step = running.send("push")
        assert [hop.chart for hop in step.hops] == ["door", "lamp"]
        assert act.names == ["lamp on"]
        await running.until("shut")
        assert trio.current_time() == 1
        await running.until("dark")
        assert trio.current_time() == 3
        with pytest.raises(KeyError, match="system house has no event 'pull'"):
            running.send("pull")
        running.send("push")
        at = running.snapshot
    with pytest.raises(ChartEndedError, match="house has ended"):
        running.send("push")
    async with open_chart(router, act, at=at) as running:
        await running.until("dark")
        assert trio.current_time() == 5
        assert "shut" in running.snapshot
    with pytest.raises(ValueError, match="house has no timer 'x'; its timers: swing, settle"):
        open_chart(router, act, seconds={"x": 1})


async def test_an_effect_of_joined_charts_gives_an_event_of_theirs() -> None:
    router = Router(System("house", "House", (DOOR, LAMP)))
    with pytest.raises(ChartFaultError, match=r"Do\(lamp on\) gave 'pull': system house has no ev"):
        async with open_chart(router, Recorder(lamp_on="pull")) as running:
            running.send("push")


def test_who_runs_no_chart_imports_no_trio() -> None:
    program = "import sys, statecharts, statecharts.explore, statecharts.draw; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, encoding="utf-8"
    )
    assert not {"trio", "statecharts.run"} & set(done.stdout.split())
