"""A fake equipment as a tool: what it has, sends and expects, in memory, on a clock that jumps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import (
    AbortedError,
    ConnectionLostError,
    HsmsConnection,
    HsmsError,
    Message,
    StreamNineError,
    open_hsms,
)
from hsms_engine.fake import FakeEquipment, serve_fake
from hsms_engine.fake.behaviours import BehaviourError
from hsms_engine.fake.chart import Bindings, Takes
from hsms_engine.fake.conversation import OPEN, WAITING
from hsms_engine.fake.emissions import emissions
from hsms_engine.fake.file import ToolFile, read_tool_file
from hsms_engine.fake.history import KEPT, KEPT_BYTES, History, NotSeenError
from hsms_engine.fake.model import Event, Model
from hsms_engine.fake.plan import ToolPlan
from hsms_engine.fake.refusals import refusal
from hsms_engine.messages import S1F1, S1F13, S1F15, S1F17, S2F41, S2F42, S5F3, S6F12
from hsms_engine.secs2 import U1, U4, A, B, L
from hsms_engine.sml import SmlError, parse_pattern
from hsms_engine.virtual import Kernel, Network, Socket
from statecharts import Chart, On, State
from tests.support.raw_peer import data, select_req, separate_req
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]

TOOL = """
[variable.1001]
name = "Count"
value = '<U4 0>'
highest = 9

[variable.1002]
name = "Clock"
source = "clock"

[report.1]
variables = ["Count"]

[event.101]
name = "Started"
reports = [1]

[event.102]
name = "Hot"

[event.103]
name = "Off"
enabled = false

[alarm.5001]
text = "hot"
set_event = "Hot"

[[rule]]
name = "start"
on = 'S2F41 W <L [2] <A "START"> _>'
reply = 'S2F42 <L [2] <B 4> <L [0]>> .'
then = [{wait = 2.0}, {add = {Count = 1}}, {event = 101}]

[[rule]]
name = "no reply of its own"
on = 'S1F13'
then = [{add = {Count = 1}}]

[[rule]]
name = "narrow"
on = 'S64F1 W <A "this">'
reply = 'S64F2 .'
"""
STARTED = "S6F11 W <L [3] _ <U4 101> $reports>"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tool.toml"
    path.write_text(TOOL, encoding="utf-8")
    return path


class Stand:
    """A fake equipment in memory, and hosts that dial it."""

    def __init__(self, equipment: FakeEquipment, network: Network) -> None:
        self.equipment = equipment
        self._network = network
        self.told: list[tuple[str, dict[str, object]]] = []

    async def dial(self) -> Socket:
        return await self._network.machine("host").dial(self._network.machine("tool"))

    def host(self, **settings: Any) -> Any:
        return open_hsms(dial=self.dial, linktest_interval=None, random=Random(2), **settings)

    def why(self, event: str) -> list[object]:
        """Why each of these has happened."""
        return [details["why"] for told, details in self.told if told == event]


@asynccontextmanager
async def standing(tool: Any = None, *behaviours: str, **options: Any) -> AsyncIterator[Stand]:
    """An equipment in memory, for as long as the block lasts."""
    network = Network(Random(1), Kernel(1_000_000, 1_000_000))
    trio.lowlevel.spawn_system_task(network.run)
    told: list[tuple[str, dict[str, object]]] = []

    def report(event: str, details: Mapping[str, object]) -> None:
        told.append((event, dict(details)))

    async def listen(_host: str, _port: int) -> Any:
        return network.machine("tool").listen()

    options = {"listen": listen, "report": report} | options
    async with trio.open_nursery() as nursery:
        serve = partial(serve_fake, behaviours=behaviours, tool=tool, **options)
        stand = Stand(await nursery.start(serve), network)
        stand.told = told
        yield stand
        nursery.cancel_scope.cancel()


async def acknowledge(host: HsmsConnection, count: int) -> list[Message]:
    """Answer so many primaries of the tool."""
    found: list[Message] = []
    for _ in range(count):
        primary = await host.receive()
        if primary.wait:
            await host.reply(primary, Message(primary.stream, primary.function + 1, item=B(0)))
        found.append(primary)
    return found


# What it has


async def test_a_rule_answers_and_acts_later(file: Path) -> None:
    async with standing(file) as stand, stand.host() as host:
        began = trio.current_time()
        assert await host.request(S2F41("START")) == Message(2, 42, item=L(B(4), L()))
        seen = await stand.equipment.expect(STARTED)
        assert trio.current_time() - began == pytest.approx(2.0)
        assert seen["reports"] == L(L(U4(1), L(U4(1))))
        assert seen.is_sent
        assert stand.equipment.value("Count") == U4(1)


async def test_its_values_events_and_alarms_are_set_by_hand(file: Path) -> None:
    async with standing(file) as stand, stand.host() as host:
        equipment = stand.equipment
        equipment.set(1001, U4(7))
        equipment.set("Count", 8)
        equipment.event("Started")
        equipment.alarm(5001)
        equipment.clear(5001)
        assert [each.name for each in await acknowledge(host, 4)] == [
            "S6F11", "S5F1", "S6F11", "S5F1",
        ]  # fmt: skip
        assert (await equipment.expect(STARTED))["reports"] == L(L(U4(1), L(U4(8))))
        with pytest.raises(ValueError, match="9"):
            equipment.set("Count", 10)
        with pytest.raises(LookupError):
            equipment.event(7)


async def test_what_a_host_has_disabled_is_not_sent(file: Path) -> None:
    async with standing(file) as stand, stand.host() as host:
        await host.request(S5F3(False, 5001))
        stand.equipment.event(103)
        stand.equipment.alarm(5001)
        assert [each.name for each in await acknowledge(host, 1)] == ["S6F11"]
        disabled = [details for event, details in stand.told if event == "disabled"]
        assert disabled == [{"event": 103}, {"alarm": 5001}]


async def test_its_time_is_trios_and_begins_in_2000_or_it_is_given(file: Path) -> None:
    for options, time in (
        ({}, "2000010100000500"),
        ({"clock": lambda: datetime(2026, 1, 2, 3, 4, 5)}, "2026010203040500"),  # noqa: DTZ001
    ):
        async with standing(file, **options) as stand:
            await trio.sleep(5)
            assert stand.equipment.value("Clock") == A(time)


async def test_a_model_alone_is_a_tool() -> None:
    async with standing(Model(events={1: Event(1)})) as stand, stand.host() as host:
        stand.equipment.event(1)
        assert (await host.receive()).name == "S6F11"


# Who answers


async def test_a_rule_without_a_reply_leaves_it_to_who_comes_next(file: Path) -> None:
    async with standing(file) as stand, stand.host() as host:
        assert (await host.request(S1F13())).name == "S1F14"
        assert stand.equipment.value(1001) == U4(1)
        await host.send(Message(1, 13, item=L()))
        assert (await host.request(S1F1())).name == "S1F2"
        assert stand.equipment.value(1001) == U4(2)
        assert stand.equipment.counts["sent"] == 0


async def test_what_nobody_takes_is_illegal_data(file: Path) -> None:
    async with standing(file) as stand, stand.host() as host:
        for message in (Message(64, 1, True, "that"), Message(2, 13, True, "no list")):
            with pytest.raises(StreamNineError) as caught:
                await host.request(message)
            assert caught.value.function == 7
        assert stand.why("illegal data") != []
        # A body that cannot be read is reported once, by the engine.
        with pytest.raises(StreamNineError) as caught:
            await host.request(Message(2, 13, True, body=b"\xff"))
        assert caught.value.function == 7
        assert [each.name for each in await acknowledge(host, 3)] == ["S9F7"] * 3
        assert (await host.request(S1F1())).name == "S1F2"
        assert stand.equipment.counts["sent"] == 3


async def test_off_line_neither_rules_nor_chart_nor_book_are_asked(file: Path) -> None:
    from hsms_engine.answers import AnswerBook

    chart = Chart(
        id="asking",
        title="Asking",
        reported=("asked",),
        states=(State("quiet"), State("busy")),
        transitions=(On("asked", "quiet", to="busy"), On("asked", "busy", to="quiet")),
    )
    bindings = Bindings(messages={"S1F1": Takes("asked"), "S1F13": Takes("asked")})
    book = AnswerBook.parse("S99F2 .")
    async with (
        standing(file, answers=book, chart=chart, bindings=bindings) as stand,
        stand.host() as host,
    ):
        assert (await host.request(S1F15())).name == "S1F16"
        for message in (S2F41("START"), S1F1(), Message(99, 1, True), S1F15()):
            with pytest.raises(AbortedError):
                await host.request(message)
        await host.send(Message(2, 41, item=L("START", L())))
        assert "quiet" in stand.equipment.chart.snapshot
        assert "rule matched" not in stand.equipment.counts
        # What sees to the link, and to the state itself, is a rule's or a chart's as before.
        assert (await host.request(S1F13())).name == "S1F14"
        assert "busy" in stand.equipment.chart.snapshot
        assert (await host.request(S1F17())).name == "S1F18"
        assert await host.request(S2F41("START")) == S2F42(4)


REFUSING = """
[variable.1]
name = "Runs"
value = '<U4 0>'

[variable.2]
value = '<B 5>'

[command.START]
parameters = {LOT = {required = true}}
answer = 4
""" + "".join(
    f"""
[[rule]]
name = "rule {name}"
on = '{name}'
then = [{{add = {{Runs = 1}}}}]
"""
    for name in ("S1F3", "S2F25", "S2F37", "S2F41", "S64F1", "S64F3", "S64F5")
)


@pytest.mark.parametrize(
    ("primary", "why"),
    [
        (S2F41("START", {"LOT": "L-1"}), ""),
        (S2F41("START"), "the reply is S2F42 with code 3"),
        (S2F41("STOP"), "the reply is S2F42 with code 1"),
        (Message(2, 41, item=L("START", L())), "the reply is S2F42 with code 3"),
        (Message(2, 41, True, item=U4(1)), "it is reported with S9F7"),
        (Message(2, 41, True, body=b"\xff"), "its body is no SECS-II"),
        (Message(2, 41, body=b"\xff"), "its body is no SECS-II"),
        (Message(2, 37, True, item=L(True, L(U4(9)))), "the reply is S2F38 with code 1"),
        (Message(2, 37, True, item=L(True, L())), ""),
        # What comes back is no code.
        (Message(2, 25, True, item=B(5)), ""),
        (Message(1, 3, True, item=L(U4(2))), ""),
        (Message(1, 3, True, item=L(*[U4(2)] * 10_001)), "it is aborted with S1F0"),
        (Message(64, 1, True), "it is reported with S9F7"),
        (Message(64, 1), ""),
        (Message(64, 3, True), "the reply is S64F4 with code 4"),
        (Message(64, 5, True), ""),
    ],
)
async def test_a_rule_without_a_reply_runs_when_nobody_refuses(
    tmp_path: Path, primary: Message, why: str
) -> None:
    from hsms_engine.answers import AnswerBook

    path = tmp_path / "refusing.toml"
    path.write_text(REFUSING, encoding="utf-8")
    book = AnswerBook.parse("S64F4 <L <B 4> <L>> . S64F6 <L <U1 4> <B 4>> .")
    async with standing(path, answers=book) as stand, stand.host() as host:
        if primary.wait:
            with suppress(AbortedError, StreamNineError):
                await host.request(primary)
        else:
            await host.send(primary)
            await host.linktest()
        await wait_all_tasks_blocked()
        assert stand.equipment.value("Runs") == U4(0 if why else 1)
        assert stand.why("rule not run") == ([why] if why else [])


async def test_a_rule_that_is_not_run_has_not_held(tmp_path: Path) -> None:
    path = tmp_path / "once.toml"
    path.write_text(REFUSING.replace("on = 'S2F41'", "on = 'S2F41'\ntimes = 1"), encoding="utf-8")
    async with standing(path) as stand, stand.host() as host:
        for parameters, runs in (({}, 0), ({"LOT": "L-1"}, 1), ({"LOT": "L-2"}, 1)):
            await host.request(S2F41("START", parameters))
            await wait_all_tasks_blocked()
            assert stand.equipment.value("Runs") == U4(runs)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (None, "it gets no reply"),
        (Message(2, 50, item=L(B(4), L())), None),
        (Message(2, 50, item=L(B(5), L())), "the reply is S2F50 with code 5"),
        (Message(64, 2, item=B(0)), None),
        (Message(64, 2, item=B(1)), "the reply is S64F2 with code 1"),
        (Message(64, 2, item=B(1, 2)), None),
        (Message(64, 2, item=L()), None),
        (Message(64, 2), None),
        (Message(64, 2, body=b"\xff"), None),
        (Message(10, 2, item=B(1)), "the reply is S10F2 with code 1"),
        (Message(7, 6, item=L(B(1), B(2))), None),
    ],
)
def test_a_reply_that_refuses(reply: Message | None, why: str | None) -> None:
    assert refusal(Message(64, 1, True), reply) == why


async def test_an_answer_book_wins_over_the_model_and_no_rule(file: Path) -> None:
    from hsms_engine.answers import AnswerBook

    book = AnswerBook.parse('S1F2 <A "mine"> . S2F42 <A "mine"> . S99F2 .')
    async with standing(file, answers=book) as stand, stand.host() as host:
        assert await host.request(S1F1()) == Message(1, 2, item="mine")
        assert await host.request(S2F41("START")) != Message(2, 42, item="mine")
        assert await host.request(S2F41("STOP")) == Message(2, 42, item="mine")
        # It knows this stream, and this function without W too.
        await host.send(Message(99, 1))
        with pytest.raises(StreamNineError) as caught:
            await host.request(Message(99, 3, True))
        assert caught.value.function == 5


async def test_a_chart_that_has_no_reply_leaves_it_to_the_model(file: Path) -> None:
    chart = Chart(
        id="asking",
        title="Asking",
        reported=("asked",),
        states=(State("quiet"), State("busy")),
        transitions=(On("asked", "quiet", to="busy"), On("asked", "busy", to="quiet")),
    )
    bindings = Bindings(messages={"S1F1": Takes("asked"), "S6F99": Takes("asked")})
    async with standing(file, chart=chart, bindings=bindings) as stand, stand.host() as host:
        assert (await host.request(S1F1())).name == "S1F2"
        await host.send(Message(6, 99))
        assert (await host.request(S1F1())).name == "S1F2"
        assert stand.equipment.counts["sent"] == 0
        with pytest.raises(StreamNineError):
            await host.request(Message(6, 99, True))


async def test_what_a_host_changes_is_told_to_rules_after_its_reply(tmp_path: Path) -> None:
    path = tmp_path / "tool.toml"
    path.write_text(  # nothing else runs yet
        "[variable.1]\nsource = 'control'\n[event.1]\n[event.2]\n"
        "[[rule]]\non = 'S1F17'\nthen = [{event = 1}]\n"
        "[[rule]]\nchanged = 1\nwhen = '${1} == 5'\nthen = [{event = 2}]\n",
        encoding="utf-8",
    )
    async with standing(path) as stand, stand.host() as host:
        await host.request(Message(1, 15, True))
        await host.request(Message(1, 17, True))
        assert [each.name for each in await acknowledge(host, 2)] == ["S6F11"] * 2
        replied, first, second = [event for event, _ in stand.told if event in ("replied", "sent")][
            -3:
        ]
        assert (replied, first, second) == ("replied", "sent", "sent")


# Traces


async def test_a_trace_is_read_again_and_again_and_sent_in_groups(file: Path) -> None:
    async with standing(file) as stand, stand.host() as host:
        asked = 'S2F23 W <L [5] <A "T"> <A "00000100"> <U4 5> <U4 2> <L [1] <U4 1001>>> .'
        assert await host.request(Message.parse(asked)) == Message(2, 24, item=B(0))
        sent = await acknowledge(host, 3)
        assert [each.name for each in sent] == ["S6F1"] * 3
        assert trio.current_time() == pytest.approx(5.0, abs=0.1)
        assert [len(each.item[3]) for each in sent if isinstance(each.item, L)] == [2, 2, 1]


async def test_a_trace_ends_when_it_is_asked_to_and_is_silent_off_line(file: Path) -> None:
    begin = 'S2F23 W <L [5] <A "T"> <A "00000100"> <U4 9> <U4 1> <L [1] <U4 1001>>> .'
    end = 'S2F23 W <L [5] <A "T"> <A "00000100"> <U4 0> <U4 1> <L [1] <U4 1001>>> .'
    async with standing(file) as stand, stand.host() as host:
        await host.request(Message.parse(begin))
        # One of the same id is over.
        await host.request(Message.parse(begin))
        await trio.sleep(1.5)
        await host.request(Message.parse(end))
        await trio.sleep(20)
        assert stand.equipment.counts["sent"] == 1
        await host.request(Message.parse(begin))
        await host.request(Message(1, 15, True))
        await trio.sleep(20)
        assert stand.equipment.counts["sent"] == 1


# What leaves


async def test_primaries_leave_in_order_and_none_waits_for_the_reply_to_another(
    file: Path,
) -> None:
    async with standing(file, t3=45) as stand, stand.host() as host:
        for number in range(OPEN + 2):
            stand.equipment.tool.send(Message(6, 11, True, U4(number)))
        await wait_all_tasks_blocked()
        stand.equipment.tool.send(Message(6, 13, item=U1(1)))
        first = [await host.receive() for _ in range(OPEN)]
        assert [each.item for each in first] == [U4(number) for number in range(OPEN)]
        # One more leaves when one is answered.
        await host.reply(first[0], S6F12(0))
        assert (await host.receive()).item == U4(OPEN)
        # T3 ends the others.
        await trio.sleep(60)
        assert stand.equipment.counts["not acknowledged"] == OPEN
        names = [each.name for each in await acknowledge(host, OPEN + 2)]
        assert [each for each in names if each != "S9F9"] == ["S6F11", "S6F13"]


async def test_what_has_no_room_is_told(file: Path) -> None:
    async with standing(file) as stand, stand.host():
        for _ in range(WAITING + 3):
            stand.equipment.tool.send(Message(6, 13))
        assert stand.why("not sent") == [f"{WAITING} messages wait for the host to take them"] * 3


async def test_without_a_host_nothing_is_sent_and_nothing_is_kept(file: Path) -> None:
    async with standing(file) as stand:
        stand.equipment.event(101)
        assert stand.why("not sent") == ["no host is selected"]
        async with stand.host() as host:
            stand.equipment.tool.send(Message(6, 13, item=U1(2)))
            assert (await host.receive()).item == U1(2)


async def test_what_waits_is_told_when_its_connection_is_over(file: Path) -> None:
    async with standing(file) as stand:
        async with stand.host():
            for _ in range(OPEN + 2):
                stand.equipment.tool.send(Message(6, 11, True))
            await wait_all_tasks_blocked()
            stand.equipment.tool.fault("cut-mid-frame")
        await stand.equipment.until(lambda: stand.equipment.counts["ended"] == 1)
        assert len(stand.why("not sent")) == 2
        assert stand.equipment.counts["not acknowledged"] == OPEN


async def test_what_cannot_be_sent_now_is_told(file: Path) -> None:
    async with standing(file) as stand, stand.host() as host:
        await host.deselect()
        stand.equipment.event(101)
        stand.equipment.tool.send(Message(6, 13))
        stand.equipment.tool.send(Message(6, 12))
        await wait_all_tasks_blocked()
        assert stand.equipment.counts["not sent"] == 3


async def test_a_host_that_takes_nothing_holds_up_its_own_messages(file: Path) -> None:
    big = Message(6, 11, True, bytes(3_000_000))
    async with standing(file) as stand, stand.host(inbox_size=1) as host:
        for _ in range(3):
            stand.equipment.tool.send(big)
        assert await acknowledge(host, 3) == [big] * 3
        await stand.equipment.until(lambda: stand.equipment.counts["received"] == 3)


async def test_a_report_to_a_connection_that_has_gone_is_told(file: Path) -> None:
    async with standing(file) as stand:
        socket = await stand.dial()
        await socket.send_all(select_req(1))
        await stand.equipment.until(lambda: stand.equipment.counts["selected"] == 1)
        await socket.send_all(data(65, 1, 2) + separate_req(3))
        await stand.equipment.until(lambda: stand.equipment.counts["ended"] == 1)
        assert stand.equipment.counts["not sent"] == 1


# Misbehaviour as a step


@pytest.mark.parametrize("behaviour", ["cut-mid-frame", "stall-mid-frame", "send-garbage"])
async def test_a_step_spoils_the_frame_behind_those_before(file: Path, behaviour: str) -> None:
    async with standing(file) as stand:
        async with stand.host(t3=5) as host:
            stand.equipment.event(101)
            stand.equipment.tool.fault(behaviour)
            received = [await host.receive()]
            with pytest.raises(Exception, match=r"TCP|frame|length|T8|lost"):
                received.append(await host.receive())
            assert [each.name for each in received] == ["S6F11"]
        assert stand.equipment.counts["misbehaves"] == 1


async def test_other_faults_hold_until_they_are_healed(file: Path) -> None:
    async with standing(file, "delay-replies=1") as stand, stand.host(t3=5) as host:
        tool = stand.equipment.tool
        tool.fault("drop-replies")
        with pytest.raises(Exception, match="T3"):
            await host.request(S1F1())
        assert stand.equipment.behaviours.delay_replies == 1
        tool.heal()
        assert (await host.request(S1F1())).name == "S1F2"
        with pytest.raises(BehaviourError, match="did you mean"):
            tool.fault("drop-reply")


async def test_a_step_can_refuse_tcp_and_take_it_again(file: Path) -> None:
    async with standing(file) as stand:
        tool = stand.equipment.tool
        tool.fault("refuse-tcp")
        with pytest.raises(Exception, match="refused"):
            async with stand.host():
                pass
        tool.heal()
        await wait_all_tasks_blocked()
        async with stand.host() as host:
            assert (await host.request(S1F1())).name == "S1F2"
        await stand.equipment.kill()
        tool.fault("refuse-tcp")
        tool.heal()
        assert stand.equipment.connections == []


async def test_that_it_cannot_listen_again_is_told(file: Path) -> None:
    network = Network(Random(1), Kernel(1_000_000, 1_000_000))
    taken = False

    async def listen(_host: str, _port: int) -> Any:
        if taken:
            raise OSError("taken")
        return network.machine("tool").listen()

    async with standing(file, listen=listen) as stand:
        stand.equipment.tool.fault("refuse-tcp")
        taken = True
        stand.equipment.tool.heal()
        await wait_all_tasks_blocked()
        assert stand.why("cannot listen") == ["taken"]


async def test_a_step_separates_behind_what_was_sent(file: Path) -> None:
    async with standing(file) as stand, stand.host() as host:
        stand.equipment.tool.send(Message(6, 13))
        stand.equipment.tool.separate()
        assert [each.name async for each in host] == ["S6F13"]


async def test_each_host_has_its_own_spoilt_frame(file: Path) -> None:
    async with standing(file, max_sessions=2) as stand:
        async with stand.host() as one, stand.host() as other:
            stand.equipment.tool.fault("cut-mid-frame")
            for host in (one, other):
                with pytest.raises(ConnectionLostError):
                    await host.receive()
        assert stand.equipment.counts["misbehaves"] == 2


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> trio.Event:
    """The tasks of connections begin when this is set."""
    gate, talk = trio.Event(), FakeEquipment._talk

    async def late(equipment: FakeEquipment, connection: HsmsConnection) -> None:
        await gate.wait()
        await talk(equipment, connection)

    monkeypatch.setattr(FakeEquipment, "_talk", late)
    return gate


async def test_what_happens_before_the_task_of_a_connection_begins_is_sent(
    file: Path, gate: trio.Event
) -> None:
    async with standing(file) as stand, stand.host() as host:
        stand.equipment.event(101)
        assert stand.equipment.counts["selected"] == 1
        gate.set()
        assert [each.name for each in await acknowledge(host, 1)] == ["S6F11"]
        assert (stand.equipment.counts["selected"], stand.why("not sent")) == (1, [])


async def test_of_a_task_that_never_begins_nothing_is_left(file: Path, gate: trio.Event) -> None:
    async with standing(file) as stand:
        async with stand.host():
            stand.equipment.event(101)
            await stand.equipment.kill()
        assert stand.why("not sent") == ["the connection is over"]
        await stand.equipment.restart()
        gate.set()
        stand.equipment.event(101)
        assert stand.why("not sent")[1:] == ["no host is selected"]
        async with stand.host() as host:
            stand.equipment.event(101)
            assert len(await acknowledge(host, 1)) == 1


# Several


def several(tmp_path: Path, file: Path, more: str = "") -> ToolFile:
    path = tmp_path / "line.toml"
    path.write_text(
        f"[tools.ONE]\nfile = '{file.name}'\nsession_id = 1\n"
        f"[tools.OF]\nfile = '{file.name}'\nsession_id = 10\ncount = 2\n{more}",
        encoding="utf-8",
    )
    return read_tool_file(path)


async def test_tools_behind_one_port_are_told_apart_by_session_id(
    tmp_path: Path, file: Path
) -> None:
    async with (
        standing(several(tmp_path, file)) as stand,
        stand.host(check_session_id=False) as host,
    ):
        equipment = stand.equipment
        assert [*equipment.tools] == ["ONE", "OF-1", "OF-2"]
        equipment.tools["OF-2"].set("Count", 5)
        # It has no host as long as none has talked to it.
        equipment.tools["OF-2"].event(101)
        assert stand.why("not sent") == ["no host is selected"]
        for session_id, name, count in ((11, "OF-2", 5), (1, "ONE", 0)):
            asked = Message(1, 3, True, L(U4(1001)), session_id=session_id)
            reply = await host.request(asked)
            assert (reply.session_id, reply.item) == (session_id, L(U4(count)))
            equipment.tools[name].event(101)
            primary = await host.receive()
            assert primary.session_id == session_id
            await host.reply(primary, S6F12(0))
            seen = await equipment.tools[name].expect("S6F11")
            assert seen.message.session_id == session_id
            await equipment.tools[name].expect("S6F12")
        assert [each.name for each in equipment.tools["ONE"].received] == ["S1F3", "S6F12"]
        assert [each.name for each in equipment.tools["OF-2"].sent] == ["S1F4", "S6F11"]
        assert equipment.tools["OF-1"].sent == []
        with pytest.raises(NotSeenError, match="nothing"):
            await equipment.tools["OF-1"].expect("S6F11")
        with pytest.raises(LookupError, match=r"\.tools\['ONE'\], ONE, OF-1, OF-2"):
            equipment.value(1001)
        assert repr(equipment.tools["ONE"]) == "<Tool ONE>"


async def test_who_asks_for_no_tool_gets_s9f1(tmp_path: Path, file: Path) -> None:
    async with (
        standing(several(tmp_path, file)) as stand,
        stand.host(check_session_id=False) as host,
    ):
        with pytest.raises(StreamNineError) as caught:
            await host.request(Message(1, 1, True, session_id=77))
        assert caught.value.function == 1
        await host.send(Message(9, 1, session_id=77))
        assert (await host.request(Message(1, 1, True, session_id=1))).name == "S1F2"
        assert stand.equipment.counts["sent"] == 1


async def test_tools_of_several_ports_are_for_the_program(tmp_path: Path, file: Path) -> None:
    line = several(tmp_path, file, f"[tools.FAR]\nfile = '{file.name}'\nport = 5999\n")
    with pytest.raises(ValueError, match="tools of several ports"):
        await serve_fake(tool=line)
    one = line.tools[0]
    async with standing(one) as stand:
        assert [*stand.equipment.tools] == [one.name]


# Another plan


async def test_a_changed_file_is_taken_without_dropping_the_link(
    file: Path, tmp_path: Path
) -> None:
    text = TOOL.replace("<B 4>", "<B 0>").replace("highest = 9", "highest = 4")
    file, before = tmp_path / "changed.toml", file
    file.write_text(text, encoding="utf-8")  # nothing else runs yet
    async with standing(before) as stand, stand.host() as host:
        stand.equipment.set("Count", 5)
        stand.equipment.adopt(read_tool_file(file).tools)
        assert await host.request(S2F41("START")) == Message(2, 42, item=L(B(0), L()))
        assert stand.equipment.value("Count") == U4(0)
        assert stand.equipment.counts["not kept"] == 1


async def test_other_tools_need_a_new_start(tmp_path: Path, file: Path) -> None:
    async with standing(file) as stand:
        with pytest.raises(ValueError, match=r"of the file at session id any, and not ONE at"):
            stand.equipment.adopt(several(tmp_path, file).tools)


# What is expected


async def test_each_message_is_found_once_in_either_direction(file: Path) -> None:
    async with standing(file) as stand, stand.host() as host:
        for _ in range(2):
            await host.request(S1F1())
        equipment = stand.equipment
        for _ in range(2):
            assert not (await equipment.expect("S1F1 W", within=0)).is_sent
            assert (await equipment.expect("S1F2 <L $model _>", within=0))["model"] == A(
                "hsms-engine"
            )
        with pytest.raises(NotSeenError, match="no S1F1 W within 0 s"):
            await equipment.expect("S1F1 W", within=0)
        assert equipment.received == [S1F1()] * 2
        assert [each.name for each in equipment.sent] == ["S1F2"] * 2


async def test_what_is_to_come_is_waited_for(file: Path) -> None:
    async with standing(file) as stand, stand.host() as host:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(stand.equipment.expect, STARTED, within=3))
            await host.request(S2F41("START"))
        with pytest.raises(SmlError):
            await stand.equipment.expect("S6F11 <")


async def test_a_miss_says_what_came_instead_and_where_the_nearest_differs(file: Path) -> None:
    async with standing(file) as stand, stand.host() as host:
        for _ in range(12):
            await host.request(S1F1())
        stand.equipment.event(102)
        stand.equipment.event(101)
        with pytest.raises(NotSeenError) as caught:
            await stand.equipment.expect("S6F11 W <L [3] _ <U4 102> <L [1] _>>", within=1)
        text = str(caught.value)
        assert "the nearest was S6F11 W sent: [3][1]: expected _, found nothing" in text
        assert "S1F2 sent, S6F11 W sent, S6F11 W sent\n" in text
        assert "16 before these" in text


async def test_a_miss_says_what_was_not_sent(file: Path) -> None:
    async with standing(file) as stand:
        async with stand.host() as host:
            await host.request(S2F41("START"))
        # It has gone before the steps are done.
        with pytest.raises(NotSeenError) as caught:
            await stand.equipment.expect(STARTED)
        stand.equipment.event(103)
        with pytest.raises(NotSeenError) as again:
            await stand.equipment.expect("S6F11", within=0)
    wanted = "not sent (S6F11 W <L [3] <U4 1> <U4 101> <L [1] <L [2] <U4 1> <L [1] <U4 1> > > > > ."
    text = str(caught.value)
    assert wanted + ", no host is selected)" in text
    assert text.index("; ended (host:40001, ") < text.index(wanted)
    assert str(again.value).endswith("; disabled (103)")


async def test_a_miss_of_a_tool_says_nothing_of_others(tmp_path: Path, file: Path) -> None:
    async with standing(several(tmp_path, file)) as stand:
        for each in stand.equipment.tools.values():
            each.event(103)
            each.fault("drop-replies=1000")
        with pytest.raises(NotSeenError) as caught:
            await stand.equipment.tools["OF-1"].expect("S6F11", within=0)
        with pytest.raises(NotSeenError) as of_all:
            await stand.equipment.expect("S6F11", within=0)
    text = str(caught.value)
    assert "disabled (OF-1, 103)" in text
    assert "ONE" not in text
    assert "listening (" in text
    assert "disabled (OF-2, 103)" in str(of_all.value)


async def test_a_miss_says_in_short_what_was_dropped(file: Path) -> None:
    async with standing(file, "drop-replies=1") as stand, stand.host(t3=1) as host:
        with pytest.raises(HsmsError):
            await host.request(S1F1())
        with pytest.raises(NotSeenError, match=r"; dropped \(S1F1 W, host:40001\)$"):
            await stand.equipment.expect("S1F2", within=0)


async def test_what_is_told_of_a_message_says_whose_it_is(tmp_path: Path, file: Path) -> None:
    async with (
        standing(several(tmp_path, file)) as stand,
        stand.host(check_session_id=False, t3=1) as host,
    ):
        await host.request(Message(1, 1, True, session_id=11))
        with pytest.raises(HsmsError):
            await host.request(Message(1, 1, True, session_id=77))
        await stand.equipment.behave("drop-replies=1")
        with pytest.raises(HsmsError):
            await host.request(Message(1, 1, True, session_id=1))
    asked = {
        (event, details.get("tool"), details.get("session_id"))
        for event, details in stand.told
        if str(details.get("message")) in ("S1F1 W", "S1F2")
    }
    assert asked == {
        ("received", "OF-2", None),
        ("replied", "OF-2", None),
        ("received", None, 77),
        ("received", "ONE", None),
        ("dropped", "ONE", None),
    }


async def test_a_tool_that_is_not_there_is_told_with_those_that_are(
    tmp_path: Path, file: Path
) -> None:
    async with standing(several(tmp_path, file)) as stand:
        with pytest.raises(KeyError) as caught:
            stand.equipment.tools["OF-3"]
        assert str(caught.value) == "no tool 'OF-3'; there are ONE, OF-1, OF-2"
        assert stand.equipment.tools.get("OF-3") is None


async def test_what_a_step_has_come_to_is_told_behind_what_was_sent_before(
    tmp_path: Path,
) -> None:
    path = tmp_path / "turns.toml"
    path.write_text(
        """
[variable.1]
value = '<U4 1>'
highest = 1

[event.103]
enabled = false

[[rule]]
on = 'S64F1'
then = [
    {send = 'S10F1 <L <B 0> <A "one">> .'},
    {event = 103},
    {add = {1 = 1}},
    {send = 'S10F1 <L <B 0> <A "two">> .'},
    {separate = true},
    {event = 103},
]
""",
        encoding="utf-8",
    )  # nothing else runs yet
    async with standing(path) as stand, stand.host() as host:
        await host.send(Message(64, 1))
        await stand.equipment.until(lambda: stand.equipment.counts["ended"] > 0)
    wanted = ("sent", "disabled", "step failed")
    told = [event for event, _ in stand.told if event in wanted]
    assert told == ["sent", "disabled", "step failed", "sent", "disabled"]


async def test_what_waits_to_be_told_is_told_when_the_connection_is_over(file: Path) -> None:
    async with standing(file) as stand:
        async with stand.host():
            await stand.equipment.until(lambda: stand.equipment.counts["selected"] > 0)
            await wait_all_tasks_blocked()
            stand.equipment.event(102)
            stand.equipment.event(103)
            stand.equipment.tool.separate()
            assert stand.equipment.counts["disabled"] == 0
            await stand.equipment.kill()
        assert stand.equipment.counts["disabled"] == 1


def test_what_is_kept_is_bounded() -> None:
    history = History()
    for number in range(KEPT + 5):
        history.add(Message(6, 13, item=U4(number)), "peer", 0, 1, is_sent=True)
        history.add(Message(6, 14), "peer", 0, 1, is_sent=False)
    assert len(history.messages(is_sent=True)) == len(history.messages(is_sent=False)) == KEPT
    assert history.find(parse_pattern("S6F13 <U4 4>")) is None
    assert history.find(parse_pattern("S6F13 <U4 5>")) is not None
    for _ in range(3):
        history.add(Message(6, 13, body=bytes(KEPT_BYTES // 2)), "peer", 0, 1, is_sent=True)
    assert len(history.messages(is_sent=True)) == 2
    assert history.end == 2 * (KEPT + 5) + 3
    # One that is longer is kept all the same.
    history.add(Message(6, 13, body=bytes(KEPT_BYTES + 1)), "peer", 0, 1, is_sent=True)
    assert len(history.messages(is_sent=True)) == 1


# Emissions


def test_only_what_the_tool_has_is_emitted() -> None:
    for name in ("alarms", "events"):
        with pytest.raises(ValueError, match=f"{name}=1: the tool has no {name[:-1]} to send"):
            list(emissions(Model(), **{"alarms": None, "events": None} | {name: 1.0}))


def test_a_plan_is_the_same_when_nothing_is_said_beside_it() -> None:
    plan = ToolPlan(Model())
    assert plan.changed() == plan
