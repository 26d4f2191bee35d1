"""Given the seed, a run is the same; given any order of tasks, it ends well and leaves nothing."""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

import hsms_engine
import statecharts
from hsms_engine import HsmsError, HsmsLink, Message, open_link, serve_hsms
from hsms_engine.protocol.outputs import Step
from tests.support.leaks import engine_tasks, leak_check
from tests.support.pair import MemoryListener, Switchboard, echo
from tests.support.raw_peer import LINKTEST_REQ, SELECT_REQ, data, linktest_rsp, select_rsp
from tests.support.seeded import run, seeded_scheduler

__all__ = ["leak_check", "seeded_scheduler"]

SEEDS = 200


# 14: twenty mixed operations in every order


class Mix:
    """Twenty operations on one link whose peer answers, refuses, vanishes and comes back."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.listener = MemoryListener()
        self.done: list[str] = []
        # What ends everything is there in some of the mixes only, so that the others go on.
        self.without = {
            each for each in ("close", "disable", "isolate") if self.dice.random() < 0.8
        }

    async def dial(self) -> trio.abc.Stream:
        if self.dice.random() < 0.2:
            await trio.lowlevel.checkpoint()
            raise ConnectionRefusedError(111, "Connection refused")
        return await self.listener.dial()

    async def main(self) -> None:
        # Virtual time: a deadlock is an hour that passes.
        with trio.fail_after(3_600):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve)
                async with (
                    trio.open_nursery() as users,
                    open_link(
                        dial=self.dial,
                        random=Random(self.dice.random()),
                        t5=1,
                        t3=2,
                        breaker_threshold=2,
                        breaker_open_time=3,
                        linktest_interval=1,
                        linktest_threshold=2,
                    ) as link,
                ):
                    for _ in range(20):
                        users.start_soon(self._operate, link)
                    await trio.sleep(self.dice.choice([0, 0.1, 1, 5, 20]))
                    if self.dice.random() < 0.3:
                        users.cancel_scope.cancel()
                assert link.phase == "closed"
                nursery.cancel_scope.cancel()
        assert len(self.done) == 20
        assert engine_tasks() == []

    async def _serve(self) -> None:
        await serve_hsms(echo, listener=self.listener, random=Random(0))

    async def _operate(self, link: HsmsLink) -> None:
        name = "?"
        try:
            for _ in range(self.dice.randrange(6)):
                await trio.lowlevel.checkpoint()
            await trio.sleep(self.dice.choice([0, 0, 0, 0.5, 1, 2]))
            operations = [each for each in self._operations(link) if each[0] not in self.without]
            name, operation = self.dice.choice(operations)
            with trio.move_on_after(self.dice.choice([0, 0.5, 3, 100])):
                await operation()
        except HsmsError:
            pass
        finally:
            self.done.append(name)

    def _operations(self, link: HsmsLink) -> list[tuple[str, Callable[[], Awaitable[Any]]]]:
        async def call(what: Callable[[], None]) -> None:
            await trio.lowlevel.checkpoint()
            what()

        async def read() -> None:
            async for primary in link:
                if primary.wait:
                    await link.reply(primary, Message(primary.stream, primary.function + 1))

        async def watch() -> None:
            async for _ in link.events():
                pass

        return [
            ("connect", link.connect),
            ("wait_selected", link.wait_selected),
            ("request", lambda: link.request(Message(1, 1, wait=True))),
            ("send", lambda: link.send(Message(6, 11, body=bytes(1_000)))),
            ("linktest", link.linktest),
            ("deselect", link.deselect),
            ("select", link.select),
            ("read", read),
            ("watch", watch),
            ("disable", lambda: call(link.disable)),
            ("enable", lambda: call(link.enable)),
            ("isolate", lambda: call(link.isolate)),
            ("release", lambda: call(link.release)),
            ("reset", lambda: call(link.reset_breaker)),
            ("configure", lambda: call(lambda: link.configure(t5=2, breaker_threshold=1))),
            ("close", link.aclose),
        ]


@pytest.mark.parametrize("block", range(4))
def test_twenty_mixed_operations_neither_lock_up_nor_leak_in_any_order(block: int) -> None:
    size = SEEDS // 4
    for seed in range(block * size, (block + 1) * size):
        mix = Mix(seed)
        try:
            run(mix.main, seed)
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {mix.done}") from error


# Ten runs, bit-identical


async def _a_long_story() -> tuple[list[Step], list[bytes]]:
    """Refusals, a probe, requests, linktests, T3, a loss: all that a link does in an hour."""
    board = Switchboard()
    board.refuse()
    records: list[Step] = []
    frames: list[bytes] = []
    async with (
        open_link(
            dial=board.dial,
            random=Random(42),
            t5=3,
            t3=7,
            backoff_factor=2.0,
            backoff_jitter=0.5,
            breaker_threshold=3,
            breaker_open_time=20,
            linktest_interval=5,
        ) as link,
        trio.open_nursery() as nursery,
    ):
        link.on_step(records.append)

        async def answer() -> None:
            while True:
                peer = await board.peer()
                system = await peer.control(SELECT_REQ)
                await peer.send(select_rsp(system))
                for number in range(12):
                    got = await peer.frame()
                    frames.append(repr(got).encode())
                    if got.stype == LINKTEST_REQ:
                        await peer.send(linktest_rsp(got.system))
                    elif number % 3:
                        await peer.send(data(got.byte2 & 0x7F, got.byte3 + 1, got.system))
                await peer.close()

        async def ask(function: int) -> None:
            while True:
                await link.wait_selected()
                with contextlib.suppress(HsmsError):
                    await link.request(Message(1, function, wait=True))
                await trio.sleep(function)

        nursery.start_soon(answer)
        for function in (1, 3, 11):
            nursery.start_soon(ask, function)
        await trio.sleep(100)
        board.refusal = None
        await trio.sleep(900)
        nursery.cancel_scope.cancel()
    return records, frames


def test_ten_runs_of_one_seed_are_the_same_to_the_bit() -> None:
    first_records, first_frames = run(_a_long_story, 7)
    assert len(first_records) > 100
    assert len(first_frames) > 100
    for _ in range(9):
        records, frames = run(_a_long_story, 7)
        assert records == first_records
        assert frames == first_frames


# What the engine may not look at


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {
                f"{node.module.split('.')[0]}.{name.name}"
                if node.module == "random"
                else node.module.split(".")[0]
                for name in node.names
            }
    return found


# Programs, which people look at, may show the time of day. The doors wait in threads and in another
# loop, where no run is repeated; test_import_floors says which clocks they may read.
PROGRAMS = {"cli", "fake", "demo.py", "in_thread.py", "__main__.py", "doors", "blocking", "aio"}


@pytest.mark.parametrize(
    "path",
    [
        path
        for root in (Path(package.__path__[0]) for package in (hsms_engine, statecharts))
        for path in sorted(root.rglob("*.py"))
        if PROGRAMS.isdisjoint(path.relative_to(root).parts)
    ],
    ids=lambda path: "/".join(path.parts[-2:]),
)
def test_no_clock_but_the_monotonic_one_and_no_randomness_but_the_injected(path: Path) -> None:
    forbidden = {"time", "datetime", "random", "secrets", "uuid", "threading", "asyncio"}
    if path.name == "link.py":
        # The default of ``wall_clock``, which only ages what another program has saved.
        forbidden -= {"time"}
    if path.name == "loop.py":
        # It compares threads, and asks whether asyncio runs, to refuse a call. It starts neither.
        forbidden -= {"threading", "asyncio"}
    if path.parent.name == "metrics":
        # Two scrapes may come at once. It starts no thread.
        forbidden -= {"threading"}
    if path.parent.name == "recorder":
        # It writes down the wall clock and an id, in a thread of its own, and decides by neither
        # what a link does.
        forbidden -= {"time", "datetime", "secrets", "threading"}
    if path.parent.name == "fleet":
        # Each life of a process, and each caller, has a name that no other has.
        forbidden -= {"secrets"}
    if path.parent.name == "monitor":
        # It has secrets for browsers, and shows the time of day.
        forbidden -= {"time", "secrets"}
    if path.parent.name == "lease":
        # One store serves the loops of several threads, and starts none. A server's clock is
        # compared with the wall clock for a warning, and each owner has a name of its own: a run
        # that is to be repeated gives the owner's name. Which clocks: test_import_floors.
        forbidden -= {"time", "secrets", "threading"}
    if path.parent.name == "log_reader":
        # It reads the times that others have written, and calls nothing that asks a clock.
        forbidden -= {"datetime"}
        assert not re.search(r"\.(now|utcnow|today)\b", path.read_text(encoding="utf-8"))
    assert _imports(path).isdisjoint(forbidden)
