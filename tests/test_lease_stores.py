"""What every store of leases does: the same scenes with each of them.

The memory has a virtual clock. For the server, whose clock cannot be set, the tests put back what
it has noted.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from itertools import count
from typing import TypeAlias, assert_never

import pytest
import trio
import trio.testing

from hsms_engine.errors import LocalProtocolError, SettingsError
from hsms_engine.lease import Granted, Held, Lease, MemoryStore, RedisStore, Vacant
from tests.support.network import run_patiently
from tests.support.store_server import StoreServer, store_server

LENGTH = 10.0
_prefixes = count()


class Bench:
    """A store, and its time."""

    def __init__(self, store: MemoryStore | RedisStore, server: StoreServer | None) -> None:
        self.store = store
        self._server = server

    def lease(self, name: str, owner: str) -> Lease:
        return self.store.lease(name, owner)

    @asynccontextmanager
    async def leases(self, *owners: str) -> AsyncIterator[list[Lease]]:
        """The lease of one tool, for several owners, ready to be used."""
        leases = [self.lease("T", owner) for owner in owners]
        if isinstance(self.store, RedisStore):
            async with self.store, _connected(leases):
                yield leases
        else:
            async with _connected(leases):
                yield leases

    async def passes(self, seconds: float) -> None:
        """Let time pass."""
        match self.store:
            case MemoryStore():
                await trio.sleep(seconds)
            case RedisStore() as store:
                assert self._server is not None
                key = store.key("lease", "T")
                until, saved_at = [
                    int((await self._server.do("HGET", key, field)).split()[1])
                    for field in ("until", "saved_at")
                ]
                await self._server.do(
                    *("HSET", key, "until", until - round(seconds * 1000)),
                    *("saved_at", saved_at - round(seconds * 1000)),
                )
                # A watch looks when the lease that it saw is over, or when there are news.
                await self._server.do("PUBLISH", store.key("news", "T"), "")
            case _:
                assert_never(self.store)


@asynccontextmanager
async def _connected(leases: list[Lease]) -> AsyncIterator[None]:
    if leases:
        async with leases[0].connected(), _connected(leases[1:]):
            yield
    else:
        yield


Scene: TypeAlias = Callable[[Bench], Awaitable[None]]
Play: TypeAlias = Callable[[Scene], None]


@pytest.fixture(scope="module")
def server() -> Iterator[StoreServer]:
    with store_server() as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
def play(request: pytest.FixtureRequest) -> Play:
    """Play a scene with one of the stores."""
    if request.param == "memory":

        def with_memory(scene: Scene) -> None:
            clock = trio.testing.MockClock(autojump_threshold=0)
            trio.run(scene, Bench(MemoryStore(LENGTH), None), clock=clock)

        return with_memory

    server: StoreServer = request.getfixturevalue("server")

    def with_redis(scene: Scene) -> None:
        store = RedisStore(server.url, prefix=f"plant-{next(_prefixes)}", duration=LENGTH)
        run_patiently(_settled, scene, store, server)

    return with_redis


async def _settled(scene: Scene, store: RedisStore, server: StoreServer) -> None:
    """A new store waits for the length of a lease: that is over."""
    async with store, store.lease("-", "-").connected():
        first = store.lease("-", "-")
        async with first.connected():
            assert await first.acquire() == Held("", 0, LENGTH)
    await server.do("HSET", store.key("leases"), "quiet", "0", "base", "0")
    await scene(Bench(store, server))


def test_the_lease_is_granted_to_one_owner(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        async with bench.leases("a", "b") as (a, b):
            assert await a.acquire() == Granted(1)
            match await b.acquire():
                case Held("a", 1, remaining):
                    assert LENGTH / 2 < remaining <= LENGTH
                case other:
                    pytest.fail(f"{other}")

    play(scene)


def test_an_owner_renews_and_leaves_something_for_the_next(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        async with bench.leases("a", "b") as (a, b):
            await a.acquire()
            assert await a.renew(1, b"one") == Granted(1)
            await bench.passes(LENGTH * 0.9)
            assert await a.renew(1, b"two") == Granted(1)
            await bench.passes(LENGTH * 0.9)
            assert isinstance(await b.acquire(), Held)
            await bench.passes(LENGTH * 0.2)
            match await b.acquire():
                case Granted(2, b"two", age):
                    assert age == pytest.approx(LENGTH * 1.1, abs=LENGTH * 0.1)
                case other:
                    pytest.fail(f"{other}")

    play(scene)


def test_a_lease_that_is_over_can_be_renewed_until_another_has_it(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        async with bench.leases("a", "b") as (a, b):
            await a.acquire()
            await a.renew(1, b"")
            await bench.passes(LENGTH * 2)
            assert await a.renew(1, b"late") == Granted(1)
            await bench.passes(LENGTH * 2)
            assert isinstance(await b.acquire(), Granted)
            match await a.renew(1, b"too late"):
                case Held("b", 2, _):
                    pass
                case other:
                    pytest.fail(f"{other}")
            await b.release(2, None)
            assert await a.renew(1, b"too late") == Vacant(2)
            match await a.acquire():
                case Granted(3, b"late", _):
                    pass
                case other:
                    pytest.fail(f"{other}")

    play(scene)


def test_who_has_the_lease_gets_it_again_with_a_new_epoch(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        async with bench.leases("a") as (a,):
            assert await a.acquire() == Granted(1)
            assert await a.acquire() == Granted(2)
            match await a.renew(1, b"old"):
                case Held("a", 2, _):
                    pass
                case other:
                    pytest.fail(f"{other}")

    play(scene)


def test_a_lease_that_nobody_had_is_not_renewed(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        async with bench.leases("a") as (a,):
            assert await a.renew(1, b"") == Vacant(0)
            assert await a.renew(0, b"") == Vacant(0)

    play(scene)


def test_a_lease_is_given_back(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        async with bench.leases("a", "b") as (a, b):
            await a.acquire()
            await a.renew(1, b"first")
            await a.release(1, None)
            assert await a.renew(1, b"after") == Vacant(1)
            match await b.acquire():
                case Granted(2, b"first", age):
                    assert 0 <= age < LENGTH
                case other:
                    pytest.fail(f"{other}")
            await b.release(2, b"second")
            match await a.acquire():
                case Granted(3, b"second", _):
                    pass
                case other:
                    pytest.fail(f"{other}")

    play(scene)


def test_only_the_lease_in_force_is_given_back(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        async with bench.leases("a", "b") as (a, b):
            await a.release(7, b"nothing")
            await a.acquire()
            await a.acquire()
            await a.release(1, b"old")
            await b.release(2, b"another's")
            match await b.acquire():
                case Held("a", 2, _):
                    pass
                case other:
                    pytest.fail(f"{other}")

    play(scene)


def test_two_owners_of_one_name_are_two_owners(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        async with bench.leases("host", "host") as (a, b):
            await a.acquire()
            match await b.acquire():
                case Held("host", 1, _):
                    pass
                case other:
                    pytest.fail(f"{other}")
            assert isinstance(await b.renew(1, b"not mine"), Held)
            await b.release(1, b"not mine")
            assert await a.renew(1, b"mine") == Granted(1)

    play(scene)


def test_a_watch_tells_who_has_it_and_each_change(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        async with (
            bench.leases("a", "b", "c") as (a, b, c),
            aclosing(c.watch()) as watch,
            aclosing(b.watch()) as other,
        ):
            assert await anext(watch) == Vacant(0)
            assert await anext(other) == Vacant(0)
            await a.acquire()
            for each in (watch, other):
                match await anext(each):
                    case Held("a", 1, remaining):
                        assert 0 < remaining <= LENGTH
                    case found:
                        pytest.fail(f"{found}")
            # A renewal changes nothing.
            await a.renew(1, b"")
            await a.release(1, None)
            assert await anext(watch) == Vacant(1)
            await b.acquire()
            await b.renew(2, b"")
            assert isinstance(await anext(watch), Held)
            await bench.passes(LENGTH * 1.5)
            assert await anext(watch) == Vacant(2)
            assert isinstance(await anext(other), Held | Vacant)

    play(scene)


def test_a_watch_can_end_and_begin_again(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        async with bench.leases("a", "b") as (a, b):
            for epoch in range(1, 20):
                async with aclosing(b.watch()) as watch:
                    assert await anext(watch) == Vacant(epoch - 1)
                    await a.acquire()
                    assert isinstance(await anext(watch), Held)
                await a.release(epoch, None)

    play(scene)


def test_the_leases_of_two_tools_have_nothing_to_do_with_each_other(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        async with bench.leases("a") as (a,):
            other = bench.lease("U", "b")
            async with other.connected():
                assert await a.acquire() == Granted(1)
                assert await other.acquire() == Granted(1)
                await other.release(1, b"U")
                assert await a.renew(1, b"") == Granted(1)

    play(scene)


def test_a_lease_is_used_by_one_and_inside_its_block(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        async with bench.leases():
            lease = bench.lease("T", "a")
            for call in (lease.acquire(), lease.renew(1, b""), anext(lease.watch())):
                with pytest.raises(LocalProtocolError, match="used outside its block"):
                    await call
            async with lease.connected():
                with pytest.raises(LocalProtocolError, match="is in use already"):
                    async with lease.connected():
                        pytest.fail("it is used twice")
                assert await lease.acquire() == Granted(1)
            async with lease.connected():
                assert await lease.acquire() == Granted(2)

    play(scene)


@pytest.mark.parametrize("store", [MemoryStore(), RedisStore("redis://127.0.0.1:1")])
def test_a_lease_is_not_used_in_another_process_than_where_it_was_made(
    store: MemoryStore | RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use() -> None:
        with pytest.raises(LocalProtocolError, match=r"was made in process \d+ .* after the fork"):
            async with lease.connected():
                pytest.fail("it has two owners of one name")

    lease, number = store.lease("T"), os.getpid() + 1
    # As it is in a child after a fork.
    monkeypatch.setattr(os, "getpid", lambda: number)
    trio.run(use)


def test_what_is_left_for_the_next_owner_is_bounded(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        async with bench.leases("a") as (a,):
            await a.acquire()
            assert await a.renew(1, bytes(4096)) == Granted(1)
            for call in (a.renew(1, bytes(4097)), a.release(1, bytes(4097))):
                with pytest.raises(ValueError, match="4097 bytes are left for the next"):
                    await call

    play(scene)


def test_a_lease_says_what_it_is(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        lease = bench.lease("T", "a")
        assert (lease.name, lease.owner, lease.duration) == ("T", "a", LENGTH)
        assert repr(lease).startswith(f"{type(lease).__name__}('T', owner='a', store=")
        one, two = (bench.store.lease("T") for _ in range(2))
        assert one.owner != two.owner

    play(scene)


@pytest.mark.parametrize("name", ["", " T", "T ", "T\n", "T\x1b[m", "x" * 129, "\ud800"])
def test_a_name_is_a_line_of_text(play: Play, name: str) -> None:
    async def scene(bench: Bench) -> None:
        with pytest.raises(SettingsError, match="the name of a tool"):
            bench.store.lease(name)
        with pytest.raises(SettingsError, match="the name of an owner"):
            bench.store.lease("T", name * 2)

    play(scene)


def test_every_printable_name_is_one_name(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        async with bench.leases():
            names = ["T", "t", "T:U", "{T}", "T*", "T?", "[T]", "Prüfer 1", "工具", "a" * 128]
            for name in names:
                lease = bench.lease(name, "Ä")
                async with lease.connected():
                    assert await lease.acquire() == Granted(1)

    play(scene)
