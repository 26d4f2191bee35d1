"""A real driver as the subject of a tour: each event of the charts is made to happen, not told.

A frame is written by a peer, TCP is opened and closed, a call is made, a timer is aged until it is
due. Only events that the outside cannot cause by itself are given to the charts directly
(``TOLD``). What the driver does by itself while it writes and reads (``receiver``, ``transmitter``)
is not compared: these charts have tours of their own (``test_tours_of_bytes.py``).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from random import Random

import trio
import trio.testing

from hsms_engine import Settings
from hsms_engine.driver.dialling import Began, GiveBack
from hsms_engine.driver.driver import Driver
from hsms_engine.errors import LeaseError
from hsms_engine.protocol.engine import Engine
from hsms_engine.protocol.entity import Entity
from hsms_engine.protocol.leasing import DEADLINES, LeaseTimes
from hsms_engine.protocol.outputs import Step
from hsms_engine.protocol.owned import OwnedEngine
from hsms_engine.wire import Frame, RejectReason, SType, control_frame, data_frame, encode
from statecharts import Effect, Start, Stop, System, Tell
from statecharts.hsms import ACTIVE_LINK, OWNED_LINK, PASSIVE_LINK
from statecharts.hsms.timers import FRAME_DEADLINE, T8, WRITE_DEADLINE, WRITE_TIMEOUT
from statecharts.nursery import open_bare_nursery

# Reports for which the driver decides from several facts together.
TOLD = frozenset({"traffic_seen", "stale_result_reported"})
MENTIONED = frozenset({"flushed", "traffic_seen", "session_wanted"})
# The methods of an engine.
_CALLS = {
    "enable_requested": "enable",
    "disable_requested": "disable",
    "contend_requested": "enable",
    "withdraw_requested": "disable",
    "close_requested": "close",
    "select_requested": "select",
    "deselect_requested": "deselect",
    "linktest_requested": "linktest",
    "isolate_requested": "isolate",
    "release_requested": "release",
    "reset_requested": "reset_breaker",
}
# As long as possible, as all other timers.
_LEASE = LeaseTimes(600)
# What the store of leases answers, at once.
_ANSWERS: dict[str, Callable[[OwnedEngine], None]] = {
    "lease_granted": lambda engine: engine.lease_granted(1, trio.current_time()),
    "lease_refused": lambda engine: engine.lease_refused("another", 1, 1.0),
    "lease_freed": lambda engine: engine.lease_freed(1),
    "store_failed": lambda engine: engine.store_failed(LeaseError("it is away")),
}
OF_TRAFFIC = frozenset(
    {
        Tell("receiving_ended"),
        Tell("transmitting_ended"),
        *(
            each(timer)
            for each in (Start, Stop)
            for timer in (T8, FRAME_DEADLINE, WRITE_TIMEOUT, WRITE_DEADLINE)
        ),
    }
)
_LONG_AGO = -1_000_000.0
_ANY = 0x0BADCAFE

# Our end of a stream, and the peer's.
Pair = tuple[trio.abc.HalfCloseableStream, trio.abc.Stream]


def compared(effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
    """Effects without those of reading and writing."""
    return tuple(each for each in effects if each not in OF_TRAFFIC)


class HeldStream(trio.abc.HalfCloseableStream):
    """A stream that sends no last frame until it is released: a test decides on ``flushed``.

    ``holds`` says whether what is written now is the last frame.
    """

    def __init__(self, inner: trio.abc.HalfCloseableStream, holds: Callable[[], bool]) -> None:
        self._inner = inner
        self._holds = holds
        self.released = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.wait_send_all_might_not_block()
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        if self._holds():
            await self.released.wait()

    async def send_eof(self) -> None:
        await self._inner.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Dialled:
    """One TCP connect that waits to be settled."""

    def __init__(self) -> None:
        self.settled = trio.Event()
        self.answer: trio.abc.Stream | OSError = OSError("not settled")

    async def outcome(self) -> trio.abc.Stream:
        await self.settled.wait()
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer


Parameters = Mapping[str, Mapping[str, int]]
# What the tours are made for.
TOUR_PARAMETERS: Parameters = {"breaker": {"threshold": 2}}


def _settings(parameters: Parameters) -> Settings:
    """Every timer as long as possible, so that none expires by itself during a tour."""
    return Settings(
        t5=240,
        t6=240,
        t7=240,
        t8=120,
        connect_timeout=240,
        write_timeout=3_600,
        frame_deadline=3_600,
        linger=10,
        linktest_interval=86_400,
        breaker_threshold=parameters.get("breaker", {}).get("threshold", 5),
        linktest_threshold=parameters.get("linktest", {}).get("linktest_threshold", 1),
        breaker_open_time=86_400,
        backoff_jitter=0.0,
        # Whatever a tour sends, its peer reads nothing of it.
        outbox_size=2**30,
    )


class DrivenEnd:
    """One end, restarted for each tour. ``pairs`` gives a pair of streams for each connection."""

    def __init__(
        self,
        system: System,
        pairs: AsyncIterator[Pair],
        nursery: trio.Nursery,
        parameters: Parameters,
    ) -> None:
        self._system = system
        self._parameters = parameters
        self._pairs = pairs
        self._peer: trio.abc.Stream | None = None
        self._nursery = nursery
        self._compared = {
            chart.id for chart in system.charts if chart.id not in ("receiver", "transmitter")
        }
        self._start()

    def _start(self) -> None:
        self._entity = Entity(1)
        self._owned = self._make_owned() if self._system is OWNED_LINK else None
        if self._owned is not None:
            self._engine: Engine = self._owned
        else:
            self._engine = Engine(
                ACTIVE_LINK if self._is_active else PASSIVE_LINK,
                _settings(self._parameters),
                clock=trio.current_time,
                random=Random(0),
                peer=lambda _: "the peer",
                entity=None if self._is_active else self._entity,
                single_use=bool(self._parameters.get("connection_active", {}).get("single_use")),
            )
        # Only a test uses these: the charts of this engine, and its connection.
        self._life, self._context = self._engine._life, self._engine._context
        # Every frame is also a sign of life. The tours make the two events happen separately.
        mention = self._life.mention
        self._life.mention = lambda event: None if event == "traffic_seen" else mention(event)  # type: ignore[method-assign]  # for this one engine
        # Each step so far, and where the charts were after it.
        self._steps: list[tuple[Step, dict[str, str]]] = []
        self._here = {id: self._life.snapshot[id].leaves for id in self._compared}
        self._recorded = trio.Event()
        self._driver = Driver(self._engine, self._dial if self._is_active else None)
        self._driver.recorders.append(self._note)
        self._dialled: _Dialled | None = None
        self._scope = trio.CancelScope()
        if self._is_active:
            self._nursery.start_soon(self._run)

    def _make_owned(self) -> OwnedEngine:
        return OwnedEngine(
            _settings(self._parameters),
            lease=_LEASE,
            lease_clock=trio.current_time,
            clock=trio.current_time,
            random=Random(0),
            peer=lambda _: "the peer",
        )

    @property
    def _is_active(self) -> bool:
        return self._system is not PASSIVE_LINK

    async def _run(self) -> None:
        with self._scope:
            await self._driver.run()

    async def _run_accepted(self, stream: trio.abc.Stream) -> None:
        with self._scope:
            await self._driver.run_accepted(stream)

    async def _dial(self, began: Began) -> tuple[trio.abc.Stream, GiveBack]:
        began({})
        self._dialled = dialled = _Dialled()
        try:
            return await dialled.outcome(), lambda: None
        finally:
            self._dialled = None

    def _note(self, step: Step) -> None:
        after = {hop.chart: hop.after.leaves for hop in step.hops if hop.chart in self._compared}
        self._here = {**self._here, **after}
        if self.compares(step.event):
            self._steps.append((step, self._here))
            recorded, self._recorded = self._recorded, trio.Event()
            recorded.set()

    async def end(self) -> None:
        """Stop everything that runs."""
        self._scope.cancel()
        if self._peer is not None:
            await self._peer.aclose()
        await trio.testing.wait_all_tasks_blocked()

    async def restart(self) -> None:
        """Back to the beginning."""
        await self.end()
        self._start()
        await trio.testing.wait_all_tasks_blocked()

    def compares(self, event: str) -> bool:
        """Whether `event` is one of a chart that is compared."""
        return self._life.router.owner.get(event) in self._compared

    async def take(self, event: str) -> tuple[tuple[Effect, ...], dict[str, str]]:
        """Make ``event`` happen. The effects it had, in order, and where the charts are then."""
        if event in MENTIONED:
            idle = self._life.router.step(self._life.snapshot, event)
            if idle.snapshot is self._life.snapshot and not idle.effects:
                # It is told at every turn, and recorded where it changes something.
                return (), self._here
        seen = len(self._steps)
        await self._cause(event)
        while True:
            for step, here in self._steps[seen:]:
                assert step.event == event, step
                return compared(step.effects), here
            await self._recorded.wait()

    async def _cause(self, event: str) -> None:
        engine = self._engine
        owner = self._life.router.owner[event]
        by_hand = owner in ("breaker", "lease") and event.endswith("_requested")
        if event in TOLD or (by_hand and self._life.is_closing):
            # A closed link refuses calls, but what its breaker and its lease do is still compared.
            self._life.tell(event)
        elif event.endswith("_requested"):
            getattr(engine, _CALLS[event])()
        elif event == "session_wanted":
            engine.session_wanted()
        elif self._owned is not None and event in _ANSWERS:
            _ANSWERS[event](self._owned)
        elif event.endswith("_expired"):
            if event == "connect_timeout_expired":
                await self._until_dialled()
            await self._age(event)
        else:
            await self._happen(event)
        self._driver.turn()

    async def _happen(self, event: str) -> None:
        match event:
            case "tcp_opened":
                await self._connect(accepted=False)
            case "tcp_accepted":
                await self._connect(accepted=True)
            case "tcp_failed":
                await self._settle_dial(ConnectionRefusedError("refused"))
            case "tcp_closed":
                await self._the_peer.aclose()
            case "communication_failed":
                await self._the_peer.send_all(b"\0\0\0\0")
            case "flushed":
                self._held.released.set()
            case "competing_select_req_received":
                # Another connection has the session, even where ours was selected before.
                entity, holds = self._entity, self._engine.is_selected
                if holds:
                    entity.give_back(self._life)
                entity.take(self)
                await self._the_peer.send_all(encode(control_frame(SType.SELECT_REQ, _ANY)))
                while not self._steps or self._steps[-1][0].event != event:
                    await self._recorded.wait()
                entity.give_back(self)
                if holds:
                    entity.take(self._life)
            case _:
                await self._the_peer.send_all(encode(self._frame(event)))

    async def _connect(self, *, accepted: bool) -> None:
        if self._peer is not None:
            await self._peer.aclose()
        ours, self._peer = await anext(self._pairs)
        life = self._life
        self._held = HeldStream(ours, lambda: "leaving" in life.snapshot)
        if accepted:
            self._nursery.start_soon(self._run_accepted, self._held)
        else:
            await self._settle_dial(self._held)

    @property
    def _the_peer(self) -> trio.abc.Stream:
        assert self._peer is not None
        return self._peer

    async def _settle_dial(self, answer: trio.abc.Stream | OSError) -> None:
        dialled = await self._until_dialled()
        dialled.answer = answer
        dialled.settled.set()

    async def _until_dialled(self) -> _Dialled:
        while self._dialled is None:
            await trio.testing.wait_all_tasks_blocked()
        return self._dialled

    async def _age(self, event: str) -> None:
        """Change a running timer as if it had been started long ago."""
        timers, epoch = self._life.timers, self._context.epoch
        timer = event.removesuffix("_expired")
        timers.started[timer] += _LONG_AGO
        if self._owned is not None and timer in DEADLINES:
            # It is just over, and not one that follows it too.
            self._owned._lease._asked_at = trio.current_time() - _LEASE.seconds(timer) - 1
        if timer == "t5":
            timers._attempt_began = _LONG_AGO
        if epoch is not None:
            # All is written, but for a last frame that is held.
            await trio.testing.wait_all_tasks_blocked()
            if timer == "linktest_interval":
                epoch.last_received = 2 * _LONG_AGO
            elif (mark := epoch.outbox.marks.get(timer)) is not None:
                mark.since = _LONG_AGO
        timers.retime()

    def _frame(self, event: str) -> Frame:
        epoch = self._context.epoch
        assert epoch is not None
        own = epoch.own
        # Without such a request on this connection, an unknown one is answered.
        own.select = own.select if own.select is not None else _ANY - 1
        own.deselect = own.deselect if own.deselect is not None else _ANY - 2
        own.linktest = own.linktest if own.linktest is not None else _ANY - 3
        reject = RejectReason.TRANSACTION_NOT_OPEN
        match event:
            case "select_req_received":
                return control_frame(SType.SELECT_REQ, _ANY)
            case "select_rsp_accepted":
                return control_frame(SType.SELECT_RSP, own.select)
            case "select_rsp_already_active":
                return control_frame(SType.SELECT_RSP, own.select, byte3=1)
            case "select_rsp_refused":
                return control_frame(SType.SELECT_RSP, own.select, byte3=2)
            case "select_rejected":
                return control_frame(SType.REJECT_REQ, own.select, 1, reject)
            case "deselect_req_received":
                return control_frame(SType.DESELECT_REQ, _ANY)
            case "deselect_rsp_ended":
                return control_frame(SType.DESELECT_RSP, own.deselect)
            case "deselect_rsp_busy":
                return control_frame(SType.DESELECT_RSP, own.deselect, byte3=2)
            case "deselect_rejected":
                return control_frame(SType.REJECT_REQ, own.deselect, 3, reject)
            case "linktest_req_received":
                return control_frame(SType.LINKTEST_REQ, _ANY)
            case "linktest_rsp_received":
                return control_frame(SType.LINKTEST_RSP, own.linktest)
            case "linktest_rejected":
                return control_frame(SType.REJECT_REQ, own.linktest, 5, reject)
            case "separate_req_received":
                return control_frame(SType.SEPARATE_REQ, _ANY)
            case "unknown_reject_received":
                return control_frame(SType.REJECT_REQ, _ANY, 1, reject)
            case "unexpected_rsp_received":
                return control_frame(SType.LINKTEST_RSP, _ANY)
            case "unsupported_stype_received":
                return control_frame(8, _ANY)
            case "unsupported_ptype_received":
                return control_frame(SType.LINKTEST_REQ, _ANY)._replace(ptype=1)
            case "control_with_body_received":
                return control_frame(SType.LINKTEST_REQ, _ANY)._replace(body=b"body")
            case "data_received":
                return data_frame(0, 1, 1, True, _ANY, b"")
            case _:
                raise KeyError(f"nothing is known that makes {event} happen")


async def memory_pairs() -> AsyncGenerator[Pair, None]:
    """Streams in memory."""
    while True:
        ours, theirs = trio.testing.memory_stream_pair()
        yield ours, theirs


async def tcp_pairs() -> AsyncGenerator[Pair, None]:
    """Real TCP over loopback, through the engine's own sockets."""
    from hsms_engine.driver.tcp import connect_tcp, listen_tcp

    listener = await listen_tcp("127.0.0.1", 0)
    try:
        while True:
            theirs = await connect_tcp("127.0.0.1", listener.port)
            ours, _ = await listener.accept()
            yield ours, theirs
    finally:
        listener.close()


@asynccontextmanager
async def driven(
    system: System,
    pairs: Callable[[], AsyncGenerator[Pair, None]],
    parameters: Parameters,
) -> AsyncIterator[DrivenEnd]:
    """A driven end; after the block, everything that it started is stopped."""
    async with aclosing(pairs()) as made, open_bare_nursery() as nursery:
        end = DrivenEnd(system, made, nursery, parameters)
        await trio.testing.wait_all_tasks_blocked()
        yield end
        await end.end()
        nursery.cancel_scope.cancel()
