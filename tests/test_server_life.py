"""The listening end: one listener that stays open, one connection per peer, and how each ends."""

from __future__ import annotations

import errno
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import (
    ClosedError,
    ConnectionLostError,
    HsmsConnection,
    HsmsServer,
    LocalProtocolError,
    Message,
    Settings,
    serve_hsms,
)
from hsms_engine.driver import tcp
from hsms_engine.driver.turns import LONG
from tests.support.leaks import leak_check, no_task_left
from tests.support.network import reset
from tests.support.pair import MemoryListener, echo, nothing, server_end
from tests.support.raw_peer import (
    SEPARATE_REQ,
    data,
    linktest_req,
    select_req,
    select_rsp,
    separate_req,
)
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

QUIET: dict[str, Any] = {"linktest_interval": None}
S1F1 = Message(1, 1, wait=True)


async def test_the_handler_runs_once_a_connection_is_selected_and_not_before() -> None:
    began: list[str] = []

    async def handler(connection: HsmsConnection) -> None:
        began.append(connection.peer)
        await trio.sleep_forever()

    async with server_end(handler, **QUIET) as (_, listener):
        peer = await listener.raw()
        await peer.ping()
        assert began == []
        await peer.select()
        await peer.ping()
        assert began == ["memory peer 1"]


async def test_a_handler_that_returns_separates() -> None:
    async def handler(_: HsmsConnection) -> None:
        await trio.lowlevel.checkpoint()

    async with server_end(handler, **QUIET) as (server, listener):
        peer = await listener.raw()
        await peer.select()
        await peer.control(SEPARATE_REQ)
        await peer.end()
        await peer.close()
        await wait_all_tasks_blocked()
        assert server.connections == []


@pytest.mark.parametrize("nested", [False, True])
async def test_a_handler_that_loses_its_peer_is_no_end_of_the_server(nested: bool) -> None:
    async def ask(connection: HsmsConnection) -> None:
        await connection.request(S1F1)

    async def handler(connection: HsmsConnection) -> None:
        if not nested:
            await ask(connection)
            return
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask, connection)

    async with server_end(handler, **QUIET) as (server, listener):
        for number in range(3):
            peer = await listener.raw()
            await peer.select()
            await peer.frame()
            await peer.close()
            await wait_all_tasks_blocked()
            assert server.connections == []
            assert server.accepted == number + 1


async def test_with_raise_errors_a_defect_of_a_handler_comes_out_bare() -> None:
    class DefectError(Exception):
        pass

    async def handler(_: HsmsConnection) -> None:
        raise DefectError

    listener = MemoryListener()
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            with pytest.raises(DefectError):
                await serve_hsms(handler, Settings(), listener=listener, raise_errors=True)

        nursery.start_soon(serve)
        peer = await listener.raw()
        await peer.send(select_req(1))
    assert listener.closed


async def test_with_raise_errors_a_defect_beside_a_lost_connection_comes_out() -> None:
    async def handler(_: HsmsConnection) -> None:
        raise ExceptionGroup("both", [ConnectionLostError("lost", "why"), KeyError("defect")])

    listener = MemoryListener()
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            with pytest.raises(ExceptionGroup) as caught:
                await serve_hsms(handler, Settings(), listener=listener, raise_errors=True)
            assert [type(each) for each in caught.value.exceptions] == [KeyError]

        nursery.start_soon(serve)
        peer = await listener.raw()
        await peer.send(select_req(1))


async def test_closing_the_server_separates_from_everyone_and_ends_serving() -> None:
    listener = MemoryListener()
    served = trio.Event()
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[HsmsServer]) -> None:
            settings = Settings(max_sessions=3, linktest_interval=None)
            await serve_hsms(nothing, settings, listener=listener, task_status=task_status)
            served.set()

        server: HsmsServer = await nursery.start(serve)
        peers = [await listener.raw() for _ in range(3)]
        for peer in peers[:2]:
            await peer.select()
        await server.aclose()
        for peer in peers[:2]:
            await peer.control(SEPARATE_REQ)
        for peer in peers:
            await peer.end()
        await served.wait()
        assert listener.closed
        await server.aclose()


async def test_closing_the_server_in_the_turn_a_peer_connects_is_fine() -> None:
    for pauses in range(8):
        listener = MemoryListener()
        async with trio.open_nursery() as nursery:

            async def serve(
                task_status: trio.TaskStatus[HsmsServer], listener: MemoryListener = listener
            ) -> None:
                await serve_hsms(nothing, Settings(), listener=listener, task_status=task_status)

            server: HsmsServer = await nursery.start(serve)
            peer = await listener.raw()
            for _ in range(pauses):
                await trio.lowlevel.checkpoint()
            await server.aclose()
            await peer.close()


async def test_a_cancelled_server_fails_requests_made_outside_of_it() -> None:
    kept: list[HsmsConnection] = []
    failed: list[Exception] = []

    async def handler(connection: HsmsConnection) -> None:
        kept.append(connection)
        await trio.sleep_forever()

    # Not one statement: what runs in `outer` is to outlive the server.
    async with trio.open_nursery() as outer:  # noqa: SIM117
        async with server_end(handler, **QUIET) as (_, listener):
            peer = await listener.raw()
            await peer.select()
            await peer.ping()

            async def ask(call: Callable[[], Any]) -> None:
                try:
                    await call()
                except (ClosedError, ConnectionLostError) as error:
                    failed.append(error)

            outer.start_soon(ask, lambda: kept[0].request(S1F1))
            outer.start_soon(ask, kept[0].linktest)
            outer.start_soon(ask, kept[0].__anext__)
            await wait_all_tasks_blocked()
    assert len(failed) == 3


async def test_no_more_connections_are_up_together_than_allowed() -> None:
    most = 0

    async with server_end(nothing, max_connections=2, **QUIET) as (server, listener):
        for _ in range(5):
            await listener.dial()
            most = max(most, len(server.connections))
        await wait_all_tasks_blocked()
        assert (max(most, len(server.connections)), server.gave_way) == (2, 3)


async def test_a_close_that_is_cancelled_still_ends_the_server() -> None:
    async with server_end(nothing, linger=10, **QUIET) as (server, listener):
        peer = await listener.raw()
        await peer.select()
        with trio.move_on_after(1) as patience:
            await server.aclose()
        assert patience.cancelled_caught
        await wait_all_tasks_blocked()
        assert server.connections == []


async def test_a_handler_that_does_not_look_holds_no_place() -> None:
    async with server_end(nothing, max_connections=3, **QUIET) as (server, listener):
        for _ in range(10):
            peer = await listener.raw()
            await peer.select()
            await peer.close()
            await wait_all_tasks_blocked()
            assert server.connections == []
        assert server.turned_away == 0


async def test_100_connections_one_after_another_are_all_served() -> None:
    async with server_end(echo, max_connections=2, **QUIET) as (server, listener):
        for number in range(100):
            peer = await listener.raw()
            await peer.select()
            if number % 2:
                await peer.send(separate_req(1))
            await peer.close()
            await wait_all_tasks_blocked()
        assert (server.accepted, server.connections) == (100, [])


@pytest.mark.parametrize("bytes_before", [b"", b"\0", b"\0\0\0\x0a", b"junkjunkjunk"])
async def test_peers_that_connect_and_close_do_no_harm(bytes_before: bytes) -> None:
    async with server_end(**QUIET) as (server, listener):
        for _ in range(20):
            peer = await listener.raw()
            if bytes_before:
                await peer.send(bytes_before)
            await peer.close()
        await wait_all_tasks_blocked()
        assert server.connections == []
        peer = await listener.raw()
        await peer.select()


async def test_a_reselected_session_is_the_same_connection() -> None:
    handled: list[HsmsConnection] = []

    async def handler(connection: HsmsConnection) -> None:
        handled.append(connection)
        await echo(connection)

    async with server_end(handler, **QUIET) as (_, listener):
        peer = await listener.raw()
        await peer.select()
        for _ in range(3):
            await peer.send(bytes.fromhex("0000000a ffff 00 00 00 03 00000001"))
            await peer.expect(bytes.fromhex("0000000a ffff 00 00 00 04 00000001"))
            await peer.send(select_req(7), data(2, 25, 8, wait=True, body=b"\x01\x00"))
            await peer.expect(select_rsp(7), data(2, 26, 8, body=b"\x01\x00"))
        assert len(handled) == 1


async def test_two_servers_have_two_entities() -> None:
    async with server_end(**QUIET) as (_, one), server_end(**QUIET) as (_, other):
        first, second = await one.raw(), await other.raw()
        await first.select()
        await second.select()


async def test_a_passive_end_does_not_select() -> None:
    kept: list[HsmsConnection] = []

    async def handler(connection: HsmsConnection) -> None:
        kept.append(connection)
        await trio.sleep_forever()

    async with server_end(handler, **QUIET) as (_, listener):
        peer = await listener.raw()
        await peer.select()
        await peer.ping()
        with pytest.raises(LocalProtocolError, match="select is for the end that dials"):
            await kept[0].select()


# The listening socket


class Accepting:
    """A listener of trio's whose ``accept`` fails as told, then gives what ``listen`` accepts."""

    def __init__(self, inner: trio.SocketListener, *errors: int) -> None:
        self.inner = inner
        self.socket = inner.socket
        self.errors = list(errors)

    async def accept(self) -> trio.SocketStream:
        if self.errors:
            await trio.lowlevel.checkpoint()
            raise OSError(self.errors.pop(0), "as told")
        return await self.inner.accept()


async def accepting(*errors: int) -> tcp.Listener:
    (inner,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    # It is as much of a listener as is asked of it.
    return tcp.Listener(Accepting(inner, *errors))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM], ids=errno.errorcode.get
)
async def test_a_busy_system_is_no_end_of_a_listener(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[float] = []

    async def pause(seconds: float) -> None:
        await trio.lowlevel.checkpoint()
        paused.append(seconds)

    listener = await accepting(code, code, code)
    client = await tcp.connect_tcp("127.0.0.1", listener.port)
    monkeypatch.setattr(trio, "sleep", pause)
    stream, peer = await listener.accept()
    assert peer.startswith("127.0.0.1:")
    assert paused == [0.1] * 3
    await stream.aclose()
    await client.aclose()
    listener.close()
    listener.close()


async def test_a_peer_that_has_gone_before_it_is_accepted_is_no_end_of_a_listener() -> None:
    listener = await tcp.listen_tcp("127.0.0.1", 0)
    gone = await tcp.connect_tcp("127.0.0.1", listener.port)
    own_address = tcp.address_text(gone._stream.socket.getsockname())
    reset(gone)
    client = await tcp.connect_tcp("127.0.0.1", listener.port)
    first, peer = await listener.accept()
    # Some systems know its address still.
    assert peer in ("a peer that has reset", own_address)
    assert first.is_over()
    stream, peer = await listener.accept()
    assert peer == tcp.address_text(client._stream.socket.getsockname())
    for each in (first, stream, client):
        await each.aclose()
    listener.close()


async def test_a_listener_that_broke_ends_its_server_aloud() -> None:
    listener = await accepting(errno.EINVAL)
    with pytest.raises(OSError, match="as told"):
        await serve_hsms(nothing, Settings(), listener=listener, random=Random(1))
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()


async def test_accepting_is_a_checkpoint_also_when_someone_waits() -> None:
    listener = await tcp.listen_tcp("127.0.0.1", 0)
    client = await tcp.connect_tcp("127.0.0.1", listener.port)
    with trio.CancelScope() as scope:
        scope.cancel()
        await listener.accept()
    assert scope.cancelled_caught
    listener.close()
    await client.aclose()


async def test_a_flood_of_frames_lets_other_tasks_have_their_turn() -> None:
    async with server_end(nothing, **QUIET) as (server, listener):
        peer = await listener.raw()
        await peer.select()

        def taken() -> int:
            return server.connections[0].statistics().counts["frames_received"]

        before = last = taken()
        await peer.send(linktest_req(7) * 4_000)
        most = 0
        # This task has one turn in each turn of the reader, somewhere in it.
        while last < before + 4_000:
            await trio.lowlevel.checkpoint()
            most, last = max(most, taken() - last), taken()
    # So the reader had two slices at the most in between.
    assert most <= 2 * LONG.frames + 2
