"""trio's TCP streams and listeners, with the one thing that trio lacks: a send that never waits.

With ``send_nowait`` the reader's task can send an answer at once when nothing is queued, so most
frames need no task switch.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import trio

RECEIVE_SIZE = 65_536

# What a stream raises when its connection is broken, or closed under it.
BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)

Stream = trio.abc.Stream
Dial = Callable[[], Awaitable[Stream]]


class _Borrowed(socket.socket):
    """A second object for a socket that another object owns: it closes nothing when dropped.

    Otherwise the descriptor would be closed twice, and by then it may belong to somebody else.
    """

    def __del__(self) -> None:
        self.detach()


class DirectStream(trio.abc.HalfCloseableStream):
    """A trio socket stream, TCP or Unix, that can also send without waiting."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        # A second socket object on the same descriptor, because trio's own send always may wait.
        self._socket = _Borrowed(fileno=stream.socket.fileno())
        self._socket.setblocking(False)

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Give the kernel the bytes that it takes now. How many it took, perhaps 0.

        Raises ``trio.BrokenResourceError`` when the connection is broken.
        """
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def send_some(self, data: memoryview) -> int:
        """Wait until the kernel takes some of ``data``. How many bytes it took."""
        await self._stream.wait_send_all_might_not_block()
        return self.send_nowait(data)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    def close(self) -> None:
        """Close without waiting. Closing twice is fine."""
        # The stream closes the descriptor; this object must only let go of it.
        self._socket.detach()
        self._stream.socket.close()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()


class Listening(Protocol):
    """What a server needs of a listener; ``Listener`` is the one for TCP and Unix sockets."""

    @property
    def address(self) -> str: ...

    @property
    def port(self) -> int: ...

    async def accept(self) -> tuple[Stream, str]: ...

    def close(self) -> None: ...


# Seconds to wait when the system has no descriptor free: other connections must close first.
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_ACCEPT_PAUSE = 0.1


class Listener:
    """A listening socket that stays open across connections."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener
        self._name: object = listener.socket.getsockname()

    @property
    def address(self) -> str:
        """``host:port``, or the path of a Unix socket."""
        return address_text(self._name)

    @property
    def port(self) -> int:
        """The TCP port, 0 for a Unix socket."""
        match self._name:
            case (_, int(port), *_):
                return port
            case _:
                return 0

    async def accept(self) -> tuple[DirectStream, str]:
        """The next connection and its peer's address. No error that a peer can cause is raised.

        Raises ``trio.ClosedResourceError`` once the listener is closed, ``OSError`` when it is
        broken.
        """
        while True:
            try:
                stream = await self._listener.accept()
            except OSError as error:
                if error.errno not in _OUT_OF_RESOURCES:
                    raise
                await trio.sleep(_ACCEPT_PAUSE)
                continue
            try:
                peer = stream.socket.getpeername()
            except OSError:
                # The peer has closed it already.
                await trio.aclose_forcefully(stream)
            else:
                return DirectStream(stream), address_text(peer)

    def close(self) -> None:
        """Stop listening. Closing twice is fine."""
        self._listener.socket.close()
        match self._name:
            case str(path) if path:
                with contextlib.suppress(FileNotFoundError):
                    Path(path).unlink()
            case _:
                pass


def address_text(address: object) -> str:
    """An address as people write it."""
    match address:
        case (str(host), int(port), *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case str(path) if path:
            return path
        case _:
            return "a Unix socket"


def system_error(error: BaseException) -> OSError | None:
    """The system's error behind what trio raised; of several addresses, the error of the last."""
    match error:
        case BaseExceptionGroup(exceptions=several):
            return system_error(several[-1])
        case OSError(__cause__=None):
            return error
        case _:
            return system_error(error.__cause__) if error.__cause__ is not None else None


async def connect_tcp(host: str, port: int) -> DirectStream:
    """Connect to the first address of ``host`` that answers.

    Raises ``OSError``, the system's own, when none does. When cancelled, no socket stays open.
    """
    try:
        stream = await trio.open_tcp_stream(host, port)
    except UnicodeError as error:
        raise OSError(f"{host!r} is no host name: {error}") from None
    except OSError as error:
        match system_error(error):
            case OSError(errno=int(number)) as own if own is not error:
                # In the system's words, because trio's words repeat the address.
                raise OSError(number, os.strerror(number)) from None
        raise
    try:
        if stream.socket.getsockname() == stream.socket.getpeername():
            # A connect to a free port in the range of source ports may connect to itself.
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    except OSError:
        # It may also be reset already, and then it has no peer.
        await trio.aclose_forcefully(stream)
        raise
    return DirectStream(stream)


async def connect_unix(path: str) -> DirectStream:
    """Connect to a Unix stream socket. Raises ``OSError`` when that fails."""
    return DirectStream(await trio.open_unix_socket(path))


async def listen_tcp(host: str, port: int, backlog: int = 128) -> Listener:
    """Listen on the first address of ``host``; for port 0 the system chooses one.

    Raises ``OSError``.
    """
    try:
        found = await trio.socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except UnicodeError as error:
        raise OSError(f"{host!r} is no host name: {error}") from None
    address = found[0][4]
    (listener,) = await trio.open_tcp_listeners(port, host=str(address[0]), backlog=backlog)
    return Listener(listener)


async def listen_unix(path: str, backlog: int = 128) -> Listener:
    """Listen on a Unix stream socket; the path is removed when it closes. Raises ``OSError``."""
    made = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        await made.bind(path)
        made.listen(backlog)
    except OSError:
        made.close()
        raise
    return Listener(trio.SocketListener(made))
