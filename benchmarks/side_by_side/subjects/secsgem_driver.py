"""secsgem-driver, of asyncio. Its package is called ``secsgem`` too, and has other calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import secsgem

from benchmarks.side_by_side import in_asyncio
from benchmarks.side_by_side.meter import Meter
from benchmarks.side_by_side.subjects.frames import REPLY_BODY
from benchmarks.side_by_side.subjects.program import main, ready
from benchmarks.side_by_side.work import (
    SLOW,
    CannotError,
    Connects,
    Events,
    Start,
    Trips,
    Work,
)

HOST = "127.0.0.1"


def answer(connection: Any) -> Callable[[Any, bytes], Awaitable[None]]:
    async def take(header: Any, body: bytes) -> None:
        stream, function = header.stream & 0x7F, header.function
        match stream, function:
            case 1, 3:
                await asyncio.sleep(SLOW)
                await connection.send_reply(header, 1, 4, REPLY_BODY)
            case 6, 11:
                secsgem.decode(body)
            case 2, 25:
                await connection.send_reply(header, 2, 26, body)
            case _:
                await connection.send_reply(header, 1, 2, REPLY_BODY)

    return take


async def serve(port: int) -> None:
    connection = secsgem.HSMSConnection(HOST, port, mode="passive")
    connection.on_message_received = answer(connection)
    # Two of its ends that both count from 1 take each other's Select.req for the response.
    connection._system_counter = 1 << 31
    connecting = asyncio.create_task(connection.connect())
    # It tells nobody that it listens.
    while connection._server is None:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    ready()
    await connecting
    await asyncio.Event().wait()


async def opened(port: int) -> Any:
    connection = secsgem.HSMSConnection(HOST, port, mode="active")
    if not await connection.connect():
        raise ConnectionError("it is not selected")
    return connection


async def ask(port: int, work: Work, meter: Meter) -> dict[str, float]:
    match work:
        case Trips(tls="", size=size):
            connection = await opened(port)
            function, body = ((1, 1), b"") if size is None else ((2, 25), encoded(bytes(size)))
            return await in_asyncio.trips(
                work,
                meter,
                lambda: connection.send_data_message(*function, True, body),
                lambda: connection.send_data_message(1, 3, True),
            )
        case Events(count):
            return await send_events(await opened(port), count, meter)
        case Start(began):
            await opened(port)
            return {"start": time.monotonic() - began}
        case Connects(tls=""):
            raise CannotError("after a connection its listener accepts others and never reads them")
        case Trips() | Connects():
            raise CannotError("it has no TLS")
        case _:
            raise CannotError("its listener takes one connection, and it has no charts to step")


def encoded(body: bytes) -> Any:
    return secsgem.encode(body, secsgem.FormatCode.BINARY)


async def send_events(connection: Any, count: int, meter: Meter) -> dict[str, float]:
    await connection.send_data_message(1, 1, True)
    meter.begin()
    for _ in range(count):
        await connection.send_data_message(6, 11, False, event())
    await connection.send_data_message(1, 1, True)
    return meter.end(count)


def event() -> Any:
    """The event of ``benchmarks.events``."""
    item, code = secsgem.Secs2Item, secsgem.FormatCode
    reports = [
        [
            item(1000 + report, code.U4),
            [
                "LOT-0815",
                item(70_000 + report, code.U4),
                item(21.5, code.F8),
                item(True, code.BOOLEAN),
                item(3, code.U1),
                "RECIPE-A",
                item(-7, code.I4),
                item(0.25, code.F4),
                item(512, code.U2),
                item(b"\1\2", code.BINARY),
            ],
        ]
        for report in range(3)
    ]
    return secsgem.encode([item(1, code.U4), item(4711, code.U4), reports])


class Driver:
    def listen(self, port: int, work: Work) -> None:  # noqa: ARG002
        asyncio.run(serve(port))

    def ask(self, port: int, work: Work, meter: Meter) -> dict[str, float]:
        return asyncio.run(ask(port, work, meter))


if __name__ == "__main__":
    main(Driver())
