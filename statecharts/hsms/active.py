"""The connection of the end that dials: enabled or not, T5 between attempts, breaker, Select.

* T5 runs exactly while an attempt or a connection is over and the next one has not begun.
* The connection holds a permit of the breaker exactly in ``connecting`` and ``selecting``. Each
  transition out of them settles the permit once: success, failure, given back, or withdrawn by the
  breaker.
* When the peer's Select.req crosses ours and is accepted, our Select.req stays unanswered for some
  time. The state ``select_unanswered`` is for this. T6 runs on from Select.req to its answer,
  however often the peer selects and deselects meanwhile.

``OWNED_ACTIVE`` is the same connection where a lease decides about it (``lease``): that chart, not
the user, enables and disables it, and is told when it is at rest and when it has ended. It is never
enabled again before it is at rest, so it has no ``restarting``.

Diagrams: ``diagrams/connection_active.svg`` and its pages.
"""

from __future__ import annotations

from statecharts.declare import Chart, On, Parameter, State, Tell

from .connected import (
    DESELECT_UNANSWERED,
    NOT_OPEN,
    RECEIVED,
    RESET,
    SEPARATE_REQ,
    UNKNOWN,
    connected,
    leaving,
    not_selected,
    selected,
)
from .timers import CONNECT_TIMEOUT, T5, T6
from .vocabulary import AbandonTcp, OpenTcp, Outgoing, Send, rule

RECEIVED_BY_ACTIVE = (
    "select_rsp_accepted",
    "select_rsp_already_active",
    "select_rsp_refused",
    "select_rejected",
)
SELECT_RSP = ("select_rsp_accepted", "select_rsp_already_active", "select_rsp_refused")

# What the breaker is told of an attempt that holds a permit.
_SUCCEEDED = Tell("attempt_succeeded")
_FAILED = Tell("attempt_failed")
_CANCELLED = Tell("attempt_cancelled")

_SELECT_REQ = Send(Outgoing.SELECT_REQ)


def _select_unawaited(state: str) -> tuple[On, ...]:
    """The answers to a response to a Select.req of ours that no longer waits."""
    return (
        *(rule("select-rsp/unawaited", event, state, None, NOT_OPEN) for event in SELECT_RSP),
        rule("select-reject/unawaited", "select_rejected", state, None, UNKNOWN),
    )


# The calls that a lease makes in the user's place.
_SWITCHES = ("enable_requested", "disable_requested")
_RESTARTS = (
    rule("restart/asked", "enable_requested", "disabling", "restarting"),
    rule("restart/disabled", "disable_requested", "restarting", "disabling"),
)
# A lease that is over while the user closes the link has nothing to disable any more.
_CLOSING_ALREADY = (rule("lease/closing", "disable_requested", "closing"),)
_AT_REST = Tell("link_rested")
_ENDED = Tell("link_ended")


def _active(*, owned: bool) -> Chart:
    """The chart; ``owned``: a lease enables and disables it."""
    rests, ends = ((_AT_REST,), (_ENDED,)) if owned else ((), ())
    ways = {
        "disabling": ("disable/over", "resting"),
        "restarting": ("restart/over", "waiting"),
        "closing": ("leaving/closed", "closed"),
    }
    if owned:
        del ways["restarting"]
    return Chart(
        id="connection_active",
        title="HSMS connection, the end that dials",
        # 1: one attempt for one connection. When it is over, the chart is closed, without a retry.
        parameters=(Parameter("single_use", default=0, lowest=0, highest=1),),
        received=(*RECEIVED, *RECEIVED_BY_ACTIVE),
        local=(
            *(() if owned else _SWITCHES),
            "close_requested",
            "select_requested",
            "deselect_requested",
        ),
        reported=(
            *(_SWITCHES if owned else ()),
            "permit_granted",
            "permit_refused",
            "permit_offered",
            "permit_withdrawn",
            "tcp_opened",
            "tcp_failed",
            "tcp_closed",
            "communication_failed",
            "linktest_failed",
            "flushed",
        ),
        total_in=("connected",),
        # In SELECTED the gate is open, and data messages do not go through the chart.
        gated=(("data_received", "selected"),),
        states=(
            State(
                "disconnected",
                "NOT CONNECTED",
                children=(
                    State("idle", enter=rests),
                    State("asking", "Asking the breaker", enter=(Tell("permit_requested"),)),
                    State("blocked", "Blocked by the breaker"),
                    State(
                        "separation",
                        "Separation",
                        timer=T5,
                        children=(
                            State("waiting", "Waiting to retry"),
                            State("resting", "Disabled, T5 not over", enter=rests),
                        ),
                    ),
                ),
            ),
            State("connecting", "Connecting", timer=CONNECT_TIMEOUT, enter=(OpenTcp(),)),
            connected(
                unselected=(
                    State("selecting", timer=T6),
                    State("unselected"),
                    State("reselecting", timer=T6),
                    DESELECT_UNANSWERED,
                ),
                selected=(
                    State(
                        "select_unanswered",
                        timer=T6,
                        enter=(Send(Outgoing.SELECT_RSP_ESTABLISHED),),
                    ),
                ),
                leaving=tuple(State(each) for each in ways),
            ),
            State("closed", "Closed", enter=ends),
        ),
        transitions=(
            # Disconnected: enabled or not, the breaker's permit, and T5 between attempts.
            rule(
                "enable/granted enable/probe enable/refused", "enable_requested", "idle", "asking"
            ),
            rule(
                "enable/granted enable/probe t5/granted t5/probe permit/offered",
                "permit_granted",
                "asking",
                "connecting",
            ),
            rule("enable/refused t5/refused", "permit_refused", "asking", "blocked"),
            rule("permit/offered", "permit_offered", "blocked", "asking"),
            rule("disable/blocked", "disable_requested", "blocked", "idle"),
            rule(
                "tcp/refused tcp/silent tcp/lost-ns tcp/lost-s",
                None,
                "waiting",
                "closed",
                when="single_use == 1",
            ),
            rule("t5/granted t5/probe t5/refused", "t5_expired", "waiting", "asking"),
            rule("disable/waiting", "disable_requested", "waiting", "resting"),
            rule("t5/disabled", "t5_expired", "resting", "idle"),
            rule("enable/early", "enable_requested", "resting", "waiting"),
            rule("close/idle", "close_requested", "disconnected", "closed"),
            # Connecting: TCP.
            rule("tcp/opened", "tcp_opened", "connecting", "selecting", _SELECT_REQ),
            rule(
                "tcp/refused attempt/first attempt/last attempt/probe-fails",
                "tcp_failed",
                "connecting",
                "waiting",
                _FAILED,
            ),
            rule(
                "tcp/silent",
                CONNECT_TIMEOUT.expired,
                "connecting",
                "waiting",
                AbandonTcp(),
                _FAILED,
            ),
            rule(
                "disable/connecting attempt/given-up",
                "disable_requested",
                "connecting",
                "resting",
                AbandonTcp(),
                _CANCELLED,
            ),
            rule(
                "close/connecting",
                "close_requested",
                "connecting",
                "closed",
                AbandonTcp(),
                _CANCELLED,
            ),
            rule("permit/withdrawn", "permit_withdrawn", "connecting", "waiting", AbandonTcp()),
            # Selecting: the attempt holds a permit until SELECTED, or until it has failed.
            rule(
                "select-rsp/accepted attempt/probe-succeeds",
                "select_rsp_accepted",
                "selecting",
                "communicating",
                _SUCCEEDED,
            ),
            rule(
                "select-req/crossing",
                "select_req_received",
                "selecting",
                "select_unanswered",
                _SUCCEEDED,
                keep=T6,
            ),
            *(
                rule("select-rsp/failed", event, "selecting", "waiting", _FAILED)
                for event in ("select_rsp_already_active", "select_rsp_refused", "select_rejected")
            ),
            rule("t6/select", "t6_expired", "selecting", "waiting", RESET, _FAILED),
            rule("t7/over", "t7_expired", "selecting", "waiting", RESET, _FAILED),
            rule("tcp/lost-ns", "tcp_closed", "selecting", "waiting", _FAILED),
            rule("tcp/failed-ns", "communication_failed", "selecting", "waiting", RESET, _FAILED),
            rule("permit/withdrawn-selecting", "permit_withdrawn", "selecting", "waiting"),
            rule("disable/ns", "disable_requested", "selecting", "resting", _CANCELLED),
            rule("close/ns", "close_requested", "selecting", "closed", _CANCELLED),
            # Not selected again, after a Deselect.
            rule("select/asked", "select_requested", "unselected", "reselecting", _SELECT_REQ),
            rule("select-rsp/accepted", "select_rsp_accepted", "reselecting", "communicating"),
            rule(
                "select-req/crossing",
                "select_req_received",
                "reselecting",
                "select_unanswered",
                keep=T6,
            ),
            *(
                rule("select-rsp/failed", event, "reselecting", "waiting")
                for event in ("select_rsp_already_active", "select_rsp_refused", "select_rejected")
            ),
            rule("t6/select", "t6_expired", "reselecting", "waiting", RESET),
            *_select_unawaited("not_selected"),
            *not_selected(lost="waiting"),
            rule("disable/ns", "disable_requested", "not_selected", "resting"),
            rule("close/ns", "close_requested", "not_selected", "closed"),
            # Selected. Status 1: the peer is selected by its own Select.req, which we accepted.
            rule("select-rsp/crossed", "select_rsp_accepted", "select_unanswered", "communicating"),
            rule(
                "select-rsp/crossed",
                "select_rsp_already_active",
                "select_unanswered",
                "communicating",
            ),
            rule("select-rsp/disagreed", "select_rsp_refused", "select_unanswered", "waiting"),
            rule("select-rsp/disagreed", "select_rejected", "select_unanswered", "waiting"),
            rule("t6/select-crossed", "t6_expired", "select_unanswered", "waiting", RESET),
            rule(
                "deselect-req/unanswered",
                "deselect_req_received",
                "select_unanswered",
                "reselecting",
                Send(Outgoing.DESELECT_RSP_ENDED),
                keep=T6,
            ),
            *_select_unawaited("selected"),
            *selected(lost="waiting"),
            rule("disable/s", "disable_requested", "selected", "disabling", SEPARATE_REQ),
            rule("close/s", "close_requested", "selected", "closing", SEPARATE_REQ),
            # Leaving: Separate.req is queued or sent.
            *leaving((*RECEIVED, *RECEIVED_BY_ACTIVE), ways),
            *(() if owned else _RESTARTS),
            *(
                rule("close/leaving", "close_requested", state, "closing")
                for state in ways
                if state != "closing"
            ),
            *(_CLOSING_ALREADY if owned else ()),
            # Events of the breaker in states that do not wait for them.
            *(
                rule("permit/nobody-waits", "permit_offered", state)
                for state in ("disconnected", "connecting", "connected", "closed")
            ),
            *(
                rule("permit/nobody-tries", "permit_withdrawn", state)
                for state in ("disconnected", "connected", "closed")
            ),
        ),
    )


ACTIVE = _active(owned=False)
OWNED_ACTIVE = _active(owned=True)
