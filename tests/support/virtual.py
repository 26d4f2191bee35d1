"""Time that jumps: a module that imports ``virtual_time`` runs its trio tests on a mock clock.

The clock starts at 0 and moves only when every task is blocked, then directly to the next deadline.
So ``trio.current_time()`` is exact, and no test waits.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock


def run_virtually(function: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Any:
    """``trio.run`` on a mock clock."""
    options["clock"] = MockClock(autojump_threshold=0)
    return trio.run(function, *args, **options)


@pytest.fixture(autouse=True)
def virtual_time(request: pytest.FixtureRequest) -> None:
    if inspect.iscoroutinefunction(request.function):
        # The first mark names the runner; pytest-trio has added its own at the end.
        request.node.own_markers.insert(0, pytest.mark.trio(run=run_virtually).mark)
