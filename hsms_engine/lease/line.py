"""A connection to a store that is made when it is needed, and again after it was lost.

Invariant: nothing here waits without end, and nothing that the store sends is kept without a bound.
"""

from __future__ import annotations

import logging
import socket
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from math import inf
from types import TracebackType
from typing import Any, Self, TypeAlias

import trio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream, connect_tcp
from anyio.abc import ByteStream, SocketAttribute
from coredis.connection import BaseConnection, TCPLocation
from coredis.exceptions import ConnectionError as LostError
from coredis.exceptions import NoScriptError, RedisError, ResponseError

from hsms_engine.errors import LeaseError, LeaseSetupError, LocalProtocolError
from hsms_engine.lease.address import Access
from hsms_engine.lease.failures import failure_of, shown
from hsms_engine.lease.replies import Replies, UnreadableError
from hsms_engine.lease.scripts import Script
from statecharts.nursery import open_bare_nursery

Word: TypeAlias = bytes | str | int

Reply: TypeAlias = object
"""What a store has answered: nothing of it is trusted."""

# It logs each attempt that fails, with a traceback. What it says there, our errors say.
# Whoever has chosen a level for it reads it all the same.
_COREDIS = logging.getLogger("coredis")
_COREDIS.setLevel(_COREDIS.level or logging.CRITICAL)

# What a connection raises, or what it is made of: no address, no TLS, an answer that is an error.
_FAILURES = (OSError, BrokenResourceError, ClosedResourceError, EndOfStream, RedisError)

LONGEST_REPLY = 1 << 20

# For so long, in seconds, the reason why there is no connection stands: however many ask.
_PAUSE = 0.05


class _Checked(ByteStream):
    """The bytes of a store, which are looked at before coredis sees them."""

    def __init__(self, inner: ByteStream, connection: _Connection) -> None:
        self._inner, self._connection = inner, connection

    async def receive(self, max_bytes: int = 65536) -> bytes:
        data = await self._inner.receive(max_bytes)
        self._connection.check(data)
        return data

    async def send(self, item: bytes) -> None:
        await self._inner.send(item)

    async def send_eof(self) -> None:
        await self._inner.send_eof()

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Connection(BaseConnection):
    """A connection that knows since when it owes an answer, and why it was given up.

    It is made of a stream that is open: what coredis makes before would not be closed otherwise.
    """

    def __init__(
        self, opened: ByteStream, location: TCPLocation, longest_reply: int, **options: Any
    ) -> None:
        super().__init__(location, **options)
        self.replies = Replies(longest_reply)
        self.failure: BaseException | None = None
        self._opened = opened
        self._owed: deque[float] = deque()

    def describe(self) -> str:
        """For the texts of coredis."""
        return f"{type(self).__name__}({self.location!r})"

    async def _connect(self) -> ByteStream:
        return _Checked(self._opened, self)

    def create_request(self, command: bytes, *args: Any, **options: Any) -> Any:
        request = super().create_request(command, *args, **options)
        self._owed.append(trio.current_time())
        return request

    def owes_for(self) -> float:
        """For how long the oldest answer has been waited for."""
        return trio.current_time() - self._owed[0] if self._owed else 0.0

    def check(self, data: bytes) -> None:
        before = self.replies.answered
        try:
            self.replies.feed(data)
            for _ in range(self.replies.answered - before):
                if not self._owed:
                    # A subscription that is not permitted is answered so.
                    text = data.partition(b"\r\n")[0].decode(errors="replace")
                    raise ResponseError(text.removeprefix("-"))
                self._owed.popleft()
        except (UnreadableError, ResponseError) as error:
            self.failure = error
            raise


class _Bell:
    """Those who wait for news of one channel."""

    __slots__ = ("is_heard", "waiting")

    def __init__(self) -> None:
        self.is_heard = trio.Event()
        self.waiting: set[trio.MemorySendChannel[None]] = set()


class _Attempt:
    """One connection: while it is made, while it lasts, and why it is over.

    ``connection`` is there when ``made`` is set and there is no ``error``.
    """

    __slots__ = (
        "bells",
        "connection",
        "due",
        "error",
        "made",
        "over_since",
        "ready_since",
        "scope",
    )

    connection: _Connection

    def __init__(self, patience: float) -> None:
        # Who was cancelled, and gives a lease back, still needs it.
        self.scope = trio.CancelScope(deadline=trio.current_time() + patience, shield=True)
        self.made = trio.Event()
        self.ready_since: float | None = None
        self.over_since: float | None = None
        self.error: BaseException | None = None
        self.bells: dict[bytes, _Bell] = {}
        # How many subscriptions to each channel are not confirmed yet.
        self.due: Counter[bytes] = Counter()

    def begin(self) -> None:
        """The connection is there."""
        self.scope.deadline = inf
        self.ready_since = trio.current_time()
        self.made.set()

    def end(self, error: BaseException) -> None:
        """No more of it, because of ``error``, unless it is over already."""
        if self.over_since is None:
            self.over_since = trio.current_time()
            self.error = error
            self.scope.cancel()
            self.made.set()
            for bell in self.bells.values():
                bell.is_heard.set()
                for each in bell.waiting:
                    each.close()

    def may_be_tried_again(self, patience: float) -> bool:
        """Whether another connection is to be made."""
        if self.ready_since is not None:
            if not self.connection.usable:
                # coredis knows before its last push is read here.
                self.end(self.connection.failure or LostError())
            elif self.connection.owes_for() > patience:
                self.end(trio.TooSlowError())
        if self.over_since is None:
            return False
        return self.ready_since is not None or trio.current_time() >= self.over_since + _PAUSE

    def is_late(self, patience: float) -> bool:
        """Whether who waited for ``patience`` has waited for the store: not for the connection."""
        assert self.ready_since is not None
        return trio.current_time() - self.ready_since > patience / 2

    def tell(self, push: object) -> None:
        """News from the store, which may be anything."""
        match push:
            case [b"subscribe", bytes() as channel, *_] if channel in self.due:
                self.due[channel] -= 1
                if not self.due[channel]:
                    del self.due[channel]
                    # Who was heard before may be gone.
                    if channel in self.bells:
                        self.bells[channel].is_heard.set()
            case [b"message", bytes() as channel, *_] if channel in self.bells:
                for each in self.bells[channel].waiting:
                    with suppress(trio.WouldBlock):
                        each.send_nowait(None)
            case _:
                pass


class Line:
    """Commands go out in order, and each has its answer or a ``LeaseError`` within ``patience``.

    Use: ``async with Line(...) as line``, in one run of trio. It works until the end of the block,
    for who is shielded also when that is cancelled. A command that blocks in the store holds up
    those behind it: it has a line of its own. ``greet`` is awaited with a way to ask, for each new
    connection; what it raises ends that.
    """

    def __init__(
        self,
        access: Access,
        *,
        patience: float,
        longest_reply: int,
        greet: Callable[[Callable[..., Awaitable[Reply]], str], Awaitable[None]],
    ) -> None:
        self._access = access
        self._store = str(access.address)
        self._patience = patience
        self._longest_reply = longest_reply
        self._greet = greet
        self._bare = open_bare_nursery()
        self._nursery: trio.Nursery | None = None
        self._attempt: _Attempt | None = None

    async def __aenter__(self) -> Self:
        self._nursery = await self._bare.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        if self._attempt is not None:
            # Earlier ones are over. Who waits for this one, or for its news, may be outside.
            self._attempt.end(ClosedResourceError())
        self._nursery = self._attempt = None
        return await self._bare.__aexit__(kind, error, traceback)

    async def call(self, command: str, *words: Word, patience: float | None = None) -> Reply:
        """The answer to one command."""
        attempt: _Attempt | None = None
        patience = self._patience if patience is None else patience
        try:
            with trio.fail_after(patience):
                attempt = await self._connected()
                return await attempt.connection.create_request(command.encode(), *words)
        except trio.TooSlowError:
            raise self._late(attempt, patience) from None
        except _FAILURES as error:
            raise self._failure(attempt, error) from error

    async def run(self, script: Script, *words: Word) -> Reply:
        """The answer of a script. ``words``: the number of keys, the keys, and the rest."""
        attempt: _Attempt | None = None
        try:
            with trio.fail_after(self._patience):
                attempt = await self._connected()
                ask = attempt.connection.create_request
                try:
                    return await ask(b"EVALSHA", script.sha, *words)
                except NoScriptError:
                    return await ask(b"EVAL", script.text, *words)
        except trio.TooSlowError:
            raise self._late(attempt, self._patience) from None
        except _FAILURES as error:
            raise self._failure(attempt, error) from error

    @asynccontextmanager
    async def news(self, channel: str) -> AsyncIterator[trio.MemoryReceiveChannel[None]]:
        """Something comes each time that news come on the channel; it ends with the connection."""
        key = channel.encode()
        send, receive = trio.open_memory_channel[None](1)
        attempt: _Attempt | None = None
        with send, receive:
            try:
                try:
                    with trio.fail_after(self._patience):
                        attempt = await self._connected()
                        bell = attempt.bells.get(key)
                        if bell is None:
                            bell = attempt.bells[key] = _Bell()
                            attempt.due[key] += 1
                            attempt.connection.send_command(b"SUBSCRIBE", key)
                        bell.waiting.add(send)
                        await bell.is_heard.wait()
                except trio.TooSlowError:
                    raise self._late(attempt, self._patience) from None
                except _FAILURES as error:
                    raise self._failure(attempt, error) from error
                if attempt.error is not None:
                    raise failure_of(self._store, attempt.error)
                yield receive
            finally:
                if attempt is not None:
                    self._unhear(attempt, key, send)

    def give_up(self, why: LeaseError) -> None:
        """End the connection that there is; the next call makes another."""
        if self._attempt is not None:
            self._attempt.end(why)

    def _unhear(self, attempt: _Attempt, key: bytes, send: trio.MemorySendChannel[None]) -> None:
        bell = attempt.bells[key]
        bell.waiting.discard(send)
        if not bell.waiting:
            del attempt.bells[key]
            # A connection that is over has forgotten it.
            with suppress(*_FAILURES):
                attempt.connection.send_command(b"UNSUBSCRIBE", key)

    async def _connected(self) -> _Attempt:
        if self._nursery is None:
            raise LocalProtocolError(
                f"the store {self._store} is used outside its block (async with ...)"
            )
        attempt = self._attempt
        if attempt is None or attempt.may_be_tried_again(self._patience):
            attempt = self._attempt = _Attempt(self._patience)
            self._nursery.start_soon(self._live, attempt)
        await attempt.made.wait()
        if attempt.error is not None:
            raise failure_of(self._store, attempt.error)
        return attempt

    async def _live(self, attempt: _Attempt) -> None:
        error: BaseException = trio.TooSlowError()
        connection: _Connection | None = None
        try:
            with attempt.scope:
                attempt.connection = connection = await self._open()
                async with open_bare_nursery() as nursery:
                    await nursery.start(connection.run)
                    await self._greet(connection.create_request, connection.server_version or "")
                    attempt.begin()
                    async for push in connection.push_messages:
                        connection.replies.pushes -= 1
                        attempt.tell(push)
        except (*_FAILURES, LeaseError) as failed:
            # To be cancelled is a failure to coredis.
            if not attempt.scope.cancel_called:
                error = (connection and connection.failure) or failed
        attempt.end(error)

    async def _open(self) -> _Connection:
        address, context = self._access.address, self._access.context()
        password = self._access.password()
        try:
            if context is None:
                stream: ByteStream = await connect_tcp(address.host, address.port)
            else:
                stream = await connect_tcp(
                    address.host,
                    address.port,
                    ssl_context=context,
                    # Like every server of this kind, it ends TCP without a word of TLS.
                    tls_standard_compatible=False,
                )
        except UnicodeError as error:
            # A name beyond ASCII is looked at before anybody is asked for it.
            why = f"its host is no name of one: {shown(error)}"
            raise LeaseSetupError(f"the store {self._store} is not reached: {why}") from error
        raw = stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return _Connection(
            stream,
            TCPLocation(address.host, address.port),
            self._longest_reply,
            db=address.database,
            username=address.user or None,
            password=password or None,
        )

    def _late(self, attempt: _Attempt | None, patience: float) -> LeaseError:
        if attempt is not None:
            if attempt.is_late(patience):
                attempt.end(trio.TooSlowError())
            hint = ""
        else:
            hint = ": is TLS spoken there?" if self._access.address.tls else ""
        return LeaseError(f"the store {self._store} does not answer within {patience:g} s{hint}")

    def _failure(self, attempt: _Attempt | None, error: BaseException) -> LeaseError:
        why = attempt and attempt.connection.failure
        return failure_of(self._store, why or error)
