"""A nursery out of which the user's own exception comes as it was raised, not in a group.

What this package runs in the background does not raise, so the one exception in the group is the
one of the ``async with`` body. Several exceptions stay a group.
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
    """Like ``trio.open_nursery``, but a single exception leaves it bare."""
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        # Cancellation that came along with an error has done its work when the nursery is over.
        # What is inside each exception, a group of the user's own perhaps, is left alone.
        errors = [each for each in group.exceptions if not is_cancellation(each)]
        if len(errors) != 1:
            raise
        bare = errors[0]
    else:
        return
    # Outside the except block, so that the group does not become the context of the user's error.
    raise bare
