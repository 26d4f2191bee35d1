"""A fake equipment as an object: it answers, misbehaves, dies and comes back when told to.

``equipment = await nursery.start(serve_fake)`` listens on a port of the system's choice. What
happens is counted by name in ``counts`` and told to ``report``; ``until`` waits for it. What
arrives is in ``received``. ``behave`` changes what it does while it runs, ``kill`` ends it as
SIGKILL would, and ``restart`` brings it back on the same port.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

import trio

from hsms_engine.answers import AnswerBook
from hsms_engine.connection import HsmsConnection
from hsms_engine.driver.tcp import DirectStream
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

# A delayed Select.rsp is no reason for the equipment itself to give up.
_WRITE_TIMEOUT: Final = 3600.0
# Primaries remembered for whoever looks at ``received``.
_REMEMBERED: Final = 10_000


class FakeEquipment:
    """What ``serve_fake`` runs.

    ``counts`` counts by name what ``report`` is told: ``"listening"``, ``"accepted"``,
    ``"selected"``, ``"received"``, ``"replied"``, ``"dropped"``, ``"emitted"``, ``"ended"`` …
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
        # Streams that an engine talks over.
        self.streams: set[FakeStream] = set()
        # Sockets that are up and that no engine talks over.
        self._held: set[DirectStream] = set()
        # Replies due so far, over all connections.
        self.asked = 0
        self._news = trio.Event()
        self._port = settings.port
        # Both there exactly while it is not killed.
        self._listener: FakeListener | None = None
        self._server: HsmsServer | None = None
        self._scope = trio.CancelScope()
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
        """Every connection that is up, in the order accepted; none while it is killed."""
        return list(self._server.connections) if self._server else []

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds; asked again whenever something has happened here."""
        await trio.lowlevel.checkpoint()
        while not condition():
            await self._news.wait()

    def tell(self, event: str, **details: object) -> None:
        """Something has happened."""
        self.counts[event] += 1
        self._report(event, details)
        news, self._news = self._news, trio.Event()
        news.set()

    # Controls

    async def behave(self, *behaviours: str) -> None:
        """Replace all behaviours by these, written as on the command line, from now on.

        ``refuse-select`` holds for connections accepted from now on, a reply that is being delayed
        keeps its delay, and a connection that has fallen silent stays so. Raises
        ``BehaviourError``, and ``OSError`` when the port cannot be listened on again.
        """
        self.behaviours = Behaviours.parse(behaviours)
        for stream in self.streams:
            stream.reconsider()
        if self._listener is not None:
            await self._listener.reconsider()
        self.tell("behaves", behaviours=list(behaviours))

    async def send(self, message: Message) -> None:
        """Send a primary without W to everyone selected."""
        for connection in self.connections:
            if connection.is_selected:
                await connection.send(message)

    async def kill(self) -> None:
        """End every connection and stop listening, without a Separate; ``restart`` may follow."""
        self._server = self._listener = None
        self._scope.cancel()
        for stream in list(self._held):
            stream.close()
        await self._down.wait()
        self.tell("killed")

    async def restart(self) -> None:
        """Listen again on the same port, after ``kill``. Raises ``OSError``."""
        listener = FakeListener(self, self.host, self._port)
        await listener.open()
        self._listener, self._port = listener, listener.port
        self.tell("listening", host=self.host, port=self.port)
        self._server = await self._nursery.start(self._serve, listener)

    async def aclose(self) -> None:
        """Separate from everyone selected and end ``serve_fake``."""
        if self._server is not None:
            await self._server.aclose()
        self.closed.set()

    # Inside

    async def _serve(
        self, listener: FakeListener, task_status: TaskStatus[HsmsServer] = trio.TASK_STATUS_IGNORED
    ) -> None:
        self._down = trio.Event()
        try:
            with trio.CancelScope() as self._scope:
                await serve_hsms(
                    self._talk,
                    self.settings,
                    listener=listener,
                    task_status=task_status,
                )
        finally:
            self._down.set()

    def hold(self, stream: DirectStream, *, drain: bool) -> None:
        """Keep a socket that the engine has nothing to do with any more.

        Drained, it ends with its peer; else with the equipment. There are at most
        ``max_connections``: one more is closed.
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
    """Nobody listens."""


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
    """Be an equipment until its ``aclose`` is called, or cancelled.

    ``settings`` default to port 0 on loopback; it is an equipment whatever they say. ``behaviours``
    are written as on the command line. ``alarms`` and ``events`` are the seconds between two S5F1
    and two S6F11, each sent when the one before is acknowledged or T3 has passed. ``report`` is
    told what happens, in words and details. Raises ``BehaviourError`` and ``ValueError`` for what
    is out of range, ``OSError`` when the address cannot be listened on.
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
        await equipment.restart()
        task_status.started(equipment)
        await equipment.closed.wait()
        nursery.cancel_scope.cancel()
