"""Round trips of a subject of asyncio: a task for each that is in flight."""

from __future__ import annotations

import asyncio

from benchmarks.side_by_side.awaited import Trip, several, without_end
from benchmarks.side_by_side.meter import Meter
from benchmarks.side_by_side.work import Trips, shares, warm_up


async def trips(
    work: Trips,
    meter: Meter,
    trip: Trip,
    slow: Trip | None = None,
) -> dict[str, float]:
    taken: list[float] = []

    async def together(count: int) -> None:
        await asyncio.gather(
            *(several(trip, each, taken) for each in shares(count, work.in_flight))
        )

    await together(warm_up(work))
    taken.clear()
    beside = None
    if work.beside_slow and slow is not None:
        beside = asyncio.create_task(without_end(slow))
    meter.begin()
    await together(work.count)
    figures = meter.end(work.count, taken)
    if beside is not None:
        beside.cancel()
        await asyncio.wait([beside])
    return figures
