"""What the end that listens owes besides."""

from __future__ import annotations

from statecharts.explore.obligations import Obligation
from statecharts.hsms.vocabulary import Outgoing

from .clause import ACCEPTED, END, FRESH, LOST, NS, S, clause
from .messages import both

LISTENS: tuple[Obligation, ...] = (
    clause("TCP accepted", "tcp_accepted", "listening", (), "unselected"),
    clause("Select.req in NS", "select_req_received", NS, ACCEPTED, FRESH),
    clause(
        "Select.req of a second connection in NS",
        "competing_select_req_received",
        NS,
        Outgoing.SELECT_RSP_EXHAUSTED,
        "refusing",
    ),
    clause(
        "Select.req of a second connection in S",
        "competing_select_req_received",
        S,
        Outgoing.SELECT_RSP_ALREADY_ACTIVE,
    ),
    clause(
        "refusing is over",
        f"{LOST} linger_expired",
        "refusing",
        END,
        "listening between_frames drained",
    ),
    clause("close while refusing", "close_requested", "refusing", (), "closing"),
    *both("listening", "competing_select_req_received"),
)
