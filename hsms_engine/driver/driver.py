"""Runs one protocol engine with trio: one nursery per TCP connection, one task for the timers.

* **An epoch dies as a whole.** Reader, writer and stream of one TCP connection live in one task
  tree with one cancel scope; the next connection begins when that tree is gone.
* **The reader never waits for the user.** It decodes, lets the engine answer, and reads on.
* **Bytes leave in one order**: at once, when the transport takes them and nothing is queued, else
  by the one writer task. No ``await`` stands between a change of state and the queueing of its
  bytes.
* **Nothing here decides**: each task turns what it met into one event for the charts.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, TypeVar, assert_never

import trio

from hsms_engine.driver.event_reader import EventReader
from hsms_engine.driver.tcp import RECEIVE_SIZE, Dial, Stream
from hsms_engine.driver.transport import BROKEN, Transport
from hsms_engine.errors import ClosedError
from hsms_engine.message import Message
from hsms_engine.protocol.engine import Engine, Record
from hsms_engine.protocol.epoch import Epoch, Primary
from hsms_engine.protocol.events import Happened, UnexpectedSecondary
from hsms_engine.protocol.transactions import Transaction
from hsms_engine.settings import Settings
from statecharts.hsms.vocabulary import AbandonTcp, CloseTcp, FinishTcp, OpenTcp

if TYPE_CHECKING:
    from trio import TaskStatus

T = TypeVar("T")

_LOG = logging.getLogger("hsms_engine.charts")

# Bytes given to the engine at once, and frames in them after which other tasks have a turn.
_SLICE = 8_192
_FRAMES_A_TURN = 100


class Driver:
    """One link: an engine, the stream it talks over, and the tasks that wait for either."""

    def __init__(self, engine: Engine, dial: Dial | None) -> None:
        self.engine = engine
        self._dial = dial
        engine.exchange.report = self._report
        engine.record = self._log_step
        engine.exchange.on_primary = self._wake_inbox
        # A reader that its user has dropped is dropped here.
        self._readers: weakref.WeakSet[EventReader] = weakref.WeakSet()
        # The task tree of the latest epoch, from its dialling on.
        self._epoch_scope = trio.CancelScope()
        self._gone = trio.Event()
        self._gone.set()
        self._transport: Transport | None = None
        # What has happened until somebody asks for events; None from then on.
        self._first_reader: EventReader | None = self._new_reader()
        # Set, and replaced, each time the charts have moved.
        self._moved = trio.Event()
        # Set, and replaced, when the outbox has room again.
        self._roomy = trio.Event()
        self._inbox_news = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._timer_scope = trio.CancelScope()
        # A passive connection is over when its task is; an active link never is by itself.
        self.over = False
        self.recorders: list[Callable[[Record], None]] = []

    @property
    def name(self) -> str:
        """The link in logs: its peer, and whether it dials."""
        return f"{self.engine.peer} {'passive' if self._dial is None else 'active'}"

    # Running

    async def run(self, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run an active link until cancelled; what it does is for the charts to say."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._keep_time)
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._end()

    async def run_accepted(self, stream: Stream) -> None:
        """Run a passive connection over ``stream`` until it is over."""
        try:
            if self.engine.phase == "closed":
                await trio.aclose_forcefully(stream)
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_time)
                with self._epoch_scope:
                    await self._run_epoch(stream, "tcp_accepted")
                nursery.cancel_scope.cancel()
        finally:
            self._end()

    def _end(self) -> None:
        """Nothing runs any more: tell the charts, and with them all who wait."""
        self.over = True
        try:
            self.engine.end()
        finally:
            self.engine.wishes.clear()
            for reader in self._readers:
                reader.end()
            self._wake_all()

    def tell(self, event: str, detail: Exception | None = None) -> None:
        """Give the charts one event, and do at once what follows from it."""
        self.engine.tell(event, detail)
        self.follow_up()

    def call(self, event: str) -> None:
        """A local call. Raises ``LocalProtocolError`` or ``ClosedError`` when it does not fit."""
        self.engine.call(event)
        self.follow_up()

    def follow_up(self) -> None:
        """Send what is queued, do what is wished, and set the alarm: after every change."""
        if self._transport is not None and self.engine.epoch is not None:
            self._transport.flush()
        wishes = self.engine.wishes
        while wishes:
            match wish := wishes.popleft():
                case OpenTcp():
                    assert self._nursery is not None
                    assert self._dial is not None
                    self._epoch_scope = trio.CancelScope()
                    self._nursery.start_soon(self._dial_epoch, self._epoch_scope, self._dial)
                case AbandonTcp() | CloseTcp():
                    self._epoch_scope.cancel()
                case FinishTcp():
                    assert self._transport is not None
                    self._transport.finish()
                case _:
                    assert_never(wish)
        self._set_alarm()

    def send_queued(self) -> None:
        """Send a message just queued: at once when it is alone, else together with others."""
        epoch = self.engine.epoch
        if self._transport and epoch and self.engine.exchange.is_busy(epoch):
            self._transport.flush_soon()
        else:
            self.follow_up()

    def _set_alarm(self) -> None:
        """Let the time keeper wake when the next timer is due."""
        clockwork = self.engine.clockwork
        if clockwork.alarm_is_stale:
            clockwork.alarm_is_stale = False
            due = self.engine.next_due()
            if due < clockwork.alarm:
                clockwork.alarm = self._timer_scope.deadline = due

    async def _keep_time(self) -> None:
        clockwork = self.engine.clockwork
        while True:
            clockwork.alarm = self.engine.next_due()
            with trio.CancelScope(deadline=clockwork.alarm) as self._timer_scope:
                await trio.sleep_forever()
            self.engine.tick()
            self.follow_up()

    # One epoch

    async def _dial_epoch(self, scope: trio.CancelScope, dial: Dial) -> None:
        with scope:
            # What came before, be it only a dial that was given up, may still be unwinding.
            await self._gone.wait()
            self._gone = gone = trio.Event()
            try:
                await self._dial_and_run(scope, dial)
            finally:
                gone.set()

    async def _dial_and_run(self, scope: trio.CancelScope, dial: Dial) -> None:
        try:
            stream = await dial()
        except BROKEN as error:
            # An attempt abandoned in the very turn in which it failed has failed already.
            if not scope.cancel_called:
                self.tell("tcp_failed", error)
            return
        if scope.cancel_called:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)
            return
        await self._run_epoch(stream, "tcp_opened")

    async def _run_epoch(self, stream: Stream, event: str) -> None:
        try:
            async with trio.open_nursery() as nursery:
                self.engine.tell(event)
                epoch = self.engine.epoch
                assert epoch is not None
                self._transport = transport = Transport(self, stream, epoch)
                self.follow_up()
                nursery.start_soon(transport.write)
                nursery.start_soon(transport.say_end)
                await self._read(stream, epoch)
                # The charts have closed TCP, which cancels all of this.
                await trio.sleep_forever()
        finally:
            self._transport = None
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)
            self._wake_all()

    async def _read(self, stream: Stream, epoch: Epoch) -> None:
        ended_by: Exception | None = None
        while True:
            try:
                data = await stream.receive_some(RECEIVE_SIZE)
            except BROKEN as error:
                data, ended_by = b"", error
            # Another task may have ended the epoch between the wake-up and this line.
            if self.engine.epoch is not epoch:
                return
            if not data:
                self.tell("tcp_closed", ended_by)
                return
            await self._take_in(bytes(data), epoch)

    async def _take_in(self, data: bytes, epoch: Epoch) -> None:
        """Give the engine what was received, in slices: a flood of frames is not one turn."""
        counters = self.engine.counters
        for start in range(0, len(data), _SLICE):
            frames = counters["frames received"]
            bad_length = self.engine.receive(data[start : start + _SLICE])
            self.follow_up()
            if bad_length is not None and self.engine.epoch is epoch:
                self.tell("communication_failed", bad_length)
            if counters["frames received"] - frames > _FRAMES_A_TURN:
                await trio.lowlevel.cancel_shielded_checkpoint()
            if self.engine.epoch is not epoch:
                counters["bytes after the end"] += max(0, len(data) - start - _SLICE)
                return

    # Waiting

    def _wake_all(self) -> None:
        moved, self._moved = self._moved, trio.Event()
        moved.set()
        self._wake_inbox()
        self.wake_senders()

    def wake_senders(self) -> None:
        """The outbox may have room again."""
        roomy, self._roomy = self._roomy, trio.Event()
        roomy.set()

    def _wake_inbox(self) -> None:
        self._inbox_news.set()

    async def until(self, ready: Callable[[], T | None]) -> T:
        """Wait until ``ready`` gives something; asked again each time the charts have moved.

        Raises ``ClosedError`` when it never will, because nothing runs any more.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while (found := ready()) is None:
            if self.over:
                raise ClosedError(f"{self.engine.peer}: the link has ended")
            await self._moved.wait()
        return found

    def is_full(self) -> bool:
        """Whether senders have to wait: a slow peer slows its senders, not the memory."""
        epoch = self.engine.epoch
        return epoch is not None and epoch.backlog > self.engine.settings.outbox_size

    async def until_room(self) -> None:
        """Wait until the outbox is not full, or its connection is over."""
        epoch = self.engine.epoch
        while self.engine.epoch is epoch and self.is_full():
            await self._roomy.wait()

    @property
    def ended_by(self) -> str:
        """The event that ended the session or the connection last."""
        return self.engine.history.last_end

    async def reply_to(self, transaction: Transaction) -> Message:
        """Wait for the outcome of a request that is queued. Cancelling abandons it alone."""
        if transaction.outcome is None:
            task = trio.lowlevel.current_task()

            def wake() -> None:
                trio.lowlevel.reschedule(task)

            def abort(_: Callable[[], NoReturn]) -> trio.lowlevel.Abort:
                transaction.on_end = None
                # A transaction without an outcome is one of the connection that is up.
                assert self.engine.epoch is not None
                self.engine.exchange.cancel(self.engine.epoch, transaction)
                self._set_alarm()
                return trio.lowlevel.Abort.SUCCEEDED

            transaction.on_end = wake
            await trio.lowlevel.wait_task_rescheduled(abort)
        else:
            await trio.lowlevel.checkpoint()
        result = transaction.outcome
        if isinstance(result, Message):
            return result
        assert result is not None
        raise result

    async def next_primary(self, *, follow: bool) -> Primary | None:
        """The next primary, or None when there will be none.

        ``follow`` the link from connection to connection, until it is closed.

        No task switch while there are some: the reader, which fills the inbox, has its turn when
        it is empty.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        engine = self.engine
        while not engine.exchange.inbox:
            if engine.phase == "closed" or (engine.epoch is None and not follow):
                return None
            if self._inbox_news.is_set():
                self._inbox_news = trio.Event()
            await self._inbox_news.wait()
        return engine.exchange.take()

    # Telling

    def events(self) -> EventReader:
        """A new reader, from the next event on; the first one, from the very first event on."""
        if (first := self._first_reader) is not None:
            self._first_reader = None
            return first
        return self._new_reader()

    def _new_reader(self) -> EventReader:
        reader = EventReader(lambda: self.engine.settings)
        self._readers.add(reader)
        if self.engine.phase == "closed":
            reader.end()
        return reader

    def configure(self, settings: Settings) -> None:
        """Other settings, from now on. Raises ``ClosedError`` when it is closed."""
        if self.engine.is_closing:
            raise ClosedError(f"{self.engine.peer}: configure after close; open another one")
        self.engine.configure(settings)
        self.engine.clockwork.alarm_is_stale = True
        # A timer may be due later now; the time keeper looks again when it wakes.
        self.follow_up()

    def _report(self, event: Happened) -> None:
        for reader in self._readers:
            if reader is self._first_reader and isinstance(event, UnexpectedSecondary):
                # Nobody may ever ask: a message is not kept for that.
                reader.miss()
            else:
                reader.put(event)
            if self.engine.phase == "closed":
                reader.end()

    def _log_step(self, record: Record) -> None:
        self._wake_all()
        for recorder in self.recorders:
            recorder(record)
        if _LOG.isEnabledFor(logging.DEBUG):
            statistics = self.engine.statistics()
            for hop in record.hops:
                _LOG.debug(
                    "%s: %s %s: %s -> %s",
                    self.name,
                    hop.chart,
                    hop.event,
                    hop.before.leaves,
                    hop.after.leaves,
                    extra={
                        "link": self.name,
                        "epoch": record.epoch,
                        "chart": hop.chart,
                        "chart_event": hop.event,
                        "from_state": hop.before.leaves,
                        "to_state": hop.after.leaves,
                        "breaker_failures": statistics.breaker_failures,
                        "breaker_threshold": statistics.breaker_threshold,
                    },
                )
