"""A clock that jumps to the next deadline when no task can run, and never looks at another clock.

As trio's ``MockClock`` with ``autojump_threshold=0``, but without a system call for each jump and
without the real time behind it. ``wait_all_tasks_blocked`` never returns on it.
"""

from __future__ import annotations

import math

import trio
from trio._core._run import GLOBAL_RUN_CONTEXT


class StuckError(Exception):
    """No task can run, and none waits for a time."""


class VirtualClock(trio.abc.Clock):
    """Begins at 0. ``jump`` is for a program that blocks the loop."""

    def __init__(self) -> None:
        self.now = 0.0

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return self.now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        # Asked only when no task can run; what another task has put in line is a task soon.
        line = GLOBAL_RUN_CONTEXT.runner.entry_queue
        if deadline > self.now and not line.queue and not line.idempotent_queue:
            if deadline == math.inf:
                raise StuckError("no task can run, and none waits for a time")
            self.now = deadline
        return 0

    def jump(self, seconds: float) -> None:
        """The running task takes so long."""
        self.now += seconds
