"""``serve_hsms``: the passive end. One listener stays open, and each peer gets a connection.

HSMS-SS has one session: while one connection is selected, the Select.req of another is answered
with status 3, and that other connection is closed. ``max_sessions`` allows more selected
connections, for a simulator of several tools behind one port.

Invariants:

* What a peer does, and what a handler raises, ends its own connection and no other.
* At most ``max_connections`` are open. As many handlers may run on after the end of their
  connections; for one more, the one that has outlived its connection for longest is cancelled.
* What waits for all handlers together is at most ``server_inbox_bytes``.
* Connections that were never selected give way to new ones, so they lock nobody out.
"""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Unpack, overload

import trio

from hsms_engine.connection import HsmsConnection
from hsms_engine.driver.driver import Driver
from hsms_engine.driver.tcp import Listening, Stream, host_of, listen_tcp
from hsms_engine.errors import ConnectionLostError, HsmsError
from hsms_engine.nursery import open_bare_nursery
from hsms_engine.protocol.engine import Engine
from hsms_engine.protocol.entity import Entity
from hsms_engine.settings import Settings, SettingsChanges, chosen_settings, warn_who_listens
from statecharts.hsms import PASSIVE_LINK

if TYPE_CHECKING:
    from trio import TaskStatus

_LOG = logging.getLogger("hsms_engine.server")

Handler = Callable[[HsmsConnection], Awaitable[object]]


@dataclass(slots=True, eq=False)
class _Place:
    """A connection that was accepted, until its handler has ended. ``number`` is its order."""

    number: int
    host: str
    driver: Driver
    connection: HsmsConnection
    # Around everything that is done for this connection.
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class HsmsServer:
    """A listening passive end.

    Of connections: ``accepted`` counts those that were served, ``turned_away`` those for which
    there was no place, ``never_selected`` those that were over before they were selected,
    ``gave_way`` those of these that were closed to make place for another, and
    ``failed_connections`` those ended by an exception that is not the handler's.

    Of handlers: ``failed_handlers`` counts those that raised, ``cancelled_handlers`` those that
    were cancelled because too many had outlived their connections. ``dropped_primaries`` counts
    the primaries that were dropped for ``server_inbox_bytes``.
    """

    def __init__(
        self, listener: Listening, settings: Settings, random: Random, *, raise_errors: bool
    ) -> None:
        self._listener = listener
        self._random = random
        # What ends only its own connection.
        self._contained: type[Exception] = HsmsError if raise_errors else Exception
        self._scope = trio.CancelScope()
        self.settings = settings
        self.entity = Entity(settings.max_sessions, self._make_room)
        # Those that are open, in the order accepted, and how many there are of each address.
        self._open: dict[HsmsConnection, _Place] = {}
        self._of_address: Counter[str] = Counter()
        # By address, those of them that were never selected, oldest first. None is empty.
        self._unselected: dict[str, dict[_Place, None]] = {}
        # Those that are over while their handlers run on, the one that ended first at the front.
        self._outliving: dict[_Place, None] = {}
        self._handling: set[_Place] = set()
        self.accepted = 0
        self.turned_away = 0
        self.never_selected = 0
        self.gave_way = 0
        self.failed_connections = 0
        self.failed_handlers = 0
        self.cancelled_handlers = 0
        self.dropped_primaries = 0

    @property
    def address(self) -> str:
        """``host:port``, or the path of a Unix socket."""
        return self._listener.address

    @property
    def port(self) -> int:
        """The TCP port. When the settings have 0, it is the port that the system has chosen."""
        return self._listener.port

    @property
    def connections(self) -> list[HsmsConnection]:
        """The open ones, selected or not, in the order accepted."""
        return list(self._open)

    @property
    def handlers(self) -> int:
        """How many handlers run."""
        return len(self._handling)

    @property
    def outliving(self) -> int:
        """How many of the handlers run though their connections are over."""
        return len(self._outliving)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the primaries that wait, as ``server_inbox_bytes`` counts them."""
        return self.entity.waiting_bytes

    async def aclose(self) -> None:
        """Stop listening and separate from every peer. Then ``serve_hsms`` returns."""
        self._listener.close()
        try:
            async with trio.open_nursery() as nursery:
                for connection in self.connections:
                    nursery.start_soon(_close, connection)
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
                    if self._make_place(peer):
                        nursery.start_soon(self._serve_one, handler, self._enter(peer), stream)
                    else:
                        self.turned_away += 1
                        # In a task of its own: this one goes on accepting.
                        nursery.start_soon(trio.aclose_forcefully, stream)

    # Places

    def _make_place(self, peer: str) -> bool:
        """Whether there is a place for this peer; perhaps another connection gives way."""
        host, most = host_of(peer), self.settings.max_connections
        limit = self.settings.max_connections_per_address
        if limit is not None and self._of_address[host] >= limit:
            return self._give_way(host, peer)
        count = len(self._open)
        if count < most and count + len(self._outliving) < 2 * most:
            return True
        if not self._unselected:
            return False
        # Of several addresses that have as many, the one whose connection is the oldest.
        return self._give_way(max(self._unselected, key=self._fullness), peer)

    def _fullness(self, host: str) -> tuple[int, int]:
        unselected = self._unselected[host]
        return len(unselected), -next(iter(unselected)).number

    def _give_way(self, host: str, peer: str) -> bool:
        """Close the oldest connection of ``host`` that was never selected, if there is one."""
        for place in self._unselected.get(host, ()):
            if place.driver.engine.times_selected:
                # Selected in this turn.
                continue
            self.gave_way += 1
            self._count_unselected(place, f"gave way to {peer}")
            self._leave(place)
            place.scope.cancel()
            return True
        return False

    def _enter(self, peer: str) -> _Place:
        engine = Engine(
            PASSIVE_LINK,
            self.settings,
            clock=trio.current_time,
            random=self._random,
            peer=lambda _: peer,
            entity=self.entity,
        )
        driver = Driver(engine, None, self._contest)
        place = _Place(self.accepted, host_of(peer), driver, HsmsConnection(driver))
        self.accepted += 1
        self._open[place.connection] = place
        self._of_address[place.host] += 1
        self._unselected.setdefault(place.host, {})[place] = None
        return place

    def _contest(self) -> None:
        """A peer has asked for a session, and others have all of them: each of them is told."""
        for place in list(self._open.values()):
            place.driver.session_wanted()

    def _leave(self, place: _Place) -> None:
        """It is over, or gives way: others can have its place. The second time changes nothing."""
        if self._open.pop(place.connection, None) is None:
            return
        self._of_address[place.host] -= 1
        if not self._of_address[place.host]:
            del self._of_address[place.host]
        self._forget_unselected(place)

    def _forget_unselected(self, place: _Place) -> None:
        unselected = self._unselected.get(place.host, {})
        unselected.pop(place, None)
        if not unselected:
            self._unselected.pop(place.host, None)

    def _count_unselected(self, place: _Place, why: object) -> None:
        self.never_selected += 1
        _LOG.info("%s: never selected: %s", place.connection.peer, why)

    # One connection

    async def _serve_one(self, handler: Handler, place: _Place, stream: Stream) -> None:
        engine, driver = place.driver.engine, place.driver
        try:
            with place.scope:
                async with open_bare_nursery() as nursery:
                    nursery.start_soon(self._run, place, stream)
                    await driver.until(lambda: engine.times_selected > 0)
                    self._forget_unselected(place)
                    if engine.times_selected:
                        await self._handle(handler, place)
                        await _close(place.connection)
                    else:
                        why = engine.last_error or "refused, or closed by a call"
                        self._count_unselected(place, why)
        except* self._contained as errors:
            self.failed_connections += 1
            _log_defect(place.connection.peer, "ended, because it failed itself:", errors)
        finally:
            # Nobody reads them any more, and they must not take the room of others.
            driver.drop_inbox()

    async def _run(self, place: _Place, stream: Stream) -> None:
        """Run a connection. When it is over, its place is free, also while its handler runs on."""
        try:
            await place.driver.run_accepted(stream)
        finally:
            self._leave(place)
            if place in self._handling:
                self._outlive(place)

    async def _handle(self, handler: Handler, place: _Place) -> None:
        self._handling.add(place)
        if place.connection not in self._open:
            self._outlive(place)
        try:
            await handler(place.connection)
        except* self._contained as errors:
            self.failed_handlers += 1
            expected, defects = errors.split(HsmsError)
            if expected is not None:
                _log_expected(place.connection.peer, expected)
            if defects is not None:
                _log_defect(place.connection.peer, "closed, because its handler failed:", defects)
        finally:
            self._handling.remove(place)
            self._outliving.pop(place, None)

    # What outlives a connection

    def _outlive(self, place: _Place) -> None:
        """Its handler runs on after the end of its connection."""
        self._outliving[place] = None
        most = self.settings.max_connections
        if len(self._outliving) <= most:
            return
        longest = next(each for each in self._outliving if not each.scope.cancel_called)
        longest.scope.cancel()
        self.cancelled_handlers += 1
        _LOG.warning(
            "%s: its handler is cancelled: its connection has been over for longest, and more than "
            "%s such handlers run (max_connections)",
            longest.connection.peer,
            most,
        )

    def _make_room(self, held: int) -> bool:
        """Drop the primaries that wait on one connection. Returns whether there was one.

        It is the connection that has been over for longest, or else the one that holds most, if
        that is more than ``held`` bytes; that one is closed.
        """
        for place in self._outliving:
            if count := place.driver.drop_inbox():
                self.dropped_primaries += count
                _LOG.warning(
                    "%s: %s primaries that waited on a connection that is over are dropped: others "
                    "need their room (server_inbox_bytes)",
                    place.connection.peer,
                    count,
                )
                return True
        engines = {place.driver.engine.held_bytes: place for place in self._open.values()}
        most = max(engines, default=0)
        if most <= held:
            return False
        greatest = engines[most]
        greatest.driver.fail(
            f"the inboxes of the server are full: of all its connections this one has most in "
            f"them, {most} bytes, and nobody takes them (server_inbox_bytes)"
        )
        count = greatest.driver.drop_inbox()
        self.dropped_primaries += count
        return count > 0


# Errors are logged as text, because a log record that is kept must not keep the connection.


async def _close(connection: HsmsConnection) -> None:
    """Close it; what could not be written is no error of the server."""
    try:
        await connection.aclose()
    except ConnectionLostError as error:
        _LOG.warning("%s", str(error))


def _log_expected(peer: str, errors: ExceptionGroup[HsmsError]) -> None:
    if _LOG.isEnabledFor(logging.INFO):
        why = "; ".join(str(error) for error in errors.exceptions)
        _LOG.info("%s: handler ended: %s", peer, why)


def _log_defect(peer: str, what: str, errors: ExceptionGroup[Exception]) -> None:
    if _LOG.isEnabledFor(logging.ERROR):
        error = errors.exceptions[0] if len(errors.exceptions) == 1 else errors
        text = "".join(traceback.format_exception(error))
        _LOG.error("%s: %s", peer, f"{what}\n{text}")


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
    raise_errors: bool = False,
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
    raise_errors: bool = False,
    task_status: TaskStatus[HsmsServer] = ...,
    **changes: Unpack[SettingsChanges],
) -> None: ...
async def serve_hsms(
    handler: Handler,
    /,
    *given: Any,
    listener: Listening | None = None,
    random: Random | None = None,
    raise_errors: bool = False,
    task_status: TaskStatus[HsmsServer] = trio.TASK_STATUS_IGNORED,
    **changes: Unpack[SettingsChanges],
) -> None:
    """Listen on the host and port of the settings and serve every peer that connects.

    ``serve_hsms(handler, settings)``, ``serve_hsms(handler, host, port)`` or both, and any setting
    by name, as for ``open_hsms``; ``listener`` replaces the TCP listener.

    ``await handler(connection)`` runs in its own task when a connection is selected; when it
    returns, the connection is separated. When the handler raises an ``Exception``, only its own
    connection is closed, and the error is logged: an ``HsmsError`` at INFO, any other at ERROR with
    its traceback. With ``raise_errors``, which is for tests, any other than an ``HsmsError`` stops
    the server and comes out of ``serve_hsms``.

    Warns when a session whose peer has vanished would never be free (``Settings.second_host``).

    Use ``server = await nursery.start(serve_hsms, handler, settings)``. Raises ``OSError`` when it
    cannot listen on the address, ``SettingsError`` for a value out of range or an unknown setting.
    """
    settings = chosen_settings(given, changes)
    warn_who_listens(settings)
    listening = listener or await listen_tcp(settings.host, settings.port)
    server = HsmsServer(listening, settings, random or Random(), raise_errors=raise_errors)
    try:
        task_status.started(server)
        await server.serve(handler)
    finally:
        listening.close()
