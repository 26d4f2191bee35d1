"""A nursery that raises the user's own exception as it is, not in a group.

The background tasks of this package do not raise, so a single exception in the group comes from the
``async with`` body. Several exceptions stay a group.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


def is_cancellation(error: BaseException) -> bool:
    """Whether an exception is trio's ``Cancelled``, or a group of nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_cancellation(each) for each in error.exceptions)
    return isinstance(error, trio.Cancelled)


@asynccontextmanager
async def open_bare_nursery() -> AsyncIterator[trio.Nursery]:
    """Like ``trio.open_nursery``, but a single exception is raised without a group."""
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        # A cancellation beside an error is dropped: the nursery is over, so it has done its work.
        # Each exception itself, which may be a group of the user's own, is not changed.
        errors = [each for each in group.exceptions if not is_cancellation(each)]
        if len(errors) != 1:
            raise
        bare = errors[0]
    else:
        return
    # Outside the except block, so that the group does not become the context of the user's error.
    raise bare
