"""Processes of a benchmark: each is killed when its block ends, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import trio

# A fresh interpreter, so that nothing of the parent counts as its memory.
_SPAWN = multiprocessing.get_context("spawn")
_LONGEST_LIFE = 600
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Child:
    """A process, and the pipe over which it is asked and answers."""

    def __init__(self, pid: int, pipe: Connection) -> None:
        self.pid = pid
        self._pipe = pipe

    def tell(self, what: object) -> None:
        self._pipe.send(what)

    def hear(self, within: float = 30.0) -> Any:
        """What it says next. ``TimeoutError`` after ``within`` seconds, ``EOFError`` if it died."""
        if not self._pipe.poll(within):
            raise TimeoutError(f"process {self.pid} says nothing for {within:g} s")
        return self._pipe.recv()

    def ask(self, what: object = None) -> Any:
        self.tell(what)
        return self.hear()

    def memory(self) -> int:
        """Its resident memory in bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text("ascii").split()[1]) * _PAGE


@contextmanager
def child(main: Callable[..., None], *arguments: object) -> Iterator[Child]:
    """Run ``main(pipe, *arguments)`` in a process of its own for as long as the block."""
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_run, args=(main, theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    assert process.pid is not None
    try:
        yield Child(process.pid, ours)
    finally:
        process.kill()
        process.join()
        ours.close()


@contextmanager
def worker(call: Callable[..., object]) -> Iterator[Child]:
    """A process that calls ``call`` with each tuple of arguments it is told, and tells the result.

    When the block begins, it has started and imported what it needs.
    """
    with child(_work, call) as process:
        process.hear()
        yield process


def _work(pipe: Connection, call: Callable[..., object]) -> None:
    pipe.send(None)
    while True:
        pipe.send(call(*pipe.recv()))


async def heard(pipe: Connection) -> Any:
    """What the parent says next, waited for without blocking trio."""
    await trio.lowlevel.wait_readable(pipe.fileno())
    return pipe.recv()


def wait_until(ready: Callable[[], bool], within: float) -> bool:
    """Ask every 20 ms; whether it became true within so many seconds."""
    end = time.monotonic() + within
    while not ready():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _run(main: Callable[..., None], pipe: Connection, *arguments: object) -> None:
    # Ctrl-C goes to the whole group; the parent kills its children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # When the parent was killed and could not: no process lives longer than this.
    signal.alarm(_LONGEST_LIFE)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        main(pipe, *arguments)
    except* EOFError:
        # The parent is gone.
        pass
