"""What the breaker owes: to the link that asks it, and by itself. For a threshold of 2."""

from __future__ import annotations

from statecharts.declare import Tell
from statecharts.explore.obligations import Obligation
from statecharts.hsms.vocabulary import (
    AbandonTcp,
    CloseTcp,
    Counter,
    OpenGate,
    OpenTcp,
)

from .clause import clause

_CLEARED = "breaker_closed failures=0"


def breaker() -> tuple[Obligation, ...]:
    """What a link and its breaker do together."""
    down = "between_frames drained"
    return (
        clause(
            "one failure",
            "tcp_failed",
            f"connecting {_CLEARED}",
            (),
            "waiting breaker_closed failures=1",
        ),
        clause(
            "last failure",
            "tcp_failed",
            "connecting breaker_closed failures=1",
            (),
            "waiting breaker_open",
        ),
        clause("probe fails", "tcp_failed", "connecting probing", (), "waiting breaker_open"),
        clause(
            "probe succeeds",
            "select_rsp_accepted",
            "selecting probing",
            (OpenGate(),),
            f"communicating quiet {_CLEARED}",
        ),
        clause(
            "probe cancelled",
            "disable_requested",
            "connecting probing",
            (AbandonTcp(),),
            "resting ready",
        ),
        clause("open time over", "open_time_expired", "breaker_open", (), "ready", "blocked"),
        clause(
            "open time over, offered",
            "open_time_expired",
            "breaker_open blocked",
            (OpenTcp(),),
            "connecting probing",
        ),
        clause("isolate", "isolate_requested", "idle", (), "isolated", "isolated"),
        clause(
            "isolate during TCP connect",
            "isolate_requested",
            "connecting",
            (AbandonTcp(),),
            "waiting isolated",
        ),
        clause(
            "isolate during Select",
            "isolate_requested",
            "selecting",
            (CloseTcp(),),
            f"waiting isolated {down}",
        ),
        clause("isolate in S", "isolate_requested", "selected", (), "isolated"),
        clause("release", "release_requested", "isolated", (), _CLEARED, "blocked"),
        clause(
            "release, offered",
            "release_requested",
            "isolated blocked",
            (OpenTcp(),),
            f"connecting {_CLEARED}",
        ),
        clause(
            "reset, offered",
            "reset_requested",
            "blocked",
            (OpenTcp(),),
            f"connecting {_CLEARED}",
        ),
        clause("reset, not connected", "reset_requested", "disconnected", (), _CLEARED, "blocked"),
        clause("reset in S", "reset_requested", "selected", (), _CLEARED),
        clause(
            "reset during a probe's TCP connect",
            "reset_requested",
            "connecting probing",
            (AbandonTcp(),),
            f"waiting {_CLEARED}",
        ),
        clause(
            "reset during a probe's Select",
            "reset_requested",
            "selecting probing",
            (CloseTcp(),),
            f"waiting {_CLEARED} {down}",
        ),
        clause("reset during an attempt", "reset_requested", "connecting", (), _CLEARED, "probing"),
    )


def _alone(state: str) -> tuple[Obligation, ...]:
    return (
        clause(f"settings, {state}", "reconfigured", state),
        clause(f"stale, {state}", "stale_result_reported", state, Counter.STALE_RESULT),
    )


_RESULTS = "attempt_succeeded attempt_failed attempt_cancelled"
BREAKS: tuple[Obligation, ...] = (
    clause("closed grants", "permit_requested", "breaker_closed", (Tell("permit_granted"),)),
    clause("open refuses", "permit_requested", "breaker_open", (Tell("permit_refused"),)),
    clause("isolated refuses", "permit_requested", "isolated", (Tell("permit_refused"),)),
    clause(
        "one probe is granted", "permit_requested", "ready", (Tell("permit_granted"),), "probing"
    ),
    clause("a second probe is not", "permit_requested", "probing", (Tell("permit_refused"),)),
    clause("success clears", "attempt_succeeded", "breaker_closed", (), _CLEARED),
    clause("first failure", "attempt_failed", _CLEARED, (), "breaker_closed failures=1"),
    clause(
        "last failure",
        "attempt_failed",
        "breaker_closed failures=1",
        (Tell("permit_withdrawn"),),
        "breaker_open",
    ),
    clause("cancelled is neither", "attempt_cancelled", "breaker_closed"),
    clause("probe succeeds", "attempt_succeeded", "probing", (Tell("permit_offered"),), _CLEARED),
    clause("probe fails", "attempt_failed", "probing", (), "breaker_open"),
    clause("probe cancelled", "attempt_cancelled", "probing", (Tell("permit_offered"),), "ready"),
    clause(
        "open time over", "open_time_expired", "breaker_open", (Tell("permit_offered"),), "ready"
    ),
    clause(
        "isolate, closed",
        "isolate_requested",
        "breaker_closed",
        (Tell("permit_withdrawn"),),
        "isolated",
    ),
    clause("isolate, open", "isolate_requested", "breaker_open", (), "isolated"),
    clause(
        "isolate, half-open",
        "isolate_requested",
        "half_open",
        (Tell("permit_withdrawn"),),
        "isolated",
    ),
    clause("isolate twice", "isolate_requested", "isolated"),
    clause("release", "release_requested", "isolated", (Tell("permit_offered"),), _CLEARED),
    clause("reset, closed", "reset_requested", "breaker_closed", (), _CLEARED),
    clause("reset, open", "reset_requested", "breaker_open", (Tell("permit_offered"),), _CLEARED),
    clause("reset, isolated", "reset_requested", "isolated", (Tell("permit_offered"),), _CLEARED),
    clause(
        "reset, half-open",
        "reset_requested",
        "half_open",
        (Tell("permit_withdrawn"), Tell("permit_offered")),
        _CLEARED,
    ),
    *(
        clause(f"a result nobody awaits, {state}", _RESULTS, state, Counter.STALE_RESULT)
        for state in ("breaker_open", "ready", "isolated")
    ),
    *(
        row
        for state in ("breaker_closed", "breaker_open", "half_open", "isolated")
        for row in _alone(state)
    ),
)
