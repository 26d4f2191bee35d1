"""What a link, and a server, say of their health, in each state. Its texts are shown whole here."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import Health, HsmsLink, Settings
from hsms_engine.errors import DefectError
from hsms_engine.settings import ONE_WAY_DELAY
from statecharts.hsms import ACTIVE
from tests.support.leaks import leak_check, no_task_left
from tests.support.pair import Switchboard, link_end, server_end
from tests.support.raw_peer import RawPeer, deselect_rsp, separate_req
from tests.support.virtual import virtual_time
from tests.test_faulting_charts import spoil

__all__ = ["leak_check", "no_task_left", "virtual_time"]

QUIET: dict[str, Any] = {"linktest_interval": None, "linger": 0.01}
REFUSED = "not connected, during TCP connect: Connection refused"
WAITING = f"the link is waiting, not selected; next attempt in 7.0 s (tool:5000: {REFUSED})"
OPEN = (
    "the link is waiting, not selected; the circuit breaker is open, next attempt in 57.0 s "
    f"(tool:5000: {REFUSED})"
)
DISABLED = (
    "the link is idle, not selected; no attempt will be made until it is enabled or released "
    f"(tool:5000: {REFUSED})"
)
CLOSED = "closed by a call, or because the block that opened it has ended; open another one"
NOT_BY_ITSELF = "no attempt begins by itself: it is disabled, isolated or closed"
WHOLE = (
    "once the network is whole, from any state until both ends are selected, when no second host "
    "has asked in the last T6; both ends have these settings, a frame takes at most 0.05 s"
)
NO_LINKTEST = "linktest interval: no linktest is sent: set linktest_interval"
TOO_SHORT = "t6 = 0.05 s <= 0.1 s: responses come too late"
LISTENS = "listening; 1 of 2 sessions selected"
CLOSES = "closed; 0 of 1 sessions selected"


def refusing() -> Switchboard:
    board = Switchboard()
    board.refuse("Connection refused")
    return board


async def selected(board: Switchboard, link: HsmsLink) -> RawPeer:
    peer = await board.peer()
    await peer.select_by_answering()
    await link.wait_selected()
    return peer


# A link


async def test_a_selected_link_is_ready_and_says_for_how_long() -> None:
    board = Switchboard()
    async with link_end(board, name="etcher-1", linktest_interval=86_400) as link:
        await trio.sleep(3)
        await selected(board, link)
        await trio.sleep(50)
        assert link.health() == Health(
            name="etcher-1",
            peer="tool:5000",
            is_ready=True,
            phase="selected",
            since_seconds=50,
            why="selected",
            next_attempt_in=math.inf,
            recovery_bound=link.settings.recovery_bound().seconds,
            recovery_condition=WHOLE,
            last_error=None,
            ownership=None,
            owner=None,
            lease_ends_in=math.inf,
        )


async def test_a_link_that_waits_says_why_and_until_when() -> None:
    async with link_end(refusing()) as link:
        await trio.sleep(3)
        health = link.health()
    assert (health.name, health.peer) == ("tool:5000", "tool:5000")
    assert (health.is_ready, health.phase, health.since_seconds) == (False, "waiting", 3)
    assert (health.why, health.next_attempt_in) == (WAITING, 7)
    assert health.last_error == REFUSED
    assert health.recovery_bound == Settings(backoff_jitter=0.0).recovery_bound().seconds


async def test_it_says_so_when_the_breaker_is_open() -> None:
    async with link_end(refusing(), breaker_threshold=1) as link:
        await trio.sleep(3)
        health = link.health()
    assert (health.why, health.next_attempt_in) == (OPEN, 57)


@pytest.mark.parametrize("where", ["connecting", "selecting"])
async def test_while_an_attempt_runs_the_next_one_is_now(where: str) -> None:
    board = Switchboard()
    if where == "connecting":
        board.hang()
    async with link_end(board) as link:
        await trio.sleep(1)
        health = link.health()
    assert (health.phase, health.next_attempt_in, health.last_error) == (where, 0, None)
    assert health.why == f"the link is {where}, not selected"


async def test_since_when_is_the_latest_change_whatever_is_tried_meanwhile() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        peer = await selected(board, link)
        await trio.sleep(100)
        board.refuse()
        await peer.close()
        await trio.sleep(200)
        health = link.health()
        assert (health.is_ready, health.since_seconds) == (False, 200)
        board.refusal = None
        await selected(board, link)
        now = trio.current_time()
        await trio.sleep(7)
        health = link.health()
        assert (health.is_ready, health.since_seconds) == (True, 7)
        assert now > 300


async def test_a_deselected_link_is_not_ready() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        peer = await selected(board, link)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.deselect)
            await peer.send(deselect_rsp((await peer.frame()).system))
        await trio.sleep(2)
        health = link.health()
    assert (health.is_ready, health.phase, health.since_seconds) == (False, "not selected", 2)
    assert health.why == "the link is not selected"


@pytest.mark.parametrize("how", ["disabled", "isolated", "closed"])
async def test_what_nobody_brings_back_has_no_bound(how: str) -> None:
    async with link_end(refusing(), breaker_threshold=1_000) as link:
        await trio.sleep(3)
        match how:
            case "disabled":
                link.disable()
                await trio.sleep(30)
            case "isolated":
                link.isolate()
            case _:
                await link.aclose()
        health = link.health()
    assert (health.is_ready, health.next_attempt_in) == (False, math.inf)
    assert (health.recovery_bound, health.recovery_condition) == (math.inf, NOT_BY_ITSELF)
    if how == "disabled":
        assert health.why == DISABLED
    if how == "closed":
        assert health.why == CLOSED


async def test_a_link_that_is_selected_and_isolated_is_ready_and_would_not_come_back() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        await selected(board, link)
        link.isolate()
        health = link.health()
    assert (health.is_ready, health.recovery_condition) == (True, NOT_BY_ITSELF)


@pytest.mark.parametrize(
    ("changes", "condition"),
    [
        ({"linktest_interval": None}, NO_LINKTEST),
        ({"t6": 2 * ONE_WAY_DELAY - 0.05, "allow_short_timers": True}, TOO_SHORT),
    ],
)
async def test_settings_that_may_never_come_back_say_which_one(
    changes: dict[str, Any], condition: str
) -> None:
    async with link_end(refusing(), **changes) as link:
        await wait_all_tasks_blocked()
        health = link.health()
    assert (health.recovery_bound, health.recovery_condition) == (math.inf, condition)


async def test_a_defect_is_told() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        peer = await selected(board, link)
        spoil(link._engine, ACTIVE.id, "separate_req_received")
        await trio.sleep(4)
        await peer.send(separate_req(1))
        await wait_all_tasks_blocked()
        assert isinstance(link._engine.unusable(), DefectError)
        await trio.sleep(1)
        health = link.health()
        await peer.close()
    assert (health.is_ready, health.phase, health.since_seconds) == (False, "closed", 1)
    assert health.why.endswith("please report it")


async def test_its_json_has_each_field_and_no_number_that_json_lacks() -> None:
    async with link_end(refusing()) as link:
        link.isolate()
        health = link.health()
    told = health.as_json()
    assert [*told] == [each.name for each in fields(Health)]
    assert (told["next_attempt_in"], told["recovery_bound"]) == (None, None)
    assert json.loads(json.dumps(told, allow_nan=False)) == told


# A server


async def test_a_server_that_listens_is_ready_without_a_host() -> None:
    async with server_end(max_sessions=2, name="line 3", **QUIET) as (server, listener):
        await trio.sleep(5)
        health = server.health()
        assert (health.name, health.peer) == ("line 3", "memory")
        assert (health.is_ready, health.since_seconds) == (True, 5)
        assert (health.connections, health.selected) == (0, 0)
        await (await listener.raw()).select()
        await listener.raw()
        await wait_all_tasks_blocked()
        health = server.health()
        assert (health.why, health.connections, health.selected) == (LISTENS, 2, 1)
        assert json.loads(json.dumps(health.as_json()))["selected"] == 1


async def test_a_server_that_closes_is_not_ready_from_then_on() -> None:
    async with server_end(**{**QUIET, "linger": 5}) as (server, listener):
        # Its peer does not close, so it takes all of linger.
        peer = await listener.raw()
        await peer.select()
        await trio.sleep(50)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.aclose)
            await trio.sleep(2)
            health = server.health()
            assert (health.is_ready, health.since_seconds) == (False, 2)
        await trio.sleep(10)
        health = server.health()
        assert (health.is_ready, health.since_seconds) == (False, 15)
        assert health.why == CLOSES
        assert health.name == health.peer == "memory"
