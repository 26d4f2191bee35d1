"""The running timers: when each was started, and when it is due under the settings in force.

A deadline is computed when it is asked for, and never stored. So a changed setting re-times running
timers, the linktest interval follows the traffic without an event for the charts, and the deadline
of a frame follows the length that the frame declares.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from hsms_engine.protocol.context import Context

# The slowest rate at which a long frame may come, in bytes a second.
SLOWEST_FRAME_RATE = 64 * 1024


class Timers:
    """The timers of one engine. ``failures`` gives the failures in a row, for the backoff."""

    def __init__(self, context: Context, failures: Callable[[], int]) -> None:
        self._context = context
        self._failures = failures
        self.started: dict[str, float] = {}
        # When the latest attempt began, for T5; infinitely long ago before the first one.
        self._attempt_began = -math.inf
        self._jitter = 0.0
        # Never later than the next deadline; None when it must be computed again.
        self._earliest: float | None = None

    def start(self, timer: str) -> None:
        self.started[timer] = self._context.clock()
        self.expect(self.due(timer))

    def stop(self, timer: str) -> None:
        del self.started[timer]

    def expect(self, due: float) -> None:
        """There is a deadline at ``due``, in seconds of the clock."""
        if self._earliest is not None and due < self._earliest:
            self._earliest = due

    def retime(self) -> None:
        """A deadline may be earlier than before."""
        self._earliest = None

    def begin_attempt(self) -> None:
        self._attempt_began = self._context.clock()
        self._jitter = self._context.random.random()

    def _pause(self) -> float:
        """Seconds between the starts of two attempts: T5, or longer after failures in a row."""
        settings = self._context.settings
        more_failures = max(self._failures() - 1, 0)
        # Bounded, because a float cannot hold every power.
        grown = settings.t5 * settings.backoff_factor ** min(more_failures, 64)
        pause = max(settings.t5, min(grown, settings.backoff_limit))
        return pause * (1 + settings.backoff_jitter * self._jitter)

    def due(self, timer: str) -> float:
        """When a running timer expires; infinite when it never does."""
        settings = self._context.settings
        started = self.started[timer]
        match timer:
            case "t5":
                return self._attempt_began + self._pause()
            case "t6" | "t6_linktest":
                return started + settings.t6
            case "t7":
                return started + settings.t7
            case "t8":
                return started + settings.t8
            case "connect_timeout":
                return started + settings.connect_timeout
            case "write_timeout":
                return started + settings.write_timeout
            case "linger":
                return started + settings.linger
            case "open_time":
                return started + settings.breaker_open_time
            case "frame_deadline":
                epoch = self._context.epoch
                length = epoch.decoder.pending_length if epoch else None
                return started + settings.frame_deadline + (length or 0) / SLOWEST_FRAME_RATE
            case "linktest_interval":
                return self._linktest_due(started)
            case _:
                raise KeyError(f"no duration is known for timer {timer!r}")

    def _linktest_due(self, started: float) -> float:
        """The interval after the last byte that came or the last frame that we sent.

        While a reply is awaited, T3 watches the link; and frames that we send are no sign of life.
        So neither may delay a linktest for longer than T3.
        """
        interval, epoch = self._context.settings.linktest_interval, self._context.epoch
        if interval is None or epoch is None:
            return math.inf
        latest = max(started, epoch.last_received) + interval + self._context.settings.t3
        if epoch.transactions:
            return latest
        return min(max(started, epoch.last_received, epoch.last_sent) + interval, latest)

    def expired(self) -> list[str]:
        """The timers that are due now, the earliest deadline first."""
        now = self._context.clock()
        dues = [(self.due(timer), timer) for timer in self.started]
        return [timer for due, timer in sorted(dues) if due <= now]

    def next_due(self) -> float:
        """A time not later than the next deadline, that of T3 included; infinite when none runs."""
        if self._earliest is None:
            due = min((self.due(timer) for timer in self.started), default=math.inf)
            epoch = self._context.epoch
            if epoch is not None and (oldest := epoch.transactions.oldest_start()) is not None:
                due = min(due, oldest + self._context.settings.t3)
            self._earliest = due
        return self._earliest
