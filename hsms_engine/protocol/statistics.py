"""All counts of a link at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from hsms_engine.protocol.phases import Phase
from hsms_engine.tolerances import TOLERANCES
from statecharts.hsms.vocabulary import Counter

# All counters, so that a count of zero shows too. docs/guide.md says what each one counts.
COUNTERS = (
    "bytes_received",
    "bytes_sent",
    "bytes_unsent",
    "frames_received",
    "control_frames_sent",
    "messages_received",
    "messages_sent",
    "rejects_sent",
    "replies_timed_out",
    "unexpected_secondaries",
    "foreign_session_id",
    *(each.counter for each in TOLERANCES),
    "unreadable_bodies",
    "primaries_without_room",
    "primaries_dropped",
    "frames_after_the_end",
    "bytes_after_the_end",
    *(counter.value for counter in Counter),
    "store_failures",
)


@dataclass(frozen=True, slots=True)
class Statistics:
    """All counts, taken at the same moment.

    ``retry_after`` is in seconds; ``counts`` maps each name of ``COUNTERS`` to a whole number.
    """

    phase: Phase
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
