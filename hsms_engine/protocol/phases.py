"""From states of the charts to the phases and events that users of a link see."""

from __future__ import annotations

from typing import Literal, NamedTuple, assert_never

from hsms_engine import events
from hsms_engine.errors import HsmsError

Phase = Literal[
    "idle",
    "asking",
    "blocked",
    "waiting",
    "listening",
    "connecting",
    "selecting",
    "not selected",
    "selected",
    "separating",
    "closed",
]
"""What a program sees of the state of a connection."""

# Every leaf of both connection charts; a test compares this table with them.
PHASES: dict[str, Phase] = {
    "idle": "idle",
    "resting": "idle",
    "asking": "asking",
    "blocked": "blocked",
    "waiting": "waiting",
    "listening": "listening",
    "connecting": "connecting",
    "selecting": "selecting",
    "unselected": "not selected",
    "reselecting": "not selected",
    "deselect_unanswered": "not selected",
    "communicating": "selected",
    "accepting": "selected",
    "select_unanswered": "selected",
    "deselecting": "selected",
    "disabling": "separating",
    "restarting": "separating",
    "refusing": "separating",
    "closing": "separating",
    "closed": "closed",
}


class Moment(NamedTuple):
    """The values that events have besides the new state. Times are in seconds."""

    at: float
    epoch: int
    attempts: int
    retry_after: float
    error: HsmsError | None
    failures: int
    threshold: int
    open_for: float
    local: str
    remote: str


def link_event(before: str, after: str, moment: Moment) -> events.LinkEvent | None:
    """The event for a change of the connection's leaf state, if its phase changed."""
    phase = PHASES[after]
    if phase == PHASES[before]:
        return None
    at, epoch = moment.at, moment.epoch
    match phase:
        case "idle":
            return events.Idle(at, epoch)
        case "blocked":
            return events.Blocked(at, epoch, moment.retry_after)
        case "waiting":
            ended_by_call = PHASES[before] in ("idle", "separating")
            error = None if ended_by_call else moment.error
            return events.Waiting(at, epoch, moment.retry_after, error)
        case "connecting":
            return events.Connecting(at, epoch, moment.attempts)
        case "selecting":
            return events.Selecting(at, epoch, moment.local, moment.remote)
        case "not selected":
            return events.NotSelected(at, epoch)
        case "selected":
            return events.Selected(at, epoch)
        case "separating":
            return events.Separating(at, epoch)
        case "closed":
            return events.Closed(at, epoch)
        case "asking" | "listening":
            # "asking" is never the last state of a step, and "listening" is only an initial state.
            return None
        case _:
            assert_never(phase)


def breaker_event(after: str, moment: Moment) -> events.LinkEvent:
    """The event for a change of the breaker's leaf state."""
    at, epoch = moment.at, moment.epoch
    match after:
        case "breaker_open":
            return events.BreakerOpened(
                at, epoch, moment.failures, moment.threshold, moment.open_for
            )
        case "ready":
            return events.BreakerHalfOpen(at, epoch)
        case "probing":
            return events.BreakerProbing(at, epoch)
        case "isolated":
            return events.BreakerIsolated(at, epoch)
        case _:
            return events.BreakerClosed(at, epoch)
