"""Data transactions: each ends once, by whatever ends it first, and none disturbs another."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import (
    AbortedError,
    ConnectionLostError,
    HsmsConnection,
    LocalProtocolError,
    Message,
    Primary,
    RejectedError,
    ReplyTimeoutError,
    TransactionError,
    open_hsms,
)
from hsms_engine.protocol.transactions import SYSTEM_BYTES, Transaction, Transactions
from tests.support.leaks import leak_check, no_task_left
from tests.support.pair import (
    Switchboard,
    active_end,
    echo,
    link_end,
    passive_end,
    server_end,
)
from tests.support.raw_peer import data, reject_req
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

QUIET: dict[str, Any] = {"linktest_interval": None}
BOTH_ENDS = pytest.mark.parametrize("end", [active_end, passive_end], ids=["active", "passive"])
S1F1 = Message(1, 1, wait=True)


# Bytes


@BOTH_ENDS
async def test_a_request_is_the_primary_with_w_and_its_reply_comes_back(end: Any) -> None:
    async with end(session_id=0x1234, **QUIET) as (connection, peer):
        replies: list[Message] = []

        async def ask() -> None:
            replies.append(await connection.request(Message(1, 1, wait=True, body=b"\x41\x01A")))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            got = await peer.frame()
            assert (got.session, got.byte2, got.byte3) == (0x1234, 0x81, 1)
            assert (got.ptype, got.stype, got.body) == (0, 0, b"\x41\x01A")
            await peer.send(data(1, 2, got.system, session=0x1234, body=b"\x01\x00"))
        reply = replies[0]
        assert (reply.name, reply.body, reply.wait) == ("S1F2", b"\x01\x00", False)
        assert (reply.system_bytes, reply.session_id) == (got.system, 0x1234)


@BOTH_ENDS
async def test_a_message_without_w_opens_no_transaction(end: Any) -> None:
    async with end(**QUIET) as (connection, peer):
        await connection.send(Message(6, 11, body=b"\x01\x00"))
        got = await peer.frame()
        assert (got.byte2, got.byte3, got.body) == (6, 11, b"\x01\x00")
        assert connection.statistics().open_transactions == 0


@BOTH_ENDS
async def test_a_reply_echoes_the_system_bytes_of_its_primary(end: Any) -> None:
    async with end(session_id=7, **QUIET) as (connection, peer):
        await peer.send(data(2, 41, 0xFFFF_FFFE, wait=True, session=7))
        primary = await anext(connection)
        await connection.reply(primary, Message(2, 42, body=b"\x21\x01\x00"))
        await peer.expect(data(2, 42, 0xFFFF_FFFE, session=7, body=b"\x21\x01\x00"))


# 100 open at once, and both ways


@BOTH_ENDS
async def test_100_requests_open_at_once_are_answered_in_reverse_order(end: Any) -> None:
    got: list[tuple[int, bytes]] = []
    async with end(**QUIET) as (connection, peer), trio.open_nursery() as nursery:

        async def ask(number: int) -> None:
            body = number.to_bytes(2, "big")
            reply = await connection.request(Message(2, 25, wait=True, body=body))
            got.append((number, reply.body))

        for number in range(100):
            nursery.start_soon(ask, number)
        asked = [await peer.frame() for _ in range(100)]
        assert len({each.system for each in asked}) == 100
        assert connection.statistics().open_transactions == 100
        await peer.send(*(data(2, 26, each.system, body=each.body) for each in reversed(asked)))
    assert sorted(number for number, _ in got) == list(range(100))
    assert all(body == number.to_bytes(2, "big") for number, body in got)


async def test_events_arrive_while_requests_are_open() -> None:
    async with active_end(**QUIET) as (connection, peer), trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(connection.request, S1F1)
        systems = [(await peer.frame()).system for _ in range(3)]
        # The equipment counts from the same number: the system bytes are those of open requests.
        for number, system in enumerate(systems):
            stream, function = ((5, 1), (6, 11), (6, 1))[number]
            await peer.send(data(stream, function, system, wait=True, body=b"\x01\x00"))
        for name in ("S5F1", "S6F11", "S6F1"):
            primary = await anext(connection)
            assert primary.name == name
            await connection.reply(primary, Message(primary.stream, primary.function + 1))
        assert [(await peer.frame()).system for _ in range(3)] == systems
        assert connection.statistics().open_transactions == 3
        await peer.send(*(data(1, 2, system) for system in systems))


@BOTH_ENDS
async def test_a_request_inside_a_handler_works(end: Any) -> None:
    async with end(**QUIET) as (connection, peer), trio.open_nursery() as nursery:

        async def handle() -> None:
            primary = await anext(connection)
            reply = await connection.request(S1F1)
            await connection.reply(primary, Message(6, 12, body=reply.body))

        nursery.start_soon(handle)
        await peer.send(data(6, 11, 77, wait=True))
        await peer.send(data(1, 2, (await peer.frame()).system, body=b"\x01\x00"))
        await peer.expect(data(6, 12, 77, body=b"\x01\x00"))


async def test_two_engines_with_the_same_first_system_bytes_talk_both_ways() -> None:
    """Both count from the same number, so primaries and replies of both carry it."""

    async def ask_back(connection: HsmsConnection) -> None:
        async for primary in connection:
            asked = await connection.request(Message(1, 1, wait=True, body=primary.body))
            await connection.reply(primary, Message(6, 12, body=asked.body))

    async with server_end(ask_back, **QUIET) as (server, listener):
        del server
        async with open_hsms("t", 1, dial=listener.dial, random=Random(2), **QUIET) as connection:

            async def answer() -> None:
                async for primary in connection:
                    await connection.reply(primary, Message(1, 2, body=primary.body))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(answer)
                for number in range(50):
                    body = bytes([0x21, 1, number])
                    reply = await connection.request(Message(6, 11, wait=True, body=body))
                    assert reply.body == body
                nursery.cancel_scope.cancel()


@pytest.mark.parametrize("size", [0, 10_000, 1_000_000, 10_000_000])
async def test_bodies_of_any_size_come_back_byte_for_byte(size: int) -> None:
    body = Random(size).randbytes(size)
    async with (
        server_end(echo, **QUIET) as (_, listener),
        open_hsms("t", 1, dial=listener.dial, random=Random(1), **QUIET) as connection,
    ):
        reply = await connection.request(Message(2, 25, wait=True, body=body))
        assert reply.body == body


# Ends


@BOTH_ENDS
async def test_cancelling_a_request_sends_nothing_and_leaves_the_others(end: Any) -> None:
    async with end(**QUIET) as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(connection.request, S1F1)
        kept = (await peer.frame()).system
        with trio.move_on_after(1) as scope:
            await connection.request(Message(1, 3, wait=True))
        assert scope.cancelled_caught
        cancelled = (await peer.frame()).system
        await peer.ping()
        assert connection.statistics().open_transactions == 1
        await peer.send(data(1, 4, cancelled), data(1, 2, kept))
        await peer.ping()
        assert connection.statistics().counts["unexpected_secondaries"] == 1
        assert connection.statistics().counts["replies_timed_out"] == 0


@BOTH_ENDS
async def test_a_request_in_a_scope_that_is_cancelled_already_is_never_sent(end: Any) -> None:
    async with end(**QUIET) as (connection, peer):
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: connection.request(S1F1),
            lambda: connection.send(Message(1, 1)),
            connection.linktest,
            connection.deselect,
        ]
        for call in calls:
            with trio.CancelScope() as scope:
                scope.cancel()
                await call()
            assert scope.cancelled_caught
        await peer.ping()
        assert connection.statistics().open_transactions == 0


@BOTH_ENDS
async def test_a_sender_that_never_waits_can_be_cancelled(end: Any) -> None:
    async with end(**QUIET) as (connection, peer):
        with trio.move_on_after(5) as scope, trio.CancelScope() as inner:
            for number in range(10_000):
                await connection.send(Message(6, 11))
                if number == 100:
                    inner.cancel()
        assert inner.cancelled_caught
        assert not scope.cancelled_caught
        assert len([await peer.frame() for _ in range(101)]) == 101
        await peer.ping()


@BOTH_ENDS
async def test_a_sender_that_never_waits_lets_others_run(end: Any) -> None:
    async with end(**QUIET) as (connection, peer), trio.open_nursery() as nursery:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        nursery.start_soon(other)
        for _ in range(500):
            await connection.send(Message(6, 11))
        assert turns > 10
        nursery.cancel_scope.cancel()
        del peer


@pytest.mark.clause("order/ends-once")
@BOTH_ENDS
async def test_a_transaction_ends_by_the_first_of_two_ends_in_one_segment(end: Any) -> None:
    async with end(**QUIET) as (connection, peer):
        ends: list[tuple[str, Callable[[int], bytes]]] = [
            ("reply", lambda system: data(1, 2, system)),
            ("abort", lambda system: data(1, 0, system)),
            ("reject", lambda system: reject_req(system, 0, 4)),
        ]
        for first, first_bytes in ends:
            for _, second_bytes in ends:
                outcome: list[str] = []

                async def ask(outcome: list[str] = outcome) -> None:
                    try:
                        outcome.append((await connection.request(S1F1)).name)
                    except AbortedError:
                        outcome.append("abort")
                    except RejectedError:
                        outcome.append("reject")

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ask)
                    system = (await peer.frame()).system
                    await peer.send(first_bytes(system), second_bytes(system))
                assert outcome == ["S1F2" if first == "reply" else first]
        await peer.ping()


async def test_a_reply_in_the_very_instant_of_t3_is_one_or_the_other() -> None:
    async with active_end(t3=10, **QUIET) as (connection, peer):
        for _ in range(20):
            outcome: list[str] = []

            async def ask(outcome: list[str] = outcome) -> None:
                try:
                    outcome.append((await connection.request(S1F1)).name)
                except ReplyTimeoutError:
                    outcome.append("T3")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                system = (await peer.frame()).system
                await trio.sleep(10)
                await peer.send(data(1, 2, system))
            await peer.ping()
            assert len(outcome) == 1


# What is refused before anything is sent


@BOTH_ENDS
async def test_what_hsms_forbids_is_refused_and_nothing_is_sent(end: Any) -> None:
    async with end(**QUIET) as (connection, peer):
        with pytest.raises(LocalProtocolError, match="S1F1 without W: only a primary with W"):
            await connection.request(Message(1, 1))
        with pytest.raises(LocalProtocolError, match="S1F2 is a secondary: only a primary with W"):
            await connection.request(Message(1, 2))
        with pytest.raises(LocalProtocolError, match="S1F1 asks for a reply: use request"):
            await connection.send(S1F1)
        with pytest.raises(LocalProtocolError, match="S1F2 is a secondary: use"):
            await connection.send(Message(1, 2))
        await peer.ping()
        assert connection.is_selected


@BOTH_ENDS
async def test_a_primary_is_answered_once_and_by_its_own_secondary(end: Any) -> None:
    async with end(**QUIET) as (connection, peer):
        await peer.send(data(1, 1, 1, wait=True), data(1, 3, 2), data(1, 255, 3, wait=True))
        primary, without_w, last = [await anext(connection) for _ in range(3)]
        for wrong in ((1, 4), (2, 2), (9, 2), (9, 0), (2, 0), (1, 1)):
            with pytest.raises(LocalProtocolError, match=r"does not answer S1F1: S1F2 or S1F0"):
                await connection.reply(primary, Message(*wrong))
        with pytest.raises(LocalProtocolError, match="S1F3 does not want a reply"):
            await connection.reply(without_w, Message(1, 4))
        with pytest.raises(LocalProtocolError, match="was not received on a connection"):
            await connection.reply(Message(1, 1, wait=True), Message(1, 2))
        await connection.reply(primary, Message(1, 2))
        with pytest.raises(LocalProtocolError, match="S1F1 was answered already"):
            await connection.reply(primary, Message(1, 2))
        await connection.reply(last, Message(1, 0))
        await peer.expect(data(1, 2, 1), data(1, 0, 3))
        await peer.ping()


class Unencodable(Message):
    """A reply whose body cannot be made."""

    @property
    def body(self) -> bytes:
        raise ValueError("no body")


async def test_a_reply_that_cannot_be_encoded_leaves_its_primary_unanswered() -> None:
    async with active_end(**QUIET) as (connection, peer):
        await peer.send(data(1, 1, 1, wait=True))
        primary = await anext(connection)
        with pytest.raises(ValueError, match="no body"):
            await connection.reply(primary, Unencodable(1, 2))
        await connection.reply(primary, Message(1, 2))
        await peer.expect(data(1, 2, 1))
        with pytest.raises(ValueError, match="no body"):
            await connection.request(Unencodable(1, 1, wait=True))
        assert connection.statistics().open_transactions == 0
        await peer.ping()


@pytest.mark.clause("order/no-leftovers")
async def test_a_reply_does_not_reach_a_later_connection() -> None:
    board = Switchboard()
    async with link_end(board, t5=1, **QUIET) as link:
        peer = await board.peer()
        await peer.select_by_answering()
        await link.wait_selected()
        await peer.send(data(1, 1, 1, wait=True))
        primary = await anext(aiter(link))
        await peer.close()
        peer = await board.peer()
        await peer.select_by_answering()
        await link.wait_selected()
        with pytest.raises(ConnectionLostError, match="S1F1 came over connection 1, which is over"):
            await link.reply(primary, Message(1, 2))
        await peer.ping()


# System bytes


@pytest.mark.clause("order/system-bytes")
async def test_system_bytes_are_unique_among_open_ones_after_wrapping_too() -> None:
    table = Transactions(SYSTEM_BYTES - 2)
    numbers = [table.take_system_bytes() for _ in range(4)]
    assert numbers == [SYSTEM_BYTES - 2, SYSTEM_BYTES - 1, 0, 1]
    again = Transactions(SYSTEM_BYTES - 1)
    again.open(Transaction(again.take_system_bytes(), 1, 1, 0, 0, 14, 0))
    again._next = SYSTEM_BYTES - 1
    assert again.take_system_bytes() == 0


async def test_the_first_system_bytes_are_random_and_seeded() -> None:
    async def first_of(seed: int) -> int:
        board = Switchboard()
        async with link_end(board, seed=seed, **QUIET):
            return (await (await board.peer()).frame()).system

    one, again, other = await first_of(1), await first_of(1), await first_of(2)
    assert one == again != other


# Memory


async def test_answered_requests_are_forgotten_while_an_older_one_is_open() -> None:
    async with active_end(t3=120, **QUIET) as (connection, peer), trio.open_nursery() as nursery:

        async def ask_in_vain() -> None:
            with pytest.raises(TransactionError):
                await connection.request(S1F1)

        nursery.start_soon(ask_in_vain)
        await peer.frame()

        async def answer() -> None:
            for _ in range(200):
                await peer.send(data(1, 4, (await peer.frame()).system, body=bytes(10_000)))

        nursery.start_soon(answer)
        for _ in range(200):
            await connection.request(Message(1, 3, wait=True))
        gc.collect()
        kept = [each for each in gc.get_objects() if isinstance(each, Message) and each.body]
        assert len(kept) < 10


async def test_primaries_that_nobody_takes_end_the_connection_with_their_own_error() -> None:
    async with passive_end(inbox_size=10, **QUIET) as (connection, peer):
        await peer.send(*(data(6, 11, number) for number in range(11)))
        await peer.end()
        taken = [await anext(connection) for _ in range(10)]
        assert [primary.system_bytes for primary in taken] == list(range(10))
        with pytest.raises(
            ConnectionLostError, match=r"the inbox is full: 10 primaries of 0 bytes"
        ):
            await anext(connection)
        assert connection.statistics().counts["primaries_without_room"] == 1


@BOTH_ENDS
async def test_a_segment_full_of_small_primaries_reaches_a_program_that_reads(end: Any) -> None:
    async with end(**QUIET) as (connection, peer), trio.open_nursery() as nursery:
        count = 0

        async def read() -> None:
            nonlocal count
            async for _ in connection:
                count += 1

        nursery.start_soon(read)
        for _ in range(10):
            await peer.send(*(data(6, 11, number) for number in range(4_681)))
        await peer.ping()
        await wait_all_tasks_blocked()
        assert count == 46_810
        nursery.cancel_scope.cancel()


async def test_two_tasks_that_read_share_the_primaries() -> None:
    async with active_end(**QUIET) as (connection, peer), trio.open_nursery() as nursery:
        taken: list[Primary] = []

        async def read() -> None:
            while True:
                taken.append(await anext(connection))
                await trio.lowlevel.checkpoint()

        nursery.start_soon(read)
        nursery.start_soon(read)
        for number in range(100):
            await peer.send(data(6, 11, number))
        await wait_all_tasks_blocked()
        assert [primary.system_bytes for primary in taken] == list(range(100))
        nursery.cancel_scope.cancel()


async def test_two_links_in_one_process_do_not_disturb_each_other() -> None:
    one_board, other_board = Switchboard(), Switchboard()
    async with (
        link_end(one_board, **QUIET) as one,
        link_end(other_board, seed=1, **QUIET) as other,
        trio.open_nursery() as nursery,
    ):
        one_peer, other_peer = await one_board.peer(), await other_board.peer()
        await one_peer.select_by_answering()
        await other_peer.select_by_answering()
        await one.wait_selected()
        await other.wait_selected()
        nursery.start_soon(other.request, S1F1)
        system = (await other_peer.frame()).system
        # The first one's peer answers with the very same system bytes, then crashes.
        await one_peer.send(data(1, 2, system))
        await one_peer.ping()
        assert other.statistics().open_transactions == 1
        await one_peer.send(b"    ")
        await one_peer.end()
        assert other.is_selected
        await other_peer.send(data(1, 2, system))
