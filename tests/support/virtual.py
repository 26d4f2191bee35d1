"""Time that jumps: a module that imports ``virtual_time`` runs its trio tests on a mock clock.

The clock starts at 0 and moves only when every task is blocked, then directly to the next deadline.
So ``trio.current_time()`` is exact, and no test waits.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from hsms_engine.virtual import Kernel, Network, Socket


def run_virtually(function: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Any:
    """``trio.run`` on a mock clock."""
    options["clock"] = MockClock(autojump_threshold=0)
    return trio.run(function, *args, **options)


@pytest.fixture(autouse=True)
def virtual_time(request: pytest.FixtureRequest) -> None:
    if inspect.iscoroutinefunction(request.function):
        # The first mark names the runner; pytest-trio has added its own at the end.
        request.node.own_markers.insert(0, pytest.mark.trio(run=run_virtually).mark)


async def tcp_pair(room: float = 1_000_000, *, in_bytes: bool = False) -> tuple[Socket, Socket]:
    """Both ends of a connection in memory, until the run is over; the first one has dialled.

    ``room``: bytes that each send buffer and each receive buffer takes. ``in_bytes``: each byte
    comes alone.
    """
    segment = 1 if in_bytes else math.inf
    network = Network(Random(1), Kernel(room, room, segment))
    trio.lowlevel.spawn_system_task(network.run)
    here, there = map(network.machine, ("here", "there"))
    if in_bytes:
        for way in (network.way("here", "there"), network.way("there", "here")):
            way.rate = 10_000
    post = there.listen()
    ours = await here.dial(there)
    theirs, _ = await post.accept()
    return ours, theirs
