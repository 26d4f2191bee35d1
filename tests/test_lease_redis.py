"""Leases in a real server: what it forgets, refuses and suffers; and what a false one sends.

The leases are so long that nobody loses patience with a busy machine; where somebody does, the
clock stands still until the test moves it. The time of the server cannot be set, so tests put back
what it has noted.
"""

from __future__ import annotations

import errno
import logging
import re
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from itertools import count
from pathlib import Path

import anyio
import pytest
import trio
import trio.testing

from hsms_engine import TlsFiles, lease
from hsms_engine.errors import LeaseError, LeaseSetupError, LocalProtocolError
from hsms_engine.lease import Granted, Held, RedisLease, RedisStore, Vacant, replies
from hsms_engine.lease.failures import failure_of
from hsms_engine.lease.line import Line, Word, _Attempt, _Bell
from hsms_engine.lease.redis import StoreLease
from hsms_engine.lease.scripts import Script
from tests.support import certificates
from tests.support.fake_store import (
    Answers,
    Words,
    as_a_store,
    blob,
    fake_store,
    hello,
    leases_by,
)
from tests.support.store_server import Relay, StoreServer, relay, store_server

LENGTH = 600.0
PATIENCE = LENGTH / 5
_prefixes = count()


@pytest.fixture(scope="module")
def server() -> Iterator[StoreServer]:
    with store_server() as server:
        yield server


@pytest.fixture
def still(mock_clock: trio.testing.MockClock) -> trio.testing.MockClock:
    return mock_clock


def a_store(url: str, **options: object) -> RedisStore:
    return RedisStore(url, prefix=f"plant-{next(_prefixes)}", duration=LENGTH, **options)  # type: ignore[arg-type]  # words of several types


async def first_seen(lease: StoreLease) -> Held | Vacant:
    """What a watch tells at once."""
    async with aclosing(lease.watch()) as watch:
        return await anext(watch)


async def failing(call: Awaitable[object], clock: trio.testing.MockClock, *jumps: float) -> str:
    """What the error of a call says, which fails while the clock makes these jumps."""
    said = []
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            with pytest.raises(LeaseError) as caught:
                await call
            said.append(str(caught.value))

        nursery.start_soon(run)
        for jump in jumps:
            # What goes over sockets is not waited for by ``wait_all_tasks_blocked``.
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert not said
            clock.jump(jump)
    return said[0]


async def end_quarantine(server: StoreServer, store: RedisStore) -> None:
    await server.do("HSET", store.key("leases"), "quiet", "0")


@asynccontextmanager
async def leases(store: RedisStore, *owners: str) -> AsyncIterator[list[StoreLease]]:
    """The lease of one tool for some owners, with one connection together."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(store)
        found = [store.lease("T", owner) for owner in owners]
        for lease in found:
            await stack.enter_async_context(lease.connected())
        yield found


@asynccontextmanager
async def settled(
    server: StoreServer, *owners: str, url: str = ""
) -> AsyncIterator[list[StoreLease]]:
    """The same, where no quarantine is any more."""
    store = a_store(url or server.url)
    async with leases(store, *owners) as found:
        await found[0].acquire()
        await end_quarantine(server, store)
        yield found


def store_of(lease: StoreLease) -> RedisStore:
    return lease._store


async def granted(lease: StoreLease) -> Granted:
    answer = await lease.acquire()
    assert isinstance(answer, Granted), answer
    return answer


# A store that has forgotten


async def test_a_new_store_waits_for_the_length_of_a_lease(server: StoreServer) -> None:
    async with leases(a_store(server.url), "a", "b") as (a, b):
        assert await a.acquire() == Held("", 0, LENGTH)
        assert isinstance(await b.acquire(), Held)
        await end_quarantine(server, store_of(a))
        assert (await granted(a)).saved is None


async def restarted(server: StoreServer, before: Relay) -> None:
    server.kill()
    server.start()
    before.to = server.port


async def test_a_store_that_lost_everything_gives_no_lease_to_a_second_owner(
    still: trio.testing.MockClock,
) -> None:
    with store_server() as server:
        async with (
            relay(server.port) as before,
            settled(server, "a", "b", url=before.url()) as (a, b),
        ):
            mine = await granted(a)
            await restarted(server, before)
            match await again(b, still):
                case Held("", 0, remaining):
                    assert remaining <= LENGTH
                case other:
                    pytest.fail(f"{other}")
            # The owner is known again, and then nothing is granted to another.
            assert await a.renew(mine.epoch, b"kept") == Granted(mine.epoch)
            await end_quarantine(server, store_of(a))
            match await b.acquire():
                case Held("a", mine.epoch, _):
                    pass
                case other:
                    pytest.fail(f"{other}")
            await a.release(mine.epoch, None)
            match await b.acquire():
                case Granted(epoch, b"kept", _):
                    assert epoch > mine.epoch
                case other:
                    pytest.fail(f"{other}")


async def again(lease: StoreLease, clock: trio.testing.MockClock) -> Granted | Held:
    """The first answer. The clock of the test goes on while there is none."""
    for _ in range(1000):
        try:
            return await lease.acquire()
        except LeaseError:
            clock.jump(0.1)
    pytest.fail("the store does not come back")


async def test_epochs_go_on_although_all_was_lost_with_their_owner(
    still: trio.testing.MockClock,
) -> None:
    with store_server() as server:
        async with (
            relay(server.port) as before,
            settled(server, "a", "b", url=before.url()) as (a, b),
        ):
            first = await granted(a)
            await restarted(server, before)
            assert isinstance(await again(b, still), Held)
            await end_quarantine(server, store_of(a))
            second = await granted(b)
            assert second.epoch > first.epoch
            match await a.renew(first.epoch, b""):
                case Held("b", second.epoch, _):
                    pass
                case other:
                    pytest.fail(f"{other}")


async def test_whoever_empties_a_store_starts_its_quarantine() -> None:
    with store_server() as other:
        async with settled(other, "a", "b") as (a, b):
            mine = await granted(a)
            await other.do("FLUSHALL")
            assert isinstance(await b.acquire(), Held)
            # A lease before that is not known again.
            assert isinstance(await a.renew(-1, b""), Held)
            assert await a.renew(mine.epoch, b"") == Granted(mine.epoch)
            # What an owner gives back in a quarantine is known too.
            await a.release(mine.epoch, b"left")
            await end_quarantine(other, store_of(a))
            match await b.acquire():
                case Granted(epoch, b"left", _):
                    assert epoch > mine.epoch
                case found:
                    pytest.fail(f"{found}")


async def test_a_lease_that_was_lost_alone_is_waited_for(server: StoreServer) -> None:
    async with settled(server, "a", "b") as (a, b):
        mine = await granted(a)
        await server.do("DEL", store_of(a).key("lease", "T"))
        match await b.acquire():
            case Held("", mine.epoch, remaining):
                assert remaining == pytest.approx(LENGTH, abs=5)
            case other:
                pytest.fail(f"{other}")
        await server.do("HSET", store_of(a).key("lease", "T"), "until", "0")
        assert (await granted(b)).epoch == mine.epoch + 1


async def test_a_store_whose_clock_was_put_back_waits_no_longer_than_a_lease(
    server: StoreServer,
) -> None:
    async with settled(server, "a", "b") as (a, b):
        await granted(a)
        store = store_of(a)
        await server.do("HSET", store.key("lease", "T"), "until", 10**13)
        match await b.acquire():
            case Held("a", _, remaining):
                assert remaining <= LENGTH
            case other:
                pytest.fail(f"{other}")
        assert int((await server.do("HGET", store.key("lease", "T"), "until")).split()[1]) < 10**13
        await server.do("HSET", store.key("leases"), "quiet", 10**13)
        await server.do("HSET", store.key("lease", "T"), "until", 0)
        match await b.acquire():
            case Held("", _, remaining):
                assert remaining <= LENGTH
            case other:
                pytest.fail(f"{other}")
        assert int((await server.do("HGET", store.key("leases"), "quiet")).split()[1]) < 10**13


async def test_a_replica_that_takes_over_without_the_last_writes_gives_no_second_owner(
    still: trio.testing.MockClock,
) -> None:
    with store_server() as master, store_server() as replica:
        async with (
            relay(master.port) as before,
            settled(master, "a", "b", "c", url=before.url()) as (a, b, c),
        ):
            first = await granted(a)
            await replica.do("REPLICAOF", "127.0.0.1", master.port)
            await replicated(master, store_of(a))
            # From here on nothing reaches the replica.
            await replica.do("REPLICAOF", "NO", "ONE")
            await a.release(first.epoch, None)
            # The first replica of a master changes what it calls its data: that is a quarantine.
            assert isinstance(await b.acquire(), Held)
            await end_quarantine(master, store_of(a))
            second = await granted(b)
            before.to = replica.port
            before.cut()
            # It knows the first owner only, and waits.
            assert isinstance(await again(c, still), Held)
            assert await b.renew(second.epoch, b"") == Granted(second.epoch)
            assert isinstance(await a.renew(first.epoch, b""), Held)
            await end_quarantine(replica, store_of(a))
            for other in (a, c):
                match await other.acquire():
                    case Held("b", second.epoch, _):
                        pass
                    case found:
                        pytest.fail(f"{found}")
            await b.release(second.epoch, None)
            assert (await granted(c)).epoch > second.epoch


async def replicated(master: StoreServer, store: RedisStore) -> None:
    """Until a replica has all that was written."""
    answer = b""
    while answer != b":1\r\n":
        # It waits as long as is needed for a replica that has begun.
        await master.do("HSET", store.key("x"), "x", "x")
        answer = (await master.do("WAIT", 1, 100)).splitlines(keepends=True)[-1]


async def test_a_replica_gives_no_lease_until_it_takes_over() -> None:
    with store_server() as master, store_server() as replica:
        store = a_store(replica.url)
        await replica.do("REPLICAOF", "127.0.0.1", master.port)
        await replicated(master, store)
        async with leases(store, "a") as (a,):
            for _ in range(2):
                with pytest.raises(LeaseError, match="is a replica, where nothing is written"):
                    await a.acquire()
            await replica.do("REPLICAOF", "NO", "ONE")
            assert isinstance(await a.acquire(), Held)


async def test_who_met_a_replica_dials_again_and_may_find_the_master() -> None:
    with store_server() as master, store_server() as replica:
        await replica.do("REPLICAOF", "127.0.0.1", master.port)
        async with (
            relay(master.port) as before,
            settled(master, "a", "b", url=before.url()) as (a, b),
            aclosing(b.watch()) as watch,
        ):
            await replicated(master, store_of(a))
            await a.acquire()
            await end_quarantine(master, store_of(a))
            await granted(a)
            await replicated(master, store_of(a))
            assert isinstance(await anext(watch), Held)
            before.to = replica.port
            before.cut()
            with pytest.raises(LeaseError, match="was lost"):
                await anext(watch)
            # Its other connection may not be over yet.
            with suppress(LeaseError):
                await a.acquire()
            # It would only have to read, to say that another has it.
            with pytest.raises(LeaseError, match="is a replica, where nothing is written"):
                await b.acquire()
            before.to = master.port
            assert isinstance(await b.acquire(), Held)


# A store that is away


async def test_a_server_that_is_killed_fails_each_call_until_it_is_back(
    still: trio.testing.MockClock,
) -> None:
    with store_server() as server:
        async with (
            relay(server.port) as before,
            settled(server, "a", "b", url=before.url()) as (a, b),
            aclosing(b.watch()) as watch,
        ):
            mine = await granted(a)
            assert isinstance(await anext(watch), Held)
            server.kill()
            before.to = None
            with pytest.raises(LeaseError, match="was lost"):
                await anext(watch)
            for call in (a.acquire, lambda: a.renew(1, b""), lambda: a.release(1, None)):
                with pytest.raises(LeaseError) as caught:
                    await call()
                assert type(caught.value) is LeaseError
                assert f"127.0.0.1:{before.port}" in str(caught.value)
            server.start()
            before.to = server.port
            assert isinstance(await again(b, still), Held)
            assert await a.renew(mine.epoch, b"") == Granted(mine.epoch)


async def test_a_watch_does_not_begin_without_a_server(still: trio.testing.MockClock) -> None:
    with store_server() as server:
        url = server.url
    async with leases(a_store(url), "a") as (a,):
        for _ in range(2):
            with pytest.raises(LeaseError, match="is not reached: Connection refused"):
                await first_seen(a)
            still.jump(1)


async def test_a_server_that_stopped_costs_a_call_no_more_than_its_patience(
    still: trio.testing.MockClock,
) -> None:
    with store_server() as server:
        async with settled(server, "a") as (a,):
            server.stop()
            assert "does not answer within 120 s" in await failing(a.acquire(), still, PATIENCE)
            # Neither does a new connection, which nobody greets.
            assert "does not answer" in await failing(a.acquire(), still, PATIENCE)
            server.resume()
            await trio.testing.wait_all_tasks_blocked()
            still.jump(1)
            assert isinstance(await a.acquire(), Granted)


async def test_who_joins_an_attempt_learns_why_it_failed(still: trio.testing.MockClock) -> None:
    async with (
        fake_store(silent_to(b"HELLO")) as url,
        leases(a_store(url), "a", "b") as (a, b),
        trio.open_nursery() as nursery,
    ):
        said: list[str] = []

        async def call(lease: StoreLease) -> None:
            with pytest.raises(LeaseError) as caught:
                await lease.acquire()
            said.append(str(caught.value).partition("does")[2])

        for each in (a, b):
            nursery.start_soon(call, each)
            await trio.testing.wait_all_tasks_blocked(0.05)
            still.jump(PATIENCE / 2)
        await trio.testing.wait_all_tasks_blocked(0.05)
        # For a moment the reason stands.
        await call(a)
        assert sorted(said) == [" not answer", " not answer", " not answer within 120 s"]


def test_the_line_says_what_is_at_the_bottom_of_an_error() -> None:
    refused = OSError("All connection attempts failed")
    refused.__cause__ = ExceptionGroup("", [ConnectionRefusedError(errno.ECONNREFUSED, "x")])
    unreachable = OSError(errno.EHOSTUNREACH, "x")
    for error, said in (
        (refused, "the store S is not reached: Connection refused"),
        (unreachable, "the store S is not reached: No route to host"),
        (OSError("odd"), "the store S is not reached: odd"),
        (BrokenPipeError(), "the connection to the store S was lost"),
        (ssl.SSLError(1, "odd"), "no TLS with the store S: odd"),
        (ExceptionGroup("", [ValueError()]), "the connection to the store S was lost"),
    ):
        assert str(failure_of("S", error)) == said


async def test_who_gives_up_a_call_ends_no_connection_but_one_that_owes_too_long(
    server: StoreServer, still: trio.testing.MockClock
) -> None:
    async with (
        relay(server.port) as before,
        settled(server, "a", "b", url=before.url()) as (a, b),
    ):
        await granted(a)
        accepted = before.accepted
        before.hold()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(b.acquire)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        still.jump(PATIENCE / 2)
        before.release()
        assert isinstance(await b.acquire(), Held)
        assert before.accepted == accepted
        before.hold()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(b.acquire)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        still.jump(PATIENCE * 1.1)
        before.release()
        assert isinstance(await b.acquire(), Held)
        assert before.accepted == accepted + 1


async def test_a_connection_that_took_the_patience_of_a_call_serves_the_next(
    still: trio.testing.MockClock,
) -> None:
    greeted, asked = 0, trio.Event()

    def answers(words: Words) -> bytes:
        nonlocal greeted
        greeted += words[0] == b"HELLO"
        if words != [b"GO"]:
            return as_a_store(words)
        if asked.is_set():
            return b"2\r\nNO\r\n" + blob(b"OK")
        asked.set()
        # The rest of it comes too late for who has asked.
        return b"$"

    async with (
        fake_store(answers) as url,
        relay(int(url.rpartition(":")[2])) as before,
        a_store(before.url()) as store,
        trio.open_nursery() as nursery,
    ):
        said: list[str] = []

        async def call() -> None:
            with pytest.raises(LeaseError) as caught:
                await store.call("GO")
            said.append(str(caught.value))

        before.hold()
        nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked(0.05)
        still.jump(PATIENCE * 0.9)
        before.release()
        await asked.wait()
        still.jump(PATIENCE * 0.2)
        await trio.testing.wait_all_tasks_blocked()
        assert "does not answer within 120 s" in said[0]
        assert await store.call("GO") == b"OK"
        assert greeted == 1


async def test_who_waits_for_a_store_that_is_closed_waits_no_longer(
    server: StoreServer,
) -> None:
    async with relay(server.port) as before, trio.open_nursery() as nursery:
        said: list[str] = []

        async def fail(call: Awaitable[object]) -> None:
            with pytest.raises(LeaseError) as caught:
                await call
            said.append(str(caught.value))

        async with a_store(server.url) as store:
            lease = store.lease("T")
            held = await nursery.start(_held, lease)
            watch = lease.watch()
            await anext(watch)
            nursery.start_soon(fail, anext(watch))
            await trio.testing.wait_all_tasks_blocked(0.05)
        async with a_store(before.url()) as store:
            before.hold()
            nursery.start_soon(fail, store.call("PING"))
            await trio.testing.wait_all_tasks_blocked(0.05)
        await trio.testing.wait_all_tasks_blocked()
        assert len(said) == 2
        assert all("was lost" in each for each in said)
        held.set()


async def _held(lease: StoreLease, task_status: trio.TaskStatus[trio.Event]) -> None:
    """What it needs is there until the event is set."""
    async with lease.connected():
        task_status.started(end := trio.Event())
        await end.wait()


async def test_a_call_that_is_given_up_may_have_been_done(server: StoreServer) -> None:
    async with (
        relay(server.port) as before,
        settled(server, "a", "b", url=before.url()) as (a, b),
    ):
        before.hold()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.acquire)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        before.release()
        # It may have been done; who asks again gets it, with an epoch that can be given back.
        mine = await granted(a)
        await a.release(mine.epoch, None)
        assert isinstance(await b.acquire(), Granted)


async def test_many_who_ask_have_one_connection_and_one_attempt(server: StoreServer) -> None:
    async with relay(server.port) as before:
        store = a_store(before.url())
        async with store, trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(use_once, store.lease(f"T{number}"))
        assert before.accepted == 2


async def use_once(lease: StoreLease) -> None:
    async with lease.connected(), aclosing(lease.watch()) as watch:
        assert isinstance(await anext(watch), Held)


async def test_a_lease_without_its_store_has_connections_of_its_own(server: StoreServer) -> None:
    async with relay(server.port) as before:
        lease = RedisLease(before.url(), "T", prefix=f"plant-{next(_prefixes)}", duration=LENGTH)
        assert before.accepted == 0
        async with lease.connected():
            assert before.accepted == 0
            assert isinstance(await lease.acquire(), Held)
            assert before.accepted == 1
        async with lease.connected():
            assert isinstance(await lease.acquire(), Held)
            assert before.accepted == 2


async def test_what_is_raised_in_the_blocks_comes_out_bare(server: StoreServer) -> None:
    store = a_store(server.url)
    with pytest.raises(KeyError):
        async with store.lease("T").connected():
            raise KeyError
    with pytest.raises(KeyError):
        async with store, store.lease("T").connected():
            raise KeyError


async def test_a_block_that_is_cancelled_while_it_connects_ends() -> None:
    async with fake_store(silent_to(b"HELLO")) as url:
        lease = a_store(url).lease("T")
        async with trio.open_nursery() as nursery:

            async def use() -> None:
                async with lease.connected():
                    await lease.acquire()

            nursery.start_soon(use)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()


async def test_who_is_cancelled_gives_his_lease_back(server: StoreServer) -> None:
    with trio.CancelScope() as scope:
        async with settled(server, "a") as (a,):
            grant = await granted(a)
            scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked(0.05)
                await a.release(grant.epoch, None)
    key = store_of(a).key("lease", "T")
    assert await server.do("HGET", key, "owner") == b"$0\r\n\r\n"


async def test_a_store_is_opened_once_at_a_time_and_used_inside(server: StoreServer) -> None:
    store = a_store(server.url)
    with pytest.raises(LocalProtocolError, match="is used outside its block"):
        await store.call("PING")
    async with store:
        assert await store.call("PING") == b"PONG"
        with pytest.raises(LocalProtocolError, match="is in use already"):
            async with store:
                pytest.fail("it is opened twice")
    async with store, store.lease("T").connected():
        assert await store.call("PING") == b"PONG"


async def test_a_lease_that_outlives_its_store_is_refused(server: StoreServer) -> None:
    store = a_store(server.url)
    async with AsyncExitStack() as stack:
        lease = store.lease("T")
        async with store:
            await stack.enter_async_context(lease.connected())
        with pytest.raises(LocalProtocolError, match="is used outside its block"):
            await lease.acquire()


async def test_each_loop_has_connections_of_its_own(server: StoreServer) -> None:
    async with relay(server.port) as before:
        store = a_store(before.url())

        async def elsewhere() -> object:
            lease = store.lease("T", "b")
            with pytest.raises(LocalProtocolError, match="is used outside its block"):
                await store.call("PING")
            async with lease.connected():
                return await lease.acquire()

        async with leases(store, "a") as (a,):
            await a.acquire()
            accepted = before.accepted
            found = await trio.to_thread.run_sync(trio.run, elsewhere)
            assert isinstance(found, Held)
            assert before.accepted == accepted + 1


async def test_a_server_that_forgot_the_scripts_is_told_them_again(server: StoreServer) -> None:
    async with settled(server, "a") as (a,):
        await server.do("SCRIPT", "FLUSH")
        mine = await granted(a)
        await server.do("SCRIPT", "FLUSH")
        assert await a.renew(mine.epoch, b"") == Granted(mine.epoch)


async def test_commands_that_block_have_a_line_of_their_own(
    server: StoreServer, still: trio.testing.MockClock
) -> None:
    store = a_store(server.url)
    key = store.key("stream")
    async with store, store.line(patience=60.0) as line, trio.open_nursery() as nursery:

        async def read() -> None:
            answer = await line.call("XREAD", "BLOCK", 0, "STREAMS", key, "0")
            assert answer == {key.encode(): [[b"1-1", [b"k", b"v"]]]}

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked(0.05)
        still.jump(59)
        await store.call("XADD", key, "1-1", "k", "v")


async def test_a_call_has_the_patience_that_it_is_given(still: trio.testing.MockClock) -> None:
    async with fake_store(lambda words: b"" if words == [b"GO"] else as_a_store(words)) as url:
        store = a_store(url)
        async with store:
            with pytest.raises(LeaseError, match="was lost"):
                await store.call("GO", patience=1)
    async with fake_store(silent_to(b"GO")) as url, a_store(url) as store:
        said = await failing(store.call("GO", patience=50), still, 49, 1)
        assert "does not answer within 50 s" in said


def silent_to(command: bytes) -> Answers:
    """It says the beginning of a reply, and no more."""
    return lambda words: b"$" if words[0] == command else as_a_store(words)


# A watch


async def test_a_watch_looks_again_when_the_lease_that_it_saw_is_over(
    server: StoreServer, still: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with settled(server, "a", "b") as (a, b), aclosing(b.watch()) as watch:
        mine = await granted(a)
        assert isinstance(await anext(watch), Held)
        looks, run = 0, b._run

        async def counted(script: Script, *words: Word) -> Granted | Held | Vacant:
            nonlocal looks
            answer = await run(script, *words)
            looks += 1
            return answer

        monkeypatch.setattr(b, "_run", counted)
        # The same owner has it, as long as it renews.
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                assert await anext(watch) == Vacant(mine.epoch)

            nursery.start_soon(wait)
            for number in range(3):
                await trio.testing.wait_all_tasks_blocked()
                still.jump(LENGTH)
                while looks == number:
                    await trio.lowlevel.checkpoint()
            await server.do("HSET", store_of(a).key("lease", "T"), "until", 0)
            await trio.testing.wait_all_tasks_blocked()
            still.jump(LENGTH)


async def test_news_that_come_faster_than_they_are_read_are_one(server: StoreServer) -> None:
    async with settled(server, "a", "b") as (a, b), aclosing(b.watch()) as watch:
        assert isinstance(await anext(watch), Vacant)
        epochs = []
        for _ in range(50):
            epochs.append((await granted(a)).epoch)
            await a.release(epochs[-1], None)
        assert await anext(watch) == Vacant(epochs[-1])


async def test_a_subscription_that_is_not_confirmed_is_not_waited_for(
    still: trio.testing.MockClock,
) -> None:
    async with fake_store(silent_to(b"SUBSCRIBE")) as url, leases(a_store(url), "a") as (a,):
        assert "does not answer within 120 s" in await failing(first_seen(a), still, PATIENCE)


# A store that somebody must change


SECRET = "swordfish-\N{LATIN SMALL LETTER E WITH ACUTE} /?#@:"


async def said_by(store: RedisStore) -> str:
    """The error of a lease in this store, which somebody must change."""
    async with leases(store, "a") as (a,):
        with pytest.raises(LeaseSetupError) as caught:
            await a.acquire()
        with pytest.raises(LeaseSetupError) as again:
            await a.acquire()
    assert str(again.value) == str(caught.value)
    assert "\n" not in str(caught.value)
    assert SECRET not in f"{caught.value!r} {store!r}"
    return str(caught.value).replace(store.address, "STORE")


@pytest.fixture(scope="module")
def locked() -> Iterator[StoreServer]:
    """A server with a password."""
    with store_server("--requirepass", SECRET) as server:
        yield server


async def test_a_password_is_wanted(
    locked: StoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await said_by(a_store(locked.url)) == (
        "the store STORE wants a password, and none was given"
    )
    with_password = f"redis://:wrong@127.0.0.1:{locked.port}"
    assert await said_by(a_store(with_password)) == (
        "the store STORE refuses the user or the password"
    )
    file = tmp_path / "password"
    file.write_text("old\n", encoding="utf-8")
    store = a_store(locked.url, password_file=file)
    assert "refuses" in await said_by(store)
    file.write_text(f"{SECRET}\n", encoding="utf-8")
    async with leases(store, "a") as (a,):
        assert isinstance(await a.acquire(), Held)
    monkeypatch.setenv("HSMS_STORE_PASSWORD", SECRET)
    async with leases(a_store(locked.url), "a") as (a,):
        assert isinstance(await a.acquire(), Held)
    file.unlink()
    assert "the file of the password" in await said_by(store)


async def test_the_password_is_in_the_url(
    locked: StoreServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    quoted = "swordfish-%C3%A9%20%2F%3F%23%40%3A"
    store = a_store(f"redis://default:{quoted}@127.0.0.1:{locked.port}/3")
    async with leases(store, "a") as (a,):
        assert isinstance(await a.acquire(), Held)
        locked_out = f"redis://nobody:{quoted}@127.0.0.1:{locked.port}"
        assert "refuses" in await said_by(a_store(locked_out))
    for text in (repr(store), repr(store.lease("T")), repr(store._access), caplog.text):
        assert SECRET not in text
        assert quoted not in text


# What a user of this store may: the least.
PERMITTED = (
    "-@all +evalsha +eval +info +time +hmget +hset +publish +subscribe +unsubscribe "
    "~{PREFIX}:* &{PREFIX}:*"
)


async def test_a_user_needs_few_permissions() -> None:
    with store_server() as server:
        rules = PERMITTED.replace("PREFIX", "hsms").split()
        await server.do("ACL", "SETUSER", "plant", "on", ">secret", *rules)
        store = RedisStore(f"redis://plant:secret@127.0.0.1:{server.port}", duration=LENGTH)
        async with leases(store, "a", "b") as (a, b), aclosing(b.watch()) as watch:
            assert isinstance(await anext(watch), Held)
            await end_quarantine(server, store)
            mine = await granted(a)
            assert isinstance(await anext(watch), Held)
            assert await a.renew(mine.epoch, b"x") == Granted(mine.epoch)
            await a.release(mine.epoch, b"y")
            assert isinstance(await anext(watch), Vacant)
        # None of them is there for nothing.
        for rule in [each for each in rules if each.startswith(("+", "~", "&"))]:
            without = [each for each in rules if each != rule]
            await server.do("ACL", "SETUSER", "plant", "reset", "on", ">secret", *without)
            await server.do("SCRIPT", "FLUSH")
            # A script that may not publish has granted the lease before.
            await server.do("HSET", store.key("lease", "T"), "until", "0")
            if rule == "+unsubscribe":
                # Without it the connection for news ends, and is made again.
                continue
            async with leases(store, "a") as (a,):
                with pytest.raises(LeaseSetupError, match="does not permit what is needed"):
                    await everything(a)


async def everything(lease: StoreLease) -> None:
    """Each thing that a lease does."""
    mine = await granted(lease)
    await lease.release(mine.epoch, None)
    await first_seen(lease)


@pytest.mark.parametrize("key", ["leases", "lease:T"])
async def test_keys_of_somebody_else_are_left_alone(server: StoreServer, key: str) -> None:
    store = a_store(server.url)
    await server.do("SET", store.key(key), "mine")
    assert await said_by(store) == (
        "the store STORE has something else under the keys of leases: choose another prefix, or "
        "delete it"
    )


async def test_leases_of_another_layout_or_length_are_left_alone(server: StoreServer) -> None:
    store = a_store(server.url)
    async with leases(store, "a") as (a,):
        await a.acquire()
    other = RedisStore(server.url, prefix=store.prefix, duration=LENGTH / 2)
    assert await said_by(other) == (
        f"the store STORE has leases of 600000 ms under the prefix '{store.prefix}', and here they "
        "have 300000: all owners are to have the same"
    )
    await server.do("HSET", store.key("leases"), "layout", "2\x1b[m")
    assert await said_by(store) == (
        f"the store STORE has leases of layout 2?[m under the prefix '{store.prefix}', and this "
        "program knows 1"
    )


async def test_a_server_that_throws_keys_away_is_refused() -> None:
    with store_server("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as server:
        assert await said_by(a_store(server.url)) == (
            "the store STORE throws keys away when its memory is full (maxmemory-policy "
            "allkeys-lru), so a lease could be forgotten: set noeviction"
        )
    with store_server("--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru") as server:
        async with leases(a_store(server.url), "a") as (a,):
            assert isinstance(await a.acquire(), Held)


async def test_a_server_that_writes_nothing_at_present_is_asked_again() -> None:
    with store_server("--maxmemory", "100kb") as server:
        async with leases(a_store(server.url), "a") as (a,):
            with pytest.raises(LeaseError, match="writes nothing at present: OOM") as caught:
                await a.acquire()
            assert type(caught.value) is LeaseError
    with store_server("--min-replicas-to-write", "1") as server:
        async with leases(a_store(server.url), "a") as (a,):
            with pytest.raises(LeaseError, match="writes nothing at present: NOREPLICAS") as caught:
                await a.acquire()
            assert type(caught.value) is LeaseError


async def test_leases_are_in_one_slot_of_a_cluster() -> None:
    with store_server("--cluster-enabled", "yes") as server:
        async with leases(a_store(server.url), "a") as (a,):
            with pytest.raises(LeaseError, match=r"the cluster of the store .* is not whole"):
                await a.acquire()
            await server.do("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while b"cluster_state:ok" not in await server.do("CLUSTER", "INFO"):
                pass
            assert isinstance(await a.acquire(), Held)
            assert isinstance(await first_seen(a), Held)


async def test_a_clock_that_is_wrong_is_told_once(
    server: StoreServer, caplog: pytest.LogCaptureFixture
) -> None:
    for wrong, words in ((1000.0, "behind"), (-1000.0, "ahead of")):
        caplog.clear()
        store = a_store(server.url, wall_clock=lambda wrong=wrong: time.time() + wrong)
        async with leases(store, "a") as (a,):
            await a.acquire()
            await a.acquire()
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert re.search(rf"is (999|1000|1001) s {words} that of this machine", record.message)


# TLS


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> certificates.Files:
    folder = tmp_path_factory.mktemp("tls")
    return certificates.write(folder, certificates.issued("host-1"))


async def test_a_store_is_reached_by_tls(server: StoreServer, files: certificates.Files) -> None:
    async with relay(server.port, certificates.listening()) as before:
        url = before.url("rediss")
        tls = TlsFiles(certificate=files.certificate, key=files.key, authorities=files.authorities)
        for each in (tls, certificates.host()):
            async with leases(a_store(url, tls=each), "a") as (a,):
                assert isinstance(await a.acquire(), Held)
                assert isinstance(await first_seen(a), Held)
        # Without a certificate of ours.
        async with leases(a_store(url, tls=TlsFiles(authorities=files.authorities)), "a") as (a,):
            with pytest.raises(LeaseError, match=r"no TLS with|was lost"):
                await a.acquire()


async def test_the_certificate_of_a_store_is_checked(
    server: StoreServer, files: certificates.Files, tmp_path: Path
) -> None:
    ours = TlsFiles(authorities=files.authorities)
    for certificate, why in (
        (certificates.issued("elsewhere"), "IP address mismatch"),
        (certificates.issued("127.0.0.1", by="others"), "unable to get local issuer"),
        (certificates.expired("127.0.0.1"), "certificate has expired"),
    ):
        context = certificates.listening(certificate, clients_of=None)
        async with relay(server.port, context) as before:
            said = await said_by(a_store(before.url("rediss"), tls=ours))
            assert said.startswith("the certificate of the store STORE is refused: ")
            assert why in said
    async with relay(server.port, certificates.listening(clients_of=None)) as before:
        # The authorities of the system do not know this one.
        assert "is refused" in await said_by(a_store(before.url("valkeys")))
        missing = TlsFiles(authorities=str(tmp_path / "none.pem"))
        assert "cannot read the file" in await said_by(a_store(before.url("rediss"), tls=missing))


async def test_tls_where_there_is_none(server: StoreServer, still: trio.testing.MockClock) -> None:
    # What it hears is no command to this server, and no end of one.
    async with leases(a_store(server.url.replace("redis:", "rediss:")), "a") as (a,):
        said = await failing(a.acquire(), still, PATIENCE)
        assert said.endswith("does not answer within 120 s: is TLS spoken there?")
    async with fake_store(lambda _: b"-ERR what?\r\n", at_once=b"-ERR what?\r\n") as url:
        said = await said_by(a_store(url.replace("redis:", "rediss:")))
        assert said == "no TLS with the store STORE: WRONG_VERSION_NUMBER"
    async with (
        relay(server.port, certificates.listening(clients_of=None)) as before,
        leases(a_store(before.url()), "a") as (a,),
    ):
        with pytest.raises(LeaseError, match="was lost"):
            await a.acquire()


# What is no store, and what lies


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what came is no reply: b'HTTP/1.1 400 Bad Request"),
        (b"\x00\x00\x00\x0a", "what came is no reply: b'\\x00"),
        (b"+" + b"x" * 2_000_000, "a reply is longer than 1048576 bytes"),
        (b"$2000000\r\n", "a reply is longer than 1048576 bytes"),
        (b"$-7\r\n", "what came is no reply: b'$-7"),
        (b"$x\r\n", "what came is no reply: b'$x"),
        (b"+OK\n", "what came is no reply: b'+OK"),
        (b"#x\r\n", "what came is no reply: b'#x"),
        (b":1" + b"0" * 40 + b"\r\n", "what came is no reply: b':10"),
        (b"*1\r\n" * 100, "a reply is nested deeper than 16"),
        (b"*2\r\n>1\r\n:1\r\n", "what came is no reply: b'>1"),
        (b">1\r\n+x\r\n" * 20_000, "more news came than can be read"),
        (b"+OK\r\n+OK\r\n", "OK"),
    ],
)
async def test_what_is_no_store_says_so(answer: bytes, why: str) -> None:
    for command in (b"HELLO", b"INFO", b"EVALSHA"):
        async with (
            fake_store(answering(command, answer)) as url,
            leases(a_store(url), "a") as (a,),
        ):
            said = ""
            # What comes too much comes after the answer.
            while not said:
                try:
                    await a.acquire()
                except LeaseError as error:
                    said = str(error)
            assert why in said
            assert said.isprintable()


def answering(command: bytes, answer: bytes) -> Answers:
    """A store that answers one command so."""
    return lambda words: answer if words[0] == command else as_a_store(words)


HOUR = b":3600000\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"+OK\r\n",
        b"_\r\n",
        b"*0\r\n",
        b"%1\r\n+held\r\n:1\r\n",
        b"*1\r\n$7\r\ngranted\r\n",
        b"*2\r\n:1\r\n:1\r\n",
        b"*5\r\n" + blob(b"granted") + b":0\r\n_\r\n:0\r\n:0\r\n",
        b"*5\r\n" + blob(b"granted") + b":-1\r\n_\r\n:0\r\n:0\r\n",
        b"*5\r\n" + blob(b"granted") + b":9007199254740993\r\n_\r\n:0\r\n:0\r\n",
        b"*5\r\n" + blob(b"granted") + b"#t\r\n_\r\n:0\r\n:0\r\n",
        b"*5\r\n" + blob(b"granted") + b":1\r\n:1\r\n:0\r\n:0\r\n",
        b"*5\r\n" + blob(b"granted") + b":1\r\n_\r\n,0.5\r\n:0\r\n",
        b"*5\r\n" + blob(b"held") + b":1\r\n:1\r\n:1\r\n:0\r\n",
        b"*5\r\n" + blob(b"held") + blob(b"b") + b":-1\r\n:1\r\n:0\r\n",
        b"*3\r\n" + blob(b"vacant") + b":1\r\n:0\r\n",
        b"*3\r\n" + blob(b"vacant") + b":-1\r\n:0\r\n",
        b"*2\r\n" + blob(b"\xff\x1b[m") + b":0\r\n",
        b"-ERR something \x1b[m\r\n",
    ],
)
async def test_an_answer_that_cannot_be_meant_is_an_error(answer: bytes) -> None:
    async with fake_store(leases_by(answer)) as url, leases(a_store(url), "a") as (a,):
        with pytest.raises(
            LeaseError, match=r"answers what it cannot mean|answered with an error"
        ) as caught:
            await a.acquire()
        assert type(caught.value) is LeaseError
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 300


async def test_what_can_be_taken_of_an_answer_is() -> None:
    granted = b"*5\r\n" + blob(b"granted") + b":7\r\n"
    for saved, age, taken in (
        (blob(bytes(4096)), b":1500\r\n", Granted(7, bytes(4096), 1.5)),
        # Too much is left out, and nothing was saved in times to come.
        (blob(bytes(4097)), b":-1500\r\n", Granted(7, None, 0.0)),
    ):
        answer = granted + saved + age + HOUR
        async with fake_store(leases_by(answer)) as url, leases(a_store(url), "a") as (a,):
            assert await a.acquire() == taken
    held = b"*5\r\n" + blob(b"held") + blob(b"\xff\x1b[m" + b"x" * 1000) + b":7\r\n"
    for remaining, left in ((b":1\r\n", 0.001), (b":-9\r\n", 0.001), (HOUR, LENGTH)):
        answer = held + remaining + HOUR
        async with fake_store(leases_by(answer)) as url, leases(a_store(url), "a") as (a,):
            assert await a.acquire() == Held("\N{REPLACEMENT CHARACTER}?[m" + "x" * 196, 7, left)
    answer = granted + b"_\r\n:0\r\n" + HOUR
    async with fake_store(leases_by(answer)) as url, leases(a_store(url), "a") as (a,):
        with pytest.raises(LeaseError, match="it grants what was not asked for"):
            await first_seen(a)


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (b"-LOADING x", LeaseError, "is still loading its data"),
        (b"-READONLY x", LeaseError, "is a replica"),
        (b"-ERR Error running script: READONLY x", LeaseError, "is a replica"),
        (b"-ERR Error running script: WRONGTYPE x", LeaseSetupError, "something else under"),
        (b"-MOVED 1 127.0.0.1:7", LeaseSetupError, "is a node of a cluster without these keys"),
        (b"-ASK 1 127.0.0.1:7", LeaseError, "is not whole"),
        (b"-MOVED somewhere", LeaseSetupError, "what came is no reply"),
        (b"-TRYAGAIN x", LeaseError, "is not whole"),
        (b"-MISCONF x", LeaseError, "writes nothing at present"),
        (b"-ERR unknown command 'EVALSHA'", LeaseSetupError, "is too old"),
        (b"-ERR max number of clients reached", LeaseError, "was lost"),
        (b"-\xff", LeaseSetupError, "what came is no reply"),
        (b",abc", LeaseSetupError, "what came is no reply"),
        (b",0.5", LeaseError, "cannot mean"),
    ],
)
async def test_each_error_of_a_server_has_a_line(
    answer: bytes, kind: type[LeaseError], said: str
) -> None:
    answers = leases_by(answer + b"\r\n")
    async with fake_store(answers) as url, leases(a_store(url), "a") as (a,):
        with pytest.raises(LeaseError, match=said) as caught:
            await a.acquire()
        assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("version", "is_good"),
    [
        (b"6.2.0", True),
        (b"10.0", True),
        (b"6.0.16", False),
        (b"5.0", False),
        (b"x\x1b", False),
        (b"9" * 5_000, False),
        (b"7." + b"9" * 5_000, False),
    ],
)
async def test_a_server_that_is_too_old_says_so(version: bytes, is_good: bool) -> None:
    def answers(words: Words) -> bytes:
        return hello(version) if words[0] == b"HELLO" else nothing_yet(words)

    nothing_yet = leases_by(b"*1\r\n" + blob(b"replica"))
    async with fake_store(answers) as url, leases(a_store(url), "a") as (a,):
        with pytest.raises(LeaseError) as caught:
            await a.acquire()
    said = "is a replica" if is_good else "; 6.2 is needed"
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


async def test_a_server_without_resp_3_says_so() -> None:
    answers = answering(b"HELLO", b"-ERR unknown command `HELLO`, with args\r\n")
    async with fake_store(answers) as url:
        assert "is too old, 6.2 is needed" in await said_by(a_store(url))
    async with fake_store(answering(b"HELLO", b"-NOPROTO unsupported\r\n")) as url:
        assert "is too old, 6.2 is needed" in await said_by(a_store(url))
    # What says nothing of its memory has no bound of it.
    async with fake_store(answering(b"INFO", b"_\r\n")) as url, leases(a_store(url), "a") as (a,):
        with pytest.raises(LeaseError, match="cannot mean"):
            await a.acquire()


async def test_a_database_that_is_not_there(server: StoreServer) -> None:
    said = await said_by(a_store(f"{server.url}/9999"))
    assert said == "the store STORE does not have this database: DB index is out of range"


async def test_a_name_that_nobody_knows() -> None:
    # Nothing is asked: this never is a name.
    store = a_store("rediss://no-such-store.invalid")
    async with leases(store, "a") as (a,):
        with pytest.raises(LeaseError, match=r"is not reached: [A-Z]") as caught:
            await a.acquire()
        assert type(caught.value) is LeaseError


async def test_a_host_that_cannot_have_a_name_ends_a_call_and_nothing_else() -> None:
    # One dot that is three, and an underscore beside an umlaut.
    for host in ("a\N{HORIZONTAL ELLIPSIS}b", "b\N{LATIN SMALL LETTER U WITH DIAERESIS}ro_1"):
        store = a_store(f"rediss://{host}")
        async with leases(store, "a") as (a,):
            with pytest.raises(LeaseSetupError, match="its host is no name of one"):
                await a.acquire()


async def test_news_that_are_not_for_us_are_passed_over() -> None:
    pushes = b"".join(
        b">%d\r\n" % len(words) + b"".join(map(blob, words))
        for words in (
            [b"message", b"other", b"x"],
            [b"subscribe", b"other"],
            [b"message"],
            [b"nonsense", b"x"],
        )
    )
    held = b"*5\r\n" + blob(b"held") + blob(b"b") + b":7\r\n:1000\r\n" + HOUR

    def answers(words: Words) -> bytes:
        plain = leases_by(held)(words)
        return pushes + plain if words[0] == b"SUBSCRIBE" else plain

    async with fake_store(answers) as url, leases(a_store(url), "a") as (a,):
        assert await first_seen(a) == Held("b", 7, 1.0)


async def test_a_connection_that_ends_instead_of_a_confirmation_is_lost() -> None:
    async with (
        fake_store(answering(b"SUBSCRIBE", b"")) as url,
        leases(a_store(url), "a") as (a,),
    ):
        with pytest.raises(LeaseError, match="was lost"):
            await first_seen(a)


async def test_a_subscription_on_a_connection_that_is_over_is_lost(
    server: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with settled(server, "a") as (a,):
        assert isinstance(await first_seen(a), Vacant)
        assert a._lines is not None
        attempt = a._lines.news._attempt
        assert attempt is not None

        def send_command(*_: object) -> None:
            raise anyio.ClosedResourceError

        monkeypatch.setattr(attempt.connection, "send_command", send_command)
        with pytest.raises(LeaseError, match="was lost"):
            await first_seen(a)


async def test_news_that_are_read_are_no_burden(
    server: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies, "_UNHANDLED", 5)
    async with settled(server, "a", "b") as (a, b), aclosing(b.watch()) as watch:
        assert isinstance(await anext(watch), Vacant)
        for _ in range(10):
            mine = await granted(a)
            assert isinstance(await anext(watch), Held)
            await a.release(mine.epoch, None)
            assert isinstance(await anext(watch), Vacant)


async def test_a_subscription_is_heard_when_all_of_them_are_confirmed() -> None:
    attempt = _Attempt(1.0)
    attempt.due[b"T"] = 2
    bell = attempt.bells[b"T"] = _Bell()
    attempt.tell([b"subscribe", b"T", 1])
    # That was for somebody who has gone.
    assert not bell.is_heard.is_set()
    attempt.tell([b"unsubscribe", b"T", 0])
    attempt.tell([b"subscribe", b"T", 1])
    assert bell.is_heard.is_set()
    attempt.due[b"U"] = 1
    attempt.tell([b"subscribe", b"U", 1])
    assert not attempt.due


async def test_the_bytes_of_a_store_pass_a_check(server: StoreServer) -> None:
    async with store_line(server) as line:
        assert await line.call("PING") == b"PONG"
        assert line._attempt is not None
        connection = line._attempt.connection
        assert repr(connection) == f"_Connection(127.0.0.1:{server.port})"
        assert connection.stream is not None
        await connection.stream.send_eof()
        # The server ends it.
        while connection.usable:
            await trio.lowlevel.checkpoint()
        assert await line.call("PING") == b"PONG"


def store_line(server: StoreServer) -> Line:
    return a_store(server.url).line(patience=PATIENCE)


def test_without_its_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("hsms_engine.lease.redis", "hsms_engine.lease.failures", "hsms_engine.lease.line"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "coredis.exceptions", None)
    monkeypatch.delitem(vars(lease), "RedisStore", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "\.\[fleet\]"'):
        _ = lease.RedisStore
    monkeypatch.delitem(sys.modules, "hsms_engine.lease.failures", raising=False)
    monkeypatch.setitem(sys.modules, "hsms_engine.lease.failures", None)
    with pytest.raises(ModuleNotFoundError, match="hsms_engine"):
        _ = lease.RedisStore


def test_the_package_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'EtcdStore'"):
        _ = lease.EtcdStore  # type: ignore[attr-defined]  # that is what is tested
