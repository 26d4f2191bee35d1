"""Leases in Redis or Valkey: the scripts of ``scripts`` in one server, and one watch for each name.

Nothing that the server says is trusted: what cannot be is a ``LeaseError``. Needs the extra
``fleet``.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from logging import WARNING
from time import time
from types import TracebackType
from typing import NoReturn, Self, assert_never

import trio

from hsms_engine.driver.loop import expect_trio
from hsms_engine.driver.tls_files import Tls
from hsms_engine.errors import LeaseError, LeaseSetupError, LocalProtocolError
from hsms_engine.lease.address import access_to
from hsms_engine.lease.asked import Granted, Held, Vacant
from hsms_engine.lease.names import (
    LONGEST_OWNER,
    LONGEST_SAVED,
    checked_saved,
    expect_process,
    identity,
    owner_name,
    prefix_text,
    tool_name,
)
from hsms_engine.lease.scripts import ACQUIRE, LAYOUT, LOOK, RELEASE, RENEW, Script
from hsms_engine.logs import LINK, say
from hsms_engine.protocol.leasing import LeaseTimes

try:
    from hsms_engine.lease.failures import replica, shown
    from hsms_engine.lease.line import LONGEST_REPLY, Line, Reply, Word
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] not in ("anyio", "coredis"):
        raise
    raise ModuleNotFoundError(
        "hsms_engine.lease.redis needs coredis, which is not installed: in the folder of the "
        'source, pip install ".[fleet]"',
        name=error.name,
    ) from None

# How far the clocks of two machines may be apart before it is worth a line.
_CLOCKS_APART = 5.0
_HIGHEST_EPOCH = 2**53
# A part of a version: Python makes no number of what has thousands of digits.
_NUMBER = re.compile("[0-9]{1,9}")


class RedisStore:
    """The leases under one ``prefix`` of a server. All of them have the same ``duration``, in s.

    ``url``: ``redis://[user[:password]@]host[:port][/database]`` for this machine, ``rediss://``
    for every other (``valkey://`` and ``valkeys://`` are the same). ``tls``: the files of TLS,
    without them the authorities of the system. The password is in the URL, in ``password_file``
    (read at each connection), or in the environment as ``HSMS_STORE_PASSWORD``.

    Made in any thread. ``async with store:`` gives the leases that are used in it two connections
    together; without it each has two of its own. Raises ``SettingsError`` for what cannot be.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "hsms",
        duration: float = 10.0,
        tls: Tls | None = None,
        password_file: str | os.PathLike[str] = "",
        wall_clock: Callable[[], float] = time,
    ) -> None:
        self._access = access_to(url, tls=tls, password_file=password_file)
        self._prefix = prefix_text(prefix)
        self._times = LeaseTimes(duration)
        self._wall_clock = wall_clock
        self._told_clock = False
        self._lines: _Lines | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address!r}, prefix={self._prefix!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} is not pickled: whoever has the pickle could read the password")

    @property
    def address(self) -> str:
        """Host and port."""
        return str(self._access.address)

    @property
    def prefix(self) -> str:
        """What stands before all keys, in braces: ``key`` makes them."""
        return self._prefix

    @property
    def duration(self) -> float:
        """How long a grant lasts, in seconds."""
        return self._times.duration

    @property
    def patience(self) -> float:
        """How long an answer is waited for, in seconds."""
        return self._times.store_timeout

    @property
    def length(self) -> int:
        """``duration`` in the milliseconds of the server: not shorter."""
        return math.ceil(self.duration * 1000)

    def key(self, *parts: str) -> str:
        """A key, or a channel, of this store. All are in one slot of a cluster."""
        return ":".join((f"{{{self._prefix}}}", *parts))

    def lease(self, name: str, owner: str | None = None) -> StoreLease:
        """The lease of a tool, for an owner. Without ``owner`` it gets a name that no other has."""
        return StoreLease(self, name, owner)

    async def __aenter__(self) -> Self:
        expect_trio("async with RedisStore(...)", has_others=False)
        if self._lines is not None:
            raise LocalProtocolError(f"{self!r} is in use already")
        lines = _Lines(self)
        await lines.__aenter__()
        self._lines = lines
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        lines, self._lines = self._lines, None
        assert lines is not None
        return await lines.__aexit__(kind, error, traceback)

    async def call(self, command: str, *words: Word, patience: float | None = None) -> Reply:
        """The server's answer to one command that does not block. Raises ``LeaseError``.

        Inside ``async with store:``. Nothing of the answer is trusted.
        """
        if self._lines is None or not self._lines.is_here:
            raise LocalProtocolError(f"{self!r} is used outside its block (async with ...)")
        return await self._lines.calls.call(command, *words, patience=patience)

    def line(self, *, patience: float, longest_reply: int = LONGEST_REPLY) -> Line:
        """A connection of its own (``async with``), for commands that block, or for long replies.

        ``patience``, in seconds, is longer than what a command may block.
        """
        return Line(self._access, patience=patience, longest_reply=longest_reply, greet=self._greet)

    async def _greet(self, ask: Callable[..., Awaitable[Reply]], version: str) -> None:
        """Look at a server before it is used."""
        number = version.split(".")[:2]
        if not all(map(_NUMBER.fullmatch, number)) or [*map(int, number)] < [6, 2]:
            raise LeaseSetupError(
                f"the store {self.address} is of version {shown(version)}; 6.2 is needed"
            )
        told = await ask(b"INFO", "memory")
        text = told.decode(errors="replace") if isinstance(told, bytes) else ""
        facts = dict(each.partition(":")[::2] for each in text.splitlines())
        policy = facts.get("maxmemory_policy", "")
        if facts.get("maxmemory", "0") != "0" and policy.startswith("allkeys"):
            raise LeaseSetupError(
                f"the store {self.address} throws keys away when its memory is full "
                f"(maxmemory-policy {shown(policy)}), so a lease could be forgotten: set noeviction"
            )

    def _compare_clocks(self, now: int) -> None:
        """``now``: the time of the server, in ms."""
        apart = now / 1000 - self._wall_clock()
        if abs(apart) > _CLOCKS_APART and not self._told_clock:
            self._told_clock = True
            say(
                LINK,
                WARNING,
                "the clock of the store %s is %.0f s %s that of this machine: leases do not "
                "depend on it, but one of them is wrong",
                self.address,
                abs(apart),
                "ahead of" if apart > 0 else "behind",
            )


class _Lines:
    """The two connections of a store, in one run of trio.

    An answer that nobody has asked for ends a connection, and a subscription that is not permitted
    is answered so: hence it has another one than the calls.
    """

    def __init__(self, store: RedisStore) -> None:
        self._run = trio.lowlevel.current_trio_token()
        self.calls = store.line(patience=store.patience)
        self.news = store.line(patience=store.patience)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.calls)
        await self._stack.enter_async_context(self.news)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, traceback)

    @property
    def is_here(self) -> bool:
        """Whether the run of trio is theirs in which this is asked."""
        return self._run is trio.lowlevel.current_trio_token()

    def give_up(self, why: LeaseError) -> None:
        """Connect anew: the address may lead to another server now."""
        self.calls.give_up(why)
        self.news.give_up(why)


class StoreLease:
    """The lease of one tool in a store, for one owner: a ``Lease``."""

    def __init__(self, store: RedisStore, name: str, owner: str | None = None) -> None:
        self._store = store
        self._name = tool_name(name)
        self._owner = owner_name(owner)
        self._identity = identity(self._owner)
        self._process = os.getpid()
        self._keys = store.key("leases"), store.key("lease", name)
        self._channel = store.key("news", name)
        self._lines: _Lines | None = None

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self._name!r}, owner={self._owner!r}, store={self._store!r})"
        )

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
        expect_process(self._process, self)
        if self._lines is not None:
            raise LocalProtocolError(f"{self!r} is in use already")
        shared = self._store._lines
        try:
            if shared is not None and shared.is_here:
                self._lines = shared
                yield
            else:
                async with _Lines(self._store) as self._lines:
                    yield
        finally:
            self._lines = None

    async def acquire(self) -> Granted | Held:
        """Get the lease if nobody has it."""
        match await self._run(ACQUIRE):
            case Vacant():
                raise self._meaningless("nobody has the lease, and it is not granted")
            case answer:
                return answer

    async def renew(self, epoch: int, saved: bytes) -> Granted | Held | Vacant:
        """Have it for ``duration`` from now, if nobody got it since."""
        return await self._run(RENEW, epoch, checked_saved(saved))

    async def release(self, epoch: int, saved: bytes | None) -> None:
        """Give it back."""
        words: list[Word] = [epoch]
        if saved is not None:
            words.append(checked_saved(saved))
        await self._ask(RELEASE, *words)

    async def watch(self) -> AsyncGenerator[Held | Vacant, None]:
        """Who has it: at once, and when that changes."""
        latest: Held | Vacant | None = None
        async with self._connection().news.news(self._channel) as news:
            while True:
                found = await self._run(LOOK)
                patience = self.duration
                match found:
                    case Granted():
                        raise self._meaningless("it grants what was not asked for")
                    case Held(remaining=patience):
                        now: Held | Vacant = replace(found, remaining=0.0)
                    case Vacant():
                        now = found
                    case _:
                        assert_never(found)
                if now != latest:
                    latest = now
                    yield found
                with trio.move_on_after(patience):
                    try:
                        await news.receive()
                    except trio.EndOfChannel:
                        raise LeaseError(
                            f"the connection to the store {self._store.address} was lost"
                        ) from None

    def _connection(self) -> _Lines:
        if self._lines is None:
            raise LocalProtocolError(f"{self!r} is used outside its block (connected())")
        return self._lines

    async def _ask(self, script: Script, *words: Word) -> Reply:
        length = self._store.length
        about = (*self._keys, LAYOUT, length, self._name, self._channel, self._identity)
        lines, address = self._connection(), self._store.address
        reply = await lines.calls.run(script, 2, *about, *words)
        match reply:
            case [b"replica"]:
                error = replica(address)
                lines.give_up(error)
                raise error
            case [b"layout", bytes() as layout]:
                raise LeaseSetupError(
                    f"the store {address} has leases of layout {_text(layout)} under the prefix "
                    f"{self._store.prefix!r}, and this program knows {LAYOUT}"
                )
            case [b"length", bytes() as other]:
                raise LeaseSetupError(
                    f"the store {address} has leases of {_text(other)} ms under the prefix "
                    f"{self._store.prefix!r}, and here they have {length}: all owners are to have "
                    "the same"
                )
            case [bytes(), *_, int() as now] if not any(isinstance(each, bool) for each in reply):
                self._store._compare_clocks(now)
                return reply
            case _:
                raise self._meaningless(shown(reply))

    async def _run(self, script: Script, *words: Word) -> Granted | Held | Vacant:
        match reply := await self._ask(script, *words):
            case [b"granted", int() as epoch, bytes() | None as saved, int() as age, int()] if (
                0 < epoch <= _HIGHEST_EPOCH
            ):
                if saved is not None and len(saved) > LONGEST_SAVED:
                    saved = None
                return Granted(epoch, saved, max(age, 0) / 1000)
            case [b"held", bytes() as owner, int() as epoch, int() as remaining, int()] if (
                0 <= epoch <= _HIGHEST_EPOCH
            ):
                # A millisecond at least: who waits for its end does not spin.
                left = min(max(remaining / 1000, 0.001), self.duration)
                return Held(_text(owner), epoch, left)
            case [b"vacant", int() as epoch, int()] if 0 <= epoch <= _HIGHEST_EPOCH:
                return Vacant(epoch)
            case _:
                raise self._meaningless(shown(reply))

    def _meaningless(self, what: str) -> LeaseError:
        return LeaseError(f"the store {self._store.address} answers what it cannot mean: {what}")


class RedisLease(StoreLease):
    """The lease of one tool, with a store of its own: ``open_link(..., lease=RedisLease(...))``.

    The words are those of ``RedisStore``.
    """

    def __init__(
        self,
        url: str,
        name: str,
        owner: str | None = None,
        *,
        prefix: str = "hsms",
        duration: float = 10.0,
        tls: Tls | None = None,
        password_file: str | os.PathLike[str] = "",
    ) -> None:
        store = RedisStore(
            url, prefix=prefix, duration=duration, tls=tls, password_file=password_file
        )
        super().__init__(store, name, owner)


def _text(value: bytes) -> str:
    return shown(value[:LONGEST_OWNER].decode(errors="replace"))
