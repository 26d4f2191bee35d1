"""What a collector counts itself: what statistics do not have, in plain numbers.

* Only the thread of an event loop counts. Any thread may read, at any moment: what belongs together
  is replaced as a whole.
* Every label is there from the start, with 0, and no other is ever added: reasons and outcomes are
  events of the charts, not the texts of errors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from hsms_engine.driver.driver import Driver
from hsms_engine.errors import DefectError
from hsms_engine.events import Closed, Draining, LinkEvent, Owning
from hsms_engine.metrics.histogram import Histogram
from hsms_engine.protocol.engine import Engine
from hsms_engine.protocol.outputs import Step
from hsms_engine.protocol.phases import PHASES, Phase
from hsms_engine.protocol.traffic import Traffic
from hsms_engine.wire import SECS_II, SType

# Why a session ended: the event that has ended it, and what that means. A test holds them against
# the charts.
REASONS = {
    "separate_req_received": "the peer has separated",
    "tcp_closed": "the peer closed TCP, or TCP broke",
    "linktest_failed": "the peer answered no linktest",
    "t6_expired": "a Deselect.req or Select.req of ours was not answered within T6",
    "t8_expired": "T8 passed inside a frame",
    "frame_deadline_expired": "a frame was not complete by its deadline",
    "write_timeout_expired": "the peer took no byte for `write_timeout`",
    "write_deadline_expired": "the peer took too few bytes by their deadline",
    "communication_failed": "a frame had a bad length, or an inbox was full",
    "select_rsp_refused": "after a crossing of two Select.req the peer refused ours",
    "select_rejected": "after a crossing of two Select.req the peer rejected ours",
    "deselect_req_received": "the peer has deselected",
    "deselect_rsp_ended": "a call of `deselect`",
    "disable_requested": "a call of `disable`",
    "own_deadline_expired": "the lease of the tool was not renewed by its own deadline",
    "lease_refused": "another process has got the lease of the tool, or had it meanwhile",
    "lease_freed": "the lease of the tool was taken from this process, and nobody has it",
    "close_requested": "a call of `close` or `aclose`, or the end of the block",
    "defect": "a defect of this package, which has closed it",
}
DEFECT = "defect"
# After these nobody waits for the link to come back.
_BY_CALL = frozenset({"deselect_rsp_ended", "disable_requested", "close_requested", DEFECT})
# And after these it is disabled, because the lease is over.
_LEASE_OVER = frozenset({"own_deadline_expired", "lease_refused", "lease_freed"})

# How an attempt ended.
OUTCOMES = {
    "selected": "it was selected",
    "connect_failed": "TCP did not come up",
    "select_failed": "TCP came up, and the session did not",
    "abandoned": "a call or the end of a lease ended it, or the breaker took its permit back",
}
_SELECTED, _CONNECT_FAILED, _SELECT_FAILED, _ABANDONED = OUTCOMES
_ABANDONING = _LEASE_OVER | {"disable_requested", "close_requested", "permit_withdrawn", DEFECT}

# Why a process has left its tool: what ``Draining`` says, and what that means.
DRAINS = {
    "deadline": "the store did not answer in time",
    "lost": "another process has got the lease, or had it meanwhile",
    "withdrawn": "a call of `disable`",
}

# The kinds of frames, by SType: E37's names. All others are one kind.
KINDS = {int(each): each.name.lower() for each in SType}
UNKNOWN = -1
KINDS[UNKNOWN] = "unknown"
_DATA, _LINKTEST_RSP = int(SType.DATA), int(SType.LINKTEST_RSP)

# Upper bounds in seconds. T3 is 45 s unless chosen, and T6 is 5 s.
_REPLY_BOUNDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 20.0, 45.0, 120.0),
)
_LINKTEST_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_RECOVERY_BOUNDS = (
    *(0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0),
    *(120.0, 300.0, 600.0, 1_800.0, 3_600.0, 14_400.0),
)


def _no_frames() -> dict[int, int]:
    return dict.fromkeys(KINDS, 0)


@dataclass(slots=True)
class Tap:
    """The numbers of one name: of a link, or of all connections of a server."""

    sent: dict[int, int] = field(default_factory=_no_frames)
    """Frames, by the keys of ``KINDS``."""
    received: dict[int, int] = field(default_factory=_no_frames)
    disconnects: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    takeovers: int = 0
    """How often the store has given the lease of the tool; to renew it is not to give it."""
    drains: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DRAINS, 0))
    round_trip: Histogram = field(default_factory=lambda: Histogram(_REPLY_BOUNDS))
    answer: Histogram = field(default_factory=lambda: Histogram(_REPLY_BOUNDS))
    linktest: Histogram = field(default_factory=lambda: Histogram(_LINKTEST_BOUNDS))
    recovery: Histogram = field(default_factory=lambda: Histogram(_RECOVERY_BOUNDS))
    clock: Callable[[], float] = float
    """That of the event loop, for any thread. ``float()`` is 0: it has not begun."""
    # How many sessions there are, and what is to be added to the clock, once for each of them, to
    # have the seconds of all sessions. Replaced as a whole.
    sessions: tuple[int, float] = (0, 0.0)

    def selected_seconds(self) -> float:
        """The seconds of all sessions together, the open ones included."""
        count, offset = self.sessions
        return count * self.clock() + offset if count else offset

    def passed(self, traffic: Traffic) -> None:
        """Count a message."""
        header = traffic.header
        frames = self.sent if traffic.sent else self.received
        kind = header.stype if header.ptype == SECS_II and header.stype in KINDS else UNKNOWN
        frames[kind] += 1
        if (seconds := traffic.seconds) is None:
            return
        if kind == _DATA:
            (self.answer if traffic.sent else self.round_trip).observe(seconds)
        elif kind == _LINKTEST_RSP:
            self.linktest.observe(seconds)

    def attach(self, driver: Driver) -> None:
        """Count what this driver tells, from now on. To be called in its event loop."""
        self.clock = trio.lowlevel.current_clock().current_time
        watch = _Watch(self, driver.engine)
        driver.recorders.append(watch.stepped)
        driver.followers.append(watch.happened)
        driver.watchers.append(self.passed)
        driver.watch()


class _Watch:
    """Follows the phase and the lease of one driver."""

    __slots__ = ("_lease_epoch", "_lost_at", "_phase", "_tap")

    def __init__(self, tap: Tap, engine: Engine) -> None:
        self._tap = tap
        # Of the latest grant that is counted, or was there before.
        ownership = engine.ownership
        self._lease_epoch = 0 if ownership is None else ownership.lease_epoch
        # When it lost a session that was to stay, until it is selected again.
        self._lost_at: float | None = None
        self._phase: Phase = "idle"
        self._enter(engine.phase, tap.clock())

    def stepped(self, step: Step) -> None:
        """The charts have made a step."""
        for hop in step.hops:
            if (after := PHASES.get(hop.after.leaves)) is None or after == self._phase:
                # It is another chart, or the same phase.
                continue
            reason = step.event if step.event in REASONS else hop.event
            self._change(after, reason, step.at)

    def happened(self, event: LinkEvent) -> None:
        """A link has told an event. No step is told when the charts have failed."""
        match event:
            case Closed(error=DefectError()):
                self._change("closed", DEFECT, event.at)
            case Owning(lease_epoch=epoch):
                if epoch != self._lease_epoch:
                    self._lease_epoch = epoch
                    self._tap.takeovers += 1
            case Draining(why=why):
                self._tap.drains[why] += 1
            case _:
                pass

    def _change(self, after: Phase, reason: str, at: float) -> None:
        tap, before = self._tap, self._phase
        match before:
            case "selected":
                tap.disconnects[reason] += 1
                count, offset = tap.sessions
                tap.sessions = count - 1, offset + at
                self._lost_at = None if reason in _BY_CALL else at
            case "connecting" if after != "selecting":
                tap.outcomes[_ABANDONED if reason in _ABANDONING else _CONNECT_FAILED] += 1
            case "selecting" if after == "selected":
                tap.outcomes[_SELECTED] += 1
            case "selecting":
                tap.outcomes[_ABANDONED if reason in _ABANDONING else _SELECT_FAILED] += 1
            case _:
                pass
        self._enter(after, at)

    def _enter(self, phase: Phase, at: float) -> None:
        tap, self._phase = self._tap, phase
        match phase:
            case "selected":
                count, offset = tap.sessions
                tap.sessions = count + 1, offset - at
                if self._lost_at is not None:
                    tap.recovery.observe(at - self._lost_at)
                self._lost_at = None
            case "idle" | "closed":
                self._lost_at = None
            case _:
                pass
