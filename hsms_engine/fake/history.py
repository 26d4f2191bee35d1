"""What went over the connections of a fake equipment, for tests that look for it.

Invariants:

* Messages stand in the order in which they were received, or queued for sending.
* The oldest are forgotten: at most ``KEPT`` of each direction are kept, and ``KEPT_BYTES`` of both.
* The items of a long body are decoded for one look and not kept: they take many times its bytes.
* Of what is told beside them, the latest ``KEPT_BESIDE`` are kept.
* Each is found once. What was received is kept as a copy, so that to look at it tells nobody that
  its body is unreadable, and it holds no connection.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from hsms_engine.message import Message
from hsms_engine.secs2 import Item
from hsms_engine.sml.patterns import Pattern

KEPT: Final = 10_000
"""How many messages of each direction are kept."""
KEPT_BYTES: Final = 67_108_864
"""How many bytes their bodies may have together."""

KEPT_BESIDE: Final = 1_000
"""How much is kept of what is told beside messages, as that one was not sent."""

WITHIN: Final = 10.0
"""How long an expectation waits unless it is told otherwise, in seconds."""

# The longest body whose items are kept once they are decoded, in bytes.
_DECODED: Final = 256
# How many messages an error lists, and how much of what was told beside them.
_LISTED: Final = 10
# With how many an error compares what was expected: the latest.
_COMPARED: Final = 100
# How much of a message that was not sent, in characters.
_SHOWN: Final = 200
_NUMBER = re.compile(r"\d+")


class NotSeenError(AssertionError):
    """A message that a test expects has not come. Says what came instead."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A message that was found. ``seen["reports"]`` is what the pattern has named so."""

    message: Message
    is_sent: bool
    """Whether the equipment has sent it; else it has received it."""
    peer: str
    """The other end of its connection."""
    names: Mapping[str, Item]
    """What the pattern has named."""

    def __getitem__(self, name: str) -> Item:
        return self.names[name]


class _Entry:
    """A message that is kept."""

    __slots__ = ("is_found", "is_sent", "message", "peer", "session_id")

    def __init__(self, message: Message, peer: str, session_id: int, is_sent: bool) -> None:
        self.message = message
        self.peer = peer
        self.session_id = session_id
        self.is_sent = is_sent
        self.is_found = False

    def look(self) -> Message:
        """The message, to be matched."""
        message = self.message
        if len(message.body) <= _DECODED:
            return message
        assert message.system_bytes is not None
        return _copy(message, self.session_id, message.system_bytes)


class History:
    """The messages of one equipment, of all its connections."""

    def __init__(self) -> None:
        self._entries: deque[_Entry] = deque()
        # How many were forgotten, at the front.
        self._forgotten = 0
        # How many of each direction are kept, received and sent, and their bytes.
        self._counts = [0, 0]
        self._bytes = 0
        self._beside: deque[tuple[str, Mapping[str, object]]] = deque(maxlen=KEPT_BESIDE)

    def note(self, event: str, details: Mapping[str, object]) -> None:
        """Something has happened that is no message: an error tells it, as why none has come."""
        self._beside.append((event, details))

    def add(
        self, message: Message, peer: str, session_id: int, system_bytes: int, *, is_sent: bool
    ) -> None:
        """A message was received or is queued."""
        kept = _copy(message, session_id, system_bytes)
        self._entries.append(_Entry(kept, peer, session_id, is_sent))
        self._counts[is_sent] += 1
        self._bytes += len(kept.body)
        while max(self._counts) > KEPT or (self._bytes > KEPT_BYTES and len(self._entries) > 1):
            oldest = self._entries.popleft()
            self._forgotten += 1
            self._counts[oldest.is_sent] -= 1
            self._bytes -= len(oldest.message.body)

    @property
    def end(self) -> int:
        """The number of the next message: they are counted from 0."""
        return self._forgotten + len(self._entries)

    def messages(self, *, is_sent: bool, session_id: int | None = None) -> list[Message]:
        """Those of one direction; ``session_id``: only those with it."""
        return [
            each.message
            for each in self._entries
            if each.is_sent is is_sent and session_id in (None, each.session_id)
        ]

    def find(self, pattern: Pattern, first: int = 0, session_id: int | None = None) -> Seen | None:
        """The oldest message that matches and was not found before, from number ``first`` on."""
        for each in islice(self._entries, max(0, first - self._forgotten), None):
            if each.is_found or session_id not in (None, each.session_id):
                continue
            if (names := pattern.match(each.look())) is not None:
                each.is_found = True
                return Seen(each.message, each.is_sent, each.peer, names)
        return None

    def missed(
        self, pattern: Pattern, within: float, session_id: int | None = None, tool: str = ""
    ) -> str:
        """Why an expectation has failed: what came instead, and how the nearest of it differs.

        What else has happened is told too; ``tool``: not what is of another one.
        """
        kind = (pattern.stream, pattern.function)
        others = [
            each
            for each in self._entries
            if not each.is_found and session_id in (None, each.session_id)
        ]
        lines = [f"no {pattern.text} within {within:g} s"]
        near = [each for each in others if (each.message.stream, each.message.function) == kind]
        if near:
            nearest = max(near[-_COMPARED:], key=lambda each: _depth(pattern, each.look()))
            difference = pattern.difference(nearest.look())
            assert difference is not None
            lines.append(f"the nearest was {_told(nearest)}: {difference}")
        listed = [_told(each) for each in others[-_LISTED:]]
        if left_out := len(others) - len(listed):
            listed.insert(0, f"{left_out} before these")
        came = ", ".join(listed) or "nothing"
        lines.append(f"what came and was not expected: {came}")
        beside = [
            _beside(event, details)
            for event, details in self._beside
            if not tool or details.get("tool", tool) == tool
        ]
        if beside:
            lines.append(f"what else has happened: {'; '.join(beside[-_LISTED:])}")
        return "\n".join(lines)


def _copy(message: Message, session_id: int, system_bytes: int) -> Message:
    return Message.received(
        message.stream,
        message.function,
        message.wait,
        message.body,
        session_id,
        system_bytes,
        message.text_encoding,
    )


def _depth(pattern: Pattern, message: Message) -> tuple[int, ...]:
    """How far into a message the pattern fits: the later the first difference, the nearer."""
    difference = pattern.difference(message)
    assert difference is not None
    return tuple(int(each) for each in _NUMBER.findall(difference.path))


def _told(entry: _Entry) -> str:
    message = entry.message
    name = f"{message.name} W" if message.wait else message.name
    return f"{name} {'sent' if entry.is_sent else 'received'}"


def _beside(event: str, details: Mapping[str, object]) -> str:
    match details:
        case {"message": _, "bytes": _, "sml": sml, **others}:
            # In one line, however long its body is.
            said = [" ".join(str(sml).split())[:_SHOWN], *others.values()]
        case {"message": message, "bytes": _, **others}:
            said = [message, *others.values()]
        case _:
            said = [*details.values()]
    return f"{event} ({', '.join(map(str, said))})" if said else event
