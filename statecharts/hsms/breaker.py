"""The circuit breaker: closed, open, half-open with one probe at a time, and isolated by hand.

* ``failures`` counts failures in a row; a success in closed clears it.
* A timer ends the open state; no caller has to notice it. Then the breaker offers a permit to the
  caller that it has refused.
* In half-open exactly one attempt has the permit (``probing``). Each transition out of it closes
  or opens the breaker, or takes the permit back.
* A result of an earlier period is never used. Isolating the breaker, resetting it while half-open,
  or lowering its threshold to the count of failures, withdraws the attempt that has a permit, and
  the withdrawn attempt reports no result.

When the count of failures has reached a new ``threshold``, the breaker opens at once.

Diagram: ``diagrams/breaker.svg``.
"""

from __future__ import annotations

from statecharts.declare import Action, Chart, Increment, On, Parameter, Set, State, Tell, Variable

from .timers import OPEN_TIME
from .vocabulary import Count, Counter, rule

_RESULTS = ("attempt_succeeded", "attempt_failed", "attempt_cancelled")

_CLEARED = Set("failures", 0)
_GRANTED = Tell("permit_granted")
_REFUSED = Tell("permit_refused")
_OFFERED = Tell("permit_offered")
_WITHDRAWN = Tell("permit_withdrawn")
_STALE = Count(Counter.STALE_RESULT)


def _closes(clause: str, event: str, source: str, *first: Action) -> On:
    """Close the breaker without failures, and offer a permit to the caller it has refused."""
    return rule(clause, event, source, "breaker_closed", *first, _CLEARED, _OFFERED)


BREAKER = Chart(
    id="breaker",
    title="Circuit breaker",
    parameters=(Parameter("threshold", default=5, lowest=1, highest=1_000),),
    variables=(Variable("failures", highest="threshold"),),
    local=("isolate_requested", "release_requested", "reset_requested"),
    reported=(
        "permit_requested",
        "attempt_succeeded",
        "attempt_failed",
        "attempt_cancelled",
        "stale_result_reported",
    ),
    states=(
        State("breaker_closed", "Closed"),
        State("breaker_open", "Open", timer=OPEN_TIME),
        State(
            "half_open",
            "Half-open",
            children=(
                State("ready", "Ready"),
                State("probing", "Probing"),
            ),
        ),
        State("isolated", "Isolated"),
    ),
    transitions=(
        rule("breaker/grants", "permit_requested", "breaker_closed", None, _GRANTED),
        rule("breaker/success", "attempt_succeeded", "breaker_closed", None, _CLEARED),
        rule(
            "breaker/failure breaker/last-failure",
            "attempt_failed",
            "breaker_closed",
            None,
            Increment("failures"),
        ),
        rule("breaker/cancelled", "attempt_cancelled", "breaker_closed"),
        # A lowered threshold may already be reached while an attempt has a permit.
        rule(
            "breaker/last-failure",
            None,
            "breaker_closed",
            "breaker_open",
            _WITHDRAWN,
            when="failures >= threshold",
        ),
        rule("breaker/resets-closed", "reset_requested", "breaker_closed", None, _CLEARED),
        rule("breaker/isolates", "isolate_requested", "breaker_closed", "isolated", _WITHDRAWN),
        rule("breaker/refuses", "permit_requested", "breaker_open", None, _REFUSED),
        rule("breaker/half-opens", OPEN_TIME.expired, "breaker_open", "ready", _OFFERED),
        rule("breaker/isolates-idle", "isolate_requested", "breaker_open", "isolated"),
        _closes("breaker/resets", "reset_requested", "breaker_open"),
        rule("breaker/probes", "permit_requested", "ready", "probing", _GRANTED),
        rule("breaker/refuses", "permit_requested", "probing", None, _REFUSED),
        _closes("breaker/probe-succeeds", "attempt_succeeded", "probing"),
        rule("breaker/probe-fails", "attempt_failed", "probing", "breaker_open"),
        rule("breaker/probe-cancelled", "attempt_cancelled", "probing", "ready", _OFFERED),
        rule("breaker/isolates", "isolate_requested", "half_open", "isolated", _WITHDRAWN),
        _closes("breaker/resets-half-open", "reset_requested", "half_open", _WITHDRAWN),
        rule("breaker/refuses", "permit_requested", "isolated", None, _REFUSED),
        rule("breaker/isolates-idle", "isolate_requested", "isolated"),
        _closes("breaker/releases", "release_requested", "isolated"),
        _closes("breaker/resets", "reset_requested", "isolated"),
        *(
            rule("breaker/stale", event, state, None, _STALE)
            for state in ("breaker_open", "ready", "isolated")
            for event in _RESULTS
        ),
        *(
            rule("breaker/stale-told", "stale_result_reported", state, None, _STALE)
            for state in ("breaker_closed", "breaker_open", "half_open", "isolated")
        ),
    ),
)
