"""Runs coroutines of the user as asyncio tasks, for tasks of the trio thread."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from typing import Generic, TypeVar

import trio

from hsms_engine.aio.wait import running_loop
from hsms_engine.doors.thread import TrioThread

T = TypeVar("T")


class Runner(Generic[T]):
    """Runs a coroutine function of the user, as asyncio tasks for tasks of trio.

    It runs in the context (``contextvars``) of the asyncio task that has handed it over.
    """

    def __init__(self, thread: TrioThread, function: Callable[[T], Awaitable[object]]) -> None:
        if not callable(function):
            raise TypeError(f"{function!r} is no function")
        self._thread = thread
        self._function = function
        self._loop = running_loop()
        self._context = copy_context()

    async def __call__(self, argument: T) -> None:
        """Run it once; called in the trio thread. Raises what it raises.

        When cancelled, the asyncio task is cancelled, and this ends when that has really ended.
        """
        run = _Run()
        if not self._soon(partial(self._start, run, argument)):
            return
        try:
            await run.is_over.wait()
        except trio.Cancelled:
            if self._soon(run.cancel):
                with trio.CancelScope(shield=True):
                    await run.is_over.wait()
            run.raise_error()
            raise
        run.raise_error()

    def _soon(self, function: Callable[[], object]) -> bool:
        """Let it run in the loop. Returns whether there is one: it may be closed."""
        try:
            self._loop.call_soon_threadsafe(function, context=self._context)
        except RuntimeError:
            return False
        return True

    def _start(self, run: _Run, argument: T) -> None:
        run.task = self._loop.create_task(self._main(run, argument))
        # Also when it is cancelled before it has begun, or by others.
        run.task.add_done_callback(lambda _: self._thread.soon(run.is_over.set))

    async def _main(self, run: _Run, argument: T) -> None:
        try:
            await self._function(argument)
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            # For asyncio, which may end the loop by it.
            raise
        except Exception as error:  # noqa: BLE001  # it is for the trio task
            run.error = error
        except BaseException as error:  # noqa: BLE001  # in the trio thread it would end all
            run.error = RuntimeError(f"it has raised {type(error).__name__}")
            run.error.__cause__ = error


class _Run:
    """One run of a coroutine function."""

    def __init__(self) -> None:
        # Kept here: the loop itself keeps no task alive.
        self.task: asyncio.Task[None] | None = None
        self.is_over = trio.Event()
        self.error: Exception | None = None

    def cancel(self) -> None:
        """Cancel the task. To be called in the loop, which has started it before."""
        assert self.task is not None
        self.task.cancel()

    def raise_error(self) -> None:
        """Raise what it has raised, if it has."""
        error, self.error = self.error, None
        if error is not None:
            try:
                raise error
            finally:
                # The traceback has this frame, which must not have the error.
                del error
