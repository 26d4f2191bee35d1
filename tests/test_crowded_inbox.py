"""A burst of primaries: the reader lets a program that reads keep up, and waits for no other."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import ConnectionLostError, HsmsConnection, Message, ReplyTimeoutError
from tests.support.pair import active_end, server_end
from tests.support.raw_peer import data, linktest_req, linktest_rsp
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]

QUIET: dict[str, Any] = {"linktest_interval": None}


def burst(count: int, size: int = 0) -> bytes:
    return b"".join(data(6, 11, number, body=bytes(size)) for number in range(1, count + 1))


async def taken_all(
    rest: Callable[[], Awaitable[object]], sent: bytes, count: int, **changes: Any
) -> HsmsConnection:
    """Take ``count`` primaries, with ``rest`` after each; the peer has sent all at once."""
    async with active_end(**QUIET, **changes) as (connection, peer):
        await peer.send(sent)
        for _ in range(count):
            await anext(connection)
            await rest()
        assert connection.is_selected
        return connection


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.1])
async def test_a_burst_three_times_the_inbox_is_taken_by_a_program_that_awaits_once_an_event(
    seconds: float,
) -> None:
    rest = partial(trio.sleep, seconds)
    connection = await taken_all(rest, burst(3_000), 3_000, inbox_size=1_000)
    assert connection.statistics().counts["primaries_without_room"] == 0


@pytest.mark.clause("judge/rest")
async def test_30_000_events_at_once_with_the_default_inbox() -> None:
    await taken_all(trio.lowlevel.checkpoint, burst(30_000), 30_000)


@pytest.mark.parametrize("inbox_size", [1, 2, 3, 7])
async def test_the_smallest_inboxes_do(inbox_size: int) -> None:
    await taken_all(trio.lowlevel.checkpoint, burst(100), 100, inbox_size=inbox_size)


async def test_a_burst_of_bytes_is_taken_too() -> None:
    await taken_all(
        partial(trio.sleep, 0.01),
        burst(300, size=10_000),
        300,
        inbox_bytes=100_000,
        inbox_size=9_999,
    )


async def test_a_handler_that_answers_keeps_up() -> None:
    count = 0

    async def answer(connection: HsmsConnection) -> None:
        nonlocal count
        async for primary in connection:
            await trio.sleep(0.001)
            await connection.reply(primary, Message(primary.stream, primary.function + 1))
            count += 1

    async with server_end(answer, inbox_size=100, **QUIET) as (server, listener):
        peer = await listener.raw()
        await peer.select()
        await peer.send(b"".join(data(1, 1, number, wait=True) for number in range(1, 2_001)))
        for number in range(1, 2_001):
            assert (await peer.frame()).system == number
        assert len(server.connections) == 1
    assert count == 2_000


async def test_a_program_that_takes_nothing_is_waited_for_once_and_for_t6_by_4() -> None:
    async with active_end(**QUIET, inbox_size=10, t6=8) as (connection, peer):
        await peer.send(burst(11))
        await trio.sleep(1.99)
        assert connection.statistics().phase == "selected"
        await trio.sleep(0.02)
        with pytest.raises(ConnectionLostError, match="the inbox is full: 10 primaries of 0 bytes"):
            await connection.linktest()


@pytest.mark.parametrize("seconds", [2, 30])
async def test_a_program_that_takes_one_within_t3_keeps_its_connection(seconds: float) -> None:
    """It is slower than T6 / 4, and the inbox is full most of the time."""
    await taken_all(partial(trio.sleep, seconds), burst(200), 200, inbox_size=20)


async def test_a_slow_program_keeps_it_also_by_bytes() -> None:
    await taken_all(partial(trio.sleep, 10), burst(50, 9_000), 50, inbox_bytes=40_000)


async def test_a_program_that_stops_taking_is_waited_for_t3() -> None:
    async with active_end(**QUIET, inbox_size=10, t6=8, t3=30) as (connection, peer):
        await peer.send(burst(40))
        for _ in range(5):
            await anext(connection)
            await trio.sleep(20)
        await anext(connection)
        began = trio.current_time()
        await connection._driver.until(lambda: False)
        with pytest.raises(ConnectionLostError, match="nobody takes them"):
            await connection.linktest()
        assert began + 30 <= trio.current_time() <= began + 30 + 2 + 2


async def test_a_program_that_has_stopped_taking_is_waited_for_once_more() -> None:
    async with active_end(**QUIET, inbox_size=10, t6=8, t3=1) as (connection, peer):
        await peer.send(burst(6))
        await trio.sleep(100)
        await anext(connection)
        await peer.send(burst(20))
        began = trio.current_time()
        with pytest.raises(ConnectionLostError):
            await connection.request(Message(1, 1, wait=True))
        assert trio.current_time() == began + 2


async def test_an_inbox_that_is_half_full_and_no_more_is_read_at_once() -> None:
    async with active_end(**QUIET, inbox_size=10, t6=8) as (connection, peer):
        await peer.send(burst(5), linktest_req(7))
        await peer.expect(linktest_rsp(7))
        assert trio.current_time() == 0
        assert connection.statistics().waiting_primaries == 5


async def test_what_is_behind_a_burst_is_seen_after_it() -> None:
    """Also while nobody takes anything: after T6 / 4, not never."""
    async with active_end(**QUIET, inbox_size=10, t6=8) as (connection, peer):
        await peer.send(burst(9), linktest_req(7))
        await peer.expect(linktest_rsp(7))
        assert trio.current_time() == 2
        assert connection.is_selected


async def test_no_timer_judges_while_the_reader_rests() -> None:
    """The reply lies behind a burst, and T3 is over while the reader rests."""
    end = active_end(**QUIET, inbox_size=10, t6=8, t3=1)
    async with end as (connection, peer), trio.open_nursery() as nursery:
        outcomes: list[object] = []

        async def ask() -> None:
            try:
                outcomes.append(await connection.request(Message(1, 1, wait=True)))
            except ReplyTimeoutError as error:
                outcomes.append(error)

        nursery.start_soon(ask)
        system = (await peer.frame()).system
        await peer.send(burst(8), data(1, 2, system))
        await trio.sleep(1.5)
        assert outcomes == []
        await trio.sleep(1)
        assert outcomes == [Message(1, 2)]


async def test_a_close_while_the_reader_rests_does_not_wait_for_it() -> None:
    async with active_end(**QUIET, inbox_size=10, t6=240, linger=0.5) as (connection, peer):
        await peer.send(burst(8))
        await wait_all_tasks_blocked()
        await connection.aclose()
        assert trio.current_time() == 0.5


async def test_a_loss_while_the_reader_rests_is_noticed_then() -> None:
    async with active_end(**QUIET, inbox_size=10, t6=8) as (connection, peer):
        await peer.send(burst(8))
        await peer.close()
        with trio.move_on_after(1):
            await connection._driver.until(lambda: False)
        assert connection.is_selected
        with trio.move_on_after(math.inf):
            await connection._driver.until(lambda: False)
        assert trio.current_time() == 2
