"""Inputs that break the change for slow, hostile and late peers."""

from __future__ import annotations

import pytest
import trio

from hsms_engine import ConnectionLostError, Message, open_hsms
from hsms_engine.driver.tcp import listen_tcp
from tests.support.engines import selected, serving
from tests.support.pair import active_end, server_end
from tests.support.raw_peer import (
    RawPeer,
    data,
    deselect_req,
    linktest_req,
    linktest_rsp,
    separate_req,
)
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]

S1F1 = Message(1, 1, wait=True)


def burst(count: int, size: int = 0) -> bytes:
    return b"".join(data(6, 11, number, body=bytes(size)) for number in range(1, count + 1))


# Judged while the reader is slow because of our own program


async def test_a_slow_program_that_reads_keeps_the_link_with_linktests() -> None:
    """A peer that answers each linktest, 1000 events in hand, one taken each half second."""
    async with active_end(inbox_size=100) as (connection, peer), trio.open_nursery() as nursery:

        async def answer() -> None:
            while True:
                await peer.send(linktest_rsp((await peer.frame()).system))

        await peer.send(burst(1_000))
        nursery.start_soon(answer)
        for _ in range(1_000):
            await anext(connection)
            await trio.sleep(0.5)
        nursery.cancel_scope.cancel()


async def test_a_long_frame_behind_others_arrives_though_the_reader_rests() -> None:
    """A piece that completes no frame needs no room; its frame deadline must not count rests."""
    async with active_end(inbox_bytes=1_000_000, t6=40, linktest_interval=None) as (
        connection,
        peer,
    ):
        await peer.send(burst(25, size=18_000), data(7, 3, 9, body=bytes(900_000)))
        for _ in range(26):
            await anext(connection)
            await trio.sleep(9)


async def test_two_primaries_in_one_piece_wait_for_their_turn_in_a_small_inbox() -> None:
    """The inbox is bounded in bytes; the program reads at once."""
    async with active_end(inbox_bytes=1_000, linktest_interval=None) as (connection, peer):
        await peer.send(burst(40, size=600))
        for _ in range(40):
            await anext(connection)


# What waits in our own outbox


def test_t3_looks_for_progress_over_its_own_time_not_since_somebody_asked() -> None:
    """Two requests behind bytes that a slow line takes; their T3 are 1 ms apart."""
    end = selected(t3=2)
    end.engine.send(Message(7, 3, body=bytes(1_000_000)))
    end.out()
    one = end.engine.request(S1F1)
    end.out()
    end.now = 0.001
    two = end.engine.request(S1F1)
    end.out()
    end.engine.acknowledged(1_000_028)
    end.now = 2.0
    end.engine.acknowledged(800_000)
    end.at(2.0)
    # 1 ms later nothing new is acknowledged, which says nothing.
    end.now = 2.001
    end.engine.acknowledged(800_000)
    end.at(2.001)
    assert (one.is_settled, two.is_settled) == (False, False)


def test_t6_looks_for_progress_over_its_own_time_not_since_somebody_asked() -> None:
    end = selected(t6=5)
    end.engine.send(Message(7, 3, body=bytes(1_000_000)))
    end.out()
    transaction = end.linktest()
    end.engine.acknowledged(1_000_028)
    # As a call of the program does, e.g. a linktest() that joins.
    end.now = 4.999
    end.engine.acknowledged(800_000)
    end.now = 5.0
    end.engine.acknowledged(800_000)
    end.at(5.0)
    assert not transaction.is_settled
    assert end.engine.is_selected


def test_close_after_the_peer_has_deselected_loses_no_message_in_silence() -> None:
    end = selected()
    end.is_read = False
    end.engine.send(Message(7, 3, body=bytes(1_000_000)))
    end.out()
    end.take(deselect_req(7))
    assert end.engine.phase == "not selected"
    end.engine.close()
    end.out()
    # Either it is still being written, or the caller of ``aclose`` hears of it.
    assert not end.engine.is_closed or end.engine.unsent is not None


# Who gives way


async def test_headers_alone_count_when_a_server_looks_for_who_holds_most() -> None:
    async with server_end(max_sessions=2, server_inbox_bytes=20_000, linktest_interval=None) as (
        server,
        listener,
    ):
        flooder, honest = await listener.raw(), await listener.raw()
        await flooder.select()
        await honest.select()
        await flooder.send(burst(100))
        await trio.testing.wait_all_tasks_blocked()
        assert server.waiting_bytes == 20_000
        await honest.send(data(6, 11, 1, body=b"x"))
        await trio.testing.wait_all_tasks_blocked()
        held = [each.statistics().waiting_primaries for each in server.connections]
        assert held == [1], "the one with 100 waiting primaries gives way, not the one with none"


# Whoever is late reads first


@pytest.mark.parametrize("sends", [1, 2, 3])
async def test_a_write_error_does_not_hide_what_the_peer_said_before_it_closed(sends: int) -> None:
    """Reply and Separate.req lie in our socket when a write meets the closed connection."""
    listener = await listen_tcp("127.0.0.1", 0)
    outcomes: list[object] = []
    async with trio.open_nursery() as nursery:
        peers: list[RawPeer] = []

        async def serve() -> None:
            stream, _ = await listener.accept()
            peers.append(RawPeer(stream))
            await peers[0].select_by_answering()

        nursery.start_soon(serve)
        async with open_hsms("127.0.0.1", listener.port, linktest_interval=None) as connection:

            async def ask() -> None:
                try:
                    outcomes.append(await connection.request(S1F1))
                except ConnectionLostError as error:
                    outcomes.append(error)

            nursery.start_soon(ask)
            system = (await peers[0].frame()).system
            stream = peers[0].stream
            both = data(1, 2, system) + separate_req(9)
            assert stream.send_nowait(both) == len(both)  # type: ignore[attr-defined]
            stream.close()  # type: ignore[attr-defined]
            # The program is late: it sends before the reader has had its turn.
            for _ in range(sends):
                connection._engine.send(Message(6, 11))
                connection._driver.turn()
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert outcomes == [Message(1, 2)]
            assert connection._engine.session_ended_by == "separate_req_received"
    listener.close()


# Bounds that change under the peer


def test_a_deselect_does_not_overdraw_what_was_allowed_while_selected() -> None:
    """1170 answers wait behind a long message that the peer takes; then it deselects."""
    end = serving()
    end.is_read = False
    end.engine.send(Message(7, 3, body=bytes(100_000)))
    end.out()
    end.take(*[linktest_req(number) for number in range(1_200)])
    end.engine.wrote(50_000)
    assert end.engine.is_selected
    end.take(deselect_req(5))
    assert end.engine.phase == "not selected"
