"""The block of a link with a lease is cancelled after each step of any task, and leaves nothing."""

from __future__ import annotations

import itertools
from contextlib import suppress
from functools import partial

import trio

from hsms_engine import open_link
from hsms_engine.lease import Granted, MemoryStore
from tests.support.cancelling import Cut, nothing_runs
from tests.support.leaks import leak_check
from tests.support.pair import Switchboard
from tests.support.raw_peer import SELECT_REQ, select_rsp
from tests.support.seeded import run, seeded_scheduler

__all__ = ["leak_check", "seeded_scheduler"]


def test_cancelled_after_any_step_it_leaves_no_task_and_no_lease() -> None:
    for at in itertools.count():
        cut = Cut(at)
        run(partial(one_that_is_cancelled, cut), 1, [cut], is_virtual=True)
        if not cut.is_made:
            break
    assert at > 50


async def one_that_is_cancelled(cut: Cut) -> None:
    store, board = MemoryStore(), Switchboard()

    async def tool() -> None:
        peer = await board.peer()
        while (frame := await peer.next_frame()) is not None and frame.stype == SELECT_REQ:
            with suppress(trio.BrokenResourceError):
                await peer.send(select_rsp(frame.system))
        await peer.close()

    async def block() -> None:
        lease = store.lease("TOOL-7", "first")
        async with open_link("tool", 5000, dial=board.dial, lease=lease) as link:
            await link.wait_selected()
            # Until it has renewed it.
            await trio.sleep(3)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tool)
        # Of virtual time: a deadlock is an hour that passes.
        with trio.fail_after(3_600):
            await cut.patiently(block)
        nothing_runs()
        other = store.lease("TOOL-7", "second")
        async with other.connected():
            assert isinstance(await other.acquire(), Granted)
        nursery.cancel_scope.cancel()
