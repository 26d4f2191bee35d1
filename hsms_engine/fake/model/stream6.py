"""Stream 6: reports that a host asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from hsms_engine.fake.model.asked import item_at
from hsms_engine.fake.model.ids import id_of
from hsms_engine.fake.model.live import LiveModel
from hsms_engine.message import Message
from hsms_engine.messages import S6F15, S6F16, S6F19, S6F20, S6F23, S6F24, Function

_NONE_IS_SPOOLED: Final = 2


def _event_report(live: LiveModel, request: S6F15) -> Message:
    """An event that is not there has no report (SEMI E5), and one that is disabled has its own."""
    ceid = id_of(request.ceid)
    known = ceid in live.model.events
    item = live.model.id_item(ceid) if known else item_at(request)
    return S6F16(live.next_dataid(), item, live.linked(ceid) if known else [])


def _individual_report(live: LiveModel, request: S6F19) -> Message:
    rptid = id_of(request.rptid)
    return S6F20(*(live.reported(rptid) if rptid in live.reports else ()))


def _spooled(_live: LiveModel, _: S6F23) -> Message:
    """The tool does not spool: what cannot be sent is not kept."""
    return S6F24(_NONE_IS_SPOOLED)


ANSWERS: Final[Mapping[type[Function], Callable[[LiveModel, Any], Message]]] = {
    S6F15: _event_report,
    S6F19: _individual_report,
    S6F23: _spooled,
}
