"""What a server holds is bounded: handlers, waiting bytes, half-open connections."""

from __future__ import annotations

import logging
import socket
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from hsms_engine import ConnectionLostError, HsmsConnection, HsmsServer, Settings, serve_hsms
from hsms_engine.driver import tcp
from hsms_engine.driver.driver import Driver
from hsms_engine.events import Closed, PeerAccepted, PeerEnded
from hsms_engine.protocol import Step
from hsms_engine.protocol.exchange import OVERHEAD
from tests.support.leaks import leak_check, no_task_left
from tests.support.network import direct
from tests.support.one_way import OneWay
from tests.support.pair import MemoryListener, echo, nothing, server_end
from tests.support.raw_peer import RawPeer, data, separate_req
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

QUIET: dict[str, Any] = {"linktest_interval": None}


async def come_and_go(listener: MemoryListener, *frames: bytes, separate: bool = False) -> None:
    """A peer that selects, sends this, and is gone."""
    peer = await listener.raw()
    await peer.select()
    await peer.send(*frames, *([separate_req(9)] if separate else []))
    await peer.settle()
    await peer.close()
    # The reader may rest for T6 / 4 before it sees that.
    await trio.sleep(2)


def event(size: int) -> bytes:
    """A primary that counts ``size`` bytes, for ``server_inbox_bytes``."""
    return data(6, 11, 1, body=bytes(size - OVERHEAD))


class Handlers:
    """Handlers that run on until they are cancelled, and what became of each."""

    def __init__(self, *, stubborn: bool = False) -> None:
        self.cancelled: list[str] = []
        self.release = trio.Event()
        self._stubborn = stubborn

    async def __call__(self, connection: HsmsConnection) -> None:
        try:
            await self.release.wait()
        except trio.Cancelled:
            self.cancelled.append(connection.peer)
            if self._stubborn:
                with trio.CancelScope(shield=True):
                    await self.release.wait()
            raise


# Handlers


async def test_the_handler_that_has_outlived_longest_is_cancelled_when_there_are_too_many(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handlers = Handlers()
    async with server_end(handlers, max_connections=2, **QUIET) as (server, listener):
        for _ in range(2):
            await come_and_go(listener)
        assert (handlers.cancelled, server.outliving, server.handlers) == ([], 2, 2)
        for number in range(1, 4):
            await come_and_go(listener)
            assert handlers.cancelled[-1] == f"memory peer {number}"
            assert (server.outliving, server.handlers, server.cancelled_handlers) == (2, 2, number)
        assert server.turned_away == 0
        assert len(caplog.records) == 3
        handlers.release.set()
        await wait_all_tasks_blocked()
        assert (server.outliving, server.handlers, server.connections) == (0, 0, [])


async def test_handlers_that_do_not_end_when_cancelled_still_count() -> None:
    handlers = Handlers(stubborn=True)
    async with server_end(handlers, max_connections=2, **QUIET) as (server, listener):
        for _ in range(4):
            await come_and_go(listener)
        assert (server.outliving, server.cancelled_handlers, server.turned_away) == (4, 2, 0)
        await (await listener.raw()).end()
        assert (server.accepted, server.turned_away) == (4, 1)
        handlers.release.set()
        await wait_all_tasks_blocked()
        await come_and_go(listener)
        assert server.accepted == 5


async def test_connections_that_are_never_selected_have_no_handlers_to_outlive_them() -> None:
    handlers = Handlers()
    async with server_end(handlers, max_connections=2, **QUIET) as (server, listener):
        await come_and_go(listener)
        for _ in range(10):
            peers = [await listener.raw() for _ in range(2)]
            await wait_all_tasks_blocked()
            for peer in peers:
                await peer.close()
            await wait_all_tasks_blocked()
        assert (handlers.cancelled, server.outliving) == ([], 1)


async def test_a_connection_that_is_over_before_its_handler_begins_counts_too() -> None:
    handlers = Handlers()
    async with server_end(handlers, max_connections=1, **QUIET) as (server, listener):
        for _ in range(3):
            peer = await listener.raw()
            # All of it is in one turn of the reader.
            await peer.send(bytes.fromhex("0000000a ffff 00 00 00 01 00000001"), separate_req(2))
            await peer.settle()
            await peer.close()
            await wait_all_tasks_blocked()
        assert (server.outliving, server.cancelled_handlers) == (1, 2)


# Bytes


async def test_what_waits_is_counted_until_it_is_taken_or_its_handler_has_ended() -> None:
    proceed = trio.Event()

    async def handler(connection: HsmsConnection) -> None:
        await anext(connection)
        await proceed.wait()

    async with server_end(handler, **QUIET) as (server, listener):
        await come_and_go(listener, event(300), event(500), event(OVERHEAD))
        assert server.waiting_bytes == 500 + OVERHEAD
        proceed.set()
        await wait_all_tasks_blocked()
        assert (server.waiting_bytes, server.dropped_primaries) == (0, 0)


@pytest.mark.parametrize("separate", [False, True], ids=["lost", "separated"])
async def test_primaries_of_the_connection_that_ended_first_make_room_and_its_reader_is_told(
    separate: bool, caplog: pytest.LogCaptureFixture
) -> None:
    proceed = trio.Event()
    ends: dict[str, Any] = {}

    async def handler(connection: HsmsConnection) -> None:
        await proceed.wait()
        read: list[str] = []
        ends[connection.peer] = read
        try:
            while True:
                read.append((await anext(connection)).name)
        except ConnectionLostError as error:
            read.append(error.reason)

    changes: dict[str, Any] = {"server_inbox_bytes": 1_500, **QUIET}
    async with server_end(handler, **changes) as (server, listener):
        for _ in range(3):
            await come_and_go(listener, event(250), event(250), separate=separate)
        assert (server.waiting_bytes, server.dropped_primaries) == (1_500, 0)
        await come_and_go(listener, event(300), separate=separate)
        assert (server.waiting_bytes, server.dropped_primaries) == (1_300, 2)
        proceed.set()
        await wait_all_tasks_blocked()
    (told,) = ends["memory peer 1"]
    assert told == (
        "the connection is over, and 2 primaries that waited were dropped: the server needed their "
        "room (server_inbox_bytes), or the handler had ended"
    )
    assert [ends[f"memory peer {number}"][:2] for number in (2, 3)] == [["S6F11", "S6F11"]] * 2
    assert len([each for each in caplog.records if each.levelno == logging.WARNING]) == 1


@pytest.mark.parametrize(
    ("ones", "others", "closed"),
    [([1_000], [200], 1), ([210], [500, 600], 2), ([500], [499, 600], 2)],
    ids=["the other one", "itself", "itself, with the new one"],
)
async def test_when_nothing_that_is_over_can_make_room_who_holds_most_is_closed(
    ones: list[int], others: list[int], closed: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    changes: dict[str, Any] = {"server_inbox_bytes": 1_000, "max_sessions": 2, **QUIET}
    async with server_end(nothing, **changes) as (server, listener):
        peers = [await listener.raw(), await listener.raw()]
        for peer in peers:
            await peer.select()
        for size in ones:
            await peers[0].send(event(size))
        await peers[0].ping()
        for size in others:
            await peers[1].send(event(size))
        await peers[closed - 1].end()
        await peers[2 - closed].ping()
        await wait_all_tasks_blocked()
        (connection,) = server.connections
        assert connection.peer == f"memory peer {3 - closed}"
        assert server.waiting_bytes <= 1_000


async def test_a_lone_primary_may_be_longer_than_all_inboxes() -> None:
    async with server_end(nothing, server_inbox_bytes=1, **QUIET) as (server, listener):
        peer = await listener.raw()
        await peer.select()
        await peer.send(event(10_000))
        await peer.ping()
        assert server.waiting_bytes == 10_000


async def test_eight_rounds_of_full_inboxes_leave_no_more_than_the_bound() -> None:
    changes: dict[str, Any] = {"server_inbox_bytes": 10_000, "inbox_bytes": 9_000, **QUIET}
    most = 0
    async with server_end(nothing, **changes) as (server, listener):
        for _ in range(8):
            for _ in range(8):
                await come_and_go(listener, *[event(1_000)] * 4)
                most = max(most, server.waiting_bytes)
        assert most == 8_000
        assert server.connections == []


# Half-open connections


async def half_open(listener: MemoryListener, *peers: str) -> list[RawPeer]:
    opened = [await listener.raw(peer) for peer in peers]
    await wait_all_tasks_blocked()
    return opened


def peers_of(server: HsmsServer) -> list[str]:
    return [each.peer for each in server.connections]


async def test_the_oldest_of_the_address_with_most_half_open_connections_gives_way(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    async with server_end(nothing, max_connections=4, **QUIET) as (server, listener):
        _, oldest, _, _ = await half_open(listener, "b:1", "a:1", "a:2", "c:1")
        honest = await listener.raw("honest:5")
        await honest.select()
        await oldest.end()
        assert peers_of(server) == ["b:1", "a:2", "c:1", "honest:5"]
        assert (server.gave_way, server.never_selected, server.turned_away) == (1, 1, 0)
        assert "a:1 passive: gives way to honest:5" in caplog.messages


async def test_of_addresses_with_as_many_the_oldest_connection_gives_way() -> None:
    async with server_end(nothing, max_connections=3, **QUIET) as (server, listener):
        first, *_ = await half_open(listener, "a:1", "b:1", "a:2")
        # The address is there for longest, its half-open connection is not.
        await first.close()
        await wait_all_tasks_blocked()
        await half_open(listener, "c:1", "d:1")
        assert peers_of(server) == ["a:2", "c:1", "d:1"]


async def test_256_half_open_connections_lock_nobody_out() -> None:
    async with server_end(echo, **QUIET) as (server, listener):
        await half_open(listener, *(f"10.0.0.{number % 7}:{number}" for number in range(256)))
        honest = await listener.raw("10.1.1.1:1")
        await honest.select()
        # They come again and again, and the one that is selected stays.
        await half_open(listener, *(f"10.0.0.{number % 7}:{number}" for number in range(256, 600)))
        await honest.send(data(2, 25, 7, wait=True))
        await honest.expect(data(2, 26, 7))
        assert len(server.connections) == 256
        assert server.turned_away == 0


async def test_a_busy_address_with_few_half_open_connections_loses_none_to_one_with_more() -> None:
    changes: dict[str, Any] = {"max_connections": 6, "max_sessions": 6, **QUIET}
    async with server_end(nothing, **changes) as (server, listener):
        for number in range(3):
            await (await listener.raw(f"gateway:{number}")).select()
        await half_open(listener, "gateway:9", "a:1", "a:2", "other:1")
        assert "gateway:9" in peers_of(server)
        assert "a:1" not in peers_of(server)


async def test_a_newcomer_is_turned_away_when_all_are_selected() -> None:
    changes: dict[str, Any] = {"max_connections": 2, "max_sessions": 2, **QUIET}
    async with server_end(nothing, **changes) as (server, listener):
        for number in range(2):
            await (await listener.raw(f"a:{number}")).select()
        (late,) = await half_open(listener, "b:1")
        await late.end()
        assert (peers_of(server), server.turned_away, server.gave_way) == (["a:0", "a:1"], 1, 0)


async def test_one_that_was_selected_and_is_not_now_does_not_give_way() -> None:
    async with server_end(nothing, max_connections=1, **QUIET) as (server, listener):
        peer = await listener.raw("a:1")
        await peer.select()
        await peer.send(bytes.fromhex("0000000a ffff 00 00 00 03 00000001"))
        await peer.expect(bytes.fromhex("0000000a ffff 00 00 00 04 00000001"))
        await (await listener.raw("b:1")).end()
        assert (peers_of(server), server.turned_away) == (["a:1"], 1)


async def test_one_that_is_selected_in_the_turn_a_newcomer_comes_does_not_give_way() -> None:
    refusals: list[str] = []
    async with server_end(nothing, max_connections=1, **QUIET) as (server, listener):
        (peer,) = await half_open(listener, "a:1")

        def newcomer(step: Step) -> None:
            if step.event == "select_req_received":
                refusals.append(server._make_place("b:1"))

        server.connections[0].on_step(newcomer)
        await peer.select()
        await peer.ping()
        (refusal,) = refusals
        assert refusal.startswith("1 connections are open")
        assert (server.gave_way, peers_of(server)) == (0, ["a:1"])


async def test_one_that_ends_in_the_pass_a_newcomer_comes_is_counted_and_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refusals: list[str] = []
    turn = Driver.turn
    async with server_end(nothing, max_connections=1, **QUIET) as (server, listener):

        def with_a_newcomer(driver: Driver) -> None:
            turn(driver)
            if driver.engine.is_closed and not refusals:
                refusals.append(server._make_place("b:1"))

        monkeypatch.setattr(Driver, "turn", with_a_newcomer)
        reader = server.events()
        (peer,) = await half_open(listener, "a:1")
        await peer.close()
        await wait_all_tasks_blocked()
        assert refusals == [""]
        assert (server.gave_way, server.never_selected, server.connections) == (0, 1, [])
        await server.aclose()
        told = [type(event) async for event in reader]
        assert told == [PeerAccepted, PeerEnded, Closed]


async def test_an_address_at_its_limit_closes_one_of_its_own() -> None:
    changes: dict[str, Any] = {"max_connections_per_address": 2, "max_sessions": 3, **QUIET}
    async with server_end(nothing, **changes) as (server, listener):
        await half_open(listener, "a:1", "a:2", "b:1", "b:2", "a:3")
        assert peers_of(server) == ["a:2", "b:1", "b:2", "a:3"]
        chosen = RawPeer(await listener.dial("c:1"))
        await chosen.select()
        for number in (2, 3):
            await (await listener.raw(f"c:{number}")).send(b"")
        await wait_all_tasks_blocked()
        assert peers_of(server) == ["a:2", "b:1", "b:2", "a:3", "c:1", "c:3"]
        assert (server.gave_way, server.turned_away) == (2, 0)


async def test_an_address_whose_connections_are_all_selected_has_no_more_than_its_limit() -> None:
    changes: dict[str, Any] = {"max_connections_per_address": 1, "max_sessions": 3, **QUIET}
    async with server_end(nothing, **changes) as (server, listener):
        peer = await listener.raw("a:1")
        await peer.select()
        await half_open(listener, "b:1")
        await (await listener.raw("a:2")).end()
        assert (peers_of(server), server.turned_away) == (["a:1", "b:1"], 1)
        await peer.close()
        await wait_all_tasks_blocked()
        await half_open(listener, "a:3")
        assert peers_of(server) == ["b:1", "a:3"]


async def test_half_open_connections_of_many_addresses_lock_nobody_out_over_tcp() -> None:
    async with trio.open_nursery() as nursery:
        settings = Settings(port=0, max_connections=16, linktest_interval=None)
        server: HsmsServer = await nursery.start(partial(serve_hsms, nothing, settings))
        opened: list[socket.socket] = []
        for number in range(32):
            each = socket.socket()
            each.bind((f"127.0.0.{2 + number % 8}", 0))
            each.connect(("127.0.0.1", server.port))
            opened.append(each)
        honest = RawPeer(await tcp.connect_tcp("127.0.0.1", server.port))
        await honest.select()
        assert len(server.connections) == 16
        assert (server.gave_way, server.turned_away) == (17, 0)
        for each in opened:
            each.close()
        await honest.close()
        nursery.cancel_scope.cancel()


# Accepting


async def test_what_waits_is_accepted_without_a_task_switch_and_up_to_a_bound() -> None:
    listener = await tcp.listen_tcp("127.0.0.1", 0)
    clients = [await tcp.connect_tcp("127.0.0.1", listener.port) for _ in range(40)]
    turns: list[int] = []
    count = 0

    async def accept() -> None:
        nonlocal count
        for _ in clients:
            stream, _ = await listener.accept()
            count += 1
            stream.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        while count < len(clients):
            before = count
            await trio.lowlevel.checkpoint()
            turns.append(count - before)
    # Two of its turns may be in one of ours.
    assert max(turns) <= 2 * 16
    assert len([each for each in turns if each]) <= 3
    listener.close()
    for client in clients:
        await client.aclose()


async def test_what_was_accepted_and_not_asked_for_is_closed_with_its_listener() -> None:
    listener = await tcp.listen_tcp("127.0.0.1", 0)
    clients = [RawPeer(await tcp.connect_tcp("127.0.0.1", listener.port)) for _ in range(3)]
    stream, _ = await listener.accept()
    stream.close()
    listener.close()
    for client in clients:
        await client.end()
        await client.close()
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()


async def test_a_peer_that_has_closed_without_a_byte_is_over() -> None:
    listener = await tcp.listen_tcp("127.0.0.1", 0)
    silent, reset, spoke, stays = [
        await tcp.connect_tcp("127.0.0.1", listener.port) for _ in range(4)
    ]
    given = [(await listener.accept())[0] for _ in range(4)]
    assert not any(each.is_over() for each in given)
    silent.close()
    spoke.send_nowait(b"x")
    spoke.close()
    reset.reset()
    assert [each.is_over() for each in given] == [True, True, False, False]
    assert await given[2].receive_some() == b"x"
    stays.send_nowait(b"y")
    assert await given[3].receive_some() == b"y"
    listener.close()
    for each in (*given, stays):
        each.close()


async def test_many_that_have_closed_again_cost_no_engine_and_are_counted() -> None:
    async with trio.open_nursery() as nursery:
        settings = Settings(port=0, linktest_interval=None, max_connections_per_address=1)
        server: HsmsServer = await nursery.start(partial(serve_hsms, nothing, settings))
        for number in range(100):
            gone = direct(socket.create_connection(("127.0.0.1", server.port)))
            if number % 4 == 1:
                # The address is not known after a reset, so none would be held to its limits.
                gone.send_nowait(b"x")
            (gone.reset if number % 2 else gone.close)()
        honest = RawPeer(await tcp.connect_tcp("127.0.0.1", server.port))
        await honest.select()
        assert (server.accepted, server.turned_away, server.gone_before) == (1, 100, 100)
        await honest.close()
        nursery.cancel_scope.cancel()


async def test_a_stream_that_is_slow_to_close_delays_nobody() -> None:
    changes: dict[str, Any] = {"max_connections": 1, **QUIET}
    async with server_end(echo, **changes) as (server, listener):
        peer = await listener.raw("a:1")
        await peer.select()
        closing = trio.Event()

        class Slow(OneWay):
            async def aclose(self) -> None:
                with trio.CancelScope(shield=True):
                    await closing.wait()
                await super().aclose()

        ours, theirs = memory_stream_pair()
        listener._give.send_nowait((Slow(theirs), "b:1"))
        await (await listener.raw("c:1")).end()
        assert server.turned_away == 2
        await peer.send(data(2, 25, 7, wait=True))
        await peer.expect(data(2, 26, 7))
        closing.set()
        await ours.aclose()
