"""A chart that breaks its own rules ends its link aloud, and nothing else.

The charts are proved not to do this, so each test breaks one: it does not take an event, or asks
for an effect that cannot be done.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import (
    ClosedError,
    ConnectionLostError,
    DefectError,
    HsmsConnection,
    Message,
    events,
)
from hsms_engine.protocol import lifecycle
from hsms_engine.protocol.engine import Engine
from statecharts import Effect, Machine, Router, Step
from statecharts.hsms.vocabulary import CloseGate, CloseTcp, OpenGate
from tests.support.leaks import leak_check, no_task_left
from tests.support.pair import Switchboard, active_end, link_end, passive_end, server_end
from tests.support.raw_peer import RawPeer, data, linktest_req, separate_req
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

BOTH_ENDS = pytest.mark.parametrize("end", [active_end, passive_end], ids=["active", "passive"])
S1F1 = Message(1, 1, wait=True)


def spoil(engine: Engine, event: str, *effects: Effect) -> None:
    """From now on the connection chart asks for these effects on ``event``; without effects, it
    does not take it."""
    life = engine._life
    machines = dict(life.router.machines)
    chart = machines[life._connection].chart
    faulty = machines[chart.id] = Machine(chart, **machines[chart.id].parameters)
    for snapshot in faulty.reachable():
        snapshot.moves[event] = Step(snapshot, effects, ()) if effects else None
    life.router = Router(life.router.system, machines)
    parts = zip(machines.values(), life.snapshot.parts, strict=True)
    life.snapshot = life.router.snapshot(
        tuple(machine.snapshot(part.states, part.values) for machine, part in parts)
    )


DEFECT = (
    "tool:5000: it has closed itself, because its charts failed in "
    "<connection_active=connecting, breaker=breaker_closed, linktest=unwatched, "
    "receiver=between_frames, transmitter=drained> on connect_timeout_expired: connection_active "
    "does not take 'connect_timeout_expired' in connecting; it takes "
    "disable_requested, close_requested, permit_offered, permit_withdrawn, tcp_opened, tcp_failed; "
    "this is a defect of hsms_engine: please report it"
)

FAULTS = pytest.mark.parametrize(
    ("effects", "words"),
    [
        ((), "does not take 'linktest_req_received'"),
        ((CloseGate(), CloseGate()), "CloseGate() needs the gate open"),
        ((CloseGate(), CloseTcp(), CloseTcp()), "CloseTcp() needs TCP open"),
        ((OpenGate(),), "OpenGate() needs the gate closed"),
    ],
    ids=["not taken", "closes twice", "closes TCP twice", "impossible"],
)


async def provoke(peer: RawPeer) -> None:
    """What the faulty chart cannot answer."""
    await peer.send(linktest_req(1))


@BOTH_ENDS
@FAULTS
async def test_a_defect_ends_its_connection_and_every_call_says_so(
    end: Any, effects: tuple[Effect, ...], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with end() as (connection, peer):
        spoil(connection._engine, "linktest_req_received", *effects)
        lost = pytest.RaisesExc(ConnectionLostError, match="hsms_engine: please report it")
        with pytest.RaisesGroup(lost):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.request, S1F1)
                await peer.frame()
                await provoke(peer)
        await peer.end()
        for call in (connection.linktest, connection.deselect, connection.__anext__):
            with pytest.raises(DefectError) as caught:
                await call()
            assert words in str(caught.value)
            assert words in str(caught.value.__cause__)
    assert [record.levelname for record in caplog.records if words in record.message] == ["ERROR"]


@FAULTS
async def test_a_defect_closes_a_link_for_good_and_leaves_its_program_running(
    effects: tuple[Effect, ...], words: str
) -> None:
    board = Switchboard()
    async with link_end(board, t5=1) as link:
        told = link.events()
        peer = await board.peer()
        await peer.select_by_answering()
        await link.wait_selected()
        spoil(link._engine, "linktest_req_received", *effects)
        await provoke(peer)
        await peer.end()
        await trio.sleep(100)
        for call in (link.wait_selected, link.connect, lambda: link.request(S1F1)):
            with pytest.raises(DefectError):
                await call()
        for change in (link.enable, link.disable, lambda: link.configure(t3=1)):
            with pytest.raises(ClosedError, match="please report"):
                change()
        last = [each async for each in told][-1]
        assert isinstance(last, events.Closed)
        assert words in str(last.error)
        assert link.statistics().open_transactions == 0
    assert board.dialled == 1


async def test_a_defect_while_it_connects_abandons_the_attempt() -> None:
    board = Switchboard()
    board.hang()
    async with link_end(board, connect_timeout=5) as link:
        await wait_all_tasks_blocked()
        spoil(link._engine, "connect_timeout_expired")
        with pytest.raises(DefectError) as caught:
            await link.wait_selected()
        assert str(caught.value) == DEFECT
        await trio.sleep(100)
        assert link.statistics().phase == "closed"


async def test_a_defect_that_new_settings_bring_about_is_told_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, breaker_threshold=3, t5=10) as link:
        await trio.sleep(15)
        spoil(link._engine, "permit_withdrawn")
        router = link._engine._life.router
        monkeypatch.setattr(lifecycle, "router_for", lambda *_, **__: router)
        router.machines["breaker"] = Machine(router.machines["breaker"].chart, threshold=2)
        link.configure(breaker_threshold=2)
        with pytest.raises(DefectError, match="parameters_changed"):
            await link.connect()


async def test_a_defect_of_one_connection_frees_its_session_and_ends_no_other() -> None:
    served: list[HsmsConnection] = []

    async def handler(connection: HsmsConnection) -> None:
        served.append(connection)
        async for primary in connection:
            await connection.reply(primary, Message(1, 2))

    async with server_end(handler, max_sessions=2) as (server, listener):
        peers = [await listener.raw() for _ in range(2)]
        for peer in peers:
            await peer.select()
        spoil(served[0]._engine, "linktest_req_received")
        await provoke(peers[0])
        await peers[0].end()
        await wait_all_tasks_blocked()
        assert server.failed_handlers == 1
        await peers[1].send(data(1, 1, 5, wait=True))
        assert (await peers[1].frame()).system == 5
        newcomer = await listener.raw()
        await newcomer.select()
        await peers[1].send(separate_req(9))
        await newcomer.send(separate_req(9))
