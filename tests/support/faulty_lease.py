"""A lease whose way to the store is slow, fails or is cut, for one owner and not for the others."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TypeVar

import trio

from hsms_engine.errors import LeaseError
from hsms_engine.lease import Granted, Held, Lease, Vacant

_T = TypeVar("_T")


class FaultyLease:
    """Stands before another lease. All may be changed at any time, also during a call.

    ``there`` and ``back`` are seconds that a call needs to reach the store, and its answer. A call
    that ``is_cut`` before it reaches the store is not made; later, it is made and has no answer.
    ``failure`` is raised in place of the call.
    """

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self.there: float = 0.0
        self.back: float = 0.0
        self.is_cut = False
        self.failure: Exception | None = None
        # The calls that were begun, by name.
        self.calls: list[str] = []

    def heal(self) -> None:
        """All of it is as it was in the beginning, for calls that begin now."""
        self.is_cut, self.failure, self.there, self.back = False, None, 0.0, 0.0

    @property
    def name(self) -> str:
        return self._lease.name

    @property
    def owner(self) -> str:
        return self._lease.owner

    @property
    def duration(self) -> float:
        return self._lease.duration

    def connected(self) -> AbstractAsyncContextManager[None]:
        return self._lease.connected()

    async def acquire(self) -> Granted | Held:
        return await self._call("acquire", self._lease.acquire)

    async def renew(self, epoch: int, saved: bytes) -> Granted | Held | Vacant:
        return await self._call("renew", lambda: self._lease.renew(epoch, saved))

    async def release(self, epoch: int, saved: bytes | None) -> None:
        await self._call("release", lambda: self._lease.release(epoch, saved))

    async def watch(self) -> AsyncGenerator[Held | Vacant, None]:
        self.calls.append("watch")
        await self._pass(self.there)
        async with aclosing(self._lease.watch()) as watch:
            async for news in watch:
                await self._pass(self.back)
                yield news

    async def _call(self, name: str, call: Callable[[], Awaitable[_T]]) -> _T:
        self.calls.append(name)
        await self._pass(self.there)
        answer = await call()
        await self._pass(self.back)
        return answer

    async def _pass(self, seconds: float) -> None:
        if self.failure is not None:
            raise self.failure
        await trio.sleep(math.inf if self.is_cut else seconds)
        if self.is_cut:
            await trio.sleep_forever()
        if self.failure is not None:
            raise self.failure


def away() -> LeaseError:
    return LeaseError("the store is away")
