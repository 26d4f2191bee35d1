"""Bare blocking sockets: what the system alone takes, one whole message after the other."""

from __future__ import annotations

import socket
import time

from benchmarks.side_by_side import in_threads
from benchmarks.side_by_side.meter import Meter
from benchmarks.side_by_side.subjects.frames import LENGTH, frame_of, reply_length, reply_to
from benchmarks.side_by_side.subjects.program import main, ready
from benchmarks.side_by_side.work import CannotError, Connects, Start, Trips, Work

ADDRESS = "127.0.0.1"
PIECE = 1 << 18


def echo(connection: socket.socket) -> None:
    while data := connection.recv(PIECE):
        whole = LENGTH + int.from_bytes(data[:LENGTH])
        if len(data) == whole:
            connection.sendall(reply_to(data))
            continue
        frame = bytearray(data)
        while len(frame) < whole:
            frame += connection.recv(min(PIECE, whole - len(frame)))
        connection.sendall(reply_to(frame))


def opened(port: int) -> socket.socket:
    connection = socket.create_connection((ADDRESS, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def make_trip(connection: socket.socket, frame: bytes, length: int) -> None:
    connection.sendall(frame)
    while length:
        data = connection.recv(min(PIECE, length))
        if not data:
            raise ConnectionError("the peer has closed the connection")
        length -= len(data)


class Sockets:
    def listen(self, port: int, work: Work) -> None:  # noqa: ARG002
        with socket.create_server((ADDRESS, port)) as server:
            ready()
            while True:
                connection, _ = server.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with connection:
                    echo(connection)

    def ask(self, port: int, work: Work, meter: Meter) -> dict[str, float]:
        one = frame_of(Trips(1)), reply_length(Trips(1))
        match work:
            case Trips(in_flight=1, tls="", beside_slow=False):
                frame, length = frame_of(work), reply_length(work)
                with opened(port) as connection:
                    return in_threads.trips(
                        work, meter, lambda: make_trip(connection, frame, length)
                    )
            case Start(began):
                with opened(port) as connection:
                    make_trip(connection, *one)
                    return {"start": time.monotonic() - began}
            case Connects(count, ""):
                meter.begin()
                for _ in range(count):
                    with opened(port) as connection:
                        make_trip(connection, *one)
                return meter.end(count)
            case _:
                raise CannotError("one blocking socket does one thing after the other")


if __name__ == "__main__":
    main(Sockets())
