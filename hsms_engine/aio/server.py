"""``serve_hsms`` for asyncio: one listener for many peers, and a task for each handler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Unpack, overload

from hsms_engine import connection, server
from hsms_engine.aio.block import held_open
from hsms_engine.aio.callbacks import Callbacks, body_size
from hsms_engine.aio.connection import HsmsConnection
from hsms_engine.aio.events import EventReader
from hsms_engine.aio.tasks import Runner
from hsms_engine.aio.wait import act, thread_for_loop, wait_for
from hsms_engine.doors.held import HeldServer
from hsms_engine.doors.serving import serving
from hsms_engine.driver.tls_files import Tls
from hsms_engine.events import ServerEvent
from hsms_engine.protocol.traffic import Traffic
from hsms_engine.settings import Settings, SettingsChanges

if TYPE_CHECKING:
    from hsms_engine.recorder import BlackBoxIn, RecordTo

Handler = Callable[[HsmsConnection], Awaitable[object]]


class HsmsServer(HeldServer):
    """A listening passive end."""

    @property
    def connections(self) -> list[HsmsConnection]:
        """The open ones, selected or not, in the order accepted."""
        return [HsmsConnection(self._thread, each) for each in self._held.connections]

    def events(self) -> EventReader[ServerEvent]:
        """A new reader of what becomes of each peer, from the present state on."""
        return EventReader(self._thread, self, self._held.events)

    def on_message(self, callback: Callable[[Traffic], None]) -> None:
        """``HsmsConnection.on_message`` of all connections, those that are open and all later."""
        tell = Callbacks(
            self._held._teller, "on_message", callback, body_size, lambda: self.settings.inbox_bytes
        )
        self._thread.soon(lambda: self._held.on_message(tell))

    def configure(
        self, settings: Settings | None = None, /, **changes: Unpack[SettingsChanges]
    ) -> asyncio.Future[None]:
        """Change settings of the running server; all of them or, on an error, none."""
        return act(self._thread, lambda: self._held.configure(settings, **changes))

    async def aclose(self) -> None:
        """Stop listening and separate from every peer."""
        await wait_for(self._thread, self._held.aclose)

    async def wait_closed(self) -> None:
        """Wait until it is closed and all handlers have ended.

        With ``raise_errors``, raises what a handler has raised.
        """
        await wait_for(self._thread, self._hold.until_over)


@overload
def serve_hsms(
    handler: Handler,
    host: str,
    port: int,
    settings: Settings = ...,
    /,
    *,
    random: Random | None = None,
    raise_errors: bool = False,
    tls: Tls | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
    **changes: Unpack[SettingsChanges],
) -> AbstractAsyncContextManager[HsmsServer]: ...
@overload
def serve_hsms(
    handler: Handler,
    settings: Settings = ...,
    /,
    *,
    random: Random | None = None,
    raise_errors: bool = False,
    tls: Tls | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
    **changes: Unpack[SettingsChanges],
) -> AbstractAsyncContextManager[HsmsServer]: ...
@asynccontextmanager
async def serve_hsms(
    handler: Handler,
    /,
    *given: Any,
    random: Random | None = None,
    raise_errors: bool = False,
    tls: Tls | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
    **changes: Unpack[SettingsChanges],
) -> AsyncIterator[HsmsServer]:
    """Listen, and serve every peer: ``async with serve_hsms(handler, port=5000) as server``.

    ``await handler(connection)`` runs in a task of this event loop for each connection that is
    selected; when it returns, the connection is separated. All else is as for
    ``hsms_engine.serve_hsms``. The exit of the block separates from every peer, cancels the
    handlers and waits until they have ended.
    """
    thread = thread_for_loop()
    run = Runner(thread, handler)

    async def handle(held: connection.HsmsConnection) -> None:
        await run(HsmsConnection(thread, held))

    serve = partial(
        server.serve_hsms,
        handle,
        *given,
        random=random,
        raise_errors=raise_errors,
        tls=tls,
        record=record,
        black_box=black_box,
        **changes,
    )
    async with held_open(thread, lambda: serving(serve)) as (hold, held):
        yield HsmsServer(thread, hold, held)
