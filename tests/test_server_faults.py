"""No input of a peer, and nothing that a handler raises, ends more than its own connection."""

from __future__ import annotations

import gc
import logging
import math
import pickle
import traceback
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import (
    ConnectionLostError,
    HsmsConnection,
    HsmsServer,
    Message,
    Settings,
    serve_hsms,
)
from hsms_engine.driver.driver import Driver
from hsms_engine.driver.tcp import connect_tcp
from hsms_engine.fake import serve_fake
from hsms_engine.protocol import Step
from hsms_engine.protocol.lifecycle import Lifecycle
from hsms_engine.secs2 import DecodeError
from tests.support.leaks import leak_check, no_task_left
from tests.support.pair import MemoryListener, echo, failing, server_end
from tests.support.raw_peer import SEPARATE_REQ, RawPeer, data, linktest_req, select_req, select_rsp

__all__ = ["leak_check", "no_task_left"]

NONSENSE = b"\xff\xff\xff"
S1F3 = data(1, 3, 5, wait=True, body=NONSENSE)
# The header of S1F3, as the item of S9F7.
OF_S1F3 = b"\x21\x0a" + S1F3[4:14]
TWO: dict[str, Any] = {"max_sessions": 2, "linktest_interval": None}
ONE: dict[str, Any] = {"linktest_interval": None}


class DefectError(Exception):
    pass


async def reads(connection: HsmsConnection) -> None:
    """As the README shows it."""
    async for primary in connection:
        assert primary.item is None
        await connection.reply(primary, Message(primary.stream, primary.function + 1))


async def s9f7(peer: RawPeer) -> None:
    """The next frame reports S1F3."""
    got = await peer.frame()
    assert (got.byte2, got.byte3, got.body) == (9, 7, OF_S1F3)


@pytest.mark.parametrize("is_equipment", [False, True], ids=["host", "equipment"])
async def test_one_bad_body_ends_its_own_connection_only(is_equipment: bool) -> None:
    async with server_end(reads, is_equipment=is_equipment, **TWO) as (server, listener):
        honest, bad = await listener.raw(), await listener.raw()
        await honest.select()
        await bad.select()
        await bad.send(S1F3)
        if is_equipment:
            await s9f7(bad)
        await bad.control(SEPARATE_REQ)
        await bad.end()
        await honest.send(data(1, 1, 9, wait=True))
        await honest.expect(data(1, 2, 9))
        await bad.close()
        await wait_all_tasks_blocked()
        assert (len(server.connections), server.handlers, server.failed_handlers) == (1, 1, 1)


async def raises(error: BaseException) -> None:
    raise error


async def in_a_nursery(error: Exception) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raises, error)
        nursery.start_soon(raises, ConnectionLostError("lost", "why"))


async def twice_nested(error: Exception) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(in_a_nursery, error)


async def while_cancelled(error: Exception) -> None:
    """Its group also has a Cancelled, so it is no ExceptionGroup."""
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            raise BaseExceptionGroup("both", [cancelled, error]) from None


@pytest.mark.parametrize("how", [raises, in_a_nursery, twice_nested, while_cancelled])
@pytest.mark.parametrize(
    "make",
    [partial(DecodeError, 0, "this", "that"), IndexError, KeyError, TypeError, ValueError],
    ids=["DecodeError", "IndexError", "KeyError", "TypeError", "ValueError"],
)
async def test_whatever_a_handler_raises_only_its_connection_is_closed_and_it_is_logged(
    how: Callable[[Exception], Any],
    make: Callable[[], Exception],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(connection: HsmsConnection) -> None:
        async for primary in connection:
            if primary.stream == 2:
                await how(make())
            await connection.reply(primary, Message(primary.stream, 2))

    async with server_end(handler, **TWO) as (server, listener):
        honest, bad = await listener.raw(), await listener.raw()
        await honest.select()
        await bad.select()
        await bad.send(data(2, 1, 1))
        await bad.control(SEPARATE_REQ)
        await bad.close()
        await honest.send(data(1, 1, 9, wait=True))
        await honest.expect(data(1, 2, 9))
        assert server.failed_handlers == 1
    (record,) = (each for each in caplog.records if each.levelno == logging.ERROR)
    lines = record.getMessage().splitlines()
    assert lines[0] == "memory peer 2 passive: its handler failed:"
    assert any(type(make()).__name__ in line for line in lines[1:])


async def test_a_kept_log_record_keeps_no_connection_and_no_frame(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Held:
        pass

    kept: list[weakref.ref[object]] = []

    async def handler(connection: HsmsConnection) -> None:
        local = Held()
        kept.extend((weakref.ref(local), weakref.ref(connection)))
        await raises(DefectError(connection))

    async with server_end(handler, **ONE) as (_, listener):
        peer = await listener.raw()
        await peer.send(select_req(1))
        await peer.close()
        await wait_all_tasks_blocked()
        gc.collect()
        assert [each() for each in kept] == [None, None]
    assert len(caplog.records) == 1


async def test_no_traceback_is_made_that_nobody_wants(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handler(_: HsmsConnection) -> None:
        await raises(DefectError())

    def format_exception(_: object) -> list[str]:
        raise AssertionError("a traceback was made")

    caplog.set_level(logging.CRITICAL, "hsms_engine.link")
    monkeypatch.setattr(traceback, "format_exception", format_exception)
    async with server_end(handler, **ONE) as (server, listener):
        peer = await listener.raw()
        await peer.send(select_req(1))
        await peer.close()
        await wait_all_tasks_blocked()
        assert server.failed_handlers == 1


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_what_is_no_exception_comes_out(kind: type[BaseException]) -> None:
    async def handler(_: HsmsConnection) -> None:
        await raises(kind())

    listener = MemoryListener()
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            with pytest.raises(kind):
                await serve_hsms(handler, Settings(), listener=listener)

        nursery.start_soon(serve)
        peer = await listener.raw()
        await peer.send(select_req(1))


# The connection's own tasks


async def test_a_driver_that_fails_in_the_reader_ends_its_own_connection_aloud(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def record(step: Step) -> None:
        if step.event == "linktest_req_received":
            raise DefectError

    async def handler(connection: HsmsConnection) -> None:
        if connection.peer == "memory peer 2":
            failing(connection, record)
        await echo(connection)

    async with server_end(handler, **TWO) as (server, listener):
        honest, bad = await listener.raw(), await listener.raw()
        await honest.select()
        await bad.select()
        await wait_all_tasks_blocked()
        await bad.send(linktest_req(3))
        await wait_all_tasks_blocked()
        assert [each.peer for each in server.connections] == ["memory peer 1"]
        assert (server.failed_connections, server.handlers) == (1, 1)
        await honest.ping()
        await (await listener.raw()).select()
    (told,) = (each for each in caplog.records if each.levelno == logging.ERROR)
    assert told.getMessage().startswith("memory peer 2 passive: ended, because it failed itself:\n")
    assert "DefectError" in told.getMessage()


async def test_with_raise_errors_a_defect_of_the_connection_comes_out() -> None:
    def record(step: Step) -> None:
        if step.event == "linktest_req_received":
            raise DefectError

    async def handler(connection: HsmsConnection) -> None:
        failing(connection, record)
        await trio.sleep_forever()

    listener = MemoryListener()
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            with pytest.raises(DefectError):
                await serve_hsms(handler, Settings(), listener=listener, raise_errors=True)

        nursery.start_soon(serve)
        peer = await listener.raw()
        await peer.select()
        await wait_all_tasks_blocked()
        await peer.send(linktest_req(3))
        await peer.close()


# The session


async def life(listener: MemoryListener) -> None:
    """A connection with a bit of everything; it may end anywhere."""
    peer = await listener.raw()
    try:
        await peer.send(select_req(1), data(1, 1, 2, wait=True), linktest_req(3))
        await peer.take(42)
        await peer.send(data(6, 11, 4))
        await peer.stream.send_all(b"\0\0")
        await wait_all_tasks_blocked()
    except (AssertionError, trio.BrokenResourceError):
        # It has ended.
        pass
    await peer.close()
    await wait_all_tasks_blocked()


async def session_is_free(server: HsmsServer, listener: MemoryListener) -> None:
    assert server.connections == []
    assert (server.handlers, server.outliving, server.waiting_bytes) == (0, 0, 0)
    peer = await listener.raw()
    await peer.send(select_req(7))
    await peer.expect(select_rsp(7))
    await peer.close()
    await wait_all_tasks_blocked()


@pytest.mark.parametrize("again", [False, True], ids=["once", "ever after"])
async def test_charts_that_fail_at_any_step_leave_no_session_taken(
    again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Lifecycle.tell
    told, fails_at = 0, math.inf

    def tell(self: Lifecycle, event: str, *detail: Any) -> None:
        nonlocal told
        told += 1
        if told == fails_at or (again and told > fails_at):
            raise DefectError
        original(self, event, *detail)

    monkeypatch.setattr(Lifecycle, "tell", tell)
    async with server_end(echo, **ONE) as (server, listener):
        await life(listener)
        whole = told
        assert whole > 7
        for step in range(1, whole + 1):
            told, fails_at = 0, step
            await life(listener)
            fails_at = math.inf
            await session_is_free(server, listener)


async def test_drivers_that_fail_at_any_step_leave_no_session_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = Driver._record
    told, fails_at = 0, math.inf

    def record(self: Driver, step: Step) -> None:
        nonlocal told
        told += 1
        original(self, step)
        if told == fails_at:
            raise DefectError

    monkeypatch.setattr(Driver, "_record", record)
    async with server_end(echo, **ONE) as (server, listener):
        await life(listener)
        for step in range(1, told + 1):
            told, fails_at = 0, step
            await life(listener)
            fails_at = math.inf
            await session_is_free(server, listener)


class CancelAt(trio.abc.Instrument):
    """Cancels a scope before the n-th step of the tasks of one connection."""

    def __init__(self, at: float) -> None:
        self.at = at
        self.steps = 0
        self.scope: trio.CancelScope | None = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task.name.startswith("hsms_engine.") and "serve_hsms" not in task.name:
            self.steps += 1
            if self.steps == self.at and self.scope is not None:
                self.scope.cancel()


async def test_a_connection_that_is_cancelled_at_any_point_leaves_no_session_taken() -> None:
    async with server_end(echo, **ONE) as (server, listener):
        at = 0
        while True:
            at += 1
            cancelling = CancelAt(at)
            trio.lowlevel.add_instrument(cancelling)
            enter = server._enter

            def watched(
                peer: str, stream: Any, cancelling: CancelAt = cancelling, enter: Any = enter
            ) -> Any:
                place = enter(peer, stream)
                cancelling.scope = place.scope
                return place

            server._enter = watched  # type: ignore[method-assign]  # to know its scope
            await life(listener)
            server._enter = enter  # type: ignore[method-assign]  # as it was
            trio.lowlevel.remove_instrument(cancelling)
            await session_is_free(server, listener)
            if cancelling.steps < at:
                break
        assert at > 8


# S9F7: when and how it goes out


async def test_s9f7_goes_out_once_also_when_the_program_goes_on() -> None:
    async def handler(connection: HsmsConnection) -> None:
        async for primary in connection:
            for _ in range(2):
                with pytest.raises(DecodeError):
                    _ = primary.item
            assert "undecodable" in repr(primary)
            await trio.sleep_forever()

    async with server_end(handler, is_equipment=True, **ONE) as (server, listener):
        peer = await listener.raw()
        await peer.select()
        await peer.send(S1F3)
        await s9f7(peer)
        await peer.ping()
        (connection,) = server.connections
        assert connection.statistics().counts["unreadable_bodies"] == 1


async def test_showing_a_message_reports_nothing() -> None:
    async def handler(connection: HsmsConnection) -> None:
        async for primary in connection:
            assert "undecodable" in repr(primary)

    async with server_end(handler, is_equipment=True, **ONE) as (_, listener):
        peer = await listener.raw()
        await peer.select()
        await peer.send(S1F3)
        await peer.settle()
        await peer.ping()


async def test_s9f7_goes_out_when_the_message_is_read_in_another_thread() -> None:
    def read(message: Message) -> None:
        with pytest.raises(DecodeError):
            _ = message.item

    async def handler(connection: HsmsConnection) -> None:
        async for primary in connection:
            await trio.to_thread.run_sync(read, primary)
            await trio.sleep_forever()

    async with server_end(handler, is_equipment=True, **ONE) as (_, listener):
        peer = await listener.raw()
        await peer.select()
        await peer.send(S1F3)
        await s9f7(peer)


async def test_an_unreadable_reply_is_reported_too() -> None:
    async def handler(connection: HsmsConnection) -> None:
        reply = await connection.request(Message(1, 1, wait=True))
        with pytest.raises(DecodeError):
            reply.sml()
        await trio.sleep_forever()

    async with server_end(handler, is_equipment=True, **ONE) as (_, listener):
        peer = await listener.raw()
        await peer.select()
        asked = await peer.frame()
        reply = data(1, 2, asked.system, body=NONSENSE)
        await peer.send(reply)
        got = await peer.frame()
        assert (got.byte2, got.byte3, got.body) == (9, 7, b"\x21\x0a" + reply[4:14])


async def test_a_message_that_is_read_when_its_connection_is_over_is_not_reported() -> None:
    kept: list[Message] = []

    async def handler(connection: HsmsConnection) -> None:
        async for primary in connection:
            kept.append(primary)  # noqa: PERF401  # not a list of all: the loop never ends

    async with server_end(handler, is_equipment=True, **ONE) as (server, listener):
        peer = await listener.raw()
        await peer.select()
        await peer.send(S1F3)
        await peer.settle()
        (connection,) = server.connections
        await peer.close()
        await peer.settle()
        with pytest.raises(DecodeError):
            _ = kept.pop().item
        assert connection.statistics().counts["unreadable_bodies"] == 0


async def test_a_kept_message_keeps_no_connection() -> None:
    kept: list[Message] = []
    made: list[weakref.ref[object]] = []

    async def handler(connection: HsmsConnection) -> None:
        made.append(weakref.ref(connection._engine))
        kept.append(await anext(connection))
        kept.append(await connection.request(Message(1, 1, wait=True)))

    async with server_end(handler, **ONE) as (_, listener):
        peer = await listener.raw()
        await peer.select()
        await peer.send(data(6, 11, 1))
        await peer.send(data(1, 2, (await peer.frame()).system))
        await peer.settle()
        await peer.close()
        await wait_all_tasks_blocked()
        gc.collect()
        assert [each() for each in made] == [None]
    assert [each.name for each in kept] == ["S6F11", "S1F2"]
    kept.clear()


async def test_a_copy_of_a_message_is_read_without_a_word() -> None:
    handled: list[Message] = []

    async def handler(connection: HsmsConnection) -> None:
        async for primary in connection:
            handled.append(pickle.loads(pickle.dumps(primary)))
            await trio.sleep_forever()

    async with server_end(handler, is_equipment=True, **ONE) as (_, listener):
        peer = await listener.raw()
        await peer.select()
        await peer.send(S1F3)
        await peer.settle()
        with pytest.raises(DecodeError):
            _ = handled.pop().item
        await peer.ping()


async def test_the_fake_equipment_reports_what_it_cannot_read() -> None:
    async with trio.open_nursery() as nursery:
        equipment = await nursery.start(serve_fake)
        peer = RawPeer(await connect_tcp(equipment.host, equipment.port))
        await peer.select()
        bad = data(2, 25, 5, wait=True, body=NONSENSE)
        await peer.send(bad)
        report = await peer.frame()
        assert (report.byte2, report.byte3, report.body) == (9, 7, b"\x21\x0a" + bad[4:14])
        # The transaction has no other end: the next frame is that of the next one.
        await peer.ping()
        await peer.close()
        nursery.cancel_scope.cancel()
