"""What waits for the disk: bounded in number and bytes, the oldest is dropped and counted."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

Item: TypeAlias = str | Callable[[], Iterator[str]]
"""A line, or what makes the pieces of a line in the thread of the recorder."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What has come since the last batch, oldest first, and what was dropped before it."""

    items: deque[tuple[Item, int]]
    lost_count: int
    lost_bytes: int


class Queue:
    """Any thread puts, one takes. Putting waits for no disk."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        # Held for moments only, never while something is written.
        self._lock = threading.Lock()
        self._items: deque[tuple[Item, int]] = deque()
        # Bytes of those, and of those that are being written.
        self._bytes = 0
        self._lost_count = self._lost_bytes = 0
        self._has_news = threading.Event()
        self._is_waiting = True
        self.is_over = False
        """Whether nothing more is put. Asked without the lock, which a fork may have left held."""

    def put(self, item: Item, size: int) -> None:
        """``size`` is what it takes as a line, in bytes. Not to be called when it is over."""
        with self._lock:
            items = self._items
            items.append((item, size))
            self._bytes += size
            while items and (self._bytes > self._most_bytes or len(items) > self._most):
                _, dropped = items.popleft()
                self._bytes -= dropped
                self._lost_count += 1
                self._lost_bytes += dropped
            wakes, self._is_waiting = self._is_waiting, False
        if wakes:
            self._has_news.set()

    def wait(self) -> None:
        """Wait until something has come, or nothing more will."""
        self._has_news.wait()

    def take(self) -> Batch:
        """All that is here. ``written`` is to be told of the bytes of each item."""
        with self._lock:
            batch = Batch(self._items, self._lost_count, self._lost_bytes)
            self._items = deque()
            self._lost_count = self._lost_bytes = 0
            if not batch.items and not batch.lost_count and not self.is_over:
                self._is_waiting = True
                self._has_news.clear()
            return batch

    def written(self, size: int) -> None:
        """So many bytes of a batch take no memory any more."""
        with self._lock:
            self._bytes -= size

    def finish(self) -> None:
        """Nothing more is put, and what is here is still taken."""
        self.is_over = True
        self._has_news.set()

    def end(self) -> None:
        """Nothing is taken any more."""
        self.is_over = True
        with self._lock:
            self._items.clear()
