"""``python -m benchmarks.recording``: what a recording costs the event loop.

Two ends in one process over loopback, S1F1 and its reply, one after the other; one link of the two
is recorded into a file, and one is not. They take turns in short rounds. Recorded are the two
messages of a round trip that this link sees.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import trio

from hsms_engine import HsmsConnection, HsmsServer, Message, open_hsms, serve_hsms

_ROUNDS, _ROUND_TRIPS = 100, 100
_MESSAGES = 2
_BODIES = (20, 1_000, 4_000, 100_000)


async def _answer(connection: HsmsConnection) -> None:
    async for primary in connection:
        await connection.reply(primary, Message(1, 2, body=primary.body))


async def _ask(connection: HsmsConnection, body: bytes) -> tuple[float, list[float]]:
    """CPU seconds of this thread, and the seconds of each round trip."""
    found: list[float] = []
    message = Message(1, 1, wait=True, body=body)
    begun = time.thread_time()
    for _ in range(_ROUND_TRIPS):
        at = time.perf_counter()
        await connection.request(message)
        found.append(time.perf_counter() - at)
    return time.thread_time() - begun, found


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98] * 1e6


async def _measure(server: HsmsServer, folder: Path, size: int) -> None:
    body = bytes(size)
    async with (
        open_hsms("127.0.0.1", server.port) as bare,
        open_hsms("127.0.0.1", server.port, record=folder / str(size)) as recorded,
    ):
        cpu: dict[str, list[float]] = {"bare": [], "recorded": []}
        trips: dict[str, list[float]] = {"bare": [], "recorded": []}
        for number in range(_ROUNDS + 1):
            for name, connection in (("bare", bare), ("recorded", recorded)):
                seconds, found = await _ask(connection, body)
                if number:
                    cpu[name].append(seconds / _ROUND_TRIPS / _MESSAGES * 1e6)
                    trips[name].extend(found)
    more = statistics.median(
        with_it - without for with_it, without in zip(cpu["recorded"], cpu["bare"], strict=True)
    )
    before, after = _p99(trips["bare"]), _p99(trips["recorded"])
    print(f"   {size:>8} {more:>+12.1f} {before:>12.0f} {after:>12.0f} {after / before:>8.2f}")


async def _main() -> None:
    print(f"{_ROUNDS} pairs of rounds of {_ROUND_TRIPS} round trips; aims: at most +20 us, 1.50")
    print(f"   {'body':>8} {'us/message':>12} {'p99 without':>12} {'p99 with':>12} {'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        async with trio.open_nursery() as nursery:
            serve = partial(serve_hsms, _answer, "127.0.0.1", 0, max_sessions=2)
            server: HsmsServer = await nursery.start(serve)
            for size in _BODIES:
                await _measure(server, Path(folder), size)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(_main)
