"""The blocks of the asyncio door: exceptions, cancellation, and loops that end too early.

Peers are blocking sockets: a coroutine that uses them blocks the event loop.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import pytest

from hsms_engine import ClosedError, ConnectError, ConnectionLostError, Message, aio
from hsms_engine.messages import S1F1
from hsms_engine.protocol.outputs import Step
from tests.support.blocking_peer import Listener, listening, trio_held, trio_rests
from tests.support.doors import begun, trio_at_rest
from tests.support.leaks import leak_check
from tests.support.raw_peer import SELECT_REQ, SEPARATE_REQ, data, select_rsp
from tests.test_api_shape import REFUSED

__all__ = ["leak_check", "trio_at_rest"]

QUIET: dict[str, Any] = {"linktest_interval": None}

Opened = AbstractAsyncContextManager[aio.HsmsConnection]


class RaisedError(Exception):
    """What a block raises here."""


def opening(listener: Listener, **changes: Any) -> Opened:
    return aio.open_hsms("127.0.0.1", listener.port, **{**QUIET, **changes})


# The exit


def test_the_exit_separates() -> None:
    async def main() -> None:
        with listening() as listener:
            selected = listener.select()
            async with opening(listener, linger=0.01):
                peer = selected.result()
            peer.control(SEPARATE_REQ)
            peer.end()
            peer.close()

    asyncio.run(main())


def test_an_exception_of_the_block_comes_out_as_it_is_and_the_peer_is_told() -> None:
    raised = RaisedError()

    async def main() -> None:
        with listening() as listener:
            selected = listener.select()

            async def fail() -> None:
                async with opening(listener, linger=0.01):
                    raise raised

            with pytest.raises(RaisedError) as caught:
                await fail()
            assert caught.value is raised
            peer = selected.result()
            assert raised.__context__ is raised.__cause__ is None
            peer.control(SEPARATE_REQ)
            peer.end()
            peer.close()

    asyncio.run(main())


@pytest.mark.parametrize("raises", [False, True])
def test_the_exit_tells_what_could_not_be_written_unless_the_block_has_raised(
    *, raises: bool
) -> None:
    async def use(listener: Listener) -> None:
        selected = listener.select()

        def close() -> None:
            # The exit has begun.
            trio_rests()
            selected.result().close()

        async with opening(listener) as conn:
            await conn.send(Message(6, 11, body=bytes(16_000_000)))
            asyncio.get_running_loop().call_soon(close)
            if raises:
                raise RaisedError

    async def main() -> None:
        with listening() as listener:
            if raises:
                with pytest.raises(RaisedError):
                    await use(listener)
            else:
                with pytest.raises(ConnectionLostError, match="bytes"):
                    await use(listener)

    asyncio.run(main())


async def hold(opened: Opened, held: list[aio.HsmsConnection]) -> None:
    async with opened as conn:
        held.append(conn)
        await asyncio.get_running_loop().create_future()


def test_a_cancelled_block_closes_politely_and_a_second_cancel_leaves_at_once() -> None:
    async def main() -> None:
        with listening() as listener:
            selected = listener.select()
            held: list[aio.HsmsConnection] = []
            task = asyncio.create_task(hold(opening(listener, linger=10), held))
            peer = await asyncio.wrap_future(selected)
            while not held:
                # It is not in its block yet.
                trio_rests()
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0)
            peer.control(SEPARATE_REQ)
            # It waits for the peer, which has been told, and does not close.
            trio_rests()
            await asyncio.sleep(0)
            assert not task.done()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            trio_rests()
            assert held[0].phase == "closed"
            peer.close()

    asyncio.run(main())


# Opening


def test_a_failed_opening_raises_its_error() -> None:
    async def main() -> None:
        with listening() as listener:
            port = listener.port
        with pytest.raises(ConnectError, match="Connection refused"):
            async with aio.open_hsms("127.0.0.1", port):
                pytest.fail("it was opened")

    asyncio.run(main())


@pytest.mark.parametrize("door", [aio.open_hsms, aio.open_link, partial(aio.serve_hsms, print)])
@pytest.mark.parametrize(("given", "changes", "kind", "words"), REFUSED)
def test_what_cannot_be_meant_is_refused_as_in_the_trio_api(
    door: Callable[..., AbstractAsyncContextManager[Any]],
    given: tuple[Any, ...],
    changes: dict[str, Any],
    kind: type[Exception],
    words: str,
) -> None:
    async def main() -> None:
        with pytest.raises(kind, match=words):
            await door(*given, **changes).__aenter__()

    asyncio.run(main())


def test_cancelling_while_it_opens_leaves_nothing_open() -> None:
    async def main() -> None:
        with listening() as listener:
            task = await begun(opening(listener).__aenter__())
            peer = listener.accept()
            peer.control(SELECT_REQ)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            peer.end()
            peer.close()

    asyncio.run(main())


def test_cancelling_in_the_moment_in_which_it_is_open_closes_it() -> None:
    async def main() -> None:
        with listening() as listener:
            task = await begun(opening(listener).__aenter__())
            peer = listener.accept()
            peer.send(select_rsp(peer.control(SELECT_REQ)))
            peer.ping()
            # The loop is blocked: it is open, and its task does not know.
            trio_rests()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            peer.control(SEPARATE_REQ)
            peer.end()
            peer.close()

    asyncio.run(main())


def test_cancelling_before_it_began_to_open_opens_nothing() -> None:
    async def main() -> None:
        with listening() as listener:
            with trio_held():
                task = asyncio.create_task(opening(listener).__aenter__())
                await asyncio.sleep(0)
                task.cancel()
                # It waits for the trio thread, to be sure.
                await asyncio.sleep(0)
                assert not task.done()
            with pytest.raises(asyncio.CancelledError):
                await task
            listener.expect_nobody()

    asyncio.run(main())


def test_a_timeout_around_the_opening_leaves_nothing_open() -> None:
    async def main() -> None:
        with listening() as listener:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await opening(listener).__aenter__()
            trio_rests()

    asyncio.run(main())


# Loops


def test_one_run_after_the_other_in_a_process() -> None:
    async def main() -> aio.HsmsConnection:
        with listening() as listener:
            selected = listener.select()
            async with opening(listener, linger=0.01) as conn:
                peer = selected.result()
                peer.send(data(6, 11, 1))
                assert (await conn.receive()).name == "S6F11"
            peer.close()
            return conn

    async def use(conn: aio.HsmsConnection) -> None:
        with pytest.raises(ClosedError):
            await conn.linktest()

    first = asyncio.run(main())
    asyncio.run(main())
    # What the first run has opened is closed, and says so.
    asyncio.run(use(first))


class OwnLoop:
    """A loop that is closed without the end of what runs in it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def begin(self, call: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task, until it and the trio thread wait."""
        task = self.loop.create_task(call)
        self.loop.run_until_complete(asyncio.sleep(0))
        trio_rests()
        return task


@pytest.fixture
def lost_tasks(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The complaints of asyncio about tasks that nobody has ended."""
    return lambda: [each.getMessage() for each in caplog.records if each.name == "asyncio"]


def test_what_was_opened_in_a_closed_loop_works_in_another(
    lost_tasks: Callable[[], list[str]],
) -> None:
    with listening() as listener:
        selected = listener.select()
        own = OwnLoop()
        opened = opening(listener, linger=0.01)
        conn = own.loop.run_until_complete(opened.__aenter__())
        peer = selected.result()
        receiving = own.begin(conn.receive())
        own.loop.close()
        # A primary that comes for a closed loop is not lost.
        peer.send(data(6, 11, 1))
        trio_rests()

        async def main() -> None:
            assert (await conn.receive()).name == "S6F11"
            peer.send(data(6, 13, 2))
            assert (await conn.receive()).name == "S6F13"
            await opened.__aexit__(None, None, None)

        asyncio.run(main())
        peer.close()
        assert not receiving.done()
        del receiving, own
        gc.collect()
        assert len(lost_tasks()) == 1


def test_a_block_whose_loop_was_closed_is_left_when_its_task_is_collected(
    lost_tasks: Callable[[], list[str]],
) -> None:
    with listening() as listener:
        selected = listener.select()
        own = OwnLoop()
        task = own.loop.create_task(hold(opening(listener), []))
        peer = own.loop.run_until_complete(asyncio.wrap_future(selected, loop=own.loop))
        own.loop.run_until_complete(asyncio.sleep(0))
        trio_rests()
        own.loop.run_until_complete(asyncio.sleep(0))
        own.loop.run_until_complete(asyncio.sleep(0))
        own.loop.close()
        del task, own
        gc.collect()
        peer.control(SEPARATE_REQ)
        peer.end()
        peer.close()
        assert len(lost_tasks()) == 1


def test_steps_for_a_closed_loop_are_dropped() -> None:
    with listening() as listener:
        selected = listener.select()
        own = OwnLoop()
        opened = opening(listener, linger=0.01)
        conn = own.loop.run_until_complete(opened.__aenter__())
        peer = selected.result()
        steps: list[Step] = []

        async def watch() -> None:
            conn.on_step(steps.append)

        own.loop.run_until_complete(watch())
        trio_rests()
        own.loop.close()

        async def main() -> None:
            peer.ping()
            await opened.__aexit__(None, None, None)

        asyncio.run(main())
        peer.close()
        assert steps == []


# A loop that is blocked


def test_a_blocked_loop_answers_linktests_and_blames_nobody() -> None:
    async def main() -> None:
        with listening() as listener:
            selected = listener.select()
            async with opening(listener, linger=0.01) as conn:
                peer = selected.result()
                task = await begun(conn.request(S1F1()))
                # From here on the loop is blocked, and its peer sees nothing of that.
                asked = peer.frame()
                for number in range(3):
                    peer.ping(number)
                peer.send(data(6, 11, 7), data(1, 2, asked.system))
                peer.ping()
                assert not task.done()
                assert await task == Message(1, 2)
                assert (await conn.receive()).name == "S6F11"
            peer.close()

    asyncio.run(main())
