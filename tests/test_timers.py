"""Each timer of E37 and each of ours, to the instant, on a clock that jumps."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from hsms_engine import (
    ClosedError,
    ConnectError,
    ConnectionLostError,
    HsmsConnection,
    Message,
    RemoteProtocolError,
    ReplyTimeoutError,
    events,
    open_hsms,
)
from tests.support.leaks import leak_check, no_task_left
from tests.support.pair import (
    Switchboard,
    active_end,
    first,
    link_end,
    passive_end,
    server_end,
)
from tests.support.raw_peer import (
    DESELECT_REQ,
    SELECT_REQ,
    SEPARATE_REQ,
    RawPeer,
    data,
    deselect_req,
    deselect_rsp,
    linktest_req,
    linktest_rsp,
    select_req,
    select_rsp,
)
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

QUIET: dict[str, Any] = {"linktest_interval": None}
BOTH_ENDS = pytest.mark.parametrize("end", [active_end, passive_end], ids=["active", "passive"])
S1F1 = Message(1, 1, wait=True)


def now() -> float:
    return trio.current_time()


# T3


@BOTH_ENDS
@pytest.mark.parametrize("t3", [1, 7, 45, 120])
async def test_t3_fails_the_request_and_not_the_connection(end: Any, t3: float) -> None:
    async with end(t3=t3, **QUIET) as (connection, peer):
        await trio.sleep(0.3)
        with pytest.raises(ReplyTimeoutError, match=rf"no reply to S1F1 within T3 = {t3} s"):
            await connection.request(S1F1)
        assert now() == pytest.approx(0.3 + t3)
        assert connection.is_selected
        assert connection.statistics().counts["replies_timed_out"] == 1
        system = (await peer.frame()).system
        # The reply that comes too late answers nothing.
        await peer.send(data(1, 2, system))
        await peer.ping()
        assert connection.statistics().counts["unexpected_secondaries"] == 1


@pytest.mark.parametrize("began", [tenth / 10 for tenth in range(1, 40)])
async def test_t3_ends_whatever_the_digits_of_its_beginning(began: float) -> None:
    """(0.3 + 45) - 45 is less than 0.3."""
    async with active_end(**QUIET) as (connection, _):
        await trio.sleep(began)
        with pytest.raises(ReplyTimeoutError):
            await connection.request(S1F1)


async def test_t3_runs_for_each_request_by_itself() -> None:
    ended: list[tuple[str, float]] = []
    async with active_end(t3=10, **QUIET) as (connection, peer), trio.open_nursery() as nursery:

        async def ask(function: int) -> None:
            try:
                await connection.request(Message(1, function, wait=True))
            except ReplyTimeoutError:
                ended.append((f"S1F{function}", now()))

        for function in (1, 3, 5):
            nursery.start_soon(ask, function)
            await trio.sleep(4)
        systems = [(await peer.frame()).system for _ in range(3)]
        # At 12: the first has ended at 10; the second is answered, the third is left alone.
        await peer.send(data(1, 4, systems[1]))
    assert ended == [("S1F1", 10), ("S1F5", 18)]


async def test_t3_begins_when_the_primary_is_wholly_written() -> None:
    """100 kB into a pipe that takes a piece at a time, one every 20 s: T3 = 45 s is not over."""
    async with slow_reader(seconds=20, t3=45, write_timeout=30, **QUIET) as connection:
        began = now()
        with pytest.raises(ReplyTimeoutError):
            await connection.request(Message(7, 3, wait=True, body=bytes(3 * 65_536 - 14)))
        # Written whole when the reader has come for the third piece; T3 follows.
        assert now() == began + 3 * 20 + 45


async def test_a_request_cancelled_before_it_was_written_never_starts_t3() -> None:
    async with slow_reader(seconds=20, t3=10, write_timeout=30, **QUIET) as connection:
        with trio.move_on_after(5):
            await connection.request(S1F1)
        await trio.sleep(100)
        assert connection.statistics().counts["replies_timed_out"] == 0
        assert connection.is_selected


async def test_changing_t3_re_times_open_requests() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link, trio.open_nursery() as nursery:
        peer = await board.peer()
        await peer.select_by_answering()
        await link.wait_selected()
        nursery.start_soon(_expect_t3, link.request(S1F1))
        await trio.sleep(5)
        link.configure(t3=8)
        await wait_all_tasks_blocked()
        await trio.sleep(2.9)
        assert link.statistics().open_transactions == 1
        await trio.sleep(0.2)
        assert link.statistics().open_transactions == 0


async def _expect_t3(request: Awaitable[object]) -> None:
    with pytest.raises(ReplyTimeoutError):
        await request


async def test_an_equipment_reports_t3_with_s9f9_and_a_host_does_not() -> None:
    async with passive_end(is_equipment=True, t3=10, **QUIET) as (connection, peer):
        with pytest.raises(ReplyTimeoutError):
            await connection.request(Message(6, 11, wait=True))
        primary = await peer.take(14)
        got = await peer.frame()
        assert (got.session, got.byte2, got.byte3, got.stype) == (0, 9, 9, 0)
        assert got.body == b"\x21\x0a" + primary[4:14]
    async with passive_end(t3=10, **QUIET) as (connection, peer):
        with pytest.raises(ReplyTimeoutError):
            await connection.request(Message(6, 11, wait=True))
        await peer.frame()
        await peer.ping()


# T5 and the backoff


async def test_t5_lies_between_the_starts_of_two_attempts() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, t5=10, breaker_threshold=1000, **QUIET):
        await trio.sleep(45)
    assert board.dialled_at == [0, 10, 20, 30, 40]


async def test_an_attempt_longer_than_t5_is_followed_at_once() -> None:
    board = Switchboard()
    board.hang()
    async with link_end(board, t5=10, connect_timeout=25, breaker_threshold=1000, **QUIET):
        await trio.sleep(80)
    assert board.dialled_at == [0, 25, 50, 75]


async def test_t5_follows_a_connection_that_is_lost() -> None:
    board = Switchboard()
    async with link_end(board, t5=10, **QUIET) as link:
        for _ in range(3):
            peer = await board.peer()
            await peer.select_by_answering()
            await link.wait_selected()
            await trio.sleep(3)
            await peer.close()
        await board.peer()
    assert board.dialled_at == [0, 10, 20, 30]


async def test_disabling_and_enabling_does_not_cut_t5_short() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, t5=10, breaker_threshold=1000, **QUIET) as link:
        await trio.sleep(3)
        for _ in range(5):
            link.disable()
            link.enable()
        await trio.sleep(6.9)
        assert board.dialled == 1
        await trio.sleep(0.2)
        assert board.dialled_at == [0, 10]


async def test_a_backoff_doubles_the_pause_up_to_its_limit_and_begins_anew_after_a_success() -> (
    None
):
    board = Switchboard()
    board.refuse()
    settings: dict[str, Any] = {"t5": 10, "backoff_factor": 2.0, "backoff_limit": 60.0}
    async with link_end(board, breaker_threshold=1000, **settings, **QUIET) as link:
        await trio.sleep(200)
        assert board.dialled_at == [0, 10, 30, 70, 130, 190]
        board.refusal = None
        peer = await board.peer()
        await peer.select_by_answering()
        await link.wait_selected()
        assert now() == 250
        board.refuse()
        await peer.close()
        await trio.sleep(35)
        assert board.dialled_at[6:] == [250, 260, 270]


async def test_jitter_spreads_the_attempts_by_the_seeded_random_alone() -> None:
    async def attempts(seed: int) -> list[float]:
        board = Switchboard()
        board.refuse()
        began = now()
        async with link_end(
            board, seed=seed, t5=10, backoff_jitter=0.5, breaker_threshold=1000, **QUIET
        ):
            await trio.sleep(100)
        return [at - began for at in board.dialled_at]

    one, again, other = await attempts(7), await attempts(7), await attempts(8)
    assert one == pytest.approx(again)
    assert one != pytest.approx(other)
    pauses = [after - before for before, after in itertools.pairwise(one)]
    assert all(10 <= pause <= 15 for pause in pauses)
    assert len({round(pause, 6) for pause in pauses}) == len(pauses)


# T6


async def test_t6_ends_a_select_that_is_not_answered() -> None:
    board = Switchboard()
    async with link_end(board, t6=5, **QUIET) as link:
        peer = await board.peer()
        with pytest.raises(ConnectError, match=r"during select: no response within T6 = 5 s"):
            await link.connect()
        assert now() == 5
        await peer.control(SELECT_REQ)
        await peer.end()


async def test_t6_and_t7_in_the_same_instant_are_one_failure() -> None:
    board = Switchboard()
    async with link_end(board, t6=10, t7=10, t5=100, **QUIET) as link:
        with pytest.raises(ConnectError, match="during select"):
            await link.connect()
        await wait_all_tasks_blocked()
        assert link.statistics().failed_attempts == 1


@BOTH_ENDS
async def test_t6_ends_a_deselect_that_is_not_answered(end: Any) -> None:
    async with end(t6=5, **QUIET) as (connection, peer):
        with pytest.raises(ConnectionLostError, match=r"no response within T6 = 5 s"):
            await connection.deselect()
        assert now() == 5
        await peer.control(DESELECT_REQ)
        await peer.end()


@pytest.mark.parametrize("rounds", [0, 1, 2, 9])
async def test_t6_of_our_select_runs_on_while_the_peer_selects_and_deselects(rounds: int) -> None:
    board = Switchboard()
    async with link_end(board, t6=5, **QUIET) as link:
        peer = await board.peer()
        await peer.control(SELECT_REQ)
        await trio.sleep(3)
        for number in range(rounds):
            await peer.send(select_req(2 * number))
            await peer.expect(select_rsp(2 * number))
            await peer.send(deselect_req(2 * number + 1))
            await peer.expect(deselect_rsp(2 * number + 1))
        await peer.send(select_req(99))
        await peer.expect(select_rsp(99))
        await peer.end()
        assert now() == 5
        assert not link.is_selected


@BOTH_ENDS
async def test_t6_of_our_deselect_runs_on_when_the_peers_own_crosses_it(end: Any) -> None:
    async with end(t6=5, **QUIET) as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(connection.deselect)
        await peer.control(DESELECT_REQ)
        await trio.sleep(3)
        await peer.send(deselect_req(1))
        await peer.expect(deselect_rsp(1))
        await peer.end()
        assert now() == 5


# T7


async def test_t7_closes_a_connection_that_nobody_selects_and_traffic_does_not_extend_it() -> None:
    async with server_end(t7=10, **QUIET) as (server, listener):
        peer = await listener.raw()
        for number in range(9):
            await trio.sleep(1)
            await peer.ping(number)
        await peer.end()
        assert now() == 10
        await wait_all_tasks_blocked()
        assert server.connections == []


async def test_t7_ends_a_select_where_it_is_shorter_than_t6() -> None:
    board = Switchboard()
    async with link_end(board, t6=20, t7=10, **QUIET) as link:
        with pytest.raises(ConnectError, match=r"not selected within T7 = 10 s"):
            await link.connect()
        assert now() == 10


@BOTH_ENDS
async def test_t7_runs_again_after_a_deselect(end: Any) -> None:
    async with end(t7=10, **QUIET) as (connection, peer):
        await trio.sleep(100)
        await peer.send(deselect_req(1))
        await peer.expect(deselect_rsp(1))
        with pytest.raises(ConnectionLostError, match=r"not selected within T7 = 10 s"):
            await anext(connection)
        assert now() == 110
        await peer.end()


@BOTH_ENDS
async def test_t7_does_not_run_while_selected(end: Any) -> None:
    async with end(t7=10, **QUIET) as (connection, peer):
        await trio.sleep(1_000)
        assert connection.is_selected
        await peer.send(deselect_req(1))
        await peer.expect(deselect_rsp(1))
        await trio.sleep(9)
        await peer.select()
        await trio.sleep(1_000)
        assert connection.is_selected


async def test_a_select_in_the_very_instant_of_t7_is_answered_or_closed_but_not_both() -> None:
    async with server_end(t7=10, **QUIET) as (_, listener):
        peer = await listener.raw()
        await trio.sleep(10)
        await peer.send(select_req(1))
        try:
            await peer.expect(select_rsp(1))
        except AssertionError:
            await peer.end()
        else:
            await trio.sleep(100)
            await peer.ping()


# T8 and the frame deadline


@BOTH_ENDS
@pytest.mark.parametrize("part", [1, 2, 4, 9, 13])
async def test_t8_closes_when_a_frame_stops_in_the_middle(end: Any, part: int) -> None:
    async with end(t8=5, **QUIET) as (connection, peer):
        await trio.sleep(100)
        frame = data(1, 1, 0x01020304)
        await peer.send(frame[:part])
        await peer.end()
        assert now() == 105
        with pytest.raises(RemoteProtocolError, match=r"T8 = 5 s passed inside a frame") as caught:
            await anext(connection)
        text = str(caught.value)
        assert f"{14 - part if part >= 4 else 4 - part} bytes missing" in text
        assert repr(frame[:part]) in text
        assert f"declared length {10 if part >= 4 else 'not complete'}" in text


@pytest.mark.clause("judge/byte")
@BOTH_ENDS
async def test_every_byte_starts_t8_anew(end: Any) -> None:
    async with end(t8=5, **QUIET) as (connection, peer):
        for byte in data(1, 1, 0x01020304):
            await peer.send(bytes([byte]))
            await trio.sleep(4.2)
        assert (await anext(connection)).name == "S1F1"
        await trio.sleep(1_000)
        await peer.ping()


@BOTH_ENDS
async def test_one_byte_every_4_9_seconds_meets_the_frame_deadline(end: Any) -> None:
    body = 64 * 1024 * 8 - 10
    async with end(t8=5, frame_deadline=60, **QUIET) as (connection, peer):
        began = now()
        await peer.send(data(1, 1, 1, body=bytes(body))[:14])
        with pytest.raises(trio.BrokenResourceError):
            await _trickle(peer, 4.9)
        # The deadline allows for the length at 64 KiB/s: 8 s more.
        with pytest.raises(RemoteProtocolError, match="not complete by its deadline") as caught:
            await anext(connection)
        assert f"declared length {body + 10}" in str(caught.value)
        assert began + 68 <= now() <= began + 68 + 4.9


async def _trickle(peer: RawPeer, pause: float) -> None:
    while True:
        await peer.send(b"\0")
        await trio.sleep(pause)


async def test_t8_runs_before_the_session_is_selected_too() -> None:
    async with server_end(t7=240, t8=5, **QUIET) as (_, listener):
        peer = await listener.raw()
        await peer.send(b"\0")
        await peer.end()
        assert now() == 5


@BOTH_ENDS
async def test_the_first_byte_of_a_frame_may_be_waited_for_without_limit(end: Any) -> None:
    async with end(**QUIET) as (_, peer):
        await trio.sleep(80_000)
        await peer.ping()


@BOTH_ENDS
async def test_a_frame_that_begins_behind_another_has_its_own_timers(end: Any) -> None:
    async with end(t8=5, frame_deadline=12, **QUIET) as (_, peer):
        frames = linktest_req(1) * 8
        # Never between two frames, and never 12 s inside one.
        for start in range(0, 105, 7):
            cut = start + 3
            await peer.send(frames[cut - 3 if start == 0 else cut - 7 : cut])
            await trio.sleep(4)
        await peer.expect(*[linktest_rsp(1)] * 7)
        began = now()
        await peer.end()
        assert now() == began + 1


# The write timeout


class Unread:
    """A stream whose other end takes ``seconds`` for each piece, or never takes one."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.slow = False
        self.ours, self.theirs = memory_stream_pair()
        self.ours.send_stream.send_all_hook = self._read

    async def _read(self) -> None:
        if self.slow:
            await trio.sleep(self.seconds)
        trio.testing.memory_stream_pump(self.ours.send_stream, self.theirs.receive_stream)


def slow_reader(*, seconds: float, **changes: Any) -> Any:
    """A selected connection whose peer reads slowly from then on."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def opened() -> Any:
        pipe = Unread(seconds)
        peer = RawPeer(pipe.theirs)

        async def dial() -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            return pipe.ours

        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.select_by_answering)
            async with open_hsms("tool", 5000, dial=dial, random=Random(1), **changes) as opened:
                pipe.slow = True
                yield opened
            nursery.cancel_scope.cancel()

    return opened()


async def test_a_peer_that_takes_no_byte_is_closed_after_the_write_timeout() -> None:
    async with slow_reader(seconds=1e9, write_timeout=30, **QUIET) as connection:
        await trio.sleep(100)
        await connection.send(Message(7, 3, body=bytes(1000)))
        words = r"the peer took no byte for 30 s \(write_timeout\), 1014 bytes are queued"
        with pytest.raises(ConnectionLostError, match=words):
            await anext(connection)
        assert now() == 130


async def test_the_write_timeout_runs_however_busy_the_connection_is() -> None:
    async with slow_reader(seconds=1e9, write_timeout=30, t3=120, **QUIET) as connection:
        lost: list[float] = []

        async def ask() -> None:
            with pytest.raises(ConnectionLostError):
                await connection.request(S1F1)
            lost.append(now())

        transport = connection._driver._transport
        assert transport is not None
        pipe = _pipe(transport._stream)
        pipe.slow = False
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(ask)
                if number == 4:
                    # Five are on their way; those that follow are sent together by the writer.
                    await trio.sleep(50)
                    pipe.slow = True
        assert lost == [80] * 20


@pytest.mark.clause("judge/byte")
async def test_a_slow_reader_is_no_dead_one() -> None:
    """A piece in 29 s, again and again: progress, and fast enough for its deadline."""
    slow = slow_reader(seconds=29, write_timeout=30, frame_deadline=400, **QUIET)
    async with slow as connection:
        await connection.send(Message(7, 3, body=bytes(10 * 65_536)))
        await trio.sleep(1_000)
        assert connection.is_selected
        assert connection.statistics().queued_bytes == 0


async def test_a_peer_that_takes_bytes_one_at_a_time_meets_the_write_deadline() -> None:
    slow = slow_reader(seconds=29, write_timeout=30, frame_deadline=60, **QUIET)
    async with slow as connection:
        # One piece is taken at once, the deadline is for the other nine.
        await connection.send(Message(7, 3, body=bytes(10 * 65_536 - 14)))
        with pytest.raises(ConnectionLostError, match=r"took 131072 of \d+ queued bytes by their"):
            await connection.request(S1F1)
        assert now() == 60 + 10 * 65_536 / 65_536


async def test_the_write_deadline_is_for_what_was_queued_when_it_began() -> None:
    """A link that is never idle: a piece in 29 s, another one queued in the meantime, for hours."""
    slow = slow_reader(seconds=29, write_timeout=30, frame_deadline=60, **QUIET)
    async with slow as connection:
        await connection.send(Message(7, 3, body=bytes(65_536 - 14)))
        for _ in range(100):
            await connection.send(Message(7, 3, body=bytes(65_536 - 14)))
            await trio.sleep(29)
            assert connection.statistics().queued_bytes > 0
        assert connection.is_selected


async def test_what_is_queued_for_a_peer_that_never_reads_is_bounded() -> None:
    async with slow_reader(
        seconds=1e9, write_timeout=30, outbox_size=100_000, **QUIET
    ) as connection:
        most = 0

        async def flood() -> None:
            nonlocal most
            while True:
                await connection.send(Message(7, 3, body=bytes(1_000)))
                most = max(most, connection.statistics().queued_bytes)

        async def flood_until_lost() -> None:
            with pytest.raises(ConnectionLostError):
                await flood()

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(flood_until_lost)
        assert 100_000 <= most <= 100_000 + 1_014
        assert now() == 30


def _pipe(stream: Any) -> Unread:
    """The pipe that ``stream`` is the engine's end of."""
    pipe: Unread = stream.send_stream.send_all_hook.__self__
    return pipe


# Connecting and leaving


async def test_a_connect_that_hangs_ends_with_its_timeout() -> None:
    board = Switchboard()
    board.hang()
    async with link_end(board, connect_timeout=7, **QUIET) as link:
        words = (
            r"tool:5000: not connected, during TCP connect: no answer for 7 s \(connect_timeout\)"
        )
        with pytest.raises(ConnectError, match=words) as caught:
            await link.connect()
        assert caught.value.phase == "tcp connect"
        assert now() == 7


async def test_a_graceful_close_waits_for_the_peer_no_longer_than_linger() -> None:
    async with active_end(linger=0.5, **QUIET) as (connection, peer):
        await connection.aclose()
        assert now() == 0.5
        await peer.control(SEPARATE_REQ)
        await peer.end()


async def test_fin_follows_the_separate_at_once_and_only_then_linger_begins() -> None:
    async with active_end(linger=0.5, **QUIET) as (connection, peer):
        connection.close_soon()
        await peer.control(SEPARATE_REQ)
        await peer.end()
        assert now() == 0
        assert connection.phase == "separating"


async def test_a_graceful_close_is_over_when_the_peer_closes() -> None:
    async with active_end(linger=0.5, **QUIET) as (connection, peer):

        async def leave() -> None:
            await peer.control(SEPARATE_REQ)
            await trio.sleep(0.2)
            await peer.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave)
            await connection.aclose()
        assert now() == 0.2


async def test_everything_queued_leaves_before_the_separate() -> None:
    async with active_end(linger=0.5, **QUIET) as (connection, peer):
        for number in range(5):
            await connection.send(Message(6, 2 * number + 1))
        connection.close_soon()
        got = [(await peer.frame()).byte3 for _ in range(5)]
        assert got == [1, 3, 5, 7, 9]
        await peer.control(SEPARATE_REQ)


async def test_a_close_of_a_peer_that_never_reads_ends_by_the_write_timeout_and_says_so() -> None:
    async with slow_reader(seconds=1e9, write_timeout=30, linger=0.5, **QUIET) as connection:
        await connection.send(Message(7, 3, body=bytes(1_000_000)))
        words = "closed, but 1000014 bytes accepted for sending were not written: the peer took no"
        async with trio.open_nursery() as nursery:

            async def close() -> None:
                with pytest.raises(ConnectionLostError, match=words):
                    await connection.aclose()
                assert now() == 30

            nursery.start_soon(close)
            nursery.start_soon(close)
        with pytest.raises(ClosedError):
            await connection.send(Message(7, 3))
        assert connection.statistics().counts["bytes_unsent"] == 1_000_014 + 14


async def test_a_cancelled_aclose_closes_at_once() -> None:
    async with slow_reader(seconds=1e9, write_timeout=30, linger=0.5, **QUIET) as connection:
        await connection.send(Message(7, 3, body=bytes(1_000_000)))
        with trio.move_on_after(1) as patience:
            await connection.aclose()
        assert patience.cancelled_caught
        with pytest.raises(ConnectionLostError, match="1000014 bytes accepted for sending"):
            await connection.aclose()
        assert now() == 1


# Live changes


async def test_changing_t7_and_t8_re_times_what_runs() -> None:
    board = Switchboard()
    async with link_end(board, t6=240, t7=100, **QUIET) as link:
        peer = await board.peer()
        await trio.sleep(3)
        link.configure(t7=5)
        await peer.control(SELECT_REQ)
        await peer.end()
        assert now() == 5


async def test_raising_a_running_timer_lets_it_run_longer() -> None:
    board = Switchboard()
    async with link_end(board, t6=5, t7=240, **QUIET) as link:
        peer = await board.peer()
        await trio.sleep(3)
        link.configure(t6=50)
        await peer.control(SELECT_REQ)
        await peer.end()
        assert now() == 50


async def test_lowering_t5_dials_earlier() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, t5=100, **QUIET) as link:
        await trio.sleep(3)
        link.configure(t5=4)
        await trio.sleep(2)
        assert board.dialled_at == [0, 4]


async def test_waiting_says_how_long() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, t5=10, **QUIET) as link:
        waiting = await first(link.events(), events.Waiting)
        assert waiting.retry_after == 10
        await trio.sleep(4)
        assert link.statistics().retry_after == 6


async def test_no_timer_is_left_running_when_it_is_over() -> None:
    seen: list[HsmsConnection] = []
    scenario: Callable[[], Any]
    for scenario in (lambda: active_end(**QUIET), lambda: passive_end(**QUIET)):
        async with scenario() as (connection, peer):
            seen.append(connection)
            await peer.send(b"\0")
            await wait_all_tasks_blocked()
            assert "t8" in connection._engine._life.timers.started
        assert connection._engine._life.timers.started == {}
    assert len(seen) == 2
