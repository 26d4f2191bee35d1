"""Calls from another thread, whose outcome comes back as a value."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import trio

WORKER = "worker"


async def from_thread(call: Callable[[], object]) -> object:
    """What ``call`` returns, or the ``Exception`` that it raises, in a thread named ``WORKER``."""

    def named() -> object:
        thread = threading.current_thread()
        before, thread.name = thread.name, WORKER
        try:
            return call()
        except Exception as error:  # noqa: BLE001  # it is the outcome, whatever it is
            return error
        finally:
            thread.name = before

    return await trio.to_thread.run_sync(named)


def under_asyncio(make: Callable[[], Coroutine[Any, Any, object]]) -> object:
    """Run what ``make`` makes in an asyncio loop of its own."""

    async def main() -> object:
        return await make()

    return asyncio.run(main())


def under_trio(make: Callable[[], Coroutine[Any, Any, object]]) -> object:
    """Run what ``make`` makes in a trio loop of its own."""
    return trio.run(make)


def without_loop(make: Callable[[], Coroutine[Any, Any, object]]) -> object:
    """Begin what ``make`` makes, with no loop at all."""
    made = make()
    try:
        return made.send(None)
    finally:
        made.close()
