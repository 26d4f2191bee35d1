"""The fault proxy: it listens, dials the equipment for each connection, and applies its faults.

What passes through it never ends it, and one connection never ends another one.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from hsms_engine.driver.tcp import (
    Dial,
    Listening,
    Stream,
    address_text,
    connect_tcp,
    listen_tcp,
)
from hsms_engine.proxy.armed import Armed, Bell
from hsms_engine.proxy.connection import Connection
from hsms_engine.proxy.events import Acted, Changed, NotListening, ProxyEvent
from hsms_engine.proxy.events import Listening as Listens
from hsms_engine.proxy.faults import Fault, Refuse, as_fault
from hsms_engine.wire import DEFAULT_MAX_FRAME
from statecharts.nursery import open_bare_nursery

if TYPE_CHECKING:
    from trio import TaskStatus

Listen = Callable[[int], Awaitable[Listening]]
Report = Callable[[ProxyEvent], None]

# How many events are remembered.
_REMEMBERED: Final = 10_000
# Seconds until it tries again to listen.
_PAUSE: Final = 1.0


class Proxy:
    """What ``open_proxy`` gives. All calls are for its own loop.

    ``counts`` counts what has happened by the names of the events, and each fault that has acted by
    its text: ``counts["accepted"]``, ``counts["drop-frame=S6F11"]``.
    """

    def __init__(
        self,
        host: str,
        to: str,
        dial: Dial,
        listen: Listen,
        *,
        port: int,
        seed: int,
        max_frame: int,
        max_connections: int,
        report: Report | None,
        faults: Iterable[Fault | str],
    ) -> None:
        self._host = host
        self.to = to
        self.dial = dial
        self._listen = listen
        self.seed = seed
        self.max_frame = max_frame
        self._max_connections = max_connections
        self._report = report
        self._began = trio.current_time()
        self.counts: Counter[str] = Counter()
        self._log: deque[ProxyEvent] = deque(maxlen=_REMEMBERED)
        self._told = 0
        self._is_over = False
        self._news = Bell()
        # The faults, and whatever else decides whether it listens, have changed.
        self._bell = Bell()
        self.armed = self._arm(faults)
        self._connections: list[Connection] = []
        # How many connections it has accepted.
        self._accepted = 0
        self._port = port
        # Listening exactly while this is not None.
        self._listener: Listening | None = None
        self._accepting = trio.CancelScope()

    # Looking at it

    @property
    def host(self) -> str:
        """The address it listens on."""
        return self._host

    @property
    def port(self) -> int:
        """The TCP port; the system has chosen it if it was 0."""
        return self._port

    @property
    def is_listening(self) -> bool:
        """Whether it listens: not while it refuses."""
        return self._listener is not None

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults that are set, in force or not."""
        return tuple(each.fault for each in self.armed)

    @property
    def connections(self) -> list[int]:
        """The numbers of the open connections."""
        return [each.number for each in self._connections]

    def events(self) -> ProxyEvents:
        """Everything that has happened and will, until the proxy is closed.

        At most the last 10,000 events are kept; who reads more slowly misses the ones before.
        """
        return ProxyEvents(self._read)

    def happened(self) -> list[ProxyEvent]:
        """What has happened until now, at most the last 10,000 events."""
        return list(self._log)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds; asked again whenever something has happened here."""
        await trio.lowlevel.checkpoint()
        while not condition():
            await self._news.wait()

    # Changing it

    def set(self, *faults: Fault | str) -> None:
        """Replace all faults by these, also for open connections; without any, all passes.

        Counts and times of faults begin anew. With ``refuse`` nobody listens from now on; without
        it somebody does a moment later (``is_listening``). Raises ``FaultError``; then nothing has
        changed.
        """
        self.armed = self._arm(faults)
        self.tell(Changed(self.now(), self.faults))
        for each in self._connections:
            each.arm()
        self._refuse_or_not()
        self._accepting.cancel()
        self._bell.ring()

    def reset_all(self) -> None:
        """Reset both ends of every open connection. New ones may come."""
        for each in self._connections:
            each.end("reset", with_reset=True)

    # Inside

    @staticmethod
    def _arm(faults: Iterable[Fault | str]) -> list[Armed]:
        now = trio.current_time()
        return [Armed(each, index, now) for index, each in enumerate(map(as_fault, faults))]

    def now(self) -> float:
        """Seconds since it began."""
        return trio.current_time() - self._began

    def tell(self, event: ProxyEvent) -> None:
        """Count, remember and report an event."""
        self.counts[event.event] += 1
        match event:
            case Acted(fault=fault):
                self.counts[str(fault)] += 1
            case _:
                pass
        self._log.append(event)
        self._told += 1
        if self._report is not None:
            self._report(event)
        self._news.ring()

    async def _read(self, at: int) -> tuple[int, ProxyEvent] | None:
        """The event with this number, or the next one that is kept, and its number."""
        await trio.lowlevel.checkpoint()
        while at >= self._told:
            if self._is_over:
                return None
            await self._news.wait()
        at = max(at, self._told - len(self._log))
        return at, self._log[at - self._told]

    async def begin(self) -> None:
        """Listen, also to know the port of one that refuses at first. Raises ``OSError``."""
        await self._open()
        self._refuse_or_not()

    async def _open(self) -> None:
        self._listener = listener = await self._listen(self._port)
        self._port = listener.port
        self.tell(Listens(self.now(), self.host, self.port))

    async def serve(self) -> None:
        """Accept connections until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                change = self._refuse_or_not()
                if change.refuses:
                    await self._bell.wait(change.at)
                    continue
                try:
                    if self._listener is None:
                        await self._open()
                        continue
                    with trio.CancelScope(deadline=change.at) as self._accepting:
                        stream, peer = await self._listener.accept()
                        self._take(nursery, stream, peer)
                except OSError as error:
                    self._close()
                    self.tell(NotListening(self.now(), error.strerror or str(error)))
                    await self._bell.wait(trio.current_time() + _PAUSE)
                except trio.ClosedResourceError:
                    # It refuses now.
                    continue

    def _refuse_or_not(self) -> _Change:
        """Stop listening, if a fault says so. Whether one does, and until when that holds."""
        now = trio.current_time()
        refusals = [
            each
            for each in self.armed
            if isinstance(each.fault, Refuse) and each.covers(self._accepted + 1)
        ]
        windows = [each.window(now) for each in refusals]
        refuses = any(begins <= now < ends for begins, ends in windows)
        if refuses:
            self._close()
        changes = [at for window in windows for at in window if at > now]
        return _Change(refuses, min(changes, default=math.inf))

    def _take(self, nursery: trio.Nursery, stream: Stream, peer: str) -> None:
        self._accepted += 1
        connection = Connection(self, self._accepted, stream, peer)
        most = self._max_connections
        if len(self._connections) < most:
            self._connections.append(connection)
            nursery.start_soon(self._keep, connection)
        else:
            # One that waited would keep a ring of proxies open for ever.
            why = f"{most} connections are open (max_connections)"
            nursery.start_soon(connection.run, why)

    async def _keep(self, connection: Connection) -> None:
        try:
            await connection.run()
        finally:
            self._connections.remove(connection)
            self._news.ring()

    def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def end(self) -> None:
        """It is over, and nothing of it is left."""
        self._is_over = True
        self._close()
        self._news.ring()


async def serve_proxy(
    proxy: AbstractAsyncContextManager[Proxy],
    *,
    task_status: TaskStatus[Proxy] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Be what ``open_proxy`` gives, until cancelled."""
    async with proxy as opened:
        task_status.started(opened)
        await trio.sleep_forever()


class _Change(NamedTuple):
    """Whether TCP is refused now, and when that may change."""

    refuses: bool
    at: float


class ProxyEvents:
    """The events of a proxy, each once and in order."""

    def __init__(self, read: Callable[[int], Awaitable[tuple[int, ProxyEvent] | None]]) -> None:
        self._read = read
        self._next = 0

    def __aiter__(self) -> ProxyEvents:
        return self

    async def __anext__(self) -> ProxyEvent:
        found = await self._read(self._next)
        if found is None:
            raise StopAsyncIteration
        at, event = found
        self._next = at + 1
        return event


@asynccontextmanager
async def open_proxy(
    to_host: str,
    to_port: int,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    faults: Iterable[Fault | str] = (),
    seed: int = 0,
    max_frame: int = DEFAULT_MAX_FRAME,
    max_connections: int = 256,
    report: Report | None = None,
    dial: Dial | None = None,
    listen: Listen | None = None,
) -> AsyncIterator[Proxy]:
    """Be a proxy in front of ``to_host`` and ``to_port`` as long as the block lasts.

    It listens on ``host`` and ``port``; for port 0 the system chooses one (``proxy.port``).
    ``faults`` are set from the beginning, each an object or text. With the same ``seed`` and the
    same traffic the same faults act. ``max_frame`` is the greatest length that is taken for HSMS,
    in bytes. Who comes beyond ``max_connections`` is reset. ``report`` gets every
    event. ``dial`` and ``listen`` take the place of TCP: one makes a stream to the equipment, the
    other one a listener on the port that it is given. At the end of the block every connection is
    closed. Raises ``FaultError``, and ``OSError`` when it cannot listen.
    """
    proxy = Proxy(
        host,
        address_text((to_host, to_port)),
        dial or partial(connect_tcp, to_host, to_port),
        listen or partial(listen_tcp, host),
        port=port,
        seed=seed,
        max_frame=max_frame,
        max_connections=max_connections,
        report=report,
        faults=faults,
    )
    await proxy.begin()
    try:
        async with open_bare_nursery() as nursery:
            nursery.start_soon(proxy.serve)
            yield proxy
            nursery.cancel_scope.cancel()
    finally:
        proxy.end()
