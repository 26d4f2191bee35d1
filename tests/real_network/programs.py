"""The programs at the ends, and what they tell: how they are started, heard, stopped and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio

from hsms_engine import SettingsChanges
from tests.real_network.judge import Line
from tests.real_network.namespaces import End

# Seconds for a program to start on a busy machine.
PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Talk:
    """What the host asks: S1F1 every ``ask`` seconds, and messages of so many bytes."""

    ask: float | None = 0.25
    message: int = 0

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is asked at all."""
        return self.ask is None and not self.message


class Log:
    """What both programs have told, in the order heard."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._news = trio.Event()

    def add(self, line: Line) -> None:
        self.lines.append(line)
        news, self._news = self._news, trio.Event()
        news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds; asked again after each line."""
        while not condition():
            await self._news.wait()

    async def until_told(self, end: End, what: str, count: int) -> Line:
        """The line with which an end says ``what`` for the ``count``-th time."""

        def told() -> list[Line]:
            return [line for line in self.lines if (line.end, line.what) == (end, what)]

        with trio.fail_after(PATIENCE):
            await self.until(lambda: len(told()) >= count)
        return told()[count - 1]


class Programs:
    """All programs of one row, and the log of what they tell.

    ``words``: what goes before the command of a program of this end.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        settings: SettingsChanges,
        talk: Talk,
        words: Callable[[End], Sequence[str]],
    ) -> None:
        self.log = Log()
        self._nursery = nursery
        self._settings = settings
        self._talk = talk
        self._words = words
        self._all: list[trio.Process] = []
        self._of: dict[End, trio.Process] = {}
        self._starts: dict[End, int] = {"host": 0, "equipment": 0}

    async def start_host(self, address: str, port: int) -> Line:
        """Start a host that dials there. The line with which it begins."""
        settings: dict[str, Any] = {**self._settings, "host": address, "port": port}
        talk = {"ask": self._talk.ask, "message": self._talk.message}
        return await self._start("host", "begun", {"settings": settings, **talk})

    async def start_equipment(self, address: str, port: int, behaviours: Sequence[str]) -> Line:
        """Start an equipment that listens there. The line with which it does."""
        settings: dict[str, Any] = {**self._settings, "host": address, "port": port}
        configuration = {"settings": settings, "behaviours": behaviours}
        return await self._start("equipment", "listening", configuration)

    async def _start(self, end: End, first: str, configuration: dict[str, Any]) -> Line:
        self.log.add(Line(time.monotonic(), end, "started"))
        module = ("-m", f"tests.real_network.{end}", json.dumps(configuration))
        process = self._of[end] = await self.open(*self._words(end), sys.executable, *module)
        self._nursery.start_soon(self._listen, end, process)
        self._starts[end] += 1
        return await self.log.until_told(end, first, self._starts[end])

    async def open(self, *command: str) -> trio.Process:
        """Any program, with pipes; it is killed at the end."""
        process = await trio.lowlevel.open_process(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._all.append(process)
        return process

    async def _listen(self, end: End, process: trio.Process) -> None:
        assert process.stdout is not None
        rest = b""
        async for data in process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self.log.add(Line(end=end, **json.loads(line)))
        code = await process.wait()
        self.log.add(Line(time.monotonic(), end, "gone", str(code)))

    def signal(self, end: End, number: signal.Signals) -> None:
        os.kill(self._of[end].pid, number)

    async def kill(self, end: End) -> None:
        """Kill the program of an end, and wait until it is gone."""
        self._of[end].kill()
        await self._of[end].wait()

    async def terminate(self, end: End) -> None:
        """Ask the program of an end to end, and wait until it has."""
        self.signal(end, signal.SIGTERM)
        with trio.fail_after(PATIENCE):
            await self._of[end].wait()

    async def end_all(self) -> None:
        """Kill what still runs, also what is stopped."""
        for process in self._all:
            process.kill()
            await process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    await pipe.aclose()


@asynccontextmanager
async def programs(
    settings: SettingsChanges, talk: Talk, words: Callable[[End], Sequence[str]] = lambda _: ()
) -> AsyncIterator[Programs]:
    """Programs that are killed after the block if they still run."""
    made: Programs | None = None
    try:
        async with trio.open_nursery() as nursery:
            made = Programs(nursery, settings, talk, words)
            yield made
            nursery.cancel_scope.cancel()
    finally:
        if made is not None:
            with trio.CancelScope(shield=True):
                await made.end_all()
