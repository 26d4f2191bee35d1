"""Linktest: by hand and by itself, how soon a dead link is noticed, and what counts as life."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import (
    ConnectionLostError,
    HsmsConnection,
    Message,
    RejectedError,
    ReplyTimeoutError,
)
from tests.support.leaks import leak_check, no_task_left
from tests.support.pair import Switchboard, active_end, link_end, passive_end
from tests.support.raw_peer import (
    LINKTEST_REQ,
    data,
    linktest_req,
    linktest_rsp,
    reject_req,
    separate_req,
)
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

BOTH_ENDS = pytest.mark.parametrize("end", [active_end, passive_end], ids=["active", "passive"])
S1F1 = Message(1, 1, wait=True)


def now() -> float:
    return trio.current_time()


# By hand


@pytest.mark.clause("linktest-rsp/answered")
@BOTH_ENDS
async def test_a_linktest_by_hand_is_answered_by_the_same_system_bytes(end: Any) -> None:
    async with end(linktest_interval=None) as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(connection.linktest)
        system = await peer.control(LINKTEST_REQ)
        await peer.send(linktest_rsp(system ^ 1))
        await peer.expect(reject_req(system ^ 1, 6, 3))
        assert "probing_link" in connection._engine._life.snapshot
        await peer.send(linktest_rsp(system))


@BOTH_ENDS
async def test_a_linktest_by_hand_that_is_not_answered_closes_at_threshold_1(end: Any) -> None:
    async with end(linktest_interval=None, t6=5) as (connection, peer):
        words = r"1 linktest\(s\) in a row unanswered within T6 = 5 s; last sign of life 5\.0 s ago"
        with pytest.raises(ConnectionLostError, match=words):
            await connection.linktest()
        assert now() == 5
        await peer.control(LINKTEST_REQ)
        await peer.end()


async def test_a_linktest_by_hand_that_is_not_answered_is_a_t6_error_at_threshold_3() -> None:
    async with active_end(linktest_interval=None, linktest_threshold=3) as (connection, _):
        for _ in range(2):
            with pytest.raises(ReplyTimeoutError, match=r"no Linktest\.rsp within T6 = 5 s"):
                await connection.linktest()
        with pytest.raises(ConnectionLostError, match=r"3 linktest\(s\) in a row"):
            await connection.linktest()
        assert now() == 15


@pytest.mark.clause("linktest-reject/answered")
@BOTH_ENDS
async def test_a_rejected_linktest_is_an_error_and_a_sign_of_life(end: Any) -> None:
    async with end(linktest_interval=None) as (connection, peer), trio.open_nursery() as nursery:

        async def probe() -> None:
            with pytest.raises(RejectedError, match=r"rejected Linktest\.req, reason 1") as caught:
                await connection.linktest()
            assert caught.value.reason == 1

        nursery.start_soon(probe)
        await peer.send(reject_req(await peer.control(LINKTEST_REQ), LINKTEST_REQ, 1))
        await peer.ping()
        assert connection.is_selected


async def test_many_callers_share_one_probe() -> None:
    async with (
        active_end(linktest_interval=None) as (connection, peer),
        trio.open_nursery() as nursery,
    ):
        for _ in range(10):
            nursery.start_soon(connection.linktest)
        await peer.send(linktest_rsp(await peer.control(LINKTEST_REQ)))
        await peer.ping()


async def test_an_answered_caller_does_not_wait_for_the_probe_of_the_next() -> None:
    async with active_end(linktest_interval=None, linktest_threshold=3) as (connection, peer):
        answered: list[str] = []

        async def one() -> None:
            await connection.linktest()
            answered.append("one")

        async def other() -> None:
            with pytest.raises(ReplyTimeoutError):
                await connection.linktest()
            answered.append("other")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            system = await peer.control(LINKTEST_REQ)
            connection.on_step(
                lambda record: (
                    nursery.start_soon(other) if record.event == "linktest_rsp_received" else None
                )
            )
            await peer.send(linktest_rsp(system))
            await trio.sleep(1)
            assert answered == ["one"]


@BOTH_ENDS
async def test_a_linktest_that_the_end_of_the_link_overtakes_says_so(end: Any) -> None:
    async with end(linktest_interval=None) as (connection, peer), trio.open_nursery() as nursery:

        async def probe() -> None:
            with pytest.raises(ConnectionLostError, match="the peer separated"):
                await connection.linktest()

        nursery.start_soon(probe)
        await peer.control(LINKTEST_REQ)
        await peer.send(separate_req(1))


# By itself


@BOTH_ENDS
async def test_a_probe_follows_an_interval_of_silence(end: Any) -> None:
    async with end(linktest_interval=30) as (connection, peer):
        for turn in range(1, 6):
            system = await peer.control(LINKTEST_REQ)
            assert now() == 30 * turn
            await peer.send(linktest_rsp(system))
        assert connection.is_selected


@BOTH_ENDS
async def test_what_the_peer_sends_puts_the_probe_off(end: Any) -> None:
    async with end(linktest_interval=30) as (_, peer):
        await trio.sleep(20)
        await peer.ping()
        await peer.control(LINKTEST_REQ)
        assert now() == 50


@BOTH_ENDS
async def test_an_end_that_only_sends_probes_as_early_as_a_quiet_one(end: Any) -> None:
    """Frames of ours are no sign of life."""
    async with end(linktest_interval=30, t6=5) as (connection, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_report_for_ever, connection)
            while (await peer.frame()).stype != LINKTEST_REQ:
                pass
            assert now() == 30
            nursery.cancel_scope.cancel()
        with pytest.raises(ConnectionLostError):
            await anext(connection)
        assert now() == 35


async def _report_for_ever(connection: HsmsConnection) -> None:
    while True:
        await connection.send(Message(6, 11))
        await trio.sleep(7)


async def test_no_probe_while_a_reply_is_outstanding() -> None:
    async with (
        active_end(linktest_interval=30, t3=120) as (connection, peer),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(connection.request, S1F1)
        system = (await peer.frame()).system
        await trio.sleep(100)
        await peer.send(data(1, 2, system))
        await peer.control(LINKTEST_REQ)
        assert now() == 130


@pytest.mark.parametrize("after", [1, 40, 100])
async def test_a_reply_that_came_lets_the_next_probe_come_in_time(after: float) -> None:
    async with (
        active_end(linktest_interval=30, t3=120) as (connection, peer),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(connection.request, S1F1)
        await trio.sleep(after)
        await peer.send(data(1, 2, (await peer.frame()).system))
        await peer.control(LINKTEST_REQ)
        assert now() == after + 30


async def test_a_cancelled_request_does_not_delay_the_linktest() -> None:
    async with active_end(linktest_interval=30, t3=120) as (connection, peer):
        with trio.move_on_after(40):
            await connection.request(S1F1)
        await peer.frame()
        await peer.control(LINKTEST_REQ)
        assert now() == 40


async def test_t3_of_the_last_request_lets_the_next_probe_come_in_time() -> None:
    async with active_end(linktest_interval=30, t3=10) as (connection, peer):
        with pytest.raises(ReplyTimeoutError):
            await connection.request(S1F1)
        await peer.frame()
        await peer.control(LINKTEST_REQ)
        assert now() == 30


@BOTH_ENDS
@pytest.mark.parametrize("threshold", [1, 2, 3])
@pytest.mark.parametrize(("interval", "t6"), [(30, 5), (10, 20), (1, 1)])
async def test_a_silent_dead_link_is_noticed_within_the_stated_bound(
    end: Any, threshold: int, interval: float, t6: float
) -> None:
    async with end(linktest_interval=interval, t6=t6, linktest_threshold=threshold) as (
        connection,
        peer,
    ):
        await trio.sleep(interval * 0.75)
        await peer.ping()
        alive = now()
        with pytest.raises(ConnectionLostError, match=rf"{threshold} linktest\(s\) in a row"):
            await anext(connection)
        assert now() == pytest.approx(alive + threshold * (interval + t6))
        assert connection.statistics().counts["linktests_unanswered"] == threshold


async def test_an_answer_clears_the_misses() -> None:
    async with active_end(linktest_interval=30, t6=5, linktest_threshold=2) as (connection, peer):
        for turn in range(10):
            system = await peer.control(LINKTEST_REQ)
            if turn % 2:
                await peer.send(linktest_rsp(system))
        assert connection.is_selected


async def test_traffic_between_two_probes_clears_the_misses() -> None:
    async with active_end(linktest_interval=30, t6=5, linktest_threshold=2) as (connection, peer):
        for number in range(10):
            await peer.control(LINKTEST_REQ)
            await trio.sleep(6)
            await peer.send(data(6, 11, number))
        assert connection.is_selected


async def test_a_frame_while_the_answer_is_awaited_excuses_it() -> None:
    async with active_end(linktest_interval=30, t6=5) as (connection, peer):
        for number in range(5):
            await peer.control(LINKTEST_REQ)
            await trio.sleep(3)
            await peer.send(data(6, 11, number))
        assert connection.is_selected
        assert connection.statistics().counts["linktests_unanswered"] == 0


@BOTH_ENDS
@pytest.mark.parametrize("after", [0, 1, 4.5])
@pytest.mark.parametrize("interval", [2, 5, 30])
async def test_after_an_excused_probe_the_interval_counts_from_the_bytes_that_excused_it(
    end: Any, interval: float, after: float
) -> None:
    async with end(linktest_interval=interval, t6=5) as (connection, peer):
        await peer.control(LINKTEST_REQ)
        await trio.sleep(after)
        await peer.send(data(6, 11, 1))
        assert await anext(connection)
        alive = now()
        await peer.control(LINKTEST_REQ)
        assert now() == alive + interval
        with pytest.raises(ConnectionLostError):
            await anext(connection)
        assert now() == alive + interval + 5


async def test_the_answer_to_a_probe_that_another_has_replaced_is_rejected_with_3() -> None:
    async with active_end(linktest_interval=2, t6=5) as (connection, peer):
        first = await peer.control(LINKTEST_REQ)
        await peer.send(data(6, 11, 1))
        second = await peer.control(LINKTEST_REQ)
        await peer.send(linktest_rsp(first), linktest_rsp(second))
        await peer.expect(reject_req(first, 6, 3))
        assert connection.is_selected


async def test_two_idle_ends_with_equal_intervals_notice_a_cut_in_time() -> None:
    """Each one's probe excuses the other's, and neither may count the interval from that."""
    async with active_end(linktest_interval=30, t6=5) as (connection, peer):
        ours = await peer.control(LINKTEST_REQ)
        await peer.send(linktest_req(7))
        await peer.expect(linktest_rsp(7))
        alive = now()
        with pytest.raises(ConnectionLostError):
            await anext(connection)
        assert (ours is not None, now()) == (True, alive + 35)


async def test_a_late_answer_is_rejected_with_3() -> None:
    async with active_end(linktest_interval=30, t6=5, linktest_threshold=3) as (_, peer):
        system = await peer.control(LINKTEST_REQ)
        await trio.sleep(6)
        await peer.send(linktest_rsp(system))
        await peer.expect(reject_req(system, 6, 3))


async def test_linktests_begin_again_after_a_reconnect() -> None:
    board = Switchboard()
    async with link_end(board, linktest_interval=30, t6=5) as link:
        for _ in range(3):
            peer = await board.peer()
            await peer.select_by_answering()
            await link.wait_selected()
            selected_at = now()
            await peer.control(LINKTEST_REQ)
            assert now() == selected_at + 30
            await peer.end()
            assert now() == selected_at + 35


async def test_no_probe_is_sent_while_not_selected() -> None:
    board = Switchboard()
    async with link_end(board, linktest_interval=1, t6=100, t7=100):
        peer = await board.peer()
        await peer.frame()
        await trio.sleep(50)
        await peer.ping()


async def test_the_interval_can_be_changed_turned_off_and_on_while_it_runs() -> None:
    board = Switchboard()
    async with link_end(board, linktest_interval=30) as link:
        peer = await board.peer()
        await peer.select_by_answering()
        await link.wait_selected()
        await trio.sleep(5)
        link.configure(linktest_interval=10)
        system = await peer.control(LINKTEST_REQ)
        assert now() == 10
        await peer.send(linktest_rsp(system))
        await wait_all_tasks_blocked()
        link.configure(linktest_interval=None)
        await trio.sleep(1_000)
        await peer.ping()
        link.configure(linktest_interval=30)
        await peer.control(LINKTEST_REQ)
        assert now() == 1_040


async def test_lowering_the_threshold_below_the_misses_closes_at_once() -> None:
    board = Switchboard()
    async with link_end(board, linktest_interval=30, t6=5, linktest_threshold=5) as link:
        peer = await board.peer()
        await peer.select_by_answering()
        await link.wait_selected()
        await trio.sleep(80)
        assert link.statistics().counts["linktests_unanswered"] == 2
        link.configure(linktest_threshold=2)
        assert not link.is_selected
        for _ in range(2):
            await peer.control(LINKTEST_REQ)
        await peer.end()
        assert now() == 80


@pytest.mark.parametrize("misses", [0, 1, 2])
@pytest.mark.parametrize("threshold", [1, 2, 100])
async def test_a_threshold_that_changes_while_a_probe_is_unanswered_is_in_force_for_that_probe(
    misses: int, threshold: int
) -> None:
    board = Switchboard()
    async with link_end(board, linktest_interval=30, t6=5, linktest_threshold=3) as link:
        peer = await board.peer()
        await peer.select_by_answering()
        await link.wait_selected()
        for _ in range(misses + 1):
            await peer.control(LINKTEST_REQ)
        link.configure(linktest_threshold=threshold)
        assert link.is_selected
        await trio.sleep(5)
        await wait_all_tasks_blocked()
        assert link.is_selected == (misses + 1 < threshold)
        assert link.statistics().counts["linktests_unanswered"] == misses + 1


async def test_a_cancelled_linktest_leaves_the_probe_to_itself() -> None:
    async with active_end(linktest_interval=None) as (connection, peer):
        with trio.move_on_after(1):
            await connection.linktest()
        await peer.send(linktest_rsp(await peer.control(LINKTEST_REQ)))
        await peer.ping()
        assert connection.is_selected
