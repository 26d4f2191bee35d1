"""Streams do the same in memory and in a real server; and what only a server can be."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
import trio

from hsms_engine import LeaseError, LeaseSetupError, LocalProtocolError, SettingsError
from hsms_engine.fleet import Entry, Member, MemoryStreams, NewEntry, Streams
from hsms_engine.fleet import redis as module
from hsms_engine.fleet.outbox import Outbox
from hsms_engine.fleet.redis import RedisStreams, redis_streams
from hsms_engine.fleet.store import open_streams
from hsms_engine.lease import MemoryStore, RedisStore
from hsms_engine.lease.line import Reply
from tests.support.leaks import leak_check, no_task_left
from tests.support.network import patience
from tests.support.store_server import StoreServer, relay, store_server

__all__ = ["leak_check", "no_task_left", "patience"]

A, B = "hsms.A.primary", "hsms.B.primary"
DAY = 86_400.0


@pytest.fixture(scope="module")
def server() -> Iterator[StoreServer]:
    with store_server() as started:
        yield started


@pytest.fixture(params=["memory", "redis"])
async def streams(request: pytest.FixtureRequest, server: StoreServer) -> AsyncIterator[Streams]:
    await server.do("FLUSHALL")
    if request.param == "memory":
        yield MemoryStreams()
    else:
        async with redis_streams(RedisStore(server.url), has_leases=False) as opened:
            yield opened


@asynccontextmanager
async def in_server(server: StoreServer) -> AsyncIterator[RedisStreams]:
    await server.do("FLUSHALL")
    async with redis_streams(RedisStore(server.url), has_leases=False) as opened:
        yield opened


def new(stream: str, value: bytes, longest: int = 100, lasts: float | None = None) -> NewEntry:
    return NewEntry(stream, {b"k": value}, longest, lasts)


async def read(streams: Streams, *names: str, after: str = "0-0", most: int = 100) -> list[bytes]:
    found = await streams.read(dict.fromkeys(names, after), most, 0)
    return [entry.fields[b"k"] for name in names for entry in found.get(name, ())]


# The contract


async def test_what_is_appended_is_read_in_order_and_each_stream_apart(streams: Streams) -> None:
    assert streams.prefix == "hsms"
    ids = await streams.append([new(A, b"1"), new(B, b"2"), new(A, b"\0\xff")])
    assert ids[0] != ids[2]
    assert await read(streams, A) == [b"1", b"\0\xff"]
    assert await read(streams, B) == [b"2"]
    assert await read(streams, A, B, "hsms.C.primary") == [b"1", b"\0\xff", b"2"]
    assert await streams.append([]) == []


async def test_what_follows_an_id_is_read_and_of_each_stream_only_so_many(
    streams: Streams,
) -> None:
    first, *_ = await streams.append([new(A, b"%d" % number) for number in range(5)])
    assert isinstance(first, str)
    assert await read(streams, A, after=first) == [b"1", b"2", b"3", b"4"]
    assert await read(streams, A, after=first, most=2) == [b"1", b"2"]


async def test_an_entry_says_when_it_was_written(streams: Streams) -> None:
    before = await streams.now()
    await streams.append([new(A, b"1")])
    latest = await streams.latest(A)
    after = await streams.now()
    assert latest is not None
    # An id has milliseconds only.
    assert before - 0.001 <= latest.written_at <= after


async def test_the_latest_one(streams: Streams) -> None:
    assert await streams.latest(A) is None
    *_, last = await streams.append([new(A, b"1"), new(A, b"2")])
    assert isinstance(last, str)
    assert await streams.latest(A) == Entry(last, {b"k": b"2"})
    await streams.remove(A, last)
    latest = await streams.latest(A)
    assert latest is not None
    assert latest.fields == {b"k": b"1"}


async def test_what_is_removed_is_not_read_and_what_is_not_there_is_no_error(
    streams: Streams,
) -> None:
    first, _ = await streams.append([new(A, b"1"), new(A, b"2")])
    assert isinstance(first, str)
    await streams.remove(A, first)
    await streams.remove(A, first)
    await streams.remove("hsms.none.primary", "1-1")
    assert await read(streams, A) == [b"2"]


async def test_a_stream_keeps_about_so_many(streams: Streams) -> None:
    for number in range(10):
        await streams.append([new(A, b"%d" % number, longest=3) for _ in range(100)])
    assert 3 <= len(await read(streams, A, most=1_000)) <= 200


async def test_a_reader_that_waits_gets_what_comes(streams: Streams) -> None:
    found: list[Entry] = []

    async def wait() -> None:
        found.extend((await streams.read({A: "0-0"}, 10, DAY))[A])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await streams.append([new(A, b"1")])
    assert [each.fields for each in found] == [{b"k": b"1"}]


async def test_a_reader_that_waits_can_be_cancelled(streams: Streams) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(streams.read, {A: "0-0"}, 10, DAY)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    await streams.append([new(A, b"1")])
    assert await read(streams, A) == [b"1"]


async def test_who_attends_is_there_until_he_leaves(streams: Streams) -> None:
    one, other = Member("a", "life1", 5, "d1"), Member("b", "life2", None, "")
    seen = await streams.attend(one, DAY)
    assert (seen.members, seen.is_taken) == ((one,), False)
    assert abs(seen.now - await streams.now()) < 10
    seen = await streams.attend(other, DAY)
    assert {*seen.members} == {one, other}
    # A limit may change.
    changed = Member("a", "life1", 6, "d1")
    assert {*(await streams.attend(changed, DAY)).members} == {changed, other}
    await streams.leave(one)
    assert (await streams.attend(other, DAY)).members == (other,)
    await streams.leave(one)


async def test_a_name_that_another_life_has_is_taken(streams: Streams) -> None:
    one, other = Member("a", "life1"), Member("a", "life2")
    await streams.attend(one, DAY)
    seen = await streams.attend(other, DAY)
    assert (seen.members, seen.is_taken) == ((one,), True)
    await streams.leave(other)
    assert (await streams.attend(other, DAY)).is_taken
    await streams.leave(one)
    seen = await streams.attend(other, DAY)
    assert (seen.members, seen.is_taken) == ((other,), False)


# In a server


async def test_in_a_server_what_lasts_for_a_time_has_an_expiry(server: StoreServer) -> None:
    async with in_server(server) as streams:
        await streams.append([new(A, b"1", lasts=100), new(B, b"2")])
        left = int((await server.do("PTTL", A)).strip(b":\r\n"))
        assert 0 < left <= 100_000
        assert await server.do("PTTL", B) == b":-1\r\n"
        await server.do("PEXPIRE", A, 0)
        assert await streams.latest(A) is None


async def test_in_a_server_who_does_not_attend_any_more_is_gone(server: StoreServer) -> None:
    async with in_server(server) as streams:
        one, other = Member("a", "life1"), Member("b", "life2")
        await streams.attend(one, DAY)
        await server.do("HSET", "{hsms}:members", "a", "1|life1||")
        assert (await streams.attend(other, DAY)).members == (other,)
        # Nor is one from a time that is to come: the clock of the server was put back.
        await server.do("HSET", "{hsms}:members", "a", "9999999999999|life1||")
        assert (await streams.attend(other, DAY)).members == (other,)


async def test_what_is_no_process_is_not_there(server: StoreServer) -> None:
    async with in_server(server) as streams:
        me = Member("a", "life1")
        now = int(await streams.now() * 1000) + 50_000
        for name, value in (
            ("no name", f"{now}|life||"), ("b", "garbage"), ("c", f"{now}|life|-1|"),
            ("d", f"{now}|life||{'x' * 100}"), ("e", f"{now}|life|1"), (b"\xff", f"{now}|life||"),
        ):  # fmt: skip
            await server.do("HSET", "{hsms}:members", name, value)
        assert (await streams.attend(me, DAY)).members == (me,)


async def test_a_stream_of_another_type_is_told_and_keeps_the_others_from_nothing(
    server: StoreServer,
) -> None:
    async with in_server(server) as streams:
        await server.do("SET", A, "text")
        refused, taken = await streams.append([new(A, b"1"), new(B, b"2")])
        assert isinstance(refused, LeaseSetupError)
        assert "has something else under the keys" in str(refused)
        assert isinstance(taken, str)
        assert await read(streams, A, B) == [b"2"]
        with pytest.raises(LeaseSetupError, match="has something else under the keys"):
            await read(streams, A)
        with pytest.raises(LeaseSetupError):
            await streams.latest(A)
        await server.do("SET", "{hsms}:members", "text")
        with pytest.raises(LeaseSetupError):
            await streams.attend(Member("a", "life1"), DAY)


async def test_a_stream_without_ids_that_are_left_keeps_the_others_from_nothing(
    server: StoreServer,
) -> None:
    async with in_server(server) as streams, trio.open_nursery() as nursery:
        await server.do("XADD", A, f"{2**64 - 1}-{2**64 - 1}", "k", "last")
        outbox = Outbox(streams, "one", 0.01, 10, 10_000)
        nursery.start_soon(outbox.run)
        dropped, taken = outbox.put(new(A, b"1")), outbox.put(new(B, b"2"))
        with trio.fail_after(5):
            assert (await dropped.appended(), await taken.appended()) == (False, True)
            assert await outbox.put(new(B, b"3")).appended()
        [refused] = await streams.append([new(A, b"4")])
        assert isinstance(refused, LeaseSetupError)
        assert str(refused).endswith("in a stream whose ids are used up: delete it")
        nursery.cancel_scope.cancel()


async def test_an_entry_that_is_too_large_is_read_without_its_fields(
    server: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_ENTRY", 1_000)
    async with in_server(server) as streams:
        await streams.append([new(A, b"1"), new(A, bytes(1_001)), new(A, b"2")])
        found = (await streams.read({A: "0-0"}, 100, 0))[A]
        assert [each.fields for each in found] == [{b"k": b"1"}, {}, {b"k": b"2"}]
        await streams.append([new(A, bytes(1_001))])
        latest = await streams.latest(A)
        assert latest is not None
        assert latest.fields == {}


async def test_not_much_more_is_read_at_once_than_is_meant(
    server: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BUDGET", 250)
    async with in_server(server) as streams:
        await streams.append([new(stream, bytes(99)) for stream in (A, A, A, A, B)])
        found = await streams.read({A: "0-0", B: "0-0"}, 100, 0)
        assert {name: len(entries) for name, entries in found.items()} == {A: 3}
        after = {B: "0-0", A: found[A][-1].id}
        assert {name: len(each) for name, each in (await streams.read(after, 100, 0)).items()} == {
            A: 1,
            B: 1,
        }


async def test_a_server_that_is_away_is_told_and_is_found_again(server: StoreServer) -> None:
    await server.do("FLUSHALL")
    async with relay(server.port) as before:
        store = RedisStore(before.url(), duration=1.0)
        async with redis_streams(store, has_leases=True) as streams:
            await streams.append([new(A, b"1")])
            before.to = None
            before.cut()
            with pytest.raises(LeaseError):
                await streams.append([new(A, b"2")])
            with pytest.raises(LeaseError):
                await read(streams, A)
            before.to = server.port
            await until_it_answers(lambda: streams.append([new(A, b"3")]))
            await until_it_answers(lambda: read(streams, A))
            assert (await read(streams, A))[0] == b"1"


async def until_it_answers(call: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await call()
        except LeaseError:
            # A store that is away is not dialled at once again.
            await trio.sleep(0.01)
        else:
            return


async def test_answers_that_cannot_be_meant_are_told(
    server: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Reply] = []

    async def answers(*_: object) -> Reply:
        return said[-1]

    def each_of(*replies: Reply) -> Iterator[None]:
        for reply in replies:
            said.append(reply)
            yield

    async with in_server(server) as streams:
        for line in (streams._reading, streams._writing):
            monkeypatch.setattr(line, "run", answers)
            monkeypatch.setattr(line, "call", answers)
        one = [new(A, b"1")]
        for _ in each_of(None, [], [b"1-1", b"2-2"], b"text", 7):
            with pytest.raises(LeaseError, match=r"answers what it cannot mean: "):
                await streams.append(one)
        for _ in each_of([b"not an id"], [7], [[b"a", b"b"]], [b"1" * 30 + b"-1"]):
            [told] = await streams.append(one)
            assert isinstance(told, LeaseError)
            assert "answers what it cannot mean" in str(told)
        for _ in each_of(
            None, [[0, []]], [[2, []]], [[1]], [7], [[1, [[b"x", []]]]], [[1, [[b"1-1", 7]]]]
        ):
            with pytest.raises(LeaseError, match=r"answers what it cannot mean: "):
                await read(streams, A)
        for _ in each_of(None, [1, 2], [[b"1-1"]], [7]):
            with pytest.raises(LeaseError, match=r"answers what it cannot mean: "):
                await streams.latest(A)
        for _ in each_of(None, [], [b"1"], [b"x", b"1"], [b"1" * 30, b"1"], [1, 2]):
            with pytest.raises(LeaseError, match=r"answers what it cannot mean: "):
                await streams.now()
        for _ in each_of(None, [], [1, 0], [1, 0, [b"a"]], [b"1", 0, []]):
            with pytest.raises(LeaseError, match=r"answers what it cannot mean: "):
                await streams.attend(Member("a", "life1"), DAY)
        said.append([1_000, 0, [7, b"1|l||", b"a", 7, b"b", b"1|l||"]])
        seen = await streams.attend(Member("a", "life1"), DAY)
        assert seen.members == (Member("b", "l"),)
        # Fields that are none are left out.
        said.append([[1, [[b"1-1", [b"k", b"v", 7, b"w", b"x"]]]]])
        assert await read(streams, A) == [b"v"]


# Which streams a store has


async def test_all_who_have_one_store_in_memory_have_the_same_streams() -> None:
    store, other = MemoryStore(), MemoryStore()
    async with open_streams(store, None, has_leases=True) as first:
        async with open_streams(store, None, has_leases=False) as second:
            assert first is second
        async with open_streams(other, None, has_leases=True) as third:
            assert third is not first
        given = MemoryStreams("other")
        async with open_streams(store, given, has_leases=True) as fourth:
            assert fourth is given


async def test_a_server_has_streams_of_its_own_and_its_leases_share_a_connection(
    server: StoreServer,
) -> None:
    store = RedisStore(server.url, prefix="plant")
    async with open_streams(store, None, has_leases=True) as streams:
        assert streams.prefix == "plant"
        with pytest.raises(LocalProtocolError):
            await store.__aenter__()
        async with open_streams(store, None, has_leases=False) as others:
            await others.append([new("plant.A.primary", b"1")])
        assert await read(streams, "plant.A.primary") == [b"1"]


async def test_a_store_without_streams_is_told() -> None:
    class Other:
        duration = 10.0

        def lease(self, name: str, owner: str | None = None) -> None:
            raise NotImplementedError

    with pytest.raises(SettingsError, match=r"^Other has no streams that are known here: give"):
        async with open_streams(Other(), None, has_leases=True):  # type: ignore[arg-type]  # it is
            pass
