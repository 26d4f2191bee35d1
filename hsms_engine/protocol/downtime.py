"""Since when a link is selected or not, and when to tell that it was down for long.

A link is down from the moment when it is not selected though it should be: it has lost its session,
or it was enabled. While it is disabled, or separates because of a call, it is not down, and to
enable it begins a new downtime. What the breaker does changes nothing: nobody can be reached
meanwhile. A downtime is told once; the next one that is told begins after the next SELECTED.

It decides nothing, so it is no chart: it reads the phases that the charts have brought.
"""

from __future__ import annotations

import math

from hsms_engine.protocol.context import Context
from hsms_engine.protocol.phases import Phase


class Downtime:
    """That of one engine. ``reconnects``: only then is an end of a session a downtime."""

    __slots__ = ("_began", "_context", "_is_told", "_reconnects", "since")

    def __init__(self, context: Context, *, reconnects: bool) -> None:
        self._context = context
        self._reconnects = reconnects
        # When SELECTED was entered or left; before the first time, when this was made.
        self.since = context.clock()
        # When it went down; infinite while it is not.
        self._began = math.inf
        # Whether a downtime was told since the last SELECTED.
        self._is_told = False

    def moved(self, left: Phase, phase: Phase) -> None:
        """The phase ``left`` is over, and ``phase`` begins."""
        now = self._context.clock()
        if "selected" in (left, phase):
            self.since = now
        match phase:
            case "selected":
                self._began, self._is_told = math.inf, False
            case "idle" | "separating" | "closed":
                self._began = math.inf
            case _:
                self._began = min(self._began, now)

    def seconds(self) -> float:
        """For how long it is down; 0 while it is not."""
        return max(0.0, self._context.clock() - self._began)

    def due(self) -> float:
        """When to tell it, on the clock; infinite when there is nothing to be told."""
        after = self._context.settings.unreachable_after
        if after is None or self._is_told or not self._reconnects:
            return math.inf
        return self._began + after

    def told(self) -> float:
        """It is told now, and not again before the next SELECTED. How many seconds it has been."""
        self._is_told = True
        return self.seconds()
