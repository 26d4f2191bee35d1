"""Stream 5: alarms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from hsms_engine.fake.model.asked import asked, item_at
from hsms_engine.fake.model.ids import id_of
from hsms_engine.fake.model.live import LiveModel
from hsms_engine.message import Message
from hsms_engine.messages import S5F3, S5F4, S5F5, S5F6, S5F7, S5F8, Function
from hsms_engine.secs2 import Integer, Item, L

_NO_SUCH_ALARM: Final = 1


def _enable(live: LiveModel, request: S5F3) -> Message:
    known = live.model.alarms
    # ALID is a number, but some send it as text.
    alids = [*known] if request.alid is None else [id_of(request.alid)]
    if any(each not in known for each in alids):
        return S5F4(_NO_SUCH_ALARM)
    live.enable_alarms([int(each) for each in alids], enabled=request.enable)
    return S5F4(0)


def _alarms(live: LiveModel, request: S5F5) -> Message:
    found = asked(request.alids, live.model.alarms)
    items = _each(item_at(request))
    rows: list[tuple[int | None, Item, str]] = []
    for index, (_, alarm) in enumerate(found):
        if alarm is None:
            rows.append((None, items[index], ""))
        else:
            rows.append((live.alarm_code(alarm.id), live.model.alarm_item(alarm.id), alarm.text))
    return S5F6(*rows, text_encoding=live.model.text_encoding)


def _enabled_alarms(live: LiveModel, _: S5F7) -> Message:
    rows = [
        (live.alarm_code(alid), live.model.alarm_item(alid), alarm.text)
        for alid, alarm in live.model.alarms.items()
        if live.is_alarm_enabled(alid)
    ]
    return S5F8(*rows, text_encoding=live.model.text_encoding)


def _each(item: Item) -> list[Item]:
    """The ids of a request, each alone as it was sent: they are one item, or a list of items."""
    given = item if isinstance(item, L) else [item]
    arrays = [each for each in given if isinstance(each, Integer)]
    return [each[index : index + 1] for each in arrays for index in range(len(each))]


ANSWERS: Final[Mapping[type[Function], Callable[[LiveModel, Any], Message]]] = {
    S5F3: _enable,
    S5F5: _alarms,
    S5F7: _enabled_alarms,
}
