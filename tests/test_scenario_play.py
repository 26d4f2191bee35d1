"""Playing a scenario, in virtual time: what is sent, what is expected, and how a failure reads.

The other side is a handler of a server in memory. Time jumps, so seconds in texts are exact.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair

from hsms_engine import AbortedError, HsmsConnection, Message, StreamNineError, open_hsms
from hsms_engine.errors import ConnectionLostError, ReplyTimeoutError
from hsms_engine.scenario import (
    Began,
    DifferenceError,
    Passed,
    Scenario,
    StepError,
    Told,
    Unexpected,
    parse_scenario,
    play,
)
from hsms_engine.scenario.steps import Expect, Send
from hsms_engine.secs2 import U4, A, B, L
from tests.support.pair import Pair, active_end, direct_pair, server_end
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]

Tool = Callable[[HsmsConnection], Awaitable[object]]


@asynccontextmanager
async def against(
    tool: Tool, pair: Pair = memory_stream_pair, **changes: Any
) -> AsyncIterator[HsmsConnection]:
    """A host, connected to this tool."""
    async with server_end(tool, pair=pair) as (_, listener):
        opened = open_hsms("tool", 5000, dial=listener.dial, random=Random(1), **changes)
        async with opened as connection:
            yield connection


def scenario(*steps: str, about: str = "") -> Scenario:
    return parse_scenario(
        about + "".join(f"\n[[step]]\n{step}\n" for step in steps), "start-up.toml"
    )


async def answering(connection: HsmsConnection) -> None:
    """A tool that answers S1F13 and S2F41, whose reply is after an event with a question."""
    async for primary in connection:
        match primary.stream, primary.function:
            case 1, 13:
                reply = Message(1, 14, item=L(B(0), L(A("ETCHER"), A("7.1"))))
            case 2, 41:
                reply = Message(2, 42, item=L(B(4), L()))
            case _:
                reply = Message(primary.stream, primary.function + 1, body=primary.body)
        if primary.wait:
            await connection.reply(primary, reply)
        if primary.function == 41:
            await trio.sleep(2)
            acknowledged = await connection.request(event(101, A("LOT-1")))
            await connection.send(Message(6, 3, item=acknowledged.item))


async def ask_soon(nursery: trio.Nursery, ask: Callable[[int], Awaitable[None]], ceid: int) -> None:
    nursery.start_soon(ask, ceid)
    await trio.testing.wait_all_tasks_blocked()


def event(ceid: int, *reports: Any) -> Message:
    return Message(6, 11, True, L(U4(1), U4(ceid), L(*reports)))


async def failure(tool: Tool, *steps: str, about: str = "", **changes: Any) -> StepError:
    """How a scenario fails against this tool."""
    async with against(tool, **changes) as connection:
        with pytest.raises(StepError) as caught:
            await play(scenario(*steps, about=about), connection)
    return caught.value


# What is played


async def test_a_host_starts_up_and_the_values_have_names() -> None:
    played = scenario(
        "send = 'S1F13 W <L [0]>'\nexpect = 'S1F14 <L [2] <B 0> $about>'",
        "save = {model = '$about.1'}",
        'send = \'S2F41 W <L [2] <A "START"> <L [1] <L [2] <A "PPID"> $ppid>>>\'\n'
        "expect = 'S2F42 <L [2] <B $ack> _>'",
        "expect = 'S6F11 W <L [3] _ <U4 101> <L [1] $lot>>'\nreply = 'S6F12 $model'\nwithin = 3",
        "expect = 'S6F3 $model'",
        about="[values]\nppid = '<A \"ETCH-7\">'\n",
    )
    async with against(answering) as connection:
        names = await play(played, connection)
        assert trio.current_time() == 2.0
    assert names == {
        "ppid": A("ETCH-7"),
        "about": L(A("ETCHER"), A("7.1")),
        "model": A("ETCHER"),
        "ack": B(4),
        "lot": A("LOT-1"),
    }


async def test_it_tells_of_each_step_in_each_round() -> None:
    told: list[Told] = []
    played = scenario(
        "repeat = 2\nsteps = [{wait = 0.5}, {repeat = 2, steps = [{send = 'S1F1'}]}]",
        "name = 'last'\nwait = 1",
    )
    async with against(answering) as connection:
        await play(played, connection, told.append)
    assert [
        (each.step.number, each.rounds, each.seconds if isinstance(each, Passed) else None)
        for each in told
        if isinstance(each, (Began, Passed))
    ] == [
        ("1", (), None),
        *(
            each
            for number in (1, 2)
            for each in (
                ("1.1", (number,), None),
                ("1.1", (number,), 0.5),
                ("1.2", (number,), None),
                ("1.2.1", (number, 1), None),
                ("1.2.1", (number, 1), 0.0),
                ("1.2.1", (number, 2), None),
                ("1.2.1", (number, 2), 0.0),
                ("1.2", (number,), 0.0),
            )
        ),
        ("1", (), 1.0),
        ("2", (), None),
        ("2", (), 1.0),
    ]


async def test_an_event_that_comes_before_its_step_waits_for_it() -> None:
    answered: list[tuple[int, float, object]] = []

    async def tool(connection: HsmsConnection) -> None:
        async def ask(ceid: int) -> None:
            reply = await connection.request(event(ceid))
            answered.append((ceid, trio.current_time(), reply.item))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answering, connection)
            # The later one of the scenario comes first.
            await ask_soon(nursery, ask, 2)
            await ask_soon(nursery, ask, 1)

    async with against(tool) as connection:
        await play(
            scenario(
                "wait = 5",
                "send = 'S2F25 W'",
                "expect = 'S6F11 <L [3] _ <U4 1> _>'\nreply = 'S6F12 <B 7>'",
                "wait = 1",
                "expect = 'S6F11 <L [3] _ <U4 2> _>'",
            ),
            connection,
        )
        await trio.testing.wait_all_tasks_blocked()
    assert answered == [(1, 5.0, B(7)), (2, 6.0, B(0))]


async def test_what_no_step_expects_is_answered_at_once_and_told() -> None:
    answered: list[str] = []
    told: list[Told] = []

    async def tool(connection: HsmsConnection) -> None:
        primaries = (
            Message(1, 1, True),
            Message(1, 13, True, L()),
            Message(5, 1, True, L(B(128), U4(1), A(""))),
            Message(6, 1, True, L()),
            event(9),
            Message(10, 1, True, L(B(0), A("hello"))),
        )
        answered.extend([(await connection.request(each)).name for each in primaries])
        with pytest.raises(AbortedError):
            await connection.request(Message(2, 17, True))
        await connection.send(Message(6, 3))
        await connection.send(Message(6, 13))
        await trio.sleep_forever()

    async with against(tool) as connection:
        await play(scenario("expect = 'S6F13'"), connection, told.append)
    unexpected = [each for each in told if isinstance(each, Unexpected)]
    assert answered == ["S1F2", "S1F14", "S5F2", "S6F2", "S6F12", "S10F2"]
    assert [each.reply and each.reply.name for each in unexpected] == [*answered, "S2F0", None]
    assert [each.message.name for each in unexpected][-2:] == ["S2F17", "S6F3"]


async def test_an_equipment_answers_who_it_is_and_carries_nothing_out() -> None:
    told: list[Told] = []
    played = scenario(
        "send = 'S6F11 W <L [3] <U4 1> <U4 7> <L [0]>>'\nexpect = 'S6F12 <B 0>'",
        "expect = 'S1F3 W <L $ids>'\nreply = 'S1F4 <L <A \"x\"> ...$ids>'",
        about="[scenario]\nrole = 'equipment'\n",
    )
    assert played.settings.is_equipment

    async def host(connection: HsmsConnection) -> None:
        primary = await connection.receive()
        assert (await connection.request(Message(1, 13, True, L()))).item == L(
            B(0), L(A("hsms-engine"), A("1.0"))
        )
        with pytest.raises(AbortedError):
            await connection.request(Message(2, 41, True))
        await connection.reply(primary, Message(6, 12, item=B(0)))
        reply = await connection.request(Message(1, 3, True, L(U4(1), U4(2))))
        assert reply.item == L(A("x"), A("x"))

    async with against(host) as connection:
        await play(played, connection, told.append)
    assert [each.message.name for each in told if isinstance(each, Unexpected)] == [
        "S1F13",
        "S2F41",
    ]


async def test_what_waited_for_a_step_that_is_over_is_answered_too() -> None:
    """Two come, one is taken: the other one waits for nothing then."""
    told: list[Told] = []

    async def tool(connection: HsmsConnection) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(connection.request, event(1))
            await trio.sleep_forever()

    async with against(tool) as connection:
        await play(scenario("wait = 1", "expect = 'S6F11'", "wait = 1"), connection, told.append)
    [unexpected] = [each for each in told if isinstance(each, Unexpected)]
    assert unexpected.message.name == "S6F11"


async def test_a_repeated_step_takes_one_in_each_round() -> None:
    async def tool(connection: HsmsConnection) -> None:
        for number in range(3):
            await connection.request(event(number))
        await trio.sleep_forever()

    async with against(tool) as connection:
        names = await play(
            scenario("repeat = 3\nsteps = [{expect = 'S6F11 <L [3] _ $ceid _>'}]"), connection
        )
    assert names["ceid"] == U4(2)


@pytest.mark.parametrize("bytes_", [False, True])
async def test_what_waits_is_bounded(bytes_: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsms_engine.scenario.player._MOST_WAITING", 100 if bytes_ else 2)
    told: list[Told] = []

    async def tool(connection: HsmsConnection) -> None:
        for number in range(3):
            await connection.send(Message(6, 3, item=B(bytes([number] * 50))))
        await trio.sleep_forever()

    async with against(tool, inbox_bytes=130 if bytes_ else 10_000) as connection:
        await play(scenario("wait = 1", *["expect = 'S6F3'"] * 2), connection, told.append)
    # It is answered at once, not when its step is over.
    _, unexpected, passed, *_ = told
    assert isinstance(unexpected, Unexpected)
    assert unexpected.message.item == B(b"\2" * 50)
    assert isinstance(passed, Passed)


async def test_an_abort_and_a_report_can_be_expected() -> None:
    async def tool(connection: HsmsConnection) -> None:
        async for primary in connection:
            if primary.function == 17:
                await connection.reply(primary, Message(2, 0))
            elif primary.function == 3:
                header = bytes((0, 0, 0x81, 3, 0, 0)) + (primary.system_bytes or 0).to_bytes(4)
                await connection.send(Message(9, 5, item=B(header)))

    async with against(tool) as connection:
        await play(
            scenario(
                "send = 'S2F17 W'\nexpect = 'S2F0'",
                "send = 'S1F3 W <L [0]>'\nexpect = 'S9F5 <B [10] $header>'",
            ),
            connection,
        )


async def test_no_reply_can_be_given() -> None:
    errors: list[Exception] = []

    async def tool(connection: HsmsConnection) -> None:
        with pytest.raises(ReplyTimeoutError) as caught:
            await connection.request(Message(1, 1, True))
        errors.append(caught.value)

    async with against(tool) as connection:
        await play(scenario("expect = 'S1F1'\nreply = 'none'", "wait = 44"), connection)
        with pytest.raises(StepError, match="separated, while it waited"):
            await play(scenario("wait = 2"), connection)
    assert len(errors) == 1


async def chatty(connection: HsmsConnection) -> None:
    """A tool that sends S6F3 right behind its reply to S2F41, right before that to S2F43, on both
    sides of that to S2F45, whose step expects S2F0, and behind an S6F11 when it is sent S2F17.
    """
    async for primary in connection:
        said = Message(6, 3, item=B(primary.function))
        if primary.function in (43, 45):
            await connection.send(said)
        match primary.function:
            case 17:
                await connection.send(Message(6, 11, item=B(0)))
            case 45:
                await connection.reply(primary, Message(2, 0))
            case _:
                await connection.reply(primary, Message(2, primary.function + 1))
        if primary.function != 43:
            await connection.send(said)


@pytest.mark.parametrize("memory", [memory_stream_pair, direct_pair])
@pytest.mark.parametrize(
    ("steps", "order"),
    [
        ("{send = 'S2F41 W'}", ["step", "S6F3"]),
        ("{send = 'S2F43 W'}", ["S6F3", "step"]),
        ("{send = 'S2F45 W', expect = 'S2F0'}", ["S6F3", "step", "S6F3"]),
        ("{send = 'S2F17'}, {expect = 'S6F11'}", ["step", "step", "S6F3"]),
    ],
)
async def test_all_is_told_in_the_order_of_the_wire(
    steps: str, order: list[str], memory: Pair
) -> None:
    """Many times, because trio wakes two tasks in any order."""
    told: list[Told] = []
    played = scenario(f"repeat = 20\nsteps = [{steps}, {{wait = 1}}]")
    async with against(chatty, memory) as connection:
        await play(played, connection, told.append)
    shown = [
        each.message.name if isinstance(each, Unexpected) else "step"
        for each in told
        if isinstance(each, Unexpected)
        or (isinstance(each, Passed) and isinstance(each.step, (Send, Expect)))
    ]
    assert shown == order * 20


@pytest.mark.parametrize(
    ("function", "order"), [(41, ["S2F41", "S2F42", "S6F3"]), (43, ["S2F43", "S6F3", "S2F44"])]
)
async def test_a_failure_shows_messages_in_the_order_of_the_wire(
    function: int, order: list[str]
) -> None:
    steps = (f"send = 'S2F{function} W'", "wait = 1", "expect = 'S6F11'")
    for _ in range(20):
        error = await failure(chatty, *steps, pair=direct_pair)
        lines = error.details[error.details.index("messages so far, the latest last:") + 1 :]
        assert [line.partition("ago: ")[2].split()[0] for line in lines] == order


async def test_what_came_before_the_scenario_began_is_shown_first() -> None:
    async def eager(connection: HsmsConnection) -> None:
        await connection.send(Message(6, 3, item=B(1)))
        await trio.sleep_forever()

    async with against(eager) as connection:
        await trio.sleep(1)
        with pytest.raises(StepError) as caught:
            await play(scenario("send = 'S6F1'", "expect = 'S6F11'\nwithin = 1"), connection)
    assert [line.strip() for line in caught.value.details[1:]] == [
        "came 2.000 s ago: S6F3 <B 0x01>",
        "sent 1.000 s ago: S6F1",
    ]


async def test_what_others_ask_and_what_comes_too_late_is_shown() -> None:
    async def slow(connection: HsmsConnection) -> None:
        late = await connection.receive()
        at_once = await connection.receive()
        await connection.reply(at_once, Message(2, 26))
        await trio.sleep(2)
        await connection.reply(late, Message(1, 2))
        await trio.sleep_forever()

    async with against(slow) as connection, trio.open_nursery() as nursery:

        async def others() -> None:
            with trio.move_on_after(1):
                await connection.request(Message(1, 1, True))
            await connection.request(Message(2, 25, True))

        nursery.start_soon(others)
        with pytest.raises(StepError) as caught:
            await play(scenario("expect = 'S6F11'\nwithin = 4"), connection)
    lines = [line.partition("ago: ")[2] for line in caught.value.details[1:]]
    assert lines == ["S1F1 W", "S2F25 W", "S2F26", "S1F2"]


async def test_nothing_of_it_stays_with_the_connection() -> None:
    async with against(answering) as connection:
        await play(scenario("send = 'S2F25 W'"), connection)
        assert connection._driver.watchers == []


# What fails


async def test_a_reply_that_differs_is_a_diff_with_its_path() -> None:
    error = await failure(
        answering,
        "wait = 1",
        "send = 'S1F13 W <L [0]>'\nexpect = 'S1F14 <L [2] <B 0> <L [2] <A \"ETCHER\"> <A \"8\">>>'",
    )
    assert isinstance(error, DifferenceError)
    assert (error.path, error.expected, error.found) == ("[2][2]", '<A "8">', '<A "7.1">')
    summary, *details = str(error).splitlines()
    assert summary == (
        "step 2 (start-up.toml:5), send S1F13, expect S1F14: the reply differs at [2][2]: expected "
        '<A "8">, found <A "7.1">'
    )
    assert details == [
        "  S1F14",
        "  <L [2]",
        "    <B 0x00>",
        "    <L [2]",
        '      <A "ETCHER">',
        '-     <A "8">',
        '+     <A "7.1">',
        "    >",
        "  >",
        "messages so far, the latest last:",
        "  sent 0.000 s ago: S1F13 W <L [0]>",
        '  came 0.000 s ago: S1F14 <L [2] <B 0x00> <L [2] <A "ETCHER"> <A "7.1">>>',
    ]
    assert error.details[: len(error.diff)] == error.diff
    assert error.__cause__ is None


async def test_a_saved_value_is_compared_and_a_bound_one_is_bound_anew() -> None:
    steps = (
        "send = 'S2F25 W <B 1>'\nexpect = 'S2F26 $got'",
        "send = 'S2F25 W <B 2>'\nexpect = 'S2F26 $got'",
        "save = {kept = '$got'}",
        "send = 'S2F25 W <L [1] <B 3>>'\nexpect = 'S2F26 <L [1] $kept>'",
    )
    error = await failure(answering, *steps)
    assert isinstance(error, DifferenceError)
    assert (error.path, error.expected) == ("[1]", "<B 0x02>, which is $kept")


async def test_what_is_saved_wins_over_what_was_bound() -> None:
    async with against(answering) as connection:
        names = await play(
            scenario("send = 'S2F25 W <B 1>'\nexpect = 'S2F26 $got'", "save = {got = '<B 2>'}"),
            connection,
        )
    assert names == {"got": B(2)}


async def test_what_a_step_has_taken_is_nothing_for_the_next_one() -> None:
    async def tool(connection: HsmsConnection) -> None:
        await connection.request(event(101))
        await trio.sleep_forever()

    step = "expect = 'S6F11 <L [3] _ <U4 101> _>'"
    error = await failure(tool, step, step.replace("101", "102"))
    assert error.problem == "no S6F11 came within 10 s"


async def test_of_what_came_the_nearest_is_shown() -> None:
    async def tool(connection: HsmsConnection) -> None:
        for message in (event(100, A("b")), event(101, A("a")), event(99)):
            await connection.request(message)
        await trio.sleep_forever()

    error = await failure(tool, "expect = 'S6F11 <L [3] _ <U4 101> <L [1] <A \"b\">>>'\nwithin = 3")
    assert isinstance(error, DifferenceError)
    assert error.problem == (
        'no such S6F11 came within 3 s; one differs at [3][1]: expected <A "b">, found <A "a">'
    )
    assert "  sent 3.000 s ago: S6F12 <B 0x00>" in error.details


async def test_the_round_of_a_step_that_fails_is_told() -> None:
    error = await failure(
        answering,
        "repeat = 2\nsteps = [{repeat = 3, steps = [{send = 'S2F25 W <B 1>'}]}]",
        "repeat = 2\nsteps = [{expect = 'S6F11', within = 1}]",
    )
    assert (error.step.number, error.rounds) == ("2.1", (1,))
    assert error.summary == (
        "step 2.1 (start-up.toml:8, round 1), expect S6F11: no S6F11 came within 1 s"
    )


async def test_nothing_came() -> None:
    error = await failure(trio_forever, "expect = 'S6F11'")
    assert type(error) is StepError
    assert str(error) == (
        "step 1 (start-up.toml:2), expect S6F11: no S6F11 came within 10 s\nno message so far"
    )


async def trio_forever(_: HsmsConnection) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("step", "problem", "cause"),
    [
        ("send = 'S1F1 W'\nwithin = 2", "no reply came within 2 s", None),
        ("send = 'S1F1 W'", "T3", ReplyTimeoutError),
        ("send = 'S1F1 W'\nwithin = 60", "T3", ReplyTimeoutError),
    ],
)
async def test_no_reply(step: str, problem: str, cause: type[Exception] | None) -> None:
    error = await failure(trio_forever, step)
    assert problem in error.problem
    assert type(error.__cause__) is (cause or type(None))


async def test_an_abort_and_a_report_that_are_not_expected() -> None:
    async def aborting(connection: HsmsConnection) -> None:
        async for primary in connection:
            await connection.reply(primary, Message(1, 0))

    async def reporting(connection: HsmsConnection) -> None:
        async for primary in connection:
            header = bytes((0, 0, 0x81, 1, 0, 0)) + (primary.system_bytes or 0).to_bytes(4)
            await connection.send(Message(9, 3, item=B(header)))

    for step in ("send = 'S1F1 W'", "send = 'S1F1 W'\nexpect = 'S1F2'"):
        assert isinstance((await failure(aborting, step)).__cause__, AbortedError)
        error = await failure(reporting, step)
        assert isinstance(error.__cause__, StreamNineError)
        assert "S9F3" in error.problem
    error = await failure(reporting, "send = 'S1F1 W'\nexpect = 'S9F5'")
    assert "S9F3" in error.problem
    error = await failure(reporting, "send = 'S1F1 W'\nexpect = 'S9F3 <B 0>'")
    assert isinstance(error, DifferenceError)
    assert error.problem.startswith("no such S9F3 came within 10 s; one differs: expected <B 0x00>")


async def test_a_primary_without_w_cannot_be_answered() -> None:
    async def tool(connection: HsmsConnection) -> None:
        await connection.send(Message(6, 11, item=L()))
        await trio.sleep_forever()

    error = await failure(tool, "expect = 'S6F11'\nreply = 'S6F12 <B 0>'")
    assert isinstance(error, DifferenceError)
    assert error.problem == ("S6F11 is to be answered, and differs: expected S6F11 W, found S6F11")
    assert error.diff == ("- S6F11 W", "+ S6F11", "  <L [0]>")


@pytest.mark.parametrize(
    "step", ["expect = 'S6F11'", "send = 'S1F1 W'", "wait = 5", "repeat = 1\nsteps = [{wait = 5}]"]
)
async def test_a_connection_that_is_over_fails_the_step(step: str) -> None:
    async def leaving(_: HsmsConnection) -> None:
        await trio.sleep(1)

    error = await failure(leaving, step)
    assert "separate" in error.problem
    async with active_end() as (connection, peer):
        async with trio.open_nursery() as nursery:

            async def break_it() -> None:
                await trio.sleep(1)
                await peer.close()

            nursery.start_soon(break_it)
            with pytest.raises(StepError) as caught:
                await play(scenario(step), connection)
        assert isinstance(caught.value.__cause__, ConnectionLostError)


async def test_what_a_reply_refers_to_is_not_there() -> None:
    async def tool(connection: HsmsConnection) -> None:
        await connection.request(event(1))

    error = await failure(tool, "expect = 'S6F11 W'\nreply = 'S6F12 $9'")
    assert error.problem == "the request has no $9"
    assert isinstance(error.__cause__, LookupError)


async def test_what_a_saved_value_refers_to_is_not_there() -> None:
    steps = "send = 'S2F25 W <B 1>'\nexpect = 'S2F26 $got'", "save = {kept = '$got.2'}"
    error = await failure(answering, *steps)
    assert error.problem == "$got has no $got.2"
    assert isinstance(error.__cause__, LookupError)


async def test_what_is_too_long_to_be_sent_fails_its_step() -> None:
    error = await failure(trio_forever, f"send = 'S1F1 W <A \"{'x' * 100}\">'", max_frame=50)
    assert "max_frame" in error.problem


async def test_a_body_that_is_no_secs_ii() -> None:
    async def tool(connection: HsmsConnection) -> None:
        primary = await connection.receive()
        await connection.reply(primary, Message(1, 2, body=b"\xff"))
        await trio.sleep_forever()

    error = await failure(tool, "send = 'S1F1 W'\nexpect = 'S1F2 <L $x>'")
    assert isinstance(error, DifferenceError)
    assert error.diff[0] == "- <L $x>"
    assert error.diff[1].startswith("+ S1F2 // a body of 1 bytes that is no SECS-II: ")


async def test_cancelling_stops_it_and_the_connection_lives() -> None:
    async with against(answering) as connection:
        with trio.move_on_after(3):
            await play(scenario("wait = 100"), connection)
        assert trio.current_time() == 3
        assert (await connection.request(Message(2, 25, True, B(1)))).item == B(1)


async def test_what_tell_raises_comes_out() -> None:
    def tell(_: Told) -> None:
        raise RuntimeError("mine")

    async with against(answering) as connection:
        with pytest.raises(RuntimeError, match="mine"):
            await play(scenario("wait = 1"), connection, tell)
