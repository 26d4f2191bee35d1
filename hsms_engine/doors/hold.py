"""An ``async with`` block of the trio API, held open by a task of the trio thread for another."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Generic, TypeVar

import trio

from hsms_engine.doors.call import Call
from hsms_engine.doors.thread import ENDS_THE_TASK, TrioThread

T = TypeVar("T")


class _BlockRaisedError(Exception):
    """The block of the caller has raised: the exit must add no error of its own."""


class Hold(Generic[T]):
    """Enters a block for one call and leaves it for another. It is used once."""

    def __init__(
        self, thread: TrioThread, block: Callable[[], AbstractAsyncContextManager[T]]
    ) -> None:
        self._thread = thread
        self._block = block
        self._scope = trio.CancelScope()
        self._left = trio.Event()
        self._over = trio.Event()
        self._has_begun = False
        self._has_raised = False
        self._error: BaseException | None = None

    # In the thread of the caller

    def enter(self, call: Call[T]) -> None:
        """Enter the block; its value is the result. When abandoned, it is left at once.

        Raises like ``TrioThread.submit``.
        """

        def begin(call: Call[T]) -> None:
            call.begin(self._scope.cancel)
            self._has_begun = True
            self._thread.start(self._run, call)

        self._thread.submit(call, begin)

    def leave_at_once(self) -> None:
        """Leave the block without waiting for a peer, or for this."""
        self._thread.soon(self._scope.cancel)

    def leave(self, call: Call[None], *, has_raised: bool) -> None:
        """Leave the block, which has raised or not. When abandoned, it is left at once.

        The error is what the exit of the block raises. Raises like ``TrioThread.submit``.
        """
        call.begin(self._scope.cancel)
        self._thread.run(call, partial(self._leave, has_raised=has_raised))

    # In the trio thread

    async def until_over(self) -> None:
        """Wait until the block is left, also by itself. Raises what has ended it.

        Not when the block of the caller has raised: its exception is the one that comes out.
        """
        await self._over.wait()
        if self._error is not None and not self._has_raised:
            raise self._error

    async def until_left(self) -> None:
        """Wait until nothing of it is open. ``enter`` may have been abandoned before it began."""
        if self._has_begun:
            await self._over.wait()

    async def _leave(self, *, has_raised: bool) -> None:
        self._has_raised = has_raised
        self._left.set()
        try:
            await self.until_over()
        except trio.Cancelled:
            self._scope.cancel()
            raise

    async def _stay(self) -> None:
        """Wait until the caller leaves the block. Raises in it what the caller's block has."""
        await self._left.wait()
        if self._has_raised:
            raise _BlockRaisedError

    async def _run(self, entered: Call[T]) -> None:
        try:
            with self._scope:
                async with self._block() as value:
                    entered.succeed(value)
                    await self._stay()
        except _BlockRaisedError:
            pass
        except ENDS_THE_TASK:
            raise
        except BaseException as error:  # noqa: BLE001  # it is for the caller
            self._error = error
            entered.fail(error)
        finally:
            self._over.set()
