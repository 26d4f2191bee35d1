"""For tests of the doors: tasks that have got as far as they can, and a check after each test."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from tests.support.blocking_peer import trio_rests


@pytest.fixture(autouse=True)
def trio_at_rest(leak_check: None) -> Iterator[None]:  # noqa: ARG001
    """What a test has opened is over in the trio thread too, before it is looked for."""
    yield
    trio_rests()


async def begun(call: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task whose call has got as far as it can."""
    task = asyncio.create_task(call)
    await asyncio.sleep(0)
    trio_rests()
    return task
