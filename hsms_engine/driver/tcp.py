"""Raw sockets as trio streams, with the one thing trio's own stream lacks: a send that never waits.

``send_nowait`` lets the reader's task put an answer on the wire at once when nothing is queued, so
that most frames need no task switch at all. TCP sockets get ``TCP_NODELAY``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import trio

RECEIVE_SIZE = 65_536

_SENT_LATER = (BlockingIOError, InterruptedError)


Stream = trio.abc.Stream
_Address = tuple[Any, ...]
Dial = Callable[[], Awaitable[Stream]]


class SocketStream(trio.abc.HalfCloseableStream):
    """A connected stream socket, TCP or Unix. One task receives, one sends."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        if connected.family in (socket.AF_INET, socket.AF_INET6):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connected

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Give the kernel what it takes now; how many bytes that were, perhaps 0.

        Raises ``trio.BrokenResourceError`` when the connection is broken.
        """
        try:
            return self._socket.send(data)
        except _SENT_LATER:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError(_words(error)) from error

    async def send_some(self, data: memoryview) -> int:
        """Wait until the kernel takes some of ``data``; how many bytes it took."""
        await self.wait_send_all_might_not_block()
        return self.send_nowait(data)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        rest = memoryview(data)
        while rest:
            rest = rest[await self.send_some(rest) :]

    async def wait_send_all_might_not_block(self) -> None:
        if self._socket.fileno() == -1:
            raise trio.ClosedResourceError("the stream is closed")
        await trio.lowlevel.wait_writable(self._socket.fileno())

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        size = RECEIVE_SIZE if max_bytes is None else max_bytes
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                data = self._socket.recv(size)
            except _SENT_LATER:
                await trio.lowlevel.wait_readable(self._socket.fileno())
            except OSError as error:
                raise trio.BrokenResourceError(_words(error)) from error
            else:
                # A peer that never pauses must not keep every other task from running; what was
                # received is not to be lost to a cancellation here.
                await trio.lowlevel.cancel_shielded_checkpoint()
                return data

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise trio.BrokenResourceError(_words(error)) from error

    def close(self) -> None:
        """Close without waiting. Closing twice is fine."""
        if self._socket.fileno() != -1:
            trio.lowlevel.notify_closing(self._socket.fileno())
            self._socket.close()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()


class Listening(Protocol):
    """What a server needs of a listener; ``Listener`` is the real one."""

    @property
    def address(self) -> str: ...

    @property
    def port(self) -> int: ...

    async def accept(self) -> tuple[Stream, str]: ...

    def close(self) -> None: ...


class Listener:
    """A listening socket that stays open across connections."""

    def __init__(self, listening: socket.socket) -> None:
        listening.setblocking(False)
        self._socket = listening
        self._name = listening.getsockname()

    @property
    def address(self) -> str:
        """``host:port``, or the path of a Unix socket."""
        return address_text(self._name)

    @property
    def port(self) -> int:
        """The TCP port, 0 for a Unix socket."""
        return self._name[1] if isinstance(self._name, tuple) else 0

    async def accept(self) -> tuple[SocketStream, str]:
        """The next connection and its peer's address. Survives what a peer can cause.

        Raises ``trio.ClosedResourceError`` once the listener is closed, ``OSError`` when it broke.
        """
        await trio.lowlevel.checkpoint()
        while True:
            if self._socket.fileno() == -1:
                raise trio.ClosedResourceError("the listener is closed")
            try:
                connected, peer = self._socket.accept()
            except _SENT_LATER:
                await trio.lowlevel.wait_readable(self._socket.fileno())
            except OSError as error:
                if error.errno in _OUT_OF_DESCRIPTORS:
                    # Until another connection ends there is nothing to do but to wait.
                    await trio.sleep(_ACCEPT_PAUSE)
                elif error.errno not in _BROKEN_BEFORE_ACCEPT:
                    raise
            else:
                return SocketStream(connected), address_text(peer)

    def close(self) -> None:
        """Stop listening. Closing twice is fine."""
        if self._socket.fileno() != -1:
            trio.lowlevel.notify_closing(self._socket.fileno())
            self._socket.close()
            if isinstance(self._name, str) and self._name:
                with contextlib.suppress(FileNotFoundError):
                    Path(self._name).unlink()


_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
# Errors of the new connection that Linux reports on the listener.
_BROKEN_BEFORE_ACCEPT = (
    errno.ECONNABORTED,
    errno.EPROTO,
    errno.EPERM,
    errno.ENETDOWN,
    errno.ENOPROTOOPT,
    errno.EHOSTDOWN,
    errno.ENONET,
    errno.EHOSTUNREACH,
    errno.EOPNOTSUPP,
    errno.ENETUNREACH,
)
_ACCEPT_PAUSE = 0.1


def _words(error: OSError) -> str:
    return error.strerror or str(error)


def address_text(address: object) -> str:
    """An address as people write it."""
    match address:
        case (str(host), int(port), *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case str(path) if path:
            return path
        case _:
            return "a Unix socket"


async def _connect(made: socket.socket, address: object) -> SocketStream:
    made.setblocking(False)
    try:
        try:
            made.connect(address)  # type: ignore[arg-type]  # an address of this socket's own family
        except (BlockingIOError, InterruptedError):
            await trio.lowlevel.wait_writable(made.fileno())
        if code := made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, os.strerror(code))
        if made.getsockname() == made.getpeername():
            # A port in the range of source ports that nobody listens on may answer itself.
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    except BaseException:
        trio.lowlevel.notify_closing(made.fileno())
        made.close()
        raise
    return SocketStream(made)


async def _resolve(host: str, port: int, flags: int) -> Sequence[_Address]:
    try:
        return await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError as error:
        raise OSError(f"{host!r} is no host name: {error}") from error


async def connect_tcp(host: str, port: int) -> SocketStream:
    """Connect to the first address of ``host`` that answers.

    Raises ``OSError``, of the last address tried, when none does. Cancelling leaves no socket.
    """
    found = await _resolve(host, port, 0)
    last: OSError | None = None
    for family, kind, protocol, _, address in found:
        made = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
        try:
            return await _connect(made, address)
        except OSError as error:
            last = error
    raise last or OSError(f"{host} has no address")


async def connect_unix(path: str) -> SocketStream:
    """Connect to a Unix stream socket. Raises ``OSError`` when that fails."""
    return await _connect(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), path)


async def listen_tcp(host: str, port: int, backlog: int = 128) -> Listener:
    """Listen on ``host:port``; port 0 lets the system choose. Raises ``OSError``."""
    found = await _resolve(host, port, socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    made = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(backlog)
    except OSError:
        made.close()
        raise
    return Listener(made)


def listen_unix(path: str, backlog: int = 128) -> Listener:
    """Listen on a Unix stream socket; the path is removed when it closes. Raises ``OSError``."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(path)
        made.listen(backlog)
    except OSError:
        made.close()
        raise
    return Listener(made)
