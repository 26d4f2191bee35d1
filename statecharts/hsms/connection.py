"""The life of an HSMS connection, once for the end that dials and once for the end that listens.

Both ends share everything below CONNECTED; they differ in how TCP comes up and in what follows when
it is gone. Every row of E37's message table stands here exactly once, as a transition.

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

from statecharts.declare import Action, Chart, On, Parameter, State, Tell

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


def _send(frame: Outgoing) -> tuple[Action, ...]:
    return (Send(frame),)


def _answered_alike(state: str) -> tuple[On, ...]:
    """What is answered the same way selected or not."""
    return (
        On("linktest_req_received", state, do=_send(Outgoing.LINKTEST_RSP)),
        On("unexpected_rsp_received", state, do=_send(Outgoing.REJECT_NOT_OPEN)),
        On("unsupported_stype_received", state, do=_send(Outgoing.REJECT_STYPE)),
        On("control_with_body_received", state, do=_send(Outgoing.REJECT_STYPE)),
        On("unsupported_ptype_received", state, do=_send(Outgoing.REJECT_PTYPE)),
        On("unknown_reject_received", state, do=(Count(Counter.REJECT_UNKNOWN),)),
    )


def _nobody_waits(state: str, events: tuple[str, ...], rejected: str) -> tuple[On, ...]:
    """Responses to a request of ours that no longer waits, and a reject of it."""
    return (
        *(On(event, state, do=_send(Outgoing.REJECT_NOT_OPEN)) for event in events),
        On(rejected, state, do=(Count(Counter.REJECT_UNKNOWN),)),
    )


DESELECT_RSP = ("deselect_rsp_ended", "deselect_rsp_busy")
SELECT_RSP = ("select_rsp_accepted", "select_rsp_already_active", "select_rsp_refused")


def _not_selected(lost: str) -> tuple[On, ...]:
    """NOT SELECTED, both ends. ``lost`` is where the end of TCP leads."""
    return (
        *_answered_alike("not_selected"),
        On("data_received", "not_selected", do=_send(Outgoing.REJECT_NOT_SELECTED)),
        On(
            "deselect_req_received", "not_selected", do=_send(Outgoing.DESELECT_RSP_NOT_ESTABLISHED)
        ),
        On("separate_req_received", "not_selected", do=(Count(Counter.SEPARATE_IGNORED),)),
        *_nobody_waits("not_selected", ("linktest_rsp_received",), "linktest_rejected"),
        *_nobody_waits("not_selected", DESELECT_RSP, "deselect_rejected"),
        On("select_req_received", "not_selected", to="accepting"),
        # A Deselect of the peer crossed ours: whatever the response says, nobody is selected.
        *(
            On(event, "deselect_unanswered", to="unselected")
            for event in (*DESELECT_RSP, "deselect_rejected")
        ),
        On("t6_expired", "deselect_unanswered", to=lost),
        On("t7_expired", "not_selected", to=lost),
        *(On(event, "not_selected", to=lost) for event in LOST),
    )


def _selected(lost: str) -> tuple[On, ...]:
    """SELECTED, both ends."""
    return (
        *_answered_alike("selected"),
        On("select_req_received", "selected", do=_send(Outgoing.SELECT_RSP_ALREADY_ACTIVE)),
        On("linktest_rsp_received", "selected", do=(Tell("probe_answered"),)),
        On("linktest_rejected", "selected", do=(Tell("probe_rejected"),)),
        *_nobody_waits("selected", DESELECT_RSP, "deselect_rejected"),
        On(None, "accepting", to="communicating"),
        On(
            "deselect_req_received",
            "selected",
            to="unselected",
            do=_send(Outgoing.DESELECT_RSP_ENDED),
        ),
        On(
            "deselect_req_received",
            "deselecting",
            to="deselect_unanswered",
            do=_send(Outgoing.DESELECT_RSP_ENDED),
        ),
        On(
            "deselect_requested", "communicating", to="deselecting", do=_send(Outgoing.DESELECT_REQ)
        ),
        On("deselect_rsp_ended", "deselecting", to="unselected"),
        On("deselect_rsp_busy", "deselecting", to="communicating"),
        On("deselect_rejected", "deselecting", to="communicating"),
        On("t6_expired", "deselecting", to=lost),
        On("separate_req_received", "selected", to=lost),
        On("linktest_failed", "selected", to=lost),
        *(On(event, "selected", to=lost) for event in LOST),
    )


def _leaving(received: tuple[str, ...], ways: dict[str, str]) -> tuple[On, ...]:
    """The last frame is queued; nothing is answered any more. ``ways``: child to what follows."""
    return (
        *(On(event, "leaving", do=(Count(Counter.DROPPED_WHILE_LEAVING),)) for event in received),
        *(
            On(event, child, to=follows)
            for child, follows in ways.items()
            for event in (LINGER.expired, *LOST)
        ),
        # The peer closes when it has read our last frame; closing first could destroy it with a
        # reset while data of the peer is still unread here.
        On("flushed", "leaving", do=(FinishTcp(),)),
        *(On("flushed", state) for state in ("not_selected", "selected")),
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
                    State("accepting", enter=_send(Outgoing.SELECT_RSP_ESTABLISHED)),
                    *selected,
                    State("deselecting", timer=T6),
                ),
            ),
            State("leaving", "Leaving", timer=LINGER, children=leaving),
        ),
    )


_DESELECT_UNANSWERED = State("deselect_unanswered", timer=T6)

# How an attempt that holds a permit ends, as the breaker is told.
_SUCCEEDED = (Tell("attempt_succeeded"),)
_FAILED = (Tell("attempt_failed"),)
_CANCELLED = (Tell("attempt_cancelled"),)

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
                State("select_unanswered", timer=T6, enter=_send(Outgoing.SELECT_RSP_ESTABLISHED)),
            ),
            leaving=(State("disabling"), State("restarting"), State("closing")),
        ),
        State("closed", "Closed"),
    ),
    transitions=(
        # Disconnected: wanting a connection, asking for it, and the floor of T5 between attempts.
        On("enable_requested", "idle", to="asking"),
        On("permit_granted", "asking", to="connecting"),
        On("permit_refused", "asking", to="blocked"),
        On("permit_offered", "blocked", to="asking"),
        On("permit_offered", "disconnected"),
        On("permit_withdrawn", "disconnected"),
        On("disable_requested", "blocked", to="idle"),
        On(None, "waiting", to="closed", when="single_use == 1"),
        On("t5_expired", "waiting", to="asking"),
        On("disable_requested", "waiting", to="resting"),
        On("t5_expired", "resting", to="idle"),
        On("enable_requested", "resting", to="waiting"),
        On("close_requested", "disconnected", to="closed"),
        # Connecting: TCP.
        On("tcp_opened", "connecting", to="selecting", do=_send(Outgoing.SELECT_REQ)),
        On("tcp_failed", "connecting", to="waiting", do=_FAILED),
        On(
            CONNECT_TIMEOUT.expired,
            "connecting",
            to="waiting",
            do=(AbandonTcp(), *_FAILED),
        ),
        On(
            "disable_requested",
            "connecting",
            to="resting",
            do=(AbandonTcp(), *_CANCELLED),
        ),
        On(
            "close_requested",
            "connecting",
            to="closed",
            do=(AbandonTcp(), *_CANCELLED),
        ),
        On("permit_withdrawn", "connecting", to="waiting", do=(AbandonTcp(),)),
        On("permit_offered", "connecting"),
        # Selecting: the attempt holds a permit until it is SELECTED or has failed.
        On("select_rsp_accepted", "selecting", to="communicating", do=_SUCCEEDED),
        On(
            "select_req_received",
            "selecting",
            to="select_unanswered",
            do=_SUCCEEDED,
        ),
        *(
            On(event, "selecting", to="waiting", do=_FAILED)
            for event in (
                "select_rsp_already_active",
                "select_rsp_refused",
                "select_rejected",
                "t6_expired",
                "t7_expired",
                *LOST,
            )
        ),
        On("permit_withdrawn", "selecting", to="waiting"),
        On("disable_requested", "selecting", to="resting", do=_CANCELLED),
        On("close_requested", "selecting", to="closed", do=_CANCELLED),
        # Not selected once more, after a Deselect.
        On("select_requested", "unselected", to="reselecting", do=_send(Outgoing.SELECT_REQ)),
        On("select_rsp_accepted", "reselecting", to="communicating"),
        On("select_req_received", "reselecting", to="select_unanswered"),
        *(
            On(event, "reselecting", to="waiting")
            for event in (
                "select_rsp_already_active",
                "select_rsp_refused",
                "select_rejected",
                "t6_expired",
            )
        ),
        *_nobody_waits("not_selected", SELECT_RSP, "select_rejected"),
        *_not_selected(lost="waiting"),
        On("disable_requested", "not_selected", to="resting"),
        On("close_requested", "not_selected", to="closed"),
        # Selected.
        On("select_rsp_accepted", "select_unanswered", to="communicating"),
        # The peer is selected by its own Select.req, which we have accepted.
        On("select_rsp_already_active", "select_unanswered", to="communicating"),
        On("select_rsp_refused", "select_unanswered", to="waiting"),
        On("select_rejected", "select_unanswered", to="waiting"),
        On("t6_expired", "select_unanswered", to="waiting"),
        On(
            "deselect_req_received",
            "select_unanswered",
            to="reselecting",
            do=_send(Outgoing.DESELECT_RSP_ENDED),
        ),
        *_nobody_waits("selected", SELECT_RSP, "select_rejected"),
        *_selected(lost="waiting"),
        On("disable_requested", "selected", to="disabling", do=_send(Outgoing.SEPARATE_REQ)),
        On("close_requested", "selected", to="closing", do=_send(Outgoing.SEPARATE_REQ)),
        # Leaving: Separate.req is on its way.
        *_leaving(
            (*RECEIVED, *RECEIVED_BY_ACTIVE),
            {"disabling": "resting", "restarting": "waiting", "closing": "closed"},
        ),
        On("enable_requested", "disabling", to="restarting"),
        On("disable_requested", "restarting", to="disabling"),
        On("close_requested", "disabling", to="closing"),
        On("close_requested", "restarting", to="closing"),
        *(
            On(event, state)
            for state in ("connected", "closed")
            for event in ("permit_offered", "permit_withdrawn")
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
        On("tcp_accepted", "listening", to="unselected"),
        On("close_requested", "disconnected", to="closed"),
        On(
            "competing_select_req_received",
            "not_selected",
            to="refusing",
            do=_send(Outgoing.SELECT_RSP_EXHAUSTED),
        ),
        *_not_selected(lost="closed"),
        On("close_requested", "not_selected", to="closed"),
        On(
            "competing_select_req_received",
            "selected",
            do=_send(Outgoing.SELECT_RSP_ALREADY_ACTIVE),
        ),
        *_selected(lost="closed"),
        On("close_requested", "selected", to="closing", do=_send(Outgoing.SEPARATE_REQ)),
        *_leaving((*RECEIVED, *RECEIVED_BY_PASSIVE), {"refusing": "closed", "closing": "closed"}),
        On("close_requested", "refusing", to="closing"),
    ),
)
