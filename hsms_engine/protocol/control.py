"""Control transactions that a user waits for: Linktest, Deselect, Select, and their outcomes.

The charts know whether a request of ours still waits: a control transaction is open while its chart
is in a certain state, and the step that exits this state settles it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hsms_engine.errors import (
    HsmsError,
    RejectedError,
    ReplyTimeoutError,
    TransactionError,
)
from hsms_engine.protocol.causes import Cause, lost_request, reject_name, status_of
from statecharts import Hop


@dataclass(frozen=True, slots=True)
class ControlRequest:
    """A control request: the call that sends it, and the state in which it waits.

    ``outcome`` makes the error of the step that exits the state; None when the peer did as asked.
    """

    call: str
    state: str
    outcome: Callable[[Hop, Cause], HsmsError | None]


class ControlTransaction:
    """A control request of one caller. ``error`` is None when the peer did as asked."""

    __slots__ = ("__weakref__", "error", "is_settled", "request")

    def __init__(self, request: ControlRequest) -> None:
        self.request = request
        self.is_settled = False
        self.error: HsmsError | None = None

    def settle(self, hop: Hop, cause: Cause) -> None:
        """The step ``hop`` has exited the state in which it waits."""
        self.is_settled = True
        self.error = self.request.outcome(hop, cause)

    def fail(self, error: HsmsError) -> None:
        """It will not be answered."""
        self.is_settled = True
        self.error = error


def _rejected(name: str, cause: Cause) -> RejectedError:
    reason = status_of(cause.detail)
    return RejectedError(f"{cause.peer}: rejected {name}, reason {reject_name(reason)}", reason)


def _linktest(hop: Hop, cause: Cause) -> HsmsError | None:
    match hop.event:
        case "probe_answered":
            return None
        case "probe_rejected":
            return _rejected("Linktest.req", cause)
        case "t6_linktest_expired" if "probe_excused" in hop.before:
            return None
        case "t6_linktest_expired" if "quiet" in hop.after:
            return ReplyTimeoutError(
                f"{cause.peer}: no Linktest.rsp within T6 = {cause.settings.t6:g} s"
            )
        case _:
            return lost_request("Linktest.req", cause)


def _deselect(hop: Hop, cause: Cause) -> HsmsError | None:
    match hop.event:
        case "deselect_rsp_ended" | "deselect_req_received":
            return None
        case "deselect_rejected":
            return _rejected("Deselect.req", cause)
        case "deselect_rsp_busy":
            status = status_of(cause.detail)
            return TransactionError(
                f"{cause.peer}: answered Deselect.req with status {status}; still selected"
            )
        case _:
            return lost_request("Deselect.req", cause)


def _select(hop: Hop, cause: Cause) -> HsmsError | None:
    match hop.event:
        case "select_rsp_accepted" | "select_req_received":
            return None
        case "select_rsp_already_active" | "select_rsp_refused" | "select_rejected":
            return cause.loss_error()
        case _:
            return lost_request("Select.req", cause)


LINKTEST = ControlRequest("linktest_requested", "probing_link", _linktest)
DESELECT = ControlRequest("deselect_requested", "deselecting", _deselect)
SELECT = ControlRequest("select_requested", "reselecting", _select)
