"""The part of a connection that both ends share: CONNECTED, its states and their answers.

``active`` and ``passive`` add how TCP is opened and what follows when it is closed. Each transition
names the clauses of ``rules.txt`` that it fulfils.

* T7 runs exactly in NOT SELECTED, T6 exactly while a Select or a Deselect of ours is unanswered.
* TCP is open exactly in CONNECTED: the exit of CONNECTED closes it. So everything that is sent on a
  transition or an entry inside CONNECTED, such as Separate.req, comes before the close.
* The gate for data messages is open exactly in SELECTED. Select.rsp 0 is sent on entry of a state
  inside SELECTED, so after the gate is opened.

When the peer's Deselect.req crosses ours, our Deselect.req stays unanswered for some time. The
state ``deselect_unanswered`` is for this, and T6 runs on. A Select.req of the peer in it begins a
new session, and then the Deselect.rsp is not awaited any more.

Diagrams: ``diagrams/connection_active_selected.svg``, ``connection_passive_selected.svg``.
"""

from __future__ import annotations

from statecharts.declare import On, State, Tell

from .timers import LINGER, T6, T7
from .vocabulary import (
    CloseGate,
    CloseTcp,
    Count,
    Counter,
    FinishTcp,
    OpenGate,
    Outgoing,
    ResetTcp,
    Send,
    rule,
)

# Facts that a peer may cause at any time while TCP is open. The protocol layer has read the frame
# and chosen the event: "accepted", "ended" and so on stand for the status, "rejected" for a
# Reject.req that names our request.
RECEIVED = (
    "select_req_received",
    "deselect_req_received",
    "deselect_rsp_ended",
    "deselect_rsp_busy",
    "deselect_rejected",
    "linktest_req_received",
    "linktest_rsp_received",
    "linktest_rejected",
    "separate_req_received",
    "unknown_reject_received",
    "unexpected_rsp_received",
    "unsupported_stype_received",
    "unsupported_ptype_received",
    "control_with_body_received",
    "data_received",
)
# The last act of a connection on which we cannot go on (a bad length, T8, a deadline, a full inbox,
# no response): the peer is told by a reset, which passes where data is stuck.
RESET = ResetTcp()

DESELECT_RSP = ("deselect_rsp_ended", "deselect_rsp_busy")

_LINKTEST_RSP = Send(Outgoing.LINKTEST_RSP)
_STYPE, _PTYPE = Send(Outgoing.REJECT_STYPE), Send(Outgoing.REJECT_PTYPE)
NOT_OPEN = Send(Outgoing.REJECT_NOT_OPEN)
UNKNOWN = Count(Counter.REJECT_UNKNOWN)


def _answered_alike(state: str) -> tuple[On, ...]:
    """The frames with the same answer in SELECTED and in NOT SELECTED."""
    return (
        rule("linktest-req/any", "linktest_req_received", state, None, _LINKTEST_RSP),
        rule("response/unawaited", "unexpected_rsp_received", state, None, NOT_OPEN),
        rule("header/stype", "unsupported_stype_received", state, None, _STYPE),
        rule("header/body", "control_with_body_received", state, None, _STYPE),
        rule("header/ptype", "unsupported_ptype_received", state, None, _PTYPE),
        rule("reject/unknown", "unknown_reject_received", state, None, UNKNOWN),
        rule("deselect-reject/unawaited", "deselect_rejected", state, None, UNKNOWN),
        *(rule("deselect-rsp/unawaited", event, state, None, NOT_OPEN) for event in DESELECT_RSP),
    )


def not_selected(lost: str) -> tuple[On, ...]:
    """NOT SELECTED, for both ends. ``lost`` is the next state when the connection is lost."""
    here = "not_selected"
    ended = Send(Outgoing.DESELECT_RSP_NOT_ESTABLISHED)
    return (
        *_answered_alike(here),
        rule("data/ns", "data_received", here, None, Send(Outgoing.REJECT_NOT_SELECTED)),
        rule("deselect-req/ns", "deselect_req_received", here, None, ended),
        rule(
            "separate-req/ns", "separate_req_received", here, None, Count(Counter.SEPARATE_IGNORED)
        ),
        rule("linktest-rsp/unawaited", "linktest_rsp_received", here, None, NOT_OPEN),
        rule("linktest-reject/unawaited", "linktest_rejected", here, None, UNKNOWN),
        rule("select-req/ns", "select_req_received", here, "accepting"),
        # The peer's Deselect.req crossed ours: whatever the response says, neither is selected.
        *(
            rule("deselect-rsp/crossed", event, "deselect_unanswered", "unselected")
            for event in (*DESELECT_RSP, "deselect_rejected")
        ),
        rule("t6/deselect-crossed", "t6_expired", "deselect_unanswered", lost, RESET),
        rule("t7/over", "t7_expired", here, lost, RESET),
        rule("tcp/lost-ns", "tcp_closed", here, lost),
        rule("tcp/failed-ns", "communication_failed", here, lost, RESET),
        rule("flushed/meanwhile", "flushed", here),
    )


def selected(lost: str) -> tuple[On, ...]:
    """SELECTED, for both ends. ``lost`` is the next state when the connection is lost."""
    here = "selected"
    active, ended = Send(Outgoing.SELECT_RSP_ALREADY_ACTIVE), Send(Outgoing.DESELECT_RSP_ENDED)
    return (
        *_answered_alike(here),
        rule("select-req/s", "select_req_received", here, None, active),
        rule(
            "linktest-rsp/answered linktest-rsp/unawaited",
            "linktest_rsp_received",
            here,
            None,
            Tell("probe_answered"),
        ),
        rule(
            "linktest-reject/answered linktest-reject/unawaited",
            "linktest_rejected",
            here,
            None,
            Tell("probe_rejected"),
        ),
        rule("select-req/ns", None, "accepting", "communicating"),
        rule("deselect-req/s", "deselect_req_received", here, "unselected", ended),
        rule(
            "deselect-req/crossing",
            "deselect_req_received",
            "deselecting",
            "deselect_unanswered",
            ended,
            keep=T6,
        ),
        rule(
            "deselect/asked",
            "deselect_requested",
            "communicating",
            "deselecting",
            Send(Outgoing.DESELECT_REQ),
        ),
        rule("deselect-rsp/ended", "deselect_rsp_ended", "deselecting", "unselected"),
        rule("deselect-rsp/refused", "deselect_rsp_busy", "deselecting", "communicating"),
        rule("deselect-rsp/refused", "deselect_rejected", "deselecting", "communicating"),
        rule("t6/deselect", "t6_expired", "deselecting", lost, RESET),
        rule("separate-req/s", "separate_req_received", here, lost),
        rule("linktest/last-miss", "linktest_failed", here, lost, RESET),
        rule("tcp/lost-s", "tcp_closed", here, lost),
        rule("tcp/failed-s", "communication_failed", here, lost, RESET),
        rule("flushed/meanwhile", "flushed", here),
    )


def leaving(received: tuple[str, ...], ways: dict[str, tuple[str, str]]) -> tuple[On, ...]:
    """The last frame is queued, and no frame is answered any more.

    ``ways``: each child state to its clause and to the state that follows it.
    """
    dropped = Count(Counter.DROPPED_WHILE_LEAVING)
    return (
        *(rule("leaving/frame", event, "leaving", None, dropped) for event in received),
        *(
            rule(clause, event, child, follows)
            for child, (clause, follows) in ways.items()
            for event in (LINGER.expired, "tcp_closed")
        ),
        *(
            rule(f"{child}/stuck", "communication_failed", child, follows, RESET)
            for child, (_, follows) in ways.items()
        ),
        # The peer closes when it has read our last frame. If we closed first while data of the peer
        # is unread here, the kernel would send a reset, and that could destroy our last frame.
        rule("leaving/flushed", "flushed", "leaving", None, FinishTcp()),
    )


def connected(
    unselected: tuple[State, ...],
    selected: tuple[State, ...],
    leaving: tuple[State, ...],
    ended: tuple[Tell, ...] = (),
) -> State:
    """CONNECTED. ``ended``: what is told besides, when SELECTED is over."""
    return State(
        "connected",
        "CONNECTED",
        exit=(Tell("receiving_ended"), Tell("transmitting_ended"), CloseTcp()),
        children=(
            State("not_selected", "NOT SELECTED", timer=T7, children=unselected),
            State(
                "selected",
                "SELECTED",
                enter=(OpenGate(), Tell("watch_began")),
                exit=(Tell("watch_ended"), *ended, CloseGate()),
                children=(
                    State("communicating"),
                    # Entered for a peer's Select.req: the gate is opened before the answer is sent.
                    State("accepting", enter=(Send(Outgoing.SELECT_RSP_ESTABLISHED),)),
                    *selected,
                    State("deselecting", timer=T6),
                ),
            ),
            State("leaving", "Leaving", timer=LINGER, children=leaving),
        ),
    )


DESELECT_UNANSWERED = State("deselect_unanswered", timer=T6)

SEPARATE_REQ = Send(Outgoing.SEPARATE_REQ)
