"""The end under test: ``serve_hsms`` in a process of its own, which tells how it is when asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import NewType

import trio

from benchmarks.faults.processes import Child, child, heard, wait_until
from hsms_engine import HsmsConnection, Message, Settings, serve_hsms
from hsms_engine.server import Handler

Port = NewType("Port", int)

# One session for each peer, as a simulator of many tools has them.
SETTINGS = Settings(port=0, max_sessions=100_000, max_connections=100_000)


@dataclass(frozen=True, slots=True)
class Report:
    """How the server is now. Times in seconds of CPU; turns since ``forget_turns``."""

    connections: int
    handlers: int
    cpu: float
    longest_turn: float
    longest_pass: float


async def answer(connection: HsmsConnection) -> None:
    """Answer every primary that asks for it, and take the others."""
    async for primary in connection:
        if primary.wait:
            await connection.reply(primary, Message(primary.stream, primary.function + 1))


async def answer_later(connection: HsmsConnection) -> None:
    """Answer every primary half a second after it came."""
    async with trio.open_nursery() as nursery:

        async def later(primary: Message) -> None:
            await trio.sleep(0.5)
            await connection.reply(primary, Message(primary.stream, primary.function + 1))

        async for primary in connection:
            nursery.start_soon(later, primary)


async def sleep_in_the_first(connection: HsmsConnection) -> None:
    """Take one primary and never come back for the next."""
    async for _ in connection:
        await trio.sleep_forever()


class Turns(trio.abc.Instrument):
    """The longest turn of one task, and the longest pass of the loop over all that are ready.

    In CPU time of the thread, so that other programs do not count.
    """

    def __init__(self) -> None:
        self.longest_turn = self.longest_pass = 0.0
        self._turn_began = self._pass_began = time.thread_time()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002
        self._turn_began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002
        self.longest_turn = max(self.longest_turn, time.thread_time() - self._turn_began)

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002
        self._pass_began = time.thread_time()

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002
        self.longest_pass = max(self.longest_pass, time.thread_time() - self._pass_began)


class Server:
    """A running server process, as the benchmark sees it."""

    def __init__(self, process: Child, port: Port) -> None:
        self.process = process
        self.port = port

    def report(self, *, forget_turns: bool = False) -> Report:
        report = self.process.ask(forget_turns)
        assert isinstance(report, Report)
        return report

    def wait_for(self, *, connections: int, within: float = 10.0) -> bool:
        """Whether it came to have so many connections within so many seconds."""
        return wait_until(lambda: self.report().connections == connections, within)


@contextmanager
def running_server(
    handler: Handler = answer, settings: Settings = SETTINGS, *, watch_turns: bool = False
) -> Iterator[Server]:
    """A server process for as long as the block. Watching its turns makes it slower."""
    with child(_main, handler, settings, watch_turns) as process:
        yield Server(process, process.hear())


def _main(pipe: Connection, handler: Handler, settings: Settings, watch_turns: bool) -> None:
    turns = Turns()
    instruments = [turns] if watch_turns else []
    trio.run(_serve, pipe, handler, settings, turns, instruments=instruments)


async def _serve(pipe: Connection, handler: Handler, settings: Settings, turns: Turns) -> None:
    handlers = 0

    async def counted(connection: HsmsConnection) -> None:
        nonlocal handlers
        handlers += 1
        try:
            await handler(connection)
        finally:
            handlers -= 1

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_hsms, counted, settings))
        pipe.send(server.port)
        while True:
            forget_turns = await heard(pipe)
            report = Report(
                connections=len(server.connections),
                handlers=handlers,
                cpu=time.process_time(),
                longest_turn=turns.longest_turn,
                longest_pass=turns.longest_pass,
            )
            pipe.send(report)
            if forget_turns:
                turns.longest_turn = turns.longest_pass = 0.0
