"""Leases in memory: one store for several loops, on real clocks and on virtual ones."""

from __future__ import annotations

import queue
from contextlib import aclosing
from functools import partial

import pytest
import trio
import trio.testing

from hsms_engine.errors import SettingsError
from hsms_engine.lease import Granted, Held, MemoryStore, Vacant
from hsms_engine.lease.memory import _Watch


def test_a_store_says_what_it_is() -> None:
    store = MemoryStore(5)
    assert store.duration == 5
    assert repr(store) == "MemoryStore(duration=5)"
    assert (
        repr(store.lease("T", "me"))
        == "MemoryLease('T', owner='me', store=MemoryStore(duration=5))"
    )
    with pytest.raises(SettingsError, match="of a lease is not from 1 to 600 seconds"):
        MemoryStore(0)


def test_time_passes_as_the_clock_of_the_run_says() -> None:
    async def scene() -> None:
        store = MemoryStore(10.0)
        a, b = store.lease("T", "a"), store.lease("T", "b")
        async with a.connected(), b.connected():
            assert await a.acquire() == Granted(1)
            await trio.sleep(3)
            match await b.acquire():
                case Held("a", 1, remaining):
                    assert remaining == pytest.approx(7)
                case other:
                    pytest.fail(f"{other}")
            await trio.sleep(6.999)
            assert isinstance(await b.acquire(), Held)
            await trio.sleep(0.002)
            assert await b.acquire() == Granted(2)

    trio.run(scene, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_watch_wakes_when_the_lease_is_over() -> None:
    async def scene() -> None:
        store = MemoryStore(10.0)
        a, b = store.lease("T", "a"), store.lease("T", "b")
        async with a.connected(), b.connected(), aclosing(b.watch()) as watch:
            await a.acquire()
            assert isinstance(await anext(watch), Held)
            began = trio.current_time()
            assert await anext(watch) == Vacant(1)
            assert trio.current_time() - began == pytest.approx(10)

    trio.run(scene, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_watch_tells_nothing_of_a_lease_that_was_renewed() -> None:
    async def scene() -> None:
        store = MemoryStore(10.0)
        a, b = store.lease("T", "a"), store.lease("T", "b")
        async with a.connected(), b.connected(), aclosing(b.watch()) as watch:
            await a.acquire()
            assert isinstance(await anext(watch), Held)
            began = trio.current_time()
            async with trio.open_nursery() as nursery:

                async def renews() -> None:
                    await trio.sleep(5)
                    await a.renew(1, b"")

                nursery.start_soon(renews)
                assert await anext(watch) == Vacant(1)
            assert trio.current_time() - began == pytest.approx(15)

    trio.run(scene, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_watch_that_waits_does_not_run() -> None:
    async def scene() -> None:
        store = MemoryStore(10.0)
        lease = store.lease("T", "a")
        async with lease.connected(), aclosing(lease.watch()) as watch:
            assert await anext(watch) == Vacant(0)
            with trio.move_on_after(10**6):
                await anext(watch)

    trio.run(scene, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_lease_passes_between_two_loops() -> None:
    store = MemoryStore(600.0)
    seen: queue.Queue[object] = queue.Queue()

    async def watches() -> None:
        lease = store.lease("T", "b")
        async with lease.connected(), aclosing(lease.watch()) as watch:
            async for found in watch:
                seen.put(found)
                if isinstance(found, Held):
                    break

    async def owns() -> None:
        lease = store.lease("T", "a")
        async with lease.connected(), trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.to_thread.run_sync, trio.run, watches))
            assert await trio.to_thread.run_sync(seen.get) == Vacant(0)
            assert await lease.acquire() == Granted(1)
        match seen.get():
            case Held("a", 1, remaining):
                # Both loops have one time.
                assert 500 < remaining <= 600
            case other:
                pytest.fail(f"{other}")

    trio.run(owns)


def test_a_watch_whose_loop_is_over_is_passed_over() -> None:
    store = MemoryStore(600.0)
    over: list[trio.lowlevel.TrioToken] = []

    async def begins() -> None:
        over.append(trio.lowlevel.current_trio_token())

    async def acquires() -> None:
        store._look("T", _Watch(trio.Event(), over[0]))
        lease = store.lease("T", "a")
        async with lease.connected():
            assert await lease.acquire() == Granted(1)

    trio.run(begins)
    trio.run(acquires)


async def test_a_call_that_was_cancelled_before_it_began_did_nothing() -> None:
    store = MemoryStore(600.0)
    lease = store.lease("T", "a")
    async with lease.connected():
        with trio.CancelScope() as scope:
            scope.cancel()
            await lease.acquire()
        assert scope.cancelled_caught
        assert await lease.acquire() == Granted(1)
