"""A task that waits for a message reads it itself, over TCP in memory and over loopback."""

from __future__ import annotations

import gc
import socket
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import (
    ClosedError,
    ConnectionLostError,
    HsmsConnection,
    HsmsError,
    Message,
    ReplyTimeoutError,
    open_hsms,
)
from hsms_engine.driver import turns
from hsms_engine.driver.reading import Readable, Reading
from hsms_engine.driver.tcp import DirectStream
from hsms_engine.driver.turns import Share
from hsms_engine.protocol.epoch import Primary
from hsms_engine.virtual import Socket
from tests.support.leaks import leak_check, no_task_left
from tests.support.raw_peer import RawPeer, data, linktest_req, linktest_rsp
from tests.support.virtual import tcp_pair, virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

S1F1 = Message(1, 1, wait=True)


@asynccontextmanager
async def asked(**changes: Any) -> AsyncIterator[tuple[HsmsConnection, RawPeer, Socket]]:
    """A selected connection, its peer, and the peer's socket."""
    ours, theirs = await tcp_pair()
    peer = RawPeer(theirs)

    async def dial() -> Socket:
        return ours

    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.select_by_answering)
        changes = {"linktest_interval": None, **changes}
        async with open_hsms("tool", 5000, dial=dial, random=Random(1), **changes) as opened:
            yield opened, peer, theirs
        nursery.cancel_scope.cancel()


async def answer(peer: RawPeer, body: bytes = b"") -> None:
    """Answer the next request."""
    request = await peer.frame()
    await peer.send(data(1, 2, request.system, body=body))


async def asks_again(nursery: trio.Nursery, connection: HsmsConnection, peer: RawPeer) -> list[Any]:
    """A task has its reply and asks at once again, so it reads. The list gets how that ended."""
    ended: list[Any] = []

    async def run() -> None:
        await connection.request(S1F1)
        try:
            ended.append(await connection.request(S1F1))
        except HsmsError as error:
            ended.append(error)

    nursery.start_soon(answer, peer)
    nursery.start_soon(run)
    await wait_all_tasks_blocked()
    assert reads(connection)
    return ended


def reads(connection: HsmsConnection) -> bool:
    """Whether a task of the program reads."""
    reading = connection._driver._reading
    return reading is not None and reading._is_read


async def test_the_task_that_asks_reads_its_reply_and_the_next_ones() -> None:
    async with asked() as (connection, peer, _), trio.open_nursery() as nursery:
        for body in (b"", b"x", bytes(1_000)):
            replies = await asks_again(nursery, connection, peer)
            await answer(peer, body)
            await wait_all_tasks_blocked()
            assert not reads(connection)
            assert [each.body for each in replies] == [body]


async def test_nobody_asks_any_more_and_the_reader_reads() -> None:
    async with asked() as (connection, peer, _):
        await peer.ping()
        assert not reads(connection)
        assert connection.is_selected


async def test_a_task_that_reads_stops_when_its_stream_is_closed() -> None:
    pair = map(trio.socket.from_stdlib_socket, socket.socketpair())
    ours, theirs = (DirectStream(trio.SocketStream(each)) for each in pair)
    reading = Reading(ours, lambda stream: stream.receive_nowait(10))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reading.offer)
        nursery.start_soon(reading.read_until, bool)
        await wait_all_tasks_blocked()
        assert not reading.is_free
        ours.close()
    assert not reading.is_free
    theirs.close()


async def test_a_stream_that_was_closed_in_the_step_of_the_task_that_reads_is_over_for_it() -> None:
    """As after a bad length: what is read closes the stream, and the task waits again."""
    near, far = map(trio.socket.from_stdlib_socket, socket.socketpair())
    stream = DirectStream(trio.SocketStream(near))

    def handle(readable: Readable) -> None:
        readable.receive_nowait(10)
        stream.reset()

    reading = Reading(stream, handle)
    await far.send(b"x")
    await reading.read_until(bool)
    assert not reading.is_free
    reading.wake()
    stream.stop_waiting()
    with pytest.raises(trio.ClosedResourceError):
        await stream.wait_readable()
    far.close()


async def test_a_connection_that_is_over_is_kept_by_nothing_when_no_reader_rests() -> None:
    near, far = map(trio.socket.from_stdlib_socket, socket.socketpair())
    stream = DirectStream(trio.SocketStream(near))

    def handle(_: Readable) -> None:
        raise AssertionError("nothing comes")

    kept = weakref.ref(handle)
    stream.reset()
    await Reading(stream, handle).read_until(bool)
    del handle
    gc.collect()
    assert kept() is None
    far.close()


async def test_a_primary_that_is_put_back_wakes_the_task_that_reads() -> None:
    async with asked() as (connection, peer, _), trio.open_nursery() as nursery:
        got: list[Primary] = []

        async def take() -> None:
            got.append(await connection.receive())
            got.append(await connection.receive())

        nursery.start_soon(take)
        await peer.send(data(6, 11, 1))
        await wait_all_tasks_blocked()
        assert len(got) == 1
        assert reads(connection)
        connection._put_back(got[0])
        await wait_all_tasks_blocked()
        assert len(got) == 2


async def test_what_is_long_is_left_to_the_reader_and_comes_whole() -> None:
    async with asked() as (connection, peer, _), trio.open_nursery() as nursery:
        for size in (5_000, 70_000, 500_000):
            replies = await asks_again(nursery, connection, peer)
            await answer(peer, bytes(size))
            await wait_all_tasks_blocked()
            assert [len(each.body) for each in replies] == [size]


def spied(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """How many bytes were received into their place, each time; None: none had come."""
    received, receive = list[int | None](), Socket.receive_into_nowait

    def spy(self: Socket, space: memoryview) -> int | None:
        received.append(receive(self, space))
        return received[-1]

    monkeypatch.setattr(Socket, "receive_into_nowait", spy)
    return received


async def test_most_of_a_long_message_is_received_into_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    received = spied(monkeypatch)
    async with asked() as (connection, peer, _):
        bodies = [bytes([number]) * 900_000 for number in range(3)]
        for number, body in enumerate(bodies):
            await peer.send(data(6, 11, number, body=body), linktest_req(number))
            await peer.expect(linktest_rsp(number))
        for body in bodies:
            assert (await connection.receive()).body == body
    assert sum(count or 0 for count in received) > 3 * 700_000


async def test_a_long_message_waits_until_the_program_has_made_room_for_it() -> None:
    async with asked(inbox_bytes=250_000) as (connection, peer, _):
        sizes = (100_000, 200_000, 100_000, 200_000)
        await peer.send(*(data(6, 11, size, body=bytes(size)) for size in sizes))
        for size in sizes:
            await wait_all_tasks_blocked()
            assert connection.statistics().waiting_primaries == 1
            assert len((await connection.receive()).body) == size
        assert connection.statistics().counts["primaries_without_room"] == 0


async def test_a_long_message_takes_no_more_than_its_slices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, begin = list[Share](), Share.begin

    def counted(self: Share) -> None:
        begun.append(self)
        begin(self)

    monkeypatch.setattr(Share, "begin", counted)
    monkeypatch.setattr(turns, "LONG", turns.Slice(0.001, frames=32, look=32))
    received = spied(monkeypatch)
    async with asked() as (connection, peer, _):
        await peer.send(data(6, 11, 1, body=bytes(900_000)))
        assert len((await connection.receive()).body) == 900_000
    reads = sum(bool(count) for count in received)
    assert len(begun) > reads > 3


async def test_a_wait_for_more_of_a_long_message_that_ends_early_goes_on() -> None:
    async with asked() as (connection, peer, _):
        whole = data(6, 11, 1, body=bytes(300_000))
        await peer.send(whole[:100_000])
        await wait_all_tasks_blocked()
        connection._driver._wake_who_reads()
        stream = connection._driver._reading
        assert stream is not None
        stream.stream.stop_waiting()
        await wait_all_tasks_blocked()
        await peer.send(whole[100_000:])
        assert len((await connection.receive()).body) == 300_000


@pytest.mark.parametrize("more", [0, 50_000])
@pytest.mark.parametrize(("end", "why"), [("close", "the peer closed TCP"), ("reset", "reset")])
async def test_the_end_in_a_long_message_is_told_as_what_it_is(
    end: str, why: str, more: int
) -> None:
    async with asked() as (connection, peer, theirs):
        whole = data(6, 11, 1, body=bytes(300_000))
        await peer.send(whole[:100_000])
        await wait_all_tasks_blocked()
        await peer.send(whole[100_000 : 100_000 + more])
        if end == "close":
            theirs.close()
        else:
            theirs.reset()
        with pytest.raises(ConnectionLostError, match=why):
            await connection.receive()


async def test_a_reply_that_comes_in_bytes_is_read_by_the_task_that_waits() -> None:
    async with asked() as (connection, peer, _), trio.open_nursery() as nursery:
        replies = await asks_again(nursery, connection, peer)
        request = await peer.frame()
        for byte in data(1, 2, request.system, body=b"abc"):
            assert reads(connection)
            await peer.send(bytes([byte]))
            await wait_all_tasks_blocked()
        assert [each.body for each in replies] == [b"abc"]


async def test_other_frames_are_handled_while_a_task_reads() -> None:
    async with asked() as (connection, peer, _), trio.open_nursery() as nursery:
        replies = await asks_again(nursery, connection, peer)
        request = await peer.frame()
        await peer.send(data(6, 11, 9, wait=True), data(6, 11, 10), linktest_req(7))
        await peer.expect(linktest_rsp(7))
        assert not replies
        assert connection.statistics().waiting_primaries == 2
        await peer.send(data(1, 2, request.system))
        await wait_all_tasks_blocked()
        assert len(replies) == 1


async def test_a_second_task_that_asks_gets_its_reply_too() -> None:
    async with asked() as (connection, peer, _), trio.open_nursery() as nursery:
        first = await asks_again(nursery, connection, peer)
        second: list[Any] = []

        async def ask() -> None:
            second.append(await connection.request(S1F1))

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        requests = [await peer.frame(), await peer.frame()]
        for request in reversed(requests):
            await peer.send(data(1, 2, request.system, body=b"%d" % request.system))
            await wait_all_tasks_blocked()
        assert [each.body for each in first + second] == [b"%d" % each.system for each in requests]


async def test_a_task_that_reads_and_is_cancelled_loses_nothing_for_others() -> None:
    async with asked() as (connection, peer, _), trio.open_nursery() as nursery:
        nursery.start_soon(answer, peer)
        await connection.request(S1F1)
        with trio.move_on_after(1):
            await connection.request(S1F1)
        given_up = await peer.frame()
        assert not reads(connection)
        await peer.send(data(1, 2, given_up.system))
        nursery.start_soon(answer, peer, b"second")
        assert (await connection.request(S1F1)).body == b"second"
        assert connection.statistics().counts["unexpected_secondaries"] == 1


async def test_a_task_that_reads_and_is_interrupted_leaves_no_open_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def interrupted(_: Socket) -> None:
        raise KeyboardInterrupt

    async with asked() as (connection, peer, _), trio.open_nursery() as nursery:
        nursery.start_soon(answer, peer)
        await connection.request(S1F1)
        with monkeypatch.context() as patch:
            patch.setattr(Socket, "wait_readable", interrupted)
            with pytest.raises(KeyboardInterrupt):
                await connection.request(S1F1)
        await peer.frame()
        assert connection.statistics().open_transactions == 0
        # The next one reads for itself again.
        replies = await asks_again(nursery, connection, peer)
        await answer(peer)
        await wait_all_tasks_blocked()
        assert [each.name for each in replies] == ["S1F2"]


async def test_t3_expires_for_a_task_that_reads_and_the_connection_goes_on() -> None:
    async with asked(t3=5) as (connection, peer, _), trio.open_nursery() as nursery:
        errors = await asks_again(nursery, connection, peer)
        await peer.frame()
        await trio.sleep(6)
        assert [type(each) for each in errors] == [ReplyTimeoutError]
        assert not reads(connection)
        nursery.start_soon(answer, peer)
        await connection.request(S1F1)


@pytest.mark.parametrize(
    ("end", "why"),
    [("close", "the peer closed TCP"), ("reset", "reset"), ("half", "the peer closed TCP")],
)
async def test_an_end_that_comes_to_a_task_that_reads_is_told_as_what_it_is(
    end: str, why: str
) -> None:
    async with asked() as (connection, peer, theirs), trio.open_nursery() as nursery:
        errors = await asks_again(nursery, connection, peer)
        await peer.frame()
        match end:
            case "close":
                theirs.close()
            case "reset":
                theirs.reset()
            case _:
                await peer.send(data(1, 2, 1)[:9])
                await wait_all_tasks_blocked()
                await theirs.send_eof()
        await wait_all_tasks_blocked()
        assert len(errors) == 1
        assert why in str(errors[0])


async def test_a_call_in_another_task_ends_the_wait_of_one_that_reads() -> None:
    async with asked() as (connection, peer, _), trio.open_nursery() as nursery:
        errors = await asks_again(nursery, connection, peer)
        nursery.start_soon(connection.aclose)
        await trio.sleep(100)
        assert [type(each) for each in errors] == [ClosedError]
        assert not reads(connection)


# Threads, which are told in the turn of the reader and have no task


async def test_after_a_thread_was_told_the_reader_reads_on_at_once() -> None:
    async with asked() as (connection, peer, _):
        reading = connection._driver._reading
        assert reading is not None
        offered: list[bool] = []
        is_told = trio.Event()

        connection._request_now(S1F1, lambda _: is_told.set())
        await answer(peer)
        await is_told.wait()
        offered.append(reading.is_free)

        is_told = trio.Event()
        connection._next_now(lambda _: is_told.set())
        await peer.send(data(6, 11, 1))
        await is_told.wait()
        offered.append(reading.is_free)

        assert offered == [False, False]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, peer)
            await connection.request(S1F1)
            # A task was told.
            assert reading.is_free


async def test_primaries_are_for_the_threads_in_the_order_in_which_they_wait() -> None:
    async with asked() as (connection, peer, _):
        first: list[Primary | None] = []
        given_up: list[Primary | None] = []
        third: list[Primary | None] = []
        connection._next_now(first.append)
        connection._next_now(given_up.append)()
        connection._next_now(third.append)
        await peer.send(data(6, 11, 1), data(6, 13, 2), data(6, 15, 3))
        await wait_all_tasks_blocked()
        fourth: list[Primary | None] = []
        connection._next_now(fourth.append)
        names = [each.name for each in (*first, *third, *fourth) if each is not None]
        assert names == ["S6F11", "S6F13", "S6F15"]
        assert given_up == []


async def test_a_primary_that_is_put_back_is_for_a_thread_that_waits() -> None:
    async with asked() as (connection, peer, _):
        await peer.send(data(6, 11, 1))
        primary = await connection.receive()
        got: list[Primary | None] = []
        connection._next_now(got.append)
        connection._put_back(primary)
        await wait_all_tasks_blocked()
        assert got == [primary]


async def test_any_number_of_threads_that_gave_up_may_put_one_primary_back() -> None:
    async with asked() as (connection, peer, _):
        offered: list[Primary] = []

        def gave_up(primary: Primary | None) -> None:
            assert primary is not None
            offered.append(primary)
            connection._put_back(primary)

        for _ in range(1_000):
            connection._next_now(partial(gave_up))  # each is another one
        got: list[Primary | None] = []
        connection._next_now(got.append)
        await peer.send(data(6, 11, 1))
        await wait_all_tasks_blocked()
        assert len(offered) == 1_000
        assert got == offered[:1]


async def test_at_the_end_of_the_connection_threads_that_wait_are_told() -> None:
    async with asked() as (connection, _, theirs):
        got: list[Primary | None] = []
        connection._next_now(got.append)
        await theirs.aclose()
        await wait_all_tasks_blocked()
        connection._next_now(got.append)
        assert got == [None, None]
