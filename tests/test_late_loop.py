"""Whoever wakes late reads first, then judges: a blocked program blames no peer for it.

``jump`` moves the clock while no task runs, as a program does that blocks the event loop. What the
peer has sent by then lies unread, as in a socket.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from hsms_engine import (
    ConnectError,
    ConnectionLostError,
    HsmsConnection,
    Message,
    ReplyTimeoutError,
    open_hsms,
    open_link,
)
from hsms_engine.driver.driver import Driver
from hsms_engine.protocol.engine import Engine
from tests.support.one_way import OneWay
from tests.support.pair import Switchboard, link_end, server_end
from tests.support.raw_peer import (
    RawPeer,
    data,
    deselect_rsp,
    linktest_req,
    linktest_rsp,
    select_req,
    select_rsp,
)
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]

S1F1 = Message(1, 1, wait=True)
# More than the driver reads at once, many times.
MUCH = b"".join(data(6, 11, number, body=bytes(1_000)) for number in range(1, 501))


def jump(seconds: float) -> None:
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    clock.jump(seconds)


class Slow(OneWay):
    """A stream whose bytes need some turns until they come, as those of TLS do."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        received = await super().receive_some(max_bytes)
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        return received


class End:
    """A selected connection whose peer can send while the event loop is blocked."""

    def __init__(self, wrap: Callable[[trio.abc.Stream], trio.abc.Stream]) -> None:
        self._inner, theirs = memory_stream_pair()
        self.ours = wrap(self._inner)
        self.peer = RawPeer(theirs)

    async def dial(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return self.ours

    def arrives(self, *frames: bytes) -> None:
        """The peer's bytes are here; no task has run since."""
        self._inner.receive_stream.put_data(b"".join(frames))


@asynccontextmanager
async def selected(
    wrap: Callable[[trio.abc.Stream], trio.abc.Stream] = lambda stream: stream, **changes: Any
) -> AsyncIterator[tuple[HsmsConnection, End]]:
    end = End(wrap)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(end.peer.select_by_answering)
        changes = {"linktest_interval": None, **changes}
        async with open_hsms("tool", 5000, dial=end.dial, random=Random(1), **changes) as opened:
            yield opened, end
        nursery.cancel_scope.cancel()


async def in_the_background(
    nursery: trio.Nursery, call: Callable[[], Awaitable[object]]
) -> list[object]:
    """Start a call; the list gets how it ended."""
    outcomes: list[object] = []

    async def run() -> None:
        try:
            outcomes.append(await call())
        except (ReplyTimeoutError, ConnectionLostError) as error:
            outcomes.append(error)

    nursery.start_soon(run)
    await wait_all_tasks_blocked()
    return outcomes


STREAMS = pytest.mark.parametrize("wrap", [lambda stream: stream, Slow], ids=["plain", "slow"])
BEFORE = pytest.mark.parametrize("before", [b"", MUCH], ids=["alone", "behind 500 events"])


@STREAMS
@BEFORE
@pytest.mark.parametrize("late", [0.0, 0.1, 1_000.0])
async def test_a_linktest_that_is_answered_is_no_miss(
    wrap: Any, before: bytes, late: float
) -> None:
    async with selected(wrap, t6=5) as (connection, end), trio.open_nursery() as nursery:
        outcomes = await in_the_background(nursery, connection.linktest)
        request = await end.peer.frame()
        end.arrives(before, linktest_rsp(request.system))
        jump(5 + late)
        await wait_all_tasks_blocked()
        assert outcomes == [None]
        assert connection.is_selected


@STREAMS
@pytest.mark.parametrize("where", ["callback", "handler of a log"])
async def test_who_watches_messages_and_blocks_makes_the_loop_late_and_no_more(
    wrap: Any, where: str
) -> None:
    class Blocks(logging.Handler):
        def emit(self, _: logging.LogRecord) -> None:
            jump(50)

    logger, handler = logging.getLogger("hsms_engine.traffic"), Blocks()
    async with selected(wrap, t3=45, t6=5) as (connection, end), trio.open_nursery() as nursery:
        outcomes = await in_the_background(nursery, lambda: connection.request(S1F1))
        system = (await end.peer.frame()).system
        if where == "callback":
            connection.on_message(lambda _: jump(50))
        else:
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
        try:
            # While the one is told, the other arrives.
            end.arrives(linktest_req(1), data(1, 2, system))
            await wait_all_tasks_blocked()
        finally:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)
        assert outcomes == [Message(1, 2)]
        assert connection.is_selected


@STREAMS
async def test_a_linktest_that_is_not_answered_is_one(wrap: Any) -> None:
    async with selected(wrap, t6=5) as (connection, _), trio.open_nursery() as nursery:
        outcomes = await in_the_background(nursery, connection.linktest)
        jump(5)
        await wait_all_tasks_blocked()
        assert isinstance(outcomes[0], ConnectionLostError)


@pytest.mark.clause("judge/read-first")
@STREAMS
@BEFORE
async def test_every_request_that_is_answered_gets_its_reply(wrap: Any, before: bytes) -> None:
    """Stopped for longer than T3, with seven replies under way."""
    async with selected(wrap, t3=45) as (connection, end), trio.open_nursery() as nursery:
        all_outcomes = [
            await in_the_background(nursery, lambda: connection.request(S1F1)) for _ in range(7)
        ]
        systems = [(await end.peer.frame()).system for _ in range(7)]
        end.arrives(before, *(data(1, 2, system) for system in systems))
        jump(50)
        await wait_all_tasks_blocked()
        assert [each for (each,) in all_outcomes] == [Message(1, 2)] * 7
        assert connection.statistics().counts["replies_timed_out"] == 0


@BEFORE
async def test_a_deselect_that_is_answered_does_not_end_the_connection(before: bytes) -> None:
    async with selected(t6=5, t7=240) as (connection, end), trio.open_nursery() as nursery:
        outcomes = await in_the_background(nursery, connection.deselect)
        request = await end.peer.frame()
        end.arrives(before, deselect_rsp(request.system))
        jump(6)
        await wait_all_tasks_blocked()
        assert outcomes == [None]
        assert connection.phase == "not selected"


async def test_a_select_that_is_answered_is_selected() -> None:
    end = End(lambda stream: stream)
    async with open_link("tool", 5000, dial=end.dial, t6=5, t7=10, linktest_interval=None) as link:
        await wait_all_tasks_blocked()
        request = await end.peer.frame()
        end.arrives(select_rsp(request.system))
        # T7 is over too.
        jump(11)
        await wait_all_tasks_blocked()
        assert link.is_selected


async def test_a_select_that_comes_before_t7_is_judged_is_accepted() -> None:
    async with server_end(t7=10, linktest_interval=None) as (server, listener):
        end = End(lambda stream: stream)
        listener._give.send_nowait((end.ours, "peer"))
        await wait_all_tasks_blocked()
        end.arrives(select_req(1))
        jump(11)
        await wait_all_tasks_blocked()
        assert [each.is_selected for each in server.connections] == [True]


@pytest.mark.parametrize("half", [1, 3, 14, 500])
async def test_a_frame_whose_rest_is_here_is_complete(half: int) -> None:
    async with selected(t8=5, frame_deadline=60) as (connection, end):
        frame = data(6, 11, 7, body=bytes(1_000))
        await end.peer.send(frame[:half])
        await wait_all_tasks_blocked()
        end.arrives(frame[half:])
        jump(100)
        assert (await anext(connection)).name == "S6F11"
        assert connection.is_selected


async def test_traffic_that_is_here_delays_the_linktest() -> None:
    async with selected(linktest_interval=10, t6=5) as (connection, end):
        end.arrives(data(6, 11, 7))
        jump(10)
        await wait_all_tasks_blocked()
        # Only its Select.req was sent.
        assert connection.statistics().counts["control_frames_sent"] == 1


async def test_a_peer_that_read_meanwhile_is_not_stalled() -> None:
    """The stream takes the rest of a message in the turn in which the write timeout is over."""
    async with selected(write_timeout=30) as (connection, end):
        gate = trio.Event()
        end._inner.send_stream.send_all_hook = gate.wait
        await connection.send(Message(7, 3, body=bytes(1_000)))
        await wait_all_tasks_blocked()
        gate.set()
        jump(31)
        await wait_all_tasks_blocked()
        assert connection.is_selected
        assert connection.statistics().queued_bytes == 0


async def test_a_dial_that_was_answered_is_up() -> None:
    board = Switchboard()
    board.hang()
    async with link_end(board, connect_timeout=10) as link:
        await wait_all_tasks_blocked()
        board.answers.set()
        jump(11)
        peer = await board.peer()
        await peer.select_by_answering()
        await link.wait_selected()
        assert link.statistics().failed_attempts == 0


async def test_a_dial_that_was_not_answered_is_given_up() -> None:
    board = Switchboard()
    board.hang()
    async with link_end(board, connect_timeout=10) as link:
        await wait_all_tasks_blocked()
        jump(11)
        with pytest.raises(ConnectError, match="no answer for 10 s"):
            await link.connect()


async def test_a_peer_that_never_stops_sending_is_judged_after_t6() -> None:
    """A request of ours is not answered, and what comes instead has no end."""
    async with selected(t3=45, t6=5) as (connection, end), trio.open_nursery() as nursery:

        async def flood() -> None:
            while True:
                end.arrives(MUCH)
                await trio.sleep(0.01)

        async def take() -> None:
            async for _ in connection:
                pass

        outcomes = await in_the_background(nursery, lambda: connection.request(S1F1))
        nursery.start_soon(flood)
        nursery.start_soon(take)
        await trio.sleep(45 + 5 + 0.1)
        assert isinstance(outcomes[0], ReplyTimeoutError)
        assert connection.is_selected
        nursery.cancel_scope.cancel()


async def test_a_timer_that_judges_and_is_over_while_others_are_looked_at_waits_its_ten_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passes: list[int] = []
    judges = iter([False, True])
    monkeypatch.setattr(Engine, "judges", lambda _: next(judges, True))
    catch_up = Driver._catch_up

    async def counted(self: Driver, count: int = 10) -> None:
        passes.append(count)
        await catch_up(self, count)

    monkeypatch.setattr(Driver, "_catch_up", counted)
    board = Switchboard()
    board.refuse()
    async with link_end(board, t5=1):
        await trio.sleep(2.5)
    assert passes[:2] == [3, 10]
