"""To which trio run something belongs, and what may be done from elsewhere.

A link lives in the thread of its ``trio.run``. From another thread its properties, counts and
``statistics`` can be read, because they only read what is replaced as a whole; new settings are
handed over. Every other call from there, or from asyncio, raises ``WrongLoopError`` before it does
anything.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from threading import get_ident
from typing import Protocol

import trio
from trio.lowlevel import in_trio_task

from hsms_engine.errors import ClosedError, WrongLoopError
from hsms_engine.settings import Settings, SettingsChanges


class Loop:
    """The trio run, and the thread, in which this is made."""

    __slots__ = ("_name", "_thread", "_token")

    def __init__(self) -> None:
        self._thread = get_ident()
        self._name = threading.current_thread().name
        self._token = trio.lowlevel.current_trio_token()

    @property
    def is_here(self) -> bool:
        """Whether the calling thread is that of this loop."""
        return get_ident() == self._thread

    def check(self, what: object, call: str) -> None:
        """``call`` of ``what`` belongs to this thread. Raises ``WrongLoopError`` in another."""
        if get_ident() != self._thread:
            raise self._wrong(what, call)

    def check_task(self, what: object, call: str) -> None:
        """Like ``check``, for a call that waits: it also belongs into a task of trio."""
        if get_ident() != self._thread or not in_trio_task():
            raise self._wrong(what, call)

    def soon(self, call: Callable[[], None], *, once: bool = False) -> None:
        """Make ``call``, which must not raise, in this loop; never, when the loop is over.

        With ``once`` only once, when it is asked for again before that; others may come first.
        """
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(call, idempotent=once)

    def _wrong(self, what: object, call: str) -> WrongLoopError:
        return WrongLoopError(
            f"{what!r}: {call} was called {_caller()}, but it belongs to the trio loop of thread "
            f"{self._name!r}; nothing was done. Threads use hsms_engine.blocking, asyncio uses "
            "hsms_engine.aio; to call it in its own loop, use trio.from_thread"
        )


def expect_trio(door: str, *, has_others: bool = True) -> None:
    """``door`` is called. Raises ``WrongLoopError`` where trio does not run.

    ``has_others``: there is one of this name for asyncio, and one for threads.
    """
    if not in_trio_task():
        others = (
            f"asyncio uses hsms_engine.aio.{door}, threads and scripts use "
            f"hsms_engine.blocking.{door}; a"
            if has_others
            else "It is for trio only: a"
        )
        raise WrongLoopError(
            f"{door} was called {_caller()}, but it needs a task of trio; nothing was opened. "
            f"{others} trio program begins with trio.run(main)"
        )


def _caller() -> str:
    """Where the calling code runs, in words."""
    thread = f"thread {threading.current_thread().name!r}"
    if in_trio_task():
        return f"in the trio loop of {thread}"
    # Only who is told of an error pays for this import.
    from asyncio import get_running_loop

    try:
        get_running_loop()
    except RuntimeError:
        return f"outside of trio in {thread}"
    return f"under asyncio in {thread}"


class HasSettings(Protocol):
    """What settings are in force for."""

    @property
    def settings(self) -> Settings: ...


class Configuration:
    """Settings that may be changed from any thread: validated where they are given, used in the
    loop.

    ``owner`` has those in force. ``check`` raises when they cannot be used, in any thread; ``use``
    uses them. It must not raise.
    """

    __slots__ = ("_check", "_lock", "_loop", "_owner", "_use", "_wanted")

    def __init__(
        self,
        loop: Loop,
        owner: HasSettings,
        check: Callable[[Settings], None],
        use: Callable[[Settings], None],
    ) -> None:
        self._loop = loop
        self._owner = owner
        self._check = check
        self._use = use
        self._lock = threading.Lock()
        # What is handed over and not yet in force, so that a second change does not undo a first.
        self._wanted: Settings | None = None

    def change(self, settings: Settings | None, changes: SettingsChanges) -> bool:
        """Use ``settings``, or those in force, with ``changes``: at once, or soon in the loop.

        Returns whether they are in force. Raises ``SettingsError``, or what ``check`` raises.
        """
        is_here = self._loop.is_here
        with self._lock:
            base = settings or self._wanted or self._owner.settings
            wanted = base.replace(**changes)
            self._check(wanted)
            self._wanted = None if is_here else wanted
        if is_here:
            self._use(wanted)
        else:
            self._loop.soon(self._use_wanted)
        return is_here

    def _use_wanted(self) -> None:
        with self._lock:
            wanted, self._wanted = self._wanted, None
        if wanted is not None:
            with contextlib.suppress(ClosedError):
                self._check(wanted)
                self._use(wanted)
