"""A circuit breaker for any kind of call, run by the same chart as the one inside a link.

It uses the clock that it is given. When its state is read, it first notices that the open time is
over. A permit belongs to the period in which it was given: its result in a later period is counted
and changes nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hsms_engine.errors import CircuitOpenError, LocalProtocolError
from hsms_engine.protocol.routers import machine_for
from hsms_engine.settings import Settings
from statecharts import Effect, NotAllowedError, Start, Step, Tell
from statecharts.hsms import BREAKER
from statecharts.hsms.vocabulary import Count


class Permit:
    """Allows one call. It must be settled once: ``succeeded``, ``failed`` or ``cancelled``.

    When a probe's permit is never settled, the breaker stays half-open; ``attempt`` always settles
    it.
    """

    def __init__(self, breaker: CircuitBreaker, period: int) -> None:
        self._breaker = breaker
        self._period = period
        self._settled = False

    def succeeded(self) -> None:
        """The call went well."""
        self._settle("attempt_succeeded")

    def failed(self) -> None:
        """The call failed."""
        self._settle("attempt_failed")

    def cancelled(self) -> None:
        """The call was cancelled by its caller: neither a success nor a failure."""
        self._settle("attempt_cancelled")

    def _settle(self, event: str) -> None:
        if self._settled:
            raise LocalProtocolError("this permit was settled already")
        self._settled = True
        self._breaker._result(event, self._period)


class CircuitBreaker:
    """Closed, open, half-open with one probe at a time, isolated by hand.

    ``threshold`` failures in a row open it for ``open_time`` seconds of ``clock``, which must never
    go backwards. ``on_change`` is called with the name of each state that is entered. ``jitter`` is
    asked each time that it opens: the fraction of ``open_time`` to add, so that many breakers do
    not all close together. Raises ``SettingsError`` when a value is out of range.
    """

    def __init__(
        self,
        threshold: int,
        open_time: float,
        clock: Callable[[], float],
        on_change: Callable[[str], None] | None = None,
        *,
        jitter: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._clock = clock
        self._on_change = on_change
        self._check(threshold, open_time)
        self._jitter = jitter
        self._machine = machine_for(BREAKER, "threshold", threshold)
        self._snapshot = self._machine.initial
        self._open_time = open_time
        self._opened_at = -math.inf
        self._extra = 0.0
        # Grows with every change of state, so that a result of an earlier period is recognized.
        self._period = 0
        self.counts: Counter[str] = Counter()

    @staticmethod
    def _check(threshold: int, open_time: float) -> None:
        Settings(breaker_threshold=threshold, breaker_open_time=open_time)

    @property
    def state(self) -> str:
        """``"closed"``, ``"open"``, ``"ready"``, ``"probing"`` or ``"isolated"``."""
        self._notice_time()
        return self._snapshot.leaves.removeprefix("breaker_")

    @property
    def failures(self) -> int:
        """The failures in a row, at most the threshold."""
        self._notice_time()
        return self._machine.values(self._snapshot)["failures"]

    @property
    def retry_after(self) -> float:
        """Seconds until a permit is possible; 0 when it is now, infinite when isolated."""
        match self.state:
            case "open":
                return self._open_until - self._clock()
            case "isolated":
                return math.inf
            case _:
                return 0.0

    def permit(self) -> Permit:
        """A permit for one call. Raises ``CircuitOpenError``, with ``retry_after``, for none."""
        self._notice_time()
        try:
            granted = Tell("permit_granted") in self._advance("permit_requested")
        except BaseException:
            # ``on_change`` raised when the probe began: the caller gets no permit to settle.
            self._snapshot = self._machine.step(self._snapshot, "attempt_cancelled").snapshot
            raise
        if not granted:
            self.counts["refused"] += 1
            retry_after = self.retry_after
            raise CircuitOpenError(
                f"the circuit breaker is {self.state}; retry in {retry_after:.1f} s", retry_after
            )
        self.counts["granted"] += 1
        return Permit(self, self._period)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """A block: an ``Exception`` is a failure, any other ``BaseException`` a cancellation."""
        permit = self.permit()
        try:
            yield
        except Exception:
            permit.failed()
            raise
        except BaseException:
            permit.cancelled()
            raise
        permit.succeeded()

    def isolate(self) -> None:
        """Open it by hand, until ``release``."""
        self._advance("isolate_requested")

    def release(self) -> None:
        """Close it again. Raises ``LocalProtocolError`` when it is not isolated."""
        try:
            self._advance("release_requested")
        except NotAllowedError:
            raise LocalProtocolError(f"the breaker is {self.state}, not isolated") from None

    def reset(self) -> None:
        """Close it, whatever its state, and forget its failures."""
        self._advance("reset_requested")

    def configure(self, threshold: int, open_time: float) -> None:
        """Use other values from now on. Failures are kept, and a running open time is re-timed."""
        self._check(threshold, open_time)
        self._notice_time()
        self._machine = machine_for(BREAKER, "threshold", threshold)
        self._open_time = open_time
        self._follow(self._machine.adopt(self._snapshot))

    def _result(self, event: str, period: int) -> None:
        self._notice_time()
        self.counts[event] += 1
        self._advance(event if period == self._period else "stale_result_reported")

    @property
    def _open_until(self) -> float:
        return self._opened_at + self._open_time * (1 + self._extra)

    def _notice_time(self) -> None:
        is_open = "breaker_open" in self._snapshot
        if is_open and self._clock() >= self._open_until:
            self._advance("open_time_expired")

    def _advance(self, event: str) -> tuple[Effect, ...]:
        return self._follow(self._machine.step(self._snapshot, event))

    def _follow(self, step: Step) -> tuple[Effect, ...]:
        before, self._snapshot = self._snapshot, step.snapshot
        for effect in step.effects:
            match effect:
                case Count(counter):
                    self.counts[counter.value] += 1
                case Start():
                    self._opened_at = self._clock()
                    self._extra = self._jitter()
                case _:
                    # A permit goes to the caller that asked; its period shows when it is withdrawn.
                    pass
        if step.snapshot.leaves != before.leaves:
            # The probe begins the period in which its result counts.
            self._period += 1
            if self._on_change is not None:
                self._on_change(step.snapshot.leaves.removeprefix("breaker_"))
        return step.effects
