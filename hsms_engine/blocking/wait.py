"""Waits in a thread for a call into the trio thread; Ctrl-C and a timeout abandon that call."""

from __future__ import annotations

import math
import threading
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

from hsms_engine.blocking.worker import WORKER
from hsms_engine.doors.call import Call, forget
from hsms_engine.doors.thread import TrioThread

T = TypeVar("T")

# A wait for a lock hears Ctrl-C only when it ends: always on Windows, and elsewhere when the signal
# comes just before the wait begins. So it is cut into pieces of so many seconds.
_PIECE = 0.1


def wait(
    thread: TrioThread,
    begin: Callable[[Call[T]], None],
    what: str,
    timeout: float | None,
    late: Callable[[T], None] = forget,
) -> T:
    """Begin a call and wait for its result. Raises the error of the call.

    Raises ``TimeoutError`` after ``timeout`` seconds; ``what`` names the call there, with its peer.
    ``late`` gets, in the trio thread, a value for which nobody waits any more.
    """
    # Not every caller uses a type checker.
    given: object = timeout
    if given is not None and not (isinstance(given, int | float) and given >= 0):
        raise ValueError(f"timeout={timeout!r} is not a number of seconds from 0 on")
    there = threading.Lock()
    there.acquire()
    call = Call(there.release, late)
    worker = WORKER.get()
    try:
        if worker is not None:
            worker.enter(call)
        begin(call)
        # What comes in the moment of the timeout is in time.
        if _acquire(there, timeout) or (not call.abandon() and _acquire(there, None)):
            return call.result()
    except BaseException:
        # Ctrl-C, or it could not begin, or it has failed.
        thread.soon(call.stop if call.abandon() else call.give_back)
        raise
    finally:
        if worker is not None:
            worker.leave(call)
    thread.soon(call.stop)
    raise TimeoutError(f"{what}: not done within timeout={timeout:g} s")


def wait_for(
    thread: TrioThread,
    function: Callable[[], Awaitable[T]],
    what: str,
    timeout: float | None,
    late: Callable[[T], None] = forget,
) -> T:
    """``wait`` for a task of the trio thread."""

    def begin(call: Call[T]) -> None:
        thread.run(call, function)

    return wait(thread, begin, what, timeout, late)


def now(thread: TrioThread, function: Callable[[], T]) -> T:
    """What ``function`` returns or raises in the trio thread, between its tasks."""

    def begin(call: Call[T]) -> None:
        thread.run_sync(call, function)

    return wait(thread, begin, "", None)


def _acquire(lock: threading.Lock, timeout: float | None) -> bool:
    """Wait for the lock, for so many seconds or for ever. Returns whether it was acquired."""
    end = math.inf if timeout is None else monotonic() + timeout
    while (left := end - monotonic()) > _PIECE:
        if lock.acquire(timeout=_PIECE):
            return True
    return lock.acquire(timeout=max(left, 0.0))
