"""Requests for tools of a fleet, from any process that the store lets in.

A request is an entry of the stream ``hsms.TOOL.request``, with the epoch of the owner that the
caller knows. That owner sends it to the tool, and what becomes of it is an entry of
``hsms.CALLER.reply``.

Invariants:

* A request is given to one owner only, and that one sends it once at most. When the owner is over,
  or another, the caller is told that the tool may have got it: nothing is sent again.
* It is dropped when the caller is gone: its deadline is in it, and who cancels removes it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from math import inf
from secrets import token_hex
from typing import Final, Self

import trio

from hsms_engine.driver.loop import Loop, expect_trio
from hsms_engine.errors import (
    ClosedError,
    ConnectionLostError,
    LeaseError,
    LeaseSetupError,
    LocalProtocolError,
    OwnerUnknownError,
    ReplyTimeoutError,
    TransactionError,
)
from hsms_engine.fleet.forms import (
    LONGEST_BODY,
    Asked,
    Outcome,
    UnreadableError,
    read_mark,
    read_outcome,
    write_asked,
)
from hsms_engine.fleet.reader import stream_name
from hsms_engine.fleet.store import FleetStore, open_streams
from hsms_engine.fleet.streams import BEGINNING, NewEntry, Streams
from hsms_engine.fleet.tools import expect_name
from hsms_engine.lease import Held, Lease, Vacant
from hsms_engine.message import Message
from hsms_engine.protocol.leasing import LeaseTimes
from statecharts.hsms.timers import RENEWAL_RETRY
from statecharts.nursery import open_bare_nursery

__all__ = ["FleetClient", "open_fleet_client"]

PATIENCE: Final = 180.0
"""The longest time for which a request waits, in seconds: longer than T3 may be."""
# How many requests wait in the stream of a tool.
LONGEST_STREAM: Final = 1_000
# How many requests for one tool a process may have open: what is more would push others out of the
# stream before their owner has read them.
MOST_ASKED: Final = 500
# How long a watch goes on that nobody needs, in seconds.
_KEPT: Final = 60.0
# How many answers are asked for at once, and how long one call waits for them, in seconds.
_MOST: Final = 64
_WAITS: Final = 5.0


class Watch:
    """Who owns one tool, as long as somebody wants to know."""

    def __init__(self, lease: Lease, pause: float) -> None:
        self._lease = lease
        self._pause = pause
        self.users = 0
        self._news = trio.Event()
        self.scope = trio.CancelScope()
        self.seen: Held | Vacant | None = None
        self.error: LeaseError | None = None

    def __enter__(self) -> Self:
        self.users += 1
        self.scope.deadline = inf
        return self

    def __exit__(self, *_: object) -> None:
        self.users -= 1
        if not self.users:
            self.scope.deadline = trio.current_time() + _KEPT

    async def run(self) -> None:
        with self.scope:
            async with self._lease.connected():
                await self._run()

    async def _run(self) -> None:
        while True:
            try:
                async with aclosing(self._lease.watch()) as watch:
                    async for seen in watch:
                        self.seen, self.error = seen, None
                        self._tell()
            except LeaseError as error:
                self.error = error
                self._tell()
            await trio.sleep(self._pause)

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def until(self, is_true: Callable[[], bool]) -> None:
        while not is_true():
            await self._news.wait()

    async def present(self) -> Held | Vacant:
        """Who has it. Raises ``LeaseError`` while that is not known."""
        await self.until(lambda: self.seen is not None or self.error is not None)
        if self.seen is None:
            assert self.error is not None  # one of them is there
            # An exception carries the traceback of one raise.
            raise type(self.error)(str(self.error))
        return self.seen

    def is_over(self, epoch: int) -> bool:
        """Whether the owner of this epoch owns it no more."""
        seen = self.seen
        if isinstance(seen, Held):
            return bool(seen.owner) and seen.epoch != epoch
        return True


@dataclass(slots=True, eq=False)
class _Waiting:
    """A request that waits for its answer."""

    settled: trio.Event
    outcome: Outcome | None = None
    # Why it is not waited for any longer.
    error: LeaseError | None = None


class Asker:
    """Sends requests and waits for their answers; ``run`` hears these."""

    def __init__(self, store: FleetStore, streams: Streams) -> None:
        self._store = store
        self._streams = streams
        # In seconds: how long a call to the store may take, and the time between two tries.
        times = LeaseTimes(store.duration)
        self._timeout = times.store_timeout
        self._pause = times.seconds(RENEWAL_RETRY.id)
        self._name = f"caller-{token_hex(8)}"
        self._numbers = count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._watches: dict[str, Watch] = {}
        self._asked = trio.Event()
        self._nursery: trio.Nursery | None = None
        # Why answers could not be read last; None: they were.
        self._error: LeaseError | None = None
        self.unreadable = 0
        """How many answers were none."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hear answers, until cancelled."""
        try:
            async with open_bare_nursery() as self._nursery:
                task_status.started()
                await self._hear()
        finally:
            # What is asked from now on raises.
            self._nursery = None

    def watch(self, tool: str) -> Watch:
        """Who owns a tool: to be used as a block."""
        watch = self._watches.get(tool)
        # One that is ending tells nothing any more.
        if watch is None or watch.scope.cancel_called:
            if self._nursery is None:
                raise ClosedError("the client of the fleet is closed: open another one")
            watch = self._watches[tool] = Watch(self._store.lease(tool), self._pause)
            self._nursery.start_soon(self._run_watch, tool, watch)
        return watch

    async def _run_watch(self, tool: str, watch: Watch) -> None:
        try:
            await watch.run()
        finally:
            # Another may stand there already.
            if self._watches.get(tool) is watch:
                del self._watches[tool]

    async def request(self, tool: str, message: Message) -> Message:
        """As ``FleetClient.request``."""
        expect_name("a tool", tool)
        expect_request(message)
        with self.watch(tool) as watch:
            if watch.users > MOST_ASKED:
                raise TransactionError(
                    f"{tool}: {MOST_ASKED} requests of this process are open, and more are not "
                    "taken: nothing was sent"
                )
            match await watch.present():
                case Held(owner=owner, epoch=epoch) if owner:
                    pass
                case _:
                    raise await self._unknown(tool)
            number = next(self._numbers)
            waiting = self._waiting[number] = _Waiting(trio.Event())
            self._asked.set()
            try:
                outcome = await self._ask(tool, message, number, waiting, watch, owner, epoch)
            finally:
                del self._waiting[number]
        if isinstance(outcome, Message):
            return outcome
        raise outcome

    async def _ask(
        self,
        tool: str,
        message: Message,
        number: int,
        waiting: _Waiting,
        watch: Watch,
        owner: str,
        epoch: int,
    ) -> Outcome:
        left = min(trio.current_effective_deadline() - trio.current_time(), PATIENCE)
        asked = Asked(epoch, self._name, number, left, message)
        stream = stream_name(self._streams.prefix, tool, "request")
        await trio.lowlevel.checkpoint_if_cancelled()
        new = NewEntry(stream, write_asked(asked), LONGEST_STREAM, PATIENCE)
        entry = await self._append(tool, new)
        try:
            with trio.move_on_after(PATIENCE):
                await self._until_settled(waiting, watch, epoch)
        finally:
            if waiting.outcome is None:
                with trio.move_on_after(self._timeout, shield=True):
                    await self._forget(stream, entry)
        if waiting.outcome is not None:
            return waiting.outcome
        error = waiting.error or self._error
        if error is not None:
            return type(error)(
                f"{tool}: what its owner {owner} answers cannot be read: {error}: the tool may "
                f"have got {message.name}"
            )
        if watch.is_over(epoch):
            reason = f"its owner {owner} (epoch {epoch}) is over"
            text = f"{tool}: {reason}, and had not answered: the tool may have got {message.name}"
            return ConnectionLostError(text, reason)
        return ReplyTimeoutError(
            f"{tool}: its owner {owner} (epoch {epoch}) has not answered within {PATIENCE:g} s: "
            f"the tool may have got {message.name}"
        )

    async def _append(self, tool: str, new: NewEntry) -> str:
        """Its id. A cancellation waits for it: who does not know it could not remove it."""
        with trio.move_on_after(self._timeout, shield=True):
            [result] = await self._streams.append([new])
            if isinstance(result, LeaseError):
                raise result
            return result
        raise LeaseError(
            f"{tool}: the store has not taken the request within {self._timeout:g} s: the tool may "
            "get it"
        )

    async def _until_settled(self, waiting: _Waiting, watch: Watch, epoch: int) -> None:
        """Until there is an answer, or none will come."""
        async with open_bare_nursery() as nursery:

            async def until_over() -> None:
                await watch.until(lambda: watch.is_over(epoch))
                # Its last answer may be on its way.
                with trio.move_on_after(self._timeout):
                    await waiting.settled.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(until_over)
            await waiting.settled.wait()
            nursery.cancel_scope.cancel()

    async def _forget(self, stream: str, entry: str) -> None:
        # When it fails: its deadline is in it.
        with suppress(LeaseError):
            await self._streams.remove(stream, entry)

    async def _unknown(self, tool: str) -> OwnerUnknownError:
        """What is known of the last owner: its last event says who it was, and when."""
        last_owner, seconds = "", None
        latest = await self._streams.latest(stream_name(self._streams.prefix, tool, "event"))
        if latest is not None:
            with suppress(UnreadableError):
                last_owner = read_mark(latest.fields).owner
            seconds = max(0.0, await self._streams.now() - latest.written_at)
        ago = "" if seconds is None else f" for {seconds:.1f} s"
        who = f"; the last one was {last_owner}" if last_owner else ""
        text = f"{tool}: no process owns it{ago}{who}; nothing was sent"
        return OwnerUnknownError(text, last_owner, seconds)

    async def _hear(self) -> None:
        stream, after = stream_name(self._streams.prefix, self._name, "reply"), BEGINNING
        while True:
            try:
                # While nobody waits for an answer, the store is not asked.
                while not self._waiting:
                    self._asked = trio.Event()
                    await self._asked.wait()
                found = await self._streams.read({stream: after}, _MOST, _WAITS)
            except LeaseError as error:
                self._error = error
                if isinstance(error, LeaseSetupError):
                    # Somebody must change something: nobody waits for that.
                    for each in self._waiting.values():
                        each.error = error
                        each.settled.set()
                await trio.sleep(self._pause)
                continue
            self._error = None
            for entry in found.get(stream, ()):
                after = entry.id
                try:
                    number, outcome = read_outcome(entry.fields)
                except UnreadableError:
                    self.unreadable += 1
                    continue
                waiting = self._waiting.get(number)
                if waiting is not None and waiting.outcome is None:
                    waiting.outcome = outcome
                    waiting.settled.set()


class FleetClient:
    """Sends requests to the tools of a fleet, and owns none. Made by ``open_fleet_client``."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._loop = Loop()

    async def request(self, tool: str, message: Message) -> Message:
        """Send a primary with W to a tool by its owner, and return the reply.

        Raises what ``HsmsLink.request`` raises there. Raises ``OwnerUnknownError`` when no process
        owns the tool, ``ConnectionLostError`` when its owner is over before it has answered, and
        ``LeaseError`` when the store does not answer. Nothing is sent twice: after each of the last
        two the tool may have got it.

        The deadline of the caller goes with it. Without one the call ends after 180 s with
        ``ReplyTimeoutError``, and then too the tool may have got it. A request that is cancelled is
        not sent when its owner has not taken it yet.
        """
        self._loop.check_task(self, "request()")
        return await self._asker.request(tool, message)


@asynccontextmanager
async def open_fleet_client(
    store: FleetStore, *, streams: Streams | None = None
) -> AsyncIterator[FleetClient]:
    """Ask tools of the fleet that has this store: ``await client.request("ETCHER-1", S1F3(...))``.

    ``streams``: as for ``open_fleet``.
    """
    expect_trio("open_fleet_client()", has_others=False)
    async with (
        open_streams(store, streams, has_leases=True) as opened,
        open_bare_nursery() as nursery,
    ):
        asker = Asker(store, opened)
        await nursery.start(asker.run)
        yield FleetClient(asker)
        nursery.cancel_scope.cancel()


def expect_request(message: Message) -> None:
    """Raises ``LocalProtocolError`` when this cannot be a request."""
    if not message.wait:
        raise LocalProtocolError(
            f"{message.name} {'without W' if message.is_primary else 'is a secondary'}: only a "
            "primary with W has a reply"
        )
    if len(message.body) > LONGEST_BODY:
        raise LocalProtocolError(
            f"{message.name} has {len(message.body)} bytes, and a request by the store has at most "
            f"{LONGEST_BODY}"
        )
