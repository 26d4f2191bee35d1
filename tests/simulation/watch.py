"""What a run sees of its engines: its log, and what must be so at and between all steps."""

from __future__ import annotations

import logging
import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

import trio

from hsms_engine.driver.driver import Driver
from hsms_engine.errors import DefectError
from hsms_engine.events import Closed, LinkEvent, UnexpectedSecondary
from hsms_engine.protocol.lifecycle import Lifecycle
from hsms_engine.protocol.outputs import Step
from hsms_engine.protocol.saving import RESTORED
from hsms_engine.virtual import Socket
from hsms_engine.wire import Decoder, SType
from statecharts.explore.alone import Here
from statecharts.hsms.vocabulary import ContestSession, ResetTcp
from statecharts.hsms.world import World
from statecharts.router import SystemStep
from tests.simulation.beside import Kept, Timekeeper, Told
from tests.simulation.clock import VirtualClock
from tests.simulation.monitors import Monitors, Waits, here
from tests.simulation.plan import Action, Plan, action_text
from tests.simulation.recording import Recording


@dataclass(slots=True)
class Report:
    """What came of a run. ``fault`` is empty when all was as it should be."""

    plan: Plan
    fault: str = ""
    log: list[str] = field(default_factory=list)
    sometimes: Counter[str] = field(default_factory=Counter)
    # Seconds of the clock, times the links.
    link_seconds: float = 0.0


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Every driver and every step of a chart is seen by ``watch``."""
    init, perform, reset = Driver.__init__, Lifecycle._perform, Socket.reset

    def watched_init(driver: Driver, *args: Any, **options: Any) -> None:
        init(driver, *args, **options)
        watch.follow(driver)

    def watched_perform(life: Lifecycle, event: str, detail: Any, step: SystemStep) -> None:
        before = here(life)
        perform(life, event, detail, step)
        watch.stepped(life, before, event, step)

    def watched_reset(socket: Socket) -> None:
        watch.was_reset.add(socket)
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


class Watch:
    """What is known of a run, and its first fault, which ends it."""

    def __init__(self, plan: Plan, monitors: Monitors, record: TextIO | None) -> None:
        self.plan = plan
        self.report = Report(plan)
        self.clock = VirtualClock()
        self.recording = None if record is None else Recording(plan, self.clock, record)
        # Where the fault was found, until the steps that led to it are recorded.
        self._faulty: Driver | None = None
        # All of the run is in it.
        self.scope = trio.CancelScope()
        self.was_reset: set[Socket] = set()
        # The connections that were given up, each of which its peer is to know by a reset.
        self.resets: list[tuple[str, object]] = []
        self._monitors = monitors
        self._waits: dict[Lifecycle, Waits] = {}
        # The steps that were made, and did not come out of their driver yet.
        self._made: defaultdict[Lifecycle, deque[SystemStep]] = defaultdict(deque)
        self.drivers: dict[Driver, dict[str, int]] = {}
        self.contested_at = -math.inf
        self._decoders: dict[Socket, Decoder] = {}
        self._most = {
            "inbox_size": max(plan.settings.inbox_size, 10_000),
            "outbox_size": plan.settings.outbox_size,
        }
        # How long the programs stop when the next answer is on its way, and when they did last.
        self.stops_for = 0.0
        self._jumped_at = -math.inf
        # Requests: those that wait, those that had their reply, and when a reply was not wanted.
        self.asked: set[int] = set()
        self.replied: set[int] = set()
        self.unwanted_at: dict[int, float] = {}
        # Beside the engines. ``restoring``: what the link that is opened next had kept.
        self.time: defaultdict[Lifecycle, Timekeeper] = defaultdict(Timekeeper)
        self.told: dict[Driver, Told] = {}
        self.restoring: Kept | None = None
        self._failed: Counter[Lifecycle] = Counter()

    def say(self, what: str) -> None:
        """A line of the log."""
        self.report.log.append(f"{self.clock.now:.6f} {what}")

    def act(self, action: Action) -> None:
        """A user acts, or something breaks."""
        what = action_text(action)
        self.say(what)
        self.sometimes(f"action {action.what}")
        if self.recording is not None:
            self.recording.act(f"host {action.who}", what)

    def heal(self) -> None:
        """Nothing breaks any more."""
        what = "nothing breaks any more, and nobody acts"
        self.say(what)
        if self.recording is not None:
            self.recording.heal(what)

    def sometimes(self, what: str) -> None:
        """It has happened."""
        self.report.sometimes[what] += 1

    def fail(self, why: str, driver: Driver | None = None) -> None:
        """Something is not as it should be, at this end if one is given: the run is over."""
        if not self.report.fault:
            self.report.fault = why
            self.say(f"FAULT: {why}")
            self._faulty = driver
            self._end_recording()
            self.scope.cancel()

    def _end_recording(self) -> None:
        """The steps that a fault was found in come out first."""
        if self.recording is not None and not any(self._made.values()):
            self.recording.fail(self.report.fault, self._faulty)

    def finish(self) -> None:
        """The run is over."""
        self._made.clear()
        if self.recording is not None:
            if self.report.fault:
                self._end_recording()
            self.recording.end("the run is over")
            self.recording.check()

    def follow(self, driver: Driver) -> None:
        """A driver was made."""
        life = driver.engine._life
        if self.recording is not None:
            # First, so that the step in which a fault is found is recorded before the fault.
            self.recording.follow(driver)
        self.drivers[driver] = {}
        counts, say, name = self.report.sometimes, self.say, driver.name
        news = self.told[driver] = Told()
        if (kept := self.restoring) is not None:
            self.restoring = None
            self.time[life].dialled = kept.dialled
            if kept.opened is not None:
                self.time[life].running.setdefault("open_time", kept.opened)

        def recorded(step: Step) -> None:
            made = self._made[life]
            if step.event == RESTORED:
                say(f"{name}: restored")
                return
            if not made or made.popleft().hops is not step.hops:
                self.fail(
                    f"{name}: {step.event} was recorded, and is not the step that was made", driver
                )
            states = ", ".join([hop.after.leaves for hop in step.hops])
            say(f"{name} #{step.epoch}: {step.event} -> {states}")
            for effect in step.effects:
                match effect:
                    case ResetTcp():
                        closed = driver._closed or driver._transport
                        if closed is not None:
                            self.resets.append((name, closed._stream))
                    case ContestSession():
                        self.contested_at = self.clock.now
                    case _:
                        pass
            if self.report.fault:
                self._end_recording()

        def told(event: LinkEvent) -> None:
            counts[f"event {type(event).__name__}"] += 1
            news.add(event)
            match event:
                case UnexpectedSecondary(message=message) if message.body:
                    self._unwanted(name, int(message.body.split(b"|")[0]))
                case Closed(error=DefectError() as error):
                    self.fail(f"{name}: {error} {error.__cause__!r}", driver)
                case _:
                    pass

        driver.recorders.append(recorded)
        driver.followers.append(told)

    def stepped(self, life: Lifecycle, before: Here[World], event: str, step: SystemStep) -> None:
        """The charts of an engine have made a step."""
        self._made[life].append(step)
        self._failed[life] += sum(hop.event == "attempt_failed" for hop in step.hops)
        fault = self._monitors.judge(life, self._waits, before, event, step, here(life))
        fault = fault or self.time[life].stepped(
            self.clock.now,
            event,
            step.effects,
            life._context.settings,
        )
        if fault:
            driver = next(each for each in self.drivers if each.engine._life is life)
            self.fail(f"{life._context.peer}: {fault}", driver)

    def _unwanted(self, name: str, number: int) -> None:
        """A reply has come, and no request waits for it."""
        if number in self.replied:
            self.fail(f"{name}: request {number} was answered twice")
        if number in self.asked:
            self.unwanted_at[number] = self.clock.now

    def sent_bytes(self, socket: Socket, data: bytes) -> None:
        """Bytes of a plan in which programs stop."""
        decoder = self._decoders.setdefault(socket, Decoder(max_frame=0xFFFF_FFFF))
        for frame in decoder.feed(data):
            is_answer = frame.stype == SType.LINKTEST_RSP or frame.function == 2
            if self.stops_for and is_answer and socket.machine.name.startswith("tool"):
                # The kernel has it already; the program goes on later.
                self.jump(self.stops_for)
                self.stops_for = 0.0

    def jump(self, seconds: float) -> None:
        """The programs stop for so long."""
        self.clock.jump(seconds)
        self._jumped_at = self.clock.now

    def look(self) -> None:
        """What must be so between any two steps."""
        for driver, before in self.drivers.items():
            engine = driver.engine
            is_late = self.clock.now - self._jumped_at < 2 * engine.settings.t6
            late = self.time[engine._life].late(self.clock.now, engine.settings)
            if late and not (is_late or driver._is_resting or engine.is_closed):
                self.fail(f"{driver.name}: {late}", driver)
            counted = engine._life.attempts, engine._life.times_selected
            if driver._dial is not None and (fault := self.told[driver].miscounted(*counted)):
                self.fail(f"{driver.name}: {fault}", driver)
            counters = engine._context.counters
            for name, count in counters.items():
                if count < before.get(name, 0):
                    self.fail(
                        f"{driver.name}: the counter {name} went from {before[name]} to {count}",
                        driver,
                    )
            before.update(counters)
            waiting, most = engine._exchange.waiting, self._most["inbox_size"]
            if waiting > most:
                self.fail(
                    f"{driver.name}: {waiting} primaries wait, and inbox_size is {most}", driver
                )
            if engine.failed_attempts != self._failed[engine._life]:
                self.fail(
                    f"{driver.name}: it counts {engine.failed_attempts} failed attempts", driver
                )
            entity, epoch = engine._entity, engine._context.epoch
            if entity is not None and (engine._life in entity._selected) != engine.is_selected:
                self.fail(
                    f"{driver.name}: {engine.phase}, and has a session: {entity._selected}", driver
                )
            if epoch is not None and len(epoch.transactions) > len(driver._waiting):
                self.fail(f"{driver.name}: a request is open, and nobody waits for it", driver)
            if epoch is not None and epoch.outbox.backlog > self._most["outbox_size"] + 200_000:
                self.fail(f"{driver.name}: {epoch.outbox.backlog} bytes are queued", driver)
