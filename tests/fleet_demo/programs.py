"""The programs of the demo: how they are started, heard, stopped and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import trio

from statecharts.nursery import open_bare_nursery
from tests.fleet_demo.ledger import Ledger
from tests.fleet_demo.tools import HOST

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


class Program:
    """A process that tells lines of JSON; what it complains of is kept."""

    def __init__(self, process: trio.Process, take: Callable[[dict[str, Any]], None]) -> None:
        self.process = process
        self.complaints: list[str] = []
        self._take = take

    def _complain(self, line: str) -> None:
        self.complaints.append(line)
        print(line, file=sys.stderr)

    async def hear(self) -> None:
        """Take what it tells, until it ends."""
        async with open_bare_nursery() as nursery:
            nursery.start_soon(self._read, self.process.stdout, self._object)
            nursery.start_soon(self._read, self.process.stderr, self._complain)

    def _object(self, line: str) -> None:
        self._take(json.loads(line))

    async def _read(
        self, stream: trio.abc.ReceiveStream | None, take: Callable[[str], object]
    ) -> None:
        assert stream is not None
        rest = b""
        async for data in stream:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                take(line.decode(errors="replace"))


@asynccontextmanager
async def program(
    take: Callable[[dict[str, Any]], None], *words: str, **environment: str
) -> AsyncIterator[Program]:
    """A program of Python, killed after the block if it still runs."""
    process = await trio.lowlevel.open_process(
        [sys.executable, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**ENVIRONMENT, **environment},
        # Ctrl-C is for the demo alone, which stops them.
        start_new_session=True,
    )
    try:
        async with open_bare_nursery() as nursery:
            started = Program(process, take)
            nursery.start_soon(started.hear)
            yield started
            nursery.cancel_scope.cancel()
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


class Tools:
    """The process of the tools."""

    def __init__(self, ledger: Ledger) -> None:
        self.ports: dict[str, int] = {}
        self.counts: dict[str, dict[str, Any]] = {}
        self._ledger = ledger
        self._news = trio.Event()

    def take(self, line: dict[str, Any]) -> None:
        match line["what"]:
            case "listening":
                self.ports = line["ports"]
            case "counts":
                self.counts = line["tools"]
            case _:
                self._ledger.tool_told(line)
                return
        self._news.set()

    @asynccontextmanager
    async def running(self, **options: float) -> AsyncIterator[None]:
        words = "-m", "tests.fleet_demo.tools", json.dumps(options)
        async with program(self.take, *words) as self._program:
            await self._told()
            yield
            # What it says when it fails is what matters then.
            assert not self._program.complaints, "\n".join(self._program.complaints)

    async def _told(self) -> None:
        await self._news.wait()
        self._news = trio.Event()

    async def count(self) -> dict[str, dict[str, Any]]:
        """What each tool has counted until now."""
        await self.order("count")
        await self._told()
        return self.counts

    async def order(self, what: str) -> None:
        """Tell it what to do."""
        stdin = self._program.process.stdin
        assert stdin is not None
        await stdin.send_all(f"{what}\n".encode())

    def file(self) -> str:
        """The file of tools, as the processes of the fleet read it."""
        tools = "".join(f"[link.{name}]\nport = {port}\n" for name, port in self.ports.items())
        # A tool that is refused once is dialled again soon.
        return f'[defaults]\nhost = "{HOST}"\nt5 = 1\nlinger = 0.5\n{tools}'


class Owner:
    """A process of ``hsms-engine fleet``."""

    def __init__(self, name: str, ledger: Ledger) -> None:
        self.name = name
        self._ledger = ledger

    async def run(
        self,
        file: Path,
        url: str,
        lease: float,
        password: str,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Have it until cancelled."""
        words = [
            *("-m", "hsms_engine", "fleet", "--tools", str(file), "--store", url),
            *("--lease", f"{lease:g}", "--name", self.name, "--json"),
        ]
        async with program(self._take, *words, HSMS_STORE_PASSWORD=password) as self._program:
            task_status.started()
            await trio.sleep_forever()

    def _take(self, line: dict[str, Any]) -> None:
        at = line.get("at")
        wall = 0.0 if at is None else datetime.fromisoformat(at).timestamp()
        self._ledger.owner_told(self.name, line, wall)

    @property
    def number(self) -> int:
        return self._program.process.pid

    def send(self, number: signal.Signals) -> None:
        self._program.process.send_signal(number)

    async def end(self) -> int:
        """Wait for its end: its exit code."""
        return await self._program.process.wait()
