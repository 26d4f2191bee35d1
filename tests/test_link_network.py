"""The same behaviours over real TCP on loopback. Nothing sleeps; every wait has an end."""

from __future__ import annotations

import socket
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import (
    CircuitOpenError,
    ClosedError,
    ConnectError,
    ConnectionLostError,
    HsmsConnection,
    Message,
    events,
    open_hsms,
    open_link,
)
from hsms_engine.driver import tcp
from hsms_engine.driver.dialling import Dials
from hsms_engine.driver.tcp import DirectStream, connect_tcp
from tests.support.leaks import leak_check, no_task_left
from tests.support.network import (
    Hole,
    close_at_once,
    closed_port,
    equipment,
    gate,
    patience,
    reset,
    say_nothing,
    serving,
)
from tests.support.pair import echo, first
from tests.support.raw_peer import SEPARATE_REQ, RawPeer, data, linktest_req, linktest_rsp

__all__ = ["leak_check", "no_task_left", "patience"]

# Attempts follow each other without waiting; what must not happen in a test never comes due.
FAST: dict[str, Any] = {
    "t5": 0.001,
    "allow_short_timers": True,
    "linktest_interval": None,
    "backoff_jitter": 0.0,
}
S1F1 = Message(1, 1, wait=True)


async def test_a_name_of_the_system_is_found() -> None:
    assert "127.0.0.1" in [each[4][0] for each in await Dials().addresses("localhost")]


# With an equipment, here or elsewhere


async def test_it_connects_selects_and_says_so_in_that_order() -> None:
    async with equipment() as (host, port), open_link(host=host, port=port) as link:
        reader = link.events()
        told = [type(await anext(reader)) for _ in range(3)]
        assert told == [events.Connecting, events.Selecting, events.Selected]
        assert link.is_selected


async def test_ten_tasks_share_one_connection() -> None:
    async with equipment() as (host, port), open_link(host=host, port=port) as link:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(link.connect)
        assert link.statistics().attempts == 1


async def test_requests_and_linktests_are_answered() -> None:
    async with equipment() as (host, port), open_hsms(host, port) as connection:
        assert (await connection.request(S1F1)).name == "S1F2"
        await connection.linktest()
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(connection.request, S1F1)
        assert connection.statistics().open_transactions == 0


def _item(code: int, payload: bytes) -> bytes:
    length = len(payload).to_bytes(3, "big").lstrip(b"\0") or b"\0"
    return bytes([code << 2 | len(length)]) + length + payload


ASCII, BINARY = 0o20, 0o10


@pytest.mark.parametrize(
    "body",
    [
        _item(BINARY, b""),
        _item(ASCII, b"x" * 10_000),
        _item(BINARY, Random(1).randbytes(1_000_000)),
        _item(BINARY, Random(2).randbytes(10_000_000)),
        b"\x01\x01\x01\x02\x01\x01" + _item(ASCII, b"deep") + _item(BINARY, b"\0"),
    ],
    ids=["empty", "10,000 characters", "1 MB", "10 MB", "lists"],
)
async def test_bodies_come_back_byte_for_byte(body: bytes) -> None:
    async with equipment() as (host, port), open_hsms(host, port) as connection:
        reply = await connection.request(Message(2, 25, wait=True, body=body))
        assert (reply.name, reply.body) == ("S2F26", body)


async def test_50_connections_one_after_another_all_come_up() -> None:
    async with equipment() as (host, port):
        for _ in range(50):
            async with open_hsms(host, port) as connection:
                await connection.request(S1F1)


# Refused, closed, silent


async def test_a_refusal_names_host_port_and_cause() -> None:
    port = closed_port()

    async def connect() -> None:
        async with open_hsms("127.0.0.1", port):
            pass

    words = rf"127\.0\.0\.1:{port}: not connected, during TCP connect: .*Connection refused"
    with pytest.raises(ConnectError, match=words) as caught:
        await connect()
    assert caught.value.phase == "tcp connect"


async def test_a_peer_that_closes_after_accept_is_noticed_at_once() -> None:
    async with gate(close_at_once) as listener:
        settings = {**FAST, "t6": 240, "t7": 240, "t5": 240}
        async with open_link(port=listener.port, **settings) as link:
            error = (await first(link.events(), events.Waiting)).error
            assert isinstance(error, ConnectError)
            assert error.phase == "select"
            assert "during select" in str(error)
            assert link.statistics().breaker_failures == 1


@pytest.mark.parametrize("threshold", [1, 2, 3, 5, 10])
async def test_exactly_as_many_attempts_as_the_threshold_reach_the_listener(threshold: int) -> None:
    async with gate(close_at_once) as listener:
        settings = {"breaker_threshold": threshold, "breaker_open_time": 1_000, **FAST}
        async with open_link(port=listener.port, **settings) as link:
            reader = link.events()
            # T5 is over after the last failure, and the breaker has said no.
            await first(reader, events.Blocked)
            assert listener.came == threshold
            with pytest.raises(CircuitOpenError) as caught:
                await link.connect()
            assert 900 < caught.value.retry_after <= 1_000
            link.configure(breaker_open_time=0.01)
            await first(reader, events.BreakerHalfOpen)
            await first(reader, events.BreakerOpened)
            assert listener.came == threshold + 1


async def test_a_threshold_lowered_on_a_live_link_holds_at_once() -> None:
    async with gate(close_at_once) as listener:
        settings = {"breaker_threshold": 1_000, "breaker_open_time": 1_000, **FAST}
        async with open_link(port=listener.port, **settings) as link:
            reader = link.events()
            for _ in range(5):
                await first(reader, events.Waiting)
            failures = link.statistics().breaker_failures
            link.configure(breaker_threshold=2)
            await first(reader, events.BreakerOpened)
            await first(reader, events.Blocked)
            assert link.statistics().breaker_threshold == 2
            assert listener.came <= failures + 1


@pytest.mark.parametrize("how", ["cancel", "close"])
async def test_a_tcp_connect_that_hangs_can_be_left_at_once(how: str) -> None:
    with Hole() as hole:
        async with open_link(port=hole.port, connect_timeout=240, **FAST) as link:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(link.connect)
                    await wait_all_tasks_blocked()
                    assert link.phase == "connecting"
                    scope.cancel()
            if how == "close":
                await link.aclose()
                await link.aclose()
                with pytest.raises(ClosedError):
                    await link.connect()
            assert link.statistics().failed_attempts == 0


@pytest.mark.parametrize("how", ["cancel", "close"])
async def test_a_select_that_hangs_can_be_left_at_once(how: str) -> None:
    async with gate(say_nothing) as listener:
        settings = {**FAST, "t6": 240, "t7": 240}
        async with open_link(port=listener.port, **settings) as link:
            reader = link.events()
            await first(reader, events.Selecting)
            if how == "close":
                async with trio.open_nursery() as nursery:
                    for _ in range(10):
                        nursery.start_soon(link.aclose)
            assert link.statistics().failed_attempts == 0


async def test_a_connect_that_gets_no_answer_ends_with_its_timeout() -> None:
    with Hole() as hole:
        async with open_link(port=hole.port, **{**FAST, "connect_timeout": 0.1, "t5": 9}) as link:
            waiting = await first(link.events(), events.Waiting)
            assert "connect_timeout" in str(waiting.error)


# The end of TCP


@pytest.mark.parametrize("how", ["FIN", "RST"])
async def test_the_end_of_tcp_is_noticed_at_once_by_the_dialling_end(how: str) -> None:
    async def end(stream: DirectStream) -> None:
        peer = RawPeer(stream)
        await peer.select_by_answering()
        await peer.frame()
        if how == "FIN":
            await stream.aclose()
        else:
            reset(stream)

    async with gate(end) as listener, open_hsms("127.0.0.1", listener.port) as connection:
        with pytest.raises(ConnectionLostError, match="S1F1 got no reply"):
            await connection.request(S1F1)


@pytest.mark.parametrize("how", ["FIN", "RST"])
async def test_the_end_of_tcp_is_noticed_at_once_by_the_listening_end(how: str) -> None:
    lost: list[Exception] = []
    noticed = trio.Event()

    async def handler(connection: HsmsConnection) -> None:
        try:
            await connection.request(S1F1)
        except ConnectionLostError as error:
            lost.append(error)
        noticed.set()

    async with serving(handler) as server:
        stream = await connect_tcp("127.0.0.1", server.port)
        peer = RawPeer(stream)
        await peer.select()
        await peer.frame()
        if how == "FIN":
            await stream.aclose()
        else:
            reset(stream)
        await noticed.wait()
        assert len(lost) == 1


async def test_a_cancelled_block_still_says_separate() -> None:
    said = trio.Event()

    async def listen(stream: DirectStream) -> None:
        peer = RawPeer(stream)
        await peer.select_by_answering()
        await peer.control(SEPARATE_REQ)
        await peer.end()
        await stream.aclose()
        said.set()

    # In which order tasks end that are cancelled together is trio's chance.
    for _ in range(20):
        said = trio.Event()
        async with gate(listen) as listener:
            with trio.CancelScope() as scope:
                async with open_hsms("127.0.0.1", listener.port):
                    scope.cancel()
                    await trio.sleep_forever()
            await said.wait()


# Large, fast, slow


async def test_ten_megabytes_each_way_at_once() -> None:
    body = Random(5).randbytes(10_000_000)
    got: list[bytes] = []

    async def handler(connection: HsmsConnection) -> None:
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                await connection.send(Message(7, 3, body=body))

            nursery.start_soon(send)
            await echo(connection)

    async with serving(handler) as server, open_hsms("127.0.0.1", server.port) as connection:
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                got.append((await anext(connection)).body)

            nursery.start_soon(read)
            reply = await connection.request(Message(2, 25, wait=True, body=body))
        assert reply.body == body
        assert got == [body]


async def test_frames_sent_byte_by_byte_and_in_one_piece_are_the_same_frames() -> None:
    async with serving() as server:
        stream = await connect_tcp("127.0.0.1", server.port)
        peer = RawPeer(stream)
        await peer.select()
        frames = b"".join(data(2, 25, number, wait=True, body=b"\x01\x00") for number in range(20))
        for byte in frames:
            await peer.send(bytes([byte]))
        await peer.send(frames)
        for _ in range(2):
            for number in range(20):
                await peer.expect(data(2, 26, number, body=b"\x01\x00"))
        await stream.aclose()


async def test_a_peer_that_never_reads_is_cut_off_and_costs_bounded_memory() -> None:
    async def never_read(stream: DirectStream) -> None:
        try:
            await RawPeer(stream).select_by_answering()
            await trio.sleep_forever()
        finally:
            stream.close()

    async with gate(never_read) as listener:
        settings: dict[str, Any] = {"write_timeout": 0.1, "outbox_size": 100_000}
        async with open_hsms("127.0.0.1", listener.port, **settings) as connection:
            most = 0

            async def flood() -> None:
                nonlocal most
                while True:
                    await connection.send(Message(7, 3, body=bytes(10_000)))
                    most = max(most, connection.statistics().queued_bytes)

            with pytest.raises(ConnectionLostError, match="the peer took no byte"):
                await flood()
            assert 100_000 < most <= 110_014


async def test_garbage_is_no_end_of_the_port() -> None:
    async with serving() as server:
        good = RawPeer(await connect_tcp("127.0.0.1", server.port))
        await good.select()
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 5_000, b"", b"\0\0"):
            bad = await connect_tcp("127.0.0.1", server.port)
            if garbage:
                await bad.send_all(garbage)
            reset(bad)
        await good.send(linktest_req(1))
        await good.frame()
        await good.close()
        async with open_hsms("127.0.0.1", server.port) as connection:
            await connection.request(S1F1)


async def test_what_stands_before_a_bad_length_is_answered_before_the_connection_closes() -> None:
    async with serving() as server:
        peer = RawPeer(await connect_tcp("127.0.0.1", server.port))
        await peer.select()
        await peer.send(linktest_req(7), b"GET / HTTP/1.1\r\n\r\n")
        await peer.expect(linktest_rsp(7))
        await peer.end()
        await peer.close()


# Sockets


async def test_both_ends_send_small_segments_at_once() -> None:
    made: list[DirectStream] = []
    original = DirectStream.__init__

    def init(self: DirectStream, stream: trio.SocketStream) -> None:
        original(self, stream)
        made.append(self)
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DirectStream, "__init__", init)
        async with serving() as server, open_hsms("127.0.0.1", server.port):
            assert len(made) == 2


async def test_a_name_with_several_addresses_is_tried_address_by_address() -> None:
    """The server listens on 127.0.0.1 only; the name's other address may come first."""
    async with serving() as server, open_hsms("localhost", server.port) as connection:
        await connection.request(S1F1)


async def test_ipv6_works_where_there_is_some() -> None:
    try:
        listener = await tcp.listen_tcp("::1", 0)
    except OSError as error:
        pytest.skip(f"no IPv6 on loopback: {error}")
    address, port = listener.address, listener.port
    listener.close()
    assert address == f"[::1]:{port}"
    async with serving(host="::1") as server, open_hsms("::1", server.port) as connection:
        assert connection.peer == f"[::1]:{server.port}"
        await connection.request(S1F1)


async def test_a_port_in_use_cannot_be_listened_on() -> None:
    async with serving() as server:
        with pytest.raises(OSError, match="Address already in use"):
            await tcp.listen_tcp("127.0.0.1", server.port)


async def test_the_port_of_a_closed_server_can_still_be_asked_for() -> None:
    async with serving() as server:
        port, address = server.port, server.address
        await server.aclose()
        assert (server.port, server.address) == (port, address)


# A server that goes away and comes back


async def test_a_link_finds_the_server_again_after_the_breaker_has_opened() -> None:
    async with trio.open_nursery() as nursery:
        async with serving() as server:
            port = server.port
            link_settings = {"breaker_threshold": 3, "breaker_open_time": 0.2, **FAST}
            opened = trio.Event()
            back = trio.Event()
            done = trio.Event()

            async def keep() -> None:
                async with open_link(port=port, **link_settings) as link:
                    reader = link.events()
                    await first(reader, events.Selected)
                    opened.set()
                    failed = await first(reader, events.BreakerOpened)
                    assert failed.failures == 3
                    back.set()
                    await first(reader, events.BreakerProbing)
                    await first(reader, events.BreakerClosed)
                    await link.wait_selected()
                    assert (await link.request(S1F1)).name == "S1F2"
                    done.set()

            nursery.start_soon(keep)
            await opened.wait()
        await back.wait()
        async with serving(port=port):
            await done.wait()
