"""``link.on_selected``: a task for each session, one at a time, whatever it does."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import ClosedError, HsmsLink, Message
from tests.support.leaks import leak_check, no_task_left
from tests.support.pair import Switchboard, link_end
from tests.support.raw_peer import (
    RawPeer,
    data,
    deselect_req,
    deselect_rsp,
    select_req,
    select_rsp,
)
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

QUIET: dict[str, Any] = {"linktest_interval": None}
S1F13 = Message(1, 13, wait=True)
STAYS = "; the link stays selected, and the task runs again for the next session"
TASK_ENDED = "tool:5000 active: the task ask of its session ended: S1F13 got no reply"
TASK_FAILED = f"tool:5000 active: the task fail of its session failed{STAYS}:"
NO_REPLY = (
    "tool:5000 active: the task ask of its session ended: tool:5000: no reply to S1F13 within "
    f"T3 = 45 s; the connection stays{STAYS}"
)


async def up(link: HsmsLink, board: Switchboard) -> RawPeer:
    """The peer of the next connection, selected."""
    peer = await board.peer()
    await peer.select_by_answering()
    await link.wait_selected()
    await wait_all_tasks_blocked()
    return peer


class Recorded:
    """A task that says what becomes of it, and then runs until it is cancelled."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.running = 0

    async def __call__(self, link: HsmsLink) -> None:
        assert self.running == 0
        self.running += 1
        number = link.statistics().times_selected
        self.said.append(f"begun {number}")
        try:
            await self.go_on()
            self.said.append(f"returned {number}")
        except trio.Cancelled:
            self.said.append(f"cancelled {number}")
            raise
        finally:
            self.running -= 1

    async def go_on(self) -> None:
        await trio.sleep_forever()


async def test_a_task_runs_for_each_session_and_is_cancelled_with_it() -> None:
    board, task = Switchboard(), Recorded()
    async with link_end(board, **QUIET) as link:
        link.on_selected(task)
        await wait_all_tasks_blocked()
        assert task.said == []
        for number in (1, 2, 3):
            peer = await up(link, board)
            assert task.said[-1] == f"begun {number}"
            await peer.close()
            await wait_all_tasks_blocked()
            assert task.said[-1] == f"cancelled {number}"
        await up(link, board)
    assert task.said == [
        "begun 1", "cancelled 1", "begun 2", "cancelled 2", "begun 3", "cancelled 3", "begun 4",
        "cancelled 4",
    ]  # fmt: skip


async def test_a_task_that_is_given_while_selected_begins_at_once() -> None:
    board, task = Switchboard(), Recorded()
    async with link_end(board, **QUIET) as link:
        await up(link, board)
        link.on_selected(task)
        await wait_all_tasks_blocked()
        assert task.said == ["begun 1"]


async def test_a_deselect_ends_a_session_and_the_next_one_on_the_same_connection_has_its_task() -> (
    None
):
    board, task = Switchboard(), Recorded()
    async with link_end(board, **QUIET) as link:
        link.on_selected(task)
        peer = await up(link, board)
        await peer.send(deselect_req(1))
        await peer.expect(deselect_rsp(1))
        await wait_all_tasks_blocked()
        assert task.said == ["begun 1", "cancelled 1"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.select)
            await peer.select_by_answering()
        await wait_all_tasks_blocked()
        assert task.said[-1] == "begun 2"


async def test_a_session_that_ends_and_another_that_begins_in_one_segment_are_two() -> None:
    board, task = Switchboard(), Recorded()
    async with link_end(board, **QUIET) as link:
        link.on_selected(task)
        peer = await up(link, board)
        await peer.send(deselect_req(1), select_req(2))
        await peer.expect(deselect_rsp(1), select_rsp(2))
        await wait_all_tasks_blocked()
        assert task.said == ["begun 1", "cancelled 1", "begun 2"]


async def test_many_tasks_run_side_by_side_and_in_each_the_link_can_be_used() -> None:
    board = Switchboard()
    replies: list[str] = []

    async def ask(link: HsmsLink) -> None:
        replies.append((await link.request(S1F13)).name)

    async with link_end(board, **QUIET) as link:
        for _ in range(50):
            link.on_selected(ask)
        for _ in range(2):
            peer = await up(link, board)
            for _ in range(50):
                await peer.send(data(1, 14, (await peer.frame()).system))
            await wait_all_tasks_blocked()
            await peer.close()
            await wait_all_tasks_blocked()
    assert replies == ["S1F14"] * 100


async def test_a_task_that_returns_is_called_again_only_for_the_next_session() -> None:
    board = Switchboard()
    calls: list[int] = []

    async def note(link: HsmsLink) -> None:
        calls.append(link.statistics().times_selected)

    async with link_end(board, **QUIET) as link:
        link.on_selected(note)
        peer = await up(link, board)
        await peer.ping()
        assert calls == [1]
        await peer.close()
        await up(link, board)
        assert calls == [1, 2]


async def test_a_task_is_taken_away_by_cancelling_what_was_returned() -> None:
    board, task, other = Switchboard(), Recorded(), Recorded()
    async with link_end(board, **QUIET) as link:
        before = link.on_selected(other)
        before.cancel()
        scope = link.on_selected(task)
        peer = await up(link, board)
        scope.cancel()
        await wait_all_tasks_blocked()
        assert task.said == ["begun 1", "cancelled 1"]
        await peer.close()
        await up(link, board)
        assert task.said == ["begun 1", "cancelled 1"]
        assert other.said == []


async def test_a_task_that_outlives_its_cancellation_stops_nothing_and_the_next_waits_for_it() -> (
    None
):
    board, left = Switchboard(), trio.Event()

    class Slow(Recorded):
        async def go_on(self) -> None:
            with trio.CancelScope(shield=True):
                await left.wait()

    slow, quick = Slow(), Recorded()
    async with link_end(board, **QUIET) as link:
        link.on_selected(slow)
        link.on_selected(quick)
        for number in (1, 2):
            peer = await up(link, board)
            assert quick.said[-1] == f"begun {number}"
            await peer.close()
            await wait_all_tasks_blocked()
        # It is still in its first session; the second is over by now, and has none.
        assert slow.said == ["begun 1"]
        peer = await up(link, board)
        left.set()
        await wait_all_tasks_blocked()
        assert slow.said == ["begun 1", "returned 1", "begun 3", "returned 3"]


async def fail(_: HsmsLink) -> None:
    raise KeyError("no such report")


async def ask(link: HsmsLink) -> None:
    await link.request(S1F13)


async def fail_in_a_group(link: HsmsLink) -> None:
    async with trio.open_nursery() as nursery:
        for each in (fail, ask):
            nursery.start_soon(each, link)


@pytest.mark.parametrize(
    ("task", "level", "text"),
    [
        (fail, logging.ERROR, f"{TASK_FAILED}\n  Traceback"),
        (fail_in_a_group, logging.ERROR, TASK_FAILED.replace("fail", "fail_in_a_group", 1)),
        (ask, logging.INFO, TASK_ENDED),
    ],
)
async def test_what_a_task_raises_is_logged_and_ends_only_that_task(
    task: Callable[[HsmsLink], Awaitable[None]],
    level: int,
    text: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    board, other = Switchboard(), Recorded()
    async with link_end(board, **QUIET) as link:
        link.on_selected(task)
        link.on_selected(other)
        for _ in range(2):
            peer = await up(link, board)
            await peer.close()
            await wait_all_tasks_blocked()
        await up(link, board)
        assert link.is_selected
    records = [each for each in caplog.records if each.getMessage().startswith(text)]
    assert [each.levelno for each in records][:2] == [level, level]
    assert other.said[:4] == ["begun 1", "cancelled 1", "begun 2", "cancelled 2"]


async def test_a_set_up_that_fails_while_its_session_goes_on_is_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        link.on_selected(partial(ask))
        await up(link, board)
        caplog.set_level(logging.WARNING, "hsms_engine.link")
        await trio.sleep(45)
        await wait_all_tasks_blocked()
        assert link.is_selected
    found = [each for each in caplog.records if "the task" in each.getMessage()]
    assert [(each.levelname, each.getMessage()) for each in found] == [("WARNING", NO_REPLY)]
    assert (vars(found[0])["link"], vars(found[0])["epoch"]) == ("tool:5000 active", 1)


async def test_what_is_no_exception_leaves_the_block_of_the_link() -> None:
    async def stop(_: HsmsLink) -> None:
        raise KeyboardInterrupt

    board = Switchboard()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012  # the block is what it leaves
        async with link_end(board, **QUIET) as link:
            link.on_selected(stop)
            await up(link, board)
            await trio.sleep_forever()


async def test_a_closed_link_takes_no_task() -> None:
    async with link_end(Switchboard(), **QUIET) as link:
        await link.aclose()
        with pytest.raises(ClosedError, match="closed by a call"):
            link.on_selected(fail)


async def test_a_task_of_a_link_that_closes_before_it_is_selected_never_begins() -> None:
    task = Recorded()
    async with link_end(Switchboard(), **QUIET) as link:
        link.on_selected(task)
        await link.aclose()
        await wait_all_tasks_blocked()
    assert task.said == []
