"""A function of the program in a thread of its own, while a task of the trio thread waits for it.

When that task is cancelled, because its server or its session is over, a thread cannot be stopped.
But its calls of this door end, and further ones raise; so it ends as soon as it makes one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import trio

from hsms_engine.doors.call import Call
from hsms_engine.doors.thread import TrioThread
from hsms_engine.errors import ConnectionLostError, HsmsError
from hsms_engine.logs import name_of
from hsms_engine.messaging import Messaging

# The worker in whose thread this is.
WORKER: ContextVar[Worker | None] = ContextVar("hsms_engine.worker", default=None)


class Worker:
    """Runs ``function``, a ``contained`` one, once, for what is ``held``."""

    def __init__(self, thread: TrioThread, function: Callable[[], object], held: Messaging) -> None:
        self._thread = thread
        self._function = function
        self._peer = held.peer
        self._teller = held._teller
        # The calls for which its thread waits.
        self._calls: set[Call[Any]] = set()
        self._is_over = False

    async def run(self, limiter: trio.CapacityLimiter) -> None:
        """Run it in a thread, and wait. Raises what it raises."""
        try:
            await trio.to_thread.run_sync(
                self._run,
                thread_name=f"{name_of(self._function)} of {self._peer}",
                limiter=limiter,
                abandon_on_cancel=True,
            )
        finally:
            self._is_over = True
            for call in list(self._calls):
                self._end(call)

    # In its thread

    def _run(self) -> None:
        WORKER.set(self)
        try:
            self._function()
        except BaseException as error:
            if not self._is_over:
                raise
            # When nobody waits for it any more, every call of it raises an ``HsmsError``.
            if not isinstance(error, HsmsError):
                text = "a function failed that runs on after its session or server:"
                self._teller.say(logging.ERROR, text, error=error)

    def enter(self, call: Call[Any]) -> None:
        """Its thread is about to make ``call``. Raises when nobody waits for it any more.

        From now on the call ends, also if it has not begun, when that happens.
        """
        self._calls.add(call)
        if self._is_over:
            raise self._over()

    def leave(self, call: Call[Any]) -> None:
        """Its thread does not wait for ``call`` any more."""
        self._calls.discard(call)

    # In either thread

    def _end(self, call: Call[Any]) -> None:
        call.end(self._over())
        self._thread.soon(call.stop)

    def _over(self) -> ConnectionLostError:
        reason = "its session or its server is over, so this thread can make no call any more"
        return ConnectionLostError(f"{self._peer}: {reason}", reason)
