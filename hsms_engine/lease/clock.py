"""The clock by which an owner knows when its lease is over: it also runs while the machine sleeps.

Trio's clock stands still while a machine is suspended, and the store's does not. So what the system
counts as sleep is added to it. Windows needs nothing: trio's clock counts that there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

# The two clocks are not read at one moment, so less is no sleep. In seconds.
_SHORTEST_SLEEP = 0.05


def _slept() -> float:
    """How long this machine has slept since some moment, in seconds.

    Or less, when this process was stopped between the two readings: then the next call tells.
    """
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
    elif sys.platform == "darwin":
        return time.clock_gettime(time.CLOCK_MONOTONIC_RAW) - time.clock_gettime(
            time.CLOCK_UPTIME_RAW
        )
    else:
        return 0.0


class LeaseClock:
    """``clock``, which is trio's, and the time that the machine has slept since this was made.

    It never goes backwards while ``clock`` does not. It may be asked in any thread.
    """

    __slots__ = ("_clock", "_counted", "_slept", "_slept_before")

    def __init__(self, clock: Callable[[], float], slept: Callable[[], float] = _slept) -> None:
        """``slept``: for how long the machine has slept since some moment, in seconds."""
        self._clock = clock
        self._slept = slept
        self._slept_before = slept()
        self._counted = 0.0

    def __call__(self) -> float:
        """Now, in seconds."""
        longer = self._slept() - self._slept_before
        if longer >= self._counted + _SHORTEST_SLEEP:
            self._counted = longer
        return self._clock() + self._counted
