"""The listening end sees itself: events of every peer, counts of all connections, settings."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import (
    ClosedError,
    HsmsConnection,
    HsmsServer,
    Message,
    ServerStatistics,
    Settings,
    SettingsError,
    serve_hsms,
)
from hsms_engine.events import (
    Closed,
    Missed,
    PeerAccepted,
    PeerDeselected,
    PeerEnded,
    PeerRefused,
    PeerSelected,
    PeerTurnedAway,
    ServerEvent,
)
from hsms_engine.protocol.causes import CLOSED
from hsms_engine.protocol.statistics import COUNTERS
from tests.support.leaks import leak_check, no_task_left
from tests.support.pair import MemoryListener, echo, server_end
from tests.support.raw_peer import (
    data,
    deselect_req,
    deselect_rsp,
    linktest_req,
    select_req,
    select_rsp,
    separate_req,
)
from tests.support.threads import from_thread
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

QUIET: dict[str, Any] = {"linktest_interval": None}
LOST = "connection lost: the peer closed TCP"


async def all_of(server: HsmsServer) -> list[ServerEvent]:
    """What a new reader is told at once."""
    reader = server.events()
    told: list[ServerEvent] = []
    while reader._waiting:
        told.append(await reader.receive())
    return told


def short(event: ServerEvent) -> tuple[object, ...]:
    """What happened, without the times."""
    match event:
        case PeerAccepted(_, number, peer) | PeerSelected(_, number, peer):
            return type(event).__name__, number, peer
        case PeerDeselected(_, number, peer) | PeerRefused(_, number, peer):
            return type(event).__name__, number, peer
        case PeerTurnedAway(_, number, peer, why):
            return type(event).__name__, number, peer, why.partition(" ")[0]
        case PeerEnded(_, number, peer, was_selected, why):
            return type(event).__name__, number, peer, was_selected, why
        case _:
            return (type(event).__name__,)


async def test_the_life_of_each_peer_is_told_in_order() -> None:
    async with server_end(second_host="refuse", linktest_interval=1_000) as (server, listener):
        reader = server.events()
        one = await listener.raw("a:1")
        await one.select()
        other = await listener.raw("b:1")
        await other.send(select_req(1))
        await other.expect(select_rsp(1, 3))
        await other.close()
        await one.send(deselect_req(2))
        await one.expect(deselect_rsp(2))
        await one.select()
        await one.close()
        await wait_all_tasks_blocked()
        await server.aclose()
        told = [event async for event in reader]
    assert [short(event) for event in told] == [
        ("PeerAccepted", 1, "a:1"),
        ("PeerSelected", 1, "a:1"),
        ("PeerAccepted", 2, "b:1"),
        ("PeerRefused", 2, "b:1"),
        ("PeerEnded", 2, "b:1", False, "refused: others have all 1 sessions (max_sessions)"),
        ("PeerDeselected", 1, "a:1"),
        ("PeerSelected", 1, "a:1"),
        ("PeerEnded", 1, "a:1", True, LOST),
        ("Closed",),
    ]
    assert [event.at for event in told] == sorted(event.at for event in told)


async def test_who_finds_no_place_is_told_and_who_gives_way() -> None:
    async with server_end(max_connections=1, **QUIET) as (server, listener):
        reader = server.events()
        await listener.raw("a:1")
        peer = await listener.raw("b:1")
        await peer.select()
        await (await listener.raw("c:1")).end()
        await server.aclose()
        told = [short(event) async for event in reader]
    assert told[:5] == [
        ("PeerAccepted", 1, "a:1"),
        ("PeerEnded", 1, "a:1", False, "gave way to b:1"),
        ("PeerAccepted", 2, "b:1"),
        ("PeerSelected", 2, "b:1"),
        ("PeerTurnedAway", 0, "c:1", "1"),
    ]
    assert told[-2:] == [("PeerEnded", 2, "b:1", True, CLOSED), ("Closed",)]


async def test_a_reader_begins_with_the_open_connections_and_the_times_of_what_they_are() -> None:
    async with server_end(max_sessions=2, **QUIET) as (server, listener):
        assert await all_of(server) == []
        peers = [await listener.raw(f"{each}:1") for each in "abc"]
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await trio.sleep(2)
        for peer in peers[:2]:
            await peer.select()
        selected = trio.current_time()
        await peers[1].send(deselect_req(2))
        await peers[1].expect(deselect_rsp(2))
        await trio.sleep(1)
        assert await all_of(server) == [
            PeerSelected(selected, 1, "a:1"),
            PeerDeselected(selected, 2, "b:1"),
            PeerAccepted(began, 3, "c:1"),
        ]
        await peers[0].close()
        await wait_all_tasks_blocked()
        assert [short(event)[1] for event in await all_of(server)] == [2, 3]


async def test_a_slow_reader_misses_the_oldest_and_is_told_how_many() -> None:
    async with server_end(events_size=2, max_sessions=9, **QUIET) as (server, listener):
        reader = server.events()
        for number in range(3):
            await (await listener.raw(f"a:{number}")).select()
        first = await reader.receive()
        assert isinstance(first, Missed)
        assert first.count == 4
        assert short(await reader.receive()) == ("PeerAccepted", 3, "a:2")


async def test_a_reader_that_is_made_after_the_end_is_told_the_end() -> None:
    async with server_end(**QUIET) as (server, _):
        await server.aclose()
        await wait_all_tasks_blocked()
        reader = server.events()
        assert [type(event) async for event in reader] == [Closed]
        with pytest.raises(ClosedError):
            await reader.receive()


async def test_a_server_that_is_cancelled_tells_its_readers_the_end() -> None:
    readers = []
    async with server_end(**QUIET) as (server, listener):
        readers.append(server.events())
        await (await listener.raw()).select()
    assert [short(event)[0] async for event in readers[0]] == [
        "PeerAccepted",
        "PeerSelected",
        "PeerEnded",
        "Closed",
    ]


async def test_readers_that_nobody_holds_are_not_kept() -> None:
    async with server_end(**QUIET) as (server, _):
        kept = [server.events() for _ in range(3)]
        assert len(server._readers) == 3
        kept.clear()
        assert len(server._readers) == 0


# Counts


async def test_the_counts_of_connections_that_are_over_are_kept() -> None:
    async with server_end(echo, max_sessions=3, **QUIET) as (server, listener):
        assert server.statistics().counts == dict.fromkeys(COUNTERS, 0)
        seen: list[ServerStatistics] = []
        for number in range(3):
            peer = await listener.raw()
            await peer.select()
            await peer.send(data(1, 1, 7, wait=True))
            await peer.expect(data(1, 2, 7))
            seen.append(server.statistics())
            if number < 2:
                await peer.send(separate_req(1))
                await peer.end()
                await peer.close()
                await wait_all_tasks_blocked()
                seen.append(server.statistics())
        assert [each.counts["messages_received"] for each in seen] == [1, 1, 2, 2, 3]
        assert [each.times_selected for each in seen] == [1, 1, 2, 2, 3]
        assert [each.connections for each in seen] == [1, 0, 1, 0, 1]
        assert [each.selected for each in seen] == [1, 0, 1, 0, 1]
        assert [each.accepted for each in seen] == [1, 1, 2, 2, 3]


async def test_what_is_dropped_after_the_end_of_a_connection_counts_too() -> None:
    async def waits(_: HsmsConnection) -> None:
        await trio.sleep(5)

    async with server_end(waits, **QUIET) as (server, listener):
        peer = await listener.raw()
        await peer.select()
        await peer.send(data(6, 11, 1), data(6, 11, 2))
        await peer.ping()
        await peer.close()
        await wait_all_tasks_blocked()
        now = server.statistics()
        assert (now.connections, now.handlers, now.outliving) == (0, 1, 1)
        assert (now.waiting_primaries, now.counts["primaries_dropped"]) == (2, 0)
        await trio.sleep(6)
        now = server.statistics()
        assert (now.handlers, now.waiting_primaries) == (0, 0)
        assert now.counts["primaries_dropped"] == 2


async def test_the_counts_of_a_server_are_the_sums_of_those_of_its_connections() -> None:
    async with (
        server_end(max_sessions=3, **QUIET) as (server, listener),
        trio.open_nursery() as nursery,
    ):
        for number in range(3):
            peer = await listener.raw()
            await peer.select()
            connection = server.connections[-1]
            nursery.start_soon(connection.request, Message(1, 1, wait=True))
            await peer.frame()
            await peer.send(*(data(6, 11, each) for each in range(number)))
            await peer.ping()
        parts = [each.statistics() for each in server.connections]
        whole = server.statistics()
        for name in COUNTERS:
            assert whole.counts[name] == sum(each.counts[name] for each in parts)
        assert (whole.open_transactions, whole.waiting_primaries) == (3, 3)
        assert whole.queued_bytes == 0
        for name in ("handlers", "outliving", "waiting_bytes", "accepted", "turned_away",
                     "never_selected", "gave_way", "failed_connections", "failed_handlers",
                     "cancelled_handlers", "dropped_primaries"):  # fmt: skip
            assert getattr(whole, name) == getattr(server, name)
        nursery.cancel_scope.cancel()


# Settings


async def test_settings_of_a_server_are_in_force_for_open_connections_and_for_new_ones() -> None:
    async with server_end(max_sessions=2, **QUIET) as (server, listener):
        first = await listener.raw()
        await first.select()
        server.configure(t3=9, linktest_interval=4)
        await (await listener.raw()).select()
        assert [each.settings.t3 for each in server.connections] == [9, 9]
        assert server.settings.t3 == 9
        began = trio.current_time()
        await first.frame()
        # The linktest of a connection whose timer ran already.
        assert trio.current_time() - began == pytest.approx(4)


async def test_more_or_fewer_sessions_hold_for_those_who_ask_from_then_on() -> None:
    async with server_end(**QUIET) as (server, listener):
        peers = [await listener.raw() for _ in range(3)]
        await peers[0].select()
        server.configure(max_sessions=2)
        await peers[1].select()
        server.configure(max_sessions=1)
        await peers[2].send(select_req(1))
        await peers[2].expect(select_rsp(1, 3))
        for peer in peers[:2]:
            await peer.send(linktest_req(9))
        await wait_all_tasks_blocked()
        assert [each.is_selected for each in server.connections][:2] == [True, True]


async def test_fewer_places_hold_for_newcomers() -> None:
    async with server_end(max_sessions=3, **QUIET) as (server, listener):
        for _ in range(2):
            await (await listener.raw()).select()
        server.configure(max_connections=1)
        await (await listener.raw()).end()
        assert (len(server.connections), server.turned_away) == (2, 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"port": 5001}, "port=5001 cannot be used by a server that listens with port=5000"),
        ({"host": "other", "t3": 9}, "host='other' cannot be used by a server that listens with"),
        ({"t3": 0, "t6": 9}, "t3=0 is not in"),
        ({"t3": 9, "nosuch": 9}, "unknown setting nosuch"),
    ],
)
async def test_what_cannot_be_used_changes_nothing(changes: dict[str, Any], words: str) -> None:
    async with server_end(**QUIET) as (server, listener):
        await (await listener.raw()).select()
        before = server.settings
        with pytest.raises(SettingsError, match=words):
            server.configure(**changes)
        assert server.settings is before
        assert server.connections[0].settings is before
        server.configure(before, t3=8)
        assert server.connections[0].settings.t3 == 8


async def test_a_connection_that_is_closing_is_left_alone() -> None:
    async with server_end(**QUIET) as (server, listener):
        await (await listener.raw()).select()
        server.connections[0].close_soon()
        server.configure(t3=9)
        assert server.settings.t3 == 9


async def test_a_closed_server_takes_no_settings() -> None:
    async with server_end(**QUIET) as (server, _):
        await server.aclose()
        with pytest.raises(ClosedError, match="configure after close"):
            server.configure(t3=9)


async def test_a_server_can_be_configured_from_another_thread() -> None:
    async with server_end(**QUIET) as (server, listener):
        await (await listener.raw()).select()
        assert await from_thread(partial(server.configure, t3=9)) is None
        await wait_all_tasks_blocked()
        assert server.connections[0].settings.t3 == 9
        assert isinstance(await from_thread(partial(server.configure, port=1)), SettingsError)


async def test_what_a_recorder_raises_after_new_settings_ends_nothing() -> None:

    def fail(_: object) -> None:
        raise ValueError("recorder")

    async with server_end(max_sessions=2, **QUIET) as (server, listener):
        for _ in range(2):
            await (await listener.raw()).select()
        server.connections[0].on_step(fail)
        server.configure(t3=9)
        await wait_all_tasks_blocked()
        assert [each.settings.t3 for each in server.connections] == [9, 9]
        assert server.failed_connections == 0


async def test_over_real_tcp_the_counts_and_events_are_the_same(nursery: trio.Nursery) -> None:
    serve = partial(serve_hsms, echo, Settings(port=0), linger=0.01, allow_short_timers=True)
    server: HsmsServer = await nursery.start(serve)
    reader = server.events()
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    await stream.aclose()
    told: list[ServerEvent] = [await reader.receive() for _ in range(2)]
    assert [type(event) for event in told] == [PeerAccepted, PeerEnded]
    with pytest.raises(SettingsError):
        server.configure(port=server.port + 1)
    await server.aclose()
    assert server.statistics().accepted == 1


async def test_a_listener_is_not_asked_for_a_port_by_settings_that_name_the_same() -> None:
    listener = MemoryListener()
    async with trio.open_nursery() as nursery:
        serve = partial(serve_hsms, echo, Settings(port=0), listener=listener)
        server: HsmsServer = await nursery.start(serve)
        server.configure(Settings(port=0, t3=7))
        assert server.settings.t3 == 7
        await server.aclose()
