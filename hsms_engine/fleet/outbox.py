"""What waits to be appended to the streams: bounded, and sent again until the store has taken it.

Invariants:

* What is queued for one stream is appended in the order in which it was queued. It may be appended
  twice, when the store did it and its answer was lost.
* An entry that the store refuses for good, as a stream of another type does, is dropped.
* At most ``most`` entries of ``most_bytes`` bytes wait, beside some that are being sent. Beyond
  that the oldest of the stream which has the most bytes are dropped: who floods one stream loses
  his own.
* Nobody who queues waits. What becomes of an entry can be waited for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from hsms_engine.errors import LeaseError, LeaseSetupError
from hsms_engine.fleet.failing import Failing
from hsms_engine.fleet.streams import NewEntry, Streams

__all__ = ["Outbox", "Queued"]

# What is sent at once: entries, and bytes, but one entry at least.
_BATCH: Final = 256
_BATCH_BYTES: Final = 1024 * 1024


@dataclass(slots=True, eq=False)
class Queued:
    """An entry that waits. ``is_appended`` is None until that is known."""

    entry: NewEntry
    is_appended: bool | None = None
    _settled: trio.Event | None = None

    async def appended(self) -> bool:
        """Wait until it is in its stream, or dropped: whether it is there."""
        while self.is_appended is None:
            if self._settled is None:
                self._settled = trio.Event()
            await self._settled.wait()
        await trio.lowlevel.checkpoint()
        return self.is_appended

    def settle(self, is_appended: bool) -> None:
        self.is_appended = is_appended
        if self._settled is not None:
            self._settled.set()


@dataclass(slots=True)
class _Line:
    """What waits for one stream, and its bytes."""

    waiting: deque[Queued] = field(default_factory=deque)
    size: int = 0


class Outbox:
    """Queue with ``put``; ``run`` sends. ``pause`` is the time between two tries, in seconds."""

    def __init__(
        self, streams: Streams, what: str, pause: float, most: int, most_bytes: int
    ) -> None:
        self._streams = streams
        self._pause = pause
        self._most = most
        self._most_bytes = most_bytes
        # By stream, in the order in which they are sent.
        self._lines: dict[str, _Line] = {}
        # What is being sent: it is not dropped any more.
        self._sending: list[Queued] = []
        self._news = trio.Event()
        self._empty = trio.Event()
        self._queued = 0
        self._queued_bytes = 0
        self.appended = 0
        self.dropped = 0
        self._failing = Failing(
            f"{what}: the store does not take all entries (up to {most} wait, older are dropped)",
            f"{what}: the store takes entries again",
        )

    @property
    def error(self) -> LeaseError | None:
        """Why the latest try has failed; None when it has not."""
        return self._failing.error

    @property
    def waiting(self) -> int:
        """How many entries are not appended yet: those that are being sent are among them."""
        return self._queued + len(self._sending)

    @property
    def waiting_bytes(self) -> int:
        """The same, in bytes."""
        return self._queued_bytes + sum(each.entry.size for each in self._sending)

    def put(self, entry: NewEntry) -> Queued:
        """Queue an entry."""
        queued = Queued(entry)
        if entry.size > self._most_bytes:
            self._drop(queued)
            return queued
        line = self._lines.setdefault(entry.stream, _Line())
        line.waiting.append(queued)
        line.size += entry.size
        self._queued += 1
        self._queued_bytes += entry.size
        while self._queued > self._most or self._queued_bytes > self._most_bytes:
            self._drop(self._take(max(self._lines, key=lambda name: self._lines[name].size)))
        self._news.set()
        return queued

    async def run(self) -> None:
        """Send what is queued, until cancelled."""
        while True:
            while not self._queued:
                self._empty.set()
                self._empty = trio.Event()
                self._news = trio.Event()
                await self._news.wait()
            self._sending = self._batch()
            while self._sending:
                await self._send()

    async def flush(self, patience: float) -> None:
        """Wait until all is appended, at most ``patience`` seconds."""
        with trio.move_on_after(patience):
            while self.waiting:
                await self._empty.wait()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Nothing is sent any more: what waits is dropped."""
        for queued in self._sending:
            self._drop(queued)
        self._sending = []
        while self._lines:
            self._drop(self._take(next(iter(self._lines))))

    def _batch(self) -> list[Queued]:
        """Some of each stream in turn, so that none waits for all of another."""
        batch: list[Queued] = []
        size = 0
        while self._queued and len(batch) < _BATCH and size < _BATCH_BYTES:
            name = next(iter(self._lines))
            batch.append(self._take(name))
            size += batch[-1].entry.size
            if name in self._lines:
                self._lines[name] = self._lines.pop(name)
        return batch

    def _take(self, name: str) -> Queued:
        line = self._lines[name]
        queued = line.waiting.popleft()
        line.size -= queued.entry.size
        self._queued -= 1
        self._queued_bytes -= queued.entry.size
        if not line.waiting:
            del self._lines[name]
        return queued

    def _drop(self, queued: Queued) -> None:
        self.dropped += 1
        queued.settle(False)

    async def _send(self) -> None:
        """One try for all that is being sent."""
        results: Sequence[str | LeaseError]
        try:
            results = await self._streams.append([each.entry for each in self._sending])
        except LeaseError as error:
            # Whatever it is: of no single entry is it known that the store refuses it.
            error = LeaseError(str(error)) if isinstance(error, LeaseSetupError) else error
            results = [error] * len(self._sending)
        again: list[Queued] = []
        failed: LeaseError | None = None
        # Streams in which a later one is appended: there an earlier one would be out of order.
        later: set[str] = set()
        for queued, result in zip(reversed(self._sending), reversed(results), strict=True):
            match result:
                case str():
                    later.add(queued.entry.stream)
                    self.appended += 1
                    queued.settle(True)
                case LeaseSetupError():
                    failed = result
                    self._drop(queued)
                case _:
                    failed = result
                    if queued.entry.stream in later:
                        self._drop(queued)
                    else:
                        again.append(queued)
        self._sending = again[::-1]
        self._failing.note(failed)
        if again:
            await trio.sleep(self._pause)
