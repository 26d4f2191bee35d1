"""``serve_hsms`` and ``on_selected`` of the asyncio door: coroutines of the user for trio tasks.

Peers are blocking sockets: a coroutine that uses them blocks the event loop.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import threading
from contextvars import ContextVar
from typing import Any

import pytest

from hsms_engine import ClosedError, ConnectionLostError, SettingsError, aio
from hsms_engine.doors.call import Call
from hsms_engine.doors.thread import trio_thread
from hsms_engine.events import Missed, PeerAccepted, PeerSelected, ServerEvent
from tests.support.blocking_peer import BlockingPeer, listening, trio_rests
from tests.support.doors import begun, trio_at_rest
from tests.support.leaks import leak_check
from tests.support.patience import PATIENCE
from tests.support.raw_peer import SEPARATE_REQ, select_req, select_rsp

__all__ = ["leak_check", "trio_at_rest"]

QUIET: dict[str, Any] = {"linktest_interval": None, "linger": 0.01}


def dialled(server: aio.HsmsServer) -> BlockingPeer:
    """A peer of bytes that has selected."""
    peer = BlockingPeer(socket.create_connection(("127.0.0.1", server.port), PATIENCE))
    peer.send(select_req(1))
    peer.expect(select_rsp(1))
    return peer


class Recorder:
    """A handler that says what becomes of it, and waits until it is cancelled."""

    def __init__(self) -> None:
        self.began: asyncio.Queue[aio.HsmsConnection] = asyncio.Queue()
        self.ended: list[str] = []
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.has_ended = asyncio.Event()

    async def __call__(self, conn: aio.HsmsConnection) -> None:
        self.began.put_nowait(conn)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await self.may_end.wait()
            self.ended.append("cancelled")
            self.has_ended.set()


def serving(handler: Any, **changes: Any) -> Any:
    return aio.serve_hsms(handler, "127.0.0.1", 0, **{**QUIET, **changes})


def test_the_server_is_what_it_is_in_the_trio_api() -> None:
    async def main() -> None:
        handler = Recorder()
        async with serving(handler) as server:
            peer = dialled(server)
            conn = await handler.began.get()
            assert server.address == f"127.0.0.1:{server.port}"
            assert repr(server) == f"<hsms_engine.aio.HsmsServer {server.address}>"
            assert server.connections == [conn]
            assert server.statistics().handlers == 1
            await server.configure(t3=7)
            assert server.settings.t3 == conn.settings.t3 == 7
            with pytest.raises(SettingsError):
                await server.configure(server.settings, port=1)
            events = server.events()
            assert repr(events) == f"<hsms_engine.aio.EventReader of {server!r}>"
            first: ServerEvent | Missed = await events.receive()
            assert isinstance(first, PeerSelected)
            other = dialled_only(server)
            assert isinstance(await anext(events), PeerAccepted)
            told: list[str] = []
            server.on_message(lambda each: told.append(each.name))
            waiting = asyncio.create_task(server.wait_closed())
            await server.aclose()
            await waiting
            assert "Separate.req" in told
            assert [type(each).__name__ async for each in events][-1] == "Closed"
            peer.close()
            other.close()
        await server.wait_closed()

    asyncio.run(main())


def dialled_only(server: aio.HsmsServer) -> BlockingPeer:
    return BlockingPeer(socket.create_connection(("127.0.0.1", server.port), PATIENCE))


def test_an_address_in_use_is_an_error_of_the_opening() -> None:
    async def main() -> None:
        with listening() as listener, pytest.raises(OSError, match="in use"):
            async with aio.serve_hsms(Recorder(), "127.0.0.1", listener.port, **QUIET):
                pytest.fail("it listens")

    asyncio.run(main())


def test_the_exit_separates_cancels_the_handlers_and_waits_until_they_have_ended() -> None:
    async def main() -> None:
        handler = Recorder()
        async with serving(handler) as server:
            peer = dialled(server)
            await handler.began.get()
            handler.may_end.clear()
            closing = await begun(server.aclose())
            peer.control(SEPARATE_REQ)
            peer.close()
            await closing
            assert handler.ended == []
            over = await begun(server.wait_closed())
            await asyncio.sleep(0)
            assert not over.done()
            handler.may_end.set()
        assert handler.ended == ["cancelled"]
        await over

    asyncio.run(main())


def test_a_handler_that_is_cancelled_before_it_began_does_not_begin() -> None:
    async def main() -> None:
        handler = Recorder()
        async with serving(handler) as server:
            # The loop is blocked from the Select.req to the end of the connection.
            peer = dialled(server)
            trio_rests()
            is_closed = threading.Event()
            trio_thread().run(Call(is_closed.set), server._held.aclose)
            peer.control(SEPARATE_REQ)
            peer.close()
            assert is_closed.wait(PATIENCE)
            trio_rests()
            await server.wait_closed()
            assert handler.began.empty()

    asyncio.run(main())


def test_a_handler_that_returns_separates_its_connection() -> None:
    async def handler(conn: aio.HsmsConnection) -> None:
        assert conn.is_selected

    async def main() -> None:
        async with serving(handler) as server:
            peer = dialled(server)
            await asyncio.to_thread(peer.control, SEPARATE_REQ)
            peer.end()
            peer.close()

    asyncio.run(main())


def test_a_handler_runs_in_the_loop_and_in_the_context_of_its_server() -> None:
    who: ContextVar[str] = ContextVar("who", default="nobody")
    seen: list[tuple[str, bool]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def handler(_: aio.HsmsConnection) -> None:
            seen.append((who.get(), asyncio.get_running_loop() is loop))
            # Each run has a context of its own.
            who.set("handler")

        who.set("server")
        async with serving(handler) as server:
            who.set("another")
            for _ in range(2):
                peer = dialled(server)
                await asyncio.to_thread(peer.control, SEPARATE_REQ)
                peer.close()

    asyncio.run(main())
    assert seen == [("server", True)] * 2


@pytest.mark.parametrize("when", ["by itself", "while it is cancelled"])
def test_what_a_handler_raises_closes_its_connection_and_is_logged(
    when: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(_: aio.HsmsConnection) -> None:
        if when != "by itself":
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                raise ZeroDivisionError("wrong") from None
        raise ZeroDivisionError("wrong")

    async def main() -> None:
        async with serving(handler) as server:
            peer = dialled(server)
            if when != "by itself":
                trio_rests()
                await asyncio.sleep(0)
                await server.aclose()
            await asyncio.to_thread(peer.control, SEPARATE_REQ)
            peer.close()

    asyncio.run(main())
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.name == "hsms_engine.link"
    assert record.getMessage().endswith("ZeroDivisionError: wrong")


def test_with_raise_errors_they_end_the_server_and_come_out_of_its_exit() -> None:
    raised = ZeroDivisionError("wrong")

    async def handler(_: aio.HsmsConnection) -> None:
        raise raised

    async def main() -> None:
        async with serving(handler, raise_errors=True) as server:
            peer = dialled(server)
            with pytest.raises(ZeroDivisionError):
                await server.wait_closed()
            peer.close()

    with pytest.raises(ZeroDivisionError) as caught:
        asyncio.run(main())
    assert caught.value is raised


def test_a_handler_whose_task_is_cancelled_by_others_has_ended() -> None:
    async def handler(_: aio.HsmsConnection) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        async with serving(handler) as server:
            peer = dialled(server)
            await asyncio.to_thread(peer.control, SEPARATE_REQ)
            peer.close()
            assert server.statistics().failed_handlers == 0

    asyncio.run(main())


def test_a_handler_that_outlives_its_connection_is_cancelled_when_there_are_too_many() -> None:
    async def main() -> None:
        handler = Recorder()
        async with serving(handler, max_connections=1) as server:
            for _ in range(2):
                peer = dialled(server)
                await handler.began.get()
                peer.close()
                trio_rests()
            await handler.has_ended.wait()
            assert server.statistics().cancelled_handlers == 1
            assert server.statistics().outliving >= 1

    asyncio.run(main())


# The end of a loop


def test_a_server_whose_loop_was_closed_hangs_nobody_and_the_trio_thread_lives_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.new_event_loop()
    handler = Recorder()
    opened = serving(handler)
    server = loop.run_until_complete(opened.__aenter__())
    peer = dialled(server)
    loop.run_until_complete(handler.began.get())
    loop.close()
    peer.close()
    # The handler of another peer cannot begin: that peer is separated.
    other = dialled(server)
    other.control(SEPARATE_REQ)
    other.close()
    # The first handler can be neither cancelled nor waited for.
    asyncio.run(opened.__aexit__(None, None, None))
    assert server.statistics().connections == 0
    assert handler.ended == []
    del handler, opened, loop, server
    trio_rests()
    gc.collect()
    # asyncio complains of the handler's task, and of nothing else.
    assert [each.name for each in caplog.records] == ["asyncio"]


# Sessions


def test_a_task_runs_for_each_session_and_is_cancelled_at_its_end() -> None:
    async def main() -> None:
        began: asyncio.Queue[aio.HsmsLink] = asyncio.Queue()
        ended: asyncio.Queue[str] = asyncio.Queue()

        async def task(link: aio.HsmsLink) -> None:
            began.put_nowait(link)
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                ended.put_nowait("cancelled")
                raise

        with listening() as listener:
            selected = listener.select()
            async with aio.open_link("127.0.0.1", listener.port, **QUIET, t5=1) as link:
                peer = await asyncio.wrap_future(selected)
                first = await link.on_selected(task)
                assert await began.get() is link
                peer.close()
                assert await ended.get() == "cancelled"
                selected = listener.select()
                assert await began.get() is link
                first.cancel()
                assert await ended.get() == "cancelled"
                (await asyncio.wrap_future(selected)).close()
                await link.aclose()
                with pytest.raises(ClosedError):
                    await link.on_selected(task)

    asyncio.run(main())


def test_what_the_task_of_a_session_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")

    async def main() -> None:
        raised = asyncio.Event()

        async def task(link: aio.HsmsLink) -> None:
            raised.set()
            await link.receive()

        with listening() as listener:
            selected = listener.select()
            async with aio.open_link("127.0.0.1", listener.port, **QUIET) as link:
                peer = await asyncio.wrap_future(selected)

                async def fail(_: aio.HsmsLink) -> None:
                    raise ConnectionLostError("it is gone", "gone")

                await link.on_selected(fail)
                await link.on_selected(task)
                await raised.wait()
                peer.close()

    asyncio.run(main())
    assert any("it is gone" in each.getMessage() for each in caplog.records)
