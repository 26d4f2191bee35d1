"""The protocol of one link without I/O: one door in, one door out.

What happens goes in by calls: what TCP did, bytes, time, the user's calls, messages. What follows
comes out of ``next_output``, in order, until it gives None. ``next_due`` says when to call
``tick``. No other access is needed, so a ``for`` loop can drive an engine::

    engine.receive(data)
    while (output := engine.next_output()) is not None:
        ...  # bytes to write, what to do about TCP, events, primaries, settled transactions

Invariants:

* The charts make every decision about the lifecycle (``lifecycle``). Data messages do not go
  through them; they pass exactly while the session is selected (``exchange``).
* A report about a connection that is over may come late. It changes nothing.
* Everything that is dropped is counted.

Diagram: ``diagrams/lifecycle.svg``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import assert_never

from hsms_engine.errors import (
    ClosedError,
    ConnectionLostError,
    HsmsError,
    LeaseError,
    LocalProtocolError,
)
from hsms_engine.events import Unreachable
from hsms_engine.message import Message
from hsms_engine.protocol.causes import Detail, each_with_reason
from hsms_engine.protocol.classify import classify, has_other_session_id
from hsms_engine.protocol.context import Context, ignore
from hsms_engine.protocol.control import (
    DESELECT,
    LINKTEST,
    SELECT,
    ControlRequest,
    ControlTransaction,
)
from hsms_engine.protocol.entity import Entity
from hsms_engine.protocol.epoch import Epoch, Primary
from hsms_engine.protocol.leasing import Leasing, Ownership
from hsms_engine.protocol.lifecycle import Lifecycle
from hsms_engine.protocol.outbox import Outbox
from hsms_engine.protocol.outputs import LONG_PIECE, Output
from hsms_engine.protocol.phases import Phase
from hsms_engine.protocol.refusals import misplaced, refused, unusable
from hsms_engine.protocol.saving import Kept
from hsms_engine.protocol.statistics import COUNTERS, Statistics
from hsms_engine.protocol.traffic import AFTER_OUR_LAST, AFTER_THE_END, PASSED_OVER
from hsms_engine.protocol.transactions import Transaction
from hsms_engine.protocol.transfers import Transfers, transfer
from hsms_engine.settings import Settings
from hsms_engine.tolerances import CONTROL_SESSION_ID, SELECT_RSP_1, Tolerance
from hsms_engine.wire import SECS_II, Frame, FrameLengthError, SelectStatus, SType
from statecharts import System, SystemSnapshot
from statecharts.hsms.timers import T6, T6_LINKTEST

_DATA = int(SType.DATA)
# The state in which messages pass, which is asked for with each of them.
_SELECTED = "selected"
# In which bytes of ours wait for the peer to take some.
_BLOCKED = "backlogged"
# Where Select.rsp 1 is no leave to go on. After a crossing it is, and elsewhere none is expected.
_SELECTING = frozenset({"selecting", "reselecting"})
# Pieces of frames that are worth a write of their own, while a program may queue more.
_MANY_PIECES = 32
# By the SType of a response: the timer that runs from the moment its request is wholly written.
_ANSWER_TO = {
    SType.SELECT_RSP: T6.id,
    SType.DESELECT_RSP: T6.id,
    SType.LINKTEST_RSP: T6_LINKTEST.id,
}


class Engine:
    """One link, active or passive. Times are seconds of ``clock``, which never goes backwards.

    ``peer`` gives the peer's name for messages to people. It is called again when an attempt
    begins, because the address may have changed. ``entity`` has the sessions that a passive engine
    shares with others. With ``single_use`` an active engine makes only one connection. ``kept`` is
    what another engine has kept, perhaps in another program: this one begins with it, disabled.
    Raises ``LocalProtocolError`` when there is no such thing for it: see ``kept``. ``lease`` is for
    ``OwnedEngine``, which is a link that a lease decides about.
    """

    __slots__ = (
        "__weakref__",
        "_context",
        "_entity",
        "_exchange",
        "_life",
        "next_due",
        "next_output",
        "take",
    )

    def __init__(
        self,
        system: System,
        settings: Settings,
        *,
        clock: Callable[[], float],
        random: Random,
        peer: Callable[[Settings], str],
        entity: Entity | None = None,
        single_use: bool = False,
        kept: Kept | None = None,
        lease: Leasing | None = None,
    ) -> None:
        self._entity = entity
        self._context = Context(settings, clock, random, peer)
        self._life = Lifecycle(
            system, self._context, entity=entity, single_use=single_use, lease=lease
        )
        self._exchange = self._life.exchange
        if kept is not None:
            self._expect_reconnects()
            self._life.restore(kept)
        # The methods themselves, without a wrapper: they are called for every message.
        self.next_output = self._context.outputs.next
        self.next_due = self._life.timers.next_due
        self.take = self._exchange.take

    # What comes out

    next_output: Callable[[], Output | None]
    """The next output; None when there is none now."""

    next_due: Callable[[], float]
    """When to call ``tick``, on the clock; perhaps too early, never too late, or infinite."""

    def is_due(self) -> bool:
        """Whether ``tick`` has something to do now."""
        self._life.timers.retime()
        return self.next_due() <= self._context.clock()

    def judges(self) -> bool:
        """Whether ``tick`` now ends a wait for the peer, and does not just begin something."""
        return self._life.timers.judges()

    def begins(self) -> bool:
        """Whether ``tick`` now begins something, such as a linktest.

        When it neither ``judges`` nor ``begins``, it only looks at what is ``acknowledged``.
        """
        return self._life.timers.begins()

    # What happens: TCP, bytes, time

    def dial_began(self, tried: Mapping[str, str] | None = None) -> None:
        """The dial that ``OpenTcp`` asked for has begun: from now on the peer is dialled.

        ``connect_timeout`` and T5 run from here. ``tried``, which the caller keeps up to date, says
        what has become of each address when there are several. Ignored when the dial was abandoned.
        """
        if self._life.takes("tcp_opened"):
            self._context.tried = {} if tried is None else tried
            self._life.timers.dial_began()

    def tcp_opened(self, local: str = "", remote: str = "") -> None:
        """The dial that ``OpenTcp`` asked for came up. Ignored when the dial was abandoned.

        ``local`` and ``remote`` are the addresses of its ends, for people; empty: not known.
        """
        if self._life.takes("tcp_opened"):
            self._context.addresses = local, remote
            self._life.tell("tcp_opened")

    def tcp_failed(self, error: Exception) -> None:
        """The dial that ``OpenTcp`` asked for failed. Ignored when the dial was abandoned."""
        if self._life.takes("tcp_failed"):
            self._life.tell("tcp_failed", error)

    def allow(self, session_ids: frozenset[int]) -> None:
        """The peer may use these session ids only; messages with others are foreign."""
        self._context.session_ids = session_ids

    def tcp_accepted(self, local: str = "", remote: str = "") -> None:
        """Passive: TCP was accepted. The addresses are as in ``tcp_opened``."""
        self._context.addresses = local, remote
        self._life.tell("tcp_accepted")

    def tcp_closed(self, error: Exception | None = None) -> None:
        """The peer has closed TCP, or TCP broke with ``error``."""
        if self._context.epoch is not None:
            self._life.tell("tcp_closed", error)

    def wrote(self, count: int) -> None:
        """The stream has taken ``count`` more of the bytes that came out, perhaps 0 of them."""
        context, life = self._context, self._life
        context.counters["bytes_sent"] += count
        if (epoch := context.epoch) is None:
            return
        outbox, now = epoch.outbox, context.clock()
        if outbox.wrote(count, now):
            life.timers.retime()
        if epoch.transactions.written(outbox.written, now):
            life.timers.expect(now + context.settings.t3)
        was_blocked = _BLOCKED in life.snapshot
        if outbox.backlog:
            self._wrote_in_part(outbox, count, was_blocked=was_blocked)
            return
        if was_blocked:
            life.tell("write_drained")
        if count:
            life.timers.expect_linktest(epoch)
            life.mention("flushed")

    def judge_lease(self) -> None:
        """Judge a deadline of the lease that is over: to be called before anything is read or run.

        Every call to an engine that has a lease begins with it. Without a lease nothing happens.
        """

    def may_send(self) -> bool:
        """Whether bytes may be handed to the system now: to be asked right before each time.

        Without a lease they always may. When they may not, ``judge_lease`` is to be called.
        """
        return True

    def acknowledged(self, outstanding: int) -> None:
        """Of the bytes taken so far, the peer's system has not acknowledged ``outstanding``.

        To be told before ``tick``, where the system knows it: so a peer is not taken for silent
        because bytes of ours are still on their way.
        """
        if (epoch := self._context.epoch) is not None:
            epoch.outbox.told(outstanding, self._context.clock())
            self._life.timers.retime()

    def receive(self, data: bytes, start: int = 0, most: int | None = None) -> int:
        """Bytes have come, in order: ``data[start:]``.

        Handles at most ``most`` frames, or all; returns where the next call is to start in ``data``
        (its length when all is handled), so that a driver can take turns between connections.
        """
        context, life, end = self._context, self._life, len(data)
        if (epoch := context.epoch) is None:
            context.counters["bytes_received"] += end - start
            context.counters["bytes_after_the_end"] += end - start
            return end
        # Also for the rest of a piece: what waited here for the program was no silence of the peer.
        epoch.last_received = context.clock()
        epoch.outbox.heard()
        context.watching = context.watched()
        life.mention("traffic_seen")
        if context.epoch is not epoch:
            context.counters["bytes_received"] += end - start
            context.counters["bytes_after_the_end"] += end - start
            return end
        stop, bad_length = end, None
        frames: Sequence[Frame]
        try:
            frames, stop = epoch.decoder.take(data, start, end if most is None else most)
        except FrameLengthError as error:
            frames = error.frames
            # A new error, which keeps neither these frames nor this call alive.
            bad_length = FrameLengthError(error.length, error.raw, error.limit)
        context.counters["bytes_received"] += stop - start
        context.counters["frames_received"] += len(frames)
        selected = self.is_selected
        for index, frame in enumerate(frames):
            if selected and frame.stype == _DATA and frame.ptype == SECS_II:
                problem = self._exchange.receive(epoch, frame)
            else:
                problem = self._receive_control(epoch, frame)
                selected = self.is_selected
            if problem is not None:
                life.tell("communication_failed", problem)
            if context.epoch is not epoch:
                context.counters["frames_after_the_end"] += len(frames) - index - 1
                if context.watching:
                    for late in frames[index + 1 :]:
                        context.note(late, passed_over=AFTER_THE_END)
                return stop
        if bad_length is not None:
            life.tell("communication_failed", bad_length)
            return stop
        is_partial = epoch.decoder.partial
        self._tell_receiver(completed=bool(frames), is_partial=is_partial)
        if is_partial and not selected:
            # What is not selected is answered by its header, so no body takes memory.
            epoch.decoder.drop_body()
        return stop

    @property
    def has_space(self) -> bool:
        """Whether a long frame is in progress, the next bytes of which may be put in ``space``."""
        epoch = self._context.epoch
        return epoch is not None and epoch.decoder.has_space and self.is_selected

    def space(self, most: int) -> memoryview:
        """Where the next bytes, ``most`` or fewer, may be put while ``has_space``.

        So they are not copied. It is to be released before ``filled``, which tells how many came.
        """
        epoch = self._context.epoch
        assert epoch is not None
        return epoch.decoder.space(most)

    def filled(self, count: int) -> None:
        """The first ``count`` bytes of ``space`` have come: like ``receive`` of these bytes."""
        epoch = self._context.epoch
        assert epoch is not None
        epoch.decoder.filled(count)
        self._context.counters["bytes_received"] += count
        self.receive(b"")

    def watch(self, watched: Callable[[], bool]) -> None:
        """From now on each message comes out as ``Traffic`` while ``watched()`` is true.

        It is asked once for each call of ``receive``, and for frames that come out together.
        """
        self._context.watched = watched
        self._context.watching = watched()

    def room(self, size: int) -> int:
        """How many frames, of those in ``size`` bytes, to handle before half of the inbox is taken.

        0: a driver lets the program take some first. Beyond the whole inbox, TCP is closed.
        """
        return self._exchange.room(size) if self.is_selected else size

    @property
    def missing(self) -> int:
        """How many bytes of the frame in progress are to come, as far as known; 0 before it is
        selected, when a peer may take little memory."""
        epoch = self._context.epoch
        return epoch.decoder.missing if epoch is not None and self.is_selected else 0

    def serving(self, *, begins: bool) -> None:
        """Passive: the program begins to serve this connection, or has ended."""
        assert self._entity is not None
        if begins:
            self._entity.serve(self._life)
        else:
            self._entity.leave(self._life)

    def session_wanted(self) -> None:
        """Another connection has asked for the session that this one has (``ContestSession``).

        Ignored when this one has none. Where ``acknowledged`` is told, it is to be told before.
        """
        if self.is_selected:
            self._life.mention("session_wanted")

    def tick(self) -> None:
        """Time has passed: every timer that is due expires.

        Whoever may be late first tells what has come meanwhile, and what was taken.
        """
        life, timers = self._life, self._life.timers
        now = self._context.clock()
        timers.retime()
        if (epoch := self._context.epoch) is not None:
            epoch.outbox.asked_at = now
            self._exchange.expire(epoch)
        for timer in timers.expired():
            # An earlier one of these may have stopped it, or started it again.
            if timer in timers.started and timers.due(timer) <= now:
                life.tell(f"{timer}_expired", self._expiry(timer))
        if life.downtime.due() <= now:
            told = life.downtime.told()
            self._context.outputs.put(Unreachable(now, self._context.epochs, told, life.last_error))

    # Calls

    def enable(self) -> None:
        """Connect, and reconnect from now on. Raises ``LocalProtocolError`` when it is enabled."""
        self._call("enable_requested")

    def disable(self) -> None:
        """Close what is open and make no attempt. Raises ``LocalProtocolError`` when disabled."""
        self._call("disable_requested")

    def close(self) -> None:
        """Close for good: with Separate.req if selected. When it is closing already, do nothing."""
        self.report_unreadable()
        if not self._life.is_closing:
            self._check("close_requested")
            self._life.tell("close_requested")

    def fail(self, why: str) -> None:
        """The open connection cannot go on, for a reason outside of this engine."""
        if self._context.epoch is not None:
            self._life.tell("communication_failed", why)

    def stop(self) -> None:
        """No driver runs this any more: close at once, so that every transaction is settled.

        The session is free after it, also when the charts fail.
        """
        self._context.tell_unreadable = ignore
        try:
            self.close()
            self.tcp_closed()
        finally:
            self._context.end_epoch()
            if self._entity is not None:
                self._entity.give_back(self._life)

    def isolate(self) -> None:
        """Open the breaker by hand, until ``release``."""
        self._call("isolate_requested")

    def release(self) -> None:
        """Close the breaker again. Raises ``LocalProtocolError`` when it is not isolated."""
        self._call("release_requested")

    def reset_breaker(self) -> None:
        """Close the breaker, whatever its state, and forget its failures."""
        self._call("reset_requested")

    def linktest(self) -> ControlTransaction:
        """Send Linktest.req, or join the one that is unanswered."""
        return self._ask(LINKTEST)

    def deselect(self) -> ControlTransaction:
        """Send Deselect.req. Raises ``LocalProtocolError`` when it is not possible now."""
        return self._ask(DESELECT)

    def select(self) -> ControlTransaction:
        """Send Select.req after a Deselect. Raises ``LocalProtocolError`` when not possible now."""
        return self._ask(SELECT)

    def configure(self, settings: Settings) -> None:
        """Use these settings from now on. Raises ``ClosedError`` when it is closed."""
        self.expect_open()
        self._life.configure(settings)
        if (epoch := self._context.epoch) is not None:
            epoch.decoder.max_frame = settings.max_frame

    def expect_open(self) -> None:
        """Raise ``ClosedError`` when it is closed, so that nothing can be configured any more."""
        if self._life.is_closing:
            self._life.raise_defect()
            raise ClosedError(f"{self.peer}: configure after close; open another one")

    # Messages; each raises the error of ``unusable`` while the session is not selected

    def request(self, message: Message) -> Transaction:
        """Queue a primary with W. The transaction comes out when it is settled."""
        return self._exchange.request(self._selected_epoch(), message)

    def send(self, message: Message) -> None:
        """Queue a primary that wants no reply."""
        self._exchange.send(self._selected_epoch(), message)

    def reply(self, primary: Message, reply: Message) -> None:
        """Queue the reply to a primary.

        Raises ``LocalProtocolError`` when it does not answer that primary, ``ConnectionLostError``
        when the connection over which the primary came is over, whether or not there is another,
        and ``ClosedError`` when the link is closed.
        """
        life = self._life
        if not isinstance(primary, Primary) or primary.epoch is not self._context.epoch:
            raise self.unusable() if life.is_closing else self._exchange.unanswerable(primary)
        self._exchange.reply(self._selected_epoch(), primary, reply)

    take: Callable[[Primary], None]
    """The program has this primary: it no longer counts against ``inbox_size``."""

    def drop(self, primary: Primary) -> None:
        """The program will never get this primary."""
        self._context.counters["primaries_dropped"] += 1
        self.take(primary)

    def on_unreadable(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` when the program finds a message unreadable, in the thread of the program.

        ``report_unreadable`` is then to be called soon, in the thread of this engine. It holds from
        the next connection on, until ``stop``.
        """
        self._context.tell_unreadable = tell

    def report_unreadable(self) -> None:
        """Count the received messages in which the program has found no SECS-II.

        While it is selected, an equipment sends S9F7 for each.
        """
        if (epoch := self._context.epoch) is None:
            return
        problem = self._exchange.report_unreadable(epoch, selected=self.is_selected)
        if problem is not None:
            self._life.tell("communication_failed", problem)

    def abandon(self, transaction: Transaction | ControlTransaction) -> None:
        """The caller does not wait for this transaction any more. Nothing is sent.

        A transaction that is settled already stays settled, and still comes out.
        """
        match transaction:
            case Transaction():
                self._exchange.cancel(transaction)
            case ControlTransaction():
                self._life.forget(transaction)
            case _:
                assert_never(transaction)

    # What it is now

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._context.settings

    @property
    def peer(self) -> str:
        """The peer's name in messages to people."""
        return self._context.peer

    @property
    def addresses(self) -> tuple[str, str]:
        """Those of this end and of the peer, of the latest connection; empty: not known."""
        return self._context.addresses

    @property
    def phase(self) -> Phase:
        """The connection's state as people name it."""
        return self._life.phase

    @property
    def states(self) -> SystemSnapshot:
        """Where all charts are."""
        return self._life.snapshot

    def timers(self) -> dict[str, float]:
        """The timers that run, and when each is due on the clock; infinite: it waits for others."""
        timers = self._life.timers
        return {timer: timers.due(timer) for timer in timers.started}

    @property
    def ownership(self) -> Ownership | None:
        """Who owns the tool, where a lease decides about the link; None: none does."""
        return None

    @property
    def store_error(self) -> LeaseError | None:
        """The latest failure of the store of leases; None when it has answered since."""
        return None

    @property
    def is_ready_standby(self) -> bool:
        """Whether another process owns the tool, and this one would take over from it."""
        return False

    @property
    def standby_unchanged_for(self) -> float:
        """For how many seconds ``is_ready_standby`` is as it is."""
        return math.inf

    @property
    def is_selected(self) -> bool:
        """Whether data messages may pass (E37: SELECTED)."""
        return _SELECTED in self._life.snapshot.states

    @property
    def is_closed(self) -> bool:
        """Whether it is closed for good: no connection follows."""
        return "closed" in self._life.snapshot

    @property
    def is_closing(self) -> bool:
        """Whether it is closed for good, or a call has begun to close it for good."""
        return self._life.is_closing

    @property
    def epochs(self) -> int:
        """How many TCP connections there were: the number of the latest one."""
        return self._context.epochs

    @property
    def times_selected(self) -> int:
        """How many times SELECTED was entered."""
        return self._life.times_selected

    @property
    def unchanged_for(self) -> float:
        """Seconds since SELECTED was entered or left; before the first time, since it was made."""
        return self._context.clock() - self._life.downtime.since

    @property
    def down_for(self) -> float:
        """For how many seconds it is not selected though it should be; 0 when it need not be."""
        return self._life.downtime.seconds()

    @property
    def failed_attempts(self) -> int:
        """Attempts that failed before they were selected; abandoned ones do not count."""
        return self._life.failed_attempts

    @property
    def last_error(self) -> HsmsError | None:
        """The latest failure of an attempt or a connection since the last SELECTED, if any."""
        return self._life.last_error

    @property
    def session_ended_by(self) -> str:
        """The event of the latest exit of SELECTED; empty before the first."""
        return self._life.session_ended_by

    @property
    def is_full(self) -> bool:
        """Whether so much is queued (``outbox_size``) that senders are to wait."""
        context = self._context
        epoch = context.epoch
        if epoch is None:
            return False
        outbox = epoch.outbox
        return outbox.queued - outbox.written > context.settings.outbox_size

    @property
    def has_bytes(self) -> bool:
        """Whether the next output is bytes."""
        return bool(self._context.outputs.pieces)

    @property
    def is_worth_writing(self) -> bool:
        """Of a message just queued: whether so much is to come out that a driver is not to wait."""
        pieces = self._context.outputs.pieces
        return len(pieces) >= _MANY_PIECES or len(pieces[-1]) > LONG_PIECE

    def may_overflow(self, size: int) -> bool:
        """Whether what is in ``size`` bytes may close the connection, because the inbox is full."""
        return self.is_selected and self._exchange.may_overflow(size)

    @property
    def unsent(self) -> ConnectionLostError | None:
        """The error of ``close`` when accepted messages could not be written, if so."""
        return self._life.unsent

    def unusable(self) -> HsmsError:
        """Why no message can be sent now: an error to be raised."""
        return unusable(self._life, self._context)

    def refused(self) -> HsmsError | None:
        """Why the breaker lets no attempt begin, as an error; None when one may begin."""
        return refused(self._life, self._context)

    @property
    def held_bytes(self) -> int:
        """Bytes of the primaries that wait for the program, as ``server_inbox_bytes`` counts."""
        return self._exchange.held_bytes

    def dropped(self) -> HsmsError | None:
        """Why a reader does not get all primaries that came, as an error; None when it does."""
        return self._exchange.dropped()

    def kept(self) -> Kept:
        """What outlives this program.

        Raises ``LocalProtocolError`` when no other connection may follow the present one.
        """
        self._expect_reconnects()
        return self._life.kept()

    def statistics(self) -> Statistics:
        """All counts at this moment."""
        life, context = self._life, self._context
        epoch = context.epoch
        return Statistics(
            phase=self.phase,
            state=life.connection.leaves,
            breaker_state=life.breaker.leaves if life.breaker else None,
            breaker_failures=life.failures,
            breaker_threshold=self.settings.breaker_threshold,
            retry_after=life.retry_after(),
            epoch=context.epochs,
            attempts=life.attempts,
            failed_attempts=life.failed_attempts,
            times_selected=life.times_selected,
            open_transactions=len(epoch.transactions) if epoch else 0,
            waiting_primaries=self._exchange.waiting,
            queued_bytes=epoch.outbox.backlog if epoch else 0,
            counts={name: context.counters.get(name, 0) for name in COUNTERS},
        )

    def transfers(self) -> Transfers:
        """How far the bytes are that take their time, at this moment."""
        epoch = self._context.epoch
        return Transfers() if epoch is None else self._transfers(epoch)

    # Inside

    def _expiry(self, timer: str) -> Detail:
        """What the expiry of ``timer`` cannot say by itself."""
        return each_with_reason(self._context.tried) if timer == "connect_timeout" else None

    def _transfers(self, epoch: Epoch) -> Transfers:
        sending = receiving = None
        outbox, decoder = epoch.outbox, epoch.decoder
        if _BLOCKED in self._life.snapshot:
            start = outbox.blocked_from
            sending = transfer(start, outbox.written - start, outbox.queued - start)
        if total := decoder.pending_total:
            frames = self._context.counters["frames_received"]
            receiving = transfer(frames, total - decoder.missing, total)
        return Transfers(sending, receiving)

    def _expect_reconnects(self) -> None:
        if not self._life.reconnects:
            raise LocalProtocolError(
                f"{self.peer}: only a link that reconnects is saved and restored"
            )

    def _selected_epoch(self) -> Epoch:
        epoch = self._context.epoch
        if epoch is None or _SELECTED not in self._life.snapshot.states:
            raise self.unusable()
        return epoch

    def _ask(self, request: ControlRequest) -> ControlTransaction:
        if not self.is_selected and request is not SELECT:
            raise self.unusable()
        self._check(request.call)
        return self._life.ask(request)

    def _call(self, event: str) -> None:
        self._check(event)
        self._life.tell(event)
        self._life.raise_defect()

    def _check(self, event: str) -> None:
        if (error := misplaced(self._life, self._context, event)) is not None:
            raise error

    def _wrote_in_part(self, outbox: Outbox, count: int, *, was_blocked: bool) -> None:
        if not was_blocked:
            outbox.blocked(count)
            self._life.tell("write_blocked")
        elif outbox.written >= outbox.batch_end:
            outbox.begin_batch()
            self._life.tell("write_caught_up")

    def _tell_receiver(self, *, completed: bool, is_partial: bool) -> None:
        was_partial = "in_frame" in self._life.snapshot
        if was_partial and completed:
            self._life.tell("frame_completed")
            was_partial = False
        if is_partial and not was_partial:
            self._life.tell("frame_began")

    def _receive_control(self, epoch: Epoch, frame: Frame) -> str | None:
        """Handle a frame that is for the charts, or a Reject.req of an open request.

        Returns why the connection cannot go on, if so.
        """
        settings = self._context.settings
        tolerated: tuple[Tolerance, ...] = ()
        is_reject = frame.stype == SType.REJECT_REQ and frame.ptype == SECS_II
        rejected = epoch.transactions.find(frame.system_bytes) if is_reject else None
        # A Reject.req may have the session id of what it rejects.
        may_differ = rejected is not None and frame.session_id == rejected.session_id
        if has_other_session_id(frame) and not may_differ:
            if not settings.tolerate_control_session_id:
                self._exchange.pass_over_control(epoch, frame)
                return None
            tolerated = (CONTROL_SESSION_ID,)
        if rejected is not None:
            self._exchange.receive_reject(epoch, frame, rejected, tolerated)
            return None
        shared = self._entity if frame.stype == SType.SELECT_REQ else None
        taken = shared is not None and shared.taken_for(self._life)
        event = classify(
            frame,
            epoch.own,
            entity_taken=taken,
            already_active=settings.tolerate_select_rsp_1,
        )
        # Where it is, is asked for the count only: the event is the same.
        if (
            event == "select_rsp_accepted"
            and frame.byte3 == SelectStatus.ALREADY_ACTIVE
            and not _SELECTING.isdisjoint(self._life.snapshot.states)
        ):
            tolerated += (SELECT_RSP_1,)
        if event in PASSED_OVER and (named := epoch.transactions.find(frame.system_bytes)):
            epoch.not_taken.add(frame, named)
        if self._context.watching or tolerated:
            self._note_control(epoch, frame, event, tolerated)
        self._life.tell(event, frame)
        if self._context.epoch is not epoch:
            return None
        return self._exchange.overdrawn(epoch)

    def _note_control(
        self, epoch: Epoch, frame: Frame, event: str, tolerated: tuple[Tolerance, ...]
    ) -> None:
        why, mark = PASSED_OVER.get(event), None
        if why is None and "leaving" in self._life.snapshot:
            why = AFTER_OUR_LAST
        if why is None and frame.stype in _ANSWER_TO:
            mark = epoch.outbox.marks.get(_ANSWER_TO[SType(frame.stype)])
        self._context.note_read(
            epoch,
            frame,
            None,
            tolerated,
            cut=epoch.decoder.dropped_of(frame),
            passed_over=why,
            since=None if mark is None else mark.since,
        )
