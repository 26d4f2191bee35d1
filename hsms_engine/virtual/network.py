"""Machines, the ways between them, and the time at which something arrives.

* What is due is done in the order of its time, up to the present time, at each call of a socket: so
  a program that was blocked finds what came meanwhile, as with a real kernel.
* What goes one way arrives in the order in which it was sent, or not at all.
"""

from __future__ import annotations

import errno
import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import trio

from hsms_engine.virtual.tcp import Kernel, Post, Socket

# Bytes of an IP and a TCP header: they use up the rate of a way too.
_HEADER = 40


@dataclass(slots=True, eq=False)
class Way:
    """The way from one machine to another. All may be changed at any time.

    ``delay`` and ``jitter`` are seconds: each segment takes the first, and a part of the other.
    ``rate`` is bytes in a second, ``loss`` the part of all segments that is lost. When it
    ``is_cut``, nothing arrives; a way may also lose what closes a connection, and only that.
    """

    delay: float = 0.0
    jitter: float = 0.0
    rate: float = math.inf
    loss: float = 0.0
    is_cut: bool = False
    loses_fin: bool = False
    loses_reset: bool = False
    # When it is free for the next segment, and when the latest one arrives.
    free_at: float = -math.inf
    arrives_at: float = -math.inf


class Due:
    """Something that is to be done at a time. ``cancel`` takes it away."""

    __slots__ = ("at", "do", "number")

    def __init__(self, at: float, number: int, do: Callable[[], None]) -> None:
        self.at = at
        self.number = number
        self.do: Callable[[], None] | None = do

    def __lt__(self, other: Due) -> bool:
        return (self.at, self.number) < (other.at, other.number)

    def cancel(self) -> None:
        self.do = None


class Network:
    """The machines and the ways. ``run`` is to run as long as it is used.

    ``sent`` is told of all bytes that a kernel takes: from which socket, and the bytes.
    """

    def __init__(
        self,
        random: Random,
        kernel: Kernel | None = None,
        sent: Callable[[Socket, bytes], None] | None = None,
    ) -> None:
        self.random = random
        self.kernel = kernel or Kernel()
        self.sent = sent
        self.machines: dict[str, Machine] = {}
        self._ways: dict[tuple[str, str], Way] = {}
        self._due: list[Due] = []
        self._numbers = 0
        self._wakes = trio.CancelScope()
        # Seconds: of what is being done now, which may have been due before trio's time.
        self.now = trio.current_time()

    def machine(self, name: str) -> Machine:
        """The machine with this name, made when it is asked for first."""
        if name not in self.machines:
            self.machines[name] = Machine(self, name)
        return self.machines[name]

    def way(self, source: str, target: str) -> Way:
        """The way between two machines, in one direction; of a machine to itself too."""
        return self._ways.setdefault((source, target), Way())

    def ways(self) -> list[Way]:
        """All ways that something was sent on, or that were asked for."""
        return list(self._ways.values())

    def forget(self, *, resets: bool) -> None:
        """What stands between the machines forgets all connections, as a NAT does.

        What is sent on them then is lost, or answered by a reset.
        """
        for machine in self.machines.values():
            for socket in machine.sockets:
                socket.forgotten_by_nat(resets=resets)

    async def run(self) -> None:
        """Do what is due when it is due, until cancelled."""
        while True:
            self.advance()
            with trio.CancelScope(deadline=self._next_due()) as self._wakes:
                await trio.sleep_forever()

    def advance(self) -> None:
        """Do what is due by now. Each call of a socket begins with it."""
        now = trio.current_time()
        while self._due and self._due[0].at <= now:
            due = heapq.heappop(self._due)
            if due.do is not None:
                self.now = max(self.now, due.at)
                due.do()
        self.now = now

    def at(self, time: float, do: Callable[[], None]) -> Due:
        """Call ``do`` at this time of the clock."""
        self._numbers += 1
        due = Due(time, self._numbers, do)
        heapq.heappush(self._due, due)
        if time < self._wakes.deadline:
            self._wakes.deadline = time
        return due

    def carry(
        self,
        source: Machine,
        target: Machine,
        size: int,
        arrive: Callable[[], None],
        lost: Callable[[], None],
        *,
        fin: bool = False,
        reset: bool = False,
    ) -> None:
        """Send a segment with ``size`` bytes of data: at some time it arrives, or it is lost."""
        way = self.way(source.name, target.name)
        sent = max(self.now, way.free_at) + (size + _HEADER) / way.rate
        way.free_at = sent
        if way.jitter:
            sent += way.jitter * self.random.random()
        way.arrives_at = arrives = max(sent + way.delay, way.arrives_at)
        is_lost = way.loss > 0 and self.random.random() < way.loss

        def come() -> None:
            closes = (fin and way.loses_fin) or (reset and way.loses_reset)
            if is_lost or way.is_cut or closes or not target.is_up:
                lost()
            else:
                arrive()

        self.at(arrives, come)

    def _next_due(self) -> float:
        due = self._due
        while due and due[0].do is None:
            heapq.heappop(due)
        return due[0].at if due else math.inf


class Machine:
    """A computer with its kernel. When it ``is_silent``, as behind a firewall, it answers nothing
    that belongs to no connection of it; else it answers with a reset.
    """

    def __init__(self, network: Network, name: str) -> None:
        self.network = network
        self.name = name
        self.is_up = True
        self.is_silent = False
        # What the kernel knows. No set: a run must not depend on where objects are in memory.
        self.sockets: dict[Socket, None] = {}
        self.posts: dict[int, Post] = {}
        self._ports = 40_000

    def listen(self, port: int = 5_000, backlog: float = math.inf) -> Post:
        """Listen; ``backlog`` connections may wait to be accepted.

        Raises ``OSError`` when somebody has this port.
        """
        if port in self.posts:
            raise OSError(f"{self.name}:{port} is in use")
        post = self.posts[port] = Post(self, port, backlog)
        return post

    async def dial(self, target: Machine, port: int = 5_000, local_port: int = 0) -> Socket:
        """Connect, from ``local_port`` or, for 0, from one that nobody has.

        Raises ``OSError`` when nobody listens, nobody answers for too long, or another socket has
        that port.
        """
        self.network.advance()
        if not local_port:
            self._ports += 1
        name = f"{self.name}:{local_port or self._ports}"
        if any(each.name == name for each in self.sockets):
            raise OSError(errno.EADDRINUSE, f"{name} is in use")
        socket = Socket(self, target, name, f"{target.name}:{port}", port)
        await socket.connect()
        return socket

    def crash(self) -> None:
        """It is without power: no program runs, nothing is told, everything is forgotten.

        The caller ends its programs: for them nothing comes, and all that they send is lost.
        """
        self.network.advance()
        self.is_up = False
        for socket in [*self.sockets]:
            socket.vanish()
        for post in [*self.posts.values()]:
            post.vanish()
        self.posts.clear()

    def start(self) -> None:
        """It has power again; its programs are to be started."""
        self.network.advance()
        self.is_up = True
