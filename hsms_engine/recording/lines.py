"""A record as one line of JSON, and back.

What is known is read strictly: a key that is missing, or has a value of another kind, spoils its
line. What is not known is passed over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, TypeVar, assert_never

from hsms_engine.protocol.traffic import FRAME_BYTES
from hsms_engine.recording.records import (
    LAYOUT,
    ChartState,
    EndRecord,
    ErrorRecord,
    EventRecord,
    FrameRecord,
    GoneRecord,
    HeadRecord,
    HopRecord,
    Json,
    LinkRecord,
    LostRecord,
    OwnerRecord,
    Record,
    RecordOfLink,
    SettingsRecord,
    StepRecord,
)
from hsms_engine.wire import DEFAULT_MAX_FRAME

_T = TypeVar("_T")
_Object = dict[str, object]

LONGEST_LINE: Final = 2 * DEFAULT_MAX_FRAME + 65_536
"""The bytes of the line of the longest frame that settings allow unless told otherwise."""

# The keys of each kind, but for ``kind``.
_TIMES: Final = ("at", "wall")
_OF_LINK: Final = (*_TIMES, "link", "epoch")
_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "recording": frozenset((*_TIMES, "layout", "engine", "charts", "part", "recording")),
    "lost": frozenset((*_TIMES, "count", "bytes")),
    "end": frozenset((*_TIMES, "why")),
    "link": frozenset(
        (
            *(*_OF_LINK, "name", "peer", "role", "server", "settings", "states", "timers"),
            "ownership",
        )
    ),
    "settings": frozenset((*_OF_LINK, "changed")),
    "frame": frozenset(
        (*_OF_LINK, "sent", "bytes", "length", "body", "passed_over", "seconds", "tolerated")
    ),
    "step": frozenset((*_OF_LINK, "event", "hops", "effects", "timers")),
    "error": frozenset((*_OF_LINK, "error", "text")),
    "gone": frozenset(_OF_LINK),
}
# The keys of an event are those of its class.
_EVENT: Final = "event"
_HEADER: Final = FRAME_BYTES - 4
# Values within values: who reads further runs out of stack. The engine writes three.
_DEEPEST: Final = 32
# No field of a record counts further.
_MOST: Final = 1 << 63
_TOO_DEEP: Final = "its values are nested too deep"


class UnreadableError(ValueError):
    """A line that is no record, and the message says why."""


class LayoutError(UnreadableError):
    """The head of a file of another layout."""


# Writing


def line_of(record: Record) -> str:
    """The line of a record, with its end."""
    match record:
        case FrameRecord():
            return frame_line(
                record.at,
                record.wall,
                record.link,
                record.epoch,
                record.sent,
                record.length,
                record.data.hex(),
                record.body,
                record.passed_over,
                record.seconds,
                record.tolerated,
            )
        case _:
            return f"{json.dumps(fields_of(record), separators=(',', ':'), allow_nan=False)}\n"


def frame_line(
    at: float,
    wall: float,
    link: int,
    epoch: int,
    sent: bool,
    length: int,
    data: str,
    body: str | None = None,
    passed_over: str | None = None,
    seconds: float | None = None,
    tolerated: Sequence[str] = (),
) -> str:
    """The line of a frame. ``data`` is in hexadecimal; all else is as in ``FrameRecord``.

    It is the last value, so that a long one can be put in piece by piece.
    """
    more = "" if body is None else f',"body":"{body}"'
    if passed_over is not None:
        more += f',"passed_over":{json.dumps(passed_over)}'
    if seconds is not None:
        more += f',"seconds":{seconds!r}'
    if tolerated:
        more += f',"tolerated":{json.dumps(tolerated)}'
    return (
        f'{{"kind":"frame","at":{at!r},"wall":{wall!r},"link":{link},"epoch":{epoch},'
        f'"sent":{"true" if sent else "false"},"length":{length}{more},"bytes":"{data}"}}\n'
    )


def fields_of(record: Record) -> dict[str, Json]:
    """The JSON object of a record."""
    times: dict[str, Json] = {"kind": record.kind, "at": record.at, "wall": record.wall}
    match record:
        case HeadRecord():
            return {
                **times,
                "layout": record.layout,
                "engine": record.engine,
                "charts": record.charts,
                "part": record.part,
                "recording": record.recording,
            }
        case LostRecord():
            return {**times, "count": record.count, "bytes": record.size}
        case EndRecord():
            return {**times, "why": record.why}
        case _:
            return {**times, "link": record.link, "epoch": record.epoch, **_about(record)}


def _about(record: RecordOfLink) -> dict[str, Json]:
    match record:
        case LinkRecord():
            states: dict[str, Json] = {
                chart: {"leaves": each.leaves, "values": each.values}
                for chart, each in record.states.items()
            }
            return {
                "name": record.name,
                "peer": record.peer,
                "role": record.role,
                "server": record.server,
                "settings": record.settings,
                "states": states,
                "timers": _written_timers(record.timers),
                **_written_owner(record.ownership),
            }
        case SettingsRecord():
            return {"changed": record.changed}
        case FrameRecord():
            shown: dict[str, Json] = {
                "body": record.body,
                "passed_over": record.passed_over,
                "seconds": record.seconds,
                "tolerated": record.tolerated or None,
            }
            return {
                "sent": record.sent,
                "length": record.length,
                **{key: value for key, value in shown.items() if value is not None},
                "bytes": record.data.hex(),
            }
        case StepRecord():
            return {
                "event": record.event,
                "hops": [
                    {
                        "chart": hop.chart,
                        "event": hop.event,
                        "from": hop.before,
                        "to": hop.after,
                        "values": hop.values,
                    }
                    for hop in record.hops
                ],
                "effects": record.effects,
                "timers": _written_timers(record.timers),
            }
        case EventRecord():
            return {"event": record.event, **record.fields}
        case ErrorRecord():
            return {"error": record.error, "text": record.text}
        case GoneRecord():
            return {}
        case _:
            assert_never(record)


def _written_timers(timers: Mapping[str, float]) -> dict[str, Json]:
    return {timer: due if math.isfinite(due) else None for timer, due in timers.items()}


def _written_owner(found: OwnerRecord | None) -> dict[str, Json]:
    if found is None:
        return {}
    return {"ownership": {"owner": found.owner, "lease_epoch": found.lease_epoch}}


# Reading


def record_of(line: bytes) -> tuple[Record, int]:
    """The record of a line, and how many of its keys are not known.

    Raises ``UnreadableError``.
    """
    try:
        found: object = json.loads(line.decode(), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise UnreadableError(f"byte {error.start + 1} of the line is no UTF-8") from error
    except RecursionError as error:
        raise UnreadableError(_TOO_DEEP) from error
    except json.JSONDecodeError as error:
        raise UnreadableError(f"no JSON: {error.msg} at character {error.colno}") from error
    except ValueError as error:
        raise UnreadableError(f"no JSON: {error}") from error
    if type(found) is not dict:
        raise UnreadableError("no JSON object")
    record = _record(found)
    keys = _KEYS.get(record.kind)
    return record, 0 if keys is None else len(found.keys() - keys) - 1


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON value")


def _record(found: _Object) -> Record:
    kind = _text(found, "kind")
    if kind not in _KEYS and kind != _EVENT:
        raise UnreadableError(f"the kind {_short(kind)} is not known")
    if kind == HeadRecord.kind:
        # First, because another layout may have other keys.
        layout = _whole(found, "layout")
        if layout != LAYOUT:
            raise LayoutError(
                f"layout {layout} is not {LAYOUT}: another version of the engine has written it"
            )
    at, wall = _number(found, "at"), _number(found, "wall")
    match kind:
        case HeadRecord.kind:
            return HeadRecord(
                at,
                wall,
                LAYOUT,
                _text(found, "engine"),
                _each(found, "charts", _text),
                _whole(found, "part"),
                _text(found, "recording"),
            )
        case LostRecord.kind:
            return LostRecord(at, wall, _whole(found, "count"), _whole(found, "bytes"))
        case EndRecord.kind:
            return EndRecord(at, wall, _text(found, "why"))
        case _:
            return _of_link(kind, found, at, wall, _whole(found, "link"), _whole(found, "epoch"))


def _of_link(kind: str, found: _Object, at: float, wall: float, link: int, epoch: int) -> Record:
    match kind:
        case LinkRecord.kind:
            return LinkRecord(
                at,
                wall,
                link,
                epoch,
                _text(found, "name"),
                _text(found, "peer"),
                _role(found),
                _json_object(found, "settings"),
                _each(found, "states", _chart_state),
                _timers(found),
                _perhaps(found, "server", _text),
                _perhaps(found, "ownership", _owner),
            )
        case SettingsRecord.kind:
            return SettingsRecord(at, wall, link, epoch, _json_object(found, "changed"))
        case FrameRecord.kind:
            return _frame(found, at, wall, link, epoch)
        case StepRecord.kind:
            hops = tuple(_hop(_object_at(hop, "hops")) for hop in _list(found, "hops"))
            return StepRecord(
                at, wall, link, epoch, _text(found, "event"), hops, _texts(found, "effects"),
                _timers(found),
            )  # fmt: skip
        case EventRecord.kind:
            known = frozenset(("kind", "event", *_OF_LINK))
            fields = {key: _json(value) for key, value in found.items() if key not in known}
            return EventRecord(at, wall, link, epoch, _text(found, "event"), fields)
        case ErrorRecord.kind:
            return ErrorRecord(at, wall, link, epoch, _text(found, "error"), _text(found, "text"))
        case _:
            return GoneRecord(at, wall, link, epoch)


def _frame(found: _Object, at: float, wall: float, link: int, epoch: int) -> FrameRecord:
    digits = _text(found, "bytes")
    try:
        data = bytes.fromhex(digits)
    except ValueError as error:
        raise UnreadableError("bytes is no text of hexadecimal digits") from error
    if len(data) < _HEADER:
        raise UnreadableError(f"bytes has {len(data)} bytes, and a header has {_HEADER}")
    return FrameRecord(
        at,
        wall,
        link,
        epoch,
        _flag(found, "sent"),
        data,
        _whole(found, "length"),
        _perhaps(found, "body", _body),
        _perhaps(found, "passed_over", _text),
        _perhaps(found, "seconds", _number),
        _texts(found, "tolerated") if found.get("tolerated") is not None else (),
    )


def _hop(found: _Object) -> HopRecord:
    return HopRecord(
        _text(found, "chart"),
        _text(found, "event"),
        _text(found, "from"),
        _text(found, "to"),
        _each(found, "values", _whole),
    )


def _chart_state(found: _Object, key: str) -> ChartState:
    state = _object(found, key)
    return ChartState(_text(state, "leaves"), _each(state, "values", _whole))


def _owner(found: _Object, key: str) -> OwnerRecord:
    inner = _object(found, key)
    return OwnerRecord(_text(inner, "owner"), _whole(inner, "lease_epoch"))


def _timers(found: _Object) -> dict[str, float]:
    return _each(found, "timers", _due)


def _due(found: _Object, key: str) -> float:
    return math.inf if _value(found, key) is None else _number(found, key)


def _role(found: _Object) -> Literal["active", "passive"]:
    match _value(found, "role"):
        case ("active" | "passive") as role:
            return role
        case role:
            raise UnreadableError(f"role={_short(role)} is not active or passive")


def _body(found: _Object, key: str) -> Literal["masked", "left out", "not kept"]:
    match _value(found, key):
        case ("masked" | "left out" | "not kept") as body:
            return body
        case body:
            raise UnreadableError(f"body={_short(body)} is not masked, left out or not kept")


def _perhaps(found: _Object, key: str, read: Callable[[_Object, str], _T]) -> _T | None:
    return None if found.get(key) is None else read(found, key)


def _each(found: _Object, key: str, read: Callable[[_Object, str], _T]) -> dict[str, _T]:
    inner = _object(found, key)
    return {name: read(inner, name) for name in inner}


def _texts(found: _Object, key: str) -> tuple[str, ...]:
    values = _list(found, key)
    return tuple(_text({key: value}, key) for value in values)


def _value(found: _Object, key: str) -> object:
    if key not in found:
        raise UnreadableError(f"it has no {key}")
    return found[key]


def _text(found: _Object, key: str) -> str:
    match _value(found, key):
        case str() as text:
            return text
        case value:
            raise UnreadableError(f"{key}={_short(value)} is no text")


def _flag(found: _Object, key: str) -> bool:
    match _value(found, key):
        case bool() as flag:
            return flag
        case value:
            raise UnreadableError(f"{key}={_short(value)} is not true or false")


def _whole(found: _Object, key: str) -> int:
    value = _value(found, key)
    if type(value) is not int or not 0 <= value < _MOST:
        raise UnreadableError(f"{key}={_short(value)} is no whole number from 0")
    return value


def _number(found: _Object, key: str) -> float:
    value = _value(found, key)
    if type(value) not in (int, float) or not -_MOST < value < _MOST:  # type: ignore[operator]  # it is a number
        raise UnreadableError(f"{key}={_short(value)} is no number of seconds")
    return float(value)  # type: ignore[arg-type]  # as above


def _list(found: _Object, key: str) -> list[object]:
    match _value(found, key):
        case list() as values:
            return values
        case value:
            raise UnreadableError(f"{key}={_short(value)} is no list")


def _object(found: _Object, key: str) -> _Object:
    return _object_at(_value(found, key), key)


def _object_at(value: object, key: str) -> _Object:
    if type(value) is not dict:
        raise UnreadableError(f"{key}={_short(value)} is no object")
    return value


def _json_object(found: _Object, key: str) -> dict[str, Json]:
    return {name: _json(value) for name, value in _object(found, key).items()}


def _json(value: object, depth: int = _DEEPEST) -> Json:
    """What ``json.loads`` has made: its types are those of ``Json``."""
    if depth == 0:
        raise UnreadableError(_TOO_DEEP)
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            # 1e999 is JSON.
            return value if math.isfinite(value) else None
        case list():
            return [_json(each, depth - 1) for each in value]
        case _:
            assert isinstance(value, dict)
            return {key: _json(each, depth - 1) for key, each in value.items()}


def _short(value: object) -> str:
    """A value for a message, not longer than a line."""
    match value:
        case int() if abs(value) >= _MOST:
            return f"a number of {value.bit_length()} bits"
        case str():
            return repr(value if len(value) <= 40 else f"{value[:37]}...")
        case None | bool() | int() | float():
            return json.dumps(value)
        case list():
            return "a list"
        case _:
            return "an object"
