"""``serve_hsms`` as a block: entered when it listens, over when it is closed or has failed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from hsms_engine.nursery import open_bare_nursery
from hsms_engine.server import HsmsServer

if TYPE_CHECKING:
    from trio import TaskStatus


@asynccontextmanager
async def serving(serve: Callable[..., Awaitable[None]]) -> AsyncIterator[HsmsServer]:
    """Run ``serve``, a ``serve_hsms`` with all its arguments. The exit closes politely."""

    async def run(task_status: TaskStatus[HsmsServer]) -> None:
        await serve(task_status=task_status)
        nursery.cancel_scope.cancel()

    async with open_bare_nursery() as nursery:
        server: HsmsServer = await nursery.start(run)
        try:
            yield server
        finally:
            await server.aclose()
