"""What a data transaction owes: one end, whatever it is."""

from __future__ import annotations

from statecharts.explore.obligations import Obligation
from statecharts.hsms.vocabulary import EndTransaction

from .clause import clause

_ENDED = (EndTransaction(),)
TRANSACTS: tuple[Obligation, ...] = (
    clause("primary written", "primary_written", "queued", (), "open"),
    clause("T3", "t3_expired", "open", _ENDED, "timed_out"),
    clause("reply", "reply_received", "pending", _ENDED, "replied"),
    clause("Reject.req", "reject_received", "pending", _ENDED, "rejected"),
    clause("abort, SxF0", "abort_received", "pending", _ENDED, "aborted"),
    clause("the connection ends", "connection_ended", "pending", _ENDED, "lost"),
    clause("the caller gives up", "request_cancelled", "pending", _ENDED, "cancelled"),
)
