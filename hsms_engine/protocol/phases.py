"""From states of the charts to the words and events that users of a link see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsms_engine.protocol import events
from statecharts import Hop
from statecharts.hsms.timers import OPEN_TIME

if TYPE_CHECKING:
    from hsms_engine.protocol.engine import Engine

# Every leaf of both connection charts; a test holds this table against them.
PHASES = {
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


def link_event(engine: Engine, hop: Hop, epoch: int) -> events.Happened | None:
    """The event for a change of the connection's phase, if it changed."""
    at = engine.clock()
    phase = PHASES[hop.after.leaves]
    if phase == PHASES[hop.before.leaves]:
        return None
    match phase:
        case "idle":
            return events.Idle(at, epoch)
        case "blocked":
            return events.Blocked(at, epoch, engine.retry_after())
        case "waiting":
            ended_by_call = PHASES[hop.before.leaves] in ("idle", "separating")
            error = None if ended_by_call else engine.last_error
            return events.Waiting(at, epoch, engine.retry_after(), error)
        case "listening":
            return events.Listening(at, epoch)
        case "connecting":
            return events.Connecting(at, epoch, engine.attempts)
        case "selecting":
            return events.Selecting(at, epoch)
        case "not selected":
            return events.NotSelected(at, epoch)
        case "selected":
            return events.Selected(at, epoch)
        case "separating":
            return events.Separating(at, epoch)
        case "closed":
            return events.Closed(at, epoch)
        case _:
            # Asking the breaker is over within the step that begins it.
            return None


def breaker_event(engine: Engine, hop: Hop, epoch: int) -> events.Happened | None:
    """The event for a change of the breaker's state, if it changed."""
    at = engine.clock()
    if hop.after.leaves == hop.before.leaves:
        return None
    match hop.after.leaves:
        case "breaker_open":
            failures = engine.router.machines["breaker"].values(hop.after)["failures"]
            return events.BreakerOpened(
                at,
                epoch,
                failures,
                engine.settings.breaker_threshold,
                engine.clockwork.due(OPEN_TIME.id, engine.epoch) - at,
            )
        case "ready":
            return events.BreakerHalfOpen(at, epoch)
        case "probing":
            return events.BreakerProbing(at, epoch)
        case "isolated":
            return events.BreakerIsolated(at, epoch)
        case _:
            return events.BreakerClosed(at, epoch)
