"""One run of a plan: real drivers on a network in memory, what happens to them, and what is so.

* **Safety**, whatever breaks: every step is a step of the charts and is as the proof claims; what
  arrives was sent, in order, once, byte by byte; nothing but an ``HsmsError`` comes out of a call;
  nothing stays.
* **Liveness**, from the time on at which nothing breaks any more and what was lost has been sent
  again: every enabled link is selected within the bound of its settings, and then answers.

All is drawn from the plan and its seed, so the same plan writes the same log.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Any

import trio
from trio._core import _run as trio_run

from hsms_engine import HsmsError, HsmsLink, HsmsServer, Message, open_hsms, open_link, serve_hsms
from hsms_engine.driver.driver import Driver
from hsms_engine.errors import DefectError, LinkDownError, ReplyTimeoutError
from hsms_engine.events import Closed, LinkEvent, UnexpectedSecondary
from hsms_engine.messaging import Messaging
from hsms_engine.protocol.lifecycle import Lifecycle
from hsms_engine.protocol.outputs import Step
from hsms_engine.protocol.saving import RESTORED
from hsms_engine.virtual import Machine, Network, Socket, Way
from hsms_engine.wire import Decoder, SType
from statecharts.draw import Message as Drawn
from statecharts.explore.alone import Here
from statecharts.hsms.vocabulary import ContestSession, ResetTcp
from statecharts.hsms.world import World
from statecharts.router import SystemStep
from tests.simulation.beside import ROUNDING, Along, Kept, Peers, Timekeeper, Told
from tests.simulation.clock import StuckError, VirtualClock
from tests.simulation.monitors import Monitors, Waits, here
from tests.simulation.plan import Action, Plan, action_text

# No run lasts longer, in seconds of its clock.
_LONGEST = 1e6


class OnPurposeError(Exception):
    """A handler that fails, as the plan says."""


@dataclass(slots=True)
class Report:
    """What came of a run. ``fault`` is empty when all was as it should be."""

    plan: Plan
    fault: str = ""
    log: list[str] = field(default_factory=list)
    sometimes: Counter[str] = field(default_factory=Counter)
    # Seconds of the clock, times the links.
    link_seconds: float = 0.0
    # For a picture, when it was asked for.
    steps: list[Drawn] = field(default_factory=list)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Trio takes its tasks in an order that is drawn from ``seed``."""
    state, before = trio_run._r.getstate(), trio_run._ALLOW_DETERMINISTIC_SCHEDULING
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # as pytest-trio does
    trio_run._r.seed(seed)
    try:
        yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = before  # type: ignore[misc]
        trio_run._r.setstate(state)


@contextmanager
def _watching(run: Run) -> Iterator[None]:
    """Every driver and every step of a chart is seen by ``run``."""
    init, perform, reset = Driver.__init__, Lifecycle._perform, Socket.reset

    def watched_init(driver: Driver, *args: Any, **options: Any) -> None:
        init(driver, *args, **options)
        run.follow(driver)

    def watched_perform(life: Lifecycle, event: str, detail: Any, step: SystemStep) -> None:
        before = here(life)
        perform(life, event, detail, step)
        run.stepped(life, before, event, step)

    def watched_reset(socket: Socket) -> None:
        run.was_reset.add(socket)
        reset(socket)

    # While they are watched, they are others to the type checker.
    for owner, name, watched in (
        (Driver, "__init__", watched_init),
        (Lifecycle, "_perform", watched_perform),
        (Socket, "reset", watched_reset),
    ):
        setattr(owner, name, watched)
    level = logging.getLogger("hsms_engine").level
    # What is logged is told by events too, and takes most of the time.
    logging.getLogger("hsms_engine").setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for owner, name, original in (
            (Driver, "__init__", init),
            (Lifecycle, "_perform", perform),
            (Socket, "reset", reset),
        ):
            setattr(owner, name, original)
        logging.getLogger("hsms_engine").setLevel(level)


def run_plan(plan: Plan, monitors: Monitors | None = None, *, draws: bool = False) -> Report:
    """Run ``plan``. ``draws``: keep what a picture of it shows."""
    run = Run(plan, monitors or Monitors(), draws=draws)
    with _seeded(plan.seed), _watching(run):
        try:
            trio.run(run.main, clock=run.clock)
        except BaseExceptionGroup as errors:
            run.fail(f"raised: {_leaves(errors)}")
        except (StuckError, trio.TrioInternalError, AssertionError) as error:
            run.fail(f"raised: {error!r} {error.__cause__!r}")
    report = run.report
    report.link_seconds = run.clock.now * len(plan.links)
    return report


def _leaves(error: BaseException) -> str:
    match error:
        case BaseExceptionGroup(exceptions=inner):
            return "; ".join(map(_leaves, inner))
        case _:
            return repr(error)


class Run:
    """The programs, the network, and what is known of them."""

    def __init__(self, plan: Plan, monitors: Monitors, *, draws: bool) -> None:
        self.plan = plan
        self.report = Report(plan)
        self.clock = VirtualClock()
        self.was_reset: set[Socket] = set()
        self._draws = draws
        self._monitors = monitors
        self._waits: dict[Lifecycle, Waits] = {}
        # The steps that were made, and did not come out of their driver yet.
        self._made: defaultdict[Lifecycle, deque[SystemStep]] = defaultdict(deque)
        self._drivers: dict[Driver, dict[str, int]] = {}
        self._resets: list[tuple[str, object]] = []
        self._contested_at = -math.inf
        self._links: dict[int, HsmsLink] = {}
        self._servers: dict[int, HsmsServer] = {}
        self._programs: dict[str, trio.CancelScope] = {}
        self._leave: dict[str, trio.Event] = {}
        self._powered: dict[str, trio.Event] = {}
        self._slow_until: dict[str, float] = {}
        # How long the programs stop when the next answer is on its way.
        self._stops_for = 0.0
        self._next_handler: dict[int, str] = {}
        # What was sent, and what came, each by its number.
        self._numbers = itertools.count(1)
        self._sent: dict[int, bytes] = {}
        self._came: set[int] = set()
        self._latest: dict[tuple[int, int], int] = {}
        self._decoders: dict[Socket, Decoder] = {}
        # Requests: those that wait, those that had their reply, and when a reply was not wanted.
        self._asked: set[int] = set()
        self._replied: set[int] = set()
        self._unwanted_at: dict[int, float] = {}
        # The calls of users that have not ended, and how often a program stopped last.
        self._calls: Counter[str] = Counter()
        self._jumped_at = -math.inf
        # Beside the engines.
        self._time: defaultdict[Lifecycle, Timekeeper] = defaultdict(Timekeeper)
        self._told: dict[Driver, Told] = {}
        self._failed: Counter[Lifecycle] = Counter()
        self._kept: dict[int, Kept] = {}
        self._restoring: Kept | None = None
        # The session for which the task of a link runs.
        self._sessions: dict[int, int] = {}
        self._peers: dict[int, Peers] = {}
        # The links that are disabled and enabled when their next dial is decided.
        self._toggles: set[int] = set()

    # What was seen

    def say(self, what: str) -> None:
        """A line of the log."""
        self.report.log.append(f"{self.clock.now:.6f} {what}")

    def draw(self, source: str, target: str, what: str, note: str = "") -> None:
        """A step of the picture."""
        if self._draws:
            self.report.steps.append(Drawn(source, target, f"{self.clock.now:.6g} s: {what}", note))

    def sometimes(self, what: str) -> None:
        """It has happened."""
        self.report.sometimes[what] += 1

    def fail(self, why: str) -> None:
        """Something is not as it should be: the run is over."""
        if not self.report.fault:
            self.report.fault = why
            self.say(f"FAULT: {why}")
            self.draw("", "", f"FAULT: {why}")
            if hasattr(self, "_scope"):
                self._scope.cancel()

    def follow(self, driver: Driver) -> None:
        """A driver was made."""
        life = driver.engine._life
        self._drivers[driver] = {}
        counts, say, name = self.report.sometimes, self.say, driver.name
        news = self._told[driver] = Told()
        if (kept := self._restoring) is not None:
            self._restoring = None
            self._time[life].dialled = kept.dialled
            if kept.opened is not None:
                self._time[life].running.setdefault("open_time", kept.opened)

        def recorded(step: Step) -> None:
            made = self._made[life]
            if step.event == RESTORED:
                say(f"{name}: restored")
                return
            if not made or made.popleft().hops is not step.hops:
                self.fail(f"{name}: {step.event} was recorded, and is not the step that was made")
            states = ", ".join([hop.after.leaves for hop in step.hops])
            say(f"{name} #{step.epoch}: {step.event} -> {states}")
            if self._draws and any(hop.before.leaves != hop.after.leaves for hop in step.hops):
                who = driver.engine.settings.name
                self.draw(who, who, step.event, states)
            for effect in step.effects:
                match effect:
                    case ResetTcp():
                        closed = driver._closed or driver._transport
                        if closed is not None:
                            self._resets.append((name, closed._stream))
                    case ContestSession():
                        self._contested_at = self.clock.now
                    case _:
                        pass

        def told(event: LinkEvent) -> None:
            counts[f"event {type(event).__name__}"] += 1
            news.add(event)
            match event:
                case UnexpectedSecondary(message=message) if message.body:
                    self._unwanted(name, int(message.body.split(b"|")[0]))
                case Closed(error=DefectError() as error):
                    self.fail(f"{name}: {error} {error.__cause__!r}")
                case _:
                    pass

        driver.recorders.append(recorded)
        driver.followers.append(told)

    def stepped(self, life: Lifecycle, before: Here[World], event: str, step: SystemStep) -> None:
        """The charts of an engine have made a step."""
        self._made[life].append(step)
        self._failed[life] += sum(hop.event == "attempt_failed" for hop in step.hops)
        fault = self._monitors.judge(life, self._waits, before, event, step, here(life))
        fault = fault or self._time[life].stepped(
            self.clock.now,
            event,
            step.effects,
            life._context.settings,
        )
        if fault:
            self.fail(f"{life._context.peer}: {fault}")

    def _unwanted(self, name: str, number: int) -> None:
        """A reply has come, and no request waits for it."""
        if number in self._replied:
            self.fail(f"{name}: request {number} was answered twice")
        if number in self._asked:
            self._unwanted_at[number] = self.clock.now

    def _sent_bytes(self, socket: Socket, data: bytes) -> None:
        decoder = self._decoders.setdefault(socket, Decoder(max_frame=0xFFFF_FFFF))
        for frame in decoder.feed(data):
            name = f"S{frame.stream}F{frame.function}"
            if frame.stype != SType.DATA:
                name = SType(frame.stype).name.capitalize().replace("_", ".")
            self.draw(socket.machine.name, socket.other.machine.name, name)
            is_answer = frame.stype == SType.LINKTEST_RSP or frame.function == 2
            if self._stops_for and is_answer and socket.machine.name.startswith("tool"):
                # The kernel has it already; the program goes on later.
                self._jump(self._stops_for)
                self._stops_for = 0.0

    def _jump(self, seconds: float) -> None:
        """The programs stop for so long."""
        self.clock.jump(seconds)
        self._jumped_at = self.clock.now

    def _look(self) -> None:
        """What must be so between any two steps."""
        for driver, before in self._drivers.items():
            engine = driver.engine
            is_late = self.clock.now - self._jumped_at < 2 * engine.settings.t6
            late = self._time[engine._life].late(self.clock.now, engine.settings)
            if late and not (is_late or driver._is_resting or engine.is_closed):
                self.fail(f"{driver.name}: {late}")
            counted = engine._life.attempts, engine._life.times_selected
            if driver._dial is not None and (fault := self._told[driver].miscounted(*counted)):
                self.fail(f"{driver.name}: {fault}")
            counters = engine._context.counters
            for name, count in counters.items():
                if count < before.get(name, 0):
                    self.fail(
                        f"{driver.name}: the counter {name} went from {before[name]} to {count}"
                    )
            before.update(counters)
            waiting, most = engine._exchange.waiting, self._most["inbox_size"]
            if waiting > most:
                self.fail(f"{driver.name}: {waiting} primaries wait, and inbox_size is {most}")
            if engine.failed_attempts != self._failed[engine._life]:
                self.fail(f"{driver.name}: it counts {engine.failed_attempts} failed attempts")
            entity, epoch = engine._entity, engine._context.epoch
            if entity is not None and (engine._life in entity._selected) != engine.is_selected:
                self.fail(f"{driver.name}: {engine.phase}, and has a session: {entity._selected}")
            if epoch is not None and len(epoch.transactions) > len(driver._waiting):
                self.fail(f"{driver.name}: a request is open, and nobody waits for it")
            if epoch is not None and epoch.outbox.backlog > self._most["outbox_size"] + 200_000:
                self.fail(f"{driver.name}: {epoch.outbox.backlog} bytes are queued")

    # The run

    async def main(self) -> None:
        """All of it."""
        plan = self.plan
        self._calm, self._over = trio.Event(), trio.Event()
        self._settings = plan.settings
        self._most = {
            "inbox_size": max(plan.settings.inbox_size, 10_000),
            "outbox_size": plan.settings.outbox_size,
        }
        sent = self._sent_bytes if self._draws or plan.theme == "late" else None
        self.network = Network(Random(f"network {plan.seed}"), plan.kernel, sent)
        with trio.CancelScope() as self._scope:
            async with trio.open_nursery() as ground:
                ground.start_soon(self.network.run)
                with trio.fail_after(_LONGEST):
                    async with trio.open_nursery() as programs:
                        await self._begin(programs)
                        async with trio.open_nursery() as self._users:
                            async with trio.open_nursery() as self._breaks:
                                await self._storm()
                                self._breaks.cancel_scope.cancel()
                            await self._recover()
                            self._users.cancel_scope.cancel()
                        self._over.set()
                        for event in list(self._leave.values()):
                            event.set()
                    await trio.sleep(1)
                self._look()
                self._nothing_stays()
                ground.cancel_scope.cancel()

    async def _begin(self, programs: trio.Nursery) -> None:
        plan = self.plan
        for link, server in enumerate(plan.links):
            for way in self._both_ways(link):
                way.delay, way.jitter, way.rate = plan.one_way, plan.jitter, plan.rate
            assert server < plan.servers
        for server in range(plan.servers):
            programs.start_soon(self._tool, server)
        await trio.lowlevel.checkpoint()
        for link in range(len(plan.links)):
            programs.start_soon(self._host, link)

    def _host_machine(self, link: int) -> Machine:
        return self.network.machine(f"host {link}")

    def _tool_machine(self, server: int) -> Machine:
        return self.network.machine(f"tool {server}")

    def _both_ways(self, link: int) -> tuple[Way, Way]:
        """To the equipment, and to the host."""
        host, tool = f"host {link}", f"tool {self.plan.links[link]}"
        return self.network.way(host, tool), self.network.way(tool, host)

    # Programs

    async def _lives(self, machine: Machine, live: Callable[[], Awaitable[None]]) -> None:
        """One life of a program after the other, while its machine has power."""
        name = machine.name
        while not self._over.is_set():
            while not machine.is_up:
                self._powered[name] = trio.Event()
                await self._powered[name].wait()
            self._leave[name] = trio.Event()
            if self._over.is_set():
                return
            with trio.CancelScope() as scope:
                self._programs[name] = scope
                try:
                    await live()
                except HsmsError as error:
                    self.say(f"{name}: its program ends with {type(error).__name__}")
                    self.sometimes(f"{type(error).__name__} at the end of a program")

    async def _host(self, link: int) -> None:
        machine = self._host_machine(link)
        lives = itertools.count()

        async def live() -> None:
            random = Random(f"{machine.name} {next(lives)} {self.plan.seed}")
            settings = replace(self._settings, name=machine.name)
            kept = self._restoring = self._kept.pop(link, None)
            async with open_link(
                settings,
                dial=partial(self._dial, link),
                random=random,
                restore=kept.saved if kept is not None else None,
                wall_clock=trio.current_time,
            ) as opened:
                self._links[link] = opened
                self._is_back(opened, kept)
                opened.on_selected(partial(self._serve_session, link))
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._read, opened, machine.name, -1)
                        nursery.start_soon(self._read_events, opened, True)
                        await self._leave[machine.name].wait()
                        nursery.cancel_scope.cancel()
                finally:
                    del self._links[link]

        await self._lives(machine, live)

    async def _tool(self, server: int) -> None:
        machine = self._tool_machine(server)
        lives = itertools.count()

        async def live() -> None:
            random = Random(f"{machine.name} {next(lives)} {self.plan.seed}")
            post = machine.listen(backlog=self.plan.backlog)
            settings = replace(self._settings, name=machine.name)
            if self.plan.theme == "late":
                # A question of its own that is on its way when the host stops is not answered.
                settings = replace(settings, linktest_interval=None, second_host="probe")

            async def handle(connection: Messaging) -> None:
                await self._read(connection, machine.name, server)

            async def serve(task_status: trio.TaskStatus[HsmsServer]) -> None:
                await serve_hsms(
                    handle, settings, listener=post, random=random, task_status=task_status
                )

            async with trio.open_nursery() as nursery:
                opened: HsmsServer = await nursery.start(serve)
                self._servers[server] = opened
                nursery.start_soon(self._read_peers, server, opened)
                try:
                    await self._leave[machine.name].wait()
                    await opened.aclose()
                finally:
                    del self._servers[server]
            if opened.failed_connections:
                self.fail(f"{machine.name}: {opened.failed_connections} connections failed")

        await self._lives(machine, live)

    async def _read_events(self, link: HsmsLink, is_first: bool) -> None:
        """Read events as long as there are any; each must be the one that is due."""
        along = Along(self._told[link._driver], is_first=is_first)
        async for event in link.events():
            self.sometimes(f"read {type(event).__name__}")
            if fault := along.take(event):
                self.fail(f"{link!r}: {fault}")

    async def _read_present(self, link: HsmsLink) -> None:
        """A reader that begins when nothing happens gets the present state, and no more."""
        along = Along(self._told[link._driver], is_first=False)
        reader = link.events()
        while not along.has_all:
            with trio.move_on_after(ROUNDING) as scope:
                if fault := along.take(await reader.receive()):
                    self.fail(f"{link!r}: {fault}")
            if scope.cancelled_caught:
                self.fail(f"{link!r}: a new reader does not get the present state")
                return

    async def _read_peers(self, server: int, opened: HsmsServer) -> None:
        peers = self._peers[server] = Peers()
        async for event in opened.events():
            if fault := peers.take(event):
                self.fail(f"tool {server}: {fault}")

    async def _serve_session(self, number: int, link: HsmsLink) -> None:
        """The task that a link has for each session: one at a time."""
        if number in self._sessions:
            self.fail(f"host {number}: two tasks of sessions run")
        self._sessions[number] = link.statistics().times_selected
        try:
            await trio.sleep_forever()
        finally:
            del self._sessions[number]

    def _save(self, number: int) -> None:
        """The program keeps what its next life is to begin with."""
        if (link := self._links.get(number)) is None or link._engine.is_closing:
            return
        known = link.statistics()
        time = self._time[link._engine._life]
        opened = time.running["open_time"] if known.breaker_state == "breaker_open" else None
        is_enabled = link.phase != "idle"
        self._kept[number] = Kept(
            link.save(), is_enabled, known.breaker_failures, time.dialled, opened
        )

    def _is_back(self, link: HsmsLink, kept: Kept | None) -> None:
        """A link has what its program kept in its earlier life."""
        if kept is None:
            return
        self.sometimes("restored")
        found = link.statistics()
        if kept.is_enabled == (link.phase == "idle"):
            self.fail(f"{link!r}: is {link.phase}, and was enabled: {kept.is_enabled}")
        if kept.opened is None and found.breaker_failures != kept.failures:
            self.fail(f"{link!r}: {found.breaker_failures} failures, and it had {kept.failures}")

    async def _read(self, messaging: Messaging, name: str, server: int) -> None:
        """Take primaries, and do with each what it asks for."""
        reader = next(self._numbers)
        receive: Any = messaging
        try:
            async for primary in receive:
                if primary.stream == 9:
                    # An equipment reports what it could not take, or that T3 is over.
                    self.sometimes(f"read {primary.name}")
                    continue
                self._check_came(reader, name, primary.body)
                await self._answer(messaging, primary, name)
                match self._next_handler.pop(server, ""):
                    case "handler-raises":
                        raise OnPurposeError
                    case "handler-leaves":
                        return
                    case "handler-outlives":
                        await self._calm.wait()
                    case _:
                        pass
        except HsmsError as error:
            self.sometimes(f"{type(error).__name__} of a reader")
            raise

    async def _answer(self, messaging: Messaging, primary: Any, name: str) -> None:
        if name in self._slow_until:
            with trio.move_on_at(self._slow_until[name]):
                await self._calm.wait()
        asks = primary.body.split(b"|")[1].decode()
        if not primary.wait or (asks == "never" and not self._calm.is_set()):
            return
        if asks == "late":
            with trio.move_on_after(0.3):
                await self._calm.wait()
        function = 0 if asks == "abort" else primary.function + 1
        body = b"" if asks == "abort" else primary.body
        if asks == "wrong":
            self._say_wrongly(messaging, primary)
        reply = partial(messaging.reply, primary, Message(primary.stream, function, body=body))
        outcome = await self._try(f"{name}: reply", reply)
        if outcome == "done" and function and len(body) % 4 == 0:
            try:
                await reply()
            except HsmsError as error:
                self.sometimes(f"second reply: {type(error).__name__}")
            else:
                self.fail(f"{name}: two replies to one request were sent")

    def _say_wrongly(self, messaging: Messaging, primary: Any) -> None:
        """Before the reply: another secondary, and a primary of ours, with its system bytes."""
        engine = messaging._engine
        epoch = engine._context.epoch
        if epoch is primary.epoch and engine.is_selected:
            for message in (Message(1, 4), Message(6, 11, body=self._body(Action(0, "send")))):
                engine._exchange._queue(epoch, message, primary.system_bytes)
            messaging._driver.turn()

    # Messages: ``number|asks|call|padding``; the numbers of one call come in their order.

    def _body(self, action: Action, call: int = 0) -> bytes:
        number = next(self._numbers)
        padding = (str(number).encode() * (action.size // len(str(number)) + 1))[: action.size]
        body = self._sent[number] = b"%d|%s|%d|%s" % (
            number,
            action.asks.encode(),
            call,
            padding,
        )
        return body

    def _not_sent(self, number: int) -> None:
        """The link was down, as the call has said: the message must never come."""
        del self._sent[number]

    def _check_came(self, reader: int, name: str, body: bytes) -> None:
        number = int(body.split(b"|")[0])
        if self._sent.get(number) != body:
            self.fail(f"{name}: what came was never sent: {body[:100]!r}")
        if number in self._came:
            self.fail(f"{name}: message {number} came twice")
        self._came.add(number)
        call = int(body.split(b"|", 3)[2])
        if call and self._latest.get((reader, call), 0) > number:
            self.fail(f"{name}: message {number} came after a later one of the same call")
        self._latest[reader, call] = number

    # Calls

    async def _try(
        self, label: str, call: Callable[[], Awaitable[object]], patience: float = math.inf
    ) -> str:
        """Make a call that may fail as calls do. How it ended."""
        self._calls[label] += 1
        try:
            with trio.move_on_after(patience) as scope:
                await call()
            outcome = "given up" if scope.cancelled_caught else "done"
            if scope.cancelled_caught:
                self._look()
        except HsmsError as error:
            outcome = type(error).__name__
        finally:
            self._calls[label] -= 1
        self.sometimes(f"{label.rpartition(': ')[2]}: {outcome}")
        self.say(f"{label}: {outcome}")
        return outcome

    def _now(self, label: str, call: Callable[[], object]) -> None:
        """The same, for a call that does not wait."""
        try:
            call()
            outcome = "done"
        except HsmsError as error:
            outcome = type(error).__name__
        self.sometimes(f"{label.rpartition(': ')[2]}: {outcome}")
        self.say(f"{label}: {outcome}")

    async def _request(self, messaging: Messaging, action: Action) -> None:
        body = self._body(action)
        number, began, t3 = int(body.split(b"|")[0]), self.clock.now, messaging.settings.t3
        self._asked.add(number)
        try:
            reply = await messaging.request(Message(1, 1, wait=True, body=body))
        except LinkDownError:
            self._not_sent(number)
            raise
        except ReplyTimeoutError:
            if self.clock.now < began + min(t3, messaging.settings.t3) - ROUNDING:
                self.fail(f"request {number} timed out after {self.clock.now - began:g} s")
            if self._unwanted_at.get(number, math.inf) < self.clock.now:
                self.fail(f"request {number} timed out, and its reply had come")
            raise
        finally:
            self._asked.remove(number)
        self._replied.add(number)
        if (reply.stream, reply.function) != (1, 2):
            self.fail(f"the reply to S1F1 is {reply.name}")
        if reply.body != body:
            self.fail(f"the reply to {body[:50]!r} is {reply.body[:50]!r}")

    async def _send_all(self, messaging: Messaging, action: Action, count: int) -> None:
        call = next(self._numbers)
        for _ in range(count):
            body = self._body(action, call)
            try:
                await messaging.send(Message(6, 11, body=body))
            except LinkDownError:
                self._not_sent(int(body.split(b"|")[0]))
                raise

    # The storm

    async def _storm(self) -> None:
        for action in self.plan.actions:
            await trio.sleep_until(action.at)
            if self.plan.theme == "late":
                # Nothing else is on its way then.
                await trio.sleep(2)
            self.say(action_text(action))
            self.draw("", "", action_text(action))
            self.sometimes(f"action {action.what}")
            self._look()
            self._act(action)
        await trio.sleep_until(self.plan.ends_at)
        if self.plan.theme == "chatty":
            await self._chat()

    async def _chat(self) -> None:
        """Somebody asks and tells something every few seconds, in both directions."""
        link = self._links[0]
        for _ in range(720):
            await trio.sleep(5)
            await self._request(link, Action(0, "request", size=100))
            await link.send(Message(6, 11, body=self._body(Action(0, "send", size=100))))
            connection = self._servers[0].connections[0]
            await self._request(connection, Action(0, "server-request", size=100))

    def _act(self, action: Action) -> None:
        link = self._links.get(action.who)
        server = self._servers.get(self.plan.links[action.who])
        of = f"host {action.who}: {action.what}"
        start = self._users.start_soon
        match action.what:
            case "request" | "send" | "burst" | "linktest" | "deselect" | "select" | "connect":
                if link is not None:
                    start(self._try, of, self._waiting_call(link, action), action.patience)
            case "server-request" | "server-send":
                selected = (
                    [each for each in server.connections if each.is_selected] if server else []
                )
                if selected:
                    call = self._waiting_call(selected[action.size % len(selected)], action)
                    start(self._try, of, call, action.patience)
            case "disable" | "enable" | "isolate" | "release" | "reset-breaker":
                if link is not None:
                    self._now(of, getattr(link, action.what.replace("-", "_")))
            case "configure":
                if link is not None:
                    self._now(of, partial(link.configure, **self._other_settings(action)))
            case "configure-server":
                if server is not None:
                    self._now(of, partial(server.configure, **self._other_settings(action)))
            case "reopen":
                if action.size:
                    self._save(action.who)
                self._leave[f"host {action.who}"].set()
            case "restart-server":
                self._leave[f"tool {self.plan.links[action.who]}"].set()
            case "read-slowly":
                name = (
                    f"tool {self.plan.links[action.who]}" if action.size else f"host {action.who}"
                )
                self._slow_until[name] = self.clock.now + action.value
            case "watch-events":
                if link is not None:
                    self._breaks.start_soon(self._read_events, link, False)
            case "toggle":
                self._toggles.add(action.who)
                for socket in [*self._host_machine(action.who).sockets]:
                    socket.break_off()
            case "once":
                # It would contest the session when all is to be well.
                self._breaks.start_soon(self._try, of, partial(self._once, action), action.patience)
            case "handler-raises" | "handler-leaves" | "handler-outlives":
                self._next_handler[self.plan.links[action.who]] = action.what
            case _:
                self._break(action)

    def _waiting_call(self, messaging: Any, action: Action) -> Callable[[], Awaitable[object]]:
        match action.what:
            case "request" | "server-request":
                return partial(self._request, messaging, action)
            case "send" | "server-send":
                return partial(self._send_all, messaging, action, 1)
            case "burst":
                return partial(self._send_all, messaging, action, max(1, int(action.value)))
            case name:
                call: Callable[[], Awaitable[object]] = getattr(messaging, name)
                return call

    def _other_settings(self, action: Action) -> dict[str, Any]:
        """Settings that a user changes to, until the storm is over."""
        dice = Random(f"{action}")
        changes = {
            "t3": dice.choice((1, 20)),
            "t6": dice.choice((1, 4)),
            "linktest_interval": dice.choice((None, 1, 20)),
            "linktest_threshold": dice.choice((1, 3)),
            "breaker_threshold": dice.choice((1, 4)),
        }
        return {name: changes[name] for name in dice.sample(sorted(changes), 2)}

    async def _once(self, action: Action) -> None:
        machine = self._host_machine(action.who)
        tool = self._tool_machine(self.plan.links[action.who])
        random = Random(f"{action}")
        settings = replace(self._settings, name=f"once {action.who}")
        async with open_hsms(settings, dial=lambda: machine.dial(tool), random=random) as opened:
            await self._request(opened, action)

    def _break(self, action: Action) -> None:
        """A fault of the network or of a machine."""
        out, back = ways = self._both_ways(action.who)
        host = self._host_machine(action.who)
        tool = self._tool_machine(self.plan.links[action.who])
        start, dice = self._breaks.start_soon, Random(f"{action}")
        match action.what:
            case "black-hole":
                start(self._for_a_time, action.value, ways, "is_cut", True)
            case "black-hole=to-equipment":
                start(self._for_a_time, action.value, (out,), "is_cut", True)
            case "black-hole=to-host":
                start(self._for_a_time, action.value, (back,), "is_cut", True)
            case "latency":
                start(self._for_a_time, 3 * action.value, ways, "delay", action.value / 2)
            case "jitter":
                start(self._for_a_time, 3 * action.value, ways, "jitter", action.value / 2)
            case "rate":
                start(self._for_a_time, 3 * action.value, ways, "rate", dice.choice((500.0, 8e3)))
            case "loss":
                start(self._for_a_time, 3 * action.value, ways, "loss", dice.choice((0.05, 0.4)))
            case "lost-fin":
                start(self._for_a_time, action.value, ways, "loses_fin", True)
            case "lost-reset":
                start(self._for_a_time, 3 * action.value, ways, "loses_reset", True)
            case "slice":
                self.network.kernel = replace(self.plan.kernel, segment=100, is_choppy=True)
            case "small-buffers":
                for socket in (*host.sockets, *tool.sockets):
                    socket.send_buffer = socket.receive_buffer = 500
            case "stall":
                for socket in (host if action.size else tool).sockets:
                    start(self._for_a_time, action.value, (socket,), "receive_buffer", 0)
            case "half-close":
                for socket in [*(host if action.size else tool).sockets]:
                    if socket.is_open:
                        start(self._half_close, socket)
            case "reset":
                for socket in [*host.sockets]:
                    socket.other.break_off()
                    socket.break_off()
            case "lost-connection":
                for socket in [*(host if action.size else tool).sockets]:
                    socket.break_off()
            case "power-cut" | "power-cut-silent":
                machine = host if action.size else tool
                if action.size > 10:
                    self._save(action.who)
                start(self._cut_power, machine, action.value, "silent" in action.what)
            case "forgetful-nat":
                self.network.forget(resets=True)
            case "forgetful-firewall":
                self.network.forget(resets=False)
            case "stopped" if self.plan.theme == "late":
                self._stops_for = action.value
            case "stopped":
                self._jump(action.value)
            case _:
                raise AssertionError(action.what)

    async def _for_a_time(
        self, seconds: float, ways: tuple[Way | Socket, ...], name: str, value: float
    ) -> None:
        before = [getattr(way, name) for way in ways]
        for way in ways:
            setattr(way, name, value)
        try:
            await trio.sleep(seconds)
        finally:
            for way, was in zip(ways, before, strict=True):
                setattr(way, name, was)
        self.say(f"{name} is as before")

    async def _half_close(self, socket: Socket) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await socket.send_eof()

    async def _dial(self, number: int) -> Socket:
        """Dial, and perhaps have a user disable and enable the link just when that is decided."""
        machine = self._host_machine(number)
        try:
            return await machine.dial(self._tool_machine(self.plan.links[number]))
        finally:
            if number in self._toggles and (link := self._links.get(number)) is not None:
                self._toggles.remove(number)
                self._now(f"host {number}: disable", link.disable)
                self._now(f"host {number}: enable", link.enable)

    async def _cut_power(self, machine: Machine, seconds: float, silent: bool) -> None:
        machine.crash()
        machine.is_silent = silent
        self._programs[machine.name].cancel()
        with trio.move_on_after(seconds):
            await trio.sleep_forever()
        self._power(machine)

    def _power(self, machine: Machine) -> None:
        machine.start()
        self.say(f"{machine.name} has power")
        if machine.name in self._powered:
            self._powered[machine.name].set()

    # Recovery

    async def _recover(self) -> None:
        plan = self.plan
        if self.report.fault:
            return
        self.say("nothing breaks any more, and nobody acts")
        self.draw("", "", "nothing breaks any more, and nobody acts")
        self._calm.set()
        self._toggles.clear()
        self._next_handler.clear()
        for way in self.network.ways():
            way.delay, way.jitter, way.loss = plan.one_way, plan.jitter, 0.0
            way.rate, way.is_cut = math.inf, False
            way.loses_fin = way.loses_reset = False
        for machine in self.network.machines.values():
            machine.is_silent = False
            for socket in machine.sockets:
                if socket.is_forgotten:
                    # What is silent is not whole.
                    socket.forgotten_by_nat(resets=True)
            if not machine.is_up:
                self._power(machine)
        await trio.sleep(0.001)
        for server in self._servers.values():
            same = replace(self._settings, name=server.settings.name)
            # One that is about to be closed may come instead.
            self._now(f"{server!r}: configure", partial(server.configure, same))
        for link in self._links.values():
            same = replace(self._settings, name=link.settings.name)
            self._now(f"{link!r}: configure", partial(link.configure, same))
            if link.statistics().breaker_state == "isolated":
                link.release()
            self._now(f"{link!r}: enable", link.enable)
        await self._all_is_sent_again()
        longest = self._longest()
        begun = self.clock.now
        self.say(f"from here on, all are selected within {longest:g} s")
        poll = max(0.05, longest / 200)
        with trio.move_on_at(begun + longest):
            while not self._are_selected():  # noqa: ASYNC110  # nobody tells that both ends are
                await trio.sleep(poll)
        await trio.sleep(ROUNDING)
        if not self._are_selected():
            self.fail(f"not all are selected after {longest:g} s: {self._present()}")
            return
        self.say(f"all are selected after {self.clock.now - begun:.6f} s")
        if plan.theme == "late" and self.report.sometimes["request: ReplyTimeoutError"]:
            self.fail("a reply that had come was not found by a program that was late")
        await self._all_answer()
        await self._all_is_over()
        self._nothing_was_lost()
        if plan.theme != "late":
            await self._all_notice()

    async def _all_is_sent_again(self) -> None:
        """Wait until TCP has sent again what was lost. That is no part of a bound."""
        kernel, plan = self.plan.kernel, self.plan
        await trio.sleep(kernel.longest_pause + 4 * (plan.one_way + plan.jitter))
        for way in self.network.ways():
            await trio.sleep_until(way.arrives_at)
        for _ in range(10_000):
            if not any(
                socket.is_sending
                for machine in self.network.machines.values()
                for socket in machine.sockets
            ):
                return
            await trio.sleep(0.1)
        self.fail("bytes are on their way for ever")

    def _longest(self) -> float:
        """The bound of these settings, with what its conditions allow."""
        settings = self._settings
        bound = settings.recovery_bound(self.plan.one_way + self.plan.jitter).seconds
        if self.clock.now - self._contested_at <= settings.t6:
            # A second host has just asked, so the next one causes no probe: one more pause.
            pause = settings.pause(settings.breaker_threshold)
            bound += max(pause, settings.breaker_open_time) * (1 + settings.backoff_jitter)
        return 3 * bound if self._is_contested else bound

    @property
    def _is_contested(self) -> bool:
        """More hosts than sessions: no bound is about that."""
        hosts = max(Counter(self.plan.links).values())
        return hosts > 1 and hosts > self._settings.max_sessions

    def _are_selected(self) -> bool:
        """Both ends of all links, or as many as there are sessions."""
        count = sum(map(self._is_selected, range(len(self.plan.links))))
        most = sum(
            min(hosts, self._settings.max_sessions) for hosts in Counter(self.plan.links).values()
        )
        return count >= most

    def _is_selected(self, number: int) -> bool:
        link, server = self._links.get(number), self._servers.get(self.plan.links[number])
        if link is None or server is None or not link.is_selected:
            return False
        transport = link._driver._transport
        stream: Any = transport and transport._stream
        if stream is None or stream.is_forgotten:
            return False
        for connection in server.connections:
            theirs = connection._driver._transport
            if theirs is not None and theirs._stream is stream.other:
                return connection.is_selected
        return False

    def _present(self) -> str:
        links = ", ".join(f"host {number} {link.phase}" for number, link in self._links.items())
        tools = ", ".join(
            f"tool {number} {[each.phase for each in server.connections]}"
            for number, server in self._servers.items()
        )
        return f"{links}; {tools}"

    def _nothing_was_lost(self) -> None:
        """Of a plan in which nothing is wrong but that something takes its time."""
        if self.plan.theme in ("late", "slow", "burst"):
            for number, link in self._links.items():
                found = link.statistics()
                if (found.epoch, found.times_selected) != (1, 1):
                    self.fail(f"host {number} has lost its link, and nothing was wrong")
                if lost := sorted({*self._sent} - self._came):
                    self.fail(f"messages {lost} never came, and nothing was wrong")

    async def _all_is_over(self) -> None:
        """What users began ends, and nothing of it is kept."""
        settings = self._settings
        with trio.move_on_after(settings.t3 + 2 * settings.t6):
            while +self._calls:  # noqa: ASYNC110  # nobody tells that all calls are over
                await trio.sleep(0.1)
        if calls := +self._calls:
            self.fail(f"these calls do not end: {sorted(calls)}")
        for driver in self._drivers:
            engine = driver.engine
            found = engine.statistics()
            # What came over a link that is closed may still be read.
            waiting = 0 if engine.is_closed and driver._dial else found.waiting_primaries
            kept = (found.open_transactions, waiting, found.queued_bytes)
            if any(kept) or driver._waiting or engine._life._asked:
                self.fail(f"{driver.name}: kept: {kept}, {len(driver._waiting)} wait")
        for number, server in self._servers.items():
            if not self._is_contested:
                self._nothing_is_kept(f"tool {number}", server, self._peers[number])
        for number, link in self._links.items():
            await self._read_present(link)
            session = link.statistics().times_selected if link.is_selected else None
            if self._sessions.get(number) != session:
                self.fail(
                    f"host {number}: its task serves {self._sessions.get(number)}, not {session}"
                )

    def _nothing_is_kept(self, name: str, server: HsmsServer, peers: Peers) -> None:
        entity, selected = server.entity, [each for each in server.connections if each.is_selected]
        # The handler of a session that was deselected goes on until T7 ends its connection.
        began = [each for each in server.connections if each.statistics().times_selected]
        if server.waiting_bytes or server.outliving or server.handlers != len(began):
            self.fail(
                f"{name}: {server.waiting_bytes} bytes wait, {server.handlers} handlers, "
                f"{server.outliving} of them outlive, and {len(began)} were selected"
            )
        sessions = {each._driver.engine._life for each in selected}
        served = {each._driver.engine._life for each in began}
        if (entity._selected, entity._served) != (sessions, served):
            self.fail(
                f"{name}: {len(entity._selected)} have sessions and {len(entity._served)} are "
                f"served, and {len(selected)} of {len(began)} that were selected are so now"
            )
        if not peers.has_missed and sum(peers.here.values()) != len(selected):
            self.fail(f"{name}: it has told of {peers.here}, and {len(selected)} are selected")

    async def _all_notice(self) -> None:
        """When nothing arrives any more, both ends notice within their bound."""
        for way in self.network.ways():
            way.is_cut = True
        bound = self._settings.detection_bound().seconds
        if self.network.kernel.is_choppy:
            # Half of an answer of ours may be acknowledged, which is a sign of life of its own.
            bound += self._settings.t6
        self.say(f"nothing arrives any more; all notice within {bound:g} s")
        # The last byte may be under way.
        await trio.sleep(bound + self.plan.one_way + self.plan.jitter + ROUNDING)
        ends: list[Messaging] = [*self._links.values()]
        for server in self._servers.values():
            ends += server.connections
        for end in ends:
            if end.statistics().phase == "selected":
                self.fail(f"{end!r}: it has not noticed that its peer is silent")
        for way in self.network.ways():
            way.is_cut = False

    async def _all_answer(self) -> None:
        self._slow_until.clear()
        async with trio.open_nursery() as nursery:
            for number, link in self._links.items():
                if self._is_selected(number):
                    nursery.start_soon(self._expect_answers, number, link)

    async def _expect_answers(self, number: int, link: HsmsLink) -> None:
        for name, call in (
            ("request", partial(self._request, link, Action(0, "request", size=10))),
            ("linktest", link.linktest),
        ):
            began = self.clock.now
            outcome = await self._try(f"host {number}: last {name}", call)
            took = self.clock.now - began
            if self.plan.rate == math.inf and took > 1 + 4 * (self.plan.one_way + self.plan.jitter):
                self.fail(f"host {number}: the {name} when all is well took {took:g} s")
            if outcome != "done":
                self.fail(f"host {number}: the {name} when all is well: {outcome}")

    def _nothing_stays(self) -> None:
        for machine in self.network.machines.values():
            for socket in machine.sockets:
                if socket.is_open:
                    self.fail(f"{socket.name} -> {socket.peer}: the program has left it open")
        for name, stream in self._resets:
            if stream not in self.was_reset:
                self.fail(f"{name}: a connection was given up, and its peer not told by a reset")
