"""The trio API in asyncio, under trio's guest mode: what the asyncio door might have been."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio

from benchmarks.side_by_side import in_asyncio
from benchmarks.side_by_side.meter import Meter
from benchmarks.side_by_side.subjects.engine import HOST, Engine, primary_of
from benchmarks.side_by_side.subjects.program import main
from benchmarks.side_by_side.work import CannotError, Trips, Work
from hsms_engine import Message, open_hsms

Request = Callable[[Message], Awaitable[object]]


@asynccontextmanager
async def opened(port: int) -> AsyncIterator[Request]:
    loop = asyncio.get_running_loop()
    is_open, is_over = loop.create_future(), loop.create_future()
    to_close = trio.Event()

    async def hold() -> None:
        async with trio.open_nursery() as nursery, open_hsms(HOST, port) as connection:
            is_open.set_result((nursery, connection))
            await to_close.wait()

    trio.lowlevel.start_guest_run(
        hold,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        done_callback=lambda _: is_over.set_result(None),
        host_uses_signal_set_wakeup_fd=True,
    )
    nursery, connection = await is_open

    async def request(message: Message) -> object:
        reply, scope = loop.create_future(), trio.CancelScope()

        async def ask() -> None:
            with scope:
                reply.set_result(await connection.request(message))

        nursery.start_soon(ask)
        try:
            return await reply
        except asyncio.CancelledError:
            scope.cancel()
            raise

    yield request
    to_close.set()
    await is_over


async def make_trips(port: int, work: Trips, meter: Meter) -> dict[str, float]:
    async with opened(port) as request:
        return await in_asyncio.trips(work, meter, partial(request, primary_of(work)))


class Guest(Engine):
    def ask(self, port: int, work: Work, meter: Meter) -> dict[str, float]:
        match work:
            case Trips(tls="", beside_slow=False):
                return asyncio.run(make_trips(port, work, meter))
            case _:
                raise CannotError("only round trips are compared with the asyncio door")


if __name__ == "__main__":
    main(Guest())
