"""What a test talks to and trio runs, in a thread of its own: the part that all such objects share.

Nothing here needs the caller to run an event loop: plain, asyncio and trio tests use it alike.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import trio

from hsms_engine.blocking.wait import now, wait_for
from hsms_engine.doors.thread import TrioThread

T = TypeVar("T")

PATIENCE: Final = 30.0
"""How long ``until`` waits unless it is told otherwise, and the end for a function of the user, in
seconds."""


class Watched(Protocol):
    """What the object in the thread has."""

    @property
    def counts(self) -> Counter[str]: ...

    async def until(self, condition: Callable[[], bool]) -> None: ...


class InThread:
    """An object in a thread of its own; ``word`` is what a program may call it."""

    def __init__(self, thread: TrioThread, word: str) -> None:
        self._thread = thread
        self._word = word

    def _call(self, function: Callable[[], Awaitable[T]]) -> T:
        return wait_for(self._thread, function, "", None)

    def _look(self, read: Callable[[], T]) -> T:
        """What ``read`` returns, between two steps of what runs in the thread."""
        if self._thread.is_here or self._thread.is_over:
            return read()
        return now(self._thread, read)

    def _refuse_loop(self, call: str) -> None:
        """Raise ``RuntimeError`` where an event loop runs, which ``call`` would stop."""
        if loop := running_loop():
            raise RuntimeError(
                f"{call}() would stop the event loop of this test, which waits for it: await "
                f"{loop.word}({self._word}.{call}, ...)"
            )


class Threaded(InThread):
    """One that counts what happens there."""

    def __init__(self, thread: TrioThread, watched: Watched, word: str) -> None:
        super().__init__(thread, word)
        self._watched = watched

    @property
    def counts(self) -> Counter[str]:
        """How often each thing has happened until now."""
        return self._look(lambda: Counter(self._watched.counts))

    def until(self, condition: Callable[[], bool], *, timeout: float = PATIENCE) -> None:
        """Wait until ``condition`` holds, at most ``timeout`` seconds.

        It is asked whenever something has happened here, in the thread of this object. Raises
        ``TimeoutError``. In a test that runs an event loop this would stop the loop, and raises
        ``RuntimeError``: await it in a thread, ``asyncio.to_thread(equipment.until, ...)`` or
        ``trio.to_thread.run_sync(equipment.until, ...)``.
        """
        # pytest shows the line of the test, and not this.
        __tracebackhide__ = True
        self._refuse_loop("until")

        async def wait() -> bool:
            with trio.move_on_after(timeout) as scope:
                await self._watched.until(condition)
            return not scope.cancelled_caught

        if not self._call(wait):
            happened = ", ".join(f"{name} {count}" for name, count in self.counts.items())
            raise TimeoutError(f"not so within {timeout:g} s; until now: {happened}")


@dataclass(frozen=True, slots=True)
class Loop:
    """An event loop, and how to leave it: ``await in_thread(function)``, which has this name."""

    word: str
    in_thread: Callable[[Callable[[], Any]], Coroutine[Any, Any, Any]]


def running_loop() -> Loop | None:
    """The event loop that runs in this thread, if one does."""
    if trio.lowlevel.in_trio_run():
        # A test that is cancelled does not wait for what it has expected.
        in_thread = partial(trio.to_thread.run_sync, abandon_on_cancel=True)
        return Loop("trio.to_thread.run_sync", in_thread)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return None
    return Loop("asyncio.to_thread", asyncio.to_thread)


@contextmanager
def served(
    name: str, serve: Callable[..., Awaitable[None]], patience: float
) -> Iterator[tuple[TrioThread, Any]]:
    """Run ``serve`` in a thread with this name as long as the block lasts; what it has started.

    Raises what ``serve`` raises before it has started, and ``RuntimeError`` when a function that
    was given to it has not returned after ``patience`` seconds.
    """
    thread = TrioThread(name)
    try:
        yield thread, wait_for(thread, partial(thread.start_server, serve), "", None)
    finally:
        if not thread.end(patience):
            raise RuntimeError(
                f"the {name} did not end in {patience:g} s: a function given to it does not return"
            )
