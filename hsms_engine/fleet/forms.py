"""The entries of a fleet's streams: what is written in them, and what is read.

Every entry about a tool has ``epoch``, that of the lease of its owner, and ``number``, which counts
from 1 what this owner has published there in this epoch. So who reads sees what is missing and what
came twice, whoever owned the tool.

Nothing that is read is trusted: what is not as it is written here is an ``UnreadableError``, which
says which field is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from math import inf, isfinite
from typing import Any, Final, Literal

from hsms_engine.errors import (
    AbortedError,
    ClosedError,
    ConnectionLostError,
    DefectError,
    HsmsError,
    LinkDownError,
    LocalProtocolError,
    RejectedError,
    RemoteProtocolError,
    ReplyTimeoutError,
    StreamNineError,
    TransactionError,
)
from hsms_engine.events import Happened
from hsms_engine.fleet.streams import Fields
from hsms_engine.fleet.tools import is_tool_name
from hsms_engine.message import Message

__all__ = [
    "LONGEST_BODY", "Asked", "Mark", "Outcome", "UnreadableError", "read_asked", "read_event",
    "read_mark", "read_message", "read_outcome", "write_asked", "write_event", "write_mark",
    "write_message", "write_outcome",
]  # fmt: skip

LONGEST_BODY: Final = 16 * 1024 * 1024
"""The longest body in a stream, in bytes."""
LONGEST_TEXT: Final = 4_096
"""The longest text in a stream, in bytes."""
_HIGHEST: Final = 2**63 - 1
_LONGEST_NUMBER: Final = 20

Kind = Literal["primary", "event", "over"]
"""What an entry of a published stream tells: ``over``, that this owner has published all it had."""
KINDS: Final[tuple[Kind, ...]] = ("primary", "event", "over")


class UnreadableError(ValueError):
    """An entry of a stream is not what is written there."""


# What every published entry has


@dataclass(frozen=True, slots=True)
class Mark:
    """Whose entry it is, and its number: of ``over`` that of the last one before it, or 0."""

    kind: Kind
    epoch: int
    number: int
    owner: str


def write_mark(mark: Mark) -> dict[bytes, bytes]:
    return {
        b"kind": mark.kind.encode(),
        b"epoch": b"%d" % mark.epoch,
        b"number": b"%d" % mark.number,
        b"owner": mark.owner.encode(),
    }


def read_mark(given: Fields) -> Mark:
    kind = _text(given, b"kind")
    for each in KINDS:
        if kind == each:
            lowest = 0 if each == "over" else 1
            number = _whole(given, b"number", lowest, _HIGHEST)
            return Mark(each, _whole(given, b"epoch", 1, _HIGHEST), number, _text(given, b"owner"))
    raise UnreadableError(f"kind is {kind!r}, not one of {', '.join(KINDS)}")


# Messages


def write_message(message: Message) -> dict[bytes, bytes]:
    written = {
        b"stream": b"%d" % message.stream,
        b"function": b"%d" % message.function,
        b"wait": b"%d" % message.wait,
        b"body": message.body,
    }
    if message.session_id is not None:
        written[b"session"] = b"%d" % message.session_id
    if message.system_bytes is not None:
        written[b"system"] = b"%d" % message.system_bytes
    if message.text_encoding is not None:
        written[b"encoding"] = message.text_encoding.encode()
    return written


def read_message(given: Fields) -> Message:
    body = given.get(b"body")
    if body is None or len(body) > LONGEST_BODY:
        size = "missing" if body is None else f"{len(body)} bytes, and {LONGEST_BODY} are allowed"
        raise UnreadableError(f"body is {size}")
    wait = _whole(given, b"wait", 0, 1) == 1
    stream, function = _whole(given, b"stream", 0, 127), _whole(given, b"function", 0, 255)
    session = _optional(given, b"session", 0xFFFF)
    system = _optional(given, b"system", 0xFFFF_FFFF)
    encoding = _text(given, b"encoding") if b"encoding" in given else None
    try:
        return Message(
            stream,
            function,
            wait,
            body=body,
            session_id=session,
            system_bytes=system,
            text_encoding=encoding,
        )
    except ValueError as error:
        raise UnreadableError(str(error)) from None


# Events


def write_event(event: Happened) -> dict[bytes, bytes]:
    """The name of an event, and what it has, as JSON: an error is a text, a message its name."""
    values = {each.name: _shown(getattr(event, each.name)) for each in fields(event)}
    return {b"event": type(event).__name__.encode(), b"values": _json(values)}


def read_event(given: Fields) -> tuple[str, dict[str, Any]]:
    """The name of an event, and what it has."""
    return _text(given, b"event"), _object(given, b"values")


def _shown(value: object) -> object:
    match value:
        case float() if not isfinite(value):
            # JSON has no other word for "for ever".
            return None
        case int() | float() | None:
            return value
        case Message():
            return value.name
        case _:
            return str(value)[:_SHOWN]


# Two texts of an event fit, also when each character is escaped.
_SHOWN: Final = 300


# Requests


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a tool: ``epoch`` is that of the owner that is to send it.

    ``caller`` waits for the answer on its stream, for ``within`` seconds from when this was
    written. ``number`` is that of its request.
    """

    epoch: int
    caller: str
    number: int
    within: float
    message: Message


_LONGEST_WITHIN: Final = 86_400_000


def write_asked(asked: Asked) -> dict[bytes, bytes]:
    return {
        b"epoch": b"%d" % asked.epoch,
        b"caller": asked.caller.encode(),
        b"number": b"%d" % asked.number,
        # Milliseconds, as in the ids of entries.
        b"within": b"%d" % max(0, min(round(asked.within * 1000), _LONGEST_WITHIN)),
        **write_message(asked.message),
    }


def read_asked(given: Fields) -> Asked:
    message = read_message(given)
    if not message.wait:
        raise UnreadableError(f"{message.name} wants no reply")
    caller = _text(given, b"caller")
    if not is_tool_name(caller):
        # It becomes a part of the name of a stream in which the owner writes.
        raise UnreadableError(f"caller is {caller[:_SHOWN]!r}, which is no name")
    return Asked(
        _whole(given, b"epoch", 1, _HIGHEST),
        caller,
        _whole(given, b"number", 1, _HIGHEST),
        _whole(given, b"within", 0, _LONGEST_WITHIN) / 1000,
        message,
    )


# What becomes of a request

Outcome = Message | HsmsError
_Had = Mapping[str, Any]


def _byte(had: _Had, key: str) -> int:
    value = had.get(key)
    if type(value) is not int or not 0 <= value <= 0xFF:
        raise UnreadableError(f"{key} of an error is not in 0..255")
    return value


def _seconds(had: _Had, key: str) -> float:
    value = had.get(key)
    if value is None:
        return inf
    if type(value) not in (int, float) or not 0 <= value <= _LONGEST_WITHIN:
        raise UnreadableError(f"{key} of an error is no time in seconds")
    return float(value)


def _reason(had: _Had) -> str:
    return str(had.get("reason", ""))


# How each error is made again, from its text and what else it had.
_ERRORS: Final[dict[str, Callable[[_Had, str], HsmsError]]] = {
    "TransactionError": lambda _, text: TransactionError(text),
    "ReplyTimeoutError": lambda _, text: ReplyTimeoutError(text),
    "RejectedError": lambda had, text: RejectedError(text, _byte(had, "reason")),
    "AbortedError": lambda _, text: AbortedError(text),
    "StreamNineError": lambda had, text: StreamNineError(text, _byte(had, "function")),
    "LocalProtocolError": lambda _, text: LocalProtocolError(text),
    "LinkDownError": lambda had, text: LinkDownError(text, _seconds(had, "retry_after")),
    "ConnectionLostError": lambda had, text: ConnectionLostError(text, _reason(had)),
    "RemoteProtocolError": lambda had, text: RemoteProtocolError(text, _reason(had)),
    "ClosedError": lambda _, text: ClosedError(text),
    "DefectError": lambda _, text: DefectError(text),
}
_HAD: Final = ("reason", "function", "retry_after")


def write_outcome(number: int, outcome: Outcome) -> dict[bytes, bytes]:
    written = {b"number": b"%d" % number}
    if isinstance(outcome, Message):
        return written | write_message(outcome)
    # Of a kind that is not there, the nearest above it is.
    name = next(each.__name__ for each in type(outcome).__mro__ if each.__name__ in _KNOWN)
    had = {key: _shown(getattr(outcome, key)) for key in _HAD if hasattr(outcome, key)}
    text = str(outcome).encode(errors="replace")[:LONGEST_TEXT].decode(errors="ignore")
    return written | {b"error": name.encode(), b"text": text.encode(), b"values": _json(had)}


_KNOWN: Final = {*_ERRORS, "HsmsError"}


def read_outcome(given: Fields) -> tuple[int, Outcome]:
    """The number of the request, and its reply or why there is none."""
    number = _whole(given, b"number", 1, _HIGHEST)
    if b"error" not in given:
        return number, read_message(given)
    name, text = _text(given, b"error"), _text(given, b"text")
    make = _ERRORS.get(name)
    if make is None:
        return number, TransactionError(text)
    return number, make(_object(given, b"values"), text)


# Values


def _raw(given: Fields, key: bytes) -> bytes:
    value = given.get(key)
    if value is None:
        raise UnreadableError(f"{key.decode()} is missing")
    if len(value) > LONGEST_TEXT:
        raise UnreadableError(f"{key.decode()} has {len(value)} bytes, more than {LONGEST_TEXT}")
    return value


def _text(given: Fields, key: bytes) -> str:
    try:
        return _raw(given, key).decode()
    except UnicodeDecodeError:
        raise UnreadableError(f"{key.decode()} is not UTF-8") from None


def _whole(given: Fields, key: bytes, lowest: int, highest: int) -> int:
    value = _raw(given, key)
    if not value.isdigit() or len(value) > _LONGEST_NUMBER:
        raise UnreadableError(f"{key.decode()} is {value[:_LONGEST_NUMBER]!r}, no whole number")
    number = int(value)
    if not lowest <= number <= highest:
        raise UnreadableError(f"{key.decode()} is {number}, not in {lowest}..{highest}")
    return number


def _optional(given: Fields, key: bytes, highest: int) -> int | None:
    return _whole(given, key, 0, highest) if key in given else None


def _json(values: Mapping[str, object]) -> bytes:
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode(errors="replace")


def _object(given: Fields, key: bytes) -> dict[str, Any]:
    text = _raw(given, key)
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"{key.decode()} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise UnreadableError(f"{key.decode()} is no object of JSON")
    return value


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")
