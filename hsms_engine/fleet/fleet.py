"""``open_fleet``: this process takes its share of many tools, and all can be asked.

All processes of a fleet have the same list of tools and the same store. Each tells the store that
it is there, reckons who has which tool (``hsms_engine.fleet.shares``), and opens an owned link for
each of its own. Who comes takes over its share, and the shares of who goes are taken over.

Invariants:

* A link of a tool is open here only while the tool is in this process's share, or is being given
  up. That only its owner sends is the lease's part (``hsms_engine.lease``), whatever is reckoned.
* A share grows when two looks at who is there, one after the other, have seen the same, and shrinks
  when a third one has. Where there is no rest it grows by those who have been there all the time.
* While the store does not answer, nothing changes: each link goes on until its own deadline.
* What fails about one tool ends only that: it is told, and tried again.
"""

from __future__ import annotations

import logging
import re
import signal
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from math import isfinite
from platform import node
from secrets import token_hex
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import trio

from hsms_engine.answers import AnswerBook
from hsms_engine.driver.event_reader import EventReader
from hsms_engine.driver.loop import Loop, expect_trio
from hsms_engine.driver.tcp import Dial
from hsms_engine.errors import LeaseError, SettingsError
from hsms_engine.events import (
    Closed,
    Happened,
    LinkEvent,
    Owning,
    Standby,
    Withdrawn,
)
from hsms_engine.fleet.answering import Desk
from hsms_engine.fleet.asking import Asker, Watch, expect_request
from hsms_engine.fleet.failing import Failing
from hsms_engine.fleet.outbox import Outbox, Queued
from hsms_engine.fleet.publishing import Publisher
from hsms_engine.fleet.shares import shares
from hsms_engine.fleet.store import FleetStore, open_streams
from hsms_engine.fleet.streams import Attendance, Member, Streams
from hsms_engine.fleet.tools import MOST_TOOLS, Tools, expect_name
from hsms_engine.lease import Held
from hsms_engine.lease.clock import LeaseClock
from hsms_engine.link import HsmsLink, open_link
from hsms_engine.logs import LINK, Teller, alone, say
from hsms_engine.message import Message
from hsms_engine.protocol.epoch import Primary
from hsms_engine.protocol.leasing import LeaseTimes
from hsms_engine.settings import Settings
from statecharts.hsms.timers import RENEWAL, RENEWAL_RETRY
from statecharts.nursery import open_bare_nursery

if TYPE_CHECKING:
    from hsms_engine.recorder import BlackBoxIn, RecordTo

__all__ = [
    "Fleet", "FleetEvent", "FleetPrimary", "FleetTool", "Handler", "ShareChanged", "ToolHappened",
    "open_fleet",
]  # fmt: skip

# How many tools at a time are given up to another process, so that few are without a link at once.
_MOVED_AT_ONCE: Final = 8
# After so many looks at who is there that have seen the same, a share is taken, and given up: who
# takes over stands by when it is given up.
_TAKES: Final = 2
_GIVES: Final = 3
# After so many looks that have each seen something else (a process that dies again and again, by
# another name each time), those that were there in all of them take their shares.
_RESTLESS: Final = 8
_EVENTS: Final = 10_000
_LONGEST_MACHINE: Final = 40
# What ends only the link of one tool.
_CONTAINED: type[Exception] = Exception


@dataclass(frozen=True, slots=True)
class ToolHappened(Happened):
    """An event of the link of ``tool``. ``epoch`` is that of its connection."""

    tool: str
    event: LinkEvent


@dataclass(frozen=True, slots=True)
class ShareChanged(Happened):
    """This process has another share: ``tools``. ``members`` are the processes that are there.

    ``unplaced`` counts the tools for which none has room. ``epoch`` is 0.
    """

    members: tuple[str, ...]
    tools: tuple[str, ...]
    unplaced: int


FleetEvent = ToolHappened | ShareChanged


class FleetPrimary:
    """A primary of a tool that is owned here, for a handler."""

    __slots__ = ("_link", "_queued", "message", "tool")

    def __init__(self, tool: str, link: HsmsLink, message: Primary, queued: Queued) -> None:
        self.tool: Final = tool
        self.message: Final = message
        self._link = link
        self._queued = queued

    async def published(self) -> bool:
        """Wait until it is in its stream (true), or was dropped because too much waits (false).

        While the store does not answer, that takes as long.
        """
        return await self._queued.appended()

    async def reply(self, message: Message) -> None:
        """Answer it, as ``HsmsLink.reply``."""
        await self._link.reply(self.message, message)


Handler = Callable[[FleetPrimary], Awaitable[object]]


class FleetTool:
    """One tool of a fleet, as this process sees it."""

    def __init__(self, name: str, settings: Settings, publisher: Publisher) -> None:
        self.name: Final = name
        self.settings: Final = settings
        self.link: HsmsLink | None = None
        """Open while the tool is in the share of this process; it may stand by."""
        self.error: Exception | None = None
        """Why its link has ended by itself last; None: it has not since it was owned."""
        self._publisher = publisher
        # It is not in the share any more, and it is again.
        self._given_up = trio.Event()
        self._returned = trio.Event()
        self._is_running = False

    def __repr__(self) -> str:
        return f"<FleetTool {self.name}>"

    def status(self) -> dict[str, object]:
        """What it is now, as plain JSON values."""
        told: dict[str, object] = {"phase": None, "ownership": None}
        if (link := self.link) is not None and (owned := link.ownership) is not None:
            told["phase"] = link.phase
            told["ownership"] = {
                "state": owned.state,
                "since": owned.since,
                "owner": owned.owner,
                "lease_epoch": owned.lease_epoch,
                "ends_in": owned.ends_in if isfinite(owned.ends_in) else None,
            }
        return told | {"error": _text(self.error)}


class _Told:
    """Whose events the readers of a fleet get."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.settings = Settings(events_size=_EVENTS)


class Fleet:
    """This process in a fleet. Made by ``open_fleet``."""

    def __init__(
        self,
        tools: Tools,
        store: FleetStore,
        streams: Streams,
        me: Member,
        serving: Serving,
        outbox: tuple[int, int],
        stream_length: int,
        link_options: Callable[[str], dict[str, Any]],
    ) -> None:
        self._store = store
        self._streams = streams
        self._me = me
        self._serving = serving
        self._link_options = link_options
        self._loop = Loop()
        # Seconds: between two looks at who is there, and between two tries of the store.
        self._times = LeaseTimes(store.duration)
        self._period = self._times.seconds(RENEWAL.id)
        self._pause = self._times.seconds(RENEWAL_RETRY.id)
        # No other has it: leases tell it to people.
        self._owner = f"{me.name}:{me.life}"
        what = f"fleet {me.name}"
        self._attending = Failing(
            f"{what}: who else is there is not known", f"{what}: the store answers again"
        )
        self._outbox = Outbox(streams, what, self._pause, *outbox)
        self._answers = Outbox(streams, f"{what}, answers", self._pause, *outbox)
        self._asker = Asker(store, streams)
        # Callers do not wait longer because this machine sleeps. By how much the store's clock is
        # ahead of it, in seconds.
        self._clock = LeaseClock(trio.lowlevel.current_clock().current_time)
        self._ahead = 0.0
        self._desk = Desk(
            streams, what, self._answers, self._pause, lambda: self._clock() + self._ahead
        )
        self._tools: Final = {
            name: FleetTool(
                name,
                settings,
                Publisher(self._outbox, streams.prefix, name, self._owner, stream_length),
            )
            for name, settings in tools.items()
        }
        self._links: dict[str, HsmsLink] = {}
        self._members: tuple[Member, ...] = ()
        self._is_taken = False
        # What it has, and what it is to have.
        self._share: frozenset[str] = frozenset()
        self._target: frozenset[str] = frozenset()
        self._unplaced = 0
        self._moving = trio.CapacityLimiter(_MOVED_AT_ONCE)
        self._readers: weakref.WeakSet[EventReader[FleetEvent]] = weakref.WeakSet()
        self._told = _Told(what)
        # It is asked to drain, and for how long others may take over first; it has begun to close
        # all that is left; it is over.
        self._draining = trio.Event()
        self._handing_over = trio.CancelScope()
        self._ending = trio.Event()
        self._drained = trio.Event()
        # The link of a tool has ended.
        self._ended = trio.Event()

    def __repr__(self) -> str:
        return f"<Fleet {self.name}: {len(self._share)} of {len(self._tools)} tools>"

    @property
    def name(self) -> str:
        """That of this process in the fleet."""
        return self._me.name

    @property
    def links(self) -> Mapping[str, HsmsLink]:
        """The links that are open here, by the names of their tools; some may stand by."""
        return MappingProxyType(self._links)

    @property
    def tools(self) -> Mapping[str, FleetTool]:
        """All tools of the fleet, by their names."""
        return MappingProxyType(self._tools)

    def tool(self, name: str) -> FleetTool:
        """One tool. Raises ``SettingsError`` when the fleet has none of this name."""
        found = self._tools.get(name)
        if found is None:
            raise SettingsError(f"{self._told.peer} has no tool {name!r}")
        return found

    @property
    def is_draining(self) -> bool:
        """Whether it gives up all its tools, and takes no more."""
        return self._draining.is_set()

    def status(self) -> dict[str, object]:
        """All that is known here, as plain JSON values; of each tool of the share its own."""
        counts = self._desk.counts
        return {
            "name": self.name,
            "owner": self._owner,
            "is_draining": self.is_draining,
            "is_name_taken": self._is_taken,
            "limit": self._me.limit,
            "members": [
                {
                    "name": each.name,
                    "limit": each.limit,
                    "has_same_tools": each.digest == self._me.digest,
                }
                for each in self._members
            ],
            "unplaced": self._unplaced,
            "store": {
                "error": _text(self._attending.error),
                "waiting": self._outbox.waiting,
                "waiting_bytes": self._outbox.waiting_bytes,
                "published": self._outbox.appended,
                "dropped": self._outbox.dropped,
            },
            "requests": {
                "error": _text(self._desk.error),
                "taken": counts.taken,
                "refused": counts.refused,
                "expired": counts.expired,
                "unreadable": counts.unreadable,
                "answers_dropped": self._answers.dropped,
                "answers_unreadable": self._asker.unreadable,
            },
            "tools": {name: self._tools[name].status() for name in sorted(self._share)},
        }

    def events(self) -> EventReader[FleetEvent]:
        """What happens from now on, in order: ``async for event in fleet.events()``.

        A reader that is too slow gets ``Missed``. The loop ends when the fleet has drained.
        """
        self._loop.check(self, "events()")
        reader: EventReader[FleetEvent] = EventReader(self._loop, self._told)
        if self._drained.is_set():
            reader.close()
        self._readers.add(reader)
        return reader

    async def request(self, tool: str, message: Message) -> Message:
        """Send a primary with W to any tool of the fleet, and return the reply.

        To one that this process owns it goes at once, without the store. Raises like
        ``FleetClient.request``.
        """
        self._loop.check_task(self, "request()")
        link = self._links.get(tool)
        if link is not None and _owns(link):
            expect_request(message)
            return await link.request(message)
        return await self._asker.request(tool, message)

    def drain(self, patience: float = 0.0) -> None:
        """Give up all tools, and take no more: Separate, at rest, and the leases are given back.

        That takes ``linger`` at most, and twice the time that the store may take to answer, a fifth
        of a lease; ``drained`` waits for it. With ``patience``, in seconds, it goes on before that
        until other processes stand by for its tools, and then gives them up to these, some at a
        time: so each tool is without a host for a moment only. Half a lease is little, two are
        enough. When it is called again, the earliest end of all counts.

        Raises ``SettingsError`` when ``patience`` is no number of 0 or more.
        """
        self._loop.check(self, "drain()")
        if not patience >= 0:
            raise SettingsError(f"patience={patience!r} is not a number of seconds of 0 or more")
        until = trio.current_time() + patience
        if self._draining.is_set():
            until = min(until, self._handing_over.deadline)
        self._handing_over.deadline = until
        self._draining.set()

    async def drained(self, *signals: signal.Signals, patience: float = 0.0) -> None:
        """Wait until all is given up after ``drain``, which each of these signals calls too.

        ``await fleet.drained(signal.SIGTERM)`` is all that a service does. Signals are heard in the
        main thread only.
        """
        self._loop.check_task(self, "drained()")
        async with open_bare_nursery() as nursery:
            if signals:
                nursery.start_soon(self._hear, signals, patience)
            await self._drained.wait()
            nursery.cancel_scope.cancel()

    async def _hear(self, signals: tuple[signal.Signals, ...], patience: float) -> None:
        with trio.open_signal_receiver(*signals) as heard:
            async for _ in heard:
                self.drain(patience)

    # Who is there

    async def _run(self) -> None:
        """Take part until it drains, and give up all then."""
        try:
            async with open_bare_nursery() as nursery:
                for task in (self._outbox.run, self._answers.run, self._desk.run):
                    nursery.start_soon(task)
                await nursery.start(self._asker.run)
                await self._own_share()
                async with open_bare_nursery() as flushing:
                    for outbox in (self._outbox, self._answers):
                        flushing.start_soon(outbox.flush, self._times.store_timeout)
                nursery.cancel_scope.cancel()
        finally:
            self._outbox.close()
            self._answers.close()
            self._drained.set()
            for reader in self._readers:
                reader.close()

    async def _own_share(self) -> None:
        """Until all links are closed."""
        async with open_bare_nursery() as tools:
            async with open_bare_nursery() as attending:
                attending.start_soon(self._attend, tools)
                await self._draining.wait()
                await self._hand_over()
                attending.cancel_scope.cancel()
            self._ending.set()
            self._use_share(tools, frozenset())
            await self._leave()

    async def _hand_over(self) -> None:
        """Let the others take over, as long as there is patience."""
        # It takes no more, and others see that.
        self._me = replace(self._me, limit=0)
        with self._handing_over:
            while any(tool._is_running for tool in self._tools.values()):
                await self._ended.wait()

    async def _attend(self, tools: trio.Nursery) -> None:
        before: Attendance | None = None
        same = 0
        restless: list[Attendance] = []
        while True:
            seen = await self._look()
            if seen is not None:
                same = same + 1 if before is not None and _is_same(before, seen) else 1
                before = seen
                if same == _TAKES:
                    self._reckon(tools, seen)
                elif same == _GIVES:
                    self._use_share(tools, self._target)
                restless = [] if same >= _TAKES else [*restless, seen]
                if len(restless) == _RESTLESS:
                    lasting = (set(each.members) for each in restless)
                    there = set(seen.members).intersection(*lasting)
                    steady = tuple(each for each in seen.members if each in there)
                    self._reckon(tools, replace(seen, members=steady))
                    restless = []
            await trio.sleep(self._period)

    async def _look(self) -> Attendance | None:
        """Say that this process is there, and see who else is."""
        try:
            # One look may fail. After two in a row another process thinks that this one is gone.
            seen = await self._streams.attend(self._me, self._period * 2.5)
        except LeaseError as error:
            self._attending.note(error)
            return None
        self._attending.note(None)
        self._ahead = seen.now - self._clock()
        if seen.is_taken and not self._is_taken:
            text = "%s: another process has this name, so this one waits until that is gone"
            say(LINK, logging.WARNING, text, self._told.peer)
        self._is_taken = seen.is_taken
        members = sorted(seen.members, key=lambda each: each.name)
        return replace(seen, members=tuple(members))

    def _reckon(self, tools: trio.Nursery, seen: Attendance) -> None:
        """Take what follows from who is there; what follows to be given up stays for now."""
        self._members = seen.members
        for each in seen.members:
            if each.digest != self._me.digest:
                text = "%s: %s has another list of tools: what is in one of them only may lack one"
                say(LINK, logging.WARNING, text, self._told.peer, each.name)
        given = shares(self._tools, {each.name: each.limit for each in seen.members})
        self._unplaced = sum(each is None for each in given.values())
        if self._unplaced:
            text = "%s: %s tools have no owner: each process that is there has as many as it takes"
            say(LINK, logging.WARNING, text, self._told.peer, self._unplaced)
        own = () if seen.is_taken else (tool for tool, who in given.items() if who == self.name)
        self._target = frozenset(own)
        more = sorted(self._target - self._share)
        if self._me.limit is not None:
            more = more[: max(0, self._me.limit - len(self._share))]
        self._use_share(tools, self._share.union(more))

    async def _leave(self) -> None:
        try:
            with trio.move_on_after(self._times.store_timeout):
                await self._streams.leave(self._me)
        except LeaseError as error:
            say(LINK, logging.INFO, "%s: it could not say goodbye: %s", self._told.peer, str(error))

    def _use_share(self, tools: trio.Nursery, share: frozenset[str]) -> None:
        if share == self._share:
            return
        for name in self._share - share:
            self._tools[name]._returned = trio.Event()
            self._tools[name]._given_up.set()
        began, self._share = share - self._share, share
        for name in sorted(began):
            tool = self._tools[name]
            tool._given_up = trio.Event()
            tool._returned.set()
            if not tool._is_running:
                tool._is_running = True
                tools.start_soon(self._keep, tool)
        members = tuple(each.name for each in self._members)
        at = trio.current_time()
        self._tell(ShareChanged(at, 0, members, tuple(sorted(share)), self._unplaced))

    def _tell(self, event: FleetEvent) -> None:
        for reader in self._readers:
            reader.put(event)

    # One tool

    async def _keep(self, tool: FleetTool) -> None:
        """Have an owned link of this tool for as long as it is in the share."""
        try:
            # Another event stands there when the tool has come back meanwhile.
            while not (given_up := tool._given_up).is_set():
                await self._contained(tool)
                # Here at once, unless the link has ended by itself.
                with trio.move_on_after(self._store.duration):
                    await given_up.wait()
        finally:
            tool._is_running = False
            self._ended.set()
            self._ended = trio.Event()

    async def _contained(self, tool: FleetTool) -> None:
        """One link, from its opening to its end, whatever that is."""
        try:
            await self._own(tool)
        except* _CONTAINED as errors:
            tool.error = alone(errors)
            Teller(tool.name, 0).say_raised(
                "its link in the fleet", errors, "; it is opened again", logging.WARNING
            )

    async def _own(self, tool: FleetTool) -> None:
        lease = self._store.lease(tool.name, self._owner)
        over = trio.Event()
        options = self._link_options(tool.name)
        async with (
            open_bare_nursery() as nursery,
            open_link(tool.settings, lease=lease, **options) as link,
        ):
            tool.link = self._links[tool.name] = link
            try:
                await self._serve(tool, link, over, nursery)
            finally:
                self._desk.close(tool.name)
                del self._links[tool.name]
                tool.link = None
        # Both its primaries and its events have come.
        tool._publisher.end()

    async def _serve(
        self, tool: FleetTool, link: HsmsLink, over: trio.Event, nursery: trio.Nursery
    ) -> None:
        """Until the link is to be closed, or has closed itself. ``nursery`` ends after the link.

        A handler ends first: while the link is being closed it could not answer.
        """
        give, take = trio.open_memory_channel[FleetPrimary](link.settings.inbox_size)
        nursery.start_soon(self._follow, tool, link, over)
        nursery.start_soon(self._take, tool, link, give)
        async with open_bare_nursery() as serving:
            serving.start_soon(self._serving.run, tool.name, take)
            await _first_of(tool._given_up, over)
            if not self._ending.is_set():
                await self._give_up(tool, link)
            serving.cancel_scope.cancel()

    async def _give_up(self, tool: FleetTool, link: HsmsLink) -> None:
        """Let another process have it: few at a time, and the next when that one has it."""
        async with self._moving:
            if not _owns(link):
                return
            link.disable()
            with trio.move_on_after(self._store.duration), self._asker.watch(tool.name) as watch:
                async with open_bare_nursery() as nursery:
                    nursery.start_soon(self._until_another, watch, nursery.cancel_scope)
                    await _first_of(self._ending, tool._returned)
                    nursery.cancel_scope.cancel()

    async def _until_another(self, watch: Watch, scope: trio.CancelScope) -> None:
        def is_anothers() -> bool:
            return isinstance(watch.seen, Held) and watch.seen.owner not in ("", self._owner)

        await watch.until(is_anothers)
        scope.cancel()

    async def _follow(self, tool: FleetTool, link: HsmsLink, over: trio.Event) -> None:
        """Publish what happens to a link while it is owned, and note when it is."""
        publisher, is_owned = tool._publisher, False
        async for event in link.events():
            self._tell(ToolHappened(event.at, event.epoch, tool.name, event))
            if isinstance(event, Owning) and event.lease_epoch != publisher.epoch:
                publisher.begin(event.lease_epoch)
                self._desk.open(tool.name, link, event.lease_epoch)
                is_owned, tool.error = True, None
            if is_owned:
                publisher.event(event)
            if isinstance(event, Standby | Withdrawn) and is_owned:
                publisher.end()
                self._desk.close(tool.name)
                is_owned = False
            if isinstance(event, Closed):
                tool.error = event.error
        over.set()

    async def _take(
        self, tool: FleetTool, link: HsmsLink, give: trio.MemorySendChannel[FleetPrimary]
    ) -> None:
        """Publish the primaries of a link, and then give them to who serves them."""
        async for message in link:
            queued = tool._publisher.primary(message)
            # While the link is being closed nobody serves any more.
            with suppress(trio.BrokenResourceError):
                await give.send(FleetPrimary(tool.name, link, message, queued))


class Serving:
    """What is done with primaries: the book answers what it knows, the handler gets the rest."""

    def __init__(self, handler: Handler | None, answers: AnswerBook | None) -> None:
        self._handler = handler
        self._answers = answers

    async def run(self, tool: str, primaries: trio.MemoryReceiveChannel[FleetPrimary]) -> None:
        """Serve one link, until cancelled: one call of the handler at a time."""
        async with primaries, open_bare_nursery() as nursery:
            async for primary in primaries:
                answer = None if self._answers is None else self._answers.answer(primary.message)
                if answer is not None:
                    nursery.start_soon(self._contained, tool, self._acknowledge, primary, answer)
                elif self._handler is not None:
                    await self._contained(tool, self._handler, primary)
                elif primary.message.wait:
                    # Nobody here will: so the tool need not wait for T3.
                    abort = Message(primary.message.stream, 0)
                    await self._contained(tool, primary.reply, abort)

    async def _acknowledge(self, primary: FleetPrimary, answer: Message) -> None:
        if await primary.published():
            await primary.reply(answer)

    async def _contained(
        self, tool: str, call: Callable[..., Awaitable[object]], *given: object
    ) -> None:
        try:
            await call(*given)
        except* _CONTAINED as errors:
            Teller(tool, 0).say_raised("the handler of a primary in the fleet", errors)


def _is_same(before: Attendance, seen: Attendance) -> bool:
    return (before.members, before.is_taken) == (seen.members, seen.is_taken)


def _text(error: Exception | None) -> str | None:
    return None if error is None else str(error)


def _owns(link: HsmsLink) -> bool:
    owned = link.ownership
    return owned is not None and owned.is_in_force


async def _first_of(*events: trio.Event) -> None:
    """Wait until one of them has happened."""
    async with open_bare_nursery() as nursery:

        async def wait(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        for event in events:
            nursery.start_soon(wait, event)


@asynccontextmanager
async def open_fleet(
    tools: Tools | Mapping[str, Settings],
    store: FleetStore,
    *,
    name: str | None = None,
    limit: int | None = None,
    handler: Handler | None = None,
    answers: AnswerBook | None = None,
    streams: Streams | None = None,
    outbox_entries: int = 10_000,
    outbox_bytes: int = 64 * 1024 * 1024,
    stream_length: int = 10_000,
    dial: Callable[[str], Dial] | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
) -> AsyncIterator[Fleet]:
    """Own this process's share of ``tools``, until the end of the block, which drains.

    All processes have the same tools and the same ``store``. ``name`` is that of this process; it
    has the same share when it comes back by the same name, and another that is there already by
    this name is waited for. Without it, it is made of the machine's name and chance. ``limit`` is
    the most tools that it takes; those for which no process has room have no owner.

    All primaries of the tools that are owned, and the events of their links, are published in the
    store's streams ``PREFIX.TOOL.primary`` and ``PREFIX.TOOL.event`` (``FleetStream`` reads them),
    each of which keeps about ``stream_length`` entries. What the store has not taken yet waits,
    ``outbox_entries`` of ``outbox_bytes`` bytes at most; then the oldest are dropped and counted.

    A primary is queued to be published first. Then it is answered from ``answers`` when it is
    published, if the book has its answer; else ``await handler(primary)`` gets it, for each tool
    one after the other, as soon as it is queued (``FleetPrimary.published``). What a handler raises
    is logged. Without a handler, a primary that wants a reply is aborted with SxF0.

    ``streams`` is for a store of your own. ``dial`` gives the ``dial`` of ``open_link`` for a tool;
    ``record`` and ``black_box`` are those of all links.

    Raises ``SettingsError`` when the tools, the name or a number cannot be used.
    """
    expect_trio("open_fleet()", has_others=False)
    expected = tools if isinstance(tools, Tools) else Tools(tools)
    _expect_whole(limit=limit, lowest=0)
    _expect_whole(outbox_entries=outbox_entries, outbox_bytes=outbox_bytes, lowest=1)
    _expect_whole(stream_length=stream_length, lowest=1)
    if name is not None:
        expect_name("a process of a fleet", name)
    life = token_hex(4)
    # More than a fleet can have is as many as there are: stores bound what they read.
    most = None if limit is None else min(limit, MOST_TOOLS)
    me = Member(name or f"{_machine()}-{life}", life, most, expected.digest)

    def link_options(tool: str) -> dict[str, Any]:
        dialled = {} if dial is None else {"dial": dial(tool)}
        return {"record": record, "black_box": black_box} | dialled

    async with (
        open_streams(store, streams, has_leases=True) as opened,
        open_bare_nursery() as nursery,
    ):
        fleet = Fleet(
            expected,
            store,
            opened,
            me,
            Serving(handler, answers),
            (outbox_entries, outbox_bytes),
            stream_length,
            link_options,
        )
        nursery.start_soon(fleet._run)
        yield fleet
        if not fleet.is_draining:
            fleet.drain()


def _expect_whole(lowest: int, **given: int | None) -> None:
    for name, value in given.items():
        if value is not None and (type(value) is not int or value < lowest):
            raise SettingsError(f"{name}={value!r} is not a whole number of {lowest} or more")


def _machine() -> str:
    """What a machine calls itself, as far as it can be in a name."""
    return re.sub(r"[^\w-]", "", node())[:_LONGEST_MACHINE] or "process"
