"""The circuit breaker inside a link: how many attempts reach the peer, and when the next does."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import CircuitOpenError, ConnectError, HsmsLink, LocalProtocolError, events
from tests.support.leaks import leak_check, no_task_left
from tests.support.pair import Switchboard, first, link_end
from tests.support.raw_peer import SELECT_REQ, RawPeer, select_rsp
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

SETTINGS: dict[str, Any] = {"linktest_interval": None, "t5": 1}
THRESHOLDS = pytest.mark.parametrize("threshold", [1, 2, 3, 5, 10])


def now() -> float:
    return trio.current_time()


async def up(link: HsmsLink, board: Switchboard) -> RawPeer:
    peer = await board.peer()
    await peer.select_by_answering()
    await link.wait_selected()
    return peer


@THRESHOLDS
async def test_exactly_as_many_attempts_as_the_threshold_reach_the_peer(threshold: int) -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(
        board, breaker_threshold=threshold, breaker_open_time=10_000, **SETTINGS
    ) as link:
        reader = link.events()
        opened = await first(reader, events.BreakerOpened)
        assert (opened.failures, opened.threshold) == (threshold, threshold)
        assert opened.retry_after == 10_000
        assert opened.at == threshold - 1
        await trio.sleep(9_000)
        assert board.dialled == threshold
        assert link.phase == "blocked"
        assert link.statistics().breaker_failures == threshold


@THRESHOLDS
@pytest.mark.parametrize("how", ["refused", "closed", "select refused", "silent"])
async def test_every_way_to_fail_counts_once(threshold: int, how: str) -> None:
    board = Switchboard()

    async def fail() -> None:
        while True:
            peer = await board.peer()
            system = await peer.control(SELECT_REQ)
            if how == "closed":
                await peer.close()
            elif how == "select refused":
                await peer.send(select_rsp(system, 2))

    if how == "refused":
        board.refuse()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        async with link_end(
            board, breaker_threshold=threshold, breaker_open_time=10_000, t6=1, **SETTINGS
        ) as link:
            await trio.sleep(9_000)
            assert board.dialled == threshold
            assert link.statistics().failed_attempts == threshold
        nursery.cancel_scope.cancel()


async def test_open_refuses_at_once_with_the_time_left() -> None:
    board = Switchboard()
    board.refuse()
    settings = {**SETTINGS, "t5": 10}
    async with link_end(board, breaker_threshold=1, breaker_open_time=60, **settings) as link:
        await wait_all_tasks_blocked()
        # T5 still runs; the breaker is open all the same.
        assert link.phase == "waiting"
        with pytest.raises(CircuitOpenError, match=r"threshold 1.*begins in 60\.0 s") as caught:
            await link.connect()
        assert caught.value.retry_after == 60
        assert now() == 0
        await trio.sleep(40)
        with pytest.raises(CircuitOpenError) as caught:
            await link.connect()
        assert caught.value.retry_after == 20
        assert link.statistics().retry_after == 20
        assert now() == 40


async def test_half_open_needs_no_caller_and_one_success_closes() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, breaker_threshold=2, breaker_open_time=60, **SETTINGS) as link:
        reader = link.events()
        opened = await first(reader, events.BreakerOpened)
        board.refusal = None
        half_open = await first(reader, events.BreakerHalfOpen)
        assert half_open.at == opened.at + 60
        await first(reader, events.BreakerProbing)
        await up(link, board)
        await first(reader, events.BreakerClosed)
        statistics = link.statistics()
        assert (statistics.breaker_state, statistics.breaker_failures) == ("breaker_closed", 0)
        assert board.dialled == 3


async def test_one_failed_probe_opens_it_again() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, breaker_threshold=3, breaker_open_time=60, **SETTINGS):
        await trio.sleep(500)
    assert board.dialled_at == [0, 1, 2, 62, 122, 182, 242, 302, 362, 422, 482]


async def test_of_50_waiting_callers_one_attempt_comes() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, breaker_threshold=1, breaker_open_time=60, **SETTINGS) as link:
        await trio.sleep(59)
        board.refusal = None
        board.hang()
        await trio.sleep(2)
        assert board.dialled == 2
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(link.connect)
            await trio.sleep(3)
            assert board.dialled == 2
            board.answers.set()
            await up(link, board)
        assert board.dialled == 2


async def test_a_success_clears_the_count() -> None:
    board = Switchboard()
    async with link_end(board, breaker_threshold=3, **SETTINGS) as link:
        for _ in range(5):
            board.refuse()
            await trio.sleep(1.5)
            board.refusal = None
            peer = await up(link, board)
            assert link.statistics().breaker_failures == 0
            board.refuse()
            await peer.close()
        assert link.statistics().counts["stale_result"] == 0


async def test_a_connection_that_is_lost_is_no_failed_attempt() -> None:
    board = Switchboard()
    async with link_end(board, breaker_threshold=1, **SETTINGS) as link:
        for _ in range(10):
            await (await up(link, board)).close()
            await trio.sleep(0.5)
        assert link.statistics().breaker_state == "breaker_closed"


# Changed while it runs


@THRESHOLDS
async def test_lowering_the_threshold_opens_at_once_and_keeps_the_history(threshold: int) -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, breaker_threshold=50, breaker_open_time=999, **SETTINGS) as link:
        await trio.sleep(threshold - 0.5)
        assert board.dialled == threshold
        link.configure(breaker_threshold=threshold + 1)
        assert link.statistics().breaker_state == "breaker_closed"
        link.configure(breaker_threshold=threshold)
        statistics = link.statistics()
        assert (statistics.breaker_state, statistics.breaker_failures) == (
            "breaker_open",
            threshold,
        )
        await trio.sleep(900)
        assert board.dialled == threshold


async def test_raising_the_threshold_lets_more_attempts_through() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, breaker_threshold=2, breaker_open_time=999, **SETTINGS) as link:
        await trio.sleep(0.5)
        link.configure(breaker_threshold=4)
        await trio.sleep(500)
        assert board.dialled == 4


@pytest.mark.parametrize(("open_time", "probed_at"), [(30, 30), (5, 20), (200, 200)])
async def test_a_running_open_period_is_re_timed(open_time: float, probed_at: float) -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, breaker_threshold=1, breaker_open_time=60, **SETTINGS) as link:
        await trio.sleep(20)
        link.configure(breaker_open_time=open_time)
        left = max(open_time - 20, 0)
        assert link.statistics().retry_after == left
        await trio.sleep(left + 0.25)
    assert board.dialled_at == [0, probed_at]


async def test_any_other_change_leaves_the_breaker_alone() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, breaker_threshold=1, breaker_open_time=60, **SETTINGS) as link:
        for _ in range(10):
            await trio.sleep(5)
            link.configure(t3=10, t6=7, linktest_threshold=4)
        assert link.statistics().retry_after == 10
        await trio.sleep(10.25)
    assert board.dialled_at == [0, 60]


# By hand


async def test_isolated_it_dials_nobody_until_it_is_released() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, breaker_threshold=5, **SETTINGS) as link:
        await trio.sleep(0.5)
        link.isolate()
        await trio.sleep(10_000)
        assert board.dialled == 1
        with pytest.raises(CircuitOpenError) as caught:
            await link.connect()
        assert caught.value.retry_after == math.inf
        board.refusal = None
        link.release()
        await up(link, board)
        assert now() == 10_000.5
        with pytest.raises(
            LocalProtocolError,
            match=r"release is not possible while the circuit breaker is closed$",
        ):
            link.release()


async def test_isolating_leaves_a_connection_that_is_up() -> None:
    board = Switchboard()
    async with link_end(board, **SETTINGS) as link:
        peer = await up(link, board)
        link.isolate()
        await peer.ping()
        assert link.is_selected
        await peer.close()
        await trio.sleep(1_000)
        assert board.dialled == 1


@pytest.mark.parametrize("during", ["tcp connect", "select"])
async def test_isolating_drops_the_attempt_that_runs_and_counts_no_failure(during: str) -> None:
    board = Switchboard()
    if during == "tcp connect":
        board.hang()
    async with link_end(board, breaker_threshold=1, **SETTINGS) as link:
        if during == "select":
            await (await board.peer()).control(SELECT_REQ)
        await wait_all_tasks_blocked()
        reader = link.events()
        link.isolate()
        waiting = await first(reader, events.Waiting)
        assert waiting.error is None
        link.release()
        statistics = link.statistics()
        assert (statistics.failed_attempts, statistics.breaker_failures) == (0, 0)
        assert statistics.breaker_state == "breaker_closed"
        board.answers.set()
        await up(link, board)


async def test_a_reset_while_open_dials_without_waiting_for_the_open_time() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, breaker_threshold=1, breaker_open_time=9_999, **SETTINGS) as link:
        await trio.sleep(50)
        board.refusal = None
        link.reset_breaker()
        await up(link, board)
        assert now() == 50
        assert link.statistics().breaker_failures == 0


async def test_a_reset_while_probing_drops_the_probe() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(
        board, breaker_threshold=1, breaker_open_time=60, connect_timeout=100, **SETTINGS
    ) as link:
        await trio.sleep(59)
        board.hang()
        await trio.sleep(2)
        assert link.statistics().breaker_state == "probing"
        board.refusal = None
        link.reset_breaker()
        board.answers.set()
        await up(link, board)
        statistics = link.statistics()
        assert (statistics.breaker_state, statistics.breaker_failures) == ("breaker_closed", 0)
        # The first one was refused, the probe was dropped, the third came up.
        assert (statistics.attempts, statistics.failed_attempts) == (3, 1)


async def test_a_cancelled_probe_gives_its_permit_back() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, breaker_threshold=1, breaker_open_time=60, **SETTINGS) as link:
        await trio.sleep(59)
        board.hang()
        await trio.sleep(2)
        link.disable()
        assert link.statistics().breaker_state == "ready"
        board.refusal = None
        board.answers.set()
        link.enable()
        await up(link, board)
        assert link.statistics().breaker_state == "breaker_closed"


async def test_a_disabled_link_does_not_probe() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, breaker_threshold=1, breaker_open_time=60, **SETTINGS) as link:
        await trio.sleep(10)
        link.disable()
        await trio.sleep(500)
        assert board.dialled == 1
        assert link.statistics().breaker_state == "ready"
        with pytest.raises(LocalProtocolError):
            await link.connect()
        link.enable()
        await wait_all_tasks_blocked()
        assert board.dialled == 2


async def test_a_failed_connect_is_a_failure_in_half_open_too() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, breaker_threshold=1, breaker_open_time=60, **SETTINGS) as link:
        await trio.sleep(150)
        statistics = link.statistics()
        assert statistics.breaker_state == "breaker_open"
        assert statistics.attempts == 3


async def test_the_counts_of_a_snapshot_are_consistent() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, breaker_threshold=3, breaker_open_time=60, **SETTINGS) as link:
        seen: list[tuple[str | None, int]] = []

        def look(_: object) -> None:
            statistics = link.statistics()
            seen.append((statistics.breaker_state, statistics.breaker_failures))
            assert statistics.failed_attempts <= statistics.attempts
            assert statistics.breaker_failures <= statistics.breaker_threshold
            if statistics.breaker_state == "breaker_open":
                assert statistics.breaker_failures == statistics.breaker_threshold

        link.on_step(look)
        await trio.sleep(200)
        with pytest.raises(ConnectError):
            await link.connect()
        assert {state for state, _ in seen} >= {"breaker_closed", "breaker_open"}


async def test_a_threshold_lowered_below_the_count_withdraws_the_attempt_that_runs() -> None:
    board = Switchboard()
    async with link_end(board, breaker_threshold=5, t5=10) as link:
        for _ in range(2):
            await (await board.peer()).close()
        await board.peer()
        await wait_all_tasks_blocked()
        assert (link.phase, link.statistics().breaker_failures) == ("selecting", 2)
        link.configure(breaker_threshold=2)
        statistics = link.statistics()
        assert (statistics.phase, statistics.breaker_state) == ("waiting", "breaker_open")
        # Nobody failed here but the user's patience with the peer.
        assert statistics.failed_attempts == 2
        with pytest.raises(CircuitOpenError):
            await link.connect()
