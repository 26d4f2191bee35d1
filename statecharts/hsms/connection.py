"""The life of an HSMS connection, once for the end that dials and once for the end that listens.

Both ends share everything below CONNECTED; they differ in how TCP comes up and in what follows when
it is gone. Each transition names the clauses of ``rules.txt`` that it fulfils.

* T7 runs exactly in NOT SELECTED, T6 exactly while a Select or a Deselect of ours is unanswered, T5
  exactly while the dialling end has ended an attempt or a connection and not begun the next.
* TCP is open exactly in CONNECTED: leaving it closes. So whatever is sent on a transition or an
  entry below CONNECTED, such as Separate.req, precedes the close.
* The gate for data messages is open exactly in SELECTED. Select.rsp 0 is sent on entry of a state
  inside SELECTED, hence after the gate has opened.
* The dialling end holds a permit of the breaker exactly in ``connecting`` and ``selecting``, and
  each way out of them settles it once: success, failure, given back, or withdrawn by the breaker.

When a peer's own Select crosses ours and is accepted, our Select.req stays unanswered for a while:
``select_unanswered``, in which T6 begins anew. ``deselect_unanswered`` is the same for Deselect; a
Select.req of the peer in it begins a new session, and nobody waits for the Deselect.rsp any more.

Diagrams: ``diagrams/connection_active.svg``, ``diagrams/connection_passive.svg``.
"""

from __future__ import annotations

from statecharts.declare import Chart, On, Parameter, State, Tell

from .timers import CONNECT_TIMEOUT, LINGER, T5, T6, T7
from .vocabulary import (
    AbandonTcp,
    CloseGate,
    CloseTcp,
    Count,
    Counter,
    FinishTcp,
    OpenGate,
    OpenTcp,
    Outgoing,
    Send,
    rule,
)

# Facts that a peer may cause at any time while TCP is up. The protocol layer has read the frame and
# chosen the name; "accepted", "ended" and so on stand for the status, "rejected" for a Reject.req
# that names our request.
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
RECEIVED_BY_ACTIVE = (
    "select_rsp_accepted",
    "select_rsp_already_active",
    "select_rsp_refused",
    "select_rejected",
)
# A Select.req while the entity is selected by another connection (E37 allows HSMS-SS one session).
RECEIVED_BY_PASSIVE = ("competing_select_req_received",)

# The connection is over and nobody chose it: the peer or the network ended TCP, or an end of ours
# cannot go on (a bad length, T8, a deadline, a full inbox).
LOST = ("tcp_closed", "communication_failed")

SELECT_RSP = ("select_rsp_accepted", "select_rsp_already_active", "select_rsp_refused")
DESELECT_RSP = ("deselect_rsp_ended", "deselect_rsp_busy")

_LINKTEST_RSP = Send(Outgoing.LINKTEST_RSP)
_STYPE, _PTYPE = Send(Outgoing.REJECT_STYPE), Send(Outgoing.REJECT_PTYPE)
_NOT_OPEN = Send(Outgoing.REJECT_NOT_OPEN)
_UNKNOWN = Count(Counter.REJECT_UNKNOWN)


def _answered_alike(state: str) -> tuple[On, ...]:
    """What is answered the same way selected or not."""
    return (
        rule("linktest-req/any", "linktest_req_received", state, None, _LINKTEST_RSP),
        rule("response/unawaited", "unexpected_rsp_received", state, None, _NOT_OPEN),
        rule("header/stype", "unsupported_stype_received", state, None, _STYPE),
        rule("header/body", "control_with_body_received", state, None, _STYPE),
        rule("header/ptype", "unsupported_ptype_received", state, None, _PTYPE),
        rule("reject/unknown", "unknown_reject_received", state, None, _UNKNOWN),
        rule("deselect-reject/unawaited", "deselect_rejected", state, None, _UNKNOWN),
        *(rule("deselect-rsp/unawaited", event, state, None, _NOT_OPEN) for event in DESELECT_RSP),
    )


def _select_unawaited(state: str) -> tuple[On, ...]:
    """What answers a Select.req of ours that no longer waits."""
    return (
        *(rule("select-rsp/unawaited", event, state, None, _NOT_OPEN) for event in SELECT_RSP),
        rule("select-reject/unawaited", "select_rejected", state, None, _UNKNOWN),
    )


def _not_selected(lost: str) -> tuple[On, ...]:
    """NOT SELECTED, both ends. ``lost`` is where the end of TCP leads."""
    here = "not_selected"
    ended = Send(Outgoing.DESELECT_RSP_NOT_ESTABLISHED)
    return (
        *_answered_alike(here),
        rule("data/ns", "data_received", here, None, Send(Outgoing.REJECT_NOT_SELECTED)),
        rule("deselect-req/ns", "deselect_req_received", here, None, ended),
        rule(
            "separate-req/ns", "separate_req_received", here, None, Count(Counter.SEPARATE_IGNORED)
        ),
        rule("linktest-rsp/unawaited", "linktest_rsp_received", here, None, _NOT_OPEN),
        rule("linktest-reject/unawaited", "linktest_rejected", here, None, _UNKNOWN),
        rule("select-req/ns", "select_req_received", here, "accepting"),
        # A Deselect of the peer crossed ours: whatever the response says, nobody is selected.
        *(
            rule("deselect-rsp/crossed", event, "deselect_unanswered", "unselected")
            for event in (*DESELECT_RSP, "deselect_rejected")
        ),
        rule("t6/deselect-crossed", "t6_expired", "deselect_unanswered", lost),
        rule("t7/over", "t7_expired", here, lost),
        *(rule("tcp/lost-ns", event, here, lost) for event in LOST),
        rule("flushed/meanwhile", "flushed", here),
    )


def _selected(lost: str) -> tuple[On, ...]:
    """SELECTED, both ends."""
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
        rule("t6/deselect", "t6_expired", "deselecting", lost),
        rule("separate-req/s", "separate_req_received", here, lost),
        rule("linktest/last-miss", "linktest_failed", here, lost),
        *(rule("tcp/lost-s", event, here, lost) for event in LOST),
        rule("flushed/meanwhile", "flushed", here),
    )


def _leaving(received: tuple[str, ...], ways: dict[str, tuple[str, str]]) -> tuple[On, ...]:
    """The last frame is queued; nothing is answered any more.

    ``ways``: child to its clause and to what follows.
    """
    dropped = Count(Counter.DROPPED_WHILE_LEAVING)
    return (
        *(rule("leaving/frame", event, "leaving", None, dropped) for event in received),
        *(
            rule(clause, event, child, follows)
            for child, (clause, follows) in ways.items()
            for event in (LINGER.expired, *LOST)
        ),
        # The peer closes when it has read our last frame; closing first could destroy it with a
        # reset while data of the peer is still unread here.
        rule("leaving/flushed", "flushed", "leaving", None, FinishTcp()),
    )


def _connected(
    unselected: tuple[State, ...], selected: tuple[State, ...], leaving: tuple[State, ...]
) -> State:
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
                exit=(Tell("watch_ended"), CloseGate()),
                children=(
                    State("communicating"),
                    # Entered for a peer's Select.req: the answer leaves after the gate has opened.
                    State("accepting", enter=(Send(Outgoing.SELECT_RSP_ESTABLISHED),)),
                    *selected,
                    State("deselecting", timer=T6),
                ),
            ),
            State("leaving", "Leaving", timer=LINGER, children=leaving),
        ),
    )


_DESELECT_UNANSWERED = State("deselect_unanswered", timer=T6)

# How an attempt that holds a permit ends, as the breaker is told.
_SUCCEEDED = Tell("attempt_succeeded")
_FAILED = Tell("attempt_failed")
_CANCELLED = Tell("attempt_cancelled")

_SELECT_REQ = Send(Outgoing.SELECT_REQ)
_SEPARATE_REQ = Send(Outgoing.SEPARATE_REQ)

ACTIVE = Chart(
    id="connection_active",
    title="HSMS connection, the end that dials",
    # 1: one connection and no other after it; what has ended is closed, not retried.
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
    # SELECTED opens the gate, and data messages pass by the chart.
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
        _connected(
            unselected=(
                State("selecting", timer=T6),
                State("unselected"),
                State("reselecting", timer=T6),
                _DESELECT_UNANSWERED,
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
        # Disconnected: wanting a connection, asking for it, and the floor of T5 between attempts.
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
        # Selecting: the attempt holds a permit until it is SELECTED or has failed.
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
        ),
        *(
            rule("select-rsp/failed", event, "selecting", "waiting", _FAILED)
            for event in ("select_rsp_already_active", "select_rsp_refused", "select_rejected")
        ),
        rule("t6/select", "t6_expired", "selecting", "waiting", _FAILED),
        rule("t7/over", "t7_expired", "selecting", "waiting", _FAILED),
        *(rule("tcp/lost-ns", event, "selecting", "waiting", _FAILED) for event in LOST),
        rule("permit/withdrawn-selecting", "permit_withdrawn", "selecting", "waiting"),
        rule("disable/ns", "disable_requested", "selecting", "resting", _CANCELLED),
        rule("close/ns", "close_requested", "selecting", "closed", _CANCELLED),
        # Not selected once more, after a Deselect.
        rule("select/asked", "select_requested", "unselected", "reselecting", _SELECT_REQ),
        rule("select-rsp/accepted", "select_rsp_accepted", "reselecting", "communicating"),
        rule("select-req/crossing", "select_req_received", "reselecting", "select_unanswered"),
        *(
            rule("select-rsp/failed", event, "reselecting", "waiting")
            for event in ("select_rsp_already_active", "select_rsp_refused", "select_rejected")
        ),
        rule("t6/select", "t6_expired", "reselecting", "waiting"),
        *_select_unawaited("not_selected"),
        *_not_selected(lost="waiting"),
        rule("disable/ns", "disable_requested", "not_selected", "resting"),
        rule("close/ns", "close_requested", "not_selected", "closed"),
        # Selected. Status 1: the peer is selected by its own Select.req, which we have accepted.
        rule("select-rsp/crossed", "select_rsp_accepted", "select_unanswered", "communicating"),
        rule(
            "select-rsp/crossed", "select_rsp_already_active", "select_unanswered", "communicating"
        ),
        rule("select-rsp/disagreed", "select_rsp_refused", "select_unanswered", "waiting"),
        rule("select-rsp/disagreed", "select_rejected", "select_unanswered", "waiting"),
        rule("t6/select-crossed", "t6_expired", "select_unanswered", "waiting"),
        rule(
            "deselect-req/unanswered",
            "deselect_req_received",
            "select_unanswered",
            "reselecting",
            Send(Outgoing.DESELECT_RSP_ENDED),
        ),
        *_select_unawaited("selected"),
        *_selected(lost="waiting"),
        rule("disable/s", "disable_requested", "selected", "disabling", _SEPARATE_REQ),
        rule("close/s", "close_requested", "selected", "closing", _SEPARATE_REQ),
        # Leaving: Separate.req is on its way.
        *_leaving(
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
        # What the breaker tells where nobody waits for it.
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

PASSIVE = Chart(
    id="connection_passive",
    title="HSMS connection, the end that listens",
    received=(*RECEIVED, *RECEIVED_BY_PASSIVE),
    local=("close_requested", "deselect_requested"),
    reported=("tcp_accepted", "tcp_closed", "communication_failed", "linktest_failed", "flushed"),
    total_in=("connected",),
    # SELECTED opens the gate, and data messages pass by the chart.
    gated=(("data_received", "selected"),),
    states=(
        State("disconnected", "NOT CONNECTED", children=(State("listening"),)),
        _connected(
            unselected=(State("unselected"), _DESELECT_UNANSWERED),
            selected=(),
            leaving=(State("refusing"), State("closing")),
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
        ),
        *_not_selected(lost="closed"),
        rule("close/ns", "close_requested", "not_selected", "closed"),
        rule(
            "select-req/s",
            "competing_select_req_received",
            "selected",
            None,
            Send(Outgoing.SELECT_RSP_ALREADY_ACTIVE),
        ),
        *_selected(lost="closed"),
        rule("close/s", "close_requested", "selected", "closing", _SEPARATE_REQ),
        *_leaving(
            (*RECEIVED, *RECEIVED_BY_PASSIVE),
            {
                "refusing": ("leaving/closed", "closed"),
                "closing": ("leaving/closed", "closed"),
            },
        ),
        rule("close/leaving", "close_requested", "refusing", "closing"),
    ),
)
