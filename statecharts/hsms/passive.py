"""The connection of the end that listens: accepted, used once, and closed.

Diagrams: ``diagrams/connection_passive.svg`` and its pages.
"""

from __future__ import annotations

from statecharts.declare import Chart, State, Tell

from .connected import (
    DESELECT_UNANSWERED,
    RECEIVED,
    SEPARATE_REQ,
    connected,
    leaving,
    not_selected,
    selected,
)
from .vocabulary import ContestSession, Outgoing, Send, rule

# A Select.req while the entity is selected by another connection (E37 allows HSMS-SS one session).
RECEIVED_BY_PASSIVE = ("competing_select_req_received",)

PASSIVE = Chart(
    id="connection_passive",
    title="HSMS connection, the end that listens",
    received=(*RECEIVED, *RECEIVED_BY_PASSIVE),
    local=("close_requested", "deselect_requested"),
    reported=("tcp_accepted", "tcp_closed", "communication_failed", "linktest_failed", "flushed"),
    total_in=("connected",),
    # In SELECTED the gate is open, and data messages do not go through the chart.
    gated=(("data_received", "selected"),),
    states=(
        State("disconnected", "NOT CONNECTED", children=(State("listening"),)),
        connected(
            unselected=(State("unselected"), DESELECT_UNANSWERED),
            selected=(),
            leaving=(State("refusing"), State("closing")),
            ended=(Tell("session_ended"),),
        ),
        State("closed", "Closed"),
    ),
    transitions=(
        rule("tcp/accepted", "tcp_accepted", "listening", "unselected"),
        rule("close/idle", "close_requested", "disconnected", "closed"),
        rule(
            "select-req/competing",
            "competing_select_req_received",
            "not_selected",
            "refusing",
            Send(Outgoing.SELECT_RSP_EXHAUSTED),
            ContestSession(),
        ),
        *not_selected(lost="closed"),
        rule("close/ns", "close_requested", "not_selected", "closed"),
        rule(
            "select-req/s",
            "competing_select_req_received",
            "selected",
            None,
            Send(Outgoing.SELECT_RSP_ALREADY_ACTIVE),
        ),
        *selected(lost="closed"),
        rule("close/s", "close_requested", "selected", "closing", SEPARATE_REQ),
        *leaving(
            (*RECEIVED, *RECEIVED_BY_PASSIVE),
            {
                "refusing": ("leaving/closed", "closed"),
                "closing": ("leaving/closed", "closed"),
            },
        ),
        rule("close/leaving", "close_requested", "refusing", "closing"),
    ),
)
