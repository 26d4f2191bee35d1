"""What an owner publishes of one tool: its primaries, and the events of its link.

Invariant: what is published in one epoch has the numbers 1, 2, 3 ... in each of the two streams, in
the order in which it happened; a number that is not there was dropped. When the owner has published
all, it says so.
"""

from __future__ import annotations

from typing import Final

from hsms_engine.events import Happened
from hsms_engine.fleet.forms import Mark, write_event, write_mark, write_message
from hsms_engine.fleet.outbox import Outbox, Queued
from hsms_engine.fleet.reader import Of, stream_name
from hsms_engine.fleet.streams import NewEntry
from hsms_engine.message import Message

__all__ = ["Publisher"]

_STREAMS: Final[tuple[Of, ...]] = ("primary", "event")


class Publisher:
    """Queues what happens to one tool, and numbers it. ``longest``: of each stream, in entries."""

    def __init__(self, outbox: Outbox, prefix: str, tool: str, owner: str, longest: int) -> None:
        self._outbox = outbox
        self._names: Final = {of: stream_name(prefix, tool, of) for of in _STREAMS}
        self._owner = owner
        self._longest = longest
        self._numbers: dict[Of, int] = dict.fromkeys(_STREAMS, 0)
        # Streams in which something was queued since they were said to be over.
        self._open: set[Of] = set()
        self.epoch = 0
        """That of the lease in which it publishes; 0: it has owned nothing yet."""

    def begin(self, epoch: int) -> None:
        """This process owns the tool, in another epoch."""
        self.end()
        self.epoch = epoch
        self._numbers = dict.fromkeys(_STREAMS, 0)
        self._open.update(_STREAMS)

    def primary(self, message: Message) -> Queued:
        return self._put("primary", write_message(message))

    def event(self, event: Happened) -> Queued:
        return self._put("event", write_event(event))

    def end(self) -> None:
        """All is queued that this epoch had."""
        for of in _STREAMS:
            if of in self._open:
                mark = Mark("over", self.epoch, self._numbers[of], self._owner)
                self._outbox.put(NewEntry(self._names[of], write_mark(mark), self._longest))
        self._open.clear()

    def _put(self, of: Of, fields: dict[bytes, bytes]) -> Queued:
        self._open.add(of)
        self._numbers[of] += 1
        mark = Mark(of, self.epoch, self._numbers[of], self._owner)
        return self._outbox.put(NewEntry(self._names[of], write_mark(mark) | fields, self._longest))
