"""This engine, through its asyncio door: a task for each request in flight."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from benchmarks.side_by_side import in_asyncio
from benchmarks.side_by_side.meter import Meter
from benchmarks.side_by_side.subjects.engine import (
    HOST,
    SLOW_PRIMARY,
    Engine,
    primary_of,
    tls_of,
)
from benchmarks.side_by_side.subjects.program import main
from benchmarks.side_by_side.work import CannotError, Connects, Events, Start, Trips, Work
from hsms_engine import Message, aio


async def ask(port: int, work: Work, meter: Meter) -> dict[str, float]:
    match work:
        case Trips(tls=folder):
            async with aio.open_hsms(HOST, port, tls=tls_of(folder, "dialling")) as connection:
                request = connection.request
                primary = partial(request, primary_of(work))
                return await in_asyncio.trips(work, meter, primary, partial(request, SLOW_PRIMARY))
        case Events(count):
            return await _send_events(port, count, meter)
        case Start(began):
            async with aio.open_hsms(HOST, port):
                return {"start": time.monotonic() - began}
        case Connects(count, folder):
            tls = tls_of(folder, "dialling")
            meter.begin()
            for _ in range(count):
                async with aio.open_hsms(HOST, port, tls=tls):
                    pass
            return meter.end(count)
        case _:
            raise CannotError("the same links and charts as through the trio API")


async def _send_events(port: int, count: int, meter: Meter) -> dict[str, float]:
    from benchmarks.events import our_event

    async with aio.open_hsms(HOST, port) as connection:
        await connection.request(Message(1, 1, wait=True))
        meter.begin()
        for _ in range(count):
            await connection.send(Message(6, 11, item=our_event()))
        await connection.request(Message(1, 1, wait=True))
        return meter.end(count)


class AsyncioDoor(Engine):
    def ask(self, port: int, work: Work, meter: Meter) -> dict[str, float]:
        return asyncio.run(ask(port, work, meter))


if __name__ == "__main__":
    main(AsyncioDoor())
