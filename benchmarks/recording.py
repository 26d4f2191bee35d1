"""``python -m benchmarks.recording``: what a recording, and a page, costs the event loop.

Two ends in one process over loopback, S1F1 and its reply, one after the other; one link of the two
is recorded, and one is not. They take turns in short rounds. Recorded are the two messages of a
round trip that this link sees: into a file, into a capture, by a black box, or for a page.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import trio

from hsms_engine import HsmsConnection, HsmsServer, Message, open_hsms, serve_hsms
from hsms_engine.monitor import MonitorServer, serve_monitor
from hsms_engine.recorder import BlackBox, Recorder, RecordTo

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


class _Found(NamedTuple):
    """Of each message the microseconds of this thread, and the seconds of each round trip."""

    cpu: float
    trips: list[float]


async def _rounds(server: HsmsServer, size: int, *records: RecordTo | None) -> list[_Found]:
    """Rounds over a link for each of ``records``, which take turns."""
    body = bytes(size)
    cpu: list[list[float]] = [[] for _ in records]
    trips: list[list[float]] = [[] for _ in records]
    async with AsyncExitStack() as stack:
        links = [
            await stack.enter_async_context(open_hsms("127.0.0.1", server.port, record=record))
            for record in records
        ]
        for number in range(_ROUNDS + 1):
            for each, link in enumerate(links):
                seconds, found = await _ask(link, body)
                if number:
                    cpu[each].append(seconds / _ROUND_TRIPS / _MESSAGES * 1e6)
                    trips[each].extend(found)
    # The mean, because a page is told only now and then.
    return [_Found(statistics.fmean(each), took) for each, took in zip(cpu, trips, strict=True)]


def _head(what: str) -> None:
    names = ("us/message", "p99 without", "p99 with", "ratio")
    print(f"{what:>11}", *(f"{name:>12}" for name in names))


def _show(size: int, bare: _Found, other: _Found) -> None:
    before, after = _p99(bare.trips), _p99(other.trips)
    more = other.cpu - bare.cpu
    print(f"{size:>11} {more:>+12.1f} {before:>12.0f} {after:>12.0f} {after / before:>12.2f}")


async def _main() -> None:
    print(f"{_ROUNDS} pairs of rounds of {_ROUND_TRIPS} round trips; aims: at most +20 us, 1.50")
    bare: dict[int, _Found] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with trio.open_nursery() as nursery:
            serve = partial(serve_hsms, _answer, "127.0.0.1", 0, max_sessions=2)
            server: HsmsServer = await nursery.start(serve)
            for what in ("recording", "capture", "black box"):
                _head(what)
                for size in _BODIES:
                    recorder: Recorder | BlackBox = (
                        BlackBox(folder)
                        if what == "black box"
                        else Recorder(Path(folder, f"{what} {size}"), pcap=what == "capture")
                    )
                    bare[size], recorded = await _rounds(server, size, None, recorder)
                    recorder.close()
                    _show(size, bare[size], recorded)
            # While there is a page, it takes its time from all links: those without are from above.
            shown: MonitorServer = await nursery.start(partial(serve_monitor, (), port=0))
            _head("page")
            for size in _BODIES:
                [seen] = await _rounds(server, size, shown)
                _show(size, bare[size], seen)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(_main)
