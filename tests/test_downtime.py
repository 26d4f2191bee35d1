"""``Unreachable``: once, when a link that is enabled was not selected for ``unreachable_after``."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from hsms_engine import ConnectError, HsmsLink, events
from hsms_engine.driver.event_reader import EventReader
from hsms_engine.events import LinkEvent, Unreachable
from tests.support.leaks import leak_check, no_task_left
from tests.support.pair import Switchboard, active_end, first, link_end, passive_end
from tests.support.raw_peer import RawPeer, deselect_req, deselect_rsp, select_rsp
from tests.support.virtual import virtual_time
from tests.test_late_loop import Slow, jump
from tests.test_link_log import UNREACHABLE, lines

__all__ = ["leak_check", "no_task_left", "virtual_time"]

# A breaker that stays closed, so that an attempt is refused every 10 s.
QUIET: dict[str, Any] = {"linktest_interval": None, "breaker_threshold": 1_000, "linger": 0.01}


def refusing() -> Switchboard:
    board = Switchboard()
    board.refuse()
    return board


class Told:
    """The downtimes that a link tells: when, and how long each was."""

    def __init__(self, reader: EventReader[LinkEvent]) -> None:
        self.found: list[Unreachable] = []
        self._reader = reader

    async def run(self) -> None:
        async for event in self._reader:
            if isinstance(event, Unreachable):
                self.found.append(event)

    @property
    def times(self) -> list[tuple[float, float]]:
        return [(each.at, each.seconds) for each in self.found]


async def selected(board: Switchboard, link: HsmsLink) -> RawPeer:
    peer = await board.peer()
    await peer.select_by_answering()
    await link.wait_selected()
    return peer


async def test_it_is_told_once_while_a_link_is_never_selected() -> None:
    async with link_end(refusing(), unreachable_after=25, **QUIET) as link:
        told = Told(link.events())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(told.run)
            await trio.sleep(1_000)
            nursery.cancel_scope.cancel()
    assert told.times == [(25, 25)]
    (event,) = told.found
    assert isinstance(event.error, ConnectError)
    assert event.epoch == 0


async def test_without_the_setting_it_is_never_told() -> None:
    async with link_end(refusing(), **QUIET) as link:
        told = Told(link.events())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(told.run)
            await trio.sleep(80_000)
            nursery.cancel_scope.cancel()
    assert told.times == []


async def test_it_is_told_again_only_after_the_link_has_been_selected() -> None:
    board = refusing()
    async with link_end(board, unreachable_after=25, **QUIET) as link:
        told = Told(link.events())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(told.run)
            await trio.sleep(105)
            # At 110 it is selected, and at 200 it is lost.
            board.refusal = None
            peer = await selected(board, link)
            await trio.sleep(90)
            board.refuse()
            await peer.close()
            await trio.sleep(500)
            nursery.cancel_scope.cancel()
    assert told.times == [(25, 25), (225, 25)]
    assert told.found[1].epoch == 1


async def test_a_link_that_is_back_in_time_tells_nothing() -> None:
    board = Switchboard()
    async with link_end(board, unreachable_after=25, **QUIET) as link:
        told = Told(link.events())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(told.run)
            for _ in range(5):
                peer = await selected(board, link)
                await trio.sleep(100)
                board.refuse()
                await peer.close()
                await trio.sleep(15)
                board.refusal = None
            nursery.cancel_scope.cancel()
    assert told.times == []


async def test_an_attempt_that_ends_before_select_does_not_begin_it_anew() -> None:
    board = Switchboard()
    async with link_end(board, unreachable_after=25, **QUIET) as link:
        told = Told(link.events())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(told.run)
            for _ in range(4):
                await (await board.peer()).close()
            nursery.cancel_scope.cancel()
    assert told.times == [(25, 25)]


async def test_a_session_that_is_deselected_is_down() -> None:
    board = Switchboard()
    async with link_end(board, unreachable_after=25, t7=240, **QUIET) as link:
        peer = await selected(board, link)
        reader = link.events()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.deselect)
            await peer.send(deselect_rsp((await peer.frame()).system))
        event = await first(reader, Unreachable)
        assert (event.at, event.seconds, event.error) == (25, 25, None)
        # It is selected again over the same connection, and from then on may be told again.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.select)
            await peer.send(select_rsp((await peer.frame()).system))
        board.refuse()
        await peer.close()
        assert (await first(reader, Unreachable)).at == 50


async def test_while_it_is_disabled_it_is_not_down_and_to_enable_it_begins_anew() -> None:
    async with link_end(refusing(), unreachable_after=25, **QUIET) as link:
        reader = link.events()
        await trio.sleep(20)
        link.disable()
        await trio.sleep(1_000)
        link.enable()
        event = await first(reader, Unreachable)
        assert (event.at, event.seconds) == (1_045, 25)


async def test_enabled_and_disabled_without_end_it_is_still_told_once() -> None:
    async with link_end(refusing(), unreachable_after=25, **QUIET) as link:
        told = Told(link.events())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(told.run)
            for _ in range(5):
                await trio.sleep(30)
                link.disable()
                link.enable()
            nursery.cancel_scope.cancel()
    assert told.times == [(25, 25)]


async def test_disabled_out_of_a_session_and_enabled_while_it_separates() -> None:
    """It is down from the moment when it has separated."""
    board = Switchboard()
    async with link_end(board, unreachable_after=25, **{**QUIET, "linger": 5}) as link:
        await selected(board, link)
        reader = link.events()
        board.refuse()
        link.disable()
        await trio.sleep(1)
        link.enable()
        event = await first(reader, Unreachable)
        assert (event.at, event.seconds) == (30, 25)


@pytest.mark.parametrize("how", ["open", "isolated"])
async def test_the_breaker_changes_nothing(how: str) -> None:
    settings = {**QUIET, "breaker_threshold": 1, "breaker_open_time": 600}
    async with link_end(refusing(), unreachable_after=25, **settings) as link:
        reader = link.events()
        if how == "isolated":
            link.isolate()
        event = await first(reader, Unreachable)
        assert (event.at, event.seconds) == (25, 25)
        assert link.statistics().breaker_state == {"open": "breaker_open"}.get(how, how)


async def test_no_timer_need_run_for_it() -> None:
    """Neither the link nor its breaker waits for anything then."""
    async with link_end(refusing(), unreachable_after=25, **QUIET) as link:
        link.isolate()
        link.disable()
        await trio.sleep(100)
        assert link._engine.next_due() == math.inf
        link.enable()
        assert link.phase == "blocked"
        event = await first(link.events(), Unreachable)
        assert (event.at, event.seconds) == (125, 25)


async def test_the_setting_is_in_force_at_once() -> None:
    async with link_end(refusing(), unreachable_after=3_600, **QUIET) as link:
        reader = link.events()
        await trio.sleep(101)
        link.configure(unreachable_after=50)
        event = await first(reader, Unreachable)
        # So long it was down already.
        assert (event.at, event.seconds) == (101, 101)
        assert event.error is link._engine.last_error


async def test_a_link_that_is_closed_or_was_never_enabled_is_not_down() -> None:
    async with link_end(refusing(), unreachable_after=25, **QUIET) as link:
        reader = link.events()
        await trio.sleep(5)
        await link.aclose()
        await trio.sleep(100)
        kinds = [type(each) async for each in reader]
    assert kinds[-1] is events.Closed
    assert Unreachable not in kinds


@pytest.mark.parametrize("end", [active_end, passive_end])
async def test_one_connection_and_a_listening_end_tell_nothing(end: Callable[..., Any]) -> None:
    """Neither brings anything back by itself."""
    async with end(unreachable_after=1, t7=240, **QUIET) as (connection, peer):
        reader = connection.events()
        await peer.send(deselect_req(7))
        await peer.expect(deselect_rsp(7))
        await trio.sleep(100)
        assert connection.phase == "not selected"
        await peer.close()
        assert Unreachable not in [type(each) async for each in reader]


async def test_who_wakes_late_reads_first_and_then_may_be_selected() -> None:
    ours, theirs = memory_stream_pair()
    peer = RawPeer(theirs)

    async def dial() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return Slow(ours)

    board = Switchboard()
    board.dial = dial  # type: ignore[method-assign]  # one stream, whose bytes come without a task
    async with link_end(board, unreachable_after=3, **QUIET) as link:
        reader = link.events()
        request = await peer.frame()
        # While the loop is blocked the response comes, and the time is over.
        ours.receive_stream.put_data(select_rsp(request.system))
        jump(4)
        await wait_all_tasks_blocked()
        assert link.is_selected
        await link.aclose()
        assert Unreachable not in [type(each) async for each in reader]


async def test_a_later_reader_is_told_the_phase_and_not_this() -> None:
    async with link_end(refusing(), unreachable_after=25, **QUIET) as link:
        await first(link.events(), Unreachable)
        assert isinstance(await link.events().receive(), events.Waiting)


async def test_it_is_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "hsms_engine.link")
    async with link_end(refusing(), unreachable_after=20, **QUIET) as link:
        await first(link.events(), Unreachable)
        await trio.sleep(100)
        assert lines(caplog) == [UNREACHABLE]
    async with link_end(Switchboard(), unreachable_after=3, **QUIET) as link:
        await first(link.events(), Unreachable)
        # Nothing has failed yet.
        assert lines(caplog) == ["WARNING unreachable for 3.0 s (unreachable_after)"]
