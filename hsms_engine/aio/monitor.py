"""``serve_monitor`` for asyncio: shows links on a page, while a block runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from hsms_engine.aio.block import held_open
from hsms_engine.aio.wait import thread_for_loop
from hsms_engine.doors.serving import showing_monitor

if TYPE_CHECKING:
    from hsms_engine.driver.tls_files import Tls
    from hsms_engine.monitor import MonitorServer, Watched
    from hsms_engine.recorder import Mask


@asynccontextmanager
async def serve_monitor(
    watched: Sequence[Watched],
    host: str = "127.0.0.1",
    port: int = 8037,
    *,
    tls: Tls | None = None,
    mask: Mask | None = None,
) -> AsyncIterator[MonitorServer]:
    """Show links, servers and recordings on a page: ``async with serve_monitor([link]) as shown``.

    Open ``shown.link`` in a browser. The arguments and errors are those of
    ``hsms_engine.monitor.serve_monitor``. It needs the extra ``monitor``.
    """
    block = partial(showing_monitor, watched, host, port, tls, mask)
    async with held_open(thread_for_loop(), block) as (_, shown):
        yield shown
