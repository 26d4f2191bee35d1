"""The circuit breaker for many threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

from hsms_engine import breaker


class CircuitBreaker(breaker.CircuitBreaker):
    """As ``hsms_engine.CircuitBreaker``, for calls of any number of threads.

    The clock is the monotonic one of the system, unless another is given. ``on_change`` is called
    while the others wait, in the thread that has changed the state.
    """

    def __init__(
        self,
        threshold: int,
        open_time: float,
        clock: Callable[[], float] = monotonic,
        on_change: Callable[[str], None] | None = None,
        *,
        jitter: Callable[[], float] = lambda: 0.0,
    ) -> None:
        # Taken again by a call of ``on_change``.
        self._lock = threading.RLock()
        super().__init__(threshold, open_time, clock, on_change, jitter=jitter)

    @property
    def state(self) -> str:
        with self._lock:
            return super().state

    @property
    def failures(self) -> int:
        with self._lock:
            return super().failures

    @property
    def retry_after(self) -> float:
        with self._lock:
            return super().retry_after

    def permit(self) -> breaker.Permit:
        with self._lock:
            return super().permit()

    def isolate(self) -> None:
        with self._lock:
            super().isolate()

    def release(self) -> None:
        with self._lock:
            super().release()

    def reset(self) -> None:
        with self._lock:
            super().reset()

    def configure(self, threshold: int, open_time: float) -> None:
        with self._lock:
            super().configure(threshold, open_time)

    def _result(self, event: str, period: int) -> None:
        with self._lock:
            super()._result(event, period)
