"""The chart of a tool that runs in a thread of its own, for who holds the tool there."""

from __future__ import annotations

from typing import Any

import trio

from hsms_engine.doors.thread import TrioThread
from hsms_engine.fake.chart import LiveChart
from hsms_engine.in_thread import PATIENCE, InThread
from statecharts import Timer


class ThreadedChart(InThread):
    """What ``LiveChart`` is, from any thread."""

    def __init__(self, thread: TrioThread, chart: LiveChart) -> None:
        super().__init__(thread, "equipment.chart")
        self._chart = chart

    @property
    def snapshot(self) -> Any:
        """Where it is now."""
        return self._look(lambda: self._chart.snapshot)

    def send(self, event: str) -> Any:
        """Make an event happen, as ``LiveChart.send`` does, and return the step."""
        return self._look(lambda: self._chart.send(event))

    def retime(self, timer: Timer, seconds: float) -> None:
        """Let a timer that runs take so long in all, as ``LiveChart.retime`` does."""
        self._look(lambda: self._chart.retime(timer, seconds))

    def until(self, state: str, *others: str, timeout: float = PATIENCE) -> Any:
        """Wait until one of these states is active, at most ``timeout`` seconds.

        Returns the snapshot in which it was. Raises ``TimeoutError``, and as ``LiveChart.until``;
        in a test that runs an event loop ``RuntimeError``, as the equipment's ``until`` does.
        """
        __tracebackhide__ = True
        self._refuse_loop("until")

        async def wait() -> Any:
            with trio.move_on_after(timeout):
                return await self._chart.until(state, *others)
            return None

        if (found := self._call(wait)) is None:
            states = " or ".join((state, *others))
            raise TimeoutError(f"not in {states} within {timeout:g} s, but in {self.snapshot}")
        return found
