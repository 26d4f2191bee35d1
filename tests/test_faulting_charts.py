"""A chart that raises: what leaves its link, what is told, and what is saved after it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import DefectError, HsmsConnection, Message, events
from hsms_engine.protocol.engine import Engine
from statecharts import ChartFaultError, Machine, Router, Step
from tests.support.engines import End, selected
from tests.support.pair import Switchboard, failing, link_end, server_end
from tests.support.raw_peer import LINKTEST_REQ, linktest_req, select_req, select_rsp
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]


class Faulty(Machine):
    event = ""

    def _move(self, snapshot: Any, event: str) -> Step | None:
        if event == self.event:
            raise ChartFaultError(f"spoilt {event}")
        return super()._move(snapshot, event)


def spoil(engine: Engine, chart: str, event: str) -> None:
    life = engine._life
    machines = dict(life.router.machines)
    faulty = machines[chart] = Faulty(machines[chart].chart, **machines[chart].parameters)
    faulty.event = event
    life.router = Router(life.router.system, machines)
    parts = zip(machines.values(), life.snapshot.parts, strict=True)
    life.snapshot = life.router.snapshot(
        tuple(machine.snapshot(part.states, part.values) for machine, part in parts)
    )


@pytest.mark.parametrize("event", ["tcp_opened", "tcp_failed"])
async def test_a_fault_of_a_dial_does_not_end_the_program(event: str) -> None:
    board = Switchboard()
    board.hang()
    if event == "tcp_failed":
        board.refuse()
    async with link_end(board) as link:
        await wait_all_tasks_blocked()
        spoil(link._engine, "connection_active", event)
        board.answers.set()
        with pytest.raises(DefectError):
            await link.wait_selected()


@pytest.mark.parametrize(
    "call", ["enable", "disable", "isolate", "release", "reset_breaker", "save", "close"]
)
async def test_a_fault_of_a_call_is_a_defect_error(call: str) -> None:
    board = Switchboard()
    board.hang()
    chart = "breaker" if call in ("isolate", "release", "reset_breaker") else "connection_active"
    name = {"reset_breaker": "reset", "save": "disable"}.get(call, call)
    async with link_end(board) as link:
        await wait_all_tasks_blocked()
        spoil(link._engine, chart, f"{name}_requested")
        with suppress(DefectError):
            if call == "close":
                await link.aclose()
            else:
                getattr(link, call)()
        if call != "save":
            with pytest.raises(DefectError):
                await link.wait_selected()


async def test_a_defect_in_a_piece_of_several_frames_is_told_once() -> None:
    board = Switchboard()
    async with link_end(board) as link:
        told = link.events()
        peer = await board.peer()
        await peer.select_by_answering()
        await link.wait_selected()
        spoil(link._engine, "linktest", "traffic_seen")
        await peer.send(linktest_req(1), linktest_req(2))
        await wait_all_tasks_blocked()
        closed = [each async for each in told if isinstance(each, events.Closed)]
        assert len(closed) == 1
        assert "spoilt traffic_seen" in str(link._engine._life.defect)


async def test_what_is_saved_after_a_defect_keeps_an_open_breaker() -> None:
    board = Switchboard()
    board.refuse()
    changes: dict[str, Any] = {"t5": 1, "breaker_threshold": 1, "breaker_open_time": 600}
    async with link_end(board, **changes) as link:
        await trio.sleep(3)
        before = link.save()
        spoil(link._engine, "linktest", "watch_began")
        link._engine._life.tell("watch_began")
        after = link.save()
    assert after["breaker"] == before["breaker"]
    assert after["open_age"] == before["open_age"]


async def test_a_driver_that_fails_ends_its_own_connection_and_no_other() -> None:
    """The step of the holder is recorded in a task of the holder."""

    async def handler(connection: HsmsConnection) -> None:
        def record(step: Any) -> None:
            if any(hop.chart == "second_host" for hop in step.hops):
                raise ValueError("the driver of the holder")

        failing(connection, record)
        async for _ in connection:
            pass

    async with server_end(handler, linktest_interval=None) as (server, listener):
        holder = await listener.raw("holder:1")
        await holder.select()
        second = await listener.raw("second:1")
        await second.send(select_req(1))
        assert (await second.frame()).byte3 == 3
        await wait_all_tasks_blocked()
        assert "holder:1" not in [each.peer for each in server.connections]


async def test_a_control_request_that_waits_gets_the_defect() -> None:
    board = Switchboard()
    async with link_end(board) as link:
        peer = await board.peer()
        await peer.select_by_answering()
        await link.wait_selected()
        with pytest.RaisesGroup(DefectError):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.linktest)
                await peer.control(LINKTEST_REQ)
                spoil(link._engine, "linktest", "traffic_seen")
                await peer.send(linktest_req(1))


async def test_a_defect_while_no_tcp_is_open_is_told() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, t5=10) as link:
        await trio.sleep(1)
        spoil(link._engine, "connection_active", "t5_expired")
        with pytest.raises(DefectError, match="spoilt t5_expired"):
            await link.wait_selected()
        assert trio.current_time() >= 10


@pytest.mark.parametrize("event", ["write_caught_up", "write_drained"])
def test_nothing_is_told_to_charts_that_have_failed(event: str) -> None:
    end = End()
    end.engine.enable()
    end.engine.tcp_opened()
    end.out()
    end.engine.receive(select_rsp(end.last))
    end.is_read = False
    for _ in range(2):
        end.engine.send(Message(6, 11, body=bytes(100)))
        end.out()
    spoil(end.engine, "transmitter", event)
    while not end.engine.is_closed:
        end.engine.wrote(114)
    assert f"spoilt {event}" in str(end.engine.unusable())


def test_nothing_is_told_of_a_frame_that_begins_behind_one_whose_end_is_a_defect() -> None:
    end = selected()
    frame = linktest_req(7)
    end.engine.receive(frame[:5])
    spoil(end.engine, "receiver", "frame_completed")
    end.engine.receive(frame[5:] + frame[:5])
    assert "spoilt frame_completed" in str(end.engine.unusable())
