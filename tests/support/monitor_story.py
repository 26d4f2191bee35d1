"""Recordings for the page of a monitor: a link that loses its tool and comes back, many links.

The engine runs on a virtual clock, so a story is always the same but for what is drawn by chance
(system bytes and the numbers of recordings).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from random import Random

import trio
from trio.testing import MockClock

from hsms_engine import HsmsConnection, HsmsLink, Message, Settings, open_link, serve_hsms
from hsms_engine.messages import S1F1, S1F13, S6F12
from hsms_engine.recording import (
    ChartState,
    EndRecord,
    ErrorRecord,
    FrameRecord,
    LinkRecord,
    Record,
    head,
    line_of,
)
from hsms_engine.recording.telling import plain_settings
from hsms_engine.secs2 import F4, U4, A, L
from hsms_engine.virtual import Machine, Network

BEGAN = 1_800_000_000.0
"""When a story begins: 2027-01-15 08:00 UTC."""
# Seconds for which the tool is without power, then without its program, and is talked with.
OFF = 25.0
STARTING = 40.0
TALK = 30.0


def record_story(path: Path, *, name: str = "etcher-3", words: str = "LOT-0815") -> None:
    """Write the recording. ``name`` is that of the link, ``words`` are in an ASCII item."""
    trio.run(partial(_story, path, name, words), clock=MockClock(autojump_threshold=0))
    _tell_the_time(path)


def record_fab(path: Path) -> None:
    """Write a recording of made-up links in several states."""
    records: list[Record] = []
    end = BEGAN + 200 * 3600
    for number, (name, state, breaker, hours, error) in enumerate(FAB, 1):
        states = {
            "connection_active": ChartState(state, {}),
            "breaker": ChartState(breaker, {"failures": 0}),
        }
        peer = f"10.0.7.{number}:5000"
        settings = plain_settings(Settings(host=f"10.0.7.{number}", port=5000))
        came = end - 3600 * hours - 2.6 * number
        timers = {"t5": end - BEGAN + 7.4} if state == "waiting" else {}
        since, now = (came - BEGAN, came, number, 1), (end - BEGAN, end, number, 1)
        round_trip = 0.0021 + number * 0.0013
        records += (
            LinkRecord(*since, name, peer, "active", settings, states, timers),
            FrameRecord(*now, False, LINKTEST_RSP, 14, None, None, round_trip),
        )
        if error:
            records.append(ErrorRecord(*since, *error))
    records.sort(key=lambda record: record.at)
    whole = [head(0.0, BEGAN, "a1b2"), *records, EndRecord(end - BEGAN, end, "closed")]
    path.write_text("".join(map(line_of, whole)), encoding="utf-8")


LINKTEST_RSP = bytes.fromhex("ffff 0000 0006 0000 0007")
_NO_REPLY = ("ReplyTimeoutError", "no reply to S2F41 within T3 = 45 s")
_REFUSED = ("ConnectError", "not connected, during TCP connect: Connection refused")
_LOST = ("ConnectionLostError", "connection lost: the peer has closed it without Separate.req")
# Name, state of the connection, of the breaker, hours since it came there, the latest error.
FAB = (
    ("etcher-1", "communicating", "breaker_closed", 31, None),
    ("etcher-2", "communicating", "breaker_closed", 31, _NO_REPLY),
    ("furnace-1", "communicating", "breaker_closed", 190, None),
    ("furnace-2", "waiting", "breaker_closed", 0, _LOST),
    ("implanter-1", "blocked", "breaker_open", 2, _REFUSED),
    ("scanner-1", "communicating", "breaker_closed", 5, None),
    ("scanner-2", "selecting", "probing", 0, _REFUSED),
    ("sorter-1", "unselected", "breaker_closed", 1, None),
    ("wet-bench-1", "communicating", "breaker_closed", 77, None),
)


def _tell_the_time(path: Path) -> None:
    """The wall clock was the real one: now it goes with the virtual clock."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    first = min(line["at"] for line in lines)
    for line in lines:
        line["wall"] = round(BEGAN + line["at"] - first, 6)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


async def _story(path: Path, name: str, words: str) -> None:
    network = Network(Random(1))
    tool, host = network.machine("tool"), network.machine("host")
    for way in (network.way("tool", "host"), network.way("host", "tool")):
        way.delay = 0.004

    async def dial() -> trio.abc.Stream:
        return await host.dial(tool)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.run)
        end = await _serve(nursery, tool, words)
        async with (
            open_link(
                dial=dial,
                random=Random(1),
                record=path,
                name=name,
                linktest_interval=10,
                breaker_threshold=2,
                breaker_open_time=20,
            ) as link,
            trio.open_nursery() as inner,
        ):
            inner.start_soon(_answer, link)
            await _talk(link)
            tool.crash()
            end()
            await trio.sleep(OFF)
            tool.start()
            await trio.sleep(STARTING)
            await _serve(nursery, tool, words)
            await _talk(link)
            inner.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


async def _serve(nursery: trio.Nursery, tool: Machine, words: str) -> Callable[[], None]:
    """Start the program of the tool; what is given ends it."""

    async def handler(host: HsmsConnection) -> None:
        async with trio.open_nursery() as inner:
            inner.start_soon(_report, host, words)
            while True:
                primary = await host.receive()
                item = L(A("etcher"), A("3.1"))
                await host.reply(primary, Message(1, primary.function + 1, item=item))

    ended = trio.CancelScope()

    async def run(task_status: trio.TaskStatus[object]) -> None:
        with ended:
            await serve_hsms(handler, listener=tool.listen(), task_status=task_status)

    await nursery.start(run)
    return ended.cancel


async def _report(host: HsmsConnection, words: str) -> None:
    for number in count(1):
        await trio.sleep(7)
        report = L(L(U4(7), L(A(words), F4(21.75))))
        await host.request(Message(6, 11, wait=True, item=L(U4(number), U4(101), report)))


async def _talk(link: HsmsLink) -> None:
    await link.wait_selected()
    with trio.move_on_after(TALK):
        await link.request(S1F13())
        while True:
            await trio.sleep(4)
            await link.request(S1F1())


async def _answer(link: HsmsLink) -> None:
    while True:
        primary = await link.receive()
        await link.reply(primary, S6F12())
