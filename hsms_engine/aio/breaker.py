"""The circuit breaker for the tasks of one event loop."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from hsms_engine import breaker


class CircuitBreaker(breaker.CircuitBreaker):
    """As ``hsms_engine.CircuitBreaker``; the clock is the monotonic one, unless another is given.

    None of its calls waits, so they are no coroutines: ``with breaker.attempt(): await ...``. A
    cancelled attempt is neither a success nor a failure. It is for one event loop, not for threads.
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
        super().__init__(threshold, open_time, clock, on_change, jitter=jitter)
