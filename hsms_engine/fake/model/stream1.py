"""Stream 1: what the tool is, its status, and the names of variables and events.

S1F3 is answered by ``Replies`` itself, which keeps its replies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from hsms_engine.fake.model.asked import asked, item_at
from hsms_engine.fake.model.bounds import ASKED
from hsms_engine.fake.model.declared import Kind
from hsms_engine.fake.model.ids import Id
from hsms_engine.fake.model.live import LiveModel
from hsms_engine.message import Message
from hsms_engine.messages import (
    S1F1,
    S1F2,
    S1F3,
    S1F11,
    S1F12,
    S1F13,
    S1F14,
    S1F15,
    S1F16,
    S1F17,
    S1F18,
    S1F21,
    S1F22,
    S1F23,
    S1F24,
    Function,
)
from hsms_engine.secs2 import Item, L

_ALREADY_ON_LINE: Final = 2


def status_asked(live: LiveModel, message: Message) -> tuple[Id | None, ...]:
    """The variables that S1F3 asks for, None for what is none.

    Raises as ``S1F3.of`` and ``asked`` do.
    """
    known = live.model.kinds["status"]
    item = message.item
    # Nearly all hosts send one number for each, and not too many: these are read at once.
    try:
        svids = item.to_python() if isinstance(item, L) and len(item) <= ASKED else ()
    except ValueError:
        # Text that cannot be read: the layout says what is wrong.
        svids = ()
    if set(map(type, svids)) == {int}:
        return tuple([vid if vid in known else None for vid in svids])
    found = asked(S1F3.of(message).svids, known)
    return tuple([vid if each else None for vid, each in found])


def _are_you_there(live: LiveModel, _: S1F1) -> Message:
    model = live.model
    return S1F2(model.mdln, model.softrev, text_encoding=model.text_encoding)


def _establish(live: LiveModel, _: S1F13) -> Message:
    model = live.model
    return S1F14(0, model.mdln, model.softrev, text_encoding=model.text_encoding)


def _go_off_line(live: LiveModel, _: S1F15) -> Message:
    live.go(online=False)
    return S1F16(0)


def _go_on_line(live: LiveModel, _: S1F17) -> Message:
    if live.is_online:
        return S1F18(_ALREADY_ON_LINE)
    live.go(online=True)
    return S1F18(0)


def _named(
    live: LiveModel, request: S1F11 | S1F21, given: Iterable[Any], kind: Kind
) -> list[tuple[Item, str, str]]:
    """Id, name and units of variables. Of what is none, both are empty, as SEMI E5 says."""
    found = asked(given, live.model.kinds[kind])
    rows: list[tuple[Item, str, str]] = []
    for index, (vid, each) in enumerate(found):
        if each is None:
            rows.append((item_at(request, index), "", ""))
        else:
            rows.append((live.model.id_item(vid), each.name, each.units))
    return rows


def _status_names(live: LiveModel, request: S1F11) -> Message:
    rows = _named(live, request, request.svids, "status")
    return S1F12(*rows, text_encoding=live.model.text_encoding)


def _data_names(live: LiveModel, request: S1F21) -> Message:
    rows = _named(live, request, request.vids, "data")
    return S1F22(*rows, text_encoding=live.model.text_encoding)


def _event_names(live: LiveModel, request: S1F23) -> Message:
    model = live.model
    found = asked(request.ceids, model.events)
    rows: list[tuple[Item, str, list[Item]]] = []
    for index, (ceid, event) in enumerate(found):
        if event is None:
            rows.append((item_at(request, index), "", []))
            continue
        # Each once: two reports may have it.
        vids = dict.fromkeys(vid for each in live.links[ceid] for vid in live.reports[each])
        rows.append((model.id_item(ceid), event.name, [model.id_item(each) for each in vids]))
    return S1F24(*rows, text_encoding=model.text_encoding)


ANSWERS: Final[Mapping[type[Function], Callable[[LiveModel, Any], Message]]] = {
    S1F1: _are_you_there,
    S1F11: _status_names,
    S1F13: _establish,
    S1F15: _go_off_line,
    S1F17: _go_on_line,
    S1F21: _data_names,
    S1F23: _event_names,
}
