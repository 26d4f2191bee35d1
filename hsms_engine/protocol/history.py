"""What has become of a link so far: how its states were left, how often, and with which error.

Nothing here decides anything. It is for people, for statistics, and for calls that wait for the
outcome of what they asked.
"""

from __future__ import annotations

from typing import NamedTuple

from hsms_engine.errors import HsmsError
from hsms_engine.protocol.endings import Detail, Ending
from hsms_engine.protocol.phases import PHASES
from statecharts import Hop

# Ends that the user asked for: no error.
LOCAL_ENDS = frozenset(
    {
        "close_requested",
        "disable_requested",
        "isolate_requested",
        "reset_requested",
        # A lowered threshold that opens the breaker withdraws the attempt that runs.
        "reconfigured",
    }
)


class Left(NamedTuple):
    """How often a state was left, and the last time by which event and with what."""

    times: int
    event: str
    detail: Detail


_NEVER = Left(0, "", None)


class History:
    """Counts and endings of one link, over all its connections."""

    def __init__(self) -> None:
        self.attempts = 0
        self.failed_attempts = 0
        # Attempts that failed since the last one that was selected, for the backoff.
        self.failures_in_row = 0
        self.times_selected = 0
        # The event by which a session ended last; empty before that.
        self.last_end = ""
        # The error of the latest attempt or connection that ended, for who comes too late.
        self.last_error: HsmsError | None = None
        self._left: dict[str, Left] = {}

    def left(self, state: str) -> Left:
        """How a leaf state was left so far."""
        return self._left.get(state, _NEVER)

    def note_leaving(self, hop: Hop, ending: Ending) -> None:
        """A chart has moved from one leaf state to another."""
        state = hop.before.leaves
        self._left[state] = Left(self.left(state).times + 1, ending.event, ending.detail)

    def note_connection(self, hop: Hop, ending: Ending) -> None:
        """The connection chart has moved from one leaf state to another."""
        old, new = PHASES[hop.before.leaves], PHASES[hop.after.leaves]
        if new == "selected" != old:
            self.times_selected += 1
            self.failures_in_row = 0
            self.last_error = None
        elif ending.event not in LOCAL_ENDS and new in ("waiting", "listening", "closed"):
            if old in ("connecting", "selecting"):
                self.failed_attempts += 1
                self.failures_in_row += 1
                self.last_error = ending.attempt_error(selecting=old == "selecting")
            elif old in ("selected", "not selected"):
                self.last_error = ending.loss_error()
