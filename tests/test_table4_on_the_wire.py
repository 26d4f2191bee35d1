"""What is answered in which state (E37), byte for byte, by both ends, to a peer made of bytes.

``ping`` at the end of a test proves two things at once: the link stayed, and nothing was sent that
the test did not expect.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import (
    AbortedError,
    ConnectError,
    ConnectionLostError,
    HsmsConnection,
    LinkDownError,
    Message,
    RejectedError,
    RemoteProtocolError,
    SelectRefusedError,
    events,
)
from hsms_engine.secs2 import DecodeError
from tests.support.leaks import leak_check, no_task_left
from tests.support.pair import (
    Switchboard,
    active_end,
    first,
    link_end,
    passive_end,
    server_end,
)
from tests.support.raw_peer import (
    CONTROL,
    DESELECT_REQ,
    DESELECT_RSP,
    LINKTEST_REQ,
    LINKTEST_RSP,
    REJECT_REQ,
    SELECT_REQ,
    SELECT_RSP,
    SEPARATE_REQ,
    Got,
    RawPeer,
    data,
    deselect_req,
    deselect_rsp,
    linktest_req,
    linktest_rsp,
    raw,
    reject_req,
    select_req,
    select_rsp,
    separate_req,
)
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

# Longer than anything a test does, so that no timer takes part that the test is not about.
QUIET: dict[str, Any] = {"linktest_interval": None}
BOTH_ENDS = pytest.mark.parametrize("role", ["active", "passive"])
# An odd value with all four bytes different, so that a byte swapped or lost is seen.
SYSTEM = 0x01F2A3C4


def selected(role: str) -> AbstractAsyncContextManager[tuple[HsmsConnection, RawPeer]]:
    return active_end(**QUIET) if role == "active" else passive_end(**QUIET)


@asynccontextmanager
async def not_selected(role: str) -> AsyncIterator[RawPeer]:
    """A peer whose engine has TCP and no session; the Select.req of an active one is read."""
    if role == "active":
        board = Switchboard()
        async with link_end(board, t6=240, t7=240, **QUIET):
            peer = await board.peer()
            await peer.control(SELECT_REQ)
            yield peer
    else:
        async with server_end(t7=240, **QUIET) as (_, listener):
            yield await listener.raw()


# Select


@pytest.mark.clause("select-req/ns", "frame/session", "frame/echo")
async def test_a_select_req_to_a_listening_end_is_answered_with_0() -> None:
    async with not_selected("passive") as peer:
        await peer.send(select_req(SYSTEM))
        await peer.expect(bytes.fromhex("0000000a ffff 00 00 00 02 01f2a3c4"))
        await peer.ping()


@pytest.mark.clause("tcp/opened")
async def test_a_dialling_end_sends_a_select_req_and_nothing_more() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET):
        peer = await board.peer()
        got = await peer.frame()
        assert got == Got(CONTROL, 0, 0, 0, SELECT_REQ, got.system, b"")
        await peer.ping()


@pytest.mark.clause("select-req/s")
@BOTH_ENDS
async def test_a_select_req_while_selected_is_answered_with_1_and_the_link_stays(role: str) -> None:
    async with selected(role) as (connection, peer):
        await peer.send(select_req(SYSTEM))
        await peer.expect(bytes.fromhex("0000000a ffff 00 01 00 02 01f2a3c4"))
        assert connection.is_selected
        await peer.ping()


@pytest.mark.clause("select-req/crossing", "select-rsp/crossed")
async def test_a_simultaneous_select_is_answered_with_0_by_both_ends() -> None:
    """Two dialling engines, joined back to back: each gets the other's Select.req."""
    left, right = Switchboard(), Switchboard()
    async with link_end(left, **QUIET) as one, link_end(right, seed=2, **QUIET) as other:
        at_one, at_other = await left.peer(), await right.peer()
        ones, others = await at_one.control(SELECT_REQ), await at_other.control(SELECT_REQ)
        await at_one.send(select_req(others))
        await at_other.send(select_req(ones))
        await at_one.expect(select_rsp(others, 0))
        await at_other.expect(select_rsp(ones, 0))
        assert one.is_selected
        assert other.is_selected
        await at_one.send(select_rsp(ones, 0))
        await at_other.send(select_rsp(others, 0))
        await at_one.ping()
        await at_other.ping()
        assert one.statistics().state == other.statistics().state == "communicating"
        assert one.statistics().times_selected == 1


@pytest.mark.clause("select-req/crossing", "select-rsp/crossed")
async def test_a_simultaneous_select_works_when_both_ends_use_the_same_system_bytes() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        peer = await board.peer()
        system = await peer.control(SELECT_REQ)
        await peer.send(select_req(system), select_rsp(system))
        await peer.expect(select_rsp(system))
        await peer.ping()
        assert link.statistics().state == "communicating"


@pytest.mark.clause("select-rsp/crossed")
async def test_select_rsp_1_is_selected_when_the_peers_own_select_was_accepted() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        peer = await board.peer()
        system = await peer.control(SELECT_REQ)
        await peer.send(select_req(SYSTEM))
        await peer.expect(select_rsp(SYSTEM))
        await peer.send(select_rsp(system, 1))
        await peer.ping()
        assert link.is_selected
        assert link.statistics().state == "communicating"


@pytest.mark.clause("select-rsp/failed")
async def test_select_rsp_1_without_a_select_of_the_peer_fails_at_once() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        peer = await board.peer()
        system = await peer.control(SELECT_REQ)
        began = trio.current_time()
        await peer.send(select_rsp(system, 1))
        with pytest.raises(SelectRefusedError, match=r"status 1 \(already active\)") as caught:
            await link.connect()
        assert caught.value.status == 1
        await peer.end()
        assert trio.current_time() == began


@pytest.mark.clause("select-rsp/failed")
@pytest.mark.parametrize("status", [2, 3, 4, 5, 6, 7, 255])
async def test_a_refused_select_closes_at_once_and_the_error_has_the_status(status: int) -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        peer = await board.peer()
        system = await peer.control(SELECT_REQ)
        began = trio.current_time()
        await peer.send(select_rsp(system, status))
        with pytest.raises(SelectRefusedError, match=f"status {status}") as caught:
            await link.connect()
        assert (caught.value.status, caught.value.phase) == (status, "select")
        assert "tool:5000" in str(caught.value)
        await peer.end()
        assert trio.current_time() == began


@pytest.mark.clause("select-rsp/disagreed")
async def test_a_refused_select_after_the_peers_own_select_was_accepted_closes() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        peer = await board.peer()
        system = await peer.control(SELECT_REQ)
        await peer.send(select_req(SYSTEM))
        await peer.expect(select_rsp(SYSTEM))
        await peer.send(select_rsp(system, 2))
        await peer.end()
        assert not link.is_selected


@pytest.mark.clause("response/unawaited")
async def test_a_select_rsp_with_wrong_system_bytes_does_not_select() -> None:
    async with not_selected("active") as peer:
        await peer.send(select_rsp(SYSTEM))
        await peer.expect(reject_req(SYSTEM, SELECT_RSP, 3))
        await peer.ping()


@pytest.mark.clause("select-rsp/failed")
async def test_a_reject_of_our_select_req_is_a_failed_select() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        peer = await board.peer()
        system = await peer.control(SELECT_REQ)
        await peer.send(reject_req(system, SELECT_REQ, 1))
        with pytest.raises(ConnectError, match=r"rejected Select\.req, reason 1") as caught:
            await link.connect()
        assert caught.value.phase == "select"
        await peer.end()


@pytest.mark.clause("select-reject/unawaited")
async def test_a_reject_of_a_select_req_that_was_answered_is_counted_and_no_more() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        peer = await board.peer()
        system = await peer.control(SELECT_REQ)
        await peer.send(select_rsp(system), reject_req(system, SELECT_REQ, 1))
        await peer.ping()
        assert link.is_selected
        assert link.statistics().counts["reject_unknown"] == 1


# Data


@pytest.mark.clause("data/ns")
@BOTH_ENDS
async def test_data_while_not_selected_is_rejected_with_4_and_the_link_stays(role: str) -> None:
    async with not_selected(role) as peer:
        await peer.send(data(1, 1, SYSTEM, wait=True, body=b"\x01\x00"))
        await peer.expect(bytes.fromhex("0000000a ffff 00 04 00 07 01f2a3c4"))
        await peer.send(data(1, 2, SYSTEM))
        await peer.expect(reject_req(SYSTEM, 0, 4))
        await peer.ping()


@pytest.mark.clause("select-rsp/accepted", "order/behind-select", "data/primary")
async def test_data_right_behind_the_select_rsp_is_delivered() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        peer = await board.peer()
        system = await peer.control(SELECT_REQ)
        await peer.send(select_rsp(system), data(6, 11, SYSTEM, body=b"\xa5\x01\x07"))
        primary = await anext(aiter(link))
        assert (primary.name, primary.body) == ("S6F11", b"\xa5\x01\x07")
        await peer.ping()


@pytest.mark.clause("order/before-answer", "order/behind-select")
async def test_data_right_behind_the_select_req_is_delivered() -> None:
    received: list[Message] = []

    async def handler(connection: HsmsConnection) -> None:
        received.append(await anext(connection))

    async with server_end(handler, **QUIET) as (_, listener):
        peer = await listener.raw()
        await peer.send(select_req(SYSTEM), data(6, 11, 5, body=b"\x01\x00"))
        await peer.expect(select_rsp(SYSTEM))
        await peer.control(SEPARATE_REQ)
        assert [message.name for message in received] == ["S6F11"]


@pytest.mark.clause("order/before-end")
@BOTH_ENDS
async def test_everything_before_a_separate_in_the_same_segment_is_handled(role: str) -> None:
    async with selected(role) as (connection, peer):
        await peer.send(data(5, 1, 1), data(5, 3, 2), separate_req(3), data(5, 5, 4))
        await peer.end()
        assert [primary.name async for primary in connection] == ["S5F1", "S5F3"]
        assert connection.statistics().counts["frames_after_the_end"] == 1


async def test_a_session_that_begins_and_ends_in_one_segment_loses_no_primary() -> None:
    received: list[Message] = []

    async def handler(connection: HsmsConnection) -> None:
        received.extend([primary async for primary in connection])

    async with server_end(handler, **QUIET) as (_, listener):
        peer = await listener.raw()
        await peer.send(select_req(SYSTEM), data(6, 11, 5), separate_req(6))
        await peer.end()
        await wait_all_tasks_blocked()
        assert [message.name for message in received] == ["S6F11"]


@pytest.mark.clause("data/unexpected")
@BOTH_ENDS
async def test_a_secondary_nobody_waits_for_is_handed_to_the_user(role: str) -> None:
    async with selected(role) as (connection, peer):
        reader = connection.events()
        await peer.send(data(1, 2, SYSTEM, body=b"\x01\x00"))
        event = await first(reader, events.UnexpectedSecondary)
        assert (event.message.name, event.message.system_bytes) == ("S1F2", SYSTEM)
        assert connection.statistics().counts["unexpected_secondaries"] == 1
        await peer.ping()


@pytest.mark.clause("data/other-function")
@BOTH_ENDS
@pytest.mark.parametrize(("stream", "function"), [(2, 2), (1, 4), (127, 254)])
async def test_a_secondary_of_another_stream_or_function_is_not_the_reply(
    role: str, stream: int, function: int
) -> None:
    async with selected(role) as (connection, peer), trio.open_nursery() as nursery:
        replies: list[Message] = []

        async def ask() -> None:
            replies.append(await connection.request(Message(1, 1, wait=True)))

        nursery.start_soon(ask)
        system = (await peer.frame()).system
        await peer.send(data(stream, function, system, body=b"\x01\x00"))
        await peer.ping()
        assert replies == []
        assert connection.statistics().open_transactions == 1
        await peer.send(data(1, 2, system))
        await peer.ping()
        assert [reply.name for reply in replies] == ["S1F2"]
        assert connection.statistics().counts["unexpected_secondaries"] == 1


@pytest.mark.clause("data/w-bit")
@BOTH_ENDS
@pytest.mark.parametrize("tolerated", [True, False])
async def test_a_secondary_with_the_w_bit_is_the_reply_only_if_that_is_tolerated(
    role: str, tolerated: bool
) -> None:
    end = active_end if role == "active" else passive_end
    async with (
        end(tolerate_w_in_reply=tolerated, **QUIET) as (connection, peer),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(connection.request, Message(1, 1, wait=True))
        system = (await peer.frame()).system
        await peer.send(data(1, 2, system, wait=True))
        await peer.ping()
        assert connection.statistics().open_transactions == (0 if tolerated else 1)
        await peer.send(data(1, 2, system))
        await peer.ping()
        assert connection.statistics().open_transactions == 0
        assert connection.statistics().counts["unexpected_secondaries"] == 1


@pytest.mark.clause("data/primary")
@BOTH_ENDS
async def test_a_primary_with_the_system_bytes_of_an_open_request_is_a_primary(role: str) -> None:
    async with selected(role) as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(connection.request, Message(1, 1, wait=True))
        system = (await peer.frame()).system
        await peer.send(data(1, 1, system, wait=True))
        primary = await anext(connection)
        assert primary.name == "S1F1"
        assert connection.statistics().open_transactions == 1
        await connection.reply(primary, Message(1, 2, body=b"\x01\x00"))
        await peer.expect(data(1, 2, system, body=b"\x01\x00"))
        await peer.send(data(1, 2, system))


@pytest.mark.clause("data/abort")
@BOTH_ENDS
async def test_sxf0_aborts_the_transaction_and_the_link_stays(role: str) -> None:
    async with selected(role) as (connection, peer), trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(AbortedError, match="aborted S2F41 with S2F0"):
                await connection.request(Message(2, 41, wait=True))

        nursery.start_soon(ask)
        await peer.send(data(2, 0, (await peer.frame()).system))
        await peer.ping()


@pytest.mark.clause("data/rejected")
@BOTH_ENDS
async def test_a_reject_of_an_open_request_fails_it_with_the_reason(role: str) -> None:
    async with selected(role) as (connection, peer), trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(RejectedError, match=r"reason 4 \(entity not selected\)") as caught:
                await connection.request(Message(1, 1, wait=True))
            assert caught.value.reason == 4

        nursery.start_soon(ask)
        await peer.send(reject_req((await peer.frame()).system, 0, 4))
        await peer.ping()


@pytest.mark.clause("reject/unknown")
@BOTH_ENDS
async def test_a_reject_of_nothing_we_know_is_dropped_and_counted(role: str) -> None:
    async with selected(role) as (connection, peer):
        await peer.send(reject_req(SYSTEM, 0, 1), reject_req(SYSTEM, 5, 3, session=0))
        await peer.ping()
        assert connection.statistics().counts["reject_unknown"] == 2


@pytest.mark.clause("reject/unknown")
@BOTH_ENDS
async def test_a_reject_is_never_answered_with_a_reject(role: str) -> None:
    async with not_selected(role) as peer:
        await peer.send(reject_req(SYSTEM, 0, 1))
        await peer.send(raw(REJECT_REQ, SYSTEM, byte2=0, byte3=1, body=b"\x01\x00"))
        await peer.ping()


@pytest.mark.clause("data/session")
@BOTH_ENDS
async def test_data_with_a_foreign_session_id_is_dropped_and_counted_by_a_host(role: str) -> None:
    async with selected(role) as (connection, peer):
        await peer.send(data(1, 1, SYSTEM, wait=True, session=7))
        await peer.ping()
        statistics = connection.statistics()
        assert statistics.waiting_primaries == 0
        assert statistics.counts["foreign_session_id"] == 1


@pytest.mark.clause("data/session")
async def test_an_equipment_answers_a_foreign_session_id_with_s9f1() -> None:
    async with passive_end(session_id=3, is_equipment=True, **QUIET) as (connection, peer):
        foreign = data(1, 1, SYSTEM, wait=True, session=7, body=b"\x01\x00")
        await peer.send(foreign)
        got = await peer.frame()
        assert (got.session, got.byte2, got.byte3, got.ptype, got.stype) == (3, 9, 1, 0, 0)
        assert got.body == b"\x21\x0a" + foreign[4:14]
        # An S9F1 about an S9F1 would be answered for ever by another such equipment.
        await peer.send(data(9, 1, SYSTEM, session=7))
        await peer.ping()
        assert connection.statistics().counts["foreign_session_id"] == 2


@pytest.mark.clause("data/session")
@BOTH_ENDS
async def test_the_session_id_is_not_looked_at_when_the_check_is_off(role: str) -> None:
    end = active_end if role == "active" else passive_end
    async with end(check_session_id=False, **QUIET) as (connection, peer):
        await peer.send(data(1, 1, SYSTEM, session=0x1234))
        assert (await anext(connection)).session_id == 0x1234


@pytest.mark.clause("data/unreadable")
@BOTH_ENDS
@pytest.mark.parametrize("is_equipment", [False, True], ids=["host", "equipment"])
async def test_a_body_that_is_no_secs_is_counted_and_an_equipment_answers_it_with_s9f7(
    role: str, is_equipment: bool
) -> None:
    end = active_end if role == "active" else passive_end
    async with end(is_equipment=is_equipment, **QUIET) as (connection, peer):
        bad = data(1, 3, SYSTEM, wait=True, body=b"\xff\xff\xff")
        await peer.send(bad)
        primary = await anext(connection)
        with pytest.raises(DecodeError):
            primary.sml()
        if is_equipment:
            got = await peer.frame()
            assert (got.session, got.byte2, got.byte3, got.ptype, got.stype) == (0, 9, 7, 0, 0)
            assert got.body == b"\x21\x0a" + bad[4:14]
        await peer.ping()
        assert connection.statistics().counts["unreadable_bodies"] == 1
        assert connection.is_selected


# Linktest


@pytest.mark.clause("linktest-req/any")
@BOTH_ENDS
async def test_a_linktest_is_answered_in_every_state(role: str) -> None:
    async with not_selected(role) as peer:
        await peer.send(linktest_req(SYSTEM))
        await peer.expect(bytes.fromhex("0000000a ffff 00 00 00 06 01f2a3c4"))
    async with selected(role) as (_, peer):
        await peer.send(linktest_req(SYSTEM))
        await peer.expect(bytes.fromhex("0000000a ffff 00 00 00 06 01f2a3c4"))


# Deselect and Separate


@pytest.mark.clause("deselect-req/ns")
@BOTH_ENDS
async def test_a_deselect_while_not_selected_is_answered_with_1(role: str) -> None:
    async with not_selected(role) as peer:
        await peer.send(deselect_req(SYSTEM))
        await peer.expect(bytes.fromhex("0000000a ffff 00 01 00 04 01f2a3c4"))
        await peer.ping()


@pytest.mark.clause("deselect-req/s")
@BOTH_ENDS
async def test_a_deselect_is_answered_with_0_and_the_session_can_be_selected_again(
    role: str,
) -> None:
    async with selected(role) as (connection, peer):
        await peer.send(deselect_req(SYSTEM), data(1, 1, 9, wait=True))
        await peer.expect(
            bytes.fromhex("0000000a ffff 00 00 00 04 01f2a3c4"),
            reject_req(9, 0, 4),
        )
        assert not connection.is_selected
        assert connection.phase == "not selected"
        await peer.select()
        assert connection.is_selected


@pytest.mark.clause("deselect-req/crossing", "deselect-rsp/crossed")
@BOTH_ENDS
async def test_crossing_deselects_are_both_answered_with_0(role: str) -> None:
    async with selected(role) as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(connection.deselect)
        system = await peer.control(DESELECT_REQ)
        await peer.send(deselect_req(SYSTEM), deselect_rsp(system))
        await peer.expect(deselect_rsp(SYSTEM))
        await peer.ping()
        assert connection.statistics().state == "unselected"
        await peer.select()


@pytest.mark.clause("deselect-req/unanswered")
async def test_a_deselect_before_our_select_is_answered_leaves_our_select_waiting() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        peer = await board.peer()
        system = await peer.control(SELECT_REQ)
        await peer.send(select_req(SYSTEM), deselect_req(SYSTEM + 1))
        await peer.expect(select_rsp(SYSTEM), deselect_rsp(SYSTEM + 1))
        assert not link.is_selected
        await peer.send(select_rsp(system))
        await peer.ping()
        assert link.is_selected


@pytest.mark.clause("deselect/asked", "deselect-rsp/ended")
@BOTH_ENDS
@pytest.mark.parametrize("status", [0, 1])
async def test_our_deselect_ends_the_session_and_keeps_tcp(role: str, status: int) -> None:
    async with selected(role) as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(connection.deselect)
        await peer.send(deselect_rsp(await peer.control(DESELECT_REQ), status))
        await peer.ping()
        assert connection.phase == "not selected"


@pytest.mark.clause("separate-req/ns")
@BOTH_ENDS
async def test_a_separate_while_not_selected_is_ignored_and_counted(role: str) -> None:
    async with not_selected(role) as peer:
        await peer.send(separate_req(SYSTEM))
        await peer.ping()


@pytest.mark.clause("separate-req/s")
@BOTH_ENDS
async def test_a_separate_closes_without_an_answer(role: str) -> None:
    async with selected(role) as (connection, peer):
        began = trio.current_time()
        await peer.send(separate_req(SYSTEM))
        await peer.end()
        assert trio.current_time() == began
        assert [primary async for primary in connection] == []
        with pytest.raises(ConnectionLostError, match="the peer separated"):
            await connection.request(Message(1, 1, wait=True))


# Responses nobody waits for


@pytest.mark.clause("response/unawaited")
@BOTH_ENDS
@pytest.mark.parametrize("stype", [SELECT_RSP, DESELECT_RSP, LINKTEST_RSP])
@pytest.mark.parametrize("status", [0, 1, 255])
async def test_a_response_nobody_waits_for_is_rejected_with_3(
    role: str, stype: int, status: int
) -> None:
    unexpected = raw(stype, SYSTEM, byte3=status)
    answer = bytes.fromhex(f"0000000a ffff {stype:02x} 03 00 07 01f2a3c4")
    async with not_selected(role) as peer:
        await peer.send(unexpected)
        await peer.expect(answer)
        await peer.ping()
    async with selected(role) as (connection, peer):
        await peer.send(unexpected)
        await peer.expect(answer)
        await peer.ping()
        assert connection.is_selected


@pytest.mark.clause("select-rsp/unawaited")
async def test_a_second_select_rsp_is_one_nobody_waits_for() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET):
        peer = await board.peer()
        system = await peer.control(SELECT_REQ)
        for status in (0, 1, 3):
            await peer.send(select_rsp(system, status))
        await peer.expect(reject_req(system, SELECT_RSP, 3), reject_req(system, SELECT_RSP, 3))
        await peer.ping()


@pytest.mark.clause("linktest-rsp/unawaited")
@BOTH_ENDS
async def test_a_second_linktest_rsp_is_one_nobody_waits_for(role: str) -> None:
    async with selected(role) as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(connection.linktest)
        system = await peer.control(LINKTEST_REQ)
        await peer.send(linktest_rsp(system), linktest_rsp(system))
        await peer.expect(reject_req(system, LINKTEST_RSP, 3))
        await peer.ping()


@pytest.mark.clause("deselect-rsp/unawaited")
@BOTH_ENDS
async def test_a_second_deselect_rsp_is_one_nobody_waits_for(role: str) -> None:
    async with selected(role) as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(connection.deselect)
        system = await peer.control(DESELECT_REQ)
        await peer.send(deselect_rsp(system), deselect_rsp(system))
        await peer.expect(reject_req(system, DESELECT_RSP, 3))
        await peer.ping()


@pytest.mark.clause("deselect-reject/unawaited", "linktest-reject/unawaited")
@BOTH_ENDS
async def test_a_reject_of_what_was_answered_is_counted_and_no_more(role: str) -> None:
    async with selected(role) as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(connection.linktest)
        system = await peer.control(LINKTEST_REQ)
        await peer.send(linktest_rsp(system), reject_req(system, LINKTEST_REQ, 1))
        await peer.ping()
        assert connection.is_selected
        nursery.start_soon(connection.deselect)
        system = await peer.control(DESELECT_REQ)
        await peer.send(deselect_rsp(system), reject_req(system, DESELECT_REQ, 1))
        await peer.ping()
        assert connection.statistics().counts["reject_unknown"] == 2


# Headers


@pytest.mark.clause("header/stype", "frame/rejected")
@BOTH_ENDS
@pytest.mark.parametrize("stype", [8, 10, 11, 127, 128, 254, 255])
async def test_an_undefined_stype_is_rejected_with_1(role: str, stype: int) -> None:
    answer = bytes.fromhex(f"0000000a ffff {stype:02x} 01 00 07 01f2a3c4")
    async with not_selected(role) as peer:
        await peer.send(raw(stype, SYSTEM))
        await peer.expect(answer)
        await peer.ping()
    async with selected(role) as (_, peer):
        await peer.send(raw(stype, SYSTEM))
        await peer.expect(answer)
        await peer.ping()


@pytest.mark.clause("header/ptype", "frame/rejected")
@BOTH_ENDS
@pytest.mark.parametrize("ptype", [1, 127, 255])
@pytest.mark.parametrize("stype", [0, 1, 5, 8, 9, 255])
async def test_another_ptype_is_rejected_with_2_before_the_stype_is_looked_at(
    role: str, ptype: int, stype: int
) -> None:
    answer = bytes.fromhex(f"0000000a ffff {ptype:02x} 02 00 07 01f2a3c4")
    async with not_selected(role) as peer:
        await peer.send(raw(stype, SYSTEM, ptype=ptype, body=b"body"))
        await peer.expect(answer)
        await peer.ping()
    async with selected(role) as (_, peer):
        await peer.send(raw(stype, SYSTEM, ptype=ptype, body=b"body"))
        await peer.expect(answer)
        await peer.ping()


@pytest.mark.clause("header/body")
@BOTH_ENDS
@pytest.mark.parametrize("stype", [1, 2, 3, 4, 5, 6, 9])
async def test_a_control_frame_with_a_body_is_rejected_with_1(role: str, stype: int) -> None:
    answer = bytes.fromhex(f"0000000a ffff {stype:02x} 01 00 07 01f2a3c4")
    async with not_selected(role) as peer:
        await peer.send(raw(stype, SYSTEM, body=b"\x00"))
        await peer.expect(answer)
        await peer.ping()
    async with selected(role) as (connection, peer):
        await peer.send(raw(stype, SYSTEM, body=b"\x00"))
        await peer.expect(answer)
        await peer.ping()
        assert connection.is_selected


@pytest.mark.clause("frame/length")
@BOTH_ENDS
@pytest.mark.parametrize("length", [0, 1, 9])
async def test_a_length_below_10_closes_at_once(role: str, length: int) -> None:
    async with selected(role) as (connection, peer):
        began = trio.current_time()
        await peer.send(raw(LINKTEST_REQ, SYSTEM, length=length))
        await peer.end()
        assert trio.current_time() == began
        words = rf"length {length} .* is not in 10\.\.17000000: the peer may not speak HSMS"
        with pytest.raises(RemoteProtocolError, match=words):
            await anext(connection)
    async with not_selected(role) as peer:
        await peer.send(length.to_bytes(4, "big"))
        await peer.end()


@pytest.mark.clause("frame/length")
@BOTH_ENDS
async def test_a_length_above_max_frame_closes_at_once_on_its_four_bytes(role: str) -> None:
    async with selected(role) as (connection, peer):
        began = trio.current_time()
        await peer.send(data(5, 1, 1), b"    ")
        await peer.end()
        assert trio.current_time() == began
        assert (await anext(connection)).name == "S5F1"
        with pytest.raises(RemoteProtocolError, match=r"length 538976288 \(b'    '\)"):
            await anext(connection)
    async with not_selected(role) as peer:
        await peer.send(b"\x01\x00\x00\x01")
        await peer.end()


async def test_the_longest_allowed_frame_is_taken_and_one_byte_more_is_not() -> None:
    async with passive_end(max_frame=1000, **QUIET) as (connection, peer):
        await peer.send(data(7, 3, SYSTEM, body=bytes(990)))
        assert len((await anext(connection)).body) == 990
        await peer.send(data(7, 3, SYSTEM, body=bytes(991)))
        await peer.end()


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x00", b"\xff" * 100, b"\x00\x00\x00"],
    ids=["http", "zeros", "ones", "cut in the length"],
)
async def test_garbage_is_no_end_of_the_listener(garbage: bytes) -> None:
    async with server_end(**QUIET) as (server, listener):
        good = await listener.raw()
        await good.select()
        for _ in range(3):
            bad = await listener.raw()
            await bad.send(garbage)
            await bad.close()
        await good.ping()
        await good.send(separate_req(1))
        await good.end()
        await wait_all_tasks_blocked()
        again = await listener.raw()
        await again.select()
        assert server.accepted == 5


# A second connection


@pytest.mark.clause("select-req/competing")
async def test_a_second_connections_select_is_answered_with_3_and_closed() -> None:
    async with passive_end(**QUIET) as (first, peer), _second(first) as second:
        await second.ping()
        await second.send(select_req(SYSTEM))
        await second.expect(bytes.fromhex("0000000a ffff 00 03 00 02 01f2a3c4"))
        await second.end()
        await peer.ping()
        assert first.is_selected
        assert first.statistics().times_selected == 1


@asynccontextmanager
async def _second(first: HsmsConnection) -> AsyncIterator[RawPeer]:
    """Another connection to the same entity as ``first``."""
    entity = first._engine._entity
    assert entity is not None
    async with server_end(**QUIET) as (server, listener):
        server.entity = entity
        yield await listener.raw()


async def test_a_session_is_free_again_when_its_connection_has_ended() -> None:
    async with server_end(**QUIET) as (_, listener):
        for ending in (separate_req(1), b"    ", None, deselect_req(2)):
            peer = await listener.raw()
            await peer.select()
            refused = await listener.raw()
            await refused.send(select_req(SYSTEM))
            await refused.expect(select_rsp(SYSTEM, 3))
            await refused.end()
            if ending is None:
                await peer.close()
            else:
                await peer.send(ending)
            await wait_all_tasks_blocked()
        third = await listener.raw()
        await third.select()


async def test_several_sessions_may_be_selected_where_the_settings_say_so() -> None:
    async with server_end(max_sessions=2, **QUIET) as (_, listener):
        one, two, three = await listener.raw(), await listener.raw(), await listener.raw()
        await one.select()
        await two.select()
        await three.send(select_req(SYSTEM))
        await three.expect(select_rsp(SYSTEM, 3))
        await three.end()
        for peer in (one, two):
            await peer.send(linktest_rsp(await peer.control(LINKTEST_REQ)))
            await peer.ping()


# The end of TCP


@pytest.mark.clause("tcp/lost-s", "data/lost")
@BOTH_ENDS
async def test_the_end_of_tcp_fails_every_open_request_now(role: str) -> None:
    async with selected(role) as (connection, peer), trio.open_nursery() as nursery:
        failed: list[str] = []

        async def ask() -> None:
            with pytest.raises(ConnectionLostError, match="S1F1 got no reply") as caught:
                await connection.request(Message(1, 1, wait=True))
            failed.append(str(caught.value))

        for _ in range(10):
            nursery.start_soon(ask)
        for _ in range(10):
            await peer.frame()
        began = trio.current_time()
        await peer.close()
        await wait_all_tasks_blocked()
        assert len(failed) == 10
        assert trio.current_time() == began
        with pytest.raises(ConnectionLostError, match="the peer closed TCP"):
            await anext(connection)


@BOTH_ENDS
@pytest.mark.parametrize("cut", [1, 3, 4, 10, 13])
async def test_the_end_of_tcp_inside_a_frame_is_the_end_and_no_more(role: str, cut: int) -> None:
    async with selected(role) as (connection, peer):
        await peer.send(linktest_req(SYSTEM)[:cut])
        await peer.close()
        with pytest.raises(ConnectionLostError):
            await anext(connection)


@pytest.mark.clause("tcp/lost-ns")
async def test_the_end_of_tcp_while_selecting_is_a_failed_select() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        peer = await board.peer()
        began = trio.current_time()

        async def connect() -> None:
            with pytest.raises(ConnectError, match="during select") as caught:
                await link.connect()
            assert caught.value.phase == "select"
            assert trio.current_time() == began

        async with trio.open_nursery() as nursery:
            nursery.start_soon(connect)
            await wait_all_tasks_blocked()
            await peer.close()


@pytest.mark.clause("close/s", "leaving/frame", "order/separate-last")
async def test_nothing_but_the_separate_is_answered_after_a_close() -> None:
    board = Switchboard()
    async with link_end(board, linger=5, **QUIET) as link, trio.open_nursery() as nursery:
        peer = await board.peer()
        await peer.select_by_answering()
        await link.wait_selected()
        nursery.start_soon(link.aclose)
        await peer.control(SEPARATE_REQ)
        for stype in range(12):
            await peer.send(raw(stype, SYSTEM))
        await peer.settle()
        await peer.end()
        await peer.close()
        await peer.settle()
        counts = link.statistics().counts
        assert counts["dropped_while_leaving"] == 12


@pytest.mark.clause("order/no-session")
async def test_a_link_that_is_not_selected_sends_no_data() -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        peer = await board.peer()
        await peer.control(SELECT_REQ)
        with pytest.raises(LinkDownError):
            await link.request(Message(1, 1, wait=True))
        with pytest.raises(LinkDownError):
            await link.send(Message(1, 1))
        await peer.ping()
