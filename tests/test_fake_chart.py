"""A chart that is the life of a simulated tool: what it takes, and what it makes done."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import trio

from hsms_engine import HsmsError, Message, open_hsms
from hsms_engine.fake import FakeEquipment, serve_fake
from hsms_engine.fake.chart import Bindings, BindingsError, LiveChart, Taken, Takes, ToolChart
from hsms_engine.fake.model import Alarm, Event, Model, Variable
from hsms_engine.fake.rules.stage import Stage
from hsms_engine.fake.threaded import run_in_thread
from hsms_engine.messages import S2F42
from hsms_engine.secs2 import U4, A, B, L
from statecharts import (
    Chart,
    ChartError,
    Effect,
    Increment,
    Machine,
    NotAllowedError,
    On,
    Parameter,
    Router,
    State,
    System,
    Tell,
    Timer,
)
from statecharts import (
    Variable as ChartVariable,
)
from statecharts.nursery import open_bare_nursery
from statecharts.run import ChartEndedError
from tests.support.patience import PATIENCE
from tests.support.staged import Recorded
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]


@dataclass(frozen=True, slots=True)
class Happened(Effect):
    ceid: int


@dataclass(frozen=True, slots=True)
class Warn(Effect):
    on: bool


CLAMPING = Timer("clamping_time", "clamping time", "a clamp closes", 2, 0.1, 1000)
PORT = Chart(
    id="port",
    title="Load port",
    local=("clamp", "unclamp"),
    reported=("placed", "removed", "host_came", "host_left"),
    states=(
        State("empty"),
        State("occupied", enter=(Happened(1),), exit=(Warn(False),)),
        State("clamping", timer=CLAMPING),
        State("clamped", enter=(Happened(2),)),
    ),
    transitions=(
        On("placed", "empty", to="occupied"),
        On("removed", "occupied", to="empty"),
        On("clamp", "occupied", to="clamping"),
        On("clamping_time_expired", "clamping", to="clamped"),
        On("unclamp", "clamped", to="occupied"),
        On("host_came", "empty", do=(Happened(3),)),
        On("host_left", "empty", do=(Happened(4),)),
    ),
)


MODEL = Model(
    variables={1001: Variable(1001, U4(25), "WaferCount")},
    events={each: Event(each) for each in range(1, 5)},
    alarms={7: Alarm(7)},
)


class Tool(Recorded):
    def __init__(self) -> None:
        super().__init__(model=MODEL)

    def words(self, event: str) -> list[str]:
        return [str(list(details.values())) for name, details in self.told if name == event]


def tell_event(tool: Stage, effect: Happened) -> None:
    tool.event(effect.ceid)


def warn(tool: Stage, effect: Warn) -> None:
    tool.alarm(7, effect.on)


EFFECTS: dict[Any, Any] = {Happened: tell_event, Warn: warn}
MESSAGES = {
    'S2F41 W <L "CLAMP" $with>': Takes("clamp"),
    'S2F41 <L "UNCLAMP" _>': Takes(
        "unclamp", accepted="S2F42 <L <B 4> <L $2 ${1001} ${WaferCount}>>", refused="S2F0"
    ),
    "S2F41 <L [2] $command _>": Takes("removed", refused="S2F42 <L <B 1> <L <L $command <B 1>>>>"),
    "S1F13": Takes("host_came"),
    "S10F3 <L _ $text>": Takes("placed", accepted="S10F4 <B 0>"),
}
BINDINGS = Bindings(MESSAGES, EFFECTS, selected="host_came", lost="host_left")


@asynccontextmanager
async def running(
    chart: Chart | Machine | Router = PORT, bindings: Bindings = BINDINGS, **given: Any
) -> AsyncIterator[tuple[LiveChart, Tool]]:
    tool = Tool()
    live = LiveChart(ToolChart(chart, bindings, **given), tool)
    async with trio.open_nursery() as nursery:
        await nursery.start(live.run)
        yield live, tool
        nursery.cancel_scope.cancel()


def command(name: str, wait: bool = True) -> Message:
    return Message(2, 41, wait, L(A(name), L(L(A("PORT"), A("1")))))


# Primaries of the host


async def test_a_primary_that_the_chart_takes_is_a_step_and_is_answered() -> None:
    async with running() as (chart, tool):
        chart.send("placed")
        taken = chart.answer(command("CLAMP"))
        assert taken is not None
        assert taken.reply == S2F42(0)
        assert str(chart.snapshot) == "<clamping>"
        await chart.until("clamped")
        assert trio.current_time() == 2
        assert tool.done == ["event 1", "clear 7", "event 2"]
        assert tool.words("chart") == [
            "['placed', 'empty', 'occupied']",
            "['clamp', 'occupied', 'clamping']",
            "['clamping_time_expired', 'clamping', 'clamped']",
        ]


async def test_one_that_it_does_not_take_now_is_refused() -> None:
    async with running() as (chart, tool):
        taken = chart.answer(command("CLAMP"))
        assert taken is not None
        assert taken.reply == S2F42(2)
        assert str(chart.snapshot) == "<empty>"
        assert "port does not take 'clamp' in empty; it takes placed" in tool.words("not taken")[0]
        refused = chart.answer(command("UNCLAMP"))
        assert refused is not None
        assert refused.reply == Message(2, 0)


async def test_a_reply_has_what_the_pattern_binds_and_what_the_tool_has() -> None:
    async with running(seconds={"clamping_time": 0.1}) as (chart, tool):
        for event in ("placed", "clamp"):
            chart.send(event)
        await chart.until("clamped")
        taken = chart.answer(command("UNCLAMP"))
        assert taken is not None
        parameters = L(L(A("PORT"), A("1")))
        assert taken.reply == Message(2, 42, item=L(B(4), L(parameters, U4(25), U4(25))))
        assert (
            chart.answer(command("REMOVE")) == chart.answer(Message(1, 13, True)) is not None
            or True
        )
        other = chart.answer(command("PAINT"))
        assert other is not None
        assert other.reply == Message(2, 42, item=L(B(1), L(L(A("PAINT"), B(1)))))
        assert tool.words("reply failed") == []


async def test_what_no_pattern_matches_is_for_others() -> None:
    async with running() as (chart, tool):
        for message in (Message(1, 1, True), Message(2, 41, True), Message(10, 3, True, A("x"))):
            assert chart.answer(message) is None
        # A body that cannot be read matches no pattern with a body.
        assert chart.answer(Message(2, 41, True, body=b"\x41\x05A")) is None
        assert tool.told == []
        assert chart.known == {(2, 41), (1, 13), (10, 3)}


async def test_one_without_reply_of_its_own_is_seen_and_answered_by_others() -> None:
    async with running() as (chart, tool):
        taken = chart.answer(Message(1, 13, True, L()))
        assert taken is not None
        assert taken.reply is None
        assert tool.done == ["event 3"]
        # Without W there is nothing to answer.
        without = chart.answer(Message(10, 3, False, L(B(0), A("text"))))
        assert without is not None
        assert without.reply is None
        assert str(chart.snapshot) == "<occupied>"


async def test_a_reply_that_cannot_be_made_aborts_and_is_told() -> None:
    messages = {
        "S2F41 <L _ $parameters>": Takes("placed", accepted="S2F42 <L <B 0> $parameters.3>"),
        "S7F17": Takes("removed", accepted="S7F18 ${Nothing}"),
        "S2F49 W": Takes("clamp", accepted="S2F50 $1", refused="S2F50 $1"),
    }
    async with running(bindings=Bindings(messages, EFFECTS)) as (chart, tool):
        for message in (command("CLAMP"), Message(7, 17, True, L()), Message(2, 49, True)):
            taken = chart.answer(message)
            assert taken is not None
            assert taken.reply == Message(message.stream, 0)
        # The step was made all the same.
        assert str(chart.snapshot) == "<empty>"
        assert len(tool.words("reply failed")) == 3
        assert "$parameters has no $parameters.3" in tool.words("reply failed")[0]


# Hosts that come and go


async def test_the_chart_learns_that_a_host_is_there_where_it_wants_to() -> None:
    async with running() as (chart, tool):
        chart.selected()
        chart.no_host()
        assert tool.done == ["event 3", "event 4"]
        chart.send("placed")
        chart.selected()
        assert len(tool.words("not taken")) == 1
    async with running(bindings=Bindings(MESSAGES, EFFECTS)) as (chart, tool):
        chart.selected()
        chart.no_host()
        assert (tool.done, tool.told) == ([], [])


# What takes time, and how it ends


async def test_an_effect_may_take_time_and_give_an_event() -> None:
    async def move(tool: Tool, effect: Happened) -> str | None:
        await trio.sleep(3)
        tool.event(effect.ceid)
        return "removed" if effect.ceid == 1 else None

    async with running(bindings=Bindings(effects={Happened: move, Warn: warn})) as (chart, tool):
        chart.send("placed")
        await chart.until("empty")
        assert trio.current_time() == 3
        assert tool.done == ["event 1", "clear 7"]


async def test_a_timer_that_runs_may_be_given_another_time() -> None:
    async with running() as (chart, _):
        chart.send("placed")
        chart.send("clamp")
        chart.retime(CLAMPING, 5)
        await chart.until("clamped")
        assert trio.current_time() == 5


class BurntError(Exception):
    """The user's own."""


async def start_both(nursery: trio.Nursery, first: Any, then: Any) -> None:
    await nursery.start(first)
    await then()


async def test_what_an_effect_raises_ends_the_chart_as_it_is() -> None:
    def burn(_: Stage, effect: Happened) -> None:
        raise BurntError(effect.ceid)

    tool = Tool()
    live = LiveChart(
        ToolChart(PORT, Bindings(MESSAGES, EFFECTS | {Happened: burn}, "placed")), tool
    )
    with pytest.raises(ChartEndedError, match=r"has not begun: run\(\) runs it"):
        live.send("placed")

    async def answer() -> None:
        taken = live.answer(Message(10, 3, True, L(B(0), A("x"))))
        assert taken == Taken(Message(10, 0))

    with pytest.raises(BurntError):
        async with open_bare_nursery() as nursery:
            await start_both(nursery, live.run, answer)
    live.selected()
    assert tool.words("not taken") == ["['placed', 'the chart has ended']"]


async def test_a_chart_goes_on_from_a_snapshot() -> None:
    machine = Machine(PORT)
    at = machine.snapshot(["clamping"])
    live = LiveChart(ToolChart(machine, BINDINGS), Tool())
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: live.run(task_status, at))
        await live.until("clamped")
        assert trio.current_time() == 2
        nursery.cancel_scope.cancel()


# Charts that are joined, and their parameters

DOOR = Chart(
    id="door",
    title="Door",
    local=("push",),
    states=(State("shut"), State("open")),
    transitions=(
        On("push", "shut", to="open", do=(Tell("gone"), Tell("rang"))),
        On("push", "open", to="shut"),
    ),
)
LAMP = Chart(
    id="lamp",
    title="Lamp",
    reported=("gone",),
    parameters=(Parameter("often", 1, 1, 3),),
    variables=(ChartVariable("times", "often"),),
    states=(State("dark"), State("lit", enter=(Happened(9),))),
    transitions=(
        On("gone", "dark", do=(Increment("times"),)),
        On(None, "dark", to="lit", when="times >= often"),
        On("gone", "lit"),
    ),
    ends=("lit",),
)


async def test_charts_that_are_joined_are_one_tool() -> None:
    def ring(tool: Stage, effect: Tell) -> None:
        tool.tell("ring", event=effect.event)

    router = Router(
        System("house", "House", (DOOR, LAMP), outside=("rang",)),
        {"lamp": Machine(LAMP, often=2)},
    )
    bindings = Bindings({"S2F21 <B 1>": Takes("push")}, {Happened: tell_event, Tell: ring})
    async with running(router, bindings) as (chart, tool):
        for state in ("shut", "open", "shut", "open"):
            assert state in chart.snapshot
            taken = chart.answer(Message(2, 21, True, B(1)))
            assert taken is not None
            assert taken.reply == Message(2, 22, item=B(0))
        assert tool.done == ["event 9"]
        assert tool.words("ring") == ["['rang']"] * 2


# What is told when it is made


def problems(chart: Chart | Router = PORT, **changes: Any) -> list[str]:
    given: dict[str, Any] = {"messages": {}, "effects": EFFECTS}
    with pytest.raises(BindingsError) as caught:
        ToolChart(chart, Bindings(**given | changes))
    assert str(caught.value) == "\n".join(caught.value.problems)
    return list(caught.value.problems)


NOBODY = (
    "effects: the chart asks for Warn(False), and nobody does it: "
    "bind Warn to a function of the tool and the effect"
)
OF_A_TIMER = "'clamping_time_expired' is for the timer alone: give the message an event of its own"

WRONG: dict[str, tuple[dict[str, Takes], str]] = {
    "no pattern": (
        {"S2F41 <L [2] _": Takes("clamp")},
        "'S2F41 <L .*: line 1, column 7: this item is",
    ),
    "a reply": ({"S2F42": Takes("clamp")}, "S2F42 is a reply: a host sends primaries"),
    "abort": ({"S2F0": Takes("clamp")}, "S2F0 is a reply"),
    "never": (
        {"S2F41 <L <A $x> <B $x>>": Takes("clamp")},
        r"no message matches it: \$x stands for two items",
    ),
    "no event": ({"S2F41": Takes("calmp")}, "has no event 'calmp'; did you mean 'clamp'?"),
    "of a timer": ({"S2F41": Takes("clamping_time_expired")}, "is for the timer alone: give the"),
    "no takes": ({"S2F41": "clamp"}, r"wanted is Takes\(event\), given is 'clamp'"),  # type: ignore[dict-item]
    "another reply": (
        {"S2F41": Takes("clamp", accepted="S2F50 <B 0>")},
        "accepted: S2F50 is no reply to S2F41: write S2F42, or S2F0 to abort",
    ),
    "another stream": ({"S2F41": Takes("clamp", refused="S1F42")}, "refused: S1F42 is no reply"),
    "with W": (
        {"S2F41": Takes("clamp", refused="S2F42 W")},
        "refused: line 1, column 7: S2F42 has an even",
    ),
    "no SML": (
        {"S2F41": Takes("clamp", refused="")},
        "refused: line 1, column 1: expected a message",
    ),
    "unbound": (
        {"S2F41 <L $rcmd _>": Takes("clamp", accepted="S2F42 <L $rcdm <L>>")},
        r"binds no \$rcdm; did you mean 'rcmd'",
    ),
    "unreached": (
        {"S2F41": Takes("clamp"), 'S2F41 <L "STOP" _>': Takes("unclamp")},
        "is never reached, because 'S2F41' comes first and matches all of it: put it before",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_message_that_cannot_be_meant_is_told(name: str) -> None:
    messages, wanted = WRONG[name]
    (found,) = problems(messages=messages)
    assert re.search(rf"^messages, .*{wanted}", found), found


def test_effects_that_nobody_does_or_asks_for_are_told() -> None:
    assert problems(effects={Happened: tell_event, Tell: warn}) == [
        NOBODY,
        "effects: the chart never asks for Tell; there are Happened, Warn",
    ]
    assert problems(effects=EFFECTS | {Warn: "alarm", "Happend": warn}) == [
        "effects: Warn is bound to 'alarm'; bind it to a function of the tool and the effect",
        "effects: the chart never asks for 'Happend'; did you mean 'Happened'?",
    ]


def test_events_of_the_link_are_events_of_the_chart() -> None:
    assert problems(selected="host_come", lost="clamping_time_expired") == [
        "selected: the chart has no event 'host_come'; did you mean 'host_came'?",
        f"lost: {OF_A_TIMER}",
    ]


def test_a_chart_without_a_way_out_is_told_unless_it_is_meant() -> None:
    door = Chart(
        "door",
        "Door",
        (State("shut"), State("open")),
        (On("push", "shut", to="open"),),
        local=("push",),
    )
    (found,) = problems(door, effects={})
    assert found.endswith(
        "chart door, state open: no transition leaves it; "
        "lead on from there, or say that it is meant: ends=('open',)"
    )
    meant = Chart("door", "Door", door.states, door.transitions, local=("push",), ends=("open",))
    ToolChart(meant, Bindings())


def test_all_problems_are_told_at_once() -> None:
    found = problems(messages={"S2F42": Takes("x"), "S2F41": Takes("x")}, effects={}, lost="x")
    assert len(found) == 5


def test_seconds_are_checked_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="port has no timer 'clamp'"):
        ToolChart(PORT, BINDINGS, seconds={"clamp": 1})


def test_what_is_no_chart_is_refused() -> None:
    with pytest.raises(TypeError, match="a tool is a Chart, a Machine or a Router of charts"):
        ToolChart("port", BINDINGS)  # type: ignore[arg-type]
    with pytest.raises(ChartError):
        ToolChart(Chart("port", "Port", (), ()), BINDINGS)


# In an equipment, over TCP

# Its timer runs out when a test says so.
PATIENT = ToolChart(PORT, BINDINGS, seconds={"clamping_time": 1000})
SERVE = partial(serve_fake, tool=MODEL, chart=PATIENT)


@asynccontextmanager
async def served(**given: Any) -> AsyncIterator[FakeEquipment]:
    with trio.fail_after(PATIENCE):
        async with open_bare_nursery() as nursery:
            equipment = await nursery.start(partial(serve_fake, tool=MODEL, **given))
            yield equipment
            await equipment.aclose()


@pytest.mark.trio(run=trio.run)
async def test_an_equipment_lives_by_a_chart_and_replies_before_its_events() -> None:
    async with (
        served(chart=PATIENT) as equipment,
        open_hsms(equipment.host, equipment.port) as host,
    ):
        await equipment.until(lambda: equipment.counts["chart"] == 1)
        equipment.chart.send("placed")
        assert await host.request(command("CLAMP")) == S2F42(0)
        assert await host.request(command("CLAMP")) == S2F42(2)
        equipment.chart.retime(CLAMPING, 0.1)
        await equipment.chart.until("clamped")
        assert await host.request(command("UNCLAMP")) != S2F42(0)
        await equipment.until(lambda: len(equipment.sent) == 8)
        assert equipment.counts["not taken"] == 1
    names = [message.name for message in equipment.sent]
    assert names == [
        *("S6F11", "S6F11"),  # a host came, a carrier was placed
        *("S2F42", "S5F1"),  # what is no longer occupied warns of nothing
        "S2F42",
        "S6F11",
        *("S2F42", "S6F11"),
    ]


@pytest.mark.trio(run=trio.run)
async def test_each_tool_of_an_equipment_has_its_own_chart() -> None:
    shared = ToolChart(PORT, BINDINGS)
    async with served(chart=shared) as one, served(chart=shared) as other:
        one.chart.send("placed")
        assert [str(each.chart.snapshot) for each in (one, other)] == ["<occupied>", "<empty>"]


@pytest.mark.trio(run=trio.run)
async def test_what_an_effect_raises_comes_out_of_serve_fake() -> None:
    def burn(_: Stage, effect: Happened) -> None:
        raise BurntError(effect.ceid)

    bindings = Bindings(MESSAGES, EFFECTS | {Happened: burn})
    with pytest.raises(BurntError):
        async with served(chart=PORT, bindings=bindings) as equipment:
            await be_asked(equipment)


async def be_asked(equipment: FakeEquipment) -> None:
    async with open_hsms(equipment.host, equipment.port) as host:
        with pytest.raises(HsmsError):
            await host.request(Message(10, 3, True, L(B(0), A("x"))))
        await trio.sleep_forever()


@pytest.mark.trio(run=trio.run)
async def test_text_of_its_patterns_is_encoded_as_that_of_the_link() -> None:
    bindings = Bindings({'S2F41 <L "夹" _>': Takes("placed")}, EFFECTS)
    async with (
        served(chart=PORT, bindings=bindings, text_encoding="gbk") as equipment,
        open_hsms(equipment.host, equipment.port) as host,
    ):
        message = Message(2, 41, True, L(A("夹", encoding="gbk"), L()))
        assert await host.request(message) == S2F42(0)
        assert str(equipment.chart.snapshot) == "<occupied>"


@pytest.mark.trio(run=trio.run)
async def test_a_tool_without_a_chart_says_so() -> None:
    async with served() as equipment:
        with pytest.raises(
            LookupError, match=r"has no chart: serve_fake\(chart=...\) gives it one"
        ):
            equipment.chart.send("placed")


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"bindings": BINDINGS}, r"give the chart too, chart=\.\.\."),
        ({"chart": PORT}, r"a chart needs bindings=Bindings\(\.\.\.\)"),
        ({"chart": ToolChart(PORT, BINDINGS), "bindings": BINDINGS}, "leave out bindings"),
        ({"chart": PORT, "bindings": Bindings()}, "and nobody does it"),
    ],
)
async def test_a_chart_and_its_bindings_come_together(given: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        await serve_fake(**given)


def test_a_chart_in_a_thread_is_used_from_any_other() -> None:
    with run_in_thread(SERVE) as equipment:
        chart = equipment.chart
        with pytest.raises(NotAllowedError):
            chart.send("removed")
        with pytest.raises(
            TimeoutError, match="not in clamped or clamping within 0 s, but in <emp"
        ):
            chart.until("clamped", "clamping", timeout=0)
        assert str(chart.send("host_came").snapshot) == "<empty>"
        chart.send("placed")
        chart.send("clamp")
        chart.retime(CLAMPING, 0.1)
        assert str(chart.until("clamped")) == "<clamped>"


async def test_a_wait_that_would_stop_the_loop_is_refused() -> None:
    with run_in_thread(SERVE) as equipment:
        chart = equipment.chart
        with pytest.raises(RuntimeError, match=r"run_sync\(equipment\.chart\.until, \.\.\.\)"):
            chart.until("empty")
        assert await trio.to_thread.run_sync(chart.until, "empty") == chart.snapshot
