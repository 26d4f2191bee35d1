"""Runs one protocol engine with trio: one nursery per TCP connection, one task for the timers.

* **An epoch stops as a whole.** Reader, writer and stream of one TCP connection are in one task
  tree with one cancel scope; the next connection begins when all these tasks have stopped. A task
  of the program that reads in the reader's place has stopped reading when the stream is closed.
* **The reader waits for the user only while the inbox is more than half full**, and never for long.
  Otherwise it gives bytes to the engine, lets it answer, and reads on.
* **Whoever wakes late reads first, then judges.** Before a timer is said to be over, what has come
  meanwhile is read and what can be written is written: a blocked program blames no peer for it.
  The lease of a link is the exception: its deadlines are judged first.
* **Bytes are sent in one order**: at once, when the transport takes them and nothing is queued,
  else by the one writer task. There is no ``await`` between a change of state and the queueing of
  its bytes.
* **Nothing about the lifecycle is decided here**: each task reports to the engine what happened,
  and ``turn`` does what the engine asks for.
"""

from __future__ import annotations

import logging
import math
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal, NoReturn, Protocol, TypeVar, assert_never

import trio
from trio.lowlevel import reschedule

from hsms_engine.driver.alarms import Alarm
from hsms_engine.driver.dialling import HELD, GiveBack, always
from hsms_engine.driver.event_reader import EventReader
from hsms_engine.driver.loop import Loop
from hsms_engine.driver.lot import Lot
from hsms_engine.driver.reading import Readable, Reading
from hsms_engine.driver.tcp import (
    BROKEN,
    LARGEST_RECEIVE_SIZE,
    RECEIVE_SIZE,
    PatientDial,
    Stream,
    addresses_of,
    system_error,
)
from hsms_engine.driver.tls import PeerCertificate
from hsms_engine.driver.transport import Transport
from hsms_engine.driver.turns import LITTLE_BYTES, LITTLE_FRAMES, new_share
from hsms_engine.errors import TransactionError
from hsms_engine.events import (
    BreakerClosed,
    BreakerHalfOpen,
    BreakerIsolated,
    BreakerOpened,
    BreakerProbing,
    Doubtful,
    Draining,
    LinkEvent,
    Missed,
    Owning,
    Standby,
    UnexpectedSecondary,
    Unreachable,
    Unsent,
    Withdrawn,
)
from hsms_engine.logs import Teller, link_name
from hsms_engine.protocol.context import ignore
from hsms_engine.protocol.control import ControlTransaction
from hsms_engine.protocol.engine import Engine
from hsms_engine.protocol.epoch import Primary
from hsms_engine.protocol.outputs import Step
from hsms_engine.protocol.traffic import Traffic
from hsms_engine.protocol.transactions import Transaction
from hsms_engine.settings import Settings
from statecharts.hsms.vocabulary import (
    AbandonTcp,
    AskStore,
    CloseTcp,
    ContestSession,
    FinishTcp,
    OpenTcp,
    ReleaseLease,
    ResetTcp,
    StopAsking,
)
from statecharts.nursery import open_bare_nursery

if TYPE_CHECKING:
    from trio import TaskStatus

_T = TypeVar("_T")
# What becomes of a stream that was accepted, before the engine has it; None: nothing.
Secure = Callable[[Stream], Awaitable[Stream | None]]

# Bytes read at once from a peer that is not selected: it may take little memory.
_RECEIVE_UNSELECTED = 16_384
# Passes of the event loop in which nothing must come before a timer judges: a dial that has its
# answer needs several until it returns.
_QUIET_PASSES = 10
# The same before a timer that judges nobody, such as that of the next linktest: so that bytes that
# wait in the system are mostly read before it.
_FEW_PASSES = 3
# The messages that the program takes before a resting reader reads on.
_TAKEN = 32
# The inbox before the first primary: a deque is 0.7 kB, and many links never get one. Nothing can
# be put into it.
_NO_INBOX: deque[Primary] = deque(maxlen=0)


async def _as_it_is(stream: Stream) -> Stream:
    return stream


def _ask_nobody(_: AskStore | StopAsking | ReleaseLease) -> None:
    """Without a lease there is no store."""


def _part(event: LinkEvent) -> str:
    """The part of the present state that ``event`` tells: each has one event at most."""
    match event:
        case BreakerOpened() | BreakerHalfOpen() | BreakerProbing() | BreakerIsolated():
            return "breaker"
        case BreakerClosed():
            # It is the state that goes without saying.
            return "breaker"
        case Withdrawn() | Standby() | Owning() | Doubtful() | Draining():
            return "lease"
        case _:
            return "phase"


class Observer(Protocol):
    """Sees what comes out of the engine, in order, and decides nothing. It must not raise."""

    def stepped(self, step: Step) -> None:
        """The charts have made a step: one that is wanted, or that belongs to the last events."""

    def happened(self, event: LinkEvent) -> None:
        """The link has told an event."""

    def passed(self, traffic: Traffic) -> None:
        """A message went over the wire, and somebody watches."""

    def failed(self, error: TransactionError) -> None:
        """A request has failed, and its connection stays."""


class Driver:
    """One link: an engine, its stream, and the tasks that wait for either."""

    __slots__ = (
        "_alarm",
        "_arrived",
        "_ask",
        "_chores",
        "_clock",
        "_closed",
        "_contest",
        "_dial",
        "_dial_wanted",
        "_epoch_scope",
        "_first_reader",
        "_for_tasks",
        "_has_events",
        "_has_watchers",
        "_inbox",
        "_inbox_news",
        "_inbox_taken",
        "_is_handling",
        "_is_resting",
        "_is_turning",
        "_moved",
        "_observers",
        "_present",
        "_readers",
        "_reading",
        "_receipts",
        "_rested",
        "_roomy",
        "_takers",
        "_taken",
        "_taken_at",
        "_taken_at_rest",
        "_transport",
        "_waiting",
        "_wants_messages",
        "_wants_steps",
        "certificate",
        "engine",
        "failures",
        "followers",
        "loop",
        "recorders",
        "share",
        "shared_watchers",
        "watchers",
    )

    def __init__(
        self,
        engine: Engine,
        dial: PatientDial | None,
        contest: Callable[[], None] = ignore,
        ask: Callable[[AskStore | StopAsking | ReleaseLease], None] = _ask_nobody,
    ) -> None:
        """``contest`` is called when the peer asks for a session and others have all of them.

        ``ask`` is called with what the store of leases is to be asked.
        """
        self.engine = engine
        self.loop = Loop()
        # The method itself, because it is called for every message.
        self._clock = trio.lowlevel.current_clock().current_time
        self._contest = contest
        self._ask = ask
        # The user's: for each step of the charts, and for each message, of this connection or of
        # all connections of its server.
        self.recorders: list[Callable[[Step], None]] = []
        self.watchers: list[Callable[[Traffic], None]] = []
        self.shared_watchers: list[Callable[[Traffic], None]] = []
        self._has_watchers = False
        self._observers: list[Observer] = []
        # Whether they want to see messages, and steps. ``bool()`` is False.
        self._wants_messages: Callable[[], bool] = bool
        self._wants_steps: Callable[[], bool] = bool
        # Whether events have come out since the last step.
        self._has_events = False
        self._dial = dial
        # That of the peer of the latest connection, if it has TLS.
        self.certificate: PeerCertificate | None = None
        # The tasks of the latest epoch, or its dial; set when the next one must be dialled.
        self._epoch_scope = trio.CancelScope()
        self._dial_wanted = trio.Event()
        self._transport: Transport | None = None
        # The latest one that the engine has closed, until its tasks have stopped.
        self._closed: Transport | None = None
        # Wakes the task for the timers.
        self._alarm = Alarm()
        # What is to be done in a task of this connection, each once.
        self._chores: dict[Callable[[], None], None] = {}
        # Called when the transaction is settled; the primaries not taken yet, oldest first.
        self._waiting: dict[Transaction | ControlTransaction, Callable[[], object]] = {}
        self._inbox = _NO_INBOX
        self._inbox_news = Lot()
        self._arrived = 0
        # Called with the next primary, the first first. They are no tasks.
        self._takers: dict[Callable[[Primary | None], object], None] = {}
        # How many messages came for tasks: answers to theirs, and primaries.
        self._for_tasks = 0
        self._is_turning = False
        # How many primaries the program has taken; woken for each while the reader rests.
        self._taken = 0
        self._inbox_taken = Lot()
        self._taken_at_rest = -1
        self._taken_at = -math.inf
        # How often the reader got bytes, whether it still handles them, and whether it rests.
        self._receipts = 0
        self._is_handling = False
        self._is_resting = False
        # Who reads, if other tasks than the reader can.
        self._reading: Reading | None = None
        self._rested = Lot()
        self.share = new_share()
        # Woken each time the charts have moved, and when the outbox has room again.
        self._moved = Lot()
        self._roomy = Lot()
        # Weak: a reader that its user does not keep is not kept here either. No set, which is 1 kB.
        self._readers: list[weakref.ref[EventReader[LinkEvent]]] = []
        # Called for each event, at once. They must not raise.
        self.followers: list[Callable[[LinkEvent], None]] = []
        # The same for each request that has failed, and whose connection stays.
        self.failures: tuple[Callable[[TransactionError], None], ...] = ()
        # The present state: the latest event of the phase, and that of a breaker that is not
        # closed, in the order in which they happened.
        self._present: tuple[LinkEvent, ...] = ()
        # The events until the first call of ``events``; None after it.
        self._first_reader: EventReader[LinkEvent] | None = self._new_reader()

    @property
    def name(self) -> str:
        """The link's name in logs: its own, its peer, and whether it is active or passive."""
        end: Literal["active", "passive"] = "passive" if self._dial is None else "active"
        return link_name(self.engine.settings.name, self.engine.peer, end)

    @property
    def teller(self) -> Teller:
        """What writes in ``hsms_engine.link`` about the latest connection."""
        return Teller(self.name, self.engine.epochs)

    def observe(
        self,
        observer: Observer,
        wants_messages: Callable[[], bool],
        wants_steps: Callable[[], bool],
    ) -> None:
        """Tell ``observer`` from now on every event, and messages and steps while it wants them.

        ``wants_messages`` is asked at each message or so, ``wants_steps`` at each step.
        """
        self._observers = [observer]
        self._wants_messages, self._wants_steps = wants_messages, wants_steps
        self.watch()

    # Running

    async def run(self, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run an active link until cancelled. The charts decide what it does."""
        try:
            async with open_bare_nursery() as nursery:
                nursery.start_soon(self._keep_time)
                task_status.started()
                # One epoch after the other, all in this task: a call may come when these tasks are
                # cancelled and the charts do not know it yet, and must not start a task then.
                while True:
                    await self._dial_wanted.wait()
                    self._dial_wanted = trio.Event()
                    dialled = None
                    with self._epoch_scope as scope:
                        dialled = await self._dial_stream(scope)
                    if dialled is not None:
                        stream, give_back = dialled
                        await self._run_epoch(stream, self.engine.tcp_opened, give_back)
        finally:
            self._stop()

    async def run_accepted(self, stream: Stream, secure: Secure = _as_it_is) -> None:
        """Run a passive connection over what ``secure`` makes of ``stream`` until it is over."""
        try:
            secured = await self._secured(stream, secure)
            if secured is None:
                return
            await self._run_epoch(secured, self.engine.tcp_accepted)
        finally:
            self._stop()

    async def _secured(self, stream: Stream, secure: Secure) -> Stream | None:
        """The stream for the engine; None when it is closed, by a call or because of its peer."""
        secured, is_usable = None, False
        try:
            if not self.engine.is_closed:
                async with open_bare_nursery() as nursery:
                    nursery.start_soon(self._cancel_when_closed, nursery.cancel_scope)
                    secured = await secure(stream)
                    nursery.cancel_scope.cancel()
            is_usable = secured is not None and not self.engine.is_closed
        finally:
            if not is_usable:
                with trio.CancelScope(shield=True):
                    await trio.aclose_forcefully(secured or stream)
        return secured if is_usable else None

    async def _cancel_when_closed(self, scope: trio.CancelScope) -> None:
        await self.until(lambda: self.engine.is_closed)
        scope.cancel()

    def _stop(self) -> None:
        """No task runs any more: the engine settles what is open, and every waiting task wakes."""
        try:
            self.engine.stop()
        finally:
            self.turn()

    def session_wanted(self) -> None:
        """Another peer asks for the session that this one may have.

        The engine is told in a task of this connection, which alone pays for what follows.
        """
        self._do_soon(self.engine.session_wanted)

    def use(self, settings: Settings) -> None:
        """Use these settings, unless it is closed. What follows is done by its own task."""
        if not self.engine.is_closing:
            self.engine.configure(settings)
            self._do_soon(ignore)

    def _do_soon(self, chore: Callable[[], None]) -> None:
        self._chores[chore] = None
        self._alarm.ring()

    async def _keep_time(self) -> None:
        try:
            self._alarm.begin()
            while True:
                await self._alarm.wait(-math.inf if self._chores else self.engine.next_due())
                await self._do_what_is_due()
        finally:
            self._alarm.end()

    async def _do_what_is_due(self) -> None:
        # Before anything is read, or any task of the program runs.
        self.engine.judge_lease()
        self.turn()
        if self._chores:
            # What was acknowledged before a probe is no sign that the peer lives after it.
            self.ask_handover()
        while self._chores:
            self._chores.popitem()[0]()
            self.turn()
        if not self.engine.is_due():
            return
        if self.engine.judges():
            await self._catch_up()
        elif self.engine.begins():
            await self._catch_up(_FEW_PASSES)
            if self.engine.judges():
                await self._catch_up()
        self.ask_handover()
        self.engine.tick()
        self.turn()

    async def _catch_up(self, passes: int = _QUIET_PASSES) -> None:
        """Let reader, writer and dial do what they could have done while this loop was late.

        For at most T6, because a peer may send without end; but while the reader rests, it is the
        program that is late, so that time does not count.
        """
        quiet, latest = 0, self._clock() + self.engine.settings.t6
        while quiet < passes and self._clock() < latest:
            receipts = self._receipts
            while self._is_resting:
                await self._rested.park()
                latest = self._clock() + self.engine.settings.t6
            await trio.lowlevel.checkpoint()
            has_left = self._reading is not None and self._reading.has_left
            is_quiet = self._receipts == receipts and not (self._is_handling or has_left)
            quiet = quiet + 1 if is_quiet else 0

    def ask_handover(self) -> None:
        """Tell the engine how much of what is written the peer's system has not acknowledged."""
        if self._transport is not None:
            outstanding = self._transport.unacknowledged()
            if outstanding is not None:
                self.engine.acknowledged(outstanding)

    # What comes out of the engine

    def turn(self) -> None:
        """Do what the engine asks for, in order. To be called after each call to the engine.

        A function of the program that is called meanwhile may call the engine too: what follows
        from that is done here, after what came before.
        """
        if self._is_turning:
            return
        # Who waits for an outcome may be in another thread. When it wakes, all of this is told.
        settled: list[Callable[[], object]] = []
        self._is_turning = True
        try:
            self._turn(settled)
        finally:
            self._is_turning = False
            for wake in settled:
                wake()
            if self._takers:
                self._give()

    def _turn(self, settled: list[Callable[[], object]]) -> None:
        next_output, moved = self.engine.next_output, False
        while (output := next_output()) is not None:
            match output:
                case Transaction() | ControlTransaction():
                    if (wake := self._waiting.pop(output, None)) is not None:
                        settled.append(wake)
                    match output:
                        case Transaction(outcome=TransactionError() as error):
                            for observer in self._observers:
                                observer.failed(error)
                            for tell in self.failures:
                                tell(error)
                case Primary():
                    # A task that waits for a primary gets the oldest one.
                    if not self._inbox:
                        if self._inbox is _NO_INBOX:
                            self._inbox = deque()
                        self._inbox_news.unpark_all()
                        self._wake_who_reads()
                    self._arrived += 1
                    if not self._takers:
                        self._for_tasks += 1
                    output.number = self._arrived
                    self._inbox.append(output)
                case bytes():
                    if self._transport is not None:
                        self._transport.write(output, more=self.engine.has_bytes)
                case Step():
                    self._record(output)
                    moved = True
                case Traffic():
                    self._pass_on(output)
                case OpenTcp() | AbandonTcp() | FinishTcp() | CloseTcp() | ResetTcp():
                    self._change_tcp(output)
                case ContestSession():
                    self._contest()
                case AskStore() | StopAsking() | ReleaseLease():
                    self._ask(output)
                case _:
                    self._report(output)
                    moved = True
        if moved:
            for lot in (self._moved, self._roomy, self._inbox_taken):
                lot.unpark_all()
            if self.engine.is_closed:
                # Who waits for a primary is not to wake for each linktest.
                self._inbox_news.unpark_all()
                self._wake_who_reads()
        # The time keeper must wake when the next timer is due.
        if (due := self.engine.next_due()) != self._alarm.at:
            self._alarm.move(due)

    def _change_tcp(self, wish: OpenTcp | AbandonTcp | FinishTcp | CloseTcp | ResetTcp) -> None:
        match wish:
            case OpenTcp():
                self._epoch_scope = trio.CancelScope()
                self._dial_wanted.set()
            case AbandonTcp():
                self._epoch_scope.cancel()
            case CloseTcp():
                self._epoch_scope.cancel()
                self._closed, self._transport = self._transport, None
            case ResetTcp():
                # A driver that has been stopped has no stream any more.
                if self._closed is not None:
                    self._closed.reset()
            case FinishTcp():
                assert self._transport is not None
                self._transport.finish()
            case _:
                assert_never(wish)

    def turn_soon(self) -> None:
        """Like ``turn``, for a message just queued, but later when more messages are likely."""
        transport = self._transport
        likely = self._inbox or self._waiting
        if transport is not None and likely and not self.engine.is_worth_writing:
            transport.wake()
        else:
            self.turn()

    # One epoch

    async def _dial_stream(self, scope: trio.CancelScope) -> tuple[Stream, GiveBack] | None:
        """The stream of a new epoch, and what to call when the attempt is decided; None when it has
        failed, or was abandoned: ``scope`` is cancelled then.
        """
        assert self._dial is not None

        def began(tried: Mapping[str, str]) -> None:
            # An attempt may be abandoned in the turn in which it begins.
            if not scope.cancel_called:
                self.engine.dial_began(tried)
                self.turn()

        # The attempt may have been abandoned before it began.
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            stream, give_back = await self._dial(began)
        except BROKEN as error:
            # An attempt may be abandoned in the turn in which it fails; then it is settled already.
            if not scope.cancel_called:
                self.engine.tcp_failed(system_error(error) or error)
                self.turn()
            return None
        if scope.cancel_called:
            give_back()
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)
            return None
        return stream, give_back

    async def _hold_slot(self, give_back: GiveBack) -> None:
        with trio.move_on_after(HELD):
            await self.until(lambda: self.engine.phase != "selecting")
        give_back()

    async def _run_epoch(
        self,
        stream: Stream,
        begin: Callable[[str, str], None],
        give_back: GiveBack | None = None,
    ) -> None:
        """Run one connection. That of a passive link is its only one, so its time is kept here."""
        try:
            async with open_bare_nursery() as nursery:
                self._epoch_scope = nursery.cancel_scope
                if self._dial is None:
                    nursery.start_soon(self._keep_time)
                self._transport = transport = Transport(self.engine, stream, self.loop)
                # The program may read a message in any thread, and the writer task reports it.
                self.engine.on_unreadable(transport.wake_from_anywhere)
                if isinstance(stream, Readable):
                    self._reading = Reading(stream, self._read_little)
                begin(*addresses_of(stream))
                self.turn()
                nursery.start_soon(transport.run, self._write_turn, self._catch_up)
                if give_back is not None:
                    nursery.start_soon(self._hold_slot, give_back)
                await self._read(stream)
                # The charts have closed TCP, which cancels these tasks.
                await trio.sleep_forever()
        finally:
            if give_back is not None:
                give_back()
            self._transport = self._closed = self._reading = None
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    def _write_turn(self) -> None:
        self.engine.report_unreadable()
        self.turn()
        self._roomy.unpark_all()

    async def _read(self, stream: Stream) -> None:
        engine = self.engine
        try:
            while True:
                data = await self._receive(stream)
                if data is None:
                    continue
                if isinstance(data, Exception) or not data:
                    engine.tcp_closed(data if isinstance(data, Exception) else None)
                    self.turn()
                    return
                self._receipts += 1
                self._is_handling = True
                one = await self._handle(data)
                self._is_handling = False
                if one and self._reading is not None:
                    await self._reading.offer()
        finally:
            self._is_handling = False
            self.share.leave()

    async def _receive(self, stream: Stream) -> bytes | Exception | None:
        """What another task has left, or what comes next; empty at the end.

        None: it was more of a long frame, and the engine has it.
        """
        left = self._reading.take_left() if self._reading is not None else None
        if left is not None:
            return left
        try:
            if self.engine.has_space and self._reading is not None:
                await self._reading.stream.wait_readable()
                return await self._fill(self._reading.stream)
            size = max(self._receive_size, min(self.engine.missing, LARGEST_RECEIVE_SIZE))
            return bytes(await stream.receive_some(size))
        except BROKEN as error:
            return system_error(error) or error

    async def _fill(self, stream: Readable) -> bytes | Exception | None:
        """Receive more of a long frame, in one slice, into its place.

        Returns the end, which is no bytes, or why reading failed, if so.
        """
        engine, share = self.engine, self.share
        self._is_handling = True
        # In this slice the frame may be completed.
        missing = engine.missing
        if missing <= LARGEST_RECEIVE_SIZE and not engine.room(missing):
            await self._rest(missing)
        share.begin()
        ended: bytes | Exception | None = None
        is_over = False
        while engine.has_space and not is_over:
            try:
                with engine.space(LARGEST_RECEIVE_SIZE) as space:
                    size = len(space)
                    count = stream.receive_into_nowait(space)
            except BROKEN as error:
                ended = system_error(error) or error
                break
            if not count:
                ended = None if count is None else b""
                break
            self._receipts += 1
            engine.filled(count)
            if count < size:
                # That was all. To be told so by the system would cost an exception.
                break
            is_over = share.handled()
        self.turn()
        if share.end() or is_over:
            await share.wait()
        share.leave()
        self._is_handling = False
        return ended

    @property
    def _receive_size(self) -> int:
        return RECEIVE_SIZE if self.engine.is_selected else _RECEIVE_UNSELECTED

    def _wake_who_reads(self) -> None:
        if self._reading is not None:
            self._reading.wake()

    def _read_little(self, stream: Readable) -> bytes | Exception | None:
        """In a task of the program: read, and handle what is little. What is left, if so."""
        try:
            data = stream.receive_nowait(self._receive_size)
        except BROKEN as error:
            return system_error(error) or error
        if data is None:
            return None
        self._receipts += 1
        start = self._handle_little(data) if data else 0
        return None if start == len(data) > 0 else data[start:]

    def _handle_little(self, data: bytes) -> int:
        """Give the first few frames to the engine, if that is little. Where the rest begins."""
        engine, share, end = self.engine, self.share, len(data)
        if end > LITTLE_BYTES or engine.room(end) < LITTLE_FRAMES or share.is_heavy:
            return 0
        start = engine.receive(data, 0, LITTLE_FRAMES)
        self.turn()
        share.handled_little(all_of_it=start == end)
        return start

    async def _handle(self, data: bytes) -> bool:
        """Give ``data`` to the engine, in slices, so that a flood of frames is not one turn.

        Returns whether it was one message for one task, and no other waits for one. A thread that
        was told is no task: it cannot read.
        """
        engine, share = self.engine, self.share
        before = self._for_tasks
        start, end = self._handle_little(data), len(data)
        if start == end:
            share.leave()
            return self._for_tasks == before + 1 and not self._waiting
        while start < end:
            room = engine.room(end - start) or await self._rest(end - start)
            share.begin()
            while room:
                start = engine.receive(data, start, min(share.look, room))
                if start == end or share.handled():
                    break
                room = engine.room(end - start)
            self.turn()
            if share.end() or start < end:
                await share.wait()
        share.leave()
        return False

    async def _rest(self, size: int) -> int:
        """Let a program that reads take primaries before more of them come, for at most T6 / 4.

        A program that took none for T3, and none meanwhile, is not waited for again. For any other,
        nothing is read while the inbox is full. ``size`` bytes are here. Returns how many frames to
        handle before the next rest.
        """
        engine, settings = self.engine, self.engine.settings
        while True:
            reads = self._clock() - self._taken_at < settings.t3
            if not reads and self._taken == self._taken_at_rest:
                return size
            before = self._taken_at_rest = self._taken
            self.share.leave()
            self._is_resting = True
            try:
                with trio.move_on_after(settings.t6 / 4):
                    while not engine.room(size) and self._taken < before + _TAKEN:
                        await self._inbox_taken.park()
            finally:
                self._is_resting = False
                self._rested.unpark_all()
            taken = self._taken - before
            if room := engine.room(size):
                return room
            if not ((reads or taken) and engine.may_overflow(size)):
                return max(taken, 1)

    # Waiting

    async def until(self, ready: Callable[[], bool]) -> None:
        """Wait until ``ready()`` is true, or the link is closed.

        ``ready`` is called again after each step of the charts.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not (ready() or self.engine.is_closed):
            await self._moved.park()

    async def until_room(self) -> None:
        """Wait until the outbox is not full, or its connection is over.

        A slow peer slows its senders, not the memory.
        """
        engine, transport = self.engine, self._transport
        while self._transport is transport and engine.is_full:
            await self._roomy.park()

    async def until_settled(self, transaction: Transaction | ControlTransaction) -> None:
        """Wait until ``transaction`` is settled. Cancelling abandons only this transaction."""
        if transaction.is_settled:
            await trio.lowlevel.checkpoint()
            return
        reading = None if self._waiting else self._reading
        if (
            reading is not None
            and reading.is_free
            and await self._read_until_settled(reading, transaction)
        ):
            return
        self._waiting[transaction] = partial(self._resume, trio.lowlevel.current_task())

        def abort(_: Callable[[], NoReturn]) -> trio.lowlevel.Abort:
            self.abandon(transaction)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _resume(self, task: trio.lowlevel.Task) -> None:
        self._for_tasks += 1
        reschedule(task)

    async def _read_until_settled(
        self, reading: Reading, transaction: Transaction | ControlTransaction
    ) -> bool:
        """Wait for ``transaction`` and read meanwhile. Whether it is settled."""
        self.when_settled(transaction, reading.wake)
        try:
            await reading.read_until(lambda: transaction.is_settled)
        except BaseException:
            # Cancelled, or KeyboardInterrupt: nobody waits for it any more.
            self.abandon(transaction)
            raise
        return transaction.is_settled

    def when_settled(
        self, transaction: Transaction | ControlTransaction, settled: Callable[[], object]
    ) -> None:
        """Call ``settled`` when ``transaction`` is settled, unless it is abandoned before."""
        self._waiting[transaction] = settled

    def abandon(self, transaction: Transaction | ControlTransaction) -> None:
        """Nobody waits for ``transaction`` any more. Nothing is sent."""
        self._waiting.pop(transaction, None)
        self.engine.abandon(transaction)
        self.turn()

    def put_back(self, primary: Primary) -> None:
        """The program could not take this one, which waits in its place again."""
        earlier = sum(each.number < primary.number for each in self._inbox)
        self._inbox.insert(earlier, primary)
        self._inbox_news.unpark_all()
        self._wake_who_reads()
        if self._takers:
            # Not at once: this may be one of them, which was given it.
            self.loop.soon(self._give, once=True)

    def give_next(self, taker: Callable[[Primary | None], object]) -> Callable[[], None]:
        """Call ``taker``, now or later, with what ``next_primary`` returns. Returns what ends that.

        For who is in another thread: it takes the primary from the reader, without a task.
        """
        self._takers[taker] = None
        self._give()
        return lambda: self._takers.pop(taker, None)

    def _give(self) -> None:
        while self._takers and (self._inbox or self.engine.is_closed):
            taker = next(iter(self._takers))
            del self._takers[taker]
            taker(self._take())

    async def next_primary(self) -> Primary | None:
        """The next primary, or None when there will be no more.

        While primaries wait there is a task switch only now and then. When there are none, the
        reader has its turn and fills the inbox.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._inbox and self.share.count_message():
            await self.share.pause()
        while not self._inbox:
            if self.engine.is_closed:
                break
            reading = self._reading
            if reading is not None and reading.is_free:
                await reading.read_until(lambda: bool(self._inbox) or self.engine.is_closed)
            else:
                await self._inbox_news.park()
            self.share.resume()
        return self._take()

    def _take(self) -> Primary | None:
        """The oldest primary; None when there is none."""
        if not self._inbox:
            return None
        primary = self._inbox.popleft()
        self.engine.take(primary)
        self._taken += 1
        if self._inbox:
            # It is behind: the reader may want to know whether it goes on.
            self._taken_at = self._clock()
        if self._is_resting:
            self._inbox_taken.unpark_all()
        return primary

    def fail(self, why: str) -> None:
        """The open connection cannot go on, and ``why``."""
        self.engine.fail(why)
        self.turn()

    def drop_inbox(self) -> int:
        """Drop the primaries that wait. Returns how many."""
        count = len(self._inbox)
        while self._inbox:
            self.engine.drop(self._inbox.popleft())
        return count

    # Telling

    def events(self) -> EventReader[LinkEvent]:
        """A new reader, from the present state on; the first reader gets all earlier events."""
        if (first := self._first_reader) is not None:
            self._first_reader = None
            return first
        return self._new_reader()

    def _new_reader(self) -> EventReader[LinkEvent]:
        reader: EventReader[LinkEvent] = EventReader(self.loop, self.engine)
        self._readers.append(weakref.ref(reader, self._readers.remove))
        reader._begin(self._present)
        if self.engine.is_closed:
            reader.close()
        return reader

    def _remember(self, event: LinkEvent) -> None:
        """``event`` may be a part of the present state."""
        match event:
            case UnexpectedSecondary() | Unsent() | Unreachable() | Missed():
                pass
            case _:
                part = _part(event)
                others = tuple(each for each in self._present if _part(each) != part)
                # A closed breaker goes without saying.
                is_said = not isinstance(event, BreakerClosed)
                self._present = (*others, event) if is_said else others

    def _report(self, event: LinkEvent) -> None:
        self._remember(event)
        for follower in self.followers:
            follower(event)
        self._has_events = True
        for observer in self._observers:
            observer.happened(event)
        # Those that their users still have.
        for reader in [each for weak in list(self._readers) if (each := weak()) is not None]:
            if reader is self._first_reader and isinstance(event, UnexpectedSecondary):
                # Perhaps nobody ever asks for events, so no message is kept for that.
                reader.miss()
            else:
                reader.put(event)
            if self.engine.is_closed:
                reader.close()

    def _record(self, step: Step) -> None:
        if self.recorders:
            self._tell(self.recorders, step)
        if self._has_events or self._wants_steps():
            self._has_events = False
            for observer in self._observers:
                observer.stepped(step)

    def watch(self) -> None:
        """To be called when there are more watchers than before, or none any more."""
        self._has_watchers = bool(self.watchers or self.shared_watchers)
        self.engine.watch(always if self._has_watchers else self._wants_messages)

    def _pass_on(self, traffic: Traffic) -> None:
        for observer in self._observers:
            observer.passed(traffic)
        if self._has_watchers:
            self._tell(self.watchers, traffic)
            self._tell(self.shared_watchers, traffic)
            if not (self.watchers or self.shared_watchers):
                # Another connection of the server may have removed the last one.
                self.watch()

    def _tell(self, callbacks: list[Callable[[_T], None]], what: _T) -> None:
        """Call each of them. One that raises is removed, and the link lives on."""
        for callback in list(callbacks):
            try:
                callback(what)
            except Exception as error:  # noqa: BLE001  # it is the user's, and may raise anything
                # It may have removed itself, or be removed by a call in this call.
                callbacks[:] = (each for each in callbacks if each is not callback)
                text = "a callback is removed, because it raised: %s"
                self.teller.say(logging.ERROR, text, repr(callback), error=error)
