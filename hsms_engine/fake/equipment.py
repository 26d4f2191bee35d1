"""A fake equipment as an object: it answers, misbehaves, dies and comes back, as a test needs it.

``equipment = await nursery.start(serve_fake)`` listens on a port that the system chooses. All that
happens is counted by name in ``counts`` and given to ``report``; ``until`` waits for it. Received
messages are in ``received``. ``behave`` changes the behaviour of the running equipment, ``kill``
stops it as SIGKILL would, and ``restart`` brings it back on the same port.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from hsms_engine.answers import AnswerBook
from hsms_engine.connection import HsmsConnection
from hsms_engine.driver.tcp import DirectStream, address_text
from hsms_engine.errors import LocalProtocolError
from hsms_engine.fake.behaviours import Behaviours
from hsms_engine.fake.conversation import Conversation
from hsms_engine.fake.emissions import Emission, emissions
from hsms_engine.fake.listener import FakeListener
from hsms_engine.fake.stream import FakeStream
from hsms_engine.message import Message
from hsms_engine.nursery import open_bare_nursery
from hsms_engine.server import HsmsServer, serve_hsms
from hsms_engine.settings import Settings

if TYPE_CHECKING:
    from trio import TaskStatus

Report = Callable[[str, Mapping[str, object]], None]

# Long, so that the equipment does not close a connection whose Select.rsp it delays.
_WRITE_TIMEOUT: Final = 3600.0
# The number of messages that ``received`` keeps.
_REMEMBERED: Final = 10_000


@dataclass(slots=True)
class _Run:
    """What is between ``restart`` and ``kill``."""

    listener: FakeListener
    opening: trio.CancelScope = field(default_factory=trio.CancelScope)
    serving: trio.CancelScope = field(default_factory=trio.CancelScope)
    server: HsmsServer | None = None

    def stop(self) -> None:
        """Stop without goodbye, wherever it is."""
        self.listener.close()
        self.opening.cancel()
        self.serving.cancel()


class FakeEquipment:
    """What ``serve_fake`` runs.

    ``counts`` counts by name what ``report`` gets: ``"listening"``, ``"accepted"``, ``"selected"``,
    ``"received"``, ``"replied"``, ``"dropped"``, ``"emitted"``, ``"ended"`` …
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        settings: Settings,
        behaviours: Behaviours,
        answers: AnswerBook,
        emitted: Iterable[Emission],
        report: Report,
    ) -> None:
        self._nursery = nursery
        self.settings = settings
        self.behaviours = behaviours
        self.answers = answers
        self._emissions = tuple(emitted)
        self._report = report
        self.counts: Counter[str] = Counter()
        self.received: deque[Message] = deque(maxlen=_REMEMBERED)
        # Streams that an engine uses.
        self.streams: set[FakeStream] = set()
        # Open sockets that no engine uses any more.
        self._held: set[DirectStream] = set()
        # Replies due so far, over all connections.
        self.asked = 0
        self._news = trio.Event()
        self._port = settings.port
        # Not None exactly while it is neither killed nor closed, also while it begins to listen.
        self._run: _Run | None = None
        # One ``behave`` or ``restart`` at a time: each may have to listen.
        self._changing = trio.Lock()
        # Set when no task of a run is left.
        self._down = trio.Event()
        self._down.set()
        self.closed = trio.Event()

    # Looking at it

    @property
    def host(self) -> str:
        """The address it listens on."""
        return self.settings.host

    @property
    def port(self) -> int:
        """The TCP port; the one chosen by the system when the settings say 0."""
        return self._port

    @property
    def connections(self) -> list[HsmsConnection]:
        """Every open connection, in the order of acceptance; none while it is killed."""
        run = self._run
        return list(run.server.connections) if run is not None and run.server is not None else []

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds; asked again whenever something has happened here."""
        await trio.lowlevel.checkpoint()
        while not condition():
            await self._news.wait()

    def tell(self, event: str, **details: object) -> None:
        """Count and report an event."""
        self.counts[event] += 1
        self._report(event, details)
        news, self._news = self._news, trio.Event()
        news.set()

    # Controls

    async def behave(self, *behaviours: str) -> None:
        """Replace all behaviours by these, written as on the command line, from now on.

        ``refuse-select`` applies to connections accepted from now on, a reply that is being delayed
        keeps its delay, and a connection that has fallen silent stays silent. Raises
        ``BehaviourError``, and ``OSError`` when it cannot listen on the port again; when it raises
        or is cancelled, nothing has changed.
        """
        chosen = Behaviours.parse(behaviours)
        async with self._changing:
            if self._run is not None:
                if chosen.refuse_tcp:
                    self._run.listener.refuse()
                else:
                    await self._run.listener.open()
            self.behaviours = chosen
            for stream in self.streams:
                stream.reconsider()
            self.tell("behaves", behaviours=list(behaviours))

    async def send(self, message: Message) -> None:
        """Send a primary without W on every selected connection."""
        for connection in self.connections:
            if connection.is_selected:
                await connection.send(message)

    async def kill(self) -> None:
        """Close every connection and stop listening, without Separate; ``restart`` may follow.

        It is killed at once, also when this call is cancelled; the call waits until nothing of it
        is left. When it is killed or closed already, nothing happens.
        """
        if self._run is not None:
            run, self._run = self._run, None
            run.stop()
            for stream in list(self._held):
                stream.close()
            self.tell("killed")
        await self._down.wait()

    async def restart(self) -> None:
        """Listen again on the same port, after ``kill``.

        Raises ``OSError`` when it cannot, and ``LocalProtocolError`` when it is listening already,
        when it is closed, and when it is killed or closed during this call. When this raises or is
        cancelled, it does not listen.
        """
        async with self._changing:
            if self.closed.is_set():
                raise LocalProtocolError(f"{self._name} is closed")
            if self._run is not None:
                raise LocalProtocolError(f"{self._name} is listening already: kill it first")
            run = self._run = _Run(FakeListener(self, self.host, self._port))
            try:
                with run.opening:
                    await self._down.wait()
                    await run.listener.open()
                if self._run is not run:
                    how = "closed" if self.closed.is_set() else "killed"
                    raise LocalProtocolError(f"{self._name} was {how} before it could listen")
            except BaseException:
                if self._run is run:
                    self._run = None
                raise
            self._port = run.listener.port
            if self.behaviours.refuse_tcp:
                run.listener.refuse()
            self._down = trio.Event()
            self._nursery.start_soon(self._serve, run)
            self.tell("listening", host=self.host, port=self.port)

    async def aclose(self) -> None:
        """Separate on every selected connection, and stop ``serve_fake``.

        When this call is cancelled, ``serve_fake`` stops without waiting for the peers.
        """
        run = self._run
        try:
            if run is not None and run.server is not None:
                await run.server.aclose()
        finally:
            self.end()

    # Inside

    def end(self) -> None:
        """Stop ``serve_fake`` at once."""
        self.closed.set()
        if self._run is not None:
            run, self._run = self._run, None
            run.stop()

    @property
    def _name(self) -> str:
        return f"the fake equipment on {address_text((self.host, self.port))}"

    async def _serve(self, run: _Run) -> None:
        # No peer causes an exception: it is one of ``report``, which ends the equipment.
        serve = partial(
            serve_hsms, self._talk, self.settings, listener=run.listener, raise_errors=True
        )
        try:
            with run.serving:
                async with open_bare_nursery() as nursery:
                    run.server = await nursery.start(serve)
        finally:
            run.listener.close()
            self._down.set()

    def hold(self, stream: DirectStream, *, drain: bool) -> None:
        """Keep a socket open that the engine does not use any more.

        With ``drain`` its bytes are read, and it is closed when the peer closes; else when the
        equipment stops. At most ``max_connections`` are kept: one more is closed.
        """
        if len(self._held) >= self.settings.max_connections:
            stream.close()
            return
        self._held.add(stream)
        self._nursery.start_soon(self._hold, stream, drain)

    async def _hold(self, stream: DirectStream, drain: bool) -> None:
        try:
            while drain and await stream.receive_some():
                pass
            if not drain:
                await trio.sleep_forever()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # The peer has broken it, or ``kill`` has closed it.
            pass
        finally:
            stream.close()
            self._held.discard(stream)
            self.tell("let go")

    async def _talk(self, connection: HsmsConnection) -> None:
        self.tell("selected", peer=connection.peer)
        await Conversation(self, connection).run(self._emissions)


def _ignore(event: str, details: Mapping[str, object]) -> None:
    """Drop the event."""


async def serve_fake(
    settings: Settings | None = None,
    behaviours: Iterable[str] = (),
    *,
    answers: AnswerBook | None = None,
    alarms: float | None = None,
    events: float | None = None,
    report: Report = _ignore,
    task_status: TaskStatus[FakeEquipment] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Be an equipment until its ``aclose`` is called, or until cancelled.

    ``settings`` default to port 0 on loopback; ``is_equipment`` is always true. ``behaviours`` are
    written as on the command line. ``alarms`` and ``events`` are the seconds between two S5F1 and
    two S6F11; each is sent only when the previous one is acknowledged or its T3 is over. ``report``
    gets the name and details of everything that happens. Raises ``BehaviourError`` and
    ``ValueError`` for a value out of range, ``OSError`` when it cannot listen on the address.
    """
    chosen = settings or Settings(port=0)
    wanted = Behaviours.parse(behaviours)
    book = answers or AnswerBook.load()
    emitted = emissions(alarms, events)
    async with open_bare_nursery() as nursery:
        equipment = FakeEquipment(
            nursery,
            chosen.replace(is_equipment=True, write_timeout=_WRITE_TIMEOUT),
            wanted,
            book,
            emitted,
            report,
        )
        try:
            await equipment.restart()
            task_status.started(equipment)
            await equipment.closed.wait()
        finally:
            equipment.end()
        nursery.cancel_scope.cancel()
