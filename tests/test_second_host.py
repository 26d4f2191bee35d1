"""A second host asks for the session: it is refused, and the holder is probed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import HsmsConnection, HsmsServer, open_link
from hsms_engine.driver.transport import Transport
from tests.support.leaks import leak_check, no_task_left
from tests.support.pair import MemoryListener, direct_pair, server_end
from tests.support.raw_peer import (
    LINKTEST_REQ,
    RawPeer,
    deselect_req,
    deselect_rsp,
    linktest_req,
    linktest_rsp,
    select_req,
    select_rsp,
)
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

INTERVALS = pytest.mark.parametrize("interval", [None, 1_000])


def now() -> float:
    return trio.current_time()


async def hold(connection: HsmsConnection) -> None:
    """A handler that stays until its connection is over."""
    async for _ in connection:
        pass


@asynccontextmanager
async def held(
    sessions: int = 1, **settings: Any
) -> AsyncIterator[tuple[HsmsServer, MemoryListener, list[RawPeer]]]:
    """A server whose sessions are all taken, by these peers."""
    async with server_end(hold, max_sessions=sessions, **settings) as (server, listener):
        peers = []
        for _ in range(sessions):
            peer = await listener.raw()
            await peer.select()
            peers.append(peer)
        yield server, listener, peers


async def pass_time(seconds: float) -> None:
    """Until then, and until all that is due then is done."""
    await trio.sleep(seconds)
    await wait_all_tasks_blocked()


async def ask(listener: MemoryListener) -> None:
    """Ask for the session, get status 3, and go."""
    peer = await listener.raw()
    await peer.send(select_req(77))
    await peer.expect(select_rsp(77, 3))
    await peer.close()
    await wait_all_tasks_blocked()


async def is_free(listener: MemoryListener) -> bool:
    """Whether a second host gets the session; it leaves again."""
    peer = await listener.raw()
    await peer.send(select_req(78))
    frame = await peer.frame()
    await peer.close()
    await wait_all_tasks_blocked()
    return frame.byte3 == 0


@INTERVALS
@pytest.mark.clause("second-host/probed")
async def test_a_session_whose_peer_answers_is_never_lost_to_others(interval: float | None) -> None:
    async with held(t6=5, linktest_interval=interval) as (server, listener, (old,)):
        for turn in range(20):
            await trio.sleep(6)
            await ask(listener)
            await old.send(linktest_rsp(await old.control(LINKTEST_REQ)))
            assert now() == 6 * (turn + 1)
        assert [each.is_selected for each in server.connections] == [True]


@INTERVALS
@pytest.mark.parametrize("threshold", [1, 2, 3])
async def test_a_dead_session_is_gone_when_it_was_asked_for_as_often_as_the_threshold(
    interval: float | None, threshold: int
) -> None:
    settings: dict[str, Any] = {"linktest_interval": interval, "linktest_threshold": threshold}
    async with held(t6=5, **settings) as (server, listener, (old,)):
        for number in range(threshold):
            await ask(listener)
            await old.control(LINKTEST_REQ)
            assert server.connections[0].is_selected
            await pass_time(10)
            assert bool(server.connections) == (number + 1 < threshold)
        assert await is_free(listener)


@INTERVALS
@pytest.mark.parametrize("acknowledged", [0, 7, 14, 28])
async def test_what_a_dead_host_acknowledged_before_it_is_probed_is_no_answer_to_the_probe(
    monkeypatch: pytest.MonkeyPatch, interval: float | None, acknowledged: int
) -> None:
    """Its system took a part of two answers, and then it was gone."""
    settings: dict[str, Any] = {"linktest_interval": interval, "pair": direct_pair}
    async with held(t6=5, **settings) as (server, listener, (old,)):

        def sent() -> int:
            return server.connections[0].statistics().counts["bytes_sent"]

        before = sent()
        monkeypatch.setattr(Transport, "unacknowledged", lambda _: sent() - before - acknowledged)
        await old.send(linktest_req(1), linktest_req(2))
        await trio.sleep(3)
        await ask(listener)
        await pass_time(4.9)
        assert server.connections
        await pass_time(0.1)
        assert not server.connections


@pytest.mark.parametrize(("asked_before", "pauses"), [(None, 1), (4.9, 2), (5.1, 1)])
async def test_a_second_host_that_has_asked_in_the_last_t6_costs_a_crashed_host_one_more_pause(
    asked_before: float | None, pauses: int
) -> None:
    """The old host still lived and has answered that probe. ``bounds.crashed_host`` says so."""
    async with held(t5=10, t6=5) as (_, listener, (old,)):
        if asked_before is not None:
            await ask(listener)
            await old.send(linktest_rsp(await old.control(LINKTEST_REQ)))
            await trio.sleep(asked_before)
        crashed = now()
        async with open_link(dial=listener.dial, t5=10, backoff_jitter=0.0) as link:
            await link.wait_selected()
        assert now() - crashed == pytest.approx(pauses * 10)


@pytest.mark.clause("second-host/again")
async def test_others_that_ask_again_and_again_cause_one_probe_in_each_t6() -> None:
    async with held(t6=5, linktest_interval=None) as (_, listener, (old,)):
        asked_at = []
        for second in range(30):
            for _ in range(3):
                await ask(listener)
            if second % 5 == 0:
                await old.send(linktest_rsp(await old.control(LINKTEST_REQ)))
                asked_at.append(now())
            await trio.sleep(1)
        await old.ping()
        assert asked_at == [0, 5, 10, 15, 20, 25]


@pytest.mark.clause("second-host/probing")
async def test_a_probe_that_is_under_way_is_not_doubled() -> None:
    async with held(t6=5, linktest_interval=10) as (server, listener, (old,)):
        await old.control(LINKTEST_REQ)
        await ask(listener)
        await pass_time(5)
        assert now() == 15
        assert server.connections == []


@pytest.mark.clause("second-host/over")
async def test_the_next_host_that_asks_after_t6_causes_a_probe_again() -> None:
    async with held(t6=5, linktest_interval=None) as (_, listener, (old,)):
        for _ in range(3):
            await ask(listener)
            await old.send(linktest_rsp(await old.control(LINKTEST_REQ)))
            await pass_time(5)


FOR_EVER = (
    "linktest_interval=None and second_host='refuse' at a listening end: when a host vanishes "
    "without closing TCP (a power cut), its session stays, nobody asks whether it still lives, and "
    "each time the host dials again it is refused with Select.rsp 3, for ever; set one of the two"
)


@pytest.mark.clause("second-host/refused")
async def test_with_refuse_a_dead_session_without_linktests_stays_for_ever_and_that_is_warned_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsms_engine.settings._warned", set())
    settings: dict[str, Any] = {"linktest_interval": None, "second_host": "refuse", "t6": 5}

    async def refuse() -> None:
        async with held(**settings) as (server, listener, peers):
            for _ in range(100):
                await ask(listener)
                await trio.sleep(100)
            await peers[0].ping()
            assert [each.is_selected for each in server.connections] == [True]

    with pytest.warns(UserWarning, match=re.escape(FOR_EVER)):
        await refuse()
    # The second server of a process says nothing more: that would be an error.
    await refuse()
    assert sum(each.endswith(FOR_EVER) for each in caplog.messages) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"linktest_interval": None},
        {"second_host": "refuse"},
        {"second_host": "refuse", "linktest_interval": 86_400},
    ],
    ids=str,
)
async def test_nobody_is_warned_of_settings_that_let_a_dead_session_go(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsms_engine.settings._warned", set())
    async with held(**settings):
        """A warning would be an error."""


async def test_each_connection_that_has_a_session_is_probed_and_no_other() -> None:
    async with held(sessions=3, t6=5, linktest_interval=None) as (server, listener, peers):
        unselected = await listener.raw()
        await ask(listener)
        for peer in peers[1:]:
            await peer.send(linktest_rsp(await peer.control(LINKTEST_REQ)))
        await unselected.ping()
        await pass_time(5)
        assert [each.is_selected for each in server.connections] == [True, True, False]
        assert await is_free(listener)


@pytest.mark.clause("second-host/ends", "second-host/forgets")
async def test_what_others_asked_of_a_session_is_forgotten_with_it() -> None:
    async with held(t6=5, linktest_interval=None) as (server, listener, (old,)):
        await ask(listener)
        await old.control(LINKTEST_REQ)
        await old.send(deselect_req(1))
        await old.expect(deselect_rsp(1))
        await old.select()
        await ask(listener)
        await old.control(LINKTEST_REQ)
        assert len(server.connections) == 1


async def test_a_frame_of_the_old_host_excuses_the_probe() -> None:
    async with held(t6=5, linktest_interval=None) as (server, listener, (old,)):
        await ask(listener)
        await old.control(LINKTEST_REQ)
        await trio.sleep(3)
        await old.ping()
        await trio.sleep(100)
        assert [each.is_selected for each in server.connections] == [True]
