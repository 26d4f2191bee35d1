"""The one trio thread of a process, behind all objects of both doors.

It begins with the first call and ends with the program: it is told when the main thread has ended,
so that neither it nor a thread that waits for a call keeps a program alive that forgot to close.
What is open then is separated, if that is possible at once.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import trio

from hsms_engine.doors.call import Call
from hsms_engine.errors import ClosedError, WrongLoopError

T = TypeVar("T")

# What trio raises in a task to end it. All else is of the program, and ends nothing here.
ENDS_THE_TASK = (trio.Cancelled, GeneratorExit)

# Seconds that the end of a program waits until what is open has said goodbye.
_FAREWELL = 2.0


class TrioThread:
    """A trio run in a thread of its own. Its methods are for other threads, unless they say so."""

    def __init__(self, name: str = "hsms_engine") -> None:
        self._process = os.getpid()
        # Those without an outcome.
        self._undecided: set[Call[Any]] = set()
        self._token: trio.lowlevel.TrioToken | None = None
        self._is_over = False
        # Why it has ended before the program did, if so.
        self.failure: BaseException | None = None
        has_begun = threading.Event()
        self._thread = threading.Thread(target=self._run, args=[has_begun], name=name, daemon=True)
        self._thread.start()
        has_begun.wait()

    @property
    def is_here(self) -> bool:
        """Whether the calling thread is this one."""
        return threading.get_ident() == self._thread.ident

    @property
    def is_of_parent(self) -> bool:
        """Whether this process was forked from the one that has it."""
        return os.getpid() != self._process

    @property
    def is_over(self) -> bool:
        """Whether it takes no calls any more."""
        return self._is_over

    def submit(self, call: Call[T], begin: Callable[[Call[T]], None]) -> None:
        """Let ``begin(call)`` run in the trio thread, between its tasks; what it raises fails it.

        Raises ``WrongLoopError`` in the trio thread itself, which would wait for itself, and in a
        process that was forked from the one that has it. When the thread takes no calls any more,
        the call fails with ``ClosedError``.
        """
        if self.is_here:
            raise WrongLoopError(
                f"this is the thread {self._thread.name!r}, which has called a function of the "
                "program: a call from here would wait for itself; make it in a thread of your own"
            )
        if self.is_of_parent:
            raise WrongLoopError(
                f"this was opened in process {self._process}, and this is process {os.getpid()}, "
                "which was forked from it: open another one here"
            )
        call.undecided = self._undecided
        self._undecided.add(call)
        if not self._soon(partial(self._begin, call, begin)):
            call.fail(self._ending())

    def run(self, call: Call[T], function: Callable[[], Awaitable[T]]) -> None:
        """Let ``function`` run as a task of the trio thread. Raises like ``submit``."""
        self.submit(call, partial(self.spawn, function))

    def run_sync(self, call: Call[T], function: Callable[[], T]) -> None:
        """Let ``function`` run in the trio thread, between its tasks. Raises like ``submit``."""
        self.submit(call, lambda call: call.finish(function))

    def soon(self, function: Callable[[], None]) -> None:
        """Let ``function`` run in the trio thread. Neither waits nor raises."""
        # In a forked process there is nothing to end or to keep, and neither when all is over.
        if not self.is_of_parent:
            self._soon(function)

    def end_soon(self) -> None:
        """``end`` without waiting."""
        self.soon(self._end)

    def end(self, patience: float = _FAREWELL) -> bool:
        """Close all that is open, without waiting for peers, and end the thread.

        Returns whether it has ended within ``patience`` seconds.
        """
        self.soon(self._end)
        self._thread.join(patience)
        return not self._thread.is_alive()

    # In the trio thread

    def start(self, function: Callable[..., Awaitable[None]], *args: object) -> None:
        """Run a task that raises nothing. To be called in the trio thread."""
        self._nursery.start_soon(function, *args)

    async def start_server(self, serve: Callable[..., Awaitable[None]]) -> Any:
        """Run a task as ``trio.Nursery.start`` does. To be called in the trio thread."""
        return await self._nursery.start(serve)

    def spawn(self, function: Callable[[], Awaitable[T]], call: Call[T]) -> None:
        """Run ``function`` as a task for ``call``. To be called in the trio thread."""
        scope = trio.CancelScope()
        call.begin(scope.cancel)
        self._nursery.start_soon(self._serve, function, call, scope)

    def _run(self, has_begun: threading.Event) -> None:
        try:
            trio.run(self._main, has_begun)
        except BaseException as error:
            self.failure = error
            raise
        finally:
            self._is_over = True
            has_begun.set()
            for call in list(self._undecided):
                call.fail(self._ending())

    async def _main(self, has_begun: threading.Event) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as self._nursery:
            has_begun.set()
            await trio.sleep_forever()

    def _end(self) -> None:
        self._is_over = True
        self._nursery.cancel_scope.cancel()

    def _begin(self, call: Call[T], begin: Callable[[Call[T]], None]) -> None:
        if call.is_abandoned:
            return
        if self._is_over:
            call.fail(self._ending())
            return
        try:
            begin(call)
        except BaseException as error:  # noqa: BLE001  # it is for the caller
            call.fail(error)

    async def _serve(
        self, function: Callable[[], Awaitable[T]], call: Call[T], scope: trio.CancelScope
    ) -> None:
        try:
            with scope:
                call.succeed(await function())
        except ENDS_THE_TASK:
            raise
        except BaseException as error:  # noqa: BLE001  # it is for the caller
            call.fail(error)

    # In either

    def _soon(self, function: Callable[[], None]) -> bool:
        """Let ``function`` run in the trio thread; false when it takes nothing any more."""
        if self._token is None:
            return False
        try:
            self._token.run_sync_soon(function)
        except trio.RunFinishedError:
            return False
        return True

    def _ending(self) -> ClosedError:
        """What a call gets that is too late."""
        if self.failure is None:
            return ClosedError(
                f"the thread {self._thread.name!r} has ended, because the main thread of the "
                "program, or its block, has: all in it is closed"
            )
        error = ClosedError(
            f"the thread {self._thread.name!r} has failed, and all that was open in it is over: "
            "open another"
        )
        error.__cause__ = self.failure
        return error


_made: TrioThread | None = None
_making = threading.Lock()


def trio_thread() -> TrioThread:
    """The one of this process: the first call begins it, and one that has failed is replaced."""
    global _made  # noqa: PLW0603  # one for a process
    with _making:
        if _made is None or _made.failure is not None:
            _made = TrioThread()
            atexit.register(_made.end)
            _end_with_main(_made)
        return _made


def _end_with_main(thread: TrioThread) -> None:
    """End it before Python waits for other threads, also of executors, that wait in our calls."""
    import concurrent.futures.thread  # noqa: F401  # registers its own, and the latest is first

    # There is no public way. It raises when the program ends already.
    with suppress(AttributeError, RuntimeError):
        threading._register_atexit(thread.end_soon)  # type: ignore[attr-defined]


def _forget_parent() -> None:
    """A forked process has no thread of its parent, and perhaps a lock that nobody gives back."""
    global _made, _making  # one for a process
    if _made is not None:
        atexit.unregister(_made.end)
    _made, _making = None, threading.Lock()


if sys.platform == "win32":
    # There is no fork.
    pass
else:
    os.register_at_fork(after_in_child=_forget_parent)
