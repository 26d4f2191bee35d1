"""The fault proxy on real TCP: what only the system does, and two real ends."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from hsms_engine import open_hsms
from hsms_engine.driver.tcp import DirectStream, connect_tcp, listen_tcp
from hsms_engine.errors import ConnectError, RemoteProtocolError, ReplyTimeoutError
from hsms_engine.fake import FakeEquipment, serve_fake
from hsms_engine.messages import S1F1
from hsms_engine.proxy import Proxy, open_proxy
from hsms_engine.proxy.armed import ROOM
from tests.support.leaks import leak_check
from tests.support.network import closed_port, direct, patience

__all__ = ["leak_check", "patience"]

HOST = "127.0.0.1"


@asynccontextmanager
async def between(*faults: str, **options: Any) -> AsyncIterator[tuple[Proxy, FakeEquipment]]:
    """A fake equipment, and a proxy in front of it."""
    async with trio.open_nursery() as nursery:
        tool = await nursery.start(serve_fake)
        async with open_proxy(HOST, tool.port, faults=faults, **options) as proxy:
            yield proxy, tool
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def streams(*faults: str) -> AsyncIterator[tuple[Proxy, DirectStream, DirectStream]]:
    """Two streams of TCP with a proxy between them."""
    listener = await listen_tcp(HOST, 0)
    try:
        async with open_proxy(HOST, listener.port, faults=faults) as proxy:
            host = await connect_tcp(HOST, proxy.port)
            equipment, _ = await listener.accept()
            try:
                yield proxy, host, equipment
            finally:
                host.close()
                equipment.close()
    finally:
        listener.close()


@pytest.mark.parametrize("resets", [False, True])
async def test_a_host_that_has_gone_before_it_is_accepted_is_passed_on(resets: bool) -> None:
    listener = await listen_tcp(HOST, 0)
    async with open_proxy(HOST, listener.port) as proxy:
        host = direct(socket.create_connection((HOST, proxy.port)))
        (host.reset if resets else host.close)()
        equipment, _ = await listener.accept()
        try:
            assert await equipment.receive_some() == b""
        except trio.BrokenResourceError:
            assert resets
        else:
            assert not resets
        equipment.close()
    listener.close()


async def test_two_real_ends_talk_through_it() -> None:
    async with between("slice=7", "rate=10MB") as (proxy, _):
        async with open_hsms(HOST, proxy.port) as connection:
            assert (await connection.request(S1F1())).name == "S1F2"
        await proxy.until(lambda: proxy.counts["ended"] == 1)
        assert str(proxy.happened()[-1]).startswith("1: ended, closed; ")


async def test_what_a_fault_does_is_what_the_engine_reports() -> None:
    async with between() as (proxy, _):
        quick: dict[str, Any] = {"t3": 0.01, "allow_short_timers": True}
        proxy.set("drop-frame=S1F2")
        async with open_hsms(HOST, proxy.port, **quick) as connection:
            with pytest.raises(ReplyTimeoutError):
                await connection.request(S1F1())
        proxy.set("corrupt-frame=Select.rsp field=length to=0")
        with pytest.raises(ConnectError, match=r"length 0 .* is not in 10"):
            async with open_hsms(HOST, proxy.port):
                pass
        proxy.set("to-host insert-frame=0x0000000900 before=reply")
        async with open_hsms(HOST, proxy.port) as connection:
            with pytest.raises(RemoteProtocolError):
                await connection.request(S1F1())


async def test_a_reset_of_tcp_is_a_reset_on_the_other_side() -> None:
    for end in (0, 1):
        async with streams() as (_, *ends):
            ends[end].reset()
            with pytest.raises(trio.BrokenResourceError):
                await ends[1 - end].receive_some()


async def test_an_end_of_the_stream_is_passed_on_and_the_other_direction_lives() -> None:
    async with streams() as (_, host, equipment):
        await host.send_eof()
        assert await equipment.receive_some() == b""
        await equipment.send_all(b"more")
        assert await host.receive_some() == b"more"


async def test_both_ends_are_reset_by_a_fault() -> None:
    async with streams() as (proxy, *ends):
        proxy.set("reset")
        for each in ends:
            with pytest.raises(trio.BrokenResourceError):
                await each.receive_some()


async def test_who_does_not_read_stops_who_sends() -> None:
    async with streams() as (proxy, host, equipment), trio.open_nursery() as nursery:
        size = 64 * ROOM
        nursery.start_soon(host.send_all, bytes([0, 0, 0, 10]) * (size // 4))
        got = len(await equipment.receive_some())
        # The buffers of the system, and one of the proxy, are much less than that.
        sent = size - (host.unacknowledged() or 0)
        assert got <= sent <= size
        while got < size:
            got += len(await equipment.receive_some())
        assert proxy.connections == [1]


async def test_refuse_refuses_and_nobody_else_gets_the_port_by_then() -> None:
    async with between("refuse") as (proxy, _):
        with pytest.raises(OSError, match="refused"):
            await connect_tcp(HOST, proxy.port)
        proxy.set()
        await proxy.until(lambda: proxy.is_listening)
        async with open_hsms(HOST, proxy.port):
            pass


async def test_an_equipment_that_is_not_there_is_told() -> None:
    port = closed_port()
    async with open_proxy(HOST, port) as proxy:
        host = await connect_tcp(HOST, proxy.port)
        with pytest.raises(trio.BrokenResourceError):
            await host.receive_some()
        host.close()
        await proxy.until(lambda: proxy.counts["ended"] == 1)
        why = f"{HOST}:{port}: {os.strerror(errno.ECONNREFUSED)}"
        assert str(proxy.happened()[-2]) == f"1: the equipment is not reached: {why}"


async def test_a_port_that_is_taken_is_an_error_of_who_opens_it() -> None:
    listener = await listen_tcp(HOST, 0)
    with pytest.raises(OSError, match="in use"):
        async with open_proxy(HOST, 1, port=listener.port):
            pass
    listener.close()
