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
* Who may not connect, or comes too often (``admission``), is closed before a byte is read. A TLS
  handshake needs a place, and is over before the engine sees a byte.
"""

from __future__ import annotations

import logging
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Unpack, overload

import trio

from hsms_engine.accepted import Place
from hsms_engine.admission import Rates, Sparing, is_allowed, networks, party
from hsms_engine.connection import HsmsConnection, recording
from hsms_engine.driver.driver import Driver
from hsms_engine.driver.event_reader import EventReader
from hsms_engine.driver.loop import Configuration, Loop, expect_trio
from hsms_engine.driver.tcp import (
    BROKEN,
    Listening,
    Peekable,
    Stream,
    addresses_of,
    host_of,
    listen_tcp,
    system_error,
)
from hsms_engine.driver.tls import take_leave
from hsms_engine.driver.tls_files import Tls, TlsChoice
from hsms_engine.errors import ClosedError, ConnectionLostError, HsmsError, SettingsError
from hsms_engine.events import (
    Closed,
    LinkEvent,
    PeerAccepted,
    PeerRefused,
    PeerTurnedAway,
    ServerEvent,
)
from hsms_engine.logs import Teller, alone, link_name
from hsms_engine.protocol.engine import Engine
from hsms_engine.protocol.entity import Entity
from hsms_engine.protocol.traffic import Traffic
from hsms_engine.server_statistics import ServerStatistics, Tally
from hsms_engine.settings import (
    Settings,
    SettingsChanges,
    chosen_settings,
    warn_who_is_let_in,
    warn_who_listens,
)
from hsms_engine.traffic import write_logs
from statecharts.hsms import PASSIVE_LINK
from statecharts.nursery import open_bare_nursery

if TYPE_CHECKING:
    from trio import TaskStatus

    from hsms_engine.health import ServerHealth
    from hsms_engine.recorder import BlackBoxIn, RecordTo

Handler = Callable[[HsmsConnection], Awaitable[object]]
# What the engine gets of a stream, and of its peer.
Wrap = Callable[[Stream, str], Stream]


class HsmsServer:
    """A listening passive end.

    Of connections: ``accepted`` counts those that got a place, ``turned_away`` those that got none:
    of these, ``gone_before`` those whose peers had closed before they were accepted,
    ``not_allowed`` those that ``allowed_networks`` keeps out, and ``too_frequent`` those above
    ``accept_rate`` or ``accept_rate_per_address``. ``never_selected`` counts those that were
    over before they were selected: of these, ``gave_way`` those that were closed to make place for
    another, ``failed_handshakes`` those without TLS in order, and ``refused_certificates`` those
    whose certificate may not be a session here. ``failed_connections`` counts those ended by an
    exception that is not the handler's.

    Of handlers: ``failed_handlers`` counts those that raised, ``cancelled_handlers`` those that
    were cancelled because too many had outlived their connections. ``dropped_primaries`` counts
    the primaries that were dropped for ``server_inbox_bytes``.
    """

    def __init__(
        self,
        listener: Listening,
        settings: Settings,
        random: Random,
        *,
        raise_errors: bool,
        handler_room: Callable[[], int] | None = None,
        tls: Tls | None = None,
        wrap: Wrap | None = None,
    ) -> None:
        """Raises ``SettingsError`` when the files of TLS cannot be used."""
        self._listener = listener
        self._tls = TlsChoice(tls, listens=True)
        self._tls.check(settings)
        self._wrap = wrap
        self._rates = Rates()
        self._sparing = Sparing()
        # Of the connections that are never selected.
        self._sparing_lives = Sparing()
        self._random = random
        # What ends only its own connection.
        self._contained: type[Exception] = HsmsError if raise_errors else Exception
        self._scope = trio.CancelScope()
        # trio's clock, but also for other threads.
        self._clock = trio.lowlevel.current_clock().current_time
        self._loop = Loop()
        self._configuration = Configuration(self._loop, self, self._expect_fit, self._use)
        self._is_closing = False
        # When it began to listen, or to close.
        self._since = self._clock()
        self._closed: Closed | None = None
        # Weak: a reader that its user does not keep is not kept here either.
        self._readers: weakref.WeakSet[EventReader[ServerEvent]] = weakref.WeakSet()
        self.settings = settings
        self._handler_room = handler_room
        self.entity = Entity(settings.max_sessions, self._make_room, self._can_serve)
        # Those that are open, in the order accepted, and how many there are of each address.
        self._open: dict[HsmsConnection, Place] = {}
        self._of_address: Counter[str] = Counter()
        # By address, those of them that were never selected, oldest first. None is empty.
        self._unselected: dict[str, dict[Place, None]] = {}
        # Those that are over while their handlers run on, the one that ended first at the front.
        self._outliving: dict[Place, None] = {}
        self._handling: set[Place] = set()
        self._tally = Tally()
        self._watchers: list[Callable[[Traffic], None]] = []
        self._attaching: list[Callable[[Driver], None]] = []
        self.accepted = 0
        self.turned_away = 0
        self.gone_before = 0
        self.not_allowed = 0
        self.too_frequent = 0
        self.never_selected = 0
        self.failed_handshakes = 0
        self.refused_certificates = 0
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

    @property
    def _teller(self) -> Teller:
        """For the doors: what writes in ``hsms_engine.link`` about this, in any thread."""
        return self._teller_of(self.address)

    def _teller_of(self, of: str) -> Teller:
        return Teller(link_name(self.settings.name, of, "passive"), 0)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    def statistics(self) -> ServerStatistics:
        """All counts, those of connections that are over included."""
        tally = self._tally
        found = [place.driver.engine.statistics() for place in tally.live]
        still_open = [place.driver.engine.statistics() for place in list(self._open.values())]
        return ServerStatistics(
            connections=len(still_open),
            selected=sum(each.phase == "selected" for each in still_open),
            handlers=self.handlers,
            outliving=self.outliving,
            open_transactions=sum(each.open_transactions for each in found),
            waiting_primaries=sum(each.waiting_primaries for each in found),
            waiting_bytes=self.waiting_bytes,
            queued_bytes=sum(each.queued_bytes for each in found),
            times_selected=tally.times_selected + sum(each.times_selected for each in found),
            accepted=self.accepted,
            turned_away=self.turned_away,
            gone_before=self.gone_before,
            not_allowed=self.not_allowed,
            too_frequent=self.too_frequent,
            never_selected=self.never_selected,
            failed_handshakes=self.failed_handshakes,
            refused_certificates=self.refused_certificates,
            gave_way=self.gave_way,
            failed_connections=self.failed_connections,
            failed_handlers=self.failed_handlers,
            cancelled_handlers=self.cancelled_handlers,
            dropped_primaries=self.dropped_primaries,
            counts=tally.counts(found),
        )

    def health(self) -> ServerHealth:
        """Whether it listens, since when, and how many peers have come.

        It waits for nothing, in any thread. Whether a host comes is the host's: a server without
        one is ready.
        """
        # Not every program asks.
        from hsms_engine.health.records import server_health

        statistics = self.statistics()
        return server_health(
            self.settings,
            self.address,
            connections=statistics.connections,
            selected=statistics.selected,
            is_listening=not self._is_closing,
            since_seconds=self._clock() - self._since,
        )

    def events(self) -> EventReader[ServerEvent]:
        """What becomes of each peer, in order: ``async for event in server.events()``.

        It begins with the present state: one event for each open connection, in the order accepted,
        with the time at which that happened. A reader that is more than ``events_size`` events
        behind gets ``Missed``. The loop ends with ``Closed``.
        """
        self._loop.check(self, "events()")
        reader: EventReader[ServerEvent] = EventReader(self._loop, _Told(self))
        latest = (place.latest for place in self._open.values())
        for event in (each for each in latest if each is not None):
            reader.put(event)
        if self._closed is not None:
            reader.put(self._closed)
            reader.close()
        else:
            self._readers.add(reader)
        return reader

    def configure(
        self, settings: Settings | None = None, /, **changes: Unpack[SettingsChanges]
    ) -> None:
        """Change settings of the running server; all of them or, on an error, none.

        They are in force at once, for open connections too, as ``HsmsLink.configure`` has it. Who
        is selected stays so when ``max_sessions`` is lowered, and who has a place keeps it. Raises
        ``SettingsError``, also for another ``host`` or ``port``, or ``ClosedError`` when it is
        closed. In another thread they are validated and handed over, to be in force soon.
        """
        self._configuration.change(settings, changes)

    def _expect_fit(self, settings: Settings) -> None:
        if self._is_closing:
            raise ClosedError(f"{self!r}: configure after close; open another one")
        for name in ("host", "port"):
            mine, other = getattr(self.settings, name), getattr(settings, name)
            if other != mine:
                raise SettingsError(
                    f"{name}={other!r} cannot be used by a server that listens with {name}={mine!r}"
                )
        self._tls.check(settings)

    def _use(self, settings: Settings) -> None:
        self.settings = settings
        self.entity.capacity = settings.max_sessions
        for place in self._open.values():
            place.use(settings)

    def on_message(self, callback: Callable[[Traffic], None]) -> None:
        """``HsmsConnection.on_message`` of all connections, those that are open and all later ones.

        One that raises is removed from all of them.
        """
        self._loop.check(self, "on_message()")
        self._watchers.append(callback)
        for place in self._open.values():
            place.driver.watch()

    @property
    def _source(self) -> HsmsServer:
        """For metrics: what has its counts, in any thread."""
        return self

    def _observe(self, attach: Callable[[Driver], None]) -> None:
        """Call ``attach`` with what runs each connection, open ones and later ones."""
        self._loop.check(self, "add()")
        self._attaching.append(attach)
        for place in self._open.values():
            attach(place.driver)

    @property
    def _is_over(self) -> bool:
        """For metrics: whether it has closed, and counts no more connections."""
        return self._closed is not None

    async def aclose(self) -> None:
        """Stop listening and separate from every peer. Then ``serve_hsms`` returns."""
        self._loop.check_task(self, "aclose()")
        self._begin_to_close()
        self._listener.close()
        try:
            async with trio.open_nursery() as nursery:
                for connection in self.connections:
                    nursery.start_soon(_close, connection)
        finally:
            self._scope.cancel()

    def _begin_to_close(self) -> None:
        if not self._is_closing:
            self._is_closing, self._since = True, self._clock()

    async def serve(self, handler: Handler) -> None:
        """Accept connections until closed or cancelled."""
        try:
            await self._serve(handler)
        finally:
            self._begin_to_close()
            self._closed = Closed(self._clock(), self.accepted)
            self._report(self._closed)
            for reader in self._readers:
                reader.close()

    async def _serve(self, handler: Handler) -> None:
        with self._scope:
            async with open_bare_nursery() as nursery:
                while True:
                    try:
                        stream, peer = await self._listener.accept()
                    except trio.ClosedResourceError:
                        # ``aclose`` has closed it, and cancels this task when it has separated.
                        await trio.sleep_forever()
                    why = self._is_gone(stream) or self._admit(peer) or self._make_place(peer)
                    if not why:
                        # No name for the place: it would keep it until the next one comes.
                        nursery.start_soon(
                            self._serve_one, handler, self._enter(peer, stream), stream
                        )
                    else:
                        self.turned_away += 1
                        self._report(PeerTurnedAway(self._clock(), 0, peer, why))
                        self._say_sparingly(peer, f"turned away: {why}")
                        # In a task of its own: this one goes on accepting.
                        nursery.start_soon(trio.aclose_forcefully, stream)

    # Who may come

    def _is_gone(self, stream: Stream) -> str:
        """That the peer has closed already: it can ask for nothing, so it gets no place."""
        match stream:
            case Peekable() if stream.is_over():
                self.gone_before += 1
                return "it had closed before it was accepted"
            case _:
                return ""

    def _admit(self, peer: str) -> str:
        """Why this peer may not connect, or not now; empty when it may."""
        host, settings = host_of(peer), self.settings
        if not is_allowed(host, networks(settings.allowed_networks)):
            self.not_allowed += 1
            return "its address is in none of the allowed_networks"
        rate, each = settings.accept_rate, settings.accept_rate_per_address
        why = self._rates.why_not(party(host), self._clock(), rate, each)
        self.too_frequent += bool(why)
        return why

    def _say_sparingly(self, peer: str, text: str) -> None:
        """Log what a peer may cause as often as it likes."""
        left_out = self._sparing.before(self._clock())
        if left_out is not None:
            more = f" ({left_out} more such lines were left out)" if left_out else ""
            self._teller_of(peer).say(logging.INFO, "%s%s", text, more)

    # TLS

    async def _secure(self, place: Place, stream: Stream) -> Stream | None:
        """The stream for the engine, with TLS if that is chosen; None when its peer fails."""
        try:
            tls = await place.shake_hands(stream, self._tls, self.settings)
        except trio.TooSlowError:
            self.failed_handshakes += 1
            t7 = self.settings.t7
            self._refuse(place, f"the TLS handshake was not over within T7 = {t7:g} s")
            return None
        except BROKEN as error:
            self.failed_handshakes += 1
            self._refuse(place, str(system_error(error) or error))
            await self._take_leave(stream)
            return None
        if tls is not None and (why := place.restrict(self.settings.tls_sessions)):
            self.refused_certificates += 1
            self._refuse(place, why)
            await self._take_leave(tls)
            return None
        secured = tls or stream
        return secured if self._wrap is None else self._wrap(secured, place.peer)

    def _refuse(self, place: Place, why: str) -> None:
        """Tell why there will be no connection."""
        place.why = why
        self._say_sparingly(place.peer, why)

    async def _take_leave(self, stream: Stream) -> None:
        """Let the peer read what TLS has told it."""
        with trio.move_on_after(self.settings.linger):
            await take_leave(stream)

    # Places

    def _make_place(self, peer: str) -> str:
        """Why there is no place for this peer; empty when there is one.

        Perhaps another connection gives way.
        """
        host, most = party(host_of(peer)), self.settings.max_connections
        limit = self.settings.max_connections_per_address
        if limit is not None and self._of_address[host] >= limit:
            if self._give_way(host, peer):
                return ""
            return f"its address has {limit} connections (max_connections_per_address)"
        count, outliving = len(self._open), len(self._outliving)
        if count < most and count + outliving < 2 * most:
            return ""
        # Of several addresses that have as many, the one whose connection is the oldest.
        fullest = max(self._unselected, key=self._fullness, default=None)
        if fullest is not None and self._give_way(fullest, peer):
            return ""
        return (
            f"{count} connections are open, and {outliving} handlers run on after the end of "
            f"theirs (max_connections = {most})"
        )

    def _fullness(self, host: str) -> tuple[int, int]:
        unselected = self._unselected[host]
        return len(unselected), -next(iter(unselected)).number

    def _give_way(self, host: str, peer: str) -> bool:
        """Close the oldest connection of ``host`` that was never selected, if there is one."""
        for place in self._unselected.get(host, ()):
            if place.driver.engine.times_selected:
                # Selected in this turn.
                continue
            # Unless it has ended in this pass, and is told.
            if place.latest is not None:
                self.gave_way += 1
                place.why = f"gave way to {peer}"
                self._say_sparingly(place.peer, f"gives way to {peer}")
                self._report(place.end(self._clock()))
            self._leave(place)
            place.scope.cancel()
            return True
        return False

    def _enter(self, peer: str, stream: Stream) -> Place:
        engine = Engine(
            PASSIVE_LINK,
            self.settings,
            clock=self._clock,
            random=self._random,
            peer=lambda _: peer,
            entity=self.entity,
        )
        driver = Driver(engine, None, lambda: self._contest(place))
        driver.shared_watchers = self._watchers
        # This also has it look whether there are watchers.
        write_logs(driver, self._left_out)
        for attach in self._attaching:
            attach(driver)
        self.accepted += 1
        place = Place(self.accepted, party(host_of(peer)), driver, HsmsConnection(driver))
        driver.followers.append(partial(self._follow, place))
        local, _ = addresses_of(stream)
        place.latest = PeerAccepted(self._clock(), place.number, peer, local)
        self._report(place.latest)
        self._tally = self._tally.begun(place)
        self._open[place.connection] = place
        self._of_address[place.host] += 1
        self._unselected.setdefault(place.host, {})[place] = None
        return place

    def _left_out(self) -> int | None:
        """How many lives were left out before this one, which begins; None: it is too."""
        return self._sparing_lives.before(self._clock())

    def _contest(self, asking: Place) -> None:
        """A peer has asked for a session, and none is free for it: each that has one is told."""
        most = self.settings.max_sessions
        asking.why = (
            f"refused: others have all {most} sessions (max_sessions)"
            if self.entity.is_full
            else "refused: no handler can begin for it (threads)"
        )
        self._report(PeerRefused(self._clock(), asking.number, asking.peer, most))
        for place in list(self._open.values()):
            place.driver.session_wanted()

    def _leave(self, place: Place) -> None:
        """It is over, or gives way: others can have its place. The second time changes nothing."""
        if self._open.pop(place.connection, None) is None:
            return
        self.never_selected += not place.driver.engine.times_selected
        self._of_address[place.host] -= 1
        if not self._of_address[place.host]:
            del self._of_address[place.host]
        self._forget_unselected(place)

    def _forget_unselected(self, place: Place) -> None:
        unselected = self._unselected.get(place.host, {})
        unselected.pop(place, None)
        if not unselected:
            self._unselected.pop(place.host, None)

    # Telling

    def _report(self, event: ServerEvent) -> None:
        for reader in self._readers:
            reader.put(event)

    def _follow(self, place: Place, event: LinkEvent) -> None:
        if (news := place.news(event)) is not None:
            self._report(news)

    # One connection

    async def _serve_one(self, handler: Handler, place: Place, stream: Stream) -> None:
        engine, driver = place.driver.engine, place.driver
        try:
            async with open_bare_nursery() as nursery:
                place.begin(nursery.cancel_scope)
                nursery.start_soon(self._run, place, stream)
                await driver.until(lambda: engine.times_selected > 0)
                self._forget_unselected(place)
                if engine.times_selected:
                    await self._handle(handler, place)
                    await _close(place.connection)
        except* self._contained as errors:
            self.failed_connections += 1
            driver.teller.say_defect("ended, because it failed itself", errors)
        finally:
            # Nobody reads them any more, and they must not take the room of others.
            driver.drop_inbox()
            # It counts nothing any more.
            self._tally = self._tally.over(place)

    async def _run(self, place: Place, stream: Stream) -> None:
        """Run a connection. When it is over, its place is free, also while its handler runs on."""
        try:
            await place.driver.run_accepted(stream, partial(self._secure, place))
        finally:
            self._leave(place)
            if place in self._handling:
                self._outlive(place)

    async def _handle(self, handler: Handler, place: Place) -> None:
        self._handling.add(place)
        place.driver.engine.serving(begins=True)
        if place.connection not in self._open:
            self._outlive(place)
        try:
            await handler(place.connection)
            self._end(place, "its handler has returned")
        except* self._contained as errors:
            self._end(place, f"its handler failed: {alone(errors)!r}")
            self.failed_handlers += 1
            place.driver.teller.say_raised("its handler", errors)
        finally:
            self._handling.remove(place)
            place.driver.engine.serving(begins=False)
            self._outliving.pop(place, None)

    def _end(self, place: Place, why: str) -> None:
        """Its handler is over, and so its connection, unless that has ended before."""
        if not place.driver.engine.is_closing:
            place.why = why

    def _can_serve(self, begun: int) -> bool:
        """Whether a handler can begin for one more session, beside those for ``begun`` others."""
        return self._handler_room is None or self._handler_room() > begun

    # What outlives a connection

    def _outlive(self, place: Place) -> None:
        """Its handler runs on after the end of its connection."""
        self._outliving[place] = None
        most = self.settings.max_connections
        if len(self._outliving) <= most:
            return
        longest = next(each for each in self._outliving if not each.scope.cancel_called)
        longest.scope.cancel()
        self.cancelled_handlers += 1
        longest.driver.teller.say(
            logging.WARNING,
            "its handler is cancelled: its connection has been over for longest, and more than "
            "%s such handlers run (max_connections)",
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
                place.driver.teller.say(
                    logging.WARNING,
                    "%s primaries that waited on a connection that is over are dropped: others "
                    "need their room (server_inbox_bytes)",
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


class _Told:
    """A server, as its events need it."""

    __slots__ = ("_server",)

    def __init__(self, server: HsmsServer) -> None:
        self._server = server

    @property
    def settings(self) -> Settings:
        return self._server.settings

    @property
    def peer(self) -> str:
        return f"server on {self._server.address}"


async def _close(connection: HsmsConnection) -> None:
    """Close it; what could not be written is logged (``Unsent``), and no error of the server."""
    with suppress(ConnectionLostError):
        await connection.aclose()


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
    handler_room: Callable[[], int] | None = None,
    tls: Tls | None = None,
    wrap: Wrap | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
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
    handler_room: Callable[[], int] | None = None,
    tls: Tls | None = None,
    wrap: Wrap | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
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
    handler_room: Callable[[], int] | None = None,
    tls: Tls | None = None,
    wrap: Wrap | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
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

    ``handler_room`` is for handlers that need something of which there is not enough for all, such
    as threads. It says how many more can begin now; when there is none, the Select.req of one more
    peer is answered with status 3, as when others have all sessions.

    ``tls``, a ``ssl.SSLContext`` or ``TlsFiles``, takes the place of the files in the settings.
    ``wrap(stream, peer)`` gives what the engine is to use of a stream, below which TLS is.
    ``record`` is a file into which all connections are recorded, or a ``Recorder`` that several
    share, or a list of such; when it cannot be written, the server goes on. ``black_box`` is a
    folder, or a ``BlackBox``: what happened last on a connection is written there when it is lost.

    Warns when a session whose peer has vanished would never be free (``Settings.second_host``), and
    when other machines reach the listener, without TLS and ``allowed_networks``.

    Use ``server = await nursery.start(serve_hsms, handler, settings)``. Raises ``OSError`` when it
    cannot listen on the address, ``SettingsError`` for a value out of range or an unknown setting.
    """
    expect_trio("serve_hsms()")
    settings = chosen_settings(given, changes)
    warn_who_listens(settings)
    listening = listener or await listen_tcp(settings.host, settings.port)
    recorded = None
    try:
        server = HsmsServer(
            listening,
            settings,
            random or Random(),
            raise_errors=raise_errors,
            handler_room=handler_room,
            tls=tls,
            wrap=wrap,
        )
        has_tls = tls is not None or settings.has_tls
        warn_who_is_let_in(settings, host_of(listening.address), has_tls=has_tls)
        recorded = recording(record, black_box, server)
        if recorded is not None:
            recorded.begin()
        task_status.started(server)
        await server.serve(handler)
    finally:
        listening.close()
        if recorded is not None:
            await recorded.end()
