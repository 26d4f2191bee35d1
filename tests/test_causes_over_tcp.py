"""Behind an error stands the system's own, with its own words: over real sockets."""

from __future__ import annotations

import errno
import os
import socket
import struct

import pytest
import trio

from hsms_engine import ConnectError, ConnectionLostError, open_hsms, open_link
from hsms_engine.driver.tcp import connect_tcp, listen_tcp
from hsms_engine.events import Selected, Waiting
from tests.support.held import held_by
from tests.support.leaks import leak_check, no_task_left
from tests.support.network import closed_port, patience
from tests.support.pair import first
from tests.support.raw_peer import RawPeer

__all__ = ["leak_check", "no_task_left", "patience"]

REFUSED = os.strerror(errno.ECONNREFUSED)
RESET = os.strerror(errno.ECONNRESET)


async def attempt(host: str, port: int) -> ConnectError:
    """The error of one attempt over real TCP, as the events of a link tell it."""
    async with open_link(host, port) as link:
        waiting = await first(link.events(), Waiting)
    assert isinstance(waiting.error, ConnectError)
    return waiting.error


async def test_a_refused_connect_is_told_in_the_words_of_the_system() -> None:
    port = closed_port()
    error = await attempt("127.0.0.1", port)
    assert str(error) == f"127.0.0.1:{port}: not connected, during TCP connect: {REFUSED}"
    assert (error.cause, error.phase) == (REFUSED, "tcp connect")
    assert isinstance(error.__cause__, ConnectionRefusedError)
    assert error.__cause__.errno == errno.ECONNREFUSED
    assert held_by(error) == []


async def test_a_name_that_leads_nowhere_is_told_in_the_words_of_the_system() -> None:
    # Reserved (RFC 6761): no such name exists, with a network or without.
    error = await attempt("tool.invalid", 5000)
    assert isinstance(error.__cause__, socket.gaierror)
    assert error.cause == error.__cause__.strerror
    assert held_by(error) == []


async def test_a_host_that_can_be_no_name_is_told_by_its_oserror() -> None:
    error = await attempt("a" * 64, 5000)
    assert isinstance(error.__cause__, OSError)
    assert error.cause == str(error.__cause__)
    assert "is no host name" in error.cause
    assert held_by(error) == []


async def test_the_error_of_open_hsms_has_its_cause_too() -> None:
    with pytest.raises(ConnectError) as caught:
        async with open_hsms("127.0.0.1", closed_port()):
            raise AssertionError
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert caught.value.__cause__.__traceback__ is None


async def test_a_connection_that_is_reset_is_lost_with_the_systems_own_error() -> None:
    listener = await listen_tcp("127.0.0.1", 0)
    try:
        ours = await connect_tcp("127.0.0.1", listener.port)
        theirs, _ = await listener.accept()
    finally:
        listener.close()

    async def dial() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return ours

    async with trio.open_nursery() as nursery:
        nursery.start_soon(RawPeer(theirs).select_by_answering)
        async with open_link(dial=dial) as link:
            events = link.events()
            await first(events, Selected)
            theirs._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            theirs.close()
            waiting = await first(events, Waiting)
    error = waiting.error
    assert isinstance(error, ConnectionLostError)
    assert error.reason == f"TCP broke: {RESET}"
    assert isinstance(error.__cause__, ConnectionResetError)
    assert held_by(error) == []
