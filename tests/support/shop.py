"""Many tools, several processes of one fleet, and one store, all in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import trio

from hsms_engine import HsmsConnection, LeaseError, Message, Settings
from hsms_engine.events import Happened
from hsms_engine.fleet import (
    Attendance,
    Entry,
    Fleet,
    Member,
    MemoryStreams,
    NewEntry,
    Streams,
    open_fleet,
)
from hsms_engine.lease import Lease, MemoryStore
from tests.support.faulty_lease import FaultyLease
from tests.support.pair import server_end

_T = TypeVar("_T")

LENGTH = 10.0
"""How long a lease lasts, in seconds."""
QUIET: dict[str, Any] = {"linktest_interval": None, "t5": 1, "backoff_jitter": 0.0}


class FaultyStreams:
    """Stands before other streams: calls are counted, slow, cut off, or fail."""

    def __init__(self, inner: Streams) -> None:
        self._inner = inner
        self.calls: list[str] = []
        self.is_cut = False
        # How long a call takes once it is done, in seconds.
        self.takes = 0.0
        self.is_lost_after = False
        """The call is done, and its answer is lost."""
        self.failure: LeaseError | None = None
        self.refused: dict[str, LeaseError] = {}
        """By stream: why nothing is appended to it."""

    @property
    def prefix(self) -> str:
        return self._inner.prefix

    async def now(self) -> float:
        return await self._call("now", self._inner.now)

    async def append(self, entries: Sequence[NewEntry]) -> Sequence[str | LeaseError]:
        async def do() -> list[str | LeaseError]:
            taken = [each for each in entries if each.stream not in self.refused]
            ids = iter(await self._inner.append(taken))
            return [self.refused.get(each.stream) or next(ids) for each in entries]

        return await self._call("append", do)

    async def read(
        self, after: Mapping[str, str], most: int, patience: float
    ) -> Mapping[str, Sequence[Entry]]:
        return await self._call("read", lambda: self._inner.read(after, most, patience))

    async def latest(self, stream: str) -> Entry | None:
        return await self._call("latest", lambda: self._inner.latest(stream))

    async def remove(self, stream: str, entry: str) -> None:
        await self._call("remove", lambda: self._inner.remove(stream, entry))

    async def attend(self, member: Member, lasts: float) -> Attendance:
        return await self._call("attend", lambda: self._inner.attend(member, lasts))

    async def leave(self, member: Member) -> None:
        await self._call("leave", lambda: self._inner.leave(member))

    async def _call(self, name: str, call: Callable[[], Awaitable[_T]]) -> _T:
        self.calls.append(name)
        await self._pass()
        answer = await call()
        await trio.sleep(self.takes)
        await self._pass()
        if self.is_lost_after:
            raise LeaseError("the answer is lost")
        return answer

    async def _pass(self) -> None:
        if self.is_cut:
            await trio.sleep_forever()
        if self.failure is not None:
            raise self.failure


class FaultyStore:
    """A store as one process sees it: all of it can be cut off, or fail."""

    def __init__(self, store: MemoryStore, streams: Streams) -> None:
        self._store = store
        self.streams = FaultyStreams(streams)
        self.leases: list[FaultyLease] = []
        self.is_cut = False
        self.failure: LeaseError | None = None

    @property
    def duration(self) -> float:
        return self._store.duration

    def lease(self, name: str, owner: str | None = None) -> Lease:
        lease = FaultyLease(self._store.lease(name, owner))
        lease.is_cut, lease.failure = self.is_cut, self.failure
        self.leases.append(lease)
        return lease

    def cut(self) -> None:
        self.is_cut = self.streams.is_cut = True
        for lease in self.leases:
            lease.is_cut = True

    def fail(self, error: LeaseError | None) -> None:
        self.failure = self.streams.failure = error
        for lease in self.leases:
            lease.failure = error


@dataclass
class Tool:
    """An equipment, which counts its sessions and what it got."""

    settings: Settings
    sessions: int = 0
    most: int = 0
    got: list[Message] = field(default_factory=list)
    connection: HsmsConnection | None = None
    dial: Callable[[], Awaitable[trio.abc.Stream]] | None = None
    answers: bool = True

    async def serve(self, connection: HsmsConnection) -> None:
        self.sessions += 1
        self.most = max(self.most, self.sessions)
        self.connection = connection
        try:
            async for primary in connection:
                self.got.append(primary)
                if primary.wait and self.answers:
                    answer = Message(primary.stream, primary.function + 1, body=primary.body)
                    await connection.reply(primary, answer)
        finally:
            self.sessions -= 1


@dataclass
class Process:
    """One process of the fleet."""

    store: FaultyStore
    name: str
    options: dict[str, Any]
    fleet: Fleet | None = None
    events: list[Happened] = field(default_factory=list)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)

    @property
    def is_there(self) -> Fleet:
        assert self.fleet is not None
        return self.fleet

    @property
    def owned(self) -> set[str]:
        """The tools that it owns and is selected with."""
        assert self.fleet is not None
        return {
            name
            for name, link in self.fleet.links.items()
            if link.is_selected and link.ownership is not None
        }

    @property
    def share_of_others(self) -> set[str]:
        """The tools that are not in its share."""
        assert self.fleet is not None
        return self.fleet.tools.keys() - self.fleet.links.keys()

    async def run(self, shop: Shop, task_status: trio.TaskStatus[None]) -> None:
        with self.scope:
            async with open_fleet(
                shop.settings,
                self.store,
                name=self.name or None,
                streams=self.store.streams,
                dial=shop.dial,
                **self.options,
            ) as self.fleet:
                events = self.fleet.events()
                task_status.started()
                async for event in events:
                    self.events.append(event)
        self.ended.set()

    def crash(self) -> None:
        """Nothing of it reaches the store any more, and its connections end."""
        self.store.cut()
        self.scope.cancel()


class Shop:
    """The tools, and the processes that own them."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.store = MemoryStore(LENGTH)
        self.streams = MemoryStreams()
        self.tools: dict[str, Tool] = {}
        self.processes: dict[str, Process] = {}
        # What a process that begins does not know.
        self.hidden: set[str] = set()

    @property
    def settings(self) -> dict[str, Settings]:
        known = self.tools.keys() - self.hidden
        return {name: self.tools[name].settings for name in sorted(known)}

    def dial(self, tool: str) -> Callable[[], Awaitable[trio.abc.Stream]]:
        found = self.tools[tool].dial
        assert found is not None
        return found

    async def process(self, name: str, **options: Any) -> Process:
        process = Process(FaultyStore(self.store, self.streams), name, options)
        self.processes[name] = process
        await self.start(process)
        return process

    async def start(self, process: Process) -> None:
        await self._nursery.start(process.run, self)

    @property
    def owned(self) -> set[str]:
        """The tools that some process owns and is selected with."""
        return {
            tool
            for each in self.processes.values()
            if not each.ended.is_set() and not each.scope.cancel_called
            for tool in each.owned
        }

    async def until_all_owned(self, seconds: float = 2 * LENGTH) -> float:
        return await within(seconds, lambda: self.owned == self.tools.keys())


@asynccontextmanager
async def shop(count: int, **settings: Any) -> AsyncIterator[Shop]:
    """A shop of so many tools; none may ever have had two sessions."""
    async with trio.open_nursery() as nursery:
        made = Shop(nursery)
        for number in range(1, count + 1):
            tool = Tool(Settings(port=5000 + number, **{**QUIET, **settings}))
            made.tools[f"T{number}"] = tool

            async def serve(
                tool: Tool, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
            ) -> None:
                async with server_end(tool.serve, max_sessions=9) as (_, listener):
                    tool.dial = listener.dial
                    task_status.started()
                    await trio.sleep_forever()

            await nursery.start(serve, tool)
        yield made
        for process in made.processes.values():
            process.scope.cancel()
        for process in made.processes.values():
            await process.ended.wait()
        nursery.cancel_scope.cancel()
    assert all(tool.most <= 1 for tool in made.tools.values())


async def within(seconds: float, ready: Callable[[], bool]) -> float:
    """Wait until ``ready()``; after how many seconds that was. Fails when it takes longer."""
    began = trio.current_time()
    while not ready():
        assert trio.current_time() - began < seconds
        await trio.sleep(0.05)
    return trio.current_time() - began
