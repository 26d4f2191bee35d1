"""What the page is told, as JSON objects: links, messages, steps and events."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple, assert_never

from hsms_engine.errors import SettingsError
from hsms_engine.message import Message
from hsms_engine.monitor.history import CONNECTIONS, Entry
from hsms_engine.monitor.model import ChartNow, LinkNow
from hsms_engine.monitor.timeline import Band, Tick
from hsms_engine.protocol.phases import PHASES
from hsms_engine.protocol.traffic import frame_name
from hsms_engine.recording import (
    ErrorRecord,
    EventRecord,
    FrameRecord,
    GoneRecord,
    Json,
    LinkRecord,
    SettingsRecord,
    StepRecord,
)
from hsms_engine.secs2 import DecodeError, decode_all
from hsms_engine.settings import Settings
from hsms_engine.sml import to_sml
from hsms_engine.traffic.bodies import body_text
from hsms_engine.wire import Frame, SType, frame_of
from statecharts.hsms import BREAKER

Object = dict[str, Json]

# The longest body that is shown whole, in bytes, and the most characters of another.
_WHOLE: Final = 4_096
_CUT: Final = 2_000
# Between two active leaves of a chart, as recordings name them.
_AND: Final = " + "
_RESPONSES: Final = frozenset({SType.SELECT_RSP, SType.DESELECT_RSP, SType.LINKTEST_RSP})
# What runs while the next attempt is waited for.
_PAUSES: Final = ("t5", "open_time")


# A link


class Bound(NamedTuple):
    """The longest time until a link is back, in seconds, and when that holds."""

    seconds: float | None
    condition: str


def phase_of(leaves: str) -> str | None:
    """The phase of a connection in these leaves; None when this version does not know them."""
    return PHASES.get(leaves)


def state_of(now: LinkNow) -> str | None:
    """The leaves of the chart of the connection, if it is known."""
    connection = _connection_of(now)
    return None if connection is None else connection.leaves


def _connection_of(now: LinkNow) -> ChartNow | None:
    return next((now.states[each] for each in CONNECTIONS if each in now.states), None)


def row(key: str, source: int, now: LinkNow, bound: Bound | None) -> Object:
    """A line of the overview."""
    state = state_of(now)
    phase = None if state is None else phase_of(state)
    connection = _connection_of(now)
    breaker = now.states.get(BREAKER.id)
    pauses = [now.timers[each] for each in _PAUSES if each in now.timers]
    is_pause = phase in ("waiting", "blocked") and pauses and max(pauses) < math.inf
    error = now.last_error
    return {
        "key": key,
        "source": source,
        "name": now.name,
        "peer": now.peer,
        "role": now.role,
        "server": now.server,
        "state": state,
        "phase": phase,
        "since": None if connection is None else connection.since,
        "breaker": None if breaker is None else breaker.leaves,
        "lease": None if now.lease is None else now.lease._asdict(),
        "next_attempt": now.wall + max(pauses) - now.at if is_pause else None,
        "round_trip": now.round_trip,
        "recovery_bound": None if bound is None else bound.seconds,
        "recovery_condition": None if bound is None else bound.condition,
        "last_error": None if error is None else error._asdict(),
        "is_gone": now.is_gone,
        "wall": now.wall,
    }


class Bounds:
    """How long each link takes until it is back, by its settings."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Mapping[str, Json], Bound | None]] = {}

    def of(self, key: str, now: LinkNow) -> Bound | None:
        """None for what does not come back by itself, and for settings that are not known here."""
        settings, bound = self._known.get(key, ({}, None))
        if settings is not now.settings:
            is_known = now.role is not None and now.server is None
            bound = _bound(now.settings) if is_known else None
            self._known[key] = (now.settings, bound)
        return bound

    def keep(self, keys: AbstractSet[str]) -> None:
        """All other links are kept no more."""
        for key in self._known.keys() - keys:
            del self._known[key]


def _bound(settings: Mapping[str, Json]) -> Bound | None:
    try:
        made = Settings(**{name: _setting(value) for name, value in settings.items()})  # type: ignore[arg-type]  # it checks them
        found = made.recovery_bound()
    except SettingsError:
        # Those of another version, or of no version.
        return None
    return Bound(finite(found.seconds), found.about)


def _setting(value: Json) -> object:
    return tuple(value) if type(value) is list else value


def detail(now: LinkNow, wall: float, others: frozenset[str]) -> Object:
    """What the page tells of one link at ``wall``, besides its row."""
    age = max(wall - now.wall, 0.0)
    step = now.last_step
    return {
        "at": wall,
        "epoch": now.epoch,
        "records": now.records,
        "charts": [
            {
                "chart": chart,
                "leaves": each.leaves.split(_AND),
                "values": each.values,
                "since": each.since,
                "is_known": chart not in others,
            }
            for chart, each in now.states.items()
        ],
        "timers": [
            {
                "timer": timer,
                "left": finite(due - now.at - age),
                "of": now.settings.get(timer),
            }
            for timer, due in now.timers.items()
        ],
        "last_step": None if step is None else _step(step, step.wall),
        "settings": now.settings,
    }


def finite(value: float) -> float | None:
    """A number as JSON has it."""
    return value if math.isfinite(value) else None


# What happened


def _step(step: StepRecord, wall: float) -> Object:
    return {
        "wall": wall,
        "event": step.event,
        "hops": [
            {
                "chart": hop.chart,
                "event": hop.event,
                "from": hop.before.split(_AND),
                "to": hop.after.split(_AND),
            }
            for hop in step.hops
        ],
        "effects": step.effects,
    }


def entry_object(
    entry: Entry, tied: Entry | None = None, *, text_encoding: str | None = None
) -> Object:
    """A record as the page has it. ``tied`` is the reply of a request."""
    record = entry.record
    shown: Object = {"id": str(entry.ordinal), "wall": entry.wall}
    match record:
        case FrameRecord():
            return {"kind": "frame", **shown, **_message(record, entry.wall, tied, text_encoding)}
        case StepRecord():
            return {"kind": "step", **shown, **_step(record, entry.wall)}
        case EventRecord():
            text = ", ".join(f"{name}: {_told(value)}" for name, value in record.fields.items())
            return {"kind": "event", **shown, "name": record.event, "text": text}
        case ErrorRecord():
            return {"kind": "error", **shown, "name": record.error, "text": record.text}
        case SettingsRecord():
            text = ", ".join(f"{name}={_told(value)}" for name, value in record.changed.items())
            return {"kind": "settings", **shown, "name": "settings", "text": text}
        case LinkRecord():
            text = f"{record.name or record.peer} is recorded from here on"
            return {"kind": "link", **shown, "name": "link", "text": text}
        case GoneRecord():
            return {"kind": "gone", **shown, "name": "gone", "text": "it is recorded no more"}
        case _:
            assert_never(record)


def _told(value: Json) -> str:
    match value:
        case {"error": str(error), "text": str(text)}:
            return f"{error}: {text}"
        case float():
            return f"{value:.3f}".rstrip("0").rstrip(".")
        case None:
            return "none"
        case _:
            return str(value)


def _message(
    record: FrameRecord, wall: float, reply: Entry | None, text_encoding: str | None
) -> Object:
    frame = frame_of(record.data)
    sml, is_cut = (
        _sml(frame, text_encoding)
        if frame.is_data and record.body not in ("left out", "not kept")
        else (None, False)
    )
    return {
        "epoch": record.epoch,
        "sent": record.sent,
        "name": frame_name(frame),
        "w": frame.is_data and frame.wait,
        "session": frame.session_id,
        "system": f"{frame.system_bytes:08x}",
        "length": record.length,
        "sml": sml,
        "is_cut": is_cut,
        "body": record.body,
        "passed_over": record.passed_over,
        "tolerated": record.tolerated,
        "tied": _tied(record, frame, wall, reply),
    }


def _tied(record: FrameRecord, frame: Frame, wall: float, reply: Entry | None) -> Object | None:
    """The other message of a transaction, and the seconds between."""
    if reply is not None and type(reply.record) is FrameRecord:
        name = frame_name(frame_of(reply.record.data))
        return {"name": name, "wall": reply.wall, "seconds": reply.record.seconds}
    if record.seconds is None:
        return None
    asked = wall - record.seconds
    return {"name": _request_name(frame), "wall": asked, "seconds": record.seconds}


def _request_name(reply: Frame) -> str:
    """The name of a request, as far as its reply tells it."""
    if reply.is_data:
        # F0 aborts any function.
        return f"S{reply.stream}F{reply.function - 1}" if reply.function else f"S{reply.stream}F?"
    if reply.stype in _RESPONSES:
        return frame_name(reply._replace(stype=reply.stype - 1))
    return "request"


def _sml(frame: Frame, text_encoding: str | None) -> tuple[str, bool]:
    if len(frame.body) <= _WHOLE:
        try:
            items = decode_all(frame.body)
            return "\n".join(to_sml(item, text_encoding) for item in items), False
        except DecodeError:
            pass
    return body_text(_data_message(frame), _CUT, text_encoding), len(frame.body) > _WHOLE


def text_of(record: FrameRecord, text_encoding: str | None) -> str:
    """The name and the beginning of the body, as a text to search in."""
    frame = frame_of(record.data)
    name = frame_name(frame)
    if not frame.is_data:
        return name
    return f"{name} {body_text(_data_message(frame), _CUT, text_encoding)}"


def _data_message(frame: Frame) -> Message:
    return Message(frame.stream, frame.function, body=frame.body)


# The time line


def bands(found: Iterable[Band], begin: float, end: float) -> Sequence[Object]:
    """The bands between two times."""
    return [
        {
            "from": max(each.begin, begin),
            "to": min(each.end, end),
            "state": each.state,
            "phase": phase_of(each.state),
            "is_mixed": each.is_mixed,
        }
        for each in found
        if each.end >= begin and each.begin <= end
    ]


def ticks(found: Iterable[Tick], begin: float, end: float) -> Sequence[Object]:
    """The ticks between two times."""
    return [each._asdict() for each in found if begin <= each.wall <= end]
