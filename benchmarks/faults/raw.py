"""Peers made of plain sockets: what they send is chosen byte by byte."""

from __future__ import annotations

import itertools
import selectors
import socket
import struct
import time
from dataclasses import dataclass

from hsms_engine.wire import SType, control_frame, data_frame, encode

SELECT = encode(control_frame(SType.SELECT_REQ, 1))
SEPARATE = encode(control_frame(SType.SEPARATE_REQ, 2))
HEADER_ONLY = len(SELECT)
_SEGMENT = 65_536
# Closing sends RST: the peer is not to read on in what is left.
_ABORT = struct.pack("ii", 1, 0)


def s1f1(system_bytes: int) -> bytes:
    return encode(data_frame(0, 1, 1, True, system_bytes, b""))


def connected(port: int) -> socket.socket:
    """A connected socket. Its calls raise ``TimeoutError`` after 10 s."""
    peer = socket.create_connection(("127.0.0.1", port), timeout=10)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def selected(port: int) -> socket.socket:
    peer = connected(port)
    peer.sendall(SELECT)
    read_exactly(peer, HEADER_ONLY)
    return peer


def read_exactly(peer: socket.socket, count: int) -> None:
    """Read and forget so many bytes. Raises ``ConnectionError`` when there are fewer."""
    while count:
        data = peer.recv(count)
        if not data:
            raise ConnectionResetError("the peer has closed")
        count -= len(data)


@dataclass(frozen=True, slots=True)
class Flood:
    """What a flooding peer sends, over and over, and whether it reads what comes back."""

    name: str
    segments: tuple[bytes, ...]
    reads: bool
    selects: bool = True


def big_segments(frame: bytes) -> tuple[bytes, ...]:
    return (frame * (_SEGMENT // len(frame)),)


def small_segments(frame: bytes) -> tuple[bytes, ...]:
    return tuple(frame * count for count in range(1, 9))


class _Flooding:
    """One flooding connection."""

    def __init__(self, port: int, kind: Flood) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not kind.reads:
            # Else the two kernels keep megabytes of answers.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self.socket.setblocking(False)
        self.socket.connect_ex(("127.0.0.1", port))
        self._segments = itertools.cycle(kind.segments)
        self._rest = memoryview(SELECT if kind.selects else b"")

    def send(self) -> int:
        rest = self._rest or memoryview(next(self._segments))
        count = self.socket.send(rest)
        self._rest = rest[count:]
        return count

    def is_open_after_reading(self) -> bool:
        return bool(self.socket.recv(4 * _SEGMENT))


def flood(port: int, kind: Flood, count: int, seconds: float) -> tuple[int, int]:
    """Flood over ``count`` connections; one that is cut is made anew at once.

    How many bytes were sent, and how many connections were cut.
    """
    end = time.monotonic() + seconds
    sent = cut = 0
    wanted = selectors.EVENT_WRITE | (selectors.EVENT_READ if kind.reads else 0)
    with selectors.DefaultSelector() as selector:

        def begin() -> None:
            peer = _Flooding(port, kind)
            selector.register(peer.socket, wanted, peer)

        for _ in range(count):
            begin()
        while time.monotonic() < end:
            for key, ready in selector.select(0.1):
                peer: _Flooding = key.data
                try:
                    if ready & selectors.EVENT_WRITE:
                        sent += peer.send()
                    is_open = not ready & selectors.EVENT_READ or peer.is_open_after_reading()
                except BlockingIOError:
                    continue
                except OSError:
                    is_open = False
                if not is_open:
                    cut += 1
                    selector.unregister(peer.socket)
                    peer.socket.close()
                    begin()
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    return sent, cut
