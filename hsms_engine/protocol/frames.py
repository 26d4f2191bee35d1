"""The frames for the charts' words: for example, the frame of ``Send(SELECT_RSP_ESTABLISHED)``."""

from __future__ import annotations

from collections.abc import Callable

from hsms_engine.wire import (
    DeselectStatus,
    Frame,
    RejectReason,
    SelectStatus,
    SType,
    control_frame,
    reject_frame,
)
from statecharts.hsms.vocabulary import Outgoing

_REQUESTS = {
    Outgoing.SELECT_REQ: SType.SELECT_REQ,
    Outgoing.DESELECT_REQ: SType.DESELECT_REQ,
    Outgoing.LINKTEST_REQ: SType.LINKTEST_REQ,
    Outgoing.SEPARATE_REQ: SType.SEPARATE_REQ,
}
_RESPONSES = {
    Outgoing.SELECT_RSP_ESTABLISHED: (SType.SELECT_RSP, SelectStatus.ESTABLISHED),
    Outgoing.SELECT_RSP_ALREADY_ACTIVE: (SType.SELECT_RSP, SelectStatus.ALREADY_ACTIVE),
    Outgoing.SELECT_RSP_EXHAUSTED: (SType.SELECT_RSP, SelectStatus.EXHAUSTED),
    Outgoing.DESELECT_RSP_ENDED: (SType.DESELECT_RSP, DeselectStatus.ENDED),
    Outgoing.DESELECT_RSP_NOT_ESTABLISHED: (SType.DESELECT_RSP, DeselectStatus.NOT_ESTABLISHED),
    Outgoing.LINKTEST_RSP: (SType.LINKTEST_RSP, 0),
}
_REJECTS = {
    Outgoing.REJECT_STYPE: RejectReason.STYPE_NOT_SUPPORTED,
    Outgoing.REJECT_PTYPE: RejectReason.PTYPE_NOT_SUPPORTED,
    Outgoing.REJECT_NOT_OPEN: RejectReason.TRANSACTION_NOT_OPEN,
    Outgoing.REJECT_NOT_SELECTED: RejectReason.ENTITY_NOT_SELECTED,
}


def control(kind: Outgoing, answered: object, fresh: Callable[[], int]) -> Frame:
    """The control frame for ``kind``.

    A request takes fresh system bytes. An answer echoes those of ``answered``, which is then the
    received frame.
    """
    if kind in _REQUESTS:
        return control_frame(_REQUESTS[kind], fresh())
    assert isinstance(answered, Frame), f"{kind} answers a frame"
    if kind in _REJECTS:
        return reject_frame(answered, _REJECTS[kind])
    stype, status = _RESPONSES[kind]
    return control_frame(stype, answered.system_bytes, byte3=status)
