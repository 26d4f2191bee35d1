"""A bare trio echo, which reads and answers piece by piece: the least that a large body takes."""

from __future__ import annotations

import trio

from benchmarks.side_by_side import in_trio
from benchmarks.side_by_side.meter import Meter
from benchmarks.side_by_side.subjects.floor import PIECE, Stream, opened, read_all, serve
from benchmarks.side_by_side.subjects.frames import frame_of
from benchmarks.side_by_side.subjects.program import main
from benchmarks.side_by_side.work import CannotError, Trips, Work


async def echo(stream: Stream) -> None:
    while data := await stream.receive_some(PIECE):
        await stream.send_all(data)


async def make_trips(port: int, work: Trips, meter: Meter) -> dict[str, float]:
    frame = frame_of(work)
    to_send, next_to_send = trio.open_memory_channel[bytes](1)
    async with opened(port, work.tls) as stream, trio.open_nursery() as nursery:

        async def send() -> None:
            async for each in next_to_send:
                await stream.send_all(each)

        async def trip() -> None:
            # A large frame fills the sockets of both ends unless it is read meanwhile.
            await to_send.send(frame)
            await read_all(stream, len(frame))

        nursery.start_soon(send)
        figures = await in_trio.trips(work, meter, [trip])
        nursery.cancel_scope.cancel()
    return figures


class StreamingFloor:
    def listen(self, port: int, work: Work) -> None:  # noqa: ARG002
        trio.run(serve, echo, port, "")

    def ask(self, port: int, work: Work, meter: Meter) -> dict[str, float]:
        match work:
            case Trips(size=int(), tls=""):
                return trio.run(make_trips, port, work, meter)
            case _:
                raise CannotError("only for large bodies is it another than `floor`")


if __name__ == "__main__":
    main(StreamingFloor())
