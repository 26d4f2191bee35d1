"""Asks the store for the lease of one link, as its chart wants, and tells the engine the answers.

* The store is asked one thing at a time, in one task, which outlives a cancellation of the block of
  the link: the last thing that it asks is to take the lease back.
* The clock of the lease is read before a call begins: what the store grants counts from then.
* A lease is given back when every stream of the link is closed, so nothing is sent after that.
* A grant that nobody wants any more, because it came too late, is given back.
* Whatever a store raises is a call that has failed. It ends nothing else.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from reprlib import repr as shortened
from typing import assert_never

import trio

from hsms_engine.driver.driver import Driver
from hsms_engine.driver.fence import Fence
from hsms_engine.errors import LeaseError, LeaseSetupError, LocalProtocolError, RestoreError
from hsms_engine.lease.asked import Granted, Held, Lease, Vacant
from hsms_engine.lease.clock import LeaseClock
from hsms_engine.protocol.leasing import LeaseTimes
from hsms_engine.protocol.owned import OwnedEngine
from hsms_engine.protocol.saving import OLDEST, Kept, read, write
from statecharts.hsms.timers import RENEWAL_RETRY
from statecharts.hsms.vocabulary import AskStore, ReleaseLease, StopAsking, StoreCall
from statecharts.nursery import open_bare_nursery

# What a lease can be asked.
_CALLS = ("connected", "acquire", "renew", "release", "watch")
# The states in which a grant is of no use.
_UNUSED = ("withdrawn", "standby", "ended")

# No store counts further.
_HIGHEST_EPOCH = 2**63 - 1

# The leases that links of this process have now, each by its ``id``: it may be one that cannot be
# hashed. Links may be in several threads, so this is changed by single calls only.
_IN_USE: dict[int, object] = {}


class Keeper:
    """The store of one link, as its driver asks it.

    Raises ``LeaseSetupError`` for what is no lease, and what ``LeaseTimes`` raises.
    """

    _engine: OwnedEngine
    _driver: Driver
    _fence: Fence

    def __init__(self, lease: Lease) -> None:
        _expect_lease(lease)
        self._lease = lease
        try:
            self.times = LeaseTimes(lease.duration, lease.name, lease.owner)
        except AttributeError as error:
            text = f"lease={shortened(lease)} has no duration: it needs seconds"
            raise LeaseSetupError(text) from error
        self.clock = LeaseClock(trio.lowlevel.current_clock().current_time)
        # What the chart waits for, what is to be asked for it, and what is asked now.
        self._awaited: StoreCall | None = None
        self._next: StoreCall | None = None
        self._asked: StoreCall | None = None
        self._call_scope = trio.CancelScope()
        # The epoch of the grant in force; what is to be given back, and what is left there.
        self._epoch: int | None = None
        self._given_back: list[tuple[int, bytes | None]] = []
        # Whether a watch has said that nobody has the lease, and it was not granted since.
        self._was_free = False
        # The latest that was logged with its traceback, so that it is not at each call.
        self._logged = ""
        # Set when it is connected, and when there is something to do.
        self._begun, self._news = trio.Event(), trio.Event()
        # Whether the link is over, and the scope of the whole task.
        self._is_over = False
        self._scope = trio.CancelScope(shield=True)

    def keep(self, engine: OwnedEngine, driver: Driver, fence: Fence) -> None:
        """The link for which this asks, and what stands before its streams. To be called first."""
        self._engine, self._driver, self._fence = engine, driver, fence

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ask while the block runs; at its end give back what is ours, for a limited time.

        Raises ``LocalProtocolError`` when another link has this lease.
        """
        with _in_use(self._lease):
            async with open_bare_nursery() as nursery:
                # Not by ``start``, which would wait for its end when it is cancelled.
                nursery.start_soon(self._run)
                try:
                    await self._begun.wait()
                    yield
                finally:
                    self._end()

    def ask(self, wish: AskStore | StopAsking | ReleaseLease) -> None:
        """What the charts want of the store. It is done soon, in the task of this."""
        match wish:
            case AskStore(call):
                self._awaited = self._next = call
            case StopAsking():
                self._awaited = self._next = None
                self._stop_call()
            case ReleaseLease():
                self._give_back(self._saved())
            case _:
                assert_never(wish)
        self._news.set()

    def _stop_call(self) -> None:
        # A lease that is granted without an answer is lost to everybody until it is over, so an
        # ``acquire`` has its time.
        if self._asked is not StoreCall.ACQUIRE:
            self._call_scope.cancel()

    def _give_back(self, saved: bytes | None) -> None:
        if self._epoch is not None:
            self._given_back.append((self._epoch, saved))
            self._epoch = None

    def _saved(self) -> bytes:
        # Without a wall clock: the store tells how long ago it was.
        return json.dumps(write(self._engine.kept(), 0.0)).encode()

    def _end(self) -> None:
        """The link is over, and nothing of it runs any more."""
        self._awaited = self._next = None
        self._is_over = True
        self._stop_call()
        self._news.set()
        self._scope.deadline = trio.current_time() + self.times.store_timeout

    # In its task

    async def _run(self) -> None:
        with self._scope:
            await self._connect()
        for epoch, _ in self._given_back:
            self._say_kept(epoch, "the store did not answer in time")

    async def _connect(self) -> None:
        while True:
            try:
                async with self._lease.connected():
                    self._begun.set()
                    await self._serve()
            except Exception as error:
                # Who writes a store may raise anything. Before it has begun, that is the opener's.
                if not self._begun.is_set():
                    raise
                self._fail(error)
            if self._is_over:
                return
            # What keeps the connections of the store has ended, with all that it ran.
            await trio.sleep(self.times.seconds(RENEWAL_RETRY.id))

    async def _serve(self) -> None:
        while self._given_back or not self._is_over:
            if self._given_back:
                await self._release()
            elif self._next is not None:
                call, self._next = self._next, None
                await self._ask(call)
            else:
                await self._news.wait()
                self._news = trio.Event()

    async def _ask(self, call: StoreCall) -> None:
        self._asked = call
        try:
            with trio.CancelScope() as self._call_scope:
                if call is StoreCall.ACQUIRE:
                    # The chart waits no longer. What it does not want any more is not cancelled.
                    self._call_scope.deadline = trio.current_time() + self.times.store_timeout
                if call is StoreCall.WATCH and self._was_free:
                    # One that says so again, and refuses again, would be asked without a pause.
                    await trio.sleep(self.times.seconds(RENEWAL_RETRY.id))
                await self._ask_now(call)
        finally:
            self._asked = None

    async def _ask_now(self, call: StoreCall) -> None:
        lease, asked_at = self._lease, self.clock()
        try:
            match call:
                case StoreCall.WATCH:
                    await self._watch()
                case StoreCall.ACQUIRE:
                    self._answered(call, await lease.acquire(), asked_at)
                case StoreCall.RENEW:
                    assert self._epoch is not None
                    answer = await lease.renew(self._epoch, self._saved())
                    self._answered(call, answer, asked_at)
                case _:
                    assert_never(call)
        except Exception as error:  # noqa: BLE001  # who writes a store may raise anything
            self._fail(error)

    async def _watch(self) -> None:
        async with aclosing(self._lease.watch()) as news:
            async for each in news:
                self._heard(each)
                # A store that never waits is not to hold up all others.
                await trio.lowlevel.checkpoint()
        raise LeaseError(f"{self._lease.name}: the watch has ended, and a watch never does")

    async def _release(self) -> None:
        epoch, saved = self._given_back[0]
        why = "the connection of the link was not closed in time"
        with trio.move_on_after(self.times.store_timeout):
            await self._fence.until_clear()
            why = "the store did not answer in time"
            try:
                await self._lease.release(epoch, saved)
                why = ""
            except Exception as error:  # noqa: BLE001  # who writes a store may raise anything
                why = str(self._as_lease_error(error))
        del self._given_back[0]
        if why:
            self._say_kept(epoch, why)

    # What the store says

    def _answered(self, call: StoreCall, answer: object, asked_at: float) -> None:
        match answer:
            case Granted(epoch, bytes() | None, float() | int()) if _is_epoch(epoch):
                self._granted(call, answer, asked_at)
            case Held(str(owner), epoch, float() | int() as remaining) if _is_epoch(epoch):
                self._refused(call, owner, epoch, remaining)
            case Vacant(epoch) if call is StoreCall.RENEW and _is_epoch(epoch):
                # It was taken from us, or is over; and nobody has it.
                self._refused(call, "", epoch, 0.0)
            case _:
                raise self._odd(call, answer)

    def _granted(self, call: StoreCall, grant: Granted, asked_at: float) -> None:
        self._epoch = grant.epoch
        self._was_free = False
        if self._awaited is call:
            kept = self._left(grant) if call is StoreCall.ACQUIRE else None
            self._engine.lease_granted(grant.epoch, asked_at, kept)
            self._driver.turn()
        if self._engine.ownership.state in _UNUSED:
            # It came too late. What the latest owner has left there stays.
            self._give_back(None)

    def _refused(self, call: StoreCall, owner: str, epoch: int, remaining: float) -> None:
        self._epoch = None
        if self._awaited is call:
            self._engine.lease_refused(owner, epoch, self._bounded(remaining))
            self._driver.turn()

    def _heard(self, news: object) -> None:
        if self._awaited is not StoreCall.WATCH:
            return
        engine = self._engine
        match news:
            case Held(str(owner), epoch, float() | int() as remaining) if _is_epoch(epoch):
                engine.lease_news(owner, epoch, self._bounded(remaining))
            case Vacant(epoch) if _is_epoch(epoch):
                self._was_free = True
                engine.lease_freed(epoch)
            case _:
                raise self._odd(StoreCall.WATCH, news)
        self._driver.turn()

    def _bounded(self, remaining: float) -> float:
        """No lease lasts longer. Not a number is no time either."""
        return min(max(0.0, remaining), self.times.duration)

    def _odd(self, call: StoreCall, answer: object) -> LeaseError:
        return LeaseError(
            f"{self._lease.name}: {call.value} of the store has answered {shortened(answer)}, "
            "which it cannot mean"
        )

    def _left(self, grant: Granted) -> Kept | None:
        """What the latest owner has left; None when there is nothing of use."""
        if grant.saved is None:
            return None
        engine = self._engine
        threshold = engine.settings.breaker_threshold
        try:
            kept = read(grant.saved, 0.0, peer=engine.peer, threshold=threshold)
        except RestoreError as error:
            text = "what the latest owner has left is not used: %s"
            self._say(logging.WARNING, text, str(error))
            return None
        # Not a number is no age either.
        return kept.aged(min(grant.saved_age, OLDEST)) if grant.saved_age > 0 else kept

    # What fails

    def _fail(self, error: Exception) -> None:
        """A call has failed. Who waits for an answer is told."""
        failure = self._as_lease_error(error)
        if self._awaited is not None:
            self._engine.store_failed(failure)
            self._driver.turn()

    def _as_lease_error(self, error: Exception) -> LeaseError:
        match error:
            case LeaseError():
                failure = error
            case _:
                text = f"the store has raised {shortened(error)}"
                if text != self._logged:
                    self._logged = text
                    self._say(logging.ERROR, f"{self._lease.name}: %s:", text, error=error)
                failure = LeaseError(f"{self._lease.name}: {text}")
                failure.__cause__ = error
        # It is kept, and its tracebacks would keep the engine.
        behind: BaseException | None = failure
        seen: set[int] = set()
        # Who writes a store may let errors be the causes of each other.
        while behind is not None and id(behind) not in seen:
            seen.add(id(behind))
            behind.__traceback__ = behind.__context__ = None
            behind = behind.__cause__
        return failure

    def _say_kept(self, epoch: int, why: str) -> None:
        self._say(
            logging.WARNING,
            "the lease %s (epoch %d) is not given back, and nobody gets it before it is over: %s",
            self._lease.name,
            epoch,
            why,
        )

    def _say(
        self, level: int, text: str, *values: str | float, error: Exception | None = None
    ) -> None:
        self._driver.teller.say(level, text, *values, error=error)


def _expect_lease(lease: object) -> None:
    """Raise ``LeaseSetupError`` for what cannot be asked."""
    if not all(callable(getattr(lease, call, None)) for call in _CALLS):
        raise LeaseSetupError(
            f"lease={shortened(lease)} is no lease: it needs {', '.join(_CALLS)}, as "
            "hsms_engine.lease.Lease says; a store gives one by store.lease(name)"
        )
    for what in ("name", "owner"):
        value = getattr(lease, what, None)
        if not isinstance(value, str) or not value:
            raise LeaseSetupError(f"the lease has the {what} {shortened(value)}: it needs a text")


def _is_epoch(value: object) -> bool:
    """Whether it may be the epoch of a lease: a flag, or an endless number, is none."""
    return type(value) is int and 0 <= value <= _HIGHEST_EPOCH


@contextmanager
def _in_use(lease: Lease) -> Iterator[None]:
    """No other link has ``lease`` while the block runs. Raises ``LocalProtocolError``."""
    mine = object()
    if _IN_USE.setdefault(id(lease), mine) is not mine:
        raise LocalProtocolError(
            f"{lease.name}: another link of this process has this lease object; each link needs "
            "its own, as store.lease(name) gives"
        )
    try:
        yield
    finally:
        del _IN_USE[id(lease)]
