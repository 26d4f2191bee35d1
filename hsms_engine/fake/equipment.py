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
from typing import TYPE_CHECKING, Final, Unpack

import trio

from hsms_engine.answers import AnswerBook
from hsms_engine.connection import HsmsConnection
from hsms_engine.driver.tcp import address_text
from hsms_engine.driver.tls_files import Tls, TlsChoice
from hsms_engine.errors import LocalProtocolError
from hsms_engine.events import PeerEnded, PeerTurnedAway
from hsms_engine.fake.behaviours import Behaviours
from hsms_engine.fake.conversation import Answer, Conversation
from hsms_engine.fake.emissions import Emission, emissions
from hsms_engine.fake.listener import FakeListener
from hsms_engine.fake.stream import FakeStream, Socket
from hsms_engine.message import Message
from hsms_engine.nursery import open_bare_nursery
from hsms_engine.secs2 import DecodeError
from hsms_engine.server import HsmsServer, serve_hsms
from hsms_engine.settings import Settings, SettingsChanges

if TYPE_CHECKING:
    from trio import TaskStatus

Report = Callable[[str, Mapping[str, object]], None]

# Long, so that the equipment does not close a connection whose Select.rsp it delays.
_WRITE_TIMEOUT: Final = 3600.0
# The longest body that a report shows as SML, in bytes: SML is several times as long.
_LONGEST_SHOWN: Final = 4096
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

    ``answer`` is the user's function, see ``serve_fake``; another may be set at any time.
    ``counts`` counts by name what ``report`` gets: ``"listening"``, ``"accepted"``, ``"selected"``,
    ``"received"``, ``"replied"``, ``"dropped"``, ``"emitted"``, ``"ended"`` … What it gets of a
    message is plain: its name, its bytes, and of what was received the SML.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        settings: Settings,
        behaviours: Behaviours,
        answers: AnswerBook,
        answer: Answer | None,
        emitted: Iterable[Emission],
        report: Report | None,
        tls: Tls | None = None,
    ) -> None:
        self._tls = tls
        self._nursery = nursery
        self.settings = settings
        self.behaviours = behaviours
        self.answers = answers
        self.answer = answer
        self._emissions = tuple(emitted)
        self._report = report
        self.counts: Counter[str] = Counter()
        self.received: deque[Message] = deque(maxlen=_REMEMBERED)
        # Streams that an engine uses.
        self.streams: set[FakeStream] = set()
        # Open sockets that no engine uses any more.
        self._held: set[Socket] = set()
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

    def tell(self, event: str, message: Message | None = None, /, **details: object) -> None:
        """Count and report an event, with what it says of a ``message``."""
        self.counts[event] += 1
        if self._report is not None:
            if message is not None:
                described = _described(message, whole=event == "received")
                # The peer, the message, and then the rest.
                details = {"peer": None, **described, **details}
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

    async def request(self, message: Message) -> Message:
        """Send a primary with W on the one selected connection, and wait for its reply.

        Raises ``LocalProtocolError`` when none is selected or several are, and what
        ``HsmsConnection.request`` raises.
        """
        match [each for each in self.connections if each.is_selected]:
            case [only]:
                return await only.request(message)
            case several:
                peers = ", ".join(each.peer for each in several) or "none"
                raise LocalProtocolError(
                    f"{self._name}: {message.name} needs one selected connection, and {peers} "
                    f"{'are' if several else 'is'} selected"
                )

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
            serve_hsms,
            self._talk,
            self.settings,
            listener=run.listener,
            raise_errors=True,
            tls=self._tls,
            wrap=self._wrap,
        )
        try:
            with run.serving:
                async with open_bare_nursery() as nursery:
                    run.server = await nursery.start(serve)
                    nursery.start_soon(self._watch, run.server)
        finally:
            run.listener.close()
            self._down.set()

    async def _watch(self, server: HsmsServer) -> None:
        """Tell of the peers that no conversation tells of."""
        async for event in server.events():
            match event:
                case PeerTurnedAway(peer=peer, why=why):
                    self.tell("turned away", peer=peer, why=why)
                case PeerEnded(peer=peer, was_selected=False, why=why):
                    self.tell("never selected", peer=peer, why=why)
                case _:
                    pass

    def _wrap(self, stream: trio.abc.Stream, peer: str) -> FakeStream:
        assert isinstance(stream, Socket)
        return FakeStream(self, stream, peer)

    def hold(self, stream: Socket, *, drain: bool) -> None:
        """Keep a socket open that the engine does not use any more.

        With ``drain`` its bytes are read, and it is closed when the peer closes; else when the
        equipment stops. At most ``max_connections`` are kept: one more is closed.
        """
        if len(self._held) >= self.settings.max_connections:
            stream.close()
            return
        self._held.add(stream)
        self._nursery.start_soon(self._hold, stream, drain)

    async def _hold(self, stream: Socket, drain: bool) -> None:
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


def _described(message: Message, *, whole: bool) -> dict[str, object]:
    """What a report says of a message; ``whole``: all of it, as SML."""
    name = f"{message.name} W" if message.wait else message.name
    told: dict[str, object] = {"message": name, "bytes": len(message.body)}
    return told | {"sml": _sml(message)} if whole else told


def _sml(message: Message) -> str:
    """A message as SML; only a comment when its body is long or no SECS-II."""
    size = len(message.body)
    if size > _LONGEST_SHOWN:
        return f"// {message.name}: a body of {size} bytes"
    try:
        # Of a copy: the received one would be reported as unreadable, with S9F7.
        return Message(
            message.stream,
            message.function,
            message.wait,
            body=message.body,
            text_encoding=message.text_encoding,
        ).sml()
    except DecodeError as error:
        return f"// {message.name}: a body of {size} bytes that is no SECS-II: {error}"


async def serve_fake(
    settings: Settings | None = None,
    behaviours: Iterable[str] = (),
    *,
    answers: AnswerBook | None = None,
    answer: Answer | None = None,
    alarms: float | None = None,
    events: float | None = None,
    report: Report | None = None,
    tls: Tls | None = None,
    task_status: TaskStatus[FakeEquipment] = trio.TASK_STATUS_IGNORED,
    **changes: Unpack[SettingsChanges],
) -> None:
    """Be an equipment until its ``aclose`` is called, or until cancelled.

    ``settings`` default to port 0 on loopback, and may be changed by name (``session_id=7``);
    ``is_equipment`` is always true. ``behaviours`` are written as on the command line. ``answers``
    are added to the book that comes with the engine, and win over it. ``answer(message)``, a
    function or an async one, is asked before that for each primary with W that is to be answered:
    it gives the reply, or None for that of the book. When it raises, or gives what is no reply,
    SxF0 is sent, ``"answer failed"`` is told, and the traceback is logged at ERROR; the equipment
    lives. It runs in the loop: what waits must be async, and then holds up no other reply.
    ``alarms`` and ``events`` are the seconds between two S5F1 and two S6F11; each is sent only when
    the previous one is acknowledged or its T3 is over. ``report`` gets the name and details of
    everything that happens. ``tls`` is as for ``serve_hsms``. Raises ``BehaviourError``,
    ``SettingsError``, ``ValueError`` for a value out of range, and ``OSError`` when it cannot
    listen on the address.
    """
    chosen = (settings or Settings(port=0)).replace(**changes)
    wanted = Behaviours.parse(behaviours)
    TlsChoice(tls, listens=True).check(chosen)
    book = AnswerBook.load()
    if answers is not None:
        book |= answers
    emitted = emissions(alarms, events)
    async with open_bare_nursery() as nursery:
        equipment = FakeEquipment(
            nursery,
            chosen.replace(is_equipment=True, write_timeout=_WRITE_TIMEOUT),
            wanted,
            book,
            answer,
            emitted,
            report,
            tls,
        )
        try:
            await equipment.restart()
            task_status.started(equipment)
            await equipment.closed.wait()
        finally:
            equipment.end()
        nursery.cancel_scope.cancel()
