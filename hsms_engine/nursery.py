"""A nursery out of which the user's own exception comes as it was raised, not in a group.

What this package runs in the background does not raise, so the one exception in the group is the
one of the ``async with`` body. Several exceptions stay a group.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for each in group.exceptions:
        found += _leaves(each) if isinstance(each, BaseExceptionGroup) else [each]
    return found


@asynccontextmanager
async def open_bare_nursery() -> AsyncIterator[trio.Nursery]:
    """Like ``trio.open_nursery``, but a single exception leaves it bare."""
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        # Cancellation that came along with an error has done its work when the nursery is over.
        _, others = group.split(trio.Cancelled)
        leaves = _leaves(others or group)
        if len(leaves) == 1:
            raise leaves[0] from leaves[0].__cause__
        raise
