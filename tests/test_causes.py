"""Behind an error stands the exception that caused it, and nothing else is kept with it."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable

import pytest
import trio

from hsms_engine import (
    ClosedError,
    ConnectError,
    ConnectionLostError,
    HsmsConnection,
    HsmsError,
    HsmsLink,
    LocalProtocolError,
    Message,
    RemoteProtocolError,
    open_hsms,
)
from hsms_engine.events import Waiting
from hsms_engine.messages import S1F1, S1F2
from hsms_engine.wire import FrameLengthError
from tests.support.held import held_by
from tests.support.leaks import leak_check, no_task_left
from tests.support.pair import Switchboard, active_end, first, link_end
from tests.support.raw_peer import RawPeer, data, linktest_req
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

REFUSED = os.strerror(errno.ECONNREFUSED)


async def raised(call: Callable[[], Awaitable[object]]) -> HsmsError:
    with pytest.raises(HsmsError) as caught:
        await call()
    return caught.value


# What never came up


async def test_the_oserror_of_a_dial_of_ones_own_is_the_cause_itself() -> None:
    refusal = OSError("the proxy says no")

    async def dial() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise refusal

    with pytest.raises(ConnectError, match=r"during TCP connect: the proxy says no$") as caught:
        async with open_hsms(dial=dial):
            raise AssertionError
    assert caught.value.__cause__ is refusal


async def test_an_attempt_that_ends_without_an_exception_has_no_cause() -> None:
    board = Switchboard()
    async with link_end(board) as link:
        await (await board.peer()).close()
        waiting = await first(link.events(), Waiting)
    assert isinstance(waiting.error, ConnectError)
    assert waiting.error.phase == "select"
    assert waiting.error.__cause__ is None


# What is over


async def test_a_length_that_cannot_be_is_the_cause_and_keeps_none_of_the_frames() -> None:
    errors: list[HsmsError] = []
    async with active_end() as (connection, peer):

        async def request() -> None:
            errors.append(await raised(lambda: connection.request(S1F1())))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(request)
            await peer.frame()
            # A whole frame before it, in the same piece.
            await peer.send(linktest_req(1), b"HTTP/1.1 400 Bad Request")
        errors.append(await raised(connection.__anext__))
    for error in errors:
        assert isinstance(error, RemoteProtocolError)
        assert isinstance(error.__cause__, FrameLengthError)
        assert (error.__cause__.raw, error.__cause__.frames) == (b"HTTP", ())
        assert held_by(error.__cause__) == []
    assert len(errors) == 2


async def test_a_connection_that_its_peer_ends_has_no_cause() -> None:
    async with active_end() as (connection, peer):
        await peer.close()
        error = await raised(lambda: anext(connection))
    assert isinstance(error, ConnectionLostError)
    assert (error.reason, error.__cause__) == ("the peer closed TCP", None)


# What is done with an error


async def test_each_who_waits_for_the_attempt_gets_its_cause() -> None:
    board = Switchboard()
    board.refuse()
    errors: list[HsmsError] = []
    async with link_end(board) as link, trio.open_nursery() as nursery:

        async def connect() -> None:
            errors.append(await raised(link.connect))

        for _ in range(2):
            nursery.start_soon(connect)
    one, two = errors
    assert one is not two
    assert one.__cause__ is two.__cause__ is board.refusal


# A primary whose connection is over


async def primary_of(connection: HsmsConnection | HsmsLink, peer: RawPeer) -> Message:
    await peer.send(data(1, 1, 7, wait=True))
    return await anext(connection)


async def test_a_reply_whose_connection_is_gone_fails_alike_while_down_and_when_up_again() -> None:
    board = Switchboard()
    async with link_end(board) as link:
        peer = await board.peer()
        await peer.select_by_answering()
        primary = await primary_of(link, peer)
        await peer.close()
        await first(link.events(), Waiting)
        while_down = await raised(lambda: link.reply(primary, S1F2()))
        again = await board.peer()
        await again.select_by_answering()
        await link.wait_selected()
        when_up = await raised(lambda: link.reply(primary, S1F2()))
        for error in (while_down, when_up):
            assert type(error) is ConnectionLostError
            assert error.reason == "S1F1 came over connection 1, which is over"
            assert str(error) == f"tool:5000: {error.reason}: its reply cannot be sent over another"
        await again.ping()


@pytest.mark.parametrize("lost_before", [False, True])
async def test_a_reply_after_close_fails_because_it_is_closed(lost_before: bool) -> None:
    board = Switchboard()
    async with link_end(board) as link:
        peer = await board.peer()
        await peer.select_by_answering()
        primary = await primary_of(link, peer)
        if lost_before:
            await peer.close()
            await first(link.events(), Waiting)
        link.close_soon()
        for _ in range(2):
            assert type(await raised(lambda: link.reply(primary, S1F2()))) is ClosedError
            await peer.close()
            await link.aclose()


async def test_a_reply_on_a_connection_that_is_lost_says_how_it_was_lost() -> None:
    async with active_end() as (connection, peer):
        primary = await primary_of(connection, peer)
        await peer.close()
        await raised(lambda: anext(connection))
        error = await raised(lambda: connection.reply(primary, S1F2()))
    assert type(error) is ConnectionLostError
    assert error.reason == "the peer closed TCP"


async def test_a_message_that_was_never_received_cannot_be_answered() -> None:
    async with active_end() as (connection, _):
        error = await raised(lambda: connection.reply(S1F1(), S1F2()))
    assert type(error) is LocalProtocolError
    assert str(error).endswith("was not received on a connection")
