"""``serve_hsms`` for threads: one listener for many peers, and a thread for each handler."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Unpack, overload

import trio

from hsms_engine import connection, server
from hsms_engine.blocking.block import Block
from hsms_engine.blocking.connection import HsmsConnection
from hsms_engine.blocking.events import EventReader
from hsms_engine.blocking.wait import now, wait, wait_for
from hsms_engine.blocking.worker import Worker
from hsms_engine.doors.call import Call
from hsms_engine.doors.contained import contained
from hsms_engine.doors.held import HeldServer
from hsms_engine.doors.hold import Hold
from hsms_engine.doors.serving import serving
from hsms_engine.doors.thread import TrioThread, trio_thread
from hsms_engine.driver.tls_files import Tls
from hsms_engine.events import ServerEvent
from hsms_engine.protocol.traffic import Traffic
from hsms_engine.settings import Settings, SettingsChanges, chosen_settings

if TYPE_CHECKING:
    from hsms_engine.recorder import BlackBoxIn, RecordTo

Handler = Callable[[HsmsConnection], object]

# Threads beyond one for each session: for handlers that outlive their connections.
_MORE_THREADS = 8


class HsmsServer(HeldServer):
    """A listening passive end."""

    def __init__(
        self,
        thread: TrioThread,
        hold: Hold[server.HsmsServer],
        held: server.HsmsServer,
        follows: trio.CapacityLimiter | None,
    ) -> None:
        """``follows``: the threads of its handlers, when their number follows ``max_sessions``."""
        super().__init__(thread, hold, held)
        self._follows = follows

    @property
    def connections(self) -> list[HsmsConnection]:
        """The open ones, selected or not, in the order accepted."""
        return [HsmsConnection(self._thread, each) for each in self._held.connections]

    def events(self) -> EventReader[ServerEvent]:
        """A new reader of what becomes of each peer, from the present state on."""
        return EventReader(self._thread, self, self._held.events)

    def on_message(self, callback: Callable[[Traffic], None]) -> None:
        """``HsmsConnection.on_message`` of all connections, those that are open and all later."""
        now(self._thread, partial(self._held.on_message, contained(callback)))

    def configure(
        self, settings: Settings | None = None, /, **changes: Unpack[SettingsChanges]
    ) -> None:
        """Change settings of the running server; all of them or, on an error, none.

        As many threads as before are for handlers that outlive their sessions, unless ``threads``
        was given.
        """

        def configure() -> None:
            self._held.configure(settings, **changes)
            if self._follows is not None:
                self._follows.total_tokens = _threads_for(self._held.settings)

        now(self._thread, configure)

    def close(self, timeout: float | None = None) -> None:
        """Stop listening and separate from every peer."""

        def begin(call: Call[None]) -> None:
            call.begin(self._hold.leave_at_once)
            self._thread.run(call, self._held.aclose)

        wait(self._thread, begin, f"{self.address}: close", timeout)

    def wait_closed(self, timeout: float | None = None) -> None:
        """Wait until it is closed. Raises the error of a handler, with ``raise_errors``."""
        wait_for(self._thread, self._hold.until_over, f"{self.address}: wait_closed", timeout)


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
    threads: int | None = None,
    **changes: Unpack[SettingsChanges],
) -> AbstractContextManager[HsmsServer]: ...
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
    threads: int | None = None,
    **changes: Unpack[SettingsChanges],
) -> AbstractContextManager[HsmsServer]: ...
def serve_hsms(
    handler: Handler,
    /,
    *given: Any,
    random: Random | None = None,
    raise_errors: bool = False,
    tls: Tls | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
    threads: int | None = None,
    **changes: Unpack[SettingsChanges],
) -> AbstractContextManager[HsmsServer]:
    """Listen, and serve every peer: ``with serve_hsms(handler, port=5000) as server``.

    ``handler(connection)`` runs in a thread of its own for each connection that is selected; when
    it returns, the connection is separated. At most ``threads`` run at once: one for each session
    (``max_sessions``) and 8 more unless given. While all are taken, also by handlers that have
    outlived their connections, one more peer gets Select.rsp 3. All else is as for
    ``hsms_engine.serve_hsms``. The exit of the block separates from every peer; it does not wait
    for handlers.

    Raises ``ValueError`` when ``threads`` is not a whole number from 1 on.
    """
    chosen = chosen_settings(given, changes)
    if threads is not None and (type(threads) is not int or threads < 1):
        raise ValueError(f"threads={threads!r} is not a whole number from 1 on")
    serve_peer = contained(handler)
    limiter = trio.CapacityLimiter(threads or _threads_for(chosen))
    thread = trio_thread()

    async def serve_one(held: connection.HsmsConnection) -> None:
        run = partial(serve_peer, HsmsConnection(thread, held))
        await Worker(thread, run, held).run(limiter)

    serve = partial(
        server.serve_hsms,
        serve_one,
        chosen,
        random=random,
        raise_errors=raise_errors,
        tls=tls,
        record=record,
        black_box=black_box,
        handler_room=lambda: int(limiter.available_tokens),
    )

    def make(
        thread: TrioThread, hold: Hold[server.HsmsServer], held: server.HsmsServer
    ) -> HsmsServer:
        return HsmsServer(thread, hold, held, limiter if threads is None else None)

    return Block("serve_hsms", lambda: serving(serve), make, None)


def _threads_for(settings: Settings) -> int:
    """As many as sessions, and more for handlers that outlive theirs."""
    return settings.max_sessions + _MORE_THREADS
