"""The circuit breaker: closed, open, half-open with one probe at a time, and isolated by hand.

* ``failures`` counts consecutive failures; a success in closed clears it.
* Open ends by its timer, with no caller needed to notice; whoever was refused is offered a permit.
* In half-open exactly one attempt has the permit (``probing``); every way out of it either decides
  the breaker or gives the permit back.
* A result that belongs to an earlier period is never taken: who isolates or resets the breaker, or
  lowers its threshold to what has failed, while an attempt has a permit withdraws that attempt,
  which then reports nothing.

Changing ``threshold`` on a running breaker moves its snapshot to a machine with the new value and
reports ``reconfigured``: a count that has reached the new threshold opens at once.

Diagram: ``diagrams/breaker.svg``.
"""

from __future__ import annotations

from statecharts.declare import Chart, Increment, On, Parameter, Set, State, Tell, Variable

from .timers import OPEN_TIME
from .vocabulary import (
    Count,
    Counter,
)

_RESULTS = ("attempt_succeeded", "attempt_failed", "attempt_cancelled")


def _stale(state: str, events: tuple[str, ...] = _RESULTS) -> tuple[On, ...]:
    return tuple(On(event, state, do=(Count(Counter.STALE_RESULT),)) for event in events)


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
        "reconfigured",
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
        On("permit_requested", "breaker_closed", do=(Tell("permit_granted"),)),
        On("attempt_succeeded", "breaker_closed", do=(Set("failures", 0),)),
        On("attempt_failed", "breaker_closed", do=(Increment("failures"),)),
        On("attempt_cancelled", "breaker_closed"),
        # A lowered threshold may be reached while an attempt has a permit.
        On(
            None,
            "breaker_closed",
            to="breaker_open",
            when="failures >= threshold",
            do=(Tell("permit_withdrawn"),),
        ),
        On("reset_requested", "breaker_closed", do=(Set("failures", 0),)),
        On("isolate_requested", "breaker_closed", to="isolated", do=(Tell("permit_withdrawn"),)),
        On("permit_requested", "breaker_open", do=(Tell("permit_refused"),)),
        On(OPEN_TIME.expired, "breaker_open", to="ready", do=(Tell("permit_offered"),)),
        On("isolate_requested", "breaker_open", to="isolated"),
        On(
            "reset_requested",
            "breaker_open",
            to="breaker_closed",
            do=(Set("failures", 0), Tell("permit_offered")),
        ),
        *_stale("breaker_open"),
        On("permit_requested", "ready", to="probing", do=(Tell("permit_granted"),)),
        *_stale("ready"),
        On("permit_requested", "probing", do=(Tell("permit_refused"),)),
        On(
            "attempt_succeeded",
            "probing",
            to="breaker_closed",
            do=(Set("failures", 0), Tell("permit_offered")),
        ),
        On("attempt_failed", "probing", to="breaker_open"),
        On("attempt_cancelled", "probing", to="ready", do=(Tell("permit_offered"),)),
        On("isolate_requested", "half_open", to="isolated", do=(Tell("permit_withdrawn"),)),
        On(
            "reset_requested",
            "half_open",
            to="breaker_closed",
            do=(Tell("permit_withdrawn"), Set("failures", 0), Tell("permit_offered")),
        ),
        On("permit_requested", "isolated", do=(Tell("permit_refused"),)),
        On("isolate_requested", "isolated"),
        On(
            "release_requested",
            "isolated",
            to="breaker_closed",
            do=(Set("failures", 0), Tell("permit_offered")),
        ),
        On(
            "reset_requested",
            "isolated",
            to="breaker_closed",
            do=(Set("failures", 0), Tell("permit_offered")),
        ),
        *_stale("isolated"),
        *(
            transition
            for state in ("breaker_closed", "breaker_open", "half_open", "isolated")
            for transition in (
                *_stale(state, ("stale_result_reported",)),
                On("reconfigured", state),
            )
        ),
    ),
)
