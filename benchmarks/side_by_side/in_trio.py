"""Round trips of a subject of trio: a task for each that is in flight."""

from __future__ import annotations

import time
from collections.abc import Sequence

import trio

from benchmarks.side_by_side.awaited import Trip, several, without_end
from benchmarks.side_by_side.meter import Meter, cpu_of, memory_of
from benchmarks.side_by_side.work import Links, Trips, shares, warm_up


async def trips(
    work: Trips, meter: Meter, ways: Sequence[Trip], slow: Trip | None = None
) -> dict[str, float]:
    """The tasks take the ``ways``, one for each connection, in turn."""
    taken: list[float] = []

    async def together(count: int) -> None:
        async with trio.open_nursery() as nursery:
            for number, each in enumerate(shares(count, work.in_flight)):
                nursery.start_soon(several, ways[number % len(ways)], each, taken)

    await together(warm_up(work))
    taken.clear()
    async with trio.open_nursery() as beside:
        if work.beside_slow and slow is not None:
            beside.start_soon(without_end, slow)
        meter.begin()
        await together(work.count)
        figures = meter.end(work.count, taken)
        beside.cancel_scope.cancel()
    return figures


async def memory(work: Links, meter: Meter) -> dict[str, float]:
    """Bytes for each link, at the end that dials and at the one that listens."""
    # What was needed only to connect is freed meanwhile.
    await trio.sleep(1)
    dialling, listening = meter.memory
    return {
        "dialling": (memory_of(meter.own) - dialling) / work.count,
        "listening": (memory_of(meter.peer) - listening) / work.count,
    }


async def idle(work: Links, meter: Meter) -> dict[str, float]:
    """The memory, and the share of one core that each end takes while nobody asks."""
    figures = await memory(work, meter)
    if work.idle:
        began, own, peer = time.perf_counter(), time.process_time(), cpu_of(meter.peer)
        await trio.sleep(work.idle)
        taken = time.perf_counter() - began
        figures["idle_dialling"] = (time.process_time() - own) / taken
        figures["idle_listening"] = (cpu_of(meter.peer) - peer) / taken
    return figures


async def busy(work: Links, meter: Meter, ways: Sequence[Trip]) -> dict[str, float]:
    """Round trips a second over all links, one in flight on each."""
    found = await trips(Trips(work.trips, in_flight=work.count), meter, ways)
    return {"rate_all": found["rate"]}
