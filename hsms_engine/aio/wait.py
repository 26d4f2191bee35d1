"""Waits in an asyncio task for a call into the trio thread; cancelling abandons that call only.

Nothing of a call is bound to an event loop but the one future on which its task waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from hsms_engine.doors.call import Call, forget
from hsms_engine.doors.thread import TrioThread, trio_thread
from hsms_engine.errors import WrongLoopError

T = TypeVar("T")


def running_loop() -> asyncio.AbstractEventLoop:
    """The event loop of this thread. Raises ``WrongLoopError`` when asyncio does not run here."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise WrongLoopError(
            "hsms_engine.aio is for asyncio, which does not run in this thread: use "
            "hsms_engine.blocking in a program without an event loop and in other threads, and "
            "hsms_engine itself with trio"
        ) from None


def thread_for_loop() -> TrioThread:
    """The trio thread, for a caller in an event loop. Raises like ``running_loop``."""
    running_loop()
    return trio_thread()


async def wait(
    thread: TrioThread, begin: Callable[[Call[T]], None], late: Callable[[T], None] = forget
) -> T:
    """Begin a call and wait for its result. Raises the error of the call.

    ``late`` gets, in the trio thread, a value for which nobody waits any more.
    """
    loop = running_loop()
    is_there = loop.create_future()

    def wake() -> None:
        try:
            loop.call_soon_threadsafe(_settle, is_there)
        except RuntimeError:
            # The loop was closed while its task waited.
            call.give_back()

    call = Call(wake, late)
    try:
        begin(call)
        await is_there
    except BaseException:
        # Cancelled, or closed together with its loop, or it could not begin.
        thread.soon(call.stop if call.abandon() else call.give_back)
        raise
    return call.result()


def _settle(future: asyncio.Future[None]) -> None:
    # A task that was cancelled in this moment gives back what it cannot take.
    if not future.done():
        future.set_result(None)


async def wait_for(
    thread: TrioThread, function: Callable[[], Awaitable[T]], late: Callable[[T], None] = forget
) -> T:
    """``wait`` for a task of the trio thread."""

    def begin(call: Call[T]) -> None:
        thread.run(call, function)

    return await wait(thread, begin, late)


def act(thread: TrioThread, function: Callable[[], T]) -> asyncio.Future[T]:
    """Let ``function`` run in the trio thread, between its tasks, whether this is awaited or not.

    The future has what it returns or raises. An error that nobody awaits is for the handler of the
    loop, as with every future.
    """
    loop = running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle() -> None:
        if future.cancelled():
            return
        try:
            future.set_result(call.result())
        except Exception as error:  # noqa: BLE001  # it is for the caller
            future.set_exception(error)

    def wake() -> None:
        # A closed loop has nobody who waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle)

    call = Call[T](wake)
    thread.run_sync(call, function)
    return future
