"""Calls of the doors that are given up, overtaken or out of place, at the worst moment."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest
import trio

from hsms_engine import ConnectionLostError, Message, Settings, aio, blocking, open_hsms, open_link
from hsms_engine.driver.event_reader import EventReader
from hsms_engine.driver.loop import Loop
from hsms_engine.errors import WrongLoopError
from hsms_engine.events import Missed, PeerAccepted
from hsms_engine.fake.equipment import serve_fake
from hsms_engine.fake.threaded import ThreadedEquipment, run_in_thread
from tests.support.blocking_peer import trio_held, trio_rests
from tests.support.pair import Told
from tests.support.raw_peer import deselect_req, deselect_rsp, select_req, select_rsp

HOST = "127.0.0.1"
PATIENCE = 20.0


@pytest.fixture
def tool() -> Iterator[ThreadedEquipment]:
    with run_in_thread(serve_fake) as equipment:
        yield equipment


def close_at_once(held: object) -> None:
    """So that one defect does not hold up the tests after it."""
    thread, inner = held._thread, held._held  # type: ignore[attr-defined]
    thread.soon(inner.close_soon)


# 1. A call that is abandoned before the trio thread has begun it never happens, also a leave.


def test_an_asyncio_block_that_is_cancelled_twice_in_its_exit_is_left(
    tool: ThreadedEquipment,
) -> None:
    opened: list[aio.HsmsConnection] = []
    is_open = asyncio.Event()

    async def use() -> None:
        async with aio.open_hsms(HOST, tool.port) as conn:
            opened.append(conn)
            is_open.set()
            await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(use())
        await is_open.wait()
        with trio_held():
            task.cancel()
            await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(main())
    trio_rests()
    phase = opened[0].phase
    close_at_once(opened[0])
    assert phase == "closed"


def test_what_a_task_of_a_session_has_opened_is_left_after_the_end_of_that_session() -> None:
    opened: list[blocking.HsmsConnection] = []
    is_over, may_leave, has_left = threading.Event(), threading.Event(), threading.Event()

    with run_in_thread(serve_fake) as tool, run_in_thread(serve_fake) as other:

        def task(link: blocking.HsmsLink) -> None:
            try:
                with blocking.open_hsms(HOST, other.port) as conn:
                    opened.append(conn)
                    try:
                        link.receive()
                    finally:
                        is_over.set()
                        may_leave.wait(PATIENCE)
            finally:
                has_left.set()

        with blocking.open_link(HOST, tool.port) as link:
            link.wait_selected(PATIENCE)
            link.on_selected(task)
            other.until(lambda: other.counts["selected"] == 1)
            tool.kill()
            assert is_over.wait(PATIENCE)
            with trio_held():
                may_leave.set()
                assert has_left.wait(PATIENCE)
            trio_rests()
            phase = opened[0].phase
            close_at_once(opened[0])
    assert phase == "closed"


def test_close_without_patience_closes(tool: ThreadedEquipment) -> None:
    with blocking.open_hsms(HOST, tool.port) as conn:
        with trio_held(), suppress(TimeoutError):
            conn.close(timeout=0)
        trio_rests()
        # As ``aclose`` of the trio API in a cancelled scope: "it closes without waiting".
        assert conn.phase == "closed"


def test_of_a_receive_that_is_given_up_nothing_stays(tool: ThreadedEquipment) -> None:
    with blocking.open_hsms(HOST, tool.port) as conn:
        with pytest.raises(TimeoutError):
            conn.receive(timeout=0)
        trio_rests()
        assert not conn._held._driver._takers

    async def main() -> None:
        async with aio.open_hsms(HOST, tool.port) as conn:
            task = asyncio.ensure_future(conn.receive())
            await asyncio.sleep(0)
            trio_rests()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            trio_rests()
            assert not conn._held._driver._takers

    asyncio.run(main())


# 2. A program that forgets to close still ends.

FORGETS = """
from concurrent.futures import ThreadPoolExecutor
from hsms_engine import blocking
from hsms_engine.fake.equipment import serve_fake
from hsms_engine.fake.threaded import run_in_thread

running = run_in_thread(serve_fake)
block = blocking.open_hsms("127.0.0.1", running.__enter__().port)
conn = block.__enter__()
threads = ThreadPoolExecutor()
threads.submit(conn.receive)
"""


def test_a_program_whose_pool_waits_in_a_call_ends() -> None:
    # Raises ``TimeoutExpired`` when it does not.
    subprocess.run([sys.executable, "-c", FORGETS], timeout=PATIENCE, check=True)


# 3. What a task of the user raises ends nothing else.


def test_sys_exit_in_a_task_of_a_session_ends_no_other_link(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        run_in_thread(serve_fake) as tool,
        run_in_thread(serve_fake) as other,
        blocking.open_link(HOST, other.port) as mine,
        blocking.open_link(HOST, tool.port) as link,
    ):
        mine.wait_selected(PATIENCE)
        link.on_selected(lambda _: sys.exit(3))
        link.wait_selected(PATIENCE)
        while "it has raised SystemExit" not in caplog.text:
            trio_rests()
        link.linktest(PATIENCE)
        mine.linktest(PATIENCE)


# 4. A task whose session is over sends nothing in the next one.


def test_no_call_of_a_task_whose_session_is_over_returns(tool: ThreadedEquipment) -> None:
    began, may_go_on = threading.Event(), threading.Event()
    returned: list[int] = []
    done = threading.Event()

    def task(link: blocking.HsmsLink) -> None:
        if began.is_set():
            return
        began.set()
        may_go_on.wait(PATIENCE)
        for number in range(1_000):
            with suppress(ConnectionLostError):
                link.send(Message(99, 1))
                returned.append(number)
        done.set()

    with blocking.open_link(HOST, tool.port, t5=0.01, allow_short_timers=True) as link:
        link.wait_selected(PATIENCE)
        link.on_selected(task)
        assert began.wait(PATIENCE)
        tool.kill()
        tool.restart()
        link.wait_selected(PATIENCE)
        may_go_on.set()
        assert done.wait(PATIENCE)
        link.linktest(PATIENCE)
        sent = sum(message.stream == 99 for message in tool.received)
    assert (len(returned), sent) == (0, 0)


# 5. A session that has its handler already needs no other thread.


def test_a_peer_selects_again_while_its_own_handler_has_the_only_thread() -> None:
    def handler(conn: blocking.HsmsConnection) -> None:
        with suppress(ConnectionLostError):
            conn.receive()

    with (
        blocking.serve_hsms(handler, HOST, 0, threads=1) as server,
        socket.create_connection((HOST, server.port), PATIENCE) as peer,
    ):

        def ask(request: bytes) -> bytes:
            peer.sendall(request)
            return peer.recv(100)

        assert ask(select_req(1)) == select_rsp(1)
        while server.statistics().handlers != 1:
            trio_rests()
        assert ask(deselect_req(2)) == deselect_rsp(2)
        assert ask(select_req(3)) == select_rsp(3)


@pytest.mark.parametrize("threads", [2.5, float("inf")])
def test_a_number_of_threads_that_is_not_whole_is_refused(threads: float) -> None:
    with pytest.raises(ValueError, match="threads"):
        blocking.serve_hsms(print, HOST, 0, threads=threads)  # type: ignore[call-overload]


# 6. Another thread.


async def test_on_message_in_another_thread_raises_before_it_does_anything() -> None:
    async with trio.open_nursery() as nursery:
        tool = await nursery.start(serve_fake)
        seen: list[object] = []
        async with open_hsms(HOST, tool.port) as conn:
            with pytest.raises(WrongLoopError):
                await trio.to_thread.run_sync(conn.on_message, seen.append)
            await conn.linktest()
        assert not seen
        nursery.cancel_scope.cancel()


# 7. Order.


def test_two_primaries_that_are_given_back_keep_their_order(tool: ThreadedEquipment) -> None:
    async def main() -> list[int]:
        async with aio.open_hsms(HOST, tool.port) as conn:
            for function in (1, 3, 5):
                await asyncio.to_thread(tool.send, Message(7, function))
            # The answer comes behind them.
            await conn.linktest()
            # One after the other, so that it is sure who gets what.
            tasks = []
            for _ in range(2):
                task = asyncio.ensure_future(conn.receive())
                asyncio.get_running_loop().call_soon(trio_rests)
                await asyncio.sleep(0)
                tasks.append(task)
                if len(tasks) == 2:
                    for each in tasks:
                        each.cancel()
            got = []
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    got.append((await task).function)
            return [*got, *[(await conn.receive()).function for _ in range(3 - len(got))]]

    results = [asyncio.run(main()) for _ in range(10)]
    assert results == [[1, 3, 5]] * 10


def test_sends_of_asyncio_tasks_leave_in_the_order_in_which_they_were_called(
    tool: ThreadedEquipment,
) -> None:
    async def main() -> None:
        async with aio.open_hsms(HOST, tool.port) as conn:
            for _ in range(10):
                await asyncio.gather(*[conn.send(Message(7, 1 + 2 * each)) for each in range(5)])
                await conn.linktest()

    asyncio.run(main())
    tool.until(lambda: len(tool._equipment.received) == 50)
    assert [message.function for message in tool.received] == [1, 3, 5, 7, 9] * 10


async def test_all_watchers_see_the_messages_in_one_order() -> None:
    async with trio.open_nursery() as nursery:
        tool = await nursery.start(serve_fake)
        first: list[str] = []
        second: list[str] = []
        async with open_link(HOST, tool.port) as link:
            await link.wait_selected()

            def disable(traffic: object) -> None:
                first.append(traffic.name)  # type: ignore[attr-defined]
                if first[-1] == "Linktest.rsp":
                    link.disable()

            link.on_message(disable)
            link.on_message(lambda traffic: second.append(traffic.name))
            with suppress(Exception):
                await link.linktest()
        nursery.cancel_scope.cancel()
    assert second == first


async def test_missed_comes_where_the_events_are_missing() -> None:
    settings = Settings(events_size=16)
    reader: EventReader[PeerAccepted] = EventReader(Loop(), Told(settings, "a server"))
    reader.put(PeerAccepted(0.0, 0, "a"))
    taken = await reader.receive()
    for number in range(1, 21):
        reader.put(PeerAccepted(float(number), number, "a"))
    reader._put_back(taken)
    assert await reader.receive() == taken
    assert isinstance(await reader.receive(), Missed)


# 8. The fake equipment.


def test_no_answer_fails_because_the_equipment_is_killed_meanwhile(
    tool: ThreadedEquipment,
) -> None:
    is_asked = threading.Event()

    async def answer(_: Message) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            is_asked.set()

    tool.answer(answer)
    with suppress(ConnectionLostError), blocking.open_hsms(HOST, tool.port) as conn:
        thread = threading.Thread(target=partial(_ask, conn))
        thread.start()
        assert is_asked.wait(PATIENCE)
        tool.kill()
        thread.join(PATIENCE)
    assert tool.counts["answer failed"] == 0


def _ask(conn: blocking.HsmsConnection) -> None:
    with suppress(ConnectionLostError):
        conn.request(Message(1, 1, True))
