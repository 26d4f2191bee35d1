"""From a frame to the event for the connection chart: only this module decides which.

The events of the charts carry nothing. So header bytes on which E37's rules depend (status, reason,
system bytes) are read here, and become part of the event's name.
"""

from __future__ import annotations

from dataclasses import dataclass

from hsms_engine.wire import CONTROL_SESSION_ID, SECS_II, DeselectStatus, Frame, SelectStatus, SType

_CONTROL = frozenset(int(each) for each in SType) - {int(SType.DATA)}


@dataclass(slots=True)
class OwnRequests:
    """The system bytes of our latest request of each kind on this connection; None before one.

    This table does not know whether such a request still waits: the chart does.
    """

    select: int | None = None
    deselect: int | None = None
    linktest: int | None = None


def has_other_session_id(frame: Frame) -> bool:
    """Whether it is a control message that has not the session id of one."""
    is_control = frame.stype in _CONTROL and frame.ptype == SECS_II
    return is_control and frame.session_id != CONTROL_SESSION_ID


def classify(
    frame: Frame, own: OwnRequests, *, entity_taken: bool, already_active: bool = False
) -> str:
    """The event of a frame. A data message comes here only while the gate is closed.

    ``entity_taken``: another connection has this entity's session, so a Select.req is a competing
    one. ``already_active``: Select.rsp 1 is taken as 0. PType is checked before SType, and both
    before the body.
    """
    if frame.ptype != SECS_II:
        return "unsupported_ptype_received"
    if frame.stype == SType.DATA:
        return "data_received"
    if frame.stype not in _CONTROL:
        return "unsupported_stype_received"
    if frame.stype == SType.REJECT_REQ:
        # Also with a body: a Reject.req is never answered with a Reject.req.
        return _reject_req(frame, own)
    if frame.body:
        return "control_with_body_received"
    match SType(frame.stype):
        case SType.SELECT_REQ:
            return "competing_select_req_received" if entity_taken else "select_req_received"
        case SType.SELECT_RSP:
            return _select_rsp(frame, own, already_active=already_active)
        case SType.DESELECT_REQ:
            return "deselect_req_received"
        case SType.DESELECT_RSP:
            return _deselect_rsp(frame, own)
        case SType.LINKTEST_REQ:
            return "linktest_req_received"
        case SType.LINKTEST_RSP:
            ours = frame.system_bytes == own.linktest
            return "linktest_rsp_received" if ours else "unexpected_rsp_received"
        case _:
            return "separate_req_received"


def _select_rsp(frame: Frame, own: OwnRequests, *, already_active: bool) -> str:
    if frame.system_bytes != own.select:
        return "unexpected_rsp_received"
    match frame.byte3:
        case SelectStatus.ESTABLISHED:
            return "select_rsp_accepted"
        case SelectStatus.ALREADY_ACTIVE:
            return "select_rsp_accepted" if already_active else "select_rsp_already_active"
        case _:
            return "select_rsp_refused"


def _deselect_rsp(frame: Frame, own: OwnRequests) -> str:
    if frame.system_bytes != own.deselect:
        return "unexpected_rsp_received"
    # Status 0 and status 1 mean the same for us: the peer is not selected now.
    ended = frame.byte3 in (DeselectStatus.ENDED, DeselectStatus.NOT_ESTABLISHED)
    return "deselect_rsp_ended" if ended else "deselect_rsp_busy"


def _reject_req(frame: Frame, own: OwnRequests) -> str:
    if frame.system_bytes == own.select:
        return "select_rejected"
    if frame.system_bytes == own.deselect:
        return "deselect_rejected"
    if frame.system_bytes == own.linktest:
        return "linktest_rejected"
    return "unknown_reject_received"
