"""The ends of connections as a kernel keeps them: what RFC 9293 asks for, as far as a program sees.

A send buffer and a window that the reader opens; acknowledgements; retransmission with doubling
pauses, until the kernel gives up; half close; resets for what belongs to no connection. There is no
congestion control, and a segment that comes out of order is dropped. A kernel is told here what is
lost, so it sends nothing again that is only slow.
"""

from __future__ import annotations

import errno
import math
from collections import deque
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, assert_never

import trio

if TYPE_CHECKING:
    from hsms_engine.virtual.network import Due, Machine


@dataclass(frozen=True, slots=True)
class Kernel:
    """The settings of every kernel.

    Buffers are bytes, for each connection. What is lost is sent again after ``first_pause``
    seconds, then after twice as many and so on, at most ``longest_pause``; after ``patience``
    seconds without any answer, the connection is broken. ``segment``: the most bytes
    of one; when ``is_choppy``, chance cuts them shorter.
    """

    send_buffer: float = math.inf
    receive_buffer: float = math.inf
    segment: float = math.inf
    is_choppy: bool = False
    first_pause: float = 1.0
    longest_pause: float = 120.0
    patience: float = 924.0


@dataclass(frozen=True, slots=True)
class Syn:
    """Somebody wants to connect."""


@dataclass(frozen=True, slots=True)
class SynAck:
    """He may, and send up to ``edge``."""

    edge: float


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes from the ``at``-th on; perhaps the last ones, or none: then it only asks for an Ack."""

    at: int
    data: bytes
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Ack:
    """All before ``at`` has come; there is room up to ``edge``."""

    at: int
    edge: float


@dataclass(frozen=True, slots=True)
class Reset:
    """There is no such connection."""


Segment = SynAck | Data | Ack | Reset
_SYN, _RESET = Syn(), Reset()


class _State(Enum):
    """Where an end is. ``OVER``: the kernel has forgotten it; ``GONE``: so it has, by a crash."""

    DIALLING = "dialling"
    HALF_OPEN = "half open"
    OPEN = "open"
    OVER = "over"
    GONE = "gone"


class Socket(trio.abc.HalfCloseableStream):
    """One end of a connection. ``send_buffer`` and ``receive_buffer`` may be changed."""

    def __init__(
        self, machine: Machine, target: Machine, name: str, peer: str, port: int | None = None
    ) -> None:
        """``port``: this end dials; without, ``open_half`` is to be called."""
        self.name = name
        self.peer = peer
        # Itself until the other machine has one.
        self.other = self
        self.machine, self._target = machine, target
        self._port = port
        network = machine.network
        self._network = network
        self._kernel = kernel = network.kernel
        self.send_buffer, self.receive_buffer = kernel.send_buffer, kernel.receive_buffer
        self._state = _State.DIALLING
        self._error: OSError | None = None
        # Whether its program knows the error: a kernel tells it once, and then the end.
        self._is_told = False
        self._is_closed = False
        self._nat: bool | None = None
        self._post: Post | None = None
        # Sending. Positions count the bytes of the connection; the end counts as one.
        self._unacked = bytearray()
        self._acked = 0
        self._next = 0
        self._edge: float = 0
        self._ends = self._end_acked = False
        # Receiving.
        self._received = bytearray()
        self._expected = 0
        self._told_edge: float = 0
        self._peer_ended = False
        # Whether the latest wait for bytes was stopped.
        self._is_stopped = False
        # Sending again.
        self._again: Due | None = None
        self._tries = 0
        # All before it that is not acknowledged may be lost.
        self._lost = -1
        # When the first of what is not answered at all was sent.
        self._asked_at: float | None = None
        self._news = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()
        machine.sockets[self] = None

    # What trio and the engine's driver call

    @property
    def local_address(self) -> str:
        """Its machine and its port."""
        return self.name

    @property
    def remote_address(self) -> str:
        """The machine and the port at the other end."""
        return self.peer

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Take what the send buffer takes, perhaps nothing. Returns how many bytes that is.

        Raises ``trio.BrokenResourceError`` when the connection is broken or closed.
        """
        self._network.advance()
        if self._state is _State.GONE:
            return len(data)
        self._expect_open()
        if self._ends:
            raise trio.BrokenResourceError("the end is sent")
        count = min(len(data), self.send_buffer - len(self._unacked))
        if count <= 0:
            return 0
        piece = bytes(data[: int(count)])
        self._unacked += piece
        if self._network.sent is not None:
            self._network.sent(self, piece)
        self._pump()
        return len(piece)

    async def send_some(self, data: memoryview) -> int:
        """Wait until there is room for some of ``data``. Returns how many bytes were taken."""
        await self.wait_send_all_might_not_block()
        return self.send_nowait(data)

    def unacknowledged(self) -> int | None:
        """How many of the bytes taken the other end's kernel has not acknowledged; the end is one.

        None when it is closed.
        """
        self._network.advance()
        if self._is_closed:
            return None
        return len(self._unacked) + (self._ends and not self._end_acked)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        left = memoryview(data)
        while left:
            left = left[await self.send_some(left) :]

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()
        self._network.advance()
        while self._can_work() and len(self._unacked) >= self.send_buffer:
            await self._room.park()
            self._network.advance()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await self.wait_readable()
        return self._take(max_bytes)

    async def wait_readable(self) -> None:
        """Wait until there is something to take, or an end, or ``stop_waiting``."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._network.advance()
        waited = self._is_stopped = False
        while not (self._received or self._peer_ended or self._is_stopped) and self._can_work():
            waited = True
            await self._news.park()
            self._network.advance()
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()
            self._network.advance()

    def stop_waiting(self) -> None:
        """Let ``wait_readable`` return."""
        self._is_stopped = True
        self._news.unpark_all()

    def receive_nowait(self, max_bytes: int) -> bytes | None:
        """What has come; None when nothing has, empty at the end."""
        self._network.advance()
        if not (self._received or self._peer_ended) and self._can_work():
            return None
        return self._take(max_bytes)

    def receive_into_nowait(self, space: memoryview) -> int | None:
        """Like ``receive_nowait``, but put it into ``space``. How many bytes it was."""
        data = self.receive_nowait(len(space))
        if data is None:
            return None
        space[: len(data)] = data
        return len(data)

    def _take(self, max_bytes: int | None) -> bytes:
        if not self._received:
            if self._is_closed or not (self._peer_ended or self._is_told):
                self._expect_open()
            return b""
        data = bytes(self._received[:max_bytes])
        del self._received[:max_bytes]
        if self._edge_here() - self._told_edge >= self.receive_buffer / 2:
            self._acknowledge()
        return data

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        self._network.advance()
        if self._state is not _State.GONE:
            self._expect_open()
            self._end()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Close. The kernel sends what it has, and the end; a reset when something is not read."""
        self._network.advance()
        if self._is_closed:
            return
        if self._received:
            self.reset()
            return
        self._is_closed = True
        self._wake()
        if self._state is _State.OPEN:
            self._end()

    def reset(self) -> None:
        """Close at once, and tell the peer by a reset. Closing twice is fine."""
        self._network.advance()
        if not self._is_closed:
            self._is_closed = True
            self._received.clear()
            self._abort()

    @property
    def is_open(self) -> bool:
        """Whether it is connected, and its program has not closed it."""
        return self._state is _State.OPEN and not self._is_closed

    def is_over(self) -> bool:
        """Whether the peer has reset, or has closed and nothing that it sent is left to read."""
        self._network.advance()
        if self._error is not None:
            return True
        return not self._received and (self._peer_ended or self._is_closed)

    @property
    def is_forgotten(self) -> bool:
        """Whether a NAT has forgotten it."""
        return self._nat is not None

    @property
    def is_sending(self) -> bool:
        """Whether something is not acknowledged."""
        return bool(self._unacked) or (self._ends and not self._end_acked)

    # What may happen to it

    def break_off(self) -> None:
        """Its kernel forgets it; its program gets an error, and the peer is not told."""
        self._network.advance()
        self._die(_State.OVER, ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def vanish(self) -> None:
        """Its machine has crashed: its program, which is to be ended, gets no error."""
        self._die(_State.GONE)

    def forgotten_by_nat(self, *, resets: bool) -> None:
        """What stands between forgets it: nothing arrives, and is answered by a reset, or not."""
        self._nat = resets

    # Opening

    async def connect(self) -> None:
        """Wait until the other end has answered. Raises ``OSError`` when it does not let us in."""
        self._ask(_SYN)
        try:
            await trio.lowlevel.checkpoint()
            while self._state is _State.DIALLING:
                await self._news.park()
                self._network.advance()
        except trio.Cancelled:
            self._is_closed = True
            self._die(_State.OVER)
            raise
        if self._error is not None:
            raise self._error

    def open_half(self, other: Socket, post: Post) -> None:
        """The other end has knocked at ``post``."""
        self.other, other.other = other, self
        self._post = post
        self._state = _State.HALF_OPEN
        self._say_hello()

    def _say_hello(self) -> None:
        self._told_edge = self._edge_here()
        self._ask(SynAck(self._told_edge))

    def _knock(self) -> None:
        """At the other machine: this end wants to connect."""
        target = self._target
        if self.other is not self and self.other in target.sockets:
            self.other._say_hello()
            return
        post = target.posts.get(self._port or 0)
        if post is None and not target.is_silent:
            refuse = partial(self._arrive, _RESET)
            self._network.carry(target, self.machine, 0, refuse, self.lose, reset=True)
        elif post is None or not post.has_room():
            # Nobody hears it.
            self.lose()
        else:
            opened = Socket(target, self.machine, self.peer, self.name)
            post.knocking[opened] = None
            opened.open_half(self, post)

    # Segments

    def _ask(self, segment: Syn | SynAck | Data) -> None:
        """Send what is to be answered."""
        if self._asked_at is None:
            self._asked_at = self._network.now
        self._transmit(segment)

    def _transmit(self, segment: Segment | Syn) -> None:
        if self._nat is not None:
            if self._nat:
                self._network.at(self._network.now, partial(self._arrive, _RESET))
            self._lose(segment)
            return
        size, fin, arrive = 0, False, self._knock
        match segment:
            case Syn():
                pass
            case Data(_, data, is_last):
                size, fin, arrive = len(data), is_last, partial(self.other._arrive, segment)
            case _:
                arrive = partial(self.other._arrive, segment)
        self._network.carry(
            self.machine,
            self._target,
            size,
            arrive,
            partial(self._lose, segment),
            fin=fin,
            reset=segment is _RESET,
        )

    def _lose(self, segment: Segment | Syn) -> None:
        """It is lost; who waits for something because of that sends again."""
        match segment:
            case Data(at, data, is_last):
                self.lose(at + len(data) + is_last)
            case Syn():
                self.lose()
            case SynAck():
                self.lose()
                self.other.lose()
            case Ack(at):
                self.other.lose(at)
            case Reset():
                self.other.lose(self.other._next)
            case _:
                assert_never(segment)

    def lose(self, position: int = 0) -> None:
        """Something of ours before ``position``, or its answer, is lost."""
        self._lost = max(self._lost, position)
        if self._state in (_State.DIALLING, _State.HALF_OPEN, _State.OPEN):
            self._send_again_later()

    def _arrive(self, segment: Segment) -> None:
        if self._state in (_State.OVER, _State.GONE):
            if segment is not _RESET and not self.machine.is_silent:
                self._transmit(_RESET)
            else:
                self.other.lose(self.other._next)
            return
        match segment:
            case Reset() if self._state is _State.DIALLING:
                self._die(_State.OVER, OSError(errno.ECONNREFUSED, "Connection refused"))
            case Reset():
                self._die(_State.OVER, OSError(errno.ECONNRESET, "Connection reset by peer"))
            case SynAck(edge):
                if self._state is _State.DIALLING:
                    self._state, self._edge = _State.OPEN, edge
                    self._answered()
                    self._news.unpark_all()
                self._acknowledge()
            case Ack() | Data() if not self._is_let_in():
                pass
            case Ack(at, edge):
                self._take_ack(at, edge)
            case Data(at, data, is_last):
                self._take_data(at, data, is_last=is_last)
            case _:
                assert_never(segment)

    def _is_let_in(self) -> bool:
        """What comes shows that the other end knows that we have answered."""
        if self._state is _State.HALF_OPEN and self._post is not None:
            if self not in self._post.knocking:
                # Nobody listens any more.
                self._abort()
                return False
            if not self._post.has_room():
                # It stays half open, and both ends try again.
                self.lose()
                self.other.lose(self.other._next)
                return False
            self._state = _State.OPEN
            self._post.let_in(self)
            self._post = None
            self._answered()
        return True

    def _take_ack(self, at: int, edge: float) -> None:
        self._asked_at = None
        if at > self._acked:
            count = min(at - self._acked, len(self._unacked))
            del self._unacked[:count]
            self._end_acked = at - self._acked > count
            self._acked = at
            self._next = max(self._next, at)
            self._answered()
            self._room.unpark_all()
        self._edge = edge
        self._pump()
        self._forget_when_done()

    def _take_data(self, at: int, data: bytes, *, is_last: bool) -> None:
        new = data[self._expected - at :] if at <= self._expected else b""
        if self._is_closed and new:
            # No program is there to read it.
            self._abort()
            return
        room = self.receive_buffer - len(self._received)
        if len(new) > room:
            new = new[: int(room)]
            self.other.lose(at + len(data))
        self._received += new
        self._expected += len(new)
        if is_last and self._expected == at + len(data):
            self._expected += 1
            self._peer_ended = True
        self._acknowledge()
        if new or self._peer_ended:
            self._news.unpark_all()
        self._forget_when_done()

    def _edge_here(self) -> float:
        return self._expected + max(self.receive_buffer - len(self._received), 0)

    def _acknowledge(self) -> None:
        self._told_edge = self._edge_here()
        self._transmit(Ack(self._expected, self._told_edge))

    # Sending

    def _end(self) -> None:
        if not self._ends:
            self._ends = True
            self._pump()

    def _pump(self) -> None:
        """Send what may be sent now."""
        end = self._acked + len(self._unacked)
        while self._next < end and self._next < self._edge:
            self._send_piece(end)
        if self._ends and not self._end_acked and self._next == end:
            self._send_piece(end)
        if self._unacked and self._acked == self._next:
            # There is no room at the other end: ask now and then whether there is.
            self._send_again_later()

    def _send_piece(self, end: int) -> None:
        """The next segment; without data when there is none, or no room for any."""
        kernel, at = self._kernel, self._next
        size = int(max(0, min(kernel.segment, end - at, self._edge - at)))
        if size > 1 and kernel.is_choppy:
            size = self._network.random.randint(1, size)
        data = bytes(self._unacked[at - self._acked : at - self._acked + size])
        is_last = self._ends and at + size == end
        self._next += size + is_last
        self._ask(Data(at, data, is_last))

    def _answered(self) -> None:
        """The other end has taken something that is new to it."""
        self._tries, self._asked_at = 0, None

    def _send_again_later(self) -> None:
        first = self._kernel.first_pause
        if self._again is None and first < math.inf:
            pause = min(first * 2 ** min(self._tries, 60), self._kernel.longest_pause)
            self._again = self._network.at(self._network.now + pause, self._send_again)

    def _send_again(self) -> None:
        self._again = None
        asked_at = self._network.now if self._asked_at is None else self._asked_at
        has_no_room = bool(self._unacked) and self._acked == self._next
        if self._state is _State.OPEN and self._lost <= self._acked and not has_no_room:
            # What was lost has been acknowledged by a later answer.
            return
        if self._network.now - asked_at >= self._kernel.patience:
            self._die(_State.OVER, OSError(errno.ETIMEDOUT, "Connection timed out"))
            return
        self._tries += 1
        match self._state:
            case _State.DIALLING:
                self._ask(_SYN)
            case _State.HALF_OPEN:
                self._say_hello()
            case _:
                self._next, self._lost = self._acked, -1
                self._send_piece(self._acked + len(self._unacked))
                if has_no_room:
                    self._send_again_later()

    # Being over

    def _abort(self) -> None:
        """Be over, and tell the other end."""
        if self._state in (_State.OPEN, _State.HALF_OPEN):
            self._transmit(_RESET)
        self._die(_State.OVER, OSError(errno.ECONNRESET, "Connection reset by peer"))

    def _die(self, state: _State, error: OSError | None = None) -> None:
        if self._state in (_State.OVER, _State.GONE):
            return
        self._state, self._error = state, error
        if self._post is not None:
            self._post.knocking.pop(self, None)
        if self._again is not None:
            self._again.cancel()
            self._again = None
        self._unacked.clear()
        self.machine.sockets.pop(self, None)
        self._wake()

    def _forget_when_done(self) -> None:
        """Both ends have closed: the machine need not know it any more."""
        if self._is_closed and self._peer_ended and self._end_acked:
            self.machine.sockets.pop(self, None)

    def _wake(self) -> None:
        if self._state is not _State.GONE:
            self._news.unpark_all()
            self._room.unpark_all()

    def _can_work(self) -> bool:
        return not self._is_closed and self._error is None

    def _expect_open(self) -> None:
        if self._is_closed:
            raise trio.ClosedResourceError("this end is closed")
        if self._error is not None:
            self._is_told = True
            raise trio.BrokenResourceError(str(self._error)) from self._error


class Post:
    """A listening port of a machine, as a server takes it."""

    def __init__(self, machine: Machine, port: int, backlog: float) -> None:
        self.machine = machine
        self._port = port
        self._backlog = backlog
        # Those who have not answered our answer, and those who have.
        self.knocking: dict[Socket, None] = {}
        self._waiting: deque[Socket] = deque()
        self._news = trio.lowlevel.ParkingLot()
        self._is_closed = False

    @property
    def address(self) -> str:
        """``machine:port``."""
        return f"{self.machine.name}:{self._port}"

    @property
    def port(self) -> int:
        """The port of its machine."""
        return self._port

    async def accept(self) -> tuple[Socket, str]:
        """The next connection, which may be over already, and its peer.

        Raises ``trio.ClosedResourceError`` once closed.
        """
        await trio.lowlevel.checkpoint()
        self.machine.network.advance()
        while not self._waiting:
            if self._is_closed:
                raise trio.ClosedResourceError
            await self._news.park()
        socket = self._waiting.popleft()
        return socket, socket.peer

    def close(self) -> None:
        """Stop listening; who waits is turned away. Closing twice is fine."""
        self.machine.network.advance()
        if not self._is_closed:
            self._is_closed = True
            del self.machine.posts[self._port]
            while self._waiting:
                self._waiting.popleft().reset()
            self.knocking.clear()
            self._news.unpark_all()

    def vanish(self) -> None:
        """Its machine has crashed."""
        self._is_closed = True
        self._waiting.clear()
        self.knocking.clear()

    def has_room(self) -> bool:
        """Whether one more may wait; what a full one does not hear comes again."""
        return len(self._waiting) < self._backlog

    def let_in(self, socket: Socket) -> None:
        """A connection is there, to be accepted."""
        del self.knocking[socket]
        self._waiting.append(socket)
        self._news.unpark_all()
