"""What the doors cost: ``python -m benchmarks.doors``.

The same calls through the trio API, the blocking door, the asyncio door, and the trio API in
asyncio under trio's guest mode, which the asyncio door might have been. The peer is a process of
its own, on loopback. The four take turns in short rounds, so that a busy machine is unfair to none;
"more" is the median of the differences within a round. It needs Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import statistics
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from operator import sub
from typing import TypeVar

import trio

import hsms_engine
from benchmarks.faults.server import running_server
from hsms_engine import HsmsConnection, Message, aio, blocking
from hsms_engine.messages import S1F1, S1F3

T = TypeVar("T")

WARM_UP = 50
IN_FLIGHT = 32
# Seconds until a request that is then cancelled has certainly been sent.
_UNDER_WAY = 0.002
ASKED, UNANSWERED = S1F1(), S1F3()


@dataclass(slots=True)
class Figures:
    """What was measured so far, in seconds, and in round trips a second.

    ``medians`` has the median round trip of each round.
    """

    trips: list[float] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    cancellations: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Counts:
    """How often each is done in one round."""

    trips: int
    in_flight: int
    cancellations: int


async def answer_s1f1(connection: HsmsConnection) -> None:
    """The peer: everything else gets no reply."""
    async for primary in connection:
        if primary.function == ASKED.function:
            await connection.reply(primary, Message(1, 2))


# The trio API


def measure_trio(port: int, counts: Counts, figures: Figures) -> None:
    trio.run(_measure_trio, port, counts, figures)


async def _measure_trio(port: int, counts: Counts, figures: Figures) -> None:
    async with hsms_engine.open_hsms("127.0.0.1", port) as connection:
        await _trips(partial(connection.request, ASKED), counts, figures)

        async def several() -> None:
            for _ in range(counts.in_flight // IN_FLIGHT):
                await connection.request(ASKED)

        began = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(IN_FLIGHT):
                nursery.start_soon(several)
        figures.rates.append(counts.in_flight / (time.perf_counter() - began))
        for _ in range(counts.cancellations):
            ended: list[float] = []
            async with trio.open_nursery() as nursery:

                async def cancelled(ended: list[float]) -> None:
                    try:
                        await connection.request(UNANSWERED)
                    finally:
                        ended.append(time.perf_counter())

                nursery.start_soon(cancelled, ended)
                await trio.sleep(_UNDER_WAY)
                began = time.perf_counter()
                nursery.cancel_scope.cancel()
            figures.cancellations.append(ended[0] - began)


async def _trips(
    request: Callable[[], Awaitable[object]], counts: Counts, figures: Figures
) -> None:
    for number in range(WARM_UP + counts.trips):
        began = time.perf_counter()
        await request()
        if number >= WARM_UP:
            figures.trips.append(time.perf_counter() - began)


# Threads


def measure_blocking(port: int, counts: Counts, figures: Figures) -> None:
    with blocking.open_hsms("127.0.0.1", port) as connection:
        for number in range(WARM_UP + counts.trips):
            began = time.perf_counter()
            connection.request(ASKED)
            if number >= WARM_UP:
                figures.trips.append(time.perf_counter() - began)

        def several() -> None:
            for _ in range(counts.in_flight // IN_FLIGHT):
                connection.request(ASKED)

        threads = [threading.Thread(target=several) for _ in range(IN_FLIGHT)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        figures.rates.append(counts.in_flight / (time.perf_counter() - began))
        for _ in range(counts.cancellations):
            at: list[float] = []
            begins = threading.Event()

            def interrupt(at: list[float], begins: threading.Event) -> None:
                begins.wait()
                time.sleep(_UNDER_WAY)
                at.append(time.perf_counter())
                os.kill(os.getpid(), signal.SIGINT)

            thread = threading.Thread(target=interrupt, args=(at, begins))
            thread.start()
            try:
                begins.set()
                connection.request(UNANSWERED)
            except KeyboardInterrupt:
                figures.cancellations.append(time.perf_counter() - at[0])
            thread.join()


# asyncio


def measure_aio(port: int, counts: Counts, figures: Figures) -> None:
    asyncio.run(_measure_aio(port, counts, figures))


async def _measure_aio(port: int, counts: Counts, figures: Figures) -> None:
    async with aio.open_hsms("127.0.0.1", port) as connection:
        await _measure_tasks(connection.request, counts, figures)


async def _measure_tasks(
    request: Callable[[Message], Awaitable[object]], counts: Counts, figures: Figures
) -> None:
    await _trips(lambda: request(ASKED), counts, figures)

    async def several() -> None:
        for _ in range(counts.in_flight // IN_FLIGHT):
            await request(ASKED)

    began = time.perf_counter()
    await asyncio.gather(*(several() for _ in range(IN_FLIGHT)))
    figures.rates.append(counts.in_flight / (time.perf_counter() - began))

    async def cancelled() -> float:
        with contextlib.suppress(asyncio.CancelledError):
            await request(UNANSWERED)
        return time.perf_counter()

    for _ in range(counts.cancellations):
        task = asyncio.create_task(cancelled())
        await asyncio.sleep(_UNDER_WAY)
        began = time.perf_counter()
        task.cancel()
        figures.cancellations.append(await task - began)


# The trio API in asyncio, under trio's guest mode


def measure_guest(port: int, counts: Counts, figures: Figures) -> None:
    asyncio.run(_measure_guest(port, counts, figures))


async def _measure_guest(port: int, counts: Counts, figures: Figures) -> None:
    loop = asyncio.get_running_loop()
    is_open, is_over = loop.create_future(), loop.create_future()
    to_close = trio.Event()

    async def hold() -> None:
        async with (
            trio.open_nursery() as nursery,
            hsms_engine.open_hsms("127.0.0.1", port) as connection,
        ):
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

    await _measure_tasks(request, counts, figures)
    to_close.set()
    await is_over


WAYS: dict[str, Callable[[int, Counts, Figures], None]] = {
    "trio": measure_trio,
    "blocking": measure_blocking,
    "aio": measure_aio,
    "trio as a guest of asyncio": measure_guest,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.doors")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--trips", type=int, default=300, help="in a round, one by one")
    options = parser.parse_args()
    counts = Counts(trips=options.trips, in_flight=IN_FLIGHT * 25, cancellations=10)
    measured = {name: Figures() for name in WAYS}
    with running_server(answer_s1f1) as server:
        for _ in range(options.rounds):
            for name, measure in WAYS.items():
                figures = measured[name]
                measure(server.port, counts, figures)
                figures.medians.append(statistics.median(figures.trips[-counts.trips :]))
                server.wait_for(connections=0)
    print(
        f"{'':28}{'round trip':>11}{'more':>8}{'p99':>8}{f'{IN_FLIGHT} in flight':>15}"
        f"{'cancelled in':>14}{'p99':>8}"
    )
    for name, figures in measured.items():
        more = statistics.median(map(sub, figures.medians, measured["trio"].medians))
        print(
            f"{name:28}{statistics.median(figures.trips) * 1e6:8.0f} us{more * 1e6:8.0f}"
            f"{p99(figures.trips):8.0f}"
            f"{statistics.median(figures.rates):13,.0f}/s"
            f"{statistics.median(figures.cancellations) * 1e6:11.0f} us"
            f"{p99(figures.cancellations):8.0f}"
        )


def p99(times: list[float]) -> float:
    """In microseconds."""
    return sorted(times)[int(len(times) * 0.99)] * 1e6


if __name__ == "__main__":
    main()
