"""The circuit breaker by itself: any kind of call, and a clock that is given to it."""

from __future__ import annotations

import ast
import inspect
import math

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import hsms_engine.breaker
from hsms_engine import CircuitBreaker, CircuitOpenError, LocalProtocolError, SettingsError
from hsms_engine.breaker import Permit
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]

THRESHOLDS = [1, 2, 3, 5, 10]


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(clock: Clock, threshold: int = 3, open_time: float = 60) -> CircuitBreaker:
    breaker = CircuitBreaker(threshold, open_time, clock)
    for _ in range(threshold):
        breaker.permit().failed()
    return breaker


def half_open(clock: Clock, threshold: int = 3) -> CircuitBreaker:
    breaker = opened(clock, threshold)
    clock.now += 60
    return breaker


def test_it_is_closed_at_the_start(clock: Clock) -> None:
    breaker = CircuitBreaker(3, 60, clock)
    assert (breaker.state, breaker.failures, breaker.retry_after) == ("closed", 0, 0)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_it_opens_at_its_threshold_and_not_before(clock: Clock, threshold: int) -> None:
    breaker = CircuitBreaker(threshold, 60, clock)
    for count in range(threshold):
        assert (breaker.state, breaker.failures) == ("closed", count)
        breaker.permit().failed()
    assert (breaker.state, breaker.failures) == ("open", threshold)


def test_open_refuses_with_the_time_left(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 12.5
    with pytest.raises(
        CircuitOpenError, match=r"circuit breaker is open; retry in 47\.5 s"
    ) as caught:
        breaker.permit()
    assert caught.value.retry_after == breaker.retry_after == 47.5
    assert breaker.counts["refused"] == 1


def test_it_is_half_open_when_the_open_time_is_over_and_not_before(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 59.999
    assert breaker.state == "open"
    clock.now += 0.001
    assert (breaker.state, breaker.retry_after) == ("ready", 0)


def test_one_success_closes_it_and_clears_the_count(clock: Clock) -> None:
    breaker = half_open(clock)
    probe = breaker.permit()
    assert breaker.state == "probing"
    probe.succeeded()
    assert (breaker.state, breaker.failures) == ("closed", 0)
    breaker.permit().failed()
    breaker.permit().failed()
    assert breaker.state == "closed"


def test_one_failed_probe_opens_it_again_for_the_whole_time(clock: Clock) -> None:
    breaker = half_open(clock)
    probe = breaker.permit()
    clock.now += 5
    probe.failed()
    assert (breaker.state, breaker.retry_after) == ("open", 60)
    clock.now += 59
    assert breaker.state == "open"
    clock.now += 1
    breaker.permit().succeeded()
    assert breaker.state == "closed"


async def test_of_50_waiting_callers_one_probes(clock: Clock) -> None:
    breaker = half_open(clock)
    ran: list[int] = []
    refused: list[int] = []
    release = trio.Event()

    async def call(number: int) -> None:
        try:
            with breaker.attempt():
                ran.append(number)
                await release.wait()
        except CircuitOpenError:
            refused.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(call, number)
        await wait_all_tasks_blocked()
        assert (len(ran), len(refused)) == (1, 49)
        release.set()
    assert breaker.state == "closed"


async def test_20_concurrent_failures_are_one_opened_event(clock: Clock) -> None:
    changes: list[str] = []
    breaker = CircuitBreaker(5, 60, clock, changes.append)
    release = trio.Event()

    async def fail() -> None:
        with breaker.attempt():
            await release.wait()
            raise OSError("down")

    async def call() -> None:
        with pytest.raises(OSError, match="down"):
            await fail()

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(call)
        await wait_all_tasks_blocked()
        release.set()
    assert changes == ["open"]
    assert breaker.counts["attempt_failed"] == 20
    assert breaker.counts["stale_result"] == 15


async def test_a_cancelled_call_is_neither_success_nor_failure(clock: Clock) -> None:
    breaker = CircuitBreaker(1, 60, clock)
    with trio.move_on_after(1), breaker.attempt():
        await trio.sleep_forever()
    assert (breaker.state, breaker.failures) == ("closed", 0)
    assert breaker.counts["attempt_cancelled"] == 1


async def test_a_cancelled_call_does_not_clear_the_count(clock: Clock) -> None:
    breaker = CircuitBreaker(2, 60, clock)
    breaker.permit().failed()
    breaker.permit().cancelled()
    assert breaker.failures == 1


async def test_a_cancelled_probe_gives_its_permit_back(clock: Clock) -> None:
    breaker = half_open(clock)
    with trio.move_on_after(1), breaker.attempt():
        await trio.sleep_forever()
    assert breaker.state == "ready"
    breaker.permit().succeeded()
    assert breaker.state == "closed"


def test_a_success_in_closed_resets_the_consecutive_count(clock: Clock) -> None:
    breaker = CircuitBreaker(3, 60, clock)
    for _ in range(100):
        breaker.permit().failed()
        breaker.permit().failed()
        breaker.permit().succeeded()
    assert breaker.state == "closed"


@pytest.mark.parametrize("result", ["succeeded", "failed", "cancelled"])
def test_a_result_of_an_earlier_period_changes_nothing(clock: Clock, result: str) -> None:
    breaker = CircuitBreaker(1, 60, clock)
    late: list[Permit] = [breaker.permit() for _ in range(4)]

    def settle(permit: Permit) -> None:
        before = breaker.state, breaker.failures
        getattr(permit, result)()
        assert (breaker.state, breaker.failures) == before

    breaker.permit().failed()
    assert breaker.state == "open"
    settle(late.pop())
    clock.now += 60
    assert breaker.state == "ready"
    settle(late.pop())
    probe = breaker.permit()
    settle(late.pop())
    assert breaker.state == "probing"
    probe.succeeded()
    settle(late.pop())
    assert breaker.state == "closed"
    assert breaker.counts["stale_result"] == 4


def test_a_probe_of_an_earlier_half_open_does_not_decide_this_one(clock: Clock) -> None:
    breaker = half_open(clock)
    old = breaker.permit()
    breaker.reset()
    for _ in range(3):
        breaker.permit().failed()
    clock.now += 60
    new = breaker.permit()
    old.succeeded()
    assert breaker.state == "probing"
    new.failed()
    assert breaker.state == "open"


def test_isolated_refuses_until_it_is_released(clock: Clock) -> None:
    breaker = CircuitBreaker(3, 60, clock)
    breaker.isolate()
    clock.now += 1e9
    assert (breaker.state, breaker.retry_after) == ("isolated", math.inf)
    with pytest.raises(CircuitOpenError) as caught:
        breaker.permit()
    assert caught.value.retry_after == math.inf
    breaker.isolate()
    breaker.release()
    assert (breaker.state, breaker.failures) == ("closed", 0)


@pytest.mark.parametrize("state", ["closed", "open", "ready", "probing"])
def test_releasing_what_is_not_isolated_is_an_error(clock: Clock, state: str) -> None:
    breaker = CircuitBreaker(3, 60, clock)
    if state != "closed":
        breaker = opened(clock) if state == "open" else half_open(clock)
    if state == "probing":
        breaker.permit()
    with pytest.raises(LocalProtocolError, match=f"the breaker is {state}, not isolated"):
        breaker.release()
    breaker.isolate()
    breaker.release()
    assert breaker.state == "closed"


@pytest.mark.parametrize("state", ["closed", "open", "ready", "probing", "isolated"])
def test_a_reset_closes_it_whatever_its_state(clock: Clock, state: str) -> None:
    breaker = half_open(clock) if state in ("ready", "probing") else opened(clock)
    if state == "probing":
        breaker.permit()
    elif state == "isolated":
        breaker.isolate()
    elif state == "closed":
        breaker.reset()
        breaker.permit().failed()
    assert breaker.state == state
    breaker.reset()
    assert (breaker.state, breaker.failures) == ("closed", 0)


def test_a_permit_is_settled_once(clock: Clock) -> None:
    permit = CircuitBreaker(3, 60, clock).permit()
    permit.succeeded()
    with pytest.raises(LocalProtocolError, match="settled already"):
        permit.failed()


def test_an_attempt_that_raises_is_a_failure_and_the_error_comes_out(clock: Clock) -> None:
    breaker = CircuitBreaker(1, 60, clock)
    error = OSError("refused")
    with pytest.raises(OSError, match="refused") as caught, breaker.attempt():
        raise error
    assert caught.value is error
    assert breaker.state == "open"


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_lowering_the_threshold_keeps_the_history_and_opens_at_once(
    clock: Clock, threshold: int
) -> None:
    changes: list[str] = []
    breaker = CircuitBreaker(20, 60, clock, changes.append)
    for _ in range(threshold):
        breaker.permit().failed()
    breaker.configure(threshold + 1, 60)
    assert (breaker.state, breaker.failures) == ("closed", threshold)
    breaker.configure(threshold, 60)
    assert (breaker.state, breaker.failures) == ("open", threshold)
    assert changes == ["open"]


def test_raising_the_threshold_keeps_the_count(clock: Clock) -> None:
    breaker = CircuitBreaker(3, 60, clock)
    breaker.permit().failed()
    breaker.permit().failed()
    breaker.configure(4, 60)
    breaker.permit().failed()
    assert breaker.state == "closed"
    breaker.permit().failed()
    assert breaker.state == "open"


def test_a_running_open_period_is_re_timed(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 10
    breaker.configure(3, 30)
    assert breaker.retry_after == 20
    breaker.configure(3, 100)
    assert breaker.retry_after == 90
    breaker.configure(3, 10)
    assert breaker.state == "ready"


def test_a_reconfigured_half_open_still_lets_one_probe_through(clock: Clock) -> None:
    breaker = half_open(clock)
    probe = breaker.permit()
    breaker.configure(1, 5)
    with pytest.raises(CircuitOpenError):
        breaker.permit()
    probe.succeeded()
    assert breaker.state == "closed"


@pytest.mark.parametrize(("threshold", "open_time"), [(0, 60), (1001, 60), (3, 0), (3, math.inf)])
def test_a_bad_value_is_refused_and_changes_nothing(
    clock: Clock, threshold: int, open_time: float
) -> None:
    with pytest.raises(SettingsError):
        CircuitBreaker(threshold, open_time, clock)
    breaker = opened(clock, 5, 60)
    with pytest.raises(SettingsError):
        breaker.configure(threshold, open_time)
    assert (breaker.state, breaker.retry_after) == ("open", 60)


def test_each_change_is_told_once_and_in_order(clock: Clock) -> None:
    changes: list[str] = []
    breaker = CircuitBreaker(1, 60, clock, changes.append)
    breaker.permit().failed()
    clock.now += 60
    breaker.permit().cancelled()
    breaker.permit().succeeded()
    breaker.isolate()
    breaker.isolate()
    breaker.release()
    assert changes == [
        "open",
        "ready",
        "probing",
        "ready",
        "probing",
        "closed",
        "isolated",
        "closed",
    ]


def test_no_clock_but_the_one_given_is_looked_at() -> None:
    tree = ast.parse(inspect.getsource(hsms_engine.breaker))
    imported = {
        name.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (node.names if isinstance(node, ast.Import) else [ast.alias(node.module or "")])
    }
    assert imported.isdisjoint({"time", "datetime", "trio", "random"})


def test_waiting_as_long_as_told_is_long_enough() -> None:
    """Whatever the clock's digits: who comes back after ``retry_after`` is not refused again."""
    clock = Clock()
    for tenth in range(60):
        clock.now = 0.1 * tenth
        breaker = opened(clock, 1, 60.7)
        clock.now += 0.3
        with pytest.raises(CircuitOpenError) as caught:
            breaker.permit()
        clock.now += caught.value.retry_after
        assert breaker.retry_after < 1e-9


def test_a_listener_that_raises_over_a_probe_leaves_no_permit_behind(clock: Clock) -> None:
    def refuse(state: str) -> None:
        if state == "probing":
            raise ValueError(state)

    breaker = CircuitBreaker(1, 60, clock, refuse)
    breaker.permit().failed()
    clock.now += 60
    for _ in range(2):
        with pytest.raises(ValueError, match="probing"):
            breaker.permit()
        assert breaker.state == "ready"


def test_jitter_is_asked_each_time_and_makes_the_open_time_longer(clock: Clock) -> None:
    fractions = iter([0.5, 0.0, 0.2])
    breaker = CircuitBreaker(1, 10, clock, jitter=lambda: next(fractions))
    for open_time in (15, 10, 12):
        breaker.permit().failed()
        assert breaker.retry_after == pytest.approx(open_time)
        clock.now += open_time - 0.001
        assert breaker.state == "open"
        clock.now += 0.002
        assert breaker.state == "ready"
