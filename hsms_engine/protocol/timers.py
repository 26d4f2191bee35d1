"""The running timers: when each was started, and when it is due under the settings in force.

A deadline is computed when it is asked for, and never stored. So a changed setting re-times running
timers, the linktest interval follows the traffic without an event for the charts, and the deadline
of a frame follows the length that the frame declares.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from hsms_engine.protocol.context import Context
from hsms_engine.protocol.downtime import Downtime
from hsms_engine.protocol.epoch import Epoch
from hsms_engine.protocol.leasing import DEADLINES, Leasing
from statecharts.hsms.timers import (
    LEASE_POLL,
    LINKTEST_INTERVAL,
    OPEN_TIME,
    RENEWAL,
    RENEWAL_RETRY,
    T5,
)

# The timers that wait for nobody. A deadline of a lease waits for no answer that may have come:
# whatever the store has said, it was not heard in time.
_PAUSES = frozenset(
    (
        *(each.id for each in (T5, OPEN_TIME, LINKTEST_INTERVAL)),
        *(each.id for each in (LEASE_POLL, RENEWAL, RENEWAL_RETRY)),
        *DEADLINES,
    )
)
# The slowest rate at which long frames may come or go, in bytes a second.
SLOWEST_RATE = 64 * 1024


class Timers:
    """The timers of one engine. ``failures`` gives the failures in a row, for the backoff.

    ``lease``: that of a link which a lease decides about.
    """

    __slots__ = (
        "_attempt_began",
        "_context",
        "_downtime",
        "_earliest",
        "_failures",
        "_jitter",
        "_lease",
        "_open_jitter",
        "_waits_for_slot",
        "started",
    )

    def __init__(
        self,
        context: Context,
        failures: Callable[[], int],
        downtime: Downtime,
        lease: Leasing | None,
    ) -> None:
        self._context = context
        self._lease = lease
        self._downtime = downtime
        self._failures = failures
        self.started: dict[str, float] = {}
        # When the latest attempt began, for T5; infinitely long ago before the first one. While the
        # attempt waits for its slot, this is when it was asked for.
        self._attempt_began = -math.inf
        self._waits_for_slot = False
        # From 0 to 1, new for each attempt and for each time that the breaker opens.
        self._jitter = self._open_jitter = 0.0
        # Never later than the next deadline; None when it must be computed again.
        self._earliest: float | None = None

    def start(self, timer: str) -> None:
        self.started[timer] = self._context.clock()
        if timer == "open_time":
            self._open_jitter = self._context.random.random()
        self.expect(self.due(timer))

    def restore(self, attempt_age: float | None, open_age: float | None) -> None:
        """What ran when the link was saved runs on, and nothing else. See ``Kept``."""
        now = self._context.clock()
        for timer in (T5.id, OPEN_TIME.id):
            self.started.pop(timer, None)
        if attempt_age is not None:
            self.started["t5"] = self._attempt_began = now - attempt_age
        if open_age is not None:
            self.started["open_time"] = now - open_age
        self._jitter = self._context.random.random()
        self._open_jitter = self._context.random.random()
        self.retime()

    def attempt_age(self) -> float | None:
        """Seconds since the latest attempt began; None when there was none."""
        age = self._context.clock() - self._attempt_began
        return age if math.isfinite(age) else None

    def age(self, timer: str) -> float | None:
        """Seconds since a timer was started; None when it does not run."""
        started = self.started.get(timer)
        return None if started is None else self._context.clock() - started

    def stop(self, timer: str) -> None:
        del self.started[timer]
        # Mostly it was the next one, and nobody is to wake for it.
        self.retime()

    def expect(self, due: float) -> None:
        """There is a deadline at ``due``, in seconds of the clock."""
        if self._earliest is not None and due < self._earliest:
            self._earliest = due

    def expect_linktest(self, epoch: Epoch) -> None:
        """All is written, or no reply is awaited any more, so a linktest may be due again."""
        interval, earliest = self._context.settings.linktest_interval, self._earliest
        if interval is None or earliest is None:
            return
        # It is due no earlier than this, so mostly there is nothing to compute.
        if epoch.last_received + interval / 2 < earliest:
            due = epoch.last_received + interval
            look = due - self._sight(interval)
            self.expect(look if epoch.outbox.asked_at < look else due)

    def retime(self) -> None:
        """A deadline may be earlier than before."""
        self._earliest = None

    def begin_attempt(self) -> None:
        self._attempt_began = self._context.clock()
        self._waits_for_slot = True
        self._jitter = self._context.random.random()

    def dial_began(self) -> None:
        """The attempt has its slot: the peer is dialled."""
        self._attempt_began = self.started["connect_timeout"] = self._context.clock()
        self._waits_for_slot = False
        self.expect(self.due("connect_timeout"))

    def _pause(self) -> float:
        """Seconds between the starts of two attempts: T5, or longer after failures in a row."""
        settings = self._context.settings
        return settings.pause(self._failures()) * (1 + settings.backoff_jitter * self._jitter)

    def due(self, timer: str) -> float:
        """When a running timer expires; infinite when it never does."""
        return self.due_from(timer, self.started[timer])

    def due_from(self, timer: str, started: float) -> float:
        """When a timer expires that was started at ``started``."""
        settings = self._context.settings
        match timer:
            case "t5":
                return self._attempt_began + self._pause()
            case "t6" | "t6_linktest":
                return self._handed_on(timer, started) + settings.t6
            case "t6_second_host":
                return started + settings.t6
            case "t7":
                return started + settings.t7
            case "t8":
                return max(started, self._open_epoch().last_received) + settings.t8
            case "connect_timeout":
                # The peer is not to blame for the time before it was dialled.
                if self._waits_for_slot:
                    return math.inf
                return started + settings.connect_timeout
            case "write_timeout":
                return max(started, self._open_epoch().outbox.taken_at) + settings.write_timeout
            case "write_deadline":
                outbox = self._open_epoch().outbox
                length = outbox.batch_end - outbox.batch_start
                return started + settings.frame_deadline + length / SLOWEST_RATE
            case "linger":
                return self._handed_on(timer, started) + settings.linger
            case "open_time":
                jitter = 1 + settings.backoff_jitter * self._open_jitter
                return started + settings.breaker_open_time * jitter
            case "frame_deadline":
                length = self._open_epoch().decoder.pending_length or 0
                return started + settings.frame_deadline + length / SLOWEST_RATE
            case "linktest_interval":
                return self._linktest_due(started)
            case _ if self._lease is not None:
                return self._lease.due(timer, started)
            case _:
                raise KeyError(f"no duration is known for timer {timer!r}")

    def _handed_on(self, timer: str, started: float) -> float:
        """When the frame of ``timer`` was handed on, and the timer was started; or infinite."""
        since = self._open_epoch().outbox.marks[timer].since
        return math.inf if since is None else max(started, since)

    def _linktest_due(self, started: float) -> float:
        """The interval after the last byte that came, or after a miss.

        While a reply is awaited, T3 watches the link, so this delays a linktest, but not for longer
        than T3. While bytes wait, the write timeout and the write deadline watch it; while written
        bytes are being acknowledged, the peer is alive.
        """
        settings, epoch = self._context.settings, self._open_epoch()
        outbox, interval = epoch.outbox, settings.linktest_interval
        if interval is None or outbox.backlog:
            return math.inf
        due = max(started, epoch.last_received) + interval
        if epoch.transactions:
            due += settings.t3
        if outbox.slow_since is not None:
            due = max(due, outbox.slow_since + self._sight(interval))
        return due

    def _sight(self, interval: float) -> float:
        """For how many seconds bytes that are acknowledged are a sign of life.

        No longer than half of ``interval``: so it never takes longer to find a peer that was last
        seen so than one whose last byte was seen.
        """
        return min(self._context.settings.t6, interval / 2)

    def _look(self, epoch: Epoch) -> float:
        """When to ask what is acknowledged, so that a linktest that is due knows what came since.

        The system does not tell when that was. Infinite when it need not be asked.
        """
        interval, outbox = self._context.settings.linktest_interval, epoch.outbox
        if interval is None or "linktest_interval" not in self.started or not outbox.has_answered:
            return math.inf
        look = self.due("linktest_interval") - self._sight(interval)
        return look if outbox.asked_at < look else math.inf

    def _open_epoch(self) -> Epoch:
        """The connection of a timer that only runs while TCP is open."""
        epoch = self._context.epoch
        assert epoch is not None
        return epoch

    def expired(self) -> list[str]:
        """The timers that are due now, the earliest deadline first."""
        now = self._context.clock()
        dues = [(self.due(timer), timer) for timer in self.started]
        return [timer for due, timer in sorted(dues) if due <= now]

    def judges(self) -> bool:
        """Whether a timer is due that waits for the peer, T3 and a downtime included."""
        now, epoch = self._context.clock(), self._context.epoch
        if self._downtime.due() <= now:
            return True
        oldest = epoch.transactions.oldest_start() if epoch is not None else None
        if oldest is not None and oldest + self._context.settings.t3 <= now:
            return True
        return any(self.due(timer) <= now for timer in self.started if timer not in _PAUSES)

    def begins(self) -> bool:
        """Whether a timer is due that waits for nobody."""
        now = self._context.clock()
        return any(self.due(timer) <= now for timer in self.started if timer in _PAUSES)

    def next_due(self) -> float:
        """A time not later than the next deadline, or infinite.

        Those of T3, of looks and of a downtime are included.
        """
        if self._earliest is None:
            due = min((self.due(timer) for timer in self.started), default=math.inf)
            due = min(due, self._downtime.due())
            epoch = self._context.epoch
            if epoch is not None:
                due = min(due, self._look(epoch))
                if (oldest := epoch.transactions.oldest_start()) is not None:
                    due = min(due, oldest + self._context.settings.t3)
            self._earliest = due
        return self._earliest
