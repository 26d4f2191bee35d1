"""Wakes the tasks that keep the time of links.

The alarms of one trio run share one task, which does nothing but wake others: to open and cancel a
scope for each wait costs ten times as much. What is done then is done in the task of the link. So
its nursery owns it, and what fails there ends nothing else.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Awaitable, Callable
from typing import NoReturn

import trio

# The entries for each alarm, of which one at most is in force, before the others are removed.
_ENTRIES = 8


class Alarm:
    """Wakes one task, at a time that may be moved. Times are trio's, in seconds."""

    __slots__ = ("_alarms", "_task", "at")

    def __init__(self) -> None:
        self._alarms = _alarms_here()
        # The task that waits.
        self._task: trio.lowlevel.Task | None = None
        # When it rings, or has rung.
        self.at = math.inf

    @property
    def is_set(self) -> bool:
        """Whether a task waits for it."""
        return self._task is not None

    def begin(self) -> None:
        """A task is going to wait. To be called before ``wait``, and in the end ``end``.

        An interrupt may come anywhere between, so ``end`` is right after any part of these.
        """
        self._alarms.begin(self)

    def end(self) -> None:
        """No task is going to wait any more."""
        self._task = None
        self._alarms.end(self)

    def wait(self, at: float) -> Awaitable[None]:
        """Wait until ``at``, or the time of the latest ``move``, or ``ring``.

        To be awaited at once. No coroutine of its own, because each link waits here.
        """
        self.at = at
        self._task = trio.lowlevel.current_task()
        self._alarms.put(self)
        return trio.lowlevel.wait_task_rescheduled(  # noqa: ASYNC105  # by who calls this
            self._abort
        )

    def _abort(self, _: Callable[[], NoReturn]) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def move(self, at: float) -> None:
        """Ring at ``at`` instead."""
        self.at = at
        if self._task is not None:
            self._alarms.put(self)

    def ring(self) -> None:
        """Ring now. Nothing happens when no task waits."""
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)


class _Alarms:
    """The alarms of one trio run."""

    def __init__(self) -> None:
        self._clock = trio.lowlevel.current_clock().current_time
        # The earliest first. An entry is in force while its alarm is set for its time.
        self._entries: list[tuple[float, int, Alarm]] = []
        self._numbers = itertools.count()
        # The alarms that may be waited for, and whether there is a task for them.
        self._begun: set[Alarm] = set()
        self._is_running = False
        # Its wait.
        self._scope = trio.CancelScope()

    def begin(self, alarm: Alarm) -> None:
        self._begun.add(alarm)
        if not self._is_running:
            self._is_running = True
            trio.lowlevel.spawn_system_task(self._run)

    def end(self, alarm: Alarm) -> None:
        self._begun.discard(alarm)
        if not self._begun:
            self._scope.deadline = -math.inf

    def put(self, alarm: Alarm) -> None:
        """``alarm`` is set, or set for another time."""
        entries, at = self._entries, alarm.at
        if at < math.inf:
            if len(entries) >= _ENTRIES * len(self._begun):
                in_force = {each[2]: each for each in entries if _is_in_force(each)}
                entries[:] = in_force.values()
                heapq.heapify(entries)
            heapq.heappush(entries, (at, next(self._numbers), alarm))
            if at < self._scope.deadline:
                self._scope.deadline = at

    async def _run(self) -> None:
        """While there are alarms. Shielded, because a link may outlive the program's main task."""
        entries = self._entries
        while self._begun:
            at = entries[0][0] if entries else math.inf
            with trio.CancelScope(deadline=at, shield=True) as self._scope:
                await trio.sleep_forever()
            now = self._clock()
            while entries and entries[0][0] <= now:
                entry = heapq.heappop(entries)
                if _is_in_force(entry):
                    entry[2].ring()
        entries.clear()
        self._is_running = False


def _is_in_force(entry: tuple[float, int, Alarm]) -> bool:
    at, _, alarm = entry
    return alarm.is_set and alarm.at == at


_ALARMS: trio.lowlevel.RunVar[_Alarms] = trio.lowlevel.RunVar("hsms_engine_alarms")


def _alarms_here() -> _Alarms:
    """Those of this trio run."""
    try:
        return _ALARMS.get()
    except LookupError:
        _ALARMS.set(made := _Alarms())
        return made
