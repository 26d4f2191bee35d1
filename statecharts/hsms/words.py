"""The words of pictures for the events and effects of the HSMS charts, E37's where it has them.

Every event and every effect of a chart has its words here. The events of timers need none: ``after
T7`` is made from the timer's label. A ``Tell`` has the words of its event.
"""

from __future__ import annotations

from statecharts.declare import Effect
from statecharts.draw import Words

from .vocabulary import (
    AbandonTcp,
    AskStore,
    CloseGate,
    CloseTcp,
    ContestSession,
    Count,
    Counter,
    FinishTcp,
    OpenGate,
    OpenTcp,
    Outgoing,
    ReleaseLease,
    ResetTcp,
    Send,
    SettleTransaction,
    StopAsking,
    StoreCall,
)

_EVENTS = {
    # From the peer, while TCP is open.
    "select_req_received": "Select.req",
    "competing_select_req_received": "Select.req while another connection is selected",
    "select_rsp_accepted": "Select.rsp 0",
    "select_rsp_already_active": "Select.rsp 1",
    "select_rsp_refused": "Select.rsp \N{GREATER-THAN OR EQUAL TO} 2",
    "select_rejected": "Select.req rejected",
    "deselect_req_received": "Deselect.req",
    "deselect_rsp_ended": "Deselect.rsp 0",
    "deselect_rsp_busy": "Deselect.rsp \N{GREATER-THAN OR EQUAL TO} 1",
    "deselect_rejected": "Deselect.req rejected",
    "linktest_req_received": "Linktest.req",
    "linktest_rsp_received": "Linktest.rsp",
    "linktest_rejected": "Linktest.req rejected",
    "separate_req_received": "Separate.req",
    "unknown_reject_received": "Reject.req of nothing open",
    "unexpected_rsp_received": "response to nothing open",
    "unsupported_stype_received": "SType not supported",
    "unsupported_ptype_received": "PType not supported",
    "control_with_body_received": "control message with a body",
    "data_received": "data message",
    # Calls of the user.
    "enable_requested": "enable",
    "disable_requested": "disable",
    "close_requested": "close",
    "select_requested": "select",
    "deselect_requested": "deselect",
    "linktest_requested": "linktest",
    "isolate_requested": "isolate",
    "release_requested": "release",
    "reset_requested": "reset",
    "request_cancelled": "cancel",
    # TCP and the traffic on it.
    "tcp_opened": "TCP opened",
    "tcp_failed": "TCP failed",
    "tcp_accepted": "TCP accepted",
    "tcp_closed": "TCP closed",
    "communication_failed": "communication failure",
    "flushed": "last frame written",
    "frame_began": "frame begins",
    "frame_completed": "frame complete",
    "receiving_ended": "receiving ended",
    "write_blocked": "bytes are queued",
    "write_caught_up": "the peer took what was queued first",
    "write_drained": "the peer took all",
    "transmitting_ended": "transmitting ended",
    # The circuit breaker.
    "permit_requested": "permit requested",
    "permit_granted": "permit granted",
    "permit_refused": "permit refused",
    "permit_offered": "permit offered",
    "permit_withdrawn": "permit withdrawn",
    "attempt_succeeded": "attempt succeeded",
    "attempt_failed": "attempt failed",
    "attempt_cancelled": "attempt cancelled",
    "stale_result_reported": "result comes too late",
    # Linktest.
    "watch_began": "SELECTED began",
    "watch_ended": "SELECTED ended",
    "probe_answered": "probe answered",
    "probe_rejected": "probe rejected",
    "traffic_seen": "bytes came",
    "linktest_failed": "linktest failed",
    "probe_wanted": "probe wanted",
    # A second host asks for the session.
    "session_wanted": "a second host asks for the session",
    "session_ended": "SELECTED ended",
    # The lease of a tool.
    "contend_requested": "contend",
    "withdraw_requested": "withdraw",
    "lease_granted": "lease granted",
    "lease_refused": "another process has the lease",
    "lease_freed": "nobody has the lease",
    "store_failed": "the store fails",
    "link_rested": "the link is at rest",
    "link_ended": "the link has ended",
    # A data transaction.
    "primary_written": "primary written",
    "reply_received": "reply",
    "reject_received": "Reject.req",
    "abort_received": "SxF0",
    "error_report_received": "S9F1, F3, F5, F7 or F11",
    "connection_ended": "connection ended",
}

_MEANINGS = {
    Outgoing.SELECT_RSP_ESTABLISHED: "established",
    Outgoing.SELECT_RSP_ALREADY_ACTIVE: "already active",
    Outgoing.SELECT_RSP_EXHAUSTED: "exhausted",
    Outgoing.DESELECT_RSP_ENDED: "ended",
    Outgoing.DESELECT_RSP_NOT_ESTABLISHED: "not established",
    Outgoing.REJECT_STYPE: "SType not supported",
    Outgoing.REJECT_PTYPE: "PType not supported",
    Outgoing.REJECT_NOT_OPEN: "transaction not open",
    Outgoing.REJECT_NOT_SELECTED: "entity not selected",
}


def _send(frame: Outgoing) -> str:
    meaning = _MEANINGS.get(frame)
    return f"send {frame.value}" + (f" ({meaning})" if meaning else "")


_EFFECTS: dict[Effect, str] = {
    **{Send(frame): _send(frame) for frame in Outgoing},
    Count(Counter.SEPARATE_IGNORED): "count it as ignored",
    Count(Counter.REJECT_UNKNOWN): "count it as unknown",
    Count(Counter.DROPPED_WHILE_LEAVING): "count it as dropped",
    Count(Counter.STALE_RESULT): "count it as too late",
    Count(Counter.LINKTESTS_UNANSWERED): "count it as unanswered",
    OpenTcp(): "open TCP",
    AbandonTcp(): "give up TCP",
    FinishTcp(): "send FIN",
    CloseTcp(): "close TCP",
    ResetTcp(): "reset TCP",
    ContestSession(): "tell each holder of the session",
    OpenGate(): "let data pass",
    CloseGate(): "let no data pass",
    SettleTransaction(): "wake the caller",
    AskStore(StoreCall.WATCH): "ask the store to tell who has the lease",
    AskStore(StoreCall.ACQUIRE): "ask the store for the lease",
    AskStore(StoreCall.RENEW): "ask the store to renew the lease",
    StopAsking(): "stop asking",
    ReleaseLease(): "give the lease back",
}

WORDS = Words(events=_EVENTS, effects=_EFFECTS)
