"""A fake equipment as an object: it answers, misbehaves, dies and comes back, as a test needs it.

``equipment = await nursery.start(serve_fake)`` listens on a port that the system chooses. All that
happens is counted by name in ``counts`` and given to ``report``; ``until`` waits for it. Messages
are in ``received`` and ``sent``, and ``expect`` waits for one. ``behave`` changes the behaviour of
the running equipment, ``kill`` stops it as SIGKILL would, and ``restart`` brings it back on the
same port. What it is, is in its ``tools`` (``hsms_engine.fake.tool``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Final, Unpack, cast

import trio

from hsms_engine.answers import AnswerBook
from hsms_engine.connection import HsmsConnection
from hsms_engine.driver.tcp import address_text, listen_tcp
from hsms_engine.driver.tls_files import Tls, TlsChoice
from hsms_engine.errors import LocalProtocolError
from hsms_engine.events import PeerEnded, PeerTurnedAway
from hsms_engine.fake.behaviours import Behaviours
from hsms_engine.fake.conversation import Conversation
from hsms_engine.fake.details import details_of
from hsms_engine.fake.given import AnyTool, addressed, planned
from hsms_engine.fake.history import WITHIN, History, NotSeenError, Seen
from hsms_engine.fake.listener import FakeListener, Listen
from hsms_engine.fake.model import Clock, Id
from hsms_engine.fake.model.times import time_after
from hsms_engine.fake.plan import ToolPlan, Unknown
from hsms_engine.fake.stream import FakeStream, Socket
from hsms_engine.fake.tool import Answer, Tool, by_name
from hsms_engine.health.records import ServerHealth, server_health
from hsms_engine.message import Message
from hsms_engine.protocol.traffic import Traffic
from hsms_engine.secs2 import Item, Plain
from hsms_engine.server import HsmsServer, serve_hsms
from hsms_engine.settings import Settings, SettingsChanges
from hsms_engine.sml.patterns import parse_pattern
from hsms_engine.tolerances import DIRECTION
from hsms_engine.wire import SType
from statecharts.nursery import open_bare_nursery

if TYPE_CHECKING:
    from trio import TaskStatus

    from hsms_engine.fake.chart import AnyChart, Bindings, LiveChart, ToolChart
    from hsms_engine.recorder import BlackBoxIn, RecordTo

Report = Callable[[str, Mapping[str, object]], None]

# Long, so that the equipment does not close a connection whose Select.rsp it delays.
_WRITE_TIMEOUT: Final = 3600.0
# The messages of these are kept.
_KEPT: Final = frozenset({"received", "replied", "sent"})


@dataclass(slots=True)
class _Run:
    """What is between ``restart`` and ``kill``."""

    listener: FakeListener
    opening: trio.CancelScope = field(default_factory=trio.CancelScope)
    serving: trio.CancelScope = field(default_factory=trio.CancelScope)
    server: HsmsServer | None = None
    # What a function of the user has raised where the engine would have kept it to itself.
    failure: BaseException | None = None

    def stop(self) -> None:
        """Stop without goodbye, wherever it is."""
        self.listener.close()
        self.opening.cancel()
        self.serving.cancel()


class FakeEquipment:
    """What ``serve_fake`` runs.

    ``answer`` is the user's function, see ``serve_fake``; another may be set at any time.
    ``counts`` counts by name what ``report`` gets: ``"listening"``, ``"accepted"``, ``"selected"``,
    ``"received"``, ``"replied"``, ``"sent"`` (a primary), ``"dropped"``, ``"ended"`` … What it gets
    of a message is plain: its name, its bytes, and as SML what was received and what is sent.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        settings: Settings,
        behaviours: Behaviours,
        answers: AnswerBook,
        answer: Answer | None,
        report: Report | None,
        tls: Tls | None,
        plans: Iterable[ToolPlan],
        chart: ToolChart | None,
        clock: Clock | None,
        listen: Listen,
        record: RecordTo | None,
        black_box: BlackBoxIn | None,
    ) -> None:
        self._tls = tls
        self._record, self._black_box = record, black_box
        self._listen = listen
        self._nursery = nursery
        self.settings = settings
        self.behaviours = behaviours
        # Those without what steps have added.
        self._healthy = behaviours
        self.answers = answers
        self.answer = answer
        self._report = report
        self.counts: Counter[str] = Counter()
        self._history = History()
        # Those that have begun and are not over.
        self._conversations: dict[HsmsConnection, Conversation] = {}
        began = trio.current_time()

        clock = clock or (lambda: time_after(trio.current_time() - began))
        tools = [Tool(self, each, chart, clock) for each in plans]
        self.tools: Mapping[str, Tool] = by_name({each.plan.name: each for each in tools})
        """The tools behind its port, by name; a single one may have the name ``""``."""
        self._by_session = {each.plan.session_id: each for each in tools}
        # Streams that an engine uses.
        self.streams: set[FakeStream] = set()
        # Open sockets that no engine uses any more.
        self._held: set[Socket] = set()
        # Replies due so far, over all connections.
        self.asked = 0
        self._news = trio.Event()
        self._port = settings.port
        # That of the present run, or of the latest one.
        self._listener = FakeListener(self, self.host, self._port, listen)
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

    def health(self) -> ServerHealth:
        """As that of a server: whether it listens. It does not while it refuses TCP or is killed.

        For the loop that it runs in.
        """
        connections = self.connections
        return server_health(
            self.settings,
            address_text((self.host, self.port)),
            connections=len(connections),
            selected=sum(each.is_selected for each in connections),
            is_listening=self._listener.is_listening,
            since_seconds=trio.current_time() - self._listener.since,
        )

    @property
    def received(self) -> list[Message]:
        """The data messages received until now, at most the last 10,000."""
        return self.messages(is_sent=False)

    @property
    def sent(self) -> list[Message]:
        """The data messages sent until now, at most the last 10,000."""
        return self.messages(is_sent=True)

    def messages(self, *, is_sent: bool, session_id: int | None = None) -> list[Message]:
        """The data messages of one direction; ``session_id``: only those of that tool."""
        return self._history.messages(is_sent=is_sent, session_id=session_id)

    async def expect(
        self, pattern: str, within: float = WITHIN, *, session_id: int | None = None
    ) -> Seen:
        """A message that was received or sent and matches, or the first one to come.

        Each is found once; ``session_id``: only one of that tool. Raises ``NotSeenError`` after
        ``within`` seconds, which says what came instead, and ``SmlError`` for a text that is no
        pattern.
        """
        # pytest shows the line of the test, and not this.
        __tracebackhide__ = True
        chosen = parse_pattern(pattern, self.settings.text_encoding)
        found: list[Seen] = []
        first = 0

        def looks() -> bool:
            nonlocal first
            seen = self._history.find(chosen, first, session_id)
            first = self._history.end
            found.extend([seen] if seen is not None else [])
            return bool(found)

        with trio.move_on_after(within):
            await self.until(looks)
        # What has come in the moment of the deadline has come in time.
        if not found and not looks():
            tool = None if session_id is None else self.tool_of(session_id)
            name = "" if tool is None else tool.plan.name
            raise NotSeenError(self._history.missed(chosen, within, session_id, name))
        return found[0]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds; asked again whenever something has happened here."""
        await trio.lowlevel.checkpoint()
        while not condition():
            await self._news.wait()

    # The one tool

    @property
    def tool(self) -> Tool:
        """The tool, if there is one. Raises ``LookupError``: ``tools`` has several."""
        if len(self.tools) != 1:
            raise LookupError(
                f"{self._name} has several tools, so say which: "
                f".tools[{next(iter(self.tools))!r}], {', '.join(self.tools)}"
            )
        return next(iter(self.tools.values()))

    @property
    def chart(self) -> LiveChart:
        """The chart of the tool. Raises ``LookupError`` when it has none."""
        if (chart := self.tool.chart) is None:
            raise LookupError(f"{self._name} has no chart: serve_fake(chart=...) gives it one")
        return chart

    def value(self, variable: Id) -> Item:
        """The present value of a variable or constant of the tool, by id or name."""
        return self.tool.value(variable)

    def set(self, variable: Id, value: Item | Plain) -> None:
        """Give a variable of the tool a value. Raises ``ValueError`` for one it may not have."""
        self.tool.set(variable, value)

    def event(self, event: Id) -> None:
        """Let an event of the tool happen, by id or name: ``Tool.event``."""
        self.tool.event(event)

    def alarm(self, alarm: Id) -> None:
        """Set an alarm of the tool: ``Tool.alarm``."""
        self.tool.alarm(alarm)

    def clear(self, alarm: Id) -> None:
        """Clear an alarm of the tool."""
        self.tool.clear(alarm)

    def adopt(self, plans: Sequence[ToolPlan], **but: object) -> None:
        """Let its tools live by other plans; its connections stay. Raises as ``check``.

        ``but`` is told of it: what of their file is not adopted.
        """
        self.check(plans)
        for each in plans:
            self.tools[each.name].adopt(each)
        self.tell("adopted", **but)

    def check(self, plans: Sequence[ToolPlan]) -> None:
        """Raise ``ValueError`` when these are not its tools, by name and session id."""
        given = {each.name: each for each in plans}
        asked = {name: each.session_id for name, each in given.items()}
        present = {name: each.plan.session_id for name, each in self.tools.items()}
        if asked != present:
            raise ValueError(
                f"{self._name} has the tools {_listed(present)}, and not {_listed(asked)}: other "
                "tools, and other session ids, need a new start"
            )

    def tell(self, event: str, message: Message | None = None, /, **details: object) -> None:
        """Count and report an event, with what it says of a ``message``."""
        self.counts[event] += 1
        told = details_of(event, message, details, self.settings.text_encoding)
        if event not in _KEPT:
            self._history.note(event, told)
        if self._report is not None:
            self._report(event, told)
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
            self._healthy = chosen
            self._use(chosen)
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
            self._listener = FakeListener(self, self.host, self._port, self._listen)
            run = self._run = _Run(self._listener)
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

    def tool_of(self, session_id: int) -> Tool | None:
        """The tool with this session id. One that has none of its own is asked by any."""
        return self._by_session.get(session_id) or self._by_session.get(None)

    def named(self, session_id: int | None) -> dict[str, object]:
        """What is told of a message to say whose it is: a tool's, where tools have names."""
        if session_id is None or self._by_session.keys() == {None}:
            return {}
        tool = self.tool_of(session_id)
        return {"session_id": session_id} if tool is None else tool.named

    def spoil(self, peer: str, behaviour: str) -> None:
        """Spoil the next frame that is written to a peer: one of ``ONCE``."""
        for stream in self.streams:
            if stream.peer == peer:
                stream.spoil(behaviour)
                self.tell("misbehaves", peer=peer, behaviour=behaviour)

    def fault(self, behaviour: str) -> None:
        """Misbehave so too, from now on. Raises ``BehaviourError``."""
        added = Behaviours.parse([behaviour])
        given = {
            each.name: value
            for each in fields(added)
            if (value := getattr(added, each.name)) != each.default
        }
        self._change(replace(self.behaviours, **given))
        self.tell("misbehaves", behaviour=behaviour)

    def heal(self) -> None:
        """End what ``fault`` has begun."""
        self._change(self._healthy)
        self.tell("healed")

    def _change(self, behaviours: Behaviours) -> None:
        """Use these, and listen or not as they say."""
        run, before = self._run, self.behaviours
        self._use(behaviours)
        if run is None or behaviours.refuse_tcp == before.refuse_tcp:
            return
        if behaviours.refuse_tcp:
            run.listener.refuse()
        else:
            self._nursery.start_soon(self._listen_again, run)

    async def _listen_again(self, run: _Run) -> None:
        async with self._changing:
            try:
                await run.listener.open()
            except OSError as error:
                self.tell("cannot listen", why=str(error))
            # Another step may have refused TCP meanwhile.
            if self.behaviours.refuse_tcp:
                run.listener.refuse()

    def _use(self, behaviours: Behaviours) -> None:
        self.behaviours = behaviours
        for stream in self.streams:
            stream.reconsider()

    def safely(self, call: Callable[[], object]) -> None:
        """Call a function of the user where the engine would keep to itself what it raises.

        That ends the equipment, and comes out of ``serve_fake``.
        """
        try:
            call()
        except BaseException as error:
            run = self._run
            if run is None or run.failure is not None:
                raise
            run.failure = error
            run.serving.cancel()

    def _pass(self, traffic: Traffic) -> None:
        """A message goes over a connection."""
        if traffic.sent and traffic.header.stype == SType.SELECT_RSP:
            self.safely(partial(self._find_selected, traffic.peer))
        message = traffic.message
        if message is None or not traffic.is_data:
            return
        if traffic.passed_over is not None:
            self._tell_of(traffic, "passed over", why=traffic.passed_over)
            return
        header = traffic.header
        self._history.add(
            message,
            traffic.peer,
            header.session_id & ~DIRECTION,
            header.system_bytes,
            is_sent=traffic.sent,
        )
        if not traffic.sent:
            self._tell_of(traffic, "received")
        else:
            self._tell_of(traffic, "sent" if message.is_primary else "replied")

    def _tell_of(self, traffic: Traffic, event: str, **details: object) -> None:
        message, peer = traffic.message, traffic.peer
        details |= self.named(traffic.header.session_id & ~DIRECTION)
        self.safely(lambda: self.tell(event, message, peer=peer, **details))

    async def _serve(self, run: _Run) -> None:
        # No peer causes an exception: it is one of ``report``, which ends the equipment.
        serve = partial(
            serve_hsms,
            self._talk,
            self.settings,
            listener=run.listener,
            raise_errors=True,
            tls=self._tls,
            record=self._record,
            black_box=self._black_box,
            wrap=self._wrap,
        )
        try:
            with run.serving:
                async with open_bare_nursery() as nursery:
                    run.server = await nursery.start(serve)
                    run.server.on_message(self._pass)
                    nursery.start_soon(self._watch, run.server)
        finally:
            run.listener.close()
            # Those whose task had not begun.
            for each in self._conversations.values():
                each.end()
            self._conversations.clear()
            self._down.set()
        if run.failure is not None:
            raise run.failure

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
        # It is what the listener has accepted, or TLS above that.
        return FakeStream(self, cast("Socket", stream), peer)

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
        conversation = self._conversations.get(connection) or self._begin(connection)
        try:
            await conversation.run()
        finally:
            del self._conversations[connection]

    def _find_selected(self, peer: str) -> None:
        """Begin to talk with a host that is selected now.

        Its task begins a moment later, and what a program lets happen meanwhile is for this host
        too: it has its Select.rsp.
        """
        for each in self.connections:
            if each.peer == peer and each.is_selected and each not in self._conversations:
                self._begin(each)

    def _begin(self, connection: HsmsConnection) -> Conversation:
        conversation = self._conversations[connection] = Conversation(self, connection)
        # Before anything else is told of it.
        self.tell("selected", peer=connection.peer)
        if len(self.tools) == 1:
            # Several tools talk where they are talked to.
            conversation.join(*self.tools.values())
        return conversation


def _listed(tools: Mapping[str, int | None]) -> str:
    return ", ".join(
        f"{name or 'of the file'} at session id {'any' if number is None else number}"
        for name, number in tools.items()
    )


async def serve_fake(
    settings: Settings | None = None,
    behaviours: Iterable[str] = (),
    *,
    answers: AnswerBook | None = None,
    answer: Answer | None = None,
    tool: AnyTool = None,
    chart: AnyChart | None = None,
    bindings: Bindings | None = None,
    alarms: float | None = None,
    events: float | None = None,
    unknown: Unknown | None = None,
    clock: Clock | None = None,
    listen: Listen = listen_tcp,
    report: Report | None = None,
    tls: Tls | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
    task_status: TaskStatus[FakeEquipment] = trio.TASK_STATUS_IGNORED,
    **changes: Unpack[SettingsChanges],
) -> None:
    """Be an equipment until its ``aclose`` is called, or until cancelled.

    ``tool`` is what it is: the path of a tool file (``docs/simulator.md``), what was read from one,
    or a ``Model``; without it, the tool that comes with the engine. ``settings`` default to those
    of the file, with port 0, and may be changed by name (``session_id=7``); ``is_equipment`` is
    always true. ``chart`` is the life of each of its tools, joined to it by ``bindings``; see
    ``fake.chart``. What an effect of it raises comes out as it is. ``behaviours`` are written as on
    the command line.

    ``answer(message)``, a function or an async one, is asked first for each primary with W: it
    gives the reply, or None for that of the tool. When it raises, or gives what is no reply, SxF0
    is sent, ``"answer failed"`` is told, and the traceback is logged at ERROR; the equipment lives.
    It runs in the loop: what waits must be async, and then holds up no other reply. ``answers`` win
    over the model of the tool, not over its rules and chart. A primary that nobody knows gets S9F3
    or S9F5, and S9F7 one whose body nobody takes; with ``unknown="echo"``, a reply with its body.

    ``alarms`` and ``events`` are the seconds between two S5F1 and two S6F11, of the first alarm and
    the first event of the tool. ``clock`` gives the time of the tool; without it, it begins in the
    year 2000 and goes as trio's clock, so that runs can be compared. ``report`` gets the name and
    details of everything that happens. ``tls``, ``record`` and ``black_box`` are as for
    ``serve_hsms``; ``listen(host, port)`` takes the place of TCP, as that of a machine in memory
    (``hsms_engine.virtual``).

    Raises ``BehaviourError``, ``SettingsError``, ``TomlError`` with all that is wrong with a file,
    ``ValueError`` for a value out of range, and for tools of several ports, and ``OSError`` when it
    cannot listen on the address.
    """
    base, given = planned(tool)
    plans = [each.changed(alarms=alarms, events=events, unknown=unknown) for each in given]
    chosen = addressed(settings or base, plans).replace(**changes)
    wanted = Behaviours.parse(behaviours)
    TlsChoice(tls, listens=True).check(chosen)
    life = None
    if chart is not None or bindings is not None:
        # Most tools have none.
        from hsms_engine.fake.chart import tool_chart

        life = tool_chart(chart, bindings, chosen.text_encoding)
    async with open_bare_nursery() as nursery:
        equipment = FakeEquipment(
            nursery,
            chosen.replace(is_equipment=True, write_timeout=_WRITE_TIMEOUT),
            wanted,
            answers or AnswerBook({}),
            answer,
            report,
            tls,
            plans,
            life,
            clock,
            listen,
            record,
            black_box,
        )
        try:
            for each in equipment.tools.values():
                await nursery.start(each.run)
            await equipment.restart()
            task_status.started(equipment)
            await equipment.closed.wait()
        finally:
            equipment.end()
        nursery.cancel_scope.cancel()
