"""``serve_health`` for asyncio: tells whether links are ready, while a block runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial

from hsms_engine.aio.block import held_open
from hsms_engine.aio.wait import thread_for_loop
from hsms_engine.doors.serving import telling_health
from hsms_engine.health.place import Where
from hsms_engine.health.serve import HealthServer, Healthy


@asynccontextmanager
async def serve_health(links: Collection[Healthy], where: Where) -> AsyncIterator[HealthServer]:
    """Tell the health of links and servers: ``async with serve_health([link], 9000) as told``.

    The arguments and errors are those of ``hsms_engine.serve_health``. It answers also while the
    event loop is blocked.
    """
    block = partial(telling_health, links, where)
    async with held_open(thread_for_loop(), block) as (_, told):
        yield told
