"""What both doors stand on: calls into the trio thread, whose outcome somebody always gets."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from queue import SimpleQueue

import pytest
import trio

from hsms_engine import ClosedError, blocking
from hsms_engine.doors.call import Call
from hsms_engine.doors.hold import Hold
from hsms_engine.doors.thread import TrioThread, trio_thread

PATIENCE = 20.0


def test_the_first_outcome_counts_and_wakes_once() -> None:
    woken: list[str] = []
    call = Call[str](lambda: woken.append("!"))
    call.fail(ValueError("first"))
    call.fail(ValueError("second"))
    assert woken == ["!"]
    assert not call.abandon()
    with pytest.raises(ValueError, match="first"):
        call.result()


def test_a_value_for_an_abandoned_call_is_late_and_wakes_nobody() -> None:
    late: list[str] = []
    call = Call[str](lambda: pytest.fail("nobody waits"), late.append)
    assert call.abandon()
    assert not call.abandon()
    call.succeed("value")
    assert late == ["value"]


def test_a_value_that_its_caller_cannot_take_is_given_back() -> None:
    late: list[str] = []
    call = Call[str](lambda: None, late.append)
    call.succeed("value")
    assert late == []
    call.give_back()
    assert late == ["value"]


def test_an_error_that_its_caller_cannot_take_is_not_given_back() -> None:
    call = Call[str](lambda: None, lambda _: pytest.fail("there is no value"))
    call.fail(ValueError())
    call.give_back()


def test_a_call_that_is_ended_raises_and_a_value_after_it_is_late() -> None:
    late: list[str] = []
    call = Call[str](lambda: None, late.append)
    call.end(ValueError("over"))
    call.end(ValueError("again"))
    call.succeed("value")
    assert late == ["value"]
    with pytest.raises(ValueError, match="over"):
        call.result()


def test_many_threads_abandon_calls_while_they_succeed_and_no_value_is_lost() -> None:
    taken: SimpleQueue[int] = SimpleQueue()
    calls = [Call[int](lambda: None, taken.put) for _ in range(2_000)]
    together = threading.Barrier(2)

    def abandon() -> None:
        together.wait(PATIENCE)
        # The values of the others are there, or come in this moment.
        ours.extend(call for call in calls if not call.abandon())

    ours: list[Call[int]] = []
    thread = threading.Thread(target=abandon)
    thread.start()
    together.wait(PATIENCE)
    for number, call in enumerate(calls):
        call.succeed(number)
    thread.join(PATIENCE)
    late = {taken.get() for _ in range(taken.qsize())}
    assert late | {call.result() for call in ours} == set(range(len(calls)))
    assert len(late) + len(ours) == len(calls)


@pytest.fixture
def quiet_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[type[BaseException]]]:
    """The types of what threads raise to nobody."""
    raised: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: raised.append(args.exc_type))
    yield raised
    # Of a thread that has failed; the next test begins another one.
    assert trio_thread().failure is None


def test_what_is_held_open_is_left_when_the_thread_ends() -> None:
    left: list[str] = []

    @asynccontextmanager
    async def block() -> AsyncIterator[str]:
        try:
            yield "open"
        finally:
            left.append("left")

    thread, is_there = TrioThread("of a test"), threading.Event()
    entered = Call[str](is_there.set)
    Hold(thread, block).enter(entered)
    assert is_there.wait(PATIENCE)
    assert entered.result() == "open"
    assert thread.end()
    assert left == ["left"]


def fail() -> None:
    raise ZeroDivisionError


def test_when_the_thread_fails_every_call_ends_and_the_next_program_gets_another(
    quiet_threads: list[type[BaseException]],
) -> None:
    waiting: SimpleQueue[BaseException] = SimpleQueue()
    block = blocking.serve_hsms(list, port=0)
    server = block.__enter__()

    def wait() -> None:
        try:
            server.wait_closed()
        except ClosedError as error:
            waiting.put(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    thread = trio_thread()
    while not thread._undecided:
        time.sleep(0)
    thread.soon(fail)
    error = waiting.get(timeout=PATIENCE)
    assert isinstance(error.__cause__, trio.TrioInternalError)
    waiter.join(PATIENCE)
    with pytest.raises(ClosedError, match="has failed"):
        server.close()
    with pytest.raises(ClosedError, match="has failed"):
        block.__exit__(None, None, None)
    thread.soon(fail)
    with blocking.serve_hsms(list, port=0) as another:
        assert another.connections == []
    assert quiet_threads == [trio.TrioInternalError]


def test_a_thread_that_cannot_begin_says_why(
    monkeypatch: pytest.MonkeyPatch, quiet_threads: list[type[BaseException]]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as broken:
        broken.setattr(trio, "run", refuse)
        thread = TrioThread()
    call = Call[None](lambda: None)
    thread.run_sync(call, lambda: None)
    with pytest.raises(ClosedError) as caught:
        call.result()
    assert isinstance(caught.value.__cause__, OSError)
    assert quiet_threads == [OSError]
