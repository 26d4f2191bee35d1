"""The connection of the end that dials: enabled or not, T5 between attempts, breaker, Select.

* T5 runs exactly while an attempt or a connection is over and the next one has not begun.
* The connection holds a permit of the breaker exactly in ``connecting`` and ``selecting``. Each
  transition out of them settles the permit once: success, failure, given back, or withdrawn by the
  breaker.
* When the peer's Select.req crosses ours and is accepted, our Select.req stays unanswered for some
  time. The state ``select_unanswered`` is for this. T6 runs on from Select.req to its answer,
  however often the peer selects and deselects meanwhile.

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


ACTIVE = Chart(
    id="connection_active",
    title="HSMS connection, the end that dials",
    # 1: one attempt for one connection. When it is over, the chart is closed and does not retry.
    parameters=(Parameter("single_use", default=0, lowest=0, highest=1),),
    received=(*RECEIVED, *RECEIVED_BY_ACTIVE),
    local=(
        "enable_requested",
        "disable_requested",
        "close_requested",
        "select_requested",
        "deselect_requested",
    ),
    reported=(
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
                State("idle"),
                State("asking", "Asking the breaker", enter=(Tell("permit_requested"),)),
                State("blocked", "Blocked by the breaker"),
                State(
                    "separation",
                    "Separation",
                    timer=T5,
                    children=(
                        State("waiting", "Waiting to retry"),
                        State("resting", "Disabled, T5 not over"),
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
                    "select_unanswered", timer=T6, enter=(Send(Outgoing.SELECT_RSP_ESTABLISHED),)
                ),
            ),
            leaving=(State("disabling"), State("restarting"), State("closing")),
        ),
        State("closed", "Closed"),
    ),
    transitions=(
        # Disconnected: enabled or not, the breaker's permit, and T5 between attempts.
        rule("enable/granted enable/probe enable/refused", "enable_requested", "idle", "asking"),
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
        rule("tcp/silent", CONNECT_TIMEOUT.expired, "connecting", "waiting", AbandonTcp(), _FAILED),
        rule(
            "disable/connecting attempt/given-up",
            "disable_requested",
            "connecting",
            "resting",
            AbandonTcp(),
            _CANCELLED,
        ),
        rule(
            "close/connecting", "close_requested", "connecting", "closed", AbandonTcp(), _CANCELLED
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
            "select-rsp/crossed", "select_rsp_already_active", "select_unanswered", "communicating"
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
        *leaving(
            (*RECEIVED, *RECEIVED_BY_ACTIVE),
            {
                "disabling": ("disable/over", "resting"),
                "restarting": ("restart/over", "waiting"),
                "closing": ("leaving/closed", "closed"),
            },
        ),
        rule("restart/asked", "enable_requested", "disabling", "restarting"),
        rule("restart/disabled", "disable_requested", "restarting", "disabling"),
        rule("close/leaving", "close_requested", "disabling", "closing"),
        rule("close/leaving", "close_requested", "restarting", "closing"),
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
