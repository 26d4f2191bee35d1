"""Every reader of events begins with the present state, and ``receive`` gives the next one."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import (
    ClosedError,
    ConnectError,
    ConnectionLostError,
    HsmsLink,
    Primary,
    open_link,
)
from hsms_engine.driver.event_reader import EventReader
from hsms_engine.events import LinkEvent, Missed
from tests.support.leaks import leak_check, no_task_left
from tests.support.pair import Switchboard, active_end, link_end, passive_end
from tests.support.raw_peer import RawPeer, data, deselect_req, separate_req
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

QUIET: dict[str, Any] = {"linktest_interval": None}


async def up(link: HsmsLink, board: Switchboard) -> RawPeer:
    peer = await board.peer()
    await peer.select_by_answering()
    await link.wait_selected()
    return peer


async def waiting(reader: EventReader[LinkEvent]) -> list[LinkEvent | Missed]:
    """What a reader has to tell now."""
    told: list[LinkEvent | Missed] = []
    while reader._waiting:
        told.append(await reader.receive())
    return told


def names(told: list[LinkEvent | Missed]) -> list[str]:
    return [type(event).__name__ for event in told]


async def refused(link: HsmsLink) -> None:
    with pytest.raises(ConnectError):
        await link.connect()


async def test_a_later_reader_begins_with_the_phase_and_the_time_at_which_it_began() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        whole = link.events()
        peer = await up(link, board)
        selected = trio.current_time()
        await trio.sleep(7)
        late = link.events()
        await peer.send(data(1, 2, 99), deselect_req(1))
        await trio.sleep(1)
        told = await waiting(late)
        assert names(told) == ["Selected", "UnexpectedSecondary", "NotSelected"]
        assert [event.at for event in told] == [selected, selected + 7, selected + 7]
        assert (await waiting(whole))[-3:] == told
        # A message is no state.
        assert names(await waiting(link.events())) == ["NotSelected"]


async def test_a_breaker_that_is_not_closed_is_told_too_in_the_order_in_which_it_happened() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, breaker_threshold=2, breaker_open_time=30, **QUIET) as link:
        whole = link.events()
        await refused(link)
        assert names(await waiting(link.events())) == ["Waiting"]
        await refused(link)
        opened = trio.current_time()
        await trio.sleep(15)
        assert names(await waiting(whole)) == [
            "Connecting", "Waiting", "Connecting", "Waiting", "BreakerOpened", "Blocked",
        ]  # fmt: skip
        told = await waiting(link.events())
        assert names(told) == ["BreakerOpened", "Blocked"]
        assert [event.at - opened for event in told] == [0, 10]
        board.hang()
        await trio.sleep(16)
        assert names(await waiting(link.events())) == ["BreakerProbing", "Connecting"]
        link.isolate()
        assert names(await waiting(link.events())) == ["BreakerIsolated", "Waiting"]
        link.release()
        assert "BreakerIsolated" not in names(await waiting(link.events()))


async def test_after_the_close_a_reader_is_told_the_close_and_ends() -> None:
    async with link_end(Switchboard(), **QUIET) as link:
        link.isolate()
        await link.aclose()
        for _ in range(3):
            told = [event async for event in link.events()]
            assert names(told)[-1] == "Closed"
        reader = link.events()
        await waiting(reader)
        with pytest.raises(ClosedError, match="there are no more events"):
            await reader.receive()


async def test_a_link_that_comes_back_disabled_says_so_to_every_reader() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        await up(link, board)
        link.disable()
        saved = json.dumps(link.save())
    async with open_link(restore=saved, dial=board.dial, **QUIET) as link:
        for _ in range(2):
            assert names(await waiting(link.events())) == ["Idle"]
        link.enable()


async def test_a_reader_with_room_for_one_event_is_told_the_latest_and_that_it_missed_one() -> None:
    async with link_end(Switchboard(), events_size=1, **QUIET) as link:
        link.events()
        await trio.sleep(1)
        link.isolate()
        told = await waiting(link.events())
        assert names(told) == ["Missed", "Waiting"]


# The next one, as a call


@pytest.mark.parametrize("end", [active_end, passive_end], ids=["active", "passive"])
async def test_receive_gives_the_primaries_in_order_and_then_why_there_are_no_more(
    end: Any,
) -> None:
    async with end(**QUIET) as (connection, peer):
        await peer.send(data(6, 11, 1), data(6, 13, 2), separate_req(3))
        assert [(await connection.receive()).name for _ in range(2)] == ["S6F11", "S6F13"]
        for _ in range(2):
            with pytest.raises(ConnectionLostError, match="the peer separated"):
                await connection.receive()
        assert [primary async for primary in connection] == []


async def test_receive_says_that_the_connection_broke_and_that_it_was_closed() -> None:
    async with active_end(**QUIET) as (connection, peer):
        await peer.close()
        with pytest.raises(ConnectionLostError, match="the peer closed TCP"):
            await connection.receive()
        with pytest.raises(ConnectionLostError, match="the peer closed TCP"):
            await anext(connection)
    async with active_end(**QUIET) as (connection, _):
        await connection.aclose()
        with pytest.raises(ClosedError):
            await connection.receive()
        with pytest.raises(ClosedError):
            await anext(connection)


async def test_receive_of_a_link_goes_on_over_its_connections_until_it_is_closed() -> None:
    board = Switchboard()
    got: list[Primary] = []
    async with link_end(board, **QUIET) as link:
        for number in range(2):
            peer = await up(link, board)
            await peer.send(data(6, 11, number))
            got.append(await link.receive())
            await peer.close()
        await link.aclose()
        with pytest.raises(ClosedError):
            await link.receive()
        assert [primary async for primary in link] == []
    assert [each.system_bytes for each in got] == [0, 1]


async def test_a_receive_that_is_cancelled_as_the_next_one_comes_loses_nothing() -> None:
    async with active_end(**QUIET) as (connection, peer):
        reader = connection.events()
        await waiting(reader)
        primaries: list[Primary] = []
        told: list[LinkEvent | Missed] = []

        async def take_primary() -> None:
            primaries.append(await connection.receive())

        async def take_event() -> None:
            told.append(await reader.receive())

        for number in range(20):
            for take, comes in (
                (take_primary, data(6, 11, number)),
                (take_event, data(1, 2, number)),
            ):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(take)
                    await wait_all_tasks_blocked()
                    await peer.send(comes)
                    # At different moments while it comes.
                    for _ in range(number % 5):
                        await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel()
        await wait_all_tasks_blocked()
        cancelled = 20 - len(primaries), 20 - len(told)
        assert all(each > 0 for each in cancelled)
        while len(primaries) < 20:
            await take_primary()
        told += await waiting(reader)
        assert [each.system_bytes for each in primaries] == list(range(20))
        assert names(told) == ["UnexpectedSecondary"] * 20
