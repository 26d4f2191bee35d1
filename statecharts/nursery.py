"""A nursery that raises the user's own exception as it is, not in a group.

Most background tasks do not raise, so a single exception in the group comes from the ``async with``
body, or is the user's own that a task has met. Several exceptions stay a group.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import TracebackType

import trio


def is_cancellation(error: BaseException) -> bool:
    """Whether an exception is trio's ``Cancelled``, or a group of nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_cancellation(each) for each in error.exceptions)
    return isinstance(error, trio.Cancelled)


class open_bare_nursery:  # noqa: N801  # it is used like a function
    """Like ``trio.open_nursery``, but a single exception is raised without a group.

    A class, because each connection has three for as long as it lives, and a generator, with what
    ``contextlib`` and trio keep of it, is 0.8 kB.
    """

    __slots__ = ("_nursery",)

    _nursery: AbstractAsyncContextManager[trio.Nursery]

    async def __aenter__(self) -> trio.Nursery:
        self._nursery = trio.open_nursery()
        return await self._nursery.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        try:
            return await self._nursery.__aexit__(kind, error, traceback)
        except BaseExceptionGroup as group:
            # A cancellation beside an error is dropped: the nursery is over, so it has done its
            # work. Each exception itself, which may be a group of the user's own, is not changed.
            errors = [each for each in group.exceptions if not is_cancellation(each)]
            if len(errors) != 1:
                raise
            bare = errors[0]
        # Outside the except block, so that the group does not become the context of the error.
        if bare is error:
            # The block's own goes on as it is.
            return False
        raise bare
