"""Streams that fail at every point a driver touches them, and our own stream over real sockets."""

from __future__ import annotations

import gc
import socket
import weakref
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import check_half_closeable_stream, memory_stream_pair, wait_all_tasks_blocked

from hsms_engine import ClosedError, ConnectionLostError, Message, Settings, open_hsms
from hsms_engine.driver.driver import Driver
from hsms_engine.driver.tcp import DirectStream, address_text, listen_tcp
from hsms_engine.protocol.engine import Engine
from statecharts.hsms import PASSIVE_LINK
from statecharts.hsms.vocabulary import ResetTcp
from tests.support.leaks import leak_check, no_task_left
from tests.support.network import direct, patience, reset
from tests.support.one_way import OneWay
from tests.support.raw_peer import SEPARATE_REQ, RawPeer, data, select_req

__all__ = ["leak_check", "no_task_left", "patience"]

QUIET: dict[str, Any] = {"linktest_interval": None}
S1F1 = Message(1, 1, wait=True)


@asynccontextmanager
async def fragile(**changes: Any) -> Any:
    """A selected connection over a fragile stream, the stream, and the peer."""
    ours, theirs = socket.socketpair()
    stream = FragileSocket(ours)
    peer = RawPeer(direct(theirs))

    async def dial() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return stream

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.select_by_answering)
            async with open_hsms("t", 1, dial=dial, random=Random(1), **changes) as connection:
                yield connection, stream, peer
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(peer.stream)


class FragileSocket(DirectStream):
    """Our own stream, which breaks where it is told to."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__(trio.SocketStream(trio.socket.from_stdlib_socket(connected)))
        self.broken: set[str] = set()
        # The most bytes it takes at once; 0 without waiting means that all have to wait.
        self.takes = 1_000_000
        # How many bytes it was given, each time.
        self.written: list[int] = []
        # Called when the writer's bytes have been taken, before it knows.
        self.meanwhile: Callable[[], object] = lambda: None

    def _meet(self, what: str) -> None:
        if what in self.broken:
            raise trio.BrokenResourceError(f"{what} broke")

    def send_nowait(self, data: bytes | memoryview) -> int:
        self._meet("send_nowait")
        self.written.append(len(data))
        return super().send_nowait(data[: self.takes]) if self.takes else 0

    async def send_some(self, data: memoryview) -> int:
        await trio.lowlevel.checkpoint()
        count = await super().send_some(data)
        self.meanwhile()
        self._meet("send_some")
        return count

    async def send_eof(self) -> None:
        self._meet("send_eof")
        await super().send_eof()


@pytest.mark.parametrize("where", ["send_nowait", "send_some"])
async def test_a_write_error_ends_the_connection(where: str) -> None:
    async with fragile(**QUIET) as (connection, stream, _):
        stream.broken.add(where)
        stream.takes = 3
        with pytest.raises(ConnectionLostError, match=f"TCP broke: {where} broke"):
            await connection.request(S1F1)
        with pytest.raises(ConnectionLostError, match=f"TCP broke: {where} broke"):
            await anext(connection)


async def test_a_write_error_of_many_at_once_fails_them_all() -> None:
    async with fragile(**QUIET) as (connection, stream, _), trio.open_nursery() as nursery:
        failed: list[str] = []

        async def ask() -> None:
            with pytest.raises(ConnectionLostError) as caught:
                await connection.request(S1F1)
            failed.append(str(caught.value))

        stream.broken.add("send_nowait")
        for _ in range(10):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        assert len(failed) == 10


async def test_a_half_close_that_fails_is_no_error_of_a_close() -> None:
    async with fragile(linger=0.05, **QUIET) as (connection, stream, _):
        stream.broken.add("send_eof")
        await connection.aclose()
        assert connection.phase == "closed"


@pytest.mark.parametrize("takes", [1, 3, 13, 14, 15, 100])
async def test_bytes_leave_in_order_however_few_are_taken_at_once(takes: int) -> None:
    async with fragile(**QUIET) as (connection, stream, peer), trio.open_nursery() as nursery:
        stream.takes = takes
        for number in range(20):
            nursery.start_soon(connection.send, Message(6, 11, body=bytes([number] * number)))
        got = [(await peer.frame()).body for _ in range(20)]
        assert sorted(got, key=len) == [bytes([number] * number) for number in range(20)]
        await peer.ping()
        assert connection.statistics().queued_bytes == 0


async def test_senders_wait_while_the_outbox_is_full_and_go_on_when_it_is_not() -> None:
    async with fragile(outbox_size=100, **QUIET) as (connection, stream, peer):
        stream.takes = 10_000
        sent: list[int] = []

        async def send(number: int) -> None:
            await connection.send(Message(7, 3, body=bytes([number]) * 1_000_000))
            sent.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(send, number)
            await wait_all_tasks_blocked()
            assert len(sent) < 5
            got = [(await peer.frame()).body[0] for _ in range(5)]
        assert sorted(got) == [0, 1, 2, 3, 4]
        assert got == sent


async def test_senders_that_wait_for_room_are_told_when_the_connection_ends() -> None:
    async with fragile(outbox_size=100, **QUIET) as (connection, stream, peer):
        stream.takes = 10_000
        ended: list[type[Exception]] = []

        async def send() -> None:
            try:
                await connection.send(Message(7, 3, body=bytes(10_000_000)))
                await connection.send(Message(7, 3))
            except (ConnectionLostError, ClosedError) as error:
                ended.append(type(error))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(send)
            await wait_all_tasks_blocked()
            reset(peer.stream)
        assert ended == [ConnectionLostError] * 3


async def test_a_peer_that_ends_while_the_writer_writes_is_one_end() -> None:
    for takes in (1, 5, 1_000):
        async with fragile(**QUIET) as (connection, stream, peer):
            stream.takes = takes
            await connection.send(Message(7, 3, body=bytes(5_000_000)))
            reset(peer.stream)
            with pytest.raises(ConnectionLostError):
                await anext(connection)


@pytest.mark.parametrize("breaks", [False, True])
@pytest.mark.parametrize("takes", [3, 1_000])
async def test_a_connection_that_ends_while_the_writer_writes_has_one_end(
    breaks: bool, takes: int
) -> None:
    async with fragile(**QUIET) as (connection, stream, _):
        stream.takes = 3
        stream.broken |= {"send_some"} if breaks else set()

        def end() -> None:
            stream.takes = takes
            stream.meanwhile = lambda: None
            connection._engine.tcp_closed()
            connection._driver.turn()

        stream.meanwhile = end
        await connection.send(Message(6, 11))
        with pytest.raises(ConnectionLostError, match="the peer closed TCP"):
            await anext(connection)


async def test_a_writer_that_is_woken_in_the_turn_its_connection_ends_writes_nothing() -> None:
    async with fragile(**QUIET) as (connection, _, _):
        transport = connection._driver._transport
        assert transport is not None
        transport.wake()
        connection._engine.tcp_closed()
        connection._driver.turn()
        await wait_all_tasks_blocked()
        with pytest.raises(ConnectionLostError):
            await anext(connection)


async def test_a_kernel_that_takes_nothing_after_all_is_asked_again() -> None:
    async with fragile(**QUIET) as (connection, stream, peer):
        stream.takes = 0
        turns = 0

        def relent() -> None:
            nonlocal turns
            turns += 1
            stream.takes = 100 if turns == 5 else 0

        stream.meanwhile = relent
        await connection.send(Message(6, 11))
        await peer.frame()
        assert turns >= 5


async def test_a_stream_that_cannot_half_close_separates_all_the_same() -> None:
    ours, theirs = memory_stream_pair()
    peer = RawPeer(theirs)

    async def dial() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return OneWay(ours)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.select_by_answering)
        async with open_hsms("t", 1, dial=dial, random=Random(1), linger=0.05, **QUIET):
            pass
    await peer.control(SEPARATE_REQ)
    await peer.end()


async def test_a_connection_closed_before_its_stream_was_taken_up_drops_the_stream() -> None:
    ours, theirs = memory_stream_pair()
    engine = Engine(
        PASSIVE_LINK, Settings(), clock=trio.current_time, random=Random(1), peer=lambda _: "early"
    )
    driver = Driver(engine, None)
    engine.close()
    driver.turn()
    await driver.run_accepted(ours)
    await RawPeer(theirs).end()


async def test_a_timer_nobody_knows_is_a_defect_and_said_so() -> None:
    async with fragile(**QUIET) as (connection, _, _):
        timers = connection._engine._life.timers
        with pytest.raises(KeyError, match="no duration is known for timer 't9'"):
            timers.start("t9")
        timers.stop("t9")


# Our own stream


def pair() -> tuple[DirectStream, DirectStream]:
    ours, theirs = socket.socketpair()
    return direct(ours), direct(theirs)


@pytest.mark.filterwarnings("error")
async def test_a_stream_that_is_dropped_closes_no_descriptor_of_others() -> None:
    ours, theirs = trio.socket.socketpair()
    with theirs:
        inner = trio.SocketStream(ours)
        dropped = weakref.ref(DirectStream(inner))
        gc.collect()
        assert dropped() is None
        await inner.send_all(b"alive")
        assert await theirs.recv(9) == b"alive"
        await inner.aclose()


async def test_a_send_that_does_not_wait_takes_nothing_when_the_kernel_is_full() -> None:
    ours, theirs = pair()
    total = 0
    while taken := ours.send_nowait(bytes(100_000)):
        total += taken
    assert ours.send_nowait(b"x") == 0
    while total:
        total -= len(await theirs.receive_some(50_000))
    await ours.wait_send_all_might_not_block()
    assert ours.send_nowait(b"x") == 1
    await ours.aclose()
    await theirs.aclose()


async def test_a_send_to_nobody_is_a_broken_resource_in_words() -> None:
    ours, theirs = pair()
    await theirs.aclose()
    with pytest.raises(trio.BrokenResourceError, match="Broken pipe"):
        ours.send_nowait(b"x")
    with pytest.raises(trio.BrokenResourceError, match="Broken pipe"):
        await ours.send_all(b"x")
    await ours.aclose()


async def test_everything_is_sent_through_a_small_kernel_buffer() -> None:
    ours, theirs = pair()
    body = Random(9).randbytes(3_000_000)
    got = bytearray()
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            await ours.send_all(body)
            await ours.send_eof()

        nursery.start_soon(send)
        while more := await theirs.receive_some():
            got += more
    assert bytes(got) == body
    await ours.aclose()
    await theirs.aclose()


async def test_a_long_body_and_what_is_before_it_are_given_to_the_kernel_together() -> None:
    ours, theirs = pair()
    assert ours.send_pieces_nowait([b"before", bytes(40_000), b"behind"]) == 40_012
    got = bytearray()
    while len(got) < 40_012:
        got += await theirs.receive_some()
    assert bytes(got) == b"before" + bytes(40_000) + b"behind"
    await theirs.aclose()
    with pytest.raises(trio.BrokenResourceError, match="Broken pipe"):
        ours.send_pieces_nowait([b"x", b"y"])
    await ours.aclose()


async def test_more_pieces_than_the_kernel_takes_at_once_are_taken_in_part() -> None:
    ours, theirs = pair()
    assert 0 < ours.send_pieces_nowait([b"x"] * 5_000) < 5_000
    await ours.aclose()
    await theirs.aclose()


@pytest.mark.parametrize("takes", [1_000_000, 1])
async def test_long_and_short_messages_leave_in_order_whatever_is_taken_at_once(takes: int) -> None:
    async with fragile(**QUIET) as (connection, stream, peer):
        sizes = [0, 40_000, 3, 0, 200_000, 100_000, 1, 0]

        stream.takes = takes
        for size in sizes:
            await connection.send(Message(6, 11, body=bytes([size % 251]) * size))
        stream.takes = 1_000_000
        frames = [await peer.frame() for _ in sizes]
        assert [frame.body for frame in frames] == [bytes([n % 251]) * n for n in sizes]


async def test_many_requests_at_once_do_not_wait_until_all_are_queued() -> None:
    async with fragile(**QUIET) as (connection, stream, peer), trio.open_nursery() as nursery:
        stream.written.clear()
        for _ in range(40):
            nursery.start_soon(connection.request, S1F1)
        for _ in range(40):
            request = await peer.frame()
            await peer.send(data(1, 2, request.system))
        # The first goes alone, as nobody else waits; the others in two writes.
        assert stream.written == [14, 32 * 14, 7 * 14]


async def test_a_long_message_does_not_wait_for_others() -> None:
    async with fragile(**QUIET) as (connection, _, peer):
        engine = connection._engine
        engine.request(S1F1)
        assert not engine.is_worth_writing
        engine.request(Message(7, 3, wait=True, body=bytes(32_769)))
        assert engine.is_worth_writing
        connection._driver.turn()
        assert [len((await peer.frame()).body) for _ in range(2)] == [0, 32_769]


async def test_a_wait_for_bytes_that_are_not_there_after_all_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = pair()
    take, taken = ours.receive_nowait, list[int]()

    def once_nothing(_: DirectStream, size: int) -> bytes | None:
        taken.append(size)
        return None if len(taken) == 1 else take(size)

    monkeypatch.setattr(DirectStream, "receive_nowait", once_nothing)
    await theirs.send_all(b"here")
    assert await ours.receive_some(10) == b"here"
    assert taken == [10, 10]
    await ours.aclose()
    await theirs.aclose()


async def test_bytes_are_received_into_a_place() -> None:
    ours, theirs = pair()
    space = bytearray(10)
    with memoryview(space) as view:
        assert ours.receive_into_nowait(view) is None
        await theirs.send_all(b"here")
        await ours.wait_readable()
        assert ours.receive_into_nowait(view[3:]) == 4
        assert space == b"\0\0\0here\0\0\0"
        await theirs.aclose()
        await ours.wait_readable()
        assert ours.receive_into_nowait(view) == 0
        await ours.aclose()
        with pytest.raises(trio.ClosedResourceError):
            ours.receive_into_nowait(view)


async def test_a_wait_to_read_that_is_stopped_ends_and_the_stream_lives_on() -> None:
    ours, theirs = pair()
    while ours.send_nowait(bytes(100_000)):
        pass
    ended: list[str] = []

    async def read() -> None:
        await ours.wait_readable()
        ended.append("read")

    async def write() -> None:
        await ours.send_some(memoryview(b"x"))
        ended.append("write")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(write)
        await wait_all_tasks_blocked()
        assert ended == []
        ours.stop_waiting()
    # Who waits to write tries again, and is told that nothing was taken.
    assert sorted(ended) == ["read", "write"]
    await theirs.send_all(b"y")
    await ours.wait_readable()
    assert ours.receive_nowait(10) == b"y"
    await theirs.aclose()
    await ours.aclose()


async def test_half_closing_what_is_not_connected_is_a_broken_resource() -> None:
    lone = direct(socket.socket())
    with pytest.raises(trio.BrokenResourceError, match="not connected"):
        await lone.send_eof()
    await lone.aclose()
    await lone.aclose()


async def test_closing_a_stream_wakes_who_waits_on_it() -> None:
    ours, theirs = pair()
    while ours.send_nowait(bytes(100_000)):
        pass
    waits: list[Callable[[], Awaitable[object]]] = [
        ours.receive_some,
        ours.wait_send_all_might_not_block,
    ]
    async with trio.open_nursery() as nursery:

        async def wait(call: Callable[[], Awaitable[object]]) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await call()

        for call in waits:
            nursery.start_soon(wait, call)
        await wait_all_tasks_blocked()
        ours.close()
    await theirs.aclose()


async def test_waiting_to_send_on_a_closed_stream_is_an_error_of_trio() -> None:
    ours, theirs = pair()
    ours.close()
    with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
        await ours.wait_send_all_might_not_block()
    with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
        await ours.receive_some()
    await theirs.aclose()


async def test_our_stream_is_one_by_the_tests_of_trio() -> None:
    async def made() -> tuple[DirectStream, DirectStream]:
        await trio.lowlevel.checkpoint()
        return pair()

    await check_half_closeable_stream(made, None)


async def test_who_receives_waits_on_when_woken_for_nothing_and_has_no_rival() -> None:
    ours, theirs = pair()
    got: list[bytes | bytearray] = []

    async def receive() -> None:
        got.append(await ours.receive_some())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await ours.receive_some()
        with pytest.raises(ValueError, match="max_bytes=0 must be 1 or more"):
            await ours.receive_some(0)
        ours.stop_waiting()
        await wait_all_tasks_blocked()
        assert got == []
        await theirs.send_all(b"abc")
    assert got == [b"abc"]
    ours.close()
    with pytest.raises(trio.ClosedResourceError):
        ours.receive_nowait(1)
    await theirs.aclose()


async def test_accepting_on_a_closed_listener_is_an_error_of_trio() -> None:
    listener = await listen_tcp("127.0.0.1", 0)
    listener.close()
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()


async def test_a_receive_in_a_cancelled_scope_loses_no_byte() -> None:
    ours, theirs = pair()
    await theirs.send_all(b"abc")
    with trio.CancelScope() as scope:
        scope.cancel()
        await ours.receive_some()
    assert scope.cancelled_caught
    assert await ours.receive_some(2) == b"ab"
    assert await ours.receive_some(2) == b"c"
    await ours.aclose()
    await theirs.aclose()


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("10.1.2.3", 5000), "10.1.2.3:5000"),
        (("::1", 5000, 0, 0), "[::1]:5000"),
        ("/run/hsms", "/run/hsms"),
        ("", "a Unix socket"),
        (b"\0abstract", "a Unix socket"),
    ],
)
async def test_addresses_are_written_as_people_write_them(address: object, text: str) -> None:
    assert address_text(address) == text


async def test_a_reply_is_taken_however_fast_it_comes() -> None:
    """The answer may be there before the request is awaited."""
    async with fragile(**QUIET) as (connection, _, peer), trio.open_nursery() as nursery:

        async def answer() -> None:
            for _ in range(200):
                got = await peer.frame()
                await peer.send(data(1, 2, got.system))

        nursery.start_soon(answer)
        for _ in range(200):
            assert (await connection.request(S1F1)).name == "S1F2"


async def test_a_stopped_driver_has_nothing_to_reset_and_waits_for_nothing_settled() -> None:
    engine = Engine(
        PASSIVE_LINK, Settings(), clock=trio.current_time, random=Random(1), peer=lambda _: "tool"
    )
    driver = Driver(engine, None)
    driver._change_tcp(ResetTcp())
    engine.tcp_accepted()
    engine.receive(select_req(1))
    transaction = engine.request(Message(1, 1, wait=True))
    engine.tcp_closed()
    assert transaction.is_settled
    await driver.until_settled(transaction)
