"""``python -m benchmarks.traffic``: what the log of messages costs, off and on.

Two ends in one process over loopback, S1F1 and its reply, one after the other. A round trip is four
messages that could be logged, because each end sees two. Cases take turns, and each figure is the
best of its rounds.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import trio

from hsms_engine import HsmsConnection, HsmsServer, Message, open_hsms, serve_hsms
from hsms_engine.messages import S1F1

_ROUNDS, _ROUND_TRIPS = 60, 100
_MESSAGES = 4
_TRAFFIC = logging.getLogger("hsms_engine.traffic")
_REPLY = Message(1, 2, item=["MDLN-A", "1.0.0"])


async def _answer(connection: HsmsConnection) -> None:
    async for primary in connection:
        await connection.reply(primary, _REPLY)


async def _ask(connection: HsmsConnection, count: int) -> None:
    for _ in range(count):
        await connection.request(S1F1())


class _Bytecodes:
    """Counts the bytecodes that run while it is on, in this package and in ``logging``."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def counting(self) -> Any:
        sys.settrace(self._trace)
        try:
            yield
        finally:
            sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        name = frame.f_globals.get("__name__", "")
        if not name.startswith(("hsms_engine", "statecharts", "logging")):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self.count += event == "opcode"
        return self._trace


def _watch_nothing(connection: HsmsConnection, server: HsmsServer) -> None:
    """Take the question away whether somebody watches: the tree before, but for a few bytecodes."""
    for each in (connection, *server.connections):
        each._engine.watch(bool)


async def _bytecodes(connection: HsmsConnection) -> float:
    counter = _Bytecodes()
    await _ask(connection, 10)
    with counter.counting():
        await _ask(connection, _ROUND_TRIPS)
    return counter.count / _ROUND_TRIPS


async def _cpu(connection: HsmsConnection) -> float:
    """Microseconds of CPU a message."""
    begun = time.process_time()
    await _ask(connection, _ROUND_TRIPS)
    return (time.process_time() - begun) / _ROUND_TRIPS / _MESSAGES * 1e6


async def _main() -> None:
    async with trio.open_nursery() as nursery:
        serve = partial(serve_hsms, _answer, "127.0.0.1", 0, max_sessions=2)
        server: HsmsServer = await nursery.start(serve)
        async with (
            open_hsms("127.0.0.1", server.port) as connection,
            open_hsms("127.0.0.1", server.port) as called_back,
        ):
            for each in (called_back, server.connections[1]):
                each.on_message(lambda _: None)
            print("bytecodes a round trip, both ends")
            off = await _bytecodes(connection)
            print(f"   {'all off':<34}{off:8.0f}")
            cases: dict[str, Callable[[], Any]] = {
                "all off": lambda: _cpu(connection),
                "a callback that does nothing": lambda: _cpu(called_back),
                "INFO, NullHandler": lambda: _logged(connection, logging.INFO),
                "DEBUG, NullHandler": lambda: _logged(connection, logging.DEBUG),
            }
            best = dict.fromkeys(cases, float("inf"))
            for _ in range(_ROUNDS):
                for name, case in cases.items():
                    best[name] = min(best[name], await case())
            print(f"CPU a message in us; aim: INFO at most 25 more than off ({_ROUNDS} rounds)")
            for name, cost in best.items():
                print(f"   {name:<34}{cost:8.1f}{cost - best['all off']:+8.1f}")
            print(f"   {'one call of logging, ten extra':<34}{_one_call():8.1f}")
            _watch_nothing(connection, server)
            bare = await _bytecodes(connection)
            print(f"   bytecodes without the question, off or on: {bare:.0f} ({off - bare:+.0f})")
        nursery.cancel_scope.cancel()


async def _logged(connection: HsmsConnection, level: int) -> float:
    _TRAFFIC.setLevel(level)
    try:
        return await _cpu(connection)
    finally:
        _TRAFFIC.setLevel(logging.WARNING)


def _one_call() -> float:
    """Microseconds of CPU of one record with as many facts, by ``logging`` itself."""
    facts = {f"fact_{number}": number for number in range(10)}
    _TRAFFIC.setLevel(logging.INFO)

    def round_of_calls() -> float:
        begun = time.process_time()
        for _ in range(_ROUND_TRIPS):
            _TRAFFIC.info("%s %s", "a", "b", extra=facts)
        return (time.process_time() - begun) / _ROUND_TRIPS * 1e6

    return min(round_of_calls() for _ in range(_ROUNDS))


def main() -> None:
    _TRAFFIC.addHandler(logging.NullHandler())
    _TRAFFIC.propagate = False
    trio.run(_main)


if __name__ == "__main__":
    main()
