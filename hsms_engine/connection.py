"""``open_hsms``: one connection, dialled and selected, for as long as an ``async with`` block.

It is never dialled again: when it is over, its calls raise the reason. A link that reconnects is in
``hsms_engine.link``.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from typing import Any, Unpack, overload

import trio

from hsms_engine.driver.dialling import Began, GiveBack
from hsms_engine.driver.driver import Driver
from hsms_engine.driver.loop import expect_trio
from hsms_engine.driver.tcp import Dial, address_text, dial_tcp
from hsms_engine.driver.tls import dial_tls
from hsms_engine.driver.tls_files import Tls, TlsChoice
from hsms_engine.errors import ConnectError, ConnectionLostError
from hsms_engine.messaging import Messaging
from hsms_engine.nursery import is_cancellation, open_bare_nursery
from hsms_engine.protocol.engine import Engine
from hsms_engine.protocol.epoch import Primary
from hsms_engine.protocol.saving import Kept
from hsms_engine.settings import Settings, SettingsChanges, chosen_settings
from hsms_engine.traffic import write_logs
from statecharts.hsms import ACTIVE_LINK


class HsmsConnection(Messaging):
    """One selected connection, active or passive. Iterating yields the primaries received."""

    def __aiter__(self) -> HsmsConnection:
        return self

    async def __anext__(self) -> Primary:
        """The next primary, as ``receive`` gives it. Ends when the peer has separated."""
        try:
            return await self.receive()
        except ConnectionLostError:
            separated = self._engine.session_ended_by == "separate_req_received"
            if separated and self._engine.dropped() is None:
                raise StopAsyncIteration from None
            raise

    async def receive(self) -> Primary:
        """The next primary. When cancelled, none is lost.

        Raises ``ConnectionLostError`` when the peer has separated, when the connection was lost,
        or is over and primaries that waited were dropped (``server_inbox_bytes``), ``ClosedError``
        when you closed it.
        """
        self._check_task("receive()")
        primary = await self._driver.next_primary()
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
    **changes: Unpack[SettingsChanges],
) -> AbstractAsyncContextManager[HsmsConnection]: ...
@asynccontextmanager
async def open_hsms(
    *given: Any,
    dial: Dial | None = None,
    random: Random | None = None,
    tls: Tls | None = None,
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
    """
    expect_trio("open_hsms()")
    driver, _ = make_driver(chosen_settings(given, changes), dial, random, tls, single_use=True)
    async with running(driver):
        connection = HsmsConnection(driver)
        async with closing(connection):
            await _connect(driver)
            yield connection


def make_driver(
    settings: Settings,
    dial: Dial | None,
    random: Random | None,
    tls: Tls | None,
    *,
    single_use: bool,
    kept: Kept | None = None,
) -> tuple[Driver, TlsChoice]:
    """The driver of an active link, not running yet, and its TLS.

    Raises ``SettingsError`` when the files of TLS cannot be used.
    """

    def peer(current: Settings) -> str:
        return address_text((current.host, current.port))

    engine = Engine(
        ACTIVE_LINK,
        settings,
        # trio's, but also for other threads, which ask for statistics.
        clock=trio.lowlevel.current_clock().current_time,
        random=random or Random(),
        peer=peer,
        single_use=single_use,
        kept=kept,
    )

    choice = TlsChoice(tls, listens=False)
    choice.check(settings)

    async def dial_settings(began: Began) -> tuple[trio.abc.Stream, GiveBack]:
        # The settings are read at each attempt, because the address may have changed.
        return await dial_tcp(engine.settings.host, engine.settings.port, began)

    async def dial_at_once(began: Began) -> tuple[trio.abc.Stream, GiveBack]:
        assert dial is not None
        began({})
        return await dial(), lambda: None

    plain = dial_at_once if dial else dial_settings

    async def dial_secured(began: Began) -> tuple[trio.abc.Stream, GiveBack]:
        driver.certificate = None
        stream, give_back, driver.certificate = await dial_tls(
            plain, began, choice, engine.settings
        )
        return stream, give_back

    driver = Driver(engine, dial_secured)
    write_logs(driver)
    return driver, choice


async def _connect(driver: Driver) -> None:
    """Make the one attempt. Raises ``ConnectError`` when it fails."""
    engine = driver.engine
    engine.enable()
    driver.turn()
    await driver.until(lambda: engine.times_selected > 0)
    if isinstance(engine.last_error, ConnectError):
        raise engine.last_error


@asynccontextmanager
async def running(driver: Driver) -> AsyncIterator[trio.Nursery]:
    """Run ``driver`` for a block, which gets a nursery for other tasks.

    A cancellation from outside reaches the block and the tasks, not the driver: a block may need
    many steps to unwind, and what it does at its end needs the connection.
    """
    scope = trio.CancelScope(shield=True)

    async def run() -> None:
        with scope:
            await driver.run()

    async with open_bare_nursery() as nursery:
        nursery.start_soon(run)
        try:
            await trio.lowlevel.checkpoint()
            yield nursery
        finally:
            scope.cancel()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def closing(messaging: Messaging) -> AsyncIterator[None]:
    """Close at the exit of a block, as ``aclose`` does. An exception of the block comes out bare.

    The exit waits also when the block has raised. When it is cancelled, it does not wait:
    Separate.req is sent if that is possible at once.
    """
    try:
        yield
    except BaseException as error:
        messaging.close_soon()
        if not is_cancellation(error):
            with contextlib.suppress(trio.Cancelled):
                await messaging.until_closed()
        raise
    await messaging.aclose()
