"""A bare trio echo, which takes the whole message before it answers: trio without an engine.

``streaming_floor`` answers piece by piece as it reads.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import trio

from benchmarks.side_by_side import in_trio
from benchmarks.side_by_side.meter import Meter
from benchmarks.side_by_side.subjects.frames import LENGTH, frame_of, reply_length, reply_to
from benchmarks.side_by_side.subjects.program import main, ready
from benchmarks.side_by_side.work import CannotError, Connects, Links, Start, Trips, Work

HOST = "127.0.0.1"
PIECE = 1 << 18
Stream = trio.abc.Stream


async def echo(stream: Stream) -> None:
    while data := await stream.receive_some(PIECE):
        whole = LENGTH + int.from_bytes(data[:LENGTH])
        if len(data) == whole:
            await stream.send_all(reply_to(data))
            continue
        frame = bytearray(data)
        while len(frame) < whole:
            frame += await stream.receive_some(min(PIECE, whole - len(frame)))
        await stream.send_all(reply_to(frame))


def context_of(folder: str, name: str) -> ssl.SSLContext:
    """With the certificate of this end, which checks that of the other."""
    listens = name == "listening"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if listens else ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(Path(folder, f"{name}.pem"))
    context.load_verify_locations(Path(folder, "authority.pem"))
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def serve(
    handler: Callable[[Stream], Awaitable[None]], port: int, tls: str, backlog: int | None = None
) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        if tls:
            context = context_of(tls, "listening")
            # The other end closes TCP with what it has not read: the tickets of TLS.
            with suppress(trio.BrokenResourceError):
                await handler(trio.SSLStream(stream, context, server_side=True))
        else:
            await handler(stream)

    async with trio.open_nursery() as nursery:
        serve_tcp = partial(trio.serve_tcp, answer, port, host=HOST, backlog=backlog)
        await nursery.start(serve_tcp)
        ready()


@asynccontextmanager
async def opened(port: int, tls: str = "") -> AsyncIterator[Stream]:
    async with await trio.open_tcp_stream(HOST, port) as stream:
        if tls:
            context = context_of(tls, "dialling")
            yield trio.SSLStream(stream, context, server_hostname=HOST)
        else:
            yield stream


async def read_all(stream: Stream, left: int) -> None:
    while left:
        data = await stream.receive_some(min(PIECE, left))
        if not data:
            raise ConnectionError("the peer has closed the connection")
        left -= len(data)


async def make_trips(port: int, work: Trips, meter: Meter) -> dict[str, float]:
    frame, length = frame_of(work), reply_length(work)
    async with opened(port, work.tls) as stream:

        async def trip() -> None:
            await stream.send_all(frame)
            await read_all(stream, length)

        return await in_trio.trips(work, meter, [trip])


async def start(port: int, began: float) -> dict[str, float]:
    frame = frame_of(Trips(1))
    async with opened(port) as stream:
        # In place of the Select procedure.
        await stream.send_all(frame)
        await read_all(stream, reply_length(Trips(1)))
        return {"start": time.monotonic() - began}


async def connect(port: int, work: Connects, meter: Meter) -> dict[str, float]:
    frame, length = frame_of(Trips(1)), reply_length(Trips(1))
    meter.begin()
    for _ in range(work.count):
        async with opened(port, work.tls) as stream:
            await stream.send_all(frame)
            await read_all(stream, length)
    return meter.end(work.count)


async def hold_links(port: int, work: Links, meter: Meter) -> dict[str, float]:
    frame, length = frame_of(Trips(1)), reply_length(Trips(1))
    began = time.perf_counter()
    async with AsyncExitStack() as stack:
        ways = []

        async def open_one() -> None:
            stream = await stack.enter_async_context(opened(port))

            async def trip() -> None:
                await stream.send_all(frame)
                await read_all(stream, length)

            await trip()
            ways.append(trip)

        async with trio.open_nursery() as nursery:
            for _ in range(work.count):
                nursery.start_soon(open_one)
        figures = {"selected": time.perf_counter() - began}
        # It sends no linktests, so its idle time says nothing.
        figures |= await in_trio.memory(work, meter)
        if work.trips:
            figures |= await in_trio.busy(work, meter, ways)
    return figures


class Floor:
    def listen(self, port: int, work: Work) -> None:
        match work:
            case Trips(tls=tls) | Connects(tls=tls):
                trio.run(serve, echo, port, tls)
            case Links(count):
                trio.run(serve, echo, port, "", count)
            case _:
                trio.run(serve, echo, port, "")

    def ask(self, port: int, work: Work, meter: Meter) -> dict[str, float]:
        match work:
            case Trips(in_flight=1, beside_slow=False):
                return trio.run(make_trips, port, work, meter)
            case Trips():
                raise CannotError("an echo has no transactions to match")
            case Start(began):
                return trio.run(start, port, began)
            case Connects():
                return trio.run(connect, port, work, meter)
            case Links():
                return trio.run(hold_links, port, work, meter)
            case _:
                raise CannotError("an echo has neither items nor charts")


if __name__ == "__main__":
    main(Floor())
