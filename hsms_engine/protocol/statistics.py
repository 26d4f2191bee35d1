"""All counts of a link at one moment."""

from __future__ import annotations

from dataclasses import dataclass

# Every counter there is, so that a count of zero shows too.
COUNTERS = (
    "bytes received",
    "bytes sent",
    "frames received",
    "control frames sent",
    "messages received",
    "messages sent",
    "rejects sent",
    "replies timed out",
    "linktests unanswered",
    "unexpected secondaries",
    "foreign session id",
    "primaries without room",
    "frames after the end",
    "bytes after the end",
    "separate ignored",
    "reject of nothing we know",
    "dropped while leaving",
    "result of an earlier period",
)


@dataclass(frozen=True, slots=True)
class Statistics:
    """A consistent picture, made in one piece between two steps.

    ``retry_after`` is in seconds; ``counts`` maps each name of ``COUNTERS`` to a whole number.
    """

    phase: str
    state: str
    breaker_state: str | None
    breaker_failures: int
    breaker_threshold: int
    retry_after: float
    epoch: int
    attempts: int
    failed_attempts: int
    times_selected: int
    open_transactions: int
    waiting_primaries: int
    queued_bytes: int
    counts: dict[str, int]
