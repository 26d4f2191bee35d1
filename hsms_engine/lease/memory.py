"""Leases in the memory of one process: for its own links, in one loop or several, and for tests.

It forgets nothing while the process lives, so it has no quarantine. Its clock is the monotonic one
of the system, or that of the run of trio where that is a virtual one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import assert_never

import trio

from hsms_engine.errors import LocalProtocolError
from hsms_engine.lease.asked import Granted, Held, Vacant
from hsms_engine.lease.names import (
    checked_saved,
    expect_process,
    identity,
    name_in,
    owner_name,
    tool_name,
)
from hsms_engine.protocol.leasing import LeaseTimes

# What is added to the time of a run of trio: each has another beginning.
_begun: trio.lowlevel.RunVar[float] = trio.lowlevel.RunVar("hsms_engine.lease.memory")


def _now() -> float:
    """The same in all runs; in one with a virtual clock it passes as that does."""
    now = trio.current_time()
    try:
        return now + _begun.get()
    except LookupError:
        _begun.set(monotonic() - now)
        return now + _begun.get()


@dataclass(slots=True)
class _Entry:
    """The lease of one tool. ``owner`` is an identity, empty when it was given back."""

    owner: str = ""
    epoch: int = 0
    until: float = float("-inf")
    saved: bytes | None = None
    saved_at: float = 0.0
    watches: set[_Watch] = field(default_factory=set)


@dataclass(frozen=True, slots=True, eq=False)
class _Watch:
    """Somebody who waits for a change, in whatever run of trio."""

    changed: trio.Event
    run: trio.lowlevel.TrioToken

    def tell(self) -> None:
        if trio.lowlevel.current_trio_token() is self.run:
            self.changed.set()
        else:
            # A run that is over watches nothing.
            with suppress(trio.RunFinishedError):
                self.run.run_sync_soon(self.changed.set, idempotent=True)


class MemoryStore:
    """The leases of one process. All of them have the same ``duration``, in seconds."""

    def __init__(self, duration: float = 10.0) -> None:
        self._duration = LeaseTimes(duration).duration
        # A fork has leases of its own, and knows nothing of these.
        self._process = os.getpid()
        # Around everything below; nobody awaits with it.
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(duration={self._duration:g})"

    @property
    def duration(self) -> float:
        """How long a grant lasts, in seconds."""
        return self._duration

    def lease(self, name: str, owner: str | None = None) -> MemoryLease:
        """The lease of a tool, for an owner. Without ``owner`` it gets a name that no other has."""
        return MemoryLease(self, name, owner)

    def _acquire(self, name: str, owner: str) -> Granted | Held:
        now = _now()
        with self._lock:
            entry = self._entries.setdefault(name, _Entry())
            if entry.until > now and entry.owner != owner:
                return Held(name_in(entry.owner), entry.epoch, entry.until - now)
            self._keep(entry, owner, entry.epoch + 1, now + self._duration)
            age = 0.0 if entry.saved is None else now - entry.saved_at
            return Granted(entry.epoch, entry.saved, age)

    def _renew(self, name: str, owner: str, epoch: int, saved: bytes) -> Granted | Held | Vacant:
        now = _now()
        with self._lock:
            entry = self._entries.get(name)
            if entry is None or (entry.owner, entry.epoch) != (owner, epoch):
                return _state(entry, now)
            entry.until = now + self._duration
            entry.saved, entry.saved_at = saved, now
            return Granted(epoch)

    def _release(self, name: str, owner: str, epoch: int, saved: bytes | None) -> None:
        now = _now()
        with self._lock:
            entry = self._entries.get(name)
            if entry is None or (entry.owner, entry.epoch) != (owner, epoch):
                return
            if saved is not None:
                entry.saved, entry.saved_at = saved, now
            self._keep(entry, "", entry.epoch, float("-inf"))

    def _look(self, name: str, watch: _Watch) -> Held | Vacant:
        """Who has it. The watch is told of the next change."""
        now = _now()
        with self._lock:
            entry = self._entries.setdefault(name, _Entry())
            entry.watches.add(watch)
            return _state(entry, now)

    def _look_away(self, name: str, watch: _Watch) -> None:
        with self._lock:
            self._entries[name].watches.discard(watch)

    def _keep(self, entry: _Entry, owner: str, epoch: int, until: float) -> None:
        entry.owner, entry.epoch, entry.until = owner, epoch, until
        for watch in entry.watches:
            watch.tell()
        entry.watches.clear()


def _state(entry: _Entry | None, now: float) -> Held | Vacant:
    if entry is None:
        return Vacant(0)
    if entry.until > now:
        return Held(name_in(entry.owner), entry.epoch, entry.until - now)
    return Vacant(entry.epoch)


class MemoryLease:
    """The lease of one tool in a ``MemoryStore``, for one owner: a ``Lease``."""

    def __init__(self, store: MemoryStore, name: str, owner: str | None = None) -> None:
        self._store = store
        self._name = tool_name(name)
        self._owner = owner_name(owner)
        self._identity = identity(self._owner)
        self._is_connected = False

    def __repr__(self) -> str:
        owned = f"{self._name!r}, owner={self._owner!r}"
        return f"{type(self).__name__}({owned}, store={self._store!r})"

    @property
    def name(self) -> str:
        """What is owned: the tool."""
        return self._name

    @property
    def owner(self) -> str:
        """This owner's name in the store."""
        return self._owner

    @property
    def duration(self) -> float:
        """How long a grant lasts, in seconds."""
        return self._store.duration

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """What the calls need is there inside this block."""
        expect_process(self._store._process, self._store)
        if self._is_connected:
            raise LocalProtocolError(f"{self!r} is in use already")
        self._is_connected = True
        try:
            yield
        finally:
            self._is_connected = False

    async def acquire(self) -> Granted | Held:
        """Get the lease if nobody has it."""
        await self._call()
        return self._store._acquire(self._name, self._identity)

    async def renew(self, epoch: int, saved: bytes) -> Granted | Held | Vacant:
        """Have it for ``duration`` from now, if nobody got it since."""
        saved = checked_saved(saved)
        await self._call()
        return self._store._renew(self._name, self._identity, epoch, saved)

    async def release(self, epoch: int, saved: bytes | None) -> None:
        """Give it back."""
        saved = None if saved is None else checked_saved(saved)
        await self._call()
        self._store._release(self._name, self._identity, epoch, saved)

    async def watch(self) -> AsyncGenerator[Held | Vacant, None]:
        """Who has it: at once, and when that changes."""
        latest: tuple[str, int] | None = None
        while True:
            await self._call()
            watch = _Watch(trio.Event(), trio.lowlevel.current_trio_token())
            found = self._store._look(self._name, watch)
            try:
                match found:
                    case Held(owner, epoch, patience):
                        now = owner, epoch
                    case Vacant(epoch):
                        now, patience = ("", epoch), float("inf")
                    case _:
                        assert_never(found)
                if now != latest:
                    latest = now
                    yield found
                with trio.move_on_after(patience):
                    await watch.changed.wait()
            finally:
                self._store._look_away(self._name, watch)

    async def _call(self) -> None:
        if not self._is_connected:
            raise LocalProtocolError(f"{self!r} is used outside its block (connected())")
        await trio.lowlevel.checkpoint()
