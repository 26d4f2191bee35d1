"""A link over its months, in virtual time: attempts, waiters, closing, and the order of events."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import (
    ClosedError,
    ConnectError,
    ConnectionLostError,
    HsmsLink,
    LinkDownError,
    LocalProtocolError,
    Message,
    SettingsError,
    events,
    open_link,
)
from hsms_engine.protocol import routers
from hsms_engine.protocol.phases import PHASES
from statecharts.hsms import ACTIVE, PASSIVE
from tests.support.leaks import leak_check, no_task_left
from tests.support.one_way import OneWay
from tests.support.pair import Switchboard, failing, first, link_end
from tests.support.raw_peer import SELECT_REQ, SEPARATE_REQ, RawPeer, data, select_rsp, separate_req
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

QUIET: dict[str, Any] = {"linktest_interval": None}
S1F1 = Message(1, 1, wait=True)


def now() -> float:
    return trio.current_time()


async def up(link: HsmsLink, board: Switchboard) -> RawPeer:
    """The peer of the next connection, selected."""
    peer = await board.peer()
    await peer.select_by_answering()
    await link.wait_selected()
    return peer


# 1, 11: what is told, and in which order


async def test_connecting_selecting_and_selected_are_told_in_that_order() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        reader = link.events()
        peer = await board.peer()
        system = await peer.control(SELECT_REQ)
        assert not link.is_selected
        await peer.send(select_rsp(system))
        told = [await anext(reader) for _ in range(3)]
        kinds = [type(event) for event in told]
        assert kinds == [events.Connecting, events.Selecting, events.Selected]
        assert told[0] == events.Connecting(0, 0, attempt=1)
        assert told[2].epoch == 1


async def test_states_are_told_in_order_and_none_twice_in_a_row() -> None:
    board = Switchboard()
    settings: dict[str, Any] = {"t5": 5, "breaker_threshold": 2, "breaker_open_time": 20}
    async with link_end(board, **settings, **QUIET) as link:
        reader = link.events()
        peer = await up(link, board)
        await peer.send(separate_req(1))
        board.refuse()
        await trio.sleep(60)
        board.refusal = None
        await up(link, board)
        link.disable()
        await trio.sleep(60)
        await link.aclose()
        told = [event async for event in reader]
    steps = [event for event in told if type(event).__name__[:7] != "Breaker"]
    for before, after in itertools.pairwise(steps):
        assert type(before) is not type(after), f"{after} follows {before}"
        assert before.at <= after.at
        assert before.epoch <= after.epoch
    kinds = [type(event).__name__ for event in told]
    assert kinds[:9] == [
        "Connecting",
        "Selecting",
        "Selected",
        "Waiting",
        "Connecting",
        "Waiting",
        "Connecting",
        "BreakerOpened",
        "Waiting",
    ] or kinds[7:9] == ["Waiting", "BreakerOpened"]
    assert kinds[-2:] == ["Idle", "Closed"]
    assert "Blocked" in kinds
    assert "BreakerProbing" in kinds


def _phase_is_known(state: str) -> bool:
    return state in PHASES


async def test_every_state_of_both_charts_has_a_name_for_people() -> None:
    for chart in (ACTIVE, PASSIVE):
        for state in chart.walk():
            if not state.children:
                assert _phase_is_known(state.id), state.id


async def test_a_slow_reader_is_told_how_many_events_it_missed() -> None:
    board = Switchboard()
    board.refuse()
    settings: dict[str, Any] = {"t5": 1, "breaker_threshold": 1000, "events_size": 10}
    async with link_end(board, **settings, **QUIET) as link:
        reader = link.events()
        await trio.sleep(99.5)
        missed = await anext(reader)
        assert isinstance(missed, events.Missed)
        rest = [await anext(reader) for _ in range(10)]
        assert missed.count + len(rest) == 200
        assert missed.at == rest[0].at


async def test_secondaries_that_came_before_the_first_reader_are_told_as_missed() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        peer = await up(link, board)
        await peer.send(*(data(6, 12, number) for number in range(3)))
        await peer.ping()
        reader = link.events()
        assert await anext(reader) == events.Missed(0, 0, count=3)
        assert await anext(reader) == events.Connecting(0, 0, attempt=1)
        await peer.send(data(6, 12, 3))
        assert (await first(reader, events.UnexpectedSecondary)).message.system_bytes == 3


async def test_each_reader_gets_all_events_from_its_beginning_on() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        whole = link.events()
        peer = await up(link, board)
        late = link.events()
        await peer.send(separate_req(1))
        await first(late, events.Waiting)
        told = [type(await anext(whole)).__name__ for _ in range(4)]
        assert told == ["Connecting", "Selecting", "Selected", "Waiting"]


async def test_events_end_when_the_link_is_closed() -> None:
    board = Switchboard()
    told: list[str] = []
    async with link_end(board, **QUIET) as link:

        async def read() -> None:
            told.extend([type(event).__name__ async for event in link.events()])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await up(link, board)
            await link.aclose()
        assert told[-2:] == ["Separating", "Closed"]
        assert [type(event).__name__ async for event in link.events()] == ["Closed"]


async def test_readers_that_nobody_holds_cost_nothing() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        for _ in range(100):
            link.events()
        assert len(link._driver._readers) <= 2


# 2, 3: refused, closed at once


async def test_a_refusal_says_who_and_why_and_counts_once() -> None:
    board = Switchboard()
    board.refuse("Connection refused")
    async with link_end(board, **QUIET) as link:
        words = r"tool:5000: not connected, during TCP connect: .*Connection refused"
        with pytest.raises(ConnectError, match=words) as caught:
            await link.connect()
        assert (caught.value.phase, caught.value.cause[-18:]) == (
            "tcp connect",
            "Connection refused",
        )
        statistics = link.statistics()
        assert (statistics.attempts, statistics.failed_attempts) == (1, 1)
        assert statistics.breaker_failures == 1
        assert statistics.epoch == 0


async def test_a_peer_that_closes_after_accept_is_noticed_without_waiting_for_t6() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        reader = link.events()
        await (await board.peer()).close()
        error = (await first(reader, events.Waiting)).error
        assert isinstance(error, ConnectError)
        assert error.phase == "select"
        assert "tool:5000: not connected, during select: " in str(error)
        assert now() == 0
        assert link.statistics().breaker_failures == 1


async def test_the_error_names_the_address_that_was_dialled() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, t5=5, **QUIET) as link:
        reader = link.events()
        await first(reader, events.Waiting)
        link.configure(host="elsewhere", port=6000)
        await first(reader, events.Connecting)
        waiting = await first(reader, events.Waiting)
        assert "elsewhere:6000" in str(waiting.error)
        assert "tool:5000" not in str(waiting.error)


async def test_a_new_address_does_not_rename_the_connection_that_is_up() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        reader = link.events()
        peer = await up(link, board)
        link.configure(port=6000)
        await peer.close()
        waiting = await first(reader, events.Waiting)
        assert "tool:5000" in str(waiting.error)


# 4, 5: cancelled, closed


@pytest.mark.parametrize("during", ["tcp connect", "select"])
async def test_closing_while_it_comes_up_is_immediate_and_no_failure(during: str) -> None:
    board = Switchboard()
    if during == "tcp connect":
        board.hang()
    async with link_end(board, **QUIET) as link:
        if during == "select":
            await (await board.peer()).control(SELECT_REQ)
        else:
            await wait_all_tasks_blocked()
        await link.aclose()
        statistics = link.statistics()
        assert now() == 0
        assert (statistics.failed_attempts, statistics.breaker_failures) == (0, 0)
        assert statistics.breaker_state == "breaker_closed"
        assert link.phase == "closed"


@pytest.mark.parametrize("during", ["tcp connect", "select"])
async def test_disabling_while_it_comes_up_gives_the_permit_back(during: str) -> None:
    board = Switchboard()
    if during == "tcp connect":
        board.hang()
    async with link_end(board, t5=5, breaker_threshold=1, **QUIET) as link:
        await wait_all_tasks_blocked()
        link.disable()
        assert link.statistics().breaker_failures == 0
        board.answers.set()
        link.enable()
        if during == "select":
            await (await board.peer()).control(SELECT_REQ)
        await up(link, board)
        assert now() == 5
        assert link.statistics().failed_attempts == 0


async def test_a_dial_that_ends_in_the_turn_it_is_abandoned_in_is_dropped() -> None:
    board = Switchboard()
    for _ in range(2):
        board.hang()
        async with link_end(board, t5=5, **QUIET) as link:
            await wait_all_tasks_blocked()
            board.answers.set()
            link.disable()
            link.enable()
            peer = await board.peer()
            await peer.end()
            await up(link, board)
        board.refuse()
        board.hang()
        async with link_end(board, t5=5, **QUIET) as link:
            await wait_all_tasks_blocked()
            board.answers.set()
            link.disable()
            await wait_all_tasks_blocked()
            assert link.statistics().failed_attempts == 0
        board.refusal = None


@pytest.mark.parametrize("when", ["connecting", "selecting", "selected", "waiting", "idle"])
async def test_closing_from_ten_tasks_and_twice_is_fine(when: str) -> None:
    board = Switchboard()
    if when == "connecting":
        board.hang()
    if when == "waiting":
        board.refuse()
    async with link_end(board, **QUIET) as link:
        if when == "selected":
            await up(link, board)
        await wait_all_tasks_blocked()
        if when == "idle":
            link.disable()
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(link.aclose)
        await link.aclose()
        assert link.phase == "closed"
        assert now() == (0.5 if when == "selected" else 0)


async def test_after_close_every_call_raises_the_closed_error() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        peer = await up(link, board)
        await peer.send(data(1, 1, 1, wait=True))
        primary = await anext(aiter(link))
        for closing in (True, False):
            link.close_soon()
            if not closing:
                await link.aclose()
            calls: list[Callable[[], Awaitable[object]]] = [
                lambda: link.request(S1F1),
                lambda: link.send(Message(1, 1)),
                lambda: link.reply(primary, Message(1, 2)),
                link.linktest,
                link.deselect,
                link.select,
            ]
            for call in calls:
                with pytest.raises(ClosedError, match="tool:5000"):
                    await call()
            for local in (link.enable, link.disable):
                with pytest.raises(ClosedError, match="tool:5000"):
                    local()
        for waiter in (link.connect, link.wait_selected):
            with pytest.raises(ClosedError):
                await waiter()
        assert [primary async for primary in link] == []


async def test_closing_wakes_everyone_who_waits() -> None:
    board = Switchboard()
    board.hang()
    woken: list[str] = []
    async with link_end(board, **QUIET) as link, trio.open_nursery() as nursery:

        async def wait(name: str, waiter: Callable[[], Awaitable[object]]) -> None:
            with pytest.raises(ClosedError):
                await waiter()
            woken.append(name)

        async def read() -> None:
            async for _ in link:
                pass
            woken.append("primaries")

        nursery.start_soon(wait, "connect", link.connect)
        nursery.start_soon(wait, "wait_selected", link.wait_selected)
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        link.close_soon()
    assert sorted(woken) == ["connect", "primaries", "wait_selected"]


async def test_leaving_a_cancelled_block_wakes_everyone_who_waits_outside() -> None:
    """Also while Separate.req is on its way and the peer says nothing."""
    board = Switchboard()
    woken: list[str] = []
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with link_end(board, linger=10, **QUIET) as link:
                await up(link, board)

                async def request() -> None:
                    with pytest.raises(ClosedError):
                        await link.request(S1F1)
                    woken.append("request")

                async def close() -> None:
                    await link.aclose()
                    woken.append("aclose")

                async def wait() -> None:
                    await wait_all_tasks_blocked()
                    with pytest.raises(ClosedError):
                        await link.linktest()
                    woken.append("linktest")

                nursery.start_soon(request)
                await wait_all_tasks_blocked()
                nursery.start_soon(close)
                nursery.start_soon(wait)
                await wait_all_tasks_blocked()
                scope.cancel()
                await trio.lowlevel.checkpoint()
    assert sorted(woken) == ["aclose", "linktest", "request"]
    assert now() == 0


# 7, 9, 10, 16: many ask at once


async def test_ten_tasks_and_a_good_peer_are_one_connection() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link, trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(link.connect)
        await up(link, board)
    assert board.dialled == 1


async def test_five_tasks_and_a_failing_peer_are_one_attempt_and_five_equal_errors() -> None:
    board = Switchboard()
    board.refuse()
    errors: list[ConnectError] = []
    async with link_end(board, **QUIET) as link:

        async def ask() -> None:
            with pytest.raises(ConnectError) as caught:
                await link.connect()
            errors.append(caught.value)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
        assert board.dialled == 1
        assert len({(type(each), str(each), each.cause, each.phase) for each in errors}) == 1
        # Each its own object: a shared one would gather the tracebacks of all.
        assert len({id(each) for each in errors}) == 5


async def test_cancelling_one_waiter_leaves_the_others() -> None:
    board = Switchboard()
    board.hang()
    selected: list[int] = []
    async with link_end(board, **QUIET) as link, trio.open_nursery() as nursery:

        async def ask(number: int, patience: float) -> None:
            with trio.move_on_after(patience):
                await link.connect()
                selected.append(number)

        for number in range(5):
            nursery.start_soon(ask, number, 1 if number == 2 else 9)
        await trio.sleep(2)
        board.answers.set()
        await up(link, board)
    assert sorted(selected) == [0, 1, 3, 4]
    assert board.dialled == 1


async def test_cancelling_everyone_together_with_the_link_ends_the_attempt() -> None:
    board = Switchboard()
    board.hang()
    with trio.move_on_after(1):
        async with link_end(board, **QUIET) as link, trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(link.connect)
            await trio.sleep_forever()
    assert now() == 1
    assert link.phase == "closed"
    assert link.statistics().failed_attempts == 0


async def test_connect_on_a_disabled_link_says_so() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        link.disable()
        with pytest.raises(LocalProtocolError, match="the link is disabled"):
            await link.connect()


async def test_disabling_ends_a_connect_that_waits() -> None:
    board = Switchboard()
    board.hang()
    async with link_end(board, **QUIET) as link, trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(LinkDownError):
                await link.connect()

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        link.disable()


# 8: never connected


async def test_closing_a_link_that_never_connected_is_immediate() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        await link.aclose()
        assert now() == 0
    async with link_end(board, **QUIET):
        pass
    assert now() == 0


# Down and up again


async def test_a_link_that_is_down_says_when_it_tries_again() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, t5=10, **QUIET) as link:
        await trio.sleep(4)
        with pytest.raises(LinkDownError, match=r"next attempt in 6\.0 s") as caught:
            await link.request(S1F1)
        assert caught.value.retry_after == 6
        assert "Connection refused" in str(caught.value)
        link.disable()
        with pytest.raises(LinkDownError) as caught:
            await link.send(Message(1, 1))
        assert caught.value.retry_after == float("inf")


@pytest.mark.parametrize("ending", ["separate", "close", "garbage"])
async def test_a_lost_link_comes_back_by_itself_every_time(ending: str) -> None:
    board = Switchboard()
    async with link_end(board, t5=1, **QUIET) as link:
        reader = link.events()
        for number in range(1, 51):
            peer = await up(link, board)
            assert link.statistics().epoch == number
            await (
                peer.close()
                if ending == "close"
                else peer.send(separate_req(1) if ending == "separate" else b"    ")
            )
            waiting = await first(reader, events.Waiting)
            assert waiting.error is not None
        statistics = link.statistics()
        assert statistics.times_selected == 50
        assert statistics.failed_attempts == 0
        assert statistics.breaker_failures == 0


async def test_primaries_of_one_connection_and_the_next_come_in_order() -> None:
    board = Switchboard()
    async with link_end(board, t5=1, **QUIET) as link:
        for number in range(5):
            peer = await up(link, board)
            await peer.send(data(6, 11, 2 * number), data(6, 11, 2 * number + 1), separate_req(9))
            await peer.end()
            await wait_all_tasks_blocked()
        taken = [(await anext(aiter(link))).system_bytes for _ in range(10)]
        assert taken == list(range(10))


async def test_disabled_it_dials_nobody_and_enabled_it_dials_again() -> None:
    board = Switchboard()
    async with link_end(board, t5=5, **QUIET) as link:
        peer = await up(link, board)
        link.disable()
        await peer.control(SEPARATE_REQ)
        await peer.end()
        with pytest.raises(LocalProtocolError, match="disable is not possible"):
            link.disable()
        await trio.sleep(1_000)
        assert board.dialled == 1
        link.enable()
        with pytest.raises(LocalProtocolError, match="enable is not possible"):
            link.enable()
        await up(link, board)
        assert board.dialled == 2


async def test_enabling_while_it_still_separates_connects_when_that_is_over() -> None:
    board = Switchboard()
    async with link_end(board, t5=1, linger=10, **QUIET) as link:
        peer = await up(link, board)
        await trio.sleep(100)
        link.disable()
        link.enable()
        await peer.control(SEPARATE_REQ)
        assert board.dialled == 1
        await peer.close()
        await up(link, board)
        assert board.dialled == 2


async def test_a_stale_stream_cannot_end_the_next_connection() -> None:
    """The old stream fails late; the new connection does not notice."""
    board = Switchboard()
    async with link_end(board, t5=1, linger=0.5, **QUIET) as link:
        old = await up(link, board)
        link.disable()
        link.enable()
        await trio.sleep(0.7)
        new = await up(link, board)
        for gesture in (old.close,):
            await gesture()
        await new.ping()
        assert link.is_selected


async def test_configure_changes_all_or_nothing() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        before = link.settings
        with pytest.raises(SettingsError, match="t6=0"):
            link.configure(t3=3, t6=0)
        with pytest.raises(SettingsError, match="unknown setting t9"):
            link.configure(t3=3, t9=1)  # type: ignore[call-arg]  # what the test is about
        assert link.settings is before
        link.configure(t3=3, breaker_threshold=2)
        assert (link.settings.t3, link.settings.breaker_threshold) == (3, 2)
        link.configure(before)
        assert link.settings.t3 == before.t3


# What comes out of the block


async def test_the_blocks_own_exception_comes_out_bare_and_as_it_was() -> None:
    board = Switchboard()
    inner = KeyError("inner")
    mine = ValueError("mine")

    async def fail() -> None:
        async with link_end(board, **QUIET):
            try:
                raise inner
            except KeyError:
                raise mine from None

    with pytest.raises(ValueError, match="mine") as caught:
        await fail()
    assert caught.value is mine
    assert mine.__context__ is inner
    assert mine.__suppress_context__


@pytest.mark.parametrize("count", [1, 2])
async def test_the_blocks_own_group_comes_out_as_it_was(count: int) -> None:
    board = Switchboard()
    group = ExceptionGroup("mine", [ValueError(str(number)) for number in range(count)])
    with pytest.raises(ExceptionGroup) as caught:
        async with link_end(board, **QUIET):
            raise group
    # trio makes a group anew when it looks for cancellations in it; what is in it stays.
    assert caught.value.message == "mine"
    assert caught.value.exceptions == group.exceptions


async def test_the_blocks_exception_survives_its_cancellation() -> None:
    board = Switchboard()

    async def leave(scope: trio.CancelScope) -> None:
        async with link_end(board, **QUIET) as link:
            await up(link, board)
            scope.cancel()
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"), trio.CancelScope() as scope:
        await leave(scope)


async def test_a_cancelled_block_with_a_nursery_of_its_own_waits_for_nobody() -> None:
    board = Switchboard()
    with trio.move_on_after(1) as scope:
        async with link_end(board, linger=10, **QUIET) as link:
            await up(link, board)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                await trio.sleep_forever()
    assert scope.cancelled_caught
    assert now() == 1


@pytest.mark.parametrize("late", range(2))
async def test_a_cancelled_block_may_enable_however_far_its_tasks_have_ended(late: int) -> None:
    # In which order tasks end that are cancelled together is trio's chance.
    for _ in range(10):
        board = Switchboard()
        with trio.CancelScope() as scope:
            async with link_end(board, **QUIET) as link:
                link.disable()
                # Until T5 is over: enabled, it dials at once.
                await trio.sleep(1_000)
                try:
                    scope.cancel()
                    await trio.sleep_forever()
                finally:
                    for _ in range(late):
                        await trio.lowlevel.cancel_shielded_checkpoint()
                    if link.phase == "idle":
                        link.enable()


async def test_a_driver_that_fails_ends_the_block_and_nobody_waits_for_ever() -> None:
    board = Switchboard()

    def defect(_: object) -> None:
        raise KeyError("defect")

    async def use() -> None:
        async with link_end(board, linger=10, **QUIET) as link:
            peer = await up(link, board)
            failing(link, defect)
            await peer.close()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)

    with trio.fail_after(100), pytest.raises(KeyError, match="defect"):
        await use()
    assert now() == 0


async def test_who_waits_outside_of_a_block_that_a_defect_ends_is_told() -> None:
    board = Switchboard()
    told: list[type[Exception]] = []
    links: list[HsmsLink] = []

    def defect(_: object) -> None:
        raise KeyError("defect")

    async def use() -> None:
        async with link_end(board, linger=10, **QUIET) as link:
            links.append(link)
            await up(link, board)
            await trio.sleep(1)
            failing(link, defect)
            link.disable()

    async def probe() -> None:
        with pytest.raises((ClosedError, ConnectionLostError)) as caught:
            await links[0].linktest()
        told.append(type(caught.value))

    defects: list[KeyError] = []

    async def fail() -> None:
        try:
            await use()
        except* KeyError as group:
            defects.extend(group.exceptions)  # type: ignore[arg-type]  # a group of KeyErrors

    with trio.fail_after(100):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            await trio.sleep(0.5)
            nursery.start_soon(probe)
    assert defects
    assert len(told) == 1


# 15: from a program that is not asynchronous


def _a_blocking_program() -> str:
    """What a script does: opens, uses, closes, and goes on."""

    async def main() -> str:
        board = Switchboard()
        async with open_link(dial=board.dial, linktest_interval=None) as link:
            peer = await board.peer()
            await peer.select_by_answering()
            await link.wait_selected()
            await link.aclose()
            return link.phase

    return trio.run(main)


async def test_closing_inside_a_blocking_program_ends() -> None:
    with trio.fail_after(1_000):
        assert await trio.to_thread.run_sync(_a_blocking_program) == "closed"


@pytest.mark.parametrize(
    "call", ["enable", "disable", "isolate", "release", "reset_breaker", "configure"]
)
async def test_every_call_on_a_closed_link_raises_the_closed_error(call: str) -> None:
    async with link_end(Switchboard(), **QUIET) as link:
        await link.aclose()
        with pytest.raises(ClosedError):
            getattr(link, call)()


async def test_a_driver_that_fails_ends_the_link_and_nobody_waits_for_ever() -> None:
    board = Switchboard()
    kept: list[HsmsLink] = []

    def broken(_: object) -> None:
        raise ValueError("a defect of the driver")

    async def run() -> None:
        async with link_end(board, **QUIET) as link:
            kept.append(link)
            await up(link, board)
            failing(link, broken)
            async with trio.open_nursery():
                link.disable()

    with trio.fail_after(60):
        with pytest.raises(BaseExceptionGroup) as caught:
            await run()
        assert caught.group_contains(ValueError, match="a defect of the driver")
        async for _ in kept[0].events():
            pass
        with pytest.raises(ClosedError):
            await kept[0].wait_selected()


async def test_a_dial_may_fail_as_a_stream_does() -> None:
    async def dial() -> trio.abc.Stream:
        raise trio.BrokenResourceError("the line is down")

    async with open_link(dial=dial, **QUIET) as link:
        with pytest.raises(ConnectError, match="during TCP connect: the line is down"):
            await link.connect()


async def test_the_bound_of_waiting_events_is_changed_on_a_live_link() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        reader = link.events()
        await up(link, board)
        link.configure(events_size=1)
        link.disable()
        missed = await anext(reader)
        assert isinstance(missed, events.Missed)
        assert isinstance(await anext(reader), events.Separating)


class SlowToClose(OneWay):
    """A stream that takes a second to close, whatever happens."""

    def __init__(self, inner: trio.abc.Stream, log: list[str]) -> None:
        super().__init__(inner)
        self._log = log

    async def aclose(self) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        self._log.append("closed")
        await super().aclose()


@pytest.mark.clause("order/one-by-one")
async def test_the_next_connection_begins_when_the_previous_one_is_wholly_gone() -> None:
    log: list[str] = []
    board = Switchboard()

    async def dial() -> trio.abc.Stream:
        log.append("dialled")
        return SlowToClose(await board.dial(), log)

    async with open_link(dial=dial, **QUIET) as link:
        peer = await up(link, board)
        # T5 is over: the next attempt may begin at once.
        await trio.sleep(60)
        await peer.close()
        await up(link, board)
    assert log == ["dialled", "closed", "dialled", "closed"]


async def test_a_dial_that_is_slow_to_give_up_holds_the_next_one_back() -> None:
    dialling = most = dials = 0

    async def dial() -> trio.abc.Stream:
        nonlocal dialling, most, dials
        dialling, dials = dialling + 1, dials + 1
        most = max(most, dialling)
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
            dialling -= 1
        raise AssertionError("it is cancelled")

    async with open_link(dial=dial, t5=1, connect_timeout=1, breaker_threshold=1_000, **QUIET):
        await trio.sleep(60)
    assert (dialling, most) == (0, 1)
    assert dials > 5


async def test_what_is_kept_for_thresholds_once_used_is_bounded() -> None:
    async with link_end(Switchboard(), **QUIET) as link:
        for threshold in range(1, 80):
            link.configure(breaker_threshold=threshold)
    assert routers._router.cache_info().currsize <= 64
    assert routers._machine.cache_info().currsize <= 64
