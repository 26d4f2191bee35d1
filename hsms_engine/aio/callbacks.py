"""Calls a function of the user in the asyncio loop, for what happens in the trio thread.

The trio thread does not wait for the loop. What waits for the loop is bounded; what is dropped is
the oldest, and the loop logs how many were. The function runs in the context (``contextvars``) of
the task that has handed it over.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Generic, TypeVar

from hsms_engine.aio.wait import running_loop
from hsms_engine.logs import Teller
from hsms_engine.protocol.traffic import Traffic

T = TypeVar("T")

# So many facts wait for a loop that is late.
MOST = 1_000


class Callbacks(Generic[T]):
    """Hands facts to ``function``, in order. It is called in the trio thread, and never raises.

    At most ``MOST`` facts wait for the loop, with the bytes of messages that ``limit`` allows, as
    ``size`` counts them; a single one may have more.
    """

    def __init__(
        self,
        teller: Teller,
        call: str,
        function: Callable[[T], object],
        size: Callable[[T], int] = lambda _: 0,
        limit: Callable[[], int] = lambda: 0,
    ) -> None:
        self._teller = teller
        self._call = call
        self._function = function
        self._size = size
        self._limit = limit
        self._loop = running_loop()
        self._context = copy_context()
        # What the loop has not taken. It takes all of it, and is asked once.
        self._lock = threading.Lock()
        self._waiting: deque[T] = deque()
        # The bytes in what waits.
        self._held = 0
        self._dropped = 0

    def __call__(self, fact: T) -> None:
        with self._lock:
            is_asked = bool(self._waiting)
            self._waiting.append(fact)
            self._held += self._size(fact)
            while len(self._waiting) > MOST or (
                len(self._waiting) > 1 and self._held > self._limit()
            ):
                self._held -= self._size(self._waiting.popleft())
                self._dropped += 1
        if not is_asked:
            try:
                self._loop.call_soon_threadsafe(self._take)
            except RuntimeError:
                # The loop is closed: nobody listens any more.
                self._waiting.clear()

    def _take(self) -> None:
        with self._lock:
            facts, self._waiting, self._held = self._waiting, deque(), 0
            dropped, self._dropped = self._dropped, 0
        if dropped:
            self._teller.say(
                logging.WARNING,
                "%s: %s calls are left out: the event loop was late, and at most %s wait for it, "
                "or inbox_bytes of messages",
                self._call,
                dropped,
                MOST,
            )
        for fact in facts:
            # Each by itself: what one raises is the loop's, and the others are called.
            self._loop.call_soon(self._function, fact, context=self._context)


def body_size(traffic: Traffic) -> int:
    """The bytes that a message takes while it waits."""
    return 0 if traffic.message is None else len(traffic.message.body)
