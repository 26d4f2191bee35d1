"""One data transaction, from its primary to its outcome. It is settled exactly once.

T3 starts when the primary is wholly written and runs exactly in ``open``. Every outcome is a state
without transitions, so a second outcome is an error and not a second answer. Each open request has
one snapshot of this chart; it costs two dictionary look-ups for each message.

Diagram: ``diagrams/transaction.svg``.
"""

from __future__ import annotations

from statecharts.declare import Chart, State

from .timers import T3
from .vocabulary import SettleTransaction, rule

_ENDS = {
    "reply_received": "replied",
    "reject_received": "rejected",
    "abort_received": "aborted",
    "error_report_received": "faulted",
    "connection_ended": "lost",
    "request_cancelled": "cancelled",
}

TRANSACTION = Chart(
    id="transaction",
    title="Data transaction",
    received=("reply_received", "reject_received", "abort_received", "error_report_received"),
    local=("request_cancelled",),
    reported=("primary_written", "connection_ended"),
    total_in=("pending",),
    states=(
        State(
            "pending",
            "Pending",
            exit=(SettleTransaction(),),
            children=(State("queued", "Queued"), State("open", "Open", timer=T3)),
        ),
        State("replied", "Replied"),
        State("timed_out", "Timed out"),
        State("rejected", "Rejected by the peer"),
        State("aborted", "Aborted by the peer"),
        State("faulted", "Faulted by stream 9"),
        State("lost", "Lost with the connection"),
        State("cancelled", "Cancelled by the caller"),
    ),
    transitions=(
        rule("request/written", "primary_written", "queued", "open"),
        rule("request/timed-out", T3.expired, "open", "timed_out"),
        *(rule(f"request/{end}", event, "pending", end) for event, end in _ENDS.items()),
    ),
)
