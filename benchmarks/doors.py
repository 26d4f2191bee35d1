"""How soon a cancelled call is over, through each door: ``python -m benchmarks.doors``.

From the cancellation (for threads: the signal of Ctrl-C) to the return of the call, through the
trio API, the blocking door, the asyncio door, and the trio API in asyncio under trio's guest mode.
The peer is a process of its own, on loopback, and answers nothing. The four take turns in short
rounds, so that a busy machine is unfair to none. It needs Linux. What a round trip takes through
each of them is measured by ``make bench`` (subjects ``engine``, ``blocking``, ``aio``, ``guest``).
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

import trio

import hsms_engine
from benchmarks.faults.server import running_server, sleep_in_the_first
from benchmarks.side_by_side.subjects import guest
from hsms_engine import Message, aio, blocking
from hsms_engine.messages import S1F3

OF_A_ROUND = 10
# Seconds until a request that is then cancelled has certainly been sent.
_UNDER_WAY = 0.002
UNANSWERED = S1F3()


def measure_trio(port: int) -> list[float]:
    return trio.run(_measure_trio, port)


async def _measure_trio(port: int) -> list[float]:
    taken = []
    async with hsms_engine.open_hsms("127.0.0.1", port) as connection:
        for _ in range(OF_A_ROUND):
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
            taken.append(ended[0] - began)
    return taken


def measure_blocking(port: int) -> list[float]:
    taken = []
    with blocking.open_hsms("127.0.0.1", port) as connection:
        for _ in range(OF_A_ROUND):
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
                taken.append(time.perf_counter() - at[0])
            thread.join()
    return taken


def measure_aio(port: int) -> list[float]:
    return asyncio.run(_measure_aio(port))


async def _measure_aio(port: int) -> list[float]:
    async with aio.open_hsms("127.0.0.1", port) as connection:
        return await _measure_tasks(connection.request)


def measure_guest(port: int) -> list[float]:
    return asyncio.run(_measure_guest(port))


async def _measure_guest(port: int) -> list[float]:
    async with guest.opened(port) as request:
        return await _measure_tasks(request)


async def _measure_tasks(request: Callable[[Message], Awaitable[object]]) -> list[float]:
    async def cancelled() -> float:
        with contextlib.suppress(asyncio.CancelledError):
            await request(UNANSWERED)
        return time.perf_counter()

    taken = []
    for _ in range(OF_A_ROUND):
        task = asyncio.create_task(cancelled())
        await asyncio.sleep(_UNDER_WAY)
        began = time.perf_counter()
        task.cancel()
        taken.append(await task - began)
    return taken


WAYS: dict[str, Callable[[int], list[float]]] = {
    "trio": measure_trio,
    "blocking": measure_blocking,
    "aio": measure_aio,
    "trio as a guest of asyncio": measure_guest,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.doors")
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    with running_server(sleep_in_the_first) as server:
        for _ in range(options.rounds):
            for name, measure in WAYS.items():
                taken[name] += measure(server.port)
                server.wait_for(connections=0)
    print(f"{'':28}{'cancelled in':>14}{'p99':>8}")
    for name, times in taken.items():
        p99 = sorted(times)[int(len(times) * 0.99)]
        print(f"{name:28}{statistics.median(times) * 1e6:11.0f} us{p99 * 1e6:8.0f}")


if __name__ == "__main__":
    main()
