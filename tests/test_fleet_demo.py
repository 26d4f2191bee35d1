"""The demo of a fleet: its programs do what they say, and its judge sees what is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

if sys.platform == "win32":
    pytest.skip("signals of POSIX", allow_module_level=True)

import trio.lowlevel

from hsms_engine.message import Message
from hsms_engine.messages import S2F41
from hsms_engine.wire import Decoder, Frame, SType, control_frame, data_frame, encode
from tests.fleet_demo import __main__ as program
from tests.fleet_demo.ledger import Ledger, Over
from tests.fleet_demo.story import NAMES, Story, WrongStepError
from tests.fleet_demo.tools import EPOCH, RCMD, Tool
from tests.support.patience import PATIENCE

TOOL = "TOOL-01"


# All of it


def test_no_tool_has_two_owners_whatever_befalls_the_fleet() -> None:
    """With few tools, and all the time that a busy machine needs."""
    told: list[str] = []
    story = Story(6, 2.0, lambda _at, what, _shares: told.append(what), is_patient=True)
    trio.run(story.run)
    result = story.result
    assert (result.double, result.stale, result.late, result.lost) == (0, 0, 0, 0)
    assert result.commands > 0
    assert told[-1].endswith(": 0")
    assert [each for each in told if each.startswith("kill -9")]


# The tools


class Host:
    """One that says what a test wants."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._decoder = Decoder()
        self._frames: list[Frame] = []

    async def send(self, frame: Frame) -> None:
        await self._stream.send_all(encode(frame))

    async def frame(self) -> Frame:
        while not self._frames:
            data = await self._stream.receive_some()
            assert data, "the tool has closed"
            self._frames = self._decoder.feed(data)
        return self._frames.pop(0)

    async def select(self) -> int:
        """Ask for the session: the status of the answer."""
        await self.send(control_frame(SType.SELECT_REQ, 1))
        return (await self.frame()).byte3

    async def command(self, epoch: int) -> Message:
        """The reply to the command of the demo."""
        body = S2F41(RCMD, {EPOCH: str(epoch)}).body
        await self.send(data_frame(0, 2, 41, True, 7, body))
        frame = await self.frame()
        return Message(frame.stream, frame.function, body=frame.body)

    async def close(self) -> None:
        await self._stream.aclose()


Dial = Callable[[], Awaitable[Host]]


@asynccontextmanager
async def a_tool(probe: float = PATIENCE) -> AsyncIterator[tuple[Tool, list[dict[str, Any]], Dial]]:
    """A tool, what it tells, and a way to it."""
    told: list[dict[str, Any]] = []
    tool = Tool(TOOL, probe, lambda what, **more: told.append({"what": what, **more}))
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_tcp, tool.serve, 0, host="127.0.0.1")
            [listener] = await nursery.start(serve)

            hosts: list[Host] = []

            async def dial() -> Host:
                port = listener.socket.getsockname()[1]
                hosts.append(Host(await trio.open_tcp_stream("127.0.0.1", port)))
                return hosts[-1]

            yield tool, told, dial
            for host in hosts:
                await host.close()
            nursery.cancel_scope.cancel()


async def test_a_tool_counts_a_second_host_while_the_first_one_is_alive() -> None:
    async with a_tool() as (tool, told, dial):
        first, second = await dial(), await dial()
        assert await first.select() == 0
        await second.send(control_frame(SType.SELECT_REQ, 1))
        linktest = await first.frame()
        await first.send(control_frame(SType.LINKTEST_RSP, linktest.system_bytes))
        assert (await second.frame()).byte3 == 1
        assert (tool.counts.double, tool.counts.sessions) == (1, 1)
        assert [each["what"] for each in told] == ["selected", "double"]


async def test_a_tool_takes_another_host_when_the_first_one_is_silent_and_hears_both() -> None:
    async with a_tool(probe=0.01) as (tool, told, dial):
        first, second = await dial(), await dial()
        assert await first.select() == 0
        assert await second.select() == 0
        assert tool.counts.double == 0
        # It wakes up, and is answered by nobody.
        await first.send(control_frame(SType.LINKTEST_RSP, 1))
        await first.send(control_frame(SType.LINKTEST_REQ, 2))
        await first.close()
        assert (await second.command(5)).name == "S2F42"
        while tool.counts.late < 2:
            await trio.lowlevel.checkpoint()
        assert [each["what"] for each in told] == ["selected", "over", "selected", "late", "late"]


async def test_a_tool_denies_a_command_of_an_earlier_epoch() -> None:
    async with a_tool() as (tool, _, dial):
        host = await dial()
        await host.select()
        replies = [await host.command(each) for each in (5, 6, 5, 6)]
        assert [reply.item for reply in replies].count(replies[0].item) == 3
        assert (tool.counts.commands, tool.counts.stale) == (3, 1)


async def test_a_tool_sends_events_and_notes_which_are_acknowledged() -> None:
    async with a_tool() as (tool, _, dial):
        await tool.send_event()
        host = await dial()
        await host.select()
        await tool.send_event()
        await tool.send_event()
        events = [await host.frame() for _ in range(2)]
        assert [(each.stream, each.function) for each in events] == [(6, 11)] * 2
        await host.send(data_frame(0, 6, 12, False, events[1].system_bytes, b""))
        await host.send(control_frame(SType.SEPARATE_REQ, 3))
        while not tool.counts.acknowledged:
            await trio.lowlevel.checkpoint()
        assert (tool.counts.events, tool.counts.acknowledged) == (2, [2])


# What follows from what is told


def selected(at: float, port: int, tool: str = TOOL) -> dict[str, Any]:
    return {"at": at, "what": "selected", "tool": tool, "session": 1, "port": port}


def over(at: float, tool: str = TOOL) -> dict[str, Any]:
    return {"at": at, "what": "over", "tool": tool, "session": 1, "why": "closed"}


def selecting(port: int, tool: str = TOOL) -> dict[str, Any]:
    return {"event": "selecting", "tool": tool, "local": f"127.0.0.1:{port}"}


async def test_the_ledger_knows_whose_session_it_is() -> None:
    ledger = Ledger()
    ledger.tool_told(selected(1.0, 77))
    assert ledger.shares() == {}
    # Another process may have the same port, to another tool.
    ledger.owner_told("host-1", selecting(77), 0.0)
    ledger.owner_told("host-2", selecting(77, "TOOL-02"), 0.0)
    ledger.tool_told(selected(2.0, 77, "TOOL-02"))
    assert ledger.shares() == {"host-1": 1, "host-2": 1}
    assert ledger.owned_since() == 2.0
    ledger.tool_told(over(3.0))
    assert ledger.over == [Over(3.0, TOOL, "host-1", "closed")]
    ledger.tool_told(selected(3.5, 78))
    assert ledger.gaps == [0.5]
    ledger.clear_gaps()
    assert ledger.gaps == []


@pytest.mark.parametrize(("at", "is_early"), [(14.8, True), (15.2, False)])
async def test_the_ledger_knows_who_ended_before_the_deadline(at: float, is_early: bool) -> None:
    ledger = Ledger(wall_ahead=100.0)
    ledger.owner_told("host-1", selecting(77), 0.0)
    ledger.tool_told(selected(1.0, 77))
    ledger.owner_told("host-1", {"event": "doubtful", "tool": TOOL, "ends_in": 5.0}, 110.0)
    ledger.tool_told(over(at))
    assert bool(ledger.early(2.0, 0.1)) is is_early
    # What ended before is no matter.
    assert ledger.early(at + 1, 0.1) == []


async def test_who_ended_without_a_doubt_was_early() -> None:
    ledger = Ledger()
    ledger.owner_told("host-1", selecting(77), 0.0)
    ledger.tool_told(selected(1.0, 77))
    ledger.owner_told("host-1", {"event": "doubtful", "tool": TOOL, "ends_in": 5.0}, 1.0)
    ledger.owner_told("host-1", {"event": "owning", "tool": TOOL}, 2.0)
    ledger.tool_told(over(9.0))
    assert len(ledger.early(2.0, 0.1)) == 1


async def test_a_fault_that_a_tool_tells_is_counted() -> None:
    ledger = Ledger()
    for fault in ("double", "stale", "late", "late"):
        ledger.tool_told({"at": 1.0, "what": fault, "tool": TOOL})
    assert ledger.faults == {"double": 1, "stale": 1, "late": 2}


# The program


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("why", [None, "host-1 ends with: expected 0, seen 1"])
def test_the_program_tells_how_it_went(
    why: str | None,
    as_json: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def run(story: Story) -> None:
        story._say("a step")
        story.result.took["a step"], story.result.bounds["a step"] = 1.0, 2.0
        if why is not None:
            raise WrongStepError(why)

    monkeypatch.setattr(Story, "run", run)
    code = program.main(["--tools", "7", "--runs", "2", *(["--json"] if as_json else [])])
    captured = capsys.readouterr()
    assert code == (0 if why is None else 1)
    lines = captured.out.splitlines()
    if as_json:
        told = [json.loads(line) for line in lines]
        assert told[0]["owned"] == dict.fromkeys(NAMES, 0)
        assert (told[1]["tools"], told[1]["wrong"]) == (7, why)
        assert len(told) == (4 if why is None else 2)
    elif why is None:
        assert lines[-1].startswith("fleet-demo: ok: 7 tools, 3 processes, ")
        assert lines[-1].endswith("nearest to its bound: a step, 1.00 of 2.00 s")
    else:
        assert captured.err == f"fleet-demo: WRONG: {why}\n"
