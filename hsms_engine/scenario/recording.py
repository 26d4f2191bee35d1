"""A scenario of what a log has of one side: a text to edit, in the order of the primaries.

Each value stands as it was, because a log does not say which of them may be another one. A comment
names those that look like a time, and those that grow from one message to the next.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, assert_never

from hsms_engine.log_reader import LoggedMessage
from hsms_engine.logs import escaped
from hsms_engine.message import Message
from hsms_engine.messages import find
from hsms_engine.scenario.steps import Role
from hsms_engine.secs2 import A, B, DecodeError, Integer, Item, L
from hsms_engine.sml import shorten, to_sml

# A text or a pattern of at most so many characters stands in one line.
_LINE: Final = 80
# TIME, CLOCK and the like: 12, 14 or 16 digits, or as ISO 8601 has it.
_TIME: Final = re.compile(r"\d{12}(\d\d){0,2}|\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*", re.ASCII)
_MHEAD: Final = 10

# The way to an item: the indices, from 0.
_Path = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One message of a log: ``entry``, and where it stands (``tool.log:12``)."""

    entry: LoggedMessage
    where: str


class RecordingError(ValueError):
    """Of a log no scenario can be made. ``str`` says why, and what to do."""


@dataclass(slots=True)
class _Primary:
    line: Line
    is_ours: bool
    reply: Line | None = None


def scenario_of(
    lines: Iterable[Line], role: Role, name: str, log_of: Role | None = None
) -> Iterator[str]:
    """The lines of a scenario in which ``role`` is played as in a log.

    ``log_of`` is whose log it is, where it says "sent" and "received" only; None: that is found out
    by who sends which message. Raises ``RecordingError`` when it cannot be, when no direction is
    known, and when there is no message. All messages have the same ``text_encoding``.
    """
    found = [*lines]
    if not found:
        raise RecordingError("there is no message")
    sides = _Sides(found, role, log_of)
    primaries, alone = _paired(found, sides)
    growing = _growing(primaries)
    yield from (
        "# Each value stands as it was. Where another run may have another one, as in times,",
        "# counters and ids, put _ in its place, or a name, as <U4 $id>, to use it later.",
        "[scenario]",
        f"name = {json.dumps(name, ensure_ascii=False)}",
        f'role = "{role}"',
    )
    if (encoding := found[0].entry.message.text_encoding) is not None:
        yield from ("", "[settings]", f'text_encoding = "{encoding}"')
    for line in alone:
        yield ""
        yield f"# {line.where}: {line.entry.message.name} answers nothing in this log"
    for primary in primaries:
        yield ""
        yield from _step(primary, growing)


class _Sides:
    """Who has sent a message."""

    def __init__(self, lines: list[Line], role: Role, log_of: Role | None) -> None:
        self._role = role
        self._log_of = log_of or _guessed(lines)

    def is_ours(self, line: Line) -> bool:
        """Whether this side has sent it."""
        match line.entry.direction:
            case "H->E":
                return self._role == "host"
            case "E->H":
                return self._role == "equipment"
            case "sent" | "received" as direction:
                if self._log_of is None:
                    raise RecordingError(
                        f"{line.where}: the log says {direction!r}, and nothing in it says whose "
                        "log it is: give --log-of host or --log-of equipment"
                    )
                return (direction == "sent") == (self._log_of == self._role)
            case None:
                sender = _sender(line.entry.message)
                if sender is None:
                    raise RecordingError(
                        f"{line.where}: the log does not say who has sent this "
                        f"{line.entry.message.name}, and either side may"
                    )
                return sender == self._role
            case other:
                assert_never(other)


def _sender(message: Message) -> Role | None:
    """Who sends such a message, if only one side does."""
    primary = message.function - (message.function % 2 == 0)
    function = find(f"S{message.stream}F{primary}")
    match None if function is None else function.by:
        case "host":
            return "host" if message.is_primary else "equipment"
        case "equipment":
            return "equipment" if message.is_primary else "host"
        case _:
            return None


def _guessed(lines: list[Line]) -> Role | None:
    """Whose log says "sent" and "received" so."""
    votes: Counter[Role] = Counter()
    for line in lines:
        sender = _sender(line.entry.message)
        match line.entry.direction, sender:
            case "sent", "host" | "equipment" as side:
                votes[side] += 1
            case "received", "host":
                votes["equipment"] += 1
            case "received", "equipment":
                votes["host"] += 1
            case _:
                pass
    match votes.most_common():
        case [(only, _)]:
            return only
        case [(first, most), (_, fewer)] if most > fewer:
            return first
        case _:
            return None


class _Open:
    """The primaries that wait for a reply."""

    def __init__(self) -> None:
        self._by_system: dict[tuple[bool, int], _Primary] = {}
        # Those without system bytes, the oldest first.
        self._by_name: dict[tuple[bool, int, int], deque[_Primary]] = defaultdict(deque)

    def add(self, primary: _Primary) -> None:
        message = primary.line.entry.message
        if message.system_bytes is not None:
            self._by_system[primary.is_ours, message.system_bytes] = primary
        else:
            self._by_name[primary.is_ours, message.stream, message.function].append(primary)

    def take(self, reply: Message, *, is_ours: bool) -> _Primary | None:
        """The primary that a message of the other side answers, or reports."""
        system = _reported(reply) if reply.is_primary else reply.system_bytes
        if system is not None:
            primary = self._by_system.get((is_ours, system))
            if primary is None or not _answers(reply, primary.line.entry.message):
                return None
            return self._by_system.pop((is_ours, system))
        for (ours, stream, function), waiting in self._by_name.items():
            fits = ours == is_ours and stream == reply.stream
            if fits and waiting and reply.function in {0, function + 1}:
                return waiting.popleft()
        return None


def _paired(lines: list[Line], sides: _Sides) -> tuple[list[_Primary], list[Line]]:
    """The primaries with their replies, and the secondaries that answer none."""
    primaries: list[_Primary] = []
    alone: list[Line] = []
    waiting = _Open()
    for line in lines:
        message, is_ours = line.entry.message, sides.is_ours(line)
        asked = waiting.take(message, is_ours=not is_ours)
        if asked is not None:
            asked.reply = line
        elif message.is_primary:
            primaries.append(primary := _Primary(line, is_ours))
            if message.wait:
                waiting.add(primary)
        else:
            alone.append(line)
    return primaries, alone


def _answers(reply: Message, primary: Message) -> bool:
    """Whether a message with the same system bytes is the reply to ``primary``, or ends it."""
    is_reply = reply.stream == primary.stream and reply.function == primary.function + 1
    return is_reply or reply.function == 0 or reply.is_primary


def _reported(message: Message) -> int | None:
    """The system bytes of the message that a report of stream 9 is about."""
    match _item(message):
        case B() as header if message.stream == 9 and len(header) == _MHEAD:
            return int.from_bytes(bytes(header)[-4:])
        case _:
            return None


# What is written


def _step(primary: _Primary, growing: Mapping[str, list[str]]) -> Iterator[str]:
    """One step, below a comment with its place in the log."""
    line, reply = primary.line, primary.reply
    time = "" if line.entry.time is None else f"{line.entry.time} "
    yield escaped(f"# {time}{line.where}")
    theirs = reply if primary.is_ours else line
    if theirs is not None:
        message = theirs.entry.message
        if times := [_shown(path) for path, item in _leaves(message) if _is_time(item)]:
            yield f"# {message.name}: looks like a time: {', '.join(times)}"
        if theirs.where in growing:
            yield f"# {message.name}: grows: {', '.join(growing[theirs.where])}"
    yield "[[step]]"
    if primary.is_ours:
        yield from _message("send", line)
        if reply is not None:
            yield from _message("expect", reply)
        elif line.entry.message.wait:
            yield "# The log has no reply to it."
    else:
        yield from _message("expect", line)
        if reply is not None:
            yield from _message("reply", reply)


def _message(key: str, line: Line) -> Iterator[str]:
    message = line.entry.message
    if message.stream == 9:
        # What it is about is another message each time.
        yield f"{key} = '{message.name}'"
        return
    head = f"{message.name}{' W' if message.wait else ''}"
    try:
        # Of several items there is no scenario.
        item = message.item
    except DecodeError as error:
        yield f"# The body is no SECS-II: {error}"
        yield f"{key} = '{head}'"
        return
    encoding = message.text_encoding
    # One that is cut is longer than a line.
    short = head if item is None else f"{head} {shorten(item, 2 * _LINE, encoding)}"
    sml = head if item is None else f"{head}\n{to_sml(item, encoding)}"
    if len(short) <= _LINE and "'" not in short:
        yield f"{key} = '{short}'"
    elif "'''" not in sml:
        yield f"{key} = '''"
        yield f"{sml}'''"
    else:
        yield f"{key} = {json.dumps(sml, ensure_ascii=False)}"


# Values


def _growing(primaries: list[_Primary]) -> dict[str, list[str]]:
    """By the place in the log: where a number is that only grows, in messages of one name."""
    values: dict[tuple[str, _Path], list[tuple[str, int]]] = defaultdict(list)
    for primary in primaries:
        theirs = primary.reply if primary.is_ours else primary.line
        for path, item in () if theirs is None else _leaves(theirs.entry.message):
            if theirs is not None and isinstance(item, Integer) and len(item) == 1:
                name = theirs.entry.message.name
                values[name, path].append((theirs.where, item[0]))
    found: dict[str, list[str]] = defaultdict(list)
    for (_, path), seen in values.items():
        numbers = [number for _, number in seen]
        if len(numbers) > 1 and all(one < next_ for one, next_ in pairwise(numbers)):
            for where, _ in seen:
                found[where].append(_shown(path))
    return found


def _is_time(item: Item) -> bool:
    return isinstance(item, A) and _TIME.fullmatch(item.value) is not None


def _leaves(message: Message) -> Iterator[tuple[_Path, Item]]:
    """Each item that is no list, and the way to it."""

    def walk(path: _Path, item: Item) -> Iterator[tuple[_Path, Item]]:
        if isinstance(item, L):
            for index, one in enumerate(item):
                yield from walk((*path, index), one)
        else:
            yield path, item

    item = _item(message)
    return iter(()) if item is None else walk((), item)


def _item(message: Message) -> Item | None:
    try:
        return message.item
    except DecodeError:
        return None


def _shown(path: _Path) -> str:
    return "".join(f"[{index + 1}]" for index in path) or "its item"
