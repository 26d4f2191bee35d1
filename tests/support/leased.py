"""A link that a lease decides about, and another process that has the lease for a while."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import trio

from hsms_engine import HsmsLink
from hsms_engine.lease import MemoryStore
from hsms_engine.protocol.routers import machine_for
from hsms_engine.protocol.saving import Kept, write
from statecharts.hsms import BREAKER
from tests.support.faulty_lease import FaultyLease
from tests.support.pair import Switchboard, link_end
from tests.support.raw_peer import RawPeer

TOOL = "TOOL-7"
US, OTHER = "host-a:1", "host-b:1"


class Leased(NamedTuple):
    """A link, who answers its dials, its way to the store, and the store."""

    link: HsmsLink
    board: Switchboard
    lease: FaultyLease
    store: MemoryStore

    @property
    def state(self) -> str:
        """Of the lease, as the link sees it."""
        assert self.link.ownership is not None
        return self.link.ownership.state

    async def until(self, state: str) -> None:
        """Wait for a state of the lease; in virtual time."""
        with trio.fail_after(100):
            # Not all that changes it is an event.
            while self.state != state:  # noqa: ASYNC110
                await trio.sleep(0.01)

    async def up(self) -> RawPeer:
        """The peer of the next connection, selected."""
        peer = await self.board.peer()
        await peer.select_by_answering()
        await self.link.wait_selected()
        return peer


@asynccontextmanager
async def leased(store: MemoryStore | None = None, **changes: Any) -> AsyncIterator[Leased]:
    """A link whose lease is in ``store``; it lasts 10 s."""
    store, board = store or MemoryStore(), Switchboard()
    lease = FaultyLease(store.lease(TOOL, US))
    changes = {"linktest_interval": None, **changes}
    async with link_end(board, lease=lease, **changes) as link:
        yield Leased(link, board, lease, store)


@asynccontextmanager
async def taken(store: MemoryStore, owner: str = OTHER) -> AsyncIterator[None]:
    """Another process has the lease, in which nobody has it so far."""
    lease = store.lease(TOOL, owner)
    kept = Kept(True, machine_for(BREAKER, "threshold", 5).initial, None, None)
    saved = json.dumps(write(kept, 0.0)).encode()

    async def renew(epoch: int) -> None:
        while True:
            await trio.sleep(store.duration / 4)
            await lease.renew(epoch, saved)

    async with lease.connected(), trio.open_nursery() as nursery:
        grant = await lease.acquire()
        nursery.start_soon(renew, grant.epoch)
        yield
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await lease.release(grant.epoch, None)
