"""Records as lines for people. One record is one line, whatever it has in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, assert_never

from hsms_engine.cli.times import date_and_time
from hsms_engine.logs import escaped
from hsms_engine.message import Message
from hsms_engine.protocol.traffic import frame_name
from hsms_engine.recording import (
    EndRecord,
    ErrorRecord,
    EventRecord,
    FrameRecord,
    GoneRecord,
    HeadRecord,
    Json,
    LinkRecord,
    LostRecord,
    Record,
    RecordOfLink,
    SettingsRecord,
    StepRecord,
    text_encoding_of,
)
from hsms_engine.traffic.bodies import body_text
from hsms_engine.wire import frame_of

# Characters of a body, and of any other value: a line can be read.
_MOST_SML: Final = 2_000
_MOST_VALUE: Final = 300


class Lines:
    """Makes lines, one after the other, because a record has only the number of its link.

    ``wanted`` is the name, the peer or the number of the only link that is shown. ``names`` are
    those of the links that have come, if one is wanted.
    """

    def __init__(self, wanted: str | None, *, has_sml: bool) -> None:
        self.names: set[str] = set()
        self.has_found = False
        """Whether the wanted link has come."""
        self._wanted = wanted
        self._has_sml = has_sml
        self._links: dict[int, LinkRecord] = {}

    def line(self, record: Record) -> str | None:
        """The line of a record, without its end; None when it is about another link."""
        match record:
            case HeadRecord(layout=layout, engine=engine, part=part, recording=id):
                what = f"recording {id}, part {part}, layout {layout}, engine {engine}"
                return _line(record, "", what)
            case LostRecord(count=count, size=size):
                return _line(record, "", f"lost: {count} records of {size} bytes were dropped")
            case EndRecord(why=why):
                return _line(record, "", f"end: {why}")
            case LinkRecord():
                if self._wanted is not None:
                    self.names.add(record.name or record.peer)
                self._links[record.link] = record
            case _:
                pass
        link = self._links.get(record.link)
        known = {str(record.link)} if link is None else {str(record.link), link.name, link.peer}
        if self._wanted is not None and self._wanted not in known:
            return None
        self.has_found = True
        name = f"link {record.link}" if link is None else link.name or link.peer
        return _line(record, name, self._of_link(record, link))

    def _of_link(self, record: RecordOfLink, link: LinkRecord | None) -> str:
        match record:
            case LinkRecord(role=role, peer=peer, ownership=ownership):
                where = ", ".join(f"{id} {each.leaves}" for id, each in record.states.items())
                text = f"link: {role}, peer {peer}: {where}"
                if ownership is not None and ownership.owner:
                    text += f"; {ownership.owner} owns the tool, epoch {ownership.lease_epoch}"
                return text
            case SettingsRecord(changed=changed):
                return f"settings: {_values(changed)}"
            case FrameRecord():
                return self._frame(record, link)
            case StepRecord(event=event, hops=hops):
                moves = ", ".join(
                    f"{hop.chart} {hop.before} -> {hop.after}"
                    for hop in hops
                    if hop.before != hop.after
                )
                return f"step {event}: {moves}" if moves else f"step {event}"
            case EventRecord(event=event, fields=fields):
                return f"event {event} {_values(fields)}".rstrip()
            case ErrorRecord(error=error, text=text):
                return f"error {error}: {text}"
            case GoneRecord():
                self._links.pop(record.link, None)
                return "gone"
            case _:
                assert_never(record)

    def _frame(self, record: FrameRecord, link: LinkRecord | None) -> str:
        frame = frame_of(record.data)
        wait = " W" if frame.is_data and frame.wait else ""
        way = "sent" if record.sent else "received"
        text = f"{way} {frame_name(frame)}{wait}, {record.length} bytes"
        for about, what in (
            ("body", record.body),
            ("passed over", record.passed_over),
            ("tolerated", ", ".join(record.tolerated) or None),
        ):
            if what is not None:
                text += f", {about}: {what}"
        if self._has_sml and frame.body and frame.is_data:
            message = Message.received(
                frame.stream, frame.function, frame.wait, frame.body, frame.session_id, 0
            )
            encoding = None if link is None else text_encoding_of(link.settings)
            text += f": {body_text(message, _MOST_SML, encoding)}"
        return text


def _line(record: Record, name: str, what: str) -> str:
    return escaped(" ".join(each for each in (date_and_time(record.wall), name, what) if each))


def _values(values: Mapping[str, Json]) -> str:
    return ", ".join(f"{name}={_value(value)}" for name, value in values.items())


def _value(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST_VALUE else f"{text[: _MOST_VALUE - 3]}..."
