"""``open_hsms``: one connection, dialled and selected, for as long as an ``async with`` block.

It is never dialled again: when it is over, its calls raise the reason. A link that reconnects is in
``hsms_engine.link``.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from random import Random, SystemRandom
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack, overload

import trio

from hsms_engine.driver.dialling import Began, GiveBack, Local, always, lease_over
from hsms_engine.driver.driver import Driver
from hsms_engine.driver.fence import Fence
from hsms_engine.driver.loop import expect_trio
from hsms_engine.driver.tcp import Dial, address_text, dial_tcp
from hsms_engine.driver.tls import dial_tls
from hsms_engine.driver.tls_files import Tls, TlsChoice
from hsms_engine.errors import ConnectError, ConnectionLostError
from hsms_engine.messaging import Messaging
from hsms_engine.protocol.engine import Engine
from hsms_engine.protocol.epoch import Primary
from hsms_engine.protocol.owned import OwnedEngine
from hsms_engine.protocol.saving import Kept
from hsms_engine.settings import Settings, SettingsChanges, chosen_settings
from hsms_engine.traffic import write_logs
from statecharts.hsms import ACTIVE_LINK
from statecharts.nursery import is_cancellation, open_bare_nursery

if TYPE_CHECKING:
    from hsms_engine.lease.keeper import Keeper
    from hsms_engine.recorder import BlackBoxIn, RecordTo
    from hsms_engine.recorder.recording import Recording
    from hsms_engine.server import HsmsServer

# One for all links: each other ``Random`` is 2.5 kB, and a program that forks would repeat it.
_RANDOM = SystemRandom()


class HsmsConnection(Messaging):
    """One selected connection, active or passive. Iterating yields the primaries received."""

    def __aiter__(self) -> HsmsConnection:
        return self

    async def __anext__(self) -> Primary:
        """The next primary, as ``receive`` gives it. Ends when the peer has separated."""
        self._loop.check_task(self, "receive()")
        return self._iterated(await self._driver.next_primary())

    def _iterated(self, primary: Primary | None) -> Primary:
        if primary is not None:
            return primary
        dropped, over = self._engine.dropped(), self._engine.unusable()
        separated = self._engine.session_ended_by == "separate_req_received"
        if separated and dropped is None and isinstance(over, ConnectionLostError):
            raise StopAsyncIteration
        raise dropped or over

    async def receive(self) -> Primary:
        """The next primary. When cancelled, none is lost.

        Raises ``ConnectionLostError`` when the peer has separated, when the connection was lost,
        or is over and primaries that waited were dropped (``server_inbox_bytes``), ``ClosedError``
        when you closed it.
        """
        self._loop.check_task(self, "receive()")
        return self._received(await self._driver.next_primary())

    def _received(self, primary: Primary | None) -> Primary:
        if primary is not None:
            return primary
        raise self._engine.dropped() or self._engine.unusable()


@overload
def open_hsms(
    host: str,
    port: int,
    settings: Settings = ...,
    /,
    *,
    dial: Dial | None = None,
    random: Random | None = None,
    tls: Tls | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
    **changes: Unpack[SettingsChanges],
) -> AbstractAsyncContextManager[HsmsConnection]: ...
@overload
def open_hsms(
    settings: Settings = ...,
    /,
    *,
    dial: Dial | None = None,
    random: Random | None = None,
    tls: Tls | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
    **changes: Unpack[SettingsChanges],
) -> AbstractAsyncContextManager[HsmsConnection]: ...
@asynccontextmanager
async def open_hsms(
    *given: Any,
    dial: Dial | None = None,
    random: Random | None = None,
    tls: Tls | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
    **changes: Unpack[SettingsChanges],
) -> AsyncIterator[HsmsConnection]:
    """Connect and select; the block gets the selected connection.

    ``open_hsms(host, port)``, ``open_hsms(settings)`` or ``open_hsms(host, port, settings)``, and
    any setting by name: ``t3=10``. ``dial`` replaces the TCP connect by any async callable that
    returns a ``trio.abc.Stream`` or raises ``OSError``; ``random`` seeds the first system bytes.
    ``tls``, a ``ssl.SSLContext`` or ``TlsFiles``, takes the place of the files in the settings.
    Raises ``ConnectError`` when it does not come up, ``SettingsError`` for a value out of range or
    an unknown setting. The exit of the block sends Separate.req; an exception of the block comes
    out as it is.

    ``record`` is a file into which all of it is recorded, or a ``hsms_engine.recorder.Recorder``
    that several share, or a list of such; when it cannot be written, the link goes on.
    ``black_box`` is a folder, or a ``hsms_engine.recorder.BlackBox``: what happened last is written
    there when the link is lost, or its breaker opens.
    """
    expect_trio("open_hsms()")
    driver, _ = make_driver(chosen_settings(given, changes), dial, random, tls, single_use=True)
    async with running(driver, record, black_box):
        await trio.lowlevel.checkpoint()
        connection = HsmsConnection(driver)
        async with closing(connection):
            await _connect(driver)
            yield connection


def _peer(settings: Settings) -> str:
    return address_text((settings.host, settings.port))


def make_driver(
    settings: Settings,
    dial: Dial | None,
    random: Random | None,
    tls: Tls | None,
    *,
    single_use: bool,
    kept: Kept | None = None,
    keeper: Keeper | None = None,
) -> tuple[Driver, TlsChoice]:
    """The driver of an active link, not running yet, and its TLS.

    ``keeper`` asks for the lease of the link, when it has one. Raises ``SettingsError`` when the
    files of TLS cannot be used.
    """
    # trio's, but also for other threads, which ask for statistics.
    clock = trio.lowlevel.current_clock().current_time
    random = random or _RANDOM
    choice = TlsChoice(tls, listens=False)
    if keeper is None:
        engine = Engine(
            ACTIVE_LINK,
            settings,
            clock=clock,
            random=random,
            peer=_peer,
            single_use=single_use,
            kept=kept,
        )
        dialling = _Dialling(engine, dial, choice)
        driver = Driver(engine, dialling.dial)
    else:
        engine = owned = OwnedEngine(
            settings,
            lease=keeper.times,
            lease_clock=keeper.clock,
            clock=clock,
            random=random,
            peer=_peer,
            kept=kept,
        )
        dialling = _Dialling(engine, dial, choice, fence := Fence(owned.may_send))
        driver = Driver(engine, dialling.dial, ask=keeper.ask)
        keeper.keep(owned, driver, fence)
    choice.check(settings)
    dialling.driver = driver
    write_logs(driver)
    return driver, choice


class _Dialling:
    """How a driver dials: over TCP or as the program wants, with TLS or without."""

    __slots__ = ("_choice", "_engine", "_fence", "_given", "driver")

    driver: Driver

    def __init__(
        self, engine: Engine, given: Dial | None, choice: TlsChoice, fence: Fence | None = None
    ) -> None:
        """``fence`` is before the streams of a link that a lease decides about."""
        self._engine = engine
        self._given = given
        self._choice = choice
        self._fence = fence

    async def dial(self, began: Began) -> tuple[trio.abc.Stream, GiveBack]:
        self.driver.certificate = None
        stream, give_back, self.driver.certificate = await dial_tls(
            self._plain, began, self._choice, self._engine.settings
        )
        return stream, give_back

    async def _plain(self, began: Began) -> tuple[trio.abc.Stream, GiveBack]:
        if self._fence is None:
            return await self._unfenced(began)
        return await self._fence.around(partial(self._unfenced, began, self._fence.may_send))

    async def _unfenced(
        self, began: Began, may_dial: Callable[[], bool] = always
    ) -> tuple[trio.abc.Stream, GiveBack]:
        if self._given is not None:
            began({})
            if not may_dial():
                raise lease_over()
            return await self._given(), lambda: None
        # The settings are read at each attempt, because the address may have changed.
        settings = self._engine.settings
        local = Local(settings.local_host, settings.local_port)
        return await dial_tcp(settings.host, settings.port, began, local, may_dial)


async def _connect(driver: Driver) -> None:
    """Make the one attempt. Raises ``ConnectError`` when it fails."""
    engine = driver.engine
    engine.enable()
    driver.turn()
    await driver.until(lambda: engine.times_selected > 0)
    if isinstance(engine.last_error, ConnectError):
        raise engine.last_error


def recording(
    record: RecordTo | None, black_box: BlackBoxIn | None, of: Driver | HsmsServer
) -> Recording | None:
    """The recording of a link or a server, for as long as it lives; None without one."""
    if record is None and black_box is None:
        return None
    # Not every program records.
    from hsms_engine.recorder.recording import Recording

    return Recording(record, black_box, of)


class running:  # noqa: N801  # it is used like a function
    """Run ``driver`` for a block, which gets a nursery for other tasks, from the first checkpoint.

    A cancellation from outside reaches the block and the tasks, not the driver: a block may need
    many steps to unwind, and what it does at its end needs the connection.
    """

    __slots__ = ("_block", "_driver", "_nursery", "_recording", "_scope")

    _nursery: trio.Nursery

    def __init__(
        self,
        driver: Driver,
        record: RecordTo | None = None,
        black_box: BlackBoxIn | None = None,
    ) -> None:
        self._driver = driver
        self._recording = recording(record, black_box, driver)
        self._scope = trio.CancelScope(shield=True)
        self._block = open_bare_nursery()

    async def _run(self) -> None:
        with self._scope:
            await self._driver.run()

    async def __aenter__(self) -> trio.Nursery:
        if self._recording is not None:
            self._recording.begin()
        self._nursery = await self._block.__aenter__()
        self._nursery.start_soon(self._run)
        return self._nursery

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        self._scope.cancel()
        if error is None:
            self._nursery.cancel_scope.cancel()
        try:
            return await self._block.__aexit__(kind, error, traceback)
        finally:
            if self._recording is not None:
                await self._recording.end()


class closing:  # noqa: N801  # it is used like a function
    """Close at the exit of a block, as ``aclose`` does. An exception of the block comes out bare.

    The exit waits also when the block has raised. When it is cancelled, it does not wait:
    Separate.req is sent if that is possible at once.
    """

    __slots__ = ("_messaging",)

    def __init__(self, messaging: Messaging) -> None:
        self._messaging = messaging

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(
        self, _kind: object, error: BaseException | None, _traceback: object
    ) -> None:
        if error is None:
            await self._messaging.aclose()
            return
        self._messaging.close_soon()
        if not is_cancellation(error):
            with contextlib.suppress(trio.Cancelled):
                await self._messaging.until_closed()
