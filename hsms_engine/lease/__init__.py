"""One owner for each tool: leases, and the stores that give them.

``RedisLease`` and ``RedisStore`` need the extra ``fleet``; they are imported when first named.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from hsms_engine.lease.asked import Granted, Held, Lease, Vacant
from hsms_engine.lease.memory import MemoryLease, MemoryStore

if TYPE_CHECKING:
    from hsms_engine.lease.redis import RedisLease, RedisStore
else:
    _LATE = {"RedisLease", "RedisStore"}

    # A type checker that saw it would take any name for one of the package.
    def __getattr__(name: str) -> object:
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found: object = getattr(import_module(f"{__name__}.redis"), name)
        # So that this is asked once for each name.
        globals()[name] = found
        return found


__all__ = [
    "Granted",
    "Held",
    "Lease",
    "MemoryLease",
    "MemoryStore",
    "RedisLease",
    "RedisStore",
    "Vacant",
]
