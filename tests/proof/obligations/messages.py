"""E37's message table: what both ends owe, in NOT SELECTED (NS), in SELECTED (S) and while leaving.

Searched with a linktest threshold of 2.
"""

from __future__ import annotations

from statecharts.explore.obligations import Obligation
from statecharts.hsms.vocabulary import CloseGate, Counter, FinishTcp, Outgoing, Send

from .clause import (
    DESELECT,
    END,
    LATE,
    LEAVING,
    LINKTEST_RSP,
    LOSE,
    LOST,
    NS,
    OUR_DESELECT,
    SEPARATE,
    STUCK,
    S,
    clause,
)

FRAMES = (
    "select_req_received deselect_req_received deselect_rsp_ended deselect_rsp_busy "
    "deselect_rejected linktest_req_received linktest_rsp_received linktest_rejected "
    "separate_req_received unknown_reject_received unexpected_rsp_received "
    "unsupported_stype_received unsupported_ptype_received control_with_body_received data_received"
)


def both(lost: str, also: str) -> tuple[Obligation, ...]:
    """What both ends owe. ``lost``: where a lost connection leads; ``also``: frames of one end."""
    still = f"{lost} between_frames drained"
    silent = f"{still} unwatched"
    return (
        clause("Select.req in S", "select_req_received", S, Outgoing.SELECT_RSP_ALREADY_ACTIVE),
        clause("data in NS", "data_received", NS, Outgoing.REJECT_NOT_SELECTED),
        *_deselect(still, silent),
        clause("Separate.req in NS", "separate_req_received", NS, Counter.SEPARATE_IGNORED),
        clause("Separate.req in S", "separate_req_received", S, LOSE, silent),
        *(row for state in (NS, S) for row in _in_either(state)),
        *_linktest(silent),
        # The end of TCP, and what makes us end it: a bad length, T8, a deadline, no writing.
        clause("TCP ends in NS", f"{LOST} t7_expired", NS, END, still, "selecting"),
        clause("TCP ends in S", LOST, S, LOSE, silent),
        clause("T8, frame deadline in NS", LATE, f"{NS} receiving", END, still, "selecting"),
        clause("T8, frame deadline in S", LATE, f"{S} receiving", LOSE, silent),
        clause("write timeout in NS", STUCK, f"{NS} backlogged", END, still, "selecting"),
        clause("write timeout in S", STUCK, f"{S} backlogged", LOSE, silent),
        clause("a frame begins", "frame_began", "connected between_frames", (), "receiving"),
        clause("a byte comes", "frame_progressed", "receiving", renews="t8"),
        clause("a frame is complete", "frame_completed", "receiving", (), "between_frames"),
        clause("bytes wait", "write_blocked", "connected drained", (), "backlogged"),
        clause("some bytes leave", "write_progressed", "backlogged", renews="write_timeout"),
        clause("all bytes have left", "write_drained", "backlogged", (), "drained"),
        # Closing
        clause("close, not connected", "close_requested", "disconnected", (), "closed"),
        clause(
            "close in NS", "close_requested", NS, END, "closed between_frames drained", "selecting"
        ),
        clause("close in S", "close_requested", S, SEPARATE, "closing unwatched"),
        clause("the last frame has left", "flushed", LEAVING, (FinishTcp(),)),
        clause(
            "closing is over",
            f"{LOST} linger_expired",
            "closing",
            END,
            "closed between_frames drained",
        ),
        clause("frames while leaving", f"{FRAMES} {also}", LEAVING, Counter.DROPPED_WHILE_LEAVING),
    )


def _deselect(still: str, silent: str) -> tuple[Obligation, ...]:
    answered = (CloseGate(), Send(Outgoing.DESELECT_RSP_ENDED))
    responses = "deselect_rsp_ended deselect_rsp_busy"
    waiting = "deselecting deselect_unanswered"
    return (
        clause("Deselect.req in NS", DESELECT, NS, Outgoing.DESELECT_RSP_NOT_ESTABLISHED),
        clause("Deselect.req in S", DESELECT, "communicating", answered, "unselected unwatched"),
        clause(
            "Deselect.req crosses ours",
            DESELECT,
            "deselecting",
            answered,
            "deselect_unanswered unwatched",
            renews="t6",
        ),
        clause("deselect", "deselect_requested", "communicating", OUR_DESELECT, "deselecting"),
        clause(
            "Deselect.rsp 0",
            "deselect_rsp_ended",
            "deselecting",
            (CloseGate(),),
            "unselected unwatched",
        ),
        clause(
            "Deselect refused",
            "deselect_rsp_busy deselect_rejected",
            "deselecting",
            (),
            "communicating",
        ),
        clause(
            "Deselect.rsp after a crossing",
            f"{responses} deselect_rejected",
            "deselect_unanswered",
            (),
            "unselected",
        ),
        clause("T6 of a Deselect", "t6_expired", "deselecting", LOSE, silent),
        clause("T6 after a crossing", "t6_expired", "deselect_unanswered", END, still),
        *(
            row
            for state in (NS, S)
            for row in (
                clause(
                    f"Deselect.rsp nobody waits for in {state}",
                    responses,
                    state,
                    Outgoing.REJECT_NOT_OPEN,
                    but=waiting,
                ),
                clause(
                    f"Reject of a Deselect nobody waits for in {state}",
                    "deselect_rejected",
                    state,
                    Counter.REJECT_UNKNOWN,
                    but=waiting,
                ),
            )
        ),
    )


def _in_either(state: str) -> tuple[Obligation, ...]:
    """What is answered alike, selected or not."""
    return (
        clause(f"Linktest.req in {state}", "linktest_req_received", state, Outgoing.LINKTEST_RSP),
        clause(
            f"unknown response in {state}",
            "unexpected_rsp_received",
            state,
            Outgoing.REJECT_NOT_OPEN,
        ),
        clause(
            f"Reject of nothing we know in {state}",
            "unknown_reject_received",
            state,
            Counter.REJECT_UNKNOWN,
        ),
        clause(
            f"undefined SType, or a control frame with a body, in {state}",
            "unsupported_stype_received control_with_body_received",
            state,
            Outgoing.REJECT_STYPE,
        ),
        clause(
            f"PType other than 0 in {state}",
            "unsupported_ptype_received",
            state,
            Outgoing.REJECT_PTYPE,
        ),
    )


def _linktest(silent: str) -> tuple[Obligation, ...]:
    """Searched with a threshold of 2: the second probe in a row without a sign of life is fatal."""
    probing = f"{S} probing_link"
    return (
        clause("Linktest.rsp in NS", LINKTEST_RSP, NS, Outgoing.REJECT_NOT_OPEN),
        clause("Linktest.rsp too late", LINKTEST_RSP, f"{S} quiet", Outgoing.REJECT_NOT_OPEN),
        clause("Linktest.rsp", LINKTEST_RSP, probing, (), "quiet misses=0"),
        clause("Linktest rejected in NS", "linktest_rejected", NS, Counter.REJECT_UNKNOWN),
        clause("Linktest rejected late", "linktest_rejected", "quiet", Counter.REJECT_UNKNOWN),
        clause("Linktest rejected", "linktest_rejected", probing, (), "quiet misses=0"),
        clause(
            "a Linktest is due, or asked for",
            "linktest_interval_expired linktest_requested",
            "quiet",
            Outgoing.LINKTEST_REQ,
            "probing_link",
        ),
        clause("a Linktest is asked for while one runs", "linktest_requested", "probing_link"),
        clause("a frame came instead", "t6_linktest_excused", probing, (), "quiet misses=0"),
        clause("a frame came meanwhile", "traffic_seen", "quiet", (), "quiet misses=0"),
        clause("first miss", "t6_linktest_expired", f"{probing} misses=0", (), "quiet misses=1"),
        clause("last miss", "t6_linktest_expired", f"{probing} misses=1", LOSE, silent),
        clause("linktest settings, watched", "linktest_reconfigured", "watching"),
        clause("linktest settings, off", "linktest_reconfigured", "unwatched"),
    )
