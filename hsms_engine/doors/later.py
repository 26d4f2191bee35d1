"""An object of the trio thread for a caller who does not wait until it is made."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

from hsms_engine.doors.thread import TrioThread

T = TypeVar("T")


class Later(Generic[T]):
    """Made in the trio thread, after all calls before it and before all calls after it.

    It is also let go there, because what lives there may not be changed by other threads, and the
    end of an object changes each weak set that it is in.
    """

    def __init__(self, thread: TrioThread, make: Callable[[], T]) -> None:
        self._made = made = list[T]()
        thread.soon(lambda: made.append(make()))
        weakref.finalize(self, thread.soon, made.clear).atexit = False

    def get(self) -> T:
        """The object. To be called in the trio thread."""
        return self._made[0]
