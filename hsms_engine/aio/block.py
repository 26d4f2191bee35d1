"""An ``async with`` block of asyncio that holds one of the trio API open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TypeVar

from hsms_engine.aio.wait import wait, wait_for
from hsms_engine.doors.hold import Hold
from hsms_engine.doors.thread import TrioThread

H = TypeVar("H")


@asynccontextmanager
async def held_open(
    thread: TrioThread, block: Callable[[], AbstractAsyncContextManager[H]]
) -> AsyncIterator[tuple[Hold[H], H]]:
    """Enter ``block`` in the trio thread, and leave it at the exit. An exception comes out as is.

    Cancelling while it opens leaves nothing open. The exit is polite also after a cancellation;
    when it is cancelled, it does not wait.
    """
    hold = Hold(thread, block)
    try:
        held = await wait(thread, hold.enter, lambda _: hold.leave_at_once())
    except asyncio.CancelledError:
        await wait_for(thread, hold.until_left)
        raise
    try:
        yield hold, held
    except GeneratorExit:
        # Its loop was closed, so nothing can be waited for.
        hold.leave_at_once()
        raise
    except BaseException:
        await wait(thread, partial(hold.leave, has_raised=True))
        raise
    await wait(thread, partial(hold.leave, has_raised=False))
