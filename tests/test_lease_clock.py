"""The clock of a lease is trio's, and runs on while the machine sleeps."""

from __future__ import annotations

import sys
import time

import pytest

from hsms_engine.lease import clock as clocks
from hsms_engine.lease.clock import LeaseClock


class Hands:
    """What the two clocks say."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept = 7.0

    def clock(self) -> LeaseClock:
        return LeaseClock(lambda: self.now, lambda: self.slept)


def test_what_was_slept_before_does_not_count_and_what_is_slept_then_does() -> None:
    hands = Hands()
    clock = hands.clock()
    assert clock() == 100
    hands.now += 1
    hands.slept += 3_600
    assert clock() == 3_701
    hands.slept += 0.5
    assert clock() == 3_701.5


@pytest.mark.parametrize("noise", [0.049, -0.049, -1.0])
def test_two_clocks_that_are_not_read_at_one_moment_are_no_sleep(noise: float) -> None:
    hands = Hands()
    clock = hands.clock()
    hands.slept += noise
    assert clock() == 100


def test_it_never_goes_backwards() -> None:
    """A process may be stopped between the two readings: then less seems to be slept."""
    hands = Hands()
    clock = hands.clock()
    hands.slept += 10
    assert clock() == 110
    hands.slept -= 8
    assert clock() == 110
    hands.slept += 8
    assert clock() == 110


def test_short_sleeps_add_up() -> None:
    hands = Hands()
    clock = hands.clock()
    for _ in range(10):
        hands.slept += 0.03125
        clock()
    # Less than the shortest may be missing.
    assert 100.3125 - 0.05 < clock() <= 100.3125


def test_of_the_system_it_takes_the_clock_that_counts_sleep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = LeaseClock(lambda: 1.0)
    assert clock() == 1
    if sys.platform != "linux":
        return
    read = time.clock_gettime

    def after_a_sleep(which: int) -> float:
        return read(which) + (60 if which == time.CLOCK_BOOTTIME else 0)

    monkeypatch.setattr(time, "clock_gettime", after_a_sleep)
    assert 61 - 0.05 < clock() < 61 + 0.05


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_have_other_clocks_or_need_none(
    monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    raw, uptime = 4, 8
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(time, "CLOCK_MONOTONIC_RAW", raw, raising=False)
    monkeypatch.setattr(time, "CLOCK_UPTIME_RAW", uptime, raising=False)
    monkeypatch.setattr(time, "clock_gettime", {raw: 90.0, uptime: 20.0}.__getitem__)
    assert clocks._slept() == (70 if platform == "darwin" else 0)
