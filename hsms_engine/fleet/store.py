"""The store of a fleet: it gives leases, and has the streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, runtime_checkable
from weakref import WeakKeyDictionary

from hsms_engine.errors import SettingsError
from hsms_engine.fleet.streams import MemoryStreams, Streams
from hsms_engine.lease import Lease, MemoryStore

__all__ = ["FleetStore", "open_streams"]


class FleetStore(Protocol):
    """What gives the leases of all tools: ``MemoryStore``, ``RedisStore``, or another."""

    @property
    def duration(self) -> float:
        """How long a grant lasts, in seconds."""
        ...

    def lease(self, name: str, owner: str | None = None) -> Lease:
        """The lease of a tool, for one owner."""
        ...


# All fleets of a process that have one store have the same streams.
_IN_MEMORY: WeakKeyDictionary[MemoryStore, MemoryStreams] = WeakKeyDictionary()


@runtime_checkable
class _HasLines(Protocol):
    """A ``RedisStore``, for who does without its extra."""

    def key(self, *parts: str) -> str: ...

    def line(self, *, patience: float, longest_reply: int = ...) -> object: ...


@asynccontextmanager
async def open_streams(
    store: FleetStore, streams: Streams | None, *, has_leases: bool
) -> AsyncIterator[Streams]:
    """``streams``, or else those which this store has; ``has_leases``: its leases are used too."""
    match store:
        case _ if streams is not None:
            yield streams
        case MemoryStore():
            yield _IN_MEMORY.setdefault(store, MemoryStreams())
        case _HasLines():
            from hsms_engine.fleet.redis import redis_streams

            async with redis_streams(store, has_leases=has_leases) as opened:
                yield opened
        case _:
            raise SettingsError(
                f"{type(store).__name__} has no streams that are known here: give streams="
            )
