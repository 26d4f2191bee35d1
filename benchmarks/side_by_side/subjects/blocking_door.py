"""This engine, through its blocking door: a thread for each request in flight."""

from __future__ import annotations

import time

from benchmarks.side_by_side import in_threads
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
from hsms_engine import Message, blocking


class BlockingDoor(Engine):
    def ask(self, port: int, work: Work, meter: Meter) -> dict[str, float]:
        match work:
            case Trips(tls=folder):
                primary = primary_of(work)
                with blocking.open_hsms(HOST, port, tls=tls_of(folder, "dialling")) as connection:
                    return in_threads.trips(
                        work,
                        meter,
                        lambda: connection.request(primary),
                        lambda: connection.request(SLOW_PRIMARY),
                    )
            case Events(count):
                return self._send_events(port, count, meter)
            case Start(began):
                with blocking.open_hsms(HOST, port):
                    return {"start": time.monotonic() - began}
            case Connects(count, folder):
                tls = tls_of(folder, "dialling")
                meter.begin()
                for _ in range(count):
                    with blocking.open_hsms(HOST, port, tls=tls):
                        pass
                return meter.end(count)
            case _:
                raise CannotError("the same links and charts as through the trio API")

    def _send_events(self, port: int, count: int, meter: Meter) -> dict[str, float]:
        from benchmarks.events import our_event

        with blocking.open_hsms(HOST, port) as connection:
            connection.request(Message(1, 1, wait=True))
            meter.begin()
            for _ in range(count):
                connection.send(Message(6, 11, item=our_event()))
            connection.request(Message(1, 1, wait=True))
            return meter.end(count)


if __name__ == "__main__":
    main(BlockingDoor())
