"""secsgem 0.3, as the interop tests run it: its calls block, and a thread takes what comes."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from benchmarks.side_by_side import in_threads
from benchmarks.side_by_side.meter import Meter
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
from tests.interop.peers.secsgem_peer import Peer, SecsgemEnd, Watch


class Listening(Peer):
    """Takes S1F3 and S6F11 too."""

    def __init__(self, port: int) -> None:
        super().__init__("passive", port)
        self.register_stream_function(1, 3, self.answer_late)
        self.register_stream_function(6, 11, self.take)

    def answer_late(self, _: Any, message: Any) -> None:
        time.sleep(SLOW)
        self.send_response(self.stream_function(1, 4)(["PEER", "1"]), message.header.system)

    def take(self, _: Any, message: Any) -> None:
        self.settings.streams_functions.decode(message).get()


class Secsgem:
    def listen(self, port: int, work: Work) -> None:  # noqa: ARG002
        Listening(port).enable()
        ready()
        threading.Event().wait()

    def ask(self, port: int, work: Work, meter: Meter) -> dict[str, float]:
        match work:
            case Trips(tls="") | Events() | Start():
                end = opened(port)
            case Connects(count, ""):
                meter.begin()
                for _ in range(count):
                    opened(port).separate()
                return meter.end(count)
            case Trips() | Connects():
                raise CannotError("it has no TLS")
            case _:
                raise CannotError("its listener takes one connection, and it has no charts to step")
        match work:
            case Start(began):
                return {"start": time.monotonic() - began}
            case Events(count):
                return send_events(end.peer, count, meter)
            case Trips():
                return make_trips(end.peer, work, meter)


def opened(port: int) -> SecsgemEnd:
    watch = Watch()
    logging.getLogger().addHandler(watch)
    end = SecsgemEnd(watch)
    end.start("active", str(port))
    # Its own wait asks every 10 ms.
    if not end.peer.selected.wait(10):
        raise TimeoutError("it is not selected")
    return end


def make_trips(peer: Peer, work: Trips, meter: Meter) -> dict[str, float]:
    if work.size is None:
        primary = peer.stream_function(1, 1)()
    else:
        primary = peer.stream_function(2, 25)(bytes(work.size))

    def trip(sent: Any) -> None:
        if peer.send_and_waitfor_response(sent) is None:
            raise TimeoutError("it has no reply")

    slow = peer.stream_function(1, 3)([])
    return in_threads.trips(work, meter, lambda: trip(primary), lambda: trip(slow))


def send_events(peer: Peer, count: int, meter: Meter) -> dict[str, float]:
    from secsgem.hsms import HsmsMessage, HsmsStreamFunctionHeader

    from benchmarks.bench_secs2 import their_event

    peer.send_and_waitfor_response(peer.stream_function(1, 1)())
    protocol = peer.protocol
    meter.begin()
    for _ in range(count):
        # Its own call would set W.
        header = HsmsStreamFunctionHeader(protocol.get_next_system_counter(), 6, 11, False, 0)
        protocol.send_message(HsmsMessage(header, their_event().encode()))
    peer.send_and_waitfor_response(peer.stream_function(1, 1)())
    return meter.end(count)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main(Secsgem())
