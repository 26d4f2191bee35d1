"""A ``with`` block that holds an ``async with`` block of the trio API open."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import Generic, NoReturn, TypeVar

from hsms_engine.blocking.wait import wait
from hsms_engine.doors.hold import Hold
from hsms_engine.doors.thread import TrioThread, trio_thread

H = TypeVar("H")
T = TypeVar("T")


class Block(Generic[H, T]):
    """Opens with ``with``, and closes at the end of the block. It is used once.

    ``timeout`` is for opening, in seconds. An exception of the block comes out as it is.
    """

    def __init__(
        self,
        what: str,
        block: Callable[[], AbstractAsyncContextManager[H]],
        make: Callable[[TrioThread, Hold[H], H], T],
        timeout: float | None,
    ) -> None:
        self._what = what
        self._thread = trio_thread()
        self._hold = Hold(self._thread, block)
        self._make = make
        self._timeout = timeout

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"{self._what} has not been entered, so it has no {name!r}: use `with "
            f"{self._what}(...) as ...`; without a block, contextlib.ExitStack enters and leaves it"
        )

    def __enter__(self) -> T:
        try:
            held = wait(
                self._thread,
                self._hold.enter,
                self._what,
                self._timeout,
                lambda _: self._hold.leave_at_once(),
            )
            return self._make(self._thread, self._hold, held)
        except BaseException:
            # Perhaps Ctrl-C after it was open.
            self._hold.leave_at_once()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._thread.is_of_parent:
            # A forked process leaves what belongs to its parent.
            return
        try:
            leave = partial(self._hold.leave, has_raised=error is not None)
            wait(self._thread, leave, self._what, None)
        except BaseException:
            self._hold.leave_at_once()
            raise
