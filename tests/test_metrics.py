"""What a collector shows: of links, connections and servers, in virtual time."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from prometheus_client import CollectorRegistry, generate_latest
from trio.testing import wait_all_tasks_blocked

from hsms_engine import (
    ConnectionLostError,
    DefectError,
    HsmsLink,
    Message,
    WrongLoopError,
)
from hsms_engine.metrics import Collector
from hsms_engine.metrics.tap import DEFECT
from tests.support.leaks import leak_check, no_task_left
from tests.support.metrics import Shown, counters, fallen, number, numbers, one, shown
from tests.support.pair import (
    Switchboard,
    active_end,
    echo,
    link_end,
    passive_end,
    server_end,
)
from tests.support.raw_peer import (
    DESELECT_REQ,
    LINKTEST_REQ,
    SELECT_REQ,
    RawPeer,
    data,
    deselect_req,
    deselect_rsp,
    linktest_rsp,
    raw,
    select_rsp,
    separate_req,
)
from tests.support.threads import from_thread
from tests.support.virtual import virtual_time
from tests.test_defects import provoke, spoil

__all__ = ["leak_check", "no_task_left", "virtual_time"]

QUIET: dict[str, Any] = {"linktest_interval": None}
S1F1 = Message(1, 1, wait=True)


async def up(link: HsmsLink, board: Switchboard) -> RawPeer:
    """The peer of the next connection, selected."""
    peer = await board.peer()
    await peer.select_by_answering()
    await link.wait_selected()
    return peer


@asynccontextmanager
async def watched(**changes: Any) -> AsyncIterator[tuple[HsmsLink, Switchboard, Collector]]:
    """A link that dials, and the collector that has seen all of it."""
    board = Switchboard()
    async with link_end(board, **{**QUIET, **changes}) as link:
        yield link, board, one(link)


# Sessions: how they end, how long they last, and when the next one begins

Ends = Callable[[HsmsLink, RawPeer], Awaitable[object]]


async def _is_silent(*_: object) -> None:
    await trio.sleep(200)


async def _times_out_in_a_frame(_: HsmsLink, peer: RawPeer) -> None:
    await peer.send(data(1, 1, 1)[:7])
    await trio.sleep(20)


async def _misses_the_end_of_deselect(link: HsmsLink, _: RawPeer) -> None:
    with pytest.raises(ConnectionLostError, match="T6"):
        await link.deselect()


async def _deselects(link: HsmsLink, peer: RawPeer) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.deselect)
        await peer.send(deselect_rsp(await peer.control(DESELECT_REQ)))


async def _is_disabled(link: HsmsLink, _: RawPeer) -> None:
    link.disable()


ENDS: list[tuple[str, Ends, dict[str, Any]]] = [
    ("separate_req_received", lambda _, peer: peer.send(separate_req(1)), {}),
    ("tcp_closed", lambda _, peer: peer.close(), {}),
    ("linktest_failed", _is_silent, {"linktest_interval": 10}),
    ("t6_expired", _misses_the_end_of_deselect, {}),
    ("t8_expired", _times_out_in_a_frame, {}),
    ("communication_failed", lambda _, peer: peer.send(raw(0, 1, length=3)), {}),
    ("deselect_req_received", lambda _, peer: peer.send(deselect_req(1)), {}),
    ("deselect_rsp_ended", _deselects, {}),
    ("disable_requested", _is_disabled, {}),
    ("close_requested", lambda link, _: link.aclose(), {"linger": 0.01}),
]


@pytest.mark.parametrize(("reason", "end", "changes"), ENDS, ids=[each[0] for each in ENDS])
async def test_a_session_that_ends_is_counted_by_the_event_that_has_ended_it(
    reason: str, end: Ends, changes: dict[str, Any]
) -> None:
    async with watched(**changes) as (link, board, collector):
        peer = await up(link, board)
        await trio.sleep(7)
        assert number(collector, "hsms_selected_seconds_total") == pytest.approx(7)
        await end(link, peer)
        await wait_all_tasks_blocked()
        assert numbers(collector, "hsms_disconnects_total", "reason") == {reason: 1}


async def test_a_defect_ends_a_session_and_its_time() -> None:
    async with watched() as (link, board, collector):
        peer = await up(link, board)
        spoil(link._engine, "linktest_req_received")
        await trio.sleep(3)
        await provoke(peer)
        with pytest.raises(DefectError):
            await link.receive()
        await trio.sleep(5)
        assert numbers(collector, "hsms_disconnects_total", "reason") == {DEFECT: 1}
        assert number(collector, "hsms_selected_seconds_total") == pytest.approx(3)
        assert number(collector, "hsms_down_seconds") == 0


async def test_a_defect_of_an_attempt_abandons_it() -> None:
    board = Switchboard()
    board.hang()
    async with link_end(board, **QUIET) as link:
        collector = one(link)
        await wait_all_tasks_blocked()
        spoil(link._engine, "connect_timeout_expired")
        with pytest.raises(DefectError):
            await link.wait_selected()
        assert numbers(collector, "hsms_attempts_total", "outcome") == {"abandoned": 1}


async def test_the_time_to_the_next_session_is_counted_with_its_bound() -> None:
    async with watched(t5=10, linktest_interval=200) as (link, board, collector):
        peer = await up(link, board)
        assert number(collector, "hsms_recovery_bound_seconds") == pytest.approx(
            link.settings.recovery_bound().seconds
        )
        await trio.sleep(100)
        await peer.close()
        await trio.sleep(4)
        assert number(collector, "hsms_down_seconds") == pytest.approx(4)
        await up(link, board)
        assert number(collector, "hsms_recovery_seconds_count") == 1
        assert number(collector, "hsms_recovery_seconds_sum") == pytest.approx(4)
        assert number(collector, "hsms_down_seconds") == 0


async def test_who_disables_a_link_waits_for_no_recovery() -> None:
    async with watched() as (link, board, collector):
        await up(link, board)
        link.disable()
        await trio.sleep(500)
        assert number(collector, "hsms_down_seconds") == 0
        assert number(collector, "hsms_link_state", state="idle") == 1
        assert number(collector, "hsms_retry_seconds") == math.inf
        link.enable()
        await up(link, board)
        assert number(collector, "hsms_recovery_seconds_count") == 0


async def test_who_deselects_waits_for_no_recovery() -> None:
    async with watched() as (link, board, collector):
        peer = await up(link, board)
        await _deselects(link, peer)
        await trio.sleep(3)
        assert number(collector, "hsms_down_seconds") == pytest.approx(3)
        await peer.select()
        assert number(collector, "hsms_times_selected_total") == 2
        assert number(collector, "hsms_recovery_seconds_count") == 0


async def test_who_disables_a_link_that_is_lost_waits_for_its_recovery_no_longer() -> None:
    async with watched(t5=100) as (link, board, collector):
        peer = await up(link, board)
        await peer.close()
        await trio.sleep(1)
        link.disable()
        await trio.sleep(500)
        link.enable()
        await up(link, board)
        assert number(collector, "hsms_recovery_seconds_count") == 0


async def test_a_link_that_was_never_selected_is_down_from_its_beginning() -> None:
    async with watched(t5=10) as (_, board, collector):
        board.refuse()
        await trio.sleep(25)
        assert number(collector, "hsms_down_seconds") == pytest.approx(25)
        await trio.sleep(1)
        assert number(collector, "hsms_down_seconds") == pytest.approx(26)


async def test_a_link_that_separates_because_of_a_call_is_not_down() -> None:
    async with watched(linger=10) as (link, board, collector):
        await up(link, board)
        link.disable()
        await trio.sleep(2)
        assert link.phase == "separating"
        assert number(collector, "hsms_down_seconds") == 0


async def test_what_was_down_before_it_was_added_is_down_for_that_long() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        board.refuse()
        await trio.sleep(25)
        assert number(one(link), "hsms_down_seconds") == pytest.approx(25)


# Attempts and the breaker


async def test_attempts_are_counted_by_how_they_end() -> None:
    async with watched(t5=10, breaker_threshold=100) as (link, board, collector):
        board.refuse()
        await trio.sleep(15)
        board.refusal = None
        peer = await board.peer()
        await peer.send(select_rsp(await peer.control(SELECT_REQ), 2))
        peer = await board.peer()
        await peer.control(SELECT_REQ)
        # T6.
        await trio.sleep(6)
        board.hang()
        await trio.sleep(10)
        link.isolate()
        link.release()
        board.answers.set()
        await up(link, board)
        assert numbers(collector, "hsms_attempts_total", "outcome") == {
            "connect_failed": link.statistics().failed_attempts - 2,
            "select_failed": 2,
            "abandoned": 1,
            "selected": 1,
        }
        link.disable()
        await trio.sleep(100)
        board.hang()
        link.enable()
        await trio.sleep(1)
        link.disable()
        assert numbers(collector, "hsms_attempts_total", "outcome")["abandoned"] == 2
        link.enable()
        board.answers.set()
        peer = await board.peer()
        await peer.control(SELECT_REQ)
        link.disable()
        await wait_all_tasks_blocked()
        assert numbers(collector, "hsms_attempts_total", "outcome")["abandoned"] == 3


async def test_the_breaker_shows_its_state_and_its_failures() -> None:
    async with watched(t5=10, breaker_threshold=2, breaker_open_time=60) as (_, board, collector):
        board.refuse()
        await trio.sleep(5)
        assert numbers(collector, "hsms_breaker_state", "state") == {"closed": 1}
        assert number(collector, "hsms_breaker_failures") == 1
        assert number(collector, "hsms_retry_seconds") == pytest.approx(5)
        await trio.sleep(10)
        assert numbers(collector, "hsms_breaker_state", "state") == {"open": 1}
        assert number(collector, "hsms_breaker_threshold") == 2
        assert numbers(collector, "hsms_link_state", "state").keys() <= {"waiting", "blocked"}


# Messages


async def test_frames_and_their_times_are_counted() -> None:
    async with watched() as (link, board, collector):
        peer = await up(link, board)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.request, S1F1)
            system = (await peer.frame()).system
            await trio.sleep(0.3)
            assert number(collector, "hsms_open_requests") == 1
            await peer.send(data(1, 2, system))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.linktest)
            system = await peer.control(LINKTEST_REQ)
            await trio.sleep(3)
            await peer.send(linktest_rsp(system))
        await peer.send(data(1, 1, 7, wait=True), data(5, 1, 8, body=bytes(100)))
        primary = await link.receive()
        await trio.sleep(8)
        assert number(collector, "hsms_waiting_primaries") == 1
        assert number(collector, "hsms_queue_bytes", direction="received") > 100
        assert number(collector, "hsms_queue_bytes", direction="sent") == 0
        await link.reply(primary, Message(1, 2))
        # No SType, and no PType, that HSMS has; the second one looks like a Linktest.rsp.
        await peer.send(raw(42, 1), raw(6, 1, ptype=3))
        await wait_all_tasks_blocked()
        for name, seconds in (("round_trip", 0.3), ("linktest", 3), ("answer", 8)):
            assert number(collector, f"hsms_{name}_seconds_count") == 1
            assert number(collector, f"hsms_{name}_seconds_sum") == pytest.approx(seconds)
        frames = {
            (dict(labels)["direction"], dict(labels)["kind"]): value
            for (name, labels), value in shown(collector).items()
            if name == "hsms_frames_total" and value
        }
        assert frames == {
            ("sent", "select_req"): 1,
            ("received", "select_rsp"): 1,
            ("sent", "data"): 2,
            ("received", "data"): 3,
            ("sent", "linktest_req"): 1,
            ("received", "linktest_rsp"): 1,
            ("received", "unknown"): 2,
            ("sent", "reject_req"): 2,
        }
        assert number(collector, "hsms_messages_received_total") == 3


async def test_what_was_before_a_collector_is_in_the_counts_of_statistics_alone() -> None:
    async with active_end(**QUIET) as (connection, peer):
        collector = one(connection)
        assert number(collector, "hsms_times_selected_total") == 1
        assert numbers(collector, "hsms_attempts_total", "outcome") == {}
        await trio.sleep(2)
        assert number(collector, "hsms_selected_seconds_total") == pytest.approx(2)
        await peer.send(separate_req(1))
        await wait_all_tasks_blocked()
        assert number(collector, "hsms_link_state", state="closed") == 1
        assert number(collector, "hsms_recovery_seconds_count") == 0


async def test_a_connection_of_a_server_has_no_breaker_to_show() -> None:
    async with passive_end(**QUIET) as (connection, peer):
        collector = one(connection)
        await peer.send(deselect_req(1))
        await trio.sleep(2)
        assert number(collector, "hsms_link_state", state="not selected") == 1
        assert numbers(collector, "hsms_disconnects_total", "reason") == {
            "deselect_req_received": 1
        }
        assert "hsms_breaker_state" not in {name for name, _ in shown(collector)}


# Servers


async def test_a_server_shows_all_its_connections_together() -> None:
    async with server_end(echo, max_sessions=2, **QUIET) as (server, listener):
        first = await listener.raw()
        await first.select()
        # One is open already.
        collector = one(server)
        second = await listener.raw()
        await second.select()
        await trio.sleep(10)
        await first.send(data(1, 1, 1, wait=True))
        await first.frame()
        assert number(collector, "hsms_server_selected") == 2
        assert number(collector, "hsms_selected_seconds_total") == pytest.approx(20)
        await first.send(separate_req(1))
        await trio.sleep(10)
        assert number(collector, "hsms_selected_seconds_total") == pytest.approx(30)
        third = await listener.raw()
        await third.close()
        await wait_all_tasks_blocked()
        assert numbers(collector, "hsms_disconnects_total", "reason") == {
            "separate_req_received": 1
        }
        assert number(collector, "hsms_answer_seconds_count") == 1
        for name, value in (("accepted", 3), ("never_selected", 1), ("failed_handlers", 0)):
            assert number(collector, f"hsms_server_{name}_total") == value
        assert number(collector, "hsms_times_selected_total") == 2
        assert number(collector, "hsms_server_listening") == 1
        before = shown(collector)
        await server.aclose()
        await wait_all_tasks_blocked()
        assert number(collector, "hsms_server_listening") == 0
        assert number(collector, "hsms_server_connections") == 0
        assert fallen(before, shown(collector)) == []
        assert "hsms_link_state" not in {name for name, _ in shown(collector)}


# Names, and what is over


async def test_the_counts_of_a_link_that_is_over_go_on_in_the_next_one_of_its_name() -> None:
    collector, board = Collector(), Switchboard()
    before: Shown = {}
    for count in (1, 2, 3):
        async with link_end(board, linger=0.01, **QUIET) as link:
            collector.add(link)
            await up(link, board)
            await trio.sleep(5)
            assert fallen(before, shown(collector)) == []
            before = shown(collector)
        assert fallen(before, shown(collector)) == []
        total = shown(collector)["hsms_selected_seconds_total", frozenset({("link", "tool:5000")})]
        assert total == pytest.approx(5 * count)
        ends = numbers(collector, "hsms_disconnects_total", "reason")
        assert ends == {"close_requested": count}
        assert numbers(collector, "hsms_times_selected_total", "link") == {"tool:5000": count}


async def test_a_link_has_the_name_that_is_given_or_its_own_or_its_peers() -> None:
    async with link_end(Switchboard(), name="etcher", **QUIET) as link:
        collector = Collector()
        collector.add(link)
        collector.add(link, "other")
        async with link_end(Switchboard(), **QUIET) as unnamed, server_end(**QUIET) as (server, _):
            collector.add(unnamed)
            collector.add(server)
            async with server_end(name="tool", **QUIET) as (named, _):
                collector.add(named)
                names = {dict(labels)["link"] for _, labels in shown(collector)}
        assert names == {"etcher", "other", "tool:5000", "memory", "tool"}


async def test_a_name_that_something_open_has_is_refused() -> None:
    async with link_end(Switchboard(), **QUIET) as link, server_end(**QUIET) as (server, _):
        collector = one(link)
        with pytest.raises(
            ValueError, match=r"^name='a' is that of a link that is not closed: give another one$"
        ):
            collector.add(link, "a")
        collector.add(server, "b")
        with pytest.raises(ValueError, match=r"^name='b' is that of a server that is not closed"):
            collector.add(link, "b")
        await link.aclose()
        with pytest.raises(
            ValueError,
            match=r"^name='a' was that of a link, and this is a server: give another one$",
        ):
            collector.add(server, "a")
        # What is over may come again.
        before = shown(collector)
        collector.add(link, "a")
        assert counters(shown(collector)) == counters(before)


@pytest.mark.parametrize("name", ["", "a\nb", "\udc80", "x" * 301, 5, b"a"])
async def test_what_can_be_no_label_is_refused(name: Any) -> None:
    async with link_end(Switchboard(), **QUIET) as link:
        collector = Collector()
        with pytest.raises(
            ValueError, match=rf"^name={re.escape(repr(name))} is no printable text of 1 to 300"
        ):
            collector.add(link, name)
        assert shown(collector) == {}


@pytest.mark.parametrize("name", ["ätzer 1", '"', "\\", "{}", "x" * 300])
async def test_any_printable_name_is_shown(name: str) -> None:
    registry, collector = CollectorRegistry(), Collector()
    registry.register(collector)
    async with link_end(Switchboard(), **QUIET) as link:
        collector.add(link, name)
        assert b"hsms_link_state" in generate_latest(registry)
    assert {dict(labels)["link"] for _, labels in shown(collector)} == {name}


@pytest.mark.parametrize("given", [None, "10.1.2.3", object(), HsmsLink, Collector()])
async def test_what_is_no_link_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match=r"is no link, connection or server$"):
        Collector().add(given)


async def test_a_link_of_trio_is_added_in_its_own_loop() -> None:
    collector = Collector()
    async with link_end(Switchboard(), **QUIET) as link, server_end(**QUIET) as (server, _):
        for each in (link, server):
            error = await from_thread(partial(collector.add, each))
            assert isinstance(error, WrongLoopError)
            assert "add()" in str(error)
    assert shown(collector) == {}


# The registry


async def test_a_registry_takes_one_collector_and_shows_its_numbers() -> None:
    registry, collector = CollectorRegistry(), Collector()
    registry.register(collector)
    with pytest.raises(ValueError, match="hsms_link_state"):
        registry.register(Collector())
    async with link_end(Switchboard(), **QUIET) as link:
        collector.add(link, "a")
        text = generate_latest(registry).decode()
    assert 'hsms_link_state{link="a",state="connecting"} 1.0' in text
    registry.unregister(collector)
    assert generate_latest(registry) == b""


async def test_no_label_comes_later() -> None:
    """A counter that begins with its first event has no rate for that event."""
    async with watched() as (link, board, collector), server_end(**QUIET) as (server, listener):
        collector.add(server, "b")
        before = set(shown(collector))
        raw_peer = await listener.raw()
        await raw_peer.select()
        await raw_peer.send(raw(200, 1), separate_req(1))
        peer = await up(link, board)
        await peer.send(data(1, 1, 1), separate_req(1))
        await trio.sleep(100)
        assert set(shown(collector)) == before
