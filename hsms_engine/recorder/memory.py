"""What black boxes keep: the latest lines of each link, and one budget for the whole process.

Invariants:

* What is kept takes at most ``MEMORY.most`` bytes, whatever the number of links; what is being
  written counts until it is written.
* The oldest of all links is dropped first, and its link knows how much was dropped.
* Lines that are older than a link wants are dropped when anything new is kept, but for those behind
  one that another link still wants.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from hsms_engine.recorder.queue import Item
from hsms_engine.recorder.tap import Now

# About what a kept item takes beside its text: itself, and what it knows of its link.
_BESIDE: Final = 512


class Kept(NamedTuple):
    """One line, or what makes it. ``now`` is what the link was when it had been told."""

    at: float
    item: Item
    size: int
    now: Now


class Taken(NamedTuple):
    """What a ring had. ``before`` is what the link was before it; None: it is told from the
    beginning. So many lines were dropped before it that are not too old."""

    before: Now | None
    kept: deque[Kept]
    lost_count: int
    lost_bytes: int


class Ring:
    """The latest lines of one link. Only ``Memory`` changes it, which has the lock."""

    __slots__ = (
        "before",
        "clock",
        "kept",
        "lost_at",
        "lost_bytes",
        "lost_count",
        "seconds",
        "stale",
    )

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self.clock = clock
        self.seconds = seconds
        self.kept: deque[Kept] = deque()
        # What the link was before the first of them; None: it begins with its own record.
        self.before: Now | None = None
        # How many of its turns in the order of all are those of lines that it has no more.
        self.stale = 0
        self.lost_count = self.lost_bytes = 0
        # When the last of those was told.
        self.lost_at = 0.0


class Memory:
    """All rings of the process. Any thread may call it, and waits for no disk."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.bytes = 0
        """What is kept, and what is being written."""
        # Held for moments only.
        self._lock = threading.Lock()
        # The ring of each line that was kept, oldest first.
        self._order: deque[Ring] = deque()

    def keep(self, ring: Ring, item: Item, size: int, now: Now) -> None:
        """Keep it, and drop what is too old or has no room."""
        kept = Kept(ring.clock(), item, size + _BESIDE, now)
        with self._lock:
            ring.kept.append(kept)
            self._order.append(ring)
            self.bytes += kept.size
            self._drop()

    def take(self, ring: Ring, since: float) -> Taken:
        """All that it has of what was told since then. ``written`` is to be told of each."""
        with self._lock:
            kept, ring.kept = ring.kept, deque()
            ring.stale += len(kept)
            before = ring.before
            ring.before = kept[-1].now if kept else before
            while kept and kept[0].at < since:
                before = kept[0].now
                self.bytes -= kept.popleft().size
            lost = (ring.lost_count, ring.lost_bytes) if ring.lost_at >= since else (0, 0)
            ring.lost_count = ring.lost_bytes = 0
            return Taken(before, kept, *lost)

    def written(self, kept: Kept) -> None:
        """This takes no memory any more."""
        with self._lock:
            self.bytes -= kept.size

    def forget(self, ring: Ring) -> None:
        """Nothing of it is wanted any more."""
        for kept in self.take(ring, ring.clock()).kept:
            self.written(kept)

    def leave(self) -> None:
        """In a child process: forget all. A thread that is not there may have held the lock."""
        self._lock = threading.Lock()
        self._order.clear()
        self.bytes = 0

    def _drop(self) -> None:
        order = self._order
        while order:
            ring = order[0]
            if ring.stale:
                ring.stale -= 1
            else:
                first = ring.kept[0]
                now = ring.clock()
                is_old = now - first.at > ring.seconds
                if not is_old and self.bytes <= self.most:
                    return
                ring.kept.popleft()
                ring.before = first.now
                self.bytes -= first.size
                if not is_old:
                    if now - ring.lost_at > ring.seconds:
                        ring.lost_count = ring.lost_bytes = 0
                    ring.lost_count += 1
                    ring.lost_bytes += first.size - _BESIDE
                    ring.lost_at = first.at
            order.popleft()


MEMORY: Final = Memory(67_108_864)
"""The memory of this process: 64 MiB."""
