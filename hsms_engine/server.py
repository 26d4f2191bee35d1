"""``serve_hsms``: the passive end. One listener stays open, and each peer gets a connection.

HSMS-SS has one session: while one connection is selected, the Select.req of another is answered
with status 3, and that other connection is closed. ``max_sessions`` allows more selected
connections, for a simulator of several tools behind one port.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING, Any, Unpack, overload

import trio

from hsms_engine.connection import HsmsConnection
from hsms_engine.driver.driver import Driver
from hsms_engine.driver.tcp import Listening, listen_tcp
from hsms_engine.errors import HsmsError
from hsms_engine.nursery import open_bare_nursery
from hsms_engine.protocol.engine import Engine
from hsms_engine.protocol.entity import Entity
from hsms_engine.settings import Settings, SettingsChanges, chosen_settings
from statecharts.hsms import PASSIVE_LINK

if TYPE_CHECKING:
    from trio import TaskStatus

_LOG = logging.getLogger("hsms_engine.server")

Handler = Callable[[HsmsConnection], Awaitable[object]]


class HsmsServer:
    """A listening passive end.

    ``connections`` are the open ones, selected or not, in the order accepted. ``accepted`` counts
    the connections that were served, ``turned_away`` those above ``max_connections``, and
    ``never_selected`` those that were over before they were selected.
    """

    def __init__(self, listener: Listening, settings: Settings, random: Random) -> None:
        self._listener = listener
        self._random = random
        self._scope = trio.CancelScope()
        self.settings = settings
        self.entity = Entity(settings.max_sessions)
        self.connections: list[HsmsConnection] = []
        self.accepted = 0
        self.turned_away = 0
        self.never_selected = 0

    @property
    def address(self) -> str:
        """``host:port``, or the path of a Unix socket."""
        return self._listener.address

    @property
    def port(self) -> int:
        """The TCP port. When the settings have 0, it is the port that the system has chosen."""
        return self._listener.port

    async def aclose(self) -> None:
        """Stop listening and separate from every peer. Then ``serve_hsms`` returns."""
        self._listener.close()
        try:
            async with trio.open_nursery() as nursery:
                for connection in list(self.connections):
                    nursery.start_soon(connection.aclose)
        finally:
            self._scope.cancel()

    async def serve(self, handler: Handler) -> None:
        """Accept connections until closed or cancelled."""
        with self._scope:
            async with open_bare_nursery() as nursery:
                while True:
                    try:
                        stream, peer = await self._listener.accept()
                    except trio.ClosedResourceError:
                        # ``aclose`` has closed it, and cancels this task when it has separated.
                        await trio.sleep_forever()
                    if len(self.connections) >= self.settings.max_connections:
                        self.turned_away += 1
                        await trio.aclose_forcefully(stream)
                        continue
                    self.accepted += 1
                    driver = self._make_driver(peer)
                    connection = HsmsConnection(driver)
                    self.connections.append(connection)
                    nursery.start_soon(self._serve_one, handler, driver, connection, stream)

    def _make_driver(self, peer: str) -> Driver:
        engine = Engine(
            PASSIVE_LINK,
            self.settings,
            clock=trio.current_time,
            random=self._random,
            peer=lambda _: peer,
            entity=self.entity,
        )
        return Driver(engine, None)

    async def _serve_one(
        self,
        handler: Handler,
        driver: Driver,
        connection: HsmsConnection,
        stream: trio.abc.Stream,
    ) -> None:
        engine = driver.engine
        async with open_bare_nursery() as nursery:
            nursery.start_soon(self._run, driver, connection, stream)
            await driver.until(lambda: engine.times_selected > 0)
            if not engine.times_selected:
                self.never_selected += 1
                why = engine.last_error or "refused, or closed by a call"
                _LOG.info("%s: never selected: %s", connection.peer, why)
            else:
                try:
                    await handler(connection)
                except* HsmsError as errors:
                    # Only this connection is closed. The error is logged as text, because a log
                    # record that is kept must not keep the connection.
                    if _LOG.isEnabledFor(logging.INFO):
                        why = "; ".join(str(error) for error in errors.exceptions)
                        _LOG.info("%s: handler ended: %s", connection.peer, why)
                await connection.aclose()

    async def _run(
        self, driver: Driver, connection: HsmsConnection, stream: trio.abc.Stream
    ) -> None:
        """Run a connection. When it is over, its place is free, also while its handler runs on."""
        try:
            await driver.run_accepted(stream)
        finally:
            self.connections.remove(connection)


@overload
async def serve_hsms(
    handler: Handler,
    host: str,
    port: int,
    settings: Settings = ...,
    /,
    *,
    listener: Listening | None = None,
    random: Random | None = None,
    task_status: TaskStatus[HsmsServer] = ...,
    **changes: Unpack[SettingsChanges],
) -> None: ...
@overload
async def serve_hsms(
    handler: Handler,
    settings: Settings = ...,
    /,
    *,
    listener: Listening | None = None,
    random: Random | None = None,
    task_status: TaskStatus[HsmsServer] = ...,
    **changes: Unpack[SettingsChanges],
) -> None: ...
async def serve_hsms(
    handler: Handler,
    /,
    *given: Any,
    listener: Listening | None = None,
    random: Random | None = None,
    task_status: TaskStatus[HsmsServer] = trio.TASK_STATUS_IGNORED,
    **changes: Unpack[SettingsChanges],
) -> None:
    """Listen on the host and port of the settings and serve every peer that connects.

    ``serve_hsms(handler, settings)``, ``serve_hsms(handler, host, port)`` or both, and any setting
    by name, as for ``open_hsms``; ``listener`` replaces the TCP listener.

    ``await handler(connection)`` runs in its own task when a connection is selected; when it
    returns, the connection is separated. When the handler raises an ``HsmsError``, only its own
    connection is closed, and the error is logged. Any other exception stops the server and comes
    out of ``serve_hsms``.

    Use ``server = await nursery.start(serve_hsms, handler, settings)``. Raises ``OSError`` when it
    cannot listen on the address, ``SettingsError`` for a value out of range or an unknown setting.
    """
    settings = chosen_settings(given, changes)
    listening = listener or await listen_tcp(settings.host, settings.port)
    server = HsmsServer(listening, settings, random or Random())
    try:
        task_status.started(server)
        await server.serve(handler)
    finally:
        listening.close()
