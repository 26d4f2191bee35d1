"""Round trips of a subject of asyncio: a task for each that is in flight."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from benchmarks.side_by_side.meter import Meter
from benchmarks.side_by_side.work import Trips, shares, warm_up


async def trips(
    work: Trips,
    meter: Meter,
    trip: Callable[[], Awaitable[object]],
    slow: Callable[[], Awaitable[object]] | None = None,
) -> dict[str, float]:
    taken: list[float] = []

    async def several(count: int) -> None:
        for _ in range(count):
            began = time.perf_counter()
            await trip()
            taken.append(time.perf_counter() - began)

    async def slowly() -> None:
        while slow is not None:
            await slow()

    async def together(count: int) -> None:
        await asyncio.gather(*map(several, shares(count, work.in_flight)))

    await together(warm_up(work))
    taken.clear()
    beside = asyncio.create_task(slowly()) if work.beside_slow else None
    meter.begin()
    await together(work.count)
    figures = meter.end(work.count, taken)
    if beside is not None:
        beside.cancel()
        await asyncio.wait([beside])
    return figures
