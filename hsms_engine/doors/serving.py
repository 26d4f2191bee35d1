"""``serve_hsms``, ``serve_health`` and ``serve_monitor`` as blocks, entered when they listen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from hsms_engine.health.place import Where
from hsms_engine.health.serve import HealthServer, Healthy, serve_health
from hsms_engine.server import HsmsServer
from statecharts.nursery import open_bare_nursery

if TYPE_CHECKING:
    from trio import TaskStatus

    from hsms_engine.driver.tls_files import Tls
    from hsms_engine.monitor import MonitorServer, Watched
    from hsms_engine.recorder import Mask


@asynccontextmanager
async def serving(serve: Callable[..., Awaitable[None]]) -> AsyncIterator[HsmsServer]:
    """Run ``serve``, a ``serve_hsms`` with all its arguments. The exit closes politely.

    It is over when the server is closed or has failed.
    """

    async def run(task_status: TaskStatus[HsmsServer]) -> None:
        await serve(task_status=task_status)
        nursery.cancel_scope.cancel()

    async with open_bare_nursery() as nursery:
        server: HsmsServer = await nursery.start(run)
        try:
            yield server
        finally:
            await server.aclose()


@asynccontextmanager
async def telling_health(links: Collection[Healthy], where: Where) -> AsyncIterator[HealthServer]:
    """Run ``serve_health`` until the exit."""
    async with open_bare_nursery() as nursery:
        server: HealthServer = await nursery.start(partial(serve_health, links, where))
        yield server
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def showing_monitor(
    watched: Sequence[Watched], host: str, port: int, tls: Tls | None, mask: Mask | None
) -> AsyncIterator[MonitorServer]:
    """Run ``serve_monitor`` until the exit."""
    # It needs an extra, which not everybody has.
    from hsms_engine.monitor import serve_monitor

    async with open_bare_nursery() as nursery:
        serve = partial(serve_monitor, watched, host, port, tls=tls, mask=mask)
        server: MonitorServer = await nursery.start(serve)
        yield server
        nursery.cancel_scope.cancel()
