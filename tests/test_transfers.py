"""How far long messages are, as a connection and a link say it, at every moment of their way."""

from __future__ import annotations

import trio

from hsms_engine import Message, Transfers
from tests.support.leaks import leak_check, no_task_left
from tests.support.pair import Switchboard, active_end, link_end
from tests.support.raw_peer import data
from tests.test_driver_streams import QUIET, fragile

__all__ = ["leak_check", "no_task_left"]

LONG = Message(7, 3, body=bytes(4_000_000))
LENGTH = 14 + len(LONG.body)
FRAME = data(1, 13, 1, body=bytes(1_000))


async def test_a_frame_that_comes_in_pieces_is_told_from_its_length_field_to_its_last_byte() -> (
    None
):
    async with active_end() as (connection, peer):
        assert connection.transfers() == Transfers()
        numbers = []
        for _ in range(2):
            for cut in (1, 3, 4, 13, 14, 15, 600, 1_013):
                start = {1: 0, 3: 1, 4: 3, 13: 4, 14: 13, 15: 14, 600: 15, 1_013: 600}[cut]
                await peer.send(FRAME[start:cut])
                await peer.settle()
                receiving = connection.transfers().receiving
                if cut < 4:
                    assert receiving is None
                else:
                    assert receiving is not None
                    assert receiving[1:] == (cut, 1_014)
                    numbers.append(receiving.number)
            await peer.send(FRAME[1_013:])
            await peer.settle()
            assert connection.transfers() == Transfers()
        # Each frame has its own, all the way.
        assert len(set(numbers)) == 2
        assert numbers == sorted(numbers)


async def test_a_frame_whose_body_is_dropped_comes_all_the_same() -> None:
    board = Switchboard()
    async with link_end(board) as link:
        peer = await board.peer()
        # It is not selected, so no body is kept.
        await peer.send(FRAME[:500])
        await peer.settle()
        receiving = link.transfers().receiving
        assert receiving is not None
        assert receiving[1:] == (500, 1_014)


async def test_what_waits_for_the_peer_is_told_until_it_has_taken_all() -> None:
    async with fragile(outbox_size=10_000_000, **QUIET) as (connection, _, peer):
        assert connection.transfers() == Transfers()
        await connection.send(LONG)
        sending = connection.transfers().sending
        assert sending.total == LENGTH
        assert 0 < sending.done < LENGTH
        await connection.send(Message(1, 1))
        more = connection.transfers().sending
        assert more == (sending.number, more.done, LENGTH + 14)
        before = more.done
        while (now := connection.transfers().sending) is not None:
            assert now.number == sending.number
            assert before <= now.done < now.total == LENGTH + 14
            before = now.done
            await peer.stream.receive_some(100_000)
            await trio.lowlevel.checkpoint()
        await connection.send(LONG)
        again = connection.transfers().sending
        assert again.total == LENGTH
        assert again.number > sending.number
        while connection.transfers().sending is not None:
            await peer.stream.receive_some(100_000)
            await trio.lowlevel.checkpoint()


async def test_messages_that_are_taken_at_once_are_no_transfer() -> None:
    async with active_end() as (connection, peer):
        for _ in range(3):
            await connection.send(LONG)
            await peer.settle()
            assert connection.transfers() == Transfers()


async def test_with_the_connection_its_transfers_are_over() -> None:
    board = Switchboard()
    async with link_end(board) as link:
        assert link.transfers() == Transfers()
        peer = await board.peer()
        await peer.select_by_answering()
        await link.wait_selected()
        await peer.send(FRAME[:500])
        await peer.settle()
        assert link.transfers().receiving is not None
        await peer.close()
        await peer.settle()
        assert link.transfers() == Transfers()
    assert link.transfers() == Transfers()
