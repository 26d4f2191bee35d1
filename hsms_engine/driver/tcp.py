"""trio's TCP streams and listeners, with the one thing that trio lacks: a send that never waits.

With ``send_nowait`` the task that reads can send an answer at once when nothing is queued, so most
frames need no task switch.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import struct
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import ip_address
from operator import index
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import trio

from hsms_engine.driver.dialling import (
    ANYWHERE,
    Began,
    GiveBack,
    Local,
    always,
    dial,
    expect_scope,
)
from hsms_engine.driver.turns import turns_here

RECEIVE_SIZE = 65_536
# While the rest of a long frame is to come.
LARGEST_RECEIVE_SIZE = 524_288

# What a stream raises when its connection is broken, or closed under it.
BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)

_T = TypeVar("_T")
_G = TypeVar("_G")
Stream = trio.abc.Stream
Dial = Callable[[], Awaitable[Stream]]
# A dial that may have to wait for its turn: it calls what it is given when it has really begun, and
# what it gives is to be called when the attempt is decided.
PatientDial = Callable[[Began], Awaitable[tuple[Stream, GiveBack]]]

# The most pieces that the kernel is given at once; POSIX systems take 1,024 and perhaps no more.
_PIECES = 1_024
# The most bytes that the kernel is to hold unsent; where it cannot be told that, all that it holds.
_UNSENT = 131_072


@runtime_checkable
class Resettable(Protocol):
    """A stream that can close with RST, as ``DirectStream`` does."""

    def reset(self) -> None: ...


@runtime_checkable
class Peekable(Protocol):
    """A stream that can tell whether its peer has gone, as ``DirectStream`` does."""

    def is_over(self) -> bool: ...


@runtime_checkable
class Addressed(Protocol):
    """A stream that knows the addresses of its two ends, as ``DirectStream`` does."""

    @property
    def local_address(self) -> str: ...

    @property
    def remote_address(self) -> str: ...


class _Borrowed(socket.socket):
    """A second object for a socket that another object owns: it closes nothing when dropped.

    Otherwise the descriptor would be closed twice, and by then it may belong to somebody else.
    """

    def __del__(self) -> None:
        self.detach()


class DirectStream(trio.abc.HalfCloseableStream):
    """A trio socket stream, TCP or Unix, that can also send without waiting."""

    __slots__ = ("__weakref__", "_socket", "_stream")

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        # A second socket object on the same descriptor, because trio's own send always may wait.
        self._socket = _Borrowed(fileno=stream.socket.fileno())
        self._socket.setblocking(False)
        if not hasattr(socket, "TCP_NOTSENT_LOWAT"):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNSENT)
        elif stream.socket.family in (socket.AF_INET, socket.AF_INET6):
            # Trio has set fewer, which costs a long message many turns. A peer may have gone, which
            # some systems answer with an error.
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)

    @property
    def local_address(self) -> str:
        """That of this end, as ``host:port``; empty when the system does not know it any more."""
        return self._address(self._socket.getsockname)

    @property
    def remote_address(self) -> str:
        """That of the peer."""
        return self._address(self._socket.getpeername)

    def _address(self, ask: Callable[[], object]) -> str:
        try:
            return address_text(ask())
        except OSError:
            return ""

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Give the kernel the bytes that it takes now. How many it took, perhaps 0.

        Raises ``trio.BrokenResourceError`` when the connection is broken.
        """
        return self._sent(self._socket.send, data)

    def send_pieces_nowait(self, pieces: list[bytes]) -> int:
        """``send_nowait`` for several pieces, in order, without a copy where the system can."""
        if sys.platform == "win32":
            return self.send_nowait(b"".join(pieces))
        return self._sent(self._socket.sendmsg, pieces[:_PIECES])

    def _sent(self, send: Callable[[_T], int], data: _T) -> int:
        try:
            return send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    def is_over(self) -> bool:
        """Whether the peer has reset, or has closed and nothing that it has sent is left to read.

        The system tells a reset once: after this, a read gives the end instead.
        """
        try:
            # After a reset there is none, though bytes may be left.
            self._socket.getpeername()
            return not self._socket.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True

    def unacknowledged(self) -> int | None:
        """How many bytes given to the kernel the peer's system has not acknowledged.

        A FIN counts as one. A Unix socket tells the memory that they take. None when the system
        cannot tell, or the stream is closed.
        """
        try:
            if sys.platform == "linux":
                import fcntl
                import termios

                answer = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4))
                return int.from_bytes(answer, sys.byteorder)
            elif sys.platform == "darwin":
                # SO_NWRITE, which Python does not name.
                return self._socket.getsockopt(socket.SOL_SOCKET, 0x1024)
        except (OSError, ValueError):
            pass
        return None

    async def send_some(self, data: memoryview) -> int:
        """Wait until the kernel takes some of ``data``. How many bytes it took."""
        await self.wait_send_all_might_not_block()
        return self.send_nowait(data)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        try:
            await self._stream.wait_send_all_might_not_block()
        except trio.ClosedResourceError:
            self._expect_open()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Wait until something has come, then take it. Closing it ends the wait.

        Not by trio's own: this needs no second turn when something is there already, and a link
        that waits is 1 kB smaller.
        """
        size = RECEIVE_SIZE if max_bytes is None else index(max_bytes)
        if size < 1:
            raise ValueError(f"max_bytes={size!r} must be 1 or more")
        while True:
            self._expect_open()
            try:
                await trio.lowlevel.wait_readable(self._socket)
            except trio.ClosedResourceError:
                continue
            data = self.receive_nowait(size)
            if data is not None:
                return data

    async def wait_readable(self) -> None:
        """Wait until there is something to take, or an end, or ``stop_waiting``.

        Raises ``trio.ClosedResourceError`` when it is closed.
        """
        self._expect_open()
        try:
            await trio.lowlevel.wait_readable(self._socket)
        except trio.ClosedResourceError:
            self._expect_open()

    def stop_waiting(self) -> None:
        """Let ``wait_readable`` and ``send_some`` return; other waits of this stream may break."""
        # Of the ways in which trio ends such a wait this one costs nothing until it is used.
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)

    def _expect_open(self) -> None:
        """A wait that ends as if this were closed may have been ended by ``stop_waiting``."""
        if self._socket.fileno() < 0:
            raise trio.ClosedResourceError

    def receive_nowait(self, max_bytes: int) -> bytes | None:
        """What has come; None when nothing has, empty at the end.

        Raises ``trio.BrokenResourceError`` when the connection is broken, and
        ``trio.ClosedResourceError`` when it is closed.
        """
        return self._received(self._socket.recv, max_bytes)

    def receive_into_nowait(self, space: memoryview) -> int | None:
        """Like ``receive_nowait``, but put it into ``space``. How many bytes it was."""
        return self._received(self._socket.recv_into, space)

    def _received(self, receive: Callable[[_G], _T], given: _G) -> _T | None:
        try:
            return receive(given)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            self._expect_open()
            raise trio.BrokenResourceError(str(error)) from error

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    def close(self) -> None:
        """Close without waiting. Closing twice is fine."""
        # The stream closes the descriptor; this object must only let go of it.
        self._socket.detach()
        self._stream.socket.close()

    def reset(self) -> None:
        """Close so that the peer is told at once (RST); what is not sent is dropped.

        A Unix socket just closes. Closing twice is fine.
        """
        # On, and 0 seconds to wait. Windows has two shorts here.
        linger = struct.pack("HH" if sys.platform == "win32" else "ii", 1, 0)
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()


class Listening(Protocol):
    """What a server needs of a listener; ``Listener`` is the one for TCP and Unix sockets."""

    @property
    def address(self) -> str:
        """Where it listens, as the log and errors name it."""
        ...

    @property
    def port(self) -> int:
        """The TCP port, 0 if it has none."""
        ...

    async def accept(self) -> tuple[Stream, str]:
        """The next connection and its peer's address."""
        ...

    def close(self) -> None:
        """Take no more connections. Those that were taken stay."""
        ...


# With it only one listener can have a port, and a new one can have it at once when the old one is
# gone. On Windows SO_REUSEADDR would let two have it, and so would neither of the two options.
if sys.platform == "win32":
    _ONE_LISTENER = socket.SO_EXCLUSIVEADDRUSE
else:
    _ONE_LISTENER = socket.SO_REUSEADDR

# Seconds to wait when the system has no descriptor free: other connections must close first.
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_ACCEPT_PAUSE = 0.1
# Seconds until a connection to a Unix socket is tried again whose listener has no room for it.
_FULL_PAUSE = 0.05
# Connections that may wait to be accepted; the system may allow fewer.
_BACKLOG = 4_096
# Bytes in the path of a Unix socket, without the NUL at its end.
_LONGEST_PATH = 107 if sys.platform == "linux" else 103
# Connections accepted in one turn, after which other tasks have theirs.
_BURST = 16


class Listener:
    """A listening socket that stays open across connections."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener
        self._name: object = listener.socket.getsockname()
        # A second object, as in ``DirectStream``: trio's own accept takes a turn for each.
        self._socket = _Borrowed(fileno=listener.socket.fileno())
        self._socket.setblocking(False)
        self._turns = turns_here()
        # Of the file of a Unix socket, so that the one of a successor is not removed.
        self._file = _file_of(self._name)
        self._accepted: deque[tuple[DirectStream, str]] = deque()

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

        Those that already wait come without a task switch, up to a bound; but one in each pass of
        the event loop while its turns are short. One whose peer has closed meanwhile comes too
        (``is_over``). Raises ``trio.ClosedResourceError`` once the listener is closed, ``OSError``
        when it is broken.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._accepted:
            try:
                self._take(await self._listener.accept())
            except OSError as error:
                if error.errno not in _OUT_OF_RESOURCES:
                    raise
                await trio.sleep(_ACCEPT_PAUSE)
            else:
                self._take_more()
        return self._accepted.popleft()

    def _take_more(self) -> None:
        while len(self._accepted) < _BURST and not self._turns.are_short:
            try:
                made, _ = self._socket.accept()
            except OSError:
                # There is none, or the next call meets the same error.
                return
            self._take(trio.SocketStream(trio.socket.from_stdlib_socket(made)))

    def _take(self, stream: trio.SocketStream) -> None:
        try:
            peer = address_text(stream.socket.getpeername())
        except OSError:
            # The system does not know it any more.
            peer = "a peer that has reset"
        self._accepted.append((DirectStream(stream), peer))

    def close(self) -> None:
        """Stop listening. Closing twice is fine."""
        match self._name:
            # While it listens no successor takes its file over, and no other has its number. The
            # second time that is not so.
            case str(path) if self._socket.fileno() >= 0 and path and _file_of(path) == self._file:
                Path(path).unlink(missing_ok=True)
            case _:
                pass
        # The listener closes the descriptor; this object must only let go of it.
        self._socket.detach()
        self._listener.socket.close()
        while self._accepted:
            self._accepted.popleft()[0].close()


def address_text(address: object) -> str:
    """An address as people write it, with its interface where it needs one."""
    match address:
        case (str(host), int(port), _, int(scope)) if scope:
            return f"[{host}%{_interface(scope)}]:{port}"
        case (str(host), int(port), *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case str(path) if path:
            return path
        case _:
            return "a Unix socket"


def _interface(number: int) -> str:
    """The name of an interface; on Windows its number, which people write there."""
    if sys.platform != "win32":
        # It may be gone.
        with contextlib.suppress(OSError):
            return socket.if_indextoname(number)
    return str(number)


def host_of(address: str) -> str:
    """The host in ``address_text``, without port; empty when there is none."""
    host, _, port = address.rpartition(":")
    if "/" in host or not port.isdecimal():
        return ""
    return host.strip("[]")


def is_this_machine(host: str) -> bool:
    """Whether only this machine can reach what listens on ``host``."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def addresses_of(stream: Stream) -> tuple[str, str]:
    """The addresses of this end and of the peer; empty when they are not known."""
    match stream:
        case Addressed():
            return stream.local_address, stream.remote_address
        case _:
            return "", ""


def system_error(error: BaseException) -> OSError | None:
    """The system's error behind what trio raised."""
    match error:
        case OSError(__cause__=None):
            return error
        case _:
            return system_error(error.__cause__) if error.__cause__ is not None else None


async def dial_tcp(
    host: str,
    port: int,
    began: Began,
    local: Local = ANYWHERE,
    may_dial: Callable[[], bool] = always,
) -> tuple[DirectStream, GiveBack]:
    """Connect to the address of ``host`` that answers first: see ``dialling``.

    Raises ``OSError`` when none does. When cancelled, no socket stays open.
    """
    stream, give_back = await dial(host, port, began, local, may_dial)
    return DirectStream(stream), give_back


async def connect_tcp(host: str, port: int, began: Began = lambda _: None) -> DirectStream:
    """Like ``dial_tcp``, for a caller that has nothing more to decide."""
    stream, give_back = await dial_tcp(host, port, began)
    give_back()
    return stream


async def connect_unix(path: str) -> DirectStream:
    """Connect to a Unix stream socket. Raises ``OSError`` when that fails.

    While the queue of who listens is full, it waits.
    """
    here = socket.socket(_unix_family(), socket.SOCK_STREAM)
    with _closed_unless_done(trio.socket.from_stdlib_socket(here)) as made:
        while True:
            await trio.lowlevel.checkpoint()
            try:
                # Not by trio's own, which takes a full queue for a connection that is under way.
                here.connect(_short(path))
            except BlockingIOError:
                await trio.sleep(_FULL_PAUSE)
            else:
                return DirectStream(trio.SocketStream(made))


async def listen_tcp(host: str, port: int, backlog: int = _BACKLOG) -> Listener:
    """Listen on the first address of ``host``; for port 0 the system chooses one.

    Not by trio's ``open_tcp_listeners``: on Windows another program could take part of the
    connections of its port. Raises ``OSError``.
    """
    try:
        found = await trio.socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except UnicodeError as error:
        raise OSError(f"{host!r} is no host name: {error}") from None
    family, kind, protocol, _, address = found[0]
    expect_scope(address)
    with _closed_unless_done(trio.socket.socket(family, kind, protocol)) as made:
        made.setsockopt(socket.SOL_SOCKET, _ONE_LISTENER, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        await made.bind(address)
        made.listen(backlog)
        return Listener(trio.SocketListener(made))


async def listen_unix(path: str, backlog: int = _BACKLOG, *, mode: int | None = None) -> Listener:
    """Listen on a Unix stream socket; the path is removed when it closes.

    A socket that a dead program has left there is taken over. ``mode`` is for the file, in force
    before anybody can connect; None: as the system makes it. Raises ``OSError``, which says who
    listens there already, where the system knows.
    """
    with _closed_unless_done(_unix_socket()) as made:
        try:
            await made.bind(_short(path))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            _remove_dead(path)
            await made.bind(path)
        if mode is not None:
            _restrict(path, mode)
        made.listen(backlog)
        return Listener(trio.SocketListener(made))


def _restrict(path: str, mode: int) -> None:
    Path(path).chmod(mode)


def _short(path: str) -> str:
    """``path``, if the system can have a socket there. Raises ``OSError``."""
    if (size := len(os.fsencode(path))) > _LONGEST_PATH:
        raise OSError(
            errno.ENAMETOOLONG,
            f"the path has {size} bytes, and that of a Unix socket at most {_LONGEST_PATH}",
        )
    return path


def _remove_dead(path: str) -> None:
    """Remove the socket of a program that is dead. Raises ``OSError`` when it is not one."""
    file = Path(path)
    try:
        if not stat.S_ISSOCK(file.lstat().st_mode):
            raise OSError(errno.EEXIST, "something is there that is no socket")
        with socket.socket(_unix_family(), socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            # When it can take no more for now, somebody listens too.
            with contextlib.suppress(BlockingIOError):
                probe.connect(path)
            in_use = os.strerror(errno.EADDRINUSE)
            raise OSError(errno.EADDRINUSE, f"{in_use}: {_listener_of(probe)} listens there")
    except ConnectionRefusedError:
        file.unlink(missing_ok=True)
    except FileNotFoundError:
        # It was removed meanwhile.
        pass


def _listener_of(probe: socket.socket) -> str:
    """Who listens, as far as the system tells those who connect."""
    # By name, because only Linux has it.
    option: int | None = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return "another program"
    process, user, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, option, 12))
    return f"process {process} of user {user}" if process else "another program"


def _file_of(name: object) -> tuple[int, int] | None:
    """Which file a socket has; None when it has none."""
    match name:
        case str(path) if path:
            try:
                found = Path(path).lstat()
            except OSError:
                return None
            return found.st_dev, found.st_ino
        case _:
            return None


@contextlib.contextmanager
def _closed_unless_done(made: trio.socket.SocketType) -> Iterator[trio.socket.SocketType]:
    """Close the socket when the block raises, also when it is cancelled."""
    with contextlib.ExitStack() as unless_done:
        unless_done.enter_context(made)
        yield made
        unless_done.pop_all()


def _unix_socket() -> trio.socket.SocketType:
    return trio.socket.socket(_unix_family(), socket.SOCK_STREAM)


def _unix_family() -> int:
    # Asked by name, because a later Python may have them on Windows.
    family: int | None = getattr(socket, "AF_UNIX", None)
    if family is None:
        raise OSError(errno.EAFNOSUPPORT, "this Python has no Unix sockets")
    return family
