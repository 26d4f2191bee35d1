"""The running timers: when each was started, and when it is due under the settings in force.

A deadline is computed when it is asked for, never stored. So a changed setting re-times what runs,
the linktest interval follows the traffic without any chart being told of it, and the deadline of a
frame follows the length it declares.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from hsms_engine.protocol.epoch import Epoch
from hsms_engine.protocol.history import History
from hsms_engine.settings import Settings

# The slowest rate at which a long frame may come in, in bytes a second.
SLOWEST_FRAME_RATE = 64 * 1024


class Clockwork:
    """The timers of one link. ``clock`` is monotonic, in seconds."""

    def __init__(
        self, settings: Settings, clock: Callable[[], float], random: Random, history: History
    ) -> None:
        self.settings = settings
        self.clock = clock
        self._random = random
        self._history = history
        self.started: dict[str, float] = {}
        # When the driver will call ``tick``, and whether that may be too late by now.
        self.alarm = math.inf
        self.alarm_is_stale = False
        # When the last attempt to connect began, for T5; none has.
        self.attempt_began = -math.inf
        self._jitter = 0.0

    def start(self, timer: str) -> None:
        self.started[timer] = self.clock()
        self.alarm_is_stale = True

    def expect(self, due: float) -> None:
        """Something will be due at ``due`` that is no chart's timer of a link: T3."""
        if due < self.alarm:
            self.alarm_is_stale = True

    def stop(self, timer: str) -> None:
        del self.started[timer]

    def begin_attempt(self) -> None:
        self.attempt_began = self.clock()
        self._jitter = self._random.random()

    def pause(self) -> float:
        """Seconds between the starts of two attempts: T5, or longer after failures in a row."""
        settings = self.settings
        doublings = max(self._history.failures_in_row - 1, 0)
        grown = settings.t5 * settings.backoff_factor ** min(doublings, 64)
        pause = max(settings.t5, min(grown, settings.backoff_limit))
        return pause * (1 + settings.backoff_jitter * self._jitter)

    def due(self, timer: str, epoch: Epoch | None) -> float:
        """When a running timer ends; infinite when it never does."""
        settings = self.settings
        started = self.started[timer]
        match timer:
            case "t5":
                return self.attempt_began + self.pause()
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
                length = epoch.decoder.pending_length if epoch else None
                return started + settings.frame_deadline + (length or 0) / SLOWEST_FRAME_RATE
            case "linktest_interval" if epoch is not None:
                return self._linktest_due(started, epoch)
            case _:
                raise KeyError(f"no duration is known for timer {timer!r}")

    def _linktest_due(self, started: float, epoch: Epoch) -> float:
        """The interval after the last frame in either direction.

        T3 watches the link while a reply is outstanding, and frames that are only sent are no sign
        of life; so neither may hold a linktest back for longer than T3.
        """
        interval = self.settings.linktest_interval
        if interval is None:
            return math.inf
        latest = max(started, epoch.last_received) + interval + self.settings.t3
        if epoch.transactions:
            return latest
        return min(max(started, epoch.last_received, epoch.last_sent) + interval, latest)

    def expired(self, epoch: Epoch | None) -> list[str]:
        """The timers that are due now, the earliest first."""
        now = self.clock()
        dues = [(self.due(timer, epoch), timer) for timer in self.started]
        return [timer for due, timer in sorted(dues) if due <= now]

    def next_due(self, epoch: Epoch | None) -> float:
        """When the next running timer ends, T3 included; infinite when none does."""
        due = min((self.due(timer, epoch) for timer in self.started), default=math.inf)
        if epoch is not None and (oldest := epoch.transactions.oldest_start()) is not None:
            due = min(due, oldest + self.settings.t3)
        return due
