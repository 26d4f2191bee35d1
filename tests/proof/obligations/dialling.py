"""What the end that dials owes besides: its own Select, T5, and the calls of its user."""

from __future__ import annotations

from statecharts.explore.obligations import Obligation
from statecharts.hsms.vocabulary import (
    AbandonTcp,
    CloseGate,
    Counter,
    OpenGate,
    OpenTcp,
    Outgoing,
    Send,
)

from .clause import (
    ACCEPTED,
    DESELECT,
    END,
    FRESH,
    LATE,
    LOSE,
    LOST,
    NS,
    SEPARATE,
    STUCK,
    S,
    attempt,
    clause,
)


def select(then: str) -> tuple[Obligation, ...]:
    """The dialling end's own Select. ``then``: where a failed one leads."""
    lost = f"{then} between_frames drained"
    failed = "select_rsp_already_active select_rsp_refused select_rejected t6_expired"
    selected, waiting = "communicating quiet misses=0", "selecting reselecting select_unanswered"
    return (
        clause("TCP opened", "tcp_opened", "connecting", Outgoing.SELECT_REQ, "selecting"),
        clause("select", "select_requested", "unselected", Outgoing.SELECT_REQ, "reselecting"),
        attempt(
            "Select.rsp 0",
            "select_rsp_accepted",
            "selecting",
            (OpenGate(),),
            selected,
        ),
        clause("Select.rsp 0 again", "select_rsp_accepted", "reselecting", (OpenGate(),), selected),
        clause(
            "Select.rsp 0 or 1 after a crossing",
            "select_rsp_accepted select_rsp_already_active",
            "select_unanswered",
            (),
            "communicating",
        ),
        attempt(
            "select failed",
            f"{failed} {LOST} t7_expired",
            "selecting",
            END,
            lost,
        ),
        clause("select failed again", failed, "reselecting", END, lost),
        clause(
            "select failed after a crossing",
            "select_rsp_refused select_rejected t6_expired",
            "select_unanswered",
            LOSE,
            f"{lost} unwatched",
        ),
        *(
            clause(
                f"Select.rsp nobody waits for in {state}",
                "select_rsp_accepted select_rsp_already_active select_rsp_refused",
                state,
                Outgoing.REJECT_NOT_OPEN,
                but=waiting,
            )
            for state in (NS, S)
        ),
        *(
            clause(
                f"Reject of a Select nobody waits for in {state}",
                "select_rejected",
                state,
                Counter.REJECT_UNKNOWN,
                but=waiting,
            )
            for state in (NS, S)
        ),
        attempt(
            "Select.req crosses ours",
            "select_req_received",
            "selecting",
            ACCEPTED,
            "select_unanswered quiet misses=0",
            renews="t6",
        ),
        clause(
            "Select.req crosses ours again",
            "select_req_received",
            "reselecting",
            ACCEPTED,
            "select_unanswered quiet misses=0",
            renews="t6",
        ),
        clause(
            "Select.req in NS",
            "select_req_received",
            NS,
            ACCEPTED,
            FRESH,
            "selecting reselecting",
        ),
        clause(
            "Deselect.req before our Select is answered",
            DESELECT,
            "select_unanswered",
            (CloseGate(), Send(Outgoing.DESELECT_RSP_ENDED)),
            "reselecting unwatched",
            renews="t6",
        ),
        attempt("T8 while selecting", LATE, "selecting receiving", END, lost),
        attempt(
            "write timeout while selecting",
            STUCK,
            "selecting backlogged",
            END,
            lost,
        ),
    )


def dialling() -> tuple[Obligation, ...]:
    """The dialling end without TCP: T5, the calls of its user, and the breaker's answers."""
    rest = "resting between_frames drained"
    may_dial = ("breaker_closed", "ready")
    mayed = ("breaker_closed", "probing")
    return (
        *(
            row
            for breaker, then in zip(may_dial, mayed, strict=True)
            for row in (
                clause(
                    f"enable, {breaker}",
                    "enable_requested",
                    f"idle {breaker}",
                    (OpenTcp(),),
                    f"connecting {then}",
                ),
                clause(
                    f"T5, {breaker}",
                    "t5_expired",
                    f"waiting {breaker}",
                    (OpenTcp(),),
                    f"connecting {then}",
                ),
            )
        ),
        *(
            row
            for breaker in ("breaker_open", "isolated")
            for row in (
                clause(f"enable, {breaker}", "enable_requested", f"idle {breaker}", (), "blocked"),
                clause(f"T5, {breaker}", "t5_expired", f"waiting {breaker}", (), "blocked"),
            )
        ),
        clause("T5 while disabled", "t5_expired", "resting", (), "idle"),
        clause("enable before T5 is over", "enable_requested", "resting", (), "waiting"),
        clause("disable, waiting", "disable_requested", "waiting", (), "resting"),
        clause("disable, blocked", "disable_requested", "blocked", (), "idle"),
        attempt(
            "disable, connecting",
            "disable_requested",
            "connecting",
            (AbandonTcp(),),
            "resting",
        ),
        attempt("close, connecting", "close_requested", "connecting", (AbandonTcp(),), "closed"),
        attempt("disable, selecting", "disable_requested", "selecting", END, rest),
        attempt(
            "close, selecting",
            "close_requested",
            "selecting",
            END,
            "closed between_frames drained",
        ),
        clause("disable in NS", "disable_requested", NS, END, rest, "selecting"),
        clause("disable in S", "disable_requested", S, SEPARATE, "disabling unwatched"),
        attempt("TCP refused", "tcp_failed", "connecting", (), "waiting"),
        attempt(
            "TCP silent",
            "connect_timeout_expired",
            "connecting",
            (AbandonTcp(),),
            "waiting",
        ),
        clause("enable while disabling", "enable_requested", "disabling", (), "restarting"),
        clause("disable while restarting", "disable_requested", "restarting", (), "disabling"),
        clause("close while disabling", "close_requested", "disabling", (), "closing"),
        clause("close while restarting", "close_requested", "restarting", (), "closing"),
        clause("disabling is over", f"{LOST} linger_expired", "disabling", END, rest),
        clause(
            "restarting is over",
            f"{LOST} linger_expired",
            "restarting",
            END,
            "waiting between_frames drained",
        ),
    )
