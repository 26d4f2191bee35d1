"""A peer made of bytes on a blocking socket: while it waits, nothing else in its thread runs.

Used inside a coroutine, it blocks the event loop: what it then sees is done by the trio thread.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest
from trio.testing import wait_all_tasks_blocked

from hsms_engine.doors.call import Call
from hsms_engine.doors.thread import trio_thread
from tests.support.patience import PATIENCE
from tests.support.raw_peer import CONTROL, Got, linktest_req, linktest_rsp, raw

# It lives as long as this process, so its sockets are not to be those of the first test.
trio_thread()


def trio_rests() -> None:
    """Wait, in any other thread, until the trio thread has done all that it can do now."""
    is_done = threading.Event()
    trio_thread().run(Call(is_done.set), wait_all_tasks_blocked)
    assert is_done.wait(PATIENCE)


@contextmanager
def trio_held() -> Iterator[None]:
    """The trio thread does nothing during the block; what it is asked for waits."""
    is_held, is_free = threading.Event(), threading.Event()

    def hold() -> None:
        is_held.set()
        assert is_free.wait(PATIENCE)

    trio_thread().soon(hold)
    assert is_held.wait(PATIENCE)
    try:
        yield
    finally:
        is_free.set()


class BlockingPeer:
    """The other end of one connection."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        stream.settimeout(PATIENCE)

    def send(self, *frames: bytes) -> None:
        """All of them in one piece."""
        self._stream.sendall(b"".join(frames))

    def frame(self) -> Got:
        """The next frame, whatever it is."""
        (length,) = struct.unpack(">I", self._take(4))
        content = self._take(length)
        session, byte2, byte3, ptype, stype, system = struct.unpack(">HBBBBI", content[:10])
        return Got(session, byte2, byte3, ptype, stype, system, content[10:])

    def control(self, stype: int) -> int:
        """The next frame is a request of this type and nothing else; its system bytes."""
        got = self.frame()
        assert got == Got(CONTROL, 0, 0, 0, stype, got.system, b"")
        return got.system

    def expect(self, frame: bytes) -> None:
        """The next bytes are these."""
        assert self._take(len(frame)).hex(" ") == frame.hex(" ")

    def ping(self, system: int = 0xA5A5_0001) -> None:
        """Nothing was sent before the answer to this, and all sent to it before was read."""
        self.send(linktest_req(system))
        self.expect(linktest_rsp(system))

    def end(self) -> None:
        """The other end closes the stream, and no byte comes before that."""
        assert self._stream.recv(65_536) == b""

    def close(self) -> None:
        self._stream.close()

    def _take(self, count: int) -> bytes:
        taken = b""
        while len(taken) < count:
            more = self._stream.recv(count - len(taken))
            assert more, f"the stream ended at {taken!r}, {count} bytes were wanted"
            taken += more
        return taken


class Listener:
    """Where peers of bytes are dialled, one after the other."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.port: int = listener.getsockname()[1]

    def accept(self) -> BlockingPeer:
        """The peer of the next connection, not selected."""
        stream, _ = self._listener.accept()
        return BlockingPeer(stream)

    def expect_nobody(self) -> None:
        """Nobody has dialled."""
        self._listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            self._listener.accept()

    def select(self) -> Future[BlockingPeer]:
        """The peer of the next connection, when a thread of its own has let it select."""
        selected: Future[BlockingPeer] = Future()

        def run() -> None:
            peer = self.accept()
            peer.send(raw(2, peer.control(1)))
            selected.set_result(peer)

        threading.Thread(target=run).start()
        return selected


@contextmanager
def listening() -> Iterator[Listener]:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        listener.settimeout(PATIENCE)
        yield Listener(listener)
