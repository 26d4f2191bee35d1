"""``open_link``: a link for months. It reconnects, and a circuit breaker limits its attempts.

After a failed attempt the link waits until T5 is over (or longer, with a backoff), and then asks
the breaker for a permit. While the session is not selected, calls that need it raise
``LinkDownError`` at once: nothing is queued for a later connection.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from random import Random
from time import time
from typing import TYPE_CHECKING, Any, Unpack, overload

import trio

from hsms_engine.connection import closing, make_driver, running
from hsms_engine.driver.driver import Driver
from hsms_engine.driver.loop import Configuration, expect_trio
from hsms_engine.driver.tcp import Dial, address_text
from hsms_engine.driver.tls_files import Tls, TlsChoice
from hsms_engine.errors import ClosedError, ConnectError, LocalProtocolError
from hsms_engine.messaging import Messaging
from hsms_engine.protocol.epoch import Primary
from hsms_engine.protocol.saving import read, write
from hsms_engine.session_task import SessionTask
from hsms_engine.settings import Settings, SettingsChanges, chosen_settings

if TYPE_CHECKING:
    from hsms_engine.health import Health
    from hsms_engine.lease import Lease
    from hsms_engine.protocol.leasing import Ownership
    from hsms_engine.recorder import BlackBoxIn, RecordTo

# What ``HsmsLink.save`` gives, or its JSON.
Saved = dict[str, object] | str | bytes


class HsmsLink(Messaging):
    """An active link. Iterating yields the primaries of all its connections."""

    def __init__(
        self,
        driver: Driver,
        nursery: trio.Nursery,
        wall_clock: Callable[[], float],
        tls: TlsChoice,
    ) -> None:
        super().__init__(driver)
        self._nursery = nursery
        self._tls = tls
        self._configuration = Configuration(
            driver.loop, driver.engine, self._expect_usable, driver.use
        )
        self._wall_clock = wall_clock

    @property
    def _state_text(self) -> str:
        found = self._engine.ownership
        if found is None:
            return self.phase
        is_others = found.state in ("standby", "acquiring") and found.owner
        who = f": {found.owner!r} owns the tool" if is_others else ""
        return f"{self.phase}, {found.state}{who}"

    def __aiter__(self) -> HsmsLink:
        return self

    async def __anext__(self) -> Primary:
        """The next primary, of any connection. Ends when the link is closed."""
        self._loop.check_task(self, "receive()")
        return self._iterated(await self._driver.next_primary())

    def _iterated(self, primary: Primary | None) -> Primary:
        try:
            return self._received(primary)
        except ClosedError:
            raise StopAsyncIteration from None

    async def receive(self) -> Primary:
        """The next primary, of any connection. When cancelled, none is lost.

        Raises ``ClosedError`` when the link is closed.
        """
        self._loop.check_task(self, "receive()")
        return self._received(await self._driver.next_primary())

    def _received(self, primary: Primary | None) -> Primary:
        if primary is None:
            raise self._engine.unusable()
        return primary

    def on_selected(self, task: Callable[[HsmsLink], Awaitable[object]]) -> trio.CancelScope:
        """``await task(link)`` for each selected session, at once when there is one.

        It is cancelled when its session ends. An ``Exception`` that it raises is logged
        (``hsms_engine.link``: ``HsmsError`` at WARNING while its session goes on, else at INFO; any
        other at ERROR) and ends nothing else: the session stays. For the next session it is called
        again, when it has been left. Cancelling what is returned
        takes it away, and so does the end of the block. Any number of tasks may be given. Raises
        ``ClosedError`` when the link is closed.
        """
        self._loop.check(self, "on_selected()")
        if self._engine.is_closing:
            raise self._engine.unusable()
        session_task = SessionTask(self._driver, partial(task, self))
        self._nursery.start_soon(session_task.run)
        return session_task.scope

    @property
    def ownership(self) -> Ownership | None:
        """Who has the lease of the link, as far as it is known here; None for a link without one.

        For any thread.
        """
        return self._engine.ownership

    def enable(self) -> None:
        """Connect, and reconnect from now on. Raises ``LocalProtocolError`` when it is enabled.

        With a lease: contend for it, and connect when it is granted.
        """
        self._loop.check(self, "enable()")
        self._call(self._engine.enable)

    def disable(self) -> None:
        """Close the connection or abandon the attempt, and make no other until ``enable``.

        An abandoned attempt counts neither as a success nor as a failure. With a lease: give it
        back when the connection is closed, and contend for it no more. Raises
        ``LocalProtocolError`` when it is disabled.
        """
        self._loop.check(self, "disable()")
        self._call(self._engine.disable)

    async def wait_selected(self) -> None:
        """Wait until the session is selected, however many attempts that takes.

        Raises ``ClosedError`` when the link is closed meanwhile.
        """
        self._loop.check_task(self, "wait_selected()")
        engine = self._engine
        await self._driver.until(lambda: engine.is_selected)
        if not engine.is_selected:
            raise engine.unusable()

    @property
    def _stands_by(self) -> bool:
        """Whether the user has enabled it, and it is the lease that lets nothing be attempted."""
        ownership = self._engine.ownership
        return ownership is not None and ownership.state != "withdrawn"

    async def connect(self) -> None:
        """Wait until the session is selected or one attempt, the running or the next, has failed.

        All callers that wait get the result of the same attempt. Raises its ``ConnectError``,
        ``CircuitOpenError`` at once while the breaker lets no attempt begin, ``LocalProtocolError``
        when the link is disabled, ``LinkDownError`` when it is disabled meanwhile, or
        ``ClosedError``. With a lease it waits while the store is asked for it, and raises
        ``LinkDownError`` when another process has it, or the store does not answer.
        """
        self._loop.check_task(self, "connect()")
        engine = self._engine
        failed_before = engine.failed_attempts

        def waits_for_store() -> bool:
            ownership = engine.ownership
            return ownership is not None and ownership.state == "acquiring"

        if engine.phase == "idle" and not self._stands_by:
            raise LocalProtocolError(f"{self.peer}: the link is disabled; enable() it to connect")

        def decided() -> bool:
            failed = engine.failed_attempts > failed_before
            disabled = engine.phase == "idle" and not waits_for_store()
            return engine.is_selected or failed or disabled or engine.refused() is not None

        await self._driver.until(decided)
        if engine.is_selected:
            return
        if engine.failed_attempts > failed_before and isinstance(engine.last_error, ConnectError):
            # An exception carries the traceback of one raise: each caller gets its own.
            raise copy.copy(engine.last_error)
        raise engine.refused() or engine.unusable()

    def configure(
        self, settings: Settings | None = None, /, **changes: Unpack[SettingsChanges]
    ) -> None:
        """Change settings of the running link; all of them or, on an error, none.

        They are in force at once: running timers get new deadlines, counts stay, and the breaker
        opens when its failures reach a lowered ``breaker_threshold``. ``host`` and ``port`` are
        used by the next attempt. Raises ``SettingsError``, or ``ClosedError`` when it is closed.

        In another thread they are validated and handed over: they are in force soon, and nothing
        happens when the link closes before that.
        """
        if self._configuration.change(settings, changes):
            self._driver.turn()

    def _expect_usable(self, settings: Settings) -> None:
        self._engine.expect_open()
        self._tls.check(settings)

    def health(self) -> Health:
        """Whether the link is selected now, since when, and if not, why and until when.

        It waits for nothing, in any thread; from another, it is of nearly one moment.
        """
        # Not every program asks.
        from hsms_engine.health.records import link_health

        return link_health(self._engine)

    def save(self) -> dict[str, object]:
        """What is to outlive this program, as plain JSON values, for ``open_link(restore=...)``.

        That is the breaker (state, failures in a row, for how long it is open), how long ago the
        latest attempt began, and whether the link is enabled. Settings and messages are not in it.
        A connection is not saved: the link comes back without one. It may be called at any time,
        also after a close: then the link comes back enabled.
        """
        self._loop.check(self, "save()")
        return write(self._engine.kept(), self._wall_clock())

    def isolate(self) -> None:
        """Open the breaker by hand, until ``release``. A running attempt is withdrawn.

        A selected connection stays.
        """
        self._loop.check(self, "isolate()")
        self._call(self._engine.isolate)

    def release(self) -> None:
        """Close the breaker that was isolated. Raises ``LocalProtocolError`` when it was not."""
        self._loop.check(self, "release()")
        self._call(self._engine.release)

    def reset_breaker(self) -> None:
        """Close the breaker, whatever its state, and forget its failures.

        A running attempt is withdrawn when the breaker was half-open.
        """
        self._loop.check(self, "reset_breaker()")
        self._call(self._engine.reset_breaker)


@overload
def open_link(
    host: str,
    port: int,
    settings: Settings = ...,
    /,
    *,
    dial: Dial | None = None,
    random: Random | None = None,
    restore: Saved | None = None,
    wall_clock: Callable[[], float] = time,
    tls: Tls | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
    lease: Lease | None = None,
    **changes: Unpack[SettingsChanges],
) -> AbstractAsyncContextManager[HsmsLink]: ...
@overload
def open_link(
    settings: Settings = ...,
    /,
    *,
    dial: Dial | None = None,
    random: Random | None = None,
    restore: Saved | None = None,
    wall_clock: Callable[[], float] = time,
    tls: Tls | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
    lease: Lease | None = None,
    **changes: Unpack[SettingsChanges],
) -> AbstractAsyncContextManager[HsmsLink]: ...
@asynccontextmanager
async def open_link(
    *given: Any,
    dial: Dial | None = None,
    random: Random | None = None,
    restore: Saved | None = None,
    wall_clock: Callable[[], float] = time,
    tls: Tls | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
    lease: Lease | None = None,
    **changes: Unpack[SettingsChanges],
) -> AsyncIterator[HsmsLink]:
    """Open an enabled link: it connects when the block begins, and reconnects until its exit.

    The arguments and ``SettingsError`` are as for ``open_hsms``. The exit of the block sends
    Separate.req; an exception of the block comes out as it is.

    ``restore`` is what ``HsmsLink.save`` gave, perhaps in another program, or its JSON as text or
    bytes: the link goes on with this breaker, not earlier than T5 after the last attempt, and
    disabled when it was disabled. It need not be trusted: raises ``RestoreError``, and opens
    nothing, when it is not what ``save`` gives. ``wall_clock`` tells how long ago it was saved.

    ``record`` is a file into which all of it is recorded, or a ``hsms_engine.recorder.Recorder``
    that several share, or a list of such; when it cannot be written, the link goes on.
    ``black_box`` is a folder, or a ``hsms_engine.recorder.BlackBox``: what happened last is written
    there when the link is lost, or its breaker opens.

    With ``lease`` only the process that has it has the link, and the others stand by: see
    ``hsms_engine.lease``. Then the block begins when the store is asked, or disabled when it was
    restored so. The exit gives the lease back when the link is closed, also when it is cancelled;
    it waits for the store at most as long as the lease lets it, and what the store fails at is
    logged. Raises ``LeaseSetupError`` when that is no lease, ``LocalProtocolError`` when another
    link has it. An owner leaves its breaker and T5 to the next one, in which they count when its
    latest attempt is later than that of ``restore``.
    """
    expect_trio("open_link()")
    settings = chosen_settings(given, changes)
    keeper = None
    if lease is not None:
        # Not every link has one.
        from hsms_engine.lease.keeper import Keeper

        keeper = Keeper(lease)
    kept = None
    if restore is not None:
        peer = address_text((settings.host, settings.port))
        kept = read(restore, wall_clock(), peer=peer, threshold=settings.breaker_threshold)
    driver, choice = make_driver(
        settings, dial, random, tls, single_use=False, kept=kept, keeper=keeper
    )
    async with (
        nullcontext() if keeper is None else keeper.running(),
        running(driver, record, black_box) as nursery,
    ):
        await trio.lowlevel.checkpoint()
        link = HsmsLink(driver, nursery, wall_clock, choice)
        async with closing(link):
            if kept is None or kept.is_enabled:
                link.enable()
            else:
                # What was restored is told.
                driver.turn()
            yield link
