"""The calls of the asyncio door: as in the trio API, and cancelled as in asyncio.

Peers are blocking sockets: a coroutine that uses them blocks the event loop.
"""

from __future__ import annotations

import asyncio
import gc
import re
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import Context, ContextVar
from functools import partial
from typing import Any, TypeVarTuple, Unpack

import pytest

from hsms_engine import (
    CircuitOpenError,
    ClosedError,
    ConnectError,
    ConnectionLostError,
    LinkDownError,
    LocalProtocolError,
    Message,
    RejectedError,
    SettingsError,
    aio,
)
from hsms_engine.aio import callbacks
from hsms_engine.aio.wait import act
from hsms_engine.doors.call import Call
from hsms_engine.doors.thread import trio_thread
from hsms_engine.errors import WrongLoopError
from hsms_engine.events import Closed, Connecting, Idle, LinkEvent, Separating, Waiting
from hsms_engine.logs import Teller
from hsms_engine.messages import S1F1, S1F13
from hsms_engine.protocol.outputs import Step
from hsms_engine.protocol.traffic import Traffic
from hsms_engine.wire import SType, control_frame
from tests.support.blocking_peer import BlockingPeer, listening, trio_held, trio_rests
from tests.support.doors import begun, trio_at_rest
from tests.support.leaks import leak_check
from tests.support.raw_peer import (
    LINKTEST_REQ,
    SEPARATE_REQ,
    data,
    linktest_rsp,
    reject_req,
    separate_req,
)

__all__ = ["leak_check", "trio_at_rest"]

Ts = TypeVarTuple("Ts")

QUIET: dict[str, Any] = {"linktest_interval": None}
TELLER = Teller("tool:5000 active", 0)


@asynccontextmanager
async def open_pair(**changes: Any) -> AsyncIterator[tuple[aio.HsmsConnection, BlockingPeer]]:
    """A selected connection, and its peer of bytes."""
    with listening() as listener:
        selected = listener.select()
        async with aio.open_hsms("127.0.0.1", listener.port, **QUIET, **changes) as conn:
            peer = selected.result()
            try:
                yield conn, peer
            finally:
                peer.close()


async def echo(conn: aio.HsmsConnection) -> None:
    async for primary in conn:
        if primary.wait:
            reply = Message(primary.stream, primary.function + 1, body=primary.body)
            await conn.reply(primary, reply)


# As in the trio API


@pytest.mark.parametrize("debug", [False, True])
def test_the_calls_of_a_connection_do_what_they_do_in_the_trio_api(*, debug: bool) -> None:
    got: list[Message] = []

    async def handler(conn: aio.HsmsConnection) -> None:
        got.append(await conn.receive())
        await conn.send(Message(6, 11, item="event"))
        await echo(conn)

    async def main() -> None:
        async with (
            aio.serve_hsms(handler, "127.0.0.1", 0) as server,
            aio.open_hsms("127.0.0.1", server.port) as conn,
        ):
            await conn.send(Message(6, 13))
            assert await conn.receive() == Message(6, 11, item="event")
            assert await conn.request(S1F13()) == Message(1, 14, body=S1F13().body)
            await conn.linktest()
            assert conn.is_selected
            assert conn.settings.port == server.port
            assert conn.peer == server.address
            assert conn.statistics().counts["messages_received"] == 2
            assert repr(conn) == f"<hsms_engine.aio.HsmsConnection {conn.peer} selected>"
            await conn.deselect()
            assert "not selected" in repr(conn)
            await conn.select()
            await conn.aclose()
            assert conn.phase == "closed"
            with pytest.raises(ClosedError):
                await conn.receive()

    asyncio.run(main(), debug=debug)
    assert got == [Message(6, 13)]


def test_the_calls_of_a_link_do_what_they_do_in_the_trio_api() -> None:
    async def main() -> None:
        async with aio.serve_hsms(echo, "127.0.0.1", 0) as server:
            async with aio.open_link("127.0.0.1", server.port, t5=1) as link:
                await link.connect()
                await link.wait_selected()
                assert await link.request(S1F1()) == Message(1, 2)
                await link.configure(t3=7)
                assert link.settings.t3 == 7
                with pytest.raises(SettingsError, match=r"^t3=0 is not in 1\.\.120"):
                    await link.configure(link.settings, t3=0)
                await link.isolate()
                assert link.statistics().breaker_state == "isolated"
                await link.release()
                with pytest.raises(LocalProtocolError):
                    await link.release()
                await link.reset_breaker()
                await link.disable()
                with pytest.raises(LinkDownError):
                    await link.request(S1F1())
                saved = await link.save()
            async with aio.open_link("127.0.0.1", server.port, restore=saved) as link:
                assert "idle" in repr(link)
                await link.enable()
                assert "waiting" in repr(link)
                await link.aclose()
                assert [primary async for primary in link] == []

    asyncio.run(main())


def test_iterating_ends_when_the_peer_has_separated_and_raises_when_it_was_lost() -> None:
    async def main() -> None:
        async with open_pair() as (conn, peer):
            peer.send(data(6, 11, 1), data(6, 13, 2), separate_req(3))
            assert [primary.name async for primary in conn] == ["S6F11", "S6F13"]
        async with open_pair() as (conn, peer):
            peer.send(data(6, 11, 1))
            peer.close()
            assert (await anext(conn)).name == "S6F11"
            with pytest.raises(ConnectionLostError, match="the peer closed TCP"):
                await anext(conn)

    asyncio.run(main())


def test_errors_come_as_they_are_with_their_cause() -> None:
    async def main() -> None:
        with listening() as listener:
            port = listener.port
        with pytest.raises(ConnectError) as refused:
            async with aio.open_hsms("127.0.0.1", port):
                pass
        assert isinstance(refused.value.__cause__, ConnectionRefusedError)
        async with aio.open_link("127.0.0.1", port, breaker_threshold=1) as link:
            with pytest.raises(ConnectError):
                await link.connect()
            with pytest.raises(CircuitOpenError):
                await link.connect()

    asyncio.run(main())


async def rejected(conn: aio.HsmsConnection, peer: BlockingPeer) -> object:
    task = await begun(conn.request(S1F1()))
    peer.send(reject_req(peer.frame().system, 0, 2, 0))
    return await task


async def in_a_group(call: Awaitable[object]) -> None:
    async def run() -> None:
        await call

    async with asyncio.TaskGroup() as group:
        group.create_task(run())


@pytest.mark.parametrize(
    "how",
    [
        lambda call: call,
        asyncio.gather,
        lambda call: asyncio.wait_for(call, 100),
        asyncio.shield,
    ],
    ids=["await", "gather", "wait_for", "shield"],
)
def test_an_error_goes_bare_through_what_asyncio_has(
    how: Callable[[Awaitable[object]], Awaitable[object]],
) -> None:
    async def main() -> None:
        async with open_pair() as (conn, peer):
            with pytest.raises(RejectedError) as caught:
                await how(rejected(conn, peer))
            assert caught.value.reason == 2
            # The connection stays.
            peer.ping()

    asyncio.run(main())


def test_a_task_group_gets_the_error_itself() -> None:
    async def main() -> None:
        async with open_pair() as (conn, peer):
            with pytest.RaisesGroup(RejectedError):
                await in_a_group(rejected(conn, peer))

    asyncio.run(main())


# Cancelling


def test_cancelling_a_request_abandons_only_that_one() -> None:
    async def main() -> None:
        async with open_pair() as (conn, peer):
            one, other = await begun(conn.request(S1F1())), await begun(conn.request(S1F13()))
            late, answered = peer.frame(), peer.frame()
            one.cancel()
            with pytest.raises(asyncio.CancelledError):
                await one
            trio_rests()
            peer.send(data(1, 2, late.system), data(1, 14, answered.system))
            assert (await other).name == "S1F14"
            assert conn.statistics().counts["unexpected_secondaries"] == 1

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["request", "send", "reply", "linktest"])
def test_a_call_that_is_cancelled_before_it_began_does_nothing(kind: str) -> None:
    async def main() -> None:
        async with open_pair() as (conn, peer):
            peer.send(data(1, 1, 7, wait=True))
            primary = await conn.receive()
            calls: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
                "request": lambda: conn.request(S1F1()),
                "send": lambda: conn.send(Message(6, 11)),
                "reply": lambda: conn.reply(primary, Message(1, 2)),
                "linktest": conn.linktest,
            }
            with trio_held():
                task = asyncio.create_task(calls[kind]())
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            trio_rests()
            peer.ping()

    asyncio.run(main())


async def by_timeout(seconds: float, conn: aio.HsmsConnection) -> None:
    async with asyncio.timeout(seconds):
        await conn.request(S1F1())


async def by_wait_for(seconds: float, conn: aio.HsmsConnection) -> None:
    await asyncio.wait_for(conn.request(S1F1()), seconds)


@pytest.mark.parametrize("within", [by_timeout, by_wait_for])
def test_a_timeout_abandons_the_call_only(
    within: Callable[[float, aio.HsmsConnection], Awaitable[None]],
) -> None:
    async def main() -> None:
        async with open_pair() as (conn, peer):
            with trio_held(), pytest.raises(TimeoutError):
                await within(0, conn)
            trio_rests()
            peer.ping()
            assert conn.is_selected

    asyncio.run(main())


Receive = Callable[[aio.HsmsConnection], Coroutine[Any, Any, Message]]


@pytest.mark.parametrize("receive", [lambda conn: conn.receive(), anext], ids=["receive", "anext"])
@pytest.mark.parametrize("when", ["before it came", "when it has come"])
def test_no_primary_is_lost_when_its_receiver_is_cancelled(
    receive: Receive, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with open_pair() as (conn, peer):
            task = await begun(receive(conn))
            if when == "before it came":
                # The trio thread gets the primary first, and then hears that nobody wants it.
                with trio_held():
                    peer.send(data(6, 11, 1), data(6, 13, 2))
                    task.cancel()
                    await asyncio.wait([task])
            else:
                peer.send(data(6, 11, 1), data(6, 13, 2))
                # The loop is blocked: the primary is in the call, and the task does not know.
                trio_rests()
                assert not task.done()
                task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert [(await receive(conn)).name, (await receive(conn)).name] == ["S6F11", "S6F13"]

    asyncio.run(main())
    # The event loop has nothing to complain of.
    assert caplog.records == []


@pytest.mark.parametrize("by", ["receive", "anext"])
def test_no_event_is_lost_when_its_receiver_is_cancelled(by: str) -> None:
    async def main() -> None:
        async with aio.open_link("127.0.0.1", 1, **QUIET) as link:
            await link.disable()
            reader = link.events()
            while not isinstance(await reader.receive(), Idle):
                pass
            task = await begun(reader.receive() if by == "receive" else anext(reader))
            enabled = link.enable()
            await asyncio.sleep(0)
            trio_rests()
            assert not task.done()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await enabled
            assert isinstance(await reader.receive(), Waiting)

    asyncio.run(main())


def test_closing_is_cancelled_as_in_the_trio_api_and_closes_at_once() -> None:
    async def main() -> None:
        async with open_pair(linger=10) as (conn, peer):
            steps: list[Step] = []
            conn.on_step(steps.append)
            task = await begun(conn.aclose())
            peer.control(SEPARATE_REQ)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            trio_rests()
            assert conn.phase == "closed"
            # The loop takes the steps, and then calls for each.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            events = [step.event for step in steps]
            assert "close_requested" in events
            assert "linger_expired" not in events

    asyncio.run(main())


def test_what_a_call_gives_back_is_given_back_once() -> None:
    given_back: list[int] = []
    call = Call(lambda: None, given_back.append)
    call.succeed(7)
    call.give_back()
    call.give_back()
    assert given_back == [7]


class Thing:
    """Something that a call should not keep."""


@pytest.mark.parametrize("decide", [Call.abandon, partial(Call.succeed, value=7)])
def test_a_call_that_is_decided_keeps_nothing_alive_by_whom_it_wakes(
    decide: Callable[[Call[int]], object],
) -> None:
    def made() -> weakref.ref[Thing]:
        def wake() -> None:
            # Whoever is woken may know the call, and anything else.
            assert call is not None
            assert thing is not None

        thing = Thing()
        call = Call[int](wake)
        decide(call)
        return weakref.ref(thing)

    gc.disable()
    try:
        assert made()() is None
    finally:
        gc.enable()


# Events


def test_a_reader_has_all_events_from_its_making_on() -> None:
    async def main() -> list[LinkEvent]:
        async with open_pair() as (conn, _):
            first = conn.events()
            with trio_held():
                # The trio thread has not made it yet when the next call is made.
                reader = conn.events()
                closing = asyncio.create_task(conn.aclose())
                await asyncio.sleep(0)
            await closing
            assert isinstance(await first.receive(), Connecting)
            return [event async for event in reader]

    assert [type(each) for each in asyncio.run(main())][-2:] == [Separating, Closed]


def test_a_reader_that_nobody_keeps_is_let_go_in_the_trio_thread() -> None:
    ended_in: list[str] = []

    async def main() -> None:
        async with open_pair() as (conn, _):
            await conn.events().receive()
            reader = conn.events()
            await reader.receive()
            held = await act(trio_thread(), reader._reader.get)
            weakref.finalize(held, lambda: ended_in.append(threading.current_thread().name))
            # What was called last is forgotten, also by the loop.
            await asyncio.sleep(0)
            trio_rests()
            del held, reader
            gc.collect()
            trio_rests()
            assert ended_in == ["hsms_engine"]

    asyncio.run(main())


# Callbacks


def test_the_steps_come_in_order_in_the_loop_and_in_the_context_of_the_caller() -> None:
    who: ContextVar[str] = ContextVar("who", default="nobody")
    seen: list[tuple[str, str, bool]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def record(step: Step) -> None:
            seen.append((step.event, who.get(), asyncio.get_running_loop() is loop))

        async with open_pair() as (conn, peer):
            who.set("caller")
            conn.on_step(record)
            trio_rests()
            who.set("another")
            task = await begun(conn.linktest())
            peer.send(linktest_rsp(peer.control(LINKTEST_REQ)))
            await task

    asyncio.run(main())
    assert seen[:3] == [
        ("linktest_requested", "caller", True),
        ("traffic_seen", "caller", True),
        ("linktest_rsp_received", "caller", True),
    ]


def test_a_callback_that_raises_is_reported_by_the_loop_and_the_others_are_called() -> None:
    reported: list[dict[str, Any]] = []
    seen: list[Step] = []

    def fail(step: Step) -> None:
        seen.append(step)
        raise RuntimeError(step.event)

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: reported.append(what))
        async with open_pair() as (conn, peer):
            conn.on_step(fail)
            trio_rests()
            task = await begun(conn.linktest())
            peer.send(linktest_rsp(peer.control(LINKTEST_REQ)))
            # The loop is blocked, so it takes all steps together.
            trio_rests()
            await task
            await asyncio.sleep(0)
            assert len(seen) == len(reported) == 3

    asyncio.run(main())
    assert str(reported[0]["exception"]) == "linktest_requested"


def test_a_loop_that_is_late_gets_the_latest_steps_and_logs_how_many_it_missed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(callbacks, "MOST", 1)
    seen: list[str] = []

    async def main() -> str:
        async with open_pair() as (conn, peer):
            conn.on_step(lambda step: seen.append(step.event))
            trio_rests()
            task = await begun(conn.linktest())
            peer.send(linktest_rsp(peer.control(LINKTEST_REQ)))
            trio_rests()
            await task
            assert seen == ["linktest_rsp_received"]
            return conn.peer

    peer = asyncio.run(main())
    (line,) = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert line == (
        f"{peer} active: on_step: 2 calls are left out: the event loop was late, and at most 1 "
        "wait for it, or inbox_bytes of messages"
    )


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts what other threads ask of it."""

    asked = 0

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        self.asked += 1
        return super().call_soon_threadsafe(callback, *args, context=context)


def test_a_loop_that_is_late_is_asked_once() -> None:
    seen: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CountingLoop)
        tell = callbacks.Callbacks(TELLER, "numbers", seen.append)
        before = loop.asked
        for number in range(5):
            tell(number)
        assert loop.asked == before + 1
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert seen == [0, 1, 2, 3, 4]

    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        runner.run(main())


def test_messages_are_told_in_the_loop_in_order() -> None:
    seen: list[str] = []

    async def main() -> None:
        async with open_pair() as (conn, peer):
            conn.on_message(lambda each: seen.append(f"{each.direction} {each.name}"))
            trio_rests()
            task = await begun(conn.linktest())
            peer.send(linktest_rsp(peer.control(LINKTEST_REQ)))
            await task
            trio_rests()
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    asyncio.run(main())
    assert seen == ["sent Linktest.req", "received Linktest.rsp"]


def test_of_long_messages_only_so_many_bytes_wait_for_a_late_loop() -> None:
    seen: list[int] = []

    async def main() -> None:
        tell = callbacks.Callbacks(TELLER, "sizes", seen.append, lambda size: size, lambda: 10)
        for size in (4, 4, 4, 99):
            tell(size)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(main())
    # A single one may be longer.
    assert seen == [99]


@pytest.mark.parametrize("size", [0, 3])
def test_the_size_of_a_message_is_that_of_its_body(size: int) -> None:
    message = Message(1, 1, body=bytes(size)) if size else None
    header = control_frame(SType.LINKTEST_REQ, 1)
    assert callbacks.body_size(Traffic(0.0, 1, "tool", True, header, 14 + size, message)) == size


def test_a_call_that_acts_at_once_need_not_be_awaited() -> None:
    async def main() -> None:
        async with aio.open_link("127.0.0.1", 1, **QUIET) as link:
            link.disable()
            trio_rests()
            assert link.phase == "idle"
            with pytest.raises(LocalProtocolError):
                await link.disable()
            enabled = link.enable()
            enabled.cancel()
            trio_rests()
            await asyncio.sleep(0)
            assert enabled.cancelled()

    asyncio.run(main())


def test_what_is_no_function_is_refused_at_once() -> None:
    async def main() -> None:
        async with aio.open_link("127.0.0.1", 1, **QUIET) as link:
            with pytest.raises(TypeError, match="is no function"):
                link.on_selected(None)  # type: ignore[arg-type]

    asyncio.run(main())


# The wrong place


WRONG = (
    "hsms_engine.aio is for asyncio, which does not run in this thread: use hsms_engine.blocking "
    "in a program without an event loop and in other threads, and hsms_engine itself with trio"
)


def test_in_a_thread_without_asyncio_the_error_names_the_blocking_door() -> None:
    def there(call: Callable[[], object]) -> str:
        try:
            call()
        except WrongLoopError as error:
            return str(error)
        return "no error"

    async def main() -> list[str]:
        async with open_pair() as (conn, peer):
            calls: list[Callable[[], object]] = [
                lambda: conn.request(S1F1()).send(None),
                lambda: conn.on_step(print),
                lambda: aio.open_hsms("127.0.0.1", 1).__aenter__().send(None),
                lambda: aio.open_link("127.0.0.1", 1).__aenter__().send(None),
                lambda: aio.serve_hsms(echo, "127.0.0.1", 0).__aenter__().send(None),
            ]
            told = [await asyncio.to_thread(there, call) for call in calls]
            trio_rests()
            peer.ping()
            assert conn.is_selected
        return told

    assert asyncio.run(main()) == [WRONG] * 5


async def test_under_trio_the_error_names_the_trio_api() -> None:
    with pytest.raises(WrongLoopError, match=f"^{re.escape(WRONG)}$"):
        async with aio.open_hsms("127.0.0.1", 1):
            pass


# The breaker


def test_the_breaker_is_used_around_a_call_and_a_cancelled_call_does_not_count() -> None:
    async def main() -> None:
        breaker = aio.CircuitBreaker(1, 60)

        async def attempt(call: Awaitable[object]) -> None:
            with breaker.attempt():
                await call

        for never in (asyncio.sleep(1_000), asyncio.get_running_loop().create_future()):
            task = asyncio.create_task(attempt(never))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        assert breaker.state == "closed"
        with pytest.raises(OSError, match="down"), breaker.attempt():
            raise OSError("down")
        assert breaker.state == "open"
        assert 0 < breaker.retry_after <= 60

    asyncio.run(main())
