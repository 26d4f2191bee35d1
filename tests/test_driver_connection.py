"""One dialled connection and one accepted one: coming up, being cancelled, ending, and counting."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import (
    lockstep_stream_pair,
    memory_stream_pair,
    wait_all_tasks_blocked,
)

from hsms_engine import (
    ClosedError,
    ConnectError,
    ConnectionLostError,
    LocalProtocolError,
    Message,
    RejectedError,
    ReplyTimeoutError,
    SelectRefusedError,
    SettingsError,
    TransactionError,
    events,
    open_hsms,
)
from tests.support.leaks import leak_check, no_task_left
from tests.support.pair import Switchboard, active_end, echo, first, passive_end, server_end
from tests.support.raw_peer import (
    DESELECT_REQ,
    SELECT_REQ,
    SEPARATE_REQ,
    RawPeer,
    data,
    deselect_rsp,
    linktest_req,
    reject_req,
    select_rsp,
    separate_req,
)
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

QUIET: dict[str, Any] = {"linktest_interval": None}
BOTH_ENDS = pytest.mark.parametrize("end", [active_end, passive_end], ids=["active", "passive"])
S1F1 = Message(1, 1, wait=True)


def now() -> float:
    return trio.current_time()


async def dial_and_leave(board: Switchboard, **changes: Any) -> None:
    async with open_hsms("tool", 5000, dial=board.dial, **changes, **QUIET):
        pass


# Coming up


async def test_a_refused_connect_raises_bare_and_after_one_attempt() -> None:
    board = Switchboard()
    board.refuse("Connection refused")
    with pytest.raises(ConnectError, match=r"tool:5000: .*during TCP connect.*refused") as caught:
        await dial_and_leave(board)
    assert caught.value.phase == "tcp connect"
    assert board.dialled == 1
    assert now() == 0


async def test_a_refused_select_raises_bare_with_the_status() -> None:
    board = Switchboard()
    async with trio.open_nursery() as nursery:

        async def refuse() -> None:
            peer = await board.peer()
            await peer.send(select_rsp(await peer.control(SELECT_REQ), 2))

        nursery.start_soon(refuse)
        with pytest.raises(SelectRefusedError, match=r"status 2 \(not ready\)") as caught:
            await dial_and_leave(board)
        assert caught.value.status == 2


async def test_a_bad_setting_is_refused_before_anything_is_dialled() -> None:
    board = Switchboard()
    with pytest.raises(SettingsError, match="t3=0"):
        await dial_and_leave(board, t3=0)
    with pytest.raises(SettingsError, match="unknown setting timeout"):
        await dial_and_leave(board, timeout=3)
    assert board.dialled == 0


@pytest.mark.parametrize("host", ["a" * 70, "..", "\udc80", "é" * 80])
async def test_a_host_that_is_no_name_is_a_failed_attempt(host: str) -> None:
    async def connect() -> None:
        async with open_hsms(host, 5000):
            pass

    with pytest.raises((ConnectError, SettingsError)):
        await connect()


async def test_a_session_that_ends_in_the_segment_it_began_in_still_gives_its_primaries() -> None:
    board = Switchboard()
    async with trio.open_nursery() as nursery:

        async def come_and_go() -> None:
            peer = await board.peer()
            system = await peer.control(SELECT_REQ)
            await peer.send(select_rsp(system), data(6, 11, 1), separate_req(2))

        nursery.start_soon(come_and_go)
        async with open_hsms("tool", 5000, dial=board.dial, **QUIET) as connection:
            assert [primary.name async for primary in connection] == ["S6F11"]
            with pytest.raises(ConnectionLostError, match="the peer separated"):
                await connection.request(S1F1)


@pytest.mark.parametrize("during", ["tcp connect", "select"])
async def test_cancelling_while_it_comes_up_is_immediate(during: str) -> None:
    board = Switchboard()
    if during == "tcp connect":
        board.hang()
    with trio.move_on_after(2) as scope:
        await dial_and_leave(board)
    assert scope.cancelled_caught
    assert now() == 2
    if during == "select":
        peer = await board.peer()
        await peer.control(SELECT_REQ)
        await peer.end()


async def test_a_connection_is_never_dialled_again() -> None:
    async with active_end(t5=1, **QUIET) as (connection, peer):
        await peer.close()
        await trio.sleep(1_000)
        assert connection.statistics().attempts == 1
        assert connection.phase == "closed"


@pytest.mark.parametrize("pair", [memory_stream_pair, lockstep_stream_pair])
async def test_any_stream_will_do(pair: Any) -> None:
    ours, theirs = pair()
    peer = RawPeer(theirs)

    async def dial() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return ours  # type: ignore[no-any-return]  # a pair of streams of either kind

    async def answer() -> None:
        await peer.select_by_answering()
        got = await peer.frame()
        await peer.send(data(1, 2, got.system, body=b"\x01\x00"))
        await peer.control(SEPARATE_REQ)
        await peer.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        async with open_hsms("tool", 5000, dial=dial, **QUIET) as connection:
            assert (await connection.request(S1F1)).body == b"\x01\x00"


# Ending


async def test_leaving_the_block_separates() -> None:
    async with active_end(**QUIET) as (connection, peer):
        del connection
    got = await peer.frame()
    assert (got.stype, got.session) == (SEPARATE_REQ, 0xFFFF)
    await peer.end()


async def test_an_exception_of_the_block_comes_out_bare_and_separates() -> None:
    board = Switchboard()
    peers: list[RawPeer] = []

    async def fail() -> None:
        async with open_hsms("tool", 5000, dial=board.dial, **QUIET):
            raise KeyError("mine")

    async with trio.open_nursery() as nursery:

        async def answer() -> None:
            peers.append(await board.peer())
            await peers[0].select_by_answering()

        nursery.start_soon(answer)
        with pytest.raises(KeyError, match="mine"):
            await fail()
    await peers[0].control(SEPARATE_REQ)


@BOTH_ENDS
async def test_after_close_every_call_raises_the_closed_error(end: Any) -> None:
    async with end(**QUIET) as (connection, peer):
        await peer.send(data(1, 1, 1, wait=True))
        primary = await anext(connection)
        await connection.aclose()
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: connection.request(S1F1),
            lambda: connection.send(Message(1, 1)),
            lambda: connection.reply(primary, Message(1, 2)),
            connection.linktest,
            connection.deselect,
            connection.__anext__,
        ]
        for call in calls:
            with pytest.raises(ClosedError, match="closed by a call, or because"):
                await call()
        await connection.aclose()
        assert connection.phase == "closed"


@BOTH_ENDS
async def test_after_a_loss_every_call_says_why(end: Any) -> None:
    async with end(**QUIET) as (connection, peer):
        await peer.send(data(1, 1, 1, wait=True))
        primary = await anext(connection)
        await peer.close()
        await wait_all_tasks_blocked()
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: connection.request(S1F1),
            lambda: connection.send(Message(1, 1)),
            lambda: connection.reply(primary, Message(1, 2)),
            connection.linktest,
            connection.deselect,
            connection.__anext__,
        ]
        for call in calls:
            with pytest.raises(ConnectionLostError, match="closed TCP") as caught:
                await call()
            assert caught.value.reason == "the peer closed TCP"


@BOTH_ENDS
async def test_a_connection_shows_its_peer_and_its_phase(end: Any) -> None:
    async with end(**QUIET) as (connection, _):
        assert repr(connection) == f"<HsmsConnection {connection.peer} selected>"


@BOTH_ENDS
async def test_closing_from_ten_tasks_at_once_is_fine(end: Any) -> None:
    async with end(linger=0.5, **QUIET) as (connection, peer):
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(connection.aclose)
        await peer.control(SEPARATE_REQ)
        await peer.end()
        assert now() == 0.5


# Deselect and select by hand


async def test_deselected_it_can_be_selected_again_by_hand() -> None:
    async with active_end(**QUIET) as (connection, peer), trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(connection.deselect)
            await peer.send(deselect_rsp(await peer.control(DESELECT_REQ)))
            await peer.ping()
            with pytest.raises(
                LocalProtocolError,
                match="the connection is not selected; messages are sent only",
            ):
                await connection.send(Message(1, 1))
            nursery.start_soon(connection.select)
            await peer.send(select_rsp(await peer.control(SELECT_REQ)))
            await peer.ping()
            assert connection.is_selected


@pytest.mark.clause("deselect-rsp/refused")
@BOTH_ENDS
async def test_a_deselect_that_is_refused_leaves_the_session(end: Any) -> None:
    async with end(**QUIET) as (connection, peer), trio.open_nursery() as nursery:

        async def busy() -> None:
            with pytest.raises(TransactionError, match=r"status 2; still selected"):
                await connection.deselect()

        async def rejected() -> None:
            with pytest.raises(RejectedError, match=r"rejected Deselect\.req, reason 1"):
                await connection.deselect()

        nursery.start_soon(busy)
        await peer.send(deselect_rsp(await peer.control(DESELECT_REQ), 2))
        await peer.ping()
        nursery.start_soon(rejected)
        await peer.send(reject_req(await peer.control(DESELECT_REQ), DESELECT_REQ, 1))
        await peer.ping()
        assert connection.is_selected


@BOTH_ENDS
async def test_control_calls_in_the_wrong_state_send_nothing(end: Any) -> None:
    async with end(**QUIET) as (connection, peer), trio.open_nursery() as nursery:
        with pytest.raises(LocalProtocolError, match="select"):
            await connection.select()
        await peer.ping()
        nursery.start_soon(connection.deselect)
        system = await peer.control(DESELECT_REQ)
        with pytest.raises(
            LocalProtocolError, match=r"deselect is not possible while selected \(deselecting\)"
        ):
            await connection.deselect()
        await peer.send(deselect_rsp(system))
        await peer.ping()
        for call in (connection.deselect, connection.linktest):
            with pytest.raises(LocalProtocolError, match="the connection is not selected"):
                await call()
        await peer.ping()


@BOTH_ENDS
async def test_bytes_that_come_in_the_turn_a_connection_ends_in_are_nobodys(end: Any) -> None:
    async with end(**QUIET) as (connection, peer):
        await wait_all_tasks_blocked()
        frames = connection.statistics().counts["frames_received"]
        transport = connection._driver._transport
        assert transport is not None
        # From here to the end of the session nothing else runs.
        stream: Any = transport._stream
        stream.receive_stream.put_data(linktest_req(1))
        connection._engine.tcp_closed()
        connection._driver.turn()
        await wait_all_tasks_blocked()
        assert connection.statistics().counts["frames_received"] == frames
        await peer.end()


@BOTH_ENDS
async def test_settings_can_be_changed_at_either_end(end: Any) -> None:
    async with end(t3=45, **QUIET) as (connection, peer):
        connection._engine.configure(connection.settings.replace(t3=5))
        with pytest.raises(ReplyTimeoutError, match="T3 = 5 s"):
            await connection.request(S1F1)
        assert now() == 5
        await peer.frame()


# Nothing is lost silently


@BOTH_ENDS
async def test_the_picture_of_a_moment_has_state_and_queues(end: Any) -> None:
    async with end(**QUIET) as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(connection.request, S1F1)
        system = (await peer.frame()).system
        statistics = connection.statistics()
        assert (statistics.phase, statistics.epoch) == ("selected", 1)
        assert (statistics.open_transactions, statistics.queued_bytes) == (1, 0)
        assert (statistics.times_selected, statistics.failed_attempts) == (1, 0)
        await peer.send(data(1, 2, system))
        await peer.ping()
        assert connection.statistics().open_transactions == 0


async def test_an_unexpected_secondary_nobody_reads_about_is_counted_and_not_kept() -> None:
    async with active_end(**QUIET) as (connection, peer):
        for number in range(300):
            await peer.send(data(1, 2, number, body=bytes(10_000)))
        await peer.ping()
        assert connection.statistics().counts["unexpected_secondaries"] == 300
        reader = connection.events()
        await peer.send(data(1, 2, 999))
        assert (await first(reader, events.UnexpectedSecondary)).message.name == "S1F2"


async def test_an_engine_serves_an_engine() -> None:
    async with (
        server_end(echo, **QUIET) as (server, listener),
        open_hsms("t", 1, dial=listener.dial, random=Random(3), **QUIET) as connection,
    ):
        for number in range(20):
            body = bytes([0xA5, 1, number])
            reply = await connection.request(Message(2, 25, wait=True, body=body))
            assert reply.body == body
        await connection.linktest()
        assert server.connections[0].statistics().counts["messages_received"] == 20
