"""All counts of a link at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hsms_engine.protocol.engine import Engine

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

    @classmethod
    def of(cls, engine: Engine) -> Statistics:
        epoch = engine.epoch
        machines = engine.router.machines
        breaker = engine.snapshot["breaker"] if "breaker" in machines else None
        return cls(
            phase=engine.phase,
            state=engine.connection_snapshot.leaves,
            breaker_state=breaker.leaves if breaker else None,
            breaker_failures=machines["breaker"].values(breaker)["failures"] if breaker else 0,
            breaker_threshold=engine.settings.breaker_threshold,
            retry_after=engine.retry_after(),
            epoch=engine.epochs,
            attempts=engine.attempts,
            failed_attempts=engine.failed_attempts,
            times_selected=engine.times_selected,
            open_transactions=len(epoch.transactions) if epoch else 0,
            waiting_primaries=len(engine.inbox),
            queued_bytes=epoch.backlog if epoch else 0,
            counts={name: engine.counters[name] for name in COUNTERS},
        )
